//! Many small scripts in one machine: each in a fresh folder, its output and status brought back over the serial line.
//!
//! When the machine dies or hangs in a script, that script has failed and another machine goes on with the next one.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Setup;
use super::console::Console;
use crate::cpio::Archive;
use crate::initramfs::{self, Kernel};
use crate::numa;
use crate::qemu::{Boot, TemporaryFile};

/// How many seconds a small script may take.
pub const LIMIT: u64 = 30;
/// How long the host waits for a machine to get to its first script.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// The same where the emulator itself needs ten seconds for firmware and boot loader, on a host that is not busy.
const SLOW_BOOT_LIMIT: Duration = Duration::from_secs(240);
/// How long it waits between two scripts, and for the end.
const PAUSE: Duration = Duration::from_secs(30);
/// After so many dead machines in one batch the rest of it is given up.
const MOST_DEATHS: u32 = 5;

/// A script to run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in its batch, of letters, digits and hyphens.
    pub name: String,
    /// The shell's input.
    pub script: String,
    /// The longest that it may take, in seconds of the machine's clock; the host waits twice as long, as emulation may be slow.
    pub limit: u64,
}

/// What came of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It ended.
    Ended {
        /// What it printed, both streams together.
        output: String,
        /// Its exit status; 137 also when it took too long.
        status: u32,
    },
    /// The machine died, hung or did not boot; what it printed last.
    Lost(String),
}

/// Runs the scripts in order. `prepare` adds to the file tree what they need.
pub fn run(setup: &Setup, cases: &[Case], prepare: impl Fn(&mut Archive)) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut deaths = 0;
    while answers.len() < cases.len() && deaths < MOST_DEATHS {
        let rest = cases.get(answers.len()..).unwrap_or_default();
        let done = run_once(setup, rest, &prepare, &mut answers)?;
        deaths += u32::from(done == End::Died);
    }
    answers.resize(cases.len(), Answer::Lost("not run: too many machines died before it".to_owned()));
    Ok(answers)
}

/// How one machine's part went.
#[derive(PartialEq, Eq)]
enum End {
    Finished,
    Died,
}

fn run_once(setup: &Setup, cases: &[Case], prepare: impl Fn(&mut Archive), answers: &mut Vec<Answer>) -> Result<End> {
    let content = archive(setup, cases, prepare)?;
    let initrd = TemporaryFile::new("batch.cpio", &content)?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    let usual = match setup.system {
        Kernel::Ashlar => 256,
        // Linux compares ill with a small machine: it needs more for itself.
        Kernel::Linux => 512,
    };
    configuration.memory = format!("{}M", initramfs::memory_for(content.len() as u64, usual));
    if let Some(nodes) = setup.nodes {
        configuration.extra.extend(numa::arguments(
            nodes,
            &configuration.memory,
            configuration.cpus,
            &setup.distances,
        )?);
    }
    let mut console = Console::start(&configuration)?;
    let mut limit = if setup.boot == Boot::Bochs { SLOW_BOOT_LIMIT } else { BOOT_LIMIT };
    for case in cases {
        match one(&mut console, case, limit) {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                answers.push(Answer::Lost(format!("{error:#}")));
                let _ = console.finish(Duration::ZERO);
                return Ok(End::Died);
            }
        }
        limit = PAUSE;
    }
    let _ = console.finish(PAUSE);
    Ok(End::Finished)
}

fn one(console: &mut Console, case: &Case, limit: Duration) -> Result<Answer> {
    console.expect(&format!("@@@ begin {}\r\n", case.name), limit)?;
    let output = console.expect(&format!("@@@ end {} ", case.name), Duration::from_secs(2 * case.limit))?;
    let status = console.expect("\r\n", Duration::from_secs(10))?;
    Ok(Answer::Ended { output, status: status.trim().parse().context("no status")? })
}

/// The file tree: the scripts in `/cases`, and an `/init` that runs them on a controlling terminal.
fn archive(setup: &Setup, cases: &[Case], prepare: impl Fn(&mut Archive)) -> Result<Vec<u8>> {
    let mut archive = initramfs::base(setup.architecture, &setup.packages)?;
    for case in cases {
        archive.file(&format!("cases/{}", case.name), 0o644, case.script.as_bytes());
    }
    // Linux with several processors switches off before the serial line has sent all.
    let drain = if setup.system == Kernel::Linux { "sleep 1\n" } else { "" };
    let names: Vec<String> = cases.iter().map(|case| format!("{}:{}", case.name, case.limit)).collect();
    let runner = format!(
        "for case in {names}; do\n\
         \tname=${{case%:*}}\n\
         \tcd /; rm -rf /tmp/case /tmp/out; mkdir /tmp/case; cd /tmp/case\n\
         \techo \"@@@ begin $name\"\n\
         \ttimeout -s KILL ${{case#*:}} sh /cases/$name >/tmp/out 2>&1 </dev/null\n\
         \tstatus=$?\n\
         \tcat /tmp/out\n\
         \techo \"@@@ end $name $status\"\n\
         done\n{drain}",
        names = names.join(" "),
    );
    archive.file("run-cases", 0o755, runner.as_bytes());
    let tty = setup.architecture.serial_console();
    let action =
        format!("dmesg -n 1 2>/dev/null\nexport LC_ALL=C\nsetsid -c sh /run-cases </dev/{tty} >/dev/{tty} 2>&1");
    let script = initramfs::init_script(setup.architecture, setup.system, &action, &Setup::terminal());
    archive.file("init", 0o755, script.as_bytes());
    prepare(&mut archive);
    Ok(archive.finish())
}
