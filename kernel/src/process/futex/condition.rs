//! Waits that end with a lock: `FUTEX_WAIT_REQUEUE_PI` and `FUTEX_CMP_REQUEUE_PI`, of which condition variables over locks with
//! owners are made.
//!
//! A waiter says at once which lock it wants. Whoever signals takes the lock for the first waiter, or, while another has it, has
//! waiters wait for it: they stand in [`crate::process::inheritance`] from then on, and lend their priority, without having woken.
//!
//! Lock order: the bucket of the first word, then the graph.

use super::priority::{self, Failure, Sight, Taken, WAITERS, refusal};
use super::waiter::{State, WantedLock};
use super::{MATCH_ANY, Sharing, TABLE, key_of, make_ready, waiter};
use crate::arch::AccessKind;
use crate::base::{Errno, Nanoseconds, Result};
use crate::memory::address_space::FutexKey;
use crate::memory::user::UserPointer;
use crate::process::{current_thread, inheritance};
use crate::sync::{Interruptible, WakeReason, parking};

/// Sleeps while the word holds `expected`, until [`requeue`] has got the caller the lock at `lock`.
///
/// # Errors
/// `EAGAIN`: the word holds something else, or a signal came while the caller waited for the lock. `EINVAL`: unaligned, or both are one word. `ETIMEDOUT`,
/// `EFAULT`; `ERESTARTNOINTR` on a signal.
pub fn wait(
    address: UserPointer<u32>,
    lock: UserPointer<u32>,
    sharing: Sharing,
    expected: u32,
    deadline: Option<Nanoseconds>,
) -> Result<()> {
    if address == lock {
        return Err(Errno::EINVAL);
    }
    let wanted = key_of(lock, sharing, AccessKind::Write)?;
    let key = key_of(address, sharing, AccessKind::Read)?;
    if address.load()? != expected {
        return Err(Errno::EAGAIN);
    }
    if key == wanted {
        return Err(Errno::EINVAL);
    }
    let thread = current_thread();
    let waiter = waiter(MATCH_ANY, Some(WantedLock { key: wanted, thread: thread.clone() }));
    TABLE.enqueue(key, &waiter);
    let found = address.load();
    let mut error = match found {
        Ok(found) if found == expected => None,
        found => Some(found.err().unwrap_or(Errno::EAGAIN)),
    };
    loop {
        if let Some(error) = error
            && TABLE.leave(&waiter)
        {
            return Err(error);
        }
        match waiter.state() {
            State::Woken => return Ok(()),
            State::Moved => break,
            State::Waiting | State::Left => {}
        }
        error = match parking::park(deadline, Interruptible::BySignal) {
            WakeReason::Woken => None,
            WakeReason::TimedOut => Some(Errno::ETIMEDOUT),
            WakeReason::Interrupted => Some(Errno::ERESTARTNOINTR),
        };
    }
    match priority::wait(lock, wanted, &thread, deadline) {
        // It cannot start again: the word has changed by now.
        Err(Errno::ERESTARTNOINTR) => Err(Errno::EAGAIN),
        result => result,
    }
}

/// Takes the lock at `to` for the first waiter on `from` if it is free, and has up to `most` others (and the first, if it is not) wait for it, if
/// the first word holds `expected`. Gives how many waiters that concerned.
///
/// # Errors
/// `EAGAIN`: the word holds something else. `EINVAL`: unaligned; both are one word; somebody waits there for something else. `EDEADLK`, `ESRCH`, `EPERM`,
/// `ENOMEM`: as for taking the lock. `EFAULT`.
pub fn requeue(
    from: UserPointer<u32>,
    to: UserPointer<u32>,
    sharing: Sharing,
    most: u32,
    expected: u32,
) -> Result<u32> {
    if from == to {
        return Err(Errno::EINVAL);
    }
    let key = key_of(from, sharing, AccessKind::Read)?;
    let lock = key_of(to, sharing, AccessKind::Write)?;
    if key == lock {
        return Err(Errno::EINVAL);
    }
    loop {
        let sight = Sight::take(to, lock);
        match attempt(from, key, lock, &sight, most, expected) {
            Ok(count) => return Ok(count),
            Err(Failure::Changed) => {}
            Err(Failure::NotAtHand) => {
                from.load()?;
                make_ready(to)?;
            }
            Err(Failure::Refused(error)) => return Err(error),
        }
    }
}

fn attempt(
    from: UserPointer<u32>,
    key: FutexKey,
    lock: FutexKey,
    sight: &Result<Sight>,
    most: u32,
    expected: u32,
) -> Result<u32, Failure> {
    let refused = |error| Err(Failure::Refused(error));
    let mut waiters = TABLE.lock(key);
    if from.load().map_err(|_| Failure::NotAtHand)? != expected {
        return refused(Errno::EAGAIN);
    }
    // Even where nobody waits.
    let sight = sight.as_ref().map_err(|error| Failure::Refused(*error))?;
    let Some(first) = waiters.first() else { return Ok(0) };
    let is_for_lock = |wanted: &&WantedLock| wanted.key == lock;
    let Some(wanted) = first.wanted().filter(is_for_lock) else { return refused(Errno::EINVAL) };
    let mut graph = inheritance::lock();
    let mark = if most == 0 { 0 } else { WAITERS };
    let mut count = 0;
    let holder = match sight.try_take(&graph, &wanted.thread, mark)? {
        Taken::Yes => {
            waiters.wake_first();
            count = 1;
            wanted.thread.clone()
        }
        Taken::HeldBy(holder) => holder,
    };
    while count <= most
        && let Some(next) = waiters.first()
    {
        let Some(wanted) = next.wanted().filter(is_for_lock) else { return refused(Errno::EINVAL) };
        if let Err(error) = graph.wait(lock, &holder, &wanted.thread) {
            return refused(refusal(error));
        }
        waiters.move_first();
        count += 1;
    }
    Ok(count)
}
