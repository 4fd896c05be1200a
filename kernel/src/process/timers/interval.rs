//! The three interval timers of a process.

use super::forward;
use crate::base::Nanoseconds;
use crate::process::Process;
use crate::process::signal::{Signal, send};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use crate::time::{self, TimerCallback, TimerHandle};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Time that passes; SIGALRM.
    Real,
    /// CPU time in user mode; SIGVTALRM.
    Virtual,
    /// CPU time; SIGPROF.
    Profile,
}

/// A timer's setting: what is left (0: disarmed), and what it starts again with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Time to the next expiry.
    pub value: Nanoseconds,
    /// Time from there to the one after; 0 for none.
    pub interval: Nanoseconds,
}

#[derive(Debug, Default)]
struct Real {
    /// The next expiry; zero when disarmed.
    deadline: Nanoseconds,
    interval: Nanoseconds,
    handle: Option<TimerHandle>,
}

/// A timer that the tick runs down. Interrupts and a setter on the same CPU may interleave; the worst is a tick more or less.
#[derive(Debug, Default)]
struct CpuTimer {
    left: AtomicU64,
    interval: AtomicU64,
}

/// The three timers.
#[derive(Debug)]
pub struct IntervalTimers {
    real: SpinLock<Real, InterruptsDisabled>,
    in_user_mode: CpuTimer,
    profile: CpuTimer,
}

impl Default for IntervalTimers {
    fn default() -> Self {
        Self {
            real: SpinLock::new(LockRank::ProcessTimers, Real::default()),
            in_user_mode: CpuTimer::default(),
            profile: CpuTimer::default(),
        }
    }
}

/// What the timer queue calls.
struct Alarm(Weak<Process>);

impl TimerCallback for Alarm {
    fn expired(&self, handle: TimerHandle) {
        if let Some(process) = self.0.upgrade()
            && process.timers.interval.expire(handle)
        {
            send::send_from_kernel(&process, Signal::SIGALRM);
        }
    }
}

impl Real {
    fn setting(&self) -> Setting {
        let value = match (self.deadline, self.handle) {
            (Nanoseconds::ZERO, _) => Nanoseconds::ZERO,
            // As on Linux, a timer that is about to expire does not read as disarmed.
            (deadline, Some(_)) => Nanoseconds(deadline.saturating_sub(time::monotonic()).0.max(1000)),
            (deadline, None) if self.interval != Nanoseconds::ZERO => {
                forward(deadline, self.interval, time::monotonic()).0.saturating_sub(time::monotonic())
            }
            _ => Nanoseconds::ZERO,
        };
        Setting { value, interval: self.interval }
    }
}

impl IntervalTimers {
    const fn cpu_timer(&self, kind: Kind) -> Option<&CpuTimer> {
        match kind {
            Kind::Real => None,
            Kind::Virtual => Some(&self.in_user_mode),
            Kind::Profile => Some(&self.profile),
        }
    }

    /// The setting now.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Setting {
        match self.cpu_timer(kind) {
            Some(timer) => Setting {
                value: Nanoseconds(timer.left.load(Relaxed)),
                interval: Nanoseconds(timer.interval.load(Relaxed)),
            },
            None => self.real.lock().setting(),
        }
    }

    /// Sets a timer of `process`, whose timers these are, and gives its setting before.
    pub fn set(&self, process: &Arc<Process>, kind: Kind, new: Setting) -> Setting {
        if let Some(timer) = self.cpu_timer(kind) {
            let old = self.get(kind);
            timer.interval.store(new.interval.0, Relaxed);
            timer.left.store(new.value.0, Relaxed);
            return old;
        }
        let callback: Arc<Alarm> = Arc::new(Alarm(Arc::downgrade(process)));
        let mut real = self.real.lock();
        let old = real.setting();
        let cancelled = real.handle.take();
        real.interval = new.interval;
        if new.value == Nanoseconds::ZERO {
            real.deadline = Nanoseconds::ZERO;
        } else {
            real.deadline = time::monotonic().saturating_add(new.value);
            real.handle = Some(time::arm(real.deadline, callback));
        }
        drop(real);
        if let Some(handle) = cancelled {
            time::cancel(handle);
        }
        old
    }

    /// The real timer has expired. False when it was set anew before that was told.
    fn expire(&self, handle: TimerHandle) -> bool {
        let mut real = self.real.lock();
        let counts = real.handle == Some(handle);
        if counts {
            real.handle = None;
        }
        counts
    }

    /// SIGALRM was taken: a periodic real timer that has expired is armed again.
    pub(super) fn run_on(&self, process: &Arc<Process>) {
        let mut real = self.real.lock();
        if real.interval == Nanoseconds::ZERO || real.deadline == Nanoseconds::ZERO || real.handle.is_some() {
            return;
        }
        let (next, _) = forward(real.deadline, real.interval, time::monotonic());
        real.deadline = next;
        real.handle = Some(time::arm(next, Arc::new(Alarm(Arc::downgrade(process)))));
    }

    /// Takes CPU time off a timer. True when it has expired; it starts again with its interval.
    pub(super) fn run_down(&self, kind: Kind, by: Nanoseconds) -> bool {
        let Some(timer) = self.cpu_timer(kind) else { return false };
        match timer.left.load(Relaxed) {
            0 => false,
            left if left > by.0 => {
                timer.left.store(left - by.0, Relaxed);
                false
            }
            _ => {
                timer.left.store(timer.interval.load(Relaxed), Relaxed);
                true
            }
        }
    }

    pub(super) fn stop(&self) {
        let mut real = self.real.lock();
        real.deadline = Nanoseconds::ZERO;
        let handle = real.handle.take();
        drop(real);
        if let Some(handle) = handle {
            time::cancel(handle);
        }
        self.in_user_mode.left.store(0, Relaxed);
        self.profile.left.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_timers_run_down_and_start_again() {
        let timers = IntervalTimers::default();
        timers.profile.left.store(25, Relaxed);
        timers.profile.interval.store(10, Relaxed);
        let tick = Nanoseconds(10);
        assert!(!timers.run_down(Kind::Profile, tick));
        assert!(!timers.run_down(Kind::Profile, tick));
        assert!(timers.run_down(Kind::Profile, tick));
        assert_eq!(timers.get(Kind::Profile), Setting { value: tick, interval: tick });
        assert!(!timers.run_down(Kind::Virtual, tick), "a disarmed timer never expires");
        timers.stop();
        assert_eq!(timers.get(Kind::Profile).value, Nanoseconds::ZERO);
    }
}
