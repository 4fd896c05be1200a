//! Tests on the booted kernel.
//!
//! A [`Job`] boots one or more machines and gives a [`Verdict`] per thing tested; jobs run side by side. Three kinds of job exist:
//! *batches* run many small scripts in one machine and compare what they print ([`batch`]): the cases of busybox's applets and of
//! Debian's packages against Linux's recording ([`recorded`], [`applets`]), as the conformance cases ([`conformance`]), our own programs against the host's Linux ([`user_programs`]); *sessions* type
//! at a shell ([`sessions`]); *machines* boot every board with every way to end ([`machines`]);
//! *discs* boot from the image that `cargo xtask iso` makes, with BIOS, with UEFI and in Bochs ([`discs`]);
//! the words of the command line have machines of their own ([`command_line`]); mistakes in what the tool is asked for need none ([`usage`]);
//! *traces* compare the call tracer's lines with strace's ([`traces`]);
//! *examples* run what the documents show ([`examples`]); *endurance* boots again and again, and makes hundreds of thousands of bad calls ([`endurance`]);
//! the *soak* has mixed loads run on eight processors ([`soak`]).
//!
//! Every job also runs on Debian's Linux in the same QEMU ([`Setup::system`]), which shows that the test itself is right.

pub mod applet_census;
pub mod applets;
pub mod batch;
pub mod command_line;
pub mod conformance;
pub mod console;
pub mod discs;
pub mod endurance;
pub mod examples;
pub mod faults;
pub mod latency;
pub mod machines;
pub mod processors;
pub mod recorded;
pub mod sessions;
pub mod soak;
pub mod traces;
pub mod transcripts;
pub mod usage;
pub mod user_programs;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::machines::Variation;
use crate::initramfs::{Kernel, Terminal};
use crate::numa::Distance;
use crate::provision::packages::PackageName;
use crate::qemu::{Accelerator, Boot, Clock, Configuration, Debugger, Serial};
use crate::target::Architecture;

/// The architecture whose recordings of Linux are the common ones; those of another hold what Linux does otherwise there.
pub const RECORDED_IN_COMMON: Architecture = Architecture::X86_64;

/// What every job needs to boot machines.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The machine's architecture.
    pub architecture: Architecture,
    /// Which kernel.
    pub system: Kernel,
    /// Its file.
    pub kernel: PathBuf,
    /// The processor model, where a job does not ask for one itself; `None` is the best.
    pub cpu: Option<String>,
    /// Properties of the board, likewise.
    pub machine_properties: String,
    /// Processors, likewise.
    pub cpus: u32,
    /// How the kernel gets into the machine, likewise.
    pub boot: Boot,
    /// Debian packages that the machines have; none, but for jobs that name some.
    pub packages: Vec<PackageName>,
    /// NUMA nodes of the machines in which scripts run, likewise.
    pub nodes: Option<u32>,
    /// How far they are from each other.
    pub distances: Vec<Distance>,
}

/// How one thing tested went.
#[derive(Debug)]
pub struct Verdict {
    /// Its name, `group/name`.
    pub name: String,
    /// Nothing, or what was wrong.
    pub result: Result<(), String>,
}

impl Verdict {
    /// A verdict of an action that can fail.
    pub fn of(name: impl Into<String>, result: Result<()>) -> Self {
        Self { name: name.into(), result: result.map_err(|error| format!("{error:#}")) }
    }
}

/// What a job does.
type Work = Box<dyn FnOnce(&Setup) -> Vec<Verdict> + Send>;

/// Something that boots machines and judges.
pub struct Job {
    /// What is shown while it runs; also what `--filter` is matched with, beside the verdicts' names.
    pub name: String,
    /// Does it.
    pub work: Work,
}

impl Job {
    /// A job that judges several things.
    pub fn new(name: impl Into<String>, work: impl FnOnce(&Setup) -> Vec<Verdict> + Send + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }

    /// A job that judges one thing, itself.
    pub fn single(name: &str, work: impl FnOnce(&Setup) -> Result<()> + Send + 'static) -> Self {
        let named = name.to_owned();
        Self::new(name, move |setup| vec![Verdict::of(named, work(setup))])
    }
}

