//! `/sys/devices/system/cpu`: which CPUs there are, and a directory for each.
//!
//! A CPU's directory has `topology` and `cache` while it is online: they say what it has found when it came up. Writing to `online`
//! takes it off line or brings it back.

use super::{FILE_SIZE, Path, Switch, cache, hotplug, node, parse_switch, topology, vulnerabilities};
use crate::arch::inter_processor::{self, Beyond, InterProcessor};
use crate::arch::{Current, Topology, cpu_topology};
use crate::base::{CpuId, CpuMask, Errno, MAXIMUM_CPUS, Result};
use crate::fs::inode::Inode;
use crate::fs::pseudo::{FixedDirectory, Listed, PseudoDirectory, PseudoFile};
use crate::process::secondary;
use crate::pseudofs::append;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Once;

/// The directory.
pub(super) fn directory(path: Path) -> Arc<dyn Inode> {
    let list = |name: &str, read: fn() -> CpuMask| path.below(name).text(move |text| append!(text, "{}\n", read()));
    let mut entries = FixedDirectory::new()
        .with("online", list("online", inter_processor::online))
        .with("possible", list("possible", inter_processor::possible))
        .with("present", list("present", inter_processor::present))
        .with("offline", path.below("offline").text(offline))
        // No CPU is kept from the balance of load, and none is rid of its tick while it runs.
        .with("isolated", list("isolated", || CpuMask::EMPTY))
        .with("nohz_full", list("nohz_full", || CpuMask::EMPTY))
        .with("kernel_max", path.below("kernel_max").text(|text| append!(text, "{}\n", MAXIMUM_CPUS - 1)))
        .with("hotplug", hotplug::directory(path.below("hotplug")))
        .with("smt", threads(path.below("smt")))
        .with("vulnerabilities", vulnerabilities::directory(path.below("vulnerabilities")));
    for cpu in inter_processor::possible() {
        let name = alloc::format!("cpu{}", cpu.0);
        let path = path.below(&name);
        entries = entries.with(&name, path.directory(CpuDirectory::new(path, cpu)));
    }
    path.directory(entries)
}

fn offline(text: &mut Vec<u8>) {
    let possible = inter_processor::possible();
    append!(text, "{}", possible.difference(inter_processor::online()));
    if Current::HOTPLUG.beyond == Beyond::Listed {
        append!(text, "{}", Others { possible: possible.count(), listed: Current::listed_cpus().count() });
    }
    text.push(b'\n');
}

/// The CPUs that firmware lists beyond those that are possible, as Linux's x86 appends them to those off line.
struct Others {
    possible: usize,
    listed: usize,
}

impl core::fmt::Display for Others {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.listed.saturating_sub(self.possible) {
            0 => Ok(()),
            1 => write!(formatter, ",{}", self.possible),
            _ => write!(formatter, ",{}-{}", self.possible, self.listed - 1),
        }
    }
}

/// `smt`: whether cores have several threads.
fn threads(path: Path) -> Arc<dyn Inode> {
    let has_threads = || {
        let online = inter_processor::online();
        online.iter().any(|cpu| cpu_topology::related(cpu, cpu_topology::Relation::Core, online).count() > 1)
    };
    let entries = FixedDirectory::new()
        .with("active", path.below("active").text(move |text| append!(text, "{}\n", u8::from(has_threads()))))
        .with(
            "control",
            path.below("control").text(move |text| {
                let rules = Current::RULES;
                append!(text, "{}\n", if has_threads() { rules.with_threads } else { rules.without_threads });
            }),
        );
    path.directory(entries)
}

/// A CPU's directory.
struct CpuDirectory {
    path: Path,
    cpu: CpuId,
    fixed: FixedDirectory,
    /// What is there while it is online; made when it has been for the first time.
    while_online: Once<FixedDirectory>,
}

impl CpuDirectory {
    fn new(path: Path, cpu: CpuId) -> Self {
        let (node, link) = node::link_of(path, cpu);
        let mut fixed =
            FixedDirectory::new().with(&node, link).with("hotplug", hotplug::of_cpu(path.below("hotplug"), cpu));
        if Current::can_leave(cpu) {
            fixed = fixed.with("online", path.below("online").setting(Online(cpu)));
        }
        Self { path, cpu, fixed, while_online: Once::new() }
    }

    fn while_online(&self) -> Option<&FixedDirectory> {
        if !inter_processor::online().contains(self.cpu) {
            return None;
        }
        let description = cpu_topology::description(self.cpu)?;
        Some(self.while_online.call_once(|| {
            let mut entries = FixedDirectory::new()
                .with("topology", topology::directory(self.path.below("topology"), self.cpu, description));
            if !description.caches.is_empty() {
                entries = entries.with("cache", cache::directory(self.path.below("cache"), description));
            }
            entries
        }))
    }
}

impl PseudoDirectory for CpuDirectory {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let further = || self.while_online().map_or(Err(Errno::ENOENT), |entries| entries.lookup(name));
        self.fixed.lookup(name).or_else(|_| further())
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let mut more = true;
        self.fixed.list(from, &mut |entry| {
            more = add(entry);
            more
        })?;
        let Some(entries) = self.while_online().filter(|_| more) else { return Ok(()) };
        let offset = self.fixed.len() as u64;
        entries
            .list(from.saturating_sub(offset), &mut |entry| add(Listed { position: entry.position + offset, ..entry }))
    }
    fn links(&self) -> u32 {
        4
    }
}

/// `online` of a CPU.
struct Online(CpuId);

impl PseudoFile for Online {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        append!(text, "{}\n", u8::from(inter_processor::online().contains(self.0)));
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        match parse_switch(bytes)? {
            Switch::On => secondary::bring_up(self.0),
            Switch::Off => secondary::take_down(self.0),
        }
    }
    fn size(&self) -> u64 {
        FILE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_beyond_are_a_range() {
        let text = |possible, listed| Others { possible, listed }.to_string();
        assert_eq!((text(1, 4), text(3, 4), text(4, 4)), (",1-3".to_owned(), ",3".to_owned(), String::new()));
    }
}
