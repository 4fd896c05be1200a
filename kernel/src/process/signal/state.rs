//! A process's signal state: actions, signals directed at the process, stop and end of the whole process.
//!
//! [`SignalState`] is the one place where signals are sent, taken and discarded; everything else here is called under its
//! lock. It knows its threads as [`ThreadSignals`] only, so that it can be tested without a scheduler.
//!
//! Lock order, all of rank `Signal`: the process's lock, then the action table's (shared by `CLONE_SIGHAND`), then a
//! thread's queue. Sending happens in interrupt context too (timers), so all three mask interrupts.
//!
//! Invariant: a thread whose unblocked signals wait, in its own queue or its process's, has [`SignalWork::PENDING`], or another
//! thread of the process has it for those directed at the process; it ends with the process ([`SignalState::validate`]).

mod sending;
mod stop;

pub use stop::{Consume, JobChange};

use super::action::{ActionTable, SignalAction};
use super::information::SignalInformation;
use super::number::{Signal, SignalSet};
use super::queue::PendingQueue;
use super::thread::{SignalWork, ThreadSignals};
use crate::base::{Errno, Result};
use crate::fs::poll::PollQueue;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use smallvec::SmallVec;
use stop::Stop;

/// Actions, as they are shared by processes that were cloned with `CLONE_SIGHAND`.
type SharedActions = Arc<SpinLock<ActionTable, InterruptsDisabled>>;

/// Whom a signal is for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Any thread of the process that does not block it.
    Process,
    /// This thread.
    Thread(&'a ThreadSignals),
}

/// What sending led to beyond the signal itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It waits, or ends the process.
    Queued,
    /// It is ignored, or one of the kind waits already.
    Dropped,
    /// SIGCONT continued a stopped process: its parent is to be told.
    Continued,
}

#[derive(Debug)]
struct Inner {
    actions: SharedActions,
    shared: PendingQueue,
    members: SmallVec<[Arc<ThreadSignals>; 1]>,
    stop: Stop,
    stop_report: Option<Signal>,
    continue_report: bool,
}

/// The signal state of a process.
#[derive(Debug)]
pub struct SignalState {
    inner: SpinLock<Inner, InterruptsDisabled>,
    shared_set: AtomicU64,
    fatal: AtomicU32,
    ending: AtomicBool,
    unkillable: AtomicBool,
    watchers: PollQueue,
}

impl Default for SignalState {
    fn default() -> Self {
        Self::new()
    }
}

impl SignalState {
    /// Default actions, nothing pending, no thread.
    #[must_use]
    pub fn new() -> Self {
        Self::with_actions(Arc::new(SpinLock::new(LockRank::Signal, ActionTable::default())))
    }

    fn with_actions(actions: SharedActions) -> Self {
        Self {
            inner: SpinLock::new(
                LockRank::Signal,
                Inner {
                    actions,
                    shared: PendingQueue::new(),
                    members: SmallVec::new(),
                    stop: Stop::Running,
                    stop_report: None,
                    continue_report: false,
                },
            ),
            shared_set: AtomicU64::new(0),
            fatal: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            unkillable: AtomicBool::new(false),
            watchers: PollQueue::new(),
        }
    }

    /// The queue of those who read signals from a `signalfd`; woken at each signal.
    pub fn watchers(&self) -> &PollQueue {
        &self.watchers
    }

    /// The state of a forked process: a copy of the actions, nothing pending.
    #[must_use]
    pub fn fork(&self) -> Self {
        let actions = self.actions();
        let copy = actions.lock().clone();
        Self::with_actions(Arc::new(SpinLock::new(LockRank::Signal, copy)))
    }

    /// The state of a process cloned with `CLONE_SIGHAND`: the very same actions, nothing pending.
    #[must_use]
    pub fn share(&self) -> Self {
        Self::with_actions(self.actions())
    }

    fn actions(&self) -> SharedActions {
        self.inner.lock().actions.clone()
    }

    /// Marks PID 1: signals whose action is the default do not reach it, SIGKILL and SIGSTOP from its own namespace included.
    pub fn set_unkillable(&self) {
        self.unkillable.store(true, Ordering::Relaxed);
    }

    /// `execve`: handlers back to the default, ignored signals stay; actions are no longer shared with another process.
    /// The calling thread is the only one left; its alternate stack is forgotten.
    pub fn reset_for_exec(&self, thread: &ThreadSignals) {
        let mut fresh = self.actions().lock().clone();
        fresh.reset_for_exec();
        let fresh = Arc::new(SpinLock::new(LockRank::Signal, fresh));
        let old = core::mem::replace(&mut self.inner.lock().actions, fresh);
        drop(old);
        thread.set_alternate_stack(super::thread::AlternateStack::default());
    }

    /// `CLONE_CLEAR_SIGHAND`: in the child, before it runs.
    pub fn clear_handlers(&self) {
        self.actions().lock().clear_handlers();
    }

