//! Sessions and process groups.
//!
//! A [`ProcessGroup`] is what a terminal sends its signals to; a [`Session`] is what shares a controlling terminal. Both exist
//! while they have members, and are numbered from the same space as processes. Membership is guarded by the process table's
//! lock; [`super::membership`] changes it.

use super::cells::{TableCell, TableWitness};
use super::{Pid, Process};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

/// A session: process groups that share a controlling terminal.
pub struct Session {
    id: Pid,
    pub(super) groups: TableCell<u32>,
    /// The controlling terminal, as `device::terminal` knows it.
    terminal: SpinLock<Option<Weak<dyn Any + Send + Sync>>, InterruptsDisabled>,
}

impl Session {
    /// The session numbered `id`, which has no groups yet.
    #[must_use]
    pub const fn new(id: Pid) -> Self {
        Self { id, groups: TableCell::new(0), terminal: SpinLock::new(LockRank::Thread, None) }
    }
    /// Its number: its leader's process number.
    #[must_use]
    pub const fn id(&self) -> Pid {
        self.id
    }
    /// The controlling terminal, if it has one that still exists.
    #[must_use]
    pub fn terminal(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.terminal.lock().as_ref().and_then(Weak::upgrade)
    }
    /// Sets or takes away the controlling terminal.
    pub fn set_terminal(&self, terminal: Option<Weak<dyn Any + Send + Sync>>) {
        let old = core::mem::replace(&mut *self.terminal.lock(), terminal);
        drop(old);
    }
}

impl core::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Session({})", self.id)
    }
}

/// A process group.
pub struct ProcessGroup {
    id: Pid,
    session: Arc<Session>,
    pub(super) members: TableCell<Vec<Arc<Process>>>,
}

impl ProcessGroup {
    /// The group numbered `id`, which has no members yet.
    #[must_use]
    pub const fn new(id: Pid, session: Arc<Session>) -> Self {
        Self { id, session, members: TableCell::new(Vec::new()) }
    }
    /// Its number: that of the process which founded it.
    #[must_use]
    pub const fn id(&self) -> Pid {
        self.id
    }
    /// Its session.
    #[must_use]
    pub const fn session(&self) -> &Arc<Session> {
        &self.session
    }
    /// Its members, zombies included.
    #[must_use]
    pub fn members<'a>(&'a self, table: &'a impl TableWitness) -> &'a [Arc<Process>] {
        self.members.get(table)
    }
}

impl core::fmt::Debug for ProcessGroup {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "ProcessGroup({} of session {})", self.id, self.session.id)
    }
}
