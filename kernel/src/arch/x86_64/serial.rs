//! The 16550 serial port COM1: polled output, input by interrupt line 4.
//!
//! The registers have no lock here: the log's console lock and the terminal's output lock keep writers apart, and a stray
//! byte between two writers harms nothing else.

#![allow(unsafe_code, reason = "port input and output")]

use super::{X86_64, port};
use crate::arch::SerialConsole;

const BASE: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = BASE + 1;
const FIFO_CONTROL: u16 = BASE + 2;
const LINE_CONTROL: u16 = BASE + 3;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;

const DATA_READY: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// How often the transmitter is asked before the byte is given up: a port that is not there must not hang the kernel.
const PATIENCE: u32 = 100_000;

/// 115200 baud, eight bits, no parity, FIFOs on, no interrupts.
pub fn initialize() {
    let settings = [
        (INTERRUPT_ENABLE, 0x00),
        (LINE_CONTROL, 0x80),
        (BASE, 0x01),
        (INTERRUPT_ENABLE, 0x00),
        (LINE_CONTROL, 0x03),
        (FIFO_CONTROL, 0x07),
        (MODEM_CONTROL, 0x0b),
    ];
    for (register, value) in settings {
        // SAFETY: COM1's registers; nothing else lives at those ports on a PC.
        unsafe { port::write_u8(register, value) };
    }
}

impl SerialConsole for X86_64 {
    const INPUT_LINE: u32 = 4;
    const DRIVER: &'static str = "ttyS";
    const DEVICE_NAME: &'static str = "ttyS0";
    const DEFAULT_SPEED: u32 = 9600;
    const DEVICE_NUMBER: (u32, u32) = (4, 64);
    fn write_console(bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: COM1's registers.
            unsafe {
                let mut patience = PATIENCE;
                while port::read_u8(LINE_STATUS) & TRANSMITTER_EMPTY == 0 && patience > 0 {
                    patience -= 1;
                }
                port::write_u8(BASE, byte);
            }
        }
    }
    fn read_console() -> Option<u8> {
        // SAFETY: COM1's registers. 0xff as the status means that there is no port.
        unsafe {
            let status = port::read_u8(LINE_STATUS);
            (status != 0xff && status & DATA_READY != 0).then(|| port::read_u8(BASE))
        }
    }
    fn enable_console_interrupt() {
        // SAFETY: COM1's registers.
        unsafe { port::write_u8(INTERRUPT_ENABLE, 0x01) };
    }
    fn disable_console_interrupt() {
        // SAFETY: COM1's registers.
        unsafe { port::write_u8(INTERRUPT_ENABLE, 0x00) };
    }
}
