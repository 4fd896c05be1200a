//! How often each CPU was interrupted, and by what: the counters, and the machine's names for them (`/proc/interrupts`).

use super::cpu_local::CpuLocal;
use super::inter_processor;
use crate::base::CpuId;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How many sources are told apart; interrupts of further ones count in the CPU's sum alone.
pub const SOURCES: usize = 64;

/// A CPU's counters: written by the CPU alone, in interrupt handlers; they wrap.
#[derive(Debug)]
pub struct InterruptCounts([AtomicU32; SOURCES]);

impl InterruptCounts {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; SOURCES])
    }
    /// One more from `source`.
    #[inline]
    pub fn count(&self, source: usize) {
        if let Some(counter) = self.0.get(source) {
            counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
    /// How many there were from `source`.
    #[must_use]
    pub fn get(&self, source: usize) -> u32 {
        self.0.get(source).map_or(0, |counter| counter.load(Relaxed))
    }
}

impl Default for InterruptCounts {
    fn default() -> Self {
        Self::new()
    }
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Interrupts of a source.
    Source(usize),
    /// Calls of other CPUs but those that were about translations.
    Calls,
    /// Calls of other CPUs to forget translations.
    Shootdowns,
    /// Requests of other CPUs to look at the run queue.
    Reschedules,
}

impl Counter {
    /// What CPU `cpu` has counted.
    #[must_use]
    pub fn of(self, cpu: CpuId) -> u64 {
        let Some(local) = inter_processor::local_of(cpu) else { return 0 };
        match self {
            Self::Source(source) => local.interrupt_counts().get(source).into(),
            Self::Calls => u64::from(inter_processor::calls_served(cpu)).saturating_sub(local.shootdown_count()),
            Self::Shootdowns => local.shootdown_count(),
            Self::Reschedules => local.reschedule_count(),
        }
    }
}

/// A line of `/proc/interrupts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterruptRow {
    /// What it is called: the number of a line, or a few letters.
    pub label: String,
    /// What is counted.
    pub counter: Counter,
    /// What follows the counts, as Linux writes it.
    pub detail: String,
}

/// The machine's part.
pub trait InterruptReport {
    /// How many device lines have a number, from 0 on: source and number are the same.
    const LINES: usize = 0;
    /// Gives each line of the report to `add`, in order. Allocates.
    fn interrupt_rows(_add: &mut dyn FnMut(InterruptRow)) {}
}

/// How many interrupts there were from device line `line`, on all CPUs that have ever been online.
#[must_use]
pub fn line_count(line: usize) -> u64 {
    let counts = inter_processor::possible();
    counts.iter().map(|cpu| Counter::Source(line).of(cpu)).sum()
}

/// What is counted of any interrupt of `local`'s CPU from `source`.
#[inline]
pub fn count(local: &CpuLocal, source: usize) {
    local.interrupt_counts().count(source);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_beyond_are_not_counted() {
        let counts = InterruptCounts::new();
        [3, 3, SOURCES, usize::MAX].into_iter().for_each(|source| counts.count(source));
        assert_eq!((counts.get(3), counts.get(4), counts.get(SOURCES)), (2, 0, 0));
    }
}
