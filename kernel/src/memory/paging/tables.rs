//! The user half of an address space: what [`super::PageTables`] does, for any format.

use super::super::frame::Frame;
use super::access::TableAccess;
use super::format::{Decoded, ENTRIES, Format, Half, TOP_LEVEL, level_shift, level_size, level_span};
use super::mapper::{
    Absent, Mapper, discard, leaf_frame, leaf_reference, new_table, possibly_used, release_table, table_frame,
};
use super::tlb::{Batch, Tlb};
use super::{Entry, Leaf, MapError, PageFlags, code, kernel};
use crate::base::{FrameNumber, PhysicalAddress, VirtualAddress, VirtualRange};
use core::ops::ControlFlow;

/// The tables of one address space's user half; the kernel half is shared by all. A leaf owns one reference to its frame unless it
/// is [`PageFlags::UNCOUNTED`]; `Drop` gives back leaves and tables, and the space must then be active on no CPU.
///
/// After [`Tables::fork`] tables are shared between parent and child until one changes something below them, so **a frame that is
/// referred to once may still be mapped in two spaces**: call [`Tables::unshare`] before deciding by a reference count.
#[derive(Debug)]
pub struct Tables<F: Format, A: TableAccess, T: Tlb> {
    walker: Mapper<F, A, T>,
}

/// The order of a block that a leaf can map, as the leaf's level.
fn block_level(frame: &Frame) -> Result<u8, MapError> {
    match frame.order() {
        0 => Ok(0),
        9 => Ok(1),
        18 => Ok(2),
        _ => Err(MapError::Unaligned),
    }
}

/// The entry as others see it: under a shared table nothing can be written yet, and private pages are copy-on-write.
fn effective(flags: PageFlags, is_shared: bool) -> PageFlags {
    if !is_shared || !flags.contains(PageFlags::WRITABLE) {
        return flags;
    }
    let copied = if flags.contains(PageFlags::SHARED) { PageFlags::empty() } else { PageFlags::COPY_ON_WRITE };
    flags - PageFlags::WRITABLE | copied
}

impl<F: Format, A: TableAccess, T: Tlb> Tables<F, A, T> {
    /// Empty tables that are reached through `access(root)`. `None` when memory is out.
    #[must_use]
    pub fn with(access: impl FnOnce(FrameNumber) -> A, tlb: T) -> Option<Self> {
        let root = kernel::new_root::<F>()?;
        // Of the top table's groups only the user half's are marked.
        root.descriptor().set_owner(0);
        // No tag yet.
        root.descriptor().set_index(0);
        let root = root.into_raw();
        let access = access(root);
        Some(Self { walker: Mapper::new(root, Half::User, access, tlb) })
    }

    /// The top table, for `Mmu::activate`.
    #[inline]
    #[must_use]
    pub fn root(&self) -> PhysicalAddress {
        self.walker.root().address()
    }
    /// The walker.
    #[inline]
    pub(super) fn walker(&self) -> &Mapper<F, A, T> {
        &self.walker
    }
    /// The TLB that is told of changes.
    pub(super) fn tlb(&self) -> &T {
        self.walker.tlb()
    }

