//! What a handler is given.

use crate::arch::{Registers, TrapFrame};
use crate::process::{Process, Thread};
use alloc::sync::Arc;

/// A system call under way: who made it and its registers.
#[derive(Debug)]
pub struct Call<'a> {
    /// The calling thread.
    pub thread: &'a Arc<Thread>,
    /// Its process.
    pub process: &'a Arc<Process>,
    /// The saved user registers.
    pub frame: &'a mut TrapFrame,
}

impl Call<'_> {
    /// The six argument registers.
    #[must_use]
    #[inline]
    pub fn arguments(&self) -> [u64; 6] {
        self.frame.arguments()
    }
}
