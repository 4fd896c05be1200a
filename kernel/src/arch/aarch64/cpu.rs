//! Interrupt masking, per-CPU data through `TPIDR_EL1`, idling, random numbers.
//!
//! Invariant: from boot on, `TPIDR_EL1` points to this CPU's [`CpuLocal`]; user mode cannot write it.
//!
//! The preemption counter is read, changed and written by three instructions. An interrupt in between leaves it as it was; a thread that is
//! preempted in between comes back to the same CPU, because threads stay on the CPU that they are queued on.

#![allow(unsafe_code, reason = "privileged instructions and accesses through TPIDR_EL1")]

use super::{Aarch64, cpu_information};
use crate::arch::{Cpu, CpuLocal, cpu_local::offset};
use crate::base::{CpuId, VirtualAddress};
use core::arch::asm;

/// The `I` bit of DAIF.
const INTERRUPTS_MASKED: u64 = 1 << 7;

/// The first CPU's block.
pub static BOOT_CPU: CpuLocal = CpuLocal::new(CpuId(0));

/// Makes `block` this CPU's.
pub(super) fn install(block: &'static CpuLocal) {
    block.set_self_pointer();
    // SAFETY: the block lives for good.
    unsafe { asm!("msr tpidr_el1, {}", in(reg) core::ptr::from_ref(block), options(nostack, preserves_flags)) };
}

impl Cpu for Aarch64 {
    fn describe_cpu(cpu: CpuId, text: &mut alloc::vec::Vec<u8>) {
        cpu_information::describe(cpu, text);
    }
    #[inline]
    fn interrupts_are_enabled() -> bool {
        let masks: u64;
        // SAFETY: reads the masks.
        unsafe { asm!("mrs {}, daif", out(reg) masks, options(nomem, nostack, preserves_flags)) };
        masks & INTERRUPTS_MASKED == 0
    }
    #[inline]
    fn enable_interrupts() {
        // SAFETY: the vectors are installed before the first call. Not `nomem`: a critical section ends here.
        unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
    }
    #[inline]
    fn disable_interrupts() {
        // SAFETY: masks interrupts. Not `nomem`: a critical section begins here.
        unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
    }
    #[inline]
    fn save_and_disable_interrupts() -> bool {
        let masks: u64;
        // SAFETY: as above.
        unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) masks, options(nostack, preserves_flags)) };
        masks & INTERRUPTS_MASKED == 0
    }
    #[inline]
    fn wait_for_interrupt() {
        // SAFETY: `wfi` ends for an interrupt that is masked, too, so none comes unseen between the two.
        unsafe { asm!("dsb sy", "wfi", "msr daifclr, #2", options(nostack, preserves_flags)) };
    }
    #[inline]
    fn relax() {
        core::hint::spin_loop();
    }
    #[inline]
    fn local() -> &'static CpuLocal {
        let pointer: *const CpuLocal;
        // SAFETY: the register points to this CPU's block, which lives for good.
        unsafe {
            asm!("mrs {}, tpidr_el1", out(reg) pointer, options(nostack, preserves_flags, readonly));
            &*pointer
        }
    }
    #[inline]
    fn disable_preemption() {
        // SAFETY: this CPU's own counter; see the module's description. Not `nomem`: a critical section begins.
        unsafe {
            asm!(
                "mrs {local}, tpidr_el1",
                "ldr {count:w}, [{local}, {offset}]",
                "add {count:w}, {count:w}, #1",
                "str {count:w}, [{local}, {offset}]",
                local = out(reg) _,
                count = out(reg) _,
                offset = const offset::PREEMPTION_COUNT,
                options(nostack, preserves_flags),
            );
        }
    }
    #[inline]
    fn enable_preemption() -> bool {
        let (count, wanted): (u32, u32);
        // SAFETY: as above. An interrupt in between reschedules by itself if it wants to.
        unsafe {
            asm!(
                "mrs {local}, tpidr_el1",
                "ldr {count:w}, [{local}, {offset}]",
                "sub {count:w}, {count:w}, #1",
                "str {count:w}, [{local}, {offset}]",
                "ldrb {wanted:w}, [{local}, {need}]",
                local = out(reg) _,
                count = out(reg) count,
                wanted = out(reg) wanted,
                offset = const offset::PREEMPTION_COUNT,
                need = const offset::NEED_RESCHEDULE,
                options(nostack, preserves_flags),
            );
        }
        count == 0 && wanted != 0
    }
    #[inline]
    fn current_thread() -> *const () {
        let thread: *const ();
        // SAFETY: one load from this CPU's block.
        unsafe {
            asm!(
                "mrs {thread}, tpidr_el1",
                "ldr {thread}, [{thread}, {offset}]",
                thread = out(reg) thread,
                offset = const offset::CURRENT_THREAD,
                options(nostack, preserves_flags, readonly),
            );
        }
        thread
    }
    #[inline(always)]
    fn frame_pointer() -> VirtualAddress {
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, x29", out(reg) value, options(nomem, nostack, preserves_flags)) };
        VirtualAddress::new(value)
    }
    fn random() -> Option<u64> {
        const RANDOM_NUMBER_SHIFT: u32 = 60;
        let features: u64;
        // SAFETY: reads an identification register.
        unsafe { asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags)) };
        if features >> RANDOM_NUMBER_SHIFT == 0 {
            return None;
        }
        for _ in 0..10 {
            let (value, worked): (u64, u64);
            // SAFETY: the CPU has RNDR, which says by the Z flag that it failed.
            unsafe {
                asm!("mrs {}, s3_3_c2_c4_0", "cset {}, ne", out(reg) value, out(reg) worked, options(nomem, nostack));
            }
            if worked != 0 {
                return Some(value);
            }
        }
        None
    }
    fn halt() -> ! {
        loop {
            // SAFETY: stops for good.
            unsafe { asm!("msr daifset, #0xf", "wfi", options(nomem, nostack)) };
        }
    }
}
