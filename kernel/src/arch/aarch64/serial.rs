//! The PL011 serial port: polled output, input by interrupt.
//!
//! The registers have no lock here: the log's console lock and the terminal's output lock keep writers apart, and a stray
//! byte between two writers harms nothing else. Firmware has set the speed.

#![allow(unsafe_code, reason = "the port's registers")]

use super::Aarch64;
use super::mmu::physmap;
use crate::arch::SerialConsole;
use crate::base::PhysicalAddress;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Offsets of the registers.
const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const LINE_CONTROL: u64 = 0x2c;
const CONTROL: u64 = 0x30;
const INTERRUPT_MASK: u64 = 0x38;
const INTERRUPT_CLEAR: u64 = 0x44;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// Input, and input that has waited.
const RECEIVE_INTERRUPTS: u32 = 1 << 4 | 1 << 6;
/// How often the transmitter is asked before the byte is given up: a port that is not there must not hang the kernel.
const PATIENCE: u32 = 100_000;

/// Where the kernel sees the registers; 0 without a port.
static REGISTERS: AtomicU64 = AtomicU64::new(0);
static LINE: AtomicU32 = AtomicU32::new(u32::MAX);

fn register(offset: u64) -> Option<*mut u32> {
    let base = REGISTERS.load(Relaxed);
    (base != 0).then(|| core::ptr::with_exposed_provenance_mut((base + offset) as usize))
}

fn read(offset: u64) -> Option<u32> {
    // SAFETY: the device tree says that the registers are there, and physmap has them as Device.
    register(offset).map(|register| unsafe { register.read_volatile() })
}

fn write(offset: u64, value: u32) {
    if let Some(register) = register(offset) {
        // SAFETY: as above.
        unsafe { register.write_volatile(value) };
    }
}

/// Eight bits, no parity, FIFOs and port on, no interrupts.
pub(super) fn initialize(registers: PhysicalAddress, line: u32) {
    REGISTERS.store(physmap(registers).value(), Relaxed);
    LINE.store(line, Relaxed);
    write(INTERRUPT_MASK, 0);
    write(INTERRUPT_CLEAR, 0x7ff);
    write(LINE_CONTROL, 0x70);
    write(CONTROL, 0x301);
}

/// Whether `line` is the port's.
#[inline]
pub(super) fn is_line(line: u32) -> bool {
    LINE.load(Relaxed) == line
}

impl SerialConsole for Aarch64 {
    /// The handler's name for it, whatever the controller's is.
    const INPUT_LINE: u32 = 0;
    const DRIVER: &'static str = "ttyAMA";
    const DEVICE_NAME: &'static str = "ttyAMA0";
    const DEFAULT_SPEED: u32 = 38_400;
    const DEVICE_NUMBER: (u32, u32) = (204, 64);
    fn write_console(bytes: &[u8]) {
        for &byte in bytes {
            let mut patience = PATIENCE;
            while read(FLAGS).is_some_and(|flags| flags & TRANSMIT_FULL != 0) && patience > 0 {
                patience -= 1;
            }
            write(DATA, byte.into());
        }
    }
    fn read_console() -> Option<u8> {
        if read(FLAGS)? & RECEIVE_EMPTY != 0 {
            return None;
        }
        read(DATA).map(|value| value as u8)
    }
    fn enable_console_interrupt() {
        write(INTERRUPT_MASK, RECEIVE_INTERRUPTS);
    }
    fn disable_console_interrupt() {
        write(INTERRUPT_MASK, 0);
    }
}
