//! Where one page of user memory is to be: [`Placement`], as plain data. `node_frames` takes the frame.

use super::{NodeId, NodeMask, current_node, has_several_nodes, nodes, topology};

/// What happens when the nodes of a [`Placement`] have nothing left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// There is no page then.
    Never,
    /// The nearest other node serves.
    Nearest,
}

/// On which nodes a page may be, and which of them comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The search goes by distance from here; `None` is the CPU's node when the page is taken.
    from: Option<NodeId>,
    allowed: NodeMask,
    beyond: Beyond,
    is_interleaved: bool,
}

impl Placement {
    /// Near the CPU: what happens without a policy.
    pub const LOCAL: Self =
        Self { from: None, allowed: NodeMask::from_bits(u64::MAX), beyond: Beyond::Never, is_interleaved: false };

    /// As near to `node` as can be.
    #[must_use]
    pub const fn near(node: NodeId) -> Self {
        Self { from: Some(node), ..Self::LOCAL }
    }
    /// On `node` alone.
    #[must_use]
    pub const fn exactly(node: NodeId) -> Self {
        Self { from: Some(node), allowed: NodeMask::single(node), ..Self::LOCAL }
    }
    /// On the one of `allowed` that is nearest to `from`.
    #[must_use]
    pub const fn among(from: NodeId, allowed: NodeMask, beyond: Beyond) -> Self {
        Self { from: Some(from), allowed, beyond, is_interleaved: false }
    }
    /// The same, counted as interleaved.
    #[must_use]
    pub const fn interleaved(self) -> Self {
        Self { is_interleaved: true, ..self }
    }

    /// Whether the next page goes elsewhere.
    #[must_use]
    pub const fn is_interleaved(self) -> bool {
        self.is_interleaved
    }

    /// The node that is tried first.
    #[must_use]
    pub fn first(self) -> NodeId {
        let from = self.from.unwrap_or_else(current_node);
        if self.allowed.contains(from) {
            return from;
        }
        let first = topology().closest_where(from, |node| self.allowed.contains(node));
        first.or_else(|| self.allowed.intersection(nodes()).first()).unwrap_or(from)
    }

    /// Whether a frame that is on `node` already is as good as one that would be taken now.
    #[must_use]
    pub fn is_content_with(self, node: NodeId) -> bool {
        !has_several_nodes() || node == self.first()
    }

    /// The node from which distances count.
    #[must_use]
    pub fn from(self) -> NodeId {
        self.from.unwrap_or_else(current_node)
    }
    /// The nodes on which the page may be without looking beyond.
    #[must_use]
    pub const fn allowed(self) -> NodeMask {
        self.allowed
    }
    /// What happens when they have nothing left.
    #[must_use]
    pub const fn beyond(self) -> Beyond {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_is_the_nearest_of_those_allowed() {
        assert_eq!(Placement::LOCAL.first(), NodeId(0));
        assert_eq!(Placement::exactly(NodeId(3)).first(), NodeId(3));
        let among = |from, nodes| Placement::among(NodeId(from), NodeMask::from_bits(nodes), Beyond::Never).first();
        assert_eq!((among(2, 0b101), among(1, 0b101)), (NodeId(2), NodeId(0)));
        assert!(Placement::near(NodeId(7)).is_content_with(NodeId(0)), "one node is as good as another");
    }
}
