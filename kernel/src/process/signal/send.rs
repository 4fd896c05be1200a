//! Sending signals: to a thread, a process, a group; from the kernel, from a program, from a fault.
//!
//! All of it may be called with no lock of rank `Signal` or above held, in any context. What names processes by number, and who may
//! signal whom, is at the end ([`kill`]).

use super::information::{SignalInformation, code};
use super::job_control;
use super::number::Signal;
use super::queue::Charge;
use super::state::{JobChange, Sent, Target};
use crate::arch::linux_interface::BadSignalFrame;
use crate::arch::{Current, Machine};
use crate::base::{Errno, Result, VirtualAddress};
use crate::process::resource_limits::{Resource, UserAccount, UserCharge};
use crate::process::table::{self, TableGuard};
use crate::process::{Pid, Process, ProcessGroup, Thread, current_thread};
use crate::security::{Capability, Credentials};
use alloc::sync::Arc;

/// Takes a unit of the target's user's `RLIMIT_SIGPENDING` for a real-time signal that a program queues.
fn charge(process: &Process, table: &TableGuard) -> Result<Charge> {
    let user = process.family(table).threads.first().map_or(0, |thread| thread.credentials().uid);
    UserCharge::take(UserAccount::of(user), process.limit(Resource::PendingSignals)).ok_or(Errno::EAGAIN)
}

/// Sends what has been charged for, if it had to be, and tells the parent of a process that goes on.
#[inline]
fn send_charged(
    process: &Arc<Process>,
    target: Target<'_>,
    signal: Signal,
    information: SignalInformation,
    charge: Option<Charge>,
    table: &TableGuard,
) -> Result<()> {
    if process.signals.send(target, signal, information, charge)? == Sent::Continued {
        job_control::report_locked(process, JobChange::Continued, table);
    }
    Ok(())
}

