//! Signal sets, sending signals and waiting for them.
#![allow(unsafe_code, reason = "calls of the C library with places; a siginfo's fields overlap")]

use super::prototypes::prototypes;
use super::{Errno, Returned, zeroed};
use std::fmt;

prototypes! {
    /// `raise(3)`: to the calling thread.
    fn raise(signal: i32) -> i32;
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// The set of `signals`.
    #[must_use]
    pub fn of(signals: &[i32]) -> Self {
        let mut set = zeroed();
        // SAFETY: a set of that type; a number that is no signal is refused and changes nothing.
        unsafe {
            libc::sigemptyset(&mut set);
            signals.iter().for_each(|signal| _ = libc::sigaddset(&mut set, *signal));
        }
        Self(set)
    }

    /// Whether `signal` is in: 1 or 0, and -1 where it is no signal.
    #[must_use]
    pub fn contains(&self, signal: i32) -> i32 {
        // SAFETY: a set that `of` or the kernel made.
        unsafe { libc::sigismember(&self.0, signal) }
    }

    /// The C structure.
    #[must_use]
    pub fn raw(&self) -> &libc::sigset_t {
        &self.0
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries((1..=64).filter(|signal| self.contains(*signal) == 1)).finish()
    }
}

/// Blocks signals in this thread.
pub fn block(signals: &[i32]) {
    // SAFETY: a set, and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &SignalSet::of(signals).0, std::ptr::null_mut()) };
}

/// Lets signals through again.
pub fn unblock(signals: &[i32]) {
    // SAFETY: a set, and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &SignalSet::of(signals).0, std::ptr::null_mut()) };
}

/// What this thread blocks.
#[must_use]
pub fn blocked() -> SignalSet {
    let mut set = SignalSet::of(&[]);
    // SAFETY: a place for the mask, which stays as it is.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut set.0) };
    set
}

/// `sigpending(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn sigpending(set: &mut SignalSet) -> Result<i32, Errno> {
    // SAFETY: a place for the set.
    unsafe { libc::sigpending(&mut set.0) }.check()
}

/// `sigsuspend(2)`, which only fails.
///
/// # Errors
/// `EINTR`.
pub fn sigsuspend(mask: &SignalSet) -> Result<i32, Errno> {
    // SAFETY: a set.
    unsafe { libc::sigsuspend(&mask.0) }.check()
}

/// `sigwaitinfo(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn sigwaitinfo(set: &SignalSet, information: &mut libc::siginfo_t) -> Result<i32, Errno> {
    // SAFETY: a set, and a place for the information.
    unsafe { libc::sigwaitinfo(&set.0, information) }.check()
}

/// `sigtimedwait(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn sigtimedwait(set: &SignalSet, information: &mut libc::siginfo_t, time: &libc::timespec) -> Result<i32, Errno> {
    // SAFETY: a set, a place for the information, and a time.
    unsafe { libc::sigtimedwait(&set.0, information, time) }.check()
}

/// `sigqueue(3)` with a value.
///
/// # Errors
/// As the kernel gives them.
pub fn sigqueue(process: i32, signal: i32, value: usize) -> Result<i32, Errno> {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value) };
    // SAFETY: numbers; nobody takes the value for an address.
    unsafe { libc::sigqueue(process, signal, value) }.check()
}

/// `signalfd(2)`, a new descriptor.
///
/// # Errors
/// As the kernel gives them.
pub fn signalfd(set: &SignalSet, flags: i32) -> Result<i32, Errno> {
    // SAFETY: a set.
    unsafe { libc::signalfd(-1, &set.0, flags) }.check()
}

/// What the overlapping fields of a `siginfo_t` say; which of them means something, the code says.
pub trait Information {
    /// The address of a fault.
    fn address(&self) -> usize;
    /// The value that was sent along.
    fn value(&self) -> usize;
    /// The process that sent the signal, or the child.
    fn process(&self) -> i32;
    /// A child's status or signal.
    fn status(&self) -> i32;
}

impl Information for libc::siginfo_t {
    fn address(&self) -> usize {
        // SAFETY: all bytes of the structure are initialised, and any bits are an address that is not followed.
        unsafe { self.si_addr() }.addr()
    }
    fn value(&self) -> usize {
        // SAFETY: all bytes of the structure are initialised, and any bits are a value.
        unsafe { self.si_value() }.sival_ptr.addr()
    }
    fn process(&self) -> i32 {
        // SAFETY: all bytes of the structure are initialised, and any bits are a number.
        unsafe { self.si_pid() }
    }
    fn status(&self) -> i32 {
        // SAFETY: all bytes of the structure are initialised, and any bits are a number.
        unsafe { self.si_status() }
    }
}
