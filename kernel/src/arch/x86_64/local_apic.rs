//! The local APIC: end of interrupt, one-shot timer; x2APIC registers where the CPU has them, memory otherwise.

#![allow(unsafe_code, reason = "device registers")]

use super::features::{self, Features};
use super::vectors::{SPURIOUS_VECTOR, TIMER_VECTOR};
use super::{mmu, model_specific};
use crate::base::PhysicalAddress;

const BASE_ADDRESS: u64 = 0xfee0_0000;
const IDENTIFIER: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const COMMAND: u32 = 0x300;
const COMMAND_TARGET: u32 = 0x310;
const TIMER_ENTRY: u32 = 0x320;
const LINT0_ENTRY: u32 = 0x350;
const LINT1_ENTRY: u32 = 0x360;
const ERROR_ENTRY: u32 = 0x370;
const INITIAL_COUNT: u32 = 0x380;
const CURRENT_COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const DEADLINE_MODE: u32 = 0b10 << 17;
const DIVIDE_BY_ONE: u32 = 0b1011;
const NON_MASKABLE_MODE: u32 = 0b100 << 8;

fn is_x2apic() -> bool {
    features::has(Features::X2APIC)
}

fn write(register: u32, value: u32) {
    if is_x2apic() {
        // SAFETY: the mode is on (`enable`), and the registers written here exist in it.
        unsafe { model_specific::write(model_specific::X2APIC_FIRST + (register >> 4), value.into()) };
    } else {
        let address = mmu::physmap(PhysicalAddress::new(BASE_ADDRESS + u64::from(register)));
        // SAFETY: the register page is part of physmap, or mapped by `boot`; it is a device.
        unsafe { (address.value() as *mut u32).write_volatile(value) };
    }
}

fn read(register: u32) -> u32 {
    if is_x2apic() {
        // SAFETY: as in `write`.
        unsafe { model_specific::read(model_specific::X2APIC_FIRST + (register >> 4)) as u32 }
    } else {
        let address = mmu::physmap(PhysicalAddress::new(BASE_ADDRESS + u64::from(register)));
        // SAFETY: as in `write`.
        unsafe { (address.value() as *const u32).read_volatile() }
    }
}

/// Switches this CPU's APIC on, all its own sources masked but NMI.
pub fn enable() {
    const ENABLE: u64 = 1 << 11;
    const X2APIC_ENABLE: u64 = 1 << 10;
    const SOFTWARE_ENABLE: u32 = 1 << 8;
    // SAFETY: the CPU has an APIC, as the caller found out; the base stays where firmware put it.
    unsafe {
        let mut base = model_specific::read(model_specific::APIC_BASE);
        // The mode goes up one step at a time: from disabled straight to x2APIC is a general protection fault, and so is
        // the way back from x2APIC, where firmware may have left it already.
        if base & ENABLE == 0 {
            base |= ENABLE;
            model_specific::write(model_specific::APIC_BASE, base);
        }
        if is_x2apic() && base & X2APIC_ENABLE == 0 {
            model_specific::write(model_specific::APIC_BASE, base | X2APIC_ENABLE);
        }
    }
    write(TASK_PRIORITY, 0);
    write(TIMER_ENTRY, MASKED | u32::from(TIMER_VECTOR));
    write(LINT0_ENTRY, MASKED);
    write(LINT1_ENTRY, NON_MASKABLE_MODE);
    write(ERROR_ENTRY, MASKED | u32::from(SPURIOUS_VECTOR));
    write(DIVIDE, DIVIDE_BY_ONE);
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
}

/// This CPU's APIC number.
#[must_use]
pub fn identifier() -> u32 {
    if is_x2apic() { read(IDENTIFIER) } else { read(IDENTIFIER) >> 24 }
}

/// Ends the interrupt in service.
#[inline]
pub fn acknowledge() {
    write(END_OF_INTERRUPT, 0);
}

/// What the interrupt command register sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// An ordinary interrupt with this vector.
    Vector(u8),
    /// A non-maskable interrupt.
    NonMaskable,
    /// Back to the state after power-on, waiting for [`Self::Start`].
    Initialize,
    /// Start in real mode at this page of the first MiB.
    Start(u8),
}

impl Command {
    /// The register's low word.
    const fn bits(self) -> u32 {
        /// Level "assert", as every command but INIT's de-assertion (of old) wants it.
        const ASSERT: u32 = 1 << 14;
        ASSERT
            | match self {
                Self::Vector(vector) => vector as u32,
                Self::NonMaskable => 0b100 << 8,
                Self::Initialize => 0b101 << 8,
                Self::Start(page) => 0b110 << 8 | page as u32,
            }
    }
}

/// Sends `command` to the CPU whose APIC has the number `target`. What was stored before is visible to the target when it arrives. Interrupts are
/// masked, because two writes make a command where there is no x2APIC.
pub fn send(target: u32, command: Command) {
    const PENDING: u32 = 1 << 12;
    if is_x2apic() {
        // The write is not ordered after stores to memory by itself (Intel, volume 3, 11.12.3).
        // SAFETY: fences change nothing; the mode is on, and the register exists in it.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            let value = u64::from(target) << 32 | u64::from(command.bits());
            model_specific::write(model_specific::X2APIC_FIRST + (COMMAND >> 4), value);
        }
        return;
    }
    // The register is busy until the last command has left; so for ever only on broken hardware.
    for _ in 0..1_000_000 {
        if read(COMMAND) & PENDING == 0 {
            break;
        }
        core::hint::spin_loop();
    }
    write(COMMAND_TARGET, target << 24);
    write(COMMAND, command.bits());
}

/// Starts the count down from `count` without interrupt, for measuring.
pub fn start_counting(count: u32) {
    write(TIMER_ENTRY, MASKED | u32::from(TIMER_VECTOR));
    write(INITIAL_COUNT, count);
}

/// The count left.
#[must_use]
pub fn count() -> u32 {
    read(CURRENT_COUNT)
}

/// Makes the timer interrupt once per alarm.
pub fn enable_timer(deadline_mode: DeadlineMode) {
    match deadline_mode {
        DeadlineMode::Counter => write(TIMER_ENTRY, TIMER_VECTOR.into()),
        DeadlineMode::TimeStamp => {
            write(TIMER_ENTRY, DEADLINE_MODE | u32::from(TIMER_VECTOR));
            // The mode is in force before the first deadline is written.
            core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        }
    }
}

/// How alarms are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadlineMode {
    /// By a count of the APIC's own clock.
    Counter,
    /// By a value of the time-stamp counter.
    TimeStamp,
}

/// Interrupts after `count` (not 0) of the APIC's clock.
#[inline]
pub fn set_count(count: u32) {
    write(INITIAL_COUNT, count);
}

/// Interrupts when the time-stamp counter reaches `value`.
#[inline]
pub fn set_deadline(value: u64) {
    // SAFETY: the CPU has the register where this mode is used.
    unsafe { model_specific::write(model_specific::TSC_DEADLINE, value) };
}
