//! From a number to a handler.

use super::call::Call;
use super::row::{Handler, Requirement, Support, SystemCall};
use super::{table, trace};
use crate::arch::{Cpu, Current, LinuxInterface, Machine, Registers, TrapFrame};
use crate::base::{Errno, Result};
use crate::process::{Process, Thread, call_trace};
use crate::security::Capability;
use alloc::sync::Arc;

/// What dispatch needs of a row, packed: 16 bytes, so that a look-up is a shift and two loads.
#[derive(Clone, Copy)]
struct Entry {
    handler: Handler,
    capability: Option<Capability>,
}

/// Numbers 0..LIMIT are looked up; both machines' tables end below.
const LIMIT: usize = 512;

fn absent(_call: &mut Call<'_>) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// The row's number in a machine's interface.
#[must_use]
pub const fn number(row: &SystemCall, interface: &LinuxInterface) -> Option<u16> {
    interface.system_calls.pick(row.x86_64, row.aarch64)
}

/// For each number of a machine, the index of its row plus one. A number that two rows claim does not compile.
#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time; the table is far shorter than 65,535 rows"
)]
const fn index(interface: &LinuxInterface) -> [u16; LIMIT] {
    let mut index = [0u16; LIMIT];
    let mut row = 0;
    while row < table::TABLE.len() {
        if let Some(number) = number(&table::TABLE[row], interface) {
            assert!((number as usize) < LIMIT, "a number beyond the table's limit");
            if index[number as usize] != 0 {
                panic!("two rows claim one number");
            }
            index[number as usize] = row as u16 + 1;
        }
        row += 1;
    }
    index
}

// Made for each machine wherever one is compiled: a number that two rows claim compiles for none.
const _: [[u16; LIMIT]; 2] = [index(&LinuxInterface::X86_64), index(&LinuxInterface::AARCH64)];

/// This machine's.
static INDEX: [u16; LIMIT] = index(&Current::LINUX);

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn entries(index: &[u16; LIMIT]) -> [Entry; LIMIT] {
    let mut entries = [Entry { handler: absent, capability: None }; LIMIT];
    let mut number = 0;
    while number < LIMIT {
        if index[number] != 0 {
            let row = &table::TABLE[index[number] as usize - 1];
            if let Some(handler) = row.handler {
                assert!(!matches!(row.support, Support::Absent), "an absent call has a handler");
                entries[number].handler = handler;
            }
            if let Requirement::Always(capability) = row.requirement {
                entries[number].capability = Some(capability);
            }
        }
        number += 1;
    }
    entries
}

static ENTRIES: [Entry; LIMIT] = entries(&INDEX);

/// The row of a number on this machine, for the tracer and the like.
#[must_use]
pub fn row(number: u64) -> Option<&'static SystemCall> {
    let row = *INDEX.get(usize::try_from(number).ok()?)?;
    table::TABLE.get(usize::from(row).checked_sub(1)?)
}

/// Runs the system call in `frame` for `thread` and puts the result there. Interrupts are enabled.
#[inline]
pub fn dispatch(thread: &Arc<Thread>, process: &Arc<Process>, frame: &mut TrapFrame) {
    // Linux takes the register for an `int`: its upper half may hold anything.
    let number = frame.system_call_number().map_or(u64::MAX, |register| register & u64::from(u32::MAX));
    let mut call = Call { thread, process, frame };
    let result = if call_trace::is_on() { trace::traced(number, &mut call, run) } else { run(number, &mut call) };
    // A call that replaced the registers (execve, rt_sigreturn) gives the value that is to be in the result register.
    frame.set_result(match result {
        Ok(value) => value,
        Err(error) => {
            // The way to user mode decides what becomes of a call that wants to start again.
            if error.is_restart() {
                Current::local().request_work();
            }
            error.to_register()
        }
    });
}

#[inline]
fn run(number: u64, call: &mut Call<'_>) -> Result<u64> {
    let Some(entry) = usize::try_from(number).ok().and_then(|number| ENTRIES.get(number)) else {
        return Err(Errno::ENOSYS);
    };
    if let Some(capability) = entry.capability
        && !call.thread.credentials().may(capability)
    {
        return Err(Errno::EPERM);
    }
    (entry.handler)(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_linux() {
        // The registry crate carries the tables of both machines, made from Linux's own headers.
        for row in &table::TABLE {
            if let Some(number) = row.x86_64 {
                let theirs = syscalls::x86_64::Sysno::new(number.into()).map(|call| call.name());
                assert_eq!(theirs, Some(row.name), "x86_64 {number}");
            }
            if let Some(number) = row.aarch64 {
                let theirs = syscalls::aarch64::Sysno::new(number.into()).map(|call| call.name());
                assert_eq!(theirs.map(linux_name), Some(row.name), "aarch64 {number}");
            }
        }
    }

    /// arm64's headers call two of them by their generic names.
    fn linux_name(name: &'static str) -> &'static str {
        match name {
            "fstatat" => "newfstatat",
            other => other,
        }
    }

    /// A call that a machine's Linux has is not missing there in the table, and none is there that it has not.
    #[test]
    fn a_row_is_missing_on_a_machine_only_where_linux_has_no_such_call() {
        let x86: Vec<&str> = syscalls::x86_64::Sysno::iter().map(|call| call.name()).collect();
        let arm: Vec<&str> = syscalls::aarch64::Sysno::iter().map(|call| linux_name(call.name())).collect();
        for row in &table::TABLE {
            assert_eq!(row.x86_64.is_some(), x86.contains(&row.name), "{} on x86_64", row.name);
            assert_eq!(row.aarch64.is_some(), arm.contains(&row.name), "{} on aarch64", row.name);
        }
        for name in
            ["open", "stat", "fork", "vfork", "pipe", "dup2", "access", "poll", "select", "epoll_create", "mkdir"]
        {
            assert_eq!(table::TABLE.iter().find(|row| row.name == name).map(|row| row.aarch64), Some(None), "{name}");
        }
    }

    #[test]
    fn every_row_is_whole() {
        for row in &table::TABLE {
            assert_eq!(row.handler.is_none(), row.support == Support::Absent, "{}", row.name);
            assert!(row.arguments.len() <= 6 && !row.documentation.trim().is_empty(), "{}", row.name);
            assert!(row.x86_64.is_some() || row.aarch64.is_some(), "{}", row.name);
        }
        let mut names: Vec<_> = table::TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    }

    #[test]
    fn an_unknown_number_has_no_row() {
        assert!(row(u64::MAX).is_none() && row(511).is_none());
    }
}
