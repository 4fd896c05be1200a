//! Starting QEMU and learning how the machine ended.
//!
//! With `ashlar.exit=qemu` on its command line the kernel tells QEMU the status of process 1 twice: as one byte that QEMU puts
//! into a file, then as a number that ends QEMU. A panic tells the number only, [`PANICKED`].
//!
//! | | byte to the file | number that ends QEMU |
//! |---|---|---|
//! | x86_64 | port 0xe9 | `isa-debug-exit` at port 0x501: QEMU's status is `(number << 1) \| 1`, too few bits on its own |
//! | aarch64 | semihosting call 0x03 (`SYS_WRITEC`, the byte's address in x1) | semihosting call 0x20 (`SYS_EXIT_EXTENDED`, x1: address of `0x20026, number`) |
//!
//! Under Linux `/init` writes the byte itself, to a second serial line, and switches the machine off.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::initramfs::Kernel;
use crate::iso::Disc;
use crate::spin_table::{Board, Release};
use crate::target::{Architecture, Machine};
use crate::{bochs, provision};

/// The number that a panicking kernel ends QEMU with.
pub const PANICKED: i32 = 0x7f;

/// How time passes in the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Clock {
    /// With the host's.
    #[default]
    Real,
    /// With the instructions executed, the same in each run: one tick of the counter that programs can read per instruction.
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

/// How the kernel gets into the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Boot {
    /// QEMU lays kernel and initramfs into memory.
    #[default]
    Direct,
    /// From a disc, by BIOS and GRUB.
    Bios,
    /// From a disc, by UEFI and GRUB.
    Uefi,
    /// As [`Self::Bios`], in the place of QEMU in Bochs ([`crate::bochs`]).
    Bochs,
    /// In memory, by firmware without PSCI ([`crate::spin_table`]): `virt` alone, with a GICv2.
    SpinTable(Release),
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
    /// How the kernel gets into it.
    pub boot: Boot,
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

/// Where the kernel is when the machine starts.
enum Medium {
    /// In memory.
    Memory,
    /// On a disc, which this firmware boots; `None` is QEMU's own BIOS.
    Disc { image: PathBuf, firmware: Option<PathBuf> },
    /// In memory, laid there by these arguments.
    Laid(Vec<String>),
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
#[derive(Debug)]
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
    /// The emulator's process.
    pub child: Child,
    model: Model,
    /// What it boots from.
    _files: Vec<TemporaryFile>,
}

