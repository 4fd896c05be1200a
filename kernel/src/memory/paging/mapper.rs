//! The walker: from an address to its entry, and everything that makes, copies, splits and frees tables on the way.
//!
//! A [`Mapper`] is generic over the format, the way to reach tables and the TLB, and owns nothing: [`super::Tables`] owns a user
//! half and walks it with one, [`super::kernel`] walks the kernel half with another. In the user half each table's descriptor
//! counts its entries in use (`index`), so an empty table is freed at once; the kernel half's last-level tables are looked through when one is to go
//! ([`Mapper::take_empty_table`]), the others stay.
//!
//! # Shared tables
//!
//! After a fork both spaces' top tables point to the same lower tables, by entries that are marked shared and let nothing be written.
//! Reading goes through them. Whoever is about to change something below calls [`Mapper::reach`], which copies the tables on the
//! way: the copy takes one more reference to each table or frame in it, tables become shared in their turn, and
//! writable private leaves become copy-on-write in both. The sharer that finds itself alone just takes the table over.
//! Two spaces may copy one table at the same time: each step is idempotent, and the last one to leave releases the original.

use super::super::frame::Frame;
use super::super::frame_allocator::descriptor;
use super::super::frame_descriptor::FrameDescriptor;
use super::access::{EntryPointer, Physmap, TableAccess};
use super::entries::{
    GROUP, discard, fork_entry, mark_used, new_table, own_parts, possibly_used, release_table, table_frame,
};
use super::format::{
    Decoded, ENTRIES, Format, Half, TOP_LEVEL, level_index, level_shift, level_size, level_span, size_level,
};
use super::tlb::{Batch, Tlb};
use super::{Leaf, MapError, PageFlags, PageSize};
use crate::base::{FrameNumber, PhysicalAddress, VirtualAddress};
use core::marker::PhantomData;

/// What to do where there is no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// Make one.
    Create,
    /// Give up.
    Stop,
}

/// A walker over the tables under one root.
#[derive(Clone, Debug)]
pub struct Mapper<F, A, T> {
    root: FrameNumber,
    half: Half,
    access: A,
    tlb: T,
    format: PhantomData<F>,
}

/// An entry that was found, and where.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The entry.
    pub entry: u64,
    /// Its level.
    pub level: u8,
    /// Whether a table on the way is shared with another space.
    pub is_shared: bool,
}

impl<F: Format, A: TableAccess, T: Tlb> Mapper<F, A, T> {
    /// A walker over the tables under `root`.
    ///
    /// The caller owns those tables (or their `half` of them) for as long as it walks, and `access` reaches them.
    #[must_use]
    pub const fn new(root: FrameNumber, half: Half, access: A, tlb: T) -> Self {
        Self { root, half, access, tlb, format: PhantomData }
    }

    /// The top table.
    #[must_use]
    pub const fn root(&self) -> FrameNumber {
        self.root
    }
    /// The TLB that it tells.
    #[must_use]
    pub const fn tlb(&self) -> &T {
        &self.tlb
    }

    /// The entry of `level` for `address` in `table`.
    #[inline]
    pub(super) fn entry_pointer(&self, table: FrameNumber, level: u8, address: VirtualAddress) -> EntryPointer {
        self.access.entry(table, level, address)
    }

    /// Changes the count of entries in use of `table`, where the entry for `address` came or went.
    #[inline]
    pub(super) fn count(&self, table: FrameNumber, level: u8, address: VirtualAddress, change: i64) {
        if self.half == Half::User
            && let Some(descriptor) = descriptor(table)
        {
            if change > 0 {
                mark_used(descriptor, level_index(address, level));
            }
            if level < TOP_LEVEL {
                descriptor.set_index(descriptor.index().wrapping_add_signed(change));
            }
        }
    }

