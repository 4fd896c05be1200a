//! Whether a thread that wakes another is about to sleep.
//!
//! Who writes to a pipe and reads the answer from another hands the CPU over: the other may as well run there, where what it was sent is in the
//! caches, and no other CPU need be roused. But a write, or a `FUTEX_WAKE`, does not say what its caller will do next. So each thread has a [`Habit`]: those
//! wake-ups that *may* be a hand-over (the kernel's `unpark_sync`) are noted with it, and it counts how often the thread then slept at once. A wake-up is treated as a
//! hand-over when the last [`PROOF`] were. What proves wrong ends the habit: a second wake-up without a sleep between, or a sleep that came late.
//!
//! Where a thread goes on all the same, the woken one does not wait for it beside an idle CPU: after [`PATIENCE`] it is offered to others
//! (`dispatch::deadline`).
//!
//! Rejected: Linux's rule, which takes pipes' word for it (`WF_SYNC`) and never asks it of futexes. There the hint does little: a CPU that idles and shares the
//! cache is preferred all the same.

use crate::base::Nanoseconds;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// How soon after a wake-up a thread sleeps that handed over, and the longest that the woken one waits for it.
pub const PATIENCE: Nanoseconds = Nanoseconds(100_000);

/// So many times in a row it has to have slept at once.
const PROOF: u8 = 2;

/// No wake-up is noted.
const NOTHING: u64 = 0;

/// What a thread did after it had woken others. Changed by the thread itself alone.
#[derive(Debug)]
pub struct Habit {
    /// When it last woke another, in nanoseconds, and has not slept since.
    woke_at: AtomicU64,
    /// How often in a row it slept at once, [`PROOF`] at most.
    kept: AtomicU8,
}

impl Habit {
    /// Nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self { woke_at: AtomicU64::new(NOTHING), kept: AtomicU8::new(0) }
    }

    /// The thread wakes another, perhaps to sleep itself. Whether that is to be expected.
    pub fn wakes(&self, now: Nanoseconds) -> bool {
        let is_first = exchange(&self.woke_at, now.0.max(1)) == NOTHING;
        if !is_first {
            self.kept.store(0, Relaxed);
        }
        is_first && self.kept.load(Relaxed) == PROOF
    }

    /// The thread sleeps. `clock` is read where that says something.
    #[inline]
    pub fn sleeps(&self, clock: impl FnOnce() -> Nanoseconds) {
        if self.woke_at.load(Relaxed) != NOTHING {
            self.settle(clock());
        }
    }

    fn settle(&self, now: Nanoseconds) {
        let woke_at = exchange(&self.woke_at, NOTHING);
        let kept = if now.0.saturating_sub(woke_at) <= PATIENCE.0 { self.kept.load(Relaxed) + 1 } else { 0 };
        self.kept.store(kept.min(PROOF), Relaxed);
    }
}

impl Default for Habit {
    fn default() -> Self {
        Self::new()
    }
}

/// By the only one who writes it: a load and a store.
fn exchange(cell: &AtomicU64, new: u64) -> u64 {
    let old = cell.load(Relaxed);
    cell.store(new, Relaxed);
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: u64 = 20_000;

    /// The thread wakes another, and sleeps after `delay`. Whether that was expected.
    fn turn(habit: &Habit, now: &mut u64, delay: u64) -> bool {
        let expected = habit.wakes(Nanoseconds(*now));
        *now += delay;
        habit.sleeps(|| Nanoseconds(*now));
        *now += SOON;
        expected
    }

    #[test]
    fn two_turns_prove_it_and_one_disproves_it() {
        let (habit, mut now) = (Habit::new(), 5);
        assert_eq!([SOON; 4].map(|delay| turn(&habit, &mut now, delay)), [false, false, true, true]);
        // It goes on for long: nobody knew.
        assert!(turn(&habit, &mut now, 1_000_000));
        assert_eq!([SOON; 3].map(|delay| turn(&habit, &mut now, delay)), [false, false, true]);
    }

    #[test]
    fn who_wakes_several_does_not_hand_over() {
        let (habit, mut now) = (Habit::new(), 5);
        for _ in 0..3 {
            turn(&habit, &mut now, SOON);
        }
        for _ in 0..10 {
            habit.wakes(Nanoseconds(now));
            assert!(!habit.wakes(Nanoseconds(now + 1)));
            habit.sleeps(|| Nanoseconds(now + 2));
            now += SOON;
        }
        assert!(!habit.wakes(Nanoseconds(now)), "one sleep in time after two wake-ups proves nothing");
    }

    #[test]
    fn sleeps_without_a_wake_up_read_no_clock() {
        let (habit, mut now) = (Habit::new(), 5);
        habit.sleeps(|| unreachable!());
        turn(&habit, &mut now, SOON);
        turn(&habit, &mut now, SOON);
        habit.sleeps(|| unreachable!());
        assert!(turn(&habit, &mut now, SOON), "they leave the habit as it is");
    }
}
