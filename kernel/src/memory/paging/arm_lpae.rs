//! The VMSAv8-64 page-table format (Arm, 4 KiB granule, 48 bits): levels L0 to L3, blocks at L1 and L2.
//!
//! ```text
//!  63  62..60  59         58  57      56      55     54   53   52    51   50..48  47..12  11  10  9:8  7   6   5  4..2  1  0
//!  -   -       no access  un- shared  copy    dirty  UXN  PXN  hint  DBM          frame   nG  AF  SH   RO  EL0 NS attr  T  V   leaf
//!  -   62: RO  shared     -                                                       frame                                 1  1   table
//!  0           0          value << 2 (bits 2..=51)                                                                      0  0   software
//! ```
//!
//! * T is 1 for a table and, at L3, for a page; 0 for a block. A leaf with "no access" has V clear.
//! * "Writable" is DBM. A writable leaf that is not dirty has RO set as well: hardware with dirty-bit management clears it at the
//!   first store, other hardware faults and the fault path sets DIRTY. A leaf that is dirty but not writable keeps that in bit 55.
//! * Memory attributes by index, as `arch/aarch64` programs MAIR: 0 normal write-back, 1 device nGnRE, 2 normal non-cacheable.
//! * The hint (bit 52) says that 16 aligned neighbours map 16 contiguous frames alike: a run (`run.rs`). Changing one of the 16 takes
//!   break-before-make over all; meanwhile they are "suspended": the hint without V, which no software value has.
//! * Bit 58 of a table's entry says that there are private, writable runs below.

use super::access::TableAccess;
use super::format::{Decoded, Format, Half};
use super::mapper::Mapper;
use super::tlb::Tlb;
use super::{Leaf, MapError, PageFlags, PageSize};
use crate::base::{FrameNumber, PhysicalAddress, VirtualAddress};

const VALID: u64 = 1 << 0;
/// With [`VALID`]: a table, or a page at the last level.
const TABLE: u64 = 1 << 1;
const ATTRIBUTE_DEVICE: u64 = 1 << 2;
const ATTRIBUTE_NON_CACHEABLE: u64 = 2 << 2;
const ATTRIBUTES: u64 = 7 << 2;
const EL0: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const UNPRIVILEGED_EXECUTE_NEVER: u64 = 1 << 54;
const SOFTWARE_DIRTY: u64 = 1 << 55;
const COPY_ON_WRITE: u64 = 1 << 56;
const SHARED: u64 = 1 << 57;
const UNCOUNTED: u64 = 1 << 58;
const NO_ACCESS: u64 = 1 << 59;
const FRAME: u64 = 0x0000_ffff_ffff_f000;
/// Table entries: nothing below is writable (`APTable[1]`).
const TABLE_READ_ONLY: u64 = 1 << 62;
/// Table entries: shared with another space (ignored by hardware).
const TABLE_SHARED: u64 = 1 << 59;

/// Table entries: leads to private, writable runs (ignored by hardware).
const TABLE_RUNS: u64 = 1 << 58;

/// Pages that one contiguous hint covers.
pub const CONTIGUOUS_PAGES: u64 = 16;

/// The format as a type.
#[derive(Clone, Copy, Default, Debug)]
pub struct ArmLpaeFormat;

impl Format for ArmLpaeFormat {
    const RECURSIVE_SLOT: Option<usize> = None;
    const USER_LIMIT: u64 = 1 << 48;
    const HAS_KERNEL_HALF: bool = false;
    const BREAK_BEFORE_MAKE: bool = true;
    const RUN: u64 = CONTIGUOUS_PAGES;

