//! Clearing and copying whole pages.
//!
//! `dc zva` clears a block of the size that DCZID_EL0 says; where it may not be used, and for copies, pairs of registers.

#![allow(unsafe_code, reason = "stores to whole pages by address")]

use crate::base::{PAGE_SIZE, VirtualAddress};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Not looked up yet.
const UNKNOWN: u64 = 0;
/// `dc zva` may not be used.
const PROHIBITED: u64 = 1;

/// Bytes that `dc zva` clears, or one of the two values above.
static BLOCK: AtomicU64 = AtomicU64::new(UNKNOWN);

#[cold]
fn look_up_block() -> u64 {
    let identification: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) identification, options(nomem, nostack, preserves_flags)) };
    // Bit 4 prohibits; bits 0 to 3 are the logarithm of the words in a block. A page holds 8 blocks at least in the loop below.
    let size = 4u64 << (identification & 0xf);
    let block = if identification & 1 << 4 != 0 || size * 8 > PAGE_SIZE as u64 { PROHIBITED } else { size };
    BLOCK.store(block, Relaxed);
    block
}

/// Writes zeros over the page.
///
/// # Safety
/// As for `Mmu::zero_page`.
#[inline]
pub unsafe fn zero(page: VirtualAddress) {
    let block = match BLOCK.load(Relaxed) {
        UNKNOWN => look_up_block(),
        block => block,
    };
    let end = page.value().wrapping_add(PAGE_SIZE as u64);
    if block == PROHIBITED {
        // SAFETY: the caller's promise: the loop stores to the page and nowhere else.
        unsafe {
            asm!(
                "2:",
                "stp xzr, xzr, [{page}]",
                "stp xzr, xzr, [{page}, #16]",
                "stp xzr, xzr, [{page}, #32]",
                "stp xzr, xzr, [{page}, #48]",
                "stp xzr, xzr, [{page}, #64]",
                "stp xzr, xzr, [{page}, #80]",
                "stp xzr, xzr, [{page}, #96]",
                "stp xzr, xzr, [{page}, #112]",
                "add {page}, {page}, #128",
                "cmp {page}, {end}",
                "b.ne 2b",
                page = inout(reg) page.value() => _, end = in(reg) end, options(nostack),
            );
        }
        return;
    }
    // SAFETY: as above; a page is a multiple of eight blocks.
    unsafe {
        asm!(
            "2:",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "dc zva, {page}",
            "add {page}, {page}, {block}",
            "cmp {page}, {end}",
            "b.ne 2b",
            page = inout(reg) page.value() => _, block = in(reg) block, end = in(reg) end, options(nostack),
        );
    }
}

/// Copies the page at `source` to `target`.
///
/// # Safety
/// As for `Mmu::copy_page`.
#[inline]
pub unsafe fn copy(target: VirtualAddress, source: VirtualAddress) {
    let end = target.value().wrapping_add(PAGE_SIZE as u64);
    // SAFETY: the caller's promise: the loop reads one page and writes the other.
    unsafe {
        asm!(
            "2:",
            "ldp {a}, {b}, [{source}]",
            "ldp {c}, {d}, [{source}, #16]",
            "ldp {e}, {f}, [{source}, #32]",
            "ldp {g}, {h}, [{source}, #48]",
            "stp {a}, {b}, [{target}]",
            "stp {c}, {d}, [{target}, #16]",
            "stp {e}, {f}, [{target}, #32]",
            "stp {g}, {h}, [{target}, #48]",
            "ldp {a}, {b}, [{source}, #64]",
            "ldp {c}, {d}, [{source}, #80]",
            "ldp {e}, {f}, [{source}, #96]",
            "ldp {g}, {h}, [{source}, #112]",
            "add {source}, {source}, #128",
            "stp {a}, {b}, [{target}, #64]",
            "stp {c}, {d}, [{target}, #80]",
            "stp {e}, {f}, [{target}, #96]",
            "stp {g}, {h}, [{target}, #112]",
            "add {target}, {target}, #128",
            "cmp {target}, {end}",
            "b.ne 2b",
            target = inout(reg) target.value() => _, source = inout(reg) source.value() => _, end = in(reg) end,
            a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
            e = out(reg) _, f = out(reg) _, g = out(reg) _, h = out(reg) _,
            options(nostack),
        );
    }
}