    /// Maps `page` to `frame` (its order gives the size: 0, 9 or 18), where nothing is mapped yet.
    ///
    /// # Errors
    /// [`MapError`]; the frame's reference is then dropped.
    #[inline]
    pub fn map(&mut self, page: VirtualAddress, frame: Frame, flags: PageFlags) -> Result<(), MapError> {
        let level = block_level(&frame)?;
        self.walker.check(page, frame.number(), level)?;
        code::before_mapping(frame.number(), flags, level);
        self.walker.insert(page, level, F::leaf(frame.number(), flags - PageFlags::UNCOUNTED, level))?;
        // The entry has the reference now.
        let _ = frame.into_raw();
        Ok(())
    }
    /// Maps `page` to a frame that is not counted, where nothing is mapped yet. `UNCOUNTED` is set by this.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_uncounted(
        &mut self,
        page: VirtualAddress,
        frame: FrameNumber,
        flags: PageFlags,
    ) -> Result<(), MapError> {
        self.walker.check(page, frame, 0)?;
        code::before_mapping(frame, flags, 0);
        self.walker.insert(page, 0, F::leaf(frame, flags | PageFlags::UNCOUNTED, 0))
    }
    /// Maps `page` to `frame` whatever stood there; the old frame goes into `batch`.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`], [`MapError::Unaligned`].
    pub fn set(
        &mut self,
        page: VirtualAddress,
        frame: Frame,
        flags: PageFlags,
        batch: &mut Batch<T>,
    ) -> Result<(), MapError> {
        let level = block_level(&frame)?;
        self.walker.check(page, frame.number(), level)?;
        if level > 0 {
            let range = VirtualRange::new(page, level_span(level)).ok_or(MapError::Unaligned)?;
            self.unmap_range(range, batch)?;
            return self.map(page, frame, flags);
        }
        code::before_mapping(frame.number(), flags, 0);
        let entry = F::leaf(frame.number(), flags - PageFlags::UNCOUNTED, 0);
        self.put(page, entry, batch)?;
        let _ = frame.into_raw();
        Ok(())
    }
    /// Puts `entry` at level 0 in place of what stands there.
    fn put(&mut self, page: VirtualAddress, entry: u64, batch: &mut Batch<T>) -> Result<(), MapError> {
        // `Stop` splits what is larger, `Create` makes what is missing.
        let table = match self.walker.reach(page, 0, Absent::Stop)? {
            Some(table) => Some(table),
            None if entry == 0 => None,
            None => self.walker.reach(page, 0, Absent::Create)?,
        };
        let Some(table) = table else { return Ok(()) };
        let pointer = self.walker.entry_pointer(table, 0, page);
        let old = if F::BREAK_BEFORE_MAKE {
            let old = pointer.swap(0);
            if old != 0 {
                batch.invalidate(page);
                batch.flush();
            }
            pointer.store(entry);
            old
        } else {
            pointer.swap(entry)
        };
        self.walker.count(table, 0, page, i64::from(entry != 0) - i64::from(old != 0));
        if old != 0 {
            discard::<F, T>(old, 0, page, batch);
        }
        if entry == 0 && self.walker.is_unused(table) {
            self.walker.prune(page, 0, batch);
        }
        Ok(())
    }
    /// Removes the entry of `page` (splitting a larger leaf first); its frame goes into `batch`.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] when a split or the unsharing of a table needs memory that is not there.
    pub fn unmap(&mut self, page: VirtualAddress, batch: &mut Batch<T>) -> Result<Option<Leaf>, MapError> {
        if page.value() >= F::USER_LIMIT {
            return Ok(None);
        }
        let Some(table) = self.walker.reach(page, 0, Absent::Stop)? else { return Ok(None) };
        let old = self.walker.clear(table, 0, page, batch);
        if old != 0 && self.walker.is_unused(table) {
            self.walker.prune(page, 0, batch);
        }
        Ok(leaf_of::<F>(old, 0, false))
    }
    /// Replaces the flags of the leaf at `page`. `Ok(false)` when there is none.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] as for [`Tables::unmap`].
    pub fn protect(&mut self, page: VirtualAddress, flags: PageFlags, batch: &mut Batch<T>) -> Result<bool, MapError> {
        if page.value() >= F::USER_LIMIT {
            return Ok(false);
        }
        let Some(table) = self.walker.reach(page, 0, Absent::Stop)? else { return Ok(false) };
        let pointer = self.walker.entry_pointer(table, 0, page);
        let entry = pointer.load();
        let Decoded::Leaf(frame, old) = F::decode(entry, 0) else { return Ok(false) };
        let kept = old & PageFlags::UNCOUNTED;
        code::before_mapping(frame, flags, 0);
        pointer.store(F::leaf(frame, flags - PageFlags::UNCOUNTED | kept, 0));
        batch.invalidate(page);
        Ok(true)
    }
    /// Makes this space the only one whose tables lead to `page`: what is learnt about the page from then on, reference
    /// counts included, is about this space. The fault path calls it before a store.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`].
    #[inline]
    pub fn unshare(&mut self, page: VirtualAddress) -> Result<(), MapError> {
        let level = self.walker.find(page).level;
        self.walker.reach(page, level, Absent::Stop).map(|_| ())
    }
    /// The leaf that maps the byte at `address`.
    #[inline]
    #[must_use]
    pub fn translate(&self, address: VirtualAddress) -> Option<Leaf> {
        match self.entry(address) {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }
    /// What stands in the tables for `page`. Under a table that is shared with a forked space nothing is writable.
    #[inline]
    #[must_use]
    pub fn entry(&self, page: VirtualAddress) -> Entry {
        if page.value() >= F::USER_LIMIT {
            return Entry::Empty;
        }
        let found = self.walker.find(page);
        entry_of::<F>(found.entry, found.level, found.is_shared)
    }
    /// A new reference to the frame behind `page` (for a large leaf: to the whole block); `None` when there is no counted leaf.
    #[must_use]
    pub fn frame(&self, page: VirtualAddress) -> Option<Frame> {
        if page.value() >= F::USER_LIMIT {
            return None;
        }
        let found = self.walker.find(page);
        leaf_reference::<F>(found.entry, found.level)
    }
    /// Puts a software value (1..2^50) where nothing is mapped, or a leaf was; 0 clears.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`].
    pub fn set_software(&mut self, page: VirtualAddress, value: u64, batch: &mut Batch<T>) -> Result<(), MapError> {
        self.walker.check(page, FrameNumber::new(0), 0)?;
        self.put(page, F::software(value), batch)
    }

    /// Calls `visit` for every entry in `range` that is not empty, in order, skipping absent tables fast. Leaves that straddle
    /// the range's ends are split first. Tables that end up empty are freed.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] as for [`Tables::unmap`]; entries before that were visited.
    pub fn visit_range(
        &mut self,
        range: VirtualRange,
        batch: &mut Batch<T>,
        mut visit: impl FnMut(&mut LeafSlot<'_, F, A, T>) -> ControlFlow<()>,
    ) -> Result<(), MapError> {
        let end = range.end.value().min(F::USER_LIMIT);
        let start = range.start.align_down().value();
        visit_table(&self.walker, self.walker.root(), TOP_LEVEL, start, end, batch, &mut visit).map(|_| ())
    }

    /// As [`Tables::visit_range`], looking only: nothing is split, unshared or freed.
    pub fn inspect_range(&self, range: VirtualRange, mut visit: impl FnMut(VirtualAddress, Entry) -> ControlFlow<()>) {
        let end = range.end.value().min(F::USER_LIMIT);
        let start = range.start.align_down().value();
        let _ = inspect_table(&self.walker, self.walker.root(), TOP_LEVEL, start, end, false, &mut visit);
    }

    /// Removes everything in `range`: as visiting and taking each, but cheaper. Gives the number of 4 KiB pages that had leaves.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] as for [`Tables::unmap`].
    pub fn unmap_range(&mut self, range: VirtualRange, batch: &mut Batch<T>) -> Result<u64, MapError> {
        let end = range.end.value().min(F::USER_LIMIT);
        let start = range.start.align_down().value();
        let mut pages = 0;
        unmap_table(&self.walker, self.walker.root(), TOP_LEVEL, start, end, batch, &mut pages)?;
        Ok(pages)
    }

    /// Moves all entries of `from` to the same length at `to` (`mremap`), where nothing is mapped.
    ///
    /// # Errors
    /// [`MapError`]; what was moved before stays moved.
    pub fn move_range(&mut self, from: VirtualRange, to: VirtualAddress, batch: &mut Batch<T>) -> Result<(), MapError> {
        let mut error = None;
        // A clone of the walker: the range that is visited and the one that is filled do not overlap.
        let target = self.walker.clone();
        let end = from.end.value().min(F::USER_LIMIT);
        let start = from.start.align_down().value();
        let _ =
            visit_table(&self.walker, self.walker.root(), TOP_LEVEL, start, end, batch, &mut |slot: &mut LeafSlot<
                '_,
                F,
                A,
                T,
            >| {
                let page = to.offset(slot.page.value() - start);
                let aligned = target.check(page, F::frame(slot.entry), slot.level);
                match aligned.and_then(|()| target.insert(page, slot.level, slot.entry)) {
                    Ok(()) => {
                        // The hardware may have set bits since the entry was read.
                        let last = slot.release();
                        if last != slot.entry
                            && let Ok(Some(table)) = target.reach(page, slot.level, Absent::Stop)
                        {
                            target.entry_pointer(table, slot.level, page).store(last);
                        }
                        ControlFlow::Continue(())
                    }
                    Err(failure) => {
                        error = Some(failure);
                        ControlFlow::Break(())
                    }
                }
            })?;
        error.map_or(Ok(()), Err)
    }

    /// Replaces everything in the 2 MiB or 1 GiB at `page` by one leaf to `block`, which has the content already.
    ///
    /// # Errors
    /// [`MapError`]; the old leaves may then be gone.
    pub fn collapse(
        &mut self,
        page: VirtualAddress,
        block: Frame,
        flags: PageFlags,
        batch: &mut Batch<T>,
    ) -> Result<(), MapError> {
        self.set(page, block, flags, batch)
    }

    /// The tables of a forked child: the same leaves, each frame with one more reference; writable leaves that are not
    /// [`PageFlags::SHARED`] become [`PageFlags::COPY_ON_WRITE`] without `WRITABLE` on both sides. `None` when memory is out.
    ///
    /// Costs by entries of the top table: the tables below are shared until one side changes something.
    pub fn fork(&mut self, batch: &mut Batch<T>) -> Option<Self>
    where
        A: From<FrameNumber>,
    {
        let child = Self::with(A::from, self.tlb().clone())?;
        let groups = used_groups(self.walker.root());
        if let Some(root) = super::super::frame_allocator::descriptor(child.walker.root()) {
            root.set_owner(groups);
        }
        for index in possibly_used(groups) {
            let at = VirtualAddress::new(index << level_shift(TOP_LEVEL));
            let pointer = self.walker.entry_pointer(self.walker.root(), TOP_LEVEL, at);
            let entry = pointer.load();
            if entry == 0 {
                continue;
            }
            let shared = F::share(entry);
            pointer.store(shared);
            if let Some(table) = super::super::frame_allocator::descriptor(F::frame(entry)) {
                let _ = table.add_reference();
            }
            child.walker.entry_pointer(child.walker.root(), TOP_LEVEL, at).store(shared);
        }
        batch.invalidate_all();
        Some(child)
    }

    /// How many frames hold the tables themselves (`VmPTE`), shared ones included. Linear in them.
    #[must_use]
    pub fn table_count(&self) -> u64 {
        count_tables::<F>(self.walker.root(), TOP_LEVEL)
    }
}

impl<F: Format, A: TableAccess, T: Tlb> Drop for Tables<F, A, T> {
    fn drop(&mut self) {
        let root = self.walker.root();
        for index in possibly_used(used_groups(root)) {
            let at = VirtualAddress::new(index << level_shift(TOP_LEVEL));
            let pointer = super::access::Physmap.entry(root, TOP_LEVEL, at);
            let entry = pointer.load();
            if entry != 0 {
                pointer.store(0);
                release_table::<F>(F::frame(entry), TOP_LEVEL - 1);
            }
        }
        if let Some(root) = table_frame(root) {
            kernel::free_root::<F>(root);
        }
    }
}

/// The groups of a table that may hold entries (of the user half).
fn used_groups(table: FrameNumber) -> u64 {
    super::super::frame_allocator::descriptor(table).map_or(0, |table| table.owner())
}

fn leaf_of<F: Format>(entry: u64, level: u8, is_shared: bool) -> Option<Leaf> {
    match F::decode(entry, level) {
        Decoded::Leaf(frame, flags) => {
            Some(Leaf { frame, flags: effective(flags, is_shared), size: level_size(level) })
        }
        _ => None,
    }
}

fn entry_of<F: Format>(entry: u64, level: u8, is_shared: bool) -> Entry {
    match F::decode(entry, level) {
        Decoded::Leaf(frame, flags) => {
            Entry::Leaf(Leaf { frame, flags: effective(flags, is_shared), size: level_size(level) })
        }
        Decoded::Software(value) => Entry::Software(value),
        Decoded::Empty | Decoded::Table(_) => Entry::Empty,
    }
}

/// One entry that is not empty, during [`Tables::visit_range`].
#[derive(Debug)]
pub struct LeafSlot<'a, F: Format, A: TableAccess, T: Tlb> {
    walker: &'a Mapper<F, A, T>,
    table: FrameNumber,
    level: u8,
    page: VirtualAddress,
    entry: u64,
    batch: &'a mut Batch<T>,
}

