//! For tests: what the running host thread holds of physical memory, and allocations that fail on demand.
//!
//! Tests run side by side, each on a host thread of its own, so the machine's totals say nothing about one of them; this does. A frame
//! counts for the thread that took it, whoever gives it back: a test that cuts a file off visits all address spaces, and may be the last to hold
//! one that its own test has dropped. Top tables that are kept for reuse count as given back.

use super::frame_descriptor::FrameDescriptor;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whose each frame (by its descriptor's address) is.
static OWNERS: Mutex<Option<HashMap<usize, Arc<AtomicI64>>>> = Mutex::new(None);

std::thread_local! {
    static HELD: Arc<AtomicI64> = Arc::new(AtomicI64::new(0));
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

/// Frames that this thread has taken and that nobody has given back.
#[must_use]
pub fn held() -> i64 {
    HELD.with(|held| held.load(SeqCst))
}

/// The same, once other threads have let go of what they hold of this one's.
#[must_use]
pub fn held_when_quiet() -> i64 {
    loop {
        let before = held();
        std::thread::sleep(Duration::from_millis(30));
        if held() == before {
            return before;
        }
    }
}

/// The same, after waiting for it to come to `expected` while other threads let go of what was this one's.
#[must_use]
pub fn held_at_last(expected: i64) -> i64 {
    let end = Instant::now() + Duration::from_secs(10);
    while held() != expected && Instant::now() < end {
        std::thread::yield_now();
    }
    held()
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

fn owners<T>(work: impl FnOnce(&mut HashMap<usize, Arc<AtomicI64>>) -> T) -> T {
    work(OWNERS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// A frame or block was taken.
pub(super) fn took(frame: &'static FrameDescriptor) {
    // A thread that is ending counts nothing any more.
    let Ok(held) = HELD.try_with(Arc::clone) else { return };
    held.fetch_add(1 << frame.order(), SeqCst);
    owners(|owners| owners.insert(core::ptr::from_ref(frame).addr(), held));
}

/// It is a part of a block that was taken, and will be given back by itself.
pub(super) fn parted(part: &'static FrameDescriptor) {
    let Ok(held) = HELD.try_with(Arc::clone) else { return };
    owners(|owners| owners.insert(core::ptr::from_ref(part).addr(), held));
}

/// It was given back.
pub(super) fn gave(frame: &'static FrameDescriptor) {
    if let Some(held) = owners(|owners| owners.remove(&core::ptr::from_ref(frame).addr())) {
        held.fetch_sub(1 << frame.order(), SeqCst);
    }
}
