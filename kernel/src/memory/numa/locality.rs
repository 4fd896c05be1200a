//! The node of each CPU, by the kernel's own numbers.

use super::{NodeId, topology};
use crate::arch::{Cpu, Current, InterProcessor};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// 0 until [`note_cpus`], and where there is one node.
static NODES: [AtomicU8; MAXIMUM_CPUS] = [const { AtomicU8::new(0) }; MAXIMUM_CPUS];

/// Looks up the nodes of `cpus` by what firmware calls them: at boot, before those CPUs start.
pub fn note_cpus(cpus: CpuMask) {
    for cpu in cpus {
        if let (Some(place), Some(identifier)) = (NODES.get(cpu.0 as usize), Current::hardware_identifier_of(cpu)) {
            place.store(topology().node_of_cpu(identifier).0, Relaxed);
        }
    }
}

/// The node of `cpu`; node 0 for one that nobody knows.
#[inline]
#[must_use]
pub fn node_of_cpu(cpu: CpuId) -> NodeId {
    NodeId(NODES.get(cpu.0 as usize).map_or(0, |node| node.load(Relaxed)))
}

/// The node of the CPU that asks: a hint where it may be moved.
#[inline]
#[must_use]
pub fn current_node() -> NodeId {
    node_of_cpu(Current::id())
}

/// Those of `cpus` that are on `node`.
#[must_use]
pub fn cpus_of(node: NodeId, cpus: CpuMask) -> CpuMask {
    cpus.iter().filter(|cpu| node_of_cpu(*cpu) == node).collect()
}
