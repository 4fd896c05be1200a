//! What a machine's page-table format must say for the shared walker, as pure functions on 64-bit entries.
//!
//! Levels are counted from the leaves: 0 holds 4 KiB pages (P1, L3), 1 holds 2 MiB (P2, L2), 2 holds 1 GiB (P3, L1), 3 is the
//! top (P4, L0). Each table has 512 entries of 8 bytes.

use super::{PageFlags, PageSize};
use crate::base::{FrameNumber, VirtualAddress};

/// The top table's level.
pub const TOP_LEVEL: u8 = 3;
/// Entries in a table.
pub const ENTRIES: usize = 512;
/// Bits that a software entry can hold.
pub const SOFTWARE_BITS: u32 = 50;

/// The bytes that one entry of `level` spans, as a shift.
#[inline]
#[must_use]
pub const fn level_shift(level: u8) -> u32 {
    12 + 9 * level as u32
}

/// The bytes that one entry of `level` spans.
#[inline]
#[must_use]
pub const fn level_span(level: u8) -> u64 {
    1 << level_shift(level)
}

/// The index in its table of `level`'s entry for `address`.
#[inline]
#[must_use]
pub const fn level_index(address: VirtualAddress, level: u8) -> usize {
    (address.value() >> level_shift(level)) as usize & (ENTRIES - 1)
}

/// The level at which a leaf of `size` stands.
#[must_use]
pub const fn size_level(size: PageSize) -> u8 {
    match size {
        PageSize::Small => 0,
        PageSize::Large => 1,
        PageSize::Huge => 2,
    }
}

/// The size of a leaf at `level`.
#[must_use]
pub const fn level_size(level: u8) -> PageSize {
    match level {
        0 => PageSize::Small,
        1 => PageSize::Large,
        _ => PageSize::Huge,
    }
}

/// Which half of the address space a table serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// User space.
    User,
    /// The kernel.
    Kernel,
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// Nothing.
    Empty,
    /// The next table; shared with another address space or not.
    Table(FrameNumber),
    /// A translation.
    Leaf(FrameNumber, PageFlags),
    /// The kernel's own value.
    Software(u64),
}

/// A page-table format. An entry of 0 is empty in every format.
pub trait Format: Copy + Default + core::fmt::Debug + 'static {
    /// The slot of the top table that holds the table itself, where the format can do that.
    const RECURSIVE_SLOT: Option<usize>;
    /// One past the highest user address: where the walker stops mapping for user space.
    const USER_LIMIT: u64;
    /// Whether the top table also translates kernel addresses.
    const HAS_KERNEL_HALF: bool;
    /// Whether a live entry may be replaced by another one only after it was empty and invalidated.
    const BREAK_BEFORE_MAKE: bool;
    /// Entries that make a run (at most [`super::run::LONGEST`]): aligned neighbours that may be marked as mapping contiguous frames alike. 1 where the
    /// format has no such mark; the functions about runs are then not called. See [`super::run`].
    const RUN: u64 = 1;

    /// A leaf for `level` (0..=2).
    fn leaf(frame: FrameNumber, flags: PageFlags, level: u8) -> u64;
    /// A pointer to the next table.
    fn table(frame: FrameNumber, half: Half) -> u64;
    /// The entry of [`Format::RECURSIVE_SLOT`]: the top table as its own last one, for the kernel, never executable.
    fn recursive(root: FrameNumber) -> u64;
    /// A value of the kernel's own, 1..2^[`SOFTWARE_BITS`].
    fn software(value: u64) -> u64;
    /// Takes an entry of `level` apart.
    fn decode(entry: u64, level: u8) -> Decoded;
    /// Whether an entry of `level` points to a table: the walker's fast path.
    fn is_table(entry: u64, level: u8) -> bool;
    /// The frame in a table or leaf entry.
    fn frame(entry: u64) -> FrameNumber;
    /// Whether a leaf entry owns a reference to its frame.
    fn is_counted_leaf(entry: u64, level: u8) -> bool;
    /// A table entry under which nothing can be written, marked as shared with another space.
    fn share(table_entry: u64) -> u64;
    /// The same entry, owned alone.
    fn unshare(table_entry: u64) -> u64;
    /// Whether a table entry is marked as shared.
    fn is_shared(table_entry: u64) -> bool;
    /// A leaf entry marked as part of a run.
    fn join(leaf_entry: u64) -> u64 {
        leaf_entry
    }
    /// Whether an entry of `level` is a leaf that is marked as part of a run.
    #[inline]
    fn is_joined(_entry: u64, _level: u8) -> bool {
        false
    }
    /// A marked leaf entry as one that the hardware takes for empty and [`Format::resume`] knows again.
    fn suspend(leaf_entry: u64) -> u64 {
        leaf_entry
    }
    /// A suspended entry as the leaf that it was, without the mark. Any other entry is as it is.
    #[inline]
    fn resume(entry: u64) -> u64 {
        entry
    }
    /// A table entry that says that there are private, writable runs below.
    fn mark_runs(table_entry: u64) -> u64 {
        table_entry
    }
    /// A table entry that does not.
    fn unmark_runs(table_entry: u64) -> u64 {
        table_entry
    }
    /// Whether a table entry says so.
    #[inline]
    fn has_runs(_table_entry: u64) -> bool {
        false
    }
    /// What a leaf becomes in both spaces when its table is copied: read-only and copy-on-write, unless it is shared memory
    /// or was not writable.
    fn fork_leaf(entry: u64) -> u64;
}
