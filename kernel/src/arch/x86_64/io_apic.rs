//! The I/O APICs: which input an ISA line arrives at, and where it is delivered.

#![allow(unsafe_code, reason = "device registers")]

use super::vectors::FIRST_LINE_VECTOR;
use super::{local_apic, mmu};
use crate::base::PhysicalAddress;
use arrayvec::ArrayVec;
use spin::Once;

/// An I/O APIC: its registers and the first global input it serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApic {
    /// Where its registers are.
    pub address: PhysicalAddress,
    /// Its first input's global number.
    pub first_input: u32,
}

/// Where an ISA line arrives when not at the input of its own number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Override {
    /// The ISA line.
    pub line: u8,
    /// The global input.
    pub input: u32,
    /// The signal is low when active.
    pub active_low: bool,
    /// Level-triggered.
    pub level: bool,
}

/// How interrupts are wired.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wiring {
    /// The I/O APICs.
    pub controllers: ArrayVec<IoApic, 8>,
    /// ISA lines that are not where they would be.
    pub overrides: ArrayVec<Override, 16>,
}

impl Wiring {
    /// Every PC's wiring when no table says otherwise.
    #[must_use]
    pub fn standard() -> Self {
        let mut wiring = Self::default();
        wiring.controllers.push(IoApic { address: PhysicalAddress::new(0xfec0_0000), first_input: 0 });
        wiring
    }

    /// The controller, input within it and low word of the redirection entry (unmasked) for an ISA line.
    #[must_use]
    pub fn route(&self, line: u8) -> Option<(IoApic, u32, u32)> {
        let exception = self.overrides.iter().find(|entry| entry.line == line);
        let input = exception.map_or(u32::from(line), |entry| entry.input);
        let mut low = u32::from(FIRST_LINE_VECTOR) + u32::from(line);
        if let Some(entry) = exception {
            low |= u32::from(entry.active_low) << 13 | u32::from(entry.level) << 15;
        }
        let controller = self
            .controllers
            .iter()
            .filter(|controller| controller.first_input <= input)
            .max_by_key(|controller| controller.first_input)?;
        Some((*controller, input - controller.first_input, low))
    }
}

static WIRING: Once<Wiring> = Once::new();

fn write(controller: IoApic, register: u32, value: u32) {
    let base = mmu::physmap(controller.address).value();
    // SAFETY: the wiring's addresses are I/O APICs: the index register, and the window 16 bytes on; physmap covers them.
    unsafe {
        (base as *mut u32).write_volatile(register);
        ((base + 0x10) as *mut u32).write_volatile(value);
    }
}

fn read(controller: IoApic, register: u32) -> u32 {
    let base = mmu::physmap(controller.address).value();
    // SAFETY: as in `write`.
    unsafe {
        (base as *mut u32).write_volatile(register);
        ((base + 0x10) as *const u32).read_volatile()
    }
}

/// Masks every input of every controller and remembers the wiring.
pub fn initialize(wiring: Wiring) {
    const MASKED: u32 = 1 << 16;
    for &controller in &wiring.controllers {
        let last = read(controller, 1) >> 16 & 0xff;
        for input in 0..=last {
            write(controller, 0x10 + 2 * input, MASKED);
            write(controller, 0x11 + 2 * input, 0);
        }
    }
    WIRING.call_once(|| wiring);
}

/// Delivers the ISA line to this CPU.
pub fn enable_line(line: u8) {
    if let Some((controller, input, low)) = WIRING.get().and_then(|wiring| wiring.route(line)) {
        write(controller, 0x11 + 2 * input, local_apic::identifier() << 24);
        write(controller, 0x10 + 2 * input, low);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_to_its_own_input_unless_overridden() {
        let mut wiring = Wiring::standard();
        wiring.overrides.push(Override { line: 0, input: 2, active_low: false, level: false });
        wiring.overrides.push(Override { line: 9, input: 9, active_low: true, level: true });
        let (_, input, low) = wiring.route(4).unwrap();
        assert_eq!((input, low), (4, 0x34));
        assert_eq!(wiring.route(0).map(|(_, input, low)| (input, low)), Some((2, 0x30)));
        assert_eq!(wiring.route(9).map(|(_, _, low)| low), Some(0x39 | 1 << 13 | 1 << 15));
    }

    #[test]
    fn the_second_controller_serves_the_higher_inputs() {
        let mut wiring = Wiring::standard();
        wiring.controllers.push(IoApic { address: PhysicalAddress::new(0xfec1_0000), first_input: 24 });
        wiring.overrides.push(Override { line: 5, input: 30, active_low: false, level: false });
        let (controller, input, _) = wiring.route(5).unwrap();
        assert_eq!((controller.first_input, input), (24, 6));
    }
}
