//! Timers that send signals: `setitimer`, `alarm`, `timer_create`; and the limit of CPU time.
//!
//! Timers on clocks are armed in the [`crate::time`] room's queue and call back in interrupt context. A periodic one is armed again when its
//! signal is *taken* ([`signal_taken`]), not when it expires: however short the interval, a program that does not take its signals
//! costs nothing, and the expiries in between are counted as overruns. Timers on CPU time ([`interval::Kind::Virtual`],
//! [`interval::Kind::Profile`] and those of [`cpu_time`]) and the limit are driven by the accounting tick.
//!
//! Lock order: a timer's lock (rank `ProcessTimers` or `PosixTimer`, interrupts off), then the timer queue's. Signals are sent with
//! neither held.

pub mod cpu_time;
pub mod interval;
pub mod posix;

pub use cpu_time::CpuDeadlines;
pub use interval::{IntervalTimers, Kind, Setting};
pub use posix::{Notification, PosixTimers};

use super::resource_limits::{Resource, UNLIMITED};
use super::signal::{self, Signal, SignalInformation, code, send};
use super::thread::try_current_thread;
use super::{Process, Thread};
use crate::base::Nanoseconds;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The timers of a process.
#[derive(Debug, Default)]
pub struct ProcessTimers {
    /// `setitimer`'s three.
    pub interval: IntervalTimers,
    /// `timer_create`'s.
    pub posix: PosixTimers,
    /// Timers and sleeps on the CPU time of the process and its threads.
    pub cpu_time: CpuDeadlines,
    /// Ticks that its threads have used.
    ticks: AtomicU64,
}

impl ProcessTimers {
    /// Disarms everything: the process ends.
    pub fn stop(&self) {
        self.interval.stop();
        self.posix.clear();
        self.cpu_time.clear();
    }
}

/// Registers with signals: who takes a timer's signal sets the timer going again. Once, at boot.
pub fn initialize() {
    signal::taken::set_timer_signal_hook(signal_taken);
}

/// Which mode a tick interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// User mode.
    User,
    /// The kernel, on the thread's behalf.
    Kernel,
}

/// Accounts `ticks` ticks of CPU time to the running thread's process. Interrupt context.
pub fn account(thread: &Arc<Thread>, mode: Mode, ticks: u64) {
    let process = thread.process();
    let total = process.timers.ticks.fetch_add(ticks, Relaxed) + ticks;
    let passed = Nanoseconds(Nanoseconds::TICK.0 * ticks);
    if mode == Mode::User && process.timers.interval.run_down(Kind::Virtual, passed) {
        send::send_from_kernel(process, Signal::SIGVTALRM);
    }
    if process.timers.interval.run_down(Kind::Profile, passed) {
        send::send_from_kernel(process, Signal::SIGPROF);
    }
    if process.timers.cpu_time.is_armed() {
        thread.signals.request_timer_check();
    }
    // Whole seconds only: that is the limit's unit, and Linux sends SIGXCPU once a second too.
    if total / 100 != (total - ticks) / 100 {
        check_limit(process, total / 100);
    }
}

fn check_limit(process: &Arc<Process>, seconds: u64) {
    let limit = process.limits.lock().get(Resource::Cpu);
    if limit.soft == UNLIMITED {
        return;
    }
    if seconds >= limit.hard {
        send::send_from_kernel(process, Signal::SIGKILL);
    } else if seconds >= limit.soft {
        send::send_from_kernel(process, Signal::SIGXCPU);
    }
}

/// The running thread has taken a signal: a timer that sent it runs on. Fills in the overrun count.
fn signal_taken(information: &mut SignalInformation) {
    if let Some(thread) = try_current_thread() {
        let process = thread.process();
        if information.number == Signal::SIGALRM.number().cast_signed() {
            process.timers.interval.run_on(process);
        }
        if information.code == code::SI_TIMER {
            process.timers.posix.taken(information);
        }
    }
}

/// The first point after `now` that lies a whole number of intervals after `deadline`, and how many intervals are skipped on the way.
#[must_use]
fn forward(deadline: Nanoseconds, interval: Nanoseconds, now: Nanoseconds) -> (Nanoseconds, u64) {
    if interval == Nanoseconds::ZERO {
        return (deadline, 0);
    }
    let skipped = now.saturating_sub(deadline).0 / interval.0;
    let step = interval.0.saturating_mul(skipped.saturating_add(1));
    (deadline.saturating_add(Nanoseconds(step)), skipped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn forwarding_finds_the_next_multiple(deadline in 0u64..1000, interval in 1u64..50, late in 0u64..500) {
            let now = deadline + late;
            let (next, skipped) = forward(Nanoseconds(deadline), Nanoseconds(interval), Nanoseconds(now));
            prop_assert!(next.0 > now && next.0 - interval <= now);
            prop_assert_eq!(next.0, deadline + (skipped + 1) * interval);
        }
    }

    #[test]
    fn forwarding_does_not_overflow() {
        let (next, _) = forward(Nanoseconds(1), Nanoseconds(1), Nanoseconds::MAX);
        assert_eq!(next, Nanoseconds::MAX);
        let (next, skipped) = forward(Nanoseconds(5), Nanoseconds::MAX, Nanoseconds(7));
        assert_eq!((next, skipped), (Nanoseconds::MAX, 0));
    }
}
