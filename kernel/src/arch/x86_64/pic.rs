//! The two 8259 interrupt controllers: the fallback, and switched off where an APIC works.

#![allow(unsafe_code, reason = "port input and output")]

use super::port;
use super::vectors::FIRST_LINE_VECTOR;
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

const FIRST_COMMAND: u16 = 0x20;
const FIRST_DATA: u16 = 0x21;
const SECOND_COMMAND: u16 = 0xa0;
const SECOND_DATA: u16 = 0xa1;
const END_OF_INTERRUPT: u8 = 0x20;
const READ_IN_SERVICE: u8 = 0x0b;
/// The line of the first controller at which the second hangs.
const CASCADE: u8 = 2;

/// One bit per line that is masked.
static MASK: AtomicU16 = AtomicU16::new(!(1 << CASCADE));

/// Which controllers an end of interrupt for `line` goes to: first, second.
#[must_use]
pub const fn acknowledge_targets(line: u8) -> (bool, bool) {
    (true, line >= 8)
}

fn write(port: u16, value: u8) {
    // SAFETY: the controllers' registers on every PC; without a controller nobody listens there.
    unsafe { port::write_u8(port, value) };
}

fn write_mask() {
    let [first, second] = MASK.load(Relaxed).to_le_bytes();
    write(FIRST_DATA, first);
    write(SECOND_DATA, second);
}

/// Moves the lines to the vectors from [`FIRST_LINE_VECTOR`] and masks them all.
pub fn initialize() {
    for (port, value) in [
        (FIRST_COMMAND, 0x11),
        (SECOND_COMMAND, 0x11),
        (FIRST_DATA, FIRST_LINE_VECTOR),
        (SECOND_DATA, FIRST_LINE_VECTOR + 8),
        (FIRST_DATA, 1 << CASCADE),
        (SECOND_DATA, CASCADE),
        (FIRST_DATA, 0x01),
        (SECOND_DATA, 0x01),
    ] {
        write(port, value);
    }
    write_mask();
}

/// Masks every line for good: the I/O APIC takes over.
pub fn disable() {
    write(FIRST_DATA, 0xff);
    write(SECOND_DATA, 0xff);
}

/// Lets `line` (0..=15) interrupt.
pub fn enable(line: u8) {
    if line < 16 {
        MASK.fetch_and(!(1 << line), Relaxed);
        write_mask();
    }
}

/// Whether the interrupt on `line` is one: on lines 7 and 15 the controller also signals noise.
pub fn is_genuine(line: u8) -> bool {
    let (command, bit) = match line {
        7 => (FIRST_COMMAND, 7),
        15 => (SECOND_COMMAND, 7),
        _ => return true,
    };
    write(command, READ_IN_SERVICE);
    // SAFETY: the in-service register was selected just now.
    let genuine = unsafe { port::read_u8(command) } & 1 << bit != 0;
    if !genuine && line == 15 {
        write(FIRST_COMMAND, END_OF_INTERRUPT);
    }
    genuine
}

/// Says that the interrupt on `line` was handled.
pub fn acknowledge(line: u8) {
    let (first, second) = acknowledge_targets(line);
    if second {
        write(SECOND_COMMAND, END_OF_INTERRUPT);
    }
    if first {
        write(FIRST_COMMAND, END_OF_INTERRUPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_controllers_lines_are_acknowledged_twice() {
        assert_eq!(acknowledge_targets(0), (true, false));
        assert_eq!(acknowledge_targets(7), (true, false));
        assert_eq!(acknowledge_targets(8), (true, true));
        assert_eq!(acknowledge_targets(15), (true, true));
    }

    #[test]
    fn the_first_vector_is_one_that_the_controller_can_use() {
        assert_eq!(FIRST_LINE_VECTOR % 8, 0);
    }
}
