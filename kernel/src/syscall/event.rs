//! System calls about event objects: epoll, event counters, timers as files.

use super::Call;
use super::argument::{Descriptor, Flags};
use super::poll::{deadline_after, read_mask};
use super::time_values::TimeSpecification;
use crate::arch::{Current, Machine};
use crate::base::{Errno, Nanoseconds, Result, VirtualAddress};
use crate::fs::epoll::{self, Epoll, Event, Interest};
use crate::fs::eventfd;
use crate::fs::timerfd::{self, OnClockSet, Setting, Timer, TimerClock};
use crate::fs::{CloseOnExec, FileDescriptor, OpenFile, OpenFlags};
use crate::memory::user::{UserPointer, UserSlice};
use crate::process::resource_limits::Resource;
use crate::process::signal::{SignalSet, wait::with_temporary_mask};
use alloc::sync::Arc;
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The flags that all calls here take: they are those of `open`.
const COMMON: OpenFlags = OpenFlags::NON_BLOCKING.union(OpenFlags::CLOSE_ON_EXEC);

fn common_flags(flags: u32) -> Result<OpenFlags> {
    OpenFlags::from_bits(flags).filter(|flags| COMMON.contains(*flags)).ok_or(Errno::EINVAL)
}

/// Gives the caller a descriptor.
fn install(call: &Call<'_>, file: Arc<OpenFile>, flags: OpenFlags) -> Result<i32> {
    let close = if flags.contains(OpenFlags::CLOSE_ON_EXEC) { CloseOnExec::Yes } else { CloseOnExec::No };
    Ok(call.thread.files().install(file, call.process.limit(Resource::OpenFiles), close)?.0)
}

fn file(call: &Call<'_>, descriptor: Descriptor) -> Result<Arc<OpenFile>> {
    call.thread.files().get(FileDescriptor(descriptor.0))
}

/// Bytes of `struct epoll_event`, which one machine packs.
const EVENT_SIZE: usize = Current::LINUX.epoll_event_size;
const DATA_OFFSET: usize = EVENT_SIZE - 8;

fn read_event(address: VirtualAddress) -> Result<Interest> {
    let bits = UserPointer::<u32>::new(address).read()?;
    let data = UserPointer::<u64>::new(address.offset(DATA_OFFSET as u64)).read()?;
    Ok(Interest { bits, data })
}

fn write_events(address: VirtualAddress, events: &[Event]) -> Result<()> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(events.len() * EVENT_SIZE).map_err(|_| Errno::ENOMEM)?;
    for event in events {
        bytes.extend_from_slice(&event.events.to_ne_bytes());
        bytes.extend(core::iter::repeat_n(0, DATA_OFFSET - 4));
        bytes.extend_from_slice(&event.data.to_ne_bytes());
    }
    UserSlice::new(address, bytes.len()).write(&bytes)
}

/// `epoll_create`.
///
/// # Errors
/// `EINVAL` for a size that is not positive, `EMFILE`.
pub fn epoll_create(call: &mut Call<'_>, size: i32) -> Result<i32> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(call, Flags(0))
}

/// `epoll_create1`.
///
/// # Errors
/// `EINVAL` for an unknown flag, `EMFILE`.
pub fn epoll_create1(call: &mut Call<'_>, flags: Flags) -> Result<i32> {
    if flags.0 & !OpenFlags::CLOSE_ON_EXEC.bits() != 0 {
        return Err(Errno::EINVAL);
    }
    install(call, epoll::create(), OpenFlags::from_bits_retain(flags.0))
}

/// `epoll_ctl`.
///
/// # Errors
/// `EBADF`, `EINVAL` for what is no epoll or an unknown operation, `EFAULT`; see [`Epoll::add`], [`Epoll::modify`], [`Epoll::remove`].
pub fn epoll_ctl(
    call: &mut Call<'_>,
    epoll: Descriptor,
    operation: i32,
    descriptor: Descriptor,
    event: VirtualAddress,
) -> Result<()> {
    const ADD: i32 = 1;
    const DELETE: i32 = 2;
    const MODIFY: i32 = 3;
    // Anything but a deletion reads the event first, as Linux does.
    let interest = if operation == DELETE { None } else { Some(read_event(event)?) };
    let set = file(call, epoll)?;
    let target = file(call, descriptor)?;
    if !epoll::can_watch(&target) {
        return Err(Errno::EPERM);
    }
    if Arc::ptr_eq(&set, &target) {
        return Err(Errno::EINVAL);
    }
    let set = set.operations_as::<Epoll>().ok_or(Errno::EINVAL)?;
    match (operation, interest) {
        (ADD, Some(interest)) => set.add(descriptor.0, &target, interest),
        (MODIFY, Some(interest)) => set.modify(descriptor.0, &target, interest),
        (DELETE, _) => set.remove(descriptor.0, &target),
        _ => Err(Errno::EINVAL),
    }
}

fn wait(
    call: &Call<'_>,
    epoll: Descriptor,
    events: VirtualAddress,
    limit: i32,
    deadline: Option<Nanoseconds>,
) -> Result<usize> {
    let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0 && limit <= i32::MAX as usize / EVENT_SIZE);
    let limit = limit.ok_or(Errno::EINVAL)?;
    UserSlice::new(events, limit * EVENT_SIZE).check()?;
    let set = file(call, epoll)?;
    let found = set.operations_as::<Epoll>().ok_or(Errno::EINVAL)?.wait(limit, deadline)?;
    write_events(events, &found)?;
    Ok(found.len())
}

