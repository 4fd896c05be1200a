//! The ways into the kernel from user mode and from interrupted kernel code, and the ways out.
//!
//! Every entry builds a [`TrapFrame`] on the stack that `SP_EL1` names. While a program runs that is the very top of its thread's
//! kernel stack, so nothing has to be looked up: the return to user mode leaves the stack pointer there.
//!
//! `SP_EL0` is the program's stack pointer there and the running thread in the kernel (`cpu.rs`): entry saves the one and loads the other, and
//! [`leave`] restores what the frame has. A frame of the kernel's own has its thread, which goes on wherever the frame does.
//!
//! # System errors
//! They are masked where `SP_EL0` may be the program's: from each entry until the kernel enables interrupts or handles what came, and
//! from [`leave`] on. Masking interrupts elsewhere leaves them on.
//!
//! # A stack that is full
//! An exception out of the kernel first asks the MMU (`at s1e1w`) whether its frame has a place. If not, the kernel goes on on
//! [`OVERFLOW_STACK`], and from there on the other end of the thread's stack, to say so and end the thread.
//!
//! # The short way of a system call
//! All registers are saved (fork, signals and tracers want them), but only those that the C convention does not keep are
//! restored before `eret`. See the invariant in `trap_frame.rs`.

#![allow(unsafe_code, reason = "entry code in assembly")]

use super::trap_frame::TrapFrame;
use super::{Aarch64, exceptions};
use crate::arch::cpu_local::offset;
use crate::arch::{Cpu, TrapHandler};
use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

const FRAME_SIZE: usize = size_of::<TrapFrame>();

/// The function that the system-call entry calls until there is one.
extern "C" fn no_handler(frame: &mut TrapFrame) {
    frame.general[0] = crate::base::Errno::ENOSYS.to_register();
}

extern "C" fn call_handler<H: TrapHandler>(frame: &mut crate::arch::TrapFrame) {
    const { assert!(size_of::<H>() == 0, "the entry code hands over no state") };
    // SAFETY: there is a `H` for good, and one without size is wherever one looks.
    unsafe { NonNull::<H>::dangling().as_ref() }.system_call(frame);
}

/// What the entry code finds in each CPU's block, next to the running thread: one load fetches both.
static SYSTEM_CALL: AtomicPtr<()> = AtomicPtr::new(no_handler as *mut ());

/// See [`crate::arch::Machine::set_system_call_handler`].
pub(super) fn set_system_call_handler<H: TrapHandler>(_handler: &'static H) {
    let function: extern "C" fn(&mut crate::arch::TrapFrame) = call_handler::<H>;
    SYSTEM_CALL.store(function as *mut (), Relaxed);
    install_handler();
}

/// Lets this CPU's system calls go where the first one's do.
fn install_handler() {
    Aarch64::local().set_entry_word(SYSTEM_CALL.load(Relaxed).expose_provenance() as u64);
}

const _: () = assert!(offset::CURRENT_THREAD == offset::ENTRY_WORD + 8, "one load fetches both");

/// Lets this CPU's exceptions come here.
pub(super) fn install() {
    install_handler();
    // SAFETY: the table is complete.
    unsafe { asm!("msr vbar_el1, {}", "isb", in(reg) vectors as *const () as u64, options(nostack, preserves_flags)) };
}

/// Where an exception's frame goes when the kernel stack has no room for it.
#[repr(C, align(16))]
struct OverflowStack(UnsafeCell<[u8; 8192]>);

// SAFETY: used as a stack by the one CPU that runs.
unsafe impl Sync for OverflowStack {}

static OVERFLOW_STACK: OverflowStack = OverflowStack(UnsafeCell::new([0; 8192]));

