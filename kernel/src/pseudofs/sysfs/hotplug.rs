//! `/sys/devices/system/cpu/hotplug` and `cpuN/hotplug`: the states that a CPU goes through, and where it is.
//!
//! Linux numbers each step between off line and on line, differently in each version and configuration, and its tools read the names. Here there are the two ends:
//! what lies between them is done in one piece and cannot be stopped at. (`fail`, with which Linux's developers have a step fail, is absent.)

use super::{FILE_SIZE, Path};
use crate::arch::inter_processor;
use crate::base::{CpuId, Errno, Result};
use crate::fs::inode::Inode;
use crate::fs::pseudo::{FixedDirectory, PseudoFile};
use crate::process::secondary;
use crate::pseudofs::{append, parse_number};
use alloc::sync::Arc;
use alloc::vec::Vec;

const OFFLINE: u32 = 0;
const ONLINE: u32 = 1;

fn state_of(cpu: CpuId) -> u32 {
    if inter_processor::online().contains(cpu) { ONLINE } else { OFFLINE }
}

/// `hotplug`.
pub(super) fn directory(path: Path) -> Arc<dyn Inode> {
    let states = [(OFFLINE, "offline"), (ONLINE, "online")];
    let text = move |text: &mut Vec<u8>| states.iter().for_each(|(number, name)| append!(text, "{number:3}: {name}\n"));
    path.directory(FixedDirectory::new().with("states", path.below("states").text(text)))
}

/// `cpuN/hotplug`.
pub(super) fn of_cpu(path: Path, cpu: CpuId) -> Arc<dyn Inode> {
    let state = path.below("state").text(move |text| append!(text, "{}\n", state_of(cpu)));
    path.directory(FixedDirectory::new().with("state", state).with("target", path.below("target").setting(Target(cpu))))
}

/// Where the CPU is to go, and is: nobody sees it on its way.
struct Target(CpuId);

impl PseudoFile for Target {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        append!(text, "{}\n", state_of(self.0));
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        match parse_number::<u32>(bytes)? {
            OFFLINE => secondary::take_down(self.0),
            ONLINE => secondary::bring_up(self.0),
            _ => Err(Errno::EINVAL),
        }
    }
    fn size(&self) -> u64 {
        FILE_SIZE
    }
}
