//! What a thread leaves behind in the CPU: moving to another kernel stack ([`ContextSwitch`]), and the vector registers ([`ExtendedStateOperations`]).

#![allow(unsafe_code, reason = "the contract has functions that are unsafe to call")]

use crate::arch::TrapFrame;
use crate::base::VirtualAddress;

/// Floating-point and vector registers of a thread that is not running.
pub trait ExtendedStateOperations: Send + Sized {
    /// The state that a new program starts with. Allocates the area; `None` when memory is out.
    fn initial() -> Option<Self>;
    /// A copy, for `fork`.
    fn try_clone(&self) -> Option<Self>;
    /// Saves the CPU's registers here.
    fn save(&mut self);
    /// Loads the CPU's registers from here.
    fn restore(&self);
    /// Back to the initial state, for `execve`.
    fn reset(&mut self);
}

/// Moving from one kernel stack to another.
pub trait ContextSwitch {
    /// Saves the callee-saved registers, stack and program counter of the caller in `*save` and continues with those
    /// in `*load`. Both point to the machine's context layout as `process::context` defines it, which asserts its
    /// field offsets against [`ContextSwitch::OFFSETS`].
    ///
    /// # Safety
    /// Interrupts are disabled; `load` was filled by an earlier switch or by `process::context`, and its stack is alive.
    unsafe fn switch(save: *mut (), load: *const ());
    /// Byte offsets of the fields that `switch` uses, in an order that the machine documents.
    const OFFSETS: &'static [usize];
    /// Tells the CPU which kernel stack to enter on from user mode, and the running thread's TLS registers.
    fn set_kernel_stack(top: VirtualAddress);
    /// Loads the user thread pointer (FS base, `TPIDR_EL0`).
    fn set_thread_pointer(value: u64);
    /// Reads the user thread pointer.
    fn thread_pointer() -> u64;
    /// Loads the second base register that user mode has for itself (GS base); machines without one have nothing to load.
    /// Interrupts are disabled. `value` is one that user mode could have set.
    fn set_second_thread_pointer(_value: u64) {}
    /// Reads it. Interrupts are disabled.
    fn second_thread_pointer() -> u64 {
        0
    }
    /// Leaves for user mode with these registers. Interrupts are disabled by the callee.
    ///
    /// # Safety
    /// The active address space is the thread's own and the kernel stack was set.
    unsafe fn enter_user(frame: &TrapFrame) -> !;
}
