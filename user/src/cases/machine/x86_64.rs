//! What 64-bit x86 can be asked that no other machine can.
#![allow(unsafe_code, reason = "instructions that fault on purpose, and contexts that are changed")]

use super::try_to;
use crate::system::{Context, read_word_nowhere};
use std::arch::asm;

static NOTHING: [u64; 2] = [0; 2];

/// Reads the word at `address` by an instruction of known length that a handler can pass over; then it gives 77.
#[inline(never)]
pub(super) fn probe(address: usize) -> u64 {
    let value;
    // SAFETY: reads; callers give addresses of their own memory's edge or of nowhere, where it faults.
    unsafe { asm!("mov {1}, 77", "mov {1}, [{0}]", "nop", in(reg) address, out(reg) value) };
    value
}

/// Passes over the read of [`probe`].
pub(super) fn pass_over_probe(context: &mut Context) {
    // SAFETY: the signal came of `probe`'s read, which is 3 bytes long, and the register has its value already.
    unsafe { context.pass_over(3) };
}

/// The register of [`keep_over_fault`].
pub(super) fn kept(context: &Context) -> u64 {
    context.general(libc::REG_R12) as u64
}

/// Changes it, and goes on behind the instruction.
pub(super) fn change_kept(context: &mut Context, value: i64) {
    // SAFETY: the signal came of `keep_over_fault`, which expects the change; `ud2` is 2 bytes long.
    unsafe {
        context.set_general(libc::REG_R12, value);
        context.pass_over(2);
    }
}

/// Faults with 1234 in a register, and gives what is there afterwards.
pub(super) fn keep_over_fault() -> u64 {
    let value;
    // SAFETY: the handler that the case has installed passes over `ud2`; the register is given up.
    unsafe { asm!("mov r12, 1234", "ud2", "mov {0}, r12", out(reg) value, out("r12") _) };
    value
}

/// Faults with `stack` for a stack pointer.
pub(super) fn fault_on(stack: usize) -> ! {
    // SAFETY: the process does not go on: its handler ends it on another stack, or the signal does.
    unsafe { asm!("mov rsp, {0}", "ud2", in(reg) stack, options(noreturn)) }
}

/// Returns from no signal, with the frame at `stack`.
pub(super) fn return_with(stack: usize) -> ! {
    // SAFETY: the process does not go on: what is at `stack` is no frame.
    unsafe { asm!("mov rsp, {0}", "mov eax, 15", "syscall", in(reg) stack, options(noreturn)) }
}

/// Exchanges the word of vector register 9 in the context, and goes on behind the instruction.
pub(super) fn exchange_vector(context: &mut Context, value: u64) -> u64 {
    // SAFETY: the kernel puts an FXSAVE image there, with the registers from byte 160; the signal came of `keep_vector_over_fault`, which expects
    // the change, and whose `ud2` is 2 bytes long.
    unsafe {
        let image = context.raw().uc_mcontext.fpregs.cast::<u8>();
        let word = image.add(160 + 9 * 16).cast::<u64>();
        let found = word.read_unaligned();
        word.write_unaligned(value);
        context.pass_over(2);
        found
    }
}

/// Faults with `value` in vector register 9, and gives what is there afterwards.
pub(super) fn keep_vector_over_fault(value: u64) -> u64 {
    let found;
    // SAFETY: the handler that the case has installed passes over `ud2`; the register is given up.
    unsafe { asm!("movq xmm9, {0}", "ud2", "movq {0}, xmm9", inout(reg) value => found, out("xmm9") _) };
    found
}

/// Tries instructions that user mode does not have: each ends its process, or changes nothing that outlives it.
macro_rules! try_instructions {
    ($($name:literal($($assembly:tt)+);)+) => { $(
        // SAFETY: the instruction faults, or touches the child's named registers alone; the child ends behind it.
        try_to($name, || unsafe { asm!($($assembly)+) });
    )+ };
}

pub(super) fn privileged() {
    try_instructions! {
        "halt"("hlt");
        "interrupts on"("sti");
        "port"("out dx, al", in("dx") 0x80u16, in("al") 0u8);
        "control register"("mov cr0, {0}", in(reg) 0u64);
        "model-specific register"("rdmsr", in("ecx") 0x10, out("eax") _, out("edx") _);
        "caches"("wbinvd");
        "descriptor table"("lgdt [{0}]", in(reg) NOTHING.as_ptr());
        "segment"("mov ds, {0:x}", in(reg) 0x10u16);
        "system return"("sysretq", in("rcx") 0, in("r11") 0);
        "virtual machine"("vmlaunch");
        "flags"("push 0x3202", "popfq");
    }
}

pub(super) fn breakpoints() {
    try_instructions! {
        "breakpoint"("int3");
        "breakpoint of two bytes"("int 0x3");
        "overflow"("int 4");
        "interrupt"("int 0");
        "interrupt"("int 14");
        "interrupt"("int 0xff");
    }
}

pub(super) fn alignment() {
    let words = [0u64; 4];
    let odd = words.as_ptr() as usize + 1;
    try_instructions! {
        "vector"("movaps xmm0, [{0}]", in(reg) odd & !15 | 1, out("xmm0") _);
        "plain"("mov {0}, [{1}]", out(reg) _, in(reg) odd);
    }
}

/// Makes a system call by its instruction, without arguments.
fn call(number: i64) -> i64 {
    let result;
    // SAFETY: no such calls: the kernel changes the result's register and the two that the instruction uses.
    unsafe { asm!("syscall", inout("rax") number => result, out("rcx") _, out("r11") _) };
    result
}

pub(super) fn system_calls() {
    println!("unknown: {}", call(100_000));
    println!("-1: {}", call(-1));
}

pub(super) fn tags() {
    for address in [1usize << 57, 0x1000_0000_0000_0000, 0x8000_1234_0000_0000] {
        try_to("read", || _ = read_word_nowhere(address));
    }
}

pub(super) fn damaged_frames() {}
