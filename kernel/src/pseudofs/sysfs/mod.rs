//! sysfs: its root and the CPU and node directories that tools read.

use super::append;
use crate::arch::inter_processor;
use crate::base::Result;
use crate::fs::file_system::Superblock;
use crate::fs::inode::Inode;
use crate::fs::pseudo::{self, Attributes, FixedDirectory, PseudoFile};
use crate::fs::types::DeviceNumber;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `SYSFS_MAGIC`.
const MAGIC: u64 = 0x6265_6572;
const ROOT: u64 = 1;
/// What sysfs says is the length of every file.
const FILE_SIZE: u64 = 4096;

/// The one sysfs.
#[must_use]
pub fn superblock() -> Arc<Superblock> {
    static INSTANCE: spin::Once<Arc<Superblock>> = spin::Once::new();
    INSTANCE.call_once(|| pseudo::superblock("sysfs", MAGIC, root)).clone()
}

fn root(device: DeviceNumber) -> Arc<dyn Inode> {
    let empty = |names: &[&str]| directory(device, names, FixedDirectory::new());
    let cpus = &["devices", "system", "cpu"];
    let mut cpu = FixedDirectory::new();
    for (name, set) in [("online", CpuSet::Online), ("possible", CpuSet::Possible), ("present", CpuSet::Possible)] {
        cpu = cpu.with(name, file(device, cpus, name, set));
    }
    for number in inter_processor::possible() {
        let name = alloc::format!("cpu{}", number.0);
        cpu = cpu.with(&name, directory(device, &["devices", "system", "cpu", &name], FixedDirectory::new()));
    }
    let system = FixedDirectory::new().with("cpu", directory(device, cpus, cpu));
    let devices = FixedDirectory::new().with("system", directory(device, &["devices", "system"], system));
    let entries = FixedDirectory::new()
        .with("block", empty(&["block"]))
        .with("bus", empty(&["bus"]))
        .with("class", empty(&["class"]))
        .with("dev", empty(&["dev"]))
        .with("devices", directory(device, &["devices"], devices))
        .with("firmware", empty(&["firmware"]))
        .with("fs", empty(&["fs"]))
        .with("kernel", empty(&["kernel"]))
        .with("module", empty(&["module"]))
        .with("power", empty(&["power"]));
    pseudo::directory(Attributes::new(device, ROOT, 0o555), Arc::new(entries))
}

/// The inode number of a path.
fn number(path: &[&str]) -> u64 {
    path.iter().fold(ROOT, |parent, name| pseudo::number(parent, name.as_bytes()))
}

fn directory(device: DeviceNumber, path: &[&str], entries: FixedDirectory) -> Arc<dyn Inode> {
    pseudo::directory(Attributes::new(device, number(path), 0o755), Arc::new(entries))
}

fn file(device: DeviceNumber, parent: &[&str], name: &str, file: impl PseudoFile) -> Arc<dyn Inode> {
    pseudo::file(Attributes::new(device, pseudo::number(number(parent), name.as_bytes()), 0o444), file)
}

/// Which CPUs a file lists.
#[derive(Clone, Copy)]
enum CpuSet {
    /// Those that run.
    Online,
    /// Those that there are; no further ones can be plugged in.
    Possible,
}

impl PseudoFile for CpuSet {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        let mask = match self {
            Self::Online => inter_processor::online(),
            Self::Possible => inter_processor::possible(),
        };
        append!(text, "{mask}\n");
        Ok(())
    }
    fn size(&self) -> u64 {
        FILE_SIZE
    }
}
