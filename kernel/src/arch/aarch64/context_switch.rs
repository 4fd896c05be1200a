//! From one kernel stack to another, and into user mode.
//!
//! The context's layout is `process::context::ArmContext`; [`ContextSwitch::OFFSETS`] gives, in this order, the byte offsets of
//! `x19` (to `x28`, ascending), `x29`, `x30` and `sp` that the code below uses. The user's stack pointer travels in the trap frame, its thread
//! pointer with the thread.

#![allow(unsafe_code, reason = "switches stacks")]

use super::{Aarch64, entry};
use crate::arch::{ContextSwitch, Cpu, TrapFrame as CurrentFrame};
use crate::base::VirtualAddress;
use core::arch::{asm, naked_asm};

const X19: usize = 0;
const X29: usize = 80;
const X30: usize = 88;
const SP: usize = 96;

#[unsafe(naked)]
unsafe extern "C" fn switch_contexts(save: *mut (), load: *const ()) {
    naked_asm!(
        "mov x9, sp",
        "stp x19, x20, [x0, #{x19}]",
        "stp x21, x22, [x0, #{x19} + 16]",
        "stp x23, x24, [x0, #{x19} + 32]",
        "stp x25, x26, [x0, #{x19} + 48]",
        "stp x27, x28, [x0, #{x19} + 64]",
        "stp x29, x30, [x0, #{x29}]",
        "str x9, [x0, #{sp}]",
        "ldp x19, x20, [x1, #{x19}]",
        "ldp x21, x22, [x1, #{x19} + 16]",
        "ldp x23, x24, [x1, #{x19} + 32]",
        "ldp x25, x26, [x1, #{x19} + 48]",
        "ldp x27, x28, [x1, #{x19} + 64]",
        "ldp x29, x30, [x1, #{x29}]",
        "ldr x9, [x1, #{sp}]",
        "mov sp, x9",
        "ret",
        x19 = const X19,
        x29 = const X29,
        sp = const SP,
    )
}

impl ContextSwitch for Aarch64 {
    #[inline]
    unsafe fn switch(save: *mut (), load: *const ()) {
        // SAFETY: the caller vouches for both contexts.
        unsafe { switch_contexts(save, load) };
    }
    const OFFSETS: &'static [usize] = &[X19, X29, X30, SP];
    #[inline]
    fn set_kernel_stack(top: VirtualAddress) {
        Aarch64::local().set_kernel_stack(top);
    }
    #[inline]
    fn set_thread_pointer(value: u64) {
        // SAFETY: the kernel does not use the register.
        unsafe { asm!("msr tpidr_el0, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
    }
    #[inline]
    fn thread_pointer() -> u64 {
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, tpidr_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }
    unsafe fn enter_user(frame: &CurrentFrame) -> ! {
        // SAFETY: the caller vouches for the address space and the stack.
        unsafe { entry::enter_user(frame) }
    }
}
