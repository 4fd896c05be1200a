//! One thread's part of the signal state.
//!
//! Almost all of it is written by the thread itself only and read by senders, so it is made of relaxed atomics; the queue of
//! signals that are directed at the thread is under its own lock, taken inside [`super::state::SignalState`]'s.
//! [`ThreadSignals::work`] is what the return to user mode and the scheduler's sleeps look at: one load when there is nothing.

use super::information::SignalInformation;
use super::number::{Signal, SignalSet};
use super::queue::{Charge, PendingQueue, Queued};
use super::restart::Restart;
use crate::arch::{Cpu, Current, Exception, PageFault};
use crate::sync::parking::Unpark;
use crate::sync::{Interruptible, InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::{Arc, Weak};
use bitflags::bitflags;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use spin::Once;

bitflags! {
    /// What a thread has to see to before it goes back to user mode.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct SignalWork: u32 {
        /// A signal that is not blocked waits (or did: another thread may have taken it).
        const PENDING = 1;
        /// The process is to stop.
        const STOP = 2;
        /// The thread is to end.
        const KILL = 4;
        /// The mask of before `sigsuspend`, `pselect` and the like is to come back.
        const RESTORE_MASK = 8;
        /// The thread has arrived at its stop; only together with [`Self::STOP`].
        const ARRIVED = 16;
        /// CPU time has passed in a process with timers on it: they are to be looked at.
        const TIMERS = 32;
        /// A system call that was interrupted has to be looked at: it starts again, or fails. It stands here, because the CPU's own flag does not go
        /// with a thread that is preempted on the way.
        const RESTART = 64;
    }
}

/// The alternate signal stack, Linux's `stack_t` as it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AlternateStack {
    /// Its lowest byte.
    pub base: u64,
    /// Its length in bytes; 0 where there is none.
    pub size: u64,
    /// `ss_flags` as the program gave them ([`AlternateStack::AUTO_DISARM`], [`AlternateStack::DISABLE`]).
    pub flags: u32,
}

impl AlternateStack {
    /// `SS_ONSTACK`.
    pub const ON_STACK: u32 = 1;
    /// `SS_DISABLE`.
    pub const DISABLE: u32 = 2;
    /// `SS_AUTODISARM`.
    pub const AUTO_DISARM: u32 = 1 << 31;

    /// Whether `stack_pointer` lies on it. A stack that disarms itself never counts as in use.
    #[must_use]
    pub const fn holds(&self, stack_pointer: u64) -> bool {
        self.flags & Self::AUTO_DISARM == 0 && self.spans(stack_pointer)
    }

    /// Whether `stack_pointer` lies within its bounds.
    #[must_use]
    pub const fn spans(&self, stack_pointer: u64) -> bool {
        stack_pointer > self.base && stack_pointer - self.base <= self.size
    }
}

/// The vector, error code and address of the last exception: for the signal frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastException {
    /// The machine's vector number.
    pub vector: u64,
    /// Its error code.
    pub error_code: u64,
    /// The address of the last page fault.
    pub address: u64,
}

/// One thread's signal state.
pub struct ThreadSignals {
    identifier: AtomicI32,
    work: AtomicU32,
    blocked: AtomicU64,
    saved_mask: AtomicU64,
    real_blocked: AtomicU64,
    private_set: AtomicU64,
    private: SpinLock<PendingQueue, InterruptsDisabled>,
    stack_base: AtomicU64,
    stack_size: AtomicU64,
    stack_flags: AtomicU32,
    exception_vector: AtomicU64,
    exception_error: AtomicU64,
    exception_address: AtomicU64,
    restart: SpinLock<Restart, InterruptsDisabled>,
    waker: Once<Weak<dyn Unpark>>,
}

impl core::fmt::Debug for ThreadSignals {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("ThreadSignals")
            .field("identifier", &self.identifier)
            .field("work", &self.work())
            .field("blocked", &self.blocked())
            .finish_non_exhaustive()
    }
}

impl ThreadSignals {
    /// The state of thread `identifier` with nothing pending and `blocked` as its mask.
    #[must_use]
    pub fn new(identifier: i32, blocked: SignalSet) -> Arc<Self> {
        Arc::new(Self {
            identifier: AtomicI32::new(identifier),
            work: AtomicU32::new(0),
            blocked: AtomicU64::new(blocked.bits()),
            saved_mask: AtomicU64::new(0),
            real_blocked: AtomicU64::new(0),
            private_set: AtomicU64::new(0),
            private: SpinLock::new(LockRank::Signal, PendingQueue::new()),
            stack_base: AtomicU64::new(0),
            stack_size: AtomicU64::new(0),
            stack_flags: AtomicU32::new(0),
            exception_vector: AtomicU64::new(0),
            exception_error: AtomicU64::new(0),
            exception_address: AtomicU64::new(0),
            restart: SpinLock::new(LockRank::Signal, Restart::None),
            waker: Once::new(),
        })
    }

