//! What terminals need of sessions, process groups and signals; and the rules that follow from it.
//!
//! [`JobControl`] is implemented over `process` (see [`super::process_control`]) and by a fake in tests. Every question is about the
//! running thread's process. None is asked with a terminal's lock held.

use super::{Terminal, TerminalReference};
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Signals that terminals send, in Linux's numbers.
pub mod signal {
    /// Hang-up.
    pub const HANGUP: u32 = 1;
    /// INTR.
    pub const INTERRUPT: u32 = 2;
    /// QUIT.
    pub const QUIT: u32 = 3;
    /// Continue.
    pub const CONTINUE: u32 = 18;
    /// SUSP.
    pub const STOP: u32 = 20;
    /// A background read.
    pub const READ: u32 = 21;
    /// A background write.
    pub const WRITE: u32 = 22;
    /// The window's size changed.
    pub const WINDOW: u32 = 28;
}

/// Sessions, groups and signals.
pub trait JobControl: Sync {
    /// The caller's session.
    fn session(&self) -> i32;
    /// The caller's process group.
    fn group(&self) -> i32;
    /// Whether the caller leads its session.
    fn is_session_leader(&self) -> bool;
    /// Whether the caller has `CAP_SYS_ADMIN`.
    fn is_administrator(&self) -> bool;
    /// The controlling terminal of the caller's session.
    fn controlling_terminal(&self) -> Option<TerminalReference>;
    /// Gives a session a controlling terminal or takes it away.
    fn set_controlling_terminal(&self, session: i32, terminal: Option<&TerminalReference>);
    /// Whether the caller ignores or blocks `signal`.
    fn ignores(&self, signal: u32) -> bool;
    /// Whether the caller's process group has no member whose parent is in another group of the same session.
    fn group_is_orphaned(&self) -> bool;
    /// The session of a process group; `None` where there is no such group.
    fn session_of_group(&self, group: i32) -> Option<i32>;
    /// Sends `signal` to every process of a group, from the kernel.
    fn signal_group(&self, group: i32, signal: u32);
    /// Sends `signal` to the leader of a session, from the kernel.
    fn signal_session_leader(&self, session: i32, signal: u32);
}

static JOB_CONTROL: spin::Once<&'static dyn JobControl> = spin::Once::new();

/// Registers the implementation, once, at boot.
pub fn set_job_control(job_control: &'static dyn JobControl) {
    JOB_CONTROL.call_once(|| job_control);
}

/// The implementation; `None` before it is registered: everybody may do everything then.
pub fn job_control() -> Option<&'static dyn JobControl> {
    JOB_CONTROL.get().copied()
}

/// Whether the running process may read (`signal::READ`), write under `TOSTOP` or change settings (`signal::WRITE`): it is in the foreground,
/// or this is not its terminal. A background process is sent the signal and the call is to be repeated.
///
/// # Errors
/// `EIO` for an orphaned group, or a background reader that ignores the signal; `ERESTARTSYS` after the signal was sent.
pub fn check_change(terminal: &Arc<Terminal>, signal: u32) -> Result<()> {
    let Some(job_control) = job_control() else { return Ok(()) };
    let (session, foreground) = terminal.job();
    // The common case first: the group in the foreground itself.
    let group = job_control.group();
    if foreground == 0 || group == foreground || session != job_control.session() {
        return Ok(());
    }
    if job_control.ignores(signal) {
        return if signal == signal::READ { Err(Errno::EIO) } else { Ok(()) };
    }
    if job_control.group_is_orphaned() {
        return Err(Errno::EIO);
    }
    job_control.signal_group(group, signal);
    Err(Errno::ERESTARTSYS)
}

/// Makes `terminal` the controlling terminal of the caller's session and its group the foreground one.
pub(super) fn acquire(terminal: &Arc<Terminal>, job_control: &dyn JobControl) {
    let session = job_control.session();
    terminal.set_job(session, job_control.group());
    job_control.set_controlling_terminal(session, Some(terminal));
}

/// What opening a terminal does without `O_NOCTTY`: a session leader without a controlling terminal gets it, if no session has it.
pub fn opened(terminal: &Arc<Terminal>) {
    if let Some(job_control) = job_control()
        && job_control.is_session_leader()
        && job_control.controlling_terminal().is_none()
        && terminal.job().0 == 0
    {
        acquire(terminal, job_control);
    }
}

/// `TIOCSCTTY`.
///
/// # Errors
/// `EPERM` unless the caller leads a session without a terminal and the terminal is free (or stolen by root with `steal` 1).
pub(super) fn set_controlling(terminal: &Arc<Terminal>, steal: u64) -> Result<()> {
    let job_control = job_control().ok_or(Errno::EPERM)?;
    let (session, _) = terminal.job();
    let leads = job_control.is_session_leader();
    if leads && session == job_control.session() {
        return Ok(());
    }
    if !leads || job_control.controlling_terminal().is_some() {
        return Err(Errno::EPERM);
    }
    if session != 0 {
        if steal != 1 || !job_control.is_administrator() {
            return Err(Errno::EPERM);
        }
        job_control.set_controlling_terminal(session, None);
    }
    acquire(terminal, job_control);
    Ok(())
}

