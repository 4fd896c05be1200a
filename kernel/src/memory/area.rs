//! Areas: the ranges of an address space that hold something, and the map that keeps them.
//!
//! [`Area`] is Linux's `vm_area_struct`: a page-aligned range with the same permissions and the same backing throughout.
//! [`AreaMap`] keeps areas sorted in chunks of at most [`CHUNK_AREAS`], so that a look-up is two short binary searches (or none,
//! when it hits the area found last), an insertion moves a few hundred bytes at most, and the search for a free range skips
//! chunks without a gap that is large enough.
//!
//! Invariants ([`AreaMap::validate`]): areas are sorted and disjoint, none is empty, no chunk is empty.

use super::object::MemoryObject;
use crate::base::{PAGE_SHIFT, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

bitflags::bitflags! {
    /// What memory may be used for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Protection: u32 {
        /// `PROT_READ`.
        const READ = 1;
        /// `PROT_WRITE`.
        const WRITE = 2;
        /// `PROT_EXEC`.
        const EXECUTE = 4;
    }
}

bitflags::bitflags! {
    /// What an area is. The names follow Linux's `VM_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AreaFlags: u32 {
        /// Loads are allowed.
        const READ = 1 << 0;
        /// Stores are allowed.
        const WRITE = 1 << 1;
        /// Instruction fetch is allowed.
        const EXECUTE = 1 << 2;
        /// Stores go to the object and are seen by everybody who maps it.
        const SHARED = 1 << 3;
        /// `mprotect` may add READ.
        const MAY_READ = 1 << 4;
        /// `mprotect` may add WRITE.
        const MAY_WRITE = 1 << 5;
        /// `mprotect` may add EXECUTE.
        const MAY_EXECUTE = 1 << 6;
        /// A fault just below it makes it larger: a stack.
        const GROWS_DOWN = 1 << 7;
        /// `mlock`.
        const LOCKED = 1 << 8;
        /// `mlock2(MLOCK_ONFAULT)`, with LOCKED.
        const LOCK_ON_FAULT = 1 << 9;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 1 << 10;
        /// Counts as committed memory.
        const ACCOUNTED = 1 << 11;
        /// `MADV_DONTFORK`.
        const DONT_FORK = 1 << 12;
        /// `MADV_WIPEONFORK`.
        const WIPE_ON_FORK = 1 << 13;
        /// `MADV_DONTDUMP`.
        const DONT_DUMP = 1 << 14;
        /// `MADV_SEQUENTIAL`.
        const SEQUENTIAL = 1 << 15;
        /// `MADV_RANDOM`.
        const RANDOM = 1 << 16;
        /// `MADV_HUGEPAGE`.
        const HUGE = 1 << 17;
        /// `MADV_NOHUGEPAGE`.
        const NO_HUGE = 1 << 18;
        /// `MADV_MERGEABLE`.
        const MERGEABLE = 1 << 19;
        /// The kernel's own (the vDSO): it is not resized.
        const SPECIAL = 1 << 20;
    }
}

impl AreaFlags {
    /// READ, WRITE and EXECUTE as `protection` has them.
    #[must_use]
    pub fn allowing(protection: Protection) -> Self {
        Self::from_bits_truncate(protection.bits())
    }
    /// What is allowed now.
    #[must_use]
    pub fn protection(self) -> Protection {
        Protection::from_bits_truncate(self.bits())
    }
    /// Whether anything is allowed.
    #[must_use]
    pub fn is_accessible(self) -> bool {
        self.intersects(Self::READ | Self::WRITE | Self::EXECUTE)
    }
    /// Whether its pages, once written, belong to this address space alone.
    #[must_use]
    pub fn is_private_writable(self) -> bool {
        self.contains(Self::WRITE) && !self.contains(Self::SHARED)
    }
}

/// Where an area's pages come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros; pages live in the page tables alone.
    Anonymous,
    /// An object.
    Object {
        /// The object.
        object: Arc<dyn MemoryObject>,
        /// The object's page at the area's start.
        first: u64,
        /// Held by areas whose stores may reach the object; `None` for others.
        writer: Option<Arc<WriterToken>>,
    },
}

/// Says to an object, as long as it lives, that a writable shared mapping of it exists.
pub struct WriterToken {
    object: Arc<dyn MemoryObject>,
}

impl WriterToken {
    /// A token for `object`.
    ///
    /// # Errors
    /// What [`MemoryObject::writer_came`] says.
    pub fn new(object: Arc<dyn MemoryObject>) -> Result<Arc<Self>> {
        object.writer_came()?;
        Ok(Arc::new(Self { object }))
    }
}

