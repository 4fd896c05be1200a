//! The call tracer, in the style of strace: `[pid] read(3, 0x7ffd5a50, 4096) = 17`.
//!
//! Switched on by `ashlar.trace=PID|all` on the command line and at run time by `/proc/sys/kernel/ashlar_trace`; see [`crate::process::call_trace`]. Off, it costs dispatch one load. Lines go to the kernel log at
//! debug level with the target `trace`, so that `dmesg` shows them and a quiet console does not.

use super::argument::ArgumentKind;
use super::call::Call;
use super::lookup;
use crate::arch::{Current, Registers, UserAccess};
use crate::base::{Result, VirtualAddress};
use crate::process::call_trace::{TraceTarget, target};
use alloc::string::String;
use core::fmt::Write;
/// Runs the call and logs it when its process is traced.
#[cold]
pub(super) fn traced(number: u64, call: &mut Call<'_>, run: fn(u64, &mut Call<'_>) -> Result<u64>) -> Result<u64> {
    let pid = call.process.pid();
    if !matches!(target(), TraceTarget::Everybody) && target() != TraceTarget::Process(pid) {
        return run(number, call);
    }
    // The line is written in two parts because a call may replace the memory that its arguments point to, or never return.
    let mut line = String::new();
    format_call(&mut line, number, call);
    let result = run(number, call);
    match result {
        Ok(value) if (value as i64) < 0 || value > 0xffff_ffff => {
            log::debug!(target: "trace", "[{pid}] {line} = {value:#x}")
        }
        Ok(value) => log::debug!(target: "trace", "[{pid}] {line} = {value}"),
        Err(error) => log::debug!(target: "trace", "[{pid}] {line} = -1 {error}"),
    }
    result
}

/// Writes `name(arguments)`.
fn format_call(line: &mut String, number: u64, call: &Call<'_>) {
    let registers = call.frame.arguments();
    let Some(row) = lookup::row(number) else {
        let _ = write!(line, "syscall_{number:#x}({registers:#x?})");
        return;
    };
    let _ = write!(line, "{}(", row.name);
    for (position, (argument, register)) in row.arguments.iter().zip(registers).enumerate() {
        if position > 0 {
            line.push_str(", ");
        }
        format_argument(line, argument.kind, register);
    }
    line.push(')');
}

#[expect(clippy::cast_possible_truncation, reason = "32-bit arguments are the register's low half")]
fn format_argument(line: &mut String, kind: ArgumentKind, register: u64) {
    let low = register as u32;
    let _ = match kind {
        ArgumentKind::Signed if register <= u64::from(u32::MAX) => write!(line, "{}", low.cast_signed()),
        ArgumentKind::Signed => write!(line, "{}", register.cast_signed()),
        ArgumentKind::ProcessId => write!(line, "{}", low.cast_signed()),
        ArgumentKind::Unsigned => write!(line, "{register}"),
        ArgumentKind::Flags => write!(line, "{register:#x}"),
        ArgumentKind::Mode => write!(line, "{low:#o}"),
        ArgumentKind::Address if register == 0 => write!(line, "NULL"),
        ArgumentKind::Address => write!(line, "{register:#x}"),
        ArgumentKind::FileDescriptor if low.cast_signed() == -100 => write!(line, "AT_FDCWD"),
        ArgumentKind::FileDescriptor => write!(line, "{}", low.cast_signed()),
        ArgumentKind::Signal => write!(line, "{low}"),
        ArgumentKind::Path => match read_path(VirtualAddress::new(register)) {
            Some(path) => write!(line, "\"{}\"", path.escape_ascii()),
            None => write!(line, "{register:#x}"),
        },
    };
}

/// The first bytes of a path argument.
fn read_path(address: VirtualAddress) -> Option<alloc::vec::Vec<u8>> {
    let mut buffer = [0; 256];
    let length = Current::copy_string_from_user(&mut buffer, address).ok()?.unwrap_or(buffer.len());
    buffer.get(..length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_look_as_strace_prints_them() {
        let mut line = String::new();
        for (kind, register) in [
            (ArgumentKind::FileDescriptor, 0xffff_ff9c),
            (ArgumentKind::Mode, 0o644),
            (ArgumentKind::Address, 0),
            (ArgumentKind::Signed, 0xffff_ffff),
        ] {
            format_argument(&mut line, kind, register);
            line.push(' ');
        }
        assert_eq!(line, "AT_FDCWD 0o644 NULL -1 ");
    }
}
