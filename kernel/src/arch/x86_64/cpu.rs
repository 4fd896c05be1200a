//! Interrupt masking, per-CPU data through `gs`, idling, random numbers.
//!
//! Invariant: while the kernel runs, `gs` points to this CPU's [`CpuLocal`] (entry code swaps it); user mode has its own.

#![allow(unsafe_code, reason = "privileged instructions and gs-relative accesses")]

use super::{X86_64, features};
use crate::arch::latency::{self, Section};
use crate::arch::{Cpu, CpuLocal, ThreadHead, cpu_local::offset};
use crate::base::VirtualAddress;
use core::arch::asm;

const INTERRUPT_FLAG: u64 = 1 << 9;

impl Cpu for X86_64 {
    fn describe_cpu(cpu: crate::base::CpuId, text: &mut alloc::vec::Vec<u8>) {
        super::cpu_information::describe(cpu, text);
    }
    fn show_node(node: u8) {
        super::segments::set_node(node);
    }
    #[inline]
    fn interrupts_are_enabled() -> bool {
        let flags: u64;
        // SAFETY: reads the flags through the stack.
        unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
        flags & INTERRUPT_FLAG != 0
    }
    #[inline]
    fn enable_interrupts() {
        latency::ends(Section::InterruptsOff);
        // SAFETY: the handlers are installed before the first call. Not `nomem`: a critical section ends here.
        unsafe { asm!("sti", options(nostack)) };
    }
    #[inline]
    fn disable_interrupts() {
        // SAFETY: masks interrupts. Not `nomem`: a critical section begins here.
        unsafe { asm!("cli", options(nostack)) };
        latency::began(Section::InterruptsOff);
    }
    #[inline]
    fn save_and_disable_interrupts() -> bool {
        let flags: u64;
        // SAFETY: as above.
        unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
        latency::began(Section::InterruptsOff);
        flags & INTERRUPT_FLAG != 0
    }
    #[inline]
    fn wait_for_interrupt() {
        latency::ends(Section::InterruptsOff);
        // SAFETY: `sti` takes effect after the next instruction, so no interrupt comes between the two.
        unsafe { asm!("sti", "hlt", options(nostack)) };
    }
    #[inline]
    fn relax() {
        core::hint::spin_loop();
    }
    fn synchronize_instructions() {
        // An instruction that serializes.
        let _ = core::arch::x86_64::__cpuid(0);
    }
    #[inline]
    fn local() -> &'static CpuLocal {
        let pointer: *const CpuLocal;
        // SAFETY: in the kernel `gs` points to this CPU's block, whose first field is its own address.
        unsafe {
            asm!("mov {}, gs:[{}]", out(reg) pointer, const offset::SELF_POINTER, options(nostack, preserves_flags, readonly));
            &*pointer
        }
    }
    fn hardware_identifier() -> u64 {
        // The initial local APIC identifier; the extended one where there may be more than 255.
        let basic = core::arch::x86_64::__cpuid(0).eax;
        if basic >= 0x0b {
            let topology = core::arch::x86_64::__cpuid_count(0x0b, 0);
            if topology.ebx != 0 {
                return topology.edx.into();
            }
        }
        u64::from(core::arch::x86_64::__cpuid(1).ebx >> 24)
    }
    #[inline]
    fn disable_preemption() {
        // SAFETY: one instruction on this CPU's own counter. Not `nomem`: a critical section begins.
        unsafe { asm!("inc dword ptr gs:[{}]", const offset::PREEMPTION_COUNT, options(nostack)) };
        if latency::is_on() && Self::preemption_count() == 1 {
            latency::began(Section::PreemptionOff);
        }
    }
    #[inline]
    fn enable_preemption() -> bool {
        if latency::is_on() && Self::preemption_count() == 1 {
            latency::ends(Section::PreemptionOff);
        }
        let due: u8;
        // SAFETY: as above. An interrupt in between reschedules by itself if it wants to.
        unsafe {
            asm!(
                "dec dword ptr gs:[{count}]",
                "setz {due}",
                "and {due}, byte ptr gs:[{wanted}]",
                count = const offset::PREEMPTION_COUNT,
                wanted = const offset::NEED_RESCHEDULE,
                due = out(reg_byte) due,
                options(nostack),
            );
        }
        due != 0
    }
    #[inline]
    fn preemption_count() -> u32 {
        let count: u32;
        // SAFETY: one load from this CPU's block.
        unsafe {
            asm!("mov {:e}, gs:[{}]", out(reg) count, const offset::PREEMPTION_COUNT, options(nostack, preserves_flags, readonly));
        }
        count
    }
    #[inline]
    unsafe fn set_current_thread(thread: *const ThreadHead) {
        Self::local().set_current_thread(thread);
    }
    #[inline]
    fn current_thread() -> *const ThreadHead {
        let thread: *const ThreadHead;
        // SAFETY: one load from this CPU's block.
        unsafe {
            asm!("mov {}, gs:[{}]", out(reg) thread, const offset::CURRENT_THREAD, options(nostack, preserves_flags, readonly));
        }
        thread
    }
    #[inline(always)]
    fn frame_pointer() -> VirtualAddress {
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, rbp", out(reg) value, options(nomem, nostack, preserves_flags)) };
        VirtualAddress::new(value)
    }
    fn random() -> Option<u64> {
        if !features::has(features::Features::RDRAND) {
            return None;
        }
        for _ in 0..10 {
            let value: u64;
            let worked: u8;
            // SAFETY: the CPU has the instruction.
            unsafe {
                asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) worked, options(nomem, nostack));
            }
            if worked != 0 {
                return Some(value);
            }
        }
        None
    }
    fn halt() -> ! {
        loop {
            // SAFETY: stops for good; a non-maskable interrupt wakes it and it stops again.
            unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
        }
    }
}