    /// The state of a new thread `identifier` that `self` clones: the same mask and, where it gets its own memory (`fork`, `vfork`),
    /// the same alternate stack; nothing pending.
    #[must_use]
    pub fn inherit(&self, identifier: i32, stack: InheritStack) -> Arc<Self> {
        let new = Self::new(identifier, self.blocked());
        if stack == InheritStack::Keep {
            new.set_alternate_stack(self.alternate_stack());
        }
        new
    }

    /// Says how to wake the thread, once, when it exists.
    pub fn set_waker(&self, waker: Weak<dyn Unpark>) {
        self.waker.call_once(|| waker);
    }

    /// The thread's TID.
    #[must_use]
    pub fn identifier(&self) -> i32 {
        self.identifier.load(Ordering::Relaxed)
    }

    /// Gives the thread another TID: `execve` in a thread that is not the leader.
    pub fn set_identifier(&self, identifier: i32) {
        self.identifier.store(identifier, Ordering::Relaxed);
    }

    /// What there is to see to before user mode; nothing, nearly always.
    #[inline]
    #[must_use]
    pub fn work(&self) -> SignalWork {
        SignalWork::from_bits_retain(self.work.load(Ordering::Acquire))
    }

    /// Whether [`super::deliver`] has anything to do. The scheduler asks it for each thread that it switches to, and calls
    /// `CpuLocal::request_work` then.
    #[inline]
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.work.load(Ordering::Acquire) != 0
    }

    /// Whether a sleep of kind `interruptible` has to end.
    #[inline]
    #[must_use]
    pub fn interrupts(&self, interruptible: Interruptible) -> bool {
        match interruptible {
            Interruptible::No => false,
            Interruptible::ByKill => self.work().contains(SignalWork::KILL),
            Interruptible::BySignal => {
                self.work().intersects(SignalWork::PENDING.union(SignalWork::STOP).union(SignalWork::KILL))
            }
        }
    }

    pub(super) fn add_work(&self, work: SignalWork) {
        self.work.fetch_or(work.bits(), Ordering::Release);
    }

    pub(super) fn remove_work(&self, work: SignalWork) {
        self.work.fetch_and(!work.bits(), Ordering::Release);
    }

    /// Adds `work` and sees that the thread notices: wakes it if it sleeps, and has the CPU that it runs on look before user mode.
    pub(super) fn notify(&self, work: SignalWork) {
        self.add_work(work);
        Current::local().request_work();
        if let Some(thread) = self.waker.get().and_then(Weak::upgrade) {
            thread.notice();
        }
    }

    /// As [`Self::notify`], by the thread itself: it is awake.
    pub(super) fn notify_self(&self, work: SignalWork) {
        self.add_work(work);
        Current::local().request_work();
    }

    /// Has the thread, which is the caller, see to a system call that wants to start again.
    pub fn request_restart_check(&self) {
        self.notify_self(SignalWork::RESTART);
    }

    /// That is being seen to.
    pub(super) fn begin_restart_check(&self) {
        if self.work().contains(SignalWork::RESTART) {
            self.remove_work(SignalWork::RESTART);
        }
    }

    /// Has the thread look at the process's timers on CPU time before it goes to user mode. The thread itself or the tick that interrupts
    /// it calls this.
    pub fn request_timer_check(&self) {
        self.notify_self(SignalWork::TIMERS);
    }

    /// Whether such a look is due; it is not any more after this.
    #[inline]
    #[must_use]
    pub fn take_timer_check(&self) -> bool {
        let due = self.work().contains(SignalWork::TIMERS);
        if due {
            self.remove_work(SignalWork::TIMERS);
        }
        due
    }

    /// The mask.
    #[inline]
    #[must_use]
    pub fn blocked(&self) -> SignalSet {
        SignalSet::from_bits(self.blocked.load(Ordering::Relaxed))
    }

    /// Only stores the mask; [`super::state::SignalState::set_mask`] also sees what that lets through.
    pub(super) fn store_blocked(&self, mask: SignalSet) {
        self.blocked.store(mask.bits(), Ordering::Relaxed);
    }

    /// The mask that a handler's frame saves, and that `sigprocmask` would show: the one from before a temporary one.
    #[must_use]
    pub fn mask_to_save(&self) -> SignalSet {
        if self.work().contains(SignalWork::RESTORE_MASK) { self.saved_mask() } else { self.blocked() }
    }

    pub(super) fn saved_mask(&self) -> SignalSet {
        SignalSet::from_bits(self.saved_mask.load(Ordering::Relaxed))
    }

    pub(super) fn store_saved_mask(&self, mask: SignalSet) {
        self.saved_mask.store(mask.bits(), Ordering::Relaxed);
    }

    /// What was blocked before `sigtimedwait` let its set through: those signals do not kill, they are waited for.
    pub(super) fn real_blocked(&self) -> SignalSet {
        SignalSet::from_bits(self.real_blocked.load(Ordering::Relaxed))
    }

    pub(super) fn store_real_blocked(&self, mask: SignalSet) {
        self.real_blocked.store(mask.bits(), Ordering::Relaxed);
    }

    /// Signals that are directed at this thread and wait.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> SignalSet {
        SignalSet::from_bits(self.private_set.load(Ordering::Relaxed))
    }

    /// The alternate stack.
    #[must_use]
    pub fn alternate_stack(&self) -> AlternateStack {
        AlternateStack {
            base: self.stack_base.load(Ordering::Relaxed),
            size: self.stack_size.load(Ordering::Relaxed),
            flags: self.stack_flags.load(Ordering::Relaxed),
        }
    }

    /// Sets the alternate stack; the thread itself only.
    pub fn set_alternate_stack(&self, stack: AlternateStack) {
        self.stack_base.store(stack.base, Ordering::Relaxed);
        self.stack_size.store(stack.size, Ordering::Relaxed);
        self.stack_flags.store(stack.flags, Ordering::Relaxed);
    }

    /// Remembers the exception that the thread just took, for the frame of the signal that it leads to.
    pub fn record_exception(&self, exception: &Exception) {
        self.exception_vector.store(exception.vector, Ordering::Relaxed);
        self.exception_error.store(exception.error_code, Ordering::Relaxed);
        if let Some(address) = exception.fault_address {
            self.exception_address.store(address.value(), Ordering::Relaxed);
        }
    }

    /// Remembers a page fault that leads to a signal.
    pub fn record_fault(&self, fault: &PageFault) {
        self.exception_vector.store(fault.vector, Ordering::Relaxed);
        self.exception_error.store(fault.error_code, Ordering::Relaxed);
        self.exception_address.store(fault.address.value(), Ordering::Relaxed);
    }

    /// What was recorded last.
    #[must_use]
    pub fn last_exception(&self) -> LastException {
        LastException {
            vector: self.exception_vector.load(Ordering::Relaxed),
            error_code: self.exception_error.load(Ordering::Relaxed),
            address: self.exception_address.load(Ordering::Relaxed),
        }
    }

    /// Says how `restart_syscall` goes on with the call that is being interrupted with `ERESTART_RESTARTBLOCK`.
    pub fn set_restart(&self, restart: Restart) {
        *self.restart.lock() = restart;
    }

    /// Takes what [`Self::set_restart`] left.
    pub fn take_restart(&self) -> Restart {
        core::mem::take(&mut *self.restart.lock())
    }

    /// Queues a signal for this thread. Under the process's signal lock.
    pub(super) fn push_locked(&self, signal: Signal, information: SignalInformation, charge: Option<Charge>) -> Queued {
        let mut queue = self.private.lock_nested();
        let queued = queue.push(signal, information, charge);
        self.private_set.store(queue.set().bits(), Ordering::Relaxed);
        queued
    }

    /// Takes the first waiting signal among `allowed`. Under the process's signal lock.
    pub(super) fn take_locked(&self, allowed: SignalSet) -> Option<SignalInformation> {
        if self.pending().intersection(allowed).is_empty() {
            return None;
        }
        let mut queue = self.private.lock_nested();
        let information = queue.take(allowed);
        self.private_set.store(queue.set().bits(), Ordering::Relaxed);
        information
    }

    /// Drops waiting signals. Under the process's signal lock.
    pub(super) fn discard_locked(&self, signals: SignalSet) {
        if self.pending().intersection(signals).is_empty() {
            return;
        }
        let mut queue = self.private.lock_nested();
        queue.discard(signals);
        self.private_set.store(queue.set().bits(), Ordering::Relaxed);
    }
}

/// Whether a new thread keeps its creator's alternate stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InheritStack {
    /// `fork`, `vfork`: it runs on a copy of (or borrows) the same memory.
    Keep,
    /// A thread: two may not use one stack.
    Drop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_only_for_what_it_lets_through() {
        let signals = ThreadSignals::new(1, SignalSet::EMPTY);
        assert!(!signals.interrupts(Interruptible::BySignal));
        signals.notify(SignalWork::PENDING);
        assert!(signals.interrupts(Interruptible::BySignal));
        assert!(!signals.interrupts(Interruptible::ByKill));
        signals.notify(SignalWork::KILL);
        assert!(signals.interrupts(Interruptible::ByKill));
        assert!(!signals.interrupts(Interruptible::No));
    }

    #[test]
    fn a_stack_holds_its_top_but_not_its_base() {
        let stack = AlternateStack { base: 0x1000, size: 0x800, flags: 0 };
        assert!(!stack.holds(0x1000) && stack.holds(0x1001) && stack.holds(0x1800) && !stack.holds(0x1801));
        assert!(!AlternateStack { flags: AlternateStack::AUTO_DISARM, ..stack }.holds(0x1400));
        assert!(!AlternateStack::default().holds(0));
    }
}
