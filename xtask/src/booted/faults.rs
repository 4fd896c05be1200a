//! Bugs in the kernel, committed on demand: the thread that hits one ends and the machine goes on; under a spinlock, and only there, it
//! stops.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::console::Console;
use super::{Job, Setup};
use crate::initramfs::{self, Job as Task, Kernel};
use crate::qemu::{Outcome, TemporaryFile};
use crate::target::Architecture;

const PATIENCE: Duration = Duration::from_secs(60);

/// A word for `/proc/sys/kernel/ashlar_provoke`, what the kernel says about it, and what its backtrace names.
const BUGS: [(&str, &str, &str); 5] = [
    ("panic", "provoked", DISPATCH),
    ("wild-read", "kernel page fault: read", DISPATCH),
    ("write-text", "kernel page fault: write", DISPATCH),
    ("execute-data", "kernel page fault: fetch", DISPATCH),
    // A backtrace of a full stack does not go back to where it began.
    ("stack-overflow", "kernel stack overflow", "provoke::recurse"),
];

/// A word for a bug that goes unpunished, what a guarded heap says about it, and whether the object had been freed.
const HEAP_BUGS: [(&str, &str, Freed); 3] = [
    ("heap-double-free", "was freed twice", Freed::Before),
    ("heap-overrun", "was overrun", Freed::Never),
    ("heap-use-after-free", "was written to after it was freed", Freed::Before),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Freed {
    Before,
    Never,
}

/// Where every system call comes by.
const DISPATCH: &str = "ashlar_kernel::syscall::dispatch";

/// The jobs.
pub fn jobs() -> Vec<Job> {
    let mut jobs: Vec<Job> = BUGS
        .into_iter()
        .map(|(word, says, shows)| {
            Job::single(&format!("faults/{word}"), move |setup| one_ends(setup, word, says, shows))
        })
        .collect();
    jobs.extend(HEAP_BUGS.into_iter().map(|(word, says, freed)| {
        Job::single(&format!("faults/{word}"), move |setup| heap_bug(setup, word, says, freed))
    }));
    jobs.push(Job::single("faults/locked-panic", |setup| {
        let script = "echo locked-panic > /proc/sys/kernel/ashlar_provoke; echo alive";
        let (said, ended) = boot(setup, script, "provoked under a spinlock")?;
        ensure!(ended == Outcome::Panicked, "the machine ended otherwise: {ended:?}\n{said}");
        Ok(())
    }));
    jobs.push(Job::single("faults/a-frame-that-is-freed-twice", |setup| {
        let script =
            "echo 8 > /proc/sys/kernel/printk; echo double-free > /proc/sys/kernel/ashlar_provoke; echo al''ive";
        let (said, _) = boot(setup, script, "alive")?;
        if setup.system == Kernel::Linux {
            return Ok(()); // It has no such thing.
        }
        let shows = |text: &str| -> Result<()> {
            ensure!(said.contains(text), "{text} was not said:\n{said}");
            Ok(())
        };
        shows("(order 0) was freed twice")?;
        shows("provoke::free_twice")?;
        // Release builds do not note who freed a frame.
        if said.contains("it was freed before by:") {
            shows("provoke::free_first")?;
        }
        Ok(())
    }));
    jobs.push(Job::single("faults/last-words-of-a-bug-under-a-lock", |setup| {
        let script = "sh -c 'echo locked-panic > /proc/sys/kernel/ashlar_provoke'";
        last_words(setup, script, "provoked under a spinlock\n", &["provoke::commit", DISPATCH])
    }));
    jobs.push(Job::single("faults/last-words-of-a-fault-in-init", |setup| {
        let script = "echo wild-read > /proc/sys/kernel/ashlar_provoke";
        last_words(setup, script, "kernel bug: kernel page fault: read", &["provoke::commit", DISPATCH])
    }));
    jobs.push(Job::single("faults/last-words-of-the-end-of-init", |setup| {
        last_words(setup, "exit 3", "Attempted to kill init! exitcode=0x00000300\n", &["exit::end_of_init", DISPATCH])
    }));
    jobs
}

/// Boots to run `script` and waits until `text` was said; gives what was said before, and how the machine ended.
fn boot(setup: &Setup, script: &str, text: &str) -> Result<(String, Outcome)> {
    if setup.system == Kernel::Linux {
        return Ok((String::new(), Outcome::Panicked));
    }
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    let content = initramfs::for_job(
        setup.architecture,
        setup.system,
        &setup.packages,
        &Task::Program(words),
        &Setup::terminal(),
    )?;
    let initrd = TemporaryFile::new("fault.cpio", &content)?;
    let mut console = Console::start(&setup.machine(initrd.path().to_path_buf()))?;
    let said = console.expect(text, PATIENCE)?;
    Ok((said, console.finish(PATIENCE)?))
}

/// Lets process 1 run `script`, which ends in a panic that says `reason`: who ran, the registers, the functions `named` in the backtrace, and
/// the end of the log are told before the machine ends.
fn last_words(setup: &Setup, script: &str, reason: &str, named: &[&str]) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // Has no such bugs, and tells them in its own way.
    }
    let script = initramfs::init_script(setup.architecture, Kernel::Ashlar, script, &Setup::terminal());
    let mut archive = initramfs::base(setup.architecture, &setup.packages)?;
    archive.file("init", 0o755, script.as_bytes());
    let initrd = TemporaryFile::new("last-words.cpio", &archive.finish())?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    // As on a machine without an emulator's way to be told: the end of process 1 is a panic, and a panic reboots.
    configuration.append = configuration.append.replace("ashlar.exit=qemu", "panic=-1");
    let mut console = Console::start(&configuration)?;
    console.expect("Kernel panic - not syncing: ", PATIENCE)?;
    let said = console.expect("---[ end Kernel panic ]---", PATIENCE)?;
    let ended = console.finish(PATIENCE)?;
    ensure!(ended == Outcome::PoweredOff, "the machine ended otherwise: {ended:?}\n{said}");
    ensure!(said.starts_with(reason), "the reason is another:\n{said}");
    let register = match setup.architecture {
        Architecture::X86_64 => "  rip ",
        Architecture::Aarch64 => "  pc ",
    };
    let parts = ["at ", "running: Thread(", register, "backtrace:", "last messages:", "Run /init as init process"];
    for part in parts.iter().chain(named) {
        ensure!(said.contains(part), "nothing is said of {part:?}:\n{said}");
    }
    Ok(())
}

