//! The lock order of the whole kernel.
//!
//! A thread that holds a spinlock may take another only if its rank is *higher*. Two locks of one rank are never held together,
//! except where a comment at the lock names a second order (by address, say) and uses [`super::SpinLock::lock_nested`].
//! Sleeping locks come before all spinlocks: no [`super::Mutex`] is taken while a spinlock is held.
//!
//! An interrupt may come while its CPU holds any lock that leaves interrupts on. What interrupt handlers take therefore ranks
//! above all of those: from [`LockRank::ProcessTimers`] on.

use crate::arch::{Cpu, Current};
use core::sync::atomic::Ordering::Relaxed;

/// Where a spinlock stands in the order; lower ranks are taken first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum LockRank {
    /// The process table, process groups and sessions.
    ProcessTable = 4,
    /// One process's state: children, exit status, timers.
    Process = 8,
    /// File tables, mounts, directory entries and other structures of `fs`.
    FileSystem = 12,
    /// One file, pipe, terminal or event object.
    FileObject = 16,
    /// Address-space structures that are not under its sleeping lock.
    AddressSpace = 20,
    /// Page-cache trees.
    PageCache = 24,
    /// Futex buckets.
    Futex = 28,
    /// Who waits for whose locks (priority inheritance).
    Inheritance = 29,
    /// A process's limits, its interval timers and its list of POSIX timers. The first rank that interrupt handlers take.
    ProcessTimers = 30,
    /// One POSIX timer.
    PosixTimer = 32,
    /// Signal state of a process (shared handlers and pending signals).
    Signal = 34,
    /// Timer queues.
    Timer = 36,
    /// Wait queues.
    WaitQueue = 40,
    /// A thread's scheduling state.
    Thread = 44,
    /// Run queues.
    RunQueue = 48,
    /// The kernel heap.
    Heap = 52,
    /// Frame-allocator region registration.
    Frames = 54,
    /// Interrupt controllers and other hardware registers.
    Hardware = 56,
    /// The kernel log and the console: usable from anywhere.
    Log = 60,
}

/// Where a lock may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockContext {
    /// In thread context alone: it leaves interrupts on.
    Thread,
    /// Anywhere: it masks interrupts.
    Any,
}

/// Records that this CPU takes a lock of `rank`; panics in debug builds when that breaks the order. Preemption is off.
#[track_caller]
#[expect(clippy::panic, reason = "a lock-order violation is a kernel bug, found in debug builds only")]
pub(super) fn acquire(rank: LockRank, context: LockContext) {
    if !cfg!(debug_assertions) {
        return;
    }
    if context == LockContext::Thread && rank >= LockRank::ProcessTimers {
        forget_held();
        panic!("lock order: {rank:?} ranks with what interrupt handlers take, but leaves interrupts on");
    }
    if (rank as u8) < LockRank::ProcessTimers as u8 && Current::local().in_interrupt() {
        panic!("lock order: {rank:?} ({}) taken by an interrupt handler", rank as u8);
    }
    let held = Current::local().held_ranks();
    let ranks = held.load(Relaxed);
    if ranks >> (rank as u8) != 0 {
        let highest = 63 - ranks.leading_zeros();
        panic!("lock order: {rank:?} ({}) taken while a lock of rank {highest} is held", rank as u8);
    }
    held.store(ranks | 1 << (rank as u8), Relaxed);
}

/// Records the release.
pub(super) fn release(rank: LockRank) {
    if cfg!(debug_assertions) {
        Current::local().held_ranks().fetch_and(!(1 << (rank as u8)), Relaxed);
    }
}

/// Forgets what this CPU holds. For the panic path alone, which takes the log's lock whatever was held.
pub fn forget_held() {
    Current::local().held_ranks().store(0, Relaxed);
}

/// Panics in debug builds when this CPU holds a spinlock: called by everything that may sleep.
#[track_caller]
#[expect(clippy::panic, reason = "sleeping under a spinlock is a kernel bug, found in debug builds only")]
pub fn assert_may_sleep() {
    if cfg!(debug_assertions) && Current::preemption_count() != 0 {
        panic!("sleeping with the preemption count at {}", Current::preemption_count());
    }
}
