//! The sleeping lock: for sections that allocate, touch user memory or wait.
//!
//! Uncontended, it is one compare-and-exchange each way. Order among mutexes: address space before file-system objects
//! before terminals; none is taken under a spinlock.

#![allow(unsafe_code, reason = "a lock hands out exclusive references to its cell")]

use super::parking::{self, Interruptible};
use super::wait_queue::WaitQueue;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, Ordering};

const FREE: u8 = 0;
const HELD: u8 = 1;
const CONTENDED: u8 = 2;

/// A sleeping lock around a `T`.
pub struct Mutex<T> {
    state: AtomicU8,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives access to one thread at a time, so sharing it needs only that `T` may be sent.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: moving the lock moves the value.
unsafe impl<T: Send> Send for Mutex<T> {}

/// Access to the value of a [`Mutex`] until dropped.
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU8::new(FREE), waiters: WaitQueue::new(), value: UnsafeCell::new(value) }
    }

    /// Takes the lock, sleeping while another thread holds it. Signals do not end the wait.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if cfg!(debug_assertions) {
            super::rank::assert_may_sleep();
        }
        if self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slowly();
        }
        MutexGuard { lock: self }
    }

    #[cold]
    fn lock_slowly(&self) {
        let mut looks = 0u32;
        // An uninterruptible wait without deadline ends only with its condition.
        let _ = self.waiters.wait_until(None, Interruptible::No, || {
            looks = looks.saturating_add(1);
            (self.state.swap(CONTENDED, Ordering::Acquire) == FREE).then_some(())
        });
        // Locks are taken in the middle of other waits (in a condition that looks at several things): the wake-up that ended a sleep
        // here may have been meant for those. They get it back; the third look is the first after a sleep.
        if looks > 2
            && let Some(thread) = parking::current_thread()
        {
            thread.unpark();
        }
    }

    /// Takes the lock if it is free now.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| MutexGuard { lock: self })
    }

    /// The value, through exclusive access to the lock itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.state.swap(FREE, Ordering::Release) == CONTENDED {
            self.lock.waiters.wake_one();
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> core::fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Mutex")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_threads_take_turns() {
        let lock = Mutex::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 8000);
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(held);
    }
}