/// The heap tells of a misuse with the ways that the object was allocated and freed, and goes on. Kernels without guards
/// refuse to commit it.
fn heap_bug(setup: &Setup, word: &str, says: &str, freed: Freed) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // It has other ways to be provoked.
    }
    let script = format!(
        "echo {word} > /proc/sys/kernel/ashlar_provoke || echo unguarded; dmesg | grep -A 30 'heap: '; \
         seq 100 | sort -rn | head -1 | sed s/^/alive-/"
    );
    let (said, ended) = boot(setup, &script, "alive-100")?;
    ensure!(ended == Outcome::Exited(0), "the machine ended otherwise: {ended:?}\n{said}");
    if !said.contains("unguarded") {
        let mut parts = vec![says, "allocated by:", "provoke::misuse_heap", DISPATCH];
        if freed == Freed::Before {
            parts.push("freed by:");
        }
        for part in parts {
            ensure!(said.contains(part), "nothing is said of {part:?}:\n{said}");
        }
    }
    Ok(())
}

fn one_ends(setup: &Setup, word: &str, says: &str, shows: &str) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // It has other ways to be provoked.
    }
    let script = format!(
        "sh -c 'echo {word} > /proc/sys/kernel/ashlar_provoke; echo went on'; [ $? -gt 128 ] || exit 9; \
         dmesg | grep -q '{says}' || exit 8; dmesg | grep -q '{shows}' || exit 7; \
         seq 100 | sort -rn | head -1 | sed s/^/alive-/"
    );
    let (said, ended) = boot(setup, &script, "alive-100")?;
    ensure!(ended == Outcome::Exited(0), "the machine ended otherwise: {ended:?}\n{said}");
    Ok(())
}
