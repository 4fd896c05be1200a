//! What `numastat` shows: how pages of user memory came to their nodes; and how much memory a node has.
//!
//! Counted are the pages that policies place. Counters are kept by CPU and added up when they are read; a count is lost where a
//! thread is moved between reading and writing one, which nothing depends on.

use crate::arch::{Cpu, Current};
use crate::memory::frame_allocator::{self, FrameStatistics};
use crate::memory::numa::{MAXIMUM_NODES, NodeId, current_node};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// CPUs with counters of their own; those beyond share.
const SLOTS: usize = 16;
const COUNTERS: usize = 6;

#[derive(Debug)]
#[repr(align(64))]
struct Slot([[AtomicU64; COUNTERS]; MAXIMUM_NODES]);

static SLOTS_OF_CPUS: [Slot; SLOTS] =
    [const { Slot([const { [const { AtomicU64::new(0) }; COUNTERS] }; MAXIMUM_NODES]) }; SLOTS];

#[derive(Clone, Copy)]
enum Counter {
    Hit,
    Miss,
    Foreign,
    InterleaveHit,
    Local,
    Other,
}

/// Whether a page was wanted there because of its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// It was.
    InTurn,
    /// For another reason.
    Otherwise,
}

impl Wanted {
    pub(super) const fn of(is_interleaved: bool) -> Self {
        if is_interleaved { Self::InTurn } else { Self::Otherwise }
    }
}

/// A node's counters, under Linux's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeCounters {
    /// Pages that were wanted here, and are.
    pub hit: u64,
    /// Pages that are here though wanted elsewhere.
    pub miss: u64,
    /// Pages that were wanted here, and are elsewhere.
    pub foreign: u64,
    /// Those of the hits that interleaving wanted here.
    pub interleave_hit: u64,
    /// Pages that a CPU of this node took here.
    pub local: u64,
    /// Pages that a CPU of another node took here.
    pub other: u64,
}

#[inline]
fn add(node: NodeId, counter: Counter) {
    let cpu = Current::id().0 as usize % SLOTS;
    let slot = SLOTS_OF_CPUS.get(cpu).and_then(|slot| slot.0.get(usize::from(node.0))?.get(counter as usize));
    if let Some(count) = slot {
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
}

/// Counts a page that was wanted on `node` and is there, for a CPU of that node.
#[inline]
pub(super) fn count_local(node: NodeId, wanted: Wanted) {
    add(node, Counter::Hit);
    add(node, Counter::Local);
    if wanted == Wanted::InTurn {
        add(node, Counter::InterleaveHit);
    }
}

/// Counts a page that was wanted on `wished` and is on `node`.
pub(super) fn count(wished: NodeId, node: NodeId, wanted: Wanted) {
    if wished == node {
        add(node, Counter::Hit);
        if wanted == Wanted::InTurn {
            add(node, Counter::InterleaveHit);
        }
    } else {
        add(node, Counter::Miss);
        add(wished, Counter::Foreign);
    }
    add(node, if node == current_node() { Counter::Local } else { Counter::Other });
}

/// The counters of `node`.
#[must_use]
pub fn collect_counters(node: NodeId) -> NodeCounters {
    let sum = |counter: Counter| {
        let of = |slot: &Slot| {
            slot.0
                .get(usize::from(node.0))
                .and_then(|counts| counts.get(counter as usize))
                .map_or(0, |count| count.load(Relaxed))
        };
        SLOTS_OF_CPUS.iter().map(of).sum()
    };
    NodeCounters {
        hit: sum(Counter::Hit),
        miss: sum(Counter::Miss),
        foreign: sum(Counter::Foreign),
        interleave_hit: sum(Counter::InterleaveHit),
        local: sum(Counter::Local),
        other: sum(Counter::Other),
    }
}

/// The memory of `node`. A few loads; frames that CPUs keep at hand count as used.
#[must_use]
pub fn memory(node: NodeId) -> FrameStatistics {
    let FrameStatistics { total, free } = frame_allocator::node_totals(node.0);
    FrameStatistics { total, free: free.min(total) }
}

/// Whether `node` has memory.
#[must_use]
pub fn has_memory(node: NodeId) -> bool {
    memory(node).total != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_counted_where_it_is_and_where_it_was_wanted() {
        // Nodes that no other test counts for.
        let (wished, got) = (NodeId(14), NodeId(15));
        count(wished, got, Wanted::Otherwise);
        count(got, got, Wanted::InTurn);
        let counters = collect_counters(got);
        assert_eq!((counters.hit, counters.miss, counters.interleave_hit, counters.other), (1, 1, 1, 2));
        assert_eq!(collect_counters(wished), NodeCounters { foreign: 1, ..NodeCounters::default() });
    }
}
