//! The ways into the kernel from user mode and from interrupted kernel code, and the ways out.
//!
//! Every entry builds a [`TrapFrame`] on the stack, lowest field pushed last:
//!
//! ```text
//! pushed by the CPU (by hand in a system call)   ss rsp rflags cs rip
//! pushed by the stub                             error code or call number, vector
//! pushed by the common part                      rdi rsi rdx rcx rax r8 r9 r10 r11 rbx rbp r12 r13 r14 r15
//! ```
//!
//! # gs
//! User mode and kernel have their own `gs`; `swapgs` exchanges them once at each entry from user mode and once at each return.
//! Interrupts are masked from the instruction that enters to the `swapgs` and from the second `swapgs` to the return, so only
//! the exceptions that cannot be masked (NMI, machine check, double fault, debug) can find the wrong `gs`. Those run on IST
//! stacks, and the word above such a stack points to the CPU's block: they save the present `gs`, load the block's address and
//! put the saved value back at the end. A debug exception or machine check out of user mode is moved to the thread's stack and
//! becomes an ordinary entry, because it ends in a signal.
//!
//! # The short way of a system call
//! All registers are saved (fork, signals and tracers want them), but only those that the C convention does not keep are
//! restored before `sysret`. See the invariant in `trap_frame.rs`.

#![allow(unsafe_code, reason = "entry code in assembly")]

use super::exceptions;
use super::trap_frame::{SYSTEM_CALL_VECTOR, TrapFrame, USER_CODE_SELECTOR, USER_DATA_SELECTOR};
use super::{features, model_specific};
use crate::arch::cpu_local::offset;
use crate::arch::{TrapHandler, x86_64::trap_frame};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

const FRAME_SIZE: usize = size_of::<TrapFrame>();
/// Bytes between two stubs.
const STUB_SIZE: u64 = 16;

/// The function that the system-call entry calls, and its first argument.
static SYSTEM_CALL_FUNCTION: AtomicPtr<()> = AtomicPtr::new(no_handler as *mut ());
static SYSTEM_CALL_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

extern "sysv64" fn no_handler(_handler: *const (), frame: &mut TrapFrame) {
    frame.rax = crate::base::Errno::ENOSYS.to_register();
}

extern "sysv64" fn call_handler<H: TrapHandler>(handler: &H, frame: &mut crate::arch::TrapFrame) {
    handler.system_call(frame);
}

/// See [`crate::arch::Machine::set_system_call_handler`].
pub(super) fn set_system_call_handler<H: TrapHandler>(handler: &'static H) {
    SYSTEM_CALL_HANDLER.store(core::ptr::from_ref(handler).cast_mut().cast(), Relaxed);
    let function: extern "sysv64" fn(&H, &mut crate::arch::TrapFrame) = call_handler::<H>;
    SYSTEM_CALL_FUNCTION.store(function as *mut (), Relaxed);
}

/// Lets this CPU execute `syscall`.
pub(super) fn enable_system_calls() {
    /// Everything but the bit that is always set: Linux's mask.
    const CLEARED_FLAGS: u64 = 0x0025_7fd5;
    const SYSTEM_CALL_ENABLE: u64 = 1;
    const NO_EXECUTE_ENABLE: u64 = 1 << 11;
    let star = u64::from(trap_frame::USER_CODE_32_SELECTOR) << 48 | u64::from(trap_frame::KERNEL_CODE_SELECTOR) << 32;
    // SAFETY: every 64-bit CPU has these registers; the entry point is ready for calls.
    unsafe {
        model_specific::write(model_specific::STAR, star);
        model_specific::write(model_specific::LSTAR, system_call_entry as *const () as u64);
        model_specific::write(model_specific::SFMASK, CLEARED_FLAGS);
        let mut efer = model_specific::read(model_specific::EFER) | SYSTEM_CALL_ENABLE;
        if features::has(features::Features::NX) {
            efer |= NO_EXECUTE_ENABLE;
        }
        model_specific::write(model_specific::EFER, efer);
    }
}

