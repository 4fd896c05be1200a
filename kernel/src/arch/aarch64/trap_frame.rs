//! The registers as the entry code saves them.
//!
//! ```text
//!   0 x0 .. 240 x30   248 SP_EL0   256 ELR_EL1   264 SPSR_EL1   272 x0 at a system call's entry   280 its number, or -1
//! ```
//!
//! Linux's `pt_regs` begins the same way; a call's number is kept as the 32 bits that Linux looks at.
//!
//! Invariant: the way back from a system call restores `x0`, `pc` and the caller-saved registers from here; whoever changes
//! anything else outside `before_return_to_user` must call [`Registers::forget_system_call`].

use crate::arch::Registers;
use crate::base::VirtualAddress;

/// The value of [`TrapFrame::system_call`] where the entry was none.
pub const NO_SYSTEM_CALL: i64 = -1;

/// `PSTATE.M` and the bit that says AArch32: all zero in 64-bit user mode.
pub const MODE_MASK: u64 = 0x1f;
/// The interrupt masks D, A, I and F.
pub const INTERRUPT_MASKS: u64 = 0xf << 6;
/// The branch type of BTI: what kind of branch led to the next instruction.
pub const BRANCH_TYPE: u64 = 0b11 << 10;
/// The tag-check override.
pub const TAG_CHECK_OVERRIDE: u64 = 1 << 25;
/// The software-step bit, which is a debugger's.
pub const SINGLE_STEP: u64 = 1 << 21;
/// The condition flags.
pub const CONDITION_FLAGS: u64 = 0xf << 28;
/// The bits of a saved status that user mode may set: condition flags, TCO, DIT, SSBS, BTYPE. The others are
/// reserved (Linux's `SPSR_EL1_AARCH64_RES0_BITS`), a debugger's, or say in which mode and how interruptible the CPU is.
pub const USER_STATUS: u64 = CONDITION_FLAGS | TAG_CHECK_OVERRIDE | 1 << 24 | 1 << 12 | BRANCH_TYPE;
/// Bits 32..64, 27, 26, 23, 22, 20..13 and 5: reserved in a status that `sigreturn` is given, and cleared from it.
pub const RESERVED_STATUS: u64 = 0xffff_ffff_0000_0000 | 0b11 << 26 | 0b11 << 22 | 0xff << 13 | 1 << 5;

/// The saved registers.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct TrapFrame {
    /// `x0` to `x30`.
    pub general: [u64; 31],
    /// `SP_EL0`.
    pub stack_pointer: u64,
    /// `ELR_EL1`.
    pub program_counter: u64,
    /// `SPSR_EL1`.
    pub status: u64,
    /// `x0` as it was at a system call's entry, for starting it again.
    pub original_argument: u64,
    /// `x8` at a system call's entry, or [`NO_SYSTEM_CALL`].
    pub system_call: i64,
}

const _: () = assert!(size_of::<TrapFrame>() == 288);

impl TrapFrame {
    /// Register `x<index>`; the zero register above 30.
    #[must_use]
    pub fn register(&self, index: usize) -> u64 {
        self.general.get(index).copied().unwrap_or(0)
    }

    /// Sets register `x<index>`; nothing above 30.
    pub fn set_register(&mut self, index: usize, value: u64) {
        if let Some(register) = self.general.get_mut(index) {
            *register = value;
        }
    }
}

impl Default for TrapFrame {
    fn default() -> Self {
        Self {
            general: [0; 31],
            stack_pointer: 0,
            program_counter: 0,
            status: 0,
            original_argument: 0,
            system_call: NO_SYSTEM_CALL,
        }
    }
}

impl core::fmt::Display for TrapFrame {
    /// All registers, nine lines.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { program_counter, stack_pointer, status, system_call, .. } = self;
        write!(
            formatter,
            "  pc {program_counter:016x} sp {stack_pointer:016x} pstate {status:08x} call {system_call}"
        )?;
        for (index, value) in self.general.iter().enumerate() {
            let separator = if index % 4 == 0 { "\n " } else { "" };
            write!(formatter, "{separator} x{index:<2} {value:016x}")?;
        }
        Ok(())
    }
}

