//! Clearing and copying whole pages.
//!
//! Where the CPU has fast string instructions (ERMS), those. Elsewhere vector registers: 32 bytes at a time with AVX, 16 with SSE where
//! AVX-512 is there too (a VEX instruction would clear the upper part of the user's register).
//!
//! The kernel itself is compiled without vector registers, so they hold the running program's values: the one that is
//! used is kept on the stack meanwhile. Preemption is off, because a switch may skip saving the vector state of a thread that
//! runs no program; interrupts may stay on, because a handler that clears a page keeps the register in its turn.

#![allow(unsafe_code, reason = "vector and string instructions")]

use super::X86_64;
use super::extended_state;
use crate::arch::Cpu;
use crate::base::{PAGE_SIZE, VirtualAddress};
use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

const UNKNOWN: u8 = 0;
const STRING: u8 = 1;
const AVX: u8 = 2;
const SSE: u8 = 3;

/// XCR0: AVX may be used; AVX-512 may be used.
const AVX_STATE: u32 = 0b111;
const AVX512_STATE: u32 = 0xe0;

static METHOD: AtomicU8 = AtomicU8::new(UNKNOWN);

/// How this machine does it.
#[inline]
fn method() -> u8 {
    match METHOD.load(Relaxed) {
        UNKNOWN => choose(),
        method => method,
    }
}

#[cold]
fn choose() -> u8 {
    let components = extended_state::enabled_components();
    let extended = raw_cpuid::CpuId::new().get_extended_feature_info();
    let method = match extended {
        Some(found) if found.has_rep_movsb_stosb() => STRING,
        _ if components & AVX_STATE == AVX_STATE && components & AVX512_STATE == 0 => AVX,
        _ => SSE,
    };
    METHOD.store(method, Relaxed);
    method
}

/// Runs `work` with preemption off. The page is short: whoever wants this CPU gets it at the next interrupt or lock.
#[inline]
fn without_preemption(work: impl FnOnce()) {
    X86_64::disable_preemption();
    work();
    let _ = X86_64::enable_preemption();
}

/// Sixteen stores or copies of `$step` bytes.
macro_rules! sixteen {
    ($before:literal, $after:literal, 32) => {
        sixteen!($before, $after, 0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 480)
    };
    ($before:literal, $after:literal, 16) => {
        sixteen!($before, $after, 0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240)
    };
    ($before:literal, $after:literal, $($offset:literal),*) => {
        concat!($($before, $offset, $after, "\n"),*)
    };
}

/// Sixteen loads and stores of `$step` bytes each.
macro_rules! sixteen_pairs {
    ($load:literal, $middle:literal, $store:literal, $after:literal, $($offset:literal),*) => {
        concat!($($load, $offset, $middle, "\n", $store, $offset, $after, "\n"),*)
    };
}

/// Writes zeros over the page.
///
/// # Safety
/// As for `Mmu::zero_page`.
#[inline]
pub unsafe fn zero(page: VirtualAddress) {
    match method() {
        // SAFETY: the caller's promise.
        STRING => unsafe {
            asm!("rep stosb", inout("rcx") PAGE_SIZE => _, inout("rdi") page.value() => _, in("al") 0u8,
                options(nostack, preserves_flags));
        },
        AVX => {
            let mut kept = [0u64; 4];
            // SAFETY: the caller's promise; `ymm0` is put back, its flags are the only other trace.
            without_preemption(|| unsafe {
                asm!(
                    "vmovdqu [{kept}], ymm0",
                    "vpxor xmm0, xmm0, xmm0",
                    "2:",
                    sixteen!("vmovdqa [{page} + ", "], ymm0", 32),
                    "add {page}, 512",
                    "cmp {page}, {end}",
                    "jne 2b",
                    "vmovdqu ymm0, [{kept}]",
                    kept = in(reg) &raw mut kept, page = inout(reg) page.value() => _,
                    end = in(reg) page.value().wrapping_add(PAGE_SIZE as u64), options(nostack),
                );
            });
        }
        _ => {
            let mut kept = [0u64; 2];
            // SAFETY: as above, with `xmm0` by an instruction that leaves the register's upper part alone.
            without_preemption(|| unsafe {
                asm!(
                    "movups [{kept}], xmm0",
                    "xorps xmm0, xmm0",
                    "2:",
                    sixteen!("movaps [{page} + ", "], xmm0", 16),
                    "add {page}, 256",
                    "cmp {page}, {end}",
                    "jne 2b",
                    "movups xmm0, [{kept}]",
                    kept = in(reg) &raw mut kept, page = inout(reg) page.value() => _,
                    end = in(reg) page.value().wrapping_add(PAGE_SIZE as u64), options(nostack),
                );
            });
        }
    }
}

