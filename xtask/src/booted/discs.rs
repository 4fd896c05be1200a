//! Booting from the image that `cargo xtask iso` makes: under BIOS and UEFI in QEMU, and in Bochs.
//!
//! `iso/*` is quick: GRUB hands over what was given, and nothing of it overlaps. `bochs/*` is the short form of the booted suite on two processors
//! that have what QEMU's translator lacks: PCID, INVPCID, x2APIC, the TSC-deadline timer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::console::Console;
use super::recorded::APPLETS;
use super::{Job, Setup, Verdict, conformance};
use crate::cpio::Archive;
use crate::initramfs::{self, Job as Task, Kernel};
use crate::qemu::{Boot, Configuration, Outcome, TemporaryFile};
use crate::target::{Architecture, Machine};

/// UEFI's firmware takes some seconds of it, Bochs ten.
const PATIENCE: Duration = Duration::from_secs(90);

/// The jobs.
pub fn jobs(architecture: Architecture) -> Result<Vec<Job>> {
    if architecture != Architecture::X86_64 {
        return Ok(Vec::new());
    }
    let mut jobs = disc_jobs();
    jobs.push(Job::single("bochs/features", bochs_features));
    let mut suite = vec![Job::new("conformance", |setup| {
        conformance::together(setup).unwrap_or_else(|error| vec![Verdict::of("conformance", Err(error))])
    })];
    suite.extend(APPLETS.jobs(Some("applets/shell"))?);
    jobs.extend(suite.into_iter().map(in_bochs));
    Ok(jobs)
}

/// The same in Bochs, on two processors; Linux takes minutes to start there.
fn in_bochs(job: Job) -> Job {
    let Job { name, work } = job;
    let work = |setup: &Setup| if setup.system == Kernel::Linux { Vec::new() } else { work(setup) };
    Job::new(name, work).on("bochs", |setup| {
        setup.boot = Boot::Bochs;
        setup.cpu = None;
        setup.cpus = 2;
    })
}

fn disc_jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (name, boot, machine, cpu) in [
        ("iso/bios-q35", Boot::Bios, Machine::Q35, "max"),
        ("iso/bios-pc", Boot::Bios, Machine::Pc, "qemu64"),
        ("iso/uefi-q35", Boot::Uefi, Machine::Q35, "max"),
        ("iso/uefi-pc", Boot::Uefi, Machine::Pc, "qemu64"),
    ] {
        jobs.push(Job::single(name, move |setup| {
            let script = "echo \"$word\" \"$price\"; exit 42";
            expect(setup, boot, script, "a b $5;\n", Outcome::Exited(42), |configuration| {
                configuration.machine = machine;
                configuration.cpu = Some(cpu.to_owned());
                configuration.append.push_str(" word=\"a b\" price=$5;");
            })
        }));
    }
    for (name, boot) in [("iso/bios-large-initramfs", Boot::Bios), ("iso/uefi-large-initramfs", Boot::Uefi)] {
        jobs.push(Job::single(name, move |setup| large(setup, boot)));
    }
    for (name, boot) in [("iso/bios-cpus-4", Boot::Bios), ("iso/uefi-cpus-4", Boot::Uefi)] {
        jobs.push(Job::single(name, move |setup| {
            expect(setup, boot, &work(4), "4\n300\n300\n300\n300\n", Outcome::Exited(0), |configuration| {
                configuration.cpus = 4;
            })
        }));
    }
    for (name, boot) in [("iso/bios-moved", Boot::Bios), ("iso/uefi-moved", Boot::Uefi)] {
        jobs.push(Job::single(name, move |setup| moved(setup, boot)));
    }
    jobs.push(Job::single("iso/uefi-memory-6G", |setup| {
        let script = "awk '/MemTotal/ { print ($2 > 6000000) }' /proc/meminfo";
        // A processor that maps all of it with smaller pages, for which tables are made.
        expect(setup, Boot::Uefi, script, "1\n", Outcome::Exited(0), |configuration| {
            configuration.cpu = Some("qemu64".to_owned());
            "6G".clone_into(&mut configuration.memory);
        })
    }));
    jobs
}

