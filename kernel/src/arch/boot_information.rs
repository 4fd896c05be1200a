//! What the boot protocol told us, as plain data: memory map, initial RAM disk, command line, firmware tables.
//!
//! The machine's entry code fills it once, before any other room runs, and copies everything it needs: after that the boot
//! protocol's own structures may be overwritten. Only the initial RAM disk still lies in memory that the map calls usable.

use crate::base::PhysicalAddress;
use arrayvec::{ArrayString, ArrayVec};
use spin::Once;

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
            initrd: None,
            command_line: ArrayString::new_const(),
            rsdp: None,
            kernel_image: PhysicalRange { start: PhysicalAddress::new(0), end: PhysicalAddress::new(0) },
        }
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
