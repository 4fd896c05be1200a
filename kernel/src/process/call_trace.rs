//! Whose system calls are traced. The tracer itself is in the system-call layer; what chooses (the command line, `/proc/sys`) stands below it.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Whom to trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceTarget {
    /// Nobody.
    Nobody,
    /// Every process.
    Everybody,
    /// One process and its threads.
    Process(i32),
}

const NOBODY: i32 = 0;
const EVERYBODY: i32 = -1;
static TARGET: AtomicI32 = AtomicI32::new(NOBODY);

/// Chooses whom to trace, from now on.
pub fn set(target: TraceTarget) {
    TARGET.store(
        match target {
            TraceTarget::Nobody => NOBODY,
            TraceTarget::Everybody => EVERYBODY,
            TraceTarget::Process(pid) => pid.max(1),
        },
        Relaxed,
    );
}

/// Who is traced now.
#[must_use]
pub fn target() -> TraceTarget {
    match TARGET.load(Relaxed) {
        NOBODY => TraceTarget::Nobody,
        EVERYBODY => TraceTarget::Everybody,
        pid => TraceTarget::Process(pid),
    }
}

/// Whether anybody is traced.
#[must_use]
#[inline]
pub fn is_on() -> bool {
    TARGET.load(Relaxed) != NOBODY
}

/// Whether process `pid` is traced.
#[must_use]
#[inline]
pub fn includes(pid: i32) -> bool {
    match target() {
        TraceTarget::Nobody => false,
        TraceTarget::Everybody => true,
        TraceTarget::Process(chosen) => chosen == pid,
    }
}

/// How a line about thread `tid` begins.
#[must_use]
pub fn prefix(tid: i32) -> String {
    format!("[pid {tid:5}] ")
}

/// Logs an event of thread `tid` of process `pid` that is no call, between the signs that surround it, when it is traced.
#[cold]
pub fn event(pid: i32, tid: i32, signs: &str, event: core::fmt::Arguments<'_>) {
    if includes(pid) {
        log::debug!(target: "trace", "{}{signs} {event} {signs}", prefix(tid));
    }
}

/// Reads the value of `ashlar.trace=`: `all`, `off` or a PID.
#[must_use]
pub fn parse(word: &str) -> Option<TraceTarget> {
    match word {
        "all" => Some(TraceTarget::Everybody),
        "off" | "0" => Some(TraceTarget::Nobody),
        pid => pid.parse().ok().filter(|pid| *pid > 0).map(TraceTarget::Process),
    }
}

impl core::fmt::Display for TraceTarget {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Nobody => formatter.write_str("off"),
            Self::Everybody => formatter.write_str("all"),
            Self::Process(pid) => write!(formatter, "{pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_word_is_read_whole() {
        assert_eq!(parse("all"), Some(TraceTarget::Everybody));
        assert_eq!(parse("12"), Some(TraceTarget::Process(12)));
        assert_eq!(parse("off"), Some(TraceTarget::Nobody));
        assert_eq!(parse("12x"), None);
        assert_eq!(parse("-3"), None);
    }
}
