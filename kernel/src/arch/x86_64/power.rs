//! Switching off and resetting.
//!
//! What ACPI's tables said is set once at boot ([`set_ports`]); without it the ports that emulators use are tried. Each way is
//! followed by the next, in case the machine ignores it.

#![allow(unsafe_code, reason = "port output")]

use super::{X86_64, port};
use crate::arch::{Cpu, Power};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use spin::Once;

/// How this machine is switched off and reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ports {
    /// PM1a control: the port and the value that sleeps in S5.
    pub sleep: Option<(u16, u16)>,
    /// Sleep control of a hardware-reduced machine: the register's address in memory, and the value.
    pub sleep_register: Option<(u64, u8)>,
    /// The reset register in ports, and its value.
    pub reset: Option<(u16, u8)>,
    /// The reset register in memory, and its value.
    pub reset_register: Option<(u64, u8)>,
}

static PORTS: Once<Ports> = Once::new();

/// Whether QEMU has its debug console and debug exit ports, and `xtask` waits behind them.
static EXIT_REPORT: AtomicBool = AtomicBool::new(false);
/// QEMU's `isa-debugcon`: takes the exit status as one byte.
const STATUS_PORT: u16 = 0xe9;
/// QEMU's `isa-debug-exit`: ends QEMU with `(value << 1) | 1`.
const EXIT_PORT: u16 = 0x501;
/// What a panic is reported as.
const PANICKED: u32 = 0x7f;

/// Says how; once, at boot.
pub fn set_ports(ports: Ports) {
    PORTS.call_once(|| ports);
}

fn write_memory(address: u64, value: u8) {
    let place = super::mmu::physmap(crate::base::PhysicalAddress::new(address));
    // SAFETY: firmware's tables name that register; physmap covers it.
    unsafe { (place.value() as *mut u8).write_volatile(value) };
}

/// Lets a device act on what was written.
fn pause() {
    for _ in 0..100_000 {
        X86_64::relax();
    }
}

/// Resets by loading an empty interrupt table and trapping.
fn triple_fault() -> ! {
    let nothing = [0u8; 10];
    // SAFETY: the machine is meant to end here.
    unsafe { core::arch::asm!("lidt [{}]", "int3", in(reg) &raw const nothing, options(noreturn)) };
}

impl Power for X86_64 {
    fn exit(status: u8) -> ! {
        Self::disable_interrupts();
        if EXIT_REPORT.load(Relaxed) {
            // SAFETY: QEMU's devices are there, as the command line said; the second ends the machine.
            unsafe {
                port::write_u8(STATUS_PORT, status);
                port::write_u32(EXIT_PORT, status.into());
            }
        }
        Self::power_off()
    }

    fn power_off() -> ! {
        Self::disable_interrupts();
        let ports = PORTS.get().copied().unwrap_or_default();
        // SAFETY: the machine is meant to end here; a port without a device ignores the value.
        unsafe {
            if let Some((address, value)) = ports.sleep_register {
                write_memory(address, value);
                pause();
            }
            if let Some((sleep, value)) = ports.sleep {
                port::write_u16(sleep, value);
                pause();
            }
            if ports.sleep.is_none() && ports.sleep_register.is_none() {
                // QEMU's q35 and pc with SLP_TYP 0, Bochs and old QEMU, VirtualBox.
                for (sleep, value) in [(0x604, 0x2000), (0xb004, 0x2000), (0x4004, 0x3400)] {
                    port::write_u16(sleep, value);
                }
                pause();
            }
        }
        triple_fault()
    }

    fn reboot() -> ! {
        Self::disable_interrupts();
        let ports = PORTS.get().copied().unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            if let Some((address, value)) = ports.reset_register {
                write_memory(address, value);
                pause();
            }
            if let Some((reset, value)) = ports.reset {
                port::write_u8(reset, value);
                pause();
            }
            // The chipset's reset control, then the keyboard controller's reset line.
            port::write_u8(0xcf9, 0x06);
            pause();
            port::write_u8(0x64, 0xfe);
            pause();
        }
        triple_fault()
    }

    fn enable_exit_report() {
        EXIT_REPORT.store(true, Relaxed);
    }

    fn report_panic() {
        if EXIT_REPORT.load(Relaxed) {
            // SAFETY: QEMU's device is there, as the command line said, and ends the machine.
            unsafe { port::write_u32(EXIT_PORT, PANICKED) };
        }
    }
}
