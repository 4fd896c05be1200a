//! The kernel as the machine calls it: system calls, faults, exceptions, interrupts.
//!
//! [`Traps`] implements [`TrapHandler`]. What lies above this room registers once, at boot: the system-call dispatcher
//! ([`set_system_call_dispatcher`]) and the drivers of device lines ([`set_device_interrupt`]).

use super::dispatch::{self, TickMode};
use super::exit;
use super::rseq::Duties;
use super::signal::{self, Fate, Signal, SignalInformation};
use super::thread::{current_thread, try_current_thread};
use super::{ExitStatus, Process, Thread};
use crate::arch::{Cpu, Current, Exception, PageFault, Registers, TimerHardware, TrapFrame, TrapHandler};
use crate::base::Nanoseconds;
use crate::memory::address_space::{FaultError, FaultKind};
use crate::memory::frame_allocator;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use spin::Once;

/// The system-call dispatcher's signature.
pub type SystemCallDispatcher = fn(&Arc<Thread>, &Arc<Process>, &mut TrapFrame);

static DISPATCHER: Once<SystemCallDispatcher> = Once::new();
static DEVICE_INTERRUPT: Once<fn(u32)> = Once::new();

/// Registers the system-call dispatcher.
pub fn set_system_call_dispatcher(dispatcher: SystemCallDispatcher) {
    DISPATCHER.call_once(|| dispatcher);
}

/// Registers what is called with the line of each device interrupt; interrupts are disabled then.
pub fn set_device_interrupt(handler: fn(u32)) {
    DEVICE_INTERRUPT.call_once(|| handler);
}

/// The kernel as the machine calls it.
#[derive(Debug)]
pub struct Traps;

/// The one instance, for [`crate::arch::set_trap_handler`].
pub static TRAPS: Traps = Traps;

impl TrapHandler for Traps {
    #[inline]
    fn system_call(&self, frame: &mut TrapFrame) {
        if let (Some(dispatcher), Some(thread)) = (DISPATCHER.get(), try_current_thread()) {
            dispatcher(&thread, thread.process(), frame);
        }
    }

    fn page_fault(&self, frame: &mut TrapFrame, fault: PageFault) -> bool {
        if !fault.user && Current::preemption_count() != 0 {
            // Under a spinlock nobody waits for a page: the access fails, and whoever made it comes back without the lock.
            return false;
        }
        let Some(thread) = try_current_thread() else { return false };
        let Some(space) = thread.process().address_space() else { return false };
        match space.handle_fault(fault) {
            Ok(kind) => {
                let counter = match kind {
                    FaultKind::Minor => &thread.minor_faults,
                    FaultKind::Major => &thread.major_faults,
                };
                counter.store(counter.load(Relaxed) + 1, Relaxed);
                true
            }
            Err(_) if !fault.user => false,
            Err(FaultError::Signal { signal, code, address }) => {
                thread.signals.record_fault(&fault);
                report_fault(&thread, frame, fault);
                force(&thread, signal, code, address);
                true
            }
            Err(FaultError::OutOfMemory) => {
                exit::kill_process(thread.process());
                true
            }
        }
    }

    fn exception(&self, _frame: &mut TrapFrame, exception: Exception) {
        let thread = current_thread();
        thread.signals.record_exception(&exception);
        force(&thread, exception.signal, exception.code, exception.address);
    }

    fn kernel_bug(&self, frame: &TrapFrame, description: &str) -> ! {
        die(frame, description)
    }

    fn timer_interrupt(&self, frame: &TrapFrame) {
        let mode = if frame.is_user() { TickMode::User } else { TickMode::Kernel };
        super::dispatch::deadline::interrupt(mode);
    }

    fn device_interrupt(&self, line: u32) {
        if let Some(handler) = DEVICE_INTERRUPT.get() {
            handler(line);
        }
    }

    fn before_return_to_kernel(&self) {
        if Current::local().need_reschedule() {
            dispatch::reschedule();
        }
    }

