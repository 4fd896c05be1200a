//! Nearness by the device tree: `numa-node-id` of CPUs and memory, and the `distance-map`.
//!
//! [`parse`] is pure; [`note_tree`] keeps what the boot's tree says until memory starts. A tree in which something of this is malformed says nothing
//! of nearness, as on Linux.

use super::device_tree::{first_register, is_cpu, registers, text};
use crate::arch::affinity::{Affinity, AffinityError, Distance, Numbering};
use crate::arch::boot_information::PhysicalRange;
use crate::base::PhysicalAddress;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property};
#[cfg(target_os = "none")]
use spin::Once;

/// Linux's name for the binding of the distances.
const DISTANCE_MAP: &str = "numa-distance-map-v1";

#[cfg(target_os = "none")]
static AFFINITY: Once<Result<Affinity, AffinityError>> = Once::new();

/// Keeps what `tree` says, once.
#[cfg(target_os = "none")]
pub(super) fn note_tree(tree: &[u8]) {
    if let Some(found) = parse(tree) {
        AFFINITY.call_once(|| found);
    }
}

/// What was kept; `None` where the tree says nothing.
#[cfg(target_os = "none")]
pub(super) fn noted() -> Option<Result<&'static Affinity, AffinityError>> {
    AFFINITY.get().map(|found| found.as_ref().map_err(|error| *error))
}

/// What `tree` says; `None` where it numbers no nodes.
///
/// # Errors
/// [`AffinityError`], inside.
pub fn parse(tree: &[u8]) -> Option<Result<Affinity, AffinityError>> {
    let tree = Fdt::new(tree).ok()?;
    let mut found = Affinity { numbering: Numbering::ByDomain, ..Affinity::default() };
    match read(&tree, &mut found) {
        Ok(()) if found.cpus.is_empty() && found.memory.is_empty() => None,
        Ok(()) => Some(Ok(found)),
        Err(error) => Some(Err(error)),
    }
}

fn read(tree: &Fdt<'_>, found: &mut Affinity) -> Result<(), AffinityError> {
    if let Some(cpus) = tree.find_node("/cpus") {
        for cpu in cpus.children().filter(is_cpu) {
            if let (Some(domain), Some(identifier)) = (domain(&cpu)?, first_register(&cpu)) {
                found.add_cpu(identifier, domain);
            }
        }
    }
    for node in tree.root().children().filter(|node| text(node, "device_type") == Some("memory")) {
        let Some(domain) = domain(&node)? else { continue };
        for (start, length) in registers(&node).filter(|(_, length)| *length != 0) {
            let end = start.checked_add(length).ok_or(AffinityError::Malformed)?;
            let range = PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) };
            found.add_memory(range, domain)?;
        }
    }
    let map = tree.root().children().find(|node| node.is_compatible(DISTANCE_MAP));
    if let Some(map) = map
        && let Err(error) = read_distances(&map, found)
    {
        found.distances.clear();
        found.distances_refused = Some(error);
    }
    Ok(())
}

/// The node's `numa-node-id`, if it has one.
fn domain(node: &FdtNode<'_>) -> Result<Option<u32>, AffinityError> {
    let Some(property) = node.property("numa-node-id") else { return Ok(None) };
    property.value_as::<u32>().map(Some).map_err(|_| AffinityError::Malformed)
}

/// Triples of cells: from, to, distance. Where one direction alone is said it holds for both.
fn read_distances(map: &FdtNode<'_>, found: &mut Affinity) -> Result<(), AffinityError> {
    let property = map.property("distance-matrix").ok_or(AffinityError::Malformed)?;
    let (triples, rest) = property.value().as_chunks::<12>();
    if !rest.is_empty() {
        return Err(AffinityError::Malformed);
    }
    let said =
        |found: &Affinity, from, to| found.distances.iter().any(|distance| (distance.from, distance.to) == (from, to));
    for triple in triples {
        let cell = |at: usize| {
            let bytes = triple.get(at * 4..).and_then(<[u8]>::first_chunk).ok_or(AffinityError::Malformed)?;
            Ok(u32::from_be_bytes(*bytes))
        };
        let (from, to) = (cell(0)?, cell(1)?);
        let value = u8::try_from(cell(2)?).map_err(|_| AffinityError::Malformed)?;
        found.distances.retain(|distance| (distance.from, distance.to) != (from, to));
        found.add_distance(Distance { from, to, value })?;
        if !said(found, to, from) {
            found.add_distance(Distance { from: to, to: from, value })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU's `virt` with three CPUs on three nodes, of which node 1 has memory alone; distances 15, 30 and 25.
    const NUMA: &[u8] = include_bytes!("device_tree/virt-numa.dtb");
    const FLAT: &[u8] = include_bytes!("device_tree/virt.dtb");

    #[test]
    fn the_tree_says_who_belongs_together() {
        let found = parse(NUMA).unwrap().unwrap();
        assert_eq!(found.numbering, Numbering::ByDomain);
        assert_eq!(found.cpus.as_slice(), [(0, 0), (1, 0), (2, 2)]);
        let mut memory: Vec<_> =
            found.memory.iter().map(|(range, domain)| (*domain, range.start.value(), range.length() >> 20)).collect();
        memory.sort_unstable();
        assert_eq!(memory, [(0, 0x4000_0000, 128), (1, 0x4800_0000, 256), (2, 0x5800_0000, 128)]);
        assert_eq!(found.distances.len(), 9);
        for (from, to, value) in [(0, 0, 10), (0, 1, 15), (2, 0, 30), (2, 1, 25)] {
            assert!(found.distances.contains(&Distance { from, to, value }), "{from} {to}");
        }
    }

    #[test]
    fn a_tree_without_nodes_says_nothing() {
        assert_eq!(parse(FLAT), None);
        assert_eq!(parse(b"no tree"), None);
    }

    #[test]
    fn a_damaged_tree_does_no_harm() {
        let mut kinds = [0; 3];
        for place in 0..NUMA.len() {
            let mut damaged = NUMA.to_vec();
            damaged[place] ^= 0x5a;
            let kind = match parse(&damaged) {
                None => 0,
                Some(Ok(found)) => 1 + usize::from(found.distances_refused.is_some()),
                Some(Err(_)) => 0,
            };
            kinds[kind] += 1;
        }
        // Some damage was seen to concern the distances alone.
        assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
    }
}
