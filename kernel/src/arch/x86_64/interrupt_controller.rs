//! Which controller delivers device lines: the I/O APIC with the local APIC, or the 8259 pair.

use super::vectors::LINE_COUNT;
use super::{X86_64, io_apic, local_apic, pic, pit};
use crate::arch::SerialConsole;
use crate::arch::interrupt_report::{Counter, InterruptRow};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

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

/// The counter of the local timer, after those of the lines.
pub const TIMER_SOURCE: usize = LINE_COUNT as usize;
/// The lines that may interrupt, a bit each.
static ENABLED: AtomicU32 = AtomicU32::new(0);

/// The lines of devices that may interrupt, and what each CPU tells others.
pub(super) fn rows(add: &mut dyn FnMut(InterruptRow)) {
    let enabled = ENABLED.load(Relaxed);
    for line in (0..LINE_COUNT).filter(|line| enabled >> line & 1 != 0) {
        let controller = match selected() {
            Controller::Apic => "IO-APIC",
            Controller::Legacy => "XT-PIC",
        };
        let device = match line {
            pit::LINE => "timer",
            line if u32::from(line) == X86_64::INPUT_LINE => "ttyS0",
            _ => "",
        };
        let detail = format!(" {controller:>8} {line:3}-{:<8}  {device}", "edge");
        add(InterruptRow { label: line.to_string(), counter: Counter::Source(line.into()), detail });
    }
    let mut row = |label: &str, counter, detail: &str| {
        add(InterruptRow { label: label.to_owned(), counter, detail: format!("  {detail}") });
    };
    row("LOC", Counter::Source(TIMER_SOURCE), "Local timer interrupts");
    row("RES", Counter::Reschedules, "Rescheduling interrupts");
    row("CAL", Counter::Calls, "Function call interrupts");
    row("TLB", Counter::Shootdowns, "TLB shootdowns");
}

/// Lets the ISA line `line` interrupt.
pub fn enable_line(line: u8) {
    ENABLED.fetch_or(1u32.checked_shl(line.into()).unwrap_or(0), Relaxed);
    match selected() {
        Controller::Apic => io_apic::enable_line(line),
        Controller::Legacy => pic::enable(line),
    }
}
