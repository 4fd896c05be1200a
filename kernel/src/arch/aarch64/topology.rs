//! Where a CPU stands and what caches it has: from the device tree's `cpu-map` and its CPU nodes, and the CPU's `CLIDR_EL1`; in Linux's reading.
//!
//! The affinity levels of `MPIDR_EL1` name a CPU and say nothing reliable of packages or cores, so without a `cpu-map` every CPU is a core
//! of one package. The first level's caches are those that `CLIDR_EL1` lists, each CPU's own; further levels are those that the tree leads to by
//! `next-level-cache`. Sizes stand in the tree, or nowhere: what `CCSIDR_EL1` says is for maintenance by set and way.
//!
//! [`read_tree`] and [`first_level`] are pure.

#![allow(unsafe_code, reason = "reads the registers that describe the caches")]

use super::device_tree::{self, MAXIMUM_CPUS};
use crate::arch::cpu_topology::{Cache, CacheGeometry, CacheKind, CpuDescription, CpuPosition};
use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// The most levels that are followed from a CPU's node.
const MAXIMUM_LEVELS: usize = 4;
/// The deepest nesting of clusters that is followed.
const MAXIMUM_DEPTH: u32 = 4;

/// What the tree says of a CPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeCpu {
    /// Its affinity (`MPIDR_EL1`).
    pub affinity: u64,
    /// Where the `cpu-map` has it, if that is complete.
    pub position: Option<CpuPosition>,
    /// The first level's data and instruction cache, as far as they are described.
    first_level: [Option<CacheGeometry>; 2],
    /// The levels behind.
    further: ArrayVec<Cache, MAXIMUM_LEVELS>,
}

/// The CPUs of a tree.
pub type TreeCpus = ArrayVec<TreeCpu, MAXIMUM_CPUS>;

fn cell(node: &FdtNode<'_>, name: &str) -> Option<u32> {
    node.property(name)?.value_as::<u32>().ok()
}

/// The cache that a node's properties describe whose names begin with `prefix`.
fn geometry(node: &FdtNode<'_>, prefix: &str) -> Option<CacheGeometry> {
    let read = |name: &str| {
        let mut full = arrayvec::ArrayString::<24>::new();
        full.try_push_str(prefix).ok()?;
        full.try_push_str(name).ok()?;
        cell(node, &full)
    };
    let line_size = read("cache-line-size").or_else(|| read("cache-block-size"))?;
    let (size, sets) = (read("cache-size")?, read("cache-sets")?);
    let ways = size.checked_div(sets)?.checked_div(line_size)?;
    (ways != 0).then_some(CacheGeometry { line_size, partitions: 1, ways, sets })
}

/// The node below `/cpus` (caches stand there or inside a CPU's node) that `handle` names.
fn find_cache<'a>(cpus: &FdtNode<'a>, handle: u32) -> Option<FdtNode<'a>> {
    let is_it = |node: &FdtNode<'a>| cell(node, "phandle") == Some(handle);
    cpus.children().find_map(|node| if is_it(&node) { Some(node) } else { node.children().find(is_it) })
}

fn further_levels(cpus: &FdtNode<'_>, cpu: &FdtNode<'_>) -> ArrayVec<Cache, MAXIMUM_LEVELS> {
    let mut found = ArrayVec::new();
    let mut next = cell(cpu, "next-level-cache");
    while let Some(handle) = next {
        let Some(node) = find_cache(cpus, handle) else { break };
        let level = found.len() as u8 + 2;
        let cache =
            Cache { level, kind: CacheKind::Unified, geometry: geometry(&node, ""), identifier: None, group: handle };
        if found.try_push(cache).is_err() {
            break;
        }
        next = cell(&node, "next-level-cache");
    }
    found
}

/// Notes in `found`, which is empty, what `tree` says of its CPUs, in its order. In place: the boot stack has no room for it.
pub fn read_tree(tree: &Fdt<'_>, found: &mut TreeCpus) {
    let mut handles = ArrayVec::<u32, MAXIMUM_CPUS>::new();
    let Some(cpus) = tree.find_node("/cpus") else { return };
    for node in cpus.children().filter(device_tree::is_cpu) {
        let Some(affinity) = device_tree::first_register(&node) else { continue };
        let cpu = TreeCpu {
            affinity,
            position: None,
            first_level: [geometry(&node, "d-"), geometry(&node, "i-")],
            further: further_levels(&cpus, &node),
        };
        // Further ones are not used.
        if found.try_push(cpu).is_ok() {
            handles.push(cell(&node, "phandle").unwrap_or(0));
        }
    }
    if let Some(map) = cpus.children().find(|node| node.name() == "cpu-map") {
        let mut reader = MapReader { cpus: found, handles: &handles };
        let mut has_packages = false;
        for (package, node) in numbered(&map, "socket") {
            has_packages = true;
            reader.read_cluster(&node, package, None, 0);
        }
        if !has_packages {
            reader.read_cluster(&map, 0, None, 0);
        }
    }
    if found.iter().any(|cpu| cpu.position.is_none()) {
        found.iter_mut().for_each(|cpu| cpu.position = None);
    }
}

/// The children `name0`, `name1`, ... of `node`, up to the first number that is missing.
fn numbered<'a>(node: &FdtNode<'a>, name: &'static str) -> impl Iterator<Item = (u32, FdtNode<'a>)> + use<'a> {
    let node = *node;
    (0..).map_while(move |number: u32| {
        let is_it = |child: &FdtNode<'a>| {
            child.name().strip_prefix(name).is_some_and(|rest| rest.parse() == Ok(number) && !rest.starts_with('+'))
        };
        Some((number, node.children().find(is_it)?))
    })
}

