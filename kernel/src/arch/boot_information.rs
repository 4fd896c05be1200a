//! What the boot protocol told us, as plain data: memory map, initial RAM disk, command line, firmware tables.
//!
//! The machine's entry code fills it once, before any other room runs, and copies everything it needs: after that the boot
//! protocol's own structures may be overwritten. Only the initial RAM disk still lies in memory that the map calls usable.

use crate::base::PhysicalAddress;
use arrayvec::{ArrayString, ArrayVec};
use spin::Once;

/// Reads physical memory; what cannot be read is zeros.
pub type PhysicalReader<'a> = &'a dyn Fn(PhysicalAddress, &mut [u8]);

/// What a stretch of physical memory is, by the firmware's map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryKind {
    /// Ordinary memory.
    Usable,
    /// Memory that holds ACPI tables; ordinary memory once they are read. It is left alone.
    AcpiReclaimable,
    /// Anything else: firmware, devices, broken memory.
    Reserved,
}

/// A stretch of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryRegion {
    /// Its first byte.
    pub start: PhysicalAddress,
    /// Its length in bytes.
    pub length: u64,
    /// What it is.
    pub kind: MemoryKind,
}

/// A half-open range of physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhysicalRange {
    /// The first byte.
    pub start: PhysicalAddress,
    /// One past the last byte.
    pub end: PhysicalAddress,
}

impl PhysicalRange {
    /// Its length in bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.end.value().saturating_sub(self.start.value())
    }
    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start.value() <= other.start.value() && other.end.value() <= self.end.value()
    }
}

/// Entries that the memory map may have once neighbours of one kind are joined; further ones are dropped. UEFI gives the longest maps, some 100
/// entries before joining.
pub const MAXIMUM_REGIONS: usize = 128;
/// Bytes of an ACPI root pointer of revision 2; one of revision 0 ends after 20.
pub const ROOT_POINTER_LENGTH: usize = 36;
/// Bytes of command line that are kept, as on Linux.
pub const MAXIMUM_COMMAND_LINE: usize = 2047;

/// Everything the boot protocol told us.
#[derive(Clone, Debug)]
pub struct BootInformation {
    /// The memory map as the firmware gave it: may be unordered and may overlap.
    pub memory_regions: ArrayVec<MemoryRegion, MAXIMUM_REGIONS>,
    /// Stretches of usable memory that are taken: the kernel's image, the initial RAM disk, low memory.
    pub reserved: ArrayVec<PhysicalRange, 8>,
    /// Stretches that may not even be mapped: a speculative access to them could do harm. They are reserved, too.
    pub not_mapped: ArrayVec<PhysicalRange, 8>,
    /// The initial RAM disk.
    pub initrd: Option<PhysicalRange>,
    /// The command line.
    pub command_line: ArrayString<MAXIMUM_COMMAND_LINE>,
    /// A copy of the ACPI root pointer (RSDP), where the firmware has one; zeros follow a shorter one. A copy, because that is what a boot
    /// loader hands over, in memory that is free afterwards.
    pub rsdp: Option<[u8; ROOT_POINTER_LENGTH]>,
    /// The kernel's image with its `.bss`.
    pub kernel_image: PhysicalRange,
}

impl BootInformation {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory_regions: ArrayVec::new_const(),
            reserved: ArrayVec::new_const(),
            not_mapped: ArrayVec::new_const(),
            initrd: None,
            command_line: ArrayString::new_const(),
            rsdp: None,
            kernel_image: PhysicalRange { start: PhysicalAddress::new(0), end: PhysicalAddress::new(0) },
        }
    }
}

impl BootInformation {
    /// Adds a stretch to the memory map, joined with the one before where that is of the same kind and ends there. One that is empty or goes past
    /// the end of all addresses is left out, and so is one for which there is no room.
    pub fn add_region(&mut self, start: u64, length: u64, kind: MemoryKind) {
        if length == 0 || start.checked_add(length).is_none() {
            return;
        }
        if let Some(last) = self.memory_regions.last_mut()
            && last.kind == kind
            && last.start.value().checked_add(last.length) == Some(start)
        {
            last.length += length;
            return;
        }
        let _ = self.memory_regions.try_push(MemoryRegion { start: PhysicalAddress::new(start), length, kind });
    }

