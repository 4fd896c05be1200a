//! The kernel under fire: bad arguments to every system call, and boot after boot with a load in each.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::console::Console;
use super::{Job, Setup, Verdict};
use crate::initramfs::{self, Job as Task, Kernel};
use crate::qemu::{Outcome, TemporaryFile};
use crate::target::Architecture;
use crate::user_build;

/// How long the hostile program may take.
const HOSTILE_LIMIT: Duration = Duration::from_secs(900);
/// How long one boot with its load may take.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// A load of forks, programs and pipes; its last line is only right when each part was.
const LOAD: &str = "i=0; while [ $i -lt 10 ]; do x=$(seq 200 | sort -rn | head -1 | cat); [ \"$x\" = 200 ] || exit 1; i=$((i + 1)); done; \
    for j in 1 2 3 4; do (seq 500 | md5sum > /tmp/sum$j) & done; wait; cat /tmp/sum* | sort -u | wc -l";

/// The hostile-argument job, with `calls` calls of each number.
pub fn hostile(architecture: Architecture, calls: u32) -> Result<Job> {
    let programs = user_build::build(architecture)?;
    let program = programs.get("hostile").context("user/ has no hostile")?.display().to_string();
    Ok(Job::single("endurance/hostile-arguments", move |setup| {
        let task = Task::Program(vec![program, calls.to_string()]);
        let content = initramfs::for_job(setup.architecture, setup.system, &task, &Setup::terminal())?;
        let initrd = TemporaryFile::new("hostile.cpio", &content)?;
        let mut console = Console::start(&setup.machine(initrd.path().to_path_buf()))?;
        let said = console.expect("hostile: done", HOSTILE_LIMIT)?;
        let ended = console.finish(BOOT_LIMIT)?;
        ensure!(ended == Outcome::Exited(0), "the machine ended otherwise: {ended:?}\n{said}");
        for word in ["panicked", "kernel bug"] {
            ensure!(!said.contains(word), "the kernel complained:\n{said}");
        }
        Ok(())
    }))
}

/// `count` boots one after the other, each with a load.
pub fn boots(count: u32) -> Job {
    Job::new("endurance/boots", move |setup| {
        let result = (|| {
            for number in 1..=count {
                boot(setup).with_context(|| format!("boot {number} of {count}"))?;
            }
            Ok(())
        })();
        vec![Verdict::of(format!("endurance/{count}-boots"), result)]
    })
}

fn boot(setup: &Setup) -> Result<()> {
    let words = ["sh", "-c", &format!("{LOAD}; exit 7")].map(str::to_owned).to_vec();
    let content = initramfs::for_job(setup.architecture, setup.system, &Task::Program(words), &Setup::terminal())?;
    let initrd = TemporaryFile::new("boot.cpio", &content)?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    if setup.system == Kernel::Ashlar {
        "64M".clone_into(&mut configuration.memory);
    }
    let mut console = Console::start(&configuration)?;
    console.expect("1\r\n", BOOT_LIMIT)?;
    match console.finish(BOOT_LIMIT)? {
        Outcome::Exited(7) => Ok(()),
        other => bail!("the machine ended otherwise: {other:?}"),
    }
}
