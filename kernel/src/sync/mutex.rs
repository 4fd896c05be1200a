//! The sleeping lock: for sections that allocate, touch user memory or wait.
//!
//! Uncontended, it is one atomic access each way. Whoever waits lends its standing to the holder ([`super::lending`]), and it is the most urgent one that is woken; but the
//! lock is not handed over: who comes first takes it. Order among mutexes: address space before file-system objects
//! before terminals; none is taken under a spinlock.

#![allow(unsafe_code, reason = "a lock hands out exclusive references to its cell")]

use super::lending::{Found, OwnerWord, Woken};
use super::parking;
use super::wait_queue::WaitQueue;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

/// A sleeping lock around a `T`.
pub struct Mutex<T> {
    owner: OwnerWord,
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
        Self { owner: OwnerWord::new(), waiters: WaitQueue::new(), value: UnsafeCell::new(value) }
    }

    /// Takes the lock, sleeping while another thread holds it. Signals do not end the wait.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if cfg!(debug_assertions) {
            super::rank::assert_may_sleep();
        }
        if !self.owner.try_take() {
            self.lock_slowly();
        }
        MutexGuard { lock: self }
    }

    #[cold]
    fn lock_slowly(&self) {
        let mut looks = 0u32;
        self.waiters.wait_uninterrupted(|| {
            looks = looks.saturating_add(1);
            (self.owner.want() == Found::Taken).then_some(())
        });
        // Locks are taken in the middle of other waits (in a condition that looks at several things): the wake-up that ended a sleep
        // here may have been meant for those. They get it back; the second look is the first after a sleep.
        if looks > 1
            && let Some(thread) = parking::current_thread()
        {
            thread.unpark();
        }
    }

    /// Wakes the thread whose turn it is, after the lock was freed; of those that nobody knows, the one that has waited longest.
    #[cold]
    fn wake_next(&self, mark: usize) {
        if self.owner.let_go(mark) == Woken::Nobody {
            self.waiters.wake_one();
        }
    }

    /// Takes the lock if it is free now.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.owner.try_take().then_some(MutexGuard { lock: self })
    }

    /// The value, through exclusive access to the lock itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(mark) = self.lock.owner.free() {
            self.lock.wake_next(mark);
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
