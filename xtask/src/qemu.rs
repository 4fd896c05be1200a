//! Starting QEMU and learning how the machine ended.
//!
//! With `ashlar.exit=qemu` on its command line the kernel writes the status of process 1 as one byte to port 0xe9, which
//! QEMU puts into a file, and then to `isa-debug-exit` at port 0x501, which ends QEMU with `(value << 1) | 1`: too few bits
//! for a status on its own. Under Linux `/init` writes
//! the byte itself, to a second serial line, and switches the machine off. A panic writes [`PANICKED`] to the second only.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::initramfs::Kernel;
use crate::provision;
use crate::target::{Architecture, Machine};

/// What a panicking kernel writes to `isa-debug-exit`.
pub const PANICKED: i32 = 0x7f;

/// How time passes in the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Clock {
    /// With the host's.
    #[default]
    Real,
    /// One nanosecond per instruction, the same in each run.
    Counted,
}

/// Who executes the machine's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accelerator {
    /// QEMU's translator: works everywhere.
    #[default]
    Emulated,
    /// The host's processor.
    Kvm,
}

/// Who is at the serial line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Serial {
    /// The user, with QEMU's monitor behind Ctrl-A.
    #[default]
    User,
    /// A program, through pipes.
    Pipes,
}

/// A machine to start.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its architecture.
    pub architecture: Architecture,
    /// The board.
    pub machine: Machine,
    /// Further properties of the board, as `,acpi=off`.
    pub machine_properties: String,
    /// The processor model; `None` is the best that the accelerator has.
    pub cpu: Option<String>,
    /// Processors.
    pub cpus: u32,
    /// Memory, as QEMU takes it (`512M`).
    pub memory: String,
    /// Which kernel it is, and so how it tells its status.
    pub system: Kernel,
    /// The kernel file.
    pub kernel: PathBuf,
    /// The initramfs file.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub append: String,
    /// Who executes.
    pub accelerator: Accelerator,
    /// How time passes.
    pub clock: Clock,
    /// Whether to wait for a debugger on port 1234.
    pub debugger: Debugger,
    /// Who is at the serial line.
    pub serial: Serial,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
}

/// Whether a debugger is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Debugger {
    /// No.
    #[default]
    None,
    /// The machine stops before its first instruction until a debugger on TCP port 1234 lets it go.
    Wait,
}

/// How the machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Process 1 ended with this status.
    Exited(u8),
    /// The machine was switched off, or the user ended QEMU.
    PoweredOff,
    /// The kernel panicked.
    Panicked,
    /// Time was up.
    TimedOut,
}

