//! Forgetting translations: what a walker tells the TLB, and the batch that frees frames only afterwards.

use super::super::frame::Frame;
use super::access::{TableAccess, window_address};
use super::format::Format;
use super::{PageTables, Tables, shootdown};
use crate::base::{PhysicalAddress, VirtualAddress};
use arrayvec::ArrayVec;

/// A TLB, as far as a walker talks to it.
pub trait Tlb: Clone + core::fmt::Debug {
    /// Forgets one page of the space under `root`, and cached table pointers on the way to it, on every CPU that may hold them.
    fn invalidate_page(&self, root: PhysicalAddress, page: VirtualAddress);
    /// As [`Tlb::invalidate_page`], for several pages.
    fn invalidate_pages(&self, root: PhysicalAddress, pages: &[VirtualAddress]) {
        for page in pages {
            self.invalidate_page(root, *page);
        }
    }
    /// Forgets everything of the space under `root`, likewise.
    fn invalidate_all(&self, root: PhysicalAddress);
    /// The space under `root` ends: no CPU may have it active any longer, not even one that runs no thread of it.
    fn leave(&self, _root: PhysicalAddress) {}
}

/// The machine's, on every CPU ([`shootdown`]).
#[derive(Clone, Copy, Default, Debug)]
pub struct HardwareTlb;

impl Tlb for HardwareTlb {
    #[inline]
    fn invalidate_page(&self, root: PhysicalAddress, page: VirtualAddress) {
        shootdown::invalidate(root, Some(&[page]));
    }
    #[inline]
    fn invalidate_pages(&self, root: PhysicalAddress, pages: &[VirtualAddress]) {
        shootdown::invalidate(root, Some(pages));
    }
    fn invalidate_all(&self, root: PhysicalAddress) {
        shootdown::invalidate(root, None);
    }
    fn leave(&self, root: PhysicalAddress) {
        shootdown::leave_everywhere(root);
    }
}

/// Kernel mappings: seen by every space, so always forgotten.
#[derive(Clone, Copy, Default, Debug)]
pub struct KernelTlb;

impl Tlb for KernelTlb {
    fn invalidate_page(&self, _root: PhysicalAddress, page: VirtualAddress) {
        shootdown::invalidate_kernel_pages(&[page]);
    }
    fn invalidate_pages(&self, _root: PhysicalAddress, pages: &[VirtualAddress]) {
        shootdown::invalidate_kernel_pages(pages);
    }
    fn invalidate_all(&self, _root: PhysicalAddress) {
        shootdown::invalidate_everything();
    }
}

/// More pages than this are forgotten all at once (Linux's `tlb_single_page_flush_ceiling` is 33).
const PAGES: usize = 24;
/// Frames that wait for an invalidation at most.
const FRAMES: usize = 32;
const TABLES: usize = 8;

/// Translations to forget and frames to free afterwards, gathered over one change of an address space. Dropping it
/// invalidates on every CPU that needs it and then drops the frames, in that order: keep the address space's lock until then
/// only if the caller relies on the translations being gone.
#[derive(Debug)]
pub struct Batch<T: Tlb> {
    root: PhysicalAddress,
    tlb: T,
    pages: ArrayVec<VirtualAddress, PAGES>,
    overflow: bool,
    frames: ArrayVec<Frame, FRAMES>,
    tables: ArrayVec<Frame, TABLES>,
}

/// The batch for [`PageTables`].
pub type TlbBatch = Batch<HardwareTlb>;

impl TlbBatch {
    /// An empty batch for changes to `tables`.
    #[must_use]
    pub fn new(tables: &PageTables) -> Self {
        Self::for_tables(tables)
    }
}

impl<T: Tlb> Batch<T> {
    /// An empty batch for changes to `tables`, of any format.
    #[must_use]
    pub fn for_tables<F: Format, A: TableAccess>(tables: &Tables<F, A, T>) -> Self {
        Self::for_root(tables.root(), tables.tlb().clone())
    }
    /// An empty batch for changes below `root`.
    pub(super) fn for_root(root: PhysicalAddress, tlb: T) -> Self {
        Self {
            root,
            tlb,
            pages: ArrayVec::new_const(),
            overflow: false,
            frames: ArrayVec::new_const(),
            tables: ArrayVec::new_const(),
        }
    }
    /// The translation of `page` must go.
    #[inline]
    pub fn invalidate(&mut self, page: VirtualAddress) {
        if self.pages.try_push(page).is_err() {
            self.overflow = true;
        }
    }
    /// All translations must go.
    pub fn invalidate_all(&mut self) {
        self.overflow = true;
    }
    /// Keeps `frame` alive until the invalidation is done.
    #[inline]
    pub fn defer_free(&mut self, frame: Frame) {
        if self.frames.is_full() {
            self.flush();
        }
        // There is room: it was just made.
        let _ = self.frames.try_push(frame);
    }
    /// Keeps a table of `level` around `address`, all zeros by now, alive until it is forgotten everywhere.
    pub(super) fn defer_table<F: Format>(&mut self, table: Frame, level: u8, address: VirtualAddress) {
        if self.tables.is_full() {
            self.flush();
        }
        let _ = self.tables.try_push(table);
        self.invalidate(address);
        if let Some(slot) = F::RECURSIVE_SLOT {
            // The table was visible in the recursive window, too, a level further down.
            self.invalidate(window_address(slot, level, address).align_down());
        }
    }
    /// Invalidates and frees what was gathered up to now.
    pub fn flush(&mut self) {
        if self.overflow {
            self.tlb.invalidate_all(self.root);
        } else {
            self.tlb.invalidate_pages(self.root, &self.pages);
        }
        self.overflow = false;
        self.pages.clear();
        self.frames.clear();
        for table in self.tables.drain(..) {
            table.drop_zeroed();
        }
    }
}

impl<T: Tlb> Drop for Batch<T> {
    fn drop(&mut self) {
        self.flush();
    }
}
