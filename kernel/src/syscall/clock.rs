//! System calls about clocks and sleeping.

use super::Call;
use super::time_values::{TimeSpecification, TimeValue};
use crate::base::{Errno, Nanoseconds, Result, VirtualAddress};
use crate::memory::user::UserPointer;
use crate::process::Thread;
use crate::process::clock::{ABSOLUTE, Clock};
use crate::process::signal::Restart;
use crate::process::timers::cpu_time::{CpuClock, CpuHandle, CpuTimeCallback};
use crate::security::Capability;
use crate::sync::parking::Unpark;
use crate::sync::{Interruptible, WakeReason, parking};
use crate::time;
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timezone`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeZone {
    minutes_west: i32,
    daylight_saving: i32,
}

/// `struct timex`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClockAdjustment {
    modes: u32,
    padding: u32,
    offset: i64,
    frequency: i64,
    maximum_error: i64,
    estimated_error: i64,
    status: i32,
    padding2: i32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    time: TimeValue,
    tick: i64,
    pulse_frequency: i64,
    jitter: i64,
    shift: i32,
    padding3: i32,
    stability: i64,
    jitter_count: i64,
    calibration_count: i64,
    error_count: i64,
    stability_count: i64,
    tai: i32,
    reserved: [i32; 11],
}

const _: () = assert!(size_of::<ClockAdjustment>() == 208);

/// `STA_UNSYNC`.
const UNSYNCHRONISED: i32 = 0x40;
/// `TIME_ERROR`: what `adjtimex` returns while the clock is not synchronised.
const TIME_ERROR: i32 = 5;

fn may_set_time(call: &Call<'_>) -> Result<()> {
    if call.thread.credentials().may(Capability::SysTime) { Ok(()) } else { Err(Errno::EPERM) }
}

/// `clock_gettime(2)`.
pub fn clock_gettime(_call: &mut Call<'_>, clock: i32, time: UserPointer<TimeSpecification>) -> Result<()> {
    time.write(&Clock::from_number(clock)?.read()?.into())
}

/// `clock_settime(2)`.
pub fn clock_settime(call: &mut Call<'_>, clock: i32, time: UserPointer<TimeSpecification>) -> Result<()> {
    let clock = Clock::from_number(clock)?;
    match clock {
        Clock::Realtime => {}
        Clock::Process(..) | Clock::Thread(..) => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    let time = time.read()?.to_nanoseconds()?;
    may_set_time(call)?;
    set_realtime(time)
}

/// As Linux does, a time before the machine was booted cannot be set.
fn set_realtime(time: Nanoseconds) -> Result<()> {
    if time < time::monotonic() || time == Nanoseconds::MAX {
        return Err(Errno::EINVAL);
    }
    time::set_realtime(time);
    Ok(())
}

/// `clock_getres(2)`.
pub fn clock_getres(_call: &mut Call<'_>, clock: i32, resolution: UserPointer<TimeSpecification>) -> Result<()> {
    let clock = Clock::from_number(clock)?;
    if matches!(clock, Clock::Process(..) | Clock::Thread(..)) {
        clock.read()?;
    }
    resolution.write_optional(&clock.resolution().into())
}

/// What is to happen when a sleep is interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Interrupted {
    /// It goes on towards the same point, and the time left is stored at this address (unless null).
    GoOn(VirtualAddress),
    /// The program gave the point itself and can give it again.
    StartAgain,
}

fn sleep(call: &Call<'_>, number: i32, clock: Clock, deadline: Nanoseconds, interrupted: Interrupted) -> Result<()> {
    loop {
        let monotonic = clock.to_monotonic(deadline).ok_or(Errno::EOPNOTSUPP)?;
        if clock.read()? >= deadline {
            return Ok(());
        }
        if parking::park(Some(monotonic), Interruptible::BySignal) == WakeReason::Interrupted {
            break;
        }
    }
    let Interrupted::GoOn(remaining) = interrupted else { return Err(Errno::ERESTARTNOHAND) };
    let left = deadline.saturating_sub(clock.read()?);
    if left == Nanoseconds::ZERO {
        return Ok(());
    }
    UserPointer::<TimeSpecification>::new(remaining).write_optional(&left.into())?;
    call.thread.signals.set_restart(Restart::Sleep { clock: number, deadline, remaining });
    Err(Errno::ERESTARTBLOCK)
}

/// Sleeps until `clock`, which other threads' work moves on, has come to `deadline`.
fn sleep_on_cpu_time(
    call: &Call<'_>,
    number: i32,
    clock: &CpuClock,
    deadline: Nanoseconds,
    interrupted: Interrupted,
) -> Result<()> {
    let waker: Arc<Waker> = Arc::new(Waker(call.thread.clone()));
    let handle = CpuHandle::unused();
    clock.arm(handle, deadline, waker)?;
    let outcome = loop {
        match clock.read() {
            Some(now) if now >= deadline => break None,
            Some(_) => {}
            None => break None,
        }
        if parking::park(None, Interruptible::BySignal) == WakeReason::Interrupted {
            break Some(interrupted);
        }
    };
    clock.cancel(handle);
    match outcome {
        None => Ok(()),
        Some(Interrupted::StartAgain) => Err(Errno::ERESTARTNOHAND),
        Some(Interrupted::GoOn(remaining)) => {
            let left = deadline.saturating_sub(clock.read().unwrap_or(Nanoseconds::MAX));
            if left == Nanoseconds::ZERO {
                return Ok(());
            }
            UserPointer::<TimeSpecification>::new(remaining).write_optional(&left.into())?;
            call.thread.signals.set_restart(Restart::Sleep { clock: number, deadline, remaining });
            Err(Errno::ERESTARTBLOCK)
        }
    }
}

/// Wakes a thread that sleeps on CPU time.
struct Waker(Arc<Thread>);

impl CpuTimeCallback for Waker {
    fn reached(&self, _handle: CpuHandle) {
        self.0.unpark();
    }
}

/// The rest of an interrupted sleep, for `restart_syscall`.
pub(super) fn go_on_sleeping(
    call: &Call<'_>,
    number: i32,
    deadline: Nanoseconds,
    remaining: VirtualAddress,
) -> Result<u64> {
    let clock = Clock::from_number(number)?;
    let interrupted = Interrupted::GoOn(remaining);
    match CpuClock::bind(clock)? {
        Some(clock) => sleep_on_cpu_time(call, number, &clock, deadline, interrupted),
        None => sleep(call, number, clock, deadline, interrupted),
    }
    .map(|()| 0)
}

/// `nanosleep(2)`.
pub fn nanosleep(
    call: &mut Call<'_>,
    length: UserPointer<TimeSpecification>,
    remaining: UserPointer<TimeSpecification>,
) -> Result<()> {
    let length = length.read()?.to_nanoseconds()?;
    let deadline = time::monotonic().saturating_add(length);
    sleep(call, 1, Clock::Monotonic, deadline, Interrupted::GoOn(remaining.address()))
}

/// `clock_nanosleep(2)`.
pub fn clock_nanosleep(
    call: &mut Call<'_>,
    number: i32,
    flags: i32,
    length: UserPointer<TimeSpecification>,
    remaining: UserPointer<TimeSpecification>,
) -> Result<()> {
    let clock = Clock::from_number(number)?;
    let cpu_clock = match (clock, number) {
        // A thread that sleeps uses no time.
        (Clock::Thread(..), 3) => return Err(Errno::EOPNOTSUPP),
        (Clock::Thread(tid, _), _) if tid == 0 || tid == call.thread.tid() => return Err(Errno::EINVAL),
        _ => CpuClock::bind(clock)?,
    };
    if cpu_clock.is_none() && clock.to_monotonic(Nanoseconds::ZERO).is_none() {
        return Err(Errno::EOPNOTSUPP);
    }
    let length = length.read()?.to_nanoseconds()?;
    if let Some(clock) = cpu_clock {
        if flags & ABSOLUTE != 0 {
            return sleep_on_cpu_time(call, number, &clock, length, Interrupted::StartAgain);
        }
        let deadline = clock.read().ok_or(Errno::EINVAL)?.saturating_add(length);
        return sleep_on_cpu_time(call, number, &clock, deadline, Interrupted::GoOn(remaining.address()));
    }
    if flags & ABSOLUTE != 0 {
        return sleep(call, number, clock, length, Interrupted::StartAgain);
    }
    // A length of time passes on every clock alike, whatever realtime is set to.
    let deadline = time::monotonic().saturating_add(length);
    sleep(call, 1, Clock::Monotonic, deadline, Interrupted::GoOn(remaining.address()))
}

/// `gettimeofday(2)`.
pub fn gettimeofday(_call: &mut Call<'_>, now: UserPointer<TimeValue>, zone: UserPointer<TimeZone>) -> Result<()> {
    now.write_optional(&time::realtime().into())?;
    zone.write_optional(&TimeZone::default())
}

/// `settimeofday(2)`.
pub fn settimeofday(call: &mut Call<'_>, now: UserPointer<TimeValue>, zone: UserPointer<TimeZone>) -> Result<()> {
    let now = match now.read_optional()? {
        Some(now) => Some(now.to_nanoseconds()?),
        None => None,
    };
    let zone = zone.read_optional()?;
    may_set_time(call)?;
    // The kernel keeps no time zone: only the one that it shows is accepted.
    if zone.is_some_and(|zone| zone.minutes_west != 0) {
        return Err(Errno::EINVAL);
    }
    now.map_or(Ok(()), set_realtime)
}

/// `time(2)`.
pub fn time(_call: &mut Call<'_>, target: UserPointer<i64>) -> Result<i64> {
    let (seconds, _) = time::realtime().split();
    target.write_optional(&seconds.cast_signed())?;
    Ok(seconds.cast_signed())
}

/// `ADJ_OFFSET_SS_READ`: what is left of an adjustment by `adjtime(3)`. There never is one, for none is accepted.
const READ_SINGLE_SHOT: u32 = 0xa001;

/// `adjtimex(2)`.
pub fn adjtimex(call: &mut Call<'_>, adjustment: UserPointer<ClockAdjustment>) -> Result<i32> {
    let modes = adjustment.read()?.modes;
    if modes != 0 && modes != READ_SINGLE_SHOT {
        may_set_time(call)?;
        return Err(Errno::EINVAL);
    }
    adjustment.write(&ClockAdjustment {
        maximum_error: 16_000_000,
        estimated_error: 16_000_000,
        status: UNSYNCHRONISED,
        constant: 2,
        precision: 1,
        tolerance: 32_768_000,
        time: time::realtime().into(),
        tick: 10_000,
        ..ClockAdjustment::default()
    })?;
    Ok(TIME_ERROR)
}

/// `clock_adjtime(2)`.
pub fn clock_adjtime(call: &mut Call<'_>, clock: i32, adjustment: UserPointer<ClockAdjustment>) -> Result<i32> {
    match Clock::from_number(clock)? {
        Clock::Realtime => adjtimex(call, adjustment),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
