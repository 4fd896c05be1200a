//! The kernel's own measure of how long interrupts and preemption are off: it finds a section that is long on purpose, on one CPU and on several, and says
//! what an ordinary load comes to.

use anyhow::{Context, Result, ensure};

use super::console::Console;
use super::machines::expect;
use super::{Job, Setup};
use crate::initramfs::{self, Job as Task, Kernel};
use crate::qemu::{Outcome, TemporaryFile};
use crate::target::Profile;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const SETTING: &str = "/proc/sys/kernel/ashlar_latency";
/// What `provoke::LONG` is, in nanoseconds.
const LONG: u64 = 20_000_000;
/// A shorter section than this nobody could measure.
const SHORT: u64 = 20;

/// The jobs, for a kernel of this profile: an optimised one cannot measure, and says so.
pub fn jobs(profile: Profile) -> Vec<Job> {
    if profile == Profile::Release {
        return vec![Job::single("latency/refused", refused)];
    }
    [1, 4]
        .into_iter()
        .map(|cpus| Job::single(&format!("latency/{cpus}-cpus"), move |setup| measures(setup, cpus)))
        .collect()
}

/// A line of the report.
#[derive(PartialEq, Eq, Debug)]
struct Line {
    cpu: u32,
    kind: String,
    nanoseconds: u64,
    /// Where it began and ended.
    places: String,
}

/// Reads `cpu0 interrupts off for 123 ns from PLACE < CALLER to PLACE < CALLER`.
fn parse(line: &str) -> Option<Line> {
    let (cpu, rest) = line.trim().strip_prefix("cpu")?.split_once(' ')?;
    let (kind, rest) = rest.split_once(" off for ")?;
    let (nanoseconds, places) = rest.split_once(" ns from ")?;
    Some(Line {
        cpu: cpu.parse().ok()?,
        kind: kind.to_owned(),
        nanoseconds: nanoseconds.parse().ok()?,
        places: places.to_owned(),
    })
}

fn refused(setup: &Setup) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(());
    }
    let script = format!("echo on > {SETTING}; cat {SETTING}");
    let output = "sh: write error: Operation not supported\noff\n";
    expect(setup, &script, output, Outcome::Exited(0), |_| ())
}

fn measures(setup: &Setup, cpus: u32) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(()); // Has its own tracer, and Debian's kernel is built without it.
    }
    let script = format!(
        "cat {SETTING}; echo maybe > {SETTING} && echo accepted
         echo provoked
         for attempt in 1 2 3 4 5 6 7 8; do
            echo on > {SETTING}
            for section in interrupts preemption; do echo long-$section-off > /proc/sys/kernel/ashlar_provoke; done
            cat {SETTING}
         done
         echo on > {SETTING}
         for round in 1 2 3 4; do (seq 3000 | sort -rn | md5sum; find /proc | wc -l; ls -lR / | sort | wc -c) > /dev/null 2>&1 & done; wait
         echo loaded; cat {SETTING}; echo off > {SETTING}; head -n 1 {SETTING}; echo the-end"
    );
    let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let task = Task::Program(words);
    let content = initramfs::for_job(setup.architecture, setup.system, &setup.packages, &task, &Setup::terminal())?;
    let initrd = TemporaryFile::new("latency.cpio", &content)?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    configuration.cpus = cpus;
    let mut console = Console::start(&configuration)?;
    let said = console.expect("the-end", PATIENCE)?;
    console.finish(PATIENCE)?;
    let (before, rest) = said.split_once("provoked\n").context("nothing was provoked")?;
    let (provoked, loaded) = rest.split_once("loaded\n").context("the load did not end")?;
    ensure!(before.contains("off") && !before.contains("accepted"), "it begins otherwise:\n{before}");
    let lines = |text: &str| text.lines().filter_map(parse).collect::<Vec<_>>();
    for kind in ["interrupts", "preemption"] {
        // Where the host lets the emulator wait, another section may be longer still; not each time.
        let is_provoked = |line: &Line| line.kind == kind && line.places.matches("provoke::commit").count() >= 2;
        let found = lines(provoked).into_iter().find(is_provoked);
        let found = found.with_context(|| format!("no long {kind} in\n{provoked}"))?;
        ensure!(found.nanoseconds >= LONG, "it is longer than {found:?}");
    }
    let after = lines(loaded);
    for cpu in 0..cpus {
        for kind in ["interrupts", "preemption"] {
            let found = after.iter().find(|line| line.cpu == cpu && line.kind == kind);
            let found = found.with_context(|| format!("no {kind} of CPU {cpu} in\n{loaded}"))?;
            ensure!(found.nanoseconds >= SHORT, "{found:?}");
        }
    }
    ensure!(loaded.trim_end().ends_with("off"), "it was not switched off:\n{loaded}");
    if std::env::var_os("ASHLAR_SHOW_LATENCY").is_some() {
        println!("{loaded}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = parse("cpu1 preemption off for 12 ns from a::b+0x4 < c+0x8 to d+0x1 < e+0x2\r").unwrap();
        assert_eq!((line.cpu, line.kind.as_str(), line.nanoseconds), (1, "preemption", 12));
        assert!(line.places.ends_with("e+0x2"));
        assert_eq!(parse("on"), None);
    }
}
