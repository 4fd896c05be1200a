//! The last words: what it is about, in Linux's form; the running thread and the registers with which it came into the kernel; a
//! backtrace; the end of the log. Then what `panic=` says.
//!
//! A panic in a thread's context, under no lock, ends that thread's process only.

#![allow(unsafe_code, reason = "frees the log's lock by force")]

use ashlar_kernel::arch::{Cpu, Current, Power, SerialConsole, TimerHardware, inter_processor};
use ashlar_kernel::base::Nanoseconds;
use ashlar_kernel::base::command_line::PanicAction;
use ashlar_kernel::{log as kernel_log, process};
use core::sync::atomic::{
    AtomicI64, AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// The CPU that reports a panic and one, or 0.
static REPORTER: AtomicU32 = AtomicU32::new(0);
/// Its panics so far: one inside another is not reported in full.
static DEPTH: AtomicU32 = AtomicU32::new(0);
/// `panic=` in seconds.
static ACTION: AtomicI64 = AtomicI64::new(0);
/// Messages from before the panic that are repeated at the end: more than the report of a fault, which may stand there.
const LAST_MESSAGES: u64 = 48;

/// Says what to do after a panic.
pub fn set_action(action: PanicAction) {
    ACTION.store(
        match action {
            PanicAction::Halt => 0,
            PanicAction::RebootNow => -1,
            PanicAction::RebootAfter(seconds) => seconds.into(),
        },
        Relaxed,
    );
}

/// Makes this CPU the one that reports, after the report of another that survived its bug. Gives how many reports this CPU has begun before and not
/// ended. A CPU that did not survive stops this one.
fn begin_report() -> u32 {
    let me = Current::id().0 + 1;
    if REPORTER.load(Acquire) != me {
        while REPORTER.compare_exchange(0, me, AcqRel, Relaxed).is_err() {
            inter_processor::serve_calls();
            Current::relax();
        }
    }
    DEPTH.fetch_add(1, Relaxed)
}

/// The bug was survived.
fn end_report() {
    DEPTH.store(0, Relaxed);
    REPORTER.store(0, Release);
}

/// A Rust panic: a bug.
#[panic_handler]
#[inline(never)]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    Current::disable_interrupts();
    match begin_report() {
        0 => {}
        1 => {
            // SAFETY: interrupts are off, the other CPUs were stopped or wait for this report, and whoever held the lock here is below us on
            // this stack.
            unsafe { kernel_log::force_unlock() };
            log::error!("{information} (while reporting another)");
            end()
        }
        _ => end(),
    }
    let frame = Current::frame_pointer();
    let here = ashlar_kernel::base::VirtualAddress::new(panic as *const () as usize as u64);
    if process::trap::bug_is_survivable() {
        log::error!("kernel bug: {information}");
        kernel_log::backtrace::show(here, frame);
        end_report();
        process::trap::end_process_after_bug();
        Current::disable_interrupts();
        begin_report();
    }
    inter_processor::stop_others();
    // SAFETY: as above.
    unsafe { kernel_log::force_unlock() };
    kernel_log::set_console_level(kernel_log::DEFAULT_CONSOLE_LEVEL);
    let (_, next) = kernel_log::bounds();
    log::error!("Kernel panic - not syncing: {}", information.message());
    if let Some(location) = information.location() {
        log::error!("at {location}");
    }
    process::trap::report_running_thread();
    kernel_log::backtrace::show(here, frame);
    Current::write_console(b"last messages:\r\n");
    kernel_log::show_last(LAST_MESSAGES, next);
    log::error!("---[ end Kernel panic ]---");
    end()
}

fn end() -> ! {
    Current::report_panic();
    match ACTION.load(Relaxed) {
        0 => Current::halt(),
        seconds @ 1.. => {
            let until = Current::now().saturating_add(Nanoseconds::from_seconds(seconds.unsigned_abs()));
            while Current::now() < until {
                Current::relax();
            }
        }
        _ => {}
    }
    Current::reboot()
}
