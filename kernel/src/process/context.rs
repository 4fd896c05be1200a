//! The registers of a thread that is not running, on both machines.
//!
//! [`Context`] (x86_64, 20 fields) and [`ArmContext`] (AArch64, 17 fields) are plain data in the layout that the machine's
//! `switch` routine reads and writes. Both are compiled and tested everywhere; [`SwitchContext`] is the one whose places the machine's routine names. A *kernel* context continues inside the kernel on a kernel stack: that is the only kind that the switch
//! ever loads. A *user* context describes where a program starts; it reaches the CPU as a trap frame.
//!
//! ```text
//! x86_64   0 rax  8 rbx 16 rcx 24 rdx 32 rsi 40 rdi 48 rbp 56 rsp 64..128 r8..r15 128 rip 136 rflags 144 cs 152 ss
//! AArch64  0..80 x19..x28  80 x29  88 x30  96 sp  104 pc  112 pstate  120 sp_el0  128 tpidr_el0
//! ```
//!
//! Invariant: the offsets named by [`crate::arch::ContextSwitch::OFFSETS`] are those of [`Context::SWITCH_OFFSETS`] or
//! [`ArmContext::SWITCH_OFFSETS`], which a const assertion checks. They also say which of the two it is: nothing here asks for a machine's name.

use crate::arch::{ContextSwitch, Current};
use crate::base::VirtualAddress;
use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Kernel code segment selector on x86_64.
pub const KERNEL_CODE_SELECTOR: u64 = 0x10;
/// Kernel data segment selector on x86_64.
pub const KERNEL_DATA_SELECTOR: u64 = 0x18;
/// User data segment selector on x86_64, with privilege level 3 (Linux's `__USER_DS`).
pub const USER_DATA_SELECTOR: u64 = 0x2b;
/// User code segment selector on x86_64, with privilege level 3 (Linux's `__USER_CS`).
pub const USER_CODE_SELECTOR: u64 = 0x33;

/// `RFLAGS` of a fresh kernel context: bit 1, which is always set; interrupts masked, because a switch
/// happens with interrupts masked and the first code of a thread enables them itself.
const KERNEL_FLAGS: u64 = 0x2;
/// `RFLAGS` of a fresh user context: interrupts enabled.
const USER_FLAGS: u64 = 0x202;

/// x86_64: all general registers, instruction and stack pointer, flags, segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Context {
    /// General register.
    pub rax: u64,
    /// General register, callee-saved.
    pub rbx: u64,
    /// General register.
    pub rcx: u64,
    /// General register.
    pub rdx: u64,
    /// General register.
    pub rsi: u64,
    /// General register: the first argument.
    pub rdi: u64,
    /// Frame pointer, callee-saved.
    pub rbp: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// General register.
    pub r8: u64,
    /// General register.
    pub r9: u64,
    /// General register.
    pub r10: u64,
    /// General register.
    pub r11: u64,
    /// General register, callee-saved.
    pub r12: u64,
    /// General register, callee-saved.
    pub r13: u64,
    /// General register, callee-saved.
    pub r14: u64,
    /// General register, callee-saved.
    pub r15: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Code segment selector: its low two bits are the privilege level.
    pub cs: u64,
    /// Stack segment selector.
    pub ss: u64,
}

impl Context {
    /// How many 64-bit fields there are.
    pub const FIELDS: usize = size_of::<Self>() / size_of::<u64>();
    /// The fields that the switch routine uses, in the order rbx, rbp, r12, r13, r14, r15, rsp, rip.
    pub const SWITCH_OFFSETS: [usize; 8] = [
        offset_of!(Self, rbx),
        offset_of!(Self, rbp),
        offset_of!(Self, r12),
        offset_of!(Self, r13),
        offset_of!(Self, r14),
        offset_of!(Self, r15),
        offset_of!(Self, rsp),
        offset_of!(Self, rip),
    ];

