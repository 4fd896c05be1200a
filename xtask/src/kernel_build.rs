//! Building the kernel for the bare machine.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::provision::rust::{CoreLibrary, core_library, linker};
use crate::target::{Architecture, Profile};
use crate::{image, symbols, workspace};

/// A `cargo` command that compiles for the bare machine: the caller adds what to compile.
///
/// Where the core library comes from sources, cargo's `-Z` switches need `RUSTC_BOOTSTRAP=1`; the kernel's own code uses
/// stable features only.
pub fn cargo(action: &str, architecture: Architecture) -> Result<Command> {
    let target = architecture.bare_target();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()).arg(action);
    if let CoreLibrary::FromSource { compiler } = core_library(architecture)? {
        command
            .env("RUSTC", compiler)
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"]);
    }
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    if std::env::var_os(&variable).is_none() {
        command.env(variable, linker()?);
    }
    command.args(["--target", target]);
    Ok(command)
}

/// The files of a kernel.
#[derive(Debug)]
pub struct Built {
    /// ELF with symbols, for debuggers: `target/ashlar/ARCHITECTURE/ashlar`.
    pub program: PathBuf,
    /// What a boot loader takes: the same file, or the raw `Image` beside it.
    pub bootable: PathBuf,
}

/// Builds the kernel.
pub fn build(architecture: Architecture, profile: Profile) -> Result<Built> {
    let mut command = cargo("build", architecture)?;
    command.args(["--package", "ashlar"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let built = workspace::target().join(architecture.bare_target()).join(profile.folder()).join("ashlar");
    if !std::io::stderr().is_terminal() {
        let first = if built.exists() { "" } else { "; the first time that takes some minutes" };
        eprintln!("xtask: Building the kernel{first}");
        if built.exists() {
            command.arg("--quiet");
        }
    }
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the kernel does not build");
    }
    let folder = workspace::products(architecture)?;
    let products = |suffix: &str| Built {
        program: folder.join(format!("ashlar{suffix}")),
        bootable: folder.join(format!("{}{suffix}", architecture.boot_file())),
    };
    match profile {
        Profile::Debug => {
            let products = products("");
            install(&built, &products)?;
            Ok(products)
        }
        // Files of its own, so that measuring and testing do not overwrite each other; the plain names are whatever was built last.
        Profile::Release => {
            let (products, plain) = (products("-release"), products(""));
            if !is_newer(&products.bootable, &built) {
                install(&built, &products)?;
            }
            std::fs::copy(&products.program, plain.program)?;
            std::fs::copy(&products.bootable, plain.bootable)?;
            Ok(products)
        }
    }
}

fn is_newer(product: &Path, source: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    matches!((modified(source), modified(product)), (Some(from), Some(to)) if from < to)
}

/// Makes the products from the linked kernel: its symbols embedded, and laid out flat where the machine boots that.
fn install(linked: &Path, products: &Built) -> Result<()> {
    let kernel = std::fs::read(linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let kernel = symbols::embed(kernel)?;
    replace(&products.program, &kernel)?;
    if products.bootable != products.program {
        replace(&products.bootable, &image::flat(&kernel)?)?;
    }
    Ok(())
}

/// Writes beside and renames, so that a QEMU that is starting never sees half a file.
fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&partial, content).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))
}
