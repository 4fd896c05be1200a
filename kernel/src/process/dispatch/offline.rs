//! Taking a CPU off line: what is done by the thread that wants it, and what by the CPU's idle thread.
//!
//! | who wants it ([`take_off`], thread context) | the CPU |
//! |---|---|
//! | has other CPUs promise what it has promised (`reservations::close`); refuses where they cannot | runs threads |
//! | takes it out of the active CPUs: nobody puts a thread on its queue any more | |
//! | moves those that wait; has the one that runs expelled | goes over to its idle thread, which sends that one on |
//! | waits | finds its queue empty: gives back the memory that it keeps, is not online any more, serves what was asked until then, and leaves |
//! | takes its timers and the frames that it kept | |
//!
//! A thread that waits for something stays on the CPU's books; who wakes it finds the CPU inactive and puts it elsewhere. One that may use no
//! other CPU may use all then (`migrate`). Coming back is coming up: [`come_back`] is called by the CPU before it is online, [`enter`] after.

use super::machine::{self, CpuState, cpu_state, set_several, this_cpu};
use super::{give_way_if_due, migrate, reservations, user_state};
use crate::arch::{Cpu, Current, InterProcessor, TimerHardware, inter_processor};
use crate::base::{AtomicCpuMask, CpuId, CpuMask, Nanoseconds, Result};
use crate::memory::{frame_allocator, heap};
use crate::process::table;
use crate::process::thread::Thread;
use crate::sync::Interruptible;
use crate::time;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::null_mut;
use core::sync::atomic::{Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst};

/// The CPUs whose idle threads are to leave.
static LEAVING: AtomicCpuMask = AtomicCpuMask::new(CpuMask::EMPTY);
/// Those that have done everything but switching themselves off.
static LEFT: AtomicCpuMask = AtomicCpuMask::new(CpuMask::EMPTY);

/// How long is slept between two looks.
const PAUSE: Nanoseconds = Nanoseconds::from_microseconds(200);

/// Takes `cpu` off line: not the last one, and one at a time. When this returns the CPU can be started again.
///
/// # Errors
/// `EBUSY`: what it has promised to threads with `SCHED_DEADLINE` the others cannot promise too.
pub fn take_off(cpu: CpuId) -> Result<()> {
    let threads: Vec<Arc<Thread>> = {
        let processes: Vec<_> = table::lock().processes().cloned().collect();
        processes.iter().flat_map(|process| process.collect_threads()).collect()
    };
    reservations::close(cpu, threads.into_iter())?;
    machine::deactivate(cpu);
    if let Some(other) = machine::active().first() {
        Current::move_device_interrupts(other);
    }
    // The caller goes first: it must not sleep by a timer of this CPU's.
    while Current::id() == cpu {
        migrate::evict_one(cpu);
        give_way_if_due();
    }
    LEAVING.insert(cpu, SeqCst);
    while !LEFT.load(Acquire).contains(cpu) {
        if !migrate::evict_one(cpu) {
            pause();
        }
    }
    while !Current::has_left(cpu) {
        pause();
    }
    LEAVING.remove(cpu, SeqCst);
    LEFT.remove(cpu, SeqCst);
    time::adopt(cpu);
    frame_allocator::drain_caches();
    Ok(())
}

/// Lets others run for a moment.
fn pause() {
    super::park(Some(time::monotonic().saturating_add(PAUSE)), Interruptible::No);
}

/// Whether this CPU is to leave when it has nothing to run.
#[inline]
pub(super) fn is_leaving() -> bool {
    LEAVING.load(Relaxed).contains(Current::id())
}

/// The idle thread of a CPU that is to leave: does so if nothing is left to run, and else returns. Interrupts are disabled.
#[cold]
pub(super) fn leave() {
    let (me, cpu) = (Current::id(), this_cpu());
    {
        let scheduler = cpu.lock();
        if !CpuState::is_empty(&scheduler) {
            return;
        }
        cpu.publish(&scheduler);
    }
    machine::claim(me);
    cpu.asked.store(false, Relaxed);
    cpu.event.store(u64::MAX, Relaxed);
    // The first thread that it runs when it is back starts the tick.
    cpu.tickless.store(true, Relaxed);
    cpu.has_afterwork.store(true, Relaxed);
    time::stop();
    heap::drain();
    frame_allocator::leave_cpu();
    user_state::leave_user_space();
    // Its vector registers are lost.
    cpu.extended_owner.store(null_mut(), Relaxed);
    if let Some(idle) = cpu.idle_thread() {
        let now = Current::now().0;
        let since = cpu.switched_at.swap(now, Relaxed);
        idle.runtime.store(idle.runtime.load(Relaxed) + now.saturating_sub(since), Relaxed);
    }
    inter_processor::set_offline();
    LEFT.insert(me, Release);
    Current::leave()
}

/// Another CPU is about to come up for the first time, or again: this one, if it is the only one until now, gets ready for that.
pub fn expect(cpu: CpuId) {
    set_several();
    // What it idled before it left has been accounted.
    cpu_state(cpu).switched_at.store(Current::now().0, Relaxed);
}

/// This CPU comes up: before it is online, on its idle thread, interrupts disabled.
pub fn come_back() {
    time::resume();
}

/// This CPU is online: it may be given threads.
pub fn enter() {
    let me = Current::id();
    reservations::reopen(me);
    machine::activate(me);
}
