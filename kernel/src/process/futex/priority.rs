//! Futexes whose word holds their owner's thread number: `FUTEX_LOCK_PI` and its kin.
//!
//! The kernel is called only under contention, and hands a lock over directly: `unlock` writes the next owner's number before it wakes it.
//! The owner does not yet inherit its waiters' priority; waiters are served in the order in which they came.

use super::table::{State, Waiter};
use super::{MATCH_ANY, Sharing, TABLE, key_of};
use crate::base::{Errno, Nanoseconds, Result};
use crate::memory::user::UserPointer;
use crate::process::{current_thread, table as threads};
use crate::sync::{Interruptible, WakeReason, parking};

/// Somebody waits in the kernel: `FUTEX_WAITERS`.
pub const WAITERS: u32 = 0x8000_0000;
/// The owner ended without unlocking: `FUTEX_OWNER_DIED`.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// The owner's number: `FUTEX_TID_MASK`.
pub const OWNER_MASK: u32 = 0x3fff_ffff;

/// Whether to wait for a lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Until the deadline, if there is one.
    Wait(Option<Nanoseconds>),
    /// Not at all.
    Try,
}

/// Takes the lock.
///
/// # Errors
/// `EDEADLK`: the caller has it. `EAGAIN`: it is held and may not be waited for. `ESRCH`: its owner is gone. `ETIMEDOUT`, `EFAULT`,
/// `EINVAL`; `ERESTARTNOINTR` on a signal.
pub fn lock(address: UserPointer<u32>, sharing: Sharing, patience: Patience) -> Result<()> {
    let key = key_of(address, sharing)?;
    let own = current_thread().tid().cast_unsigned() & OWNER_MASK;
    let mut has_slept = false;
    'again: loop {
        let found = address.load()?;
        let owner = found & OWNER_MASK;
        if owner == own {
            // Handed over by whoever unlocked it; or it was the caller's all along.
            return if has_slept { Ok(()) } else { Err(Errno::EDEADLK) };
        }
        if owner == 0 {
            // Nobody has it. Waiters, if any, are still told of by their bit.
            let waiters = if TABLE.is_waited_on(key) { WAITERS } else { 0 };
            if address.compare_exchange(found, found & OWNER_DIED | waiters | own)? == found {
                return Ok(());
            }
            continue;
        }
        let Patience::Wait(deadline) = patience else { return Err(Errno::EAGAIN) };
        if threads::find_thread(owner.cast_signed()).is_none() {
            return Err(Errno::ESRCH);
        }
        if found & WAITERS == 0 && address.compare_exchange(found, found | WAITERS)? != found {
            continue;
        }
        let waiter = Waiter::new(parking::current_thread(), own.cast_signed(), MATCH_ANY);
        TABLE.enqueue(key, &waiter);
        let now = address.load();
        if now != Ok(found | WAITERS) {
            has_slept = !TABLE.leave(&waiter) && settle(&waiter);
            now?;
            continue;
        }
        loop {
            let reason = parking::park(deadline, Interruptible::BySignal);
            if waiter.state() == State::Woken {
                has_slept = true;
                continue 'again;
            }
            let error = match reason {
                WakeReason::Woken => continue,
                WakeReason::TimedOut => Errno::ETIMEDOUT,
                WakeReason::Interrupted => Errno::ERESTARTNOINTR,
            };
            if TABLE.leave(&waiter) {
                return Err(error);
            }
            if settle(&waiter) {
                has_slept = true;
                continue 'again;
            }
        }
    }
}

/// Waits the moment until an unlocking owner has made up its mind about a chosen waiter; true when the lock was handed over.
fn settle(waiter: &Waiter) -> bool {
    while waiter.state() == State::Chosen {
        parking::park(None, Interruptible::No);
    }
    waiter.state() == State::Woken
}

/// Frees the lock, or hands it to the thread that has waited longest.
///
/// # Errors
/// `EPERM`: the caller does not have it. `EFAULT`, `EINVAL`.
pub fn unlock(address: UserPointer<u32>, sharing: Sharing) -> Result<()> {
    let key = key_of(address, sharing)?;
    let own = current_thread().tid().cast_unsigned() & OWNER_MASK;
    loop {
        let found = address.load()?;
        if found & OWNER_MASK != own {
            return Err(Errno::EPERM);
        }
        let Some((next, others)) = TABLE.choose(key) else {
            if address.compare_exchange(found, 0)? == found {
                return Ok(());
            }
            continue;
        };
        let value = next.owner().cast_unsigned() | if others { WAITERS } else { 0 };
        match address.compare_exchange(found, value) {
            Ok(old) if old == found => {
                next.hand_over();
                return Ok(());
            }
            other => {
                TABLE.put_back(key, next);
                other?;
            }
        }
    }
}
