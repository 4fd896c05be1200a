//! The waiters of all futexes, as data: hashed buckets of queues.
//!
//! A waiter stands in the bucket of the key that it waits on *now*; requeueing moves it. Nothing here touches user memory.
//!
//! Invariants: a waiter whose state is [`State::Waiting`] is in the bucket that its `bucket` names and nowhere else; one in another state is in
//! none. State and bucket change under the bucket's lock only. Two buckets are locked in order of their index (the second
//! order that `lock_nested` asks for).

use super::FutexKey;
use crate::sync::parking::ThreadReference;
use crate::sync::{LockRank, SpinLock};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Buckets; a power of two.
const BUCKET_COUNT: usize = 256;

/// What has become of a waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// It waits.
    Waiting = 0,
    /// Somebody woke it.
    Woken = 1,
    /// An owner that unlocks is about to hand the lock to it (priority-inheritance futexes only).
    Chosen = 2,
    /// It gave up.
    Left = 3,
}

/// One thread's wait on one word.
pub struct Waiter {
    /// Which wakers it listens to.
    bitset: u32,
    /// Who waits: for handing over ownership.
    owner: i32,
    thread: Option<ThreadReference>,
    state: AtomicU8,
    bucket: AtomicUsize,
}

impl core::fmt::Debug for Waiter {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Waiter({}, {:?})", self.owner, self.state())
    }
}

impl Waiter {
    /// A waiter for `thread`, whose number is `owner`, in no queue yet.
    #[must_use]
    pub fn new(thread: Option<ThreadReference>, owner: i32, bitset: u32) -> Arc<Self> {
        Arc::new(Self {
            bitset,
            owner,
            thread,
            state: AtomicU8::new(State::Waiting as u8),
            bucket: AtomicUsize::new(0),
        })
    }

    /// What has become of it.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Waiting,
            1 => State::Woken,
            2 => State::Chosen,
            _ => State::Left,
        }
    }

    /// The number of the thread that waits.
    #[must_use]
    pub const fn owner(&self) -> i32 {
        self.owner
    }

    fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    /// Ends the wait of a waiter that was chosen.
    pub fn hand_over(&self) {
        self.set_state(State::Woken);
        self.unpark();
    }
}

struct Entry {
    key: FutexKey,
    waiter: Arc<Waiter>,
}

type Bucket = VecDeque<Entry>;

/// The buckets.
pub struct FutexTable {
    buckets: [SpinLock<Bucket>; BUCKET_COUNT],
}

impl core::fmt::Debug for FutexTable {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("FutexTable")
    }
}

impl Default for FutexTable {
    fn default() -> Self {
        Self::new()
    }
}

fn index_of(key: &FutexKey) -> usize {
    let (high, low) = match *key {
        FutexKey::Private { space, address } => (space, address),
        FutexKey::Shared { object, offset } => (object.rotate_left(32), offset),
    };
    let mixed = (low >> 2 ^ high.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 40) as usize & (BUCKET_COUNT - 1)
}

