//! Whom a report of `/proc/PID` or `/proc/PID/task/TID` is about.

use crate::memory::address_space::{AddressSpace, Statistics};
use crate::process::thread::NAME_LENGTH;
use crate::process::{Process, Thread, ThreadState, Usage};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A process or one of its threads, with what most reports need of it.
pub struct Subject {
    /// The process.
    pub process: Arc<Process>,
    /// The thread that is looked at, or for a whole process its main one; none for a zombie.
    pub thread: Option<Arc<Thread>>,
    /// Whether the report is of the thread alone (`/proc/PID/task/TID`).
    pub single: bool,
}

impl Subject {
    /// A whole process.
    #[must_use]
    pub fn process(process: &Arc<Process>) -> Self {
        Self { process: process.clone(), thread: process.main_thread(), single: false }
    }
    /// One thread.
    #[must_use]
    pub fn thread(thread: &Arc<Thread>) -> Self {
        Self { process: thread.process().clone(), thread: Some(thread.clone()), single: true }
    }
    /// Its number.
    #[must_use]
    pub fn number(&self) -> i32 {
        match &self.thread {
            Some(thread) if self.single => thread.tid(),
            _ => self.process.pid(),
        }
    }
    /// The address space; none for a zombie and for the kernel's own threads.
    #[must_use]
    pub fn address_space(&self) -> Option<Arc<AddressSpace>> {
        self.process.address_space()
    }
    /// The name without its padding.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let name = match &self.thread {
            Some(thread) if self.single => thread.name(),
            _ => self.process.name(),
        };
        name.iter().copied().take_while(|byte| *byte != 0).take(NAME_LENGTH).collect()
    }
    /// What it has used of the machine.
    pub(super) fn usage(&self) -> Usage {
        match &self.thread {
            Some(thread) if self.single => thread.usage(),
            _ => self.process.usage(),
        }
    }
    /// The letter and the word for the state.
    pub(super) fn state(&self) -> (char, &'static str) {
        let Some(thread) = &self.thread else { return ('Z', "zombie") };
        if self.process.signals.stopped_by().is_some() {
            return ('T', "stopped");
        }
        match thread.state() {
            ThreadState::Ready | ThreadState::Running => ('R', "running"),
            ThreadState::Blocked | ThreadState::Sleeping => ('S', "sleeping"),
            ThreadState::Terminated => ('X', "dead"),
        }
    }
    /// The sizes of its memory; zeros without an address space.
    pub(super) fn statistics(&self) -> Statistics {
        self.address_space().map(|space| space.statistics()).unwrap_or_default()
    }
}