impl Drop for WriterToken {
    fn drop(&mut self) {
        self.object.writer_left();
    }
}

impl core::fmt::Debug for Backing {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("Anonymous"),
            Self::Object { object, first, .. } => write!(formatter, "Object({:#x}, {first})", object.identity()),
        }
    }
}

/// A range of an address space with one set of permissions and one backing.
#[derive(Clone, Debug)]
pub struct Area {
    /// The addresses; page-aligned and not empty.
    pub range: VirtualRange,
    /// What it is.
    pub flags: AreaFlags,
    /// Whether private pages (copies of an object's pages, too) were ever made in it: if not, there is nothing
    /// that `fork` must copy.
    pub has_private_pages: bool,
    /// Where its pages come from.
    pub backing: Backing,
}

impl Area {
    /// The object's page that `address` maps (the page number itself for anonymous memory).
    #[inline]
    #[must_use]
    pub fn page_index(&self, address: VirtualAddress) -> u64 {
        match &self.backing {
            Backing::Anonymous => address.page_number(),
            Backing::Object { first, .. } => {
                first.wrapping_add(address.page_number().wrapping_sub(self.range.start.page_number()))
            }
        }
    }

    /// The number of pages.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.range.length() >> PAGE_SHIFT
    }

    /// Cuts it at `address`, which lies inside; the upper part is returned.
    #[must_use]
    pub fn split_off(&mut self, address: VirtualAddress) -> Self {
        let mut upper = self.clone();
        upper.range.start = address;
        if let Backing::Object { first, .. } = &mut upper.backing {
            *first = self.page_index(address);
        }
        self.range.end = address;
        upper
    }

    /// Moves the start, the end staying: growth of a stack, or a cut at the front.
    pub fn set_start(&mut self, start: VirtualAddress) {
        let index = self.page_index(start);
        if let Backing::Object { first, .. } = &mut self.backing {
            *first = index;
        }
        self.range.start = start;
    }

    /// Whether `next`, which begins where this ends, continues it in every respect.
    #[must_use]
    pub fn continues_with(&self, next: &Self) -> bool {
        if self.range.end != next.range.start || self.flags != next.flags || self.flags.contains(AreaFlags::SPECIAL) {
            return false;
        }
        match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Object { object, .. }, Backing::Object { object: other, first, .. }) => {
                core::ptr::addr_eq(Arc::as_ptr(object), Arc::as_ptr(other))
                    && self.page_index(next.range.start) == *first
            }
            _ => false,
        }
    }

    /// The lowest address that others should keep away from: below a stack there is room to grow.
    #[inline]
    #[must_use]
    pub fn guarded_start(&self) -> u64 {
        if self.flags.contains(AreaFlags::GROWS_DOWN) {
            self.range.start.value().saturating_sub(STACK_GUARD_GAP)
        } else {
            self.range.start.value()
        }
    }
}

/// The distance that a growing stack keeps from what lies below: Linux's `stack_guard_gap`, 256 pages.
pub const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE as u64;

/// The most areas in a chunk.
const CHUNK_AREAS: usize = 64;
/// [`Chunk::largest_gap`] is to be computed.
const UNKNOWN: u64 = u64::MAX;

struct Chunk {
    areas: Vec<Area>,
    /// The largest free range that ends at the (guarded) start of one of the areas.
    largest_gap: Cell<u64>,
}

/// A position: chunk and index in it.
type Position = (usize, usize);

/// The areas of an address space.
#[derive(Default)]
pub struct AreaMap {
    chunks: Vec<Chunk>,
    count: usize,
    hint: Cell<Position>,
}

