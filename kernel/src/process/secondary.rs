//! Bringing up the other CPUs: an idle thread for each, on whose stack the machine lets it start.
//!
//! [`start`] is called by the boot path before the first process runs. What a CPU that did not answer was given stays its own for good: it may
//! wake up late.

use super::dispatch;
use super::thread::{Thread, boot_thread};
use crate::arch::inter_processor::{self, InterProcessor, Secondary};
use crate::arch::{Cpu, Current};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS};
use alloc::sync::Arc;
use arrayvec::ArrayVec;
use spin::Once;

/// The idle thread of each CPU but the first.
static IDLE_THREADS: [Once<Arc<Thread>>; MAXIMUM_CPUS] = [const { Once::new() }; MAXIMUM_CPUS];

/// Starts the CPUs that firmware lists, `maximum` with the first one at most, and gives those that run.
pub fn start(maximum: usize) -> CpuMask {
    let possible = Current::listed_cpus().intersection(CpuMask::first_cpus(maximum.max(1)));
    inter_processor::set_possible(possible);
    let mut secondaries: ArrayVec<Secondary, MAXIMUM_CPUS> = ArrayVec::new();
    for cpu in possible.without(CpuId(0)) {
        let Some(cell) = IDLE_THREADS.get(cpu.0 as usize) else { continue };
        let Ok(thread) = Thread::idle(boot_thread().process(), cpu) else {
            log::error!("CPU {}: no memory for its idle thread", cpu.0);
            continue;
        };
        let thread = cell.call_once(|| thread);
        secondaries.push(Secondary { cpu, stack: thread.stack_top });
    }
    if secondaries.is_empty() {
        return inter_processor::online();
    }
    let answered = Current::start_secondaries(&secondaries, run).with(CpuId(0));
    // Those that answered are a few instructions before this.
    while inter_processor::online().intersection(answered) != answered {
        inter_processor::serve_calls();
        Current::relax();
    }
    log::info!("smp: {} CPUs run, of {} that there may be", inter_processor::online().count(), possible.count());
    inter_processor::online()
}

/// The first code of a CPU that the machine has set up, interrupts masked.
fn run() -> ! {
    let thread = IDLE_THREADS.get(Current::id().0 as usize).and_then(Once::get);
    let Some(thread) = thread else { Current::halt() };
    dispatch::adopt_idle_thread(thread.clone());
    inter_processor::set_online();
    dispatch::run_idle()
}