    /// Where to look next when the entry of `level` for `address` is empty: at the next entry, `next`, or, when the whole group of
    /// entries was never in use, at the next group that was; at most at `end`.
    #[inline]
    pub(super) fn skip(&self, table: FrameNumber, level: u8, address: u64, next: u64, end: u64) -> u64 {
        if self.half == Half::Kernel {
            return next;
        }
        let groups = descriptor(table).map_or(u64::MAX, FrameDescriptor::owner);
        let rest = groups >> (level_index(VirtualAddress::new(address), level) / GROUP);
        if rest & 1 != 0 {
            return next;
        }
        let group_span = level_span(level) * GROUP as u64;
        let group_start = address & !(group_span - 1);
        let distance = if rest == 0 { 64 } else { u64::from(rest.trailing_zeros()) };
        // Past the table's end with distance 64: the end of the range is inside the table, or the table's own.
        group_start.saturating_add(distance * group_span).clamp(next, end)
    }

    /// Whether a table of the user half has no entry in use.
    pub(super) fn is_unused(&self, table: FrameNumber) -> bool {
        self.half == Half::User && descriptor(table).is_some_and(|descriptor| descriptor.index() == 0)
    }

    /// Puts `new` where `old` stands and is live, with break-before-make where the format wants it.
    fn replace(&self, pointer: EntryPointer, new: u64, address: VirtualAddress) {
        if F::BREAK_BEFORE_MAKE {
            pointer.store(0);
            self.tlb.invalidate_page(self.root.address(), address);
            pointer.store(new);
        } else {
            pointer.store(new);
            self.tlb.invalidate_page(self.root.address(), address);
        }
    }

    /// The last entry on the way to `address`: a leaf, a software value, or nothing. Changes nothing.
    #[inline]
    pub fn find(&self, address: VirtualAddress) -> Found {
        let mut table = self.root;
        let mut level = TOP_LEVEL;
        let mut is_shared = false;
        loop {
            let entry = self.access.entry(table, level, address).load();
            if level == 0 || !F::is_table(entry, level) {
                return Found { entry, level, is_shared };
            }
            is_shared |= F::is_shared(entry);
            table = F::frame(entry);
            level -= 1;
        }
    }