impl AreaMap {
    /// No areas.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), count: 0, hint: Cell::new((0, 0)) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    fn at(&self, (chunk, index): Position) -> Option<&Area> {
        self.chunks.get(chunk)?.areas.get(index)
    }

    /// The first area that ends above `address`: the one that holds it, or the next one.
    #[inline]
    fn locate(&self, address: VirtualAddress) -> Position {
        let hint = self.hint.get();
        if self.at(hint).is_some_and(|area| area.range.contains(address)) {
            return hint;
        }
        let chunk = if self.chunks.len() == 1 && self.chunks.first().is_some_and(|chunk| chunk.end() > address) {
            0
        } else {
            self.chunks.partition_point(|chunk| chunk.end() <= address)
        };
        let index = match self.chunks.get(chunk) {
            Some(chunk) => chunk.areas.partition_point(|area| area.range.end <= address),
            None => 0,
        };
        self.hint.set((chunk, index));
        (chunk, index)
    }

    /// The area that holds `address`.
    #[inline]
    #[must_use]
    pub fn find(&self, address: VirtualAddress) -> Option<&Area> {
        self.at(self.locate(address)).filter(|area| area.range.contains(address))
    }

    /// The area that holds `address`, to change what does not touch its range ([`AreaMap::resize`] does).
    #[inline]
    pub fn find_mut(&mut self, address: VirtualAddress) -> Option<&mut Area> {
        let (chunk, index) = self.locate(address);
        self.chunks.get_mut(chunk)?.areas.get_mut(index).filter(|area| area.range.contains(address))
    }

    /// The area that holds `address`, or else the first one above.
    #[inline]
    #[must_use]
    pub fn at_or_after(&self, address: VirtualAddress) -> Option<&Area> {
        self.at(self.locate(address))
    }

    /// The last area that ends at or below `address`... if it holds `address` itself, the one before that.
    #[must_use]
    pub fn before(&self, address: VirtualAddress) -> Option<&Area> {
        self.at(self.previous(self.locate(address))?)
    }

    fn previous(&self, (chunk, index): Position) -> Option<Position> {
        if index > 0 {
            return Some((chunk, index - 1));
        }
        let chunk = chunk.checked_sub(1)?;
        Some((chunk, self.chunks.get(chunk)?.areas.len().checked_sub(1)?))
    }

    /// All areas from the lowest up.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Area> {
        self.chunks.iter().flat_map(|chunk| chunk.areas.iter())
    }

    /// The areas that share a byte with `range`, from the lowest up.
    pub fn overlapping(&self, range: VirtualRange) -> impl Iterator<Item = &Area> {
        let (chunk, index) = self.locate(range.start);
        self.chunks
            .get(chunk..)
            .unwrap_or_default()
            .iter()
            .enumerate()
            .flat_map(move |(number, chunk)| {
                chunk.areas.get(if number == 0 { index } else { 0 }..).unwrap_or_default().iter()
            })
            .take_while(move |area| area.range.start < range.end)
    }

    fn invalidate_gaps(&self, chunk: usize) {
        for number in [chunk, chunk.wrapping_add(1)] {
            if let Some(chunk) = self.chunks.get(number) {
                chunk.largest_gap.set(UNKNOWN);
            }
        }
    }

    /// Adds an area that overlaps no other.
    pub fn insert(&mut self, area: Area) {
        debug_assert!(area.range.start < area.range.end && self.overlapping(area.range).next().is_none());
        let start = area.range.start;
        let (mut chunk, mut index) = self.locate(start);
        if index == 0 && chunk > 0 {
            // Between two chunks: at the end of the lower one.
            chunk -= 1;
            index = self.chunks.get(chunk).map_or(0, |chunk| chunk.areas.len());
        }
        self.count += 1;
        let Some(target) = self.chunks.get_mut(chunk) else {
            self.chunks.push(Chunk { areas: alloc::vec![area], largest_gap: Cell::new(UNKNOWN) });
            self.hint.set((chunk, 0));
            return;
        };
        target.areas.insert(index.min(target.areas.len()), area);
        self.hint.set((chunk, index));
        self.invalidate_gaps(chunk);
        if let Some(target) = self.chunks.get_mut(chunk)
            && target.areas.len() > CHUNK_AREAS
        {
            let upper = target.areas.split_off(CHUNK_AREAS / 2);
            self.chunks.insert(chunk + 1, Chunk { areas: upper, largest_gap: Cell::new(UNKNOWN) });
            self.hint.set((0, 0));
        }
    }

    /// Adds an area above all others: copying a map costs no searches.
    pub fn append(&mut self, area: Area) {
        self.count += 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.areas.len() < CHUNK_AREAS => {
                chunk.areas.push(area);
                chunk.largest_gap.set(UNKNOWN);
            }
            _ => self.chunks.push(Chunk { areas: alloc::vec![area], largest_gap: Cell::new(UNKNOWN) }),
        }
    }

    /// All areas from the lowest up, by value.
    pub fn into_areas(self) -> impl Iterator<Item = Area> {
        self.chunks.into_iter().flat_map(|chunk| chunk.areas)
    }

    /// Takes the area that holds `address` out.
    pub fn remove(&mut self, address: VirtualAddress) -> Option<Area> {
        let (chunk, index) = self.locate(address);
        let target = self.chunks.get_mut(chunk)?;
        if !target.areas.get(index)?.range.contains(address) {
            return None;
        }
        let area = target.areas.remove(index);
        self.count -= 1;
        if target.areas.is_empty() {
            self.chunks.remove(chunk);
        }
        self.invalidate_gaps(chunk);
        Some(area)
    }

    /// Lets `change` change the area that holds `address`, its range included; it must stay disjoint and in order.
    pub fn resize(&mut self, address: VirtualAddress, change: impl FnOnce(&mut Area)) {
        let (chunk, index) = self.locate(address);
        if let Some(area) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.areas.get_mut(index))
            && area.range.contains(address)
        {
            change(area);
        }
        self.invalidate_gaps(chunk);
    }

    /// Cuts the area that holds `address` in its inside in two there; otherwise nothing happens.
    pub fn split_at(&mut self, address: VirtualAddress) {
        if self.find(address).is_none_or(|area| area.range.start == address) {
            return;
        }
        let mut upper = None;
        self.resize(address, |area| upper = Some(area.split_off(address)));
        if let Some(upper) = upper {
            self.insert(upper);
        }
    }

    /// Joins the area that begins at `address` to the one that ends there, if it continues it.
    pub fn merge_at(&mut self, address: VirtualAddress) {
        let Some(lower) = self.before(address).map(|area| area.range.start) else { return };
        let mergeable = match (self.find(lower), self.find(address)) {
            (Some(lower), Some(upper)) => upper.range.start == address && lower.continues_with(upper),
            _ => false,
        };
        if mergeable && let Some(upper) = self.remove(address) {
            self.resize(lower, |area| {
                area.range.end = upper.range.end;
                area.has_private_pages |= upper.has_private_pages;
            });
        }
    }

    fn largest_gap(&self, number: usize) -> u64 {
        let Some(chunk) = self.chunks.get(number) else { return 0 };
        let known = chunk.largest_gap.get();
        if known != UNKNOWN {
            return known;
        }
        let below = number.checked_sub(1).and_then(|number| self.chunks.get(number));
        let mut previous_end = below.map_or(0, |chunk| chunk.end().value());
        let mut largest = 0;
        for area in &chunk.areas {
            largest = largest.max(area.guarded_start().saturating_sub(previous_end));
            previous_end = area.range.end.value();
        }
        chunk.largest_gap.set(largest);
        largest
    }

    /// The highest free range of `length` bytes in `low..high`, by its start. `guard` is kept free below it (a new stack's gap).
    #[must_use]
    pub fn find_gap_from_above(&self, length: u64, low: u64, high: u64, guard: u64) -> Option<VirtualAddress> {
        let needed = length.checked_add(guard)?;
        let mut ceiling = high;
        // Start with the areas that begin below `high`.
        let (chunk, index) = self.locate(VirtualAddress::new(high.saturating_sub(1)));
        let at_high = self.at((chunk, index)).filter(|area| area.range.start.value() < high);
        let mut end_index = if at_high.is_some() { index + 1 } else { index };
        if let Some(area) = self.at((chunk, end_index)) {
            ceiling = ceiling.min(area.guarded_start());
        } else if let Some(area) = self.at((chunk + 1, 0)) {
            ceiling = ceiling.min(area.guarded_start());
        }
        let mut number = chunk;
        loop {
            if let Some(chunk) = self.chunks.get(number) {
                let whole = end_index >= chunk.areas.len();
                if let (true, Some(last), Some(first)) = (whole, chunk.areas.last(), chunk.areas.first())
                    && self.largest_gap(number) < needed
                {
                    // Only the gap above this chunk can serve.
                    if let Some(start) = fit(ceiling, last.range.end.value().max(low), length, guard) {
                        return Some(start);
                    }
                    ceiling = ceiling.min(first.guarded_start());
                } else {
                    for area in chunk.areas.get(..end_index.min(chunk.areas.len())).unwrap_or_default().iter().rev() {
                        if let Some(start) = fit(ceiling, area.range.end.value().max(low), length, guard) {
                            return Some(start);
                        }
                        ceiling = ceiling.min(area.guarded_start());
                        if ceiling < low.saturating_add(needed) {
                            return None;
                        }
                    }
                }
            }
            if number == 0 {
                return fit(ceiling, low, length, guard);
            }
            number -= 1;
            end_index = usize::MAX;
        }
    }

    /// The lowest free range of `length` bytes in `low..high`, by its start.
    #[must_use]
    pub fn find_gap_from_below(&self, length: u64, low: u64, high: u64) -> Option<VirtualAddress> {
        let mut floor = low;
        let range = VirtualRange { start: VirtualAddress::new(low), end: VirtualAddress::new(high) };
        for area in self.overlapping(range) {
            if area.guarded_start().min(high).saturating_sub(floor) >= length && area.guarded_start() > floor {
                return Some(VirtualAddress::new(floor));
            }
            floor = floor.max(area.range.end.value());
        }
        let next = self.at_or_after(VirtualAddress::new(high)).map_or(u64::MAX, Area::guarded_start);
        (high.min(next).saturating_sub(floor) >= length).then_some(VirtualAddress::new(floor))
    }

    /// Whether the structure is as its invariants say.
    #[must_use]
    pub fn validate(&self) -> bool {
        let mut end = 0;
        let mut count = 0;
        let sorted = self.iter().all(|area| {
            let fine = area.range.start.value() >= end
                && area.range.start < area.range.end
                && area.range.start.is_page_aligned()
                && area.range.end.is_page_aligned();
            end = area.range.end.value();
            count += 1;
            fine
        });
        sorted && count == self.count && self.chunks.iter().all(|chunk| !chunk.areas.is_empty())
    }
}

