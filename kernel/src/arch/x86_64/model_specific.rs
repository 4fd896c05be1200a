//! Model-specific registers.

#![allow(unsafe_code, reason = "rdmsr and wrmsr")]

use core::arch::asm;

/// Local APIC address and enable bits.
pub const APIC_BASE: u32 = 0x1b;
/// What the CPU says of its weaknesses.
pub const ARCHITECTURAL_CAPABILITIES: u32 = 0x10a;
/// What the microcode does about some of them.
pub const MICROCODE_OPTIONS: u32 = 0x123;
/// The TSC value at which the deadline timer fires.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// Extended features: `syscall`, no-execute.
pub const EFER: u32 = 0xc000_0080;
/// Segments of `syscall` and `sysret`.
pub const STAR: u32 = 0xc000_0081;
/// Target of `syscall`.
pub const LSTAR: u32 = 0xc000_0082;
/// Target of `syscall` from 32-bit code.
pub const CSTAR: u32 = 0xc000_0083;
/// Flags that `syscall` clears.
pub const SFMASK: u32 = 0xc000_0084;
/// Base of `fs`.
pub const FS_BASE: u32 = 0xc000_0100;
/// Base of `gs`.
pub const GS_BASE: u32 = 0xc000_0101;
/// What `swapgs` exchanges with it.
pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// What `rdtscp` and `rdpid` give: the CPU's number.
pub const TSC_AUX: u32 = 0xc000_0103;
/// The first x2APIC register.
pub const X2APIC_FIRST: u32 = 0x800;

/// Reads a register.
///
/// # Safety
/// The CPU has it.
#[inline]
pub unsafe fn read(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the register.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a register.
///
/// # Safety
/// The CPU has it, and the value keeps the kernel's invariants.
#[inline]
pub unsafe fn write(register: u32, value: u64) {
    let (low, high) = (value & 0xffff_ffff, value >> 32);
    // SAFETY: the caller vouches for the register and the value.
    unsafe { asm!("wrmsr", in("ecx") register, in("rax") low, in("rdx") high, options(nostack, preserves_flags)) };
}
