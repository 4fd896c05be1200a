//! System calls about timers that send signals.

use super::Call;
use super::time_values::{TimeSpecification, TimeValue};
use crate::base::{Errno, Nanoseconds, Result};
use crate::memory::user::UserPointer;
use crate::process::clock::{ABSOLUTE, Clock};
use crate::process::signal::Signal;
use crate::process::table;
use crate::process::timers::posix::Start;
use crate::process::timers::{Kind, Notification, Setting};
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct itimerval`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IntervalArgument {
    interval: TimeValue,
    value: TimeValue,
}

/// `struct itimerspec`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SettingArgument {
    interval: TimeSpecification,
    value: TimeSpecification,
}

/// `struct sigevent`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventArgument {
    value: u64,
    signal: i32,
    notify: i32,
    thread: i32,
    padding: [u32; 11],
}

const _: () = assert!(size_of::<EventArgument>() == 64);

impl From<Setting> for IntervalArgument {
    fn from(setting: Setting) -> Self {
        Self { interval: setting.interval.into(), value: setting.value.into() }
    }
}

impl From<Setting> for SettingArgument {
    fn from(setting: Setting) -> Self {
        Self { interval: setting.interval.into(), value: setting.value.into() }
    }
}

fn kind(which: i32) -> Result<Kind> {
    match which {
        0 => Ok(Kind::Real),
        1 => Ok(Kind::Virtual),
        2 => Ok(Kind::Profile),
        _ => Err(Errno::EINVAL),
    }
}

/// `getitimer(2)`.
pub fn getitimer(call: &mut Call<'_>, which: i32, current: UserPointer<IntervalArgument>) -> Result<()> {
    current.write(&call.process.timers.interval.get(kind(which)?).into())
}

/// `setitimer(2)`.
pub fn setitimer(
    call: &mut Call<'_>,
    which: i32,
    new: UserPointer<IntervalArgument>,
    old: UserPointer<IntervalArgument>,
) -> Result<()> {
    // As on Linux, no new setting disarms.
    let setting = match new.read_optional()? {
        None => Setting::default(),
        Some(new) => Setting { value: new.value.to_nanoseconds()?, interval: new.interval.to_nanoseconds()? },
    };
    let before = call.process.timers.interval.set(call.process, kind(which)?, setting);
    old.write_optional(&before.into())
}

/// `alarm(2)`.
pub fn alarm(call: &mut Call<'_>, seconds: u32) -> Result<u64> {
    let setting = Setting { value: Nanoseconds::from_seconds(seconds.into()), interval: Nanoseconds::ZERO };
    let (whole, rest) = call.process.timers.interval.set(call.process, Kind::Real, setting).value.split();
    Ok(if whole == 0 && rest != 0 || rest >= 500_000_000 { whole + 1 } else { whole })
}

fn notification(call: &Call<'_>, event: EventArgument) -> Result<Notification> {
    const SIGNAL: i32 = 0;
    const NONE: i32 = 1;
    const THREAD: i32 = 2;
    const THREAD_ID: i32 = 4;
    let signal = Signal::from_argument(event.signal).ok_or(Errno::EINVAL);
    match event.notify {
        NONE => Ok(Notification::None),
        SIGNAL | THREAD => Ok(Notification::Process(signal?, event.value)),
        THREAD_ID => {
            let thread = table::find_thread(event.thread).ok_or(Errno::EINVAL)?;
            if !Arc::ptr_eq(thread.process(), call.process) {
                return Err(Errno::EINVAL);
            }
            Ok(Notification::Thread(signal?, event.value, Arc::downgrade(&thread.signals)))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `timer_create(2)`.
pub fn timer_create(
    call: &mut Call<'_>,
    clock: i32,
    event: UserPointer<EventArgument>,
    identifier: UserPointer<i32>,
) -> Result<()> {
    let clock = Clock::from_number(clock)?;
    let notification = match event.read_optional()? {
        Some(event) => Some(notification(call, event)?),
        None => None,
    };
    let timers = &call.process.timers.posix;
    let number = timers.create(call.process, clock, notification)?;
    identifier.write(&number).inspect_err(|_| {
        // Nobody knows its number.
        let _ = timers.delete(number);
    })
}

/// `timer_settime(2)`.
pub fn timer_settime(
    call: &mut Call<'_>,
    identifier: i32,
    flags: i32,
    new: UserPointer<SettingArgument>,
    old: UserPointer<SettingArgument>,
) -> Result<()> {
    if new.is_null() {
        return Err(Errno::EINVAL);
    }
    let new = new.read()?;
    let setting = Setting { value: new.value.to_nanoseconds()?, interval: new.interval.to_nanoseconds()? };
    let start = if flags & ABSOLUTE != 0 { Start::Absolute } else { Start::Relative };
    let before = call.process.timers.posix.set(identifier, start, setting)?;
    old.write_optional(&before.into())
}

/// `timer_gettime(2)`.
pub fn timer_gettime(call: &mut Call<'_>, identifier: i32, current: UserPointer<SettingArgument>) -> Result<()> {
    current.write(&call.process.timers.posix.get(identifier)?.into())
}

/// `timer_getoverrun(2)`.
pub fn timer_getoverrun(call: &mut Call<'_>, identifier: i32) -> Result<i32> {
    call.process.timers.posix.overrun(identifier)
}

/// `timer_delete(2)`.
pub fn timer_delete(call: &mut Call<'_>, identifier: i32) -> Result<()> {
    call.process.timers.posix.delete(identifier)
}
