//! Frames by node: taking them for user space where a policy has them ([`allocate`]), and what `numastat` shows ([`statistics`]).
//!
//! On a machine of one node every placement is the same, and costs one load more than none.

pub mod statistics;

use super::frame::Frame;
use super::frame_allocator;
use super::numa::{Beyond, NodeId, NodeMask, Placement, current_node, has_several_nodes, topology};
use statistics::Wanted;

/// What a new page holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Zeros.
    Zeros,
    /// Anything: it is written to at once.
    Undefined,
}

/// Where memory is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// There is no other place.
    Everywhere,
    /// On these nodes, and a page may be on no others (Linux: `CONSTRAINT_MEMORY_POLICY`).
    Nodes(NodeMask),
}

impl Scope {
    /// That of a page which is to be placed so.
    #[must_use]
    pub fn of(placement: Placement) -> Self {
        let allowed = placement.allowed();
        let is_strict = placement.beyond() == Beyond::Never && has_several_nodes();
        if is_strict && !nodes_with_memory().is_subset_of(allowed) { Self::Nodes(allowed) } else { Self::Everywhere }
    }

    /// Whether a page of user memory may be taken there, what CPUs have at hand apart.
    #[must_use]
    pub fn has_room(self) -> bool {
        frame_allocator::has_room_for_users()
            && match self {
                Self::Everywhere => true,
                Self::Nodes(nodes) => nodes.iter().any(|node| frame_allocator::node_totals(node.0).free > 0),
            }
    }
}

/// Takes a frame for user space. `None` when there is none where it may be, or only the kernel's reserve is left.
#[inline]
#[must_use]
pub fn allocate(placement: Placement, content: Content) -> Option<Frame> {
    if has_several_nodes() {
        return allocate_from_several(placement, content);
    }
    let frame = take_any(content)?;
    statistics::count_local(NodeId(0), Wanted::of(placement.is_interleaved()));
    Some(frame)
}

#[cold]
fn allocate_from_several(placement: Placement, content: Content) -> Option<Frame> {
    if !frame_allocator::has_room_for_users() {
        return None;
    }
    let from = placement.from();
    let order = topology().closest(from);
    let is_allowed = |node: &NodeId| placement.allowed().contains(*node);
    let search = || order.iter().copied().filter(is_allowed).find_map(|node| take_on(node, content));
    let search_beyond =
        || order.iter().copied().filter(|node| !is_allowed(node)).find_map(|node| take_on(node, content));
    let frame = search().or_else(|| {
        // What other CPUs keep at hand may be of these nodes.
        frame_allocator::drain_caches();
        search()
    });
    let frame = match placement.beyond() {
        Beyond::Never => frame,
        Beyond::Nearest => frame.or_else(search_beyond),
    }?;
    let wanted = order.iter().copied().find(is_allowed).unwrap_or(from);
    statistics::count(wanted, frame.node(), Wanted::of(placement.is_interleaved()));
    Some(frame)
}

/// The nodes that have memory: those that policies may name.
#[must_use]
pub fn nodes_with_memory() -> NodeMask {
    topology().nodes().filter(|node| statistics::has_memory(*node)).collect()
}

/// A frame of any node.
#[inline]
fn take_any(content: Content) -> Option<Frame> {
    match content {
        Content::Zeros => Frame::allocate_zeroed_for_user(),
        Content::Undefined => Frame::allocate_for_user(),
    }
}

/// A frame of `node` and no other.
fn take_on(node: NodeId, content: Content) -> Option<Frame> {
    // What this CPU keeps at hand is of its own node, most of the time.
    if node == current_node()
        && let Some(frame) = take_any(content).filter(|frame| frame.node() == node)
    {
        return Some(frame);
    }
    let frame = Frame::allocate_on(node)?;
    if content == Content::Zeros {
        frame.zero(0, frame.size());
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_one_node_serves_everybody() {
        for placement in [Placement::LOCAL, Placement::near(NodeId(0)), Placement::exactly(NodeId(0))] {
            let frame = allocate(placement, Content::Zeros).unwrap();
            assert_eq!(frame.node(), NodeId(0));
        }
    }
}
