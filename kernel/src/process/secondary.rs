//! The other CPUs: bringing them up, and taking them off line.
//!
//! Each has an idle thread, on whose stack the machine lets it start, every time. [`start`] is called by the boot path before the first process
//! runs; [`bring_up`] and [`take_down`] do the same and the opposite for one CPU later. What a CPU that did not answer was given stays
//! its own for good: it may wake up late.
//!
//! Lock: a sleeping lock of this file's, so that CPUs come and go one at a time; taken with no other lock held.

use super::dispatch::{self, offline};
use super::scheduler::placement::{Position, Topology};
use super::thread::{Thread, boot_thread};
use crate::arch::inter_processor::{self, InterProcessor, Secondary, WithoutOthers};
use crate::arch::{Cpu, Current, cpu_topology};
use crate::base::{CpuId, CpuMask, Errno, MAXIMUM_CPUS, Result};
use crate::memory::numa::{self, NodeId};
use crate::sync::Mutex;
use alloc::sync::Arc;
use arrayvec::ArrayVec;
use spin::Once;

/// The idle thread of each CPU but the first, until that one comes back from being off line.
static IDLE_THREADS: [Once<Arc<Thread>>; MAXIMUM_CPUS] = [const { Once::new() }; MAXIMUM_CPUS];
/// Held while CPUs come and go.
static TURN: Mutex<()> = Mutex::new(());

/// How many CPUs the command line wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// `nr_cpus=`: there may be no more, ever.
    pub possible: Option<u32>,
    /// `maxcpus=`: no more are started at boot. 0 is `nosmp`: the first one alone.
    pub initial: Option<u32>,
}

/// Which of the CPUs `listed` there may be, and which of these may be started, where `wanted` are.
fn select(listed: CpuMask, wanted: Wanted, without_others: WithoutOthers) -> (CpuMask, CpuMask) {
    let first = CpuMask::single(CpuId(0));
    let limit = wanted.possible.map_or(usize::MAX, |count| count.max(1) as usize);
    let possible = listed.intersection(CpuMask::first_cpus(limit));
    match (wanted.initial, without_others) {
        (Some(0), WithoutOthers::Impossible) => (first, first),
        (Some(0), WithoutOthers::Absent) => (possible, first),
        _ => (possible, possible),
    }
}

/// Starts the CPUs that firmware lists, as many as are `wanted`.
pub fn start(wanted: Wanted) {
    let (possible, present) = select(Current::listed_cpus(), wanted, Current::HOTPLUG.without_others);
    inter_processor::set_possible(possible, present);
    numa::note_cpus(possible);
    note_this_cpu();
    let initial = wanted.initial.map_or(usize::MAX, |count| count.max(1) as usize);
    let others = present.intersection(CpuMask::first_cpus(initial)).without(CpuId(0));
    if !others.is_empty() {
        start_all(others);
        log::info!("smp: {} CPUs run, of {} that there may be", inter_processor::online().count(), possible.count());
    }
    tell_topology();
}

/// Starts `cpus`, and returns when those that answer run.
fn start_all(cpus: CpuMask) -> CpuMask {
    let mut secondaries: ArrayVec<Secondary, MAXIMUM_CPUS> = ArrayVec::new();
    for cpu in cpus {
        let Some(cell) = IDLE_THREADS.get(cpu.0 as usize) else { continue };
        let Ok(thread) = cell.try_call_once(|| Thread::idle(boot_thread().process(), cpu)) else {
            log::error!("CPU {}: no memory for its idle thread", cpu.0);
            continue;
        };
        offline::expect(cpu);
        secondaries.push(Secondary { cpu, stack: thread.stack_top });
    }
    let answered = Current::start_secondaries(&secondaries, run);
    // Those that answered are a few instructions before this.
    while dispatch::active().intersection(answered) != answered {
        inter_processor::serve_calls_while_spinning();
        Current::relax();
    }
    answered
}

/// Notes what this CPU finds of itself, and lets its programs know its node.
fn note_this_cpu() {
    cpu_topology::note_this_cpu();
    Current::show_node(numa::current_node().0);
}

/// Tells the scheduler which CPUs are near which.
fn tell_topology() {
    let count = inter_processor::possible().last().map_or(1, |last| last.0 + 1);
    let positions: ArrayVec<Position, MAXIMUM_CPUS> = (0..count)
        .map(CpuId)
        .map(|cpu| Position { cache: cpu_topology::last_level_group(cpu), node: numa::node_of_cpu(cpu).0.into() })
        .collect();
    let node = |number: u32| NodeId(u8::try_from(number).unwrap_or(u8::MAX));
    dispatch::set_topology(Topology::new(&positions, |from, to| numa::topology().distance(node(from), node(to))));
}

/// The first code of a CPU that the machine has set up, interrupts masked.
fn run() -> ! {
    let thread = IDLE_THREADS.get(Current::id().0 as usize).and_then(Once::get);
    let Some(thread) = thread else { Current::halt() };
    note_this_cpu();
    dispatch::adopt_idle_thread(thread);
    offline::come_back();
    inter_processor::set_online();
    offline::enter();
    dispatch::run_idle()
}

/// Brings `cpu` on line, if it is not.
///
/// # Errors
/// `EINVAL`: it cannot be started. `EIO`: it did not answer.
pub fn bring_up(cpu: CpuId) -> Result<()> {
    let _turn = TURN.lock();
    if inter_processor::online().contains(cpu) {
        return Ok(());
    }
    if !inter_processor::present().contains(cpu) {
        return Err(Errno::EINVAL);
    }
    let is_new = cpu_topology::description(cpu).is_none();
    if start_all(CpuMask::single(cpu)).is_empty() {
        return Err(Errno::EIO);
    }
    if is_new {
        tell_topology();
    }
    log::info!("smp: CPU {} runs", cpu.0);
    Ok(())
}

/// Takes `cpu` off line, if it is not.
///
/// # Errors
/// `EPERM`: the machine keeps it. `EBUSY`: it is the last one, or has promised what the others cannot.
pub fn take_down(cpu: CpuId) -> Result<()> {
    let _turn = TURN.lock();
    let online = inter_processor::online();
    if !online.contains(cpu) {
        return Ok(());
    }
    if !Current::can_leave(cpu) {
        return Err(Errno::EPERM);
    }
    if online.count() == 1 {
        return Err(Errno::EBUSY);
    }
    offline::take_off(cpu)?;
    log::info!("smp: CPU {} is off line", cpu.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_command_line_choose_as_on_linux() {
        let four = CpuMask::first_cpus(4);
        let choose = |possible, initial, rule| {
            let (possible, present) = select(four, Wanted { possible, initial }, rule);
            (possible.count(), present.count())
        };
        assert_eq!(choose(None, None, WithoutOthers::Absent), (4, 4));
        assert_eq!(choose(None, Some(1), WithoutOthers::Absent), (4, 4));
        assert_eq!(choose(Some(2), None, WithoutOthers::Impossible), (2, 2));
        assert_eq!(choose(None, Some(0), WithoutOthers::Impossible), (1, 1));
        assert_eq!(choose(None, Some(0), WithoutOthers::Absent), (4, 1));
        assert_eq!(choose(Some(0), None, WithoutOthers::Absent), (1, 1));
    }
}
