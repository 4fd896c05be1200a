//! An entry in the hands of a visitor: looking at it, changing it, taking it away.

use super::super::frame::Frame;
use super::access::TableAccess;
use super::entries::{discard, leaf_reference};
use super::entry::{block_level, entry_of, leaf_of};
use super::format::{Decoded, Format};
use super::mapper::Mapper;
use super::tlb::{Batch, Tlb};
use super::{Entry, Leaf, PageFlags, code};
use crate::base::{FrameNumber, VirtualAddress};

/// One entry that is not empty, during [`super::Tables::visit_range`].
#[derive(Debug)]
pub struct LeafSlot<'a, F: Format, A: TableAccess, T: Tlb> {
    pub(super) walker: &'a Mapper<F, A, T>,
    pub(super) table: FrameNumber,
    pub(super) level: u8,
    pub(super) page: VirtualAddress,
    pub(super) entry: u64,
    pub(super) batch: &'a mut Batch<T>,
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
    /// Takes it out of its run, if it is in one: it is about to change.
    #[inline]
    pub(super) fn leave_run(&mut self) {
        if F::RUN > 1 && F::is_joined(self.entry, self.level) {
            self.entry = self.walker.alone(self.table, self.level, self.page);
        }
    }
    /// Replaces the flags of the leaf.
    pub fn protect(&mut self, flags: PageFlags) {
        self.leave_run();
        if let Decoded::Leaf(frame, old) = F::decode(self.entry, self.level) {
            let kept = old & PageFlags::UNCOUNTED;
            code::before_mapping(frame, flags, self.level);
            self.entry = F::leaf(frame, (flags - PageFlags::UNCOUNTED) | kept, self.level);
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
    pub(super) fn release(&mut self) -> u64 {
        self.leave_run();
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
        self.leave_run();
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
