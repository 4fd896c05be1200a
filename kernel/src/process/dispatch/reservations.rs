//! Reservations and the bandwidth of the real-time policies: what has been promised, and the limits.
//!
//! Lock: [`ADMISSION`], of rank `Thread`, taken in thread context with no other lock held; the limits are atomics.

use super::machine::active;
use super::migrate;
use crate::base::{AtomicCpuMask, CpuId, CpuMask, Errno, Result};
use crate::process::scheduler::deadline::{Admission, Promise, utilisation};
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
    if !admission.fits(0, active(), share(runtime, period)) {
        return Err(Errno::EBUSY);
    }
    RUNTIME.store(runtime, Relaxed);
    PERIOD.store(period, Relaxed);
    Ok(())
}

/// What may be promised of a CPU; without a limit, any number of them.
fn share(runtime: i32, period: u32) -> u64 {
    u64::try_from(runtime).map_or(u64::MAX, |runtime| utilisation(runtime, period.into()))
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
/// `EBUSY`: the CPUs cannot promise that much.
pub fn set_parameters(thread: &Thread, new: SchedulingParameters) -> Result<()> {
    let promise = admit(thread, &new)?;
    migrate::apply(thread, promise);
    Ok(())
}

/// Books the reservation that `new` asks for in place of the one that the thread has; says who promises it.
fn admit(thread: &Thread, new: &SchedulingParameters) -> Result<Option<Promise>> {
    let mut admission = ADMISSION.lock();
    let old = thread.exchange_scheduling(*new);
    let last = (old.policy == SCHED_DEADLINE).then(|| Promise::with_home(thread.entity.home()));
    if let Some(promise) = last {
        admission.release(utilisation_of(&old), promise);
    }
    if new.policy != SCHED_DEADLINE {
        return Ok(None);
    }
    let limit = share(RUNTIME.load(Relaxed), PERIOD.load(Relaxed));
    let preferred = last.and_then(Promise::home).unwrap_or(thread.entity.cpu());
    let promise = admission.admit(utilisation_of(new), open(), preferred, limit);
    if promise.is_none() {
        thread.exchange_scheduling(old);
        if let Some(promise) = last {
            // What it had is there still: nobody was admitted in between.
            admission.book(utilisation_of(&old), promise);
        }
    }
    promise.map(Some).ok_or(Errno::EBUSY)
}

/// The thread ends: what it reserved is free.
pub(super) fn release(thread: &Thread) {
    // Whoever has a reservation is on the Realtime level by it.
    if !thread.entity.is_realtime() {
        return;
    }
    let mut admission = ADMISSION.lock();
    let parameters = thread.scheduling_in_admission();
    if parameters.policy == SCHED_DEADLINE {
        admission.release(utilisation_of(&parameters), Promise::with_home(thread.entity.home()));
    }
}

/// The CPUs that may promise something.
fn open() -> CpuMask {
    active().difference(CLOSED.load(Relaxed))
}

/// Has other CPUs promise what `cpu` has promised to `threads`, and `cpu` nothing any more.
///
/// # Errors
/// `EBUSY`: the others cannot.
pub(super) fn close(cpu: CpuId, threads: impl Iterator<Item = Arc<Thread>>) -> Result<()> {
    let limit = share(RUNTIME.load(Relaxed), PERIOD.load(Relaxed));
    {
        let admission = ADMISSION.lock();
        if !admission.fits(0, open().without(cpu), limit) {
            return Err(Errno::EBUSY);
        }
        CLOSED.insert(cpu, Relaxed);
    }
    for thread in threads.filter(|thread| thread.entity.home() == Some(cpu)) {
        let mut admission = ADMISSION.lock();
        let parameters = thread.scheduling_in_admission();
        if thread.entity.home() != Some(cpu) || parameters.policy != SCHED_DEADLINE {
            continue;
        }
        let used = utilisation_of(&parameters);
        admission.release(used, Promise::By(cpu));
        // It fits into the sum; where the limit has been lowered in between, it is kept all the same.
        let promise = admission.admit(used, open(), thread.entity.cpu(), limit).unwrap_or_else(|| {
            admission.book(used, Promise::ByAll);
            Promise::ByAll
        });
        migrate::rebind(&thread, promise.home());
    }
    Ok(())
}

/// `cpu` may promise again.
pub(super) fn reopen(cpu: CpuId) {
    CLOSED.remove(cpu, Relaxed);
}
