//! System calls about futexes.

use super::Call;
use super::argument::{Flags, ProcessIdentifier};
use super::time_values::TimeSpecification;
use crate::base::{Errno, Nanoseconds, Result, VirtualAddress};
use crate::memory::user::UserPointer;
use crate::process::attributes::Dumpable;
use crate::process::clock::Clock;
use crate::process::futex::priority::{self, Patience};
use crate::process::futex::{self, MATCH_ANY, Outcome, Sharing, WaitEntry, WakeOperation, condition, robust};
use crate::process::signal::Restart;
use crate::process::table;
use crate::security::Capability;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `FUTEX_*` operations.
mod operation {
    pub const WAIT: u32 = 0;
    pub const WAKE: u32 = 1;
    pub const REQUEUE: u32 = 3;
    pub const CMP_REQUEUE: u32 = 4;
    pub const WAKE_OP: u32 = 5;
    pub const LOCK_PI: u32 = 6;
    pub const UNLOCK_PI: u32 = 7;
    pub const TRYLOCK_PI: u32 = 8;
    pub const WAIT_BITSET: u32 = 9;
    pub const WAKE_BITSET: u32 = 10;
    pub const WAIT_REQUEUE_PI: u32 = 11;
    pub const CMP_REQUEUE_PI: u32 = 12;
    pub const LOCK_PI2: u32 = 13;
    pub const PRIVATE: u32 = 128;
    pub const CLOCK_REALTIME: u32 = 256;
}

