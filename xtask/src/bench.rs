//! `cargo xtask bench`: what operations cost on Ashlar and on Debian's Linux, in instructions.
//!
//! The same static program (`user/src/bin/bench/`) runs on both kernels in the same QEMU with `-icount`, where the counter that
//! programs read is the number of instructions executed, and random numbers and the date are the same in each run. All is measured
//! twice, and no table is made of counts that differ. What needs two CPUs has a boot of its own where that can be counted
//! ([`counts_two_cpus`]): QEMU lets them take turns, so that the count is the work of both. Linux runs with `mitigations=off init_on_alloc=0`. A second pair of boots
//! measures what the way to `/init` costs; the firmware's part, where there is one, is measured by a kernel of a few instructions
//! ([`probe`]) and taken off. The table goes to `docs/benchmarks/`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::booted::Setup;
use crate::booted::console::Console;
use crate::cpio::Archive;
use crate::initramfs::{self, Job, Kernel};
use crate::progress::step;
use crate::qemu::{Clock, Configuration, TemporaryFile};
use crate::target::{Architecture, Profile};
use crate::{elf_writer, kernel_build, probe, provision, user_build, workspace};

/// The processor: everything, but on x86_64 `rep movsb` counts one instruction per byte in QEMU, so neither kernel shall use it.
fn processor(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "max,-erms",
        Architecture::Aarch64 => "max,pauth-impdef=on",
    }
}

/// Changed when counts mean something else than before, so that remembered ones are not used.
const HARNESS: u32 = 4;
/// What both kernels get on their command line; Ashlar ignores what it does not need.
const APPEND: &str = "mitigations=off init_on_alloc=0";
/// The longest that the whole program may take.
const LIMIT: Duration = Duration::from_secs(400);
/// What comes after this line in the document is written by hand and kept.
const NOTES: &str = "<!-- Below this line: written by hand, kept by `cargo xtask bench`. -->";

/// What to measure.
#[derive(Args, Debug)]
pub struct BenchOptions {
    /// Machine architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Architecture,
    /// Fail when a row is above Linux's or the geometric mean above 0.5
    #[arg(long)]
    check: bool,
    /// Measure and print, but leave the document as it is
    #[arg(long)]
    dry_run: bool,
    /// Time the allocators of frames and of the heap beside others on the host instead: docs/benchmarks/frames.md and heap.md
    #[arg(long, conflicts_with_all = ["arch", "check"])]
    allocators: bool,
}

/// What one operation costs.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    name: String,
    instructions: u64,
    /// What is done, in the program's words.
    what: String,
}

/// In the program's order.
type Rows = Vec<Row>;

/// What a boot was measured to cost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Boot {
    /// Instructions from the kernel's first to the first of `/init`.
    instructions: u64,
    /// Bytes of memory in use there: configured less free.
    memory: u64,
}

/// Measures, prints the table and writes it.
pub fn run(options: &BenchOptions) -> Result<u8> {
    if options.allocators {
        return allocators(options.dry_run);
    }
    let architecture = options.arch;
    provision::emulator(architecture)?;
    let linux_kernel = provision::linux(architecture)?;
    let programs = user_build::build(architecture)?;
    let setup = |system, kernel: &PathBuf| Setup::new(architecture, system, kernel.clone());
    let (their_rows, their_boot) = remembered(&setup(Kernel::Linux, &linux_kernel), &programs)?;
    let ashlar = setup(Kernel::Ashlar, &kernel_build::build(architecture, Profile::Release)?.bootable);
    let (our_rows, our_boot) = twice(&ashlar, &programs, "Ashlar")?;
    let theirs: BTreeMap<String, u64> = their_rows.into_iter().map(|row| (row.name, row.instructions)).collect();
    let table = Table { architecture, rows: pair(&our_rows, &theirs), ours: our_boot, theirs: their_boot };
    let text = table.render();
    println!("{text}");
    let file = workspace::root().join("docs/benchmarks").join(format!("{}.md", architecture.name()));
    if !options.dry_run {
        write(&file, architecture, &text)?;
    }
    Ok(u8::from(options.check && !table.aim_is_reached()))
}

