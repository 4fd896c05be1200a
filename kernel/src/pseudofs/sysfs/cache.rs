//! `cpuN/cache`: the caches of a CPU, and which of those that are online share them. What the machine does not say has no file.

use super::topology::mask_width;
use super::{Path, append_mask};
use crate::arch::cpu_topology::{self, Cache, CpuDescription};
use crate::arch::inter_processor;
use crate::fs::inode::Inode;
use crate::fs::pseudo::FixedDirectory;
use crate::pseudofs::append;
use alloc::sync::Arc;

/// The directory.
pub(super) fn directory(path: Path, description: &'static CpuDescription) -> Arc<dyn Inode> {
    let mut entries = FixedDirectory::new();
    for (index, cache) in description.caches.iter().enumerate() {
        let name = alloc::format!("index{index}");
        entries = entries.with(&name, one(path.below(&name), cache));
    }
    path.directory(entries)
}

fn one(path: Path, cache: &'static Cache) -> Arc<dyn Inode> {
    let geometry = cache.geometry;
    let numbers = [
        ("level", Some(u64::from(cache.level))),
        ("id", cache.identifier.map(u64::from)),
        ("coherency_line_size", geometry.map(|geometry| geometry.line_size.into())),
        ("number_of_sets", geometry.map(|geometry| geometry.sets.into())),
        ("ways_of_associativity", geometry.map(|geometry| geometry.ways.into())),
        ("physical_line_partition", geometry.map(|geometry| geometry.partitions.into())),
    ];
    let mut entries =
        FixedDirectory::new().with("type", path.below("type").text(|text| append!(text, "{}\n", cache.kind.name())));
    for (name, value) in numbers {
        if let Some(value) = value {
            entries = entries.with(name, path.below(name).text(move |text| append!(text, "{value}\n")));
        }
    }
    if let Some(geometry) = geometry {
        entries =
            entries.with("size", path.below("size").text(move |text| append!(text, "{}K\n", geometry.size() >> 10)));
    }
    let sharing = || cpu_topology::sharing(cache, inter_processor::online());
    let entries = entries
        .with(
            "shared_cpu_map",
            path.below("shared_cpu_map").text(move |text| append_mask(text, sharing(), mask_width())),
        )
        .with("shared_cpu_list", path.below("shared_cpu_list").text(move |text| append!(text, "{}\n", sharing())));
    path.directory(entries)
}
