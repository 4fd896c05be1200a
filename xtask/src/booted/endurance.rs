//! The kernel under fire: bad arguments to every system call, and boot after boot with a load in each.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::console::Console;
use super::{Job, Setup, Verdict};
use crate::initramfs::{self, Job as Task, Kernel};
use crate::qemu::{Outcome, TemporaryFile};
use crate::target::Architecture;
use crate::{user_build, workspace};

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
        let content = initramfs::for_job(setup.architecture, setup.system, &setup.packages, &task, &Setup::terminal())?;
        let initrd = TemporaryFile::new("hostile.cpio", &content)?;
        let mut console = Console::start(&setup.machine(initrd.path().to_path_buf()))?;
        let said = console.expect("hostile: done", HOSTILE_LIMIT)?;
        let ended = console.finish(BOOT_LIMIT)?;
        ensure!(ended == Outcome::Exited(0), "the machine ended otherwise: {ended:?}\n{said}");
        for word in ["panicked", "kernel bug"] {
            ensure!(!said.contains(word), "the kernel complained:\n{said}");
        }
        judge_hostile(setup.architecture, calls, &said)
    }))
}

/// Calls that are left out: they end or replace the caller as they should.
const LEFT_OUT: &[&str] = &["exit", "exit_group", "rt_sigreturn"];

/// Every row of the table was called, `calls` times on average at least, and memory in use is what it was: as `said`.
fn judge_hostile(architecture: Architecture, calls: u32, said: &str) -> Result<()> {
    let made = read_counts(said);
    let rows = rows(architecture, &std::fs::read_to_string(workspace::root().join("docs/SYSCALLS.md"))?);
    ensure!(rows.len() > 200, "docs/SYSCALLS.md names {} rows only", rows.len());
    let of_rows = || rows.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    for (name, number) in of_rows() {
        ensure!(made.get(number).is_some_and(|count| *count > 0), "{name} ({number}) was not called");
    }
    let total: u64 = made.values().sum();
    let in_rows: u64 = of_rows().filter_map(|(_, number)| made.get(number)).sum();
    let (count, numbers) = (of_rows().count(), made.len());
    ensure!(in_rows >= u64::from(calls) * count as u64, "{in_rows} calls of {count} rows: fewer than {calls} of each");
    let free: Vec<u64> = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("hostile: free pages before "))
        .context("no count of free pages")?
        .split(" after ")
        .filter_map(|word| word.parse().ok())
        .collect();
    let &[before, after] = free.as_slice() else { bail!("the free pages are not told") };
    ensure!(after + FRAMES_OF_CACHES >= before, "{before} free frames became {after}");
    println!(
        "hostile: {total} calls of {numbers} numbers, {in_rows} of them of {count} rows; free frames {before} before, {after} after"
    );
    Ok(())
}

/// Frames by which caches may have grown since the warm-up round.
const FRAMES_OF_CACHES: u64 = 64;

/// How many calls of each number the program says it made.
fn read_counts(said: &str) -> BTreeMap<u32, u64> {
    let count = |line: &str| {
        let (number, calls) = line.trim().strip_prefix("hostile: number ")?.split_once(" calls ")?;
        Some((number.parse().ok()?, calls.parse().ok()?))
    };
    said.lines().filter_map(count).collect()
}

/// The names and numbers of the system-call table, as its reference tells them.
fn rows(architecture: Architecture, reference: &str) -> Vec<(String, u32)> {
    let word = format!(" {} ", architecture.name());
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix('`')?.split_once('(')?;
        let (_, numbers) = rest.split_once("`:")?;
        let (_, number) = numbers.split_once(&word)?;
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        Some((name.to_owned(), digits.parse().ok()?))
    };
    reference.lines().filter_map(row).collect()
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
        vec![Verdict::of(format!("endurance/boots-{count}"), result)]
    })
}

/// A soak of the kernel's heap on all processors of a machine with four, `operations` on each at a time; what is in use afterwards is what was
/// before.
pub fn heap_soak(operations: u32) -> Job {
    Job::single("endurance/heap-soak", move |setup| {
        if setup.system == Kernel::Linux {
            return Ok(()); // Has no such soak.
        }
        let soak = "/proc/sys/kernel/ashlar_soak";
        let used = "awk 'NR > 2 { sum += $2 * $4 } END { print sum }' /proc/slabinfo";
        let script = format!(
            "round() {{ for cpu in 0 1 2 3; do taskset $((1 << cpu)) sh -c 'echo {operations} > {soak}' || touch /tmp/damaged & done; wait; \
             echo 0 > {soak} || touch /tmp/damaged; }}; round; before=$({used}); round; round; after=$({used}); \
             [ -e /tmp/damaged ] && echo damaged; echo \"used $before before $after after\"; \
             dmesg | grep heap:; slabs=$(awk 'NR > 2 {{ sum += $15 }} END {{ print sum }}' /proc/slabinfo); echo \"slabs $slabs\"; exit 7"
        );
        let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let task = Task::Program(words);
        let content = initramfs::for_job(setup.architecture, setup.system, &setup.packages, &task, &Setup::terminal())?;
        let initrd = TemporaryFile::new("soak.cpio", &content)?;
        let mut configuration = setup.machine(initrd.path().to_path_buf());
        configuration.cpus = 4;
        let mut console = Console::start(&configuration)?;
        let mut said = console.expect("slabs ", SOAK_LIMIT)?;
        let ended = console.finish(BOOT_LIMIT)?;
        ensure!(ended == Outcome::Exited(7), "the machine ended otherwise: {ended:?}\n{said}");
        said.retain(|character| character != '\r');
        let line = said.lines().find(|line| line.starts_with("used ")).context("nothing is told of use")?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[before, after] = numbers.as_slice() else { bail!("use is not told: {line}") };
        println!("heap soak: {before} bytes of slabs in use before, {after} after");
        ensure!(before > 0 && after <= before + BYTES_OF_REST, "{before} bytes in use became {after}\n{said}");
        ensure!(!said.contains("damaged") && !said.contains("heap: "), "the heap complained:\n{said}");
        Ok(())
    })
}

