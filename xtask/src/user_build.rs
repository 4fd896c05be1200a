//! Building the programs of `user/`: static, for Linux on the machine's architecture.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::target::Architecture;
use crate::{usage, workspace};

/// Builds them all, optimised; gives name and file of each.
pub fn build(architecture: Architecture) -> Result<BTreeMap<String, PathBuf>> {
    if Architecture::host() != Some(architecture) {
        usage!("the programs of user/ are built on the architecture that they run on, not for {}", architecture.name());
    }
    let target = architecture.linux_target();
    // A target folder of their own, because the flags would make cargo rebuild what the host's programs share.
    let folder = workspace::target().join("user");
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace::root())
        .args(["build", "--release", "--package", "ashlar-user", "--bins", "--target", target, "--target-dir"])
        .arg(&folder)
        .env(variable, "-Ctarget-feature=+crt-static -Cstrip=symbols")
        // Fat link-time optimisation is for the kernel; these are many and small.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
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
