//! Sleeps with a deadline, and the tick: what lies between the timer queue and the scheduler.

use super::TickMode;
use super::machine::{CpuState, request, this_cpu};
use crate::arch::{Cpu, Current, TimerHardware};
use crate::base::Nanoseconds;
use crate::process::signal::{Signal, SignalInformation, Target};
use crate::process::thread::{Thread, try_current_thread};
use crate::process::timers;
use crate::time::{self, TimerCallback, TimerHandle};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

impl TimerCallback for Thread {
    fn expired(&self, _now: Nanoseconds) {
        super::deadline_passed(self);
    }
}

/// Arms a deadline for a thread that is about to sleep. `None` when it has passed.
#[inline]
pub fn arm(thread: &Arc<Thread>, deadline: Nanoseconds) -> Option<TimerHandle> {
    if deadline <= time::monotonic() {
        return None;
    }
    let callback: Arc<Thread> = thread.clone();
    Some(time::arm(deadline, callback))
}

/// Disarms it, if it has not fired.
#[inline]
pub fn cancel(timer: TimerHandle) {
    time::cancel(timer);
}

/// The timer interrupt: fires timers and accounts the ticks that have passed.
pub fn interrupt(mode: TickMode) {
    let ticks = time::handle_interrupt();
    if Current::now().0 >= this_cpu().event.load(Relaxed) {
        advance(this_cpu());
    }
    for _ in 0..ticks.0.min(MISSED_TICKS) {
        super::tick(mode);
    }
    if ticks.0 != 0
        && let Some(thread) = try_current_thread()
        && thread.is_user()
    {
        let mode = if mode == TickMode::User { timers::Mode::User } else { timers::Mode::Kernel };
        timers::account(&thread, mode, ticks.0.min(MISSED_TICKS));
    }
    crate::process::load::sample(time::monotonic(), super::runnable_count);
}

/// Notes when this CPU's scheduler wants to be called next, and has the timer come then. Interrupts are disabled, no lock is held.
#[inline]
pub(super) fn set_event(cpu: &CpuState, event: Option<Nanoseconds>) {
    let event = event.map_or(u64::MAX, |event| event.0);
    if event != cpu.event.load(Relaxed) {
        cpu.event.store(event, Relaxed);
        time::set_event(Nanoseconds(event));
    }
}

/// The budget of a reservation may have ended, or another one's begun.
#[cold]
fn advance(cpu: &'static CpuState) {
    let mut scheduler = cpu.lock();
    let preempt = scheduler.advance(Current::now());
    let has_overrun = scheduler.is_overrun();
    cpu.publish(&scheduler);
    request(Current::id(), preempt);
    super::release(cpu, scheduler);
    if has_overrun
        && let Some(thread) = try_current_thread()
        && thread.scheduling().deadline.flags & OVERRUN_FLAG != 0
    {
        let information = SignalInformation::from_kernel(Signal::SIGXCPU);
        // What cannot be queued is lost, as on Linux.
        let _ = thread.process().signals.send(Target::Process, Signal::SIGXCPU, information, None);
    }
}

/// `SCHED_FLAG_DL_OVERRUN`: the process wants to know.
const OVERRUN_FLAG: u64 = 4;

/// More ticks than these in one interrupt are not accounted: the machine was stopped.
const MISSED_TICKS: u64 = 10;
