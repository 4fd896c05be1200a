//! What the kernel needs of ACPI: how interrupts are wired (MADT) and how the machine is switched off and reset (FADT, and the
//! `\_S5` package of the DSDT).
//!
//! Every number is taken from memory that firmware wrote, so every access is checked and a damaged table is one that is not
//! there. The DSDT's bytecode is not interpreted: `\_S5` is a package of constants in practice, found by its name.

use super::io_apic::{IoApic, Override, Wiring};
use super::power::Ports;
use crate::arch::boot_information::{PhysicalReader, ROOT_POINTER_LENGTH};
use crate::base::{MAXIMUM_CPUS, PhysicalAddress};
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// No table is longer than this.
const MAXIMUM_TABLE: usize = 1 << 20;
const HEADER: usize = 36;

/// What the tables said, or what is usual where they said nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    /// How interrupts are wired.
    pub wiring: Wiring,
    /// How to switch off and reset.
    pub power: Ports,
    /// The local APICs' identifiers of the CPUs that may be started, in the table's order.
    pub processors: Processors,
}

/// Local APICs' identifiers.
pub type Processors = ArrayVec<u32, MAXIMUM_CPUS>;

fn bytes<const N: usize>(table: &[u8], at: usize) -> Option<[u8; N]> {
    table.get(at..)?.first_chunk().copied()
}

fn u32_at(table: &[u8], at: usize) -> Option<u32> {
    bytes(table, at).map(u32::from_le_bytes)
}

fn u64_at(table: &[u8], at: usize) -> Option<u64> {
    bytes(table, at).map(u64::from_le_bytes)
}

/// Reads the table at `address`; `None` when its length makes no sense.
fn read_table(address: u64, read: PhysicalReader<'_>) -> Option<Vec<u8>> {
    let mut header = [0; HEADER];
    read(PhysicalAddress::new(address), &mut header);
    let length = u32_at(&header, 4)? as usize;
    if !(HEADER..=MAXIMUM_TABLE).contains(&length) {
        return None;
    }
    let mut table = Vec::new();
    table.try_reserve_exact(length).ok()?;
    table.resize(length, 0);
    read(PhysicalAddress::new(address), &mut table);
    Some(table)
}

/// A copy of the root pointer.
type RootPointer = [u8; ROOT_POINTER_LENGTH];

/// Where the tables are that the root table lists.
fn addresses(root: &RootPointer, read: PhysicalReader<'_>) -> Vec<u64> {
    if !root.starts_with(b"RSD PTR ") {
        return Vec::new();
    }
    let extended =
        u64_at(root, 24).filter(|&address| root.get(15).is_some_and(|&revision| revision >= 2) && address != 0);
    let list = extended.or_else(|| u32_at(root, 16).map(u64::from)).and_then(|address| read_table(address, read));
    let Some(list) = list else { return Vec::new() };
    let entries = list.get(HEADER..).unwrap_or_default();
    match extended {
        Some(_) => entries.chunks_exact(8).filter_map(|entry| u64_at(entry, 0)).collect(),
        None => entries.chunks_exact(4).filter_map(|entry| u32_at(entry, 0)).map(u64::from).collect(),
    }
}

/// The table with `signature` among those that the root table lists.
pub fn table(root: &RootPointer, signature: [u8; 4], read: PhysicalReader<'_>) -> Option<Vec<u8>> {
    addresses(root, read).into_iter().find_map(|address| {
        let mut found = [0; 4];
        read(PhysicalAddress::new(address), &mut found);
        if found == signature { read_table(address, read) } else { None }
    })
}

/// The I/O APICs and overrides of a MADT.
fn wiring(madt: &[u8]) -> Wiring {
    let mut wiring = Wiring::default();
    let mut rest = madt.get(44..).unwrap_or_default();
    while let [kind, length, ..] = *rest {
        let Some((entry, after)) = rest.split_at_checked(length.into()).filter(|_| length >= 2) else { break };
        match kind {
            1 => {
                if let (Some(address), Some(first_input)) = (u32_at(entry, 4), u32_at(entry, 8)) {
                    let address = PhysicalAddress::new(address.into());
                    // More controllers than there is room for serve no ISA line.
                    let _ = wiring.controllers.try_push(IoApic { address, first_input });
                }
            }
            2 => {
                if let (Some(&line), Some(input), Some(flags)) = (entry.get(3), u32_at(entry, 4), bytes(entry, 8)) {
                    let flags = u16::from_le_bytes(flags);
                    let (active_low, level) = (flags & 3 == 3, flags >> 2 & 3 == 3);
                    let _ = wiring.overrides.try_push(Override { line, input, active_low, level });
                }
            }
            _ => {}
        }
        rest = after;
    }
    if wiring.controllers.is_empty() { Wiring::standard() } else { wiring }
}

