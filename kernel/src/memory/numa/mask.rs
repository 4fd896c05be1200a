//! Sets of nodes, and what Linux's policies do with them.

use super::NodeId;
use crate::base::BitSet;
use crate::base::bit_set::{Member, Members, set_operations};
use core::fmt;

/// A set of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct NodeMask(BitSet<1>);

set_operations!(NodeMask of NodeId);

impl Member for NodeId {
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    fn numbered(number: u32) -> Self {
        Self(number as u8)
    }
}

impl NodeMask {
    /// The nodes whose bits are set in `bits`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(BitSet::from_words([bits]))
    }
    /// One node.
    #[must_use]
    pub const fn single(node: NodeId) -> Self {
        Self(BitSet::single(node.0 as u32))
    }
    /// How many nodes it has.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count()
    }
    /// The lowest.
    #[must_use]
    pub fn first(self) -> Option<NodeId> {
        self.iter().next()
    }
    /// The nodes from the lowest up.
    #[must_use]
    pub const fn iter(self) -> Members<NodeId, 1> {
        self.0.members()
    }
    /// The next one after `node`, and the lowest after the last.
    #[must_use]
    pub fn next_after(self, node: Option<NodeId>) -> Option<NodeId> {
        let above = node.and_then(|node| self.iter().find(|other| *other > node));
        above.or_else(|| self.first())
    }
    /// The `index`-th from the lowest up, counted from 0.
    #[must_use]
    pub fn nth(self, index: u32) -> Option<NodeId> {
        self.iter().nth(index as usize)
    }
    /// How many of them are below `node`.
    #[must_use]
    pub const fn rank(self, node: NodeId) -> u32 {
        self.0.rank(node.0 as u32)
    }
    /// The n-th of `relative` for each bit n (`nodes_onto`); bits for which it has none are lost.
    #[must_use]
    pub fn onto(self, relative: Self) -> Self {
        self.iter().filter_map(|bit| relative.nth(bit.0.into())).collect()
    }
    /// Where `node` goes when those of `from` become those of `to`, the n-th the n-th and cyclically (`node_remap`); itself where it is not in `from`, or
    /// one of them is empty.
    #[must_use]
    pub fn remap(node: NodeId, from: Self, to: Self) -> NodeId {
        if !from.contains(node) || to.is_empty() {
            return node;
        }
        to.nth(from.rank(node) % to.count()).unwrap_or(node)
    }
}

impl FromIterator<NodeId> for NodeMask {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::EMPTY, |mask, node| mask.union(Self::single(node)))
    }
}

/// As Linux writes a list: `0-2,5`; nothing for the empty set.
impl fmt::Display for NodeMask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Nodes as a program names them, of which there may be far more than the machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedNodes(pub [u64; Self::WORDS]);

impl NamedNodes {
    /// Words of the largest mask: Linux's 1024 nodes.
    pub const WORDS: usize = 16;
    /// None.
    pub const NONE: Self = Self([0; Self::WORDS]);

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        BitSet::from_words(self.0).is_empty()
    }
    /// The first 64: more are never shown to anybody.
    #[must_use]
    pub const fn low(&self) -> NodeMask {
        let [low, ..] = self.0;
        NodeMask::from_bits(low)
    }
    /// Those that the machine may have, and whether there were others.
    #[must_use]
    pub fn is_subset_of(&self, mask: NodeMask) -> bool {
        let [low, further @ ..] = &self.0;
        NodeMask::from_bits(*low).is_subset_of(mask) && further.iter().all(|word| *word == 0)
    }
    /// Bit n for each of them that is n modulo `count` (`nodes_fold`).
    #[must_use]
    pub fn fold(&self, count: u32) -> NodeMask {
        let named = BitSet::from_words(self.0);
        let folded = named.iter().map(|number| BitSet::single(number.checked_rem(count).unwrap_or(0) & 63));
        NodeMask(folded.fold(BitSet::EMPTY, BitSet::union))
    }
}

/// From which node to which pages go when those on `from` are to go to `to`, in Linux's order: a node is emptied before others are moved there, where
/// that can be. What was moved before may be moved again, in a circle.
pub fn migration_pairs(from: NodeMask, to: NodeMask) -> impl Iterator<Item = (NodeId, NodeId)> {
    let mut rest = from;
    core::iter::from_fn(move || {
        let mut found = None;
        for source in rest.iter() {
            // Nodes of both sets stay where the sets are of different sizes.
            if from.count() != to.count() && to.contains(source) {
                continue;
            }
            let target = NodeMask::remap(source, from, to);
            if source == target {
                continue;
            }
            found = Some((source, target));
            if !rest.contains(target) {
                break;
            }
        }
        let (source, target) = found?;
        rest = rest.difference(NodeMask::single(source));
        Some((source, target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(bits: u64) -> NodeMask {
        NodeMask::from_bits(bits)
    }

    #[test]
    fn members_come_in_order_and_cyclically() {
        let nodes = mask(0b1_0101);
        assert_eq!(nodes.iter().map(|node| node.0).collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(nodes.next_after(None), Some(NodeId(0)));
        assert_eq!(nodes.next_after(Some(NodeId(2))), Some(NodeId(4)));
        assert_eq!(nodes.next_after(Some(NodeId(4))), Some(NodeId(0)));
        assert_eq!(NodeMask::EMPTY.next_after(Some(NodeId(4))), None);
        assert_eq!((nodes.nth(2), nodes.nth(3)), (Some(NodeId(4)), None));
    }

    #[test]
    fn relative_nodes_are_folded_and_put_onto_those_allowed() {
        // The example of Linux's bitmap_fold and bitmap_onto.
        let mut named = NamedNodes::NONE;
        named.0[0] = 1 << 2 | 1 << 5;
        named.0[1] = 1;
        assert_eq!(named.fold(3), mask(0b110));
        assert_eq!(named.fold(3).onto(mask(0b1_1001)), mask(0b1_1000));
        assert_eq!(named.fold(0), mask(1));
        assert!(!named.is_subset_of(mask(u64::MAX)) && named.low() == mask(0b10_0100));
    }

    #[test]
    fn nodes_are_emptied_in_an_order_that_mixes_little() {
        let pairs =
            |from, to| migration_pairs(mask(from), mask(to)).map(|(from, to)| (from.0, to.0)).collect::<Vec<_>>();
        assert_eq!(pairs(0b1, 0b10), [(0, 1)]);
        // Linux's example: 3 to 4 before 2 to 3 and so on.
        assert_eq!(pairs(0b111, 0b1110), [(2, 3), (1, 2), (0, 1)]);
        assert_eq!(pairs(0b11, 0b10), [(0, 1)]);
        assert_eq!(pairs(0b11, 0b11), []);
        assert_eq!(pairs(0b1111, 0b1), [(3, 0), (2, 0), (1, 0)]);
        assert_eq!(pairs(0, 0b1), []);
    }

    #[test]
    fn remapping_pairs_by_rank() {
        let remap = |node, from, to| NodeMask::remap(NodeId(node), mask(from), mask(to)).0;
        assert_eq!((remap(0, 0b11, 0b1100), remap(1, 0b11, 0b1100)), (2, 3));
        assert_eq!((remap(3, 0b1111, 0b11), remap(2, 0b1111, 0b11)), (1, 0));
        assert_eq!((remap(1, 0b1, 0b10), remap(1, 0b10, 0)), (1, 1));
    }
}
