//! Switching off and resetting: PSCI, and semihosting for an emulator that wants to know how it went.

#![allow(unsafe_code, reason = "calls the emulator")]

use super::Aarch64;
use super::device_tree::Conduit;
use crate::arch::{Cpu, Power};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use smccc::{Hvc, Smc, psci};
use spin::Once;

static CONDUIT: Once<Option<Conduit>> = Once::new();
/// Whether the emulator listens, as the command line said.
static EXIT_REPORT: AtomicBool = AtomicBool::new(false);
/// What a panic is reported as.
const PANICKED: u64 = 0x7f;

/// Semihosting: writes one character to the emulator's channel.
const WRITE_CHARACTER: u64 = 0x03;
/// Semihosting: ends the emulator with a status.
const EXIT_EXTENDED: u64 = 0x20;
/// The reason that goes with it: the application ended.
const APPLICATION_EXIT: u64 = 0x2_0026;

/// Says how firmware is called; once, at boot.
pub(super) fn set_conduit(conduit: Option<Conduit>) {
    CONDUIT.call_once(|| conduit);
}

/// How firmware is called.
pub(super) fn conduit() -> Option<Conduit> {
    CONDUIT.get().copied().flatten()
}

/// Calls the emulator.
///
/// # Safety
/// One listens: anywhere else the instruction is undefined. `argument` is what the operation wants.
unsafe fn semihosting(operation: u64, argument: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("hlt #0xf000", inout("x0") operation => _, in("x1") argument, options(nostack)) };
}

/// Ends the emulator with `status`, if it listens.
fn report(status: u64) {
    if EXIT_REPORT.load(Relaxed) {
        let block = [APPLICATION_EXIT, status];
        // SAFETY: the emulator listens, as the command line said.
        unsafe { semihosting(EXIT_EXTENDED, (&raw const block).expose_provenance() as u64) };
    }
}

impl Power for Aarch64 {
    fn exit(status: u8) -> ! {
        Self::disable_interrupts();
        if EXIT_REPORT.load(Relaxed) {
            // SAFETY: the emulator listens, as the command line said; the byte lives until the call is over.
            unsafe { semihosting(WRITE_CHARACTER, (&raw const status).expose_provenance() as u64) };
            report(status.into());
        }
        Self::power_off()
    }

    fn power_off() -> ! {
        Self::disable_interrupts();
        // They return only where firmware refuses.
        let _ = match CONDUIT.get() {
            Some(Some(Conduit::Hypervisor)) => psci::system_off::<Hvc>(),
            Some(Some(Conduit::SecureMonitor)) => psci::system_off::<Smc>(),
            _ => Ok(()),
        };
        Self::halt()
    }

    fn reboot() -> ! {
        Self::disable_interrupts();
        let _ = match CONDUIT.get() {
            Some(Some(Conduit::Hypervisor)) => psci::system_reset::<Hvc>(),
            Some(Some(Conduit::SecureMonitor)) => psci::system_reset::<Smc>(),
            _ => Ok(()),
        };
        Self::halt()
    }

    fn enable_exit_report() {
        EXIT_REPORT.store(true, Relaxed);
    }

    fn report_panic() {
        report(PANICKED);
    }
}
