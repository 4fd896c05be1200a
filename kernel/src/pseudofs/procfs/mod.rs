//! procfs: processes and the system as files (proc(5)).
//!
//! The root lists the fixed files and a directory per process. Nothing about a process is kept between look-ups.

mod area_listing;
mod area_report;
pub mod descriptors;
mod memory_report;
mod numa_maps;
mod owner;
pub mod process_directory;
pub mod process_report;
pub mod settings;
mod subject;
pub mod system_report;

use super::fixed;
use crate::base::{Errno, Result};
use crate::fs::file_system::Superblock;
use crate::fs::inode::{Inode, LinkTarget};
use crate::fs::pseudo::{self, Attributes, FixedDirectory, Listed, PseudoDirectory, PseudoLink, Text};
use crate::fs::types::{DeviceNumber, FileType};
use crate::process::{Pid, current_process, current_thread, table};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `PROC_SUPER_MAGIC`.
const MAGIC: u64 = 0x9fa0;
/// The root's inode number, as on Linux.
const ROOT: u64 = 1;
/// Positions of processes in the root's listing begin here; fixed entries come before.
const FIRST_PROCESS: u64 = 1000;

/// The one procfs: all mounts show the same processes.
#[must_use]
pub fn superblock() -> Arc<Superblock> {
    static INSTANCE: spin::Once<Arc<Superblock>> = spin::Once::new();
    INSTANCE
        .call_once(|| {
            pseudo::superblock("proc", MAGIC, |device| {
                let root = Root { device, fixed: fixed_entries(device) };
                pseudo::directory(Attributes::new(device, ROOT, 0o555), Arc::new(root))
            })
        })
        .clone()
}

/// Writes a report of the system.
type Report = fn(&mut Vec<u8>);

struct Root {
    device: DeviceNumber,
    fixed: FixedDirectory,
}

impl PseudoDirectory for Root {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if let Some(pid) = parse_pid(name) {
            // A thread that is not its process's first is found too, though not listed.
            let thread = table::find_thread(pid);
            let process = table::find_process(pid).or_else(|| thread.map(|thread| thread.process().clone()));
            return Ok(process_directory::process(self.device, &process.ok_or(Errno::ENOENT)?));
        }
        self.fixed.lookup(name)
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let mut more = true;
        self.fixed.list(from, &mut |entry| {
            more = add(entry);
            more
        })?;
        if !more {
            return Ok(());
        }
        let mut next = Pid::try_from(from.saturating_sub(FIRST_PROCESS)).unwrap_or(Pid::MAX);
        loop {
            let Some(pid) = table::lock().process_from(next).map(|process| process.pid()) else { return Ok(()) };
            let name = alloc::format!("{pid}");
            let number = pseudo::number(ROOT, name.as_bytes());
            let position = FIRST_PROCESS + u64::from(pid.unsigned_abs());
            if !add(Listed { position, name: name.as_bytes(), number, file_type: FileType::Directory }) {
                return Ok(());
            }
            next = pid.saturating_add(1);
        }
    }
}

/// A name that is a process number as procfs writes it: no sign, no leading zero.
fn parse_pid(name: &[u8]) -> Option<Pid> {
    let first = name.first()?;
    if !(b'1'..=b'9').contains(first) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

fn fixed_entries(device: DeviceNumber) -> FixedDirectory {
    let attributes =
        |name: &str, permissions| Attributes::new(device, pseudo::number(ROOT, name.as_bytes()), permissions);
    let link = |name: &str, kind: SelfLink| pseudo::link(attributes(name, 0o777), kind);
    let mut directory = FixedDirectory::new()
        .with("self", link("self", SelfLink::Process))
        .with("thread-self", link("thread-self", SelfLink::Thread))
        .with("mounts", link("mounts", SelfLink::Mounts))
        .with("sys", settings::directory(device, attributes("sys", 0o555)));
    let reports: [(&str, u32, Report); 17] = [
        ("buddyinfo", 0o444, memory_report::buddyinfo),
        ("pagetypeinfo", 0o400, memory_report::pagetypeinfo),
        ("zoneinfo", 0o444, memory_report::zoneinfo),
        ("devices", 0o444, system_report::devices),
        ("misc", 0o444, system_report::misc),
        ("slabinfo", 0o400, system_report::slabinfo),
        ("cpuinfo", 0o444, system_report::cpuinfo),
        ("filesystems", 0o444, system_report::filesystems),
        ("loadavg", 0o444, system_report::loadavg),
        ("meminfo", 0o444, system_report::meminfo),
        ("stat", 0o444, system_report::stat),
        ("uptime", 0o444, system_report::uptime),
        ("version", 0o444, system_report::version),
        ("vmstat", 0o444, system_report::vmstat),
        ("cmdline", 0o444, system_report::command_line),
        ("interrupts", 0o444, system_report::interrupts),
        ("schedstat", 0o444, system_report::schedstat),
    ];
    for (name, permissions, report) in reports {
        let text = Text(move |text: &mut Vec<u8>| {
            report(text);
            Ok(())
        });
        directory = directory.with(name, pseudo::file(attributes(name, permissions), text));
    }
    let texts = [
        ("swaps", system_report::SWAPS),
        ("partitions", system_report::PARTITIONS),
        ("diskstats", ""),
        ("modules", ""),
    ];
    for (name, text) in texts {
        directory = directory.with(name, pseudo::file(attributes(name, 0o444), Text(fixed(text))));
    }
    directory
}

/// Links that depend on who follows them.
#[derive(Clone, Copy)]
enum SelfLink {
    Process,
    Thread,
    Mounts,
}

impl PseudoLink for SelfLink {
    fn target(&self) -> Result<LinkTarget> {
        let text = match self {
            Self::Process => alloc::format!("{}", current_process().pid()),
            Self::Thread => alloc::format!("{}/task/{}", current_process().pid(), current_thread().tid()),
            Self::Mounts => alloc::string::String::from("self/mounts"),
        };
        Ok(LinkTarget::Path(text.into_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_processes() {
        assert_eq!(parse_pid(b"12"), Some(12));
        for name in [&b"012"[..], b"+1", b"1x", b"", b"0", b"99999999999"] {
            assert_eq!(parse_pid(name), None);
        }
    }
}
