//! `syslog(2)`: the kernel log for `dmesg` and `klogd`.

use super::Call;
use crate::base::{Errno, Result, VirtualAddress};
use crate::log::{self, ring};
use crate::memory::user::UserSlice;
use crate::security::Capability;
use crate::sync::{Interruptible, WakeReason, parking};
use crate::time;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// The next record that `SYSLOG_ACTION_READ` gives.
static NEXT_READ: AtomicU64 = AtomicU64::new(0);
/// The first record after the last `SYSLOG_ACTION_CLEAR`.
static CLEARED: AtomicU64 = AtomicU64::new(0);
/// The console level before `SYSLOG_ACTION_CONSOLE_OFF`; 0 while the console is on.
static SAVED_LEVEL: AtomicU8 = AtomicU8::new(0);
/// The level that keeps all but emergencies from the console (`minimum_console_loglevel`).
const QUIETEST: u8 = 1;
/// How often a waiting reader looks: the log itself wakes nobody.
const LOOK_INTERVAL: crate::base::Nanoseconds = crate::base::Nanoseconds::from_milliseconds(100);

/// A record as `dmesg` reads it: `<priority>[seconds.microseconds] text`.
fn format_record(record: &ring::Record<'_>) -> Vec<u8> {
    let (seconds, nanoseconds) = record.time.split();
    let facility = if record.source == log::Source::User { 8 } else { 0 };
    let mut line = format!("<{}>[{seconds:5}.{:06}] ", record.priority.0 | facility, nanoseconds / 1000).into_bytes();
    line.extend_from_slice(record.message.strip_suffix(b"\n").unwrap_or(record.message));
    line.push(b'\n');
    line
}

/// All records from `first` on, with their numbers.
fn collect(first: u64) -> Vec<(u64, Vec<u8>)> {
    let mut lines = Vec::new();
    let mut next = first;
    while let Some((number, line)) = log::read(next, |record| (record.sequence, format_record(&record))) {
        lines.push((number, line));
        next = number + 1;
    }
    lines
}

/// `SYSLOG_ACTION_READ`: what nobody has read this way yet; waits for the first record.
fn read(buffer: UserSlice) -> Result<usize> {
    let lines = loop {
        let lines = collect(NEXT_READ.load(Relaxed));
        if !lines.is_empty() {
            break lines;
        }
        let deadline = time::monotonic().saturating_add(LOOK_INTERVAL);
        if parking::park(Some(deadline), Interruptible::BySignal) == WakeReason::Interrupted {
            return Err(Errno::ERESTARTSYS);
        }
    };
    let mut done = 0;
    for (number, line) in lines {
        if done + line.len() > buffer.len() {
            break;
        }
        buffer.skip(done).write(&line)?;
        done += line.len();
        NEXT_READ.store(number + 1, Relaxed);
    }
    Ok(done)
}

/// `SYSLOG_ACTION_READ_ALL`: the newest records that fit.
fn read_all(buffer: UserSlice) -> Result<usize> {
    let lines = collect(CLEARED.load(Relaxed));
    let mut room = buffer.len();
    let fitting = lines
        .iter()
        .rev()
        .take_while(|(_, line)| {
            let fits = line.len() <= room;
            room -= if fits { line.len() } else { 0 };
            fits
        })
        .count();
    let mut done = 0;
    for (_, line) in lines.iter().skip(lines.len() - fitting) {
        buffer.skip(done).write(line)?;
        done += line.len();
    }
    Ok(done)
}

/// `syslog`.
///
/// # Errors
/// `EPERM` without `CAP_SYSLOG` for all but reading everything and the size; `EINVAL` for an unknown action, a null buffer, a negative
/// length or a bad level; `EFAULT`, `ERESTARTSYS`.
pub fn syslog(call: &mut Call<'_>, action: i32, buffer: VirtualAddress, length: i32) -> Result<usize> {
    let credentials = call.thread.credentials();
    let allowed = credentials.may(Capability::Syslog) || credentials.may(Capability::SysAdmin);
    if !matches!(action, 3 | 10) && !allowed {
        return Err(Errno::EPERM);
    }
    let slice = || {
        let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
        if buffer.value() == 0 { Err(Errno::EINVAL) } else { Ok(UserSlice::new(buffer, length)) }
    };
    match action {
        0 | 1 => Ok(0),
        2 => match slice()? {
            slice if slice.is_empty() => Ok(0),
            slice => slice.check().and_then(|()| read(slice)),
        },
        3 | 4 => {
            let slice = slice()?;
            slice.check()?;
            let count = if slice.is_empty() { 0 } else { read_all(slice)? };
            if action == 4 {
                CLEARED.store(log::bounds().1, Relaxed);
            }
            Ok(count)
        }
        5 => {
            CLEARED.store(log::bounds().1, Relaxed);
            Ok(0)
        }
        6 => {
            if SAVED_LEVEL.load(Relaxed) == 0 {
                SAVED_LEVEL.store(log::console_level(), Relaxed);
            }
            log::set_console_level(QUIETEST);
            Ok(0)
        }
        7 => {
            let level = SAVED_LEVEL.swap(0, Relaxed);
            if level != 0 {
                log::set_console_level(level);
            }
            Ok(0)
        }
        8 => {
            let level = u8::try_from(length).ok().filter(|level| (1..=8).contains(level)).ok_or(Errno::EINVAL)?;
            log::set_console_level(level.max(QUIETEST));
            SAVED_LEVEL.store(0, Relaxed);
            Ok(0)
        }
        9 => Ok(collect(NEXT_READ.load(Relaxed)).iter().map(|(_, line)| line.len()).sum()),
        10 => Ok(ring::CAPACITY),
        _ => Err(Errno::EINVAL),
    }
}
