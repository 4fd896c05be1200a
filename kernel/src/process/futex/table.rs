//! The waiters of all futexes, as data: hashed buckets of queues.
//!
//! A waiter stands in the bucket of the key that it waits on *now*; requeueing moves it. Those with a real-time priority stand before the others, the
//! more urgent first; among equals it is first come, first served.
//!
//! Who holds a bucket may look at user memory if it can do with `EFAULT` where the page is not at hand: nothing sleeps under a spinlock.
//!
//! Invariants: a waiter whose state is [`State::Waiting`] is in the bucket that its `bucket` names and nowhere else; one in another state is in
//! none. State and bucket change under the bucket's lock only. Two buckets are locked in order of their index (the second
//! order that `lock_nested` asks for).
//!
//! Any bucket may once have to hold every thread. So one that gets empty gives up its room, unless that is for a few only, and [`FutexTable::give_back`]
//! has the others do so, too.

use super::FutexKey;
use super::waiter::{State, Waiter};
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock, SpinLockGuard};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Buckets; a power of two.
const BUCKET_COUNT: usize = 256;

struct Entry {
    key: FutexKey,
    waiter: Arc<Waiter>,
}

type Bucket = VecDeque<Entry>;

/// Entries that an empty bucket keeps room for: the first that comes makes room for so many.
const KEPT: usize = 4;

/// The room of a bucket that got empty, for the caller to free when it has unlocked it.
#[inline]
fn take_room(bucket: &mut Bucket) -> Bucket {
    if bucket.is_empty() && bucket.capacity() > KEPT { core::mem::take(bucket) } else { Bucket::new() }
}

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

    /// Puts a waiter at the end of the queue of `key`, or before those that are less urgent.
    pub fn enqueue(&self, key: FutexKey, waiter: &Arc<Waiter>) {
        let index = index_of(&key);
        let mut bucket = self.bucket(index).lock();
        waiter.bucket.store(index, Ordering::Relaxed);
        insert(&mut bucket, Entry { key, waiter: waiter.clone() });
    }

    /// Takes a waiter out. False when it was woken or moved to its lock before.
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
            let entry = position.and_then(|position| take(&mut bucket, position));
            let room = take_room(&mut bucket);
            drop(bucket);
            drop((entry, room));
            return true;
        }
    }

    /// Wakes up to `count` waiters on `key` that listen to `bitset`, the first ones. Gives how many.
    ///
    /// # Errors
    /// `EINVAL`: one waits to get a lock, which waking does not give it.
    pub fn wake(&self, key: FutexKey, count: u32, bitset: u32) -> Result<u32> {
        let mut bucket = self.bucket(index_of(&key)).lock();
        let woken = wake_in(&mut bucket, key, count, bitset);
        let room = take_room(&mut bucket);
        drop(bucket);
        drop(room);
        woken
    }

    /// Wakes up to `wake` waiters on `from` and moves up to `requeue` others to `to`, if `check`, called with both locked, agrees. Gives how many
    /// were woken and moved.
    ///
    /// # Errors
    /// What `check` says. `EINVAL`: as [`Self::wake`].
    pub fn requeue(
        &self,
        from: FutexKey,
        to: FutexKey,
        wake: u32,
        requeue: u32,
        check: impl FnOnce() -> Result<()>,
    ) -> Result<(u32, u32)> {
        let (source, target) = (index_of(&from), index_of(&to));
        if source == target {
            let mut bucket = self.bucket(source).lock();
            check()?;
            let woken = wake_in(&mut bucket, from, wake, u32::MAX)?;
            let (mut moved, mut position) = (0, 0);
            while moved < requeue
                && let Some(entry) = bucket.get(position)
            {
                if entry.key != from {
                    position += 1;
                    continue;
                }
                refuse_wanted(entry)?;
                moved += 1;
                if from == to {
                    position += 1;
                } else if let Some(mut entry) = bucket.remove(position) {
                    // It goes behind this place, where it is passed over: its key is another.
                    entry.key = to;
                    insert(&mut bucket, entry);
                }
            }
            return Ok((woken, moved));
        }
        // Freed after both are unlocked.
        let _room;
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
        check()?;
        let woken = wake_in(source_bucket, from, wake, u32::MAX)?;
        let (mut moved, mut position) = (0, 0);
        while moved < requeue
            && let Some(entry) = source_bucket.get(position)
        {
            if entry.key != from {
                position += 1;
                continue;
            }
            refuse_wanted(entry)?;
            if let Some(mut entry) = source_bucket.remove(position) {
                entry.key = to;
                entry.waiter.bucket.store(target, Ordering::Relaxed);
                insert(target_bucket, entry);
                moved += 1;
            }
        }
        _room = take_room(source_bucket);
        Ok((woken, moved))
    }

    /// The waiters on `key`, locked.
    pub fn lock(&self, key: FutexKey) -> Waiters<'_> {
        Waiters { bucket: self.bucket(index_of(&key)).lock(), room: Bucket::new(), key }
    }

    /// Gives back the room that empty buckets keep.
    pub fn give_back(&self) {
        for bucket in &self.buckets {
            let room = {
                let mut bucket = bucket.lock();
                if bucket.is_empty() { core::mem::take(&mut *bucket) } else { Bucket::new() }
            };
            drop(room);
        }
    }

    /// Whether somebody waits on `key`.
    #[must_use]
    pub fn is_waited_on(&self, key: FutexKey) -> bool {
        self.lock(key).first().is_some()
    }
}