fn send_locked(
    process: &Arc<Process>,
    target: Target<'_>,
    signal: Signal,
    information: SignalInformation,
    table: &TableGuard,
) -> Result<()> {
    let charge = if signal.is_real_time() && information.is_from_user() {
        match charge(process, table) {
            Ok(charge) => Some(charge),
            // `kill` may not fail for want of memory: one of the kind that waits already stands for it.
            Err(_) if information.code == code::SI_USER && process.signals.pending().contains(signal) => return Ok(()),
            Err(_) if information.code == code::SI_USER => None,
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    send_charged(process, target, signal, information, charge, table)
}

/// Sends what tells of a file; a real-time signal counts against the target's `RLIMIT_SIGPENDING`, as one that a program queues.
///
/// # Errors
/// `EAGAIN` when a real-time signal cannot be queued.
pub(super) fn send_about_file(
    process: &Arc<Process>,
    target: Target<'_>,
    signal: Signal,
    information: SignalInformation,
    table: &TableGuard,
) -> Result<()> {
    let charge = if signal.is_real_time() { Some(charge(process, table)?) } else { None };
    send_charged(process, target, signal, information, charge, table)
}

/// Sends to a process; any of its threads that does not block the signal takes it.
///
/// # Errors
/// `EAGAIN` when a real-time signal cannot be queued.
pub fn send_to_process(process: &Arc<Process>, signal: Signal, information: SignalInformation) -> Result<()> {
    if signal.is_real_time() {
        return send_locked(process, Target::Process, signal, information, &table::lock());
    }
    if process.signals.send(Target::Process, signal, information, None)? == Sent::Continued {
        job_control::report_locked(process, JobChange::Continued, &table::lock());
    }
    Ok(())
}

/// Sends to one thread.
///
/// # Errors
/// `EAGAIN` when a real-time signal cannot be queued.
pub fn send_to_thread(thread: &Arc<Thread>, signal: Signal, information: SignalInformation) -> Result<()> {
    let (process, target) = (thread.process(), Target::Thread(&thread.signals));
    if signal.is_real_time() {
        return send_locked(process, target, signal, information, &table::lock());
    }
    if process.signals.send(target, signal, information, None)? == Sent::Continued {
        job_control::report_locked(process, JobChange::Continued, &table::lock());
    }
    Ok(())
}

/// Sends to every process of a group, as terminals do. What cannot be queued is lost.
pub fn send_to_group(group: &ProcessGroup, signal: Signal, information: SignalInformation) {
    let table = table::lock();
    for process in group.members(&table) {
        let _ = send_locked(process, Target::Process, signal, information, &table);
    }
}

/// The kernel itself sends `signal` to a process: `SI_KERNEL`.
pub fn send_from_kernel(process: &Arc<Process>, signal: Signal) {
    // An ordinary signal is always kept.
    let _ = send_to_process(process, signal, SignalInformation::from_kernel(signal));
}

/// The running thread has taken a fault: it gets `signal` at once, with its default action when it blocks or ignores it.
/// An unknown number counts as SIGSEGV.
pub fn send_fault(signal: u32, si_code: i32, address: VirtualAddress) {
    let signal = Signal::new(signal).unwrap_or(Signal::SIGSEGV);
    force(signal, SignalInformation::fault(signal, si_code, address));
}

/// Sends to the running thread by force.
pub fn force(signal: Signal, information: SignalInformation) {
    let thread = current_thread();
    thread.process().signals.force(&thread.signals, signal, information);
}

/// Sends SIGSEGV by force because there is no return from the signal frame at `frame`, as Linux does on this machine.
pub fn force_bad_frame(frame: VirtualAddress) {
    const SEGV_MAPERR: i32 = 1;
    const SEGV_ACCERR: i32 = 2;
    let information = match Current::LINUX.bad_signal_frame {
        BadSignalFrame::FromKernel => SignalInformation::from_kernel(Signal::SIGSEGV),
        BadSignalFrame::AtStackPointer => {
            let space = current_thread().process().address_space();
            let is_below_memory = space.is_some_and(|space| space.has_area_at_or_above(frame));
            let code = if is_below_memory { SEGV_ACCERR } else { SEGV_MAPERR };
            SignalInformation::fault(Signal::SIGSEGV, code, frame)
        }
    };
    force(Signal::SIGSEGV, information);
}

/// Who sends, for the information and the permission.
#[derive(Debug)]
pub struct Sender {
    /// The sending process.
    pub process: Arc<Process>,
    /// Its credentials.
    pub credentials: Arc<Credentials>,
}

impl Sender {
    /// The running thread.
    #[must_use]
    pub fn current() -> Self {
        let thread = current_thread();
        Self { process: thread.process().clone(), credentials: thread.credentials() }
    }

    /// The information of a signal from `kill` ([`code::SI_USER`]) or `tgkill` ([`code::SI_TKILL`]).
    #[must_use]
    pub fn information(&self, signal: Signal, si_code: i32) -> SignalInformation {
        SignalInformation::from_user(signal, si_code, self.process.pid(), self.credentials.uid)
    }

    /// Whether the sender may signal a thread with credentials `target` of `process`.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn check(
        &self,
        process: &Arc<Process>,
        target: &Credentials,
        signal: Option<Signal>,
        table: &TableGuard,
    ) -> Result<()> {
        let own = &self.credentials;
        let same_user =
            own.euid == target.suid || own.euid == target.uid || own.uid == target.suid || own.uid == target.uid;
        if Arc::ptr_eq(process, &self.process) || same_user || own.may(Capability::Kill) {
            return Ok(());
        }
        let session = |process: &Arc<Process>| process.family(table).group.as_ref().map(|group| group.session().id());
        if signal == Some(Signal::SIGCONT) && session(process) == session(&self.process) {
            return Ok(());
        }
        Err(Errno::EPERM)
    }
}

/// A signal number as a system call has it: zero only asks whether it could be sent.
///
/// # Errors
/// `EINVAL`.
pub fn signal_or_probe(number: i32) -> Result<Option<Signal>> {
    match number {
        0 => Ok(None),
        number => Signal::from_argument(number).map(Some).ok_or(Errno::EINVAL),
    }
}

fn credentials_of(process: &Process, table: &TableGuard) -> Option<Arc<Credentials>> {
    process.family(table).threads.first().map(|thread| thread.credentials())
}

fn kill_locked(
    sender: &Sender,
    process: &Arc<Process>,
    number: i32,
    information: &dyn Fn(Signal) -> SignalInformation,
    table: &TableGuard,
) -> Result<()> {
    let signal = signal_or_probe(number)?;
    // A zombie has nobody to take a signal, and nothing to protect.
    let Some(credentials) = credentials_of(process, table) else { return Ok(()) };
    sender.check(process, &credentials, signal, table)?;
    match signal {
        Some(signal) => send_locked(process, Target::Process, signal, information(signal), table),
        None => Ok(()),
    }
}

/// Sends signal `number` to the process with number `pid` (or with a thread of that number).
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`, `EAGAIN`.
pub fn send_to_pid(
    sender: &Sender,
    pid: Pid,
    number: i32,
    information: &dyn Fn(Signal) -> SignalInformation,
) -> Result<()> {
    let table = table::lock();
    let found = table.process(pid).or_else(|| table.thread(pid).map(|thread| thread.process())).ok_or(Errno::ESRCH)?;
    kill_locked(sender, found, number, information, &table)
}

/// Sends signal `number` to `process`, as `pidfd_send_signal` does.
///
/// # Errors
/// `ESRCH` when it has been waited for, `EPERM`, `EINVAL`, `EAGAIN`.
pub fn send_checked(
    sender: &Sender,
    process: &Arc<Process>,
    number: i32,
    information: &dyn Fn(Signal) -> SignalInformation,
) -> Result<()> {
    let table = table::lock();
    if !table.process(process.pid()).is_some_and(|found| Arc::ptr_eq(found, process)) {
        return Err(Errno::ESRCH);
    }
    kill_locked(sender, process, number, information, &table)
}

/// Sends signal `number` to thread `tid`, which must belong to process `pid` if one is given.
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`, `EAGAIN`.
pub fn send_to_tid(
    sender: &Sender,
    pid: Option<Pid>,
    tid: Pid,
    number: i32,
    information: &dyn Fn(Signal) -> SignalInformation,
) -> Result<()> {
    let table = table::lock();
    let thread = table.thread(tid).ok_or(Errno::ESRCH)?;
    let process = thread.process();
    if pid.is_some_and(|pid| pid != process.pid()) {
        return Err(Errno::ESRCH);
    }
    let signal = signal_or_probe(number)?;
    sender.check(process, &thread.credentials(), signal, &table)?;
    match signal {
        Some(signal) => send_locked(process, Target::Thread(&thread.signals), signal, information(signal), &table),
        None => Ok(()),
    }
}

/// `kill(2)`: to a process, to the sender's group (0), to everybody (-1), to a group (negative).
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`.
pub fn kill(sender: &Sender, pid: Pid, number: i32) -> Result<()> {
    let information = |signal| sender.information(signal, code::SI_USER);
    if pid > 0 {
        return send_to_pid(sender, pid, number, &information);
    }
    if pid == Pid::MIN {
        return Err(Errno::ESRCH);
    }
    let table = table::lock();
    if pid == -1 {
        return kill_all(sender, number, &information, &table);
    }
    let group = match pid {
        0 => sender.process.family(&table).group.as_ref(),
        pid => table.group(-pid),
    };
    let mut result = Err(Errno::ESRCH);
    for process in group.ok_or(Errno::ESRCH)?.members(&table) {
        let one = kill_locked(sender, process, number, &information, &table);
        if result.is_err() {
            result = one;
        }
    }
    result
}

/// Everybody but PID 1 and the sender itself.
fn kill_all(
    sender: &Sender,
    number: i32,
    information: &dyn Fn(Signal) -> SignalInformation,
    table: &TableGuard,
) -> Result<()> {
    let mut result = None;
    for process in table.processes().filter(|process| process.pid() > 1 && !Arc::ptr_eq(process, &sender.process)) {
        match kill_locked(sender, process, number, information, table) {
            Err(Errno::EPERM) => result = result.or(Some(Ok(()))),
            other => result = Some(other),
        }
    }
    result.unwrap_or(Err(Errno::ESRCH))
}