    fn leaf(frame: FrameNumber, flags: PageFlags, level: u8) -> u64 {
        let mut entry = frame.address().value() & FRAME;
        let mut set = |condition: bool, bits: u64| {
            if condition {
                entry |= bits;
            }
        };
        let (writable, dirty) = (flags.contains(PageFlags::WRITABLE), flags.contains(PageFlags::DIRTY));
        let (user, executable) = (flags.contains(PageFlags::USER), flags.contains(PageFlags::EXECUTABLE));
        set(level == 0, TABLE);
        set(user, EL0);
        set(writable, DIRTY_BIT_MODIFIER);
        set(!(writable && dirty), READ_ONLY);
        set(dirty && !writable, SOFTWARE_DIRTY);
        set(flags.contains(PageFlags::ACCESSED), ACCESS_FLAG);
        set(!flags.contains(PageFlags::GLOBAL), NOT_GLOBAL);
        set(!(executable && user), UNPRIVILEGED_EXECUTE_NEVER);
        set(!executable || user, PRIVILEGED_EXECUTE_NEVER);
        set(flags.contains(PageFlags::COPY_ON_WRITE), COPY_ON_WRITE);
        set(flags.contains(PageFlags::SHARED), SHARED);
        set(flags.contains(PageFlags::UNCOUNTED), UNCOUNTED);
        if flags.contains(PageFlags::DEVICE) {
            entry |= ATTRIBUTE_DEVICE;
        } else if flags.contains(PageFlags::WRITE_COMBINING) {
            entry |= ATTRIBUTE_NON_CACHEABLE;
        } else {
            entry |= INNER_SHAREABLE;
        }
        entry | if flags.contains(PageFlags::NO_ACCESS) { NO_ACCESS } else { VALID }
    }
    #[inline]
    fn table(frame: FrameNumber, _half: Half) -> u64 {
        frame.address().value() & FRAME | TABLE | VALID
    }
    fn recursive(_root: FrameNumber) -> u64 {
        0
    }
    fn software(value: u64) -> u64 {
        (value << 2) & (CONTIGUOUS - 1)
    }
    fn decode(entry: u64, level: u8) -> Decoded {
        if entry == 0 {
            return Decoded::Empty;
        }
        if Self::is_table(entry, level) {
            return Decoded::Table(Self::frame(entry));
        }
        if entry & (VALID | NO_ACCESS) == 0 {
            return Decoded::Software(entry >> 2);
        }
        let is_writable = entry & DIRTY_BIT_MODIFIER != 0;
        let is_user = entry & EL0 != 0;
        let never = if is_user { UNPRIVILEGED_EXECUTE_NEVER } else { PRIVILEGED_EXECUTE_NEVER };
        let mut flags = PageFlags::empty();
        flags.set(PageFlags::WRITABLE, is_writable);
        flags.set(PageFlags::DIRTY, is_writable && entry & READ_ONLY == 0 || entry & SOFTWARE_DIRTY != 0);
        flags.set(PageFlags::USER, is_user);
        flags.set(PageFlags::EXECUTABLE, entry & never == 0);
        flags.set(PageFlags::GLOBAL, entry & NOT_GLOBAL == 0);
        flags.set(PageFlags::ACCESSED, entry & ACCESS_FLAG != 0);
        flags.set(PageFlags::DEVICE, entry & ATTRIBUTES == ATTRIBUTE_DEVICE);
        flags.set(PageFlags::WRITE_COMBINING, entry & ATTRIBUTES == ATTRIBUTE_NON_CACHEABLE);
        flags.set(PageFlags::COPY_ON_WRITE, entry & COPY_ON_WRITE != 0);
        flags.set(PageFlags::SHARED, entry & SHARED != 0);
        flags.set(PageFlags::UNCOUNTED, entry & UNCOUNTED != 0);
        flags.set(PageFlags::NO_ACCESS, entry & VALID == 0);
        Decoded::Leaf(Self::frame(entry), flags)
    }
    #[inline]
    fn is_table(entry: u64, level: u8) -> bool {
        level > 0 && entry & (VALID | TABLE) == VALID | TABLE
    }
    #[inline]
    fn frame(entry: u64) -> FrameNumber {
        PhysicalAddress::new(entry & FRAME).frame()
    }
    #[inline]
    fn is_counted_leaf(entry: u64, level: u8) -> bool {
        entry & (VALID | NO_ACCESS) != 0 && entry & UNCOUNTED == 0 && !Self::is_table(entry, level)
    }
    #[inline]
    fn share(table_entry: u64) -> u64 {
        table_entry | TABLE_READ_ONLY | TABLE_SHARED
    }
    #[inline]
    fn unshare(table_entry: u64) -> u64 {
        table_entry & !(TABLE_READ_ONLY | TABLE_SHARED)
    }
    #[inline]
    fn is_shared(table_entry: u64) -> bool {
        table_entry & TABLE_SHARED != 0
    }
    fn join(leaf_entry: u64) -> u64 {
        leaf_entry | CONTIGUOUS
    }
    #[inline]
    fn is_joined(entry: u64, level: u8) -> bool {
        entry & (CONTIGUOUS | VALID) == CONTIGUOUS | VALID && !Self::is_table(entry, level)
    }
    #[inline]
    fn suspend(leaf_entry: u64) -> u64 {
        leaf_entry & !VALID
    }
    #[inline]
    fn resume(entry: u64) -> u64 {
        if entry & (CONTIGUOUS | VALID) == CONTIGUOUS { (entry | VALID) & !CONTIGUOUS } else { entry }
    }
    #[inline]
    fn mark_runs(table_entry: u64) -> u64 {
        table_entry | TABLE_RUNS
    }
    #[inline]
    fn unmark_runs(table_entry: u64) -> u64 {
        table_entry & !TABLE_RUNS
    }
    #[inline]
    fn has_runs(table_entry: u64) -> bool {
        table_entry & TABLE_RUNS != 0
    }
    fn fork_leaf(entry: u64) -> u64 {
        if entry & (DIRTY_BIT_MODIFIER | SHARED) != DIRTY_BIT_MODIFIER || entry & (VALID | NO_ACCESS) == 0 {
            return entry;
        }
        let dirty = if entry & READ_ONLY == 0 { SOFTWARE_DIRTY } else { 0 };
        entry & !DIRTY_BIT_MODIFIER | READ_ONLY | COPY_ON_WRITE | dirty
    }
}