struct MapReader<'a> {
    cpus: &'a mut TreeCpus,
    handles: &'a [u32],
}

impl MapReader<'_> {
    fn read_cluster(&mut self, node: &FdtNode<'_>, package: u32, cluster: Option<u32>, depth: u32) {
        if depth >= MAXIMUM_DEPTH {
            return;
        }
        for (number, child) in numbered(node, "cluster") {
            self.read_cluster(&child, package, Some(number), depth + 1);
        }
        for (core, child) in numbered(node, "core") {
            let position = CpuPosition { package, die: 0, cluster, core };
            let mut has_threads = false;
            for (_, thread) in numbered(&child, "thread") {
                has_threads = true;
                self.place(&thread, position);
            }
            if !has_threads {
                self.place(&child, position);
            }
        }
    }

    fn place(&mut self, node: &FdtNode<'_>, position: CpuPosition) {
        let Some(handle) = cell(node, "cpu") else { return };
        let index = self.handles.iter().position(|own| *own == handle);
        if let Some(cpu) = index.and_then(|index| self.cpus.get_mut(index)) {
            cpu.position = Some(position);
        }
    }
}

/// The kinds of caches that `CLIDR_EL1` lists on the first level.
fn first_level(clidr: u64) -> &'static [CacheKind] {
    match clidr & 7 {
        1 => &[CacheKind::Instruction],
        2 => &[CacheKind::Data],
        3 => &[CacheKind::Data, CacheKind::Instruction],
        4 => &[CacheKind::Unified],
        _ => &[],
    }
}

/// CPU `number`, of which the tree says `cpu`, if anything.
fn describe(number: u32, cpu: Option<&TreeCpu>, clidr: u64) -> CpuDescription {
    let mut description = CpuDescription::default();
    let alone = CpuPosition { core: number, ..CpuPosition::default() };
    description.position = cpu.and_then(|cpu| cpu.position).unwrap_or(alone);
    for &kind in first_level(clidr) {
        let geometry = cpu.and_then(|cpu| {
            let [data, instruction] = cpu.first_level;
            if kind == CacheKind::Instruction { instruction } else { data }
        });
        // There is room: they are two at most.
        let _ = description.caches.try_push(Cache { level: 1, kind, geometry, identifier: None, group: number });
    }
    description.caches.extend(cpu.iter().flat_map(|cpu| cpu.further.iter().copied()));
    description
}

#[cfg(target_os = "none")]
mod machine {
    use super::TreeCpus;
    use crate::arch::aarch64::{Aarch64, processors};
    use crate::arch::cpu_topology::{CpuDescription, Topology};
    use crate::base::CpuId;
    use core::arch::asm;
    use dtoolkit::fdt::Fdt;
    use spin::Mutex;

    static TREE: Mutex<TreeCpus> = Mutex::new(TreeCpus::new_const());

    /// Remembers what the device tree says: once, at boot.
    pub fn note_tree(tree: &[u8]) {
        if let Ok(tree) = Fdt::new(tree) {
            super::read_tree(&tree, &mut TREE.lock());
        }
    }

    impl Topology for Aarch64 {
        fn read_topology(cpu: CpuId) -> CpuDescription {
            let clidr: u64;
            // SAFETY: reads an identification register.
            unsafe { asm!("mrs {}, clidr_el1", out(reg) clidr, options(nomem, nostack, preserves_flags)) };
            let affinity = processors::affinity_of(cpu);
            let tree = TREE.lock();
            let found = tree.iter().find(|entry| Some(entry.affinity) == affinity);
            super::describe(cpu.0, found, clidr)
        }
    }
}
#[cfg(target_os = "none")]
pub use machine::note_tree;

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU's `virt` with `-smp 8,sockets=2,clusters=1,cores=2,threads=2`.
    const EIGHT: &[u8] = include_bytes!("device_tree/virt-8.dtb");

    #[test]
    fn the_map_places_threads_of_cores_of_clusters_of_packages() {
        let mut cpus = TreeCpus::new();
        read_tree(&Fdt::new(EIGHT).unwrap(), &mut cpus);
        let places: Vec<_> = cpus
            .iter()
            .map(|cpu| cpu.position.map(|position| (cpu.affinity, position.package, position.cluster, position.core)))
            .collect();
        let expected: Vec<_> = (0..8).map(|cpu| Some((cpu, cpu as u32 / 4, Some(0), cpu as u32 / 2 % 2))).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn without_a_place_every_cpu_is_a_core() {
        let description = describe(3, None, 0x23);
        assert_eq!(description.position, CpuPosition { core: 3, ..CpuPosition::default() });
        let caches: Vec<_> =
            description.caches.iter().map(|cache| (cache.level, cache.kind.name(), cache.group)).collect();
        assert_eq!(caches, [(1, "Data", 3), (1, "Instruction", 3)]);
        assert!(describe(0, None, 0).caches.is_empty());
    }

    #[test]
    fn a_damaged_tree_does_no_harm() {
        for place in (0..EIGHT.len()).step_by(11) {
            let mut damaged = EIGHT.to_vec();
            damaged[place] ^= 0x5a;
            if let Ok(tree) = Fdt::new(&damaged) {
                read_tree(&tree, &mut TreeCpus::new());
            }
        }
    }
}
