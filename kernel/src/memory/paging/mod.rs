//! Page tables of both machines behind one walker.

use super::frame::Frame;
use crate::base::{Errno, FrameNumber, PhysicalAddress, VirtualAddress, VirtualRange};
use core::ops::ControlFlow;

bitflags::bitflags! {
    /// What a leaf allows and records, in no machine's layout.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PageFlags: u32 {
        /// Stores are allowed.
        const WRITABLE = 1 << 0;
        /// User mode may use it.
        const USER = 1 << 1;
        /// Instruction fetch is allowed.
        const EXECUTABLE = 1 << 2;
        /// The same in every address space (kernel mappings).
        const GLOBAL = 1 << 3;
        /// Uncached device memory.
        const DEVICE = 1 << 4;
        /// Uncached, stores combined (frame buffers).
        const WRITE_COMBINING = 1 << 5;
        /// The hardware (or the fault path) saw an access.
        const ACCESSED = 1 << 6;
        /// The hardware (or the fault path) saw a store.
        const DIRTY = 1 << 7;
        /// Software: the first store gets a copy of the frame.
        const COPY_ON_WRITE = 1 << 8;
        /// Software: part of a shared mapping: `fork` leaves it writable.
        const SHARED = 1 << 9;
        /// Software: the frame is not reference-counted (the zero page, the vDSO, device memory).
        const UNCOUNTED = 1 << 10;
        /// The mapping is kept but nobody may use it (`PROT_NONE`): every access faults, the kernel's too.
        const NO_ACCESS = 1 << 11;
    }
}

/// The sizes that a leaf comes in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PageSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

/// A translation: what a page maps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The frame (the first one of a large leaf).
    pub frame: FrameNumber,
    /// What it allows.
    pub flags: PageFlags,
    /// How much it maps.
    pub size: PageSize,
}

/// What stands in the tables for a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing.
    Empty,
    /// A translation ([`PageFlags::NO_ACCESS`] included).
    Leaf(Leaf),
    /// A value of the kernel's own where there is no translation (a swap slot): 1..2^50.
    Software(u64),
}

/// Why a mapping was not made or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No memory for a table.
    OutOfMemory,
    /// Something is mapped there already.
    AlreadyMapped,
    /// The page or frame is not aligned to the size, or not in the user half.
    Unaligned,
}

impl From<MapError> for Errno {
    fn from(error: MapError) -> Self {
        match error {
            MapError::OutOfMemory => Self::ENOMEM,
            MapError::AlreadyMapped => Self::EEXIST,
            MapError::Unaligned => Self::EINVAL,
        }
    }
}

/// Translations to forget and frames to free afterwards, gathered over one change of an address space. Dropping it
/// invalidates on every CPU that needs it and then drops the frames, in that order: keep the address space's lock until then
/// only if the caller relies on the translations being gone.
#[derive(Debug)]
pub struct TlbBatch {
    root: PhysicalAddress,
}

impl TlbBatch {
    /// An empty batch for changes to `tables`.
    #[must_use]
    pub fn new(tables: &PageTables) -> Self {
        Self { root: tables.root() }
    }
    /// Keeps `frame` alive until the invalidation is done.
    pub fn defer_free(&mut self, frame: Frame) {
        drop(frame);
    }
    /// Invalidates and frees what was gathered up to now.
    pub fn flush(&mut self) {
        let _ = self.root;
    }
}

/// The user half of an address space; the kernel half is shared by all. A leaf owns one reference to its frame unless it is
/// [`PageFlags::UNCOUNTED`]; `Drop` gives back leaves and tables, and the space must then be active on no CPU.
#[derive(Debug)]
pub struct PageTables {
    root: Frame,
}

