//! Results as strace writes them.

use super::flags;
use crate::base::Errno;
use crate::syscall::argument::low_half;
use crate::syscall::names::file;
use alloc::string::String;
use core::fmt::Write;

/// Calls whose result is an address.
const ADDRESSES: &[&str] = &["mmap", "mremap", "brk"];

/// Writes a failure.
pub(super) fn error(line: &mut String, error: Errno) {
    let _ = match error {
        Errno::ERESTARTSYS => write!(line, "? ERESTARTSYS (To be restarted if SA_RESTART is set)"),
        Errno::ERESTARTNOINTR => write!(line, "? ERESTARTNOINTR (To be restarted)"),
        Errno::ERESTARTNOHAND => write!(line, "? ERESTARTNOHAND (To be restarted if no handler)"),
        Errno::ERESTARTBLOCK => write!(line, "? ERESTART_RESTARTBLOCK (Interrupted by signal)"),
        error => write!(line, "-1 {} ({})", error.name(), error.description()),
    };
}

/// Writes the value of call `name`, whose registers were `registers`.
pub(super) fn value(line: &mut String, name: &str, registers: &[u64; 6], value: u64) {
    let [_, second, ..] = *registers;
    let _ = match (name, low_half(second)) {
        ("fcntl", 1) => flagged(line, &file::CLOSE_ON_EXEC, value),
        ("fcntl", 3) => flagged(line, &file::OPEN, value),
        ("umask", _) => {
            flags::mode(line, low_half(value));
            Ok(())
        }
        ("poll" | "ppoll" | "select" | "pselect6", _) if value == 0 => write!(line, "0 (Timeout)"),
        _ if ADDRESSES.contains(&name) => write!(line, "{value:#x}"),
        _ => write!(line, "{}", value.cast_signed()),
    };
}

fn flagged(line: &mut String, names: &crate::syscall::names::BitNames, value: u64) -> core::fmt::Result {
    if value == 0 && names.zero == "0" {
        return write!(line, "0");
    }
    write!(line, "{value:#x} (flags ")?;
    flags::bits(line, names, value);
    write!(line, ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, second: u64, result: u64) -> String {
        let mut line = String::new();
        value(&mut line, name, &[0, second, 0, 0, 0, 0], result);
        line
    }

    #[test]
    fn results_look_as_strace_writes_them() {
        assert_eq!(written("brk", 0, 0x4000), "0x4000");
        assert_eq!(written("read", 0, 17), "17");
        assert_eq!(written("fcntl", 1, 1), "0x1 (flags FD_CLOEXEC)");
        assert_eq!(written("fcntl", 1, 0), "0");
        assert_eq!(written("fcntl", 3, 0o2001), "0x401 (flags O_WRONLY|O_APPEND)");
        assert_eq!(written("umask", 0, 0o22), "022");
        assert_eq!(written("poll", 0, 0), "0 (Timeout)");
    }

    #[test]
    fn errors_are_named_and_restarts_are_not_failures() {
        let mut line = String::new();
        error(&mut line, Errno::ENOENT);
        line.push(' ');
        error(&mut line, Errno::ERESTARTSYS);
        assert_eq!(line, "-1 ENOENT (No such file or directory) ? ERESTARTSYS (To be restarted if SA_RESTART is set)");
    }
}
