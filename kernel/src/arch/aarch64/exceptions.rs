//! Where exceptions arrive in Rust: sorting them, Linux's signals for them, the way back.
//!
//! | function | from | on |
//! |---|---|---|
//! | [`user_trap`], [`user_interrupt`] | user mode | the thread's stack |
//! | [`kernel_trap`], [`kernel_interrupt`] | kernel mode | the stack that was interrupted |
//! | [`stack_overflow`] | kernel mode, without room on the stack | the overflow stack |
//! | [`finish_return_to_user`] | the end of every slow way to user mode | interrupts masked |
//!
//! [`classify`], which reads the syndrome, is pure and tested on any host.

#![allow(unsafe_code, reason = "entry points with the machine's calling convention")]

use crate::arch::AccessKind;
#[cfg(target_os = "none")]
use crate::arch::Exception;
use crate::base::VirtualAddress;

#[cfg(target_os = "none")]
pub(super) use machine::{
    finish_return_to_user, kernel_interrupt, kernel_trap, stack_overflow, system_error, unexpected, user_interrupt,
    user_system_error, user_trap,
};

/// The exception class of `svc` in 64-bit code.
#[cfg(target_os = "none")]
pub(super) const SYSTEM_CALL_CLASS: u64 = 0x15;

/// That of what the CPU does not know.
const UNDEFINED_CLASS: u64 = 0x00;

const SIGILL: u32 = 4;
const SIGTRAP: u32 = 5;
const SIGBUS: u32 = 7;
const SIGFPE: u32 = 8;
const SIGKILL: u32 = 9;
const ILL_ILLOPC: i32 = 1;
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const TRAP_HWBKPT: i32 = 4;
const BUS_ADRALN: i32 = 1;
const BUS_OBJERR: i32 = 3;
const SI_KERNEL: i32 = 0x80;

/// What a synchronous exception is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// Translation, permission or the access flag was the trouble.
    PageFault {
        /// How the address was touched.
        access: AccessKind,
        /// Whether a translation was present.
        present: bool,
    },
    /// User mode used a system register that it may not.
    SystemRegister,
    /// Anything else, by Linux's name for it: the signal, its code, and which address it shows.
    Signal(&'static str, u32, i32, Shown),
}

/// The address that a signal shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    /// That of the instruction.
    Instruction,
    /// That which was touched.
    Touched,
}

/// Reads the syndrome of an exception (`ESR_EL1`; Arm ARM, D17.2.37).
fn classify(syndrome: u64) -> Cause {
    match syndrome >> 26 & 0x3f {
        0x18 => Cause::SystemRegister,
        0x20 | 0x21 => abort(syndrome, AccessKind::Execute),
        0x24 | 0x25 => {
            const WRITE: u64 = 1 << 6;
            const CACHE_MAINTENANCE: u64 = 1 << 8;
            let is_write = syndrome & (WRITE | CACHE_MAINTENANCE) == WRITE;
            abort(syndrome, if is_write { AccessKind::Write } else { AccessKind::Read })
        }
        0x22 => Cause::Signal("pc alignment", SIGBUS, BUS_ADRALN, Shown::Touched),
        0x26 => Cause::Signal("sp alignment", SIGBUS, BUS_ADRALN, Shown::Instruction),
        0x2c => Cause::Signal("floating point exception", SIGFPE, floating_point_code(syndrome), Shown::Instruction),
        0x30 | 0x31 => Cause::Signal("hw-breakpoint", SIGTRAP, TRAP_HWBKPT, Shown::Instruction),
        0x32 | 0x33 => Cause::Signal("single step", SIGTRAP, TRAP_TRACE, Shown::Instruction),
        0x34 | 0x35 => Cause::Signal("hw-watchpoint", SIGTRAP, TRAP_HWBKPT, Shown::Touched),
        0x3c => Cause::Signal("BRK handler", SIGTRAP, TRAP_BRKPT, Shown::Instruction),
        UNDEFINED_CLASS => Cause::Signal("undefined instruction", SIGILL, ILL_ILLOPC, Shown::Instruction),
        _ => Cause::Signal("Bad EL0 synchronous exception", SIGILL, ILL_ILLOPC, Shown::Instruction),
    }
}

