//! Where traps arrive in Rust: sorting them, Linux's signals for exceptions, the way back.
//!
//! | function | from | `gs`, stack |
//! |---|---|---|
//! | [`user_trap`] | user mode | the thread's stack |
//! | [`kernel_trap`] | kernel mode | the stack that was interrupted |
//! | [`paranoid_trap`] | anywhere | an IST stack; it must not sleep |
//! | [`finish_return_to_user`] | the end of every slow way to user mode | interrupts masked |

#![allow(unsafe_code, reason = "entry points with the machine's calling convention")]

use super::trap_frame::TrapFrame;
use super::vectors::{
    BREAKPOINT, CALL_VECTOR, DEBUG, DOUBLE_FAULT, FIRST_LINE_VECTOR, GENERAL_PROTECTION, LINE_COUNT, MACHINE_CHECK,
    NON_MASKABLE, OVERFLOW, PAGE_FAULT, RESCHEDULE_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR,
};
use super::{X86_64, abandoned_stack, interrupt_controller, machine_check, mmu, secondary, user_access};
use crate::arch::{
    AccessKind, Cpu, Exception, Mmu, PageFault, Registers, SerialConsole, TrapHandler, inter_processor,
    interrupt_report,
    latency::{self, Section},
    trap_handler,
};
use crate::base::VirtualAddress;
use arrayvec::ArrayString;
use core::fmt::Write;

const INTERRUPT_FLAG: u64 = 1 << 9;
const SIGILL: u32 = 4;
const SIGTRAP: u32 = 5;
const SIGBUS: u32 = 7;
const SIGFPE: u32 = 8;
const SIGSEGV: u32 = 11;
const SI_KERNEL: i32 = 0x80;

/// Decodes a page fault's error code.
fn page_fault(frame: &TrapFrame, address: VirtualAddress) -> PageFault {
    let code = frame.error_code;
    PageFault {
        address,
        access: match code {
            _ if code & 1 << 4 != 0 => AccessKind::Execute,
            _ if code & 1 << 1 != 0 => AccessKind::Write,
            _ => AccessKind::Read,
        },
        present: code & 1 != 0,
        user: code & 1 << 2 != 0,
        vector: PAGE_FAULT,
        // Of the kernel's half programs learn only that they may not touch it.
        error_code: if address < X86_64::USER_END { code } else { code | 1 },
    }
}

/// Linux's signal, code and a name for each exception (`arch/x86/kernel/traps.c`'s table, from the manual's rows).
fn describe(vector: u64) -> (&'static str, u32, i32) {
    match vector {
        0 => ("divide error", SIGFPE, 1),
        DEBUG => ("debug", SIGTRAP, 2),
        BREAKPOINT => ("int3", SIGTRAP, SI_KERNEL),
        OVERFLOW => ("overflow", SIGSEGV, SI_KERNEL),
        5 => ("bounds", SIGSEGV, SI_KERNEL),
        6 => ("invalid opcode", SIGILL, 2),
        7 => ("device not available", SIGSEGV, SI_KERNEL),
        9 => ("coprocessor segment overrun", SIGFPE, SI_KERNEL),
        10 => ("invalid TSS", SIGSEGV, SI_KERNEL),
        11 => ("segment not present", SIGBUS, SI_KERNEL),
        12 => ("stack segment", SIGBUS, SI_KERNEL),
        GENERAL_PROTECTION => ("general protection fault", SIGSEGV, SI_KERNEL),
        16 => ("x87 FPU exception", SIGFPE, 0),
        17 => ("alignment check", SIGBUS, 1),
        19 => ("SIMD exception", SIGFPE, 0),
        21 => ("control protection", SIGSEGV, 10),
        _ => ("unexpected exception", SIGSEGV, SI_KERNEL),
    }
}

/// Linux's `si_code` for the floating-point exceptions whose flags are raised and not masked.
fn floating_point_code(unmasked: u32) -> i32 {
    match unmasked {
        _ if unmasked & 0x01 != 0 => 7, // FPE_FLTINV
        _ if unmasked & 0x04 != 0 => 3, // FPE_FLTDIV
        _ if unmasked & 0x08 != 0 => 4, // FPE_FLTOVF
        _ if unmasked & 0x12 != 0 => 5, // FPE_FLTUND: denormal operand, underflow
        _ if unmasked & 0x20 != 0 => 6, // FPE_FLTRES
        _ => 0,
    }
}

/// The raised and unmasked exceptions of the x87 unit.
fn x87_status() -> u32 {
    let (mut status, mut control) = (0u16, 0u16);
    // SAFETY: stores two registers.
    unsafe {
        core::arch::asm!(
            "fnstsw [{status}]", "fnstcw [{control}]",
            status = in(reg) &raw mut status, control = in(reg) &raw mut control, options(nostack),
        );
    }
    u32::from(status) & !u32::from(control) & 0x3f
}