    fn before_return_to_user(&self, frame: &mut TrapFrame) {
        let local = Current::local();
        local.clear_work();
        if local.need_reschedule() {
            dispatch::reschedule();
        }
        if frame_allocator::take_shortage() {
            Current::enable_interrupts();
            super::out_of_memory::relieve();
            Current::disable_interrupts();
        }
        let thread = current_thread();
        let duties = thread.sequences.duties();
        if duties.contains(Duties::CHILD_TID) || signal::is_needed(&thread.signals, frame) {
            Current::enable_interrupts();
            if duties.contains(Duties::CHILD_TID) {
                super::fork::write_child_tid(&thread);
            }
            if thread.signals.take_timer_check() {
                super::timers::cpu_time::check(thread.process());
            }
            let fate = signal::deliver(frame);
            match fate {
                Fate::UserMode => {}
                Fate::EndProcess(status) => exit::exit_group(status),
                Fate::EndThread => exit::end_current(ExitStatus::exited(0)),
            }
            Current::disable_interrupts();
        }
        if duties.contains(Duties::AWAY) {
            Current::enable_interrupts();
            if thread.sequences.resume(frame).is_err() {
                force_memory_fault(&thread);
            }
            Current::disable_interrupts();
        }
    }
}

/// Linux's line in the log about a fault that ends in a signal.
fn report_fault(thread: &Thread, frame: &TrapFrame, fault: PageFault) {
    let name = thread.name();
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let name = core::str::from_utf8(name.get(..length).unwrap_or_default()).unwrap_or("?");
    log::debug!(
        "{name}[{}]: segfault at {:x} ip {:016x} sp {:016x} error {:x}",
        thread.tid(),
        fault.address,
        frame.instruction_pointer(),
        frame.stack_pointer(),
        fault.error_code,
    );
}

/// Sends a signal that the thread cannot refuse: what it did cannot be continued.
fn force(thread: &Arc<Thread>, signal: u32, code: i32, address: crate::base::VirtualAddress) {
    let Some(signal) = Signal::new(signal) else { return };
    thread.process().signals.force(&thread.signals, signal, SignalInformation::fault(signal, code, address));
}

/// SIGSEGV for memory that the kernel found malformed on the way to user mode.
#[cold]
fn force_memory_fault(thread: &Arc<Thread>) {
    let signal = Signal::SIGSEGV;
    thread.process().signals.force(&thread.signals, signal, SignalInformation::from_kernel(signal));
}

/// Whether a bug that happens now costs one process only.
#[must_use]
pub fn bug_is_survivable() -> bool {
    let local = Current::local();
    Current::preemption_count() == 0
        && !local.in_interrupt()
        && try_current_thread().is_some_and(|thread| thread.is_user() && thread.process().pid() != 1)
}

/// Ends the running thread's process after a bug in the kernel, if the kernel can go on without it: the bug happened in a
/// thread's context, under no spinlock, and not in the first process. Returns otherwise.
pub fn end_process_after_bug() {
    if bug_is_survivable()
        && let Some(thread) = try_current_thread()
    {
        log::error!("{thread:?}: its process is ended");
        Current::enable_interrupts();
        exit::exit_group(ExitStatus::killed(Signal::SIGSEGV.number()))
    }
}

/// Logs who is running, and the registers with which it came from user mode, for the last words of a panic. Takes no lock.
pub fn report_running_thread() {
    let Some(thread) = try_current_thread() else { return };
    match thread.entry_registers() {
        Some(frame) => log::error!("running: {thread:?}, from user mode with\n{frame}"),
        None => log::error!("running: {thread:?}, of the kernel"),
    }
}

/// A kernel bug: the running thread's process ends, if the kernel can go on without it; else everything does.
#[expect(clippy::panic, reason = "a bug under a lock or in interrupt context cannot be survived")]
fn die(frame: &TrapFrame, description: &str) -> ! {
    let at = frame.instruction_pointer();
    log::error!("kernel bug: {description} at {at:#x}\n{frame}");
    crate::log::backtrace::show(at, frame.frame_pointer());
    end_process_after_bug();
    panic!("kernel bug: {description} at {at:#x}")
}

/// Time since boot: what timestamps in this room are made of.
#[must_use]
pub fn now() -> Nanoseconds {
    Current::now()
}