/// Maps `page` (a page, or a 2 MiB or 1 GiB block, by `size`) to `frame`, making tables on demand; the frame is not counted.
///
/// # Errors
/// [`MapError`].
pub fn map_to_lpae<A: TableAccess, T: Tlb>(
    mapper: &mut Mapper<ArmLpaeFormat, A, T>,
    page: VirtualAddress,
    frame: FrameNumber,
    size: PageSize,
    flags: PageFlags,
) -> Result<(), MapError> {
    mapper.map(page, frame, size, flags)
}

/// Maps 16 pages to 16 contiguous frames, which are not counted, with the contiguous hint; both must be aligned to 64 KiB, and the flags must leave
/// the hardware nothing to note: accessed, and dirty if writable. Otherwise they are mapped without the hint.
///
/// # Errors
/// [`MapError`]; nothing is mapped then.
pub fn map_contiguous_lpae<A: TableAccess, T: Tlb>(
    mapper: &mut Mapper<ArmLpaeFormat, A, T>,
    page: VirtualAddress,
    frame: FrameNumber,
    flags: PageFlags,
) -> Result<(), MapError> {
    mapper.insert_run(page, frame, flags | PageFlags::UNCOUNTED)
}

/// Removes the leaf that maps exactly `page`, invalidates it and frees tables that are empty then. Gives what was mapped.
pub fn unmap_lpae<A: TableAccess, T: Tlb>(
    mapper: &mut Mapper<ArmLpaeFormat, A, T>,
    page: VirtualAddress,
) -> Option<Leaf> {
    mapper.unmap(page)
}

/// The physical address behind `address`.
pub fn translate_lpae<A: TableAccess, T: Tlb>(
    mapper: &Mapper<ArmLpaeFormat, A, T>,
    address: VirtualAddress,
) -> Option<PhysicalAddress> {
    mapper.translate(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_user_page_is_what_the_manual_says() {
        let flags = PageFlags::WRITABLE | PageFlags::DIRTY | PageFlags::USER | PageFlags::ACCESSED;
        // UXN, PXN, DBM, nG, AF, inner shareable, EL0, page.
        assert_eq!(ArmLpaeFormat::leaf(FrameNumber::new(0x40080), flags, 0), 0x0068_0000_4008_0f43);
        // A kernel block: UXN, AF, inner shareable, read-only.
        let flags = PageFlags::EXECUTABLE | PageFlags::GLOBAL | PageFlags::ACCESSED;
        assert_eq!(ArmLpaeFormat::leaf(FrameNumber::new(0x40200), flags, 1), 0x0040_0000_4020_0781);
        assert_eq!(ArmLpaeFormat::table(FrameNumber::new(7), Half::User), 0x7003);
    }

    #[test]
    fn a_clean_writable_page_faults_or_turns_dirty_at_the_first_store() {
        let entry = ArmLpaeFormat::leaf(FrameNumber::new(1), PageFlags::WRITABLE, 0);
        assert_ne!(entry & READ_ONLY, 0);
        let Decoded::Leaf(_, flags) = ArmLpaeFormat::decode(entry & !READ_ONLY, 0) else { panic!("no leaf") };
        assert!(flags.contains(PageFlags::DIRTY | PageFlags::WRITABLE));
    }
}
