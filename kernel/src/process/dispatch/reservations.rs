//! Reservations and the bandwidth of the real-time policies: what has been promised on each CPU, and the limits.
//!
//! Lock: [`ADMISSION`], of rank `Thread`, taken in thread context with no other lock held; the limits are atomics.

use super::machine::active;
use super::migrate;
use crate::base::{AtomicCpuMask, CpuId, CpuMask, Errno, Result};
use crate::process::scheduler::deadline::{Admission, WHOLE, utilisation};
use crate::process::scheduler::{Limit, SCHED_DEADLINE, SchedulingParameters};
use crate::process::thread::Thread;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

/// The CPUs that promise nothing further: one that is on its way off line. Written under [`ADMISSION`].
static CLOSED: AtomicCpuMask = AtomicCpuMask::new(CpuMask::EMPTY);

static ADMISSION: SpinLock<Admission, InterruptsDisabled> = SpinLock::new(LockRank::Thread, Admission::new());

/// `sched_rt_runtime_us` and `sched_rt_period_us`, with Linux's first values.
static RUNTIME: AtomicI32 = AtomicI32::new(950_000);
static PERIOD: AtomicU32 = AtomicU32::new(1_000_000);

/// What the real-time policies may use of a CPU, in ticks.
pub(super) fn limit() -> Limit {
    Limit::from_microseconds(RUNTIME.load(Relaxed), PERIOD.load(Relaxed))
}

/// Microseconds of each period that the real-time policies and reservations may use; -1 for no limit.
#[must_use]
pub fn realtime_runtime() -> i32 {
    RUNTIME.load(Relaxed)
}

/// The period, in microseconds.
#[must_use]
pub fn realtime_period() -> u32 {
    PERIOD.load(Relaxed)
}

/// Sets both.
///
/// # Errors
/// `EINVAL`: no period, or a runtime beyond it. `EBUSY`: more has been promised.
pub fn set_realtime_bandwidth(runtime: i32, period: i32) -> Result<()> {
    let period = u32::try_from(period).ok().filter(|period| *period != 0).ok_or(Errno::EINVAL)?;
    if runtime < -1 || i64::from(runtime) > i64::from(period) {
        return Err(Errno::EINVAL);
    }
    let admission = ADMISSION.lock();
    if !admission.fits(active(), share(runtime, period)) {
        return Err(Errno::EBUSY);
    }
    RUNTIME.store(runtime, Relaxed);
    PERIOD.store(period, Relaxed);
    Ok(())
}

/// What may be promised of a CPU.
fn share(runtime: i32, period: u32) -> u64 {
    u64::try_from(runtime).map_or(WHOLE, |runtime| utilisation(runtime, period.into()))
}

fn utilisation_of(parameters: &SchedulingParameters) -> u64 {
    if parameters.policy == SCHED_DEADLINE {
        utilisation(parameters.deadline.runtime, parameters.deadline.period)
    } else {
        0
    }
}

/// Changes a thread's policy, niceness, priority or reservation, and has it count.
///
/// # Errors
/// `EBUSY`: no CPU can promise that much.
pub fn set_parameters(thread: &Thread, new: SchedulingParameters) -> Result<()> {
    let home = admit(thread, &new)?;
    migrate::apply(thread, home);
    Ok(())
}

/// Books the reservation that `new` asks for in place of the one that the thread has; gives the CPU that promises it.
fn admit(thread: &Thread, new: &SchedulingParameters) -> Result<Option<CpuId>> {
    let mut admission = ADMISSION.lock();
    let old = thread.exchange_scheduling(*new);
    if old.policy != SCHED_DEADLINE && new.policy != SCHED_DEADLINE {
        return Ok(None);
    }
    let last = thread.entity.home();
    if let Some(home) = last {
        admission.release(utilisation_of(&old), home);
    }
    if new.policy != SCHED_DEADLINE {
        return Ok(None);
    }
    let limit = share(RUNTIME.load(Relaxed), PERIOD.load(Relaxed));
    let preferred = last.unwrap_or(thread.entity.cpu());
    let home = admission.admit(utilisation_of(new), open(), preferred, limit);
    if home.is_none() {
        thread.exchange_scheduling(old);
        if let Some(home) = last {
            // What it had is there still: nobody was admitted in between.
            let _ = admission.admit(utilisation_of(&old), CpuMask::single(home), home, u64::MAX);
        }
    }
    home.map(Some).ok_or(Errno::EBUSY)
}

/// The thread ends: what it reserved is free.
pub(super) fn release(thread: &Thread) {
    if thread.entity.home().is_none() {
        return;
    }
    let parameters = thread.scheduling();
    let mut admission = ADMISSION.lock();
    // It may have found another home meanwhile.
    if let Some(home) = thread.entity.home() {
        admission.release(utilisation_of(&parameters), home);
    }
}

/// The CPUs that may promise something.
fn open() -> CpuMask {
    active().difference(CLOSED.load(Relaxed))
}

/// Has other CPUs promise what `cpu` has promised to `threads`, and `cpu` nothing any more.
///
/// # Errors
/// `EBUSY`: the others cannot; those that have found another home keep it.
pub(super) fn close(cpu: CpuId, threads: impl Iterator<Item = Arc<Thread>>) -> Result<()> {
    {
        let _admission = ADMISSION.lock();
        CLOSED.insert(cpu, Relaxed);
    }
    let limit = share(RUNTIME.load(Relaxed), PERIOD.load(Relaxed));
    for thread in threads.filter(|thread| thread.entity.home() == Some(cpu)) {
        let used = utilisation_of(&thread.scheduling());
        let mut admission = ADMISSION.lock();
        if thread.entity.home() != Some(cpu) {
            continue;
        }
        let Some(home) = admission.admit(used, open(), thread.entity.cpu(), limit) else {
            CLOSED.remove(cpu, Relaxed);
            return Err(Errno::EBUSY);
        };
        admission.release(used, cpu);
        migrate::rebind(&thread, home);
    }
    Ok(())
}

/// `cpu` may promise again.
pub(super) fn reopen(cpu: CpuId) {
    CLOSED.remove(cpu, Relaxed);
}