/// The raised and unmasked exceptions of the SSE unit.
fn sse_status() -> u32 {
    let mut status = 0u32;
    // SAFETY: stores a register.
    unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut status, options(nostack)) };
    status & !(status >> 7) & 0x3f
}

/// The exception of `frame` in Linux's terms.
fn exception(frame: &TrapFrame) -> Exception {
    let (name, signal, code) = describe(frame.vector);
    let rip = VirtualAddress::new(frame.rip);
    let (code, address) = match frame.vector {
        0 | 6 => (code, rip),
        DEBUG => (if debug_status() & 1 << 14 != 0 { 2 } else { 4 }, rip),
        16 => (floating_point_code(x87_status()), rip),
        19 => (floating_point_code(sse_status()), rip),
        _ => (code, VirtualAddress::new(0)),
    };
    Exception { signal, code, address, vector: frame.vector, error_code: frame.error_code, fault_address: None, name }
}

/// Reads and clears DR6.
fn debug_status() -> u64 {
    let status: u64;
    // SAFETY: the debug status has no effect on execution.
    unsafe {
        core::arch::asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags));
        core::arch::asm!("mov dr6, {}", in(reg) 0xffff_0ff0u64, options(nomem, nostack, preserves_flags));
    }
    status
}

/// Acknowledges and delivers an interrupt.
fn interrupt(handler: &dyn TrapHandler, frame: &TrapFrame) {
    let local = X86_64::local();
    local.enter_interrupt();
    let vector = frame.vector as u8;
    match vector {
        TIMER_VECTOR => {
            interrupt_report::count(local, interrupt_controller::TIMER_SOURCE);
            interrupt_controller::acknowledge_local();
            handler.timer_interrupt(frame);
        }
        FIRST_LINE_VECTOR.. if vector < FIRST_LINE_VECTOR + LINE_COUNT => {
            let line = vector - FIRST_LINE_VECTOR;
            if interrupt_controller::is_genuine(line) {
                interrupt_report::count(local, line.into());
                if interrupt_controller::is_timer(line) {
                    interrupt_controller::acknowledge(line);
                    handler.timer_interrupt(frame);
                } else {
                    handler.device_interrupt(line.into());
                    interrupt_controller::acknowledge(line);
                }
            }
        }
        CALL_VECTOR => {
            interrupt_controller::acknowledge_local();
            inter_processor::serve_calls();
        }
        RESCHEDULE_VECTOR => {
            interrupt_controller::acknowledge_local();
            inter_processor::reschedule_arrived(local);
        }
        SPURIOUS_VECTOR => {}
        _ => log::warn!("interrupt with unexpected vector {vector:#x}"),
    }
    local.leave_interrupt();
}

/// A trap from user mode. Returns with interrupts masked and all work done.
pub(super) extern "sysv64" fn user_trap(frame: &mut TrapFrame) {
    latency::began(Section::InterruptsOff);
    let Some(handler) = trap_handler() else { X86_64::halt() };
    match frame.vector {
        PAGE_FAULT => {
            let fault = page_fault(frame, mmu::fault_address());
            X86_64::enable_interrupts();
            handler.page_fault(frame, fault);
        }
        MACHINE_CHECK => handler.kernel_bug(frame, &machine_check::take_report()),
        0..32 => {
            let exception = exception(frame);
            X86_64::enable_interrupts();
            handler.exception(frame, exception);
        }
        _ => interrupt(handler, frame),
    }
    finish_return_to_user(frame);
}

/// A trap from kernel mode.
pub(super) extern "sysv64" fn kernel_trap(frame: &mut TrapFrame) {
    let masks_interrupts = frame.rflags & INTERRUPT_FLAG != 0;
    if masks_interrupts {
        latency::began(Section::InterruptsOff);
    }
    take_kernel_trap(frame);
    if masks_interrupts {
        latency::ends(Section::InterruptsOff);
    }
}

#[inline]
fn take_kernel_trap(frame: &mut TrapFrame) {
    let Some(handler) = trap_handler() else { early_trap(frame) };
    match frame.vector {
        PAGE_FAULT => kernel_page_fault(handler, frame, mmu::fault_address()),
        vector @ 0..32 => {
            if let Some(continuation) = user_access::fault_continuation(frame.rip) {
                frame.rip = continuation;
                return;
            }
            let mut text = ArrayString::<96>::new();
            let _ = write!(text, "{} (vector {vector}, error {:#x})", describe(vector).0, frame.error_code);
            handler.kernel_bug(frame, &text);
        }
        _ => {
            interrupt(handler, frame);
            if X86_64::local().need_reschedule() && X86_64::preemption_count() == 0 {
                handler.before_return_to_kernel();
            }
        }
    }
}

