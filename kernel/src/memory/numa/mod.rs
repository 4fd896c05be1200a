//! NUMA: which memory and which CPUs are near each other, and where memory is taken from.
//!
//! | file | what |
//! |---|---|
//! | `topology` | [`NumaTopology`]: nodes, memory, CPUs, distances; plain data |
//! | `mask` | [`NodeMask`], [`NamedNodes`]: sets of nodes |
//! | `locality` | the node of each CPU |
//! | `policy` | [`MemoryPolicy`]: what programs ask for |
//! | `shared_policies` | [`SharedPolicies`]: the same for shared memory |
//! | `placement` | [`Placement`]: where one page is to be |
//!
//! Whose policy counts for a page is asked in Linux's order: the shared memory's, the area's, the running thread's ([`set_thread_policy`] is how `process`
//! tells it), and without any the page is taken near the CPU.
//!
//! The boot path builds the topology before the frame allocator starts, hands its ranges to `MemoryMap::nodes`, and registers it with [`initialize`].
//! A machine that says nothing has one node with everything.

mod locality;
mod mask;
mod placement;
mod policy;
mod shared_policies;
mod topology;

pub use locality::{cpus_of, current_node, node_of_cpu, note_cpus};
pub use mask::{NamedNodes, NodeMask, migration_pairs};
pub use placement::{Beyond, Placement};
pub use policy::{MemoryPolicy, Mode, ModeFlags, NamedMode};
pub use shared_policies::SharedPolicies;
pub use topology::{
    LOCAL_DISTANCE, MAXIMUM_NODES, MAXIMUM_RANGES, NumaError, NumaTopology, REMOTE_DISTANCE, UNREACHABLE,
};

use crate::arch::affinity::Affinity;
use crate::arch::{Current, Machine};
use crate::base::FrameRange;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use spin::Once;

/// A node: dense, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u8);

impl NodeId {
    fn index(self) -> usize {
        self.0.into()
    }
}

static TOPOLOGY: Once<NumaTopology> = Once::new();
static SINGLE_NODE: NumaTopology = NumaTopology::new();
/// Whether there is more than one node: what hot paths ask first.
static SEVERAL: AtomicBool = AtomicBool::new(false);

/// Reads what firmware says and registers it, once, at boot, for a machine with the memory `usable`. What is of no use is told in the log, and then there is
/// one node.
pub fn initialize(usable: &[FrameRange]) {
    let Some(said) = Current::affinity() else { return };
    if let Err(error) = said.map_err(NumaError::from).and_then(|affinity| register(affinity, usable)) {
        log::warn!("NUMA: firmware's tables are of no use: {error:?}; one node");
    }
}

/// Registers what firmware says.
// Apart from the rest, for boot's stack has no room for many topologies at a time.
#[inline(never)]
fn register(affinity: &Affinity, usable: &[FrameRange]) -> Result<(), NumaError> {
    let mut topology = NumaTopology::from_affinity(affinity, usable)?;
    if !topology.take_distances(affinity) {
        log::warn!("NUMA: firmware's distances are of no use; {REMOTE_DISTANCE} between nodes");
    }
    let registered = TOPOLOGY.call_once(|| topology);
    SEVERAL.store(registered.node_count() > 1, Relaxed);
    Ok(())
}

/// The machine's topology; one node where none was registered.
#[must_use]
pub fn topology() -> &'static NumaTopology {
    TOPOLOGY.get().unwrap_or(&SINGLE_NODE)
}

/// Whether there is more than one node. One load.
#[inline]
#[must_use]
pub fn has_several_nodes() -> bool {
    SEVERAL.load(Relaxed)
}

/// All nodes.
#[must_use]
pub fn nodes() -> NodeMask {
    topology().nodes().collect()
}

/// Gives the running thread's policy.
pub type ThreadPolicy = fn() -> Option<MemoryPolicy>;

static THREAD_POLICY: Once<ThreadPolicy> = Once::new();

/// Registers who knows the running thread's policy, once, at boot.
pub fn set_thread_policy(policy: ThreadPolicy) {
    THREAD_POLICY.call_once(|| policy);
}

/// Where the running thread's policy, if no other counts, has page `index` of what it is for.
#[inline]
#[must_use]
pub fn placement(policy: impl FnOnce() -> Option<MemoryPolicy>, index: u64) -> Placement {
    if !has_several_nodes() {
        return Placement::LOCAL;
    }
    let of_thread = || THREAD_POLICY.get().and_then(|policy| policy());
    policy().or_else(of_thread).map_or(Placement::LOCAL, |policy| policy.placement(index))
}