/// Where the stub of `vector` is.
pub(super) fn stub_address(vector: u64) -> u64 {
    stubs as *const () as u64 + vector * STUB_SIZE
}

macro_rules! push_registers {
    () => {
        "push rdi
        push rsi
        push rdx
        push rcx
        push rax
        push r8
        push r9
        push r10
        push r11
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15"
    };
}

/// Pops all registers and the vector and error code.
macro_rules! pop_registers {
    () => {
        "pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        pop r11
        pop r10
        pop r9
        pop r8
        pop rax
        pop rcx
        pop rdx
        pop rsi
        pop rdi
        add rsp, 16"
    };
}

/// The target of `syscall`: `rcx` has the return address and `r11` the flags; interrupts are masked.
#[unsafe(naked)]
unsafe extern "sysv64" fn system_call_entry() {
    naked_asm!(
        "swapgs",
        "mov gs:[{scratch}], rsp",
        "mov rsp, gs:[{kernel_stack}]",
        "push {user_data}",
        "push qword ptr gs:[{scratch}]",
        "push r11",
        "push {user_code}",
        "push rcx",
        "push rax",
        "push {vector}",
        push_registers!(),
        "mov rsi, rsp",
        "xor ebp, ebp", // backtraces end here
        "sti",
        "mov rdi, [rip + {handler}]",
        "call [rip + {function}]",
        "cli",
        "cmp byte ptr gs:[{work}], 0",
        "jne 2f",
        "cmp dword ptr [rsp + {vector_offset}], {vector}",
        "jne 3f",
        // The callee-saved registers but rbp still hold the caller's values.
        "mov rbp, [rsp + {rbp_offset}]",
        "add rsp, {callee_saved}",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rax",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "mov rsp, [rsp + {stack_from_vector}]",
        "swapgs",
        "sysretq",
        "2:",
        "mov rdi, rsp",
        "call {finish}",
        "3:",
        "jmp {leave}",
        scratch = const offset::ENTRY_WORD,
        kernel_stack = const offset::KERNEL_STACK,
        work = const offset::WORK_PENDING,
        user_data = const USER_DATA_SELECTOR,
        user_code = const USER_CODE_SELECTOR,
        vector = const SYSTEM_CALL_VECTOR,
        vector_offset = const offset_of!(TrapFrame, vector),
        rbp_offset = const offset_of!(TrapFrame, rbp),
        callee_saved = const offset_of!(TrapFrame, r11),
        stack_from_vector = const offset_of!(TrapFrame, rsp) - offset_of!(TrapFrame, vector),
        handler = sym SYSTEM_CALL_HANDLER,
        function = sym SYSTEM_CALL_FUNCTION,
        finish = sym exceptions::finish_return_to_user,
        leave = sym leave_to_user,
    )
}

/// The stack pointer is at a complete frame: restores everything and leaves for user mode. Interrupts are masked.
#[unsafe(naked)]
unsafe extern "sysv64" fn leave_to_user() {
    naked_asm!(pop_registers!(), "swapgs", "iretq")
}

/// One stub per vector, [`STUB_SIZE`] bytes each: makes sure of an error code, pushes the vector, goes on to a common part.
#[unsafe(naked)]
unsafe extern "sysv64" fn stubs() {
    naked_asm!(
        ".set ashlar_vector, 0",
        ".rept 256",
        ".p2align 4, 0xcc",
        // Vectors 8, 10 to 14, 17, 21, 29 and 30 come with an error code.
        ".if ashlar_vector < 32 && ((0x60227d00 >> ashlar_vector) & 1)",
        ".else",
        "push 0",
        ".endif",
        "push ashlar_vector",
        ".if ashlar_vector == 2 || ashlar_vector == 8",
        "jmp {paranoid}",
        ".elseif ashlar_vector == 1 || ashlar_vector == 18",
        "jmp {movable}",
        ".else",
        "jmp {common}",
        ".endif",
        ".set ashlar_vector, ashlar_vector + 1",
        ".endr",
        common = sym common_entry,
        paranoid = sym paranoid_entry,
        movable = sym movable_entry,
    )
}

