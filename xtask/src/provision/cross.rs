//! What programs of `user/` for another architecture than the host's are made with: Rust's standard library and a static C library.
//!
//! The standard library is the one of the user's own toolchain where it is installed or `rustup` may install it; else Debian's package
//! of the other architecture, which fits Debian's compiler of the same version. The C library and the C compiler's own are Debian's
//! too. All are only unpacked. LLVM's linker links for every machine, so no cross compiler is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};

use super::{apt, rust};
use crate::progress::{quietly, step};
use crate::target::Architecture;
use crate::workspace;

/// A compiler that has a standard library for the architecture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Toolchain {
    /// The compiler; `None` is the one in `PATH`.
    pub compiler: Option<PathBuf>,
    /// Where the standard library is when it is not the compiler's own.
    pub sysroot: Option<PathBuf>,
}

/// Finds a standard library for `architecture`, or gets one.
pub fn standard_library(architecture: Architecture) -> Result<Toolchain> {
    let target = architecture.linux_target();
    let own = Toolchain { compiler: None, sysroot: None };
    if works(&own, target) {
        return Ok(own);
    }
    if rust::rustup_may_install() {
        let added = step(&format!("Installing Rust's standard library for {target}"), || {
            quietly(Command::new("rustup").args(["target", "add", target]))
        });
        if added.is_ok() && works(&own, target) {
            return Ok(own);
        }
    }
    let compiler = rust::system_compiler(&format!("a Rust compiler with a library for {target}"))?;
    let mut failure = None;
    for package in ["libstd-rust-web-dev", "libstd-rust-dev"] {
        // Twice: what was unpacked earlier may belong to a compiler that was replaced since.
        for _ in 0..2 {
            let tree = match apt::unpack(package, architecture) {
                Ok(tree) => tree,
                Err(error) => {
                    failure.get_or_insert(error);
                    break;
                }
            };
            let found = Toolchain { compiler: Some(compiler.clone()), sysroot: Some(tree.join("usr")) };
            if works(&found, target) {
                return Ok(found);
            }
            std::fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
        }
    }
    let told = format!("no standard library for {target} fits {}: rustup target add {target}", compiler.display());
    Err(failure.unwrap_or_else(|| anyhow!("the versions differ")).context(told))
}

/// Whether the compiler takes the library: asked of it, as versions must be the same to the letter.
fn works(toolchain: &Toolchain, target: &str) -> bool {
    let Ok(folder) = workspace::downloads() else { return false };
    let output = folder.join(format!("probe-{}.rmeta", std::process::id()));
    let mut command = match &toolchain.compiler {
        Some(compiler) => Command::new(compiler),
        None => Command::new("rustc"),
    };
    if let Some(sysroot) = &toolchain.sysroot {
        command.arg("--sysroot").arg(sysroot);
    }
    command.args(["--crate-type=lib", "--emit=metadata", "--target", target, "-"]).arg("-o").arg(&output);
    // Standard input is an empty crate.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let answer = command.status().is_ok_and(|status| status.success());
    let _ = std::fs::remove_file(output);
    answer
}

/// The linker's arguments that make a static program of Debian's C library for `architecture`.
pub fn c_library(architecture: Architecture) -> Result<Vec<String>> {
    let compiler = match apt::unpacked("libgcc-", architecture)? {
        Some(tree) => tree,
        None => {
            // `gcc` depends on `gcc-N`, whose library is `libgcc-N-dev`.
            let package = apt::resolve("gcc", "gcc-", architecture)?;
            apt::unpack(&format!("lib{package}-dev"), architecture)?
        }
    };
    let library = apt::unpack("libc6-dev", architecture)?;
    let triple = format!("{}-linux-gnu", architecture.name());
    let of_c = library.join("usr/lib").join(&triple);
    let versions = compiler.join("usr/lib/gcc").join(&triple);
    let of_compiler = std::fs::read_dir(&versions)
        .with_context(|| format!("no {}", versions.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|folder| folder.join("crtbeginS.o").is_file())
        .context("the package libgcc holds no crtbeginS.o")?;
    Ok(arguments(&library, &of_c, &of_compiler))
}

/// Position-independent, as the host's compiler links static programs; and with the plain start file the order that rustc
/// leaves us would define a symbol twice.
fn arguments(root: &Path, of_c: &Path, of_compiler: &Path) -> Vec<String> {
    let mut words: Vec<String> = ["-pie", "--no-dynamic-linker", "-ztext"].map(str::to_owned).to_vec();
    words.push(format!("--sysroot={}", root.display()));
    for (folder, file) in [
        (of_c, "rcrt1.o"),
        (of_c, "crti.o"),
        (of_compiler, "crtbeginS.o"),
        (of_compiler, "crtendS.o"),
        (of_c, "crtn.o"),
    ] {
        words.push(folder.join(file).display().to_string());
    }
    words.extend([of_c, of_compiler].map(|folder| format!("-L{}", folder.display())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_files_are_named_in_order() {
        let words = arguments(Path::new("/r"), Path::new("/r/c"), Path::new("/g"));
        let place = |word: &str| words.iter().position(|other| other == word).unwrap();
        assert!(place("/r/c/rcrt1.o") < place("/g/crtbeginS.o") && place("/g/crtendS.o") < place("/r/c/crtn.o"));
        assert!(words.contains(&"-L/g".to_owned()));
    }
}
