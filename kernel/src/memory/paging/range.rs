//! Changes of a whole range of the user half: visiting, removing, moving.
//!
//! Each either changes everything or, when a table that it would have to copy or make finds no memory, nothing that anybody can see:
//! - Removing needs memory only where an entry straddles one of the range's ends. The start is met before anything is removed;
//!   the end is seen to first ([`Tables::isolate`]).
//! - Moving makes every table that it needs before it moves anything.
//! - Visiting owns each entry before it shows it; a visitor that fails half-way sees nothing of the rest, and can visit what it has
//!   seen once more without needing memory.

use super::access::TableAccess;
use super::entries::{leaf_frame, possibly_used, release_table, used_groups};
use super::entry::{entry_of, leaf_of};
use super::format::{Format, TOP_LEVEL, level_shift, level_span};
use super::leaf_slot::LeafSlot;
use super::mapper::{Absent, Mapper};
use super::tables::Tables;
use super::tlb::{Batch, Tlb};
use super::{Entry, Leaf, MapError};
use crate::base::{FrameNumber, VirtualAddress, VirtualRange};
use core::ops::ControlFlow;

impl<F: Format, A: TableAccess, T: Tlb> Tables<F, A, T> {
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
        visit_table(self.walker(), self.walker().root(), TOP_LEVEL, start, end, batch, &mut visit).map(|_| ())
    }

    /// As [`Tables::visit_range`], looking only: nothing is split, unshared or freed.
    pub fn inspect_range(&self, range: VirtualRange, mut visit: impl FnMut(VirtualAddress, Entry) -> ControlFlow<()>) {
        let end = range.end.value().min(F::USER_LIMIT);
        let start = range.start.align_down().value();
        let _ = inspect_table(self.walker(), self.walker().root(), TOP_LEVEL, start, end, false, &mut visit);
    }

    /// Removes everything in `range` and shows each leaf that was there to `each`, by its first page.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`] when splitting a leaf or copying a table that straddles an end of the range finds no memory; nothing
    /// was removed then.
    pub fn remove_range(
        &mut self,
        range: VirtualRange,
        batch: &mut Batch<T>,
        mut each: impl FnMut(VirtualAddress, Leaf),
    ) -> Result<(), MapError> {
        let end = range.end.value().min(F::USER_LIMIT);
        let start = range.start.align_down().value();
        let table_span = level_span(1);
        // An end in the last table that the start leads to is on the start's way.
        if start & (table_span - 1) == 0 || (start ^ end) >= table_span {
            self.isolate(VirtualAddress::new(end))?;
        }
        remove_from_table(self.walker(), self.walker().root(), TOP_LEVEL, start, end, batch, &mut each)
    }

    /// As [`Tables::remove_range`]. Gives the number of 4 KiB pages that had leaves.
    ///
    /// # Errors
    /// As for [`Tables::remove_range`].
    pub fn unmap_range(&mut self, range: VirtualRange, batch: &mut Batch<T>) -> Result<u64, MapError> {
        let mut pages = 0;
        self.remove_range(range, batch, |_, leaf| pages += leaf.size.pages())?;
        Ok(pages)
    }

    /// Makes the tables on both sides of `boundary` this space's own as far as one entry covers both, and splits such leaves:
    /// removing what lies on either side then needs no memory.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`].
    pub fn isolate(&mut self, boundary: VirtualAddress) -> Result<(), MapError> {
        if boundary.value() >= F::USER_LIMIT {
            return Ok(());
        }
        let walker = self.walker();
        let (mut table, mut level) = (walker.root(), TOP_LEVEL);
        while level > 0 && boundary.value() & (level_span(level) - 1) != 0 {
            let pointer = walker.entry_pointer(table, level, boundary);
            let mut entry = pointer.load();
            if entry == 0 {
                break;
            }
            if !F::is_table(entry, level) {
                entry = walker.split(pointer, entry, level, boundary)?;
            } else if F::is_shared(entry) {
                entry = walker.unshare(pointer, entry, level, boundary)?;
            }
            table = F::frame(entry);
            level -= 1;
        }
        Ok(())
    }

    /// Moves all entries of `from` to the same length at `to` (`mremap`), where nothing is mapped.
    ///
    /// # Errors
    /// [`MapError`]; nothing was moved then.
    pub fn move_range(&mut self, from: VirtualRange, to: VirtualAddress, batch: &mut Batch<T>) -> Result<(), MapError> {
        let end = from.end.value().min(F::USER_LIMIT);
        let start = from.start.align_down().value();
        if let Err(error) = self.prepare_move(start, end, to) {
            // Tables that were made for nothing go again. They are this space's own, so looking at them needs no memory.
            let target = VirtualRange { start: to, end: to.offset(end - start) };
            let _ = self.visit_range(target, batch, |_| ControlFlow::Continue(()));
            return Err(error);
        }
        // A clone of the walker: the range that is visited and the one that is filled do not overlap.
        let target = self.walker().clone();
        let mut error = None;
        self.visit_range(
            VirtualRange { start: VirtualAddress::new(start), end: VirtualAddress::new(end) },
            batch,
            |slot| {
                slot.leave_run();
                let page = to.offset(slot.page.value() - start);
                match target.insert(page, slot.level, slot.entry) {
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
            },
        )?;
        error.map_or(Ok(()), Err)
    }

    /// Makes the tables of the entries in `start..end` this space's own, splits leaves that cannot move as they are, and makes the tables
    /// that the entries go to.
    fn prepare_move(&mut self, start: u64, end: u64, to: VirtualAddress) -> Result<(), MapError> {
        self.isolate(VirtualAddress::new(start))?;
        self.isolate(VirtualAddress::new(end))?;
        let walker = self.walker();
        let mut address = start;
        while address < end {
            let source = VirtualAddress::new(address);
            let target = to.offset(address - start);
            let found = walker.find(source);
            if found.entry == 0 && found.level > 0 {
                address = next_boundary(address, found.level, end);
                continue;
            }
            let fits = target.value() & (level_span(found.level) - 1) == 0;
            let level = if fits { found.level } else { 0 };
            let Some(table) = walker.reach(source, level, Absent::Stop)? else { return Err(MapError::OutOfMemory) };
            let next = if level > 0 {
                next_boundary(address, level, end)
            } else {
                // As far as one table reaches on both sides.
                let target_end = next_boundary(target.value(), 1, u64::MAX);
                next_boundary(address, 1, end).min(address + (target_end - target.value()))
            };
            if level > 0 || has_entries(walker, table, address, next) {
                let _ = walker.reach(target, level, Absent::Create)?;
            }
            address = next;
        }
        Ok(())
    }
}

