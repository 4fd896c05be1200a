//! Finding what a build or a run needs, and getting what is missing.
//!
//! Each function here first looks whether the thing is there, which is quick, and only then installs it ([`apt::install`]),
//! unpacks it privately ([`apt::unpack`]) or fails with the exact command that the user has to type.

pub mod apt;
pub mod cross;
pub mod packages;
pub mod rust;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::target::Architecture;
use crate::workspace;

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

/// GRUB's `grub-mkrescue` and what it makes a disc with, for BIOS and for UEFI.
pub fn disc_tools() -> Result<()> {
    /// What must be there, and the package that has it.
    const PROGRAMS: [(&str, &str); 3] =
        [("grub-mkrescue", "grub-common"), ("xorriso", "xorriso"), ("mformat", "mtools")];
    const FOLDERS: [(&str, &str); 2] =
        [("/usr/lib/grub/i386-pc", "grub-pc-bin"), ("/usr/lib/grub/x86_64-efi", "grub-efi-amd64-bin")];
    let missing = || {
        let programs = PROGRAMS.iter().filter(|(program, _)| apt::find_program(program).is_none());
        let folders = FOLDERS.iter().filter(|(folder, _)| !Path::new(folder).is_dir());
        programs.chain(folders).map(|(_, package)| *package).collect::<Vec<_>>()
    };
    let packages = missing();
    if !packages.is_empty() {
        // Tests side by side want it at the same time: one installs.
        let _turn = workspace::turn("disc-tools")?;
        let packages = missing();
        if !packages.is_empty() {
            apt::install(&packages, "What makes a disc that boots")?;
        }
        let packages = missing();
        ensure!(packages.is_empty(), "{} is installed, but what it should hold is not there", packages.join(" "));
    }
    Ok(())
}

/// UEFI's firmware for QEMU's PC.
pub fn uefi() -> Result<PathBuf> {
    const PLACE: &str = "usr/share/ovmf/OVMF.fd";
    let system = Path::new("/").join(PLACE);
    if system.is_file() {
        return Ok(system);
    }
    let file = apt::unpack("ovmf", Architecture::X86_64)?.join(PLACE);
    if file.is_file() { Ok(file) } else { bail!("the package ovmf holds no {PLACE}") }
}

/// Bochs, the other emulator of a PC, with its BIOS and its display without a window.
pub fn bochs() -> Result<PathBuf> {
    /// What must be there, and the package that has it.
    const FILES: [(&str, &str); 2] =
        [("/usr/share/bochs/BIOS-bochs-latest", "bochsbios"), ("/usr/share/vgabios/vgabios.bin", "vgabios")];
    let missing = || {
        let files = FILES.iter().any(|(file, _)| !Path::new(file).is_file());
        files || apt::find_program("bochs").is_none() || !has_terminal_display()
    };
    if missing() {
        let _turn = workspace::turn("bochs")?;
        if missing() {
            apt::install(&["bochs", "bochsbios", "vgabios", "bochs-term"], "Bochs")?;
        }
    }
    apt::find_program("bochs").context("bochs is installed, but it is not in PATH")
}

/// Whether Bochs's display for terminals is installed.
fn has_terminal_display() -> bool {
    let Ok(folders) = std::fs::read_dir("/usr/lib") else { return false };
    let plugin = |folder: std::fs::DirEntry| folder.path().join("bochs/plugins/libbx_term_gui.so");
    folders.flatten().any(|folder| plugin(folder).exists())
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
