//! Calibrating the clock, and the local APIC's timer (or the PIT's tick) as alarm.
//!
//! Calibration, in order of preference: against the local APIC under a hypervisor whose APIC is known to count nanoseconds (QEMU's TCG, KVM),
//! against the PIT otherwise. CPUID's frequency leaves are not used: emulators leave junk there.

use super::clock::{self, ratio, read_counter};
use super::features::{self, Features};
use super::local_apic::{self, DeadlineMode};
use super::{X86_64, pit, real_time_clock};
use crate::arch::TimerHardware;
use crate::base::Nanoseconds;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// APIC counts per nanosecond, as a fraction of 2^32.
static APIC_SCALE: AtomicU64 = AtomicU64::new(1 << 32);

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
    clock::set_rate(elapsed, counter);
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

impl TimerHardware for X86_64 {
    #[inline]
    fn now() -> Nanoseconds {
        clock::now()
    }
    fn set_alarm(deadline: Nanoseconds) {
        let alarm = ALARM.load(Relaxed);
        if alarm == Alarm::Counter as u8 {
            let counts = clock::multiply_saturating(deadline.saturating_sub(Self::now()).0, APIC_SCALE.load(Relaxed));
            local_apic::set_count(u32::try_from(counts).unwrap_or(u32::MAX).max(1));
        } else if alarm == Alarm::Deadline as u8 {
            local_apic::set_deadline(clock::counter_at(deadline));
        }
    }
    fn publish_realtime_offset(offset: u64) {
        super::vdso::publish_realtime_offset(offset);
    }
    fn read_wall_clock() -> Option<u64> {
        real_time_clock::read()
    }
}
