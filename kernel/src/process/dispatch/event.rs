//! When a CPU's scheduler is to be called by the timer, beside the tick: a budget ends or begins, or a thread has waited long enough for its waker to sleep.

use super::machine::CpuState;
use crate::arch::{Current, TimerHardware};
use crate::base::Nanoseconds;
use crate::process::scheduler::hand_over::PATIENCE;
use crate::time;
use core::sync::atomic::Ordering::Relaxed;

/// Notes when this CPU's scheduler wants to be called next, and has the timer come then. Interrupts are disabled, no lock is held.
#[inline]
pub fn set_event(cpu: &CpuState, event: Option<Nanoseconds>) {
    let event = event.map_or(u64::MAX, |event| event.0);
    if event != cpu.event.load(Relaxed) {
        change_event(cpu, event.min(cpu.sleep_alarm.load(Relaxed)));
    }
}

fn change_event(cpu: &CpuState, event: u64) {
    if event != cpu.event.load(Relaxed) {
        cpu.event.store(event, Relaxed);
        time::set_event(Nanoseconds(event));
    }
}

/// A thread waits here for the running one to sleep, while others idle: it is seen to if that takes too long. The timer is set for one of many such times
/// only, for usually nothing is left to see to. It is this CPU; interrupts are disabled, no lock is held.
pub fn expect_sleep(cpu: &CpuState) {
    let now = Current::now().0;
    let until = now + PATIENCE.0;
    cpu.sleep_expected.store(until, Relaxed);
    let alarm = cpu.sleep_alarm.load(Relaxed);
    if alarm == u64::MAX || alarm <= now {
        cpu.sleep_alarm.store(until, Relaxed);
        change_event(cpu, until.min(cpu.event.load(Relaxed)));
    }
}
