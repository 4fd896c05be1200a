//! The time-stamp counter as clock, the local APIC's timer (or the PIT's tick) as alarm.
//!
//! The counter is turned into nanoseconds by one 128-bit multiplication with a 32.32 fixed-point factor. Calibration, in order
//! of preference: against the local APIC under a hypervisor whose APIC is known to count nanoseconds (QEMU's TCG, KVM),
//! against the PIT otherwise. CPUID's frequency leaves are not used: emulators leave junk there.

#![allow(unsafe_code, reason = "reads the time-stamp counter")]

use super::features::{self, Features};
use super::local_apic::{self, DeadlineMode};
use super::{X86_64, pit, real_time_clock};
use crate::arch::TimerHardware;
use crate::base::Nanoseconds;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Nanoseconds per count, as a fraction of 2^32. The clock stands at zero until it is calibrated.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The counter at boot.
static BASE: AtomicU64 = AtomicU64::new(0);
/// APIC counts per nanosecond, as a fraction of 2^32.
static APIC_SCALE: AtomicU64 = AtomicU64::new(1 << 32);
/// Counter values per nanosecond, as a fraction of 2^32.
static INVERSE_SCALE: AtomicU64 = AtomicU64::new(1 << 32);

/// How alarms are set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Alarm {
    /// Not at all: the PIT ticks.
    Tick = 0,
    /// By the APIC's counter.
    Counter = 1,
    /// By the TSC-deadline register.
    Deadline = 2,
}

static ALARM: AtomicU8 = AtomicU8::new(Alarm::Tick as u8);

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

/// The 32.32 fixed-point quotient, or 1 where it would be 0 or not fit.
#[must_use]
pub const fn ratio(numerator: u64, denominator: u64) -> u64 {
    if denominator == 0 {
        return 1;
    }
    let quotient = ((numerator as u128) << 32) / denominator as u128;
    if quotient == 0 || quotient > u64::MAX as u128 { 1 } else { quotient as u64 }
}

/// What the vDSO needs to compute what [`TimerHardware::now`] does: the counter at boot and nanoseconds per count (32.32).
#[must_use]
pub fn clock_parameters() -> (u64, u64) {
    (BASE.load(Relaxed), SCALE.load(Relaxed))
}

/// Remembers the moment of boot; the first thing that the entry code does.
pub fn start_clock() {
    BASE.store(read_counter(), Relaxed);
}

/// Whether the local APIC's timer counts nanoseconds: it does under TCG and KVM, and CPUID says who runs us.
fn apic_counts_nanoseconds() -> bool {
    use raw_cpuid::{CpuId, Hypervisor};
    CpuId::new()
        .get_hypervisor_info()
        .is_some_and(|hypervisor| matches!(hypervisor.identify(), Hypervisor::KVM | Hypervisor::QEMU))
}

/// Measures the counter's rate; with the APIC's where it is on. Interrupts are disabled.
pub fn calibrate(apic: bool) {
    /// One millisecond, or five of the PIT's time, whose counts are coarser.
    const APIC_COUNTS: u32 = 1_000_000;
    const PIT_COUNTS: u16 = 5966;
    const START: u32 = u32::MAX;
    // The host may take the CPU away between the two readings: of several, the pair that was read fastest counts.
    let read_both = || {
        let mut best = (u64::MAX, 0, 0);
        for _ in 0..5 {
            let first = read_counter();
            let count = if apic { local_apic::count() } else { 0 };
            let span = read_counter().wrapping_sub(first);
            if span < best.0 {
                best = (span, first.wrapping_add(span / 2), count);
            }
        }
        (best.1, best.2)
    };
    if apic {
        local_apic::start_counting(START);
    }
    let (elapsed, counter, apic_counts) = if apic && apic_counts_nanoseconds() {
        let (first_counter, first_count) = read_both();
        loop {
            let (counter, count) = read_both();
            let counted = first_count.wrapping_sub(count);
            if counted >= APIC_COUNTS {
                break (counted.into(), counter.wrapping_sub(first_counter), counted);
            }
        }
    } else {
        match pit::measure(PIT_COUNTS, read_both) {
            Some(((first_counter, first_count), (counter, count))) => (
                u64::from(PIT_COUNTS) * 1_000_000_000 / pit::FREQUENCY,
                counter.wrapping_sub(first_counter),
                first_count.wrapping_sub(count),
            ),
            None => (1, 1, 1),
        }
    };
    SCALE.store(ratio(elapsed, counter), Relaxed);
    INVERSE_SCALE.store(ratio(counter, elapsed), Relaxed);
    APIC_SCALE.store(ratio(apic_counts.into(), elapsed), Relaxed);
}

/// Starts using the local APIC's timer for alarms.
pub fn use_local_apic() {
    if features::has(Features::TSC_DEADLINE) {
        local_apic::enable_timer(DeadlineMode::TimeStamp);
        ALARM.store(Alarm::Deadline as u8, Relaxed);
    } else {
        local_apic::enable_timer(DeadlineMode::Counter);
        ALARM.store(Alarm::Counter as u8, Relaxed);
    }
}

/// The counter's frequency in kHz, for `/proc/cpuinfo` and the log.
#[must_use]
pub fn counter_kilohertz() -> u64 {
    multiply(1_000_000, INVERSE_SCALE.load(Relaxed))
}

impl TimerHardware for X86_64 {
    #[inline]
    fn now() -> Nanoseconds {
        Nanoseconds(multiply(read_counter().wrapping_sub(BASE.load(Relaxed)), SCALE.load(Relaxed)))
    }
    fn set_alarm(deadline: Nanoseconds) {
        let alarm = ALARM.load(Relaxed);
        if alarm == Alarm::Counter as u8 {
            let counts = multiply(deadline.saturating_sub(Self::now()).0, APIC_SCALE.load(Relaxed));
            local_apic::set_count(u32::try_from(counts).unwrap_or(u32::MAX).max(1));
        } else if alarm == Alarm::Deadline as u8 {
            let value = multiply(deadline.0, INVERSE_SCALE.load(Relaxed));
            // Zero would switch the timer off.
            local_apic::set_deadline(value.saturating_add(BASE.load(Relaxed)).max(1));
        }
    }
    fn publish_realtime_offset(offset: u64) {
        super::vdso::publish_realtime_offset(offset);
    }
    fn read_wall_clock() -> Option<u64> {
        real_time_clock::read()
    }
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
    fn a_ratio_never_divides_by_zero() {
        assert_eq!(ratio(1, 0), 1);
        assert_eq!(ratio(0, 5), 1);
        assert_eq!(ratio(5, 5), 1 << 32);
    }
}
