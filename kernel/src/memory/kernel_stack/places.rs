//! The places of kernel stacks in their area: which are free, and which stretches of the area have page tables that nothing uses.
//!
//! A plain structure: its user locks it. The lowest free place is taken first, so stacks lie in as few tables as can be. A *window* is what one
//! last-level table maps; a place may lie in two. A window's table is given back in three steps, because whoever takes a place maps it without a lock:
//!
//! 1. [`Places::hold_unused`]: a run of windows in which no place is taken; their places are taken for the moment;
//! 2. the tables are taken out and forgotten on every CPU;
//! 3. [`Places::release`]: the places are free again.
//!
//! Invariants: a place that is taken, and not held, lies in windows that are marked as having a table; no free place is below `lowest`.

use super::SLOT;
use core::ops::Range;

/// Places: twice as many as there can be threads, for stacks of threads that have ended and those that are kept.
pub const COUNT: usize = 65_536;
/// Bytes of a window.
pub const WINDOW: u64 = 2 << 20;
/// Windows that any place lies in.
const WINDOWS: usize = (COUNT as u64 * SLOT).div_ceil(WINDOW) as usize;
/// Windows that are held together at most.
pub const HELD_TOGETHER: usize = 64;

/// The number of a place.
pub type Place = u32;

/// The places.
#[derive(Debug)]
pub struct Places {
    taken: [u64; COUNT / 64],
    with_table: [u64; WINDOWS.div_ceil(64)],
    /// No word of `taken` before this one has a free place.
    lowest: usize,
}

fn mask(index: usize) -> u64 {
    1 << (index % 64)
}

fn is_set(words: &[u64], index: usize) -> bool {
    words.get(index / 64).is_some_and(|word| word & mask(index) != 0)
}

fn set(words: &mut [u64], index: usize) {
    if let Some(word) = words.get_mut(index / 64) {
        *word |= mask(index);
    }
}

fn clear(words: &mut [u64], index: usize) {
    if let Some(word) = words.get_mut(index / 64) {
        *word &= !mask(index);
    }
}

/// The windows that a place lies in.
fn windows_of(place: usize) -> Range<usize> {
    let start = place as u64 * SLOT;
    (start / WINDOW) as usize..(start + SLOT).div_ceil(WINDOW) as usize
}

/// The places that lie in a window, in part at least.
fn places_in(windows: &Range<usize>) -> Range<usize> {
    let end = (windows.end as u64 * WINDOW).div_ceil(SLOT) as usize;
    (windows.start as u64 * WINDOW / SLOT) as usize..end.min(COUNT)
}

impl Places {
    /// All free, without tables.
    #[must_use]
    pub const fn new() -> Self {
        Self { taken: [0; COUNT / 64], with_table: [0; WINDOWS.div_ceil(64)], lowest: 0 }
    }

    /// Takes the lowest free place.
    pub fn take(&mut self) -> Option<Place> {
        let (index, word) = self.taken.iter().enumerate().skip(self.lowest).find(|(_, word)| **word != u64::MAX)?;
        let place = index * 64 + word.trailing_ones() as usize;
        self.lowest = index;
        set(&mut self.taken, place);
        windows_of(place).for_each(|window| set(&mut self.with_table, window));
        Place::try_from(place).ok()
    }

    /// Gives a place back whose pages are mapped nowhere any more.
    pub fn give(&mut self, place: Place) {
        let place = place as usize;
        debug_assert!(is_set(&self.taken, place), "a kernel stack's place is given back twice");
        clear(&mut self.taken, place);
        self.lowest = self.lowest.min(place / 64);
    }

    /// Takes the places of the first windows that have tables but no stack, from window `from` on: at most [`HELD_TOGETHER`], next to each other.
    pub fn hold_unused(&mut self, from: usize) -> Option<Range<usize>> {
        let is_unused = |window: &usize| {
            let mut places = places_in(&(*window..window + 1));
            is_set(&self.with_table, *window) && places.all(|place| !is_set(&self.taken, place))
        };
        let start = (from..WINDOWS).find(is_unused)?;
        let count = (start..WINDOWS).take(HELD_TOGETHER).take_while(is_unused).count();
        let windows = start..start + count;
        places_in(&windows).for_each(|place| set(&mut self.taken, place));
        Some(windows)
    }

    /// The tables of `windows`, which were held, are gone.
    pub fn release(&mut self, windows: Range<usize>) {
        for place in places_in(&windows) {
            clear(&mut self.taken, place);
            self.lowest = self.lowest.min(place / 64);
        }
        windows.for_each(|window| clear(&mut self.with_table, window));
    }

