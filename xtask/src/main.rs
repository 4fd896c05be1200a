//! Build, run, test, measure and document Ashlar: `cargo xtask COMMAND`.
//!
//! Each command is a module. Status 2 and one line mean a mistake in what was asked for ([`failure::UsageError`]), status 1
//! that something failed; `run` ends with the status of the program that it ran.

mod bench;
mod bochs;
mod booted;
mod census;
mod cpio;
mod debian;
mod docs;
mod elf;
mod elf_writer;
mod failure;
mod feed;
mod image;
mod initramfs;
mod iso;
mod kernel_build;
mod kvm;
mod layers;
mod numa;
mod orderings;
mod probe;
mod progress;
mod provision;
mod qemu;
mod run;
mod sources;
mod spin_table;
mod stack;
mod symbols;
mod target;
mod test;
mod user_build;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::failure::UsageError;
use crate::target::{Architecture, Profile};

/// Build, run, test, measure and document Ashlar, an operating-system kernel that runs Linux programs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Tool {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the kernel: target/ashlar/ARCH/ashlar, and target/ashlar/aarch64/Image
    Build(BuildOptions),
    /// Boot the kernel in QEMU with a shell, or to run one program
    #[command(after_help = "Examples:\n  \
        cargo xtask run                              a shell from Debian's busybox; `exit` ends the machine\n  \
        cargo xtask run -- busybox ls -l /proc       one program; its status is this command's\n  \
        cargo xtask run -- ./my-static-elf argument  a file of this host in a machine of its own\n  \
        cargo xtask run --packages python3,strace -- strace -f python3 x.py\n                                               \
        Debian's packages with what they need, and a script of this host\n\n\
        In the shell Ctrl-C goes to the machine. Ctrl-A X kills it, Ctrl-A C switches to QEMU's monitor and back.")]
    Run(run::RunOptions),
    /// Make an image of a CD that boots on PCs by GRUB, with BIOS or UEFI: target/ashlar/x86_64/ashlar.iso
    #[command(after_help = "Examples:\n  \
        cargo xtask iso                              a shell from Debian's busybox on the first serial line\n  \
        cargo xtask iso --release --initrd my.cpio   your own file tree; its /init is the first program\n  \
        cargo xtask iso --append 'quiet maxcpus=1'   with more words on the kernel's command line\n\n\
        The image's path is printed. Try it in QEMU, with BIOS, then with UEFI (Debian's package ovmf):\n  \
        qemu-system-x86_64 -m 512M -nographic -cdrom target/ashlar/x86_64/ashlar.iso\n  \
        qemu-system-x86_64 -m 512M -nographic -bios /usr/share/ovmf/OVMF.fd -cdrom target/ashlar/x86_64/ashlar.iso\n\n\
        It can be written to a CD, or to a USB stick as it is. The console is the first serial line, at 115200 bit/s: there is no screen. \
        GRUB's tools are installed where they are missing, or the command that installs them is named.")]
    Iso(iso::IsoOptions),
    /// Run every check there is, or the parts named
    #[command(after_help = "Examples:\n  \
        cargo xtask test                             everything, on both architectures: what CI runs\n  \
        cargo xtask test --hosted                    the unit tests, without an emulator\n  \
        cargo xtask test --arch x86_64 --filter pipe the booted tests with \"pipe\" in their names\n  \
        cargo xtask test --filter hostile --hostile-calls 2000\n\n\
        The status is 0 when all passed, 1 when something failed, 2 for a mistake in the options.")]
    Test(test::TestOptions),
    /// Check that the kernel's rooms import in one direction only
    Layers,
    /// Check that no function of the optimised kernel takes too much of its stack
    Stack(stack::StackOptions),
    /// Compare the unsafe code with the list in docs/UNSAFE.md
    Unsafe(census::CensusOptions),
    /// Make the documents that come from the sources: docs/SYSCALLS.md
    Docs(docs::DocsOptions),
    /// Count the instructions of operations on Ashlar and on Linux: docs/benchmarks/
    Bench(bench::BenchOptions),
    /// Record under Debian's Linux what the booted tests compare with: tests/
    Record(test::RecordOptions),
}

#[derive(Args)]
struct BuildOptions {
    /// Machine architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Architecture,
    /// Optimise as far as it goes
    #[arg(long)]
    release: bool,
}

fn main() -> ExitCode {
    let tool = match Tool::try_parse() {
        Ok(tool) => tool,
        Err(error) => return mistake(&error),
    };
    match dispatch(tool.command) {
        Ok(status) => ExitCode::from(status),
        Err(error) if error.is::<UsageError>() => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Help and version as clap prints them; a wrong command line in one line.
fn mistake(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let text = error.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    eprintln!("{} (see --help)", first.join(" "));
    ExitCode::from(2)
}

fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::Build(options) => {
            let profile = if options.release { Profile::Release } else { Profile::Debug };
            let kernel = kernel_build::build(options.arch, profile)?;
            eprintln!("{}", kernel.bootable.display());
            user_build::build(options.arch)?;
            Ok(0)
        }
        Command::Run(options) => run::run(&options),
        Command::Iso(options) => iso::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Layers => layers::run(),
        Command::Stack(options) => stack::run(&options),
        Command::Unsafe(options) => census::run(&options),
        Command::Docs(options) => docs::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Record(options) => test::record(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands of this tool that a document names: lines of code and words in backquotes, without comments.
    fn commands(text: &str) -> Vec<Vec<&str>> {
        let lines = text.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
        let code = lines.filter_map(|line| line.strip_prefix("cargo xtask ")).map(|line| line.split(" # ").next());
        let quoted = text.split('`').skip(1).step_by(2).map(|span| span.strip_prefix("cargo xtask "));
        code.chain(quoted).flatten().map(words).collect()
    }

    /// The words of a command, as far as a shell would give them to it.
    fn words(command: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for (index, part) in command.split('\'').enumerate() {
            match index % 2 {
                0 => words.extend(part.split_whitespace()),
                _ => words.push(part),
            }
        }
        words.into_iter().take_while(|word| *word != "<").collect()
    }

    #[test]
    fn every_command_in_the_documents_is_understood() {
        for document in ["README.md", "CONTRIBUTING.md", "kernel/examples/demo.md", "docs/ARCHITECTURE.md"] {
            let text = std::fs::read_to_string(workspace::root().join(document)).unwrap();
            let commands = commands(&text);
            assert!(!commands.is_empty(), "{document}");
            for words in commands {
                let result = Tool::try_parse_from(std::iter::once("cargo xtask").chain(words.iter().copied()));
                // Help is an answer too.
                let refused = result.err().filter(clap::Error::use_stderr);
                assert!(refused.is_none(), "{document}: cargo xtask {}: {refused:?}", words.join(" "));
            }
        }
    }
}