/// Stores `x0` to `x29` at the stack pointer.
macro_rules! store_registers {
    () => {
        "stp x0, x1, [sp]
        stp x2, x3, [sp, #16]
        stp x4, x5, [sp, #32]
        stp x6, x7, [sp, #48]
        stp x8, x9, [sp, #64]
        stp x10, x11, [sp, #80]
        stp x12, x13, [sp, #96]
        stp x14, x15, [sp, #112]
        stp x16, x17, [sp, #128]
        stp x18, x19, [sp, #144]
        stp x20, x21, [sp, #160]
        stp x22, x23, [sp, #176]
        stp x24, x25, [sp, #192]
        stp x26, x27, [sp, #208]
        stp x28, x29, [sp, #224]"
    };
}

/// Stores `x30` and the state that was interrupted, behind them. Changes `x9` to `x11`.
macro_rules! store_state {
    () => {
        "mrs x9, sp_el0
        mrs x10, elr_el1
        mrs x11, spsr_el1
        stp x30, x9, [sp, #240]
        stp x10, x11, [sp, #256]"
    };
}

/// Stores everything but `x0` to `x29`, which are stored, for an entry that is no system call. Changes `x9` to `x11`.
macro_rules! store_rest {
    () => {
        concat!(store_state!(), "\nmov x9, #-1\nstp x0, x9, [sp, #{original_argument}]\nmov x0, sp")
    };
}

/// Makes a frame on the stack for an entry that is no system call; `x0` is its address then. Changes `x9` to `x11`.
macro_rules! store_frame {
    () => {
        concat!(store_registers!(), "\n", store_rest!())
    };
}

/// Out of user mode: has `SP_EL0`, which is stored, name the running thread from now on. Changes `x9`.
macro_rules! load_thread {
    () => {
        "mrs x9, tpidr_el1
        ldr x9, [x9, #{current_thread}]
        msr sp_el0, x9"
    };
}

/// Loads the state that was interrupted, and `x1` to `x18` and `x30`.
macro_rules! load_state {
    () => {
        "ldp x30, x9, [sp, #240]
        ldp x10, x11, [sp, #256]
        msr sp_el0, x9
        msr elr_el1, x10
        msr spsr_el1, x11
        ldp x0, x1, [sp]
        ldp x2, x3, [sp, #16]
        ldp x4, x5, [sp, #32]
        ldp x6, x7, [sp, #48]
        ldp x8, x9, [sp, #64]
        ldp x10, x11, [sp, #80]
        ldp x12, x13, [sp, #96]
        ldp x14, x15, [sp, #112]
        ldp x16, x17, [sp, #128]"
    };
}

/// The 16 vectors, 128 bytes apart: from EL1 with `SP_EL0` (never), from EL1, from EL0, from 32-bit EL0 (never); in each group
/// synchronous exception, interrupt, fast interrupt, system error.
#[unsafe(naked)]
unsafe extern "C" fn vectors() {
    naked_asm!(
        ".p2align 11",
        // EL1 with SP_EL0
        ".rept 4",
        ".p2align 7",
        "b {unexpected}",
        ".endr",
        // EL1
        ".p2align 7",
        "b {kernel_synchronous}",
        ".p2align 7",
        "b {kernel_interrupt}",
        ".p2align 7",
        "b {unexpected}",
        ".p2align 7",
        "b {kernel_system_error}",
        // EL0
        ".p2align 7",
        "sub sp, sp, #{frame_size}",
        store_registers!(),
        "mrs x12, esr_el1",
        "lsr x13, x12, #26",
        "cmp x13, #{system_call_class}",
        "b.ne 1f",
        "b {system_call}",
        "1: b {user_synchronous}",
        ".p2align 7",
        "b {user_interrupt}",
        ".p2align 7",
        "b {user_unexpected}",
        ".p2align 7",
        "b {user_system_error}",
        // 32-bit EL0
        ".rept 4",
        ".p2align 7",
        "b {user_unexpected}",
        ".endr",
        ".p2align 7",
        frame_size = const FRAME_SIZE,
        system_call_class = const exceptions::SYSTEM_CALL_CLASS,
        unexpected = sym unexpected_entry,
        kernel_synchronous = sym kernel_synchronous_entry,
        kernel_interrupt = sym kernel_interrupt_entry,
        system_call = sym system_call_entry,
        user_synchronous = sym user_synchronous_entry,
        user_interrupt = sym user_interrupt_entry,
        user_unexpected = sym user_unexpected_entry,
        kernel_system_error = sym kernel_system_error_entry,
        user_system_error = sym user_system_error_entry,
    )
}

/// `svc`: `x0` to `x29` are stored, interrupts are masked.
#[unsafe(naked)]
unsafe extern "C" fn system_call_entry() {
    naked_asm!(
        store_state!(),
        "mov w9, w8",
        "mrs x10, tpidr_el1",
        "stp x0, x9, [sp, #{original_argument}]",
        "ldp x2, x10, [x10, #{handler_and_thread}]",
        "msr sp_el0, x10",
        "mov x0, sp",
        "mov x29, xzr", // backtraces end here
        "msr daifclr, #6",
        "blr x2",
        "msr daifset, #6",
        "mrs x0, tpidr_el1",
        "ldrb w0, [x0, #{work}]",
        "cbnz w0, 2f",
        "ldr x1, [sp, #{system_call}]",
        "tbnz x1, #63, 3f",
        // The callee-saved registers but x29 still hold the caller's values.
        load_state!(),
        "ldr x18, [sp, #144]",
        "ldr x29, [sp, #232]",
        "add sp, sp, #{frame_size}",
        "eret",
        "2: mov x0, sp",
        "bl {finish}",
        "3: b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        system_call = const offset_of!(TrapFrame, system_call),
        work = const offset::WORK_PENDING,
        handler_and_thread = const offset::ENTRY_WORD,
        finish = sym exceptions::finish_return_to_user,
        leave = sym leave,
    )
}

/// The stack pointer is at a complete frame: restores everything and goes where it says. Interrupts are masked.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        // From here on `SP_EL0` may be the program's.
        "msr daifset, #6",
        load_state!(),
        "ldp x18, x19, [sp, #144]",
        "ldp x20, x21, [sp, #160]",
        "ldp x22, x23, [sp, #176]",
        "ldp x24, x25, [sp, #192]",
        "ldp x26, x27, [sp, #208]",
        "ldp x28, x29, [sp, #224]",
        "add sp, sp, #{frame_size}",
        "eret",
        frame_size = const FRAME_SIZE,
    )
}

/// An exception of user mode other than a system call: `x0` to `x29` are stored, `x12` is the syndrome.
#[unsafe(naked)]
unsafe extern "C" fn user_synchronous_entry() {
    naked_asm!(
        store_rest!(),
        load_thread!(),
        "mov x1, x12",
        "mrs x2, far_el1",
        "mov x29, xzr",
        "bl {user_trap}",
        "b {leave}",
        original_argument = const offset_of!(TrapFrame, original_argument),
        current_thread = const offset::CURRENT_THREAD,
        user_trap = sym exceptions::user_trap,
        leave = sym leave,
    )
}

/// An interrupt of user mode.
#[unsafe(naked)]
unsafe extern "C" fn user_interrupt_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        store_frame!(),
        load_thread!(),
        "mov x29, xzr",
        "bl {user_interrupt}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        current_thread = const offset::CURRENT_THREAD,
        user_interrupt = sym exceptions::user_interrupt,
        leave = sym leave,
    )
}

/// A fast interrupt out of user mode, or anything out of 32-bit code.
#[unsafe(naked)]
unsafe extern "C" fn user_unexpected_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        store_frame!(),
        load_thread!(),
        "mrs x1, esr_el1",
        "mov x29, xzr",
        "bl {unexpected}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        current_thread = const offset::CURRENT_THREAD,
        unexpected = sym exceptions::unexpected,
        leave = sym leave,
    )
}

/// A system error out of user mode.
#[unsafe(naked)]
unsafe extern "C" fn user_system_error_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        store_frame!(),
        load_thread!(),
        "mrs x1, esr_el1",
        "mov x29, xzr",
        "bl {unexpected}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        current_thread = const offset::CURRENT_THREAD,
        unexpected = sym exceptions::user_system_error,
        leave = sym leave,
    )
}

/// A system error of the kernel's.
#[unsafe(naked)]
unsafe extern "C" fn kernel_system_error_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        store_frame!(),
        "mrs x1, esr_el1",
        "bl {unexpected}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        unexpected = sym exceptions::system_error,
        leave = sym leave,
    )
}

/// A fault of the kernel's. `TPIDRRO_EL0`, which is zero otherwise, keeps `x0` meanwhile.
#[unsafe(naked)]
unsafe extern "C" fn kernel_synchronous_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        "msr tpidrro_el0, x0",
        "mov x0, sp",
        "at s1e1w, x0",
        "isb",
        "mrs x0, par_el1",
        "tbnz x0, #0, 2f",
        "mrs x0, tpidrro_el0",
        "msr tpidrro_el0, xzr",
        store_frame!(),
        "mrs x1, esr_el1",
        "mrs x2, far_el1",
        "bl {kernel_trap}",
        "b {leave}",
        // The stack has no room for the frame.
        "2: adrp x0, {stack}",
        "add x0, x0, :lo12:{stack}",
        "add x0, x0, #4096",
        "add x0, x0, #(4096 - {frame_size})",
        "mov sp, x0",
        "mrs x0, tpidrro_el0",
        "msr tpidrro_el0, xzr",
        store_frame!(),
        "mrs x1, esr_el1",
        "mrs x2, far_el1",
        "b {overflow}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        stack = sym OVERFLOW_STACK,
        kernel_trap = sym exceptions::kernel_trap,
        overflow = sym exceptions::stack_overflow,
        leave = sym leave,
    )
}

/// An interrupt of the kernel's. Without room on the stack its first store faults, which the entry above sees to.
#[unsafe(naked)]
unsafe extern "C" fn kernel_interrupt_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        store_frame!(),
        "bl {kernel_interrupt}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        kernel_interrupt = sym exceptions::kernel_interrupt,
        leave = sym leave,
    )
}

/// What never comes.
#[unsafe(naked)]
unsafe extern "C" fn unexpected_entry() {
    naked_asm!(
        "sub sp, sp, #{frame_size}",
        store_frame!(),
        "mrs x1, esr_el1",
        "bl {unexpected}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        original_argument = const offset_of!(TrapFrame, original_argument),
        unexpected = sym exceptions::unexpected,
        leave = sym leave,
    )
}

/// Leaves the present stack for good and calls `function` with `frame` on the running thread's kernel stack, from its top.
///
/// # Safety
/// The thread goes nowhere on what its stack holds. The frame is not on that stack.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn abandon_stack(frame: *const TrapFrame, function: extern "C" fn(&TrapFrame) -> !) -> ! {
    naked_asm!(
        "mrs x2, tpidr_el1",
        "ldr x2, [x2, #{kernel_stack}]",
        "sub x2, x2, #{frame_size}",
        "mov sp, x2",
        "mov x29, xzr",
        "blr x1",
        "brk #1",
        kernel_stack = const offset::KERNEL_STACK,
        frame_size = const FRAME_SIZE,
    )
}

/// Moves the frame to the top of the thread's stack, does pending work and leaves for user mode.
///
/// # Safety
/// The kernel stack and the address space are the thread's. The frame is not above the stack's top within it.
#[unsafe(naked)]
pub unsafe extern "C" fn enter_user(frame: *const TrapFrame) -> ! {
    naked_asm!(
        "msr daifset, #6",
        // From the last words down: the frame may lie lower on the same stack and overlap its new place.
        "mrs x1, tpidr_el1",
        "ldr x1, [x1, #{kernel_stack}]",
        "sub x2, x1, #{frame_size}",
        "add x0, x0, #{frame_size}",
        "1: ldp x3, x4, [x0, #-16]!",
        "stp x3, x4, [x1, #-16]!",
        "cmp x1, x2",
        "b.ne 1b",
        "mov sp, x2",
        "mov x29, xzr",
        "mov x0, sp",
        "bl {finish}",
        "b {leave}",
        frame_size = const FRAME_SIZE,
        kernel_stack = const offset::KERNEL_STACK,
        finish = sym exceptions::finish_return_to_user,
        leave = sym leave,
    )
}