/// The CPUs of a MADT that are enabled: local APICs (type 0) and x2APICs (type 9). Those past the room there is are left out.
fn processors(madt: &[u8]) -> Processors {
    const ENABLED: u32 = 1;
    let mut found = Processors::new();
    let mut rest = madt.get(44..).unwrap_or_default();
    while let [kind, length, ..] = *rest {
        let Some((entry, after)) = rest.split_at_checked(length.into()).filter(|_| length >= 2) else { break };
        let (identifier, flags) = match kind {
            0 => (entry.get(3).copied().map(u32::from), u32_at(entry, 4)),
            9 => (u32_at(entry, 4), u32_at(entry, 8)),
            _ => (None, None),
        };
        // Firmware lists a CPU below 255 both ways at times.
        if let (Some(identifier), Some(flags)) = (identifier, flags)
            && flags & ENABLED != 0
            && !found.contains(&identifier)
        {
            let _ = found.try_push(identifier);
        }
        rest = after;
    }
    found
}

/// The two sleep types of `\_S5` in a DSDT or SSDT.
fn soft_off_types(code: &[u8]) -> Option<(u8, u8)> {
    const PACKAGE: u8 = 0x12;
    let name = code.windows(5).position(|window| window == [b'_', b'S', b'5', b'_', PACKAGE])?;
    // After the opcode: the package's length in one to four bytes, the count, the elements.
    let at = name + 5;
    let lead = usize::from(code.get(at)? >> 6);
    let mut at = at + 1 + lead + 1;
    let mut element = || {
        let value = match *code.get(at)? {
            0x0a => {
                at += 1;
                *code.get(at)?
            }
            constant @ (0 | 1) => constant,
            0xff => 0xff,
            _ => return None,
        };
        at += 1;
        Some(value)
    };
    Some((element()?, element()?))
}

/// A generic address: its space (0 memory, 1 ports) and the address in it.
fn generic_address(table: &[u8], at: usize) -> Option<(u8, u64)> {
    Some((*table.get(at)?, u64_at(table, at + 4)?)).filter(|&(_, address)| address != 0)
}

/// How to switch off and reset, by a FADT and the bytecode that it leads to.
fn power(fadt: &[u8], code: Option<&[u8]>) -> Ports {
    const SLEEP_ENABLE: u16 = 1 << 13;
    const REDUCED_SLEEP_ENABLE: u8 = 1 << 5;
    const RESET_SUPPORTED: u32 = 1 << 10;
    const HARDWARE_REDUCED: u32 = 1 << 20;
    let mut ports = Ports::default();
    let flags = u32_at(fadt, 112).unwrap_or(0);
    let (sleep_type, _) = code.and_then(soft_off_types).unwrap_or((0, 0));
    if flags & HARDWARE_REDUCED != 0 {
        if let Some((0, address)) = generic_address(fadt, 244) {
            let sleep_type = if code.and_then(soft_off_types).is_some() { sleep_type } else { 5 };
            ports.sleep_register = Some((address, sleep_type << 2 | REDUCED_SLEEP_ENABLE));
        }
    } else if let Some(port) = u32_at(fadt, 64).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0) {
        ports.sleep = Some((port, u16::from(sleep_type & 7) << 10 | SLEEP_ENABLE));
    }
    if flags & RESET_SUPPORTED != 0
        && let (Some((space, address)), Some(&value)) = (generic_address(fadt, 116), fadt.get(128))
    {
        match space {
            0 => ports.reset_register = Some((address, value)),
            1 => ports.reset = u16::try_from(address).ok().map(|port| (port, value)),
            _ => {}
        }
    }
    ports
}