impl<F: Format, A: TableAccess, T: Tlb> LeafSlot<'_, F, A, T> {
    /// The first address that it maps.
    #[must_use]
    pub fn page(&self) -> VirtualAddress {
        self.page
    }
    /// What stands there.
    #[must_use]
    pub fn entry(&self) -> Entry {
        entry_of::<F>(self.entry, self.level, false)
    }
    /// The translation, if it is one.
    #[must_use]
    pub fn leaf(&self) -> Option<Leaf> {
        leaf_of::<F>(self.entry, self.level, false)
    }
    /// A new reference to its frame, if it is counted.
    #[must_use]
    pub fn frame(&self) -> Option<Frame> {
        leaf_reference::<F>(self.entry, self.level)
    }
    /// Replaces the flags of the leaf.
    pub fn protect(&mut self, flags: PageFlags) {
        if let Decoded::Leaf(frame, old) = F::decode(self.entry, self.level) {
            let kept = old & PageFlags::UNCOUNTED;
            code::before_mapping(frame, flags, self.level);
            self.entry = F::leaf(frame, flags - PageFlags::UNCOUNTED | kept, self.level);
            self.walker.entry_pointer(self.table, self.level, self.page).store(self.entry);
            self.batch.invalidate(self.page);
        }
    }
    /// Empties the entry; its frame goes into the batch.
    pub fn take(&mut self) {
        self.walker.clear(self.table, self.level, self.page, self.batch);
        self.entry = 0;
    }
    /// Empties the entry without dropping its reference. Gives what stood there last.
    fn release(&mut self) -> u64 {
        let last = self.walker.entry_pointer(self.table, self.level, self.page).swap(0);
        self.walker.count(self.table, self.level, self.page, -1);
        self.batch.invalidate(self.page);
        last
    }
    /// Maps another frame of the same size; the old one goes into the batch. A frame of another size is dropped.
    pub fn set(&mut self, frame: Frame, flags: PageFlags) {
        if block_level(&frame) != Ok(self.level) {
            return;
        }
        code::before_mapping(frame.number(), flags, self.level);
        let entry = F::leaf(frame.into_raw(), flags - PageFlags::UNCOUNTED, self.level);
        self.replace(entry);
    }
    /// Puts a software value (1..2^50) in place of what is there; the frame goes into the batch.
    pub fn set_software(&mut self, value: u64) {
        self.replace(F::software(value));
    }
    fn replace(&mut self, entry: u64) {
        let pointer = self.walker.entry_pointer(self.table, self.level, self.page);
        let old = pointer.swap(if F::BREAK_BEFORE_MAKE { 0 } else { entry });
        if F::BREAK_BEFORE_MAKE {
            self.batch.invalidate(self.page);
            self.batch.flush();
            pointer.store(entry);
        }
        self.walker.count(self.table, self.level, self.page, i64::from(entry != 0) - i64::from(old != 0));
        if old != 0 {
            discard::<F, T>(old, self.level, self.page, self.batch);
        }
        self.entry = entry;
    }
}

