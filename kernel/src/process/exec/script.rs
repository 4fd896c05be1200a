//! The `#!` line of a script.

use crate::base::{Errno, Result};

/// How much of a file Linux looks at (`BINPRM_BUF_SIZE`).
pub const LOOKED_AT: usize = 256;

/// What the first line names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The interpreter's path.
    pub interpreter: &'a [u8],
    /// Its one argument, with inner blanks, if there is one.
    pub argument: Option<&'a [u8]>,
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Reads the first line of a file that begins with `bytes`; `None` when it is no script.
///
/// # Errors
/// `ENOEXEC`: no interpreter is named, or its name does not end within the first 256 bytes.
pub fn parse(bytes: &[u8]) -> Result<Option<Line<'_>>> {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT)];
    let Some(line) = bytes.strip_prefix(b"#!") else { return Ok(None) };
    let end = line.iter().position(|byte| *byte == b'\n');
    let is_cut = end.is_none() && bytes.len() == LOOKED_AT;
    let line = line.get(..end.unwrap_or(line.len())).unwrap_or(line);
    let start = line.iter().position(|byte| !is_blank(byte)).ok_or(Errno::ENOEXEC)?;
    let line = &line[start..];
    let name_end = line.iter().position(|byte| is_blank(byte) || *byte == 0);
    if name_end.is_none() && is_cut {
        return Err(Errno::ENOEXEC);
    }
    let (interpreter, rest) = line.split_at(name_end.unwrap_or(line.len()));
    if interpreter.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    // What follows a NUL is no text; blanks around the argument are not part of it.
    let rest = rest.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let first = rest.iter().position(|byte| !is_blank(byte));
    let last = rest.iter().rposition(|byte| !is_blank(byte));
    let argument = match (first, last) {
        (Some(first), Some(last)) => rest.get(first..=last),
        _ => None,
    };
    Ok(Some(Line { interpreter, argument }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(interpreter: &'a str, argument: Option<&'a str>) -> Result<Option<Line<'a>>> {
        Ok(Some(Line { interpreter: interpreter.as_bytes(), argument: argument.map(str::as_bytes) }))
    }

    #[test]
    fn lines_are_read_as_linux_reads_them() {
        assert_eq!(parse(b"#!/bin/sh\n"), line("/bin/sh", None));
        assert_eq!(parse(b"#! \t/bin/sh -e \t\nrest"), line("/bin/sh", Some("-e")));
        assert_eq!(parse(b"#!/usr/bin/env  python3 -u\n"), line("/usr/bin/env", Some("python3 -u")));
        assert_eq!(parse(b"#!/bin/sh"), line("/bin/sh", None));
        assert_eq!(parse(b"#!/bin/sh \0 x\n"), line("/bin/sh", None));
        assert_eq!(parse(b"\x7fELF"), Ok(None));
        assert_eq!(parse(b"#"), Ok(None));
    }

    #[test]
    fn a_line_without_a_name_is_no_program() {
        assert_eq!(parse(b"#!"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"#!  \n/bin/sh"), Err(Errno::ENOEXEC));
        let mut long = b"#!/".to_vec();
        long.resize(300, b'x');
        assert_eq!(parse(&long), Err(Errno::ENOEXEC));
        long[200] = b' ';
        assert!(parse(&long).unwrap().unwrap().argument.is_some());
    }
}
