//! Leaving a kernel stack that overflowed: its thread goes nowhere on it any more.

#![allow(unsafe_code, reason = "switches stacks in assembly")]

use super::trap_frame::TrapFrame;
use crate::arch::cpu_local::offset;
use core::arch::naked_asm;

/// Leaves the present stack for good and calls `function` with `frame` on the running thread's kernel stack, from its top.
///
/// # Safety
/// The thread goes nowhere on what its stack holds. The frame is not on that stack.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn abandon_stack(
    frame: *const TrapFrame,
    function: extern "sysv64" fn(&TrapFrame) -> !,
) -> ! {
    naked_asm!(
        "mov rsp, gs:[{kernel_stack}]",
        "sub rsp, {frame_size}",
        "xor ebp, ebp",
        "call rsi",
        "ud2",
        kernel_stack = const offset::KERNEL_STACK,
        frame_size = const size_of::<TrapFrame>(),
    )
}