/// An initramfs so large that it lies where a small one would not: none of it is lost.
fn large(setup: &Setup, boot: Boot) -> Result<()> {
    const SIZE: usize = 24 << 20;
    // The same noise twice: what is overwritten once differs.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.take(SIZE / 4).flatten().collect();
    let mut archive = initramfs::for_job(
        setup.architecture,
        setup.system,
        &setup.packages,
        &task("cmp /one /two && echo same"),
        &Setup::terminal(),
    )?;
    let mut more = Archive::new();
    more.file("one", 0o644, &noise);
    more.file("two", 0o644, &noise);
    archive.extend_from_slice(&more.finish());
    expect_with(setup, boot, &archive, "same\n", Outcome::Exited(0), |_| ())
}

/// Where GRUB may not put the kernel to where it was linked to be loaded, it puts it elsewhere, and all works: other processors, too.
fn moved(setup: &Setup, boot: Boot) -> Result<()> {
    const LOWEST: u32 = 48 << 20;
    if setup.system == Kernel::Linux {
        return Ok(());
    }
    // The header's tag about moving: type and flags, size, lowest address.
    let tag = |lowest: u32| [[10, 0, 1, 0], [24, 0, 0, 0], lowest.to_le_bytes()].concat();
    let mut kernel = std::fs::read(&setup.kernel).context("cannot read the kernel")?;
    let place = kernel.windows(12).position(|bytes| bytes == tag(2 << 20)).context("the kernel has no such tag")?;
    kernel.get_mut(place..place + 12).context("cut off")?.copy_from_slice(&tag(LOWEST));
    let kernel = TemporaryFile::new("moved", &kernel)?;
    let script = format!("dmesg | grep -o 'Kernel image at 0x3[0-9a-f]*'; {}", work(2));
    let output = "Kernel image at 0x3001000\n2\n300\n300\n";
    expect(setup, boot, &script, output, Outcome::Exited(0), |configuration| {
        kernel.path().clone_into(&mut configuration.kernel);
        configuration.cpus = 2;
    })
}

/// The processors are the ones meant, both run, and the kernel found what they have.
fn bochs_features(setup: &Setup) -> Result<()> {
    if setup.system == Kernel::Linux {
        return Ok(());
    }
    let found = "dmesg | tr ' ' '\\n' | grep -x -e PCID -e X2APIC -e TSC_DEADLINE -e INVPCID";
    let script = format!("{found}; {}", work(2));
    let output = "PCID\nX2APIC\nTSC_DEADLINE\nINVPCID\n2\n300\n300\n";
    expect(setup, Boot::Bochs, &script, output, Outcome::PoweredOff, |configuration| {
        configuration.cpu = None;
        configuration.cpus = 2;
    })
}

/// A script for something that each of so many processors has a part in.
fn work(cpus: u32) -> String {
    let numbers: Vec<String> = (0..cpus).map(|number| number.to_string()).collect();
    format!("nproc; for i in {}; do (seq 300 | sort -rn | head -1) & done; wait", numbers.join(" "))
}

/// Boots from a disc to run `script`, and checks what it printed and how the machine ended.
fn expect(
    setup: &Setup,
    boot: Boot,
    script: &str,
    output: &str,
    outcome: Outcome,
    change: impl FnOnce(&mut Configuration),
) -> Result<()> {
    let archive =
        initramfs::for_job(setup.architecture, setup.system, &setup.packages, &task(script), &Setup::terminal())?;
    expect_with(setup, boot, &archive, output, outcome, change)
}

fn task(script: &str) -> Task {
    Task::Program(["sh", "-c", &format!("echo MARK; {script}")].map(str::to_owned).to_vec())
}

fn expect_with(
    setup: &Setup,
    boot: Boot,
    initrd: &[u8],
    output: &str,
    outcome: Outcome,
    change: impl FnOnce(&mut Configuration),
) -> Result<()> {
    let initrd = TemporaryFile::new("disc.cpio", initrd)?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    configuration.boot = boot;
    change(&mut configuration);
    let mut console = Console::start(&configuration)?;
    console.expect("MARK\r\n", PATIENCE)?;
    let output = output.replace('\n', "\r\n");
    let before = console.expect(&output, PATIENCE)?;
    ensure!(before.is_empty(), "printed before what was expected: {before}");
    let ended = console.finish(PATIENCE)?;
    ensure!(ended == outcome, "the machine ended otherwise: {ended:?}, expected {outcome:?}");
    Ok(())
}
