//! Finding what a build or a run needs, and getting what is missing.
//!
//! Each function here first looks whether the thing is there, which is quick, and only then installs it ([`apt::install`]),
//! unpacks it privately ([`apt::unpack`]) or fails with the exact command that the user has to type.

pub mod apt;
pub mod cross;
pub mod rust;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::target::Architecture;

/// The emulator for `architecture`.
pub fn emulator(architecture: Architecture) -> Result<PathBuf> {
    let program = architecture.emulator();
    if let Some(found) = apt::find_program(program) {
        return Ok(found);
    }
    let package = match architecture {
        Architecture::X86_64 => "qemu-system-x86",
        Architecture::Aarch64 => "qemu-system-arm",
    };
    apt::install(&[package], "QEMU")?;
    apt::find_program(program).with_context(|| format!("{package} is installed, but {program} is not in PATH"))
}

/// Debian's static busybox for `architecture`.
pub fn busybox(architecture: Architecture) -> Result<PathBuf> {
    if Architecture::host() == Some(architecture) {
        for place in ["/bin/busybox", "/usr/bin/busybox"] {
            let file = PathBuf::from(place);
            if crate::elf::is_static(&file) {
                return Ok(file);
            }
        }
    }
    let tree = apt::unpack("busybox-static", architecture)?;
    ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|place| tree.join(place))
        .find(|file| file.is_file())
        .context("the package busybox-static holds no bin/busybox")
}

/// Debian's Linux for virtual machines, unpacked privately: the rival in benchmarks and the oracle for behaviour.
pub fn linux(architecture: Architecture) -> Result<PathBuf> {
    if let Some(found) = apt::unpacked("linux-image-", architecture)?.and_then(|tree| find_vmlinuz(&tree)) {
        return Ok(found);
    }
    let package = apt::resolve(&format!("linux-image-cloud-{}", architecture.debian()), "linux-image-", architecture)?;
    find_vmlinuz(&apt::unpack(&package, architecture)?).with_context(|| format!("{package} holds no boot/vmlinuz"))
}

fn find_vmlinuz(tree: &Path) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(tree.join("boot")).ok()?.flatten().map(|entry| entry.path());
    files.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
}
