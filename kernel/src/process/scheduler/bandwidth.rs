//! What the real-time policies may take of a CPU: `sched_rt_runtime_us` in each `sched_rt_period_us`.
//!
//! Counted in ticks. While the runtime of a period is used up, FIFO and round-robin threads wait for all others; they do not wait for
//! an idle CPU. Reservations have their own accounts.

use super::Preempt;
use crate::base::Nanoseconds;

/// The limit, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    runtime: u64,
    period: u64,
}

impl Limit {
    /// None.
    pub const NONE: Self = Self { runtime: u64::MAX, period: u64::MAX };

    /// `runtime` in each `period`, in microseconds; a negative runtime is no limit.
    #[must_use]
    pub fn from_microseconds(runtime: i32, period: u32) -> Self {
        const TICK: u64 = Nanoseconds::TICK.0 / 1000;
        let Ok(runtime) = u64::try_from(runtime) else { return Self::NONE };
        let period = u64::from(period).div_ceil(TICK).max(1);
        Self { runtime: if runtime == 0 { 0 } else { (runtime / TICK).max(1) }, period }
    }
}

/// One CPU's account.
#[derive(Debug, Clone, Copy)]
pub struct Bandwidth {
    used: u64,
    /// The tick at which the period ends.
    end: u64,
    exhausted: bool,
}

impl Bandwidth {
    /// Nothing used.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: 0, end: 0, exhausted: false }
    }
    /// Whether the real-time policies must leave room.
    #[must_use]
    #[inline]
    pub const fn is_exhausted(&self) -> bool {
        self.exhausted
    }
    /// Tick number `tick` passed. Says whether the running thread is to give way: a limit was reached, or a new period began.
    pub fn tick(&mut self, tick: u64, limit: Limit, is_realtime: bool) -> Preempt {
        let mut preempt = Preempt::No;
        if tick >= self.end {
            self.end = tick.saturating_add(limit.period);
            self.used = 0;
            preempt = Preempt::when(core::mem::take(&mut self.exhausted));
        }
        if is_realtime {
            self.used += 1;
            if self.used >= limit.runtime && limit.runtime < limit.period && !self.exhausted {
                self.exhausted = true;
                preempt = Preempt::Yes;
            }
        }
        preempt
    }
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_of_a_period_is_the_most() {
        let limit = Limit::from_microseconds(30_000, 100_000);
        let mut bandwidth = Bandwidth::new();
        let mut ran = 0;
        for tick in 1..=100 {
            let runs = !bandwidth.is_exhausted();
            ran += u32::from(runs);
            bandwidth.tick(tick, limit, runs);
        }
        assert_eq!(ran, 30);
    }

    #[test]
    fn without_a_limit_there_is_none() {
        for limit in [Limit::NONE, Limit::from_microseconds(-1, 1_000_000), Limit::from_microseconds(1000, 1000)] {
            let mut bandwidth = Bandwidth::new();
            for tick in 1..1000 {
                bandwidth.tick(tick, limit, true);
            }
            assert!(!bandwidth.is_exhausted());
        }
    }
}
