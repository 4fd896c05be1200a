//! Futexes: sleeping on a word of user memory.
//!
//! A word is known by its [`FutexKey`]: address space and address, or object and offset where the mapping is shared.
//!
//! # The protocol
//! A waiter enqueues itself, *then* looks at the word, then sleeps. Whoever changes the word and then wakes finds the waiter in its
//! queue, or the waiter's look finds the change: no wake-up is lost. User memory is never touched under a bucket's lock. A wake-up may be
//! spent on a waiter that finds the word changed and is about to leave; it then reports success, as if it had slept.
//!
//! Where a decision must hold until it has been acted on (requeueing while the word has a value, a lock that changes hands), the word is looked at
//! and changed *under* a spinlock. An access that would have to sleep for its page fails there with `EFAULT`; the lock is let go, the page made
//! ready, and everything begins anew ([`make_ready`]).
//!
//! `FUTEX_WAKE` does not say whether its caller goes on (it has unlocked a mutex) or waits next (it has passed something on): its wake-ups are *sync*, which counts for
//! something when the caller's last ones were followed by a sleep ([`super::scheduler::hand_over`]).
//!
//! - [`table`] is the queues of [`waiter`]s; this file waits and wakes, [`priority`] has the futexes that know their owner, [`condition`] waits that end
//!   with such a futex, [`robust`] the list of locks that are freed when their owner ends.

pub mod condition;
pub mod priority;
pub mod robust;
pub mod table;
pub mod waiter;

pub use crate::memory::address_space::FutexKey;

use super::{current_thread, inheritance};
use crate::arch::{AccessKind, Current, Mmu};
use crate::base::{Errno, Nanoseconds, Result};
use crate::memory::user::UserPointer;
use crate::sync::{Interruptible, WakeReason, parking};
use alloc::sync::Arc;
use smallvec::SmallVec;
use table::FutexTable;
use waiter::{State, Waiter, WantedLock};

/// Every waker reaches every waiter: `FUTEX_BITSET_MATCH_ANY`.
pub const MATCH_ANY: u32 = u32::MAX;

static TABLE: FutexTable = FutexTable::new();

/// Gives back the room that is kept for waiters. Thread context.
pub fn give_back() {
    TABLE.give_back();
}

/// Whether other processes may use the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// `FUTEX_PRIVATE_FLAG`: no. The key needs no look at the address space.
    Private,
    /// Perhaps.
    Shared,
}

/// The key of the word at `address` in the running thread's address space, which is to be accessed so.
///
/// # Errors
/// `EINVAL` when it is not aligned; `EFAULT` outside user space, or for a shared one where nothing is mapped for `access`.
#[inline]
pub fn key_of(address: UserPointer<u32>, sharing: Sharing, access: AccessKind) -> Result<FutexKey> {
    let place = address.address();
    if !place.value().is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if place >= Current::USER_END {
        return Err(Errno::EFAULT);
    }
    let thread = current_thread();
    let process = thread.process();
    match sharing {
        Sharing::Private => process.private_futex_key(place).ok_or(Errno::EFAULT),
        Sharing::Shared => process.address_space().ok_or(Errno::EFAULT)?.futex_key(place, access),
    }
}

/// Brings in the page of a word, so that it can be written under a spinlock, unless it goes away again.
///
/// # Errors
/// `EFAULT`: it cannot be written.
fn make_ready(address: UserPointer<u32>) -> Result<()> {
    let found = address.load()?;
    // Where it finds another value it has written nothing; the next round will do.
    address.compare_exchange(found, found).map(|_| ())
}

/// A waiter for the running thread.
fn waiter(bitset: u32, wanted: Option<WantedLock>) -> Arc<Waiter> {
    let thread = current_thread();
    Waiter::new(Some(thread.clone()), thread.urgency_among_waiters(), bitset, wanted)
}

/// How a wait ended that did not fail at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Woken.
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal came.
    Interrupted,
}

