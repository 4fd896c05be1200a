//! A compiler, a core library and a linker for the bare machine.
//!
//! In order of preference: the precompiled library of the user's own toolchain; a system compiler with the library's
//! sources (Debian's `rustc-web` and `rust-web-src`), which cargo then compiles; `rustup target add`, where rustup may
//! install; Debian's packages, where we may install those.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::apt;
use crate::progress::{quietly, step};
use crate::target::Architecture;

/// The oldest compiler that can build the kernel, as `(major, minor)`.
const MINIMUM: (u32, u32) = (1, 95);

/// How the core library for the bare machine comes about.
#[derive(Debug)]
pub enum CoreLibrary {
    /// The toolchain in `PATH` has it compiled.
    Precompiled,
    /// Cargo compiles it from the sources beside this compiler.
    FromSource {
        /// The compiler that the sources belong to.
        compiler: PathBuf,
    },
}

/// Finds the core library for `architecture`, or installs it.
pub fn core_library(architecture: Architecture) -> Result<CoreLibrary> {
    if let Some(found) = find_core_library(architecture) {
        return Ok(found);
    }
    let target = architecture.bare_target();
    if rustup_may_install() {
        step(&format!("Installing Rust's core library for {target}"), || {
            quietly(Command::new("rustup").args(["target", "add", target]))
        })?;
    } else {
        let packages = source_packages();
        apt::install(&packages, &format!("a Rust compiler with the core library's sources, for {target}"))?;
    }
    match find_core_library(architecture) {
        Some(found) => Ok(found),
        None => bail!("no core library for {target} even after installing one; try `rustup target add {target}`"),
    }
}

fn find_core_library(architecture: Architecture) -> Option<CoreLibrary> {
    if has_precompiled("rustc", architecture) {
        return Some(CoreLibrary::Precompiled);
    }
    ["/usr/bin/rustc", "rustc"]
        .into_iter()
        .find(|compiler| has_sources(compiler))
        .map(|compiler| CoreLibrary::FromSource { compiler: compiler.into() })
}

/// Whether `rustup` is there and its user lets it install.
pub fn rustup_may_install() -> bool {
    std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0") && apt::find_program("rustup").is_some()
}

/// The system's own compiler, installed for `purpose` if need be.
pub fn system_compiler(purpose: &str) -> Result<PathBuf> {
    const PLACE: &str = "/usr/bin/rustc";
    if !is_new_enough(PLACE) {
        apt::install(&source_packages(), purpose)?;
    }
    if !is_new_enough(PLACE) {
        bail!("{PLACE} is older than {}.{}: rustup is needed for {purpose}", MINIMUM.0, MINIMUM.1);
    }
    Ok(PLACE.into())
}

/// What `compiler` answers to a question, if it is there and knows.
fn ask(compiler: &str, question: &[&str]) -> Option<String> {
    let output = Command::new(compiler).args(question).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `rustc 1.96.0 (...)` as `(1, 96)`.
fn parse_version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn is_new_enough(compiler: &str) -> bool {
    ask(compiler, &["--version"]).and_then(|line| parse_version(&line)).is_some_and(|version| version >= MINIMUM)
}

fn has_precompiled(compiler: &str, architecture: Architecture) -> bool {
    ask(compiler, &["--print", "target-libdir", "--target", architecture.bare_target()])
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .is_some_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
        && is_new_enough(compiler)
}

fn has_sources(compiler: &str) -> bool {
    ask(compiler, &["--print", "sysroot"])
        .is_some_and(|folder| Path::new(&folder).join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file())
        && is_new_enough(compiler)
}

/// The packages with compiler and sources: Debian's backported `rustc-web` where it is known, else the ordinary ones.
fn source_packages() -> [&'static str; 2] {
    match ask("apt-cache", &["show", "rustc-web"]) {
        Some(text) if !text.is_empty() => ["rustc-web", "rust-web-src"],
        _ => ["rustc", "rust-src"],
    }
}

/// A linker for ELF of any machine: `rust-lld` out of a rustup toolchain, or LLVM's from Debian.
pub fn linker() -> Result<PathBuf> {
    if let Some(found) = find_linker() {
        return Ok(found);
    }
    let known = |package: &&str| ask("apt-cache", &["show", package]).is_some_and(|text| !text.is_empty());
    let package = ["lld-22", "lld"].into_iter().find(known).unwrap_or("lld");
    apt::install(&[package], "a linker (LLVM's lld)")?;
    match find_linker() {
        Some(found) => Ok(found),
        None => bail!("{package} is installed, but there is no ld.lld in PATH"),
    }
}

fn find_linker() -> Option<PathBuf> {
    let mut toolchains: Vec<PathBuf> = ask("rustc", &["--print", "sysroot"]).map(PathBuf::from).into_iter().collect();
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    if let Some(entries) = home.and_then(|home| std::fs::read_dir(home.join("toolchains")).ok()) {
        toolchains.extend(entries.flatten().map(|entry| entry.path()));
    }
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    toolchains
        .into_iter()
        .map(|folder| folder.join("lib/rustlib").join(&host).join("bin/rust-lld"))
        .find(|file| file.is_file())
        .or_else(|| {
            ["ld.lld-22", "ld.lld", "ld.lld-19", "ld.lld-18", "ld.lld-17"]
                .iter()
                .find_map(|name| apt::find_program(name))
        })
}

/// The clippy driver that belongs to the compiler that `command` uses: beside the precompiled library the toolchain's own,
/// else Debian's, which is only unpacked.
pub fn clippy_driver(command: &Command) -> Result<PathBuf> {
    let compiler = command.get_envs().find(|(name, _)| *name == "RUSTC").and_then(|(_, value)| value);
    let Some(compiler) = compiler else {
        return match apt::find_program("clippy-driver") {
            Some(found) => Ok(found),
            None => bail!("clippy is missing: rustup component add clippy"),
        };
    };
    let version = ask(&compiler.to_string_lossy(), &["--version"]).unwrap_or_default();
    let beside = Path::new(compiler).with_file_name("clippy-driver");
    if beside.is_file() {
        return Ok(beside);
    }
    let Some(host) = Architecture::host() else { bail!("no clippy for this host") };
    for package in ["rust-web-clippy", "rust-clippy"] {
        let Ok(tree) = apt::unpack(package, host) else { continue };
        let driver = tree.join("usr/bin/clippy-driver");
        let theirs = ask(&driver.to_string_lossy(), &["--rustc", "--version"]).unwrap_or_default();
        if parse_version(&theirs).is_some() && parse_version(&theirs) == parse_version(&version) {
            return Ok(driver);
        }
    }
    bail!("there is no clippy for {version}: apt-get install rust-web-clippy")
}
