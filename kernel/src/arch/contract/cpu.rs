//! What the kernel asks of the CPU that it runs on: [`Cpu`].
//!
//! A CPU is not a value: all functions are about the one that executes them.

#![allow(unsafe_code, reason = "the contract has functions that are unsafe to call")]

use crate::arch::{CpuLocal, ThreadHead};
use crate::base::{CpuId, VirtualAddress};

/// Interrupt masking, idling and per-CPU data. Every function is safe to call at any time.
pub trait Cpu {
    /// Whether the preemption count is kept in the running thread's head, not in the CPU's block ([`thread_head`](crate::arch::thread_head)).
    const COUNTS_PREEMPTION_IN_THREAD: bool = false;
    /// Whether this CPU takes interrupts now.
    fn interrupts_are_enabled() -> bool;
    /// Lets this CPU take interrupts. As all that masks, unmasks and counts, it tells [`latency`](crate::arch::latency).
    fn enable_interrupts();
    /// Masks interrupts on this CPU.
    fn disable_interrupts();
    /// Masks interrupts and says whether they were enabled: one instruction pair on real machines.
    fn save_and_disable_interrupts() -> bool {
        let enabled = Self::interrupts_are_enabled();
        Self::disable_interrupts();
        enabled
    }
    /// Enables interrupts and sleeps until one comes, with no window in which one is missed. Called with interrupts
    /// disabled; returns with them enabled.
    fn wait_for_interrupt();
    /// A hint inside a spin loop.
    fn relax();
    /// What has been written to memory before is what this CPU fetches as instructions after, as far as caches show it.
    fn synchronize_instructions();
    /// This CPU's block. The caller must not be moved to another CPU while it uses the reference for anything
    /// that must be *this* CPU's: disable preemption first. Single fields below are read by one instruction.
    fn local() -> &'static CpuLocal;
    /// The caller's frame pointer, for backtraces.
    fn frame_pointer() -> VirtualAddress;
    /// This CPU's number.
    fn id() -> CpuId {
        Self::local().id()
    }
    /// What firmware calls this CPU (the local APIC's identifier, MPIDR), for its tables. Not for hot paths.
    fn hardware_identifier() -> u64 {
        Self::id().0.into()
    }
    /// Lets user programs that ask which CPU they run on without a system call see that this one is on `node`. Called on each CPU, once it is known.
    fn show_node(_node: u8) {}
    /// Adds one to the preemption count: while it is not zero the running thread stays on this CPU. [`thread_head`](crate::arch::thread_head) says where it is kept.
    fn disable_preemption();
    /// Takes one from the count. Returns whether it fell to zero while a reschedule is wanted: the caller then calls
    /// the scheduler.
    #[must_use]
    fn enable_preemption() -> bool;
    /// How many reasons there are not to preempt the running thread.
    fn preemption_count() -> u32;
    /// The running thread as the scheduler set it; null until it has. One instruction or two, right wherever the caller is moved meanwhile.
    fn current_thread() -> *const ThreadHead;
    /// Sets the running thread; the scheduler's alone, at a switch: interrupts are disabled and the run queue's lock alone is held.
    ///
    /// # Safety
    /// `thread` stays allocated until another one has been set.
    unsafe fn set_current_thread(thread: *const ThreadHead);
    /// Random bits from the CPU (RDRAND, RNDR), where it has such an instruction and it worked.
    fn random() -> Option<u64>;
    /// Appends what `/proc/cpuinfo` says of a CPU, one `name : value` line each, as Linux writes it for this machine.
    fn describe_cpu(_cpu: CpuId, _text: &mut alloc::vec::Vec<u8>) {}
    /// Stops this CPU for good, interrupts masked.
    fn halt() -> !;
}
