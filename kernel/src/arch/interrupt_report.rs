//! How often each CPU was interrupted, and by what, in the machine's own names (`/proc/interrupts`). The counters are [`InterruptCounts`](super::interrupt_counts::InterruptCounts).

use super::cpu_local::CpuLocal;
use super::inter_processor;
use crate::base::CpuId;
use alloc::string::String;

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
