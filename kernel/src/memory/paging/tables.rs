//! The user half of an address space: what [`super::PageTables`] does, for any format.

use super::super::frame::Frame;
use super::access::TableAccess;
use super::entries::{discard, leaf_reference, possibly_used, release_table, table_frame, used_groups};
use super::entry::{block_level, entry_of, leaf_of};
use super::format::{Decoded, ENTRIES, Format, Half, TOP_LEVEL, level_shift, level_span};
use super::mapper::{Absent, Mapper};
use super::run::LONGEST;
use super::tlb::{Batch, Tlb};
use super::{Entry, Leaf, MapError, PageFlags, code, kernel};
use crate::base::{FrameNumber, PhysicalAddress, VirtualAddress, VirtualRange};
use arrayvec::ArrayVec;

/// The tables of one address space's user half; the kernel half is shared by all. A leaf owns one reference to its frame unless it
/// is [`PageFlags::UNCOUNTED`]; `Drop` gives back leaves and tables, and the space must then be active on no CPU.
///
/// After [`Tables::fork`] tables are shared between parent and child until one changes something below them, so **a frame that is
/// referred to once may still be mapped in two spaces**: call [`Tables::unshare`] before deciding by a reference count.
#[derive(Debug)]
pub struct Tables<F: Format, A: TableAccess, T: Tlb> {
    walker: Mapper<F, A, T>,
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
    /// How many pages [`Tables::map_run`] maps; 1 where the format gains nothing by it.
    pub const RUN_PAGES: u64 = F::RUN;

    /// Maps [`Tables::RUN_PAGES`] pages from `page` on to as many frames that follow each other, both aligned to their number, where nothing is
    /// mapped yet: all or nothing.
    ///
    /// # Errors
    /// [`MapError`]; the frames' references are then dropped.
    pub fn map_run(
        &mut self,
        page: VirtualAddress,
        frames: ArrayVec<Frame, LONGEST>,
        flags: PageFlags,
    ) -> Result<(), MapError> {
        let first = frames.first().ok_or(MapError::Unaligned)?.number();
        let follow =
            frames.iter().zip(0..).all(|(frame, index)| frame.number() == first.offset(index) && frame.order() == 0);
        if !follow || frames.len() as u64 != F::RUN {
            return Err(MapError::Unaligned);
        }
        for frame in &frames {
            code::before_mapping(frame.number(), flags, 0);
        }
        self.walker.insert_run(page, first, flags - PageFlags::UNCOUNTED)?;
        for frame in frames {
            // The entry has the reference now.
            let _ = frame.into_raw();
        }
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
        let _ = self.walker.alone(table, 0, page);
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
        let entry = self.walker.alone(table, 0, page);
        let Decoded::Leaf(frame, old) = F::decode(entry, 0) else { return Ok(false) };
        let kept = old & PageFlags::UNCOUNTED;
        code::before_mapping(frame, flags, 0);
        pointer.store(F::leaf(frame, (flags - PageFlags::UNCOUNTED) | kept, 0));
        batch.invalidate(page);
        Ok(true)
    }
    /// Notes an access or a store in the leaf that maps `page`, as large as it is, for hardware that does not. `Ok(false)` when there is none.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] when a table on the way is shared and there is no memory for a copy.
    pub fn note(&mut self, page: VirtualAddress, noted: PageFlags, batch: &mut Batch<T>) -> Result<bool, MapError> {
        if page.value() >= F::USER_LIMIT {
            return Ok(false);
        }
        let level = self.walker.find(page).level;
        let Some(table) = self.walker.reach(page, level, Absent::Stop)? else { return Ok(false) };
        let entry = self.walker.alone(table, level, page);
        let Decoded::Leaf(frame, flags) = F::decode(entry, level) else { return Ok(false) };
        self.walker.entry_pointer(table, level, page).store(F::leaf(frame, flags | noted, level));
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
            if F::RUN > 1 && F::has_runs(entry) {
                self.walker.dissolve_writable(F::frame(entry), TOP_LEVEL - 1, at.value());
            }
            let shared = F::share(F::unmark_runs(entry));
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
        self.tlb().leave(root.address());
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
