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
}

/// Entries that the memory map may have; further ones are dropped.
pub const MAXIMUM_REGIONS: usize = 64;
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
    /// The ACPI root pointer, where the firmware has one.
    pub rsdp: Option<PhysicalAddress>,
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
