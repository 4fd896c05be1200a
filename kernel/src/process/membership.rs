//! Who is in which process group and session: founding, joining, leaving; `setsid` and `setpgid`.
//!
//! Everything here runs under the process table's lock. Invariant: a process stands in its group's members at the place that its
//! family says, and a group or session is in the table while it has members.

use super::session::{ProcessGroup, Session};
use super::table::{self, TableGuard};
use super::{Pid, Process};
use crate::base::{Errno, Result};
use alloc::sync::Arc;

/// Puts a process, which is in no group, into `group`.
pub(super) fn join_group(process: &Arc<Process>, group: Arc<ProcessGroup>, table: &mut TableGuard) {
    let members = group.members.get_mut(table);
    let index = members.len();
    members.push(process.clone());
    let family = process.family_mut(table);
    family.index_in_group = index;
    family.group = Some(group);
}

/// Takes a process out of its group. A group or session that has lost its last member is taken out of the table; what is
/// given back is dropped after the lock is let go.
#[must_use]
pub(super) fn leave_group(process: &Arc<Process>, table: &mut TableGuard) -> Option<Arc<ProcessGroup>> {
    let family = process.family_mut(table);
    let index = family.index_in_group;
    let group = family.group.take()?;
    let members = group.members.get_mut(table);
    if members.get(index).is_some_and(|member| Arc::ptr_eq(member, process)) {
        // The table still holds the process, so this is not the last reference.
        members.swap_remove(index);
    }
    let is_empty = members.is_empty();
    let moved = members.get(index).cloned();
    if let Some(moved) = moved {
        moved.family_mut(table).index_in_group = index;
    }
    if is_empty {
        // The caller holds `group`, and through it the session: nothing is dropped here.
        let _ = table.remove_group(group.id());
        let groups = group.session().groups.get_mut(table);
        *groups -= 1;
        if *groups == 0 {
            let _ = table.remove_session(group.session().id());
        }
    }
    Some(group)
}

/// Makes a group numbered as `process` in `session` and enters it in the table.
pub(super) fn found_group(
    process: &Arc<Process>,
    session: &Arc<Session>,
    table: &mut TableGuard,
) -> Result<Arc<ProcessGroup>> {
    let group = Arc::new(ProcessGroup::new(process.pid(), session.clone()));
    if !table.insert_group(group.id(), group.clone()) {
        return Err(Errno::ENOMEM);
    }
    *session.groups.get_mut(table) += 1;
    Ok(group)
}

/// Makes `process`, which is in no group, the leader of a new session and of its first group.
pub(super) fn found_session(process: &Arc<Process>, table: &mut TableGuard) -> Result<()> {
    let session = Arc::new(Session::new(process.pid()));
    if !table.insert_session(session.id(), session.clone()) {
        return Err(Errno::ENOMEM);
    }
    let group = found_group(process, &session, table)?;
    join_group(process, group, table);
    Ok(())
}

/// `setsid`: makes the caller's process the leader of a new session and group, without a controlling terminal.
///
/// # Errors
/// `EPERM`: a group with its number exists (it leads one). `ENOMEM`.
pub fn become_session_leader(process: &Arc<Process>) -> Result<Pid> {
    let mut table = table::lock();
    if table.group(process.pid()).is_some() {
        return Err(Errno::EPERM);
    }
    let old = leave_group(process, &mut table);
    let founded = found_session(process, &mut table);
    if founded.is_err()
        && let Some(old) = &old
    {
        join_group(process, old.clone(), &mut table);
    }
    drop(table);
    drop(old);
    founded.map(|()| process.pid())
}

/// `setpgid`: puts process `pid` (0: the caller's) into group `group` (0: one of its own number).
///
/// # Errors
/// `EINVAL`: a negative number, or a thread's. `ESRCH`: neither the caller's process nor its child. `EPERM`: a session leader, another
/// session, or no such group in it. `EACCES`: a child that has called `execve`. `ENOMEM`.
pub fn set_group(caller: &Arc<Process>, pid: Pid, group: Pid) -> Result<()> {
    let pid = if pid == 0 { caller.pid() } else { pid };
    let group = if group == 0 { pid } else { group };
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    let mut table = table::lock();
    let process = match (table.process(pid), table.thread(pid)) {
        (Some(process), _) => process.clone(),
        (None, Some(_)) => return Err(Errno::EINVAL),
        (None, None) => return Err(Errno::ESRCH),
    };
    let own_session = caller.family(&table).group.as_ref().map(|group| group.session().clone());
    let session = process.family(&table).group.as_ref().map(|group| group.session().clone());
    let (Some(own_session), Some(session)) = (own_session, session) else { return Err(Errno::ESRCH) };
    let is_child = process.family(&table).parent.as_ref().is_some_and(|parent| Arc::ptr_eq(parent, caller));
    if is_child {
        if !Arc::ptr_eq(&session, &own_session) {
            return Err(Errno::EPERM);
        }
        if process.has_executed() {
            return Err(Errno::EACCES);
        }
    } else if !Arc::ptr_eq(&process, caller) {
        return Err(Errno::ESRCH);
    }
    if session.id() == process.pid() {
        return Err(Errno::EPERM);
    }
    let target = match table.group(group) {
        Some(target) if Arc::ptr_eq(target.session(), &own_session) => target.clone(),
        Some(_) => return Err(Errno::EPERM),
        None if group == pid => found_group(&process, &own_session, &mut table)?,
        None => return Err(Errno::EPERM),
    };
    if process.family(&table).group.as_ref().is_some_and(|present| Arc::ptr_eq(present, &target)) {
        return Ok(());
    }
    let old = leave_group(&process, &mut table);
    join_group(&process, target, &mut table);
    drop(table);
    drop(old);
    Ok(())
}