/// Sleeps while the word holds `expected`, until a wake-up for `bitset`.
///
/// # Errors
/// `EAGAIN` when it holds something else; `EFAULT`; `EINVAL`.
pub fn wait(
    address: UserPointer<u32>,
    sharing: Sharing,
    expected: u32,
    bitset: u32,
    deadline: Option<Nanoseconds>,
) -> Result<Outcome> {
    let key = key_of(address, sharing, AccessKind::Read)?;
    // Before anything is built for it: the usual reason not to sleep.
    if address.load()? != expected {
        return Err(Errno::EAGAIN);
    }
    let waiter = waiter(bitset, None);
    TABLE.enqueue(key, &waiter);
    let found = address.load();
    if found != Ok(expected) {
        if !TABLE.leave(&waiter) {
            return Ok(Outcome::Woken);
        }
        return found.and(Err(Errno::EAGAIN));
    }
    loop {
        let reason = parking::park(deadline, Interruptible::BySignal);
        if waiter.state() == State::Woken {
            return Ok(Outcome::Woken);
        }
        let outcome = match reason {
            WakeReason::Woken => continue,
            WakeReason::TimedOut => Outcome::TimedOut,
            WakeReason::Interrupted => Outcome::Interrupted,
        };
        return Ok(if TABLE.leave(&waiter) { outcome } else { Outcome::Woken });
    }
}

/// One word of [`wait_any`].
#[derive(Clone, Copy, Debug)]
pub struct WaitEntry {
    /// The word.
    pub address: UserPointer<u32>,
    /// What it has to hold.
    pub expected: u32,
    /// Whether others share it.
    pub sharing: Sharing,
}

/// Sleeps while all words hold what is expected of them, until one is woken: gives its index.
///
/// # Errors
/// `EAGAIN` when one holds something else; `ETIMEDOUT`; `ERESTARTSYS`; `EFAULT`; `EINVAL`.
pub fn wait_any(entries: &[WaitEntry], deadline: Option<Nanoseconds>) -> Result<usize> {
    let mut waiters: SmallVec<[Arc<Waiter>; 4]> = SmallVec::new();
    let result = enqueue_all(entries, &mut waiters).and_then(|()| {
        loop {
            if waiters.iter().any(|waiter| waiter.state() == State::Woken) {
                return Ok(());
            }
            match parking::park(deadline, Interruptible::BySignal) {
                WakeReason::Woken => {}
                WakeReason::TimedOut => return Err(Errno::ETIMEDOUT),
                WakeReason::Interrupted => return Err(Errno::ERESTARTSYS),
            }
        }
    });
    let mut woken = None;
    for (index, waiter) in waiters.iter().enumerate() {
        if !TABLE.leave(waiter) {
            woken = woken.or(Some(index));
        }
    }
    match (woken, result) {
        (Some(index), _) => Ok(index),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(Errno::EAGAIN),
    }
}

