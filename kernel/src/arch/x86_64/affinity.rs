//! Nearness by ACPI: the static resource affinity table (SRAT) and the locality distance table (SLIT).
//!
//! [`parse`] is pure: it takes whole tables, headers included, as bytes. Everything in them is a claim of firmware; a table that contradicts itself is
//! refused as a whole, as half of it would be worse than nothing.
//!
//! The crate `acpi` knows both tables, too, and is not used for them: it hands out references into mapped memory by their types, which trusts the lengths
//! that the tables state.

use crate::arch::affinity::{Affinity, AffinityError, Distance};
use crate::arch::boot_information::PhysicalRange;
use crate::base::PhysicalAddress;

const HEADER: usize = 36;
/// Fields between the SRAT's header and its structures.
const RESERVED: usize = 12;

/// What SRAT, and SLIT where there is one, say.
///
/// # Errors
/// [`AffinityError`] for the SRAT. A SLIT that is of no use leaves the distances unsaid.
pub fn parse(affinity: &[u8], distances: Option<&[u8]>) -> Result<Affinity, AffinityError> {
    let mut found = Affinity::default();
    let structures = body(affinity, b"SRAT")?.get(RESERVED..).ok_or(AffinityError::Malformed)?;
    // CPUs come first in Linux's numbering, wherever the table has them.
    for_each(structures, |entry| read_cpu(entry, &mut found))?;
    for_each(structures, |entry| read_memory(entry, &mut found))?;
    if let Some(table) = distances
        && let Err(error) = read_distances(table, &mut found)
    {
        found.distances.clear();
        found.distances_refused = Some(error);
    }
    Ok(found)
}

/// Gives each structure to `each`, type and length included.
fn for_each(structures: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), AffinityError>) -> Result<(), AffinityError> {
    let mut rest = structures;
    while !rest.is_empty() {
        let length = usize::from(*rest.get(1).ok_or(AffinityError::Malformed)?);
        let (entry, after) = rest.split_at_checked(length).filter(|_| length >= 2).ok_or(AffinityError::Malformed)?;
        each(entry)?;
        rest = after;
    }
    Ok(())
}

fn is_enabled(entry: &[u8], at: usize) -> Result<bool, AffinityError> {
    Ok(number(entry, at, 4)? & 1 != 0)
}

fn read_cpu(entry: &[u8], found: &mut Affinity) -> Result<(), AffinityError> {
    const LOCAL_APIC: u8 = 0;
    const X2APIC: u8 = 2;
    match entry.first() {
        Some(&LOCAL_APIC) if is_enabled(entry, 4)? => {
            let domain = number(entry, 2, 1)? | number(entry, 9, 3)? << 8;
            found.add_cpu(number(entry, 3, 1)?, narrow(domain)?);
        }
        Some(&X2APIC) if is_enabled(entry, 12)? => {
            found.add_cpu(number(entry, 8, 4)?, narrow(number(entry, 4, 4)?)?);
        }
        _ => {}
    }
    Ok(())
}

fn read_memory(entry: &[u8], found: &mut Affinity) -> Result<(), AffinityError> {
    const MEMORY: u8 = 1;
    if entry.first() != Some(&MEMORY) || !is_enabled(entry, 28)? {
        return Ok(());
    }
    let (base, length) = (number(entry, 8, 8)?, number(entry, 16, 8)?);
    let end = base.checked_add(length).ok_or(AffinityError::Malformed)?;
    let range = PhysicalRange { start: PhysicalAddress::new(base), end: PhysicalAddress::new(end) };
    found.add_memory(range, narrow(number(entry, 2, 4)?)?)
}

/// The matrix of a SLIT, as far as it is about domains that the SRAT has.
fn read_distances(table: &[u8], found: &mut Affinity) -> Result<(), AffinityError> {
    let rest = body(table, b"SLIT")?;
    let count = usize::try_from(number(rest, 0, 8)?).map_err(|_| AffinityError::Malformed)?;
    let matrix = rest.get(8..).ok_or(AffinityError::Malformed)?;
    if count.checked_mul(count).is_none_or(|cells| cells > matrix.len()) {
        return Err(AffinityError::Malformed);
    }
    let domains: alloc::collections::BTreeSet<u32> =
        found.cpus.iter().map(|(_, domain)| *domain).chain(found.memory.iter().map(|(_, domain)| *domain)).collect();
    let known = || domains.iter().copied().filter(|domain| (*domain as usize) < count);
    for from in known() {
        for to in known() {
            let value = *matrix.get(from as usize * count + to as usize).ok_or(AffinityError::Malformed)?;
            found.add_distance(Distance { from, to, value })?;
        }
    }
    Ok(())
}

/// What follows an ACPI table's header, after checking signature, length and checksum.
fn body<'a>(table: &'a [u8], signature: &[u8; 4]) -> Result<&'a [u8], AffinityError> {
    let length = usize::try_from(number(table, 4, 4)?).map_err(|_| AffinityError::Malformed)?;
    let table = table.get(..length).filter(|table| table.starts_with(signature)).ok_or(AffinityError::Malformed)?;
    let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 {
        return Err(AffinityError::Malformed);
    }
    table.get(HEADER..).ok_or(AffinityError::Malformed)
}

