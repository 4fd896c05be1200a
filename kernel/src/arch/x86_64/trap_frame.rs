//! The registers as the entry code saves them.
//!
//! The order is the order of the pushes in `entry.rs`, lowest address first, and ends with what the CPU pushes itself; it is
//! Linux's `pt_regs` with one more word, the vector.
//!
//! Invariant: `system_call` entry returns with `sysret` only while `vector` is [`SYSTEM_CALL_VECTOR`] and no work is pending;
//! `sysret` restores `rip`, `rflags`, `rsp` and the argument registers from here but neither the callee-saved registers
//! (they still hold their values) nor `rcx` and `r11`. So whoever changes anything but the result outside
//! `before_return_to_user` must call [`Registers::forget_system_call`].

use crate::arch::Registers;
use crate::base::VirtualAddress;

/// The value of [`TrapFrame::vector`] in a system call.
pub const SYSTEM_CALL_VECTOR: u64 = 0x100;
/// The value of [`TrapFrame::vector`] once a system call was forgotten, and in frames made by hand.
pub const NO_VECTOR: u64 = 0x101;

/// The kernel's code segment; Linux's numbers, because signal frames show the user ones.
pub const KERNEL_CODE_SELECTOR: u16 = 0x10;
/// The kernel's data segment.
pub const KERNEL_DATA_SELECTOR: u16 = 0x18;
/// The 32-bit user code segment, which `sysret` wants below the other two.
pub const USER_CODE_32_SELECTOR: u16 = 0x23;
/// The user data segment.
pub const USER_DATA_SELECTOR: u16 = 0x2b;
/// The user code segment.
pub const USER_CODE_SELECTOR: u16 = 0x33;
/// The task-state segment.
pub const TASK_STATE_SELECTOR: u16 = 0x40;

/// Interrupts enabled and the bit that is always set.
pub const FIXED_USER_FLAGS: u64 = 0x202;

/// The saved registers.
#[derive(Clone, Default, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the registers'")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The interrupt's vector, [`SYSTEM_CALL_VECTOR`] or [`NO_VECTOR`].
    pub vector: u64,
    /// The exception's error code, or the system call's number.
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 22 * 8);

impl core::fmt::Display for TrapFrame {
    /// All registers, four lines.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, .. } = self;
        let Self { rip, rflags, cs, ss, vector, error_code, .. } = self;
        writeln!(
            formatter,
            "  rip {cs:#x}:{rip:016x} rsp {ss:#x}:{rsp:016x} rflags {rflags:08x} trap {vector}:{error_code:x}"
        )?;
        writeln!(formatter, "  rax {rax:016x} rbx {rbx:016x} rcx {rcx:016x} rdx {rdx:016x}")?;
        writeln!(formatter, "  rsi {rsi:016x} rdi {rdi:016x} rbp {rbp:016x} r8  {r8:016x} r9  {r9:016x}")?;
        writeln!(formatter, "  r10 {r10:016x} r11 {r11:016x} r12 {r12:016x} r13 {r13:016x}")?;
        write!(formatter, "  r14 {r14:016x} r15 {r15:016x}")
    }
}

impl Registers for TrapFrame {
    fn for_program(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self {
            vector: NO_VECTOR,
            rip: entry.value(),
            cs: USER_CODE_SELECTOR.into(),
            rflags: FIXED_USER_FLAGS,
            rsp: stack.value(),
            ss: USER_DATA_SELECTOR.into(),
            ..Self::default()
        }
    }
    #[inline]
    fn is_user(&self) -> bool {
        self.cs & 3 == 3
    }
    #[inline]
    fn system_call_number(&self) -> Option<u64> {
        (self.vector == SYSTEM_CALL_VECTOR).then_some(self.error_code)
    }
    #[inline]
    fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }
    #[inline]
    fn result(&self) -> u64 {
        self.rax
    }
    #[inline]
    fn set_result(&mut self, value: u64) {
        self.rax = value;
    }
    #[inline]
    fn instruction_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.rip)
    }
    fn set_instruction_pointer(&mut self, address: VirtualAddress) {
        self.rip = address.value();
    }
    #[inline]
    fn stack_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.rsp)
    }
    fn set_stack_pointer(&mut self, address: VirtualAddress) {
        self.rsp = address.value();
    }
    fn frame_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.rbp)
    }
    fn rewind_system_call(&mut self) {
        self.rax = self.error_code;
        self.rip = self.rip.wrapping_sub(2);
    }
    fn rewind_as(&mut self, number: u64) {
        self.rax = number;
        self.rip = self.rip.wrapping_sub(2);
    }
    fn forget_system_call(&mut self) {
        self.vector = NO_VECTOR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewound_call_repeats_the_two_byte_instruction() {
        let mut frame = TrapFrame { vector: SYSTEM_CALL_VECTOR, error_code: 34, rip: 0x1002, ..TrapFrame::default() };
        frame.set_result(512u64.wrapping_neg());
        frame.rewind_system_call();
        assert_eq!((frame.rip, frame.rax), (0x1000, 34));
        frame.forget_system_call();
        assert_eq!(frame.system_call_number(), None);
    }
}
