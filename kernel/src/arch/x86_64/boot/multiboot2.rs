//! Reading Multiboot2's boot information, as GRUB leaves it on machines with BIOS and with UEFI.
//!
//! Layout (all little endian): total size u32, reserved u32, then tags, each at a multiple of 8: type u32, size u32 (without what fills up to the next
//! tag), content. A tag of type 0 ends them. What is used:
//!
//! | type | tag | content |
//! |---|---|---|
//! | 1 | command line | text, ended by a zero |
//! | 3 | module | start u32, end u32 (one past its last byte), text; the first module is the initial RAM disk, others are not looked at |
//! | 6 | memory map | entry size u32, entry version u32, entries: address u64, length u64, type u32, reserved u32, perhaps more |
//! | 14 | ACPI, old | the root pointer itself, 20 bytes |
//! | 15 | ACPI, new | the root pointer itself, 36 bytes |
//!
//! Under UEFI the boot loader has left boot services before, and made the map from UEFI's: memory of boot services is usable, of runtime services is not.
//! The framebuffer is not used.
//!
//! Every number may be anything: what lies past the information's end is not read, and the number of steps is bounded by its length.
//!
//! The crate `multiboot2` was looked at: it wants the information behind a reference for as long as its tags are used, asserts on sizes that a boot
//! loader chose (a larger map entry among them, which the specification allows), and brings UEFI's types and five derive macros for five small tags.

#![cfg_attr(not(target_os = "none"), allow(dead_code, reason = "called on bare metal alone"))]

use super::StartError;
use crate::arch::boot_information::{
    BootInformation, MAXIMUM_COMMAND_LINE, MemoryKind, PhysicalReader, ROOT_POINTER_LENGTH,
};
use crate::base::PhysicalAddress;

/// Longer information is nonsense: GRUB's, with a framebuffer, UEFI's map and the kernel's section headers, is some 20 KiB.
const MAXIMUM_LENGTH: u64 = 1 << 20;
/// The information's own head, and a tag's.
const HEAD: u64 = 8;
/// The smallest entry of a memory map.
const MAP_ENTRY: u64 = 24;

const END: u32 = 0;
const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
const ACPI_OLD: u32 = 14;
const ACPI_NEW: u32 = 15;

/// A tag: its type, and where its content lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tag {
    kind: u32,
    start: u64,
    end: u64,
}

impl Tag {
    /// Bytes of the content.
    const fn length(self) -> u64 {
        self.end - self.start
    }

    /// Fills `target` from the content's `offset` on; zeros stand for what lies past its end.
    fn copy(self, offset: u64, target: &mut [u8], read: PhysicalReader<'_>) {
        target.fill(0);
        let left = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = left.min(target.len());
        if let Some(part) = target.get_mut(..length)
            && !part.is_empty()
        {
            read(PhysicalAddress::new(self.start + offset), part);
        }
    }

    fn u32_at(self, offset: u64, read: PhysicalReader<'_>) -> u32 {
        let mut bytes = [0; 4];
        self.copy(offset, &mut bytes, read);
        u32::from_le_bytes(bytes)
    }

    fn u64_at(self, offset: u64, read: PhysicalReader<'_>) -> u64 {
        let mut bytes = [0; 8];
        self.copy(offset, &mut bytes, read);
        u64::from_le_bytes(bytes)
    }
}

/// Calls `visit` with every tag between `start` and `end`, up to one that makes no sense.
fn for_each_tag(start: u64, end: u64, read: PhysicalReader<'_>, mut visit: impl FnMut(Tag)) {
    let mut at = start;
    while at.checked_add(HEAD).is_some_and(|content| content <= end) {
        let head = Tag { kind: END, start: at, end };
        let (kind, size) = (head.u32_at(0, read), u64::from(head.u32_at(4, read)));
        // At most 2^20 + 2^32 past an address below 2^32: no overflow.
        let next = at + size;
        if kind == END || size < HEAD || next > end {
            return;
        }
        visit(Tag { kind, start: at + HEAD, end: next });
        at = next.next_multiple_of(8);
    }
}

