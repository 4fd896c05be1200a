//! Priority inheritance: whoever holds what others wait for stands at least as high as they do.
//!
//! [`graph`] says who waits for whom and what is lent; this file keeps the one graph of the kernel and has the dispatcher apply what
//! it says ([`dispatch::lend`]). The locks are those of [`super::futex::priority`] and the kernel's own sleeping ones (`kernel`, as in Linux with its real-time patches), so that a chain
//! may lead from the one kind to the other.
//!
//! # One lock
//! The graph is guarded by one spinlock for the whole machine, of rank `Inheritance`. It is taken only where a lock is contended: an
//! uncontended futex never comes here. Rejected: Linux's lock per mutex and per thread, whose walks along a chain let go and take again at each
//! step and have to find out what has changed meanwhile; what is gained is that contended locks of different programs do not wait for one another for the
//! microsecond that this takes. The walk is bounded ([`graph::DEPTH`]).
//!
//! # Threads in the graph live
//! A thread that ends lets everything go first ([`super::futex`]'s end hook) and then is refused as a holder (`has_left_futexes`, read under the
//! graph's lock), so an entry's reference is never the last one, and dropping it under the lock frees nothing.

pub mod graph;
mod kernel;
#[cfg(test)]
mod model;

use super::dispatch::{self, lend};
use super::scheduler::SchedulingParameters;
use super::thread::Thread;
use crate::base::Result;
use crate::memory::address_space::FutexKey;
use crate::sync::lending::{LockIdentity, Woken};
use crate::sync::parking::Unpark;
use crate::sync::{InterruptsUnchanged, LockRank, SpinLock, SpinLockGuard};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use graph::{Graph, Handing, Party, Refusal};
use spin::Once;

/// A lock that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum LockKey {
    /// A futex that knows its owner.
    Futex(FutexKey),
    /// One of the kernel's own.
    Kernel(LockIdentity),
}

type Locks = Graph<LockKey, Arc<Thread>>;

static GRAPH: Once<SpinLock<Locks>> = Once::new();

/// How many locks are in the graph, for those who only want to know that there are none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether any lock is waited for.
#[must_use]
#[inline]
pub fn is_in_use() -> bool {
    COUNT.load(Relaxed) != 0
}

/// Lets the kernel's own locks lend. Once, at boot.
pub fn initialize() {
    crate::sync::lending::set_lender(&kernel::KernelLocks);
}

/// The graph, locked.
pub struct Inheritance(SpinLockGuard<'static, Locks, InterruptsUnchanged>);

impl core::fmt::Debug for Inheritance {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Inheritance")
    }
}

/// Locks the graph.
#[must_use]
pub fn lock() -> Inheritance {
    Inheritance(GRAPH.call_once(|| SpinLock::new(LockRank::Inheritance, Locks::new())).lock())
}

/// Gives back the room that a crowd of waiters has left behind. Thread context.
pub fn give_back() {
    let room = lock().0.take_room();
    drop(room);
}

fn party(thread: &Arc<Thread>) -> Party<Arc<Thread>> {
    Party { identity: thread.identity(), handle: thread.clone(), own: dispatch::own_standing(thread) }
}

impl Inheritance {
    /// The holder of a lock that is waited for.
    #[must_use]
    pub fn holder(&self, key: &FutexKey) -> Option<Arc<Thread>> {
        self.0.holder(&LockKey::Futex(*key)).cloned()
    }
    /// Whose turn is next.
    #[must_use]
    pub fn next(&self, key: &FutexKey) -> Option<Arc<Thread>> {
        self.0.next(&LockKey::Futex(*key)).cloned()
    }
    /// Whether `thread` waits for the lock.
    #[must_use]
    pub fn is_waiting(&self, thread: &Thread, key: &FutexKey) -> bool {
        self.0.waits_for(thread.identity()) == Some(LockKey::Futex(*key))
    }
    /// A futex that `thread` holds and others wait for.
    #[must_use]
    pub fn held_by(&self, thread: &Thread) -> Option<FutexKey> {
        self.0.held_by(thread.identity()).find_map(|key| match key {
            LockKey::Futex(key) => Some(key),
            LockKey::Kernel(_) => None,
        })
    }
    /// Whether `thread` was made the holder by one that has ended, and has to say so in the lock's word.
    #[must_use]
    pub fn is_to_settle(&self, thread: &Thread, key: &FutexKey) -> bool {
        self.0.is_to_settle(&LockKey::Futex(*key), thread.identity())
    }
    /// It has.
    pub fn settle(&mut self, key: &FutexKey) {
        self.0.settle(&LockKey::Futex(*key));
        self.count();
    }
    /// `waiter` waits for the lock, which `holder` holds.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn wait(&mut self, key: FutexKey, holder: &Arc<Thread>, waiter: &Arc<Thread>) -> Result<(), Refusal> {
        self.begin_wait(LockKey::Futex(key), holder, waiter)
    }
    /// `thread` gives up waiting.
    pub fn leave(&mut self, thread: &Thread) {
        self.0.leave(thread.identity(), &mut |thread, standing| lend(thread, standing));
        self.count();
    }
    /// The lock goes over to whoever's turn it is; that thread is woken. What the lock's word is to say of it is said before.
    pub fn hand_over(&mut self, key: &FutexKey, handing: Handing) {
        self.pass_on(&LockKey::Futex(*key), handing);
    }
    fn begin_wait(&mut self, key: LockKey, holder: &Arc<Thread>, waiter: &Arc<Thread>) -> Result<(), Refusal> {
        let result = self.0.wait(key, party(holder), party(waiter), &mut |thread, standing| lend(thread, standing));
        self.count();
        result
    }
    /// The next is woken before the graph is unlocked: who lets go may stand lower from now on, and when it may be preempted again something between the two
    /// could keep it from waking anybody.
    fn pass_on(&mut self, key: &LockKey, handing: Handing) -> Woken {
        let next = self.0.hand_over(key, handing, &mut |thread, standing| lend(thread, standing));
        self.count();
        match next {
            Some(next) => {
                dispatch::wake(&next);
                Woken::Next
            }
            None => Woken::Nobody,
        }
    }
    fn count(&self) {
        COUNT.store(self.0.lock_count(), Relaxed);
    }
}

/// Changes a thread's policy, niceness, priority or reservation, and has it count for whoever it waits for, too.
///
/// # Errors
/// `EBUSY`: no CPU can promise that much.
pub fn set_parameters(thread: &Thread, new: SchedulingParameters) -> Result<()> {
    dispatch::set_parameters(thread, new)?;
    let mut graph = lock();
    // Read under the lock: of two changes the later one is told last.
    let own = dispatch::own_standing(thread);
    graph.0.set_own(thread.identity(), own, &mut |thread, standing| lend(thread, standing));
    Ok(())
}
