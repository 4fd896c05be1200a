//! Reaching user memory.
//!
//! All instructions that touch user memory lie in one region of code, `ashlar_user_access_start..end`, in functions that use
//! no stack and change no callee-saved register. When one faults for good, the fault handler sets the program counter to
//! `ashlar_user_access_fault`, which ends the function with the result 1: that is the whole exception table.
//!
//! Where the CPU has SMAP, the three-byte no-operations at the functions' ends are replaced by `stac` and `clac` at boot
//! ([`patch_smap`]). Bulk copies move eight bytes at a time: `rep movsb` is slow for short lengths, and counted by the
//! byte under QEMU's `-icount`.

#![allow(unsafe_code, reason = "user memory is reached through raw addresses in assembly")]

use super::X86_64;
use crate::arch::{Mmu, UserAccess, UserFault};
use crate::base::VirtualAddress;

core::arch::global_asm!(
    ".pushsection .text.ashlar_user_access, \"ax\"",
    ".p2align 6",
    ".globl ashlar_user_access_start",
    "ashlar_user_access_start:",
    // rdi target, rsi source, rdx length
    ".p2align 4",
    ".globl ashlar_user_copy",
    "ashlar_user_copy:",
    open_user!(),
    "cmp rdx, 32",
    "ja 5f",
    "cmp rdx, 8",
    "jb 2f",
    "cmp rdx, 16",
    "ja 4f",
    "mov rax, [rsi]",
    "mov rcx, [rsi + rdx - 8]",
    "mov [rdi], rax",
    "mov [rdi + rdx - 8], rcx",
    "1:",
    close_user!(),
    "xor eax, eax",
    "ret",
    "2:", // 0..=7
    "cmp edx, 4",
    "jae 3f",
    "test edx, edx",
    "jz 1b",
    "movzx eax, byte ptr [rsi]",
    "movzx ecx, byte ptr [rsi + rdx - 1]",
    "mov [rdi], al",
    "mov [rdi + rdx - 1], cl",
    "cmp edx, 3",
    "jb 1b",
    "movzx eax, byte ptr [rsi + 1]",
    "mov [rdi + 1], al",
    "jmp 1b",
    "3:", // 4..=7
    "mov eax, [rsi]",
    "mov ecx, [rsi + rdx - 4]",
    "mov [rdi], eax",
    "mov [rdi + rdx - 4], ecx",
    "jmp 1b",
    "4:", // 17..=32
    "mov rax, [rsi]",
    "mov rcx, [rsi + 8]",
    "mov r8, [rsi + rdx - 16]",
    "mov r9, [rsi + rdx - 8]",
    "mov [rdi], rax",
    "mov [rdi + 8], rcx",
    "mov [rdi + rdx - 16], r8",
    "mov [rdi + rdx - 8], r9",
    "jmp 1b",
    "5:", // more: whole words, then the last eight bytes once more
    "mov r8, [rsi + rdx - 8]",
    "lea r9, [rdi + rdx - 8]",
    "mov rcx, rdx",
    "shr rcx, 3",
    "rep movsq",
    "mov [r9], r8",
    "jmp 1b",
    // rdi target, rsi length
    ".p2align 4",
    ".globl ashlar_user_zero",
    "ashlar_user_zero:",
    open_user!(),
    "xor eax, eax",
    "mov rcx, rsi",
    "shr rcx, 3",
    "rep stosq",
    "mov ecx, esi",
    "and ecx, 7",
    "rep stosb",
    close_user!(),
    "ret",
    // rdi target, rsi source, rdx limit, rcx where the length goes (the limit when there was no NUL)
    ".p2align 4",
    ".globl ashlar_user_string",
    "ashlar_user_string:",
    open_user!(),
    "mov r11, rdi",
    "movabs r8, 0xfefefefefefefeff",
    "movabs r10, 0x8080808080808080",
    "1:",
    "cmp rdx, 8",
    "jb 3f",
    "mov eax, esi",
    "and eax, 4095",
    "cmp eax, 4088",
    "ja 3f",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "lea r9, [rax + r8]",
    "not rax",
    "and r9, rax",
    "and r9, r10",
    "jnz 2f",
    "add rsi, 8",
    "add rdi, 8",
    "sub rdx, 8",
    "jmp 1b",
    "2:", // the word holds a NUL
    "bsf rax, r9",
    "shr eax, 3",
    "add rdi, rax",
    "jmp 4f",
    "3:", // one byte: the page's or the buffer's end is near
    "test rdx, rdx",
    "jz 4f",
    "movzx eax, byte ptr [rsi]",
    "mov [rdi], al",
    "test eax, eax",
    "jz 4f",
    "inc rsi",
    "inc rdi",
    "dec rdx",
    "jmp 1b",
    "4:",
    close_user!(),
    "sub rdi, r11",
    "mov [rcx], rdi",
    "xor eax, eax",
    "ret",
    // rdi address, rsi where the value goes
    ".p2align 4",
    ".globl ashlar_user_load_u32",
    "ashlar_user_load_u32:",
    open_user!(),
    "mov eax, [rdi]",
    close_user!(),
    "mov [rsi], eax",
    "xor eax, eax",
    "ret",
    // rdi address, esi expected, edx new, rcx where the value found goes
    ".p2align 4",
    ".globl ashlar_user_compare_exchange_u32",
    "ashlar_user_compare_exchange_u32:",
    open_user!(),
    "mov eax, esi",
    "lock cmpxchg [rdi], edx",
    close_user!(),
    "mov [rcx], eax",
    "xor eax, eax",
    "ret",
    // rdi address, rsi feature mask
    ".p2align 4",
    ".globl ashlar_user_xsave",
    "ashlar_user_xsave:",
    open_user!(),
    "mov eax, esi",
    "xor edx, edx",
    "xsave64 [rdi]",
    close_user!(),
    "xor eax, eax",
    "ret",
    ".p2align 4",
    ".globl ashlar_user_xrstor",
    "ashlar_user_xrstor:",
    open_user!(),
    "mov eax, esi",
    "xor edx, edx",
    "xrstor64 [rdi]",
    close_user!(),
    "xor eax, eax",
    "ret",
    ".p2align 4",
    ".globl ashlar_user_fxsave",
    "ashlar_user_fxsave:",
    open_user!(),
    "fxsave64 [rdi]",
    close_user!(),
    "xor eax, eax",
    "ret",
    ".p2align 4",
    ".globl ashlar_user_fxrstor",
    "ashlar_user_fxrstor:",
    open_user!(),
    "fxrstor64 [rdi]",
    close_user!(),
    "xor eax, eax",
    "ret",
    ".globl ashlar_user_access_end",
    "ashlar_user_access_end:",
    ".p2align 4",
    ".globl ashlar_user_access_fault",
    "ashlar_user_access_fault:",
    close_user!(),
    "mov eax, 1",
    "ret",
    ".popsection",
);