/// A file that goes when its owner goes.
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// A new file with `content` in the system's temporary folder.
    pub fn new(name: &str, content: &[u8]) -> Result<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ashlar-{}-{count}-{name}", std::process::id()));
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A machine that runs; it ends at the latest when this is dropped.
pub struct Emulator {
    /// The QEMU process.
    pub child: Child,
    status_file: TemporaryFile,
    /// Whether QEMU said anything on its standard error; taken when it has ended.
    complaint: Option<std::thread::JoinHandle<bool>>,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Configuration {
    /// QEMU's arguments.
    fn arguments(&self, status_file: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |list: &[&str]| words.extend(list.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-machine", &format!("{}{}", self.machine.name(), self.machine_properties)]);
        let (accelerator, best) = match self.accelerator {
            Accelerator::Emulated => ("tcg", "max"),
            Accelerator::Kvm => ("kvm", "host"),
        };
        add(&["-accel", accelerator, "-cpu", self.cpu.as_deref().unwrap_or(best)]);
        add(&["-smp", &self.cpus.to_string(), "-m", &self.memory]);
        add(&[
            "-kernel",
            &self.kernel.to_string_lossy(),
            "-initrd",
            &self.initrd.to_string_lossy(),
            "-append",
            &self.append,
        ]);
        match self.serial {
            Serial::User => add(&["-serial", "mon:stdio"]),
            Serial::Pipes => add(&["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]),
        }
        add(&["-chardev", &format!("file,id=status,path={}", status_file.display())]);
        match self.system {
            Kernel::Ashlar => {
                add(&["-device", "isa-debugcon,iobase=0xe9,chardev=status"]);
                add(&["-device", "isa-debug-exit,iobase=0x501,iosize=4"]);
            }
            Kernel::Linux => add(&["-serial", "chardev:status"]),
        }
        add(&["-no-reboot"]);
        if self.clock == Clock::Counted {
            add(&["-icount", "shift=0,sleep=off"]);
        }
        if self.debugger == Debugger::Wait {
            add(&["-S", "-gdb", "tcp:127.0.0.1:1234"]);
        }
        words.extend(self.extra.iter().map(OsString::from));
        words
    }

    /// Starts the machine.
    pub fn start(&self) -> Result<Emulator> {
        let emulator = provision::emulator(self.architecture)?;
        let status_file = TemporaryFile::new("status", &[])?;
        let mut command = Command::new(&emulator);
        command.args(self.arguments(status_file.path())).stderr(Stdio::piped());
        if self.serial == Serial::Pipes {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        let mut child = command.spawn().with_context(|| format!("cannot run {}", emulator.display()))?;
        let mut stderr = child.stderr.take().context("no stderr")?;
        let complaint = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            // A message about a signal is only QEMU's farewell.
            let text: Vec<&str> = text.lines().filter(|line| !line.contains("terminating on signal")).collect();
            let mut output = std::io::stderr().lock();
            for line in &text {
                let _ = writeln!(output, "{line}");
            }
            !text.is_empty()
        });
        Ok(Emulator { child, status_file, complaint: Some(complaint) })
    }
}

impl Emulator {
    /// Waits until the machine ends, or ends it when `timeout` is over.
    pub fn wait(self, timeout: Option<Duration>) -> Result<Outcome> {
        self.wait_with_report(timeout).map(|(outcome, _)| outcome)
    }

    /// As [`Self::wait`], with every byte that the kernel wrote to port 0xe9.
    pub fn wait_with_report(mut self, timeout: Option<Duration>) -> Result<(Outcome, Vec<u8>)> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        let status = match end {
            None => self.child.wait()?,
            Some(end) => loop {
                if let Some(status) = self.child.try_wait()? {
                    break status;
                }
                if Instant::now() >= end {
                    self.child.kill()?;
                    self.child.wait()?;
                    return Ok((Outcome::TimedOut, Vec::new()));
                }
                std::thread::sleep(Duration::from_millis(5));
            },
        };
        let report = std::fs::read(self.status_file.path()).unwrap_or_default();
        let complained = self.complaint.take().is_none_or(|thread| thread.join().unwrap_or(true));
        Ok((decode(status, report.last().copied(), complained)?, report))
    }
}

/// What QEMU's exit status means, given the byte that the kernel left and whether QEMU complained.
fn decode(status: ExitStatus, byte: Option<u8>, complained: bool) -> Result<Outcome> {
    match (status.code(), byte) {
        (Some(0), None) => Ok(Outcome::PoweredOff),
        (Some(code), Some(byte)) if code == 0 || code & 1 == 1 => Ok(Outcome::Exited(byte)),
        (Some(code), None) if code == (PANICKED << 1) | 1 => Ok(Outcome::Panicked),
        (Some(1), None) if complained => bail!("QEMU did not start"),
        (Some(code), None) if code & 1 == 1 => Ok(Outcome::Exited(u8::try_from(code >> 1).unwrap_or(u8::MAX))),
        _ => bail!("QEMU ended unexpectedly ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn every_status_survives() {
        for value in 0..=255_u8 {
            let exit = ((i32::from(value) << 1) | 1) & 0xff;
            let outcome = decode(ExitStatus::from_raw(exit << 8), Some(value), false);
            assert_eq!(outcome.unwrap(), Outcome::Exited(value));
        }
        assert!(decode(ExitStatus::from_raw(1 << 8), None, true).is_err());
        assert_eq!(decode(ExitStatus::from_raw(0xff << 8), None, false).unwrap(), Outcome::Panicked);
        assert_eq!(decode(ExitStatus::from_raw(0), None, false).unwrap(), Outcome::PoweredOff);
    }
}
