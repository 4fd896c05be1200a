//! The map that keeps an address space's areas.
//!
//! [`AreaMap`] keeps areas sorted in chunks of at most [`CHUNK_AREAS`], so that a look-up is two short binary searches (or none,
//! when it hits the area found last), an insertion moves a few hundred bytes at most, and the search for a free range skips
//! chunks without a gap that is large enough.
//!
//! Invariants ([`AreaMap::validate`]): areas are sorted and disjoint, none is empty, no chunk is empty.

use super::area::Area;
use crate::base::{Errno, Result, VirtualAddress, VirtualRange};
use alloc::vec::Vec;
use core::cell::Cell;

/// The most areas in a chunk.
const CHUNK_AREAS: usize = 64;
/// Insertions that [`AreaMap::reserve`] makes room for.
const RESERVED: usize = 3;
/// Room in the first chunk of a map.
const FIRST_AREAS: usize = 8;
/// [`Chunk::largest_gap`] is to be computed.
const UNKNOWN: u64 = u64::MAX;

#[derive(Default)]
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
    /// Empty chunks with room, for insertions that must not fail.
    spares: Vec<Vec<Area>>,
    hint: Cell<Position>,
}

impl AreaMap {
    /// No areas.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), count: 0, spares: Vec::new(), hint: Cell::new((0, 0)) }
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

    /// Makes room for what one operation does around `range` and then cannot go back on: cuts at both of its ends and one insertion
    /// inside. The next [`RESERVED`] insertions there find their memory.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline]
    pub fn reserve(&mut self, range: VirtualRange) -> Result<()> {
        // Most maps are one chunk with room.
        if let [chunk] = self.chunks.as_slice()
            && chunk.areas.len() + RESERVED <= chunk.areas.capacity().min(CHUNK_AREAS)
        {
            return Ok(());
        }
        self.reserve_slowly(range)
    }

    #[cold]
    fn reserve_slowly(&mut self, range: VirtualRange) -> Result<()> {
        let mut may_split = self.chunks.is_empty();
        for address in [range.start, range.end] {
            let (chunk, _) = self.locate(address);
            for number in [chunk.wrapping_sub(1), chunk] {
                let Some(chunk) = self.chunks.get_mut(number) else { continue };
                chunk.areas.try_reserve(RESERVED).map_err(|_| Errno::ENOMEM)?;
                may_split |= chunk.areas.len() + RESERVED > CHUNK_AREAS;
            }
        }
        if may_split {
            self.chunks.try_reserve(RESERVED).map_err(|_| Errno::ENOMEM)?;
            self.spares.try_reserve(RESERVED).map_err(|_| Errno::ENOMEM)?;
            let room = if self.chunks.is_empty() { FIRST_AREAS } else { CHUNK_AREAS + 1 };
            while self.spares.len() < if self.chunks.is_empty() { 1 } else { RESERVED } {
                let mut spare = Vec::new();
                spare.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
                self.spares.push(spare);
            }
        }
        Ok(())
    }

    /// Adds an area that overlaps no other. Finds its memory where [`AreaMap::reserve`] made room.
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
            let mut areas = self.spares.pop().unwrap_or_default();
            areas.push(area);
            self.chunks.push(Chunk { areas, largest_gap: Cell::new(UNKNOWN) });
            self.hint.set((chunk, 0));
            return;
        };
        target.areas.insert(index.min(target.areas.len()), area);
        self.hint.set((chunk, index));
        self.invalidate_gaps(chunk);
        if let Some(target) = self.chunks.get_mut(chunk)
            && target.areas.len() > CHUNK_AREAS
        {
            let mut upper = self.spares.pop().unwrap_or_default();
            upper.extend(target.areas.drain(CHUNK_AREAS / 2..));
            self.chunks.insert(chunk + 1, Chunk { areas: upper, largest_gap: Cell::new(UNKNOWN) });
            self.hint.set((0, 0));
        }
    }

    /// Makes room for `count` calls of [`AreaMap::append`] on an empty map.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn reserve_copies(&mut self, count: usize) -> Result<()> {
        self.chunks.try_reserve_exact(count.div_ceil(CHUNK_AREAS)).map_err(|_| Errno::ENOMEM)?;
        self.spares.try_reserve_exact(count.div_ceil(CHUNK_AREAS)).map_err(|_| Errno::ENOMEM)?;
        let mut left = count;
        while left > 0 {
            let mut spare = Vec::new();
            // A little more than needed: most copies grow by an area or two.
            let part = left.min(CHUNK_AREAS);
            spare.try_reserve_exact((part + RESERVED).min(CHUNK_AREAS + 1)).map_err(|_| Errno::ENOMEM)?;
            self.spares.push(spare);
            left -= part;
        }
        // The last one, which is not full, is taken last.
        self.spares.reverse();
        Ok(())
    }

    /// Adds an area above all others: copying a map costs no searches. Finds its memory where [`AreaMap::reserve_copies`] made room.
    pub fn append(&mut self, area: Area) {
        self.count += 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.areas.len() < CHUNK_AREAS => {
                chunk.areas.push(area);
                chunk.largest_gap.set(UNKNOWN);
            }
            _ => {
                let mut areas = self.spares.pop().unwrap_or_default();
                areas.push(area);
                self.chunks.push(Chunk { areas, largest_gap: Cell::new(UNKNOWN) });
            }
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
mod tests;