unsafe extern "sysv64" {
    fn ashlar_user_copy(target: u64, source: u64, length: usize) -> u64;
    fn ashlar_user_zero(target: u64, length: usize) -> u64;
    fn ashlar_user_string(target: u64, source: u64, limit: usize, length: *mut usize) -> u64;
    fn ashlar_user_load_u32(source: u64, value: *mut u32) -> u64;
    fn ashlar_user_compare_exchange_u32(target: u64, expected: u32, new: u32, found: *mut u32) -> u64;
    fn ashlar_user_xsave(target: u64, mask: u32) -> u64;
    fn ashlar_user_xrstor(source: u64, mask: u32) -> u64;
    fn ashlar_user_fxsave(target: u64) -> u64;
    fn ashlar_user_fxrstor(source: u64) -> u64;
    static ashlar_user_access_start: u8;
    static ashlar_user_access_end: u8;
    static ashlar_user_access_fault: u8;
}

/// Where to go on when the instruction at `instruction_pointer` may fault and did; `None` when it may not.
#[must_use]
pub fn fault_continuation(instruction_pointer: u64) -> Option<u64> {
    let start = (&raw const ashlar_user_access_start).addr() as u64;
    let end = (&raw const ashlar_user_access_end).addr() as u64;
    (start..end).contains(&instruction_pointer).then(|| (&raw const ashlar_user_access_fault).addr() as u64)
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    #[link_name = "__start_ashlar_stac"]
    static STAC_START: i32;
    #[link_name = "__stop_ashlar_stac"]
    static STAC_STOP: i32;
    #[link_name = "__start_ashlar_clac"]
    static CLAC_START: i32;
    #[link_name = "__stop_ashlar_clac"]
    static CLAC_STOP: i32;
}

