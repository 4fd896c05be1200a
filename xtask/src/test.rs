//! `cargo xtask test`: every check there is, and `cargo xtask record`, which makes what some of them compare with.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::booted::{
    self, Setup, applets, command_line, conformance, discs, endurance, examples, faults, latency, machines, processors,
    recorded, sessions, soak, traces, usage, user_programs,
};
use crate::census::{self, CensusOptions};
use crate::docs::{self, DocsOptions};
use crate::initramfs::Kernel;
use crate::progress::show;
use crate::stack::{self, StackOptions};
use crate::target::{Architecture, Profile};
use crate::{kernel_build, layers, orderings, provision, workspace};

/// The architectures that are tested unless one is asked for.
const ARCHITECTURES: &[Architecture] = &[Architecture::X86_64, Architecture::Aarch64];

/// What to test.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub struct TestOptions {
    /// Only this machine architecture; without, each that is tested
    #[arg(long, value_enum)]
    arch: Option<Architecture>,
    /// Processor model of the booted tests, in QEMU's own words; those that are about a model keep theirs
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// Processors of each machine that is booted; those that are about a number keep theirs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Option<u32>,
    /// Only the checks of the sources: format, clippy, layers, stack frames, unsafe census, documents
    #[arg(long)]
    checks: bool,
    /// Only the unit tests, on this host
    #[arg(long)]
    hosted: bool,
    /// Only the tests on the booted kernel
    #[arg(long)]
    booted: bool,
    /// Only booted tests with this text in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Boot the optimised kernel
    #[arg(long)]
    release: bool,
    /// Run the booted tests under Debian's Linux instead, to show that they are right
    #[arg(long, conflicts_with = "release")]
    linux: bool,
    /// Boot that often, one after the other, with a load in each
    #[arg(long, value_name = "N", default_value_t = 20)]
    boots: u32,
    /// How many hostile calls to make of each system call
    #[arg(long, value_name = "N", default_value_t = 200)]
    hostile_calls: u32,
    /// How many objects each processor allocates and frees in each round of the heap's soak
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    soak_operations: u32,
    /// How many seconds the mixed loads of endurance/soak run; none without this
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    soak: Option<u32>,
    /// How many random allocations and releases of frames to make on each of four CPUs
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    frame_rounds: u32,
    /// How many machines run at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
}

impl TestOptions {
    /// How the kernel is built.
    const fn profile(&self) -> Profile {
        if self.release { Profile::Release } else { Profile::Debug }
    }
}