/// The little-endian number of `length` bytes (at most 8) at `offset`.
fn number(bytes: &[u8], offset: usize, length: usize) -> Result<u64, AffinityError> {
    let field = bytes.get(offset..offset + length).ok_or(AffinityError::Malformed)?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn narrow(value: u64) -> Result<u32, AffinityError> {
    u32::try_from(value).map_err(|_| AffinityError::Malformed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn table(signature: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut table = signature.to_vec();
        table.extend((36 + content.len() as u32).to_le_bytes());
        table.resize(36, 0);
        table.extend_from_slice(content);
        let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        table[9] = sum.wrapping_neg();
        table
    }

    fn cpu(domain: u8, apic: u8) -> Vec<u8> {
        let mut entry = vec![0, 16, domain, apic, 1, 0, 0, 0];
        entry.resize(16, 0);
        entry
    }

    fn x2apic(domain: u32, apic: u32) -> Vec<u8> {
        let mut entry = vec![2, 24, 0, 0];
        entry.extend(domain.to_le_bytes());
        entry.extend(apic.to_le_bytes());
        entry.extend(1u32.to_le_bytes());
        entry.resize(24, 0);
        entry
    }

    fn memory(domain: u32, base: u64, length: u64, flags: u32) -> Vec<u8> {
        let mut entry = vec![1, 40];
        entry.extend(domain.to_le_bytes());
        entry.extend([0, 0]);
        entry.extend(base.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry.extend([0; 4]);
        entry.extend(flags.to_le_bytes());
        entry.resize(40, 0);
        entry
    }

    /// Memory before CPUs, domains 4, 0 and 2, QEMU's split of low memory, a range that is switched off.
    fn example() -> (Vec<u8>, Vec<u8>) {
        let mut content = vec![0; 12];
        for entry in [
            memory(2, 0x800_0000, 0x400_0000, 1),
            cpu(4, 0),
            x2apic(0, 300),
            memory(4, 0, 0xa_0000, 1),
            memory(4, 0x10_0000, 0x3f0_0000, 1),
            memory(0, 0x400_0000, 0x400_0000, 1),
            memory(3, 0x1_0000_0000, 0x400_0000, 0),
        ] {
            content.extend(entry);
        }
        let mut distances = 5u64.to_le_bytes().to_vec();
        for row in 0..5u8 {
            for column in 0..5u8 {
                distances.push(if row == column { 10 } else { 10 + row.abs_diff(column) * 5 });
            }
        }
        (table(b"SRAT", &content), table(b"SLIT", &distances))
    }

    #[test]
    fn tables_say_who_belongs_together() {
        let (affinity, distances) = example();
        let found = parse(&affinity, Some(&distances)).unwrap();
        assert_eq!(found.cpus.as_slice(), [(0, 4), (300, 0)]);
        let domains: Vec<u32> = found.memory.iter().map(|(_, domain)| *domain).collect();
        assert_eq!(domains, [2, 4, 4, 0]);
        assert_eq!(found.memory[1].0.length(), 0xa_0000);
        assert_eq!(found.distances.len(), 9);
        assert!(found.distances.contains(&Distance { from: 4, to: 0, value: 30 }));
        assert_eq!(found.distances_refused, None);
    }

    #[test]
    fn distances_that_make_no_sense_are_left_out() {
        let (affinity, distances) = example();
        let mut cut = distances.clone();
        cut.truncate(50);
        let found = parse(&affinity, Some(&cut)).unwrap();
        assert!(found.distances.is_empty() && found.distances_refused == Some(AffinityError::Malformed));
        assert_eq!(parse(&affinity, None).unwrap().distances_refused, None);
    }

    #[test]
    fn a_table_that_is_cut_off_or_damaged_is_refused() {
        let (affinity, distances) = example();
        for end in 0..affinity.len() {
            assert_eq!(parse(&affinity[..end], None), Err(AffinityError::Malformed), "{end}");
        }
        // Another signature, and a byte that the checksum does not cover.
        assert_eq!(parse(&distances, None), Err(AffinityError::Malformed));
        let mut damaged = affinity;
        damaged[60] ^= 1;
        assert_eq!(parse(&damaged, None), Err(AffinityError::Malformed));
        // Structures of length 0, and one that reaches beyond the table.
        for entry in [vec![0, 0], vec![1, 39], vec![0, 1], vec![7]] {
            let content = [vec![0; 12], entry].concat();
            assert_eq!(parse(&table(b"SRAT", &content), None), Err(AffinityError::Malformed));
        }
        let overflowing = [vec![0; 12], memory(0, u64::MAX - 10, 100, 1)].concat();
        assert_eq!(parse(&table(b"SRAT", &overflowing), None), Err(AffinityError::Malformed));
    }

    #[test]
    fn more_ranges_than_there_is_room_for_are_refused() {
        let mut content = vec![0; 12];
        for index in 0..65 {
            content.extend(memory(0, index << 20, 1 << 20, 1));
        }
        assert_eq!(parse(&table(b"SRAT", &content), None), Err(AffinityError::TooMany));
    }

    proptest! {
        #[test]
        fn damage_never_stops_the_kernel(cut in 0usize..400, at in 0usize..400, value: u8) {
            let (mut affinity, mut distances) = example();
            affinity.truncate(cut.max(44));
            for one in [&mut affinity, &mut distances] {
                let length = one.len();
                one[at % length] = value;
                let sum = one.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                one[9] = one[9].wrapping_sub(sum);
            }
            let _ = parse(&affinity, Some(&distances));
        }
    }
}
