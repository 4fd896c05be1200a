//! The numbers of interrupt vectors and device lines.
//!
//! ```text
//! 0x00..=0x1f   exceptions                      0x30..=0x47   device lines 0..=23 (both controllers use the same vectors)
//! 0xec          local APIC timer                0xff          spurious
//! 0xfc          a call from another CPU         0xfd          reschedule
//! ```

/// The vector of device line 0.
pub const FIRST_LINE_VECTOR: u8 = 0x30;
/// How many device lines there are.
pub const LINE_COUNT: u8 = 24;
/// The local APIC timer's vector.
pub const TIMER_VECTOR: u8 = 0xec;
/// Another CPU calls a function here.
pub const CALL_VECTOR: u8 = 0xfc;
/// Another CPU wants this one to look at its run queue.
pub const RESCHEDULE_VECTOR: u8 = 0xfd;
/// The spurious-interrupt vector: its low four bits must be ones.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Page fault.
pub const PAGE_FAULT: u64 = 14;
/// Non-maskable interrupt.
pub const NON_MASKABLE: u64 = 2;
/// Double fault.
pub const DOUBLE_FAULT: u64 = 8;
/// Machine check.
pub const MACHINE_CHECK: u64 = 18;
/// Debug exception.
pub const DEBUG: u64 = 1;
/// Breakpoint.
pub const BREAKPOINT: u64 = 3;
/// Overflow (`into`, 32-bit code only).
pub const OVERFLOW: u64 = 4;
/// General protection fault.
pub const GENERAL_PROTECTION: u64 = 13;
