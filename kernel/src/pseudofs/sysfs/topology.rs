//! `cpuN/topology`: where a CPU stands, and which of those that are online stand there too.

use super::{Path, append_mask};
use crate::arch::cpu_topology::{self, CpuDescription, Dies, Relation};
use crate::arch::{Current, Topology, inter_processor};
use crate::base::CpuId;
use crate::fs::inode::Inode;
use crate::fs::pseudo::FixedDirectory;
use crate::pseudofs::append;
use alloc::sync::Arc;

/// How many CPUs a mask has digits for.
pub(super) fn mask_width() -> usize {
    inter_processor::possible().last().map_or(1, |last| last.0 as usize + 1)
}

/// The directory.
pub(super) fn directory(path: Path, cpu: CpuId, description: &'static CpuDescription) -> Arc<dyn Inode> {
    let position = &description.position;
    let rules = Current::RULES;
    let cluster = position.cluster.map_or(i64::from(rules.no_cluster), i64::from);
    let has_dies = rules.dies == Dies::Told;
    let mut entries = FixedDirectory::new();
    let numbers = [
        ("physical_package_id", Some(i64::from(position.package))),
        ("die_id", has_dies.then_some(i64::from(position.die))),
        ("cluster_id", Some(cluster)),
        ("core_id", Some(i64::from(position.core))),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            entries = entries.with(name, path.below(name).text(move |text| append!(text, "{value}\n")));
        }
    }
    let sets = [
        ("thread_siblings", Relation::Core),
        ("core_cpus", Relation::Core),
        ("core_siblings", Relation::Package),
        ("package_cpus", Relation::Package),
        ("cluster_cpus", Relation::Cluster),
        ("die_cpus", Relation::Die),
    ];
    for (name, relation) in sets {
        if relation == Relation::Die && !has_dies {
            continue;
        }
        let related = move || cpu_topology::related(cpu, relation, inter_processor::online());
        let list = alloc::format!("{name}_list");
        entries = entries
            .with(name, path.below(name).text(move |text| append_mask(text, related(), mask_width())))
            .with(&list, path.below(&list).text(move |text| append!(text, "{}\n", related())));
    }
    path.directory(entries)
}
