//! Locks with ranks, sleeping locks, wait queues.
//!
//! | type | waits by | may be taken | guard |
//! |---|---|---|---|
//! | [`SpinLock<T>`] | spinning | thread context | preemption off |
//! | [`SpinLock<T, InterruptsDisabled>`] | spinning | anywhere | preemption and interrupts off |
//! | [`Mutex<T>`] | sleeping | thread context, no spinlock held | none |
//! | [`WaitQueue`] | sleeping | thread context, no spinlock held | none |
//!
//! [`LockRank`] is the lock order of the whole kernel: a thread takes locks in rising rank only. Debug builds check that on every
//! spinlock, and that nobody sleeps under one. Never allocate, touch user memory or drop something heavy under a spinlock
//! of rank [`LockRank::Heap`] or above.

pub mod lending;
pub mod mutex;
pub mod parking;
pub mod rank;
pub mod spinlock;
pub mod wait_queue;

pub use mutex::{Mutex, MutexGuard};
pub use parking::{Interruptible, Parker, ThreadReference, WakeReason, preempt, set_parker};
pub use rank::LockRank;
pub use spinlock::{InterruptsDisabled, InterruptsUnchanged, SpinLock, SpinLockGuard};
pub use wait_queue::{WaitError, WaitQueue};