    /// Makes `thread` one of the process's, so that signals reach it. It starts stopped when the process is stopping.
    pub fn attach(&self, thread: Arc<ThreadSignals>) {
        let mut inner = self.inner.lock();
        match &mut inner.stop {
            Stop::Running => {}
            Stop::Stopping(_, remaining) => {
                *remaining += 1;
                thread.add_work(SignalWork::STOP);
            }
            Stop::Stopped(_) => thread.add_work(SignalWork::STOP),
        }
        if self.ending.load(Ordering::Relaxed) {
            thread.add_work(SignalWork::KILL);
        }
        inner.members.push(thread);
    }

    /// Takes an ending thread out. Signals directed at the process that it was to take go to another thread. Gives what the
    /// parent has to be told when this was the last thread that a stop waited for.
    pub fn detach(&self, thread: &ThreadSignals) -> Option<JobChange> {
        let mut inner = self.inner.lock();
        let position = inner.members.iter().position(|member| core::ptr::eq(&raw const **member, thread))?;
        let removed = inner.members.remove(position);
        let had_to_stop = thread.work() & (SignalWork::STOP | SignalWork::ARRIVED) == SignalWork::STOP;
        thread.discard_locked(SignalSet::ALL);
        let waiting = inner.shared.set().difference(thread.blocked());
        for signal in waiting.iter() {
            if let Some(other) = inner.choose(signal) {
                other.notify(SignalWork::PENDING);
            }
        }
        let change = if had_to_stop { inner.arrive() } else { None };
        drop(inner);
        drop(removed);
        change
    }

