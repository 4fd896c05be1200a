//! NUMA: which memory and which CPUs are near each other.
//!
//! [`NumaTopology`] is plain data, built from firmware's tables ([`NumaTopology::from_acpi`], bytes as they lie in memory) or piece by piece
//! ([`NumaTopology::add_memory`] and its kin: the device tree). Proximity domains become dense node numbers in the order in which they
//! appear, as on Linux. Distances are ACPI's: 10 is local, 255 unreachable; unknown ones are 10 and 20.
//!
//! The boot code builds it before the frame allocator starts (no allocation happens here), hands its ranges to
//! `MemoryMap::nodes`, and registers it with [`initialize`]. A machine that says nothing has one node with everything.

use crate::base::{FrameNumber, FrameRange, PAGE_SHIFT, PhysicalAddress};
use arrayvec::ArrayVec;
use spin::Once;

/// Most nodes that are told apart; what belongs to further ones counts for node 0.
pub const MAXIMUM_NODES: usize = 16;
/// Most memory ranges.
pub const MAXIMUM_RANGES: usize = 64;
/// Most CPUs with a node of their own.
const MAXIMUM_CPUS: usize = 256;
/// The distance of a node to itself.
pub const LOCAL_DISTANCE: u8 = 10;
/// The distance of two nodes that nothing is said about.
pub const REMOTE_DISTANCE: u8 = 20;
/// The distance of nodes that cannot reach each other.
pub const UNREACHABLE: u8 = 255;

/// A node: dense, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u8);

impl NodeId {
    fn index(self) -> usize {
        self.0.into()
    }
}

/// Why a table was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumaError {
    /// It ends before what it says is in it, or has another signature.
    Malformed,
    /// More nodes, ranges or CPUs than are managed.
    TooMany,
}

/// Nodes, their memory and CPUs, and the distances between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumaTopology {
    /// The firmware's number of each node.
    domains: ArrayVec<u32, MAXIMUM_NODES>,
    distances: [[u8; MAXIMUM_NODES]; MAXIMUM_NODES],
    memory: ArrayVec<(FrameRange, NodeId), MAXIMUM_RANGES>,
    /// CPUs by the firmware's identifier (APIC ID, MPIDR).
    cpus: ArrayVec<(u64, NodeId), MAXIMUM_CPUS>,
}

impl NumaTopology {
    /// A topology in which nothing is known: no node yet.
    #[must_use]
    pub const fn new() -> Self {
        let mut distances = [[REMOTE_DISTANCE; MAXIMUM_NODES]; MAXIMUM_NODES];
        let mut node = 0;
        while node < MAXIMUM_NODES {
            distances[node][node] = LOCAL_DISTANCE;
            node += 1;
        }
        Self { domains: ArrayVec::new_const(), distances, memory: ArrayVec::new_const(), cpus: ArrayVec::new_const() }
    }