/// An instruction or data abort.
fn abort(syndrome: u64, access: AccessKind) -> Cause {
    match syndrome & 0x3f {
        0x04..=0x07 => Cause::PageFault { access, present: false },
        0x08..=0x0f => Cause::PageFault { access, present: true },
        0x10 => Cause::Signal("synchronous external abort", SIGBUS, BUS_OBJERR, Shown::Touched),
        // The tables themselves cannot be read: nothing that a handler could do helps.
        0x13..=0x17 => {
            Cause::Signal("synchronous external abort (translation table walk)", SIGKILL, SI_KERNEL, Shown::Touched)
        }
        0x1b..=0x1f => {
            Cause::Signal("synchronous parity error (translation table walk)", SIGKILL, SI_KERNEL, Shown::Touched)
        }
        0x18 => Cause::Signal("synchronous parity or ECC error", SIGBUS, BUS_OBJERR, Shown::Touched),
        0x21 => Cause::Signal("alignment fault", SIGBUS, BUS_ADRALN, Shown::Touched),
        0x35 => Cause::Signal("unsupported exclusive", SIGBUS, BUS_OBJERR, Shown::Touched),
        _ => Cause::Signal("unknown abort", SIGKILL, SI_KERNEL, Shown::Touched),
    }
}

/// Whether the kernel goes on after a system error with this syndrome, as Linux decides it: the CPU has RAS, says what happened, and that it corrected the error
/// or that nothing has used what is wrong yet.
fn is_survivable(syndrome: u64, has_ras: bool) -> bool {
    const IMPLEMENTATION_DEFINED: u64 = 1 << 24;
    const CATEGORISED: u64 = 0x11;
    const RESTARTABLE: u64 = 2;
    const CORRECTED: u64 = 6;
    has_ras
        && syndrome & IMPLEMENTATION_DEFINED == 0
        && syndrome & 0x3f == CATEGORISED
        && matches!(syndrome >> 10 & 7, RESTARTABLE | CORRECTED)
}

/// The syndrome that a CPU with `FEAT_IDST` gives for `instruction`, if that is `mrs` from an identification register: other CPUs only say that it is
/// undefined.
fn system_register_syndrome(instruction: u32) -> Option<u64> {
    const MRS: u32 = 0xd530_0000;
    if instruction & 0xfff0_0000 != MRS {
        return None;
    }
    let field = |shift: u32, mask: u32| u64::from(instruction >> shift & mask);
    let (op0, op1, op2) = (2 + field(19, 1), field(16, 7), field(5, 7));
    let (cr_n, cr_m, target) = (field(12, 0xf), field(8, 0xf), field(0, 0x1f));
    Some(0x18 << 26 | op0 << 20 | op2 << 17 | op1 << 14 | cr_n << 10 | target << 5 | cr_m << 1 | 1)
}

/// Linux's `si_code` for the floating-point exceptions that the syndrome says are pending.
fn floating_point_code(syndrome: u64) -> i32 {
    const VALID: u64 = 1 << 23;
    match syndrome {
        _ if syndrome & VALID == 0 => 14, // FPE_FLTUNK
        _ if syndrome & 1 << 0 != 0 => 7, // FPE_FLTINV
        _ if syndrome & 1 << 1 != 0 => 3, // FPE_FLTDIV
        _ if syndrome & 1 << 2 != 0 => 4, // FPE_FLTOVF
        _ if syndrome & 1 << 3 != 0 => 5, // FPE_FLTUND
        _ if syndrome & 1 << 4 != 0 => 6, // FPE_FLTRES
        _ => 14,
    }
}

