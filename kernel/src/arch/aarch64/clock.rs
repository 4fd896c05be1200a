//! The virtual counter as clock.
//!
//! The counter is turned into nanoseconds by one 128-bit multiplication with a 32.32 fixed-point factor, which firmware's frequency register gives.

#![allow(unsafe_code, reason = "the counter's system registers")]

use super::clock_scale::{alarm_counts, multiply, scales};
use crate::base::Nanoseconds;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Nanoseconds per count, as a fraction of 2^32. The clock stands at zero until it is known.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The counter at boot.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Counts per nanosecond, as a fraction of 2^32.
static INVERSE_SCALE: AtomicU64 = AtomicU64::new(0);

/// The counter.
#[inline]
fn read_counter() -> u64 {
    let value: u64;
    // SAFETY: reads a system register; the barrier keeps it from being read early.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) value, options(nostack, preserves_flags)) };
    value
}

/// Counts per second.
#[must_use]
pub fn frequency() -> u64 {
    let value: u64;
    // SAFETY: reads a system register.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value.max(1)
}

/// What the vDSO needs to compute what [`TimerHardware::now`] does: the counter at boot and nanoseconds per count (32.32).
#[must_use]
pub fn parameters() -> (u64, u64) {
    (BASE.load(Relaxed), SCALE.load(Relaxed))
}

/// Remembers the moment of boot; the first thing that the entry code does.
pub(super) fn start() {
    BASE.store(read_counter(), Relaxed);
}

/// Reads the counter's rate.
pub(super) fn calibrate() {
    let (scale, inverse) = scales(frequency());
    SCALE.store(scale, Relaxed);
    INVERSE_SCALE.store(inverse, Relaxed);
}

/// The time of count `counter`.
#[inline]
fn time_of(counter: u64) -> Nanoseconds {
    Nanoseconds(multiply(counter.wrapping_sub(BASE.load(Relaxed)), SCALE.load(Relaxed)))
}

/// The time since boot.
#[inline]
pub(super) fn now() -> Nanoseconds {
    time_of(read_counter())
}

/// The count at which it is `deadline`: now, if that is past.
#[inline]
pub(super) fn counter_at(deadline: Nanoseconds) -> u64 {
    let counter = read_counter();
    let counts = alarm_counts(deadline.0.saturating_sub(time_of(counter).0), INVERSE_SCALE.load(Relaxed));
    counter.saturating_add(counts).min(i64::MAX as u64)
}