/// Replaces the no-operations by `stac` and `clac`. The CPU has SMAP.
///
/// # Safety
/// The kernel's code is writable still, and nothing else runs.
#[cfg(target_os = "none")]
pub unsafe fn patch_smap() {
    let patch = |first: *const i32, last: *const i32, code: [u8; 3]| {
        let mut entry = first;
        while entry < last {
            // SAFETY: the linker put the section's bounds there; each entry is the distance from itself to three bytes
            // of padding in the code, which the caller says is writable.
            unsafe {
                let place = entry.byte_offset(entry.read() as isize).cast_mut().cast::<[u8; 3]>();
                place.write(code);
                entry = entry.add(1);
            }
        }
    };
    patch(&raw const STAC_START, &raw const STAC_STOP, [0x0f, 0x01, 0xcb]);
    patch(&raw const CLAC_START, &raw const CLAC_STOP, [0x0f, 0x01, 0xca]);
}

/// Checks that `length` bytes from `start` end at or below the end of user space.
#[inline]
fn check(start: VirtualAddress, length: usize) -> Result<u64, UserFault> {
    match start.value().checked_add(length as u64) {
        Some(end) if end <= X86_64::USER_END.value() => Ok(start.value()),
        _ => Err(UserFault),
    }
}

#[inline]
fn outcome(status: u64) -> Result<(), UserFault> {
    if status == 0 { Ok(()) } else { Err(UserFault) }
}

impl UserAccess for X86_64 {
    #[inline]
    fn copy_from_user(target: &mut [u8], source: VirtualAddress) -> Result<(), UserFault> {
        let source = check(source, target.len())?;
        // SAFETY: `target` is ours; `source` lies in user space and may fault.
        outcome(unsafe { ashlar_user_copy(target.as_mut_ptr().addr() as u64, source, target.len()) })
    }
    #[inline]
    fn copy_to_user(target: VirtualAddress, source: &[u8]) -> Result<(), UserFault> {
        let target = check(target, source.len())?;
        // SAFETY: `source` is ours; `target` lies in user space and may fault.
        outcome(unsafe { ashlar_user_copy(target, source.as_ptr().addr() as u64, source.len()) })
    }
    fn zero_user(target: VirtualAddress, length: usize) -> Result<(), UserFault> {
        let target = check(target, length)?;
        // SAFETY: `target` lies in user space and may fault.
        outcome(unsafe { ashlar_user_zero(target, length) })
    }
    fn copy_string_from_user(target: &mut [u8], source: VirtualAddress) -> Result<Option<usize>, UserFault> {
        let space = X86_64::USER_END.value().checked_sub(source.value()).ok_or(UserFault)?;
        let limit = target.len().min(usize::try_from(space).unwrap_or(usize::MAX));
        let mut length = 0;
        // SAFETY: at most `limit` bytes of `target` are written; the source lies in user space and may fault.
        outcome(unsafe {
            ashlar_user_string(target.as_mut_ptr().addr() as u64, source.value(), limit, &raw mut length)
        })?;
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
        outcome(unsafe { ashlar_user_compare_exchange_u32(target, expected, new, &raw mut found) })?;
        Ok(found)
    }
}

/// Saves the registers of the components in `mask` to user memory with XSAVE. `target` is 64-byte aligned and the
/// header there is zero.
///
/// # Errors
/// [`UserFault`].
pub fn xsave_to_user(target: VirtualAddress, length: usize, mask: u32) -> Result<(), UserFault> {
    let target = check(target, length)?;
    // SAFETY: the instruction writes `length` bytes in user space at most and may fault.
    outcome(unsafe { ashlar_user_xsave(target, mask) })
}

