//! From a number to a handler: the entries that a call needs, packed, and the run itself. [`super::lookup`] has the indexes.

use super::call::Call;
use super::lookup::{INDEX, LIMIT};
use super::row::{Handler, Requirement, Support};
use super::{table, trace};
use crate::arch::{Registers, TrapFrame};
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

fn absent(_call: &mut Call<'_>) -> Result<u64> {
    Err(Errno::ENOSYS)
}

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
                thread.signals.request_restart_check();
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
