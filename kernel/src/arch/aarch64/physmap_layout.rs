//! What physmap maps how: pure, and tested on any host. `boot/tables.rs` fills the tables from it.

use crate::arch::boot_information::{BootInformation, MemoryKind};

/// The bytes that an entry of L1 spans.
pub const GIB: u64 = 1 << 30;
/// Of L2.
pub const MIB2: u64 = 2 << 20;
/// Of L3.
pub const PAGE: u64 = 4096;

/// An entry means something.
pub const VALID: u64 = 1;
/// With [`VALID`]: a table, or a page at the last level.
pub const TABLE_OR_PAGE: u64 = 0b10;
/// The contiguous hint.
pub const CONTIGUOUS: u64 = 1 << 52;

/// Marks each aligned group of 16 leaves that map what follows each other alike.
pub fn mark_runs(entries: &mut [u64; 512], span: u64) {
    for group in entries.chunks_exact_mut(16) {
        let Some(&first) = group.first() else { continue };
        let is_leaf = first & VALID != 0 && (first & TABLE_OR_PAGE == 0 || span == PAGE);
        if is_leaf && group.iter().zip(0..).all(|(entry, index)| *entry == first + index * span) {
            group.iter_mut().for_each(|entry| *entry |= CONTIGUOUS);
        }
    }
}

/// What a stretch of physical addresses holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Memory alone.
    Memory,
    /// No memory.
    Devices,
    /// What must not be mapped, alone.
    Forbidden,
    /// Several of them.
    Mixed,
}

/// What lies where.
#[derive(Debug)]
pub struct Layout<'a> {
    information: &'a BootInformation,
}

impl<'a> Layout<'a> {
    /// By what `information` says.
    #[must_use]
    pub fn of(information: &'a BootInformation) -> Self {
        Self { information }
    }
    /// Bytes of memory in `length` bytes from `start`.
    fn memory(&self, start: u64, length: u64) -> u64 {
        let regions = self.information.memory_regions.iter();
        let usable = regions.filter(|region| region.kind == MemoryKind::Usable);
        let common = usable.map(|region| {
            let (from, to) = (region.start.value(), region.start.value().saturating_add(region.length));
            to.min(start + length).saturating_sub(from.max(start))
        });
        common.sum()
    }
    /// Bytes there that must not be mapped.
    fn forbidden(&self, start: u64, length: u64) -> u64 {
        let common = self.information.not_mapped.iter().map(|range| {
            // Whole pages.
            let (from, to) = (range.start.value() & !(PAGE - 1), range.end.value().next_multiple_of(PAGE));
            to.min(start + length).saturating_sub(from.max(start))
        });
        common.sum()
    }
    /// Whether any of them must not.
    #[must_use]
    pub fn has_forbidden(&self, start: u64, length: u64) -> bool {
        self.forbidden(start, length) != 0
    }
    /// What they hold, with regard to the entries that there are of that length.
    #[must_use]
    pub fn content(&self, start: u64, length: u64) -> Content {
        match (self.forbidden(start, length), self.memory(start, length)) {
            (forbidden, _) if forbidden >= length => Content::Forbidden,
            (0, 0) => Content::Devices,
            (0, memory) if memory >= length => Content::Memory,
            // No entry is smaller than 2 MiB where memory and devices meet.
            (0, _) if length <= MIB2 => Content::Memory,
            (_, 0) if length <= PAGE => Content::Devices,
            (_, _) if length <= PAGE => Content::Memory,
            _ => Content::Mixed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::boot_information::{MemoryRegion, PhysicalRange};
    use crate::base::PhysicalAddress;

    const MEMORY_BLOCK: u64 = 0x701;
    const DEVICE_BLOCK: u64 = 0x405;

    fn information() -> BootInformation {
        let mut information = BootInformation::new();
        let region =
            |start, length| MemoryRegion { start: PhysicalAddress::new(start), length, kind: MemoryKind::Usable };
        information.memory_regions.push(region(GIB, 3 * GIB + MIB2 / 2));
        let (start, end) = (PhysicalAddress::new(2 * GIB + 0x1800), PhysicalAddress::new(2 * GIB + 2 * MIB2));
        information.not_mapped.push(PhysicalRange { start, end });
        information
    }

    #[test]
    fn what_must_not_be_mapped_is_told_apart_to_the_page() {
        let information = information();
        let layout = Layout::of(&information);
        assert_eq!([0, 1, 2, 3, 4].map(|gib| layout.content(gib * GIB, GIB)), {
            use Content::{Devices, Memory, Mixed};
            [Devices, Memory, Mixed, Memory, Mixed]
        });
        let start = 2 * GIB;
        assert_eq!(layout.content(start, MIB2), Content::Mixed);
        assert_eq!(layout.content(start + MIB2, MIB2), Content::Forbidden);
        assert_eq!(layout.content(start + 2 * MIB2, MIB2), Content::Memory);
        assert_eq!(layout.content(start, PAGE), Content::Memory);
        assert_eq!(layout.content(start + PAGE, PAGE), Content::Forbidden, "the page that it begins in");
        assert_eq!(layout.content(4 * GIB, MIB2), Content::Memory, "begins as memory");
        assert_eq!(layout.content(4 * GIB + MIB2, MIB2), Content::Devices);
    }

    #[test]
    fn only_whole_groups_that_are_alike_are_runs() {
        let mut entries = [0; 512];
        for (entry, index) in entries.iter_mut().zip(0..) {
            *entry = (index * MIB2) | if index < 40 { MEMORY_BLOCK } else { DEVICE_BLOCK };
        }
        entries[5] = 0x1000 | TABLE_OR_PAGE | VALID;
        mark_runs(&mut entries, MIB2);
        let marked: Vec<bool> =
            entries.chunks(16).map(|group| group.iter().all(|entry| entry & CONTIGUOUS != 0)).collect();
        assert_eq!(marked[..4], [false, true, false, true]);
        assert!(entries[..16].iter().all(|entry| entry & CONTIGUOUS == 0));
    }
}
