//! Signals that wait for delivery.
//!
//! A [`PendingQueue`] belongs to a thread or to a process. It holds one entry of each ordinary signal and any number of each
//! real-time signal, first in first out. Adding and taking are O(1): the entries of a signal form a list inside one
//! vector, which is not there until the first signal comes.
//! Invariant ([`PendingQueue::validate`]): a signal's bit is set exactly where its list is not empty.

use super::information::SignalInformation;
use super::number::{SIGNAL_COUNT, Signal, SignalSet};
use crate::process::resource_limits::{PendingSignals, UserCharge};
use alloc::boxed::Box;
use alloc::vec::Vec;

const NONE: u32 = u32::MAX;

/// What became of a signal that was to be queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// It waits.
    Added,
    /// An ordinary signal that was waiting already: one of them is enough.
    AlreadyPending,
    /// There was no memory for it.
    NoMemory,
}

/// A queued real-time signal counts against its user's `RLIMIT_SIGPENDING` as long as this lives.
pub type Charge = UserCharge<PendingSignals>;

#[derive(Debug)]
struct Entry {
    information: SignalInformation,
    charge: Option<Charge>,
    next: u32,
}

#[derive(Debug)]
struct Store {
    heads: [u32; SIGNAL_COUNT],
    tails: [u32; SIGNAL_COUNT],
    entries: Vec<Entry>,
    free: u32,
}

/// Signals that wait, with what came with each.
#[derive(Debug, Default)]
pub struct PendingQueue {
    set: SignalSet,
    store: Option<Box<Store>>,
}

impl Store {
    fn new() -> Self {
        Self { heads: [NONE; SIGNAL_COUNT], tails: [NONE; SIGNAL_COUNT], entries: Vec::new(), free: NONE }
    }

    /// Puts the information into a free entry and gives its index.
    fn allocate(&mut self, information: SignalInformation, charge: Option<Charge>) -> Option<u32> {
        let entry = Entry { information, charge, next: NONE };
        if let Some(slot) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            self.free = slot.next;
            *slot = entry;
            return Some(index);
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|index| *index != NONE)?;
        self.entries.try_reserve(1).ok()?;
        self.entries.push(entry);
        Some(index)
    }
}