/// Exceptions and interrupts on the ordinary stacks.
#[unsafe(naked)]
unsafe extern "sysv64" fn common_entry() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz 2f",
        "swapgs",
        "jmp {user}",
        "2:",
        push_registers!(),
        "cld",
        close_user!(),
        "mov rdi, rsp",
        "call {kernel_trap}",
        pop_registers!(),
        "iretq",
        user = sym user_entry,
        kernel_trap = sym exceptions::kernel_trap,
    )
}

/// From user mode, with the kernel's `gs` and on the thread's stack, vector and error code pushed.
#[unsafe(naked)]
unsafe extern "sysv64" fn user_entry() {
    naked_asm!(
        push_registers!(),
        "cld",
        close_user!(),
        "xor ebp, ebp",
        "mov rdi, rsp",
        "call {user_trap}",
        pop_registers!(),
        "swapgs",
        "iretq",
        user_trap = sym exceptions::user_trap,
    )
}

/// Debug exceptions and machine checks: from user mode they move to the thread's stack.
#[unsafe(naked)]
unsafe extern "sysv64" fn movable_entry() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz {paranoid}",
        "swapgs",
        "mov gs:[{scratch}], rdi",
        "mov rdi, rsp",
        "mov rsp, gs:[{kernel_stack}]",
        "push qword ptr [rdi + 48]",
        "push qword ptr [rdi + 40]",
        "push qword ptr [rdi + 32]",
        "push qword ptr [rdi + 24]",
        "push qword ptr [rdi + 16]",
        "push qword ptr [rdi + 8]",
        "push qword ptr [rdi]",
        "mov rdi, gs:[{scratch}]",
        "jmp {user}",
        paranoid = sym paranoid_entry,
        scratch = const offset::ENTRY_WORD,
        kernel_stack = const offset::KERNEL_STACK,
        user = sym user_entry,
    )
}

/// On an IST stack, with a `gs` that may be either: the block's address lies above the frame.
#[unsafe(naked)]
unsafe extern "sysv64" fn paranoid_entry() {
    naked_asm!(
        push_registers!(),
        "cld",
        close_user!(),
        "mov ecx, {gs_base}",
        "rdmsr",
        "mov ebx, eax",
        "mov r12d, edx",
        "mov rax, [rsp + {frame_size}]",
        "mov rdx, rax",
        "shr rdx, 32",
        "wrmsr",
        "mov rdi, rsp",
        "call {paranoid_trap}",
        "mov ecx, {gs_base}",
        "mov eax, ebx",
        "mov edx, r12d",
        "wrmsr",
        pop_registers!(),
        "iretq",
        gs_base = const model_specific::GS_BASE,
        frame_size = const FRAME_SIZE,
        paranoid_trap = sym exceptions::paranoid_trap,
    )
}

/// Moves the frame to the top of the thread's stack, does pending work and leaves for user mode.
///
/// # Safety
/// The kernel stack and the address space are the thread's. The frame is not above the stack's top within it.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn enter_user(frame: *const TrapFrame) -> ! {
    naked_asm!(
        "cli",
        // From the last word down: the frame may lie lower on the same stack and overlap its new place.
        "lea rsi, [rdi + {frame_size} - 8]",
        "mov rdi, gs:[{kernel_stack}]",
        "lea rdx, [rdi - {frame_size}]",
        "sub rdi, 8",
        "mov ecx, {words}",
        "std",
        "rep movsq",
        "cld",
        "mov rsp, rdx",
        "xor ebp, ebp",
        "mov rdi, rsp",
        "call {finish}",
        "jmp {leave}",
        frame_size = const FRAME_SIZE,
        words = const FRAME_SIZE / 8,
        kernel_stack = const offset::KERNEL_STACK,
        finish = sym exceptions::finish_return_to_user,
        leave = sym leave_to_user,
    )
}
