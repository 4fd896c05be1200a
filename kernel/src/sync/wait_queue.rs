//! Queues of threads that wait for a condition.
//!
//! A waiter's loop is [`WaitQueue::wait_until`]; whoever makes the condition true changes the state first and then wakes.
//! The queue's lock may be taken in interrupt context.
//!
//! Waking an empty queue takes no lock: the number of waiters is kept beside them. A waiter is counted before it checks its
//! condition and a waker changes the state before it reads the count, each with a full fence between, so one sees the other.
//!
//! Waking one is enough only if a wake-up is never spent on a thread that does not need it. So a woken thread is off the queue before it
//! looks at its condition (which may wake the next one itself), and one that leaves the queue for another reason, and finds that it was woken
//! meanwhile, wakes the next in its place.

use super::parking::{self, Claim, Interruptible, ThreadReference, WakeReason};
use super::{InterruptsDisabled, LockRank, SpinLock};
use crate::arch::{Current, TimerHardware};
use crate::base::{Errno, Nanoseconds};
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

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

/// Whether a thread found a place on a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// It is on the queue.
    Queued,
    /// There was no memory for a place: nobody will wake it.
    None,
}

/// Whether a thread was still on the queue that it was taken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    /// It was.
    Queued,
    /// It was not: somebody has woken it, or it never had a place.
    Gone,
}

/// How soon a thread that has no place looks again.
const LOOK_AGAIN: Nanoseconds = Nanoseconds::from_milliseconds(10);

/// Sleeps for a while instead of being woken.
#[cold]
fn look_again_soon(deadline: Option<Nanoseconds>, interruptible: Interruptible) -> WakeReason {
    let soon = Current::now().saturating_add(LOOK_AGAIN);
    let end = deadline.map_or(soon, |deadline| deadline.min(soon));
    match parking::park(Some(end), interruptible) {
        WakeReason::TimedOut if deadline.is_none_or(|deadline| Current::now() < deadline) => WakeReason::Woken,
        reason => reason,
    }
}

