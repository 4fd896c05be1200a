//! Values and bits by name, signals and modes.

use crate::process::signal::{Signal, SignalSet};
use crate::syscall::names::{BitNames, ValueNames};
use alloc::string::String;
use core::fmt::Write;

/// Writes `value` by name, or as a number with a comment.
pub(super) fn value(line: &mut String, names: &ValueNames, value: u64) {
    let _ = match names.name(value) {
        Some(name) => write!(line, "{name}"),
        None => write!(line, "{value:#x} /* {} */", names.unknown),
    };
}

/// Writes the bits of `value` by name, those without one in hexadecimal.
pub(super) fn bits(line: &mut String, names: &BitNames, value: u64) {
    if value == 0 {
        line.push_str(names.zero);
        return;
    }
    let mut rest = value;
    let mut first = true;
    let mut next = |line: &mut String| {
        if !core::mem::take(&mut first) {
            line.push('|');
        }
    };
    let mut named = false;
    if let Some(field) = &names.field {
        let inside = value & field.mask;
        if let Some((_, name)) = field.values.iter().find(|(known, _)| *known == inside) {
            rest &= !field.mask;
            named = true;
            next(line);
            line.push_str(name);
        }
    }
    for (bits, name) in names.bits {
        if *bits != 0 && rest & bits == *bits {
            rest &= !bits;
            named = true;
            next(line);
            line.push_str(name);
        }
    }
    if rest != 0 {
        next(line);
        let _ = write!(line, "{rest:#x}");
        if !named {
            let _ = write!(line, " /* {} */", names.unknown);
        }
    }
}

/// Writes a mode in octal.
pub(super) fn mode(line: &mut String, mode: u32) {
    let _ = write!(line, "0{mode:02o}");
}

/// Writes a mode with the file's kind, as a file's status has it.
pub(super) fn file_mode(line: &mut String, mode: u32) {
    let kind = match mode & 0o170_000 {
        0o010_000 => "S_IFIFO",
        0o020_000 => "S_IFCHR",
        0o040_000 => "S_IFDIR",
        0o060_000 => "S_IFBLK",
        0o100_000 => "S_IFREG",
        0o120_000 => "S_IFLNK",
        0o140_000 => "S_IFSOCK",
        _ => "",
    };
    line.push_str(kind);
    for (bit, name) in [(0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")] {
        if mode & bit != 0 {
            let _ = write!(line, "|{name}");
        }
    }
    let rest = if kind.is_empty() { mode & !0o7000 } else { mode & 0o777 };
    let _ = write!(line, "{}0{rest:02o}", if kind.is_empty() { "" } else { "|" });
}

/// Writes a signal by name, `SIGRT_8` for a real-time one, or a number that is none.
pub(super) fn signal(line: &mut String, number: i32) {
    let _ = match Signal::from_argument(number) {
        Some(signal) => write!(line, "{signal}"),
        None => write!(line, "{number}"),
    };
}

/// Writes a set of signals, `[USR1 CHLD]`, or what lacks of a nearly full one, `~[KILL]`.
pub(super) fn signal_set(line: &mut String, set: u64) {
    let set = if set.count_ones() >= 64 * 2 / 3 {
        line.push('~');
        !set
    } else {
        set
    };
    line.push('[');
    for (position, number) in (1..=64).filter(|number| set >> (number - 1) & 1 != 0).enumerate() {
        if position > 0 {
            line.push(' ');
        }
        let mut name = String::new();
        signal(&mut name, number);
        line.push_str(name.strip_prefix("SIG").unwrap_or(&name));
    }
    line.push(']');
}

/// The set that the mask of a thread is.
pub(super) fn mask(line: &mut String, set: SignalSet) {
    let bits = set.iter().fold(0, |bits, signal| bits | signal.bit());
    signal_set(line, bits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::names::{file, memory, process};

    fn written(write: impl Fn(&mut String)) -> String {
        let mut line = String::new();
        write(&mut line);
        line
    }

    #[test]
    fn bits_look_as_strace_writes_them() {
        for (names, value, expected) in [
            (&file::OPEN, 0, "O_RDONLY"),
            (&file::OPEN, 0o102, "O_RDWR|O_CREAT"),
            (&file::OPEN, 0o4_010_000, "O_RDONLY|O_SYNC"),
            (&file::OPEN, 0o10000, "O_RDONLY|O_DSYNC"),
            (&memory::PROTECTION, 0, "PROT_NONE"),
            (&memory::PROTECTION, 0x47, "PROT_READ|PROT_WRITE|PROT_EXEC|0x40"),
            (&memory::PROTECTION, 0x40, "0x40 /* PROT_??? */"),
            (&memory::MAP, 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
            (&memory::MAP, 0x80000, "MAP_FILE|MAP_SYNC"),
            (&file::ACCESS, 0, "F_OK"),
            (&file::ACCESS, 6, "R_OK|W_OK"),
            (&process::WAIT, 0, "0"),
            (&file::STATX_MASK, 0x7ff, "STATX_BASIC_STATS"),
        ] {
            assert_eq!(written(|line| bits(line, names, value)), expected);
        }
    }

    #[test]
    fn values_without_a_name_are_told() {
        assert_eq!(written(|line| value(line, &file::WHENCE, 2)), "SEEK_END");
        assert_eq!(written(|line| value(line, &file::CONTROL, 12345)), "0x3039 /* F_??? */");
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(written(|line| mode(line, 0o644)), "0644");
        assert_eq!(written(|line| mode(line, 0)), "000");
        assert_eq!(written(|line| file_mode(line, 0o100_644)), "S_IFREG|0644");
        assert_eq!(written(|line| file_mode(line, 0o041_777)), "S_IFDIR|S_ISVTX|0777");
    }

    #[test]
    fn signals_and_sets_are_named() {
        assert_eq!(written(|line| signal(line, 10)), "SIGUSR1");
        assert_eq!(written(|line| signal(line, 99)), "99");
        assert_eq!(written(|line| signal_set(line, 1 << 9 | 1 << 39)), "[USR1 RT_8]");
        assert_eq!(written(|line| signal_set(line, !(3 << 31))), "~[RTMIN RT_1]");
        assert_eq!(written(|line| signal_set(line, 0)), "[]");
    }
}
