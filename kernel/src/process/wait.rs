//! Waiting for children: `wait4`, `waitid`.
//!
//! A process's zombies stand in a list of their own, in the order in which they ended, so that waiting for any child and for a
//! given one are O(1) in the usual case; stops and continuations are looked for only when asked for.

use super::signal::{Consume, Signal, code};
use super::table::{self, TableGuard};
use super::{ExitStatus, Lifecycle, Pid, Process, ProcessGroup, Usage, membership};
use crate::base::{Errno, Result};
use alloc::sync::Arc;

bitflags::bitflags! {
    /// The options of `wait4` and `waitid`, Linux's numbers.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct WaitOptions: u32 {
        /// Return at once.
        const WNOHANG = 1;
        /// Report stopped children.
        const WSTOPPED = 2;
        /// Report children that have ended.
        const WEXITED = 4;
        /// Report continued children.
        const WCONTINUED = 8;
        /// Leave the child to be waited for again.
        const WNOWAIT = 0x0100_0000;
        /// Do not wait for children of other threads of the process. (Children belong to the process here: no difference.)
        const NO_THREAD = 0x2000_0000;
        /// Whatever signal the child sends at its end.
        const ALL = 0x4000_0000;
        /// Only children that send another signal than `SIGCHLD`.
        const CLONE = 0x8000_0000;
    }
}

/// Which children.
#[derive(Clone, Debug)]
pub enum WaitFor {
    /// Any child.
    Any,
    /// The child with this number.
    Process(Pid),
    /// Children in this process group.
    Group(Pid),
    /// This process, if it is a child (`P_PIDFD`).
    Exactly(Arc<Process>),
}

/// What happened to a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It has ended.
    Ended(ExitStatus),
    /// A signal stopped it.
    Stopped(u32),
    /// It was continued.
    Continued,
}

/// The answer of a wait.
#[derive(Clone, Debug)]
pub struct Report {
    /// The child.
    pub pid: Pid,
    /// Its real user.
    pub user: u32,
    /// What happened.
    pub event: Event,
    /// What it has used.
    pub usage: Usage,
}

impl Report {
    /// The status word of `wait4`.
    #[must_use]
    pub const fn status_word(&self) -> u32 {
        match self.event {
            Event::Ended(status) => status.0,
            Event::Stopped(signal) => signal << 8 | 0x7f,
            Event::Continued => 0xffff,
        }
    }
    /// `si_code` and `si_status` of `waitid`.
    #[must_use]
    pub const fn code_and_status(&self) -> (i32, i32) {
        match self.event {
            Event::Ended(status) => code_and_value(status),
            Event::Stopped(signal) => (code::CLD_STOPPED, signal.cast_signed()),
            Event::Continued => (code::CLD_CONTINUED, 18),
        }
    }
}

/// `si_code` and `si_status` of an end.
#[must_use]
pub const fn code_and_value(status: ExitStatus) -> (i32, i32) {
    match status.signal() {
        None => (code::CLD_EXITED, status.code()),
        Some(signal) if status.0 & 0x80 != 0 => (code::CLD_DUMPED, signal.cast_signed()),
        Some(signal) => (code::CLD_KILLED, signal.cast_signed()),
    }
}

/// What a look at the children found.
enum Found {
    Report(Report),
    /// There are children that match, but nothing has happened to them.
    Nothing,
    /// There is no child that could match.
    NoChild,
}

/// Waits for a child of `parent`, the running thread's process. `Ok(None)` with `WNOHANG` when nothing has happened.
///
/// # Errors
/// `ECHILD`: there is no such child. `ERESTARTSYS`: a signal came.
pub fn wait(parent: &Arc<Process>, which: &WaitFor, options: WaitOptions) -> Result<Option<Report>> {
    let look = || match find(parent, which, options) {
        Found::Report(report) => Some(Ok(Some(report))),
        Found::NoChild => Some(Err(Errno::ECHILD)),
        Found::Nothing if options.contains(WaitOptions::WNOHANG) => Some(Ok(None)),
        Found::Nothing => None,
    };
    match look() {
        Some(result) => result,
        None => parent.child_event.wait(look)?,
    }
}

/// Whether a child's kind matches `__WALL` and `__WCLONE`.
fn is_eligible(child: &Process, options: WaitOptions) -> bool {
    let is_clone = child.exit_signal() != Signal::SIGCHLD.number();
    options.contains(WaitOptions::ALL) || is_clone == options.contains(WaitOptions::CLONE)
}

fn matches(child: &Arc<Process>, which: &WaitFor, options: WaitOptions, table: &TableGuard) -> bool {
    is_eligible(child, options)
        && match which {
            WaitFor::Any => true,
            WaitFor::Process(pid) => child.pid() == *pid,
            WaitFor::Group(group) => child.family(table).group.as_ref().is_some_and(|theirs| theirs.id() == *group),
            WaitFor::Exactly(process) => Arc::ptr_eq(process, child),
        }
}

