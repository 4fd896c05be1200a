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
    /// Bit 63 of CR3 is not set, so the translations of `tag` are forgotten too: sound without generations.
    #[inline]
    unsafe fn activate(root: PhysicalAddress, tag: u16) {
        let tag = if features::has(features::Features::PCID) { u64::from(tag) & 0xfff } else { 0 };
        // SAFETY: the caller vouches for the tables.
        unsafe { asm!("mov cr3, {}", in(reg) root.value() | tag, options(nostack, preserves_flags)) };
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

/// The address of the last page fault.
#[inline]
#[must_use]
pub fn fault_address() -> VirtualAddress {
    let value: u64;
    // SAFETY: reads a control register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    VirtualAddress::new(value)
}