impl FutexTable {
    /// A table without waiters.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [const { SpinLock::new(LockRank::Futex, Bucket::new()) }; BUCKET_COUNT] }
    }

    fn bucket(&self, index: usize) -> &SpinLock<Bucket> {
        &self.buckets[index & (BUCKET_COUNT - 1)]
    }

    /// Puts a waiter at the end of the queue of `key`.
    pub fn enqueue(&self, key: FutexKey, waiter: &Arc<Waiter>) {
        let index = index_of(&key);
        let mut bucket = self.bucket(index).lock();
        waiter.bucket.store(index, Ordering::Relaxed);
        bucket.push_back(Entry { key, waiter: waiter.clone() });
    }

    /// Takes a waiter out. False when it was woken (or chosen) before.
    pub fn leave(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            let index = waiter.bucket.load(Ordering::Relaxed);
            let mut bucket = self.bucket(index).lock();
            // Requeued in between: look again where it is now.
            if waiter.bucket.load(Ordering::Relaxed) != index {
                continue;
            }
            if waiter.state() != State::Waiting {
                return false;
            }
            waiter.set_state(State::Left);
            let position = bucket.iter().position(|entry| Arc::ptr_eq(&entry.waiter, waiter));
            let entry = position.and_then(|position| bucket.remove(position));
            drop(bucket);
            drop(entry);
            return true;
        }
    }

    /// Wakes up to `count` waiters on `key` that listen to `bitset`, oldest first. Gives how many.
    pub fn wake(&self, key: FutexKey, count: u32, bitset: u32) -> u32 {
        let mut bucket = self.bucket(index_of(&key)).lock();
        wake_in(&mut bucket, key, count, bitset)
    }

    /// Wakes up to `wake` waiters on `from` and moves up to `requeue` others to `to`. Gives how many were woken and moved.
    pub fn requeue(&self, from: FutexKey, to: FutexKey, wake: u32, requeue: u32) -> (u32, u32) {
        let (source, target) = (index_of(&from), index_of(&to));
        if source == target {
            let mut bucket = self.bucket(source).lock();
            let woken = wake_in(&mut bucket, from, wake, u32::MAX);
            let mut moved = 0;
            let mut position = 0;
            let end = bucket.len();
            let mut seen = 0;
            while moved < requeue && seen < end {
                seen += 1;
                match bucket.get(position) {
                    Some(entry) if entry.key == from && from != to => {
                        if let Some(mut entry) = bucket.remove(position) {
                            entry.key = to;
                            bucket.push_back(entry);
                            moved += 1;
                        }
                    }
                    Some(entry) if entry.key == from => {
                        moved += 1;
                        position += 1;
                    }
                    _ => position += 1,
                }
            }
            return (woken, moved);
        }
        // The lower index first; the other is of the same rank.
        let (mut first, mut second);
        let (source_bucket, target_bucket) = if source < target {
            first = self.bucket(source).lock();
            second = self.bucket(target).lock_nested();
            (&mut *first, &mut *second)
        } else {
            first = self.bucket(target).lock();
            second = self.bucket(source).lock_nested();
            (&mut *second, &mut *first)
        };
        let woken = wake_in(source_bucket, from, wake, u32::MAX);
        let mut moved = 0;
        let mut position = 0;
        while moved < requeue && position < source_bucket.len() {
            if source_bucket.get(position).is_some_and(|entry| entry.key == from) {
                if let Some(mut entry) = source_bucket.remove(position) {
                    entry.key = to;
                    entry.waiter.bucket.store(target, Ordering::Relaxed);
                    target_bucket.push_back(entry);
                    moved += 1;
                }
            } else {
                position += 1;
            }
        }
        (woken, moved)
    }

    /// Takes the oldest waiter on `key` out as [`State::Chosen`], and says whether there are others.
    pub fn choose(&self, key: FutexKey) -> Option<(Arc<Waiter>, bool)> {
        let mut bucket = self.bucket(index_of(&key)).lock();
        let position = bucket.iter().position(|entry| entry.key == key)?;
        let entry = bucket.remove(position)?;
        entry.waiter.set_state(State::Chosen);
        let others = bucket.iter().any(|entry| entry.key == key);
        Some((entry.waiter, others))
    }

    /// Puts a chosen waiter back where it was, first of all.
    pub fn put_back(&self, key: FutexKey, waiter: Arc<Waiter>) {
        let mut bucket = self.bucket(index_of(&key)).lock();
        waiter.set_state(State::Waiting);
        // It may have wanted to leave, and waited for this decision.
        waiter.unpark();
        bucket.push_front(Entry { key, waiter });
    }

    /// Whether somebody waits on `key`.
    #[must_use]
    pub fn is_waited_on(&self, key: FutexKey) -> bool {
        self.bucket(index_of(&key)).lock().iter().any(|entry| entry.key == key)
    }
}