impl PageTables {
    /// Empty tables. `None` when memory is out.
    #[must_use]
    pub fn new() -> Option<Self> {
        Frame::allocate_zeroed().map(|root| Self { root })
    }
    /// The top table, for `Mmu::activate`.
    #[must_use]
    pub fn root(&self) -> PhysicalAddress {
        self.root.number().address()
    }
    /// Maps `page` to `frame` (its order gives the size: 0, 9 or 18), where nothing is mapped yet.
    ///
    /// # Errors
    /// [`MapError`]; the frame's reference is then dropped.
    pub fn map(&mut self, _page: VirtualAddress, _frame: Frame, _flags: PageFlags) -> Result<(), MapError> {
        Err(MapError::OutOfMemory)
    }
    /// Maps `page` to a frame that is not counted, where nothing is mapped yet. `UNCOUNTED` is set by this.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_uncounted(
        &mut self,
        _page: VirtualAddress,
        _frame: FrameNumber,
        _flags: PageFlags,
    ) -> Result<(), MapError> {
        Err(MapError::OutOfMemory)
    }
    /// Maps `page` to `frame` whatever stood there; the old frame goes into `batch`.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`], [`MapError::Unaligned`].
    pub fn set(
        &mut self,
        _page: VirtualAddress,
        _frame: Frame,
        _flags: PageFlags,
        _batch: &mut TlbBatch,
    ) -> Result<(), MapError> {
        Err(MapError::OutOfMemory)
    }
    /// Removes the entry of `page` (splitting a larger leaf first); its frame goes into `batch`.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] when a split or the unsharing of a table needs memory that is not there.
    pub fn unmap(&mut self, _page: VirtualAddress, _batch: &mut TlbBatch) -> Result<Option<Leaf>, MapError> {
        Ok(None)
    }
    /// Replaces the flags of the leaf at `page`. `Ok(false)` when there is none.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] as for [`PageTables::unmap`].
    pub fn protect(
        &mut self,
        _page: VirtualAddress,
        _flags: PageFlags,
        _batch: &mut TlbBatch,
    ) -> Result<bool, MapError> {
        Ok(false)
    }
    /// The leaf that maps the byte at `address`.
    #[must_use]
    pub fn translate(&self, _address: VirtualAddress) -> Option<Leaf> {
        None
    }
    /// What stands in the tables for `page`.
    #[must_use]
    pub fn entry(&self, _page: VirtualAddress) -> Entry {
        Entry::Empty
    }
    /// A new reference to the frame behind `page` (for a large leaf: to the whole block); `None` when there is no counted leaf.
    #[must_use]
    pub fn frame(&self, _page: VirtualAddress) -> Option<Frame> {
        None
    }
    /// Puts a software value (1..2^50) where nothing is mapped, or a leaf was; 0 clears.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`].
    pub fn set_software(&mut self, _page: VirtualAddress, _value: u64, _batch: &mut TlbBatch) -> Result<(), MapError> {
        Err(MapError::OutOfMemory)
    }
    /// Calls `visit` for every entry in `range` that is not empty, in order, skipping absent tables fast. Leaves that straddle
    /// the range's ends are split first. Tables that end up empty are freed.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] as for [`PageTables::unmap`]; entries before that were visited.
    pub fn visit_range(
        &mut self,
        _range: VirtualRange,
        _batch: &mut TlbBatch,
        _visit: impl FnMut(&mut LeafSlot<'_>) -> ControlFlow<()>,
    ) -> Result<(), MapError> {
        Ok(())
    }
    /// As [`PageTables::visit_range`], looking only: nothing is split, unshared or freed.
    pub fn inspect_range(&self, _range: VirtualRange, _visit: impl FnMut(VirtualAddress, Entry) -> ControlFlow<()>) {}
    /// Removes everything in `range`: as visiting and taking each, but cheaper. Gives the number of 4 KiB pages that had leaves.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] as for [`PageTables::unmap`].
    pub fn unmap_range(&mut self, _range: VirtualRange, _batch: &mut TlbBatch) -> Result<u64, MapError> {
        Ok(0)
    }
    /// Moves all entries of `from` to the same length at `to` (`mremap`), where nothing is mapped.
    ///
    /// # Errors
    /// [`MapError`]; what was moved before stays moved.
    pub fn move_range(
        &mut self,
        _from: VirtualRange,
        _to: VirtualAddress,
        _batch: &mut TlbBatch,
    ) -> Result<(), MapError> {
        Ok(())
    }
    /// The tables of a forked child: the same leaves, each frame with one more reference; writable leaves that are not
    /// [`PageFlags::SHARED`] become [`PageFlags::COPY_ON_WRITE`] without `WRITABLE` on both sides. `None` when memory is out.
    pub fn fork(&mut self, _batch: &mut TlbBatch) -> Option<Self> {
        None
    }
    /// How many frames hold the tables themselves (`VmPTE`).
    #[must_use]
    pub fn table_count(&self) -> u64 {
        1
    }
}

/// One entry that is not empty, during [`PageTables::visit_range`].
#[derive(Debug)]
pub struct LeafSlot<'a> {
    page: VirtualAddress,
    batch: &'a mut TlbBatch,
}

impl LeafSlot<'_> {
    /// The first address that it maps.
    #[must_use]
    pub fn page(&self) -> VirtualAddress {
        self.page
    }
    /// What stands there.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry::Empty
    }
    /// The translation, if it is one.
    #[must_use]
    pub fn leaf(&self) -> Option<Leaf> {
        None
    }
    /// A new reference to its frame, if it is counted.
    #[must_use]
    pub fn frame(&self) -> Option<Frame> {
        None
    }
    /// Replaces the flags of the leaf.
    pub fn protect(&mut self, _flags: PageFlags) {}
    /// Empties the entry; its frame goes into the batch.
    pub fn take(&mut self) {
        self.batch.flush();
    }
    /// Maps another frame; the old one goes into the batch.
    pub fn set(&mut self, _frame: Frame, _flags: PageFlags) {}
    /// Puts a software value (1..2^50) in place of what is there; the frame goes into the batch.
    pub fn set_software(&mut self, _value: u64) {}
}
