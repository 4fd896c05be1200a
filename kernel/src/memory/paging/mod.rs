//! Page tables of both machines behind one walker.
//!
//! ```text
//! PageTables (= Tables<Native, Physmap, HardwareTlb>)   user half of one space: owns leaves and tables, forks, range operations
//!   Mapper<Format, TableAccess, Tlb>                    from an address to its entry; makes, copies, splits, frees tables
//!     Format       x86_64_paging, arm_lpae              pure functions on 64-bit entries; both compiled and tested everywhere
//!     TableAccess  Physmap, Recursive                   how an entry is reached
//!     Tlb          HardwareTlb, KernelTlb, (recording)  what must be forgotten
//! kernel                                                the kernel half, shared by all spaces
//! code                                                  what instruction caches must be told
//! tags                                                  which space has which PCID or ASID
//! ```
//!
//! Invariants: a leaf that is not `UNCOUNTED` stands for one reference to its frame, a table entry for one to the table. A frame or table
//! that was reachable is freed only after the TLB forgot it: that is what [`TlbBatch`] is for. Changes need exclusive access to
//! the tables (`&mut`), which the address space's lock gives; hardware may set accessed and dirty bits at any time.

use crate::arch::{Current, Mmu, TableFormat};
use crate::base::{Errno, FrameNumber};

pub mod access;
pub mod arm_lpae;
mod code;
pub mod copy_on_write;
mod entries;
mod entry;
pub mod format;
pub mod kernel;
mod leaf_slot;
pub mod mapper;
mod migrate;
mod range;
pub mod run;
pub mod shootdown;
pub mod tables;
pub mod tags;
pub mod tlb;
pub mod x86_64_paging;

use access::Physmap;
pub use copy_on_write::Claim;
use format::Format;
pub use tables::Tables;
use tlb::HardwareTlb;
pub use tlb::TlbBatch;

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

impl PageSize {
    /// The number of 4 KiB pages.
    #[must_use]
    pub const fn pages(self) -> u64 {
        match self {
            Self::Small => 1,
            Self::Large => 512,
            Self::Huge => 512 * 512,
        }
    }
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

/// The machine's format, picked by [`Mmu::TABLE_FORMAT`].
pub type Native = <Selected<{ Current::TABLE_FORMAT as u8 }> as SelectFormat>::Format;

/// A number that stands for a format; see [`Native`].
#[derive(Debug)]
pub struct Selected<const FORMAT: u8>;

/// Which format a [`Selected`] number stands for.
pub trait SelectFormat {
    /// The format.
    type Format: Format;
}

impl SelectFormat for Selected<{ TableFormat::X86_64 as u8 }> {
    type Format = x86_64_paging::X86_64Format;
}

impl SelectFormat for Selected<{ TableFormat::ArmLpae as u8 }> {
    type Format = arm_lpae::ArmLpaeFormat;
}

/// The user half of an address space on this machine: see [`Tables`].
pub type PageTables = Tables<Native, Physmap, HardwareTlb>;

/// One entry that is not empty, during [`Tables::visit_range`].
pub type LeafSlot<'a> = leaf_slot::LeafSlot<'a, Native, Physmap, HardwareTlb>;

impl PageTables {
    /// Empty tables. `None` when memory is out.
    #[must_use]
    pub fn new() -> Option<Self> {
        Self::with(|_| Physmap, HardwareTlb)
    }
}

#[cfg(test)]
mod tests;