/// Whether anything stands in `start..end` of a last-level table.
fn has_entries<F: Format, A: TableAccess, T: Tlb>(
    walker: &Mapper<F, A, T>,
    table: FrameNumber,
    start: u64,
    end: u64,
) -> bool {
    let mut address = start;
    while address < end {
        if walker.entry_pointer(table, 0, VirtualAddress::new(address)).load() != 0 {
            return true;
        }
        address = walker.skip(table, 0, address, address + level_span(0), end);
    }
    false
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

/// Shows the leaves of a table that is looked at only to `each`; the table's first address is `base`.
fn show_leaves<F: Format>(table: FrameNumber, level: u8, base: u64, each: &mut impl FnMut(VirtualAddress, Leaf)) {
    for index in possibly_used(used_groups(table)) {
        let at = VirtualAddress::new(base | index << level_shift(level));
        let entry = super::access::Physmap.entry(table, level, at).load();
        if F::is_table(entry, level) {
            show_leaves::<F>(F::frame(entry), level - 1, at.value(), each);
        } else if entry != 0
            && let Some(leaf) = leaf_of::<F>(entry, level, false)
        {
            each(at, leaf);
        }
    }
}

fn remove_from_table<F: Format, A: TableAccess, T: Tlb>(
    walker: &Mapper<F, A, T>,
    table: FrameNumber,
    level: u8,
    start: u64,
    end: u64,
    batch: &mut Batch<T>,
    each: &mut impl FnMut(VirtualAddress, Leaf),
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
                show_leaves::<F>(F::frame(entry), level - 1, address, each);
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
            remove_from_table(walker, F::frame(entry), level - 1, address, next, batch, each)?;
            if walker.is_unused(F::frame(entry)) {
                walker.remove_table(pointer, entry, table, level, at, batch);
            }
        } else if level > 0 && !is_whole {
            entry = walker.split(pointer, entry, level, at)?;
            remove_from_table(walker, F::frame(entry), level - 1, address, next, batch, each)?;
        } else {
            if F::RUN > 1 && F::is_joined(entry, level) {
                if walker.covers_run(at, level, end) {
                    // All of the run goes: no part of it may be cached anew by way of the rest.
                    let _ = walker.suspend(table, level, at);
                } else {
                    let _ = walker.alone(table, level, at);
                }
            }
            let old = F::resume(pointer.swap(0));
            walker.count(table, level, at, -1);
            if let Some(leaf) = leaf_of::<F>(old, level, false) {
                each(at, leaf);
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
