//! System calls that wait on many descriptors: `poll`, `ppoll`, `select`, `pselect6`.

use super::Call;
use super::time_values::{TimeSpecification, TimeValue};
use crate::base::{Errno, Nanoseconds, Result, VirtualAddress};
use crate::fs::{FileDescriptor, OpenFile, PollEvents, select};
use crate::memory::user::UserPointer;
use crate::process::resource_limits::Resource;
use crate::process::signal::{Restart, SignalSet, wait::with_temporary_mask};
use crate::time;
use alloc::sync::Arc;
use alloc::vec::Vec;
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct pollfd`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PollDescriptor {
    descriptor: i32,
    events: u16,
    ready: u16,
}

/// The sixth argument of `pselect6`: a signal set and its size.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SignalSetArgument {
    set: u64,
    size: u64,
}

/// A relative time becomes a point on the monotonic clock; zero stays zero, which means "do not wait".
pub(super) fn deadline_after(length: Nanoseconds) -> Nanoseconds {
    if length == Nanoseconds::ZERO { length } else { time::monotonic().saturating_add(length) }
}

/// The signal mask at `set`, `None` for the null pointer.
///
/// # Errors
/// `EINVAL` for a size other than eight bytes, `EFAULT`.
pub(super) fn read_mask(set: UserPointer<SignalSet>, size: usize) -> Result<Option<SignalSet>> {
    match set.non_null() {
        None => Ok(None),
        Some(_) if size != size_of::<SignalSet>() => Err(Errno::EINVAL),
        Some(set) => set.read().map(Some),
    }
}

type Files = SmallVec<[Option<Arc<OpenFile>>; 8]>;

/// Polls the descriptors at `address` until `deadline`.
fn poll_until(
    call: &Call<'_>,
    address: UserPointer<PollDescriptor>,
    count: u32,
    deadline: Option<Nanoseconds>,
) -> Result<usize> {
    if u64::from(count) > call.process.limit(Resource::OpenFiles) {
        return Err(Errno::EINVAL);
    }
    let mut descriptors = address.read_vector(count as usize)?;
    let table = call.thread.files();
    let mut files = Files::new();
    files.try_reserve(descriptors.len()).map_err(|_| Errno::ENOMEM)?;
    files.extend(descriptors.iter().map(|entry| table.get(FileDescriptor(entry.descriptor)).ok()));
    drop(table);
    let ready = select::wait(deadline, |table| {
        let mut ready = 0;
        for (entry, file) in descriptors.iter_mut().zip(&files) {
            let events = match file {
                _ if entry.descriptor < 0 => PollEvents::empty(),
                None => PollEvents::NVAL,
                Some(file) => select::poll_file(file, PollEvents::from_bits_truncate(u32::from(entry.events)), table),
            };
            entry.ready = u16::try_from(events.bits()).unwrap_or(0);
            if !events.is_empty() {
                ready += 1;
                table.stop_registering();
            }
        }
        Ok(ready)
    })?;
    for (index, entry) in descriptors.iter().enumerate() {
        address.element(index).field::<u16>(6).write(&entry.ready)?;
    }
    Ok(ready)
}

/// `poll`.
///
/// # Errors
/// `EINVAL` for more descriptors than `RLIMIT_NOFILE`, `EFAULT`, `EINTR`.
pub fn poll(call: &mut Call<'_>, descriptors: UserPointer<PollDescriptor>, count: u32, timeout: i32) -> Result<usize> {
    let deadline = u64::try_from(timeout).ok().map(|timeout| deadline_after(Nanoseconds::from_milliseconds(timeout)));
    poll_or_restart(call, descriptors, count, deadline)
}

/// Goes on with a `poll` that a signal without handler interrupted.
///
/// # Errors
/// As [`poll`].
pub fn poll_or_restart(
    call: &mut Call<'_>,
    descriptors: UserPointer<PollDescriptor>,
    count: u32,
    deadline: Option<Nanoseconds>,
) -> Result<usize> {
    match poll_until(call, descriptors, count, deadline) {
        Err(Errno::ERESTARTNOHAND) => {
            call.thread.signals.set_restart(Restart::Poll { descriptors: descriptors.address(), count, deadline });
            Err(Errno::ERESTARTBLOCK)
        }
        result => result,
    }
}

/// Writes back the time left before `deadline`, as Linux does; that it cannot is no error.
fn write_time_left<T: From<Nanoseconds> + IntoBytes + Immutable>(
    target: UserPointer<T>,
    deadline: Option<Nanoseconds>,
) {
    if let (Some(target), Some(deadline)) = (target.non_null(), deadline) {
        let left = deadline.saturating_sub(time::monotonic());
        let _ = target.write(&left.into());
    }
}

/// `ppoll`.
///
/// # Errors
/// As [`poll`].
pub fn ppoll(
    call: &mut Call<'_>,
    descriptors: UserPointer<PollDescriptor>,
    count: u32,
    timeout: UserPointer<TimeSpecification>,
    mask: UserPointer<SignalSet>,
    mask_size: usize,
) -> Result<usize> {
    let length = timeout.read_optional()?.map(TimeSpecification::to_nanoseconds).transpose()?;
    let deadline = length.map(deadline_after);
    let mask = read_mask(mask, mask_size)?;
    let result = with_temporary_mask(mask, || poll_until(call, descriptors, count, deadline));
    write_time_left(timeout, deadline);
    result
}

/// One of `select`'s three sets: what counts as ready for it.
const READY_SETS: [PollEvents; 3] = [
    PollEvents::READABLE.union(PollEvents::RDBAND).union(PollEvents::HUP).union(PollEvents::ERR),
    PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR),
    PollEvents::PRI,
];

/// Waits on three sets of descriptors below `count`, and replaces each set by the descriptors that are ready.
fn select_until(
    call: &Call<'_>,
    count: i32,
    addresses: [UserPointer<u64>; 3],
    deadline: Option<Nanoseconds>,
) -> Result<usize> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let table = call.thread.files();
    // Linux looks no further than its descriptor table has grown, which is 256 wherever a shell keeps its own descriptors at 255.
    let count = count.min(table.capacity().max(256));
    let words = count.div_ceil(64);
    let mut wanted: [Vec<u64>; 3] = Default::default();
    for (set, address) in wanted.iter_mut().zip(addresses) {
        *set = match address.non_null() {
            Some(address) => address.read_vector(words)?,
            None => alloc::vec![0; words],
        };
        // Bits past the last descriptor mean nothing.
        if let (Some(last), bits @ 1..) = (set.last_mut(), count % 64) {
            *last &= (1 << bits) - 1;
        }
    }
    let has = |set: &[u64], index: usize| set.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
    let mut files: SmallVec<[(usize, PollEvents, Arc<OpenFile>); 8]> = SmallVec::new();
    for index in 0..count {
        let mut interest = PollEvents::empty();
        for (set, events) in wanted.iter().zip(READY_SETS) {
            if has(set, index) {
                interest |= events;
            }
        }
        if !interest.is_empty() {
            let descriptor = FileDescriptor(i32::try_from(index).map_err(|_| Errno::EBADF)?);
            files.push((index, interest, table.get(descriptor)?));
        }
    }
    drop(table);
    let mut found: [Vec<u64>; 3] = Default::default();
    let ready = select::wait(deadline, |table| {
        found.iter_mut().for_each(|set| {
            set.clear();
            set.resize(words, 0);
        });
        let mut ready = 0;
        for (index, interest, file) in &files {
            let events = select::poll_file(file, *interest, table);
            for ((set, events_of_set), found) in wanted.iter().zip(READY_SETS).zip(&mut found) {
                if has(set, *index)
                    && events.intersects(events_of_set)
                    && let Some(word) = found.get_mut(*index / 64)
                {
                    *word |= 1 << (*index % 64);
                    ready += 1;
                    table.stop_registering();
                }
            }
        }
        Ok(ready)
    })?;
    for (set, address) in found.iter().zip(addresses) {
        if let Some(address) = address.non_null() {
            address.write_slice(set)?;
        }
    }
    Ok(ready)
}

/// `select`.
///
/// # Errors
/// `EBADF` for a descriptor that is not open, `EINVAL` for a negative count or time, `EFAULT`, `EINTR`.
pub fn select(
    call: &mut Call<'_>,
    count: i32,
    readable: UserPointer<u64>,
    writable: UserPointer<u64>,
    exceptional: UserPointer<u64>,
    timeout: UserPointer<TimeValue>,
) -> Result<usize> {
    // More than a second's worth of microseconds is taken as such here.
    let length = timeout.read_optional()?.map(|time| {
        let seconds = time.seconds.checked_add(time.microseconds.div_euclid(1_000_000)).ok_or(Errno::EINVAL)?;
        TimeValue { seconds, microseconds: time.microseconds.rem_euclid(1_000_000) }.to_nanoseconds()
    });
    let deadline = length.transpose()?.map(deadline_after);
    let result = select_until(call, count, [readable, writable, exceptional], deadline);
    write_time_left(timeout, deadline);
    result
}

/// `pselect6`.
///
/// # Errors
/// As [`select`].
pub fn pselect6(
    call: &mut Call<'_>,
    count: i32,
    readable: UserPointer<u64>,
    writable: UserPointer<u64>,
    exceptional: UserPointer<u64>,
    timeout: UserPointer<TimeSpecification>,
    mask: UserPointer<SignalSetArgument>,
) -> Result<usize> {
    let mask = match mask.read_optional()? {
        Some(argument) => {
            let size = usize::try_from(argument.size).map_err(|_| Errno::EINVAL)?;
            read_mask(UserPointer::new(VirtualAddress::new(argument.set)), size)?
        }
        None => None,
    };
    let length = timeout.read_optional()?.map(TimeSpecification::to_nanoseconds).transpose()?;
    let deadline = length.map(deadline_after);
    let sets = [readable, writable, exceptional];
    let result = with_temporary_mask(mask, || select_until(call, count, sets, deadline));
    write_time_left(timeout, deadline);
    result
}