/// Reads the tables below the root pointer.
pub fn read(root: Option<&RootPointer>, read: PhysicalReader<'_>) -> Findings {
    let find = |signature: &[u8; 4]| table(root?, *signature, read);
    let madt = find(b"APIC");
    let processors = madt.as_deref().map(processors).unwrap_or_default();
    let wiring = madt.map_or_else(Wiring::standard, |madt| wiring(&madt));
    let power = find(b"FACP").map(|fadt| {
        let long = u64_at(&fadt, 140).filter(|&address| address != 0);
        let code = long.or_else(|| u32_at(&fadt, 40).map(u64::from)).and_then(|address| read_table(address, read));
        power(&fadt, code.as_deref())
    });
    Findings { wiring, power: power.unwrap_or_default(), processors }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn madt() -> Vec<u8> {
        let mut table = vec![0; 44];
        table.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        table.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        table.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        table.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0]);
        table
    }

    #[test]
    fn the_madt_says_how_lines_are_wired() {
        let found = wiring(&madt());
        assert_eq!(found.controllers[0].address.value(), 0xfec0_0000);
        assert_eq!(found.overrides[0], Override { line: 0, input: 2, active_low: false, level: false });
        assert_eq!(found.overrides[1], Override { line: 9, input: 9, active_low: true, level: true });
        assert_eq!(wiring(&madt()[..50]), Wiring::standard(), "a table cut off is one that says nothing");
    }

    #[test]
    fn the_madt_lists_the_cpus_that_may_be_started() {
        let mut table = madt();
        table.extend([0, 8, 1, 5, 0, 0, 0, 0]); // not enabled
        table.extend([0, 8, 2, 7, 1, 0, 0, 0]);
        table.extend([9, 16, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]); // again
        table.extend([9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(processors(&table).as_slice(), [0, 7, 300]);
        assert_eq!(processors(&table[..50]).as_slice(), [0u32; 0], "cut off");
    }

    #[test]
    fn the_sleep_type_is_found_in_the_bytecode() {
        // Name (\_S5, Package (4) { 5, One, 0, 0 }) as compilers write it
        let code = b"\x08_S5_\x12\x0a\x04\x0a\x05\x01\x00\x00";
        assert_eq!(soft_off_types(code), Some((5, 1)));
        assert_eq!(soft_off_types(b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00"), Some((0, 0)));
        assert_eq!(soft_off_types(b"\x08_S4_\x12\x06\x04\x00\x00"), None);
    }

    #[test]
    fn the_fadt_gives_port_and_value() {
        let mut fadt = vec![0; 276];
        fadt[64..68].copy_from_slice(&0x604u32.to_le_bytes());
        fadt[112..116].copy_from_slice(&(1u32 << 10).to_le_bytes());
        fadt[116] = 1;
        fadt[120..128].copy_from_slice(&0xcf9u64.to_le_bytes());
        fadt[128] = 6;
        let found = power(&fadt, Some(b"_S5_\x12\x06\x04\x0a\x05\x00\x00"));
        assert_eq!(found.sleep, Some((0x604, 5 << 10 | 1 << 13)));
        assert_eq!(found.reset, Some((0xcf9, 6)));
    }

    #[test]
    fn a_reduced_machine_has_a_sleep_register() {
        let mut fadt = vec![0; 276];
        fadt[112..116].copy_from_slice(&(1u32 << 20).to_le_bytes());
        fadt[248..256].copy_from_slice(&0xfea0_0100u64.to_le_bytes());
        let found = power(&fadt, None);
        assert_eq!(found.sleep_register, Some((0xfea0_0100, 5 << 2 | 1 << 5)));
    }

    #[test]
    fn a_table_is_found_by_its_signature() {
        let mut memory = vec![0u8; 0x400];
        let mut root = [0; ROOT_POINTER_LENGTH];
        root[..8].copy_from_slice(b"RSD PTR ");
        root[16..20].copy_from_slice(&0x100u32.to_le_bytes());
        let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x100, b"RSDT");
        put(0x104, &(36u32 + 8).to_le_bytes());
        put(0x124, &0x200u32.to_le_bytes());
        put(0x128, &0x300u32.to_le_bytes());
        put(0x200, b"SRAT");
        put(0x204, &40u32.to_le_bytes());
        put(0x300, b"SLIT");
        put(0x304, &u32::MAX.to_le_bytes());
        let read = |at: PhysicalAddress, to: &mut [u8]| {
            to.copy_from_slice(&memory[at.value() as usize..at.value() as usize + to.len()]);
        };
        let find = |signature| table(&root, signature, &read);
        assert_eq!(find(*b"SRAT").map(|table| table.len()), Some(40));
        assert_eq!(find(*b"SLIT"), None, "its length makes no sense");
        assert_eq!(find(*b"HPET"), None);
    }

    proptest! {
        #[test]
        fn no_table_can_do_harm(table in proptest::collection::vec(any::<u8>(), 0..400), code in any::<Vec<u8>>()) {
            let _ = wiring(&table);
            let _ = processors(&table);
            let _ = power(&table, Some(&code));
            let memory = |at: PhysicalAddress, to: &mut [u8]| {
                for (index, byte) in to.iter_mut().enumerate() {
                    *byte = table.get((at.value() as usize).wrapping_add(index) % 512).copied().unwrap_or(0);
                }
            };
            let mut root = [0; ROOT_POINTER_LENGTH];
            root[..8].copy_from_slice(b"RSD PTR ");
            let _ = read(Some(&root), &memory);
        }
    }
}