/// Which emulator it is, and what belongs to it.
enum Model {
    Qemu {
        architecture: Architecture,
        status_file: TemporaryFile,
        /// Whether QEMU said anything on its standard error; taken when it has ended.
        complaint: Option<JoinHandle<bool>>,
    },
    Bochs {
        files: bochs::Files,
        serial: TcpStream,
    },
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Configuration {
    /// QEMU's arguments.
    fn arguments(&self, status_file: &Path, medium: &Medium) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |list: &[&str]| words.extend(list.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-machine", &format!("{}{}", self.machine.name(), self.properties())]);
        let (accelerator, best) = match (self.accelerator, self.architecture) {
            (Accelerator::Kvm, _) => ("kvm", "host"),
            (Accelerator::Emulated, Architecture::X86_64) => ("tcg", "max"),
            // Pointer authentication by the algorithm of the architecture halves the speed of emulation.
            (Accelerator::Emulated, Architecture::Aarch64) => ("tcg", "max,pauth-impdef=on"),
        };
        add(&["-accel", accelerator, "-cpu", self.cpu.as_deref().unwrap_or(best)]);
        add(&["-smp", &self.cpus.to_string(), "-m", &self.memory]);
        match medium {
            Medium::Memory => {
                let (kernel, initrd) = (self.kernel.to_string_lossy(), self.initrd.to_string_lossy());
                add(&["-kernel", &kernel, "-initrd", &initrd, "-append", &self.append]);
            }
            Medium::Disc { image, firmware } => {
                add(&["-cdrom", &image.to_string_lossy()]);
                if let Some(firmware) = firmware {
                    add(&["-bios", &firmware.to_string_lossy()]);
                }
            }
            Medium::Laid(arguments) => add(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
        }
        match self.serial {
            Serial::User => add(&["-serial", "mon:stdio"]),
            Serial::Pipes => add(&["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]),
        }
        add(&["-chardev", &format!("file,id=status,path={}", status_file.display())]);
        match (self.system, self.architecture) {
            (Kernel::Ashlar, Architecture::X86_64) => {
                add(&["-device", "isa-debugcon,iobase=0xe9,chardev=status"]);
                add(&["-device", "isa-debug-exit,iobase=0x501,iosize=4"]);
            }
            (Kernel::Ashlar, Architecture::Aarch64) => {
                add(&["-semihosting-config", "enable=on,target=native,chardev=status"]);
            }
            (Kernel::Linux, Architecture::X86_64) => add(&["-serial", "chardev:status"]),
            (Kernel::Linux, Architecture::Aarch64) => add(&["-device", "pci-serial,chardev=status"]),
        }
        add(&["-no-reboot"]);
        if self.clock == Clock::Counted {
            add(&["-icount", &format!("shift={},sleep=off", self.architecture.counting_shift())]);
            // What the processor draws as random and the date that the clock chip has are the same in each run too.
            add(&["-seed", "1", "-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
        }
        if self.debugger == Debugger::Wait {
            add(&["-S", "-gdb", "tcp:127.0.0.1:1234"]);
        }
        words.extend(self.extra.iter().map(OsString::from));
        words
    }

    /// The board's properties, with the interrupt controller that has no limit of eight processors unless another is asked for.
    fn properties(&self) -> String {
        let chosen = self.machine_properties.contains("gic-version=");
        match (self.machine, self.accelerator) {
            (Machine::Virt, Accelerator::Emulated) if !chosen => format!(",gic-version=3{}", self.machine_properties),
            (Machine::Virt, Accelerator::Kvm) if !chosen => format!(",gic-version=host{}", self.machine_properties),
            _ => self.machine_properties.clone(),
        }
    }

    /// Starts the machine.
    pub fn start(&self) -> Result<Emulator> {
        if self.boot == Boot::Direct {
            return self.start_qemu(&Medium::Memory, Vec::new());
        }
        if let Boot::SpinTable(release) = self.boot {
            let board = self.board(release)?;
            let medium = Medium::Laid(board.arguments(&self.kernel, &self.initrd));
            return self.start_qemu(&medium, board.into_files());
        }
        let file = TemporaryFile::new("disc.iso", &[])?;
        let disc = Disc { system: self.system, kernel: &self.kernel, initrd: &self.initrd, command_line: &self.append };
        disc.make(file.path())?;
        let firmware = if self.boot == Boot::Uefi { Some(provision::uefi()?) } else { None };
        let image = file.path().to_path_buf();
        if self.boot != Boot::Bochs {
            return self.start_qemu(&Medium::Disc { image, firmware }, vec![file]);
        }
        let memory = self.memory.strip_suffix('M').and_then(|memory| memory.parse().ok());
        let memory = memory.with_context(|| format!("Bochs has memory in whole MiB, not {}", self.memory))?;
        let machine = bochs::Machine { cpu: self.cpu.as_deref(), cpus: self.cpus, memory, disc: &image };
        let (child, serial, files) = machine.start()?;
        Ok(Emulator { child, model: Model::Bochs { files, serial }, _files: vec![file] })
    }

    /// The files of a board without PSCI, whose CPUs and memory are this machine's.
    fn board(&self, release: Release) -> Result<Board> {
        let machine = format!("{}{}", self.machine.name(), self.properties());
        let cpu = self.cpu.as_deref().unwrap_or("max");
        let cpus = self.cpus.to_string();
        let words = ["-machine", &machine, "-cpu", cpu, "-smp", &cpus, "-m", &self.memory];
        let initramfs = std::fs::metadata(&self.initrd)?.len();
        Board::prepare(&provision::emulator(self.architecture)?, &words, release, initramfs, &self.append)
    }

    fn start_qemu(&self, medium: &Medium, files: Vec<TemporaryFile>) -> Result<Emulator> {
        let emulator = provision::emulator(self.architecture)?;
        let status_file = TemporaryFile::new("status", &[])?;
        let mut command = Command::new(&emulator);
        command.args(self.arguments(status_file.path(), medium)).stderr(Stdio::piped());
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
        let model = Model::Qemu { architecture: self.architecture, status_file, complaint: Some(complaint) };
        Ok(Emulator { child, model, _files: files })
    }
}

/// A machine's serial line: what is typed, and what it prints.
pub struct SerialLine {
    /// Its input.
    pub input: Box<dyn Write + Send>,
    /// Its output.
    pub output: Box<dyn Read + Send>,
}

impl Emulator {
    /// The serial line, where it is not the user's; once.
    pub fn serial_line(&mut self) -> Result<SerialLine> {
        if let Model::Bochs { serial, .. } = &self.model {
            return Ok(SerialLine { input: Box::new(serial.try_clone()?), output: Box::new(serial.try_clone()?) });
        }
        let input = self.child.stdin.take().context("no pipe to QEMU")?;
        let output = self.child.stdout.take().context("no pipe from QEMU")?;
        Ok(SerialLine { input: Box::new(input), output: Box::new(output) })
    }

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
        match &mut self.model {
            Model::Qemu { architecture, status_file, complaint } => {
                let report = std::fs::read(status_file.path()).unwrap_or_default();
                let complained = complaint.take().is_none_or(|thread| thread.join().unwrap_or(true));
                Ok((decode(*architecture, status, report.last().copied(), complained)?, report))
            }
            Model::Bochs { files, .. } if files.say_switched_off() => Ok((Outcome::PoweredOff, Vec::new())),
            Model::Bochs { .. } => bail!("Bochs ended unexpectedly ({status})"),
        }
    }
}

/// What QEMU's exit status means, given the byte that the kernel left and whether QEMU complained.
fn decode(architecture: Architecture, status: ExitStatus, byte: Option<u8>, complained: bool) -> Result<Outcome> {
    // The number that the kernel ended QEMU with, if it did.
    let number = match (architecture, status.code()) {
        (_, Some(0)) => None,
        (Architecture::X86_64, Some(code)) if code & 1 == 1 => Some(code >> 1),
        (Architecture::Aarch64, Some(code)) => Some(code),
        _ => bail!("QEMU ended unexpectedly ({status})"),
    };
    match (number, byte) {
        (_, Some(byte)) => Ok(Outcome::Exited(byte)),
        (None, None) => Ok(Outcome::PoweredOff),
        (Some(PANICKED), None) => Ok(Outcome::Panicked),
        (Some(_), None) if complained && status.code() == Some(1) => bail!("QEMU did not start"),
        (Some(number), None) => Ok(Outcome::Exited(u8::try_from(number).unwrap_or(u8::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn every_status_survives() {
        let ended = |architecture, code: i32, byte| decode(architecture, ExitStatus::from_raw(code << 8), byte, false);
        for value in 0..=255_u8 {
            let pc = ended(Architecture::X86_64, ((i32::from(value) << 1) | 1) & 0xff, Some(value));
            assert_eq!(pc.unwrap(), Outcome::Exited(value));
            let arm = ended(Architecture::Aarch64, i32::from(value), Some(value));
            assert_eq!(arm.unwrap(), Outcome::Exited(value));
        }
        for (architecture, panicked) in [(Architecture::X86_64, 0xff), (Architecture::Aarch64, PANICKED)] {
            assert_eq!(ended(architecture, panicked, None).unwrap(), Outcome::Panicked);
            assert_eq!(ended(architecture, 0, None).unwrap(), Outcome::PoweredOff);
            assert!(decode(architecture, ExitStatus::from_raw(1 << 8), None, true).is_err());
            assert!(decode(architecture, ExitStatus::from_raw(9), None, false).is_err());
        }
    }

    #[test]
    fn arguments_follow_the_architecture() {
        let configuration = |architecture: Architecture| Configuration {
            architecture,
            machine: architecture.board(),
            machine_properties: String::new(),
            cpu: None,
            cpus: 1,
            memory: "256M".to_owned(),
            boot: Boot::Direct,
            system: Kernel::Ashlar,
            kernel: PathBuf::from("kernel"),
            initrd: PathBuf::from("initrd"),
            append: String::new(),
            accelerator: Accelerator::Emulated,
            clock: Clock::Counted,
            debugger: Debugger::None,
            serial: Serial::Pipes,
            extra: Vec::new(),
        };
        let on = |configuration: &Configuration, medium: &Medium| {
            let words = configuration.arguments(Path::new("status"), medium);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let words = |configuration: &Configuration| on(configuration, &Medium::Memory);
        let disc = Medium::Disc { image: PathBuf::from("a.iso"), firmware: Some(PathBuf::from("uefi")) };
        let text = on(&configuration(Architecture::X86_64), &disc);
        assert!(text.contains("-cdrom a.iso -bios uefi ") && !text.contains("-kernel"));
        let pc = words(&configuration(Architecture::X86_64));
        assert!(pc.contains("-machine q35 ") && pc.contains("shift=0,") && pc.contains("isa-debug-exit"));
        let mut arm = configuration(Architecture::Aarch64);
        let text = words(&arm);
        assert!(text.contains("-machine virt,gic-version=3 ") && text.contains("shift=4,"));
        assert!(text.contains("-semihosting-config") && text.contains("-cpu max,pauth-impdef=on"));
        ",gic-version=2".clone_into(&mut arm.machine_properties);
        arm.cpu = Some("cortex-a72".to_owned());
        arm.system = Kernel::Linux;
        let text = words(&arm);
        assert!(text.contains("-machine virt,gic-version=2 ") && text.contains("-cpu cortex-a72"));
        assert!(text.contains("pci-serial") && !text.contains("semihosting"));
    }
}