impl PendingQueue {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { set: SignalSet::EMPTY, store: None }
    }

    /// The signals that wait.
    #[inline]
    #[must_use]
    pub const fn set(&self) -> SignalSet {
        self.set
    }

    /// Adds a signal; `charge` goes when it is taken.
    pub fn push(&mut self, signal: Signal, information: SignalInformation, charge: Option<Charge>) -> Queued {
        if !signal.is_real_time() && self.set.contains(signal) {
            return Queued::AlreadyPending;
        }
        let store = self.store.get_or_insert_with(|| Box::new(Store::new()));
        let Some(index) = store.allocate(information, charge) else { return Queued::NoMemory };
        let slot = signal.index();
        let (Some(head), Some(tail)) = (store.heads.get_mut(slot), store.tails.get_mut(slot)) else {
            return Queued::NoMemory;
        };
        if *head == NONE {
            *head = index;
        } else if let Some(last) = store.entries.get_mut(*tail as usize) {
            last.next = index;
        }
        *tail = index;
        self.set = self.set.with(signal);
        Queued::Added
    }

    /// Takes the first waiting signal among `allowed`, in the order of delivery.
    pub fn take(&mut self, allowed: SignalSet) -> Option<SignalInformation> {
        let signal = self.set.intersection(allowed).first()?;
        self.take_signal(signal)
    }

    /// Takes the oldest `signal` that waits.
    pub fn take_signal(&mut self, signal: Signal) -> Option<SignalInformation> {
        let store = self.store.as_deref_mut()?;
        let head = store.heads.get_mut(signal.index())?;
        let index = *head;
        let entry = store.entries.get_mut(index as usize)?;
        *head = entry.next;
        if *head == NONE {
            self.set = self.set.without(signal);
        }
        entry.charge = None;
        entry.next = store.free;
        store.free = index;
        Some(entry.information)
    }

    /// Drops every waiting signal of `signals`.
    pub fn discard(&mut self, signals: SignalSet) {
        for signal in self.set.intersection(signals).iter() {
            while self.take_signal(signal).is_some() {}
        }
    }

    /// Changes the oldest waiting `signal` that `matches`; says whether there was one. For timers, which queue once and count.
    pub fn update(&mut self, signal: Signal, mut change: impl FnMut(&mut SignalInformation) -> bool) -> bool {
        let Some(store) = self.store.as_deref_mut() else { return false };
        let Some(mut index) = store.heads.get(signal.index()).copied() else { return false };
        while let Some(entry) = store.entries.get_mut(index as usize) {
            if change(&mut entry.information) {
                return true;
            }
            index = entry.next;
        }
        false
    }

    /// Panics unless the invariant holds. For tests.
    #[cfg(test)]
    pub fn validate(&self) {
        let Some(store) = &self.store else {
            assert!(self.set.is_empty());
            return;
        };
        let mut used = 0;
        for signal in SignalSet::ALL.iter() {
            let mut index = store.heads[signal.index()];
            assert_eq!(index != NONE, self.set.contains(signal));
            while index != NONE {
                used += 1;
                if store.entries[index as usize].next == NONE {
                    assert_eq!(store.tails[signal.index()], index);
                }
                index = store.entries[index as usize].next;
            }
        }
        let mut free = store.free;
        while free != NONE {
            used += 1;
            free = store.entries[free as usize].next;
        }
        assert_eq!(used, store.entries.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::information::code;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn value(signal: Signal, value: u64) -> SignalInformation {
        SignalInformation::new(signal, code::SI_QUEUE, [0, value, 0, 0])
    }

    #[test]
    fn ordinary_signals_wait_once_and_real_time_ones_each_time() {
        let mut queue = PendingQueue::new();
        assert_eq!(queue.push(Signal::SIGUSR1, value(Signal::SIGUSR1, 1), None), Queued::Added);
        assert_eq!(queue.push(Signal::SIGUSR1, value(Signal::SIGUSR1, 2), None), Queued::AlreadyPending);
        for number in 0..3 {
            queue.push(Signal::SIGRTMIN, value(Signal::SIGRTMIN, number), None);
        }
        let taken: Vec<_> =
            core::iter::from_fn(|| queue.take(SignalSet::ALL)).map(|i| (i.number, i.fields[1])).collect();
        assert_eq!(taken, [(10, 1), (32, 0), (32, 1), (32, 2)]);
        queue.validate();
    }

    #[test]
    fn what_is_blocked_stays() {
        let mut queue = PendingQueue::new();
        queue.push(Signal::SIGINT, value(Signal::SIGINT, 0), None);
        queue.push(Signal::SIGTERM, value(Signal::SIGTERM, 0), None);
        let taken = queue.take(SignalSet::ALL.without(Signal::SIGINT)).unwrap();
        assert_eq!(taken.signal(), Some(Signal::SIGTERM));
        assert_eq!(queue.set(), SignalSet::of(&[Signal::SIGINT]));
    }

    proptest! {
        #[test]
        fn behaves_as_a_queue_for_each_signal(steps in proptest::collection::vec((0u8..4, 1u32..=64, any::<u64>()), 0..200)) {
            let mut queue = PendingQueue::new();
            let mut model: Vec<VecDeque<u64>> = vec![VecDeque::new(); 65];
            for (step, number, data) in steps {
                let signal = Signal::new(number).unwrap();
                let list = &mut model[number as usize];
                match step {
                    0 | 1 => {
                        let expected = if number < 32 && !list.is_empty() {
                            Queued::AlreadyPending
                        } else {
                            list.push_back(data);
                            Queued::Added
                        };
                        prop_assert_eq!(queue.push(signal, value(signal, data), None), expected);
                    }
                    2 => prop_assert_eq!(queue.take_signal(signal).map(|i| i.fields[1]), list.pop_front()),
                    _ => {
                        queue.discard(SignalSet::of(&[signal]));
                        list.clear();
                    }
                }
                queue.validate();
            }
        }
    }
}