fn enqueue_all(entries: &[WaitEntry], waiters: &mut SmallVec<[Arc<Waiter>; 4]>) -> Result<()> {
    for entry in entries {
        let key = key_of(entry.address, entry.sharing, AccessKind::Read)?;
        let waiter = waiter(MATCH_ANY, None);
        TABLE.enqueue(key, &waiter);
        waiters.push(waiter);
    }
    for entry in entries {
        if entry.address.load()? != entry.expected {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(())
}

/// Wakes up to `count` waiters that listen to `bitset`. Gives how many.
///
/// # Errors
/// `EINVAL`: unaligned, or somebody waits there for a lock. `EFAULT`.
pub fn wake(address: UserPointer<u32>, sharing: Sharing, count: u32, bitset: u32) -> Result<u32> {
    wake_key(key_of(address, sharing, AccessKind::Read)?, count, bitset)
}

fn wake_key(key: FutexKey, count: u32, bitset: u32) -> Result<u32> {
    let woken = TABLE.wake(key, count, bitset)?;
    if woken == 0 {
        refuse_lock(key)?;
    }
    Ok(woken)
}

/// Where nobody waits as on a plain futex, but for a lock: those are not to be woken, or moved.
#[inline]
fn refuse_lock(key: FutexKey) -> Result<()> {
    let is_lock = inheritance::is_in_use() && inheritance::lock().holder(&key).is_some();
    if is_lock { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Wakes up to `wake` waiters and moves up to `requeue` others to another word; with `expected`, only while the first word holds that.
/// Gives how many were woken and moved.
///
/// # Errors
/// `EAGAIN`; `EINVAL`: unaligned, or somebody waits there for a lock; `EFAULT`.
pub fn requeue(
    from: UserPointer<u32>,
    to: UserPointer<u32>,
    sharing: Sharing,
    wake: u32,
    requeue: u32,
    expected: Option<u32>,
) -> Result<u32> {
    let (source, target) = (key_of(from, sharing, AccessKind::Read)?, key_of(to, sharing, AccessKind::Read)?);
    let check = || match expected {
        Some(expected) if from.load()? != expected => Err(Errno::EAGAIN),
        _ => Ok(()),
    };
    loop {
        match TABLE.requeue(source, target, wake, requeue, check) {
            Ok((0, 0)) if wake != 0 || requeue != 0 => return refuse_lock(source).map(|()| 0),
            Ok((woken, moved)) => return Ok(woken + moved),
            // The word could not be read under the lock.
            Err(Errno::EFAULT) => drop(from.load()?),
            Err(error) => return Err(error),
        }
    }
}

/// `FUTEX_WAKE_OP`'s operation on the second word and what its old value is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WakeOperation {
    operation: u32,
    operand: u32,
    comparison: u32,
    comparand: i32,
}

impl WakeOperation {
    /// Decodes `val3`: four bits each of operation and comparison, twelve each, signed, of their operands; bit 31 says that
    /// the operand is a shift of 1.
    ///
    /// # Errors
    /// `ENOSYS` for an unknown operation or comparison, as Linux has it.
    pub fn decode(code: u32) -> Result<Self> {
        let signed = |bits: u32| (bits << 20).cast_signed() >> 20;
        let mut operand = signed(code >> 12 & 0xfff).cast_unsigned();
        if code >> 31 != 0 {
            operand = 1 << (operand & 31);
        }
        let (operation, comparison) = (code >> 28 & 7, code >> 24 & 15);
        if operation > 4 || comparison > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(Self { operation, operand, comparison, comparand: signed(code & 0xfff) })
    }

    const fn apply(self, old: u32) -> u32 {
        match self.operation {
            0 => self.operand,
            1 => old.wrapping_add(self.operand),
            2 => old | self.operand,
            3 => old & !self.operand,
            _ => old ^ self.operand,
        }
    }

    const fn compare(self, old: u32) -> bool {
        let old = old.cast_signed();
        match self.comparison {
            0 => old == self.comparand,
            1 => old != self.comparand,
            2 => old < self.comparand,
            3 => old <= self.comparand,
            4 => old > self.comparand,
            _ => old >= self.comparand,
        }
    }
}

/// Changes the second word, wakes waiters on the first, and those on the second if its old value compares so. Gives how many.
///
/// # Errors
/// `EINVAL`, `EFAULT`.
pub fn wake_operation(
    first: UserPointer<u32>,
    second: UserPointer<u32>,
    sharing: Sharing,
    count: u32,
    second_count: u32,
    operation: WakeOperation,
) -> Result<u32> {
    let first = key_of(first, sharing, AccessKind::Read)?;
    let second_key = key_of(second, sharing, AccessKind::Write)?;
    let mut old = second.load()?;
    loop {
        let found = second.compare_exchange(old, operation.apply(old))?;
        if found == old {
            break;
        }
        old = found;
    }
    let mut woken = wake_key(first, count, MATCH_ANY)?;
    if operation.compare(old) {
        woken += wake_key(second_key, second_count, MATCH_ANY)?;
    }
    Ok(woken)
}

/// Registers what the end of a thread does to futexes, and that of a process to timers. Once, at boot.
pub fn initialize() {
    super::exit::set_child_tid_waker(|word| {
        // The word may be shared with another process; a bad one wakes nobody.
        let _ = wake(word, Sharing::Shared, 1, MATCH_ANY);
    });
    super::exit::add_end_hooks(super::exit::EndHooks {
        thread: |thread| {
            robust::release_all(thread);
            priority::release_all(thread);
        },
        process: |process| process.timers.stop(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_operations_decode_as_in_the_manual() {
        // FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_GT, -1)
        let operation = WakeOperation::decode(1 << 28 | 4 << 24 | 5 << 12 | 0xfff).unwrap();
        assert_eq!(operation.apply(u32::MAX), 4);
        assert!(operation.compare(0) && !operation.compare(u32::MAX));
        // FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 31, FUTEX_OP_CMP_EQ, 7)
        let shift = WakeOperation::decode((2 | 8) << 28 | 31 << 12 | 7).unwrap();
        assert_eq!(shift.apply(1), 0x8000_0001);
        assert!(shift.compare(7) && !shift.compare(8));
        assert_eq!(WakeOperation::decode(5 << 28), Err(Errno::ENOSYS));
        assert_eq!(WakeOperation::decode(6 << 24), Err(Errno::ENOSYS));
    }

    #[test]
    fn unaligned_words_are_refused_before_anything_else() {
        let odd = UserPointer::new(crate::base::VirtualAddress::new(3));
        assert_eq!(key_of(odd, Sharing::Private, AccessKind::Read), Err(Errno::EINVAL));
        let end = UserPointer::new(Current::USER_END);
        assert_eq!(key_of(end, Sharing::Private, AccessKind::Write), Err(Errno::EFAULT));
    }
}
