//! Acting on the scheduler's decisions: switching threads, sleeping and waking.

use super::super::thread::Thread;
use crate::base::Result;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// How long a thread has run, the present turn included, in nanoseconds.
#[must_use]
pub fn runtime(thread: &Thread) -> u64 {
    thread.runtime.load(Relaxed)
}

/// Gives a thread its token and makes it ready if it sleeps.
pub fn wake(_thread: &Thread) {}

/// See [`Thread::start`].
///
/// # Errors
/// `ENOMEM`.
pub fn start(_thread: &Arc<Thread>) -> Result<()> {
    Err(crate::base::Errno::ENOMEM)
}
