//! From one kernel stack to another, and into user mode.
//!
//! The context's layout is `process::context::Context`; [`ContextSwitch::OFFSETS`] gives, in this order, the byte offsets of
//! `rbx rbp r12 r13 r14 r15 rsp rip` that the code below uses.

#![allow(unsafe_code, reason = "switches stacks")]

use super::{X86_64, features, model_specific, segments};
use crate::arch::{ContextSwitch, Cpu, TrapFrame as CurrentFrame};
use crate::base::VirtualAddress;
use core::arch::{asm, naked_asm};

const RBX: usize = 8;
const RBP: usize = 48;
const RSP: usize = 56;
const R12: usize = 96;
const R13: usize = 104;
const R14: usize = 112;
const R15: usize = 120;
const RIP: usize = 128;

#[unsafe(naked)]
unsafe extern "sysv64" fn switch_contexts(save: *mut (), load: *const ()) {
    naked_asm!(
        "mov [rdi + {rbx}], rbx",
        "mov [rdi + {rbp}], rbp",
        "mov [rdi + {r12}], r12",
        "mov [rdi + {r13}], r13",
        "mov [rdi + {r14}], r14",
        "mov [rdi + {r15}], r15",
        "pop rax",
        "mov [rdi + {rsp}], rsp",
        "mov [rdi + {rip}], rax",
        "mov rbx, [rsi + {rbx}]",
        "mov rbp, [rsi + {rbp}]",
        "mov r12, [rsi + {r12}]",
        "mov r13, [rsi + {r13}]",
        "mov r14, [rsi + {r14}]",
        "mov r15, [rsi + {r15}]",
        "mov rsp, [rsi + {rsp}]",
        "jmp [rsi + {rip}]",
        rbx = const RBX,
        rbp = const RBP,
        rsp = const RSP,
        r12 = const R12,
        r13 = const R13,
        r14 = const R14,
        r15 = const R15,
        rip = const RIP,
    )
}

impl ContextSwitch for X86_64 {
    #[inline]
    unsafe fn switch(save: *mut (), load: *const ()) {
        // SAFETY: the caller vouches for both contexts.
        unsafe { switch_contexts(save, load) };
    }
    const OFFSETS: &'static [usize] = &[RBX, RBP, R12, R13, R14, R15, RSP, RIP];
    #[inline]
    fn set_kernel_stack(top: VirtualAddress) {
        X86_64::local().set_kernel_stack(top);
        segments::set_privilege_stack(top);
    }
    #[inline]
    fn set_thread_pointer(value: u64) {
        if features::has(features::Features::FSGSBASE) {
            // SAFETY: FSGSBASE is enabled in CR4 where the feature is there; the kernel does not use `fs`.
            unsafe { asm!("wrfsbase {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
        } else {
            // SAFETY: the kernel does not use `fs`.
            unsafe { model_specific::write(model_specific::FS_BASE, value) };
        }
    }
    #[inline]
    fn thread_pointer() -> u64 {
        if features::has(features::Features::FSGSBASE) {
            let value: u64;
            // SAFETY: as above.
            unsafe { asm!("rdfsbase {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        } else {
            // SAFETY: reads a register that exists on every 64-bit CPU.
            unsafe { model_specific::read(model_specific::FS_BASE) }
        }
    }
    /// While the kernel runs, user mode's GS base is where `swapgs` keeps it: exchanged for two instructions with interrupts masked
    /// it is reached as cheaply as FS base. An exception that cannot be masked restores whatever `gs` it finds (see `entry.rs`).
    #[inline]
    fn set_second_thread_pointer(value: u64) {
        if features::has(features::Features::FSGSBASE) {
            // SAFETY: FSGSBASE is enabled; interrupts are masked, and `gs` is the kernel's again at the end.
            unsafe {
                asm!("swapgs", "wrgsbase {}", "swapgs", in(reg) value, options(nomem, nostack, preserves_flags));
            }
        } else {
            // SAFETY: every 64-bit CPU has the register; the value is canonical, for user mode could have set it.
            unsafe { model_specific::write(model_specific::KERNEL_GS_BASE, value) };
        }
    }
    #[inline]
    fn second_thread_pointer() -> u64 {
        if features::has(features::Features::FSGSBASE) {
            let value: u64;
            // SAFETY: as above.
            unsafe {
                asm!("swapgs", "rdgsbase {}", "swapgs", out(reg) value, options(nomem, nostack, preserves_flags));
            }
            value
        } else {
            // SAFETY: reads a register that exists on every 64-bit CPU.
            unsafe { model_specific::read(model_specific::KERNEL_GS_BASE) }
        }
    }
    unsafe fn enter_user(frame: &CurrentFrame) -> ! {
        #[cfg(target_os = "none")]
        // SAFETY: the caller vouches for the address space and the stack.
        unsafe {
            super::entry::enter_user(frame)
        }
        #[cfg(not(target_os = "none"))]
        unreachable_on_the_host(frame)
    }
}

/// There is no user mode to enter on the hosted machine.
#[cfg(not(target_os = "none"))]
fn unreachable_on_the_host(_frame: &CurrentFrame) -> ! {
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C, align(16))]
    struct Stack([u8; 65536]);

    static mut MAIN: [u64; 20] = [0; 20];
    static mut OTHER: [u64; 20] = [0; 20];
    static mut VISITS: u32 = 0;

    extern "sysv64" fn other() -> ! {
        loop {
            // SAFETY: one test uses these statics, on one host thread.
            unsafe {
                VISITS += 1;
                switch_contexts((&raw mut OTHER).cast(), (&raw const MAIN).cast());
            }
        }
    }

    #[test]
    fn two_stacks_take_turns() {
        let mut stack = Box::new(Stack([0; 65536]));
        // SAFETY: one test uses these statics; the stack outlives the switches.
        unsafe {
            OTHER[RSP / 8] = (stack.0.as_mut_ptr().addr() + 65536 - 8) as u64;
            OTHER[RIP / 8] = other as *const () as u64;
            for turn in 1..=3 {
                switch_contexts((&raw mut MAIN).cast(), (&raw const OTHER).cast());
                assert_eq!((&raw const VISITS).read(), turn);
            }
        }
    }
}