/// Times the allocators: a program of its own (`bench/`), compiled as the kernel is for release.
fn allocators(dry_run: bool) -> Result<u8> {
    for subject in ["frames", "heap"] {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(workspace::root());
        command.args(["run", "--release", "--quiet", "--package", "ashlar-bench", "--", subject]);
        if !dry_run {
            command.args(["--output", "docs/benchmarks"]);
        }
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("the benchmark of {subject} failed");
        }
    }
    Ok(0)
}

/// Linux's measurements: they are the same each time, so they are kept for as long as nothing that they depend on changes.
fn remembered(setup: &Setup, programs: &BTreeMap<String, PathBuf>) -> Result<(Rows, Boot)> {
    let mut hasher = DefaultHasher::new();
    (HARNESS, processor(setup.architecture), APPEND, &setup.kernel).hash(&mut hasher);
    for name in ["bench", "leave", "at_init"] {
        std::fs::read(programs.get(name).with_context(|| format!("user/ has no {name}"))?)?.hash(&mut hasher);
    }
    let file = workspace::products(setup.architecture)?.join(format!("bench-linux-{:016x}.txt", hasher.finish()));
    if let Ok(text) = std::fs::read_to_string(&file) {
        let mut rows: Rows = text.lines().filter_map(parse_row).collect();
        if let (Some(memory), Some(instructions)) = (rows.pop(), rows.pop()) {
            return Ok((rows, Boot { instructions: instructions.instructions, memory: memory.instructions }));
        }
    }
    let (rows, boot) = twice(setup, programs, "Linux")?;
    let line = |name: &str, count: u64| format!("row {name} {count} |\n");
    let mut text: String = rows.iter().map(|row| line(&row.name, row.instructions)).collect();
    text.push_str(&line("boot", boot.instructions));
    text.push_str(&line("memory", boot.memory));
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok((rows, boot))
}

/// Measures all of it two times, which must agree: what differs from run to run is no result.
fn twice(setup: &Setup, programs: &BTreeMap<String, PathBuf>, name: &str) -> Result<(Rows, Boot)> {
    let measure = || -> Result<(Rows, Boot)> {
        let rows = step(&format!("Measuring {name}"), || operations(setup, programs))?;
        Ok((rows, step(&format!("Measuring {name}'s boot"), || boot(setup, programs))?))
    };
    let (first, second) = (measure()?, measure()?);
    if first == second {
        return Ok(first);
    }
    let differing = first.0.iter().zip(&second.0).filter(|(left, right)| left != right);
    let mut lines: Vec<String> = differing
        .map(|(left, right)| format!("{}: {} and {}", left.name, left.instructions, right.instructions))
        .collect();
    if first.1 != second.1 {
        lines.push(format!("boot: {:?} and {:?}", first.1, second.1));
    }
    bail!("two runs of {name} differ:\n  {}", lines.join("\n  "))
}

fn pair(ours: &Rows, theirs: &BTreeMap<String, u64>) -> Vec<(Row, u64)> {
    ours.iter().filter_map(|row| theirs.get(&row.name).map(|other| (row.clone(), *other))).collect()
}

fn machine(setup: &Setup, initrd: PathBuf, memory: &str) -> Configuration {
    let mut configuration = setup.machine(initrd);
    configuration.cpu = Some(processor(setup.architecture).to_owned());
    configuration.clock = Clock::Counted;
    memory.clone_into(&mut configuration.memory);
    configuration.append = format!("{} {APPEND}", configuration.append);
    configuration
}

fn operations(setup: &Setup, programs: &BTreeMap<String, PathBuf>) -> Result<Rows> {
    let mut rows = operations_on(setup, programs, 1)?;
    if counts_two_cpus(setup.architecture) {
        rows.extend(operations_on(setup, programs, 2)?);
    }
    Ok(rows)
}

