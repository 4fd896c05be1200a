//! Stopping and continuing as parents and process groups see it.
//!
//! The state machine is in [`super::state`]; here is what reaches beyond the process: the news for its parent, and the rule that
//! nobody who could continue them means no terminal stops (POSIX's orphaned process groups).

use super::action::ActionFlags;
use super::information::{SignalInformation, code};
use super::number::Signal;
use super::state::{JobChange, Target};
use super::thread::SignalWork;
use crate::arch::{Cpu, Current};
use crate::process::table::{self, TableGuard};
use crate::process::{Lifecycle, Process, ProcessGroup, Thread};
use crate::sync::{Interruptible, parking};
use alloc::sync::Arc;

/// Tells the parent that the process stopped or continued: wakes its `wait`, and sends SIGCHLD unless it does not want that.
pub fn report(process: &Arc<Process>, change: JobChange) {
    report_locked(process, change, &table::lock());
}

/// As [`report`], with the process table locked.
pub fn report_locked(process: &Arc<Process>, change: JobChange, table: &TableGuard) {
    let family = process.family(table);
    let Some(parent) = &family.parent else { return };
    let (si_code, status) = match change {
        JobChange::Stopped(signal) => (code::CLD_STOPPED, signal.number()),
        JobChange::Continued => (code::CLD_CONTINUED, Signal::SIGCONT.number()),
    };
    let action = parent.signals.action(Signal::SIGCHLD);
    if !action.is_ignore() && !action.action_flags().contains(ActionFlags::NO_CHILD_STOP) {
        let user = family.threads.first().map_or(0, |thread| thread.credentials().uid);
        // Times would need locks that interrupt context may not take; Linux's readers of these are none.
        let information = SignalInformation::child(si_code, process.pid(), user, status.cast_signed(), 0, 0);
        let _ = parent.signals.send(Target::Process, Signal::SIGCHLD, information, None);
    }
    parent.child_event.wake_all();
}

/// Whether no member of `group` has a parent in another group of the same session. `leaving` does not count as a member.
#[must_use]
pub fn is_orphaned(group: &ProcessGroup, leaving: Option<&Process>, table: &TableGuard) -> bool {
    !group.members(table).iter().any(|member| {
        let family = member.family(table);
        if leaving.is_some_and(|leaving| core::ptr::eq(leaving, &raw const **member))
            || family.lifecycle != Lifecycle::Alive
        {
            return false;
        }
        let Some(parent) = family.parent.as_ref().filter(|parent| parent.pid() != 1) else { return false };
        parent
            .family(table)
            .group
            .as_ref()
            .is_some_and(|other| other.id() != group.id() && other.session().id() == group.session().id())
    })
}

/// Whether a member of `group` is stopped.
#[must_use]
pub fn has_stopped_member(group: &ProcessGroup, table: &TableGuard) -> bool {
    group.members(table).iter().any(|member| member.signals.stopped_by().is_some())
}

/// Whether a stop by `signal` is left out because the running thread's process is in an orphaned group.
pub(super) fn spares(process: &Process, signal: Signal) -> bool {
    if signal == Signal::SIGSTOP {
        return false;
    }
    let table = table::lock();
    process.family(&table).group.as_ref().is_none_or(|group| is_orphaned(group, None, &table))
}

/// Stops the running thread until its process continues, or ends.
pub(super) fn stop_here(thread: &Arc<Thread>) {
    let process = thread.process();
    while thread.signals.work().contains(SignalWork::STOP) && !thread.signals.work().contains(SignalWork::KILL) {
        if let Some(change) = process.signals.arrive_at_stop(&thread.signals) {
            report(process, change);
        }
        parking::park(None, Interruptible::ByKill);
    }
    Current::local().request_work();
}