/// The highest start of `length` bytes with `guard` bytes below them in `floor..ceiling`.
fn fit(ceiling: u64, floor: u64, length: u64, guard: u64) -> Option<VirtualAddress> {
    let needed = length.checked_add(guard)?;
    (ceiling.saturating_sub(floor) >= needed && ceiling > floor).then(|| VirtualAddress::new(ceiling - length))
}

impl Chunk {
    #[inline]
    fn end(&self) -> VirtualAddress {
        self.areas.last().map_or(VirtualAddress::new(0), |area| area.range.end)
    }
}

impl core::fmt::Debug for AreaMap {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn area(start: u64, pages: u64, flags: AreaFlags) -> Area {
        let start = VirtualAddress::new(start << PAGE_SHIFT);
        let range = VirtualRange::new(start, pages << PAGE_SHIFT).unwrap();
        Area { range, flags, has_private_pages: false, backing: Backing::Anonymous }
    }

    #[test]
    fn splitting_and_merging_are_inverse() {
        let mut map = AreaMap::new();
        map.insert(area(10, 10, AreaFlags::READ));
        map.split_at(VirtualAddress::new(15 << PAGE_SHIFT));
        assert_eq!(map.len(), 2);
        map.split_at(VirtualAddress::new(15 << PAGE_SHIFT));
        assert_eq!(map.len(), 2);
        map.merge_at(VirtualAddress::new(15 << PAGE_SHIFT));
        assert_eq!(map.len(), 1);
        assert!(map.validate());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_agrees_with_a_sorted_map(operations in prop::collection::vec((0u64..2000, 1u64..6, 0u8..4), 1..600)) {
            let mut map = AreaMap::new();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            for (start, pages, action) in operations {
                let address = VirtualAddress::new(start << PAGE_SHIFT);
                let holder = model.range(..=start).next_back().filter(|(first, count)| *first + *count > start);
                let holder = holder.map(|(first, count)| (*first, *count));
                if action == 0 {
                    let removed = map.remove(address);
                    prop_assert_eq!(removed.map(|area| area.range.start.page_number()), holder.map(|(first, _)| first));
                    if let Some((first, _)) = holder {
                        model.remove(&first);
                    }
                } else {
                    let free = holder.is_none() && model.range(start..start + pages).next().is_none();
                    if free {
                        map.insert(area(start, pages, AreaFlags::READ));
                        model.insert(start, pages);
                    }
                }
                prop_assert!(map.validate());
                let found = map.find(address).map(|area| area.range.start.page_number());
                let expected = model.range(..=start).next_back().filter(|(first, count)| *first + *count > start);
                prop_assert_eq!(found, expected.map(|(first, _)| *first));
                let needed = pages * 3;
                let (low, high) = (5u64, 1990u64);
                let is_free = |at: u64| model.iter().all(|(first, count)| at + needed <= *first || *first + *count <= at);
                let best = (low..=high - needed).rev().find(|&at| is_free(at));
                let gap = map.find_gap_from_above(needed << PAGE_SHIFT, low << PAGE_SHIFT, high << PAGE_SHIFT, 0);
                prop_assert_eq!(gap.map(VirtualAddress::page_number), best);
                let best = (low..=high - needed).find(|&at| is_free(at));
                let gap = map.find_gap_from_below(needed << PAGE_SHIFT, low << PAGE_SHIFT, high << PAGE_SHIFT);
                prop_assert_eq!(gap.map(VirtualAddress::page_number), best);
            }
        }
    }
}
