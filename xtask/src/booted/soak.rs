//! The soak: mixed loads on eight processors for as long as was asked for, on a kernel that checks its locks' ranks; nothing hangs, and the
//! memory in use afterwards is what it was before. The loads are `tests/soak.sh`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::console::Console;
use super::{Job, Setup};
use crate::initramfs::{self, Job as Task, Kernel};
use crate::provision::packages::PackageName;
use crate::qemu::{Outcome, TemporaryFile};
use crate::workspace;

/// Its processors.
const CPUS: u32 = 8;
/// How long the machine may take beside the loads' time, and without printing a line.
const PATIENCE: Duration = Duration::from_secs(240);
/// The rounds after which a line is printed take this many times what they should at most, where the host is busy.
const SLOWNESS: u32 = 4;
/// KiB that what does not go back may have grown by, 40 frames: lists that stay as long as they ever were, and slabs that what lives on keeps.
///
/// | frames | what |
/// |---|---|
/// | 8 | the process table's list of chunks has 2 KiB once numbers were above 16,384; the heap's list cuts that size out of 8 frames |
/// | 6 | the registry of address spaces: two lists of 8 bytes for each of the most spaces at a time, up to 1,024 |
/// | 9 | the first process's children and zombies, and the members of its group, likewise |
/// | 17 | for each class of the heap a slab more with objects that outlast the soak: they lie where there was room when they were made |
///
/// Measured in all: 32 frames after 1,800 s on x86_64, 24 after 1,500 s on aarch64. The shares are reckoned from the sizes and growth of the lists, not
/// counted: a census of the heap after 100 s showed these lists, and 3 frames.
const GROWN: u64 = 160;

/// The job, with `seconds` of loads.
pub fn job(seconds: u32) -> Job {
    Job::single("endurance/soak", move |setup| soak(setup, seconds))
}

fn soak(setup: &Setup, seconds: u32) -> Result<()> {
    let packages = vec![PackageName::parse("stress-ng").map_err(anyhow::Error::msg)?];
    let script = std::fs::read_to_string(workspace::root().join("tests/soak.sh")).context("no tests/soak.sh")?;
    let words = ["sh", "-c", &script, "soak", &seconds.to_string()].map(str::to_owned).to_vec();
    let task = Task::Program(words);
    let content = initramfs::for_job(setup.architecture, setup.system, &packages, &task, &Setup::terminal())?;
    let initrd = TemporaryFile::new("soak.cpio", &content)?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    configuration.cpus = CPUS;
    configuration.memory = format!("{}M", initramfs::memory_for(content.len() as u64, 1024));
    let mut console = Console::start(&configuration)?;
    let said = console.expect("soak: done", PATIENCE + Duration::from_secs(seconds.into()) * SLOWNESS)?;
    let ended = console.finish(PATIENCE)?;
    ensure!(ended == Outcome::Exited(0), "the machine ended otherwise: {ended:?}\n{said}");
    for word in ["panicked", "kernel bug"] {
        ensure!(!said.contains(word), "the kernel complained:\n{said}");
    }
    let Totals { rounds, before, after } = Totals::read(&said).with_context(|| format!("no totals in:\n{said}"))?;
    // Linux's caches are its own affair.
    ensure!(setup.system == Kernel::Linux || after + GROWN >= before, "{before} KiB free became {after}");
    println!("soak: {rounds} rounds in {seconds} s; KiB free {before} before, {after} after");
    Ok(())
}

/// What the script says at its end.
#[derive(PartialEq, Eq, Debug)]
struct Totals {
    rounds: u64,
    before: u64,
    after: u64,
}

impl Totals {
    /// From the line `soak: N rounds, KiB free before N after N`.
    fn read(said: &str) -> Option<Self> {
        let line =
            said.lines().find_map(|line| line.strip_prefix("soak: ")?.split_once(" rounds, KiB free before "))?;
        let (before, after) = line.1.split_once(" after ")?;
        let (before, after) = (before.parse().ok()?, after.trim().parse().ok()?);
        Some(Self { rounds: line.0.parse().ok()?, before, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_read() {
        let said = "soak: round 20\nsoak: 6 rounds, KiB free before 934016 after 933360\n";
        assert_eq!(Totals::read(said), Some(Totals { rounds: 6, before: 934_016, after: 933_360 }));
        assert_eq!(Totals::read("soak: 6 rounds\n"), None);
    }
}
