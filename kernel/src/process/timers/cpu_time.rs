//! Points in CPU time: timers and sleeps on the clock of a process or thread.
//!
//! A [`CpuClock`] is a clock whose process (and thread) was found once. Deadlines on it stand in a list of the process whose
//! time counts. The accounting tick cannot add up CPU time, which takes locks that interrupts do not; where a process has
//! deadlines it only marks the running thread ([`CpuDeadlines::is_armed`]), and the thread looks on its way to user mode
//! ([`check`]). So a deadline is met within a tick of its process's running, as on Linux.
//!
//! Lock order: the list's lock is a sleeping one, taken with nothing else held; callbacks run without it.

use crate::base::{Errno, Nanoseconds, Result};
use crate::process::clock::{Clock, CpuTime, part_of};
use crate::process::{Process, Thread, current_process, current_thread, table};
use crate::sync::Mutex;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A clock of CPU time, bound to the process or thread whose time it shows.
#[derive(Clone, Debug)]
pub struct CpuClock {
    process: Weak<Process>,
    /// None: all of the process.
    thread: Option<Weak<Thread>>,
    part: CpuTime,
}

impl CpuClock {
    /// Binds `clock`; `Ok(None)` where it is not one of CPU time.
    ///
    /// # Errors
    /// `EINVAL`: there is no such process, or no such thread in the caller's process.
    pub fn bind(clock: Clock) -> Result<Option<Self>> {
        let (process, thread, part) = match clock {
            Clock::Process(0, part) => (Arc::downgrade(&current_process()), None, part),
            Clock::Process(pid, part) => (Arc::downgrade(&table::find_process(pid).ok_or(Errno::EINVAL)?), None, part),
            Clock::Thread(tid, part) => {
                let thread = match tid {
                    0 => current_thread().clone(),
                    tid => table::find_thread(tid).ok_or(Errno::EINVAL)?,
                };
                if !Arc::ptr_eq(thread.process(), &current_process()) {
                    return Err(Errno::EINVAL);
                }
                (Arc::downgrade(thread.process()), Some(Arc::downgrade(&thread)), part)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { process, thread, part }))
    }

    /// What it shows; `None` once the process or thread is gone.
    #[must_use]
    pub fn read(&self) -> Option<Nanoseconds> {
        match &self.thread {
            Some(thread) => Some(part_of(&thread.upgrade()?.usage(), self.part)),
            None => Some(part_of(&self.process.upgrade()?.usage(), self.part)),
        }
    }

    /// Calls `callback` soon after the clock has come to `deadline`. Never, if it does not come so far. `handle` names this arming alone.
    ///
    /// # Errors
    /// `ESRCH`: the process is gone. `ENOMEM`.
    pub fn arm(&self, handle: CpuHandle, deadline: Nanoseconds, callback: Arc<dyn CpuTimeCallback>) -> Result<()> {
        let process = self.process.upgrade().ok_or(Errno::ESRCH)?;
        let deadlines = &process.timers.cpu_time;
        let mut list = deadlines.list.lock();
        list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        list.push(Deadline { handle, clock: self.clone(), point: deadline, callback });
        deadlines.armed.fetch_add(1, Relaxed);
        drop(list);
        // It may have passed already.
        let current = current_thread();
        if Arc::ptr_eq(current.process(), &process) {
            current.signals.request_timer_check();
        }
        Ok(())
    }

    /// Forgets a deadline that has not been met.
    pub fn cancel(&self, handle: CpuHandle) {
        if let Some(process) = self.process.upgrade() {
            process.timers.cpu_time.remove(|deadline| deadline.handle == handle);
        }
    }
}

/// Names an armed deadline, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuHandle(u64);

impl CpuHandle {
    /// A name for a deadline that is about to be armed. It is given before, for what keeps it is locked then, and arming may sleep.
    #[must_use]
    pub fn unused() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// What a deadline on CPU time calls.
pub trait CpuTimeCallback: Send + Sync {
    /// The clock has come to the deadline `handle`, which is armed no more. A thread's context, no lock held.
    fn reached(&self, handle: CpuHandle);
}

struct Deadline {
    handle: CpuHandle,
    clock: CpuClock,
    point: Nanoseconds,
    callback: Arc<dyn CpuTimeCallback>,
}

/// The deadlines on the CPU time of one process and its threads.
pub struct CpuDeadlines {
    /// How many there are, for the tick.
    armed: AtomicU32,
    list: Mutex<Vec<Deadline>>,
}

impl Default for CpuDeadlines {
    fn default() -> Self {
        Self { armed: AtomicU32::new(0), list: Mutex::new(Vec::new()) }
    }
}

impl core::fmt::Debug for CpuDeadlines {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("CpuDeadlines").field("armed", &self.armed).finish_non_exhaustive()
    }
}

impl CpuDeadlines {
    /// Whether there are any: one load, for the tick.
    #[inline]
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.load(Relaxed) != 0
    }

    /// Takes out those that `pick` names.
    fn remove(&self, mut pick: impl FnMut(&Deadline) -> bool) -> Vec<Deadline> {
        let mut list = self.list.lock();
        let mut taken = Vec::new();
        let mut index = 0;
        while let Some(deadline) = list.get(index) {
            if pick(deadline) && taken.try_reserve(1).is_ok() {
                taken.push(list.swap_remove(index));
                self.armed.fetch_sub(1, Relaxed);
            } else {
                index += 1;
            }
        }
        taken
    }

    /// Forgets all: the process ends.
    pub fn clear(&self) {
        drop(self.remove(|_| true));
    }
}

/// Calls back for the deadlines on the CPU time of `process` that have passed. A thread's context, no lock held.
pub fn check(process: &Process) {
    let deadlines = &process.timers.cpu_time;
    if !deadlines.is_armed() {
        return;
    }
    let whole = process.usage();
    let due = deadlines.remove(|deadline| {
        let now = match &deadline.clock.thread {
            None => Some(part_of(&whole, deadline.clock.part)),
            Some(_) => deadline.clock.read(),
        };
        now.is_some_and(|now| now >= deadline.point)
    });
    for deadline in due {
        deadline.callback.reached(deadline.handle);
    }
}
