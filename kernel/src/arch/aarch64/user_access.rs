//! Reaching user memory.
//!
//! All instructions that touch user memory lie in one region of code, `ashlar_user_access_start..end`, in functions that use
//! no stack and change no callee-saved register. When one faults for good, the fault handler sets the program counter to the
//! continuation that [`fault_continuation`] names, which ends the function with the result 1: that is the whole exception table.
//!
//! The region has two parts:
//!
//! | part | how it reaches user memory | continuation |
//! |---|---|---|
//! | short copies, strings, words | `ldtr` and `sttr`, which act with user mode's permissions whether there is PAN or not | returns 1 |
//! | bulk copies, clearing, compare-and-exchange | `ldp`, `stp`, `ldaxr`: PAN, where the CPU has it, is open meanwhile | closes PAN, returns 1 |
//!
//! An exception that interrupts the second part sets PAN again (`SCTLR_EL1.SPAN` is 0), and its return restores it.

#![allow(unsafe_code, reason = "user memory is reached through raw addresses in assembly")]

use super::Aarch64;
use crate::arch::{Mmu, UserAccess, UserFault};
use crate::base::VirtualAddress;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Opens user memory where `w3` says that the CPU has PAN. Keeps everything.
macro_rules! open_user {
    () => {
        "cbz w3, 80f\n msr pan, #0\n 80:"
    };
}

/// Closes it.
macro_rules! close_user {
    () => {
        "cbz w3, 81f\n msr pan, #1\n 81:"
    };
}

