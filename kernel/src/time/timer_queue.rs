//! The queue of armed timers: plain data, ordered by deadline and then by arming.
//!
//! Inserting, removing and taking the first cost O(log n).

use crate::base::{CpuId, Nanoseconds};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// What a timer calls.
pub trait TimerCallback: Send + Sync {
    /// The deadline of the timer `handle` has passed: it is on no queue any more, and [`super::cancel`] says so from now on. Interrupt context, interrupts
    /// disabled: it wakes somebody or notes something, and is quick.
    fn expired(&self, handle: TimerHandle);
}

/// Names an armed timer, once: no later timer is equal to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerHandle {
    deadline: Nanoseconds,
    sequence: u64,
    /// On whose queue it is.
    cpu: CpuId,
}

impl TimerHandle {
    /// The CPU whose queue it was given by.
    #[must_use]
    pub(super) const fn cpu(self) -> CpuId {
        self.cpu
    }
}

/// The queue.
pub struct TimerQueue {
    timers: BTreeMap<TimerHandle, Arc<dyn TimerCallback>>,
    next_sequence: u64,
}

impl TimerQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { timers: BTreeMap::new(), next_sequence: 0 }
    }

    /// Arms a timer on this queue, which is that of CPU `cpu`.
    pub fn insert(&mut self, cpu: CpuId, deadline: Nanoseconds, callback: Arc<dyn TimerCallback>) -> TimerHandle {
        let handle = TimerHandle { deadline, sequence: self.next_sequence, cpu };
        self.next_sequence += 1;
        self.timers.insert(handle, callback);
        handle
    }

    /// Takes a timer off, if it is still armed.
    pub fn remove(&mut self, handle: TimerHandle) -> Option<Arc<dyn TimerCallback>> {
        self.timers.remove(&handle)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanoseconds> {
        self.timers.first_key_value().map(|(handle, _)| handle.deadline)
    }

    /// Takes off the first timer whose deadline is not after `now`.
    pub fn take_expired(&mut self, now: Nanoseconds) -> Option<(TimerHandle, Arc<dyn TimerCallback>)> {
        let first = self.timers.first_entry()?;
        (first.key().deadline <= now).then(|| first.remove_entry())
    }

    /// How many timers are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for TimerQueue {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("TimerQueue").field("armed", &self.timers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;

    struct Note(u64, Arc<Mutex<Vec<u64>>>);
    impl TimerCallback for Note {
        fn expired(&self, _handle: TimerHandle) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn fire(queue: &mut TimerQueue, now: u64) {
        while let Some((handle, callback)) = queue.take_expired(Nanoseconds(now)) {
            callback.expired(handle);
        }
    }

    #[test]
    fn timers_fire_by_deadline_then_by_arming() {
        let fired = Arc::new(Mutex::new(Vec::new()));
        let mut queue = TimerQueue::new();
        for (name, deadline) in [(1, 30), (2, 10), (3, 10), (4, 50)] {
            queue.insert(CpuId(0), Nanoseconds(deadline), Arc::new(Note(name, fired.clone())));
        }
        assert_eq!(queue.next_deadline(), Some(Nanoseconds(10)));
        fire(&mut queue, 9);
        assert!(fired.lock().unwrap().is_empty());
        fire(&mut queue, 30);
        assert_eq!(*fired.lock().unwrap(), [2, 3, 1]);
        assert_eq!(queue.len(), 1);
    }

    proptest! {
        #[test]
        fn only_armed_timers_fire_and_each_once(steps in proptest::collection::vec((0u64..100, 0u8..3), 1..200)) {
            let fired = Arc::new(Mutex::new(Vec::new()));
            let mut queue = TimerQueue::new();
            let mut model: Vec<(u64, u64, TimerHandle)> = Vec::new();
            let mut expected = Vec::new();
            for (name, (time, action)) in (0u64..).zip(steps) {
                match action {
                    0 => {
                        let callback = Arc::new(Note(name, fired.clone()));
                        model.push((time, name, queue.insert(CpuId(0), Nanoseconds(time), callback)));
                    }
                    1 if !model.is_empty() => {
                        let (_, _, handle) = model.remove(time as usize % model.len());
                        prop_assert!(queue.remove(handle).is_some());
                        prop_assert!(queue.remove(handle).is_none());
                    }
                    _ => {
                        fire(&mut queue, time);
                        let mut due: Vec<_> = model.iter().filter(|timer| timer.0 <= time).copied().collect();
                        due.sort_by_key(|timer| (timer.0, timer.1));
                        expected.extend(due.iter().map(|timer| timer.1));
                        model.retain(|timer| timer.0 > time);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            prop_assert_eq!(&*fired.lock().unwrap(), &expected);
        }
    }
}
