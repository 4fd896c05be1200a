//! Futexes whose word holds their owner's thread number, and whose owner inherits its waiters' priority: `FUTEX_LOCK_PI` and its kin.
//!
//! The kernel is called only under contention. Who waits and for whom stands in [`crate::process::inheritance`], while anybody does; a lock is handed
//! over directly, to whoever's turn it is, the word first. Word and graph are changed together, under the graph's lock, so that
//! they agree whenever that is free, as far as the program leaves the word alone; where it did not, the call says `EINVAL`.
//!
//! An owner that ends cannot write the words of its locks (the memory may be another's, and gone): it hands the lock over *unsettled*,
//! and the new owner writes its number as the first thing when it wakes.

use super::{Sharing, TABLE, key_of, make_ready};
use crate::arch::AccessKind;
use crate::base::{Errno, Nanoseconds, Result};
use crate::memory::address_space::FutexKey;
use crate::memory::user::UserPointer;
use crate::process::inheritance::graph::{Handing, Refusal};
use crate::process::inheritance::{self, Inheritance};
use crate::process::{Thread, current_thread, table as threads};
use crate::sync::{Interruptible, WakeReason, parking};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// Somebody waits in the kernel: `FUTEX_WAITERS`.
pub const WAITERS: u32 = 0x8000_0000;
/// The owner ended without unlocking: `FUTEX_OWNER_DIED`.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// The owner's number: `FUTEX_TID_MASK`.
pub const OWNER_MASK: u32 = 0x3fff_ffff;

/// A thread's number as words hold it.
pub(super) fn number(thread: &Thread) -> u32 {
    thread.tid().cast_unsigned() & OWNER_MASK
}

/// Whether to wait for a lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Until the deadline, if there is one.
    Wait(Option<Nanoseconds>),
    /// Not at all.
    Try,
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The word changed: begin anew.
    Changed,
    /// The word is not at hand: bring it in and begin anew.
    NotAtHand,
    /// That is the answer.
    Refused(Errno),
}

/// What a look at a lock's word found, before the graph is locked.
#[derive(Debug)]
pub(super) struct Sight {
    address: UserPointer<u32>,
    key: FutexKey,
    /// The word.
    pub found: u32,
    /// The thread that it names.
    owner: Option<Arc<Thread>>,
    /// Whether somebody waits on the word as on a plain futex.
    is_plain: bool,
}

/// What taking a lock for a thread came to.
#[derive(Debug)]
pub(super) enum Taken {
    /// The thread has it; the word says so.
    Yes,
    /// This one has it, and the word says that there are waiters.
    HeldBy(Arc<Thread>),
}

impl Sight {
    /// Looks at the word, which has `key`.
    pub fn take(address: UserPointer<u32>, key: FutexKey) -> Result<Self> {
        let found = address.load()?;
        let owner = match found & OWNER_MASK {
            0 => None,
            owner => threads::find_thread(owner.cast_signed()),
        };
        Ok(Self { address, key, found, owner, is_plain: TABLE.is_waited_on(key) })
    }

    fn replace(&self, new: u32) -> Result<(), Failure> {
        match self.address.compare_exchange(self.found, new) {
            Ok(found) if found == self.found => Ok(()),
            Ok(_) => Err(Failure::Changed),
            Err(_) => Err(Failure::NotAtHand),
        }
    }

    /// Takes the lock for `thread` if nobody has it, with `mark` in its word; says else who has it, after the word says that somebody waits.
    pub fn try_take(&self, graph: &Inheritance, thread: &Thread, mark: u32) -> Result<Taken, Failure> {
        if self.address.load().map_err(|_| Failure::NotAtHand)? != self.found {
            return Err(Failure::Changed);
        }
        let number_found = self.found & OWNER_MASK;
        if number_found == number(thread) {
            return Err(Failure::Refused(Errno::EDEADLK));
        }
        if let Some(holder) = graph.holder(&self.key) {
            // One that has died, and is followed by `holder`, may have left no number.
            let is_orphaned = self.found & OWNER_DIED != 0 && number_found == 0;
            if !is_orphaned && number_found != number(&holder) {
                return Err(Failure::Refused(Errno::EINVAL));
            }
            return Ok(Taken::HeldBy(holder));
        }
        if self.is_plain {
            return Err(Failure::Refused(Errno::EINVAL));
        }
        if number_found == 0 {
            return self.replace(self.found & OWNER_DIED | mark | number(thread)).map(|()| Taken::Yes);
        }
        self.replace(self.found | WAITERS)?;
        match &self.owner {
            Some(owner) if !owner.is_user() => Err(Failure::Refused(Errno::EPERM)),
            Some(owner) if !owner.has_left_futexes.load(Relaxed) => Ok(Taken::HeldBy(owner.clone())),
            _ => Err(Failure::Refused(Errno::ESRCH)),
        }
    }
}

/// What the graph's refusal is to programs.
pub(super) const fn refusal(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Deadlock => Errno::EDEADLK,
        Refusal::Memory => Errno::ENOMEM,
    }
}

/// Takes the lock.
///
/// # Errors
/// `EDEADLK`: the caller has it, or its owner waits for the caller. `EAGAIN`: it is held and may not be waited for. `ESRCH`: its owner is gone.
/// `EPERM`: its owner is a thread of the kernel. `EINVAL`: unaligned, or the word is not what the kernel knows of it. `ETIMEDOUT`, `EFAULT`, `ENOMEM`;
/// `ERESTARTNOINTR` on a signal.
pub fn lock(address: UserPointer<u32>, sharing: Sharing, patience: Patience) -> Result<()> {
    let key = key_of(address, sharing, AccessKind::Write)?;
    let thread = current_thread();
    let deadline = loop {
        match attempt(&Sight::take(address, key)?, &thread, patience) {
            Ok(None) => return Ok(()),
            Ok(Some(deadline)) => break deadline,
            Err(Failure::Changed) => {}
            Err(Failure::NotAtHand) => make_ready(address)?,
            Err(Failure::Refused(error)) => return Err(error),
        }
    };
    wait(address, key, &thread, deadline)
}

