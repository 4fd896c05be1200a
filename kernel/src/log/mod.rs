//! The kernel log: the `log` crate's macros end in a ring that `dmesg` and `/dev/kmsg` read, and on the consoles.
//!
//! It works from anywhere: interrupt context, under any spinlock, in a panic. Its one lock has the highest rank and is held
//! while a line goes out, so that lines do not mix. Messages less urgent than the console level (`loglevel=`, `quiet`) go
//! to the ring alone.

pub mod backtrace;
pub mod ring;
pub mod symbols;

use crate::arch::{Current, SerialConsole, TimerHardware};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use arrayvec::ArrayString;
use core::fmt::Write;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use ring::{Record, Ring};

/// Linux's urgency of a message: 0 emergency to 7 debug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Priority(pub u8);

impl Priority {
    /// The system is unusable.
    pub const EMERGENCY: Self = Self(0);
    /// An error.
    pub const ERROR: Self = Self(3);
    /// A warning.
    pub const WARNING: Self = Self(4);
    /// Something of note.
    pub const NOTICE: Self = Self(5);
    /// Information.
    pub const INFORMATION: Self = Self(6);
    /// For debugging.
    pub const DEBUG: Self = Self(7);

    const fn of(level: log::Level) -> Self {
        match level {
            log::Level::Error => Self::ERROR,
            log::Level::Warn => Self::WARNING,
            log::Level::Info => Self::INFORMATION,
            log::Level::Debug | log::Level::Trace => Self::DEBUG,
        }
    }
}

/// The console level that Linux starts with: everything but debug messages.
pub const DEFAULT_CONSOLE_LEVEL: u8 = 7;
/// The console level of `quiet`.
pub const QUIET_CONSOLE_LEVEL: u8 = 4;
/// The longest message; the rest of a longer one is lost.
pub const MAXIMUM_MESSAGE: usize = 976;

static RING: SpinLock<Ring, InterruptsDisabled> = SpinLock::new(LockRank::Log, Ring::new());
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(DEFAULT_CONSOLE_LEVEL);

struct KernelLog;

impl log::Log for KernelLog {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let mut message = ArrayString::<MAXIMUM_MESSAGE>::new();
        let truncated = write!(Truncating(&mut message), "{}", record.args());
        let _ = truncated;
        append(Priority::of(record.level()), Source::Kernel, message.as_bytes());
    }
    fn flush(&self) {}
}

/// Who wrote a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The kernel.
    Kernel,
    /// A program, through `/dev/kmsg`.
    User,
}

/// Keeps what fits and drops the rest without failing.
struct Truncating<'a>(&'a mut ArrayString<MAXIMUM_MESSAGE>);

impl Write for Truncating<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let mut end = text.len().min(self.0.remaining_capacity());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if let Some(text) = text.get(..end) {
            self.0.push_str(text);
        }
        Ok(())
    }
}

/// Connects the `log` macros. Later calls change nothing.
pub fn initialize() {
    if log::set_logger(&KernelLog).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

/// Sets the console level: messages with a priority number below it are shown on the console.
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Relaxed);
}

/// The console level.
#[must_use]
pub fn console_level() -> u8 {
    CONSOLE_LEVEL.load(Relaxed)
}

/// Adds a message, and shows it on the console if it is urgent enough.
pub fn append(priority: Priority, source: Source, message: &[u8]) {
    let now = Current::now();
    let mut ring = RING.lock();
    ring.append(now, priority, source, message);
    if priority.0 < console_level() {
        show(now, message);
    }
}

/// Writes a line as Linux's console shows it.
fn show(time: crate::base::Nanoseconds, message: &[u8]) {
    let (seconds, nanoseconds) = time.split();
    let mut stamp = ArrayString::<32>::new();
    let _ = write!(stamp, "[{seconds:5}.{:06}] ", nanoseconds / 1000);
    Current::write_console(stamp.as_bytes());
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        match line.split_last() {
            Some((b'\n', line)) => {
                Current::write_console(line);
                Current::write_console(b"\r\n");
            }
            _ => Current::write_console(line),
        }
    }
    if message.last() != Some(&b'\n') {
        Current::write_console(b"\r\n");
    }
}

/// Calls `each` with the first message whose sequence number is at least `sequence`. `None` when there is none yet.
/// The message is a copy, so `each` may allocate and log.
pub fn read<T>(sequence: u64, each: impl FnOnce(Record<'_>) -> T) -> Option<T> {
    let mut copy = [0; MAXIMUM_MESSAGE];
    let (number, time, priority, source, length) = {
        let ring = RING.lock();
        let record = ring.read(sequence)?;
        let length = record.message.len().min(copy.len());
        if let (Some(target), Some(message)) = (copy.get_mut(..length), record.message.get(..length)) {
            target.copy_from_slice(message);
        }
        (record.sequence, record.time, record.priority, record.source, length)
    };
    let message = copy.get(..length).unwrap_or_default();
    Some(each(Record { sequence: number, time, priority, source, message }))
}

/// The sequence numbers of the oldest message still kept and of the next to come.
#[must_use]
pub fn bounds() -> (u64, u64) {
    RING.lock().bounds()
}

/// Writes the last `count` messages before the one numbered `end` to the console again: the last words of a panic.
pub fn show_last(count: u64, end: u64) {
    let Some(ring) = RING.try_lock() else { return };
    let (first, _) = ring.bounds();
    let mut sequence = end.saturating_sub(count).max(first);
    while let Some(record) = ring.read(sequence).filter(|record| record.sequence < end) {
        show(record.time, record.message);
        sequence = record.sequence + 1;
    }
}

/// Frees the log's lock by force and forgets which locks this CPU holds, for the panic path.
///
/// # Safety
/// As [`SpinLock::force_unlock`].
#[allow(unsafe_code, reason = "passes the obligation on")]
pub unsafe fn force_unlock() {
    crate::sync::rank::forget_held();
    // SAFETY: the caller's promise.
    unsafe { RING.force_unlock() };
}
