//! `cargo xtask stack`: how many bytes each function of the optimised kernel takes on the stack by itself.
//!
//! A kernel stack has 16 KiB, and what overflows it stops the machine. What is built by value costs its size there, and in an optimised kernel
//! inlining adds up what several functions build. So no function may take more than [`LIMIT`], but for those in [`EXCEPTIONS`], each up to its own
//! limit and with the reason. How deep calls go together is not looked at.
//!
//! The frames are read from the instructions of the linked kernel: `walk` follows them, a file for each machine says what they do.

mod aarch64;
mod walk;
mod x86_64;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use crate::kernel_build;
use crate::target::{Architecture, Profile};

/// The most that a function may take, in bytes: a quarter of a kernel stack.
const LIMIT: u64 = 4096;

/// A function that may take more.
struct Exception {
    /// A part of its name, with as much of the path as tells it from others.
    name: &'static str,
    /// The most that it may take, in bytes.
    limit: u64,
    /// Why that does no harm.
    #[expect(dead_code, reason = "for who reads the list")]
    reason: &'static str,
}

/// Why boot code may take much.
const AT_BOOT: &str = "runs once, on the boot stack of 64 KiB";

/// All of them.
const EXCEPTIONS: &[Exception] = &[
    Exception { name: "ashlar::start::start", limit: 32 << 10, reason: AT_BOOT },
    Exception { name: "arch::x86_64::boot::early::initialize_early", limit: 20 << 10, reason: AT_BOOT },
    Exception { name: "arch::aarch64::boot::initialize_early", limit: 28 << 10, reason: AT_BOOT },
    Exception { name: "memory::numa::register", limit: 12 << 10, reason: AT_BOOT },
    Exception { name: "arch::x86_64::affinity::parse", limit: 6 << 10, reason: AT_BOOT },
    Exception { name: "ashlar_kernel::arch::Machine>::affinity", limit: 6 << 10, reason: AT_BOOT },
    Exception {
        name: "process::secondary::tell_topology",
        limit: 6 << 10,
        reason: "runs at boot, and below the write to a file of sysfs that brings a CPU on line, which nests little",
    },
    Exception {
        name: "core::slice::sort::stable::driftsort_main",
        limit: 4200,
        reason: "the library's stable sort keeps 4 KiB for long slices; below it there are comparisons only",
    },
];

/// How many of the largest are printed.
const SHOWN: usize = 10;

/// What to look at.
#[derive(Args, Debug, Default)]
pub struct StackOptions {
    /// Only this machine architecture; without, each there is
    #[arg(long, value_enum)]
    arch: Option<Architecture>,
    /// Print the ten largest frames
    #[arg(long)]
    verbose: bool,
}

impl StackOptions {
    /// One machine's.
    pub fn of(architecture: Architecture) -> Self {
        Self { arch: Some(architecture), verbose: false }
    }
}

/// Builds the optimised kernels and checks them; gives the status.
pub fn run(options: &StackOptions) -> Result<u8> {
    let architectures = options.arch.map_or(vec![Architecture::X86_64, Architecture::Aarch64], |one| vec![one]);
    let mut is_fine = true;
    for architecture in architectures {
        let kernel = kernel_build::build(architecture, Profile::Release)?;
        let frames = frames_of(&kernel.program, architecture)?;
        let complaints: Vec<String> = frames.iter().filter_map(complaint).collect();
        if options.verbose {
            frames.iter().take(SHOWN).for_each(|frame| println!("{:7} {}", frame.size, frame.name));
        }
        complaints.iter().for_each(|complaint| println!("{complaint}"));
        println!("stack: {} functions on {}, {} complaints", frames.len(), architecture.name(), complaints.len());
        is_fine &= complaints.is_empty();
    }
    Ok(u8::from(!is_fine))
}

/// What a function takes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frame {
    name: String,
    size: u64,
}

/// What is wrong with a frame.
fn complaint(frame: &Frame) -> Option<String> {
    let exception = EXCEPTIONS.iter().find(|exception| frame.name.contains(exception.name));
    let limit = exception.map_or(LIMIT, |exception| exception.limit);
    (frame.size > limit)
        .then(|| format!("{} takes {} bytes of the stack, and may take {limit}", frame.name, frame.size))
}

/// The frames of all functions of the program `path`, the largest first.
fn frames_of(path: &Path, architecture: Architecture) -> Result<Vec<Frame>> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = object::File::parse(content.as_slice()).context("the kernel is no ELF file")?;
    let steps = match architecture {
        Architecture::X86_64 => x86_64::steps,
        Architecture::Aarch64 => aarch64::steps,
    };
    let mut names = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition()) {
        names.entry(symbol.address()).or_insert((symbol.size(), symbol.name()?));
    }
    let mut frames = Vec::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (start, code) = (section.address(), section.data()?);
        let end = start + code.len() as u64;
        let mut inside = names.range(start..end).peekable();
        while let Some((&address, &(size, name))) = inside.next() {
            // Functions written in assembly have no size: they end where the next one begins.
            let next = inside.peek().map_or(end, |(next, _)| **next);
            let length = if size == 0 { next - address } else { size.min(end - address) };
            let from = usize::try_from(address - start)?;
            let code = code.get(from..from + usize::try_from(length)?).context("a function outside its section")?;
            let name = format!("{:#}", rustc_demangle::demangle(name));
            frames.push(Frame { name, size: walk::deepest(&steps(code, address)) });
        }
    }
    frames.sort_by(|left, right| right.size.cmp(&left.size).then_with(|| left.name.cmp(&right.name)));
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_its_limit_is_told() {
        let frame = |name: &str, size| Frame { name: name.to_owned(), size };
        assert_eq!(complaint(&frame("kernel::small", LIMIT)), None);
        assert!(complaint(&frame("kernel::large", LIMIT + 1)).is_some_and(|told| told.contains("kernel::large")));
        for exception in EXCEPTIONS {
            assert_eq!(complaint(&frame(exception.name, exception.limit)), None);
            assert!(complaint(&frame(exception.name, exception.limit + 1)).is_some());
        }
    }
}