    /// How many nodes there are: at least one.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.domains.len().max(1)
    }
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        (0..self.node_count() as u8).map(NodeId)
    }
    /// The node of the firmware's proximity domain `domain`, made where it is new.
    ///
    /// # Errors
    /// [`NumaError::TooMany`].
    pub fn node_for(&mut self, domain: u32) -> Result<NodeId, NumaError> {
        let found = self.domains.iter().position(|known| *known == domain);
        let index = match found {
            Some(index) => index,
            None => {
                self.domains.try_push(domain).map_err(|_| NumaError::TooMany)?;
                self.domains.len() - 1
            }
        };
        u8::try_from(index).map(NodeId).map_err(|_| NumaError::TooMany)
    }
    /// Says that `range` is on `node`.
    ///
    /// # Errors
    /// [`NumaError::TooMany`].
    pub fn add_memory(&mut self, node: NodeId, range: FrameRange) -> Result<(), NumaError> {
        if range.count == 0 {
            return Ok(());
        }
        self.memory.try_push((range, node)).map_err(|_| NumaError::TooMany)
    }
    /// Says that the CPU that the firmware calls `identifier` is on `node`.
    ///
    /// # Errors
    /// [`NumaError::TooMany`].
    pub fn add_cpu(&mut self, node: NodeId, identifier: u64) -> Result<(), NumaError> {
        self.cpus.try_push((identifier, node)).map_err(|_| NumaError::TooMany)
    }
    /// Says how far `to` is from `from`.
    pub fn set_distance(&mut self, from: NodeId, to: NodeId, distance: u8) {
        if from != to
            && distance > LOCAL_DISTANCE
            && let Some(entry) = self.distances.get_mut(from.index()).and_then(|row| row.get_mut(to.index()))
        {
            *entry = distance;
        }
    }

    /// How far `to` is from `from`.
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u8 {
        self.distances.get(from.index()).and_then(|row| row.get(to.index())).copied().unwrap_or(UNREACHABLE)
    }
    /// All nodes, nearest to `node` first (itself, then equal ones by number): the order in which memory is sought.
    #[must_use]
    pub fn closest(&self, node: NodeId) -> ArrayVec<NodeId, MAXIMUM_NODES> {
        let mut order: ArrayVec<NodeId, MAXIMUM_NODES> = self.nodes().take(MAXIMUM_NODES).collect();
        order.sort_by_key(|other| (self.distance(node, *other), *other));
        order
    }
    /// The nearest node to `node` of which `is_wanted` holds: with memory left, say.
    pub fn closest_where(&self, node: NodeId, mut is_wanted: impl FnMut(NodeId) -> bool) -> Option<NodeId> {
        self.closest(node).into_iter().find(|other| is_wanted(*other))
    }
    /// The memory of `node`.
    pub fn regions(&self, node: NodeId) -> impl Iterator<Item = FrameRange> + '_ {
        self.memory.iter().filter(move |(_, owner)| *owner == node).map(|(range, _)| *range)
    }
    /// All memory ranges with their nodes, for `MemoryMap::nodes`.
    pub fn memory(&self) -> impl Iterator<Item = (FrameRange, u8)> + '_ {
        self.memory.iter().map(|(range, node)| (*range, node.0))
    }
    /// The node of a frame; node 0 for what no range holds.
    #[must_use]
    pub fn node_of(&self, frame: FrameNumber) -> NodeId {
        let holds = |range: &FrameRange| frame.value().wrapping_sub(range.start.value()) < range.count;
        self.memory.iter().find(|(range, _)| holds(range)).map_or(NodeId(0), |(_, node)| *node)
    }
    /// The node of the CPU that the firmware calls `identifier`; node 0 for an unknown one.
    #[must_use]
    pub fn node_of_cpu(&self, identifier: u64) -> NodeId {
        self.cpus.iter().find(|(known, _)| *known == identifier).map_or(NodeId(0), |(_, node)| *node)
    }

    /// The topology in ACPI's SRAT and SLIT, whole tables with their headers.
    ///
    /// # Errors
    /// [`NumaError`]: then use [`NumaTopology::new`], one node.
    pub fn from_acpi(affinity: &[u8], distances: Option<&[u8]>) -> Result<Self, NumaError> {
        let mut topology = Self::new();
        topology.read_affinity(affinity)?;
        if let Some(distances) = distances {
            topology.read_distances(distances)?;
        }
        Ok(topology)
    }

    fn read_affinity(&mut self, table: &[u8]) -> Result<(), NumaError> {
        // The header, a revision and a reserved field, then structures of type and length.
        let mut rest = body(table, b"SRAT")?.get(12..).ok_or(NumaError::Malformed)?;
        while !rest.is_empty() {
            let length = usize::from(*rest.get(1).ok_or(NumaError::Malformed)?);
            let entry = rest.get(..length).filter(|entry| entry.len() >= 2).ok_or(NumaError::Malformed)?;
            rest = rest.get(length..).ok_or(NumaError::Malformed)?;
            let enabled = |flags: u64| flags & 1 != 0;
            match *entry.first().ok_or(NumaError::Malformed)? {
                0 if enabled(number(entry, 4, 4)?) => {
                    let domain = number(entry, 2, 1)? | number(entry, 9, 3)? << 8;
                    let node = self.node_of_domain(domain)?;
                    self.add_cpu(node, number(entry, 3, 1)?)?;
                }
                1 if enabled(number(entry, 28, 4)?) => {
                    let node = self.node_of_domain(number(entry, 2, 4)?)?;
                    let (base, length) = (number(entry, 8, 8)?, number(entry, 16, 8)?);
                    let end = base.checked_add(length).ok_or(NumaError::Malformed)? >> PAGE_SHIFT;
                    let start = PhysicalAddress::new(base).frame();
                    self.add_memory(node, FrameRange { start, count: end.saturating_sub(start.value()) })?;
                }
                2 if enabled(number(entry, 12, 4)?) => {
                    let node = self.node_of_domain(number(entry, 4, 4)?)?;
                    self.add_cpu(node, number(entry, 8, 4)?)?;
                }
                // Arm: the processor is named by its ACPI identifier.
                3 if enabled(number(entry, 10, 4)?) => {
                    let node = self.node_of_domain(number(entry, 2, 4)?)?;
                    self.add_cpu(node, number(entry, 6, 4)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn node_of_domain(&mut self, domain: u64) -> Result<NodeId, NumaError> {
        self.node_for(u32::try_from(domain).map_err(|_| NumaError::Malformed)?)
    }

    fn read_distances(&mut self, table: &[u8]) -> Result<(), NumaError> {
        let rest = body(table, b"SLIT")?;
        let count = usize::try_from(number(rest, 0, 8)?).map_err(|_| NumaError::Malformed)?;
        let matrix = rest.get(8..).ok_or(NumaError::Malformed)?;
        if count.checked_mul(count).is_none_or(|cells| cells > matrix.len()) {
            return Err(NumaError::Malformed);
        }
        // Rows and columns are proximity domains.
        let domains = self.domains.clone();
        for (from, row) in domains.iter().enumerate() {
            for (to, column) in domains.iter().enumerate() {
                let (row, column) = (*row as usize, *column as usize);
                if row < count
                    && column < count
                    && let (Some(distance), Ok(from), Ok(to)) =
                        (matrix.get(row * count + column), u8::try_from(from), u8::try_from(to))
                {
                    self.set_distance(NodeId(from), NodeId(to), *distance);
                }
            }
        }
        Ok(())
    }
}

impl Default for NumaTopology {
    fn default() -> Self {
        Self::new()
    }
}

/// What follows the 36 bytes of an ACPI table's header, after checking the signature and the length.
fn body<'a>(table: &'a [u8], signature: &[u8; 4]) -> Result<&'a [u8], NumaError> {
    let length = usize::try_from(number(table, 4, 4)?).map_err(|_| NumaError::Malformed)?;
    if table.get(..4) != Some(signature) {
        return Err(NumaError::Malformed);
    }
    table.get(36..length).ok_or(NumaError::Malformed)
}

/// The little-endian number of `length` bytes (at most 8) at `offset`.
fn number(bytes: &[u8], offset: usize, length: usize) -> Result<u64, NumaError> {
    let field = bytes.get(offset..offset + length).ok_or(NumaError::Malformed)?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

static TOPOLOGY: Once<NumaTopology> = Once::new();
static SINGLE_NODE: NumaTopology = NumaTopology::new();

/// Registers the machine's topology, once, at boot.
pub fn initialize(topology: NumaTopology) {
    TOPOLOGY.call_once(|| topology);
}

/// The machine's topology; one node where none was registered.
#[must_use]
pub fn topology() -> &'static NumaTopology {
    TOPOLOGY.get().unwrap_or(&SINGLE_NODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(signature: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut table = signature.to_vec();
        table.extend((36 + content.len() as u32).to_le_bytes());
        table.resize(36, 0);
        table.extend_from_slice(content);
        table
    }

    fn cpu(domain: u8, apic: u8) -> Vec<u8> {
        let mut entry = vec![0, 16, domain, apic, 1, 0, 0, 0];
        entry.resize(16, 0);
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

    /// Three nodes whose domains are 4, 0 and 2, with QEMU's split of low memory.
    fn example() -> (Vec<u8>, Vec<u8>) {
        let mut content = vec![0; 12];
        for entry in [
            cpu(4, 0),
            cpu(0, 1),
            memory(4, 0, 0xa_0000, 1),
            memory(4, 0x10_0000, 0x3f0_0000, 1),
            memory(0, 0x400_0000, 0x400_0000, 1),
            memory(2, 0x800_0000, 0x400_0000, 1),
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
    fn tables_give_nodes_memory_cpus_and_distances() {
        let (affinity, distances) = example();
        let topology = NumaTopology::from_acpi(&affinity, Some(&distances)).unwrap();
        assert_eq!(topology.node_count(), 3);
        // Domains 4, 0 and 2 are nodes 0, 1 and 2.
        assert_eq!(topology.distance(NodeId(0), NodeId(1)), 30);
        assert_eq!(topology.distance(NodeId(0), NodeId(2)), 20);
        assert_eq!(topology.distance(NodeId(1), NodeId(1)), LOCAL_DISTANCE);
        assert_eq!(topology.closest(NodeId(0)).as_slice(), [NodeId(0), NodeId(2), NodeId(1)]);
        assert_eq!(topology.closest_where(NodeId(0), |node| node != NodeId(0)), Some(NodeId(2)));
        assert_eq!(topology.node_of(FrameNumber::new(0x4000)), NodeId(1));
        assert_eq!(topology.node_of(FrameNumber::new(0xb000)), NodeId(2));
        assert_eq!(topology.node_of(FrameNumber::new(1 << 30)), NodeId(0));
        assert_eq!(topology.node_of_cpu(1), NodeId(1));
        assert_eq!(topology.regions(NodeId(0)).map(|range| range.count).sum::<u64>(), 0xa0 + 0x3f00);
        assert_eq!(topology.memory().count(), 4);
    }

    #[test]
    fn without_tables_there_is_one_node() {
        let topology = topology();
        assert_eq!(topology.nodes().collect::<Vec<_>>(), [NodeId(0)]);
        assert_eq!(topology.closest(NodeId(0)).as_slice(), [NodeId(0)]);
        assert_eq!(topology.distance(NodeId(0), NodeId(0)), LOCAL_DISTANCE);
        assert_eq!(topology.distance(NodeId(0), NodeId(200)), UNREACHABLE);
    }

    #[test]
    fn without_distances_remote_is_twenty() {
        let (affinity, _) = example();
        let topology = NumaTopology::from_acpi(&affinity, None).unwrap();
        assert_eq!(topology.distance(NodeId(0), NodeId(2)), REMOTE_DISTANCE);
    }

    #[test]
    fn too_many_nodes_are_refused() {
        let mut topology = NumaTopology::new();
        for domain in 0..MAXIMUM_NODES as u32 {
            assert_eq!(topology.node_for(domain * 7).map(|node| u32::from(node.0)), Ok(domain));
        }
        assert_eq!(topology.node_for(1000), Err(NumaError::TooMany));
    }

    proptest! {
        #[test]
        fn damaged_tables_are_refused_or_read_but_never_a_stop(cut in 0usize..400, at in 0usize..400, value: u8) {
            let (mut affinity, mut distances) = example();
            affinity.truncate(cut.max(8));
            for table in [&mut affinity, &mut distances] {
                let length = table.len();
                table[at % length] = value;
            }
            let _ = NumaTopology::from_acpi(&affinity, Some(&distances));
        }
    }
}
