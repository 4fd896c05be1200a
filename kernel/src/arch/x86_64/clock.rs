//! The time-stamp counter as clock.
//!
//! The counter is turned into nanoseconds by one 128-bit multiplication with a 32.32 fixed-point factor, which `timer` measures.

#![allow(unsafe_code, reason = "reads the time-stamp counter")]

use crate::base::Nanoseconds;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Nanoseconds per count, as a fraction of 2^32. The clock stands at zero until it is calibrated.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The counter at boot.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Counter values per nanosecond, as a fraction of 2^32.
static INVERSE_SCALE: AtomicU64 = AtomicU64::new(1 << 32);

/// The time-stamp counter.
#[inline]
#[must_use]
pub fn read_counter() -> u64 {
    // SAFETY: every 64-bit CPU has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// `value` times the 32.32 fixed-point `scale`.
#[inline]
#[must_use]
pub const fn multiply(value: u64, scale: u64) -> u64 {
    ((value as u128 * scale as u128) >> 32) as u64
}

/// The same, or the highest value where the product does not fit.
#[must_use]
pub const fn multiply_saturating(value: u64, scale: u64) -> u64 {
    let product = (value as u128 * scale as u128) >> 32;
    if product > u64::MAX as u128 { u64::MAX } else { product as u64 }
}

/// The 32.32 fixed-point quotient, or 1 where it would be 0 or not fit.
#[must_use]
pub const fn ratio(numerator: u64, denominator: u64) -> u64 {
    if denominator == 0 {
        return 1;
    }
    let quotient = ((numerator as u128) << 32) / denominator as u128;
    if quotient == 0 || quotient > u64::MAX as u128 { 1 } else { quotient as u64 }
}

/// What the vDSO needs to compute what [`now`] does: the counter at boot and nanoseconds per count (32.32).
#[must_use]
pub fn clock_parameters() -> (u64, u64) {
    (BASE.load(Relaxed), SCALE.load(Relaxed))
}

/// Remembers the moment of boot; the first thing that the entry code does.
pub fn start_clock() {
    BASE.store(read_counter(), Relaxed);
}

/// Says that the counter goes on by `counts` in `elapsed` nanoseconds.
pub fn set_rate(elapsed: u64, counts: u64) {
    SCALE.store(ratio(elapsed, counts), Relaxed);
    INVERSE_SCALE.store(ratio(counts, elapsed), Relaxed);
}

/// Time since boot.
#[inline]
#[must_use]
pub fn now() -> Nanoseconds {
    let now = multiply(read_counter().wrapping_sub(BASE.load(Relaxed)), SCALE.load(Relaxed));
    if DISTRUSTED.load(Relaxed) { never_back(now) } else { Nanoseconds(now) }
}

/// Whether the CPUs' counters differ, so that the clock must be kept from going back by hand.
static DISTRUSTED: AtomicBool = AtomicBool::new(false);
/// The latest time that was given while they do.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// Says that the CPUs' counters differ. The kernel's clock does not go back from now on; programs that read the counter see it as it is.
pub fn distrust_counter() {
    DISTRUSTED.store(true, Relaxed);
}

#[cold]
fn never_back(now: u64) -> Nanoseconds {
    Nanoseconds(LATEST.fetch_max(now, Relaxed).max(now))
}

/// The counter's value at `deadline`, never 0 (which would switch the deadline timer off); the highest there is for what the
/// counter does not reach.
#[must_use]
pub fn counter_at(deadline: Nanoseconds) -> u64 {
    counter_after(deadline, INVERSE_SCALE.load(Relaxed), BASE.load(Relaxed))
}

const fn counter_after(deadline: Nanoseconds, inverse_scale: u64, base: u64) -> u64 {
    let value = multiply_saturating(deadline.0, inverse_scale).saturating_add(base);
    if value == 0 { 1 } else { value }
}

/// The counter's frequency in kHz, for `/proc/cpuinfo` and the log.
#[must_use]
pub fn counter_kilohertz() -> u64 {
    multiply(1_000_000, INVERSE_SCALE.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_turns_counts_into_nanoseconds() {
        let scale = ratio(1_000_000, 2_500_000);
        assert_eq!(multiply(2_500_000_000, scale), 999_999_999);
        assert_eq!(multiply(u64::MAX, 1 << 32), u64::MAX);
        let year = 2_500_000_000u64 * 31_536_000;
        let error = 31_536_000_000_000_000u64.abs_diff(multiply(year, scale));
        assert!(error < 20_000_000, "a year is right to 20 ms: {error}");
    }

    #[test]
    fn a_distrusted_clock_does_not_go_back() {
        assert_eq!(never_back(5), Nanoseconds(5));
        assert_eq!(never_back(3), Nanoseconds(5));
        assert_eq!(never_back(9), Nanoseconds(9));
    }

    #[test]
    fn a_ratio_never_divides_by_zero() {
        assert_eq!(ratio(1, 0), 1);
        assert_eq!(ratio(0, 5), 1);
        assert_eq!(ratio(5, 5), 1 << 32);
    }

    #[test]
    fn a_deadline_that_never_comes_is_the_last_count() {
        let per_nanosecond = 3 << 32;
        assert_eq!(counter_after(Nanoseconds::MAX, per_nanosecond, 5), u64::MAX);
        assert_eq!(counter_after(Nanoseconds(u64::MAX / 2), per_nanosecond, 5), u64::MAX);
        assert_eq!(counter_after(Nanoseconds(100), per_nanosecond, 5), 305);
        assert_eq!(counter_after(Nanoseconds(0), per_nanosecond, 0), 1);
    }
}
