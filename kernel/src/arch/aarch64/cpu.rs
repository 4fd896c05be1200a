//! Interrupt masking, per-CPU data through `TPIDR_EL1`, idling, random numbers.
//!
//! Invariants, from boot on:
//! * `TPIDR_EL1` points to this CPU's [`CpuLocal`]; user mode cannot write it.
//! * In the kernel, which has its own stack pointer, `SP_EL0` points to the running thread's [`ThreadHead`], and until the CPU has a
//!   thread to the counter in its block ([`NO_THREAD`] tells the two apart). Entry from user mode loads it from the block, the way back restores
//!   the program's stack pointer; it moves with the thread, so what is reached through it is right on whatever CPU that is.
//!
//! The preemption counter stands where `SP_EL0` points. It is read, changed and written by three instructions: an interrupt in between leaves it
//! as it was, and a thread that is moved to another CPU in between takes it along.

#![allow(unsafe_code, reason = "privileged instructions and accesses through TPIDR_EL1")]

use super::{Aarch64, cpu_information};
use crate::arch::latency::{self, Section};
use crate::arch::{Cpu, CpuLocal, ThreadHead, cpu_local::offset};
use crate::base::{CpuId, VirtualAddress};
use core::arch::asm;

/// The `I` bit of DAIF.
const INTERRUPTS_MASKED: u64 = 1 << 7;

/// The first CPU's block.
pub static BOOT_CPU: CpuLocal = CpuLocal::new(CpuId(0));

/// The bit of `SP_EL0` that is set while the CPU has no thread, and points to its block.
const NO_THREAD: u64 = 1 << 3;
const _: () = assert!(align_of::<CpuLocal>() >= 16 && align_of::<ThreadHead>() >= 16);
const _: () = assert!(offset::PREEMPTION_COUNT as u64 % 16 == NO_THREAD);

/// Makes `block` this CPU's.
pub(super) fn install(block: &'static CpuLocal) {
    block.set_self_pointer();
    // SAFETY: the block lives for good. No thread runs yet.
    unsafe {
        asm!(
            "msr tpidr_el1, {block}",
            "msr sp_el0, {counter}",
            block = in(reg) core::ptr::from_ref(block),
            counter = in(reg) block.preemption_counter(),
            options(nostack, preserves_flags),
        );
    }
}

impl Cpu for Aarch64 {
    const COUNTS_PREEMPTION_IN_THREAD: bool = true;
    fn describe_cpu(cpu: CpuId, text: &mut alloc::vec::Vec<u8>) {
        cpu_information::describe(cpu, text);
    }
    fn hardware_identifier() -> u64 {
        super::processors::affinity()
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
        latency::ends(Section::InterruptsOff);
        // System errors come with them, and stay on when interrupts are masked again.
        // SAFETY: the vectors are installed before the first call. Not `nomem`: a critical section ends here.
        unsafe { asm!("msr daifclr, #6", options(nostack, preserves_flags)) };
    }
    #[inline]
    fn disable_interrupts() {
        // SAFETY: masks interrupts. Not `nomem`: a critical section begins here.
        unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
        latency::began(Section::InterruptsOff);
    }
    #[inline]
    fn save_and_disable_interrupts() -> bool {
        let masks: u64;
        // SAFETY: as above.
        unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) masks, options(nostack, preserves_flags)) };
        latency::began(Section::InterruptsOff);
        masks & INTERRUPTS_MASKED == 0
    }
    #[inline]
    fn wait_for_interrupt() {
        latency::ends(Section::InterruptsOff);
        // SAFETY: `wfi` ends for an interrupt that is masked, too, so none comes unseen between the two.
        unsafe { asm!("dsb sy", "wfi", "msr daifclr, #6", options(nostack, preserves_flags)) };
    }
    #[inline]
    fn relax() {
        // For emulators: QEMU with `-icount` runs one CPU at a time, and would let one that spins use up the others' turns, too. Processors do nothing.
        // SAFETY: a hint.
        unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
        // For processors: the `isb` in it holds back the loop's next loads.
        core::hint::spin_loop();
    }
    fn synchronize_instructions() {
        // SAFETY: a barrier; it changes nothing.
        unsafe { asm!("isb", options(nostack, preserves_flags)) };
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
        // SAFETY: the running thread's counter; see the module's description. Not `nomem`: a critical section begins.
        unsafe {
            asm!(
                "mrs {head}, sp_el0",
                "ldr {count:w}, [{head}]",
                "add {count:w}, {count:w}, #1",
                "str {count:w}, [{head}]",
                head = out(reg) _,
                count = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
        if latency::is_on() && Self::preemption_count() == 1 {
            latency::began(Section::PreemptionOff);
        }
    }
    #[inline]
    fn enable_preemption() -> bool {
        if latency::is_on() && Self::preemption_count() == 1 {
            latency::ends(Section::PreemptionOff);
        }
        let count: u32;
        // SAFETY: as above.
        unsafe {
            asm!(
                "mrs {head}, sp_el0",
                "ldr {count:w}, [{head}]",
                "sub {count:w}, {count:w}, #1",
                "str {count:w}, [{head}]",
                head = out(reg) _,
                count = out(reg) count,
                options(nostack, preserves_flags),
            );
        }
        // A request that came while the count was not zero stands in the block of this CPU; one that comes from now on is seen to by the
        // interrupt that brings it. A thread that is moved before it looks passed the scheduler on the way: it can only look once too often.
        count == 0 && Self::local().need_reschedule()
    }
    #[inline]
    fn preemption_count() -> u32 {
        let count: u32;
        // SAFETY: one load from the running thread's head.
        unsafe {
            asm!(
                "mrs {head}, sp_el0",
                "ldr {count:w}, [{head}]",
                head = out(reg) _,
                count = out(reg) count,
                options(nostack, preserves_flags, readonly),
            );
        }
        count
    }
    #[inline]
    fn current_thread() -> *const ThreadHead {
        let head: *const ThreadHead;
        // SAFETY: reads a register. Where the code runs on is the same thread, so the value may be kept.
        unsafe { asm!("mrs {}, sp_el0", out(reg) head, options(nomem, nostack, preserves_flags)) };
        if head.addr() as u64 & NO_THREAD != 0 {
            return core::ptr::null();
        }
        // SAFETY: the register points to a thread, then, so that who looks for null need not look again.
        unsafe { core::hint::assert_unchecked(!head.is_null()) };
        head
    }
    #[inline]
    unsafe fn set_current_thread(thread: *const ThreadHead) {
        Self::local().set_current_thread(thread);
        // SAFETY: the caller vouches for the thread. Interrupts are disabled, so that both change at once.
        unsafe { asm!("msr sp_el0, {}", in(reg) thread, options(nostack, preserves_flags)) };
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