/// Copies everything out of the structure at `start`, which is below 4 GiB, to `information`.
///
/// # Errors
/// [`StartError`].
pub fn parse(
    start: PhysicalAddress,
    read: PhysicalReader<'_>,
    information: &mut BootInformation,
) -> Result<(), StartError> {
    let start = u64::from(u32::try_from(start.value()).map_err(|_| StartError::BadLength)?);
    let length = u64::from(Tag { kind: END, start, end: start + HEAD }.u32_at(0, read));
    if !(2 * HEAD..=MAXIMUM_LENGTH).contains(&length) {
        return Err(StartError::BadLength);
    }
    let mut has_module = false;
    let mut root_pointer_kind = 0;
    for_each_tag(start + HEAD, start + length, read, |tag| match tag.kind {
        COMMAND_LINE => {
            let mut bytes = [0; MAXIMUM_COMMAND_LINE];
            tag.copy(0, &mut bytes, read);
            information.set_command_line(&bytes);
        }
        MODULE if !has_module => {
            has_module = true;
            information.set_initrd(tag.u32_at(0, read).into(), tag.u32_at(4, read).into());
        }
        MEMORY_MAP => add_memory_map(tag, read, information),
        // The new one is the better one, whichever comes first.
        ACPI_OLD | ACPI_NEW if tag.kind > root_pointer_kind => {
            root_pointer_kind = tag.kind;
            let mut root = [0; ROOT_POINTER_LENGTH];
            tag.copy(0, &mut root, read);
            information.rsdp = Some(root);
        }
        _ => {}
    });
    if information.memory_regions.is_empty() { Err(StartError::NoMemoryMap) } else { Ok(()) }
}