/// Threads that wait, in the order in which they came.
pub struct WaitQueue {
    waiters: SpinLock<VecDeque<ThreadReference>, InterruptsDisabled>,
    /// The length of `waiters`, written under its lock.
    count: AtomicU32,
    /// Whether an exclusive waiter has ever been here.
    knows_exclusive: AtomicBool,
}

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            waiters: SpinLock::new(LockRank::WaitQueue, VecDeque::new()),
            count: AtomicU32::new(0),
            knows_exclusive: AtomicBool::new(false),
        }
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
        condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let park = |place| match place {
            Place::Queued => parking::park(deadline, interruptible),
            Place::None => look_again_soon(deadline, interruptible),
        };
        self.wait_parked(parking::current_thread, park, condition)
    }

    /// As [`WaitQueue::wait_until`], for the thread that `current` gives, sleeping by `park`.
    #[inline]
    #[track_caller]
    fn wait_parked<T>(
        &self,
        current: impl FnOnce() -> Option<ThreadReference>,
        park: impl FnMut(Place) -> WakeReason,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        match condition() {
            Some(value) => Ok(value),
            None => self.wait_queued(current, park, condition),
        }
    }

    /// As [`WaitQueue::wait`], for a condition that has just been found false.
    ///
    /// # Errors
    /// [`WaitError::Interrupted`].
    pub fn wait_further<T>(&self, condition: impl FnMut() -> Option<T>) -> Result<T, WaitError> {
        let park = |place| match place {
            Place::Queued => parking::park(None, Interruptible::BySignal),
            Place::None => look_again_soon(None, Interruptible::BySignal),
        };
        self.wait_queued(parking::current_thread, park, condition)
    }

    /// Sleeps until `condition`, which has just been found false, gives a value; nothing else ends the wait.
    pub fn wait_uninterrupted<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            let park = |place| match place {
                Place::Queued => parking::park(None, Interruptible::No),
                Place::None => look_again_soon(None, Interruptible::No),
            };
            if let Ok(value) = self.wait_queued(parking::current_thread, park, &mut condition) {
                return value;
            }
        }
    }

    #[inline]
    #[track_caller]
    fn wait_queued<T>(
        &self,
        current: impl FnOnce() -> Option<ThreadReference>,
        mut park: impl FnMut(Place) -> WakeReason,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let thread = current();
        loop {
            let place = thread.as_ref().map_or(Place::Queued, |thread| self.add(thread));
            if let Some(value) = condition() {
                self.leave(thread.as_ref(), place);
                return Ok(value);
            }
            let reason = park(place);
            let was_woken = thread.as_ref().is_none_or(|thread| self.remove(thread) == Membership::Gone);
            if let Some(value) = condition() {
                return Ok(value);
            }
            let error = match reason {
                WakeReason::Woken => continue,
                WakeReason::TimedOut => WaitError::TimedOut,
                WakeReason::Interrupted => WaitError::Interrupted,
            };
            if was_woken && place == Place::Queued {
                self.wake_one();
            }
            return Err(error);
        }
    }

    /// Takes a thread off the queue that has found its condition true while it was there. Was it woken, that was for another one.
    #[cold]
    fn leave(&self, thread: Option<&ThreadReference>, place: Place) {
        if let Some(thread) = thread
            && self.remove(thread) == Membership::Gone
            && place == Place::Queued
        {
            self.wake_one();
        }
    }

    /// Waits without deadline, ended by signals.
    ///
    /// # Errors
    /// [`WaitError::Interrupted`].
    pub fn wait<T>(&self, condition: impl FnMut() -> Option<T>) -> Result<T, WaitError> {
        self.wait_until(None, Interruptible::BySignal, condition)
    }

    /// Puts `thread` on the queue unless it is there. When memory is out there may be no place for it.
    pub fn add(&self, thread: &ThreadReference) -> Place {
        let mut waiters = self.waiters.lock();
        let mut place = Place::Queued;
        if !waiters.iter().any(|waiter| waiter.identity() == thread.identity()) {
            if waiters.try_reserve(1).is_ok() {
                waiters.push_back(thread.clone());
                self.count.fetch_add(1, Ordering::Relaxed);
            } else {
                place = Place::None;
            }
        }
        drop(waiters);
        fence(Ordering::SeqCst);
        place
    }

    /// Takes `thread` off the queue if it is there, and says whether it was.
    pub fn remove(&self, thread: &ThreadReference) -> Membership {
        let mut waiters = self.waiters.lock();
        let removed = waiters
            .iter()
            .position(|waiter| waiter.identity() == thread.identity())
            .and_then(|position| waiters.remove(position));
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        drop(waiters);
        if removed.is_some() { Membership::Queued } else { Membership::Gone }
    }

    /// Wakes the thread that has waited longest. Returns whether there was one.
    #[inline]
    pub fn wake_one(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::Relaxed) != 0 && self.wake_first(|thread| thread.unpark())
    }

    /// As [`Self::wake_one`], by a thread that may be about to sleep ([`parking::Unpark::unpark_sync`]). Thread context.
    #[inline]
    pub fn wake_one_sync(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::Relaxed) != 0 && self.wake_first(|thread| thread.unpark_sync())
    }

    fn wake_first(&self, wake: impl FnOnce(&ThreadReference)) -> bool {
        let mut waiters = self.waiters.lock();
        let thread = waiters.pop_front();
        if thread.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        drop(waiters);
        match thread {
            Some(thread) => {
                wake(&thread);
                true
            }
            None => false,
        }
    }

    /// Wakes all that wait now. Cheap when nobody waits.
    ///
    /// A thread that is woken may run at once, find its condition false and queue up again: it is not woken a second time, or the two
    /// would go on for ever.
    #[inline]
    pub fn wake_all(&self) {
        self.wake_each(|thread| thread.unpark());
    }

    /// As [`Self::wake_all`], by a thread that may be about to sleep ([`parking::Unpark::unpark_sync`]). Thread context.
    #[inline]
    pub fn wake_all_sync(&self) {
        self.wake_each(|thread| thread.unpark_sync());
    }

    #[inline]
    fn wake_each(&self, wake: impl Fn(&ThreadReference)) {
        fence(Ordering::SeqCst);
        let mut left = self.count.load(Ordering::Relaxed);
        while left != 0 && self.wake_first(&wake) {
            left -= 1;
        }
    }

    /// Exclusive waiters may be added: until this is said, [`Self::wake_readiness`] does not look for them.
    pub fn expect_exclusive(&self) {
        self.knows_exclusive.store(true, Ordering::Relaxed);
    }

    /// Wakes all that wait now and, of those that are exclusive, the first one that has a use for it.
    #[inline]
    pub fn wake_readiness(&self) {
        if self.knows_exclusive.load(Ordering::Relaxed) {
            self.wake_but_exclusive();
        } else {
            self.wake_all();
        }
    }

    /// As [`Self::wake_readiness`], by a thread that may be about to sleep. Thread context.
    #[inline]
    pub fn wake_readiness_sync(&self) {
        if self.knows_exclusive.load(Ordering::Relaxed) {
            self.wake_but_exclusive();
        } else {
            self.wake_all_sync();
        }
    }

    #[cold]
    fn wake_but_exclusive(&self) {
        fence(Ordering::SeqCst);
        let mut claim = Claim::Left;
        for _ in 0..self.count.load(Ordering::Relaxed) {
            let mut waiters = self.waiters.lock();
            let next = match waiters.iter().position(|waiter| !waiter.is_exclusive()) {
                Some(position) => waiters.remove(position),
                None if claim == Claim::Left => waiters.pop_front(),
                None => None,
            };
            let Some(waiter) = next else { return };
            self.count.fetch_sub(1, Ordering::Relaxed);
            drop(waiters);
            if waiter.is_exclusive() {
                claim = waiter.unpark_exclusive();
            } else {
                waiter.unpark();
            }
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
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

#[cfg(test)]
mod tests;
