//! `cargo xtask run`: build, boot, and be the machine's terminal.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::feed::{Feed, Manner};
use crate::initramfs::{self, Job, Kernel, Stream, Streams, Terminal};
use crate::numa::{self, Distance};
use crate::provision::packages::PackageName;
use crate::qemu::{Accelerator, Boot, Clock, Configuration, Debugger, Outcome, Serial, TemporaryFile};
use crate::target::{Architecture, Board, Profile};
use crate::{kernel_build, kvm, provision, usage, workspace};

/// What `run` ends with when the kernel panicked.
const STATUS_PANICKED: u8 = 255;
/// What `run` ends with when time was up, as `timeout(1)`.
const STATUS_TIMED_OUT: u8 = 124;

/// How to boot, and what.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub struct RunOptions {
    /// Machine architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Architecture,
    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// Share memory and processors out to N nodes, each with its own; with fewer processors than nodes the last ones have none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(numa::MOST_NODES)))]
    numa: Option<u32>,
    /// How far one node is from another, once for each pair that is not 20 apart: 0,1,30 (10 is the node itself, 255 out of reach)
    #[arg(long, value_name = "FROM,TO,VALUE", value_parser = Distance::parse, requires = "numa")]
    distance: Vec<Distance>,
    /// Memory, with K, M or G: 512M, or as much as the packages need
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<String>,
    /// Board that QEMU models: q35 (the default), pc or microvm; for aarch64 virt. With QEMU's properties: virt,gic-version=2
    #[arg(long, value_name = "NAME", value_parser = Board::parse)]
    machine: Option<Board>,
    /// Processor that QEMU models, in its own words: max (the default), Haswell; for aarch64 cortex-a72, neoverse-n1
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// Boot this initramfs (cpio "newc", plain or gzip) instead of the one with busybox
    #[arg(long, value_name = "FILE", conflicts_with = "program")]
    initrd: Option<PathBuf>,
    /// Debian packages that the machine has, with what they depend on, separated by commas: python3,strace
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = PackageName::parse, conflicts_with = "initrd")]
    packages: Vec<PackageName>,
    /// Add to the kernel's command line; unknown words and what follows `--` go to init
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,
    /// Wait for a debugger on TCP port 1234 before the first instruction
    #[arg(long)]
    gdb: bool,
    /// Let the machine's clock count instructions: the same in each run
    #[arg(long, conflicts_with = "kvm")]
    icount: bool,
    /// Let the host's processor execute the machine (needs /dev/kvm); the default where a short trial shows that it is fast
    #[arg(long, conflicts_with = "no_kvm")]
    kvm: bool,
    /// Let QEMU emulate the processor, even where the host's could execute the machine
    #[arg(long)]
    no_kvm: bool,
    /// Boot the optimised kernel
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Boot the kernel with its internal checks (the default)
    #[arg(long)]
    debug: bool,
    /// End the machine after so many seconds, with status 124
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Boot Debian's Linux instead of Ashlar, to compare
    #[arg(long, conflicts_with_all = ["release", "debug"])]
    linux: bool,
    /// Show the kernel's log on the console while it boots
    #[arg(long, short)]
    verbose: bool,
    /// Program to run instead of a shell, with its arguments: a name is one of the machine's, a path is a file of this host; files of this
    /// host that arguments name by relative paths are in the machine too
    #[arg(last = true, value_name = "PROGRAM [ARGS]")]
    program: Vec<String>,
}

fn parse_memory(text: &str) -> Result<String, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((index, 'k' | 'K' | 'm' | 'M' | 'g' | 'G')) => text.split_at(index),
        _ => (text, "M"),
    };
    match digits.parse::<u32>() {
        Ok(number) if number > 0 => Ok(format!("{number}{}", unit.to_uppercase())),
        _ => Err("a size is a number with K, M or G, as in 512M".to_owned()),
    }
}

/// The memory that `run` gives to a machine, in MiB, where the files do not need more.
const USUAL_MEMORY: u64 = 512;

