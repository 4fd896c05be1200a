//! The x86_64 page-table format: four levels, P4 to P1, and the recursive window behind P4 slot 511.
//!
//! ```text
//!  63  62..59  58..53  52         51..12   11        10      9      8  7      6  5  4    3    2   1   0
//!  NX  -       -       no access  frame    uncounted shared  copy   G  PS/PAT D  A  PCD  PWT  US  RW  P     leaf
//!  -                              frame                      shared    0         A            US  RW  P     table
//!  0                   0          value << 1 (bits 1..=51)                                            0     software
//! ```
//!
//! A leaf with "no access" has P clear and everything else in place. In a table entry bit 9 says that the table is shared with
//! another address space; RW is then clear, so nothing below can be written.
//!
//! [`map_to`], [`unmap`] and [`translate`] work on any tables of this format, through the recursive window or the physmap:
//! what [`super::access::TableAccess`] says.

use super::access::TableAccess;
use super::format::{Decoded, Format, Half};
use super::mapper::Mapper;
use super::tlb::Tlb;
use super::{Leaf, MapError, PageFlags, PageSize};
use crate::base::{FrameNumber, PhysicalAddress, VirtualAddress};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const COPY_ON_WRITE: u64 = 1 << 9;
const SHARED: u64 = 1 << 10;
const UNCOUNTED: u64 = 1 << 11;
const NO_ACCESS: u64 = 1 << 52;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Table entries: the table is shared with another space.
const TABLE_SHARED: u64 = 1 << 9;

/// The format as a type.
#[derive(Clone, Copy, Default, Debug)]
pub struct X86_64Format;

/// Pairs of one flag and one bit with the same sense.
const PLAIN: [(PageFlags, u64); 8] = [
    (PageFlags::WRITABLE, WRITABLE),
    (PageFlags::USER, USER),
    (PageFlags::GLOBAL, GLOBAL),
    (PageFlags::ACCESSED, ACCESSED),
    (PageFlags::DIRTY, DIRTY),
    (PageFlags::COPY_ON_WRITE, COPY_ON_WRITE),
    (PageFlags::SHARED, SHARED),
    (PageFlags::UNCOUNTED, UNCOUNTED),
];

impl Format for X86_64Format {
    const RECURSIVE_SLOT: Option<usize> = Some(511);
    const USER_LIMIT: u64 = 1 << 47;
    const HAS_KERNEL_HALF: bool = true;
    const BREAK_BEFORE_MAKE: bool = false;

