//! Reading PVH's start information.
//!
//! Layout (all little endian, physical addresses): magic u32, version u32, flags u32, modules u32, module list u64, command line
//! u64, RSDP u64; from version 1: memory map u64, entries u32, reserved u32. A module is address u64, size u64, command line
//! u64, reserved u64; a map entry is address u64, size u64, type u32, reserved u32.

use super::StartError;
use crate::arch::boot_information::{
    BootInformation, MAXIMUM_COMMAND_LINE, MAXIMUM_REGIONS, MemoryKind, PhysicalReader, ROOT_POINTER_LENGTH,
};
use crate::base::PhysicalAddress;

const MAGIC: u32 = 0x336e_c578;

fn read_u32(read: PhysicalReader<'_>, address: u64) -> u32 {
    let mut bytes = [0; 4];
    read(PhysicalAddress::new(address), &mut bytes);
    u32::from_le_bytes(bytes)
}

fn read_u64(read: PhysicalReader<'_>, address: u64) -> u64 {
    let mut bytes = [0; 8];
    read(PhysicalAddress::new(address), &mut bytes);
    u64::from_le_bytes(bytes)
}

/// Copies everything out of the structure at `start` to `information`.
///
/// # Errors
/// [`StartError`].
pub fn parse(
    start: PhysicalAddress,
    read: PhysicalReader<'_>,
    information: &mut BootInformation,
) -> Result<(), StartError> {
    let base = start.value();
    if read_u32(read, base) != MAGIC {
        return Err(StartError::NoMagic);
    }
    if read_u32(read, base + 4) == 0 {
        return Err(StartError::NoMemoryMap);
    }
    let module_count = read_u32(read, base + 12);
    let modules = read_u64(read, base + 16);
    let command_line = read_u64(read, base + 24);
    let rsdp = read_u64(read, base + 32);
    let map = read_u64(read, base + 40);
    let entries = u64::from(read_u32(read, base + 48));
    if rsdp != 0 {
        let mut root = [0; ROOT_POINTER_LENGTH];
        read(PhysicalAddress::new(rsdp), &mut root);
        information.rsdp = Some(root);
    }
    for index in 0..entries.min(MAXIMUM_REGIONS as u64) {
        let entry = map.wrapping_add(index * 24);
        let (start, length) = (read_u64(read, entry), read_u64(read, entry.wrapping_add(8)));
        let kind = match read_u32(read, entry.wrapping_add(16)) {
            1 => MemoryKind::Usable,
            3 => MemoryKind::AcpiReclaimable,
            _ => MemoryKind::Reserved,
        };
        information.add_region(start, length, kind);
    }
    if module_count > 0 {
        let (address, size) = (read_u64(read, modules), read_u64(read, modules.wrapping_add(8)));
        information.set_initrd(address, address.checked_add(size).unwrap_or(0));
    }
    if command_line != 0 {
        let mut bytes = [0; MAXIMUM_COMMAND_LINE];
        read(PhysicalAddress::new(command_line), &mut bytes);
        information.set_command_line(&bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::boot_information::PhysicalRange;

    struct Memory(Vec<u8>);
    impl Memory {
        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }
        fn read(&self, address: PhysicalAddress, target: &mut [u8]) {
            for (index, byte) in target.iter_mut().enumerate() {
                *byte = self.0.get(address.value() as usize + index).copied().unwrap_or(0);
            }
        }
    }

    fn example() -> Memory {
        let mut memory = Memory(vec![0; 0x4000]);
        memory.put(0x100, &MAGIC.to_le_bytes());
        memory.put(0x104, &1u32.to_le_bytes());
        memory.put(0x10c, &1u32.to_le_bytes());
        memory.put(0x110, &0x200u64.to_le_bytes());
        memory.put(0x118, &0x300u64.to_le_bytes());
        memory.put(0x120, &0x3f00u64.to_le_bytes());
        memory.put(0x128, &0x400u64.to_le_bytes());
        memory.put(0x130, &3u32.to_le_bytes());
        memory.put(0x200, &0x7f0_0123u64.to_le_bytes());
        memory.put(0x208, &0x1000u64.to_le_bytes());
        memory.put(0x300, b"console=ttyS0 quiet\0");
        for (index, (start, length, kind)) in
            [(0u64, 0x9_fc00u64, 1u32), (0x10_0000, 0x7f0_0000, 1), (0, 0, 0)].into_iter().enumerate()
        {
            memory.put(0x400 + index * 24, &start.to_le_bytes());
            memory.put(0x408 + index * 24, &length.to_le_bytes());
            memory.put(0x410 + index * 24, &kind.to_le_bytes());
        }
        memory
    }

    fn range(start: u64, end: u64) -> PhysicalRange {
        PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) }
    }

    fn parse_at(memory: &Memory, at: u64) -> Result<BootInformation, StartError> {
        let mut information = BootInformation::new();
        parse(PhysicalAddress::new(at), &|from, to| memory.read(from, to), &mut information).map(|()| information)
    }

    #[test]
    fn everything_is_copied_out() {
        let mut memory = example();
        memory.put(0x3f00, b"RSD PTR ");
        let found = parse_at(&memory, 0x100).unwrap();
        assert_eq!(found.memory_regions.len(), 2, "microvm's empty last entry is dropped");
        assert_eq!(found.initrd, Some(range(0x7f0_0123, 0x7f0_1123)));
        assert_eq!(found.reserved.last(), Some(&range(0x7f0_0000, 0x7f0_2000)));
        assert_eq!(found.command_line.as_str(), "console=ttyS0 quiet");
        assert!(found.rsdp.is_some_and(|root| root.starts_with(b"RSD PTR ")));
    }

    #[test]
    fn nonsense_is_refused_and_hostile_numbers_do_no_harm() {
        let mut memory = example();
        assert_eq!(parse_at(&memory, 0x104).err(), Some(StartError::NoMagic));
        memory.put(0x130, &u32::MAX.to_le_bytes());
        memory.put(0x200, &u64::MAX.to_le_bytes());
        memory.put(0x408, &u64::MAX.to_le_bytes());
        memory.put(0x300, &[0xff; 16]);
        let found = parse_at(&memory, 0x100).unwrap();
        assert_eq!((found.initrd, found.command_line.as_str()), (None, ""));
        memory.put(0x104, &0u32.to_le_bytes());
        assert_eq!(parse_at(&memory, 0x100).err(), Some(StartError::NoMemoryMap));
    }
}
