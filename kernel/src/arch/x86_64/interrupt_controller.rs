//! Which controller delivers device lines: the I/O APIC with the local APIC, or the 8259 pair.

use super::{io_apic, local_apic, pic, pit};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the local APIC and the I/O APIC are in use.
static APIC: AtomicBool = AtomicBool::new(false);

/// The controllers that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Controller {
    /// The 8259 pair.
    Legacy,
    /// Local APIC and I/O APIC.
    Apic,
}

/// Says which is in use; at boot, after it was set up.
pub fn select(controller: Controller) {
    APIC.store(controller == Controller::Apic, Relaxed);
}

/// Which is in use.
#[inline]
#[must_use]
pub fn selected() -> Controller {
    if APIC.load(Relaxed) { Controller::Apic } else { Controller::Legacy }
}

/// Whether the interrupt on `line` is genuine.
#[inline]
#[must_use]
pub fn is_genuine(line: u8) -> bool {
    selected() == Controller::Apic || pic::is_genuine(line)
}

/// Whether `line` is the fallback timer's.
#[inline]
#[must_use]
pub fn is_timer(line: u8) -> bool {
    line == pit::LINE && selected() == Controller::Legacy
}

/// Ends an interrupt of the local APIC's own.
#[inline]
pub fn acknowledge_local() {
    local_apic::acknowledge();
}

/// Ends the interrupt on `line`.
#[inline]
pub fn acknowledge(line: u8) {
    match selected() {
        Controller::Apic => local_apic::acknowledge(),
        Controller::Legacy => pic::acknowledge(line),
    }
}

/// Lets the ISA line `line` interrupt.
pub fn enable_line(line: u8) {
    match selected() {
        Controller::Apic => io_apic::enable_line(line),
        Controller::Legacy => pic::enable(line),
    }
}
