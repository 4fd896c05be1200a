//! Runs: aligned neighbours that map contiguous frames alike, which some machines may cache as one translation (Arm's contiguous hint).
//!
//! A format says by [`Format::RUN`] how many entries make a run, and marks them by [`Format::join`]; the walker knows nothing else of it, and
//! nobody above it anything. Where `RUN` is 1 all of this compiles to nothing.
//!
//! # Invariants
//! * Either all entries of an aligned group are marked or none; the marked ones are alike but for their frames, which follow each other and
//!   begin aligned. ([`Mapper::insert_run`] makes them at once, where nothing stood.)
//! * A marked entry is accessed, and dirty if it is writable: hardware, which may note either in any entry of the run, has nothing to note.
//! * No marked entry changes: whoever is about to change one, or to remove a part of a run, takes the marks of all off first
//!   ([`Mapper::alone`]): all entries are made invalid, all translations forgotten, and only then do the entries come back without the mark
//!   (break-before-make over the whole group; Arm ARM, "Misprogramming of the Contiguous bit"). What is removed as a whole needs only the first half.
//! * Under a table that is shared with another space no marked entry is private and writable: the copying of such a table makes those copy-on-write one by
//!   one, where other spaces have them cached. So tables that lead to such runs are marked themselves ([`Format::mark_runs`]), and
//!   a fork takes the runs apart ([`Mapper::dissolve_writable`]). Read-only runs, such as programs' code, survive it in both spaces.

use super::access::{Physmap, TableAccess};
use super::entries::{possibly_used, used_groups};
use super::format::{ENTRIES, Format, TOP_LEVEL, level_shift, level_span};
use super::mapper::{Absent, Mapper};
use super::tlb::Tlb;
use super::{MapError, PageFlags};
use crate::base::{FrameNumber, VirtualAddress};
use arrayvec::ArrayVec;

/// Entries of the longest run of any format.
pub const LONGEST: usize = 16;
/// Groups of a table.
const GROUPS: usize = ENTRIES / LONGEST;

/// Whether a leaf with `flags` may be part of a run: hardware has nothing to note in it.
fn is_settled(flags: PageFlags) -> bool {
    let noted = !flags.contains(PageFlags::WRITABLE) || flags.contains(PageFlags::DIRTY);
    flags.contains(PageFlags::ACCESSED) && noted && !flags.contains(PageFlags::NO_ACCESS)
}

/// The first address of the group of entries of `level` that `page` is in.
#[inline]
fn group_start<F: Format>(page: VirtualAddress, level: u8) -> VirtualAddress {
    VirtualAddress::new(page.value() & !(level_span(level) * F::RUN - 1))
}

impl<F: Format, A: TableAccess, T: Tlb> Mapper<F, A, T> {
    /// The entry of `level` for `page`, as one that may be changed without its neighbours.
    #[inline]
    pub(super) fn alone(&self, table: FrameNumber, level: u8, page: VirtualAddress) -> u64 {
        let pointer = self.entry_pointer(table, level, page);
        let entry = pointer.load();
        if F::RUN == 1 || !F::is_joined(entry, level) {
            return entry;
        }
        self.dissolve(table, level, page);
        pointer.load()
    }

    /// Takes the marks off the run that `page` is in.
    #[cold]
    fn dissolve(&self, table: FrameNumber, level: u8, page: VirtualAddress) {
        let start = group_start::<F>(page, level);
        let pages = self.suspend(table, level, start);
        self.tlb().invalidate_pages(self.root().address(), &pages);
        self.resume(table, level, start);
    }

    /// Makes the entries of the run from `start` on invalid. Gives their pages, of which all translations are to be forgotten.
    pub(super) fn suspend(
        &self,
        table: FrameNumber,
        level: u8,
        start: VirtualAddress,
    ) -> ArrayVec<VirtualAddress, LONGEST> {
        let mut pages = ArrayVec::new();
        for index in 0..F::RUN {
            let page = start.offset(index * level_span(level));
            let pointer = self.entry_pointer(table, level, page);
            // The hardware may set bits until the entry is invalid.
            let last = pointer.swap(0);
            pointer.store(F::suspend(last));
            let _ = pages.try_push(page);
        }
        pages
    }

    /// The second half: brings suspended entries back without the mark.
    fn resume(&self, table: FrameNumber, level: u8, start: VirtualAddress) {
        for index in 0..F::RUN {
            let pointer = self.entry_pointer(table, level, start.offset(index * level_span(level)));
            pointer.store(F::resume(pointer.load()));
        }
    }

