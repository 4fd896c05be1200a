//! Machine checks: the CPU has found that memory, a cache or a bus failed.
//!
//! Without CR4.MCE a machine check shuts the CPU down without a word. With it, the exception comes on its own stack; the banks say what
//! happened. A second one while MCG_STATUS.MCIP is set shuts the CPU down, too, so [`take_report`] clears it last.

#![allow(unsafe_code, reason = "control and model-specific registers")]
#![cfg_attr(not(target_os = "none"), allow(dead_code, reason = "called by the exception entry alone"))]

use super::features::{self, Features};
use super::model_specific;
use arrayvec::ArrayString;
use core::fmt::Write;

const CAPABILITIES: u32 = 0x179;
const STATUS: u32 = 0x17a;
const CONTROL: u32 = 0x17b;
/// The first bank's control register; each bank has four: control, status, address, miscellaneous.
const FIRST_BANK: u32 = 0x400;
const HAS_CONTROL: u64 = 1 << 8;
/// Bank status: it holds an error, and its address register says where.
const VALID: u64 = 1 << 63;
const HAS_ADDRESS: u64 = 1 << 58;

/// How many banks there are, by the capabilities register; 0 on a CPU without the architecture.
fn bank_count() -> u32 {
    if !features::has(Features::MACHINE_CHECK_BANKS) {
        return 0;
    }
    // SAFETY: the CPU has the register.
    (unsafe { model_specific::read(CAPABILITIES) } & 0xff) as u32
}

/// Lets machine checks come. Called once per CPU, after the interrupt table is loaded.
pub fn initialize() {
    const MACHINE_CHECK_ENABLE: u64 = 1 << 6;
    if !features::has(Features::MACHINE_CHECK) {
        return;
    }
    // SAFETY: the CPU has machine checks and the banks that it says it has; the exception has a handler and a stack.
    unsafe {
        if bank_count() != 0 && model_specific::read(CAPABILITIES) & HAS_CONTROL != 0 {
            model_specific::write(CONTROL, u64::MAX);
        }
        for bank in 0..bank_count() {
            model_specific::write(FIRST_BANK + 4 * bank, u64::MAX);
            // What the power-on left behind is no news.
            model_specific::write(FIRST_BANK + 4 * bank + 1, 0);
        }
        let mut control: u64;
        core::arch::asm!("mov {}, cr4", out(reg) control, options(nomem, nostack, preserves_flags));
        control |= MACHINE_CHECK_ENABLE;
        core::arch::asm!("mov cr4, {}", in(reg) control, options(nostack, preserves_flags));
    }
}

/// What the banks say, in words; they are empty afterwards.
pub fn take_report() -> ArrayString<96> {
    let mut text = ArrayString::new();
    let _ = write!(text, "machine check");
    // SAFETY: as in `initialize`.
    unsafe {
        for bank in 0..bank_count() {
            let register = FIRST_BANK + 4 * bank + 1;
            let status = model_specific::read(register);
            if status & VALID == 0 {
                continue;
            }
            // What does not fit is left out: the first bank says most.
            let _ = write!(text, ", bank {bank}: {status:#x}");
            if status & HAS_ADDRESS != 0 {
                let _ = write!(text, " at {:#x}", model_specific::read(register + 1));
            }
            model_specific::write(register, 0);
        }
        if bank_count() != 0 {
            model_specific::write(STATUS, 0);
        }
    }
    text
}