/// `futex(2)`.
pub fn futex(
    call: &mut Call<'_>,
    address: UserPointer<u32>,
    code: Flags,
    value: u32,
    timeout: VirtualAddress,
    second: UserPointer<u32>,
    third: u32,
) -> Result<u32> {
    let command = code.0 & !(operation::PRIVATE | operation::CLOCK_REALTIME);
    let sharing = if code.0 & operation::PRIVATE != 0 { Sharing::Private } else { Sharing::Shared };
    let clock = if code.0 & operation::CLOCK_REALTIME != 0 || command == operation::LOCK_PI {
        Clock::Realtime
    } else {
        Clock::Monotonic
    };
    // As on Linux before anything else is looked at.
    let deadline = match command {
        operation::WAIT => read_time(timeout)?.map(|length| crate::time::monotonic().saturating_add(length)),
        operation::WAIT_BITSET | operation::LOCK_PI | operation::LOCK_PI2 | operation::WAIT_REQUEUE_PI => {
            read_time(timeout)?.and_then(|point| clock.to_monotonic(point))
        }
        _ => None,
    };
    if code.0 & operation::CLOCK_REALTIME != 0
        && !matches!(command, operation::WAIT_BITSET | operation::LOCK_PI2 | operation::WAIT_REQUEUE_PI)
    {
        return Err(Errno::ENOSYS);
    }
    // For these the fourth argument is no pointer but a count.
    #[expect(clippy::cast_possible_truncation, reason = "Linux takes the register's low half")]
    let second_value = timeout.value() as u32;
    match command {
        operation::WAIT => wait(call, address, sharing, value, MATCH_ANY, deadline, code.0),
        operation::WAIT_BITSET if third != 0 => wait(call, address, sharing, value, third, deadline, code.0),
        operation::WAKE => futex::wake(address, sharing, count(value), MATCH_ANY),
        operation::WAKE_BITSET if third != 0 => futex::wake(address, sharing, count(value), third),
        operation::WAIT_BITSET | operation::WAKE_BITSET => Err(Errno::EINVAL),
        operation::REQUEUE | operation::CMP_REQUEUE => {
            check_counts(value, second_value)?;
            let expected = (command == operation::CMP_REQUEUE).then_some(third);
            futex::requeue(address, second, sharing, value, second_value, expected)
        }
        operation::WAKE_OP => {
            let change = WakeOperation::decode(third)?;
            futex::wake_operation(address, second, sharing, count(value), count(second_value), change)
        }
        operation::LOCK_PI | operation::LOCK_PI2 => {
            priority::lock(address, sharing, Patience::Wait(deadline)).map(|()| 0)
        }
        operation::TRYLOCK_PI => priority::lock(address, sharing, Patience::Try).map(|()| 0),
        operation::UNLOCK_PI => priority::unlock(address, sharing).map(|()| 0),
        operation::WAIT_REQUEUE_PI => condition::wait(address, second, sharing, value, deadline).map(|()| 0),
        operation::CMP_REQUEUE_PI => {
            check_counts(value, second_value)?;
            // One waiter can be given the lock, and no fewer are to be.
            if value != 1 {
                return Err(Errno::EINVAL);
            }
            condition::requeue(address, second, sharing, second_value, third)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// How many to wake and to move are counts.
const fn check_counts(wake: u32, requeue: u32) -> Result<()> {
    if wake.cast_signed() < 0 || requeue.cast_signed() < 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// As on Linux, waking none or fewer wakes one.
fn count(value: u32) -> u32 {
    if value.cast_signed() < 1 { 1 } else { value }
}

fn read_time(address: VirtualAddress) -> Result<Option<Nanoseconds>> {
    match UserPointer::<TimeSpecification>::new(address).read_optional()? {
        Some(time) => time.to_nanoseconds().map(Some),
        None => Ok(None),
    }
}

fn wait(
    call: &Call<'_>,
    address: UserPointer<u32>,
    sharing: Sharing,
    expected: u32,
    bitset: u32,
    deadline: Option<Nanoseconds>,
    code: u32,
) -> Result<u32> {
    match (futex::wait(address, sharing, expected, bitset, deadline)?, deadline) {
        (Outcome::Woken, _) => Ok(0),
        (Outcome::TimedOut, _) => Err(Errno::ETIMEDOUT),
        (Outcome::Interrupted, None) => Err(Errno::ERESTARTSYS),
        (Outcome::Interrupted, Some(deadline)) => {
            let address = address.address();
            call.thread.signals.set_restart(Restart::Futex { address, expected, bitset, operation: code, deadline });
            Err(Errno::ERESTARTBLOCK)
        }
    }
}

/// The rest of an interrupted wait, for `restart_syscall`.
pub(super) fn go_on_waiting(
    call: &Call<'_>,
    address: VirtualAddress,
    expected: u32,
    bitset: u32,
    code: u32,
    deadline: Nanoseconds,
) -> Result<u64> {
    let sharing = if code & operation::PRIVATE != 0 { Sharing::Private } else { Sharing::Shared };
    wait(call, UserPointer::new(address), sharing, expected, bitset, Some(deadline), code).map(u64::from)
}

/// `struct futex_waitv`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WaitArgument {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// `futex_waitv(2)`.
pub fn futex_waitv(
    _call: &mut Call<'_>,
    waiters: UserPointer<WaitArgument>,
    count: u32,
    flags: Flags,
    timeout: VirtualAddress,
    clock: i32,
) -> Result<usize> {
    /// `FUTEX_WAITV_MAX`.
    const MOST: u32 = 128;
    /// `FUTEX2_SIZE_U32`, the one size there is.
    const SIZE_32: u32 = 2;
    if flags.0 != 0 || count == 0 || count > MOST || waiters.is_null() {
        return Err(Errno::EINVAL);
    }
    let deadline = match (timeout.value(), clock) {
        (0, _) => None,
        (_, 0) => read_time(timeout)?.and_then(|point| Clock::Realtime.to_monotonic(point)),
        (_, 1) => read_time(timeout)?,
        _ => return Err(Errno::EINVAL),
    };
    let mut entries: SmallVec<[WaitEntry; 4]> = SmallVec::new();
    for index in 0..count {
        let argument = waiters.element(index as usize).read()?;
        if argument.flags & !operation::PRIVATE != SIZE_32 || argument.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        #[expect(clippy::cast_possible_truncation, reason = "Linux compares with the low half")]
        let expected = argument.value as u32;
        let sharing = if argument.flags & operation::PRIVATE != 0 { Sharing::Private } else { Sharing::Shared };
        entries.push(WaitEntry { address: UserPointer::new(VirtualAddress::new(argument.address)), expected, sharing });
    }
    futex::wait_any(&entries, deadline)
}

/// `set_robust_list(2)`.
pub fn set_robust_list(call: &mut Call<'_>, head: VirtualAddress, length: usize) -> Result<()> {
    if length != robust::HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    call.thread.robust_list.store(head.value(), Relaxed);
    Ok(())
}

/// `get_robust_list(2)`.
pub fn get_robust_list(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    head: UserPointer<u64>,
    length: UserPointer<u64>,
) -> Result<()> {
    let address = match pid.0 {
        0 => call.thread.robust_list.load(Relaxed),
        tid => {
            let thread = table::find_thread(tid).ok_or(Errno::ESRCH)?;
            let caller = call.thread.credentials();
            let is_open = thread.process().attributes.dumpable() == Dumpable::Yes || caller.may(Capability::SysPtrace);
            let is_own = Arc::ptr_eq(thread.process(), call.process);
            let is_allowed = is_own || is_open && caller.may_trace(&thread.credentials());
            if !is_allowed {
                return Err(Errno::EPERM);
            }
            thread.robust_list.load(Relaxed)
        }
    };
    length.write(&(robust::HEAD_SIZE as u64))?;
    head.write(&address)
}
