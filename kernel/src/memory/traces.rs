//! Debug builds: who asked for an object of the heap or for a frame, and who freed it. Equal ways are kept once, so each needs a number only.
//!
//! The table is written by compare-and-exchange, in any context, and nothing leaves it. Once a probe finds no place the way is not kept.

use crate::log::backtrace;
use core::sync::atomic::{AtomicU64, Ordering};

/// A way that is kept; 0 is none.
pub type TraceId = u32;

/// Callers that are kept, the allocators' own among them.
const DEPTH: usize = 10;
const ENTRIES: usize = if cfg!(debug_assertions) { 4096 } else { 1 };
/// Places that are looked at.
const PROBES: usize = 16;

#[derive(Debug)]
struct Entry {
    /// 0: free; else of what is, or will soon be, in `callers`.
    hash: AtomicU64,
    callers: [AtomicU64; DEPTH],
}

#[derive(Debug)]
struct Table<const ENTRIES: usize>([Entry; ENTRIES]);

static TABLE: Table<ENTRIES> = Table::new();

fn hash_of(callers: &[u64]) -> u64 {
    let hash =
        callers.iter().fold(0u64, |hash, caller| (hash ^ caller).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    hash | 1
}

impl<const ENTRIES: usize> Table<ENTRIES> {
    const fn new() -> Self {
        Self([const { Entry { hash: AtomicU64::new(0), callers: [const { AtomicU64::new(0) }; DEPTH] } }; ENTRIES])
    }

    fn keep(&self, callers: &[u64; DEPTH]) -> TraceId {
        if callers.iter().all(|caller| *caller == 0) {
            return 0;
        }
        let hash = hash_of(callers);
        for probe in 0..PROBES {
            let index = ((hash >> 8) as usize + probe) % ENTRIES;
            let Some(entry) = self.0.get(index) else { return 0 };
            let found = entry.hash.load(Ordering::Relaxed);
            let is_new =
                found == 0 && entry.hash.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if is_new {
                entry.callers.iter().zip(callers).for_each(|(place, caller)| place.store(*caller, Ordering::Relaxed));
            }
            if is_new || entry.hash.load(Ordering::Relaxed) == hash {
                return u32::try_from(index + 1).unwrap_or(0);
            }
        }
        0
    }

    /// The callers of a way, nearest first.
    fn callers_of(&self, trace: TraceId) -> impl Iterator<Item = u64> {
        let entry = (trace as usize).checked_sub(1).and_then(|index| self.0.get(index));
        let callers = entry.into_iter().flat_map(|entry| &entry.callers).map(|caller| caller.load(Ordering::Relaxed));
        callers.filter(|caller| *caller != 0)
    }
}

/// The number of the way that leads here.
#[inline(never)]
pub(super) fn take() -> TraceId {
    let mut callers = [0; DEPTH];
    let mut places = callers.iter_mut();
    backtrace::collect_callers(|caller| places.next().map(|place| *place = caller).is_some());
    TABLE.keep(&callers)
}

/// Logs a way under a word for what was done on it.
pub(super) fn show(what: &str, trace: TraceId) {
    let mut callers = TABLE.callers_of(trace).peekable();
    if callers.peek().is_some() {
        log::error!("{what} by:");
        callers.for_each(backtrace::show_caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ways_are_one_and_no_way_is_none() {
        let table = Table::<64>::new();
        let way =
            |last| core::array::from_fn(|index| if index < 3 { 0xffff_ff00_0000_1000 + index as u64 } else { last });
        let (first, second) = (table.keep(&way(0)), table.keep(&way(5)));
        assert!(first != 0 && second != 0 && first != second);
        assert_eq!((table.keep(&way(0)), table.keep(&way(5))), (first, second));
        assert_eq!(table.callers_of(first).count(), 3);
        assert_eq!(table.callers_of(second).collect::<Vec<_>>(), way(5));
        assert_eq!(table.keep(&[0; DEPTH]), 0);
        assert_eq!(table.callers_of(0).count() + table.callers_of(u32::MAX).count(), 0);
    }

    #[test]
    fn a_full_table_keeps_no_more() {
        let table = Table::<256>::new();
        let numbers: Vec<_> = (1..1000).map(|number| table.keep(&[number; DEPTH])).collect();
        assert!(numbers.contains(&0));
        for (trace, number) in numbers.iter().zip(1..).filter(|(trace, _)| **trace != 0) {
            assert!(table.callers_of(*trace).all(|caller| caller == number));
        }
    }
}
