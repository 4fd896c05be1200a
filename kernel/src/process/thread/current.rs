//! The running thread, as the code that runs on it sees it.
//!
//! There always is one: before the scheduler runs, and where nothing has made another current, it is [`boot_thread`], the kernel's own
//! thread 0 (Linux's `init_task`), which becomes the first CPU's idle thread.

#![allow(unsafe_code, reason = "turns the per-CPU pointer into the running thread")]

use super::super::{Process, ResourceLimits, SignalState};
use super::Thread;
use crate::arch::{Cpu, Current};
use alloc::sync::Arc;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use spin::Once;

/// The running thread, borrowed from the CPU: it derefs to `Arc<Thread>`, costs one load and stays with the thread that got it.
pub struct CurrentThread {
    thread: ManuallyDrop<Arc<Thread>>,
    /// It must not go to another thread, which may outlive this one.
    stays_here: PhantomData<*mut ()>,
}

impl Deref for CurrentThread {
    type Target = Arc<Thread>;
    #[inline]
    fn deref(&self) -> &Arc<Thread> {
        &self.thread
    }
}

impl core::fmt::Debug for CurrentThread {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&**self.thread, formatter)
    }
}

/// The running thread's process: derefs to `Arc<Process>`.
#[derive(Debug)]
pub struct CurrentProcess(CurrentThread);

impl Deref for CurrentProcess {
    type Target = Arc<Process>;
    #[inline]
    fn deref(&self) -> &Arc<Process> {
        self.0.process()
    }
}

/// The running thread, if this CPU runs one: not before the scheduler was set up, nor in most hosted tests.
#[must_use]
#[inline]
pub fn try_current_thread() -> Option<CurrentThread> {
    let pointer: *const Thread = Current::current_thread().cast();
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the scheduler sets the pointer from an `Arc` of which it holds a reference until the thread has been switched
    // away from for good. The caller runs on that thread, and the result is not sent to another one.
    let thread = ManuallyDrop::new(unsafe { Arc::from_raw(pointer) });
    Some(CurrentThread { thread, stays_here: PhantomData })
}

/// The running thread.
#[must_use]
#[inline]
pub fn current_thread() -> CurrentThread {
    try_current_thread().unwrap_or_else(boot_thread)
}

static BOOT_THREAD: Once<Arc<Thread>> = Once::new();

/// The kernel's own thread 0, for code that runs where the scheduler has made no thread current. It has a process without an address
/// space, no files, and root's credentials; made when it is first asked for, which needs the heap.
#[cold]
#[must_use]
pub fn boot_thread() -> CurrentThread {
    let thread = BOOT_THREAD.call_once(|| {
        let kernel = Process::new(0, SignalState::new(), ResourceLimits::new());
        Thread::adopting(&Arc::new(kernel), b"swapper/0")
    });
    // SAFETY: the static holds a reference for good, and the result never drops the one that it borrows.
    let thread = ManuallyDrop::new(unsafe { Arc::from_raw(Arc::as_ptr(thread)) });
    CurrentThread { thread, stays_here: PhantomData }
}

/// The running thread's process.
#[must_use]
#[inline]
pub fn current_process() -> CurrentProcess {
    CurrentProcess(current_thread())
}

/// Whether `process` is the running thread's.
#[inline]
pub(in crate::process) fn is_process_of_current(process: &Process) -> bool {
    try_current_thread().is_some_and(|thread| core::ptr::eq(&raw const **thread.process(), process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_on_no_thread_runs_on_the_kernel_s_own() {
        let thread = current_thread();
        let same = std::thread::spawn(|| Arc::as_ptr(&current_thread()).addr()).join().unwrap();
        assert_eq!(Arc::as_ptr(&thread).addr(), same, "one for all");
        assert_eq!((thread.tid(), current_process().pid()), (0, 0));
        assert!(thread.process().address_space().is_none() && !thread.is_user());
        // Nobody's turn ends its references.
        let count = Arc::strong_count(&thread);
        drop(current_thread());
        assert_eq!(Arc::strong_count(&thread), count);
    }
}