fn wake_in(bucket: &mut Bucket, key: FutexKey, count: u32, bitset: u32) -> u32 {
    let mut woken = 0;
    let mut position = 0;
    while woken < count && position < bucket.len() {
        if bucket.get(position).is_some_and(|entry| entry.key == key && entry.waiter.bitset & bitset != 0) {
            if let Some(entry) = bucket.remove(position) {
                // A clone of the thread's reference is not needed: the waiting thread keeps its own waiter until it has seen the state.
                entry.waiter.set_state(State::Woken);
                entry.waiter.unpark();
                woken += 1;
            }
        } else {
            position += 1;
        }
    }
    woken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::parking::Unpark;
    use std::sync::atomic::AtomicU32;
    use std::thread::{self, Thread};

    struct HostThread(Thread);

    impl Unpark for HostThread {
        fn unpark(&self) {
            self.0.unpark();
        }
        fn identity(&self) -> u64 {
            0
        }
    }

    fn key(address: u64) -> FutexKey {
        FutexKey::Private { space: 1, address }
    }

    fn waiters(table: &FutexTable, key: FutexKey, count: i32) -> Vec<Arc<Waiter>> {
        (0..count)
            .map(|number| {
                let waiter = Waiter::new(None, number, 1 << number);
                table.enqueue(key, &waiter);
                waiter
            })
            .collect()
    }

    fn states(waiters: &[Arc<Waiter>]) -> Vec<State> {
        waiters.iter().map(|waiter| waiter.state()).collect()
    }

    use State::{Left, Waiting, Woken};

    #[test]
    fn the_oldest_wakes_first_and_only_on_its_own_key() {
        let table = FutexTable::new();
        let (mine, other) = (waiters(&table, key(4), 3), waiters(&table, key(8), 1));
        assert_eq!(table.wake(key(4), 2, u32::MAX), 2);
        assert_eq!(states(&mine), [Woken, Woken, Waiting]);
        assert_eq!(states(&other), [Waiting]);
        assert_eq!(table.wake(FutexKey::Shared { object: 1, offset: 4 }, 9, u32::MAX), 0);
        assert_eq!(table.wake(key(4), 9, u32::MAX), 1);
    }

    #[test]
    fn a_bitset_chooses_among_waiters() {
        let table = FutexTable::new();
        let all = waiters(&table, key(4), 3);
        assert_eq!(table.wake(key(4), 9, 0b100), 1);
        assert_eq!(states(&all), [Waiting, Waiting, Woken]);
        assert!(table.leave(&all[0]));
        assert!(!table.leave(&all[2]), "it was woken");
        assert_eq!(states(&all), [Left, Waiting, Woken]);
    }

    #[test]
    fn requeueing_moves_without_waking() {
        for to in [key(8), key(4096), key(4)] {
            let table = FutexTable::new();
            let all = waiters(&table, key(4), 5);
            assert_eq!(table.requeue(key(4), to, 1, 3), (1, 3));
            assert_eq!(states(&all), [Woken, Waiting, Waiting, Waiting, Waiting]);
            assert!(table.leave(&all[2]), "a requeued waiter can give up");
            if to != key(4) {
                assert_eq!(table.wake(to, 9, u32::MAX), 2);
                assert_eq!(table.wake(key(4), 9, u32::MAX), 1);
            }
        }
    }

    #[test]
    fn a_chosen_waiter_can_be_put_back() {
        let table = FutexTable::new();
        let all = waiters(&table, key(4), 2);
        let (chosen, others) = table.choose(key(4)).unwrap();
        assert!(others && chosen.state() == State::Chosen && !table.leave(&all[0]));
        table.put_back(key(4), chosen);
        assert_eq!(table.choose(key(4)).unwrap().0.owner(), 0);
        assert!(!table.choose(key(4)).unwrap().1);
        assert!(table.choose(key(4)).is_none());
    }

    /// A mutex of three states over the table, as libraries build one, hammered from four threads: every wake-up that is
    /// needed comes, or the test hangs.
    #[test]
    fn a_lock_built_on_it_loses_no_wake_up() {
        let table = FutexTable::new();
        let (word, mut total) = (AtomicU32::new(0), 0u64);
        let shared = &raw mut total as usize;
        thread::scope(|scope| {
            for number in 0..4 {
                let (table, word) = (&table, &word);
                scope.spawn(move || {
                    for _ in 0..3000 {
                        let mut seen =
                            word.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|v| v);
                        while seen != 0 {
                            if seen == 2 || word.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst) != Err(0) {
                                let waiter =
                                    Waiter::new(Some(Arc::new(HostThread(thread::current()))), number, u32::MAX);
                                table.enqueue(key(64), &waiter);
                                if word.load(Ordering::SeqCst) == 2 {
                                    while waiter.state() == Waiting {
                                        thread::park();
                                    }
                                } else {
                                    table.leave(&waiter);
                                }
                            }
                            seen =
                                word.compare_exchange(0, 2, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|v| v);
                        }
                        let counter = shared as *mut u64;
                        increment(counter);
                        if word.swap(0, Ordering::SeqCst) == 2 {
                            table.wake(key(64), 1, u32::MAX);
                        }
                    }
                });
            }
        });
        assert_eq!(total, 12_000);
    }

    #[expect(unsafe_code, reason = "the lock under test is what makes it sound")]
    fn increment(counter: *mut u64) {
        // SAFETY: the caller holds the lock built on the table.
        unsafe { counter.write_volatile(counter.read_volatile() + 1) }
    }
}
