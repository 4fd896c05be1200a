//! The generic timer: the virtual counter as clock (`clock`), its comparator as alarm.

#![allow(unsafe_code, reason = "the timer's system registers")]

use super::{Aarch64, clock, real_time_clock, vdso};
use crate::arch::TimerHardware;
use crate::base::Nanoseconds;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

static LINE: AtomicU32 = AtomicU32::new(u32::MAX);

const ENABLE: u64 = 1;

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
        clock::now()
    }
    fn set_alarm(deadline: Nanoseconds) {
        let value = clock::counter_at(deadline);
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