fn milliseconds(timeout: i32) -> Option<Nanoseconds> {
    u64::try_from(timeout).ok().map(|timeout| deadline_after(Nanoseconds::from_milliseconds(timeout)))
}

/// `epoll_wait`.
///
/// # Errors
/// `EBADF`, `EINVAL`, `EFAULT`, `EINTR`.
pub fn epoll_wait(
    call: &mut Call<'_>,
    epoll: Descriptor,
    events: VirtualAddress,
    limit: i32,
    timeout: i32,
) -> Result<usize> {
    wait(call, epoll, events, limit, milliseconds(timeout))
}

/// `epoll_pwait`.
///
/// # Errors
/// As [`epoll_wait`]; `EINVAL` for a bad mask size.
pub fn epoll_pwait(
    call: &mut Call<'_>,
    epoll: Descriptor,
    events: VirtualAddress,
    limit: i32,
    timeout: i32,
    mask: UserPointer<SignalSet>,
    mask_size: usize,
) -> Result<usize> {
    let mask = read_mask(mask, mask_size)?;
    with_temporary_mask(mask, || wait(call, epoll, events, limit, milliseconds(timeout)))
}

/// `epoll_pwait2`.
///
/// # Errors
/// As [`epoll_pwait`]; `EINVAL` for a bad time.
pub fn epoll_pwait2(
    call: &mut Call<'_>,
    epoll: Descriptor,
    events: VirtualAddress,
    limit: i32,
    timeout: UserPointer<TimeSpecification>,
    mask: UserPointer<SignalSet>,
    mask_size: usize,
) -> Result<usize> {
    let length = timeout.read_optional()?.map(TimeSpecification::to_nanoseconds).transpose()?;
    let mask = read_mask(mask, mask_size)?;
    with_temporary_mask(mask, || wait(call, epoll, events, limit, length.map(deadline_after)))
}

/// `eventfd`.
///
/// # Errors
/// `EMFILE`.
pub fn eventfd(call: &mut Call<'_>, count: u32) -> Result<i32> {
    eventfd2(call, count, Flags(0))
}

/// `eventfd2`.
///
/// # Errors
/// `EINVAL` for an unknown flag, `EMFILE`.
pub fn eventfd2(call: &mut Call<'_>, count: u32, flags: Flags) -> Result<i32> {
    const SEMAPHORE: u32 = 1;
    let common = common_flags(flags.0 & !SEMAPHORE)?;
    let kind = if flags.0 & SEMAPHORE != 0 { eventfd::Kind::Semaphore } else { eventfd::Kind::Counter };
    install(call, eventfd::create(count, kind, common & OpenFlags::NON_BLOCKING), common)
}

/// `struct itimerspec`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IntervalSpecification {
    interval: TimeSpecification,
    value: TimeSpecification,
}

impl From<Setting> for IntervalSpecification {
    fn from(setting: Setting) -> Self {
        Self { interval: setting.interval.into(), value: setting.next.into() }
    }
}

/// `timerfd_create`.
///
/// # Errors
/// `EINVAL` for an unknown clock or flag, `EPERM` for an alarm clock, `EMFILE`.
pub fn timerfd_create(call: &mut Call<'_>, clock: i32, flags: Flags) -> Result<i32> {
    let flags = common_flags(flags.0)?;
    let clock = match clock {
        0 => TimerClock::Realtime,
        1 | 7 => TimerClock::Monotonic,
        // Waking a sleeping machine is not there.
        8 | 9 => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    install(call, timerfd::create(clock, flags & OpenFlags::NON_BLOCKING), flags)
}

/// `timerfd_settime`.
///
/// # Errors
/// `EBADF`, `EINVAL` for what is no timer, an unknown flag or a bad time, `EFAULT`.
pub fn timerfd_settime(
    call: &mut Call<'_>,
    timer: Descriptor,
    flags: Flags,
    new: UserPointer<IntervalSpecification>,
    old: UserPointer<IntervalSpecification>,
) -> Result<()> {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    let new = new.read()?;
    let interval = new.interval.to_nanoseconds()?;
    let value = new.value.to_nanoseconds()?;
    if flags.0 & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(call, timer)?;
    let timer = file.operations_as::<Timer>().ok_or(Errno::EINVAL)?;
    let absolute = flags.0 & ABSOLUTE != 0;
    let next = if value == Nanoseconds::ZERO || absolute { value } else { timer.now().saturating_add(value) };
    let cancel = if absolute && flags.0 & CANCEL_ON_SET != 0 { OnClockSet::Cancel } else { OnClockSet::GoOn };
    let before = timer.set(Setting { next, interval }, cancel);
    old.write_optional(&before.into())
}

/// `timerfd_gettime`.
///
/// # Errors
/// `EBADF`, `EINVAL` for what is no timer, `EFAULT`.
pub fn timerfd_gettime(
    call: &mut Call<'_>,
    timer: Descriptor,
    current: UserPointer<IntervalSpecification>,
) -> Result<()> {
    let file = file(call, timer)?;
    let timer = file.operations_as::<Timer>().ok_or(Errno::EINVAL)?;
    current.write(&timer.remaining().into())
}
