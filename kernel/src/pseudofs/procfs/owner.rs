//! Whose entries of procfs are looked at, and who may look.
//!
//! Files that show another's secrets (`environ`, `fd`, `maps`, the links) ask [`may_inspect`], Linux's `ptrace_may_access`: the same user
//! on all three of real, effective and saved IDs, or `CAP_SYS_PTRACE`.

use super::subject::Subject;
use crate::base::{Errno, Result};
use crate::fs::pseudo::{Attributes, Changes};
use crate::fs::types::DeviceNumber;
use crate::process::{Process, Thread, current_thread};
use crate::security::Capability;
use alloc::sync::Arc;

/// Whose directory it is.
#[derive(Clone)]
pub(super) enum Owner {
    /// A process.
    Process(Arc<Process>),
    /// One of its threads.
    Thread(Arc<Thread>),
}

impl Owner {
    /// Whom its reports are about.
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Process(process) => Subject::process(process),
            Self::Thread(thread) => Subject::thread(thread),
        }
    }
    /// The process.
    pub(super) fn process(&self) -> &Arc<Process> {
        match self {
            Self::Process(process) => process,
            Self::Thread(thread) => thread.process(),
        }
    }
    /// The thread whose files and directories are shown.
    pub(super) fn thread(&self) -> Result<Arc<Thread>> {
        match self {
            Self::Process(process) => process.main_thread().ok_or(Errno::ENOENT),
            Self::Thread(thread) => Ok(thread.clone()),
        }
    }
    /// Attributes of an entry: the process's user owns it.
    pub(super) fn attributes(&self, device: DeviceNumber, number: u64, permissions: u32) -> Attributes {
        let credentials = self.process().credentials();
        Attributes::new(device, number, permissions)
            .owned_by(credentials.euid, credentials.egid)
            .allowing(Changes::OwnerAndTimes)
    }
}

/// Whether the caller may see another process's secrets.
///
/// # Errors
/// `EACCES`.
pub(super) fn may_inspect(process: &Process) -> Result<()> {
    let caller = current_thread();
    if core::ptr::eq(&raw const **caller.process(), process) {
        return Ok(());
    }
    let (own, other) = (caller.credentials(), process.credentials());
    let same = [other.uid, other.euid, other.suid].iter().all(|uid| *uid == own.fsuid)
        && [other.gid, other.egid, other.sgid].iter().all(|gid| *gid == own.fsgid)
        && other.permitted.bits() & !own.permitted.bits() == 0;
    if same || own.may(Capability::SysPtrace) { Ok(()) } else { Err(Errno::EACCES) }
}