fn find(parent: &Arc<Process>, which: &WaitFor, options: WaitOptions) -> Found {
    let mut dropped: (Option<Arc<Process>>, Option<Arc<ProcessGroup>>) = (None, None);
    let mut table = table::lock();
    // A given child is looked up by its number.
    let given = match which {
        WaitFor::Process(pid) => match table.process(*pid) {
            Some(child) if is_child(child, parent, &table) && is_eligible(child, options) => Some(child.clone()),
            _ => return Found::NoChild,
        },
        WaitFor::Exactly(child) => {
            if !is_child(child, parent, &table) || !is_eligible(child, options) {
                return Found::NoChild;
            }
            Some(child.clone())
        }
        WaitFor::Any | WaitFor::Group(_) => None,
    };
    if options.contains(WaitOptions::WEXITED) {
        let ended = match &given {
            Some(child) => Some(child.clone()),
            None => parent.family(&table).zombies.iter().find(|child| matches(child, which, options, &table)).cloned(),
        };
        if let Some(child) = ended
            && let Lifecycle::Zombie(status) = child.family(&table).lifecycle
        {
            let report = Report {
                pid: child.pid(),
                user: child.real_user(),
                event: Event::Ended(status),
                usage: usage_of(&child),
            };
            if !options.contains(WaitOptions::WNOWAIT) {
                reap_locked(parent, &child, &mut table, Count::Yes, &mut |process, group| dropped = (process, group));
            }
            drop(table);
            drop(dropped);
            return Found::Report(report);
        }
    }
    if options.intersects(WaitOptions::WSTOPPED | WaitOptions::WCONTINUED) {
        let consume = if options.contains(WaitOptions::WNOWAIT) { Consume::No } else { Consume::Yes };
        let children = parent.family(&table).children.as_slice();
        for child in given.as_ref().map_or(children, core::slice::from_ref) {
            if !matches(child, which, options, &table) || child.family(&table).lifecycle != Lifecycle::Alive {
                continue;
            }
            let stopped =
                options.contains(WaitOptions::WSTOPPED).then(|| child.signals.take_stop_report(consume)).flatten();
            let event = match stopped {
                Some(signal) => Some(Event::Stopped(signal.number())),
                None => (options.contains(WaitOptions::WCONTINUED) && child.signals.take_continue_report(consume))
                    .then_some(Event::Continued),
            };
            if let Some(event) = event {
                return Found::Report(Report {
                    pid: child.pid(),
                    user: child.real_user(),
                    event,
                    usage: usage_of(child),
                });
            }
        }
    }
    let exists =
        given.is_some() || parent.family(&table).children.iter().any(|child| matches(child, which, options, &table));
    if exists { Found::Nothing } else { Found::NoChild }
}

fn is_child(child: &Arc<Process>, parent: &Arc<Process>, table: &TableGuard) -> bool {
    let family = child.family(table);
    family.lifecycle != Lifecycle::Reaped && family.parent.as_ref().is_some_and(|theirs| Arc::ptr_eq(theirs, parent))
}

/// What a child and the children that it has waited for have used.
fn usage_of(child: &Arc<Process>) -> Usage {
    let mut usage = *child.ended_threads.lock();
    usage.add(&child.waited_children.lock());
    usage
}

/// Whether a reaped child's times count for the parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Count {
    /// Yes: it was waited for.
    Yes,
    /// No: nobody waited.
    No,
}

/// Takes a zombie out of everything; `release` gets what is to be dropped after the lock is let go.
pub(super) fn reap_locked(
    parent: &Arc<Process>,
    child: &Arc<Process>,
    table: &mut TableGuard,
    count: Count,
    release: &mut dyn FnMut(Option<Arc<Process>>, Option<Arc<ProcessGroup>>),
) {
    if count == Count::Yes {
        let usage = usage_of(child);
        parent.waited_children.lock().add(&usage);
    }
    let index = child.family(table).index_in_parent;
    let family = parent.family_mut(table);
    let position = family.zombies.iter().position(|zombie| Arc::ptr_eq(zombie, child));
    // The caller holds the child: nothing is freed by these.
    position.and_then(|position| family.zombies.remove(position));
    if family.children.get(index).is_some_and(|other| Arc::ptr_eq(other, child)) {
        family.children.swap_remove(index);
    }
    let moved = family.children.get(index).cloned();
    if let Some(moved) = moved {
        moved.family_mut(table).index_in_parent = index;
    }
    let group = membership::leave_group(child, table);
    let family = child.family_mut(table);
    family.lifecycle = Lifecycle::Reaped;
    // The parent is the caller's or holds itself: its reference does not end here.
    family.parent = None;
    release(table.remove_process(child.pid()), group);
}