    /// A context that calls the kernel function at `entry` with the stack pointer at `stack` (which is 16-byte aligned; the
    /// function finds it as after a call).
    #[must_use]
    pub const fn kernel(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self {
            rip: entry.value(),
            rsp: stack.value().wrapping_sub(8),
            rflags: KERNEL_FLAGS,
            cs: KERNEL_CODE_SELECTOR,
            ss: KERNEL_DATA_SELECTOR,
            ..Self::ZERO
        }
    }
    /// A context that starts a program.
    #[must_use]
    pub const fn user(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self {
            rip: entry.value(),
            rsp: stack.value(),
            rflags: USER_FLAGS,
            cs: USER_CODE_SELECTOR,
            ss: USER_DATA_SELECTOR,
            ..Self::ZERO
        }
    }
    /// Whether it continues in user mode.
    #[must_use]
    pub const fn is_user(&self) -> bool {
        self.cs & 3 == 3
    }

    const ZERO: Self = Self {
        rax: 0,
        rbx: 0,
        rcx: 0,
        rdx: 0,
        rsi: 0,
        rdi: 0,
        rbp: 0,
        rsp: 0,
        r8: 0,
        r9: 0,
        r10: 0,
        r11: 0,
        r12: 0,
        r13: 0,
        r14: 0,
        r15: 0,
        rip: 0,
        rflags: 0,
        cs: 0,
        ss: 0,
    };
}

/// AArch64: the callee-saved registers, frame pointer, link register, stack and program counter, state, and the user's stack
/// and thread pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ArmContext {
    /// Callee-saved register.
    pub x19: u64,
    /// Callee-saved register.
    pub x20: u64,
    /// Callee-saved register.
    pub x21: u64,
    /// Callee-saved register.
    pub x22: u64,
    /// Callee-saved register.
    pub x23: u64,
    /// Callee-saved register.
    pub x24: u64,
    /// Callee-saved register.
    pub x25: u64,
    /// Callee-saved register.
    pub x26: u64,
    /// Callee-saved register.
    pub x27: u64,
    /// Callee-saved register.
    pub x28: u64,
    /// Frame pointer.
    pub x29: u64,
    /// Link register: where the switch returns to.
    pub x30: u64,
    /// Kernel stack pointer (`SP_EL1`).
    pub sp: u64,
    /// Program counter.
    pub pc: u64,
    /// Saved program state (`SPSR_EL1`): its low four bits are the exception level.
    pub pstate: u64,
    /// User stack pointer.
    pub sp_el0: u64,
    /// User thread pointer.
    pub tpidr_el0: u64,
}

/// `PSTATE` for EL1 with its own stack pointer, all interrupts masked.
const ARM_KERNEL_STATE: u64 = 0x3c5;
/// `PSTATE` for EL0, interrupts enabled.
const ARM_USER_STATE: u64 = 0;

impl ArmContext {
    /// How many 64-bit fields there are.
    pub const FIELDS: usize = size_of::<Self>() / size_of::<u64>();
    /// The fields that the switch routine uses, in the order x19 (to x28, ascending), x29, x30, sp.
    pub const SWITCH_OFFSETS: [usize; 4] =
        [offset_of!(Self, x19), offset_of!(Self, x29), offset_of!(Self, x30), offset_of!(Self, sp)];

    /// A context that calls the kernel function at `entry` with the stack pointer at `stack`.
    #[must_use]
    pub const fn kernel(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self { x30: entry.value(), pc: entry.value(), sp: stack.value(), pstate: ARM_KERNEL_STATE, ..Self::ZERO }
    }
    /// A context that starts a program.
    #[must_use]
    pub const fn user(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self { pc: entry.value(), sp_el0: stack.value(), pstate: ARM_USER_STATE, ..Self::ZERO }
    }
    /// Whether it continues in user mode.
    #[must_use]
    pub const fn is_user(&self) -> bool {
        self.pstate & 0xf == 0
    }

    const ZERO: Self = Self {
        x19: 0,
        x20: 0,
        x21: 0,
        x22: 0,
        x23: 0,
        x24: 0,
        x25: 0,
        x26: 0,
        x27: 0,
        x28: 0,
        x29: 0,
        x30: 0,
        sp: 0,
        pc: 0,
        pstate: 0,
        sp_el0: 0,
        tpidr_el0: 0,
    };
}

/// The context of the machine that the kernel runs on: room for the larger layout, filled in the one that [`ContextSwitch::OFFSETS`] names.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct SwitchContext([u64; Context::FIELDS]);

const _: () = assert!(ArmContext::FIELDS <= Context::FIELDS);