/// Loads the registers of the components in `mask` from user memory with XRSTOR, which refuses a damaged image.
///
/// # Errors
/// [`UserFault`], with registers that may be partly loaded.
pub fn xrstor_from_user(source: VirtualAddress, length: usize, mask: u32) -> Result<(), UserFault> {
    let source = check(source, length)?;
    // SAFETY: the instruction reads user space, changes vector registers alone, and may fault.
    outcome(unsafe { ashlar_user_xrstor(source, mask) })
}

/// Saves the x87 and SSE registers to user memory. `target` is 16-byte aligned.
///
/// # Errors
/// [`UserFault`].
pub fn fxsave_to_user(target: VirtualAddress) -> Result<(), UserFault> {
    let target = check(target, 512)?;
    // SAFETY: writes 512 bytes in user space and may fault.
    outcome(unsafe { ashlar_user_fxsave(target) })
}

/// Loads the x87 and SSE registers from user memory.
///
/// # Errors
/// [`UserFault`].
pub fn fxrstor_from_user(source: VirtualAddress) -> Result<(), UserFault> {
    let source = check(source, 512)?;
    // SAFETY: reads 512 bytes in user space and may fault.
    outcome(unsafe { ashlar_user_fxrstor(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    // On the host every address below USER_END is "user space" for these functions: they are plain copies there.
    fn address(bytes: &[u8]) -> VirtualAddress {
        VirtualAddress::new(bytes.as_ptr().addr() as u64)
    }

    #[test]
    fn copies_of_every_short_length_are_exact() {
        let source: Vec<u8> = (0..200u8).collect();
        for length in 0..150 {
            for offset in 0..9 {
                let mut target = [0xffu8; 160];
                let from = VirtualAddress::new(address(&source).value() + offset as u64);
                X86_64::copy_from_user(&mut target[..length], from).unwrap();
                assert_eq!(target[..length], source[offset..offset + length]);
                assert!(target[length..].iter().all(|&byte| byte == 0xff), "length {length}");
            }
        }
    }

    #[test]
    fn strings_stop_at_the_nul_and_at_the_limit() {
        let source = b"a string of some length, longer than a word\0rest";
        for start in 0..44 {
            let mut target = [0xffu8; 64];
            let from = VirtualAddress::new(address(source).value() + start as u64);
            assert_eq!(X86_64::copy_string_from_user(&mut target, from), Ok(Some(43 - start)));
            assert_eq!(target[..44 - start], source[start..44]);
            let mut short = vec![0xffu8; 43 - start];
            assert_eq!(X86_64::copy_string_from_user(&mut short, from), Ok(None));
        }
    }

    #[test]
    fn zeroing_touches_nothing_else() {
        for length in 0..40 {
            let target = [0xffu8; 64];
            let at = VirtualAddress::new(address(&target).value() + 3);
            X86_64::zero_user(at, length).unwrap();
            let target = core::hint::black_box(target);
            assert!(target[..3].iter().all(|&byte| byte == 0xff));
        }
    }

    #[test]
    fn addresses_past_user_space_are_refused() {
        let end = X86_64::USER_END.value();
        assert_eq!(X86_64::copy_from_user(&mut [0; 8], VirtualAddress::new(end - 7)), Err(UserFault));
        assert_eq!(X86_64::copy_to_user(VirtualAddress::new(u64::MAX), &[0; 2]), Err(UserFault));
        assert_eq!(X86_64::copy_string_from_user(&mut [0; 8], VirtualAddress::new(end + 1)), Err(UserFault));
        assert_eq!(X86_64::load_u32(VirtualAddress::new(1 << 63)), Err(UserFault));
    }

    #[test]
    fn only_the_region_has_a_continuation() {
        let inside = (&raw const ashlar_user_access_start).addr() as u64;
        assert!(fault_continuation(inside).is_some());
        assert!(fault_continuation(inside - 1).is_none());
        assert!(fault_continuation(0).is_none());
    }

    #[test]
    fn compare_exchange_gives_the_value_found() {
        let word = core::sync::atomic::AtomicU32::new(5);
        let at = VirtualAddress::new((&raw const word).addr() as u64);
        assert_eq!(X86_64::compare_exchange_u32(at, 5, 6), Ok(5));
        assert_eq!(X86_64::compare_exchange_u32(at, 5, 7), Ok(6));
        assert_eq!(X86_64::load_u32(at), Ok(6));
    }
}
