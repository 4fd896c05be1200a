//! Building the programs of `user/`: static, for Linux on the machine's architecture.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::target::Architecture;
use crate::{provision, workspace};

/// Builds them all, optimised; gives name and file of each.
pub fn build(architecture: Architecture) -> Result<BTreeMap<String, PathBuf>> {
    let target = architecture.linux_target();
    // A target folder of their own, because the flags would make cargo rebuild what the host's programs share.
    let folder = workspace::target().join("user");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace::root())
        .args(["build", "--release", "--package", "ashlar-user", "--bins", "--target", target, "--target-dir"])
        .arg(&folder)
        // Fat link-time optimisation is for the kernel; these are many and small.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Cstrip=symbols".to_owned()];
    if Architecture::host() != Some(architecture) {
        cross_compile(&mut command, &mut flags, architecture)?;
    }
    // Flags may hold spaces, where paths do; a target being named, they are not for build scripts.
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the programs of user/ do not build");
    }
    let built = folder.join(target).join("release");
    let mut programs = BTreeMap::new();
    for entry in std::fs::read_dir(workspace::root().join("user/src/bin"))?.flatten() {
        let path = entry.path();
        if let Some(name) = path.file_stem().map(|name| name.to_string_lossy().into_owned()) {
            programs.insert(name.clone(), built.join(name));
        }
    }
    Ok(programs)
}

/// What is needed besides where the host's own compiler and C library do not make programs for the architecture.
fn cross_compile(command: &mut Command, flags: &mut Vec<String>, architecture: Architecture) -> Result<()> {
    let toolchain = provision::cross::standard_library(architecture)?;
    if let Some(compiler) = toolchain.compiler {
        command.env("RUSTC", compiler);
    }
    if let Some(sysroot) = toolchain.sysroot {
        flags.push(format!("--sysroot={}", sysroot.display()));
    }
    flags.push(format!("-Clinker={}", provision::rust::linker()?.display()));
    flags.push("-Clinker-flavor=ld.lld".to_owned());
    flags.extend(provision::cross::c_library(architecture)?.iter().map(|word| format!("-Clink-arg={word}")));
    Ok(())
}
