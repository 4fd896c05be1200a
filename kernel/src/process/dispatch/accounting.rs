//! Accounting: what the time of threads and CPUs goes into.
//!
//! The clock says how much a thread has run, read at each switch; the tick says how that divides into user mode and the kernel.

use super::machine::{cpu_state, is_alone, lock_queue_of, request, this_cpu};
use super::{Uninterrupted, migrate, reservations};
use crate::arch::{Cpu, Current, TimerHardware, inter_processor};
use crate::base::{CpuId, Nanoseconds};
use crate::process::Usage;
use crate::process::thread::{Thread, ThreadState, try_current_thread};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where the tick found the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TickMode {
    /// In user mode.
    User,
    /// In the kernel.
    Kernel,
}

/// A tick of the 100 Hz clock: accounts it to the running thread and lets the scheduler decide. Interrupts disabled.
pub fn tick(user: TickMode) {
    let (here, cpu) = (Current::id(), this_cpu());
    let mut scheduler = cpu.lock();
    let preempt = scheduler.tick(reservations::limit(), Current::now);
    let idle = scheduler.current().is_none();
    let ticks = scheduler.ticks();
    cpu.publish(&scheduler);
    request(here, preempt);
    drop(scheduler);
    if !idle && !is_alone() {
        migrate::balance(here, ticks);
    }
    if let Some(thread) = try_current_thread()
        && !idle
    {
        let counter = match user {
            TickMode::User => &thread.user_ticks,
            TickMode::Kernel => &thread.system_ticks,
        };
        counter.store(counter.load(Relaxed) + 1, Relaxed);
        let total = match user {
            TickMode::User if thread.scheduling().niceness > 0 => &cpu.nice_ticks,
            TickMode::User => &cpu.user_ticks,
            TickMode::Kernel => &cpu.system_ticks,
        };
        total.store(total.load(Relaxed) + 1, Relaxed);
    }
}

/// How long a thread has run, the present turn included, in nanoseconds.
#[must_use]
pub fn runtime(thread: &Thread) -> u64 {
    let past = thread.runtime.load(Relaxed);
    if thread.state() == ThreadState::Running {
        let since = cpu_state(thread.entity.cpu()).switched_at.load(Relaxed);
        past + Current::now().0.saturating_sub(since)
    } else {
        past
    }
}

impl Thread {
    /// CPU time and counts.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let runtime = runtime(self);
        let (user, system) = (self.user_ticks.load(Relaxed), self.system_ticks.load(Relaxed));
        // The clock says how much; the ticks say how it is divided.
        let user_time = match (user, system) {
            (0, 0) | (0, _) => 0,
            _ => (u128::from(runtime) * u128::from(user) / u128::from(user + system)) as u64,
        };
        Usage {
            user_time: Nanoseconds(user_time),
            system_time: Nanoseconds(runtime - user_time),
            minor_faults: self.minor_faults.load(Relaxed),
            major_faults: self.major_faults.load(Relaxed),
            voluntary_switches: self.voluntary_switches.load(Relaxed),
            involuntary_switches: self.involuntary_switches.load(Relaxed),
            waited: Nanoseconds(self.wait_time.load(Relaxed)),
            turns: self.turns(),
            maximum_resident: 0,
        }
    }

    /// How often it was given a CPU: each turn ends with a switch that is counted, but the present one and the last.
    fn turns(&self) -> u64 {
        let interrupts = Uninterrupted::new();
        let (_, scheduler) = lock_queue_of(self);
        let is_uncounted = matches!(self.state(), ThreadState::Running | ThreadState::Terminated);
        let ended = self.voluntary_switches.load(Relaxed) + self.involuntary_switches.load(Relaxed);
        drop(scheduler);
        drop(interrupts);
        ended + u64::from(is_uncounted)
    }
}

/// What a CPU's threads had of it since boot (`/proc/schedstat`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTurns {
    /// How long threads ran here.
    pub run: Nanoseconds,
    /// How long threads waited here, those that wait now not counted.
    pub waited: Nanoseconds,
    /// How often a thread was switched to.
    pub turns: u64,
}

/// What the threads of CPU `cpu` had of it. Its idle thread counts as waiting while others run, and as nobody's turn.
#[must_use]
pub fn cpu_turns(cpu: CpuId) -> CpuTurns {
    let interrupts = Uninterrupted::new();
    let cpu = cpu_state(cpu);
    let scheduler = cpu.lock();
    let Some(idle) = cpu.idle_thread() else { return CpuTurns::default() };
    let is_busy = scheduler.current().is_some();
    let past = idle.wait_time.load(Relaxed);
    let present = if is_busy { Current::now().0.saturating_sub(idle.waiting_since.load(Relaxed)) } else { 0 };
    // Each switch that leaves the idle thread but the present one was followed by one that led to it.
    let to_idle = cpu.idle_ends.load(Relaxed) - u64::from(is_busy);
    let turns = CpuTurns {
        run: Nanoseconds(past + present),
        waited: Nanoseconds(cpu.waited.load(Relaxed).saturating_sub(past)),
        turns: cpu.switches.load(Relaxed).saturating_sub(to_idle),
    };
    drop(scheduler);
    drop(interrupts);
    turns
}

/// What a CPU's time went into since boot (`/proc/stat`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTimes {
    /// User mode.
    pub user: Nanoseconds,
    /// User mode of threads with a positive nice value.
    pub nice: Nanoseconds,
    /// The kernel.
    pub system: Nanoseconds,
    /// Nothing to run.
    pub idle: Nanoseconds,
}

/// What the time of CPU `cpu` went into.
#[must_use]
pub fn cpu_times(cpu: CpuId) -> CpuTimes {
    let is_online = inter_processor::online().contains(cpu);
    let cpu = cpu_state(cpu);
    let ticks = |count: &AtomicU64| Nanoseconds(count.load(Relaxed) * Nanoseconds::TICK.0);
    // The idle thread counts as running for good, so its present turn is one only while the CPU has nothing else.
    let scheduler = cpu.lock();
    let present = if scheduler.current().is_none() && is_online {
        Current::now().0.saturating_sub(cpu.switched_at.load(Relaxed))
    } else {
        0
    };
    let idle = cpu.idle_thread().map_or(0, |thread| thread.runtime.load(Relaxed)) + present;
    drop(scheduler);
    CpuTimes {
        user: ticks(&cpu.user_ticks),
        nice: ticks(&cpu.nice_ticks),
        system: ticks(&cpu.system_ticks),
        idle: Nanoseconds(idle),
    }
}

/// Context switches since boot (`/proc/stat`).
#[must_use]
pub fn switch_count() -> u64 {
    inter_processor::possible().iter().map(|cpu| cpu_state(cpu).switches.load(Relaxed)).sum()
}

/// Threads that are ready or running, on all CPUs (`/proc/loadavg`).
#[must_use]
pub fn runnable_count() -> u32 {
    inter_processor::online().iter().map(|cpu| cpu_state(cpu).load()).sum()
}
