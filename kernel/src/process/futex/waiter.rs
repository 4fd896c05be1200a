//! One thread's wait on one word: which wakers it listens to, how urgent it is, and what has become of it.
//!
//! State and bucket change under the lock of the bucket of [`super::table`] that holds the waiter; the state is read by the waiting thread
//! without it.

use super::FutexKey;
use crate::process::Thread;
use crate::sync::parking::ThreadReference;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What has become of a waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// It waits.
    Waiting = 0,
    /// Somebody woke it; one that waits to get a lock has it.
    Woken = 1,
    /// It waits for its lock now ([`crate::process::inheritance`]).
    Moved = 2,
    /// It gave up.
    Left = 3,
}

/// The lock that a waiter is to get when it is woken (`FUTEX_WAIT_REQUEUE_PI`).
#[derive(Debug)]
pub struct WantedLock {
    /// The lock.
    pub key: FutexKey,
    /// Who waits.
    pub thread: Arc<Thread>,
}

/// One thread's wait on one word.
pub struct Waiter {
    /// Which wakers it listens to.
    pub(super) bitset: u32,
    /// 1 to 100 for real-time priorities and reservations, else 0.
    pub(super) urgency: u8,
    state: AtomicU8,
    thread: Option<ThreadReference>,
    /// Where it is; changed under the bucket's lock only.
    pub(super) bucket: AtomicUsize,
    pub(super) wanted: Option<WantedLock>,
}

impl core::fmt::Debug for Waiter {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Waiter({}, {:?})", self.urgency, self.state())
    }
}

impl Waiter {
    /// A waiter for `thread`, in no queue yet.
    #[must_use]
    pub fn new(thread: Option<ThreadReference>, urgency: u8, bitset: u32, wanted: Option<WantedLock>) -> Arc<Self> {
        Arc::new(Self {
            bitset,
            urgency,
            state: AtomicU8::new(State::Waiting as u8),
            thread,
            bucket: AtomicUsize::new(0),
            wanted,
        })
    }

    /// What has become of it.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Waiting,
            1 => State::Woken,
            2 => State::Moved,
            _ => State::Left,
        }
    }

    /// The lock that it is to get.
    #[must_use]
    pub const fn wanted(&self) -> Option<&WantedLock> {
        self.wanted.as_ref()
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(super) fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    pub(super) fn unpark_sync(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark_sync();
        }
    }
}