/// Whether `terminal` is the caller's controlling terminal.
fn is_controlling(terminal: &Arc<Terminal>, job_control: &dyn JobControl) -> bool {
    job_control.controlling_terminal().is_some_and(|known| Arc::ptr_eq(&known, terminal))
}

/// `TIOCNOTTY`: the session gives its terminal up. Only the leader's call reaches the session; a member alone cannot leave here.
///
/// # Errors
/// `ENOTTY` when it is not the caller's terminal.
pub(super) fn give_up(terminal: &Arc<Terminal>) -> Result<()> {
    let job_control = job_control().ok_or(Errno::ENOTTY)?;
    if !is_controlling(terminal, job_control) {
        return Err(Errno::ENOTTY);
    }
    if job_control.is_session_leader() {
        release_session(terminal, job_control, job_control.session());
    }
    Ok(())
}

/// Takes the terminal from a session and tells its foreground group.
pub(super) fn release_session(terminal: &Arc<Terminal>, job_control: &dyn JobControl, session: i32) {
    let (owner, foreground) = terminal.job();
    if owner != session {
        return;
    }
    terminal.set_job(0, 0);
    job_control.set_controlling_terminal(session, None);
    if foreground != 0 {
        job_control.signal_group(foreground, signal::HANGUP);
        job_control.signal_group(foreground, signal::CONTINUE);
    }
}

/// `TIOCGPGRP`.
///
/// # Errors
/// `ENOTTY` when it is not the caller's terminal.
pub(super) fn foreground_group(terminal: &Arc<Terminal>, from_master: bool) -> Result<i32> {
    let job_control = job_control().ok_or(Errno::ENOTTY)?;
    if !from_master && !is_controlling(terminal, job_control) {
        return Err(Errno::ENOTTY);
    }
    Ok(terminal.job().1)
}

/// `TIOCSPGRP`.
///
/// # Errors
/// `ENOTTY` when it is not the caller's terminal, `EINVAL`, `ESRCH` for no group, `EPERM` for one of another session.
pub(super) fn set_foreground_group(terminal: &Arc<Terminal>, group: i32) -> Result<()> {
    let job_control = job_control().ok_or(Errno::ENOTTY)?;
    match check_change(terminal, signal::WRITE) {
        Err(Errno::EIO) => return Err(Errno::ENOTTY),
        result => result?,
    }
    let session = job_control.session();
    if !is_controlling(terminal, job_control) || terminal.job().0 != session {
        return Err(Errno::ENOTTY);
    }
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    if job_control.session_of_group(group).ok_or(Errno::ESRCH)? != session {
        return Err(Errno::EPERM);
    }
    terminal.set_job(session, group);
    Ok(())
}

/// `TIOCGSID`.
///
/// # Errors
/// `ENOTTY` when it is not the caller's terminal.
pub(super) fn session(terminal: &Arc<Terminal>, from_master: bool) -> Result<i32> {
    let job_control = job_control().ok_or(Errno::ENOTTY)?;
    if !from_master && !is_controlling(terminal, job_control) {
        return Err(Errno::ENOTTY);
    }
    match terminal.job().0 {
        0 => Err(Errno::ENOTTY),
        session => Ok(session),
    }
}

/// Foreground groups of terminals that were hung up while their session's leader lived: they are told when it ends.
static LEFT_BEHIND: SpinLock<BTreeMap<i32, i32>> = SpinLock::new(LockRank::FileObject, BTreeMap::new());

/// A hang-up takes the terminal from `session`; its leader is told, and `foreground` is once the leader ends.
pub(super) fn hung_up(session: i32, foreground: i32) {
    let Some(job_control) = job_control() else { return };
    if foreground != 0 {
        LEFT_BEHIND.lock().insert(session, foreground);
    }
    job_control.signal_session_leader(session, signal::HANGUP);
    job_control.signal_session_leader(session, signal::CONTINUE);
    job_control.set_controlling_terminal(session, None);
}

/// The leader of `session` ends (`process` calls this at exit). A serial line is hung up; a pseudo terminal only loses its session, and
/// files open on it live on. The foreground group is told.
pub fn session_leader_ends(terminal: Option<&TerminalReference>, session: i32) {
    let Some(job_control) = job_control() else { return };
    let left_behind = LEFT_BEHIND.lock().remove(&session);
    match terminal.map(|terminal| (terminal, terminal.job())) {
        Some((terminal, (owner, foreground))) if owner == session => {
            if terminal.is_pty() {
                terminal.set_job(0, 0);
                job_control.set_controlling_terminal(session, None);
            } else {
                terminal.hang_up();
                LEFT_BEHIND.lock().remove(&session);
            }
            if foreground != 0 {
                job_control.signal_group(foreground, signal::HANGUP);
            }
        }
        _ => {
            if let Some(group) = left_behind {
                job_control.signal_group(group, signal::HANGUP);
                job_control.signal_group(group, signal::CONTINUE);
            }
        }
    }
}
