//! What table entries stand for: references to tables and to frames. Taking one out of an entry, doubling it, dropping it.
//!
//! Each entry of a table that leads to another table, and each counted leaf, holds one reference. A table's descriptor knows which groups of its
//! entries may be in use, so that copying and releasing looks at little.

use super::super::frame::Frame;
use super::super::frame_allocator::descriptor;
use super::super::frame_descriptor::{FrameDescriptor, FrameKind};
use super::access::{EntryPointer, Physmap, TableAccess};
use super::format::{Decoded, ENTRIES, Format, level_shift};
use super::tlb::{Batch, Tlb};
use super::{MapError, PageFlags};
use crate::base::{FrameNumber, VirtualAddress};

/// A table's frame out of the reference that its entry held.
#[allow(unsafe_code, reason = "a table entry stands for one reference to the table")]
pub(super) fn table_frame(number: FrameNumber) -> Option<Frame> {
    // SAFETY: the caller has just removed the entry (or owns the table that holds it), and with it the reference.
    unsafe { Frame::from_raw(number) }
}

/// A leaf's frame out of the reference that its entry held.
#[allow(unsafe_code, reason = "a counted leaf stands for one reference to its frame")]
pub(super) fn leaf_frame<F: Format>(entry: u64, level: u8) -> Option<Frame> {
    if !F::is_counted_leaf(entry, level) {
        return None;
    }
    // SAFETY: the caller has just removed the entry, and with it the reference.
    unsafe { Frame::from_raw(F::frame(entry)) }
}

/// Another reference to a leaf's frame.
#[allow(unsafe_code, reason = "a counted leaf stands for one reference to its frame")]
pub(super) fn leaf_reference<F: Format>(entry: u64, level: u8) -> Option<Frame> {
    if !F::is_counted_leaf(entry, level) {
        return None;
    }
    // SAFETY: the entry stands in a table that the caller holds, so its reference is there during the call.
    unsafe { Frame::reference_raw(F::frame(entry)) }
}

/// An empty table.
pub(super) fn new_table() -> Result<Frame, MapError> {
    let table = Frame::allocate_zeroed().ok_or(MapError::OutOfMemory)?;
    table.descriptor().set_kind(FrameKind::PageTable);
    table.descriptor().set_index(0);
    table.descriptor().set_owner(0);
    Ok(table)
}

/// Entries in a group, of which a table's descriptor (`owner`) has one bit: set with the first entry, cleared with the table.
/// Copying and releasing a table with a few entries looks at those groups only.
pub(super) const GROUP: usize = ENTRIES / 64;

/// Marks the group of entry `index`.
#[inline]
pub(super) fn mark_used(table: &FrameDescriptor, index: usize) {
    table.set_owner(table.owner() | 1 << (index / GROUP));
}

/// The groups of a table that may hold entries (of the user half).
#[inline]
pub(super) fn used_groups(table: FrameNumber) -> u64 {
    descriptor(table).map_or(0, |table| table.owner())
}

/// The indexes of the entries in the marked groups.
pub(super) fn possibly_used(groups: u64) -> impl Iterator<Item = u64> {
    let mut groups = groups;
    core::iter::from_fn(move || {
        let group = (groups != 0).then(|| u64::from(groups.trailing_zeros()))?;
        groups &= groups - 1;
        Some(group * GROUP as u64..(group + 1) * GROUP as u64)
    })
    .flatten()
}

/// Puts what a removed entry referred to into `batch`.
#[inline]
pub(super) fn discard<F: Format, T: Tlb>(entry: u64, level: u8, page: VirtualAddress, batch: &mut Batch<T>) {
    if let Decoded::Software(_) = F::decode(entry, level) {
        return;
    }
    batch.invalidate(page);
    if let Some(frame) = leaf_frame::<F>(entry, level) {
        batch.defer_free(frame);
    }
}

/// Makes the entry `value` at `old` one that both a table and its copy may hold, with a reference for the copy; gives it.
pub(super) fn fork_entry<F: Format>(old: EntryPointer, value: u64, level: u8) -> u64 {
    let mut value = value;
    if F::is_table(value, level) || F::is_counted_leaf(value, level) {
        // The entry's own reference keeps it alive: forgetting the clone leaves one more.
        if let Some(referred) = descriptor(F::frame(value)) {
            let _ = referred.add_reference();
        }
    }
    loop {
        let forked = if F::is_table(value, level) { F::share(value) } else { F::fork_leaf(value) };
        if forked == value {
            return forked;
        }
        debug_assert!(!F::is_joined(value, level), "a fork took such runs apart");
        match old.compare_exchange(value, forked) {
            Ok(_) => return forked,
            // The hardware set an accessed or dirty bit.
            Err(now) => value = now,
        }
    }
}

/// Drops a reference to the table `number` of `level`; with the last one everything in it is released, and it is freed as zeros.
pub(super) fn release_table<F: Format>(number: FrameNumber, level: u8) {
    let Some(table) = table_frame(number).and_then(Frame::into_last) else { return };
    for index in possibly_used(table.descriptor().owner()) {
        let pointer = Physmap.entry(number, level, VirtualAddress::new(index << level_shift(level)));
        let entry = pointer.load();
        if entry == 0 {
            continue;
        }
        pointer.store(0);
        if F::is_table(entry, level) {
            release_table::<F>(F::frame(entry), level - 1);
        } else {
            drop(leaf_frame::<F>(entry, level));
        }
    }
    table.drop_zeroed();
}

/// Makes the counted block at `frame` 512 counted parts: in place when it is held alone, by a copy when other spaces hold it too.
pub(super) fn own_parts(frame: FrameNumber, flags: &mut PageFlags) -> Result<FrameNumber, MapError> {
    let Some(block) = table_frame(frame) else { return Err(MapError::OutOfMemory) };
    match block.split() {
        Ok(first) => Ok(first),
        Err(block) => {
            let copy = Frame::allocate_block(block.order()).filter(|_| !flags.contains(PageFlags::SHARED));
            let Some(copy) = copy else {
                // The entry keeps its reference.
                let _ = block.into_raw();
                return Err(MapError::OutOfMemory);
            };
            copy.copy_from(&block);
            drop(block);
            copy.split().map_err(|_| MapError::OutOfMemory)
        }
    }
}
