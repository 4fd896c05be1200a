//! The last words: what it is about, in Linux's form; the running thread and the registers with which it came into the kernel; a
//! backtrace; the end of the log. Then what `panic=` says.
//!
//! A panic in a thread's context, under no lock, ends that thread's process only.

#![allow(unsafe_code, reason = "frees the log's lock by force")]

use ashlar_kernel::arch::{Cpu, Current, Power, SerialConsole, TimerHardware};
use ashlar_kernel::base::Nanoseconds;
use ashlar_kernel::base::command_line::PanicAction;
use ashlar_kernel::{log as kernel_log, process};
use core::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};

/// Panics so far: one inside another is not reported in full.
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

/// A Rust panic: a bug.
#[panic_handler]
#[inline(never)]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    Current::disable_interrupts();
    match DEPTH.fetch_add(1, Relaxed) {
        0 => {}
        1 => {
            // SAFETY: interrupts are off, this is the only CPU, and whoever held the lock is below us on this stack.
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
        DEPTH.store(0, Relaxed);
        process::trap::end_process_after_bug();
        DEPTH.store(1, Relaxed);
        Current::disable_interrupts();
    }
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
