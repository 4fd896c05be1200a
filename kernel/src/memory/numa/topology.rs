//! [`NumaTopology`]: nodes, their memory and CPUs, and the distances between them, as plain data.
//!
//! Built from what firmware says ([`NumaTopology::from_affinity`]) or piece by piece ([`NumaTopology::add_memory`] and its kin). Nothing is allocated here.
//! Proximity domains become dense node numbers. Distances are ACPI's: 10 is local, 255 unreachable; unknown ones are 10 and 20.
//!
//! What firmware says is believed as a whole or not at all: see [`NumaError`] for what is refused.

use super::NodeId;
use crate::arch::affinity::{Affinity, AffinityError, Numbering};
use crate::base::{FrameNumber, FrameRange, MAXIMUM_CPUS, PAGE_SHIFT};
use arrayvec::ArrayVec;

/// Most nodes that are told apart.
pub const MAXIMUM_NODES: usize = 16;
/// Most memory ranges.
pub const MAXIMUM_RANGES: usize = 64;
/// The distance of a node to itself.
pub const LOCAL_DISTANCE: u8 = 10;
/// The distance of two nodes that nothing is said about.
pub const REMOTE_DISTANCE: u8 = 20;
/// The distance of nodes that cannot reach each other.
pub const UNREACHABLE: u8 = 255;
/// Usable memory that may be on no node, in frames: a MiB, as on Linux. It counts for node 0.
const UNCLAIMED: u64 = (1 << 20) >> PAGE_SHIFT;

/// Why firmware's words were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumaError {
    /// It could not be read.
    Unreadable(AffinityError),
    /// More nodes, ranges or CPUs than are managed.
    TooMany,
    /// Two nodes claim the same memory.
    Overlapping,
    /// No node has memory, or usable memory is on no node.
    Incomplete,
}

impl From<AffinityError> for NumaError {
    fn from(error: AffinityError) -> Self {
        Self::Unreadable(error)
    }
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

    /// The topology that firmware describes, for a machine with the memory `usable`.
    ///
    /// # Errors
    /// [`NumaError`]: then use [`NumaTopology::new`], one node.
    pub fn from_affinity(affinity: &Affinity, usable: &[FrameRange]) -> Result<Self, NumaError> {
        let mut topology = Self::new();
        let domains =
            || affinity.cpus.iter().map(|(_, domain)| *domain).chain(affinity.memory.iter().map(|(_, domain)| *domain));
        for domain in domains() {
            topology.node_for(domain)?;
        }
        if affinity.numbering == Numbering::ByDomain {
            topology.domains.sort_unstable();
        }
        for (identifier, domain) in &affinity.cpus {
            let node = topology.node_for(*domain)?;
            topology.add_cpu(node, *identifier)?;
        }
        for (range, domain) in &affinity.memory {
            let node = topology.node_for(*domain)?;
            let start = range.start.frame();
            let count = (range.end.value() >> PAGE_SHIFT).saturating_sub(start.value());
            topology.add_memory(node, FrameRange { start, count })?;
        }
        topology.check_memory(usable)?;
        Ok(topology)
    }

    /// Takes over the distances that firmware states. `false`, and nothing is changed, where they contradict what distances are: as on Linux they are
    /// then left out as a whole.
    pub fn take_distances(&mut self, affinity: &Affinity) -> bool {
        let is_sound = |from: u32, to: u32, value: u8| {
            if from == to { value == LOCAL_DISTANCE } else { value > LOCAL_DISTANCE }
        };
        if affinity.distances_refused.is_some()
            || !affinity.distances.iter().all(|one| is_sound(one.from, one.to, one.value))
        {
            return false;
        }
        let known = |domain: u32| {
            self.domains.iter().position(|known| *known == domain).and_then(|index| u8::try_from(index).ok())
        };
        let found: ArrayVec<_, { MAXIMUM_NODES * MAXIMUM_NODES }> = affinity
            .distances
            .iter()
            .filter_map(|one| Some((NodeId(known(one.from)?), NodeId(known(one.to)?), one.value)))
            .take(MAXIMUM_NODES * MAXIMUM_NODES)
            .collect();
        for (from, to, value) in found {
            self.set_distance(from, to, value);
        }
        true
    }

    /// Whether each frame of `usable` is on one node.
    fn check_memory(&self, usable: &[FrameRange]) -> Result<(), NumaError> {
        let end = |range: &FrameRange| range.start.value().saturating_add(range.count);
        let common = |one: &FrameRange, other: &FrameRange| {
            end(one).min(end(other)).saturating_sub(one.start.value().max(other.start.value()))
        };
        for (index, (range, node)) in self.memory.iter().enumerate() {
            let mut others = self.memory.iter().skip(index + 1);
            if others.any(|(other, owner)| owner != node && common(range, other) > 0) {
                return Err(NumaError::Overlapping);
            }
        }
        let unclaimed = |range: &FrameRange| {
            let claimed: u64 = self.memory.iter().map(|(claimed, _)| common(range, claimed)).sum();
            range.count.saturating_sub(claimed)
        };
        let missing: u64 = usable.iter().map(unclaimed).sum();
        if self.memory.is_empty() || missing >= UNCLAIMED { Err(NumaError::Incomplete) } else { Ok(()) }
    }
}

impl Default for NumaTopology {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::affinity::Distance;
    use crate::arch::boot_information::PhysicalRange;
    use crate::base::PhysicalAddress;

    const MIB: u64 = 1 << 20;

    fn range(start: u64, end: u64) -> PhysicalRange {
        PhysicalRange { start: PhysicalAddress::new(start * MIB), end: PhysicalAddress::new(end * MIB) }
    }