    /// Checks the invariants; `taken` are those that are not just held.
    #[cfg(test)]
    fn validate<'a>(&self, taken: impl IntoIterator<Item = &'a Place>) {
        for place in taken.into_iter().map(|place| *place as usize) {
            assert!(is_set(&self.taken, place), "place {place}");
            assert!(windows_of(place).all(|window| is_set(&self.with_table, window)), "place {place}");
        }
        assert!(self.taken.iter().take(self.lowest).all(|word| *word == u64::MAX));
    }

    #[cfg(test)]
    fn tables(&self) -> usize {
        (0..WINDOWS).filter(|window| is_set(&self.with_table, *window)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn windows_and_places_agree() {
        for place in 0..1000 {
            for window in 0..40 {
                assert_eq!(windows_of(place).contains(&window), places_in(&(window..window + 1)).contains(&place));
            }
        }
        assert_eq!(windows_of(COUNT - 1).end, WINDOWS);
        assert_eq!(places_in(&(WINDOWS - 1..WINDOWS)).end, COUNT);
    }

    #[test]
    fn crowds_that_come_and_go_use_the_same_places() {
        let mut places = Places::new();
        let mut most = 0;
        for _ in 0..50 {
            let crowd: Vec<_> = (0..3000).map(|_| places.take().unwrap()).collect();
            most = most.max(places.tables());
            assert!(crowd.iter().all(|place| *place < 3000));
            crowd.into_iter().for_each(|place| places.give(place));
        }
        assert_eq!(most, (3000 * SLOT).div_ceil(WINDOW) as usize);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut places = Places::new();
        assert!((0..COUNT).all(|expected| places.take() == Place::try_from(expected).ok()));
        assert_eq!(places.take(), None);
        places.give(4711);
        assert_eq!((places.take(), places.take()), (Some(4711), None));
    }

    #[test]
    fn what_is_held_is_nobody_else_s() {
        let mut places = Places::new();
        let all: Vec<_> = (0..1000).map(|_| places.take().unwrap()).collect();
        assert_eq!(places.hold_unused(0), None);
        // All but one go; the windows of that one keep their tables.
        let kept = all[500];
        all.iter().filter(|place| **place != kept).for_each(|place| places.give(*place));
        let first = places.hold_unused(0).unwrap();
        assert_eq!(first, 0..windows_of(500).start);
        let second = places.hold_unused(first.end).unwrap();
        assert_eq!(second, windows_of(500).end..windows_of(999).end);
        assert_eq!(places.hold_unused(0), None);
        let taken = places.take().unwrap() as usize;
        assert!(windows_of(taken).all(|window| !first.contains(&window) && !second.contains(&window)));
        places.release(first);
        places.release(second);
        places.validate([&kept]);
        let left: BTreeSet<_> = windows_of(500).chain(windows_of(taken)).collect();
        assert_eq!(places.tables(), left.len());
        assert_eq!(places.take(), Some(0));
    }

    proptest! {
        #[test]
        fn no_place_is_taken_twice_and_used_ones_have_tables(steps in prop::collection::vec((0u8..8, any::<usize>()), 1..400)) {
            let mut places = Places::new();
            let (mut mine, mut held): (BTreeSet<Place>, Vec<Range<usize>>) = (BTreeSet::new(), Vec::new());
            for (step, choice) in steps {
                match step {
                    0..=3 => (0..=choice % 60).for_each(|_| assert!(mine.insert(places.take().unwrap()))),
                    4 | 5 => {
                        let given: Vec<_> = mine.iter().copied().skip(choice % 50).take(choice % 300).collect();
                        given.into_iter().for_each(|place| {
                            mine.remove(&place);
                            places.give(place);
                        });
                    }
                    6 => held.extend(places.hold_unused(choice % 8)),
                    _ => held.pop().into_iter().for_each(|windows| places.release(windows)),
                }
                places.validate(&mine);
                for place in &mine {
                    assert!(windows_of(*place as usize).all(|window| held.iter().all(|held| !held.contains(&window))));
                }
            }
            held.into_iter().for_each(|windows| places.release(windows));
            mine.into_iter().for_each(|place| places.give(place));
            while let Some(windows) = places.hold_unused(0) {
                places.release(windows);
            }
            assert_eq!(places.tables(), 0);
            assert_eq!(places.take(), Some(0));
        }
    }
}