/// Whether Linux brings up a second CPU while QEMU counts. On x86_64 it does not get beyond "Booting SMP configuration": it waits by reading the
/// clock over and over, and the other CPU's turn hardly ever comes.
fn counts_two_cpus(architecture: Architecture) -> bool {
    architecture == Architecture::Aarch64
}

/// The rows of a machine with so many CPUs.
fn operations_on(setup: &Setup, programs: &BTreeMap<String, PathBuf>, cpus: u32) -> Result<Rows> {
    let program = programs.get("bench").context("user/ has no bench")?;
    let mut command = vec![program.display().to_string()];
    if cpus > 1 {
        command.push(cpus.to_string());
    }
    let job = Job::Program(command);
    let mut content = initramfs::for_job(setup.architecture, setup.system, &setup.packages, &job, &Setup::terminal())?;
    let mut executed = Archive::new();
    executed.file("usr/local/bin/leave", 0o755, &std::fs::read(programs.get("leave").context("user/ has no leave")?)?);
    executed.file("usr/local/bin/smallest", 0o755, &elf_writer::smallest(setup.architecture)?);
    content.extend_from_slice(&executed.finish());
    let initrd = TemporaryFile::new("bench.cpio", &content)?;
    let mut configuration = machine(setup, initrd.path().to_path_buf(), "1G");
    configuration.cpus = cpus;
    let mut console = Console::start(&configuration)?;
    let said = console.expect("bench: done", LIMIT);
    let _ = console.finish(Duration::from_secs(10));
    let rows: Rows = said?.lines().filter_map(parse_row).collect();
    if rows.is_empty() {
        bail!("the program printed no rows");
    }
    Ok(rows)
}

/// Reads `row some name 123 | what is done`.
fn parse_row(line: &str) -> Option<Row> {
    let (row, what) = line.trim().strip_prefix("row ")?.split_once('|')?;
    let (name, count) = row.trim().rsplit_once(' ')?;
    Some(Row { name: name.to_owned(), instructions: count.parse().ok()?, what: what.trim().to_owned() })
}

fn boot(setup: &Setup, programs: &BTreeMap<String, PathBuf>) -> Result<Boot> {
    const MEMORY: u64 = 128;
    let program = programs.get("at_init").context("user/ has no at_init")?;
    let mut archive = initramfs::base(setup.architecture, &setup.packages)?;
    archive.file("init", 0o755, &std::fs::read(program)?);
    let initrd = TemporaryFile::new("boot.cpio", &archive.finish())?;
    let configuration = machine(setup, initrd.path().to_path_buf(), &format!("{MEMORY}M"));
    let firmware = match setup.architecture {
        Architecture::X86_64 => probe::firmware_instructions(&configuration)?,
        // The board enters the kernel itself.
        Architecture::Aarch64 => 0,
    };
    let mut console = Console::start(&configuration)?;
    let said = console.expect("at-init total", Duration::from_secs(120));
    let _ = console.finish(Duration::from_secs(10));
    let said = said?;
    let value = |name: &str| -> Result<u64> {
        let line =
            said.lines().find_map(|line| line.trim().strip_prefix(name)).with_context(|| format!("no {name}"))?;
        line.trim().parse().context("no number")
    };
    Ok(Boot {
        instructions: value("at-init instructions")?.saturating_sub(firmware),
        memory: (MEMORY << 20).saturating_sub(value("at-init free")?),
    })
}

/// What was measured.
struct Table {
    architecture: Architecture,
    /// Ours, with Linux's count.
    rows: Vec<(Row, u64)>,
    ours: Boot,
    theirs: Boot,
}

#[expect(clippy::cast_precision_loss, reason = "ratios are shown with two digits")]
fn ratio(ours: u64, theirs: u64) -> f64 {
    ours.max(1) as f64 / theirs.max(1) as f64
}