impl Registers for TrapFrame {
    fn for_program(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self { stack_pointer: stack.value(), program_counter: entry.value(), ..Self::default() }
    }
    #[inline]
    fn is_user(&self) -> bool {
        self.status & MODE_MASK == 0
    }
    #[inline]
    fn system_call_number(&self) -> Option<u64> {
        (self.system_call != NO_SYSTEM_CALL).then_some((self.system_call as u32).into())
    }
    #[inline]
    fn arguments(&self) -> [u64; 6] {
        let [a, b, c, d, e, f, ..] = self.general;
        [a, b, c, d, e, f]
    }
    #[inline]
    fn result(&self) -> u64 {
        self.general[0]
    }
    #[inline]
    fn set_result(&mut self, value: u64) {
        self.general[0] = value;
    }
    #[inline]
    fn instruction_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.program_counter)
    }
    fn set_instruction_pointer(&mut self, address: VirtualAddress) {
        self.program_counter = address.value();
    }
    #[inline]
    fn stack_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.stack_pointer)
    }
    fn set_stack_pointer(&mut self, address: VirtualAddress) {
        self.stack_pointer = address.value();
    }
    fn frame_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.general[29])
    }
    fn rewind_system_call(&mut self) {
        self.general[0] = self.original_argument;
        self.program_counter = self.program_counter.wrapping_sub(4);
    }
    fn rewind_as(&mut self, number: u64) {
        self.rewind_system_call();
        self.general[8] = number;
    }
    fn forget_system_call(&mut self) {
        self.system_call = NO_SYSTEM_CALL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_layout_is_what_the_entry_code_saves() {
        let offsets = [
            offset_of!(TrapFrame, general),
            offset_of!(TrapFrame, stack_pointer),
            offset_of!(TrapFrame, program_counter),
            offset_of!(TrapFrame, status),
            offset_of!(TrapFrame, original_argument),
            offset_of!(TrapFrame, system_call),
        ];
        assert_eq!(offsets, [0, 248, 256, 264, 272, 280]);
    }

    #[test]
    fn a_rewound_call_repeats_the_instruction_with_its_first_argument() {
        let mut frame = TrapFrame { system_call: 101, original_argument: 7, program_counter: 0x1004, ..<_>::default() };
        frame.set_result(512u64.wrapping_neg());
        frame.general[8] = 101;
        let mut other = frame.clone();
        frame.rewind_system_call();
        assert_eq!((frame.program_counter, frame.general[0], frame.general[8]), (0x1000, 7, 101));
        other.rewind_as(128);
        assert_eq!((other.program_counter, other.general[0], other.general[8]), (0x1000, 7, 128));
        frame.forget_system_call();
        assert_eq!(frame.system_call_number(), None);
    }

    #[test]
    fn the_number_is_what_linux_looks_at() {
        let number = |x8: i64| TrapFrame { system_call: x8, ..<_>::default() }.system_call_number();
        assert_eq!(number(172), Some(172));
        assert_eq!(number(1 << 32 | 172), Some(172), "the upper half does not count");
        assert_eq!(number(0xffff_ffff), Some(0xffff_ffff));
        assert_eq!(number(-1), None);
    }

    #[test]
    fn a_program_starts_in_user_mode_with_interrupts_enabled() {
        let frame = TrapFrame::for_program(VirtualAddress::new(0x400000), VirtualAddress::new(0x7000));
        assert!(frame.is_user());
        assert_eq!(frame.status & INTERRUPT_MASKS, 0);
        let kernel = TrapFrame { status: 0x3c5, ..TrapFrame::default() };
        assert!(!kernel.is_user());
        assert!(!TrapFrame { status: 0x10, ..TrapFrame::default() }.is_user(), "AArch32 is no user mode of ours");
        assert_eq!(USER_STATUS & (RESERVED_STATUS | INTERRUPT_MASKS | MODE_MASK | SINGLE_STEP), 0);
        assert!(frame.to_string().lines().count() == 9);
    }
}
