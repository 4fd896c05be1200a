//! The generic timer: the virtual counter as clock, its comparator as alarm.
//!
//! The counter is turned into nanoseconds by one 128-bit multiplication with a 32.32 fixed-point factor, which firmware's frequency register gives.

#![allow(unsafe_code, reason = "the timer's system registers")]

use super::clock_scale::{alarm_counts, multiply, scales};
use super::{Aarch64, real_time_clock, vdso};
use crate::arch::TimerHardware;
use crate::base::Nanoseconds;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Nanoseconds per count, as a fraction of 2^32. The clock stands at zero until it is known.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The counter at boot.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Counts per nanosecond, as a fraction of 2^32.
static INVERSE_SCALE: AtomicU64 = AtomicU64::new(0);
static LINE: AtomicU32 = AtomicU32::new(u32::MAX);

const ENABLE: u64 = 1;

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
pub fn clock_parameters() -> (u64, u64) {
    (BASE.load(Relaxed), SCALE.load(Relaxed))
}

/// Remembers the moment of boot; the first thing that the entry code does.
pub(super) fn start_clock() {
    BASE.store(read_counter(), Relaxed);
    set_control(0);
}

/// Reads the counter's rate.
pub(super) fn calibrate() {
    let (scale, inverse) = scales(frequency());
    SCALE.store(scale, Relaxed);
    INVERSE_SCALE.store(inverse, Relaxed);
}

/// Says which line the alarm comes by.
pub(super) fn use_line(line: u32) {
    LINE.store(line, Relaxed);
}

/// The alarm's line.
pub(super) fn line() -> u32 {
    LINE.load(Relaxed)
}

/// Whether `line` is the alarm's.
#[inline]
pub(super) fn is_line(line: u32) -> bool {
    LINE.load(Relaxed) == line
}

/// Lowers the alarm's line, until the alarm is set anew.
#[inline]
pub(super) fn silence() {
    set_control(0);
}

#[inline]
fn set_control(value: u64) {
    // SAFETY: this CPU's own alarm.
    unsafe { asm!("msr cntv_ctl_el0, {}", "isb", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

impl TimerHardware for Aarch64 {
    #[inline]
    fn now() -> Nanoseconds {
        Nanoseconds(multiply(read_counter().wrapping_sub(BASE.load(Relaxed)), SCALE.load(Relaxed)))
    }
    fn set_alarm(deadline: Nanoseconds) {
        let counter = read_counter();
        let now = multiply(counter.wrapping_sub(BASE.load(Relaxed)), SCALE.load(Relaxed));
        let counts = alarm_counts(deadline.0.saturating_sub(now), INVERSE_SCALE.load(Relaxed));
        let value = counter.saturating_add(counts).min(i64::MAX as u64);
        // SAFETY: this CPU's own alarm.
        unsafe { asm!("msr cntv_cval_el0, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
        set_control(ENABLE);
    }
    fn publish_realtime_offset(offset: u64) {
        vdso::publish_realtime_offset(offset);
    }
    fn read_wall_clock() -> Option<u64> {
        real_time_clock::read()
    }
}