fn add_memory_map(tag: Tag, read: PhysicalReader<'_>, information: &mut BootInformation) {
    let entry_size = u64::from(tag.u32_at(0, read));
    if entry_size < MAP_ENTRY {
        return;
    }
    let mut at = 8;
    while at + MAP_ENTRY <= tag.length() {
        let kind = match tag.u32_at(at + 16, read) {
            1 => MemoryKind::Usable,
            3 => MemoryKind::AcpiReclaimable,
            // 2 reserved, UEFI's runtime services among it; 4 kept by ACPI over sleep; 5 broken; others are not known.
            _ => MemoryKind::Reserved,
        };
        information.add_region(tag.u64_at(at, read), tag.u64_at(at + 8, read), kind);
        at += entry_size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::boot_information::PhysicalRange;
    use proptest::prelude::*;

    const BASE: u64 = 0x9000;

    fn read_from(bytes: &[u8], at: PhysicalAddress, to: &mut [u8]) {
        for (place, byte) in (at.value()..).zip(to) {
            *byte = place.checked_sub(BASE).and_then(|place| bytes.get(place as usize)).copied().unwrap_or(0xee);
        }
    }

    fn parse_bytes(bytes: &[u8]) -> Result<BootInformation, StartError> {
        let mut information = BootInformation::new();
        parse(PhysicalAddress::new(BASE), &|at, to| read_from(bytes, at, to), &mut information).map(|()| information)
    }

    /// Information with these tags and an end.
    fn information(tags: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        for (kind, content) in tags.iter().chain([&(END, Vec::new())]) {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((8 + content.len() as u32).to_le_bytes());
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(8), 0x55);
        }
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    fn module(start: u32, end: u32) -> (u32, Vec<u8>) {
        (MODULE, [&start.to_le_bytes()[..], &end.to_le_bytes(), b"name\0"].concat())
    }

    fn map(entry_size: u32, entries: &[(u64, u64, u32)]) -> (u32, Vec<u8>) {
        let mut bytes = [entry_size.to_le_bytes(), 0u32.to_le_bytes()].concat();
        for &(start, length, kind) in entries {
            let mut entry = [&start.to_le_bytes()[..], &length.to_le_bytes(), &kind.to_le_bytes(), &[0; 4]].concat();
            entry.resize(entry_size as usize, 0xaa);
            bytes.extend(entry);
        }
        (MEMORY_MAP, bytes)
    }

    fn root_pointer(kind: u32, length: usize) -> (u32, Vec<u8>) {
        let mut bytes = b"RSD PTR ".to_vec();
        bytes.resize(length, kind as u8);
        (kind, bytes)
    }

    const RAM: &[(u64, u64, u32)] = &[(0, 0x9_fc00, 1), (0x10_0000, 0x700_0000, 1)];

    #[test]
    fn everything_is_copied_out() {
        let tags = [
            (COMMAND_LINE, b"console=ttyS0 quiet\0".to_vec()),
            (2, b"GRUB 2.06\0".to_vec()),
            root_pointer(ACPI_NEW, 36),
            root_pointer(ACPI_OLD, 20),
            module(0x12_3456, 0x20_0001),
            module(0x30_0000, 0x30_1000),
            map(24, RAM),
        ];
        let found = parse_bytes(&information(&tags)).unwrap();
        assert_eq!(found.command_line.as_str(), "console=ttyS0 quiet");
        let range = |start, end| PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) };
        assert_eq!(found.initrd, Some(range(0x12_3456, 0x20_0001)), "the first module");
        assert_eq!(found.reserved.as_slice(), [range(0x12_3000, 0x20_1000)]);
        assert_eq!(found.memory_regions.len(), 2);
        let root = found.rsdp.unwrap();
        assert!(root.starts_with(b"RSD PTR ") && root[35] == ACPI_NEW as u8, "the new one");
    }

    #[test]
    fn an_old_root_pointer_ends_in_zeros() {
        let found = parse_bytes(&information(&[root_pointer(ACPI_OLD, 20), map(24, RAM)])).unwrap();
        let root = found.rsdp.unwrap();
        assert_eq!((root[19], &root[20..]), (ACPI_OLD as u8, &[0; 16][..]));
    }

    #[test]
    fn only_memory_of_type_1_is_given_out() {
        // ACPI's tables, what ACPI keeps, broken memory, UEFI's runtime services, a type of tomorrow
        let entries =
            [(0, 0x1000, 1), (0x1000, 0x1000, 3), (0x2000, 0x1000, 4), (0x3000, 0x1000, 5), (0x4000, 0x1000, 2)];
        let found = parse_bytes(&information(&[map(40, &entries), map(24, &[(0x5000, 0x1000, 20)])])).unwrap();
        let kinds: Vec<_> = found.memory_regions.iter().map(|region| (region.length, region.kind)).collect();
        let expected =
            [(0x1000, MemoryKind::Usable), (0x1000, MemoryKind::AcpiReclaimable), (0x4000, MemoryKind::Reserved)];
        assert_eq!(kinds, expected, "by the entry size that is given, neighbours joined");
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse_bytes(&[]).err(), Some(StartError::BadLength));
        assert_eq!(parse_bytes(&[8, 0, 0, 0]).err(), Some(StartError::BadLength));
        assert_eq!(parse_bytes(&information(&[])).err(), Some(StartError::NoMemoryMap));
        assert_eq!(parse_bytes(&information(&[map(16, RAM)])).err(), Some(StartError::NoMemoryMap));
        assert_eq!(parse_bytes(&information(&[map(24, &[(u64::MAX, 9, 1)])])).err(), Some(StartError::NoMemoryMap));
        let far = parse(PhysicalAddress::new(1 << 32), &|_, to| to.fill(0x10), &mut BootInformation::new());
        assert_eq!(far, Err(StartError::BadLength));
    }

    #[test]
    fn a_tag_that_makes_no_sense_is_the_last_one() {
        let good = information(&[map(24, RAM), (COMMAND_LINE, b"late\0".to_vec())]);
        let second = 8 + 16 + 24 * RAM.len();
        for size in [0u32, 7, 1000, u32::MAX] {
            let mut bytes = good.clone();
            bytes[second + 4..second + 8].copy_from_slice(&size.to_le_bytes());
            let found = parse_bytes(&bytes).unwrap();
            assert_eq!((found.memory_regions.len(), found.command_line.as_str()), (2, ""), "{size}");
        }
    }

    #[test]
    fn nothing_is_taken_from_past_a_tag() {
        // Without its zero the text ends with the tag; a module or a root pointer that is cut off is filled up with zeros.
        let tags = [(COMMAND_LINE, b"quiet".to_vec()), (MODULE, vec![9, 9]), (ACPI_NEW, b"RSD".to_vec()), map(24, RAM)];
        let found = parse_bytes(&information(&tags)).unwrap();
        assert_eq!((found.command_line.as_str(), found.initrd), ("quiet", None));
        assert_eq!(found.rsdp.unwrap()[3..], [0; 33]);
    }

    proptest! {
        #[test]
        fn no_information_can_do_harm(mut bytes in proptest::collection::vec(any::<u8>(), 16..600), length in 0u32..700) {
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            let _ = parse_bytes(&bytes);
        }

        /// Well-formed tags with noise as their content get further than noise does.
        #[test]
        fn no_tag_can_do_harm(
            tags in proptest::collection::vec(
                (prop::sample::select(&[COMMAND_LINE, MODULE, MEMORY_MAP, ACPI_OLD, ACPI_NEW][..]), any::<Vec<u8>>()), 0..9,
            ),
            cut in 0u32..100,
        ) {
            let mut bytes = information(&tags);
            let length = (bytes.len() as u32).saturating_sub(cut);
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            let end = BASE + u64::from(length).max(8);
            let within = |at: PhysicalAddress, to: &mut [u8]| {
                assert!(at.value() >= BASE && at.value() + to.len() as u64 <= end, "read past the end");
                read_from(&bytes, at, to);
            };
            let _ = parse(PhysicalAddress::new(BASE), &within, &mut BootInformation::new());
        }
    }
}