impl Table {
    fn geometric_mean(&self) -> f64 {
        let logarithms: f64 = self.rows.iter().map(|(ours, theirs)| ratio(ours.instructions, *theirs).ln()).sum();
        (logarithms / f64::from(u32::try_from(self.rows.len().max(1)).unwrap_or(1))).exp()
    }

    fn aim_is_reached(&self) -> bool {
        let most = match self.architecture {
            Architecture::X86_64 => 0.1,
            // Linux has less to find out there.
            Architecture::Aarch64 => 0.25,
        };
        let boot = ratio(self.ours.instructions, self.theirs.instructions) <= most;
        let memory = self.ours.memory <= 8 << 20;
        self.rows.iter().all(|(ours, theirs)| ours.instructions <= *theirs)
            && self.geometric_mean() <= 0.5
            && boot
            && memory
    }

    fn render(&self) -> String {
        let mut text =
            String::from("| operation | Ashlar | Linux 6.1 | ratio | what is done |\n|---|---:|---:|---:|---|\n");
        for (Row { name, instructions, what }, theirs) in &self.rows {
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {what} |",
                grouped(*instructions),
                grouped(*theirs),
                digits(ratio(*instructions, *theirs))
            );
        }
        let _ = writeln!(text, "| **geometric mean** | | | **{:.2}** | |", self.geometric_mean());
        let (ours, theirs) = (self.ours, self.theirs);
        text.push_str("\n| boot, 128 MiB | Ashlar | Linux 6.1 | ratio |\n|---|---:|---:|---:|\n");
        let _ = writeln!(
            text,
            "| instructions to the first of `/init`, firmware apart | {} | {} | {:.3} |",
            grouped(ours.instructions),
            grouped(theirs.instructions),
            ratio(ours.instructions, theirs.instructions)
        );
        let _ = writeln!(
            text,
            "| memory in use there, KiB | {} | {} | {:.3} |",
            grouped(ours.memory >> 10),
            grouped(theirs.memory >> 10),
            ratio(ours.memory, theirs.memory)
        );
        text
    }
}

/// A ratio with as many digits as say something.
fn digits(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn write(file: &PathBuf, architecture: Architecture, table: &str) -> Result<()> {
    let old = std::fs::read_to_string(file).unwrap_or_default();
    let notes = old.split_once(NOTES).map_or("\n", |(_, notes)| notes);
    let head = format!(
        "# Instructions per operation, {name}\n\n\
        Made by `cargo xtask bench --arch {name}`. One CPU where nothing else is said, 1 GiB, QEMU's `{board}` with `-icount shift={shift},sleep=off -cpu {cpu}`: the counter is\n\
        the number of instructions executed, in user space and kernel together; two runs gave the same counts. The rival is Debian's\n\
        `linux-image-cloud-{debian}` with `{APPEND}`. Loops' own cost is taken off. Below 1 is better than Linux.\n\n",
        name = architecture.name(),
        board = architecture.board().name(),
        shift = architecture.counting_shift(),
        cpu = processor(architecture),
        debian = architecture.debian(),
    );
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, format!("{head}{table}\n{NOTES}{notes}"))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_numbers() {
        let row = parse_row("row fork+exec wait 12 | what is done\r").unwrap();
        assert_eq!((row.name.as_str(), row.instructions, row.what.as_str()), ("fork+exec wait", 12, "what is done"));
        assert_eq!(parse_row("row boot 12 |").unwrap().what, "");
        assert_eq!(parse_row("something else"), None);
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }

    #[test]
    fn means() {
        let table = Table {
            architecture: Architecture::X86_64,
            rows: vec![(parse_row("row a 1 |").unwrap(), 4), (parse_row("row b 1 |").unwrap(), 1)],
            ours: Boot { instructions: 1, memory: 1 },
            theirs: Boot { instructions: 10, memory: 1 },
        };
        assert!((table.geometric_mean() - 0.5).abs() < 1e-9);
        assert!(table.aim_is_reached());
    }
}