/// The waiters on one word, while nobody else changes them.
pub struct Waiters<'a> {
    bucket: SpinLockGuard<'a, Bucket>,
    /// What the bucket had room for; behind the guard, so that it is freed when the bucket is unlocked.
    room: Bucket,
    key: FutexKey,
}

impl core::fmt::Debug for Waiters<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Waiters").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Waiters<'_> {
    /// The first.
    #[must_use]
    pub fn first(&self) -> Option<Arc<Waiter>> {
        self.bucket.iter().find(|entry| entry.key == self.key).map(|entry| entry.waiter.clone())
    }

    /// Takes the first out: it has been given its lock, and wakes up.
    pub fn wake_first(&mut self) {
        if let Some(waiter) = self.take_first(State::Woken) {
            waiter.unpark();
        }
    }

    /// Takes the first out: it waits for its lock now.
    pub fn move_first(&mut self) {
        self.take_first(State::Moved);
    }

    fn take_first(&mut self, state: State) -> Option<Arc<Waiter>> {
        let position = self.bucket.iter().position(|entry| entry.key == self.key)?;
        let waiter = self.bucket.remove(position)?.waiter;
        waiter.set_state(state);
        self.room = take_room(&mut self.bucket);
        Some(waiter)
    }
}

#[inline]
fn insert(bucket: &mut Bucket, entry: Entry) {
    let urgency = entry.waiter.urgency;
    if bucket.back().is_none_or(|last| last.waiter.urgency >= urgency) {
        bucket.push_back(entry);
    } else {
        let place = bucket.partition_point(|other| other.waiter.urgency >= urgency);
        bucket.insert(place, entry);
    }
}

/// Takes an entry out; mostly it is the first.
#[inline]
fn take(bucket: &mut Bucket, position: usize) -> Option<Entry> {
    if position == 0 { bucket.pop_front() } else { bucket.remove(position) }
}

/// Who waits to get a lock is woken with it, or moved to it, and not otherwise.
#[inline]
fn refuse_wanted(entry: &Entry) -> Result<()> {
    if entry.waiter.wanted.is_some() { Err(Errno::EINVAL) } else { Ok(()) }
}

fn wake_in(bucket: &mut Bucket, key: FutexKey, count: u32, bitset: u32) -> Result<u32> {
    let mut woken = 0;
    let mut position = 0;
    while woken < count && position < bucket.len() {
        if let Some(entry) = bucket.get(position).filter(|entry| entry.key == key) {
            refuse_wanted(entry)?;
            if entry.waiter.bitset & bitset != 0
                && let Some(entry) = take(bucket, position)
            {
                // A clone of the thread's reference is not needed: the waiting thread keeps its own waiter until it has seen the state.
                entry.waiter.set_state(State::Woken);
                entry.waiter.unpark_sync();
                woken += 1;
                continue;
            }
        }
        position += 1;
    }
    Ok(woken)
}

