//! Signals that tell of files (`F_SETOWN`, `F_SETSIG`): whom, with what, and whether the one who named the owner may.
//!
//! Lock: the process table's, taken here.

use super::information::{SignalInformation, code};
use super::number::Signal;
use super::send::send_about_file;
use super::state::Target;
use crate::fs::PollEvents;
use crate::fs::signal_hook::{FileOwner, Readiness};
use crate::process::table::{self, TableGuard};
use crate::process::{Process, Thread};
use crate::security::Credentials;
use alloc::sync::Arc;

/// Tells the owner of a file that `descriptor` has become ready. What cannot be queued becomes `SIGIO`, as on Linux.
pub(super) fn tell(owner: &FileOwner, readiness: Readiness, descriptor: i32) {
    let table = table::lock();
    match owner.id {
        id if owner.is_thread => {
            if let Some(thread) = table.thread(id).filter(|thread| may_signal(owner, &thread.credentials())) {
                send(owner, readiness, descriptor, thread.process(), Target::Thread(&thread.signals), &table);
            }
        }
        id if id > 0 => {
            if let Some(process) = table.process(id) {
                tell_process(owner, readiness, descriptor, process, &table);
            }
        }
        id => {
            let group = id.checked_neg().and_then(|number| table.group(number));
            for process in group.iter().flat_map(|group| group.members(&table)) {
                tell_process(owner, readiness, descriptor, process, &table);
            }
        }
    }
}

fn tell_process(owner: &FileOwner, readiness: Readiness, descriptor: i32, process: &Arc<Process>, table: &TableGuard) {
    let may = |thread: &Arc<Thread>| may_signal(owner, &thread.credentials());
    if process.family(table).threads.first().is_some_and(may) {
        send(owner, readiness, descriptor, process, Target::Process, table);
    }
}

/// Whether who named the owner may signal a thread with `target`'s credentials: as for `kill`, by what it was when it named it.
fn may_signal(owner: &FileOwner, target: &Credentials) -> bool {
    owner.euid == 0 || [target.suid, target.uid].iter().any(|user| *user == owner.euid || *user == owner.uid)
}

fn send(
    owner: &FileOwner,
    readiness: Readiness,
    descriptor: i32,
    process: &Arc<Process>,
    target: Target<'_>,
    table: &TableGuard,
) {
    let (code, band) = match readiness {
        Readiness::Input => (code::POLL_IN, PollEvents::READABLE),
        Readiness::Output => (code::POLL_OUT, PollEvents::WRITABLE | PollEvents::WRBAND),
    };
    let chosen = u32::try_from(owner.signal).ok().and_then(Signal::new);
    let is_sent = chosen.is_some_and(|signal| {
        let information = SignalInformation::file(signal, code, band.bits(), descriptor);
        send_about_file(process, target, signal, information, table).is_ok()
    });
    if !is_sent {
        // An ordinary signal is always kept.
        let _ = send_about_file(process, target, Signal::SIGIO, SignalInformation::from_kernel(Signal::SIGIO), table);
    }
}
