//! The stop-watch: rivals in turn, the fastest of many repetitions, the worst single operation.
//!
//! A repetition that another program interrupted is slower, never faster, so the fastest one is what the work costs. Rivals take turns inside
//! each repetition, so that a slow minute of the machine hits all of them. [`conditions`] says how busy it was.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// How often things are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// To see that it runs.
    Quick,
    /// For the document.
    Thorough,
}

impl Effort {
    /// How many repetitions, of which the fastest counts.
    pub const fn repetitions(self) -> usize {
        match self {
            Self::Quick => 2,
            Self::Thorough => 25,
        }
    }
}

/// Nanoseconds of one of `operations` that took `time` together.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn each(time: Duration, operations: u64) -> f64 {
    time.as_nanos() as f64 / operations.max(1) as f64
}

/// How long `work` takes. What it gives back is dropped after the watch has stopped.
pub fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = std::hint::black_box(work());
    let time = start.elapsed();
    drop(result);
    time
}

/// How long the calling thread has been on a processor.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How long `work` is on a processor; as [`time`], but what others do to this one meanwhile is not counted.
pub fn busy_time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = processor_time();
    let result = std::hint::black_box(work());
    let time = processor_time().saturating_sub(start);
    drop(result);
    time
}

/// Has `rivals` measured in turn, `repetitions` times each; gives the smallest figure of each. A rival prepares what it needs and gives
/// nanoseconds of one operation, or `None` for what it cannot do.
pub fn smallest(repetitions: usize, rivals: &mut [&mut dyn FnMut() -> Option<f64>]) -> Vec<Option<f64>> {
    let mut best = vec![None; rivals.len()];
    for _ in 0..repetitions {
        for (best, rival) in best.iter_mut().zip(rivals.iter_mut()) {
            let figure = rival();
            *best = match (*best, figure) {
                (Some(old), Some(new)) => Some(f64::min(old, new)),
                (old, new) => old.or(new),
            };
        }
    }
    best
}

/// Watches single operations: keeps the longest of a run.
#[derive(Clone, Copy, Default, Debug)]
pub struct Worst(Duration);

impl Worst {
    /// Does one operation and notes how long it took.
    #[inline]
    pub fn watch<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = operation();
        self.0 = self.0.max(start.elapsed());
        result
    }
    /// The longest in nanoseconds. The watch's own two looks are part of it. Of several runs the smallest counts ([`smallest`]):
    /// an interruption by another program is longer than any operation here.
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    pub fn nanoseconds(self) -> f64 {
        self.0.as_nanos() as f64
    }
}

/// How busy the machine is now, in words for a document: processors and load.
pub fn conditions() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown").to_owned();
    format!("{processors} processors, load {load}")
}

/// A small generator of random numbers that gives the same ones in each run (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with `seed`, which is not zero.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// The next number.
    #[inline]
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `bound`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "below the bound")]
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }
    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_figure_of_each_counts() {
        let mut figures = [3.0, 1.0, 2.0].into_iter();
        let mut first = || figures.next();
        let mut never = || None;
        assert_eq!(smallest(3, &mut [&mut first, &mut never]), [Some(1.0), None]);
    }

    #[test]
    fn shuffling_keeps_all() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(7).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
