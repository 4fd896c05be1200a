//! How a process stands to others, and how a new one gets its place among them.
//!
//! [`Family`] lives in a cell of the process that the process table's lock guards. Invariants: a process stands in its parent's children and
//! in its group's members at the places that its own family says; a zombie also stands in its parent's zombies.

use super::outcome::Lifecycle;
use super::table::{self, TableGuard};
use super::{Process, ProcessGroup, ResourceLimits, SignalState, Thread, membership};
use crate::base::{Errno, Result};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

/// A process's relations, guarded by the process table's lock.
#[derive(Debug, Default)]
pub struct Family {
    /// The parent; none for PID 1 and the kernel's own.
    pub parent: Option<Arc<Process>>,
    /// Children, zombies included, in no particular order once one has gone.
    pub children: Vec<Arc<Process>>,
    /// Those children that are zombies, in the order in which they ended.
    pub zombies: VecDeque<Arc<Process>>,
    /// Where this process stands in its parent's `children`.
    pub(super) index_in_parent: usize,
    /// Where it stands in its group's members.
    pub(super) index_in_group: usize,
    /// The process group.
    pub group: Option<Arc<ProcessGroup>>,
    /// Threads that have not ended, in order of creation.
    pub threads: Vec<Arc<Thread>>,
    /// Alive or not.
    pub lifecycle: Lifecycle,
}

/// Makes a process without threads as a child of `parent`: with its limits, signal handlers, group and session, and an address space
/// of its own to be set. Without a parent it founds a session (PID 1 does).
///
/// # Errors
/// `EAGAIN`: no number is free. `ENOMEM`.
pub fn create_process(parent: Option<&Arc<Process>>) -> Result<Arc<Process>> {
    let (signals, limits) = match parent {
        Some(parent) => (parent.signals.fork(), parent.limits.lock().clone()),
        None => (SignalState::new(), ResourceLimits::new()),
    };
    let mut table = table::lock();
    let id = table.reserve_number().ok_or(Errno::EAGAIN)?;
    drop(table);
    let process = Arc::new(Process::new(id, signals, limits));
    enter_process(&process, parent.map(|parent| Relatives { parent, group_of: parent }), &mut table::lock())?;
    Ok(process)
}

/// Where a new process belongs.
#[derive(Clone, Copy)]
pub(super) struct Relatives<'a> {
    /// Its parent.
    pub(super) parent: &'a Arc<Process>,
    /// The process whose group it joins: that of its maker, which is not always its parent.
    pub(super) group_of: &'a Arc<Process>,
}

/// Puts a process whose number is reserved into the table, among its parent's children and into its maker's group. Without
/// relatives it founds a session.
pub(super) fn enter_process(
    process: &Arc<Process>,
    relatives: Option<Relatives<'_>>,
    table: &mut TableGuard,
) -> Result<()> {
    if !table.insert_process(process.pid(), process.clone()) {
        table.release_number(process.pid());
        return Err(Errno::ENOMEM);
    }
    let Some(Relatives { parent, group_of }) = relatives else {
        return membership::found_session(process, table);
    };
    process.parent_id.store(parent.pid(), Relaxed);
    let siblings = &mut parent.family_mut(table).children;
    let index = siblings.len();
    siblings.push(process.clone());
    let group = group_of.family(table).group.clone();
    let family = process.family_mut(table);
    family.index_in_parent = index;
    family.parent = Some(parent.clone());
    if let Some(group) = group {
        membership::join_group(process, group, table);
    }
    Ok(())
}
