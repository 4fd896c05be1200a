//! What the machine keeps of a thread: the beginning of its record.
//!
//! [`super::Cpu::set_current_thread`] is given the address of a [`ThreadHead`], with which the scheduler's record of the thread begins, and
//! [`super::Cpu::current_thread`] gives it back.
//!
//! # Where preemption is counted
//! | machine | where | why |
//! |---|---|---|
//! | x86_64 | in the CPU's block | `inc gs:[..]` is one instruction: no interrupt, and so no move to another CPU, comes between finding the counter and changing it |
//! | AArch64 | here; in the CPU's block until it has a thread | load, add and store are three instructions, and finding the block is one more: a thread that is moved in between would change the counter of a CPU that it has left. Its own counter goes with it |
//!
//! A switch happens under one lock, the run queue's, which is let go on the other side: at 1, so that the two are the same to everybody else but new threads
//! ([`ThreadHead::expect_lock`]).

use super::{Cpu, Current};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// See the module's description. The alignment tells it apart from the counter in a CPU's block, which lies 8 bytes beside a multiple of 16.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub struct ThreadHead {
    preemption_count: AtomicU32,
}

const _: () = assert!(core::mem::offset_of!(ThreadHead, preemption_count) == 0, "the machine counts at its address");

impl ThreadHead {
    /// For a thread that may be preempted.
    #[must_use]
    pub const fn new() -> Self {
        Self { preemption_count: AtomicU32::new(0) }
    }
    /// For a thread that has not run: it will begin by letting go a lock that the thread before it took, and whose count stays with that
    /// one. (A thread that was left counts the lock that it took itself for that.) Nothing to do where the CPU counts.
    pub fn expect_lock(&self) {
        if Current::COUNTS_PREEMPTION_IN_THREAD {
            self.preemption_count.store(1, Relaxed);
        }
    }
}
