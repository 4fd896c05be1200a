//! Reading PVH's start information.
//!
//! Layout (all little endian, physical addresses): magic u32, version u32, flags u32, modules u32, module list u64, command line
//! u64, RSDP u64; from version 1: memory map u64, entries u32, reserved u32. A module is address u64, size u64, command line
//! u64, reserved u64; a map entry is address u64, size u64, type u32, reserved u32.

use crate::arch::boot_information::{
    BootInformation, MAXIMUM_COMMAND_LINE, MAXIMUM_REGIONS, MemoryKind, MemoryRegion, PhysicalRange, PhysicalReader,
};
use crate::base::{PAGE_SIZE, PhysicalAddress};

const MAGIC: u32 = 0x336e_c578;
/// Low memory that is never given out: interrupt vectors and firmware's data, and the page in which other CPUs start.
const LOW_MEMORY_END: u64 = 0x1_0000;

/// Why the information is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// There is none at that address.
    NoMagic,
    /// It is of version 0, which has no memory map.
    NoMemoryMap,
}

impl StartError {
    /// What to say.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoMagic => "ashlar: no PVH start information\r\n",
            Self::NoMemoryMap => "ashlar: PVH start information without a memory map\r\n",
        }
    }
}

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

fn range(start: u64, end: u64) -> PhysicalRange {
    PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) }
}

/// Copies everything out of the structure at `start`. `image` is where the kernel lies.
///
/// # Errors
/// [`StartError`].
pub fn parse(
    start: PhysicalAddress,
    image: PhysicalRange,
    read: PhysicalReader<'_>,
) -> Result<BootInformation, StartError> {
    let base = start.value();
    if read_u32(read, base) != MAGIC {
        return Err(StartError::NoMagic);
    }
    if read_u32(read, base + 4) == 0 {
        return Err(StartError::NoMemoryMap);
    }
    let mut information = BootInformation::new();
    information.kernel_image = image;
    let module_count = read_u32(read, base + 12);
    let modules = read_u64(read, base + 16);
    let command_line = read_u64(read, base + 24);
    let rsdp = read_u64(read, base + 32);
    let map = read_u64(read, base + 40);
    let entries = u64::from(read_u32(read, base + 48));
    information.rsdp = (rsdp != 0).then_some(PhysicalAddress::new(rsdp));
    for index in 0..entries.min(MAXIMUM_REGIONS as u64) {
        let entry = map.wrapping_add(index * 24);
        let (start, length) = (read_u64(read, entry), read_u64(read, entry.wrapping_add(8)));
        let kind = match read_u32(read, entry.wrapping_add(16)) {
            1 => MemoryKind::Usable,
            3 => MemoryKind::AcpiReclaimable,
            _ => MemoryKind::Reserved,
        };
        if length > 0 && start.checked_add(length).is_some() {
            information.memory_regions.push(MemoryRegion { start: PhysicalAddress::new(start), length, kind });
        }
    }
    information.reserved.push(range(0, LOW_MEMORY_END));
    information.reserved.push(image);
    if module_count > 0 {
        let (address, size) = (read_u64(read, modules), read_u64(read, modules.wrapping_add(8)));
        if let Some(end) = address.checked_add(size)
            && size > 0
        {
            information.initrd = Some(range(address, end));
            let mask = PAGE_SIZE as u64 - 1;
            information.reserved.push(range(address & !mask, end.saturating_add(mask) & !mask));
        }
    }
    if command_line != 0 {
        let mut bytes = [0; MAXIMUM_COMMAND_LINE];
        read(PhysicalAddress::new(command_line), &mut bytes);
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        // A byte that is not text ends the line: everything that reads it wants text.
        let text = match core::str::from_utf8(bytes.get(..length).unwrap_or_default()) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or(""),
        };
        information.command_line.push_str(text);
    }
    Ok(information)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        memory.put(0x120, &0xf_5000u64.to_le_bytes());
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

    #[test]
    fn everything_is_copied_out() {
        let memory = example();
        let image = range(0x20_0000, 0x40_0000);
        let found = parse(PhysicalAddress::new(0x100), image, &|at, to| memory.read(at, to)).unwrap();
        assert_eq!(found.memory_regions.len(), 2, "microvm's empty last entry is dropped");
        assert_eq!(found.initrd, Some(range(0x7f0_0123, 0x7f0_1123)));
        assert_eq!(found.reserved.last(), Some(&range(0x7f0_0000, 0x7f0_2000)));
        assert_eq!(found.command_line.as_str(), "console=ttyS0 quiet");
        assert_eq!(found.rsdp, Some(PhysicalAddress::new(0xf_5000)));
    }

    #[test]
    fn nonsense_is_refused_and_hostile_numbers_do_no_harm() {
        let mut memory = example();
        let parse_at = |memory: &Memory, at| {
            parse(PhysicalAddress::new(at), PhysicalRange::default(), &|from, to| memory.read(from, to))
        };
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