/// What to record.
#[derive(Args, Debug)]
pub struct RecordOptions {
    /// Machine architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Architecture,
    /// Only cases with this text in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// Runs what was asked for, or everything; the status is 1 when something failed.
pub fn run(options: &TestOptions) -> Result<u8> {
    let narrowed = options.booted || options.filter.is_some() || options.linux;
    let everything = !(options.checks || options.hosted || narrowed);
    let architectures = options.arch.map_or(ARCHITECTURES.to_vec(), |architecture| vec![architecture]);
    let mut failures = Vec::new();
    if everything || options.checks {
        failures.extend(checks(&architectures)?);
    }
    if everything || options.hosted {
        failures.extend(check("unit tests", cargo(&["test", "--lib", "--bins", "--quiet"])));
    }
    if everything || narrowed {
        let (mut passed, mut failed) = (0, 0);
        for architecture in &architectures {
            println!("booted tests on {}", architecture.name());
            let counts = run_booted(options, *architecture)?;
            if counts.1 > 0 {
                failures.push(format!("booted tests on {}", architecture.name()));
            }
            (passed, failed) = (passed + counts.0, failed + counts.1);
        }
        if passed + failed == 0 {
            bail!("no booted test has {:?} in its name", options.filter.as_deref().unwrap_or_default());
        }
        println!("\n{passed} passed, {failed} failed");
    }
    if failures.is_empty() {
        return Ok(0);
    }
    println!("failed: {}", failures.join(", "));
    Ok(1)
}

/// Records every applet case under Linux.
pub fn record(options: &RecordOptions) -> Result<u8> {
    provision::emulator(options.arch)?;
    let kernel = provision::linux(options.arch)?;
    let setup = Setup::new(options.arch, Kernel::Linux, kernel);
    let mut count = recorded::APPLETS.record(&setup, options.filter.as_deref())?;
    count += recorded::CLIENTS.record(&setup, options.filter.as_deref())?;
    count += recorded::NUMA.record(&setup, options.filter.as_deref())?;
    if options.filter.as_deref().is_none_or(|word| word.contains("conformance")) {
        count += conformance::record(&setup)?;
    }
    if options.filter.as_deref().is_none_or(|word| word.contains("trace")) {
        count += traces::record(options.arch)?;
    }
    if options.filter.as_deref().is_none_or(|word| word.contains("command-line")) {
        count += command_line::record(&setup)?;
    }
    println!("{count} cases recorded");
    Ok(0)
}

/// Runs the booted tests; gives how many passed and failed.
fn run_booted(options: &TestOptions, architecture: Architecture) -> Result<(usize, usize)> {
    provision::emulator(architecture)?;
    let profile = options.profile();
    let (system, kernel) = if options.linux {
        (Kernel::Linux, provision::linux(architecture)?)
    } else {
        (Kernel::Ashlar, kernel_build::build(architecture, profile)?.bootable)
    };
    let filter = options.filter.as_deref();
    let mut jobs = jobs(options, architecture, filter)?;
    // A processor or a number of them that was asked for takes the place of all variations.
    for variation in
        machines::variations(architecture).iter().filter(|_| options.cpu.is_none() && options.cpus.is_none())
    {
        let inner = filter.map(|word| word.strip_prefix(variation.name).unwrap_or(word).trim_start_matches('/'));
        let mut again = self::jobs(options, architecture, inner)?;
        again.retain(|job| variation.has(&job.name));
        jobs.extend(again.into_iter().map(|job| job.varied(variation)));
    }
    let mut setup = Setup::new(architecture, system, kernel);
    setup.cpu.clone_from(&options.cpu);
    setup.cpus = options.cpus.unwrap_or(1);
    Ok(booted::run(&setup, jobs, usize::from(options.jobs), filter))
}

/// The jobs that `filter` leaves.
fn jobs(options: &TestOptions, architecture: Architecture, filter: Option<&str>) -> Result<Vec<booted::Job>> {
    let mut jobs = recorded::APPLETS.jobs(filter)?;
    jobs.extend(recorded::CLIENTS.jobs(filter)?);
    jobs.extend(recorded::NUMA.jobs(filter)?);
    jobs.extend(conformance::jobs(architecture, filter)?);
    jobs.extend(user_programs::jobs(architecture, filter)?);
    jobs.extend(traces::jobs(architecture, filter)?);
    let endurance = [
        endurance::hostile(architecture, options.hostile_calls)?,
        endurance::boots(options.boots),
        endurance::heap_soak(options.soak_operations),
        endurance::frames(options.frame_rounds),
    ];
    let single = endurance
        .into_iter()
        .chain([applets::job()])
        .chain(options.soak.map(soak::job))
        .chain(sessions::jobs())
        .chain(faults::jobs())
        .chain(latency::jobs(options.profile()))
        .chain(examples::jobs())
        .chain(command_line::jobs())
        .chain(usage::jobs())
        .chain(machines::jobs(architecture))
        .chain(processors::jobs(architecture))
        .chain(discs::jobs(architecture)?);
    jobs.extend(single.filter(|job| filter.is_none_or(|word| job.name.contains(word))));
    Ok(jobs)
}

/// The checks of the sources; gives the names of those that failed.
fn checks(architectures: &[Architecture]) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    failures.extend(check("format", cargo(&["fmt", "--all", "--check"])));
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-Dwarnings"];
    failures.extend(check("clippy on the host", cargo(&clippy)));
    for architecture in architectures {
        let name = format!("clippy on bare {}", architecture.name());
        failures.extend(check(&name, bare_clippy(*architecture)?));
    }
    failures.extend(own_check("layers", layers::run()));
    failures.extend(own_check("orderings", orderings::run()));
    for architecture in architectures {
        let name = format!("stack frames on {}", architecture.name());
        failures.extend(own_check(&name, stack::run(&StackOptions::of(*architecture))));
    }
    failures.extend(own_check("unsafe census", census::run(&CensusOptions::default())));
    failures.extend(check("documents", docs::command(&DocsOptions { check: true })?));
    Ok(failures)
}

/// A check of the tool itself, which has printed what is wrong.
fn own_check(name: &str, result: Result<u8>) -> Option<String> {
    match result {
        Ok(0) => {
            println!("{name}: ok");
            None
        }
        Ok(_) => {
            println!("{name}: FAILED");
            Some(name.to_owned())
        }
        Err(error) => {
            println!("{name}: FAILED ({error:#})");
            Some(name.to_owned())
        }
    }
}

fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()).args(words);
    command
}

fn bare_clippy(architecture: Architecture) -> Result<Command> {
    let mut command = kernel_build::cargo("check", architecture)?;
    command.args(["--package", "ashlar", "--package", "ashlar-kernel"]);
    // A folder of its own: with another compiler wrapper cargo would rebuild what `build` made.
    command.arg("--target-dir").arg(workspace::target().join("clippy"));
    let driver = provision::rust::clippy_driver(&command)?;
    command.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
    Ok(command)
}

/// Runs one check with its output shown; gives its name when it failed.
fn check(name: &str, mut command: Command) -> Option<String> {
    if std::io::stderr().is_terminal() {
        eprintln!("xtask: {name}");
    }
    let result = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{}`", show(&command)));
    match result {
        Ok(status) if status.success() => {
            println!("{name}: ok");
            None
        }
        Ok(_) => {
            println!("{name}: FAILED");
            Some(name.to_owned())
        }
        Err(error) => {
            println!("{name}: FAILED ({error:#})");
            Some(name.to_owned())
        }
    }
}
