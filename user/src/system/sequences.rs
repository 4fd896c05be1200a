//! Restartable sequences, `rseq(2)`: the thread's area, and a sequence of instructions to be interrupted in.
#![allow(unsafe_code, reason = "instructions between labels, and the C library's area")]

use super::{Mapping, Outcome, by_number};
use libc::{c_long, c_uint};
use std::arch::asm;

unsafe extern "C" {
    /// From the thread pointer to the C library's area.
    safe static __rseq_offset: isize;
    /// Its size; 0 where the kernel has not taken it.
    safe static __rseq_size: c_uint;
}

/// What stands before each place to which the kernel may lead.
#[cfg(target_arch = "x86_64")]
pub const SIGNATURE: u32 = 0x5305_3053;
/// What stands before each place to which the kernel may lead.
#[cfg(target_arch = "aarch64")]
pub const SIGNATURE: u32 = 0xd428_bc00;

/// The calling thread's area of the C library's, and whether it is registered.
#[must_use]
pub fn library_area() -> (usize, bool) {
    let pointer: usize;
    // SAFETY: reads the thread pointer.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, readonly, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags));
    }
    (pointer.wrapping_add_signed(__rseq_offset), __rseq_size != 0)
}

/// `rseq(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn rseq(area: usize, length: u32, flags: i32, signature: u32) -> Outcome {
    const NUMBER: c_long = if cfg!(target_arch = "x86_64") { 334 } else { 293 };
    by_number(NUMBER, [area as c_long, c_long::from(length), c_long::from(flags), c_long::from(signature)])
}

/// Runs a sequence that takes `rounds` rounds, described at byte 64 of `memory`, whose first bytes are the thread's registered area. Says whether it
/// was interrupted and led elsewhere.
#[must_use]
pub fn run_sequence(memory: &Mapping, rounds: u64) -> bool {
    let (area, description) = (memory.start(), memory.at(64));
    let mut aborted: u64;
    // SAFETY: all that the code writes is the area and the description, which lie in the case's own mapping; wherever it is interrupted, it goes on at its
    // end with the registers as they were.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "lea {start}, [rip + 3f]",
            "mov [{description} + 8], {start}",
            "lea {other}, [rip + 4f]",
            "sub {other}, {start}",
            "mov [{description} + 16], {other}",
            "lea {other}, [rip + 5f]",
            "mov [{description} + 24], {other}",
            "mov [{area} + 8], {description}",
            "3:",
            "dec {rounds}",
            "jnz 3b",
            "4:",
            "xor {start:e}, {start:e}",
            "jmp 6f",
            ".byte 0x0f, 0xb9, 0x3d",
            ".long 0x53053053",
            "5:",
            "mov {start:e}, 1",
            "6:",
            start = out(reg) aborted, other = out(reg) _, rounds = inout(reg) rounds => _,
            area = in(reg) area, description = in(reg) description,
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "adr {start}, 3f",
            "str {start}, [{description}, #8]",
            "adr {other}, 4f",
            "sub {other}, {other}, {start}",
            "str {other}, [{description}, #16]",
            "adr {other}, 5f",
            "str {other}, [{description}, #24]",
            "str {description}, [{area}, #8]",
            "3:",
            "subs {rounds}, {rounds}, #1",
            "b.ne 3b",
            "4:",
            "mov {start}, #0",
            "b 6f",
            ".inst 0xd428bc00",
            "5:",
            "mov {start}, #1",
            "6:",
            start = out(reg) aborted, other = out(reg) _, rounds = inout(reg) rounds => _,
            area = in(reg) area, description = in(reg) description,
        );
    }
    aborted = std::hint::black_box(aborted);
    aborted != 0
}
