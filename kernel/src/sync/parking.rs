//! Putting the running thread to sleep and waking it: a trait that `process` fills, so that locks and wait queues
//! need not know what a thread is.
//!
//! The protocol that loses no wake-up, as in `std::thread::park`: a waiter first makes itself findable (on a queue), then checks
//! its condition, then parks. [`ThreadReference::unpark`] stores a token that the next (or present) park of that
//! thread consumes, so a wake-up between the check and the park is not lost. Wake-ups may be spurious: check again.

use crate::arch::{Cpu, Current};
use crate::base::Nanoseconds;
use alloc::sync::Arc;
use spin::Once;

/// Whether a signal ends the sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interruptible {
    /// Any signal that is not blocked or ignored: Linux's `TASK_INTERRUPTIBLE`.
    BySignal,
    /// Only a fatal one: `TASK_KILLABLE`.
    ByKill,
    /// None: `TASK_UNINTERRUPTIBLE`.
    No,
}

/// Why a park returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeReason {
    /// Unparked, or for no reason.
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal of the kind that was let through is pending.
    Interrupted,
}

/// What an exclusive waiter makes of a wake-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Somebody goes on because of it: others need not hear.
    Taken,
    /// It is noted, but nobody goes on.
    Left,
}

/// A thread, as much of it as waking it needs.
pub trait Unpark: Send + Sync {
    /// Gives the thread its token and makes it ready if it sleeps. Takes `LockRank::Thread` and above; any context.
    fn unpark(&self);
    /// As [`Self::unpark`], by a thread that may have handed over what this one waited for and sleep itself: Linux's sync wake-up. Thread context.
    fn unpark_sync(&self) {
        self.unpark();
    }
    /// Something that ends its sleep, or that it sees to on its way to user mode, was noted for the thread: as [`Self::unpark`], and if it runs on
    /// another CPU, that one looks.
    fn notice(&self) {
        self.unpark();
    }
    /// Whether a wake-up that goes to all who wait is to reach one of such waiters only ([`Self::unpark_exclusive`]).
    fn is_exclusive(&self) -> bool {
        false
    }
    /// As [`Self::unpark`], where [`Self::is_exclusive`].
    fn unpark_exclusive(&self) -> Claim {
        self.unpark();
        Claim::Taken
    }
    /// A number that differs between threads alive at the same time (the TID).
    fn identity(&self) -> u64;
}

/// A counted reference to a thread that can be woken.
pub type ThreadReference = Arc<dyn Unpark>;

/// The scheduler, as much of it as sleeping needs.
pub trait Parker: Sync {
    /// The running thread.
    fn current(&self) -> ThreadReference;
    /// Sleeps until the token is there (and takes it), the deadline (monotonic) passes, or a signal of the kind let
    /// through is pending. Thread context, no spinlock held.
    fn park(&self, deadline: Option<Nanoseconds>, interruptible: Interruptible) -> WakeReason;
    /// Runs a better thread now, if the context may be preempted (interrupts enabled, count zero).
    fn preempt(&self);
}

static PARKER: Once<&'static dyn Parker> = Once::new();

/// Registers the scheduler, once, at boot.
pub fn set_parker(parker: &'static dyn Parker) {
    PARKER.call_once(|| parker);
}

/// The running thread; `None` before the scheduler runs (and on the hosted machine unless a test registers one).
pub fn current_thread() -> Option<ThreadReference> {
    PARKER.get().map(|parker| parker.current())
}

/// Sleeps as [`Parker::park`] does. Before the scheduler runs it returns at once, so that early code spins.
#[track_caller]
pub fn park(deadline: Option<Nanoseconds>, interruptible: Interruptible) -> WakeReason {
    super::rank::assert_may_sleep();
    match PARKER.get() {
        Some(parker) => parker.park(deadline, interruptible),
        None => {
            Current::relax();
            WakeReason::Woken
        }
    }
}

/// Gives way to a better thread if one waits.
pub fn preempt() {
    if let Some(parker) = PARKER.get() {
        parker.preempt();
    }
}