    /// How many threads are attached.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.inner.lock().members.len()
    }

    /// The action of `signal`.
    #[must_use]
    pub fn action(&self, signal: Signal) -> SignalAction {
        let inner = self.inner.lock();
        let actions = inner.actions.lock_nested();
        actions.get(signal)
    }

    /// Sets the action of `signal`, sanitised, and gives the one before. Waiting signals that are ignored from now on go.
    ///
    /// # Errors
    /// `EINVAL` for SIGKILL and SIGSTOP.
    pub fn set_action(&self, signal: Signal, action: SignalAction) -> Result<SignalAction> {
        if SignalSet::UNBLOCKABLE.contains(signal) {
            return Err(Errno::EINVAL);
        }
        let mut inner = self.inner.lock();
        let (old, ignored) = {
            let mut actions = inner.actions.lock_nested();
            (actions.set(signal, action.sanitised()), actions.ignores(signal))
        };
        if ignored {
            inner.discard(SignalSet::EMPTY.with(signal));
            self.publish(&inner);
        }
        Ok(old)
    }

    /// Puts the action of `signal` back to the default, keeping the rest.
    pub(super) fn reset_action(&self, signal: Signal) {
        let inner = self.inner.lock();
        let mut actions = inner.actions.lock_nested();
        let action = actions.get(signal);
        actions.set(signal, SignalAction { handler: super::action::HANDLER_DEFAULT, ..action });
    }

    /// The ignored and the caught signals.
    #[must_use]
    pub fn collect_action_sets(&self) -> (SignalSet, SignalSet) {
        self.actions().lock().collect_sets()
    }

    /// Whether `signal` is ignored by its action.
    #[must_use]
    pub fn is_ignored(&self, signal: Signal) -> bool {
        self.action(signal).is_ignore()
    }

    /// Signals directed at the process that wait.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> SignalSet {
        SignalSet::from_bits(self.shared_set.load(Ordering::Relaxed))
    }

    fn publish(&self, inner: &Inner) {
        self.shared_set.store(inner.shared.set().bits(), Ordering::Relaxed);
    }

    /// Takes the next signal for `thread` among those that `allowed` has, its own first, and gives it with its action.
    /// An action with `SA_RESETHAND` is reset.
    pub fn take(&self, thread: &ThreadSignals, allowed: SignalSet) -> Option<(SignalInformation, SignalAction)> {
        let mut inner = self.inner.lock();
        let information = match thread.take_locked(allowed) {
            Some(information) => information,
            None => inner.shared.take(allowed)?,
        };
        self.publish(&inner);
        self.recalculate(thread);
        let signal = information.signal()?;
        let mut actions = inner.actions.lock_nested();
        let action = actions.get(signal);
        if action.is_handler() && action.action_flags().contains(super::action::ActionFlags::RESET_HANDLER) {
            actions.set(signal, SignalAction { handler: super::action::HANDLER_DEFAULT, ..action });
        }
        drop(actions);
        drop(inner);
        Some((information, action))
    }

    /// Takes a signal that the thread waits for (`sigtimedwait`, `signalfd`), without regard to its action.
    pub fn take_waited(&self, thread: &ThreadSignals, wanted: SignalSet) -> Option<SignalInformation> {
        if self.pending().union(thread.pending()).intersection(wanted).is_empty() {
            return None;
        }
        let mut inner = self.inner.lock();
        let information = thread.take_locked(wanted).or_else(|| inner.shared.take(wanted))?;
        self.publish(&inner);
        self.recalculate(thread);
        drop(inner);
        Some(information)
    }

    fn recalculate(&self, thread: &ThreadSignals) {
        if self.pending().union(thread.pending()).difference(thread.blocked()).is_empty() {
            thread.remove_work(SignalWork::PENDING);
        } else {
            thread.add_work(SignalWork::PENDING);
        }
    }

    /// Clears [`SignalWork::PENDING`] when nothing waits any more that `thread` lets through.
    pub fn settle(&self, thread: &ThreadSignals) {
        let _inner = self.inner.lock();
        self.recalculate(thread);
    }

    /// Signals that wait and that `thread` does not block.
    #[inline]
    #[must_use]
    pub fn pending_unblocked(&self, thread: &ThreadSignals) -> SignalSet {
        self.pending().union(thread.pending()).difference(thread.blocked())
    }

    /// Sets `thread`'s mask: the thread itself only. Signals directed at the process that it no longer takes are offered to
    /// the others.
    pub fn set_mask(&self, thread: &ThreadSignals, mask: SignalSet) {
        let mask = mask.blockable();
        let old = thread.blocked();
        if old == mask {
            return;
        }
        // Nothing waits and the thread is alone: no decision depends on the order, and a sender looks again at its own time.
        let inner = self.inner.lock();
        thread.store_blocked(mask);
        if inner.members.len() > 1 {
            for signal in self.pending().intersection(mask.difference(old)).iter() {
                if let Some(other) = inner.choose(signal) {
                    other.notify(SignalWork::PENDING);
                }
            }
        }
        if !self.pending_unblocked(thread).is_empty() {
            thread.notify_self(SignalWork::PENDING);
        } else {
            thread.remove_work(SignalWork::PENDING);
        }
    }

    /// Takes `signal`, to be delivered by force although it is blocked or ignored: its action becomes the default then, and the
    /// thread lets it through (Linux's `force_sig`).
    pub fn force(&self, thread: &ThreadSignals, signal: Signal, information: SignalInformation) {
        let inner = self.inner.lock();
        {
            let mut actions = inner.actions.lock_nested();
            let action = actions.get(signal);
            let blocked = thread.blocked().contains(signal);
            if action.is_ignore() || blocked {
                actions.set(signal, SignalAction { handler: super::action::HANDLER_DEFAULT, ..action });
            }
            if blocked {
                thread.store_blocked(thread.blocked().without(signal));
            }
            if actions.get(signal).is_default() {
                self.unkillable.store(false, Ordering::Relaxed);
            }
        }
        thread.push_locked(signal, information, None);
        thread.notify_self(SignalWork::PENDING);
    }

    /// Whether signals left to their default action do not reach the process.
    #[must_use]
    pub fn is_unkillable(&self) -> bool {
        self.unkillable.load(Ordering::Relaxed)
    }

    /// Drops waiting signals of the whole process: for timers that go and for `execve`.
    pub fn discard(&self, signals: SignalSet) {
        let mut inner = self.inner.lock();
        inner.discard(signals);
        self.publish(&inner);
    }

    /// Changes a waiting signal in place, see [`PendingQueue::update`]; for timers' overrun counts.
    pub fn update_pending(&self, signal: Signal, change: impl FnMut(&mut SignalInformation) -> bool) -> bool {
        self.inner.lock().shared.update(signal, change)
    }

    /// Panics unless the invariant holds. For tests.
    #[cfg(test)]
    pub fn validate(&self) {
        let inner = self.inner.lock();
        inner.shared.validate();
        assert_eq!(inner.shared.set(), self.pending());
        if self.ending.load(Ordering::Relaxed) {
            return;
        }
        for member in &inner.members {
            if !member.pending().difference(member.blocked()).is_empty() {
                assert!(member.work().contains(SignalWork::PENDING));
            }
        }
        for signal in self.pending().iter() {
            let takers: Vec<_> = inner.members.iter().filter(|member| !member.blocked().contains(signal)).collect();
            assert!(takers.is_empty() || takers.iter().any(|taker| taker.work().contains(SignalWork::PENDING)));
        }
    }
}

/// What ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The whole process.
    Process,
    /// All threads but one; the process goes on.
    Threads,
}

impl Inner {
    /// A thread that takes `signal`: the leader if it does not block it, else the first that does not.
    fn choose(&self, signal: Signal) -> Option<&ThreadSignals> {
        let takes = |member: &&Arc<ThreadSignals>| signal == Signal::SIGKILL || !member.blocked().contains(signal);
        let idle = |member: &&Arc<ThreadSignals>| takes(member) && !member.has_work();
        let leader = self.members.first().filter(takes);
        leader
            .or_else(|| self.members.iter().find(idle))
            .or_else(|| self.members.iter().find(takes))
            .map(|member| &**member)
    }

    fn discard(&mut self, signals: SignalSet) {
        self.shared.discard(signals);
        for member in &self.members {
            member.discard_locked(signals);
        }
    }
}

#[cfg(test)]
mod tests;
