//! `docs/SYSCALLS.md`, made from the table.

use super::row::{Requirement, Support};
use super::table::SUBJECTS;
use alloc::string::String;
use core::fmt::Write;

/// The whole reference, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    let rows = || SUBJECTS.iter().flat_map(|(_, rows)| rows.iter());
    let full = rows().filter(|row| row.support == Support::Full).count();
    let partial = rows().filter(|row| matches!(row.support, Support::Partial(_))).count();
    let absent = rows().filter(|row| row.support == Support::Absent).count();
    let _ = writeln!(
        text,
        "{full} calls are supported in full, {partial} in part; {absent} more are known by name and absent.\n"
    );
    for (subject, rows) in SUBJECTS {
        let _ = writeln!(text, "## {subject}\n");
        for row in *rows {
            let _ = write!(text, "### {}\n\n`{}(", row.name, row.name);
            for (position, argument) in row.arguments.iter().enumerate() {
                let _ = write!(text, "{}{}", if position == 0 { "" } else { ", " }, argument.name);
            }
            let _ = write!(text, ")`: x86_64 {}, aarch64 {}. ", Number(row.x86_64), Number(row.aarch64));
            let _ = match row.requirement {
                Requirement::Nothing => Ok(()),
                Requirement::Always(capability) => write!(text, "Needs {}. ", capability.name()),
                Requirement::Conditional(capabilities) => {
                    text.push_str("May need");
                    for (position, capability) in capabilities.iter().enumerate() {
                        let _ = write!(text, "{} {}", if position == 0 { "" } else { " or" }, capability.name());
                    }
                    write!(text, ". ")
                }
            };
            let _ = match row.support {
                Support::Full => writeln!(text, "Supported."),
                Support::Partial(note) => writeln!(text, "Supported in part: {note}."),
                Support::Absent => writeln!(text, "Absent: answers ENOSYS."),
            };
            text.push('\n');
            for line in row.documentation.lines() {
                let _ = writeln!(text, "{}", line.trim());
            }
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A call's number, or that it has none on that machine.
struct Number(Option<u16>);

impl core::fmt::Display for Number {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(number) => write!(formatter, "{number}"),
            None => formatter.write_str("none"),
        }
    }
}

const HEAD: &str = "# System calls

This file is made from the kernel's table by `cargo xtask docs`; a test fails when it is stale. Do not edit it.

The interface is Linux's: numbers, argument registers, structures and error numbers of each machine.

| | x86_64 | AArch64 |
|---|---|---|
| instruction | `syscall` | `svc #0` |
| number | `rax` | `x8` |
| arguments | `rdi rsi rdx r10 r8 r9` | `x0 x1 x2 x3 x4 x5` |
| result | `rax` | `x0` |
| destroyed | `rcx r11` | none |

A result from -4095 to -1 is an error number, negated. A call that is absent, or a number that no row has, answers `ENOSYS`. A flag that is not
supported is refused as Linux refuses an unknown one. A capability named under *Needs* is checked before the handler runs and its lack is `EPERM`.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_the_reference() {
        let text = markdown();
        for (_, rows) in SUBJECTS {
            rows.iter().for_each(|row| assert!(text.contains(&format!("### {}\n", row.name))));
        }
    }

    #[test]
    fn the_committed_reference_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SYSCALLS.md");
        if std::env::var_os("ASHLAR_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "docs/SYSCALLS.md is stale: run `cargo xtask docs`");
    }
}
