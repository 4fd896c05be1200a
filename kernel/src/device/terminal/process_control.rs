//! [`JobControl`] over the processes there are.

use super::TerminalReference;
use super::job_control::{self, JobControl, set_job_control};
use crate::process::exit::{EndHooks, add_end_hooks};
use crate::process::signal::{Signal, SignalInformation, send};
use crate::process::thread::try_current_thread;
use crate::process::{Process, Session, signal, table};
use crate::security::Capability;
use alloc::sync::{Arc, Weak};
use core::any::Any;

/// The one implementation.
struct Processes;

fn session() -> Option<Arc<Session>> {
    try_current_thread()?.process().session()
}

fn terminal_of(session: &Session) -> Option<TerminalReference> {
    session.terminal()?.downcast().ok()
}

impl JobControl for Processes {
    fn session(&self) -> i32 {
        try_current_thread().map_or(0, |thread| thread.process().session_id())
    }
    fn group(&self) -> i32 {
        try_current_thread().map_or(0, |thread| thread.process().group_id())
    }
    fn is_session_leader(&self) -> bool {
        try_current_thread().is_some_and(|thread| {
            let process = thread.process();
            process.session_id() == process.pid()
        })
    }
    fn is_administrator(&self) -> bool {
        try_current_thread().is_none_or(|thread| thread.credentials().may(Capability::SysAdmin))
    }
    fn controlling_terminal(&self) -> Option<TerminalReference> {
        terminal_of(&*session()?)
    }
    fn set_controlling_terminal(&self, session: i32, terminal: Option<&TerminalReference>) {
        let session = table::lock().session(session).cloned();
        if let Some(session) = session {
            session.set_terminal(terminal.map(|terminal| {
                let any: Arc<dyn Any + Send + Sync> = terminal.clone();
                Arc::downgrade(&any) as Weak<dyn Any + Send + Sync>
            }));
        }
    }
    fn ignores(&self, number: u32) -> bool {
        let (Some(thread), Some(signal)) = (try_current_thread(), Signal::new(number)) else { return true };
        thread.signals.blocked().contains(signal) || thread.process().signals.is_ignored(signal)
    }
    fn group_is_orphaned(&self) -> bool {
        let group = try_current_thread().and_then(|thread| thread.process().group());
        group.is_none_or(|group| signal::job_control::is_orphaned(&group, None, &table::lock()))
    }
    fn session_of_group(&self, group: i32) -> Option<i32> {
        table::lock().group(group).map(|group| group.session().id())
    }
    fn signal_group(&self, group: i32, number: u32) {
        let group = table::lock().group(group).cloned();
        if let (Some(group), Some(signal)) = (group, Signal::new(number)) {
            send::send_to_group(&group, signal, SignalInformation::from_kernel(signal));
        }
    }
    fn signal_session_leader(&self, session: i32, number: u32) {
        if let (Some(process), Some(signal)) = (table::find_process(session), Signal::new(number)) {
            send::send_from_kernel(&process, signal);
        }
    }
}

/// A process ends: where it leads a session, its terminal hears of it.
fn process_ends(process: &Arc<Process>) {
    if process.session_id() == process.pid()
        && let Some(session) = process.session()
    {
        job_control::session_leader_ends(terminal_of(&session).as_ref(), session.id());
    }
}

/// Registers with terminals and with `process`.
pub fn initialize() {
    set_job_control(&Processes);
    add_end_hooks(EndHooks { thread: |_| {}, process: process_ends });
}