/// Copies 64 bytes from `x1` to `x0` and moves both on.
macro_rules! copy_64 {
    () => {
        "ldp x6, x7, [x1], #64
         ldp x8, x9, [x1, #-48]
         ldp x10, x11, [x1, #-32]
         ldp x12, x13, [x1, #-16]
         stp x6, x7, [x0], #64
         stp x8, x9, [x0, #-48]
         stp x10, x11, [x0, #-32]
         stp x12, x13, [x0, #-16]"
    };
}

core::arch::global_asm!(
    ".pushsection .text.ashlar_user_access, \"ax\"",
    ".arch_extension pan",
    ".p2align 6",
    ".globl ashlar_user_access_start",
    "ashlar_user_access_start:",
    // x0 target, x1 source in user space, x2 length, w3 whether there is PAN
    ".globl ashlar_user_copy_from",
    "ashlar_user_copy_from:",
    "cmp x2, #16",
    "b.hi 4f",
    "cmp x2, #8",
    "b.lo 1f",
    "add x4, x1, x2", // 8..=16
    "ldtr x6, [x1]",
    "ldtr x7, [x4, #-8]",
    "add x5, x0, x2",
    "str x6, [x0]",
    "str x7, [x5, #-8]",
    "mov x0, #0",
    "ret",
    "1: tbz w2, #2, 2f",
    "add x4, x1, x2", // 4..=7
    "ldtr w6, [x1]",
    "ldtr w7, [x4, #-4]",
    "add x5, x0, x2",
    "str w6, [x0]",
    "stur w7, [x5, #-4]",
    "mov x0, #0",
    "ret",
    "2: cbz x2, 3f",
    "ldtrb w6, [x1]", // 1..=3
    "strb w6, [x0]",
    "cmp x2, #1",
    "b.eq 3f",
    "add x4, x1, x2",
    "ldtrb w6, [x1, #1]",
    "ldtrb w7, [x4, #-1]",
    "add x5, x0, x2",
    "strb w6, [x0, #1]",
    "strb w7, [x5, #-1]",
    "3: mov x0, #0",
    "ret",
    "4: cmp x2, #64",
    "b.hi ashlar_user_bulk_copy",
    "add x4, x1, x2",
    "add x5, x0, x2",
    "ldtr x6, [x1]",
    "ldtr x7, [x1, #8]",
    "ldtr x8, [x4, #-16]",
    "ldtr x9, [x4, #-8]",
    "cmp x2, #32",
    "b.ls 5f",
    "ldtr x10, [x1, #16]", // 33..=64
    "ldtr x11, [x1, #24]",
    "ldtr x12, [x4, #-32]",
    "ldtr x13, [x4, #-24]",
    "stp x10, x11, [x0, #16]",
    "stp x12, x13, [x5, #-32]",
    "5: stp x6, x7, [x0]",
    "stp x8, x9, [x5, #-16]",
    "mov x0, #0",
    "ret",
    // x0 target in user space, x1 source, x2 length, w3 whether there is PAN
    ".p2align 4",
    ".globl ashlar_user_copy_to",
    "ashlar_user_copy_to:",
    "cmp x2, #16",
    "b.hi 4f",
    "cmp x2, #8",
    "b.lo 1f",
    "add x4, x1, x2", // 8..=16
    "ldr x6, [x1]",
    "ldr x7, [x4, #-8]",
    "add x5, x0, x2",
    "sttr x6, [x0]",
    "sttr x7, [x5, #-8]",
    "mov x0, #0",
    "ret",
    "1: tbz w2, #2, 2f",
    "add x4, x1, x2", // 4..=7
    "ldr w6, [x1]",
    "ldur w7, [x4, #-4]",
    "add x5, x0, x2",
    "sttr w6, [x0]",
    "sttr w7, [x5, #-4]",
    "mov x0, #0",
    "ret",
    "2: cbz x2, 3f",
    "ldrb w6, [x1]", // 1..=3
    "sttrb w6, [x0]",
    "cmp x2, #1",
    "b.eq 3f",
    "add x4, x1, x2",
    "ldrb w6, [x1, #1]",
    "ldrb w7, [x4, #-1]",
    "add x5, x0, x2",
    "sttrb w6, [x0, #1]",
    "sttrb w7, [x5, #-1]",
    "3: mov x0, #0",
    "ret",
    "4: cmp x2, #64",
    "b.hi ashlar_user_bulk_copy",
    "add x4, x1, x2",
    "add x5, x0, x2",
    "ldp x6, x7, [x1]",
    "ldp x8, x9, [x4, #-16]",
    "cmp x2, #32",
    "b.ls 5f",
    "ldp x10, x11, [x1, #16]", // 33..=64
    "ldp x12, x13, [x4, #-32]",
    "sttr x10, [x0, #16]",
    "sttr x11, [x0, #24]",
    "sttr x12, [x5, #-32]",
    "sttr x13, [x5, #-24]",
    "5: sttr x6, [x0]",
    "sttr x7, [x0, #8]",
    "sttr x8, [x5, #-16]",
    "sttr x9, [x5, #-8]",
    "mov x0, #0",
    "ret",
    // x0 target, x1 source in user space, x2 limit, x3 where the length goes (the limit when there was no NUL)
    ".p2align 4",
    ".globl ashlar_user_string",
    "ashlar_user_string:",
    "mov x4, x0",
    "mov x8, #0x0101010101010101",
    "1: cbz x2, 5f",
    // x9: bytes until the page's or the buffer's end
    "orr x9, x1, #0xfffffffffffff000",
    "neg x9, x9",
    "cmp x9, x2",
    "csel x9, x9, x2, lo",
    "sub x2, x2, x9",
    "2: subs x9, x9, #8",
    "b.lo 3f",
    "ldtr x5, [x1]",
    "add x1, x1, #8",
    "str x5, [x0], #8",
    "sub x6, x5, x8",
    "orr x7, x5, #0x7f7f7f7f7f7f7f7f",
    "bics x6, x6, x7",
    "b.eq 2b",
    "rev x6, x6", // the word holds a NUL; only its lowest mark is sure
    "clz x6, x6",
    "sub x0, x0, #8",
    "add x0, x0, x6, lsr #3",
    "b 5f",
    "3: adds x9, x9, #8", // less than a word
    "b.eq 1b",
    "4: ldtrb w5, [x1]",
    "strb w5, [x0]",
    "cbz w5, 5f",
    "add x1, x1, #1",
    "add x0, x0, #1",
    "subs x9, x9, #1",
    "b.ne 4b",
    "b 1b",
    "5: sub x0, x0, x4",
    "str x0, [x3]",
    "mov x0, #0",
    "ret",
    // x0 address, x1 where the value goes
    ".p2align 4",
    ".globl ashlar_user_load_u32",
    "ashlar_user_load_u32:",
    "ldtr w4, [x0]",
    "str w4, [x1]",
    "mov x0, #0",
    "ret",
    // From here on with PAN open.
    ".globl ashlar_user_access_open",
    "ashlar_user_access_open:",
    // x0 target, x1 source, x2 length above 64, w3 whether there is PAN
    ".p2align 4",
    ".globl ashlar_user_bulk_copy",
    "ashlar_user_bulk_copy:",
    open_user!(),
    "add x4, x1, x2",
    "add x5, x0, x2",
    "subs x2, x2, #128",
    "b.ls 2f",
    "1:",
    copy_64!(),
    copy_64!(),
    "subs x2, x2, #128",
    "b.hi 1b",
    // The last 128 bytes or fewer, by the last 128 once more. Their first half may be done already.
    "sub x1, x4, #128",
    "sub x0, x5, #128",
    "2:",
    copy_64!(),
    "sub x1, x4, #64",
    "sub x0, x5, #64",
    copy_64!(),
    close_user!(),
    "mov x0, #0",
    "ret",
    // x0 target in user space, x2 length, w3 whether there is PAN
    ".p2align 4",
    ".globl ashlar_user_zero",
    "ashlar_user_zero:",
    open_user!(),
    "subs x2, x2, #64",
    "b.lo 2f",
    "1: stp xzr, xzr, [x0], #64",
    "stp xzr, xzr, [x0, #-48]",
    "stp xzr, xzr, [x0, #-32]",
    "stp xzr, xzr, [x0, #-16]",
    "subs x2, x2, #64",
    "b.hs 1b",
    // The rest's length stands in the low six bits.
    "2: tbz w2, #5, 3f",
    "stp xzr, xzr, [x0], #16",
    "stp xzr, xzr, [x0], #16",
    "3: tbz w2, #4, 4f",
    "stp xzr, xzr, [x0], #16",
    "4: tbz w2, #3, 5f",
    "str xzr, [x0], #8",
    "5: tbz w2, #2, 6f",
    "str wzr, [x0], #4",
    "6: tbz w2, #1, 7f",
    "strh wzr, [x0], #2",
    "7: tbz w2, #0, 8f",
    "strb wzr, [x0]",
    "8:",
    close_user!(),
    "mov x0, #0",
    "ret",
    // x0 address, w1 expected, w2 new, w3 whether there is PAN, x4 where the value found goes
    ".p2align 4",
    ".globl ashlar_user_compare_exchange_u32",
    "ashlar_user_compare_exchange_u32:",
    open_user!(),
    "1: ldaxr w5, [x0]",
    "cmp w5, w1",
    "b.ne 2f",
    "stlxr w6, w2, [x0]",
    "cbnz w6, 1b",
    "2: dmb ish",
    close_user!(),
    "str w5, [x4]",
    "mov x0, #0",
    "ret",
    ".globl ashlar_user_access_end",
    "ashlar_user_access_end:",
    ".globl ashlar_user_access_open_fault",
    "ashlar_user_access_open_fault:",
    close_user!(),
    ".globl ashlar_user_access_fault",
    "ashlar_user_access_fault:",
    "mov x0, #1",
    "ret",
    ".arch_extension nopan",
    ".popsection",
);

unsafe extern "C" {
    fn ashlar_user_copy_from(target: u64, source: u64, length: usize, has_pan: u32) -> u64;
    fn ashlar_user_copy_to(target: u64, source: u64, length: usize, has_pan: u32) -> u64;
    fn ashlar_user_string(target: u64, source: u64, limit: usize, length: *mut usize) -> u64;
    fn ashlar_user_load_u32(source: u64, value: *mut u32) -> u64;
    fn ashlar_user_zero(target: u64, unused: u64, length: usize, has_pan: u32) -> u64;
    fn ashlar_user_compare_exchange_u32(target: u64, expected: u32, new: u32, has_pan: u32, found: *mut u32) -> u64;
    static ashlar_user_access_start: u8;
    static ashlar_user_access_open: u8;
    static ashlar_user_access_end: u8;
    static ashlar_user_access_open_fault: u8;
    static ashlar_user_access_fault: u8;
}

/// 1 where the CPUs have PAN, which [`initialize`] finds out.
static HAS_PAN: AtomicU32 = AtomicU32::new(0);

/// Notes whether the CPUs have PAN. Until then user memory cannot be reached on a CPU that has set it.
///
/// # Safety
/// Every CPU has PAN, or none is told of it; called once, before the first access to user memory.
pub unsafe fn initialize(privileged_access_never: bool) {
    HAS_PAN.store(privileged_access_never.into(), Relaxed);
}

/// Where to go on when the instruction at `program_counter` may fault and did; `None` when it may not.
#[must_use]
pub fn fault_continuation(program_counter: u64) -> Option<u64> {
    let address = |symbol: *const u8| symbol.addr() as u64;
    let start = address(&raw const ashlar_user_access_start);
    let open = address(&raw const ashlar_user_access_open);
    let end = address(&raw const ashlar_user_access_end);
    match program_counter {
        at if (start..open).contains(&at) => Some(address(&raw const ashlar_user_access_fault)),
        at if (open..end).contains(&at) => Some(address(&raw const ashlar_user_access_open_fault)),
        _ => None,
    }
}

/// Checks that `length` bytes from `start` end at or below the end of user space.
#[inline]
fn check(start: VirtualAddress, length: usize) -> Result<u64, UserFault> {
    match start.value().checked_add(length as u64) {
        Some(end) if end <= Aarch64::USER_END.value() => Ok(start.value()),
        _ => Err(UserFault),
    }
}

#[inline]
fn outcome(status: u64) -> Result<(), UserFault> {
    if status == 0 { Ok(()) } else { Err(UserFault) }
}

impl UserAccess for Aarch64 {
    #[inline]
    fn copy_from_user(target: &mut [u8], source: VirtualAddress) -> Result<(), UserFault> {
        let source = check(source, target.len())?;
        let to = target.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: `target` is ours; `source` lies in user space and may fault.
        outcome(unsafe { ashlar_user_copy_from(to, source, target.len(), HAS_PAN.load(Relaxed)) })
    }
    #[inline]
    fn copy_to_user(target: VirtualAddress, source: &[u8]) -> Result<(), UserFault> {
        let target = check(target, source.len())?;
        let from = source.as_ptr().expose_provenance() as u64;
        // SAFETY: `source` is ours; `target` lies in user space and may fault.
        outcome(unsafe { ashlar_user_copy_to(target, from, source.len(), HAS_PAN.load(Relaxed)) })
    }
    fn zero_user(target: VirtualAddress, length: usize) -> Result<(), UserFault> {
        let target = check(target, length)?;
        // SAFETY: `target` lies in user space and may fault.
        outcome(unsafe { ashlar_user_zero(target, 0, length, HAS_PAN.load(Relaxed)) })
    }
    fn copy_string_from_user(target: &mut [u8], source: VirtualAddress) -> Result<Option<usize>, UserFault> {
        let space = Aarch64::USER_END.value().checked_sub(source.value()).ok_or(UserFault)?;
        let limit = target.len().min(usize::try_from(space).unwrap_or(usize::MAX));
        let to = target.as_mut_ptr().expose_provenance() as u64;
        let mut length = 0;
        // SAFETY: at most `limit` bytes of `target` are written; the source lies in user space and may fault.
        outcome(unsafe { ashlar_user_string(to, source.value(), limit, &raw mut length) })?;
        match length {
            _ if length < limit => Ok(Some(length)),
            _ if limit < target.len() => Err(UserFault),
            _ => Ok(None),
        }
    }
    #[inline]
    fn load_u32(source: VirtualAddress) -> Result<u32, UserFault> {
        let source = check(source, 4)?;
        let mut value = 0;
        // SAFETY: `source` lies in user space and may fault.
        outcome(unsafe { ashlar_user_load_u32(source, &raw mut value) })?;
        Ok(value)
    }
    fn compare_exchange_u32(target: VirtualAddress, expected: u32, new: u32) -> Result<u32, UserFault> {
        let target = check(target, 4)?;
        let mut found = 0;
        // SAFETY: `target` lies in user space and may fault.
        outcome(unsafe {
            ashlar_user_compare_exchange_u32(target, expected, new, HAS_PAN.load(Relaxed), &raw mut found)
        })?;
        Ok(found)
    }
}
