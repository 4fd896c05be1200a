//! Signals: numbers, actions, queues, sending, delivery.
//!
//! [`SignalState`] is a process's part, [`ThreadSignals`] a thread's. The first is the one place where signals are sent and taken, under
//! its lock; the second has what the thread's own paths look at without any lock.
//!
//! # The life of a signal
//! 1. Somebody [`send_to_process`]es it (or to a thread, a group). [`SignalState::send`] drops it when it is ignored, else queues it,
//!    chooses the thread that takes it and gives that [`SignalWork::PENDING`]; a sleep that signals may end, ends.
//! 2. On its way to user mode the thread comes through [`deliver`]. A handler gets a frame on the user stack, in the machine's layout
//!    ([`crate::arch::SignalFrame`]); a default action stops or ends the process.
//! 3. The handler returns through `rt_sigreturn`, which restores registers, mask and alternate stack.
//!
//! Nothing pending costs one load on the way to user mode.

pub mod action;
pub mod alternate_stack;
mod asynchronous;
pub mod deliver;
pub mod description;
pub mod descriptor;
pub mod information;
pub mod job_control;
pub mod number;
pub mod queue;
pub mod restart;
pub mod send;
pub mod state;
pub mod taken;
pub mod thread;
pub mod wait;

pub use action::{ActionFlags, SignalAction};
pub use information::{SignalInformation, code};
pub use number::{DefaultAction, Signal, SignalSet};
pub use restart::Restart;
pub use send::{force_bad_frame, send_fault, send_from_kernel, send_to_group, send_to_process, send_to_thread};
pub use state::{Consume, Ending, JobChange, Sent, SignalState, Target};
pub use thread::{AlternateStack, InheritStack, SignalWork, ThreadSignals};
pub use wait::with_temporary_mask;

use super::{ExitStatus, current_thread};
use crate::arch::TrapFrame;
use crate::fs::signal_hook::{FileOwner, Readiness};
use deliver::Step;

/// What [`deliver`] leaves to its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Fate {
    /// The thread goes to user mode with the registers in the frame.
    UserMode,
    /// The process ends with this status (or is ending already).
    EndProcess(ExitStatus),
    /// The thread alone ends: its process ends with a status set before, or another thread calls `execve`.
    EndThread,
}

/// Whether [`deliver`] has anything to do for the running thread: signals, or a system call that wants to start again (and whose
/// reason may have gone since).
#[inline]
#[must_use]
pub fn is_needed(signals: &ThreadSignals, frame: &TrapFrame) -> bool {
    signals.has_work() || deliver::restart_request(frame).is_some()
}

/// Delivers the running thread's signals into `frame`, and restarts a system call that was interrupted for nothing: the last thing
/// before user mode, interrupts enabled, no lock held. Stops sleep in here.
pub fn deliver(frame: &mut TrapFrame) -> Fate {
    let thread = current_thread();
    let process = thread.process();
    thread.signals.begin_restart_check();
    loop {
        match deliver::next_step(frame, &thread.signals, &process.signals) {
            Step::Done => return Fate::UserMode,
            Step::BeginStop(signal) => {
                if !job_control::spares(process, signal) {
                    process.signals.begin_stop(signal);
                }
            }
            Step::Stop => job_control::stop_here(&thread),
            Step::EndProcess(signal) => return Fate::EndProcess(ExitStatus::killed(signal.number())),
            Step::EndThread => return Fate::EndThread,
        }
    }
}

/// The signals that wait for the running thread and that it does not block.
#[must_use]
pub fn pending_unblocked() -> SignalSet {
    let thread = current_thread();
    thread.process().signals.pending_unblocked(&thread.signals)
}

/// What files send: to the thread that uses them (SIGPIPE, SIGXFSZ), and to who wants to hear of them (SIGIO).
#[derive(Debug)]
struct FileSignals;

impl crate::fs::signal_hook::SignalHook for FileSignals {
    fn send_to_current_thread(&self, signal: u32) {
        if let Some(signal) = Signal::new(signal) {
            let thread = current_thread();
            let information = send::Sender::current().information(signal, code::SI_USER);
            // An ordinary signal is always kept.
            let _ = send_to_thread(&thread, signal, information);
        }
    }
    fn send_to_owner(&self, owner: &FileOwner, readiness: Readiness, descriptor: i32) {
        asynchronous::tell(owner, readiness, descriptor);
    }
}

/// Registers with the rooms that raise signals without knowing processes. Once, at boot.
pub fn initialize() {
    crate::fs::signal_hook::set_signal_hook(&FileSignals);
}