    #[inline]
    fn leaf(frame: FrameNumber, flags: PageFlags, level: u8) -> u64 {
        let mut entry = frame.address().value() & FRAME;
        for (flag, bit) in PLAIN {
            if flags.contains(flag) {
                entry |= bit;
            }
        }
        if !flags.contains(PageFlags::EXECUTABLE) {
            entry |= NO_EXECUTE;
        }
        // Index 3 of the page attribute table is uncached; index 1 is write-combining (write-through until it is programmed).
        if flags.contains(PageFlags::DEVICE) {
            entry |= CACHE_DISABLE | WRITE_THROUGH;
        } else if flags.contains(PageFlags::WRITE_COMBINING) {
            entry |= WRITE_THROUGH;
        }
        if level > 0 {
            entry |= LARGE;
        }
        entry | if flags.contains(PageFlags::NO_ACCESS) { NO_ACCESS } else { PRESENT }
    }
    #[inline]
    fn table(frame: FrameNumber, half: Half) -> u64 {
        let user = if half == Half::User { USER } else { 0 };
        frame.address().value() & FRAME | PRESENT | WRITABLE | ACCESSED | user
    }
    fn recursive(root: FrameNumber) -> u64 {
        Self::table(root, Half::Kernel) | NO_EXECUTE
    }
    fn software(value: u64) -> u64 {
        (value << 1) & (NO_ACCESS - 1)
    }
    fn decode(entry: u64, level: u8) -> Decoded {
        if entry == 0 {
            return Decoded::Empty;
        }
        if Self::is_table(entry, level) {
            return Decoded::Table(Self::frame(entry));
        }
        if entry & (PRESENT | NO_ACCESS) == 0 {
            return Decoded::Software(entry >> 1);
        }
        let mut flags = PageFlags::empty();
        for (flag, bit) in PLAIN {
            flags.set(flag, entry & bit != 0);
        }
        flags.set(PageFlags::EXECUTABLE, entry & NO_EXECUTE == 0);
        flags.set(PageFlags::DEVICE, entry & CACHE_DISABLE != 0);
        flags.set(PageFlags::WRITE_COMBINING, entry & (CACHE_DISABLE | WRITE_THROUGH) == WRITE_THROUGH);
        flags.set(PageFlags::NO_ACCESS, entry & PRESENT == 0);
        Decoded::Leaf(Self::frame(entry), flags)
    }
    #[inline]
    fn is_table(entry: u64, level: u8) -> bool {
        level > 0 && entry & (PRESENT | LARGE) == PRESENT
    }
    #[inline]
    fn frame(entry: u64) -> FrameNumber {
        PhysicalAddress::new(entry & FRAME).frame()
    }
    #[inline]
    fn is_counted_leaf(entry: u64, level: u8) -> bool {
        entry & (PRESENT | NO_ACCESS) != 0 && entry & UNCOUNTED == 0 && !Self::is_table(entry, level)
    }
    #[inline]
    fn share(table_entry: u64) -> u64 {
        table_entry & !WRITABLE | TABLE_SHARED
    }
    #[inline]
    fn unshare(table_entry: u64) -> u64 {
        table_entry & !TABLE_SHARED | WRITABLE
    }
    #[inline]
    fn is_shared(table_entry: u64) -> bool {
        table_entry & TABLE_SHARED != 0
    }
    #[inline]
    fn fork_leaf(entry: u64) -> u64 {
        if entry & (WRITABLE | SHARED) == WRITABLE && entry & (PRESENT | NO_ACCESS) != 0 {
            entry & !WRITABLE | COPY_ON_WRITE
        } else {
            entry
        }
    }
}

/// Maps `page` (4 KiB, 2 MiB or 1 GiB by `size`) to `frame`, making tables on demand; the frame is not counted.
///
/// # Errors
/// [`MapError`].
pub fn map_to<A: TableAccess, T: Tlb>(
    mapper: &mut Mapper<X86_64Format, A, T>,
    page: VirtualAddress,
    frame: FrameNumber,
    size: PageSize,
    flags: PageFlags,
) -> Result<(), MapError> {
    mapper.map(page, frame, size, flags)
}

/// Removes the leaf that maps exactly `page`, invalidates it and frees tables that are empty then. Gives what was mapped.
pub fn unmap<A: TableAccess, T: Tlb>(mapper: &mut Mapper<X86_64Format, A, T>, page: VirtualAddress) -> Option<Leaf> {
    mapper.unmap(page)
}

/// The physical address behind `address`.
pub fn translate<A: TableAccess, T: Tlb>(
    mapper: &Mapper<X86_64Format, A, T>,
    address: VirtualAddress,
) -> Option<PhysicalAddress> {
    mapper.translate(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_user_page_is_what_the_manual_says() {
        let flags = PageFlags::WRITABLE | PageFlags::USER;
        assert_eq!(X86_64Format::leaf(FrameNumber::new(0x12345), flags, 0), 0x8000_0000_1234_5007);
        let flags = PageFlags::EXECUTABLE | PageFlags::GLOBAL;
        assert_eq!(X86_64Format::leaf(FrameNumber::new(0x200), flags, 1), 0x0000_0000_0020_0181);
        assert_eq!(X86_64Format::leaf(FrameNumber::new(1), PageFlags::DEVICE, 0), 0x8000_0000_0000_1019);
        assert_eq!(X86_64Format::table(FrameNumber::new(5), Half::User), 0x5027);
        assert_eq!(X86_64Format::table(FrameNumber::new(5), Half::Kernel), 0x5023);
    }

    #[test]
    fn a_shared_table_is_not_writable() {
        let entry = X86_64Format::share(X86_64Format::table(FrameNumber::new(5), Half::User));
        assert_eq!(entry & WRITABLE, 0);
        assert!(X86_64Format::is_shared(entry) && X86_64Format::is_table(entry, 1));
        assert_eq!(X86_64Format::unshare(entry), X86_64Format::table(FrameNumber::new(5), Half::User));
    }
}
