//! The translation registers: CR3, `invlpg`.
//!
//! Address map (drawn in full in `memory/mod.rs`): user space below [`Mmu::USER_END`], physical memory from P4 slot 256, the
//! kernel's image in slot 510, the tables themselves in slot 511.

#![allow(unsafe_code, reason = "control registers")]

use super::{X86_64, features, page_copy};
use crate::arch::Mmu;
use crate::base::{PhysicalAddress, VirtualAddress};
use core::arch::asm;

/// Where physical address 0 is mapped: P4 slot 256.
pub const PHYSMAP_BASE: u64 = 0xffff_8000_0000_0000;
/// Where the kernel's image is linked, less its physical address: P4 slot 510.
pub const KERNEL_BASE: u64 = 0xffff_ff00_0000_0000;
/// The mask of the table's address in CR3.
const ROOT_MASK: u64 = 0x000f_ffff_ffff_f000;

/// The virtual address at which the byte at physical `address` is mapped.
#[must_use]
pub const fn physmap(address: PhysicalAddress) -> VirtualAddress {
    VirtualAddress::new(PHYSMAP_BASE.wrapping_add(address.value()))
}

impl Mmu for X86_64 {
    /// One page short of the canonical half, as on Linux: a `syscall` in the last page would return to an address that is
    /// not canonical.
    const USER_END: VirtualAddress = VirtualAddress::new(0x7fff_ffff_f000);
    #[inline]
    fn physmap_base() -> VirtualAddress {
        VirtualAddress::new(PHYSMAP_BASE)
    }
    #[inline]
    fn active_root() -> PhysicalAddress {
        let value: u64;
        // SAFETY: reads a control register.
        unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
        PhysicalAddress::new(value & ROOT_MASK)
    }
    #[inline]
    fn tag_count() -> u32 {
        if features::has(features::Features::PCID) { TAG_COUNT } else { 1 }
    }
    fn invalidate_everything() {
        invalidate_everything();
    }
    #[inline]
    unsafe fn activate(root: PhysicalAddress, tag: u16) {
        let tag = if features::has(features::Features::PCID) { tag } else { 0 };
        // SAFETY: the caller vouches for the tables, and that what is cached under the tag is theirs.
        unsafe { asm!("mov cr3, {}", in(reg) root_register(root, tag), options(nostack, preserves_flags)) };
    }
    #[inline]
    fn invalidate_page(address: VirtualAddress) {
        // SAFETY: forgetting a translation is always sound. Not `nomem`: it orders accesses to the page.
        unsafe { asm!("invlpg [{}]", in(reg) address.value(), options(nostack, preserves_flags)) };
    }
    #[inline]
    unsafe fn zero_page(page: VirtualAddress) {
        // SAFETY: the caller's promise.
        unsafe { page_copy::zero(page) };
    }
    #[inline]
    unsafe fn copy_page(target: VirtualAddress, source: VirtualAddress) {
        // SAFETY: the caller's promise.
        unsafe { page_copy::copy(target, source) };
    }
    #[inline]
    fn invalidate_all() {
        // SAFETY: reloading CR3 forgets translations and changes nothing else.
        unsafe {
            asm!("mov {scratch}, cr3", "mov cr3, {scratch}", scratch = out(reg) _, options(nostack, preserves_flags));
        }
    }
}

/// Process-context identifiers.
const TAG_COUNT: u32 = 4096;

/// What CR3 is loaded with for `root` under `tag` (12 bits). Translations that are cached under a tag are kept: bit 63 says so. Tag 0
/// is nobody's own, so its are forgotten.
const fn root_register(root: PhysicalAddress, tag: u16) -> u64 {
    const KEEP: u64 = 1 << 63;
    match tag as u64 & (TAG_COUNT as u64 - 1) {
        0 => root.value() & ROOT_MASK,
        tag => root.value() & ROOT_MASK | tag | KEEP,
    }
}

/// Forgets all translations of every tag on this CPU, global ones and cached table pointers included.
pub fn invalidate_everything() {
    const ALL_CONTEXTS_AND_GLOBAL: u64 = 2;
    const GLOBAL_PAGES: u64 = 1 << 7;
    if features::has(features::Features::INVPCID) {
        let descriptor = [0u64; 2];
        // SAFETY: forgetting translations is always sound. Not `nomem`: it orders accesses.
        unsafe {
            asm!("invpcid {}, [{}]", in(reg) ALL_CONTEXTS_AND_GLOBAL, in(reg) &raw const descriptor, options(nostack, preserves_flags));
        }
        return;
    }
    // SAFETY: changing whether pages are global, and changing it back, forgets every translation and nothing else.
    unsafe {
        let control: u64;
        asm!("mov {}, cr4", out(reg) control, options(nomem, nostack, preserves_flags));
        if control & GLOBAL_PAGES == 0 {
            // No page is global, and a CPU without global pages has no tags either.
            X86_64::invalidate_all();
            return;
        }
        asm!("mov cr4, {}", in(reg) control & !GLOBAL_PAGES, options(nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) control, options(nostack, preserves_flags));
    }
}

/// The address of the last page fault.
#[inline]
#[must_use]
pub fn fault_address() -> VirtualAddress {
    let value: u64;
    // SAFETY: reads a control register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    VirtualAddress::new(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_keeps_what_is_cached_under_it() {
        let root = PhysicalAddress::new(0x1234_5000);
        assert_eq!(root_register(root, 0), 0x1234_5000);
        assert_eq!(root_register(root, 1), 0x8000_0000_1234_5001);
        assert_eq!(root_register(root, 4095), 0x8000_0000_1234_5fff);
        assert_eq!(root_register(root, 4096), 0x1234_5000, "there are 4096 tags, and this is the first");
        assert_eq!(root_register(root, 7) & ROOT_MASK, root.value());
    }
}
