//! `/sys/devices/system/node`: which nodes there are, and a directory for each.
//!
//! A node's `meminfo` has the lines whose amounts are known by node, those of use counted over its frames; memory blocks (`memoryN`) and the pools of large pages are not there.

use super::topology::mask_width;
use super::{Path, append_mask};
use crate::arch::inter_processor;
use crate::base::{CpuId, CpuMask, PAGE_SHIFT, Result};
use crate::fs::inode::{Inode, LinkTarget};
use crate::fs::pseudo::{FixedDirectory, PseudoLink};
use crate::memory::frame_allocator;
use crate::memory::node_frames::{self, statistics};
use crate::memory::numa::{self, NodeId, NodeMask};
use crate::pseudofs::append;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The directory.
pub(super) fn directory(path: Path) -> Arc<dyn Inode> {
    let list = |name: &str, read: fn() -> NodeMask| path.below(name).text(move |text| append!(text, "{}\n", read()));
    let mut entries = FixedDirectory::new()
        .with("online", list("online", numa::nodes))
        .with("possible", list("possible", numa::nodes))
        .with("has_cpu", list("has_cpu", with_cpus))
        .with("has_memory", list("has_memory", node_frames::nodes_with_memory))
        .with("has_normal_memory", list("has_normal_memory", node_frames::nodes_with_memory))
        // Nothing but CPUs begins accesses to memory.
        .with("has_generic_initiator", list("has_generic_initiator", || NodeMask::EMPTY));
    for node in numa::nodes().iter() {
        let name = alloc::format!("node{}", node.0);
        entries = entries.with(&name, one(path.below(&name), node));
    }
    path.directory(entries)
}

fn with_cpus() -> NodeMask {
    inter_processor::online().iter().map(numa::node_of_cpu).collect()
}

fn cpus(node: NodeId) -> CpuMask {
    numa::cpus_of(node, inter_processor::online())
}

fn one(path: Path, node: NodeId) -> Arc<dyn Inode> {
    let mut entries = FixedDirectory::new()
        .with("cpumap", path.below("cpumap").text(move |text| append_mask(text, cpus(node), mask_width())))
        .with("cpulist", path.below("cpulist").text(move |text| append!(text, "{}\n", cpus(node))))
        .with("distance", path.below("distance").text(move |text| distances(text, node)))
        .with("meminfo", path.below("meminfo").text(move |text| memory(text, node)))
        .with("numastat", path.below("numastat").text(move |text| counters(text, node)))
        .with("vmstat", path.below("vmstat").text(move |text| counted(text, node)));
    for cpu in numa::cpus_of(node, inter_processor::possible()) {
        let name = alloc::format!("cpu{}", cpu.0);
        entries = entries.with(&name, path.below(&name).link(Relative(alloc::format!("../../cpu/cpu{}", cpu.0))));
    }
    path.directory(entries)
}

/// The link from a CPU's directory to that of its node: its name, and the link.
pub(super) fn link_of(path: Path, cpu: CpuId) -> (alloc::string::String, Arc<dyn Inode>) {
    let name = alloc::format!("node{}", numa::node_of_cpu(cpu).0);
    let target = alloc::format!("../../node/{name}");
    let link = path.below(&name).link(Relative(target));
    (name, link)
}

/// A link by a path that begins where it stands.
struct Relative(alloc::string::String);

impl PseudoLink for Relative {
    fn target(&self) -> Result<LinkTarget> {
        Ok(LinkTarget::Path(self.0.as_bytes().into()))
    }
}

fn distances(text: &mut Vec<u8>, node: NodeId) {
    for (index, other) in numa::nodes().iter().enumerate() {
        append!(text, "{}{}", if index == 0 { "" } else { " " }, numa::topology().distance(node, other));
    }
    text.push(b'\n');
}

fn memory(text: &mut Vec<u8>, node: NodeId) {
    let frames = statistics::memory(node);
    let usage = frame_allocator::collect_usage(node.0);
    for (name, pages) in [
        ("MemTotal", frames.total),
        ("MemFree", frames.free),
        ("MemUsed", frames.total - frames.free),
        ("SwapCached", 0),
        // No page waits to be written to where it is from.
        ("Dirty", 0),
        ("Writeback", 0),
        ("PageTables", usage.page_tables),
        // Tables that no processor of this machine walks: there are none.
        ("SecPageTables", 0),
        ("Slab", usage.heap),
    ] {
        let name = alloc::format!("{name}:");
        append!(text, "Node {} {name:<15} {:8} kB\n", node.0, pages << (PAGE_SHIFT - 10));
    }
    for name in ["Total", "Free", "Surp"] {
        let name = alloc::format!("HugePages_{name}:");
        append!(text, "Node {} {name:<16} {:5}\n", node.0, 0);
    }
}

fn counters(text: &mut Vec<u8>, node: NodeId) {
    let counters = statistics::collect_counters(node);
    append!(text, "numa_hit {}\nnuma_miss {}\nnuma_foreign {}\n", counters.hit, counters.miss, counters.foreign);
    append!(
        text,
        "interleave_hit {}\nlocal_node {}\nother_node {}\n",
        counters.interleave_hit,
        counters.local,
        counters.other
    );
}

fn counted(text: &mut Vec<u8>, node: NodeId) {
    let counters = statistics::collect_counters(node);
    append!(text, "nr_free_pages {}\n", statistics::memory(node).free);
    append!(text, "numa_hit {}\nnuma_miss {}\nnuma_foreign {}\n", counters.hit, counters.miss, counters.foreign);
    append!(
        text,
        "numa_interleave {}\nnuma_local {}\nnuma_other {}\n",
        counters.interleave_hit,
        counters.local,
        counters.other
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>, NodeId)) -> String {
        let mut text = Vec::new();
        write(&mut text, NodeId(0));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_files_of_a_node_are_as_linux_writes_them() {
        assert_eq!(text(distances), "10\n");
        let memory = text(memory);
        let lines: Vec<_> = memory.lines().collect();
        assert!(lines[0].starts_with("Node 0 MemTotal:       ") && lines[0].ends_with(" kB"), "{memory}");
        assert_eq!(lines[0].len(), "Node 0 MemTotal:         480284 kB".len());
        let names: Vec<_> = lines.iter().filter_map(|line| line.split_whitespace().nth(2)).collect();
        // Linux's order.
        assert_eq!(
            names[3..],
            [
                "SwapCached:",
                "Dirty:",
                "Writeback:",
                "PageTables:",
                "SecPageTables:",
                "Slab:",
                "HugePages_Total:",
                "HugePages_Free:",
                "HugePages_Surp:"
            ]
        );
        assert_eq!(lines[9], "Node 0 HugePages_Total:     0");
        let names =
            |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            names(&text(counters)),
            ["numa_hit", "numa_miss", "numa_foreign", "interleave_hit", "local_node", "other_node"]
        );
        assert_eq!(names(&text(counted))[0], "nr_free_pages");
    }
}
