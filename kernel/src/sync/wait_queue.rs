//! Queues of threads that wait for a condition.
//!
//! A waiter's loop is [`WaitQueue::wait_until`]; whoever makes the condition true changes the state first and then wakes.
//! The queue's lock may be taken in interrupt context.

use super::parking::{self, Interruptible, ThreadReference, WakeReason};
use super::{InterruptsDisabled, LockRank, SpinLock};
use crate::base::{Errno, Nanoseconds};
use alloc::collections::VecDeque;

/// Why a wait ended without its condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// The deadline passed.
    TimedOut,
    /// A signal came.
    Interrupted,
}

impl From<WaitError> for Errno {
    /// A signal restarts the call as its action says; a deadline is for each caller to name, `ETIMEDOUT` by default.
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut => Self::ETIMEDOUT,
            WaitError::Interrupted => Self::ERESTARTSYS,
        }
    }
}

/// Threads that wait, in the order in which they came.
pub struct WaitQueue {
    waiters: SpinLock<VecDeque<ThreadReference>, InterruptsDisabled>,
}

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiters: SpinLock::new(LockRank::WaitQueue, VecDeque::new()) }
    }

    /// Sleeps until `condition` gives a value. It is called without any lock of the queue held, first before sleeping and
    /// then after every wake-up.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] past `deadline` (monotonic), [`WaitError::Interrupted`] on a signal of the kind let through.
    pub fn wait_until<T>(
        &self,
        deadline: Option<Nanoseconds>,
        interruptible: Interruptible,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        if let Some(value) = condition() {
            return Ok(value);
        }
        let result = loop {
            let thread = self.add_current();
            if let Some(value) = condition() {
                break (Ok(value), thread);
            }
            let reason = parking::park(deadline, interruptible);
            if let Some(value) = condition() {
                break (Ok(value), thread);
            }
            match reason {
                WakeReason::Woken => {}
                WakeReason::TimedOut => break (Err(WaitError::TimedOut), thread),
                WakeReason::Interrupted => break (Err(WaitError::Interrupted), thread),
            }
        };
        if let Some(thread) = &result.1 {
            self.remove(thread);
        }
        result.0
    }

    /// Waits without deadline, ended by signals.
    ///
    /// # Errors
    /// [`WaitError::Interrupted`].
    pub fn wait<T>(&self, condition: impl FnMut() -> Option<T>) -> Result<T, WaitError> {
        self.wait_until(None, Interruptible::BySignal, condition)
    }

    /// Puts the running thread on the queue, once, without sleeping; for waits on several queues (`poll`).
    /// Gives the reference to hand to [`WaitQueue::remove`].
    pub fn add_current(&self) -> Option<ThreadReference> {
        let thread = parking::current_thread()?;
        self.add(&thread);
        Some(thread)
    }

    /// Puts `thread` on the queue unless it is there.
    pub fn add(&self, thread: &ThreadReference) {
        let mut waiters = self.waiters.lock();
        if !waiters.iter().any(|waiter| waiter.identity() == thread.identity()) {
            waiters.push_back(thread.clone());
        }
    }

    /// Takes `thread` off the queue if it is there.
    pub fn remove(&self, thread: &ThreadReference) {
        let mut waiters = self.waiters.lock();
        let removed = waiters
            .iter()
            .position(|waiter| waiter.identity() == thread.identity())
            .and_then(|position| waiters.remove(position));
        drop(waiters);
        drop(removed);
    }

    /// Wakes the thread that has waited longest. Returns whether there was one.
    pub fn wake_one(&self) -> bool {
        let thread = self.waiters.lock().pop_front();
        match thread {
            Some(thread) => {
                thread.unpark();
                true
            }
            None => false,
        }
    }

    /// Wakes all. Cheap when nobody waits.
    pub fn wake_all(&self) {
        while self.wake_one() {}
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.lock().is_empty()
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for WaitQueue {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("WaitQueue")
    }
}
