//! How often a CPU was interrupted, by each source: the counters, which stand in the CPU's own block.

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