/// Whether the machine's switch routine means the same fields as this file.
const fn offsets_agree(machine: &[usize], ours: &[usize]) -> bool {
    if machine.len() != ours.len() {
        return false;
    }
    let mut index = 0;
    while index < ours.len() {
        if machine[index] != ours[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// The places that the machine's switch routine uses.
const OFFSETS: &[usize] = <Current as ContextSwitch>::OFFSETS;
/// Whether they are those of [`ArmContext`].
const IS_ARM: bool = offsets_agree(OFFSETS, &ArmContext::SWITCH_OFFSETS);

// The hosted machine has no switch routine and names no offsets.
const _: () = assert!(
    OFFSETS.is_empty() || IS_ARM || offsets_agree(OFFSETS, &Context::SWITCH_OFFSETS),
    "the switch routine's offsets are those of no context"
);

impl SwitchContext {
    /// A context that only a switch will fill.
    pub const EMPTY: Self = Self([0; Context::FIELDS]);

    /// A context that calls the kernel function at `entry` on the stack that ends at `stack` (16-byte aligned).
    #[must_use]
    pub fn kernel(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        if !IS_ARM {
            return Self(zerocopy::transmute!(Context::kernel(entry, stack)));
        }
        let mut words = [0; Context::FIELDS];
        let arm: [u64; ArmContext::FIELDS] = zerocopy::transmute!(ArmContext::kernel(entry, stack));
        for (word, value) in words.iter_mut().zip(arm) {
            *word = value;
        }
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_have_the_fields_that_the_mission_names() {
        assert_eq!(Context::FIELDS, 20);
        assert_eq!(ArmContext::FIELDS, 17);
        assert_eq!((size_of::<Context>(), size_of::<ArmContext>()), (160, 136));
    }

    #[test]
    fn offsets_are_those_drawn_above() {
        assert_eq!(Context::SWITCH_OFFSETS, [8, 48, 96, 104, 112, 120, 56, 128]);
        assert_eq!(offset_of!(Context, r8), 64);
        assert_eq!((offset_of!(Context, rflags), offset_of!(Context, cs), offset_of!(Context, ss)), (136, 144, 152));
        assert_eq!(ArmContext::SWITCH_OFFSETS, [0, 80, 88, 96]);
        assert_eq!((offset_of!(ArmContext, pc), offset_of!(ArmContext, pstate)), (104, 112));
        assert_eq!((offset_of!(ArmContext, sp_el0), offset_of!(ArmContext, tpidr_el0)), (120, 128));
    }

    #[test]
    fn kernel_and_user_contexts_are_apart() {
        let (entry, stack) = (VirtualAddress::new(0x1000), VirtualAddress::new(0x8000));
        let (kernel, user) = (Context::kernel(entry, stack), Context::user(entry, stack));
        assert!(!kernel.is_user() && user.is_user());
        assert_eq!((user.cs, user.ss, user.rflags & 0x200), (0x33, 0x2b, 0x200));
        assert_eq!((kernel.cs, kernel.ss, kernel.rflags & 0x200), (0x10, 0x18, 0));
        // A function finds its stack as after a call: 8 below a multiple of 16.
        assert_eq!((kernel.rsp % 16, user.rsp), (8, 0x8000));
        let (kernel, user) = (ArmContext::kernel(entry, stack), ArmContext::user(entry, stack));
        assert!(!kernel.is_user() && user.is_user());
        assert_eq!((kernel.x30, kernel.sp, user.sp_el0, user.sp), (0x1000, 0x8000, 0x8000, 0));
    }

    #[test]
    fn the_machine_s_context_is_one_of_the_two() {
        let context = SwitchContext::kernel(VirtualAddress::new(0x1234), VirtualAddress::new(0x9000));
        let plain: [u64; 20] =
            zerocopy::transmute!(Context::kernel(VirtualAddress::new(0x1234), VirtualAddress::new(0x9000)));
        assert_eq!(context.0, plain);
    }

    #[test]
    fn disagreeing_offsets_are_noticed() {
        assert!(offsets_agree(&[1, 2], &[1, 2]));
        assert!(!offsets_agree(&[1, 3], &[1, 2]));
        assert!(!offsets_agree(&[1], &[1, 2]));
    }
}
