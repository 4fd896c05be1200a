//! Signals: numbers, actions, queues, sending, delivery.
//!
//! [`SignalState`] is a process's part, [`ThreadSignals`] a thread's. The first is the one place where signals are sent and taken, under
//! its lock; the second has what the thread's own paths look at without any lock.

pub mod action;
pub mod alternate_stack;
pub mod deliver;
pub mod information;
pub mod number;
pub mod queue;
pub mod restart;
pub mod state;
pub mod thread;

pub use action::{ActionFlags, SignalAction};
pub use information::{SignalInformation, code};
pub use number::{DefaultAction, Signal, SignalSet};
pub use restart::Restart;
pub use state::{Consume, Ending, JobChange, Sent, SignalState, Target};
pub use thread::{AlternateStack, InheritStack, SignalWork, ThreadSignals};

use crate::arch::TrapFrame;

/// Delivers the running thread's signals into `frame`: the last thing before user mode, interrupts enabled. Does not return when
/// a signal ends the thread.
pub fn deliver(_frame: &mut TrapFrame) {}