/// The memory that was asked for, which must hold the files, or what is usual for them.
fn memory(options: &RunOptions, size: u64) -> Result<String> {
    let fitting = initramfs::memory_for(size, USUAL_MEMORY);
    match &options.memory {
        None if fitting > USUAL_MEMORY => {
            eprintln!("xtask: {fitting}M of memory for {} MiB of files", size >> 20);
            Ok(format!("{fitting}M"))
        }
        None => Ok(format!("{USUAL_MEMORY}M")),
        Some(memory) if !options.packages.is_empty() && bytes(memory) >> 20 < initramfs::least_memory_for(size) => {
            usage!("--memory {memory} is too little for {} MiB of files: --memory {fitting}M", size >> 20)
        }
        Some(memory) => Ok(memory.clone()),
    }
}

/// What a size that [`parse_memory`] let through says.
fn bytes(memory: &str) -> u64 {
    let (digits, unit) = memory.split_at(memory.len().saturating_sub(1));
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        _ => 30,
    };
    digits.parse::<u64>().unwrap_or(u64::MAX >> shift) << shift
}

/// The user's terminal as it was, put back when dropped: QEMU leaves it raw when it is killed.
struct SavedTerminal(Option<Termios>);

impl SavedTerminal {
    fn save() -> Self {
        Self(tcgetattr(rustix::stdio::stdin()).ok())
    }
}

impl Drop for SavedTerminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, settings);
        }
    }
}

/// Boots as `options` say; gives the status to exit with.
pub fn run(options: &RunOptions) -> Result<u8> {
    let architecture = options.arch;
    let system = if options.linux { Kernel::Linux } else { Kernel::Ashlar };
    let interactive = options.program.is_empty();
    let job = match (&options.initrd, interactive) {
        (Some(_), _) => None,
        (None, false) => Some(Job::Command(options.program.clone(), streams()?)),
        (None, true) if std::io::stdin().is_terminal() => Some(Job::Shell),
        (None, true) => Some(Job::FedShell),
    };
    let manner = manner(job.as_ref());
    let content = match (&options.initrd, job) {
        (Some(file), _) => match std::fs::read(file) {
            Ok(content) => content,
            Err(error) => usage!("cannot read {}: {error}", file.display()),
        },
        (None, Some(job)) => initramfs::for_job(architecture, system, &options.packages, &job, &terminal())?,
        (None, None) => Vec::new(),
    };
    let board = board(options)?;
    let memory = memory(options, content.len() as u64)?;
    if options.kvm && Architecture::host() != Some(architecture) {
        usage!("--kvm: this host's processor cannot execute {}", architecture.name());
    }
    if options.kvm && !kvm::is_accessible() {
        usage!("--kvm: /dev/kvm is not there or not yours to open; without --kvm the machine is emulated");
    }
    provision::emulator(architecture)?;
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    let kernel = match system {
        Kernel::Ashlar => kernel_build::build(architecture, profile)?.bootable,
        Kernel::Linux => provision::linux(architecture)?,
    };
    let extra = match options.numa {
        Some(nodes) => numa::arguments(nodes, &memory, options.cpus, &options.distance)?,
        None => Vec::new(),
    };
    let initrd = TemporaryFile::new("initramfs.cpio", &content).context("cannot keep the initramfs")?;
    let configuration = Configuration {
        architecture,
        machine: board.machine,
        machine_properties: board.properties,
        cpu: options.cpu.clone(),
        cpus: options.cpus,
        memory,
        boot: Boot::Direct,
        system,
        kernel,
        initrd: initrd.path().to_path_buf(),
        append: command_line(options),
        accelerator: accelerator(options),
        clock: if options.icount { Clock::Counted } else { Clock::Real },
        debugger: if options.gdb { Debugger::Wait } else { Debugger::None },
        serial: if manner.is_some() { Serial::Pipes } else { Serial::User },
        extra,
    };
    if options.gdb {
        let program = workspace::products(architecture)?.join("ashlar");
        eprintln!("xtask: waiting for `gdb {} -ex 'target remote :1234'`", program.display());
    }
    if interactive && options.initrd.is_none() {
        eprintln!("xtask: `exit` ends the machine; Ctrl-A X kills it, Ctrl-A C is QEMU's monitor");
    }
    let saved = SavedTerminal::save();
    let mut emulator = configuration.start()?;
    let feed = manner.map(|manner| Feed::start(&mut emulator, manner)).transpose()?;
    let outcome = emulator.wait(options.timeout.map(Duration::from_secs));
    drop(saved);
    if let Some(feed) = feed {
        feed.finish()?;
    }
    match outcome? {
        Outcome::Exited(status) => Ok(status),
        Outcome::PoweredOff => Ok(0),
        Outcome::Panicked => {
            eprintln!("xtask: the kernel panicked");
            Ok(STATUS_PANICKED)
        }
        Outcome::TimedOut => {
            eprintln!("xtask: time is up");
            Ok(STATUS_TIMED_OUT)
        }
    }
}

