//! The translation registers: TTBR0 for user space, TTBR1 for the kernel, TLB maintenance.
//!
//! Address map (drawn in full in `memory/mod.rs`): user space below [`Mmu::USER_END`] by TTBR0; by TTBR1 physical memory from L0 slot
//! 256 and the kernel's image in slot 510. TLB maintenance is broadcast within the inner-shareable domain, so no CPU interrupts another for it.

#![allow(unsafe_code, reason = "system registers and TLB maintenance")]

use super::{Aarch64, page_copy};
use crate::arch::{Mmu, TableFormat};
use crate::base::{PhysicalAddress, VirtualAddress};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Where physical address 0 is mapped: L0 slot 256.
pub const PHYSMAP_BASE: u64 = 0xffff_8000_0000_0000;
/// Where the kernel's image is linked: L0 slot 510.
pub const KERNEL_BASE: u64 = 0xffff_ff00_0000_0000;
/// The mask of the table's address in TTBR0.
const ROOT_MASK: u64 = 0x0000_ffff_ffff_fffe;
/// Where the ASID is in TTBR0.
const TAG_SHIFT: u32 = 48;

/// The virtual address at which the byte at physical `address` is mapped.
#[must_use]
pub const fn physmap(address: PhysicalAddress) -> VirtualAddress {
    VirtualAddress::new(PHYSMAP_BASE.wrapping_add(address.value()))
}

/// TTBR0.
#[inline]
fn translation_base() -> u64 {
    let value: u64;
    // SAFETY: reads a system register.
    unsafe { asm!("mrs {}, ttbr0_el1", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// The operand of TLB maintenance by address: the ASID and the page's number.
#[inline]
fn operand(tag: u64, address: VirtualAddress) -> u64 {
    tag << TAG_SHIFT | address.value() >> 12 & 0xfff_ffff_ffff
}

impl Mmu for Aarch64 {
    const TABLE_FORMAT: TableFormat = TableFormat::ArmLpae;
    const COHERENT_INSTRUCTIONS: bool = false;
    const BROADCASTS_INVALIDATIONS: bool = true;
    const USER_END: VirtualAddress = VirtualAddress::new(1 << 48);
    #[inline]
    fn physmap_base() -> VirtualAddress {
        VirtualAddress::new(PHYSMAP_BASE)
    }
    #[inline]
    fn active_root() -> PhysicalAddress {
        PhysicalAddress::new(translation_base() & ROOT_MASK)
    }
    fn kernel_root() -> PhysicalAddress {
        let value: u64;
        // SAFETY: reads a system register.
        unsafe { asm!("mrs {}, ttbr1_el1", out(reg) value, options(nomem, nostack, preserves_flags)) };
        PhysicalAddress::new(value & ROOT_MASK)
    }
    fn tag_count() -> u32 {
        static TAG_COUNT: AtomicU32 = AtomicU32::new(0);
        match TAG_COUNT.load(Relaxed) {
            0 => {
                let model: u64;
                // SAFETY: reads an identification register.
                unsafe { asm!("mrs {}, id_aa64mmfr0_el1", out(reg) model, options(nomem, nostack, preserves_flags)) };
                // As the entry code sets TCR.
                let count = if model >> 4 & 0xf == 2 { 1 << 16 } else { 1 << 8 };
                TAG_COUNT.store(count, Relaxed);
                count
            }
            count => count,
        }
    }
    /// Nothing is forgotten. Under tag 0 nothing is cached: the empty table has no translations.
    #[inline]
    unsafe fn activate(root: PhysicalAddress, tag: u16) {
        let value = root.value() | u64::from(tag) << TAG_SHIFT;
        // SAFETY: the caller vouches for the tables. The first barrier lets the walker see what was stored to them.
        unsafe {
            asm!("dsb ishst", "msr ttbr0_el1, {}", "isb", in(reg) value, options(nostack, preserves_flags));
        }
    }
    #[inline]
    fn invalidate_page(address: VirtualAddress) {
        let operand = operand(translation_base() >> TAG_SHIFT, address);
        // SAFETY: forgetting a translation is always sound. `vae1is` forgets global translations of the page too, and the tables on the way.
        unsafe {
            asm!("dsb ishst", "tlbi vae1is, {}", "dsb ish", "isb", in(reg) operand, options(nostack, preserves_flags));
        }
    }
    /// One wait for all of them.
    fn shoot_down_pages(addresses: &[VirtualAddress]) {
        let tag = translation_base() >> TAG_SHIFT;
        // SAFETY: barriers, and forgetting translations, as above.
        unsafe {
            asm!("dsb ishst", options(nostack, preserves_flags));
            for address in addresses {
                asm!("tlbi vae1is, {}", in(reg) operand(tag, *address), options(nostack, preserves_flags));
            }
            asm!("dsb ish", "isb", options(nostack, preserves_flags));
        }
    }
    #[inline]
    fn invalidate_all() {
        let tag = translation_base() >> TAG_SHIFT << TAG_SHIFT;
        // SAFETY: as above.
        unsafe {
            asm!("dsb ishst", "tlbi aside1is, {}", "dsb ish", "isb", in(reg) tag, options(nostack, preserves_flags));
        }
    }
    fn invalidate_tag(tag: u16) {
        let tag = u64::from(tag) << TAG_SHIFT;
        // SAFETY: as above.
        unsafe {
            asm!("dsb ishst", "tlbi aside1is, {}", "dsb ish", "isb", in(reg) tag, options(nostack, preserves_flags));
        }
    }
    fn invalidate_everything() {
        // SAFETY: as above.
        unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags)) };
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
    fn publish_tables() {
        // SAFETY: barriers alone.
        unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
    }
    fn synchronise_instructions(start: VirtualAddress, length: usize) {
        let control: u64;
        // SAFETY: reads a system register.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) control, options(nomem, nostack, preserves_flags)) };
        let (data_line, instruction_line) = (4 << (control >> 16 & 0xf), 4 << (control & 0xf));
        let end = start.value() + length as u64;
        let lines = |size: u64| (start.value() & !(size - 1)..end).step_by(size as usize);
        // DIC and IDC say that a cache is coherent by itself.
        if control & 1 << 28 == 0 {
            for line in lines(data_line) {
                // SAFETY: cleaning a line changes no content.
                unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
            }
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
        if control & 1 << 29 == 0 {
            // Only a cache that is indexed by physical address (L1Ip 3) finds the lines that programs fetched by other addresses.
            if control >> 14 & 3 == 3 {
                for line in lines(instruction_line) {
                    // SAFETY: as above.
                    unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
                }
            } else {
                // SAFETY: as above.
                unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
            }
            // SAFETY: a barrier.
            unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("isb", options(nostack, preserves_flags)) };
    }
}
