//! Load averages: the number of threads that run or want to, smoothed over 1, 5 and 15 minutes.
//!
//! Fixed point with 11 fraction bits and a sample every 5 seconds, as Linux has it (`kernel/sched/loadavg.c` names the scheme), so that
//! the numbers move alike. A CPU that slept through samples catches up: it was idle.

use crate::base::Nanoseconds;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Between two samples.
pub const INTERVAL: Nanoseconds = Nanoseconds::from_seconds(5);
const FRACTION_BITS: u32 = 11;
const ONE: u64 = 1 << FRACTION_BITS;
/// 1/exp(5s/1min), 1/exp(5s/5min), 1/exp(5s/15min) in fixed point.
const DECAY: [u64; 3] = [1884, 2014, 2037];
/// Samples that are caught up with at most: after an hour everything has decayed.
const CATCH_UP: u64 = 720;

static AVERAGES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static NEXT: AtomicU64 = AtomicU64::new(INTERVAL.0);

/// An average with two decimals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadAverage {
    /// The whole part.
    pub whole: u64,
    /// Hundredths, 0 to 99.
    pub hundredths: u64,
}

/// The averages over 1, 5 and 15 minutes.
#[must_use]
pub fn averages() -> [LoadAverage; 3] {
    [0, 1, 2].map(|index: usize| {
        let value = AVERAGES.get(index).map_or(0, |average| average.load(Relaxed)) + ONE / 200;
        LoadAverage { whole: value >> FRACTION_BITS, hundredths: ((value & (ONE - 1)) * 100) >> FRACTION_BITS }
    })
}

/// The averages as `sysinfo(2)` gives them: with 16 fraction bits.
#[must_use]
pub fn for_sysinfo() -> [u64; 3] {
    [0, 1, 2].map(|index: usize| AVERAGES.get(index).map_or(0, |average| average.load(Relaxed)) << (16 - FRACTION_BITS))
}

/// Takes the samples that are due at `now`. `count_runnable` is asked only when one is; it counts without the CPU's own interrupt.
pub fn sample(now: Nanoseconds, count_runnable: impl FnOnce() -> u32) {
    let due = NEXT.load(Relaxed);
    if now.0 < due {
        return;
    }
    let missed = ((now.0 - due) / INTERVAL.0).min(CATCH_UP);
    let next = due + (now.0 - due) / INTERVAL.0 * INTERVAL.0 + INTERVAL.0;
    if NEXT.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
        // Another CPU takes it.
        return;
    }
    for (average, decay) in AVERAGES.iter().zip(DECAY) {
        // Nothing ran while the samples were missed.
        let idle = (0..missed).fold(average.load(Relaxed), |value, _| decayed(value, decay, 0));
        average.store(idle, Relaxed);
    }
    let runnable = u64::from(count_runnable()) * ONE;
    for (average, decay) in AVERAGES.iter().zip(DECAY) {
        average.store(decayed(average.load(Relaxed), decay, runnable), Relaxed);
    }
}

/// One step of the exponential average; rounds up while it rises, so that it reaches its goal.
const fn decayed(value: u64, decay: u64, active: u64) -> u64 {
    let sum = value * decay + active * (ONE - decay);
    (if active >= value { sum + ONE - 1 } else { sum }) >> FRACTION_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_is_reached_and_forgotten() {
        let mut value = 0;
        for _ in 0..12 {
            value = decayed(value, DECAY[0], ONE);
        }
        // After a minute, 1 - 1/e of the way.
        assert!((600..680).contains(&((value * 1000) >> FRACTION_BITS)), "{value}");
        for _ in 0..300 {
            value = decayed(value, DECAY[0], ONE);
        }
        assert_eq!(value, ONE);
        for _ in 0..300 {
            value = decayed(value, DECAY[0], 0);
        }
        assert_eq!(value, 0);
    }
}