/// Who executes: who was asked for, or else the host's processor where that is faster. A clock that counts, and a processor of
/// another model, exist in emulation only.
fn accelerator(options: &RunOptions) -> Accelerator {
    let emulated = options.no_kvm || options.icount || options.cpu.is_some();
    if options.kvm || (!emulated && kvm::is_fast(options.arch)) { Accelerator::Kvm } else { Accelerator::Emulated }
}

/// The largest input file that is packed; of a larger one the machine would have to keep two copies.
const LARGEST_PACKED: u64 = 64 << 20;

/// What the user's input and output are to a command.
fn streams() -> Result<Streams> {
    let output = if std::io::stdout().is_terminal() { Stream::Terminal } else { Stream::Pipe };
    let input = rustix::stdio::stdin();
    let kind = rustix::fs::fstat(input).map(|stat| (rustix::fs::FileType::from_raw_mode(stat.st_mode), stat.st_size));
    let input = match kind {
        _ if std::io::stdin().is_terminal() => Stream::Terminal,
        _ if is_null(input) => Stream::Null,
        Ok((rustix::fs::FileType::RegularFile, size))
            if u64::try_from(size).is_ok_and(|size| size <= LARGEST_PACKED) =>
        {
            let mut content = Vec::new();
            std::io::stdin().read_to_end(&mut content).context("cannot read the standard input")?;
            Stream::File(content)
        }
        _ => Stream::Pipe,
    };
    Ok(Streams { input, output })
}

/// Whether that is `/dev/null`.
fn is_null(file: std::os::fd::BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice
            && rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == stat.st_rdev)
    })
}

/// How the user's input is typed to `job`, where QEMU does not take it from a terminal itself. What a user's own initramfs starts does
/// not say when it listens: there the input goes to QEMU as it is.
fn manner(job: Option<&Job>) -> Option<Manner> {
    match job {
        Some(Job::FedShell) => Some(Manner::Keys),
        Some(Job::Command(_, streams)) if streams.input == Stream::Pipe => Some(Manner::Data),
        _ => None,
    }
}

/// The board that was asked for, which must be one of the architecture.
fn board(options: &RunOptions) -> Result<Board> {
    let architecture = options.arch;
    match &options.machine {
        None => Ok(Board { machine: architecture.board(), properties: String::new() }),
        Some(board) if board.machine.architecture() == architecture => Ok(board.clone()),
        Some(board) => usage!(
            "--machine {}: that board is of {}; this is {}, with {}",
            board.machine.name(),
            board.machine.architecture().name(),
            architecture.name(),
            architecture.board().name()
        ),
    }
}

/// The kernel's command line.
fn command_line(options: &RunOptions) -> String {
    let mut words = vec![format!("console={}", options.arch.serial_console()), "ashlar.exit=qemu".to_owned()];
    if options.initrd.is_none() {
        words.push("rdinit=/init".to_owned());
    }
    if options.linux {
        // A dead process 1 shall end the machine, not hang it.
        words.push("panic=-1".to_owned());
    }
    if !options.verbose {
        words.push("quiet".to_owned());
    }
    words.extend(options.append.clone());
    words.join(" ")
}

/// What the user's terminal is.
fn terminal() -> Terminal {
    let kind = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
    let size = tcgetwinsize(rustix::stdio::stdout()).ok().map(|size| (size.ws_col, size.ws_row));
    Terminal { kind, size: size.filter(|(columns, rows)| *columns > 0 && *rows > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("24m").unwrap(), "24M");
        assert_eq!(parse_memory("128").unwrap(), "128M");
        assert!(parse_memory("much").is_err());
        assert!(parse_memory("0M").is_err());
        for (text, size) in [("24m", 24 << 20), ("128", 128 << 20), ("3G", 3 << 30), ("70000k", 70_000 << 10)] {
            assert_eq!(bytes(&parse_memory(text).unwrap()), size);
        }
    }
}