    fn usable(start: u64, end: u64) -> FrameRange {
        FrameRange { start: FrameNumber::new(start << 8), count: (end - start) << 8 }
    }

    /// Three nodes whose domains are 4, 0 and 2; 0 has memory alone, and CPU 7 none near it.
    fn example() -> Affinity {
        let mut affinity = Affinity::default();
        affinity.add_cpu(0, 4);
        affinity.add_cpu(7, 9);
        for (start, end, domain) in [(0, 64, 4), (64, 128, 0), (128, 192, 4)] {
            affinity.add_memory(range(start, end), domain).unwrap();
        }
        for (from, to, value) in [(4, 4, 10), (4, 9, 30), (9, 4, 35), (4, 0, 15), (77, 4, 12)] {
            affinity.add_distance(Distance { from, to, value }).unwrap();
        }
        affinity
    }

    #[test]
    fn domains_become_nodes_in_the_order_in_which_they_appear() {
        let mut topology = NumaTopology::from_affinity(&example(), &[usable(1, 190)]).unwrap();
        assert_eq!(topology.node_count(), 3);
        // Domains 4, 9 and 0 are nodes 0, 1 and 2.
        assert_eq!(
            (topology.node_of_cpu(0), topology.node_of_cpu(7), topology.node_of_cpu(8)),
            (NodeId(0), NodeId(1), NodeId(0))
        );
        assert_eq!(topology.node_of(FrameNumber::new(64 << 8)), NodeId(2));
        assert_eq!(topology.regions(NodeId(0)).map(|range| range.count).sum::<u64>(), 128 << 8);
        assert_eq!(topology.regions(NodeId(1)).count(), 0);
        assert!(topology.take_distances(&example()));
        assert_eq!((topology.distance(NodeId(0), NodeId(1)), topology.distance(NodeId(1), NodeId(0))), (30, 35));
        assert_eq!(topology.distance(NodeId(1), NodeId(2)), REMOTE_DISTANCE);
        assert_eq!(topology.closest(NodeId(0)).as_slice(), [NodeId(0), NodeId(2), NodeId(1)]);
        assert_eq!(topology.closest_where(NodeId(0), |node| node != NodeId(0)), Some(NodeId(2)));
        assert_eq!(topology.memory().count(), 3);
        assert_eq!(topology.node_of(FrameNumber::new(1 << 30)), NodeId(0));
    }

    #[test]
    fn a_device_tree_numbers_them_itself() {
        let affinity = Affinity { numbering: Numbering::ByDomain, ..example() };
        let topology = NumaTopology::from_affinity(&affinity, &[]).unwrap();
        // Domains 0, 4 and 9.
        assert_eq!((topology.node_of_cpu(0), topology.node_of_cpu(7)), (NodeId(1), NodeId(2)));
        assert_eq!(topology.node_of(FrameNumber::new(64 << 8)), NodeId(0));
    }

    #[test]
    fn what_contradicts_itself_or_the_memory_map_is_refused() {
        let refused =
            |affinity: &Affinity, memory: &[FrameRange]| NumaTopology::from_affinity(affinity, memory).unwrap_err();
        assert_eq!(refused(&example(), &[usable(1, 194)]), NumaError::Incomplete);
        assert!(
            NumaTopology::from_affinity(
                &example(),
                &[usable(0, 192), FrameRange { start: FrameNumber::new(1 << 20), count: 255 }]
            )
            .is_ok()
        );
        let mut overlapping = example();
        overlapping.add_memory(range(10, 11), 0).unwrap();
        assert_eq!(refused(&overlapping, &[]), NumaError::Overlapping);
        // Twice the same node's is no contradiction.
        let mut twice = example();
        twice.add_memory(range(10, 11), 4).unwrap();
        assert!(NumaTopology::from_affinity(&twice, &[]).is_ok());
        let mut without_memory = example();
        without_memory.memory.clear();
        assert_eq!(refused(&without_memory, &[]), NumaError::Incomplete);
        let mut many = example();
        (100..116).for_each(|domain| many.add_cpu(domain.into(), domain));
        assert_eq!(refused(&many, &[]), NumaError::TooMany);
    }

    #[test]
    fn distances_that_cannot_be_are_left_out_as_a_whole() {
        for (from, to, value) in [(0, 0, 11), (0, 4, 10), (4, 0, 0)] {
            let mut affinity = example();
            affinity.add_distance(Distance { from, to, value }).unwrap();
            let mut topology = NumaTopology::from_affinity(&affinity, &[]).unwrap();
            assert!(!topology.take_distances(&affinity));
            assert_eq!(topology.distance(NodeId(0), NodeId(1)), REMOTE_DISTANCE);
        }
    }

    #[test]
    fn without_firmware_there_is_one_node() {
        let topology = NumaTopology::new();
        assert_eq!(topology.nodes().collect::<Vec<_>>(), [NodeId(0)]);
        assert_eq!(topology.closest(NodeId(0)).as_slice(), [NodeId(0)]);
        assert_eq!(topology.distance(NodeId(0), NodeId(0)), LOCAL_DISTANCE);
        assert_eq!(topology.distance(NodeId(0), NodeId(200)), UNREACHABLE);
    }

    #[test]
    fn too_many_nodes_are_refused() {
        let mut topology = NumaTopology::new();
        for domain in 0..MAXIMUM_NODES as u32 {
            assert_eq!(topology.node_for(domain * 7).map(|node| u32::from(node.0)), Ok(domain));
        }
        assert_eq!(topology.node_for(1000), Err(NumaError::TooMany));
    }
}
