//! Where CPUs stand: packages, dies, clusters, cores and threads, and the caches that they share; the same for every machine.
//!
//! A machine says what it knows of *the CPU that asks* ([`Topology::read_topology`]: CPUID, or identification registers and the device tree),
//! because some of it can be read there alone. Each CPU notes that once, before it is online ([`note_this_cpu`]); it stays when the
//! CPU goes off line, for it comes back as the same one. What CPUs have in common is found by comparing ([`related`], [`sharing`]).
//!
//! Nodes are not here: firmware's tables say them, and `memory::numa` reads those.

use super::{Cpu, Current};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS};
use arrayvec::ArrayVec;
use spin::Once;

/// The most caches of a CPU that are noted: more than any has.
pub const MAXIMUM_CACHES: usize = 8;

/// Where a CPU stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuPosition {
    /// Its package (socket).
    pub package: u32,
    /// Its die in the package; equal where the machine has none.
    pub die: u32,
    /// The cluster of cores that share more than the die does, unless the machine says nothing of that.
    pub cluster: Option<u32>,
    /// Its core, inside all of these.
    pub core: u32,
}

/// What a cache holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheKind {
    /// Data.
    Data,
    /// Instructions.
    Instruction,
    /// Both.
    Unified,
}

impl CacheKind {
    /// Linux's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "Data",
            Self::Instruction => "Instruction",
            Self::Unified => "Unified",
        }
    }
}

/// How a cache is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheGeometry {
    /// Bytes of a line.
    pub line_size: u32,
    /// Lines that one tag stands for.
    pub partitions: u32,
    /// Ways of associativity.
    pub ways: u32,
    /// Sets.
    pub sets: u32,
}

impl CacheGeometry {
    /// Its size in bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.line_size as u64 * self.partitions as u64 * self.ways as u64 * self.sets as u64
    }
}

/// A cache of a CPU's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cache {
    /// 1 is the nearest.
    pub level: u8,
    /// What it holds.
    pub kind: CacheKind,
    /// How it is built, where the machine says so.
    pub geometry: Option<CacheGeometry>,
    /// Its number among those of its level and kind, where the machine gives them numbers.
    pub identifier: Option<u32>,
    /// CPUs whose caches of the same level and kind have the same number here share one.
    pub group: u32,
}

/// What is known of a CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CpuDescription {
    /// Where it stands.
    pub position: CpuPosition,
    /// Its caches, the nearest first.
    pub caches: ArrayVec<Cache, MAXIMUM_CACHES>,
}

/// Linux's rules for what stands in `/sys/devices/system/cpu`, where they are a machine's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopologyRules {
    /// What `cluster_id` says where there is none.
    pub no_cluster: i32,
    /// Whether dies are told apart.
    pub dies: Dies,
    /// What `smt/control` says where no core has several threads.
    pub without_threads: &'static str,
    /// What it says where one has.
    pub with_threads: &'static str,
}

/// Whether a machine tells dies apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dies {
    /// `die_id` and its kin are there.
    Told,
    /// They are not.
    Unknown,
}

/// The machine's part.
pub trait Topology {
    /// What is the machine's own in what programs see.
    const RULES: TopologyRules = TopologyRules {
        no_cluster: -1,
        dies: Dies::Unknown,
        without_threads: "notimplemented",
        with_threads: "notimplemented",
    };
    /// What this CPU, which has the number `cpu`, finds of itself. Allocates nothing; any context.
    fn read_topology(cpu: CpuId) -> CpuDescription {
        CpuDescription { position: CpuPosition { core: cpu.0, ..CpuPosition::default() }, ..CpuDescription::default() }
    }
}

static DESCRIPTIONS: [Once<CpuDescription>; MAXIMUM_CPUS] = [const { Once::new() }; MAXIMUM_CPUS];

/// Notes what this CPU finds of itself: before it is online.
pub fn note_this_cpu() {
    let cpu = Current::id();
    if let Some(place) = DESCRIPTIONS.get(cpu.0 as usize) {
        place.call_once(|| Current::read_topology(cpu));
    }
}

/// What `cpu` has found; `None` before it has been online.
#[must_use]
pub fn description(cpu: CpuId) -> Option<&'static CpuDescription> {
    DESCRIPTIONS.get(cpu.0 as usize)?.get()
}

/// What CPUs can have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// The core: they are its threads.
    Core,
    /// The cluster.
    Cluster,
    /// The die.
    Die,
    /// The package.
    Package,
}

impl Relation {
    /// Whether two positions have this in common.
    #[must_use]
    pub fn holds(self, one: &CpuPosition, other: &CpuPosition) -> bool {
        let same_package = one.package == other.package;
        let same_die = same_package && one.die == other.die;
        let same_cluster = same_die && one.cluster == other.cluster;
        match self {
            Self::Package => same_package,
            Self::Die => same_die,
            Self::Cluster => same_cluster && (one.cluster.is_some() || one.core == other.core),
            Self::Core => same_cluster && one.core == other.core,
        }
    }
}

/// The CPUs of `among` that have `relation` with `cpu`, itself included if it is one of them.
#[must_use]
pub fn related(cpu: CpuId, relation: Relation, among: CpuMask) -> CpuMask {
    let Some(own) = description(cpu) else { return CpuMask::EMPTY };
    among
        .iter()
        .filter(|other| description(*other).is_some_and(|other| relation.holds(&own.position, &other.position)))
        .collect()
}

/// The CPUs of `among` that share `cache`, which is one of `cpu`'s.
#[must_use]
pub fn sharing(cache: &Cache, among: CpuMask) -> CpuMask {
    let has = |description: &CpuDescription| {
        description
            .caches
            .iter()
            .any(|other| (other.level, other.kind, other.group) == (cache.level, cache.kind, cache.group))
    };
    among.iter().filter(|other| description(*other).is_some_and(has)).collect()
}

/// The group of the last-level cache of `cpu`: CPUs of the same number exchange data without leaving their caches. Where nothing
/// is known of caches that are shared, the package stands for it.
#[must_use]
pub fn last_level_group(cpu: CpuId) -> u32 {
    let Some(own) = description(cpu) else { return 0 };
    let shared = own.caches.iter().rfind(|cache| cache.level > 1);
    shared.map_or(own.position.package, |cache| cache.group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_is_shared_only_where_the_outside_is() {
        let at = |package, die, cluster, core| CpuPosition { package, die, cluster, core };
        let one = at(0, 0, Some(1), 2);
        for (other, relations) in [
            (at(0, 0, Some(1), 2), [true; 4]),
            (at(0, 0, Some(1), 3), [true, true, true, false]),
            (at(0, 0, Some(2), 2), [true, true, false, false]),
            (at(0, 1, Some(1), 2), [true, false, false, false]),
            (at(1, 0, Some(1), 2), [false; 4]),
        ] {
            let found = [Relation::Package, Relation::Die, Relation::Cluster, Relation::Core]
                .map(|relation| relation.holds(&one, &other));
            assert_eq!(found, relations, "{other:?}");
        }
    }

    #[test]
    fn without_clusters_a_core_is_its_own() {
        let at = |core| CpuPosition { core, ..CpuPosition::default() };
        assert!(Relation::Cluster.holds(&at(1), &at(1)) && !Relation::Cluster.holds(&at(1), &at(2)));
    }

    #[test]
    fn a_size_is_the_product_of_its_parts() {
        let geometry = CacheGeometry { line_size: 64, partitions: 1, ways: 16, sets: 512 };
        assert_eq!(geometry.size(), 512 << 10);
    }
}