    /// The table of `level` on the way to `address`, owned alone down to there: shared tables are copied, larger leaves
    /// split. `Ok(None)` only with [`Absent::Stop`].
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`]; with [`Absent::Create`] also [`MapError::AlreadyMapped`] where a larger leaf is in the way.
    #[inline]
    pub fn reach(&self, address: VirtualAddress, level: u8, absent: Absent) -> Result<Option<FrameNumber>, MapError> {
        let mut table = self.root;
        let mut at = TOP_LEVEL;
        while at > level {
            let pointer = self.access.entry(table, at, address);
            let mut entry = pointer.load();
            if !F::is_table(entry, at) {
                if entry == 0 && absent == Absent::Stop {
                    return Ok(None);
                }
                entry = self.make_table(pointer, entry, table, at, address, absent)?;
            } else if F::is_shared(entry) {
                entry = self.unshare(pointer, entry, at, address)?;
            }
            table = F::frame(entry);
            at -= 1;
        }
        Ok(Some(table))
    }

    #[cold]
    fn make_table(
        &self,
        pointer: EntryPointer,
        entry: u64,
        parent: FrameNumber,
        level: u8,
        address: VirtualAddress,
        absent: Absent,
    ) -> Result<u64, MapError> {
        if entry != 0 {
            if absent == Absent::Create || level == TOP_LEVEL {
                return Err(MapError::AlreadyMapped);
            }
            return self.split(pointer, entry, level, address);
        }
        let table = new_table()?;
        let entry = F::table(table.into_raw(), self.half);
        pointer.store(entry);
        self.count(parent, level, address, 1);
        Ok(entry)
    }

    /// Takes over or copies the shared table behind `entry`, which stands at `level`. Gives the entry that stands there then.
    #[cold]
    pub(super) fn unshare(
        &self,
        pointer: EntryPointer,
        entry: u64,
        level: u8,
        address: VirtualAddress,
    ) -> Result<u64, MapError> {
        let shared = F::frame(entry);
        let Some(source) = descriptor(shared) else { return Err(MapError::OutOfMemory) };
        if source.references() == 1 {
            // The other sharers are gone. Permissions only grow, which needs no invalidation.
            let own = F::unshare(entry);
            pointer.store(own);
            return Ok(own);
        }
        let copy = new_table()?;
        let copy_number = copy.number();
        let mut found = 0;
        for index in possibly_used(source.owner()) {
            let at = VirtualAddress::new(index << level_shift(level - 1));
            let old = Physmap.entry(shared, level - 1, at);
            let value = old.load();
            if value == 0 {
                continue;
            }
            found += 1;
            let forked = fork_entry::<F>(old, value, level - 1);
            Physmap.entry(copy_number, level - 1, at).store(forked);
        }
        copy.descriptor().set_index(found);
        copy.descriptor().set_owner(source.owner());
        let own = F::table(copy.into_raw(), Half::User);
        self.replace(pointer, own, address);
        release_table::<F>(shared, level - 1);
        Ok(own)
    }

    /// Makes the leaf `entry` of `level` a table of leaves one level down. Gives the entry that stands there then.
    pub(super) fn split(
        &self,
        pointer: EntryPointer,
        entry: u64,
        level: u8,
        address: VirtualAddress,
    ) -> Result<u64, MapError> {
        debug_assert!(!F::is_joined(entry, level), "larger leaves of user space are in no run");
        let Decoded::Leaf(frame, flags) = F::decode(entry, level) else { return Err(MapError::AlreadyMapped) };
        let table = new_table()?;
        let mut flags = flags;
        let first = if F::is_counted_leaf(entry, level) { own_parts(frame, &mut flags)? } else { frame };
        let part_frames = level_span(level - 1) >> level_shift(0);
        for index in 0..ENTRIES as u64 {
            let at = VirtualAddress::new(index << level_shift(level - 1));
            let leaf = F::leaf(first.offset(index * part_frames), flags, level - 1);
            Physmap.entry(table.number(), level - 1, at).store(leaf);
        }
        table.descriptor().set_index(ENTRIES as u64);
        table.descriptor().set_owner(u64::MAX);
        let own = F::table(table.into_raw(), self.half);
        self.replace(pointer, own, address);
        Ok(own)
    }

    /// Whether `page` may be mapped by a leaf of `level` here.
    #[inline]
    pub(super) fn check(&self, page: VirtualAddress, frame: FrameNumber, level: u8) -> Result<(), MapError> {
        let is_user = page.value() < F::USER_LIMIT;
        let aligned =
            page.value() & (level_span(level) - 1) == 0 && frame.address().value() & (level_span(level) - 1) == 0;
        if aligned && is_user == (self.half == Half::User) { Ok(()) } else { Err(MapError::Unaligned) }
    }

    /// Puts `entry` at `level` for `page`, where nothing stands.
    #[inline]
    pub(super) fn insert(&self, page: VirtualAddress, level: u8, entry: u64) -> Result<(), MapError> {
        let Some(table) = self.reach(page, level, Absent::Create)? else { return Err(MapError::OutOfMemory) };
        let pointer = self.access.entry(table, level, page);
        if pointer.load() != 0 {
            return Err(MapError::AlreadyMapped);
        }
        pointer.store(entry);
        self.count(table, level, page, 1);
        Ok(())
    }

    /// Maps `page` to `frame`, which is not counted, where nothing is mapped.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map(
        &mut self,
        page: VirtualAddress,
        frame: FrameNumber,
        size: PageSize,
        flags: PageFlags,
    ) -> Result<(), MapError> {
        let level = size_level(size);
        self.check(page, frame, level)?;
        self.insert(page, level, F::leaf(frame, flags | PageFlags::UNCOUNTED, level))
    }

    /// Removes the leaf that maps exactly `page`, whatever its size, and invalidates it. Tables of the user half that are empty
    /// then are freed. Memory for unsharing a table may be out: the leaf then stays, and `None` is the answer.
    pub fn unmap(&mut self, page: VirtualAddress) -> Option<Leaf> {
        let mut batch = self.batch();
        self.unmap_into(page, &mut batch)
    }

    /// An empty batch for [`Self::unmap_into`].
    pub(super) fn batch(&self) -> Batch<T> {
        Batch::for_root(self.root.address(), self.tlb.clone())
    }

    /// As [`Self::unmap`], but the translation is gone only when `batch` is flushed.
    pub(super) fn unmap_into(&mut self, page: VirtualAddress, batch: &mut Batch<T>) -> Option<Leaf> {
        let found = self.find(page);
        let Decoded::Leaf(frame, flags) = F::decode(found.entry, found.level) else { return None };
        if page.value() & (level_span(found.level) - 1) != 0 {
            return None;
        }
        let table = self.reach(page, found.level, Absent::Stop).ok().flatten()?;
        self.clear(table, found.level, page, batch);
        self.prune(page, found.level, batch);
        Some(Leaf { frame, flags, size: level_size(found.level) })
    }

    /// Empties the entry of `page` in `table`; its frame and its translation go into `batch`.
    pub(super) fn clear(&self, table: FrameNumber, level: u8, page: VirtualAddress, batch: &mut Batch<T>) -> u64 {
        let _ = self.alone(table, level, page);
        let old = self.access.entry(table, level, page).swap(0);
        if old != 0 {
            self.count(table, level, page, -1);
            discard::<F, T>(old, level, page, batch);
        }
        old
    }

    /// Frees the tables on the way to `address` that are empty, from the table of `level` upwards.
    pub(super) fn prune(&self, address: VirtualAddress, level: u8, batch: &mut Batch<T>) {
        if self.half == Half::Kernel {
            return;
        }
        for at in level..TOP_LEVEL {
            let Ok(Some(parent)) = self.reach(address, at + 1, Absent::Stop) else { return };
            let pointer = self.access.entry(parent, at + 1, address);
            let entry = pointer.load();
            if !F::is_table(entry, at + 1) || F::is_shared(entry) || !self.is_unused(F::frame(entry)) {
                return;
            }
            self.remove_table(pointer, entry, parent, at + 1, address, batch);
        }
    }

    /// Takes the last-level table of the kernel half that maps the 2 MiB at `start` out of its parent, if it is there and all its entries are empty. It may be
    /// cached until the caller has had it forgotten.
    pub(super) fn take_empty_table(&self, start: VirtualAddress) -> Option<Frame> {
        let parent = self.reach(start, 1, Absent::Stop).ok().flatten()?;
        let pointer = self.access.entry(parent, 1, start);
        let entry = pointer.load();
        if self.half != Half::Kernel || !F::is_table(entry, 1) {
            return None;
        }
        let table = F::frame(entry);
        let pages = (0..ENTRIES as u64).map(|index| start.offset(index * level_span(0)));
        if pages.into_iter().any(|page| self.access.entry(table, 0, page).load() != 0) {
            return None;
        }
        pointer.store(0);
        table_frame(table)
    }

    /// Takes the empty table behind `entry` (of `level`) out of `parent`.
    pub(super) fn remove_table(
        &self,
        pointer: EntryPointer,
        entry: u64,
        parent: FrameNumber,
        level: u8,
        address: VirtualAddress,
        batch: &mut Batch<T>,
    ) {
        pointer.store(0);
        self.count(parent, level, address, -1);
        if let Some(table) = table_frame(F::frame(entry)) {
            batch.defer_table::<F>(table, level - 1, address);
        }
    }

    /// The physical address behind `address`; a page without access has none.
    #[must_use]
    pub fn translate(&self, address: VirtualAddress) -> Option<PhysicalAddress> {
        let found = self.find(address);
        match F::decode(found.entry, found.level) {
            Decoded::Leaf(frame, flags) if !flags.contains(PageFlags::NO_ACCESS) => {
                Some(frame.address().offset(address.value() & (level_span(found.level) - 1)))
            }
            _ => None,
        }
    }
}
