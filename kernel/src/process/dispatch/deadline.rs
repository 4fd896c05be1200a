//! Sleeps with a deadline, and the tick: what lies between the timer queue and the scheduler.

use super::TickMode;
use super::machine::{CpuState, request, this_cpu};
use super::migrate;
use crate::arch::{Cpu, Current, TimerHardware};
use crate::base::Nanoseconds;
use crate::process::signal::{Signal, SignalInformation, Target};
use crate::process::thread::{Thread, try_current_thread};
use crate::process::timers;
use crate::time::{self, TimerCallback, TimerHandle};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

impl TimerCallback for Thread {
    fn expired(&self, _handle: TimerHandle) {
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

/// Disarms it. If it has fired, this waits until that has been noted: it must not count for the thread's next sleep.
#[inline]
pub fn cancel(thread: &Thread, timer: TimerHandle) {
    if !time::cancel(timer) {
        // Another CPU's interrupt handler is about to, or has long ago.
        while !thread.timed_out.load(Relaxed) {
            Current::relax();
        }
    }
}

/// The timer interrupt: fires timers and accounts the ticks that have passed.
pub fn interrupt(mode: TickMode) {
    let ticks = time::handle_interrupt();
    let (cpu, now) = (this_cpu(), Current::now().0);
    if now >= cpu.event.load(Relaxed) {
        look_whether_it_sleeps(cpu, now);
        advance(cpu);
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

/// It may be time to look whether the thread has gone to sleep that was expected to.
fn look_whether_it_sleeps(cpu: &'static CpuState, now: u64) {
    if now < cpu.sleep_alarm.load(Relaxed) {
        return;
    }
    let expected = cpu.sleep_expected.load(Relaxed);
    if now < expected {
        return cpu.sleep_alarm.store(expected, Relaxed);
    }
    cpu.sleep_expected.store(u64::MAX, Relaxed);
    cpu.sleep_alarm.store(u64::MAX, Relaxed);
    migrate::offer_all(cpu);
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
