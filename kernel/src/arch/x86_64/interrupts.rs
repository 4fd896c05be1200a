//! The interrupt descriptor table. Which vector is what stands in `vectors`.

#![allow(unsafe_code, reason = "loads the interrupt descriptor table")]

use super::segments::InterruptStack;
use super::trap_frame::KERNEL_CODE_SELECTOR;
use super::vectors::{BREAKPOINT, DEBUG, DOUBLE_FAULT, MACHINE_CHECK, NON_MASKABLE, OVERFLOW};

/// A gate of the table, as the CPU reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Gate {
    low: u64,
    high: u64,
}

/// Who may reach a gate with an `int` instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GateAccess {
    /// The kernel alone.
    Kernel,
    /// User mode too (`int3`).
    User,
}

impl Gate {
    /// No gate.
    pub const ABSENT: Self = Self { low: 0, high: 0 };

    /// An interrupt gate (interrupts are masked at entry) to `handler`.
    #[must_use]
    pub const fn interrupt(handler: u64, stack: Option<InterruptStack>, access: GateAccess) -> Self {
        let stack = match stack {
            Some(stack) => stack as u64,
            None => 0,
        };
        let level = match access {
            GateAccess::Kernel => 0,
            GateAccess::User => 3,
        };
        let low = (handler & 0xffff)
            | (KERNEL_CODE_SELECTOR as u64) << 16
            | stack << 32
            | (0x8e | level << 5) << 40
            | (handler >> 16 & 0xffff) << 48;
        Self { low, high: handler >> 32 }
    }
}

/// The gate of `vector`, given where its stub is.
#[must_use]
pub const fn gate_for(vector: u64, stub: u64) -> Gate {
    let stack = match vector {
        DEBUG => Some(InterruptStack::Debug),
        NON_MASKABLE => Some(InterruptStack::NonMaskable),
        DOUBLE_FAULT => Some(InterruptStack::DoubleFault),
        MACHINE_CHECK => Some(InterruptStack::MachineCheck),
        _ => None,
    };
    let access = match vector {
        BREAKPOINT | OVERFLOW => GateAccess::User,
        _ => GateAccess::Kernel,
    };
    Gate::interrupt(stub, stack, access)
}

#[cfg(target_os = "none")]
pub(super) use table::{fill, load};

#[cfg(target_os = "none")]
mod table {
    use super::{Gate, gate_for};
    use crate::arch::x86_64::entry;
    use crate::arch::x86_64::segments::TablePointer;
    use core::cell::UnsafeCell;

    #[repr(C, align(16))]
    struct Table(UnsafeCell<[Gate; 256]>);
    // SAFETY: written by the booting CPU before any other runs, then only read, by hardware.
    unsafe impl Sync for Table {}
    static TABLE: Table = Table(UnsafeCell::new([Gate::ABSENT; 256]));

    /// Fills the table.
    ///
    /// # Safety
    /// Called once, by the booting CPU, before it loads it.
    pub unsafe fn fill() {
        // SAFETY: no other reference to the table exists, as the caller says.
        let gates = unsafe { &mut *TABLE.0.get() };
        for (vector, gate) in (0u64..).zip(gates.iter_mut()) {
            *gate = gate_for(vector, entry::stub_address(vector));
        }
    }

    /// Makes this CPU use the table.
    ///
    /// # Safety
    /// It is filled, interrupts are disabled and the CPU's block is installed.
    pub unsafe fn load() {
        let pointer = TablePointer { limit: (size_of::<[Gate; 256]>() - 1) as u16, base: TABLE.0.get().addr() as u64 };
        // SAFETY: every gate leads to a stub.
        unsafe {
            core::arch::asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(gate: Gate) -> u64 {
        (gate.low & 0xffff) | (gate.low >> 48) << 16 | gate.high << 32
    }

    #[test]
    fn a_gate_spreads_its_target() {
        let gate = gate_for(14, 0xffff_ff00_0123_4567);
        assert_eq!(target(gate), 0xffff_ff00_0123_4567);
        assert_eq!(gate.low >> 40 & 0xff, 0x8e, "present, ring 0, interrupt gate");
        assert_eq!(gate.low >> 16 & 0xffff, 0x10);
        assert_eq!(gate.low >> 32 & 7, 0);
    }

    #[test]
    fn faults_that_distrust_the_stack_have_their_own() {
        for (vector, stack) in [(1, 4), (2, 1), (8, 2), (18, 3), (13, 0)] {
            assert_eq!(gate_for(vector, 0).low >> 32 & 7, stack, "vector {vector}");
        }
    }

    #[test]
    fn user_mode_reaches_only_the_breakpoint_gates() {
        for vector in 0..256 {
            let level = gate_for(vector, 0).low >> 45 & 3;
            assert_eq!(level == 3, vector == 3 || vector == 4, "vector {vector}");
        }
    }
}
