//! The call tracer: each line is the one that `strace -f` prints, `[pid     7] read(3, "ab", 4096) = 2`.
//!
//! Switched on by `ashlar.trace=PID|all` on the command line and at run time by `/proc/sys/kernel/ashlar_trace`; see
//! [`crate::process::call_trace`]. Off, it costs dispatch one load. Lines go to the kernel log at debug level with the target `trace`, so that
//! `dmesg` shows them and a quiet console does not; the log cuts a line at its longest message.
//!
//! The row says what kind each argument is. Memory is read through [`memory::Memory`] alone: checked, bounded, and where it is not there the
//! bare address stands. What the call reads is written before it runs, as it may replace its memory or never return; from the first argument
//! on that it fills, the rest is written after.
//!
//! Where the lines differ from strace's: every process has its number before the line, a line is whole even when another process's came
//! in between, and a number without arguments in the table (a call that is absent) shows all six registers.

mod arguments;
mod arrays;
mod flags;
mod memory;
mod results;
mod strings;
mod structures;

use super::argument::{ArgumentKind, Structure, low_half};
use super::call::Call;
use super::lookup;
use super::names::process::CLONE;
use super::row::{Support, SystemCall};
use crate::arch::linux_interface::CloneOrder;
use crate::arch::{Current, Machine, Registers};
use crate::base::Result;
use crate::process::call_trace;
use crate::process::signal::SignalWork;
use alloc::string::String;
use arguments::{Arguments, Next, is_filled};
use core::fmt::Write;
use memory::{Memory, UserMemory};

/// The column of the result.
const RESULT_COLUMN: usize = 40;
/// Calls that do not come back: their line is whole before they run.
const ENDINGS: &[&str] = &["exit", "exit_group"];

/// Runs the call and logs it when its process is traced.
#[cold]
pub(super) fn traced(number: u64, call: &mut Call<'_>, run: fn(u64, &mut Call<'_>) -> Result<u64>) -> Result<u64> {
    if !call_trace::includes(call.process.pid()) {
        return run(number, call);
    }
    let row = lookup::row(number);
    let registers = call.frame.arguments();
    let mut line = call_trace::prefix(call.thread.tid());
    let written = before(&mut line, number, row, registers, &UserMemory);
    if row.is_some_and(|row| ENDINGS.contains(&row.name)) {
        finish(&mut line, "?");
        log::debug!(target: "trace", "{line}");
        return run(number, call);
    }
    let returned = run(number, call);
    if row.is_some_and(|row| row.name == "rt_sigreturn") {
        line.push_str("{mask=");
        flags::mask(&mut line, call.thread.signals.blocked());
        line.push('}');
    }
    // A call that ended its own process, `kill` say, has no result that anybody will see.
    let result = if call.thread.signals.work().contains(SignalWork::KILL) { None } else { Some(returned) };
    after(&mut line, row, registers, written, result, &UserMemory);
    log::debug!(target: "trace", "{line}");
    returned
}

/// Writes the name and the arguments that are there before the call; gives how many, or `None` when that is all of them.
fn before(
    line: &mut String,
    number: u64,
    row: Option<&SystemCall>,
    registers: [u64; 6],
    memory: &dyn Memory,
) -> Option<usize> {
    let arguments = Arguments { registers, memory, value: None };
    let Some(row) = row.filter(|row| row.support != Support::Absent) else {
        let _ = match row {
            Some(row) => write!(line, "{}(", row.name),
            None => write!(line, "syscall_{number:#x}("),
        };
        for position in 0..registers.len() {
            arguments.write(line, ArgumentKind::Flags, position);
        }
        return None;
    };
    let _ = write!(line, "{}(", row.name);
    if row.name == "clone" {
        clone(line, registers);
        return None;
    }
    for (position, argument) in row.arguments.iter().enumerate() {
        if is_filled(argument.kind) {
            return Some(position);
        }
        if arguments.write(line, argument.kind, position) == Next::End {
            return None;
        }
    }
    None
}

/// Writes the rest of the arguments and the result.
fn after(
    line: &mut String,
    row: Option<&SystemCall>,
    registers: [u64; 6],
    written: Option<usize>,
    result: Option<Result<u64>>,
    memory: &dyn Memory,
) {
    let arguments = Arguments { registers, memory, value: result.and_then(Result::ok) };
    let rows = row.map_or(&[][..], |row| row.arguments);
    for (position, argument) in rows.iter().enumerate().skip(written.unwrap_or(rows.len())) {
        if arguments.write(line, argument.kind, position) == Next::End {
            break;
        }
    }
    let mut text = String::new();
    let name = row.map_or("", |row| row.name);
    match result {
        None => text.push('?'),
        Some(Ok(value)) => {
            results::value(&mut text, name, &registers, value);
            let [descriptors, count, timeout, ..] = registers;
            if matches!(name, "poll" | "ppoll") && value > 0 {
                text.push_str(" (");
                arrays::poll_found(&mut text, memory, descriptors, count);
                if name == "ppoll" && timeout != 0 {
                    text.push_str(", left ");
                    structures::structure(&mut text, memory, Structure::TimeSpecification, timeout);
                }
                text.push(')');
            }
        }
        Some(Err(error)) => results::error(&mut text, error),
    }
    finish(line, &text);
}

/// Closes the arguments and writes the result in its column.
fn finish(line: &mut String, result: &str) {
    line.push_str(") ");
    while line.len() < RESULT_COLUMN {
        line.push(' ');
    }
    let _ = write!(line, "= {result}");
}

/// The arguments of `clone`, which strace names, because their order is the machine's.
fn clone(line: &mut String, registers: [u64; 6]) {
    let [flags, stack, parent, fourth, fifth, _] = registers;
    let (child, storage) = match Current::LINUX.clone_order {
        CloneOrder::ChildThenThreadPointer => (fourth, fifth),
        CloneOrder::ThreadPointerThenChild => (fifth, fourth),
    };
    line.push_str("child_stack=");
    strings::address(line, stack);
    line.push_str(", flags=");
    let (bits, signal) = (flags & !0xff, low_half(flags & 0xff).cast_signed());
    flags::bits(line, &CLONE, bits);
    if signal != 0 || bits == 0 {
        line.push_str(if bits == 0 { "" } else { "|" });
        flags::signal(line, signal);
    }
    for (bit, name, value) in
        [(0x10_1000, "parent_tid", parent), (0x8_0000, "tls", storage), (0x120_0000, "child_tidptr", child)]
    {
        if flags & bit != 0 {
            let _ = write!(line, ", {name}=");
            strings::address(line, value);
        }
    }
}
