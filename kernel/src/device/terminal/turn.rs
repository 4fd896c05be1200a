//! One at a time, with a wait that signals can end: reads of one terminal do not mix, nor do writes.

use crate::base::{Errno, Result};
use crate::fs::pipe::Waiting;
use crate::sync::WaitQueue;
use core::sync::atomic::{AtomicBool, Ordering};

/// A turn that one thread has.
#[derive(Debug)]
pub struct Turn {
    taken: AtomicBool,
    waiters: WaitQueue,
}

/// Having the turn, until dropped.
#[derive(Debug)]
pub struct TurnGuard<'a>(&'a Turn);

impl Turn {
    /// A free turn.
    pub const fn new() -> Self {
        Self { taken: AtomicBool::new(false), waiters: WaitQueue::new() }
    }

    /// Takes the turn.
    ///
    /// # Errors
    /// `EAGAIN` when that would wait and must not, `ERESTARTSYS`.
    pub fn take(&self, waiting: Waiting) -> Result<TurnGuard<'_>> {
        let attempt = || (!self.taken.swap(true, Ordering::Acquire)).then_some(());
        if attempt().is_none() {
            match waiting {
                Waiting::Never => return Err(Errno::EAGAIN),
                Waiting::Allowed => self.waiters.wait(attempt)?,
            }
        }
        Ok(TurnGuard(self))
    }

    /// Lets waiters look again.
    pub fn wake(&self) {
        self.waiters.wake_all();
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
        self.0.waiters.wake_one();
    }
}