/// How long a soak may take.
const SOAK_LIMIT: Duration = Duration::from_secs(600);
/// Bytes of slabs by which use may differ: what caches of names and the log's readers keep, and magazines that are not empty any more.
const BYTES_OF_REST: u64 = 512 * 1024;

fn boot(setup: &Setup) -> Result<()> {
    let words = ["sh", "-c", &format!("{LOAD}; exit 7")].map(str::to_owned).to_vec();
    let content = initramfs::for_job(
        setup.architecture,
        setup.system,
        &setup.packages,
        &Task::Program(words),
        &Setup::terminal(),
    )?;
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

/// Frames and blocks taken and given back at random on four CPUs at once, `rounds` times on each. Then no two had the same memory, the
/// allocator's tables agree, and as much is free as before.
pub fn frames(rounds: u32) -> Job {
    Job::single("endurance/frames", move |setup| {
        if setup.system == Kernel::Linux {
            return Ok(()); // It has no such thing.
        }
        // The first soak and the first readers of files leave slabs behind that stay.
        let script = format!(
            "f=/proc/sys/kernel/ashlar_frame_soak; m() {{ while read -r k v u; do [ $k = MemFree: ] && echo $v; done < /proc/meminfo; }}; \
             r() {{ for c in 1 2 4 8; do taskset $c sh -c \"echo $1 > $f\" & done; wait; cat $f; }}; \
             r 500; m; cat $f; a=$(m); r {rounds}; b=$(m); cat /proc/buddyinfo; echo free $a $b; echo so''aked"
        );
        let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let task = Task::Program(words);
        let content = initramfs::for_job(setup.architecture, setup.system, &setup.packages, &task, &Setup::terminal())?;
        let initrd = TemporaryFile::new("frames.cpio", &content)?;
        let mut configuration = setup.machine(initrd.path().to_path_buf());
        configuration.cpus = 4;
        let mut console = Console::start(&configuration)?;
        let said = console.expect("soaked", HOSTILE_LIMIT)?;
        let ended = console.finish(BOOT_LIMIT)?;
        ensure!(ended == Outcome::Exited(0), "the machine ended otherwise: {ended:?}\n{said}");
        judge_frames(rounds, &said)
    })
}

/// What a thread's stack and its slabs may take meanwhile, in KiB.
const FRAMES_SLACK: u64 = 256;

fn judge_frames(rounds: u32, said: &str) -> Result<()> {
    let findings = format!("rounds {} wrong 0 inconsistent None", 4 * (u64::from(rounds) + 500));
    ensure!(said.contains(&findings), "not \"{findings}\":\n{said}");
    for word in ["panicked", "kernel bug", "was freed", "was written to while it was free"] {
        ensure!(!said.contains(word), "the kernel complained:\n{said}");
    }
    let line = said.lines().find_map(|line| line.trim().strip_prefix("free ")).context("free memory was not told")?;
    let free: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match free.as_slice() {
        [before, after] if before.abs_diff(*after) <= FRAMES_SLACK => Ok(()),
        _ => bail!("free memory before and after: {free:?}\n{said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_is_judged_by_what_it_found_and_left() {
        let said = "rounds 4000 wrong 0 inconsistent None\r\nfree 1000 1004\r\n";
        assert!(judge_frames(500, said).is_ok());
        assert!(judge_frames(501, said).is_err());
        assert!(judge_frames(500, &said.replace("1004", "2004")).is_err());
    }

    #[test]
    fn the_reference_gives_rows() {
        let text = "### read\n`read(fd, buffer)`: x86_64 0, aarch64 63. Supported.\n`fork()`: x86_64 57. Supported.\n";
        assert_eq!(rows(Architecture::X86_64, text), [("read".to_owned(), 0), ("fork".to_owned(), 57)]);
        assert_eq!(rows(Architecture::Aarch64, text), [("read".to_owned(), 63)]);
        assert_eq!(read_counts("x\nhostile: number 7 calls 400\r\nhostile: 9 calls\n"), [(7, 400)].into());
    }
}