/// One attempt to take it: `None` when that has succeeded, and until when to wait otherwise.
fn attempt(sight: &Sight, thread: &Arc<Thread>, patience: Patience) -> Result<Option<Option<Nanoseconds>>, Failure> {
    let mut graph = inheritance::lock();
    let Taken::HeldBy(holder) = sight.try_take(&graph, thread, 0)? else { return Ok(None) };
    let Patience::Wait(deadline) = patience else { return Err(Failure::Refused(Errno::EAGAIN)) };
    graph.wait(sight.key, &holder, thread).map_err(|error| Failure::Refused(refusal(error)))?;
    Ok(Some(deadline))
}

/// Sleeps until the lock, which the running thread waits for in the graph, has been handed to it.
///
/// # Errors
/// `ETIMEDOUT`; `ERESTARTNOINTR`; `EFAULT`: the word of a lock whose owner has ended cannot be written.
pub(super) fn wait(
    address: UserPointer<u32>,
    key: FutexKey,
    thread: &Arc<Thread>,
    deadline: Option<Nanoseconds>,
) -> Result<()> {
    // It may have been handed over already, and the wake-up be spent.
    let mut reason = WakeReason::Woken;
    loop {
        let mut graph = inheritance::lock();
        if !graph.is_waiting(thread, &key) {
            drop(graph);
            return settle(address, key, thread);
        }
        let error = match reason {
            WakeReason::Woken => {
                drop(graph);
                reason = parking::park(deadline, Interruptible::BySignal);
                continue;
            }
            WakeReason::TimedOut => Errno::ETIMEDOUT,
            WakeReason::Interrupted => Errno::ERESTARTNOINTR,
        };
        graph.leave(thread);
        return Err(error);
    }
}

/// Writes the number of the thread, which has been handed the lock, into its word, if whoever had it before has not.
fn settle(address: UserPointer<u32>, key: FutexKey, thread: &Arc<Thread>) -> Result<()> {
    loop {
        let mut graph = inheritance::lock();
        if !graph.is_to_settle(thread, &key) {
            return Ok(());
        }
        let written = address.load().and_then(|found| {
            let new = found & OWNER_DIED | OWNER_DIED | WAITERS | number(thread);
            address.compare_exchange(found, new).map(|now| now == found)
        });
        match written {
            Ok(true) => {
                graph.settle(&key);
                return Ok(());
            }
            Ok(false) => {}
            Err(_) => {
                drop(graph);
                if let Err(error) = make_ready(address) {
                    inheritance::lock().hand_over(&key, Handing::Unsettled);
                    return Err(error);
                }
            }
        }
    }
}

/// Frees the lock, or hands it to the thread whose turn it is.
///
/// # Errors
/// `EPERM`: the caller does not have it. `EINVAL`: unaligned, or the word is not what the kernel knows of it. `EAGAIN`: the word changed meanwhile.
/// `EFAULT`.
pub fn unlock(address: UserPointer<u32>, sharing: Sharing) -> Result<()> {
    let thread = current_thread();
    loop {
        // As on Linux, before the address's alignment is looked at.
        let found = address.read()?;
        if found & OWNER_MASK != number(&thread) {
            return Err(Errno::EPERM);
        }
        let key = key_of(address, sharing, AccessKind::Write)?;
        let is_plain = TABLE.is_waited_on(key);
        match release(address, key, &thread, found, is_plain) {
            Ok(()) => return Ok(()),
            Err(Failure::Changed) => {}
            Err(Failure::NotAtHand) => make_ready(address)?,
            Err(Failure::Refused(error)) => return Err(error),
        }
    }
}

/// Gives the lock up, to whoever's turn it is.
fn release(
    address: UserPointer<u32>,
    key: FutexKey,
    thread: &Arc<Thread>,
    found: u32,
    is_plain: bool,
) -> Result<(), Failure> {
    let mut graph = inheritance::lock();
    let exchange = |new| address.compare_exchange(found, new).map_err(|_| Failure::NotAtHand);
    let Some(holder) = graph.holder(&key) else {
        if is_plain {
            return Err(Failure::Refused(Errno::EINVAL));
        }
        return if exchange(0)? == found { Ok(()) } else { Err(Failure::Refused(Errno::EAGAIN)) };
    };
    if !Arc::ptr_eq(&holder, thread) {
        return Err(Failure::Refused(Errno::EINVAL));
    }
    let Some(next) = graph.next(&key) else { return Err(Failure::Refused(Errno::EINVAL)) };
    let now = exchange(WAITERS | number(&next))?;
    if now == found {
        graph.hand_over(&key, Handing::Settled);
        return Ok(());
    }
    // Somebody said that it waits.
    Err(if now & OWNER_MASK == found { Failure::Changed } else { Failure::Refused(Errno::EINVAL) })
}

/// The thread, which runs, ends or begins another program: whoever waits for what it holds gets it.
pub fn release_all(thread: &Arc<Thread>) {
    // Before the graph is locked: who locks it later sees it, who locked it before has left what it does there.
    thread.has_left_futexes.store(true, Relaxed);
    loop {
        let mut graph = inheritance::lock();
        let Some(key) = graph.held_by(thread) else { return };
        graph.hand_over(&key, Handing::Unsettled);
    }
}
