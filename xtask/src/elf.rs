//! Looking at a program on the host: for which machine it is, whether it needs an interpreter, which libraries it loads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

use crate::progress::quietly;
use crate::target::Architecture;
use crate::usage;

/// What the tool wants to know of a program.
#[derive(Debug, PartialEq, Eq)]
pub enum Program {
    /// Needs nothing but itself.
    Static,
    /// Needs this interpreter (`PT_INTERP`) and what that loads.
    Dynamic {
        /// The interpreter's path.
        interpreter: PathBuf,
    },
    /// A text that starts with `#!`.
    Script,
}

/// Reads a program that shall run on `architecture`; a mistake is told in one line.
pub fn inspect(path: &Path, architecture: Architecture) -> Result<(Program, Vec<u8>)> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) => usage!("cannot read {}: {error}", path.display()),
    };
    if content.starts_with(b"#!") {
        return Ok((Program::Script, content));
    }
    let name = path.display();
    let Ok(header) = elf::FileHeader64::<Endianness>::parse(content.as_slice()) else {
        usage!("{name} is neither a 64-bit ELF program nor a script");
    };
    let Ok(endian) = header.endian() else { usage!("{name} is a damaged ELF file") };
    let machine = header.e_machine(endian);
    if machine != architecture.elf_machine() {
        usage!("{name} is for another machine (ELF machine {machine}), not for {}", architecture.name());
    }
    let Ok(segments) = header.program_headers(endian, content.as_slice()) else {
        usage!("{name} is a damaged ELF file: its program headers cannot be read");
    };
    for segment in segments {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, content.as_slice()) {
            let interpreter = PathBuf::from(String::from_utf8_lossy(interpreter).into_owned());
            return Ok((Program::Dynamic { interpreter }, content));
        }
    }
    Ok((Program::Static, content))
}

/// Whether `path` is a static program for the machine that the tool runs on.
pub fn is_static(path: &Path) -> bool {
    let Some(host) = Architecture::host() else { return false };
    matches!(inspect(path, host), Ok((Program::Static, _)))
}

/// The files that the interpreter would load for the program `path` on this host, the interpreter itself among them.
pub fn libraries(path: &Path, interpreter: &Path) -> Result<Vec<PathBuf>> {
    let said = match quietly(Command::new(interpreter).arg("--list").arg(path)) {
        Ok(said) => said,
        Err(_) => usage!("{} is dynamically linked, and its libraries are not all on this host", path.display()),
    };
    let mut files = vec![interpreter.to_path_buf()];
    files.extend(parse_list(&said));
    Ok(files)
}

/// The paths in the interpreter's list: `name => /path (address)` or `/path (address)`.
fn parse_list(said: &str) -> Vec<PathBuf> {
    said.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_libraries() {
        let said = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        assert_eq!(
            parse_list(said),
            [PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]
        );
    }

    #[test]
    fn refusals_are_one_line() {
        let told = inspect(Path::new("/nonexistent"), Architecture::X86_64).unwrap_err().to_string();
        assert!(told.starts_with("cannot read /nonexistent") && !told.contains('\n'));
        let told = inspect(Path::new("/etc/passwd"), Architecture::X86_64).unwrap_err().to_string();
        assert!(told.contains("neither") && !told.contains('\n'));
    }
}