/// The end of the entry that holds `address`, or `end` if that comes first.
#[inline]
fn next_boundary(address: u64, level: u8, end: u64) -> u64 {
    (address | (level_span(level) - 1)).saturating_add(1).min(end)
}

#[inline]
fn covers_entry(address: u64, next: u64, level: u8) -> bool {
    next - address == level_span(level)
}

fn visit_table<F: Format, A: TableAccess, T: Tlb>(
    walker: &Mapper<F, A, T>,
    table: FrameNumber,
    level: u8,
    start: u64,
    end: u64,
    batch: &mut Batch<T>,
    visit: &mut impl FnMut(&mut LeafSlot<'_, F, A, T>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, MapError> {
    let mut address = start;
    while address < end {
        let next = next_boundary(address, level, end);
        let at = VirtualAddress::new(address);
        let pointer = walker.entry_pointer(table, level, at);
        let mut entry = pointer.load();
        if entry == 0 {
            address = walker.skip(table, level, address, next, end);
            continue;
        }
        if level > 0 && !F::is_table(entry, level) && !covers_entry(address, next, level) {
            entry = walker.split(pointer, entry, level, at)?;
        }
        if F::is_table(entry, level) {
            if F::is_shared(entry) {
                entry = walker.unshare(pointer, entry, level, at)?;
            }
            let child = F::frame(entry);
            let flow = visit_table(walker, child, level - 1, address, next, batch, visit)?;
            if walker.is_unused(child) {
                walker.remove_table(pointer, entry, table, level, at, batch);
            }
            if flow.is_break() {
                return Ok(flow);
            }
        } else {
            let mut slot = LeafSlot { walker, table, level, page: at, entry, batch };
            if visit(&mut slot).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        address = next;
    }
    Ok(ControlFlow::Continue(()))
}

fn inspect_table<F: Format, A: TableAccess, T: Tlb>(
    walker: &Mapper<F, A, T>,
    table: FrameNumber,
    level: u8,
    start: u64,
    end: u64,
    is_shared: bool,
    visit: &mut impl FnMut(VirtualAddress, Entry) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut address = start;
    while address < end {
        let next = next_boundary(address, level, end);
        let at = VirtualAddress::new(address);
        let entry = walker.entry_pointer(table, level, at).load();
        if F::is_table(entry, level) {
            let is_shared = is_shared || F::is_shared(entry);
            inspect_table(walker, F::frame(entry), level - 1, address, next, is_shared, visit)?;
        } else if entry != 0 {
            let first = VirtualAddress::new(address & !(level_span(level) - 1));
            visit(first, entry_of::<F>(entry, level, is_shared))?;
        } else {
            address = walker.skip(table, level, address, next, end);
            continue;
        }
        address = next;
    }
    ControlFlow::Continue(())
}

/// 4 KiB pages of leaves in `[start, end)` of a table that is looked at only.
fn count_pages<F: Format>(table: FrameNumber, level: u8) -> u64 {
    let mut pages = 0;
    for index in possibly_used(used_groups(table)) {
        let at = VirtualAddress::new(index << level_shift(level));
        let entry = super::access::Physmap.entry(table, level, at).load();
        if entry == 0 {
            continue;
        }
        pages += match F::decode(entry, level) {
            Decoded::Table(child) => count_pages::<F>(child, level - 1),
            Decoded::Leaf(..) => level_span(level) >> level_shift(0),
            _ => 0,
        };
    }
    pages
}

fn unmap_table<F: Format, A: TableAccess, T: Tlb>(
    walker: &Mapper<F, A, T>,
    table: FrameNumber,
    level: u8,
    start: u64,
    end: u64,
    batch: &mut Batch<T>,
    pages: &mut u64,
) -> Result<(), MapError> {
    let mut address = start;
    while address < end {
        let next = next_boundary(address, level, end);
        let at = VirtualAddress::new(address);
        let pointer = walker.entry_pointer(table, level, at);
        let mut entry = pointer.load();
        if entry == 0 {
            address = walker.skip(table, level, address, next, end);
            continue;
        }
        let is_whole = covers_entry(address, next, level);
        if F::is_table(entry, level) {
            if F::is_shared(entry) && is_whole {
                // Nobody's translations but this space's go away; what is below stays with the other sharers.
                *pages += count_pages::<F>(F::frame(entry), level - 1);
                pointer.store(0);
                walker.count(table, level, at, -1);
                batch.invalidate_all();
                batch.flush();
                release_table::<F>(F::frame(entry), level - 1);
                address = next;
                continue;
            }
            if F::is_shared(entry) {
                entry = walker.unshare(pointer, entry, level, at)?;
            }
            unmap_table(walker, F::frame(entry), level - 1, address, next, batch, pages)?;
            if walker.is_unused(F::frame(entry)) {
                walker.remove_table(pointer, entry, table, level, at, batch);
            }
        } else if level > 0 && !is_whole {
            entry = walker.split(pointer, entry, level, at)?;
            unmap_table(walker, F::frame(entry), level - 1, address, next, batch, pages)?;
        } else {
            let old = pointer.swap(0);
            walker.count(table, level, at, -1);
            if let Decoded::Leaf(..) = F::decode(old, level) {
                *pages += level_span(level) >> level_shift(0);
                batch.invalidate(at);
                if let Some(frame) = leaf_frame::<F>(old, level) {
                    batch.defer_free(frame);
                }
            }
        }
        address = next;
    }
    Ok(())
}

fn count_tables<F: Format>(table: FrameNumber, level: u8) -> u64 {
    let entries = if level == TOP_LEVEL { F::USER_LIMIT >> level_shift(level) } else { ENTRIES as u64 };
    let mut count = 1;
    if level == 0 {
        return count;
    }
    for index in 0..entries {
        let at = VirtualAddress::new(index << level_shift(level));
        let entry = super::access::Physmap.entry(table, level, at).load();
        if F::is_table(entry, level) {
            count += count_tables::<F>(F::frame(entry), level - 1);
        }
    }
    count
}

/// An empty top table in the user half alone: for formats without a kernel half.
pub(super) fn plain_root() -> Option<Frame> {
    new_table().ok()
}