impl Job {
    /// The same on another processor and board.
    pub fn varied(self, variation: &'static Variation) -> Self {
        self.on(variation.name, |setup| {
            setup.cpu = Some(variation.cpu.to_owned());
            variation.properties.clone_into(&mut setup.machine_properties);
            setup.cpus = variation.cpus;
        })
    }

    /// The same on other machines, with a prefix for the names of its tests.
    pub fn on(self, prefix: &'static str, change: impl FnOnce(&mut Setup) + Send + 'static) -> Self {
        let work = self.work;
        Self::new(format!("{prefix}/{}", self.name), move |setup| {
            let mut setup = setup.clone();
            change(&mut setup);
            let mut verdicts = work(&setup);
            for verdict in &mut verdicts {
                verdict.name = format!("{prefix}/{}", verdict.name);
            }
            verdicts
        })
    }
}

impl Setup {
    /// The architecture's first board and best processor.
    pub fn new(architecture: Architecture, system: Kernel, kernel: PathBuf) -> Self {
        Self {
            architecture,
            system,
            kernel,
            cpu: None,
            machine_properties: String::new(),
            cpus: 1,
            boot: Boot::Direct,
            packages: Vec::new(),
            nodes: None,
            distances: Vec::new(),
        }
    }

    /// A machine with `initrd` whose serial line is ours; callers change what they want otherwise.
    pub fn machine(&self, initrd: PathBuf) -> Configuration {
        let console = self.architecture.serial_console();
        let own = match self.system {
            Kernel::Ashlar => "ashlar.exit=qemu",
            Kernel::Linux => "panic=-1",
        };
        Configuration {
            architecture: self.architecture,
            machine: self.architecture.board(),
            machine_properties: self.machine_properties.clone(),
            cpu: self.cpu.clone(),
            cpus: self.cpus,
            memory: "256M".to_owned(),
            boot: self.boot,
            system: self.system,
            kernel: self.kernel.clone(),
            initrd,
            append: format!("console={console} rdinit=/init quiet {own}"),
            accelerator: Accelerator::Emulated,
            clock: Clock::Real,
            debugger: Debugger::None,
            serial: Serial::Pipes,
            extra: Vec::new(),
        }
    }

    /// The terminal that scripts and sessions are told they have.
    pub fn terminal() -> Terminal {
        Terminal { kind: "vt100".to_owned(), size: Some((80, 24)) }
    }
}

/// Writes a recording; one that says nothing has no file.
fn write_recording(file: &Path, text: &str) -> Result<()> {
    if text.is_empty() {
        let _ = std::fs::remove_file(file);
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

/// Runs `jobs`, `workers` at a time, printing each verdict that is bad as it comes; gives how many passed and failed.
pub fn run(setup: &Setup, jobs: Vec<Job>, workers: usize, filter: Option<&str>) -> (usize, usize) {
    let queue = Mutex::new(VecDeque::from(jobs));
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(job) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else { break };
                    let start = Instant::now();
                    let mut found = (job.work)(setup);
                    found.retain(|verdict| filter.is_none_or(|word| verdict.name.contains(word)));
                    report(&job.name, &found, start.elapsed());
                    if let Ok(mut verdicts) = verdicts.lock() {
                        verdicts.extend(found);
                    }
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap_or_default();
    let failed: Vec<_> = verdicts.iter().filter(|verdict| verdict.result.is_err()).collect();
    if !failed.is_empty() {
        println!("failed:");
        for verdict in &failed {
            println!("  {}", verdict.name);
        }
    }
    (verdicts.len() - failed.len(), failed.len())
}

fn report(job: &str, verdicts: &[Verdict], time: Duration) {
    let failed = verdicts.iter().filter(|verdict| verdict.result.is_err()).count();
    let mut text = format!("{job}: {} ok, {failed} failed ({:.1} s)\n", verdicts.len() - failed, time.as_secs_f64());
    for verdict in verdicts {
        if let Err(reason) = &verdict.result {
            text.push_str(&format!("  FAILED {}\n", verdict.name));
            for line in reason.lines().take(40) {
                text.push_str(&format!("    {line}\n"));
            }
        }
    }
    print!("{text}");
}