fn kernel_page_fault(handler: &dyn TrapHandler, frame: &mut TrapFrame, address: VirtualAddress) {
    if address < X86_64::USER_END
        && let Some(continuation) = user_access::fault_continuation(frame.rip)
    {
        // A fault that may not sleep is one that cannot be satisfied.
        let may_sleep = frame.rflags & INTERRUPT_FLAG != 0 && X86_64::preemption_count() == 0;
        let fault = PageFault { user: false, ..page_fault(frame, address) };
        if may_sleep {
            X86_64::enable_interrupts();
            let satisfied = handler.page_fault(frame, fault);
            X86_64::disable_interrupts();
            if satisfied {
                return;
            }
        }
        frame.rip = continuation;
        return;
    }
    let fault = page_fault(frame, address);
    let mut text = ArrayString::<96>::new();
    let what = match fault.access {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Execute => "fetch",
    };
    let _ = write!(text, "kernel page fault: {what} at {address:#x} (error {:#x})", frame.error_code);
    handler.kernel_bug(frame, &text);
}

/// NMI, machine check, double fault, and debug exceptions in the kernel.
pub(super) extern "sysv64" fn paranoid_trap(frame: &mut TrapFrame) {
    match frame.vector {
        NON_MASKABLE if secondary::is_stopping() => X86_64::halt(),
        NON_MASKABLE => {
            // Past the log: the code that was interrupted may hold its lock.
            let mut text = ArrayString::<64>::new();
            let _ = write!(text, "\r\nnon-maskable interrupt at {:#x}\r\n", frame.rip);
            X86_64::write_console(text.as_bytes());
        }
        DEBUG => {
            debug_status();
        }
        DOUBLE_FAULT => {
            let address = mmu::fault_address().value();
            // A push below the stack's last page faults, and so does the push of that fault's own frame.
            let overflow = address.abs_diff(frame.rsp) <= 4096;
            match trap_handler() {
                Some(_) if overflow && X86_64::local().kernel_stack().value() != 0 => {
                    // SAFETY: what the stack holds ends with its thread; the frame is on the double fault's own stack.
                    unsafe { abandoned_stack::abandon_stack(frame, report_overflow) }
                }
                Some(handler) => handler.kernel_bug(frame, "double fault"),
                None => early_trap(frame),
            }
        }
        _ => match trap_handler() {
            Some(handler) => handler.kernel_bug(frame, &machine_check::take_report()),
            None => early_trap(frame),
        },
    }
}

/// The end of a thread whose kernel stack was too small, on that stack's other end.
extern "sysv64" fn report_overflow(frame: &TrapFrame) -> ! {
    match trap_handler() {
        Some(handler) => handler.kernel_bug(frame, "kernel stack overflow"),
        None => early_trap(frame),
    }
}

/// A trap before the kernel has registered itself: says so and stops.
fn early_trap(frame: &TrapFrame) -> ! {
    let mut text = ArrayString::<256>::new();
    let _ = writeln!(
        text,
        "\nearly trap: {} (vector {}, error {:#x}) at {:#x}, stack {:#x}, cr2 {:#x}\r",
        describe(frame.vector).0,
        frame.vector,
        frame.error_code,
        frame.rip,
        frame.rsp,
        mmu::fault_address(),
    );
    X86_64::write_console(text.as_bytes());
    X86_64::halt()
}

/// Does what is pending until nothing is, and makes sure that the frame is one that `iretq` takes. Returns with
/// interrupts masked.
pub(super) extern "sysv64" fn finish_return_to_user(frame: &mut TrapFrame) {
    X86_64::disable_interrupts();
    let Some(handler) = trap_handler() else { return };
    loop {
        while X86_64::local().work_pending() {
            handler.before_return_to_user(frame);
        }
        if frame.rip < 1 << 47 && frame.is_user() {
            return latency::ends(Section::InterruptsOff);
        }
        // `iretq` would fault in the kernel. Linux answers with SIGSEGV.
        X86_64::enable_interrupts();
        let exception = Exception {
            signal: SIGSEGV,
            code: SI_KERNEL,
            address: VirtualAddress::new(0),
            vector: GENERAL_PROTECTION,
            error_code: 0,
            fault_address: None,
            name: "bad return address",
        };
        frame.rip = 0;
        handler.exception(frame, exception);
        X86_64::disable_interrupts();
    }
}