/// Copies the page at `source` to `target`.
///
/// # Safety
/// As for `Mmu::copy_page`.
#[inline]
pub unsafe fn copy(target: VirtualAddress, source: VirtualAddress) {
    match method() {
        // SAFETY: the caller's promise.
        STRING => unsafe {
            asm!("rep movsb", inout("rcx") PAGE_SIZE => _, inout("rdi") target.value() => _,
                inout("rsi") source.value() => _, options(nostack, preserves_flags));
        },
        AVX => {
            let mut kept = [0u64; 4];
            // SAFETY: the caller's promise; `ymm0` is put back.
            without_preemption(|| unsafe {
                asm!(
                    "vmovdqu [{kept}], ymm0",
                    "2:",
                    sixteen_pairs!("vmovdqa ymm0, [{source} + ", "]", "vmovdqa [{target} + ", "], ymm0",
                        0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 480),
                    "add {target}, 512",
                    "add {source}, 512",
                    "cmp {target}, {end}",
                    "jne 2b",
                    "vmovdqu ymm0, [{kept}]",
                    kept = in(reg) &raw mut kept, target = inout(reg) target.value() => _,
                    source = inout(reg) source.value() => _,
                    end = in(reg) target.value().wrapping_add(PAGE_SIZE as u64), options(nostack),
                );
            });
        }
        _ => {
            let mut kept = [0u64; 2];
            // SAFETY: as above, with `xmm0`.
            without_preemption(|| unsafe {
                asm!(
                    "movups [{kept}], xmm0",
                    "2:",
                    sixteen_pairs!("movaps xmm0, [{source} + ", "]", "movaps [{target} + ", "], xmm0",
                        0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240),
                    "add {target}, 256",
                    "add {source}, 256",
                    "cmp {target}, {end}",
                    "jne 2b",
                    "movups xmm0, [{kept}]",
                    kept = in(reg) &raw mut kept, target = inout(reg) target.value() => _,
                    source = inout(reg) source.value() => _,
                    end = in(reg) target.value().wrapping_add(PAGE_SIZE as u64), options(nostack),
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Page([u8; PAGE_SIZE]);

    // The methods that need no preemption count of the real machine are the ones that can run here.
    #[test]
    fn the_unrolled_offsets_cover_a_stride_once() {
        let offsets: Vec<u32> = sixteen!("", ";", 32).split(';').filter_map(|text| text.trim().parse().ok()).collect();
        assert_eq!(offsets, (0..16).map(|index| index * 32).collect::<Vec<_>>());
        let offsets: Vec<u32> = sixteen!("", ";", 16).split(';').filter_map(|text| text.trim().parse().ok()).collect();
        assert_eq!(offsets, (0..16).map(|index| index * 16).collect::<Vec<_>>());
    }

    #[test]
    fn string_instructions_clear_and_copy() {
        METHOD.store(STRING, Relaxed);
        let mut source = Box::new(Page([7; PAGE_SIZE]));
        let mut target = Box::new(Page([1; PAGE_SIZE]));
        let address = |page: &mut Page| VirtualAddress::new(page.0.as_mut_ptr().expose_provenance() as u64);
        // SAFETY: both are pages of this test.
        unsafe { copy(address(&mut target), address(&mut source)) };
        assert!(target.0.iter().all(|byte| *byte == 7));
        // SAFETY: as above.
        unsafe { zero(address(&mut target)) };
        assert!(target.0.iter().all(|byte| *byte == 0));
    }
}
