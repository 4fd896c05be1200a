//! For tests: what the running host thread holds of physical memory, and allocations that fail on demand.
//!
//! Tests run side by side, each on a host thread of its own, so the machine's totals say nothing about one of them; this does, for
//! frames that are taken and given back on one thread. Top tables that are kept for reuse count as given back.

use std::cell::Cell;

std::thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static LASTING: Cell<bool> = const { Cell::new(false) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
}

/// How long memory is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shortage {
    /// For one allocation.
    Once,
    /// From then on.
    Lasting,
}

/// Frames that this thread has taken and not given back.
#[must_use]
pub fn held() -> i64 {
    HELD.get()
}

/// Runs `work` while this thread's allocation number `number` (from 0) fails, or all from that on. Gives its result and how many failed.
pub fn with_shortage<T>(number: u64, shortage: Shortage, work: impl FnOnce() -> T) -> (T, u64) {
    LEFT.set(Some(number));
    LASTING.set(shortage == Shortage::Lasting);
    REFUSED.set(0);
    let result = work();
    LEFT.set(None);
    (result, REFUSED.get())
}

/// Whether the next allocation may succeed.
pub(super) fn may_take() -> bool {
    match LEFT.get() {
        None => true,
        Some(0) => {
            REFUSED.set(REFUSED.get() + 1);
            if !LASTING.get() {
                LEFT.set(None);
            }
            false
        }
        Some(left) => {
            LEFT.set(Some(left - 1));
            true
        }
    }
}

/// A block of 2^`order` frames was taken.
pub(super) fn took(order: u8) {
    HELD.set(HELD.get() + (1 << order));
}

/// It was given back.
pub(super) fn gave(order: u8) {
    HELD.set(HELD.get() - (1 << order));
}