    /// Whether the run that begins with `page` lies within `page..end`.
    #[inline]
    pub(super) fn covers_run(&self, page: VirtualAddress, level: u8, end: u64) -> bool {
        let span = level_span(level) * F::RUN;
        page.value() & (span - 1) == 0 && end - page.value() >= span
    }

    /// Maps as many pages as make a run, from `page` on, to the frames from `first` on; all or nothing. They are marked as a run if their flags allow it.
    ///
    /// # Errors
    /// [`MapError::Unaligned`] also where the format has no runs.
    pub(super) fn insert_run(
        &self,
        page: VirtualAddress,
        first: FrameNumber,
        flags: PageFlags,
    ) -> Result<(), MapError> {
        if F::RUN == 1 || group_start::<F>(page, 0) != page || !first.value().is_multiple_of(F::RUN) {
            return Err(MapError::Unaligned);
        }
        self.check(page, first, 0)?;
        let Some(table) = self.reach(page, 0, Absent::Create)? else { return Err(MapError::OutOfMemory) };
        let places = || (0..F::RUN).map(|index| (page.offset(index * level_span(0)), first.offset(index)));
        if places().any(|(page, _)| self.entry_pointer(table, 0, page).load() != 0) {
            return Err(MapError::AlreadyMapped);
        }
        let is_settled = is_settled(flags);
        for (page, frame) in places() {
            let leaf = F::leaf(frame, flags, 0);
            self.entry_pointer(table, 0, page).store(if is_settled { F::join(leaf) } else { leaf });
            self.count(table, 0, page, 1);
        }
        let leaf = F::leaf(first, flags, 0);
        if is_settled && F::fork_leaf(leaf) != leaf {
            self.mark_way(page);
        }
        Ok(())
    }

    /// Notes in the tables' entries on the way to `page` that they lead to a private, writable run.
    fn mark_way(&self, page: VirtualAddress) {
        let mut table = self.root();
        for level in (1..=TOP_LEVEL).rev() {
            let pointer = self.entry_pointer(table, level, page);
            let entry = pointer.load();
            if !F::has_runs(entry) {
                pointer.store(F::mark_runs(entry));
            }
            table = F::frame(entry);
        }
    }

    /// Takes apart the private, writable runs below `table`, all of whose tables that lead to such are this space's own. `base` is its first address.
    #[cold]
    pub(super) fn dissolve_writable(&self, table: FrameNumber, level: u8, base: u64) {
        if level > 0 {
            for index in possibly_used(used_groups(table)) {
                let at = VirtualAddress::new(base | index << level_shift(level));
                let pointer = self.entry_pointer(table, level, at);
                let entry = pointer.load();
                if F::is_table(entry, level) && F::has_runs(entry) {
                    self.dissolve_writable(F::frame(entry), level - 1, at.value());
                    pointer.store(F::unmark_runs(entry));
                }
            }
            return;
        }
        let mut suspended: ArrayVec<VirtualAddress, GROUPS> = ArrayVec::new();
        for group in (0..ENTRIES as u64).step_by(F::RUN as usize) {
            let start = VirtualAddress::new(base | group << level_shift(0));
            let entry = Physmap.entry(table, 0, start).load();
            if F::is_joined(entry, 0) && F::fork_leaf(entry) != entry {
                let _ = self.suspend(table, 0, start);
                let _ = suspended.try_push(start);
            }
        }
        if suspended.is_empty() {
            return;
        }
        self.tlb().invalidate_all(self.root().address());
        for start in suspended {
            self.resume(table, 0, start);
        }
    }

    /// For tests: whether the first of the invariants above holds in `table` and below.
    #[cfg(test)]
    pub(super) fn runs_are_whole(&self, table: FrameNumber, level: u8) -> bool {
        let entries: std::vec::Vec<u64> = (0..ENTRIES as u64)
            .map(|index| Physmap.entry(table, level, VirtualAddress::new(index << level_shift(level))).load())
            .collect();
        entries.chunks(F::RUN as usize).all(|group| {
            let joined = group.iter().filter(|entry| F::is_joined(**entry, level)).count();
            let first = F::frame(group[0]);
            joined == 0
                || joined == group.len()
                    && first.value().is_multiple_of(F::RUN)
                    && group.iter().enumerate().all(|(index, entry)| {
                        let distance = level_span(level) * index as u64;
                        F::frame(*entry) == first.offset(index as u64) && entry - distance == group[0]
                    })
        }) && entries
            .iter()
            .all(|entry| !F::is_table(*entry, level) || self.runs_are_whole(F::frame(*entry), level - 1))
    }
}
