//! Building the kernel for the bare machine.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::provision::rust::{CoreLibrary, core_library, linker};
use crate::target::{Architecture, Profile};
use crate::{symbols, usage, workspace};

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
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    Ok(command)
}

/// Builds the kernel and gives the file to boot, `target/ashlar/ARCHITECTURE/ashlar`.
pub fn build(architecture: Architecture, profile: Profile) -> Result<PathBuf> {
    if architecture != Architecture::X86_64 {
        usage!("the kernel is not there yet for {}; --arch x86_64 is", architecture.name());
    }
    let mut command = cargo("build", architecture)?;
    command.args(["--package", "ashlar"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the kernel does not build");
    }
    let built = workspace::target().join(architecture.bare_target()).join(profile.folder()).join("ashlar");
    let product = product(architecture, profile)?;
    install(&built, &product)?;
    if profile == Profile::Release {
        // The plain name is whatever was built last.
        std::fs::copy(&product, workspace::products(architecture)?.join("ashlar"))?;
    }
    Ok(product)
}

/// The file to boot: `ashlar`, or `ashlar-release` beside it so that measuring and testing do not overwrite each other.
fn product(architecture: Architecture, profile: Profile) -> Result<PathBuf> {
    let name = match profile {
        Profile::Debug => "ashlar",
        Profile::Release => "ashlar-release",
    };
    Ok(workspace::products(architecture)?.join(name))
}

/// Copies the linked kernel with its symbols embedded, unless that was done already.
fn install(built: &Path, product: &Path) -> Result<()> {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let fresh = matches!((modified(built), modified(product)), (Some(from), Some(to)) if from < to);
    if fresh && product.file_name() != Some("ashlar".as_ref()) {
        return Ok(());
    }
    let image = std::fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let image = symbols::embed(image)?;
    // A rename, so that a QEMU that is starting never sees half a file.
    let partial = product.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&partial, image).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, product).with_context(|| format!("cannot write {}", product.display()))
}