/// A faulting address without the byte that the MMU ignores in user addresses.
fn untagged(address: u64) -> VirtualAddress {
    const SELECTS_KERNEL: u64 = 1 << 55;
    VirtualAddress::new(if address & SELECTS_KERNEL == 0 { address & (SELECTS_KERNEL * 2 - 1) } else { address })
}

/// A signal in the form that the kernel wants.
#[cfg(target_os = "none")]
fn exception(
    (name, signal, code): (&'static str, u32, i32),
    address: VirtualAddress,
    syndrome: u64,
    fault_address: Option<VirtualAddress>,
) -> Exception {
    Exception { signal, code, address, vector: 0, error_code: syndrome, fault_address, name }
}

#[cfg(target_os = "none")]
mod machine {
    use super::super::trap_frame::TrapFrame;
    use super::super::{
        Aarch64, cpu_information, entry, interrupt_controller, secondary, signal_frame, timer, user_access,
    };
    use super::{
        Cause, ILL_ILLOPC, SI_KERNEL, SIGILL, SIGSEGV, Shown, UNDEFINED_CLASS, classify, exception, is_survivable,
        system_register_syndrome, untagged,
    };
    use crate::arch::latency::{self, Section};
    use crate::arch::{
        AccessKind, Cpu, Mmu, PageFault, Registers, SerialConsole, TrapHandler, UserAccess, interrupt_report,
        trap_handler,
    };
    use crate::base::VirtualAddress;
    use arrayvec::ArrayString;
    use core::fmt::Write;

    /// The `I` bit of a saved status.
    const INTERRUPTS_MASKED: u64 = 1 << 7;

    /// A synchronous exception from user mode. Returns with interrupts masked and all work done.
    pub(in super::super) extern "C" fn user_trap(frame: &mut TrapFrame, syndrome: u64, touched: u64) {
        let Some(handler) = trap_handler() else { early_trap(frame, syndrome, touched) };
        let touched = untagged(touched);
        let instruction = VirtualAddress::new(frame.program_counter);
        Aarch64::enable_interrupts();
        let syndrome = match syndrome >> 26 {
            UNDEFINED_CLASS => {
                let instruction = Aarch64::load_u32(instruction).ok();
                instruction.and_then(system_register_syndrome).unwrap_or(syndrome)
            }
            _ => syndrome,
        };
        match classify(syndrome) {
            Cause::PageFault { access, present } => {
                let error_code = signal_frame::shown_syndrome(syndrome, touched);
                let fault = PageFault { address: touched, access, present, user: true, vector: 0, error_code };
                handler.page_fault(frame, fault);
            }
            Cause::SystemRegister => match cpu_information::emulate(syndrome) {
                Some((register, value)) => {
                    frame.set_register(register, value);
                    frame.program_counter = frame.program_counter.wrapping_add(4);
                }
                None => {
                    let what = ("undefined instruction", SIGILL, ILL_ILLOPC);
                    handler.exception(frame, exception(what, instruction, 0, None));
                }
            },
            Cause::Signal(name, signal, code, shown) => {
                let (address, fault_address) = match shown {
                    Shown::Instruction => (instruction, None),
                    Shown::Touched => (touched, Some(touched)),
                };
                let syndrome = signal_frame::shown_syndrome(syndrome, touched);
                handler.exception(frame, exception((name, signal, code), address, syndrome, fault_address));
            }
        }
        finish_return_to_user(frame);
    }

    /// An interrupt from user mode.
    pub(in super::super) extern "C" fn user_interrupt(frame: &mut TrapFrame) {
        latency::began(Section::InterruptsOff);
        if let Some(handler) = trap_handler() {
            interrupt(handler, frame);
        }
        finish_return_to_user(frame);
    }

    /// An interrupt from kernel mode.
    pub(in super::super) extern "C" fn kernel_interrupt(frame: &mut TrapFrame) {
        let Some(handler) = trap_handler() else { return };
        latency::began(Section::InterruptsOff);
        interrupt(handler, frame);
        if Aarch64::local().need_reschedule() && Aarch64::preemption_count() == 0 {
            handler.before_return_to_kernel();
        }
        latency::ends(Section::InterruptsOff);
    }

    /// Acknowledges and delivers an interrupt.
    fn interrupt(handler: &dyn TrapHandler, frame: &TrapFrame) {
        let local = Aarch64::local();
        local.enter_interrupt();
        if let Some(interrupt) = interrupt_controller::acknowledge() {
            let line = interrupt.line();
            interrupt_report::count(local, line as usize);
            if timer::is_line(line) {
                // The line stays raised until the alarm is set anew.
                timer::silence();
                interrupt_controller::end(interrupt);
                handler.timer_interrupt(frame);
            } else if line < 16 {
                // Ended first: a call may have this CPU send one.
                interrupt_controller::end(interrupt);
                if !secondary::interrupted(line) {
                    log::warn!("interrupt on unexpected line {line}");
                }
            } else {
                match super::super::serial::is_line(line) {
                    true => handler.device_interrupt(Aarch64::INPUT_LINE),
                    false => log::warn!("interrupt on unexpected line {line}"),
                }
                interrupt_controller::end(interrupt);
            }
        }
        local.leave_interrupt();
    }

    /// A synchronous exception from kernel mode.
    pub(in super::super) extern "C" fn kernel_trap(frame: &mut TrapFrame, syndrome: u64, touched: u64) {
        let masks_interrupts = frame.status & INTERRUPTS_MASKED == 0;
        if masks_interrupts {
            latency::began(Section::InterruptsOff);
        }
        take_kernel_trap(frame, syndrome, touched);
        if masks_interrupts {
            latency::ends(Section::InterruptsOff);
        }
    }

    #[inline]
    fn take_kernel_trap(frame: &mut TrapFrame, syndrome: u64, touched: u64) {
        let Some(handler) = trap_handler() else { early_trap(frame, syndrome, touched) };
        let address = untagged(touched);
        let cause = classify(syndrome);
        if address < Aarch64::USER_END
            && let Some(continuation) = user_access::fault_continuation(frame.program_counter)
        {
            // A fault that may not sleep is one that cannot be satisfied.
            let may_sleep = frame.status & INTERRUPTS_MASKED == 0 && Aarch64::preemption_count() == 0;
            if let (Cause::PageFault { access, present }, true) = (cause, may_sleep) {
                let error_code = signal_frame::shown_syndrome(syndrome, address);
                let fault = PageFault { address, access, present, user: false, vector: 0, error_code };
                Aarch64::enable_interrupts();
                let satisfied = handler.page_fault(frame, fault);
                Aarch64::disable_interrupts();
                if satisfied {
                    return;
                }
            }
            frame.program_counter = continuation;
            return;
        }
        let mut text = ArrayString::<128>::new();
        let _ = match cause {
            Cause::PageFault { access, .. } => {
                let what = match access {
                    AccessKind::Read => "read",
                    AccessKind::Write => "write",
                    AccessKind::Execute => "fetch",
                };
                write!(text, "kernel page fault: {what} at {touched:#x} (syndrome {syndrome:#x})")
            }
            Cause::SystemRegister => write!(text, "system register (syndrome {syndrome:#x})"),
            Cause::Signal(name, ..) => write!(text, "{name} (syndrome {syndrome:#x}, address {touched:#x})"),
        };
        handler.kernel_bug(frame, &text);
    }

    /// A kernel stack was too small.
    pub(in super::super) extern "C" fn stack_overflow(frame: &mut TrapFrame, syndrome: u64, touched: u64) -> ! {
        match trap_handler() {
            Some(_) if Aarch64::local().kernel_stack().value() != 0 => {
                // SAFETY: what the stack holds ends with its thread; the frame is on the overflow stack.
                unsafe { entry::abandon_stack(frame, report_overflow) }
            }
            Some(handler) => handler.kernel_bug(frame, "kernel stack overflow"),
            None => early_trap(frame, syndrome, touched),
        }
    }

    /// The end of a thread whose kernel stack was too small, on that stack's other end.
    extern "C" fn report_overflow(frame: &TrapFrame) -> ! {
        match trap_handler() {
            Some(handler) => handler.kernel_bug(frame, "kernel stack overflow"),
            None => early_trap(frame, 0, 0),
        }
    }

    /// A system error: something went wrong on the far side of the caches, at some time. The kernel ends, whoever ran, as Linux's does, unless the CPU
    /// says that nothing is lost.
    #[expect(clippy::panic, reason = "memory or a device has lost data, and nobody knows whose")]
    pub(in super::super) extern "C" fn system_error(frame: &mut TrapFrame, syndrome: u64) {
        let features: u64;
        // SAFETY: reads an identification register.
        unsafe {
            core::arch::asm!("mrs {}, id_aa64pfr0_el1", out(reg) features, options(nomem, nostack, preserves_flags))
        };
        let has_ras = features >> 28 & 0xf != 0;
        if is_survivable(syndrome, has_ras) {
            log::warn!("system error (syndrome {syndrome:#x}): corrected, or not used yet");
            return;
        }
        if trap_handler().is_none() {
            early_trap(frame, syndrome, 0);
        }
        let cpu = Aarch64::id().0;
        log::error!("SError Interrupt on CPU{cpu}, code {syndrome:#018x} -- SError\n{frame}");
        panic!("Asynchronous SError Interrupt");
    }

    /// The same out of user mode.
    pub(in super::super) extern "C" fn user_system_error(frame: &mut TrapFrame, syndrome: u64) {
        system_error(frame, syndrome);
        finish_return_to_user(frame);
    }

    /// An exception that has no business here.
    pub(in super::super) extern "C" fn unexpected(frame: &mut TrapFrame, syndrome: u64) {
        match trap_handler() {
            Some(handler) => {
                let mut text = ArrayString::<64>::new();
                let _ = write!(text, "unexpected exception (syndrome {syndrome:#x})");
                handler.kernel_bug(frame, &text)
            }
            None => early_trap(frame, syndrome, 0),
        }
    }

    /// An exception before the kernel has registered itself: says so and stops.
    fn early_trap(frame: &TrapFrame, syndrome: u64, touched: u64) -> ! {
        let mut text = ArrayString::<256>::new();
        let _ = writeln!(
            text,
            "\nearly exception: {:?} (syndrome {syndrome:#x}) at {:#x}, address {touched:#x}, x30 {:#x}\r",
            classify(syndrome),
            frame.program_counter,
            frame.general[30],
        );
        Aarch64::write_console(text.as_bytes());
        Aarch64::halt()
    }

    /// Does what is pending until nothing is. Returns with interrupts masked.
    pub(in super::super) extern "C" fn finish_return_to_user(frame: &mut TrapFrame) {
        Aarch64::disable_interrupts();
        let Some(handler) = trap_handler() else { return };
        loop {
            while Aarch64::local().work_pending() {
                handler.before_return_to_user(frame);
            }
            if frame.is_user() {
                return latency::ends(Section::InterruptsOff);
            }
            // `eret` would stay in the kernel.
            Aarch64::enable_interrupts();
            frame.status = 0;
            let what = ("bad saved status", SIGSEGV, SI_KERNEL);
            handler.exception(frame, exception(what, VirtualAddress::new(0), 0, None));
            Aarch64::disable_interrupts();
        }
    }
}

#[cfg(target_os = "none")]
const SIGSEGV: u32 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aborts_say_how_and_whether_anything_was_mapped() {
        let class = |class: u64| class << 26;
        let fault = |access, present| Cause::PageFault { access, present };
        assert_eq!(classify(class(0x24) | 0x07), fault(AccessKind::Read, false));
        assert_eq!(classify(class(0x24) | 1 << 6 | 0x0f), fault(AccessKind::Write, true));
        assert_eq!(classify(class(0x25) | 1 << 6 | 1 << 8 | 0x05), fault(AccessKind::Read, false), "cache maintenance");
        assert_eq!(classify(class(0x20) | 0x0b), fault(AccessKind::Execute, true), "the access flag");
        let Cause::Signal(_, signal, code, shown) = classify(class(0x24) | 0x21) else { panic!() };
        assert_eq!((signal, code, shown), (SIGBUS, BUS_ADRALN, Shown::Touched));
    }

    #[test]
    fn tables_that_cannot_be_read_end_the_program() {
        for status in [0x14, 0x17, 0x1c] {
            let Cause::Signal(_, signal, code, _) = classify(0x24 << 26 | status) else { panic!() };
            assert_eq!((signal, code), (SIGKILL, SI_KERNEL));
        }
        let Cause::Signal(_, signal, code, _) = classify(0x24 << 26 | 0x10) else { panic!() };
        assert_eq!((signal, code), (SIGBUS, BUS_OBJERR));
    }

    #[test]
    fn only_errors_that_the_cpu_calls_harmless_are_survived() {
        let error = |severity: u64, status: u64| 0x2f << 26 | severity << 10 | status;
        assert!(is_survivable(error(6, 0x11), true), "corrected");
        assert!(is_survivable(error(2, 0x11), true), "restartable");
        assert!(!is_survivable(error(6, 0x11), false), "a CPU without RAS says nothing by it");
        assert!(!is_survivable(error(3, 0x11), true), "recoverable, but the CPU cannot go on");
        assert!(!is_survivable(error(0, 0x11), true) && !is_survivable(error(6, 0), true));
        assert!(!is_survivable(1 << 24 | error(6, 0x11), true), "implementation defined");
    }

    #[test]
    fn what_a_program_does_wrong_is_what_linux_calls_it() {
        let of = |class: u64| match classify(class << 26) {
            Cause::Signal(_, signal, code, _) => (signal, code),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(0x00), (SIGILL, ILL_ILLOPC));
        assert_eq!(of(0x0e), (SIGILL, ILL_ILLOPC), "illegal execution state");
        assert_eq!(of(0x19), (SIGILL, ILL_ILLOPC), "SVE is hidden");
        assert_eq!(of(0x22), (SIGBUS, BUS_ADRALN));
        assert_eq!(of(0x26), (SIGBUS, BUS_ADRALN));
        assert_eq!(of(0x3c), (SIGTRAP, TRAP_BRKPT));
        assert_eq!(classify(0x18 << 26), Cause::SystemRegister);
        assert_eq!(floating_point_code(1 << 23 | 0b10), 3);
        assert_eq!(floating_point_code(0b10), 14);
    }

    #[test]
    fn reading_an_identification_register_is_recognised_by_its_instruction() {
        // mrs x5, midr_el1; mrs x0, id_aa64isar0_el1
        assert_eq!(system_register_syndrome(0xd538_0005), Some(0x18 << 26 | 3 << 20 | 5 << 5 | 1));
        assert_eq!(system_register_syndrome(0xd538_0600), Some(0x18 << 26 | 3 << 20 | 6 << 1 | 1));
        assert_eq!(system_register_syndrome(0), None, "udf #0");
    }

    #[test]
    fn the_tag_of_a_user_address_does_not_count() {
        assert_eq!(untagged(0xab00_1234_5678_9abc).value(), 0x0000_1234_5678_9abc);
        assert_eq!(untagged(0xffff_8000_0000_0000).value(), 0xffff_8000_0000_0000);
        assert_eq!(untagged(0x0081_0000_0000_0000).value(), 0x0081_0000_0000_0000, "selects the kernel's tables");
    }
}