#[cfg(test)]
mod tests {
    use super::super::waiter::WantedLock;
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
                let waiter = Waiter::new(None, 0, 1 << number, None);
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
        assert_eq!(table.wake(key(4), 2, u32::MAX), Ok(2));
        assert_eq!(states(&mine), [Woken, Woken, Waiting]);
        assert_eq!(states(&other), [Waiting]);
        assert_eq!(table.wake(FutexKey::Shared { object: 1, offset: 4 }, 9, u32::MAX), Ok(0));
        assert_eq!(table.wake(key(4), 9, u32::MAX), Ok(1));
    }

    #[test]
    fn a_bitset_chooses_among_waiters() {
        let table = FutexTable::new();
        let all = waiters(&table, key(4), 3);
        assert_eq!(table.wake(key(4), 9, 0b100), Ok(1));
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
            assert_eq!(table.requeue(key(4), to, 1, 3, || Ok(())), Ok((1, 3)));
            assert_eq!(states(&all), [Woken, Waiting, Waiting, Waiting, Waiting]);
            assert!(table.leave(&all[2]), "a requeued waiter can give up");
            if to != key(4) {
                assert_eq!(table.wake(to, 9, u32::MAX), Ok(2));
                assert_eq!(table.wake(key(4), 9, u32::MAX), Ok(1));
            }
        }
    }

    #[test]
    fn a_bucket_that_got_empty_keeps_no_room_for_a_crowd() {
        let room = |table: &FutexTable| table.buckets.iter().map(|bucket| bucket.lock().capacity()).sum::<usize>();
        let table = FutexTable::new();
        let all = waiters(&table, key(4), 30);
        assert!(room(&table) >= 30);
        assert!(all.iter().skip(1).all(|waiter| table.leave(waiter)));
        assert!(room(&table) >= 30, "one waits");
        assert!(table.leave(&all[0]));
        assert_eq!(room(&table), 0);
        let all = waiters(&table, key(4), 30);
        assert_eq!(table.wake(key(4), 30, u32::MAX), Ok(30));
        assert_eq!((room(&table), states(&all)), (0, vec![Woken; 30]));
        let all = waiters(&table, key(4), 30);
        assert_eq!(table.requeue(key(4), key(4096), 10, 20, || Ok(())), Ok((10, 20)));
        assert_eq!(table.buckets[index_of(&key(4))].lock().capacity(), 0);
        let mut waiting = table.lock(key(4096));
        (0..20).for_each(|_| waiting.move_first());
        drop(waiting);
        assert_eq!((room(&table), all.len()), (0, 30));
        // Room for a few stays until it is asked for.
        let few = waiters(&table, key(4), 3);
        assert_eq!(table.wake(key(4), 3, u32::MAX), Ok(3));
        assert_eq!((room(&table), few.len()), (KEPT, 3));
        let one = waiters(&table, key(8), 1);
        table.give_back();
        assert_eq!(room(&table), KEPT, "one waits");
        assert!(table.leave(&one[0]));
        table.give_back();
        assert_eq!(room(&table), 0);
    }

    #[test]
    fn the_more_urgent_stand_in_front() {
        let table = FutexTable::new();
        let all: Vec<_> = [0, 5, 0, 100, 5]
            .into_iter()
            .map(|urgency| {
                let waiter = Waiter::new(None, urgency, u32::MAX, None);
                table.enqueue(key(4), &waiter);
                waiter
            })
            .collect();
        for expected in [3, 1, 4, 0, 2] {
            assert_eq!(table.wake(key(4), 1, u32::MAX), Ok(1));
            assert_eq!(all[expected].state(), Woken, "{expected}");
        }
    }

    #[test]
    fn a_requeue_that_is_refused_changes_nothing() {
        let table = FutexTable::new();
        let all = waiters(&table, key(4), 2);
        assert_eq!(table.requeue(key(4), key(8), 1, 1, || Err(Errno::EAGAIN)), Err(Errno::EAGAIN));
        assert_eq!(states(&all), [Waiting, Waiting]);
        assert_eq!(table.wake(key(4), 9, u32::MAX), Ok(2));
    }

    #[test]
    fn who_waits_for_a_lock_is_not_woken_without_it() {
        let table = FutexTable::new();
        let thread = crate::process::thread::boot_thread().clone();
        let waiter = Waiter::new(None, 0, u32::MAX, Some(WantedLock { key: key(8), thread }));
        table.enqueue(key(4), &waiter);
        assert_eq!(table.wake(key(4), 1, u32::MAX), Err(Errno::EINVAL));
        assert_eq!(table.requeue(key(4), key(12), 0, 1, || Ok(())), Err(Errno::EINVAL));
        let mut waiting = table.lock(key(4));
        assert_eq!(waiting.first().unwrap().wanted().unwrap().key, key(8));
        waiting.move_first();
        assert!(waiting.first().is_none() && waiter.state() == State::Moved);
        drop(waiting);
        assert!(!table.leave(&waiter));
    }

    /// A mutex of three states over the table, as libraries build one, hammered from four threads: every wake-up that is
    /// needed comes, or the test hangs.
    #[test]
    fn a_lock_built_on_it_loses_no_wake_up() {
        let table = FutexTable::new();
        let (word, mut total) = (AtomicU32::new(0), 0u64);
        let shared = &raw mut total as usize;
        thread::scope(|scope| {
            for _ in 0..4 {
                let (table, word) = (&table, &word);
                scope.spawn(move || {
                    for _ in 0..3000 {
                        let mut seen =
                            word.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|v| v);
                        while seen != 0 {
                            if seen == 2 || word.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst) != Err(0) {
                                let waiter =
                                    Waiter::new(Some(Arc::new(HostThread(thread::current()))), 0, u32::MAX, None);
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
                            table.wake(key(64), 1, u32::MAX).unwrap();
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
