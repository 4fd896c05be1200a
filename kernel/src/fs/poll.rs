//! Readiness: what a file reports to `poll`, `select` and `epoll`, and how a waiter hears of changes.
//!
//! - [`PollEvents`] are Linux's bits (`POLLIN` and so on; epoll uses the same numbers).
//! - A file that can be waited for owns one [`PollQueue`] for each direction. It costs a null pointer until somebody polls.
//! - `FileOperations::poll(&self, file, table)` first calls [`PollTable::wait_on`] for each queue and *then* looks at its
//!   state; whoever changes the state calls [`PollQueue::wake`] afterwards. So no change is missed.
//! - A [`PollTable`] belongs to one waiter: the running thread, or an epoll entry. It takes the waiter off every queue when
//!   it is dropped.
//!
//! A waiter is taken off a queue by a wake-up; a waiter that goes on waiting polls again, which puts it back.
//! Wake-ups go to everybody on a [`PollQueue`], but to one of those that are exclusive (epoll's `EPOLLEXCLUSIVE`). Blocking reads and writes use a plain [`WaitQueue`] of the file's own, where
//! waking one is enough.

use crate::sync::WaitQueue;
use crate::sync::parking::{self, ThreadReference};
use alloc::sync::Arc;
use bitflags::bitflags;
use smallvec::SmallVec;
use spin::Once;

bitflags! {
    /// What a file is ready for, in Linux's numbers.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        /// There is data to read.
        const IN = 0x001;
        /// There is urgent data, or a packet-mode terminal changed its state.
        const PRI = 0x002;
        /// Writing would not block.
        const OUT = 0x004;
        /// An error happened; a pipe has no reader left. Reported whether asked for or not.
        const ERR = 0x008;
        /// The other side hung up. Reported whether asked for or not.
        const HUP = 0x010;
        /// The descriptor is not open (`poll` alone).
        const NVAL = 0x020;
        /// As `IN`.
        const RDNORM = 0x040;
        /// Priority data can be read.
        const RDBAND = 0x080;
        /// As `OUT`.
        const WRNORM = 0x100;
        /// Priority data may be written.
        const WRBAND = 0x200;
        /// A message is there (unused by Linux).
        const MSG = 0x400;
        /// The peer shut down its writing half.
        const RDHUP = 0x2000;
        /// Data to read, both names.
        const READABLE = Self::IN.bits() | Self::RDNORM.bits();
        /// Room to write, both names.
        const WRITABLE = Self::OUT.bits() | Self::WRNORM.bits();
        /// What is reported without being asked for.
        const ALWAYS = Self::ERR.bits() | Self::HUP.bits();
        /// What a regular file always answers.
        const ALWAYS_READY = Self::READABLE.bits() | Self::WRITABLE.bits();
    }
}

/// The waiters for one kind of change of one file.
pub struct PollQueue {
    queue: Once<Arc<WaitQueue>>,
}

impl PollQueue {
    /// A queue without waiters. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { queue: Once::new() }
    }

    /// Tells everybody who waits. Any context; may be called with locks below `LockRank::WaitQueue` held.
    #[inline]
    pub fn wake(&self) {
        if let Some(queue) = self.queue.get() {
            queue.wake_readiness();
        }
    }

    /// As [`Self::wake`], by a thread that may be about to sleep. Thread context.
    #[inline]
    pub fn wake_sync(&self) {
        if let Some(queue) = self.queue.get() {
            queue.wake_readiness_sync();
        }
    }

    fn shared(&self) -> &Arc<WaitQueue> {
        self.queue.call_once(|| Arc::new(WaitQueue::new()))
    }
}

impl Default for PollQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for PollQueue {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("PollQueue").field("used", &self.queue.is_completed()).finish()
    }
}

/// One waiter and the queues that it is on.
pub struct PollTable {
    waiter: Option<ThreadReference>,
    registering: bool,
    interest: PollEvents,
    queues: SmallVec<[Arc<WaitQueue>; 4]>,
}

impl PollTable {
    /// A table that registers nobody: for asking what a file is ready for now.
    #[must_use]
    pub fn asking() -> Self {
        Self::new(None)
    }

    /// A table for the running thread.
    #[must_use]
    pub fn for_current_thread() -> Self {
        Self::new(parking::current_thread())
    }