    /// Appends to the command line, up to a byte that ends it: a zero, one that is not text (everything that reads the line wants text), or one for
    /// which there is no room.
    pub fn set_command_line(&mut self, bytes: &[u8]) {
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let bytes = bytes.get(..length.min(MAXIMUM_COMMAND_LINE)).unwrap_or_default();
        let text = match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or(""),
        };
        self.command_line.clear();
        // It fits: it was cut to that length.
        let _ = self.command_line.try_push_str(text);
    }

    /// Notes the initial RAM disk, whose pages are taken. One without a byte, or past the end of all addresses, is none.
    pub fn set_initrd(&mut self, start: u64, end: u64) {
        const MASK: u64 = crate::base::PAGE_SIZE as u64 - 1;
        let range = |start, end| PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) };
        if start < end && self.reserved.try_push(range(start & !MASK, end.saturating_add(MASK) & !MASK)).is_ok() {
            self.initrd = Some(range(start, end));
        }
    }

    /// Whether one stretch of the map says that all of `range` is usable.
    #[must_use]
    pub fn is_usable(&self, range: PhysicalRange) -> bool {
        let mut usable = self.memory_regions.iter().filter(|region| region.kind == MemoryKind::Usable);
        usable.any(|region| {
            let start = region.start.value();
            start <= range.start.value() && range.end.value() <= start.saturating_add(region.length)
        })
    }

    /// One past the last byte of usable memory.
    #[must_use]
    pub fn usable_end(&self) -> u64 {
        let usable = self.memory_regions.iter().filter(|region| region.kind == MemoryKind::Usable);
        usable.map(|region| region.start.value().saturating_add(region.length)).max().unwrap_or(0)
    }

    /// The lowest place for `size` bytes (a multiple of the page size) in whole free pages of usable memory below `limit`.
    #[must_use]
    pub fn find_room(&self, size: u64, limit: u64) -> Option<PhysicalRange> {
        const PAGE: u64 = crate::base::PAGE_SIZE as u64;
        let mut found: Option<u64> = None;
        for region in self.memory_regions.iter().filter(|region| region.kind == MemoryKind::Usable) {
            let end = region.start.value().checked_add(region.length)?.min(limit);
            let mut start = region.start.value().checked_next_multiple_of(PAGE)?;
            // Each turn passes a reserved range, so it ends.
            while let Some(taken) = self
                .reserved
                .iter()
                .find(|taken| taken.start.value() < start.saturating_add(size) && start < taken.end.value())
            {
                start = taken.end.value().checked_next_multiple_of(PAGE)?;
            }
            if start.checked_add(size)? <= end && found.is_none_or(|other| start < other) {
                found = Some(start);
            }
        }
        found.map(|start| PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(start + size) })
    }
}

impl Default for BootInformation {
    fn default() -> Self {
        Self::new()
    }
}

static INFORMATION: Once<BootInformation> = Once::new();

/// Stores it; the machine's entry code alone, once.
pub fn set_boot_information(information: BootInformation) {
    INFORMATION.call_once(|| information);
}

/// What the boot protocol told us; empty on the hosted machine.
#[must_use]
pub fn boot_information() -> &'static BootInformation {
    INFORMATION.call_once(BootInformation::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PhysicalRange {
        PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) }
    }

    #[test]
    fn neighbours_of_one_kind_are_one_entry_of_the_map() {
        let mut information = BootInformation::new();
        information.add_region(0, 0x8_0000, MemoryKind::Usable);
        information.add_region(0x8_0000, 0x1_0000, MemoryKind::Usable);
        information.add_region(0x9_0000, 0x1_0000, MemoryKind::Reserved);
        information.add_region(0x9_0000, 0, MemoryKind::Usable);
        information.add_region(u64::MAX, 2, MemoryKind::Usable);
        assert_eq!(information.memory_regions.len(), 2);
        assert!(information.is_usable(range(0x7_f000, 0x9_0000)), "over where the two met");
        assert!(!information.is_usable(range(0x8_f000, 0x9_1000)) && !information.is_usable(range(0x9_0000, 0x9_1000)));
        assert_eq!(information.usable_end(), 0x9_0000);
        for index in 0..2 * MAXIMUM_REGIONS as u64 {
            information.add_region(index << 32, 0x1000, MemoryKind::Usable);
        }
        assert_eq!(information.memory_regions.len(), MAXIMUM_REGIONS);
    }

    #[test]
    fn a_command_line_ends_where_it_is_no_text() {
        let mut information = BootInformation::new();
        for (bytes, text) in [(&b"quiet\0x"[..], "quiet"), (b"a\xff b", "a"), (b"", "")] {
            information.set_command_line(bytes);
            assert_eq!(information.command_line.as_str(), text);
        }
        information.set_command_line(&[b'x'; MAXIMUM_COMMAND_LINE + 9]);
        assert_eq!(information.command_line.len(), MAXIMUM_COMMAND_LINE);
    }

    #[test]
    fn an_initrd_takes_whole_pages() {
        let mut information = BootInformation::new();
        information.set_initrd(0x5000, 0x5000);
        information.set_initrd(0x6000, 0x5000);
        assert_eq!((information.initrd, information.reserved.len()), (None, 0));
        information.set_initrd(0x5123, 0x7001);
        assert_eq!(information.initrd, Some(range(0x5123, 0x7001)));
        assert_eq!(information.reserved.last(), Some(&range(0x5000, 0x8000)));
    }

    #[test]
    fn room_is_found_between_what_is_taken() {
        let mut information = BootInformation::new();
        for (start, length, kind) in [
            (0x10_0000, 0x10_0000, MemoryKind::Usable),
            (0, 0x8_0000, MemoryKind::Usable),
            (0x8_0000, 0x8_0000, MemoryKind::Reserved),
        ] {
            information.memory_regions.push(MemoryRegion { start: PhysicalAddress::new(start), length, kind });
        }
        information.reserved.push(range(0, 0x1_0000));
        information.reserved.push(range(0x1_2000, 0x7_f800));
        assert_eq!(information.usable_end(), 0x20_0000);
        assert_eq!(information.find_room(0x2000, u64::MAX), Some(range(0x1_0000, 0x1_2000)));
        assert_eq!(information.find_room(0x3000, u64::MAX), Some(range(0x10_0000, 0x10_3000)));
        assert_eq!(information.find_room(0x3000, 0x10_2000), None);
        assert_eq!(information.find_room(0x20_0000, u64::MAX), None);
    }
}
