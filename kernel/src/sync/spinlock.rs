//! The spinlock: data inside, rank and interrupt context in the type.
//!
//! Invariant: while a guard lives, the CPU's preemption count is raised, so the holder is not descheduled and stays on its
//! CPU; with [`InterruptsDisabled`] interrupts are masked too, so a handler on the same CPU cannot deadlock on the lock.

#![allow(unsafe_code, reason = "a lock hands out exclusive references to its cell")]

use super::rank::{self, LockContext, LockRank};
use crate::arch::{Cpu, Current, inter_processor};
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// What a lock does with interrupts while it is held.
pub trait InterruptMode {
    /// Where the lock may be taken.
    const CONTEXT: LockContext;
    /// Called before the lock is taken; the result is given to [`InterruptMode::leave`].
    fn enter() -> bool;
    /// Called after the release.
    fn leave(saved: bool);
}

/// The lock is never taken in interrupt context.
#[derive(Debug)]
pub struct InterruptsUnchanged;
/// The lock is also taken in interrupt context, so it masks interrupts.
#[derive(Debug)]
pub struct InterruptsDisabled;

impl InterruptMode for InterruptsUnchanged {
    const CONTEXT: LockContext = LockContext::Thread;
    #[inline]
    fn enter() -> bool {
        debug_assert!(!Current::local().in_interrupt(), "a thread-context lock in an interrupt handler");
        false
    }
    #[inline]
    fn leave(_saved: bool) {}
}

impl InterruptMode for InterruptsDisabled {
    const CONTEXT: LockContext = LockContext::Any;
    #[inline]
    fn enter() -> bool {
        Current::save_and_disable_interrupts()
    }
    #[inline]
    fn leave(saved: bool) {
        if saved {
            Current::enable_interrupts();
        }
    }
}

/// A spinlock around a `T`.
pub struct SpinLock<T, Mode = InterruptsUnchanged> {
    locked: AtomicBool,
    rank: LockRank,
    mode: PhantomData<fn() -> Mode>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives access to one thread at a time, so sharing it needs only that `T` may be sent.
unsafe impl<T: Send, Mode> Sync for SpinLock<T, Mode> {}
// SAFETY: moving the lock moves the value.
unsafe impl<T: Send, Mode> Send for SpinLock<T, Mode> {}

/// Access to the value of a [`SpinLock`] until dropped. It stays on its CPU: not `Send`.
pub struct SpinLockGuard<'a, T, Mode: InterruptMode = InterruptsUnchanged> {
    lock: &'a SpinLock<T, Mode>,
    interrupts: bool,
    nested: bool,
    not_send: PhantomData<*mut ()>,
}

impl<T, Mode: InterruptMode> SpinLock<T, Mode> {
    /// A free lock of `rank` around `value`.
    pub const fn new(rank: LockRank, value: T) -> Self {
        Self { locked: AtomicBool::new(false), rank, mode: PhantomData, value: UnsafeCell::new(value) }
    }

    /// Takes the lock. Panics in debug builds when a lock of equal or higher rank is held.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T, Mode> {
        let interrupts = Mode::enter();
        Current::disable_preemption();
        rank::acquire(self.rank, Mode::CONTEXT);
        self.spin();
        SpinLockGuard { lock: self, interrupts, nested: false, not_send: PhantomData }
    }

    /// Takes the lock while another of the same rank is held; the caller says at the call which second order
    /// keeps that free of deadlock.
    #[inline]
    pub fn lock_nested(&self) -> SpinLockGuard<'_, T, Mode> {
        let interrupts = Mode::enter();
        Current::disable_preemption();
        self.spin();
        SpinLockGuard { lock: self, interrupts, nested: true, not_send: PhantomData }
    }

    /// Takes the lock if it is free now, whatever its rank: trying cannot deadlock.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T, Mode>> {
        let interrupts = Mode::enter();
        Current::disable_preemption();
        if self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            Some(SpinLockGuard { lock: self, interrupts, nested: true, not_send: PhantomData })
        } else {
            leave_preemption();
            Mode::leave(interrupts);
            None
        }
    }

    #[inline]
    fn spin(&self) {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.locked.load(Ordering::Relaxed) {
                // Whoever holds the lock may be waiting for this CPU to answer a call.
                inter_processor::serve_calls_while_spinning();
                Current::relax();
            }
        }
    }

    /// The value, through exclusive access to the lock itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Frees the lock by force. For the panic path alone, so that the last words get out.
    ///
    /// # Safety
    /// No other CPU runs, and whoever held the lock never goes on.
    pub unsafe fn force_unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }
}

/// Lowers the preemption count and gives way if that is due and allowed here.
#[inline]
fn leave_preemption() {
    if Current::enable_preemption() {
        super::parking::preempt();
    }
}

impl<T, Mode: InterruptMode> Drop for SpinLockGuard<'_, T, Mode> {
    #[inline]
    fn drop(&mut self) {
        if !self.nested {
            rank::release(self.lock.rank);
        }
        self.lock.locked.store(false, Ordering::Release);
        // Interrupts come back first, so that a reschedule due now happens in a context that may be preempted.
        Mode::leave(self.interrupts);
        leave_preemption();
    }
}

impl<T, Mode: InterruptMode> Deref for SpinLockGuard<'_, T, Mode> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, Mode: InterruptMode> DerefMut for SpinLockGuard<'_, T, Mode> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, Mode: InterruptMode> core::fmt::Debug for SpinLock<T, Mode> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("SpinLock").field("rank", &self.rank).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_excludes_others_and_raises_the_preemption_count() {
        let lock: SpinLock<u32> = SpinLock::new(LockRank::FileObject, 1);
        let before = Current::preemption_count();
        {
            let mut guard = lock.lock();
            *guard += 1;
            assert_eq!(Current::preemption_count(), before + 1);
            assert!(lock.try_lock().is_none());
        }
        assert_eq!(*lock.lock(), 2);
        assert_eq!(Current::preemption_count(), before);
    }

    #[test]
    fn counting_from_four_threads_loses_nothing() {
        static LOCK: SpinLock<u64, InterruptsDisabled> = SpinLock::new(LockRank::FileObject, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5000).for_each(|_| *LOCK.lock() += 1));
            }
        });
        assert_eq!(*LOCK.lock(), 20_000);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn falling_rank_is_caught() {
        let high: SpinLock<()> = SpinLock::new(LockRank::PageCache, ());
        let low: SpinLock<()> = SpinLock::new(LockRank::Process, ());
        let _first = high.lock();
        let _second = low.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    fn interrupt_handlers_take_only_what_ranks_above_threads_locks() {
        let take = |rank| {
            // A thread of its own: the emulated CPU is this thread's.
            std::thread::spawn(move || {
                let lock: SpinLock<(), InterruptsDisabled> = SpinLock::new(rank, ());
                Current::local().enter_interrupt();
                drop(lock.lock());
            })
            .join()
        };
        assert!(take(LockRank::Signal).is_ok() && take(LockRank::ProcessTimers).is_ok());
        assert!(take(LockRank::Process).is_err() && take(LockRank::Futex).is_err());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "leaves interrupts on")]
    fn a_lock_that_handlers_may_wait_for_masks_interrupts() {
        let lock: SpinLock<()> = SpinLock::new(LockRank::WaitQueue, ());
        let _guard = lock.lock();
    }
}