    /// A table for something else that can be woken (an epoll entry). Its identity differs from every other waiter's.
    #[must_use]
    pub fn for_waiter(waiter: ThreadReference) -> Self {
        Self::new(Some(waiter))
    }

    fn new(waiter: Option<ThreadReference>) -> Self {
        Self { registering: waiter.is_some(), waiter, interest: PollEvents::all(), queues: SmallVec::new() }
    }

    /// Says which events the waiter wants from the file polled next; [`PollEvents::ALWAYS`] is understood.
    pub fn set_interest(&mut self, interest: PollEvents) {
        self.interest = interest | PollEvents::ALWAYS;
    }

    /// From now on files are only asked (`poll` has found something ready and will not sleep).
    pub fn stop_registering(&mut self) {
        self.registering = false;
    }

    /// Puts the waiter on `queue`, whose wake-ups announce some of `events`, if it is interested in one of them.
    #[inline]
    pub fn wait_on(&mut self, queue: &PollQueue, events: PollEvents) {
        if self.registering && self.interest.intersects(events) {
            self.add(queue);
        }
    }

    fn add(&mut self, queue: &PollQueue) {
        let Some(waiter) = &self.waiter else { return };
        let shared = queue.shared();
        if waiter.is_exclusive() {
            shared.expect_exclusive();
        }
        shared.add(waiter);
        if !self.queues.iter().any(|known| Arc::ptr_eq(known, shared)) {
            self.queues.push(shared.clone());
        }
    }

    /// The queues that the waiter was put on, handed over to the caller, who removes it from them some day.
    #[must_use]
    pub fn into_queues(mut self) -> SmallVec<[Arc<WaitQueue>; 4]> {
        self.waiter = None;
        core::mem::take(&mut self.queues)
    }
}

impl Drop for PollTable {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            for queue in &self.queues {
                queue.remove(waiter);
            }
        }
    }
}

impl core::fmt::Debug for PollTable {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("PollTable").field("interest", &self.interest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::parking::Unpark;
    use core::sync::atomic::{AtomicU32, Ordering};

    struct Counter(u64, AtomicU32);

    impl Unpark for Counter {
        fn unpark(&self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        fn identity(&self) -> u64 {
            self.0
        }
    }

    fn waiter(identity: u64) -> Arc<Counter> {
        Arc::new(Counter(identity, AtomicU32::new(0)))
    }

    #[test]
    fn a_wake_up_reaches_each_registered_waiter_once() {
        let queue = PollQueue::new();
        queue.wake();
        let (first, second) = (waiter(1), waiter(2));
        let mut one = PollTable::for_waiter(first.clone());
        let mut two = PollTable::for_waiter(second.clone());
        one.wait_on(&queue, PollEvents::IN);
        one.wait_on(&queue, PollEvents::IN);
        two.wait_on(&queue, PollEvents::IN);
        queue.wake();
        queue.wake();
        assert_eq!((first.1.load(Ordering::Relaxed), second.1.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn dropping_the_table_takes_the_waiter_off_its_queues() {
        let queue = PollQueue::new();
        let waiter = waiter(3);
        let mut table = PollTable::for_waiter(waiter.clone());
        table.wait_on(&queue, PollEvents::OUT);
        drop(table);
        queue.wake();
        assert_eq!(waiter.1.load(Ordering::Relaxed), 0);
        assert_eq!(Arc::strong_count(&waiter), 1);
    }

    #[test]
    fn only_the_queues_of_interesting_events_are_joined() {
        let (readers, writers) = (PollQueue::new(), PollQueue::new());
        let waiter = waiter(4);
        let mut table = PollTable::for_waiter(waiter.clone());
        table.set_interest(PollEvents::IN);
        table.wait_on(&readers, PollEvents::READABLE | PollEvents::HUP);
        table.wait_on(&writers, PollEvents::WRITABLE);
        writers.wake();
        assert_eq!(waiter.1.load(Ordering::Relaxed), 0);
        readers.wake();
        assert_eq!(waiter.1.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_asking_table_registers_nobody() {
        let queue = PollQueue::new();
        let mut table = PollTable::asking();
        table.wait_on(&queue, PollEvents::IN);
        assert!(!queue.queue.is_completed());
    }
}
