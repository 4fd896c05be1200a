//! `epoll(7)`: an interest set that remembers what became ready.
//!
//! Each [`Entry`] of the set stands on the poll queues of its file as a waiter. A wake-up moves it to the ready list and takes it off the
//! queues; [`Epoll::collect`] asks the file what is there now, which also puts the entry back on them. Level-triggered
//! entries that were reported go to the list's end again, edge-triggered ones wait for the next wake-up, one-shot ones are
//! disabled until modified.
//!
//! The set is under a sleeping lock (asking a pipe takes the pipe's), the ready list under a spinlock of rank `WaitQueue`, because
//! wake-ups come from interrupts and with other locks held. An entry does not keep its file open: a file that is closed everywhere
//! leaves the set. Sets may watch sets, at most [`MAXIMUM_DEPTH`] deep and never in a circle; so the sets' locks, taken from the
//! outer to the inner, have an order.

use super::file::{FileOperations, FileTraits, OpenFile};
use super::poll::{PollEvents, PollQueue, PollTable};
use super::select::poll_file;
use super::types::{FileType, OpenFlags};
use crate::base::{Errno, Nanoseconds, Result};
use crate::sync::parking::{Claim, Unpark};
use crate::sync::{Interruptible, InterruptsDisabled, LockRank, Mutex, SpinLock, WaitError, WaitQueue};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use smallvec::SmallVec;

/// How many sets may stand in a chain in which each watches the next.
pub const MAXIMUM_DEPTH: usize = 5;
/// The most events that one collection gives.
const MOST_EVENTS: usize = 1024;

bitflags::bitflags! {
    /// The bits of an interest beside the events.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Mode: u32 {
        /// Of several sets that somebody waits on, one is enough.
        const EXCLUSIVE = 1 << 28;
        /// Keep the machine awake: without effect.
        const WAKE_UP = 1 << 29;
        /// Disabled after one report.
        const ONE_SHOT = 1 << 30;
        /// Reported when it becomes ready, not while it is.
        const EDGE_TRIGGERED = 1 << 31;
    }
}

/// What a program wants to hear of a file, and the number that it wants to hear with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Events and [`Mode`] bits.
    pub bits: u32,
    /// The program's own number.
    pub data: u64,
}

impl Interest {
    fn events(self) -> PollEvents {
        PollEvents::from_bits_truncate(self.bits)
    }
    fn mode(self) -> Mode {
        Mode::from_bits_truncate(self.bits)
    }
    /// Whether anything at all is wanted; a one-shot entry that has fired wants nothing, not even errors.
    fn is_enabled(self) -> bool {
        self.bits & !Mode::all().bits() != 0
    }
}

/// A file in the set.
struct Entry {
    epoll: Weak<Epoll>,
    file: Weak<OpenFile>,
    /// Differs from every thread's number and every other entry's.
    identity: u64,
    interest: SpinLock<Interest>,
    /// It has [`Mode::EXCLUSIVE`], for good.
    is_exclusive: bool,
    queues: Mutex<SmallVec<[Arc<WaitQueue>; 4]>>,
}

impl Unpark for Entry {
    fn unpark(&self) {
        self.unpark_exclusive();
    }
    fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }
    fn unpark_exclusive(&self) -> Claim {
        self.epoll.upgrade().map_or(Claim::Left, |epoll| epoll.became_ready(self.identity))
    }
    fn identity(&self) -> u64 {
        self.identity
    }
}

impl Entry {
    /// Asks the file, and stands on its queues from now on.
    fn ask(self: &Arc<Self>, file: &OpenFile) -> PollEvents {
        let interest = *self.interest.lock();
        let mut table = PollTable::for_waiter(self.clone());
        let events = poll_file(file, interest.events(), &mut table);
        let mut queues = self.queues.lock();
        for queue in table.into_queues() {
            if !queues.iter().any(|known| Arc::ptr_eq(known, &queue)) {
                queues.push(queue);
            }
        }
        if interest.is_enabled() { events } else { PollEvents::empty() }
    }

    /// Leaves the file's queues.
    fn leave(self: &Arc<Self>) {
        let queues = core::mem::take(&mut *self.queues.lock());
        let waiter: Arc<dyn Unpark> = self.clone();
        for queue in queues {
            queue.remove(&waiter);
        }
    }
}

/// The interest set, by descriptor and file: one descriptor number may stand for several files over time.
#[derive(Default)]
struct Set {
    entries: BTreeMap<(i32, u64), Arc<Entry>>,
    by_identity: BTreeMap<u64, (i32, u64)>,
    /// Entries of closed files are looked for when the set has this size.
    sweep_at: usize,
}

impl Set {
    fn remove(&mut self, key: (i32, u64)) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(&key)?;
        self.by_identity.remove(&entry.identity);
        Some(entry)
    }

    fn sweep(&mut self) {
        let dead: Vec<_> =
            self.entries.iter().filter(|(_, entry)| entry.file.strong_count() == 0).map(|(key, _)| *key).collect();
        for key in dead {
            if let Some(entry) = self.remove(key) {
                entry.leave();
            }
        }
        self.sweep_at = self.entries.len().saturating_mul(2).max(16);
    }
}

/// An epoll instance.
pub struct Epoll {
    set: Mutex<Set>,
    ready: SpinLock<VecDeque<u64>, InterruptsDisabled>,
    waiters: WaitQueue,
    poll: PollQueue,
    /// The sets that watch this one, once for each descriptor; of those that are gone, some.
    watchers: Mutex<Vec<Weak<Self>>>,
    myself: Weak<Self>,
}

/// Held while a set is made to watch a set: taken before the sets' locks.
static NESTING: Mutex<()> = Mutex::new(());

/// An event as it is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// What there is.
    pub events: u32,
    /// The program's number.
    pub data: u64,
}

impl Epoll {
    /// Something is ready. Says whether somebody who waited for that goes on.
    fn became_ready(&self, identity: u64) -> Claim {
        // The queue holds numbers, not entries, so that nothing is freed in interrupt context. An entry is there once at most.
        let mut ready = self.ready.lock();
        if !ready.contains(&identity) {
            ready.push_back(identity);
        }
        drop(ready);
        let claim = if self.waiters.wake_one() { Claim::Taken } else { Claim::Left };
        self.poll.wake();
        claim
    }

    /// `EPOLL_CTL_ADD`.
    ///
    /// # Errors
    /// `EEXIST`; `EINVAL` for itself or a bad combination; `ELOOP`.
    pub fn add(&self, descriptor: i32, file: &Arc<OpenFile>, interest: Interest) -> Result<()> {
        static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1 << 63);
        let inner = file.operations_as::<Self>();
        if interest.mode().contains(Mode::EXCLUSIVE) {
            const ALLOWED: u32 = 0x1 | 0x4 | 0x8 | 0x10 | 1 << 28 | 1 << 29 | 1 << 31;
            if inner.is_some() || interest.bits & !ALLOWED != 0 {
                return Err(Errno::EINVAL);
            }
        }
        if inner.is_some_and(|inner| core::ptr::eq(inner, self)) {
            return Err(Errno::EINVAL);
        }
        // Until the entry is in, nobody else may lengthen a chain that it becomes part of.
        let nesting = inner.map(|_| NESTING.lock());
        if let Some(inner) = inner {
            self.check_nesting(inner)?;
        }
        let key = (descriptor, file.identity());
        let mut set = self.set.lock();
        if let Some(known) = set.entries.get(&key) {
            if known.file.strong_count() != 0 {
                return Err(Errno::EEXIST);
            }
            if let Some(dead) = set.remove(key) {
                dead.leave();
            }
        }
        if set.entries.len() >= set.sweep_at {
            set.sweep();
        }
        let entry = Arc::new(Entry {
            epoll: self.myself.clone(),
            file: Arc::downgrade(file),
            identity: NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed),
            interest: SpinLock::new(LockRank::FileObject, interest),
            is_exclusive: interest.mode().contains(Mode::EXCLUSIVE),
            queues: Mutex::new(SmallVec::new()),
        });
        set.by_identity.insert(entry.identity, key);
        set.entries.insert(key, entry.clone());
        let events = entry.ask(file);
        drop(set);
        if let Some(inner) = inner {
            let mut watchers = inner.watchers.lock();
            watchers.retain(|watcher| watcher.strong_count() != 0);
            watchers.push(self.myself.clone());
        }
        drop(nesting);
        if !events.is_empty() {
            self.became_ready(entry.identity);
        }
        Ok(())
    }

    /// Whether this set may watch `inner`: no circle comes of it, and no chain that is too long. [`NESTING`] is locked.
    fn check_nesting(&self, inner: &Self) -> Result<()> {
        let mut seen = BTreeMap::new();
        let below = inner.chain_length(&mut seen, &|set| {
            let files: Vec<_> = set.set.lock().entries.values().filter_map(|entry| entry.file.upgrade()).collect();
            files.iter().filter_map(|file| file.operations_as::<Self>()?.myself.upgrade()).collect()
        });
        if seen.contains_key(&self.address()) {
            return Err(Errno::ELOOP);
        }
        let above = self
            .chain_length(&mut BTreeMap::new(), &|set| set.watchers.lock().iter().filter_map(Weak::upgrade).collect());
        if above + 1 + below > MAXIMUM_DEPTH - 1 { Err(Errno::ELOOP) } else { Ok(()) }
    }

    /// How many steps the longest way has that leads on by `next`. Each set is looked at once; there are no circles.
    fn chain_length(&self, seen: &mut BTreeMap<usize, usize>, next: &dyn Fn(&Self) -> Vec<Arc<Self>>) -> usize {
        if let Some(known) = seen.get(&self.address()) {
            return *known;
        }
        let length = next(self).iter().map(|set| set.chain_length(seen, next) + 1).max().unwrap_or(0);
        seen.insert(self.address(), length);
        length
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// `inner` is not watched any more by this set, or once less.
    fn stop_watching(&self, inner: &Self) {
        let mut watchers = inner.watchers.lock();
        if let Some(position) = watchers.iter().position(|watcher| core::ptr::eq(watcher.as_ptr(), self)) {
            watchers.swap_remove(position);
        }
    }

    /// `EPOLL_CTL_MOD`.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for an exclusive entry or interest.
    pub fn modify(&self, descriptor: i32, file: &Arc<OpenFile>, interest: Interest) -> Result<()> {
        let set = self.set.lock();
        let entry = set.entries.get(&(descriptor, file.identity())).ok_or(Errno::ENOENT)?.clone();
        {
            let mut known = entry.interest.lock();
            if (known.mode() | interest.mode()).contains(Mode::EXCLUSIVE) {
                return Err(Errno::EINVAL);
            }
            *known = interest;
        }
        let events = entry.ask(file);
        drop(set);
        if !events.is_empty() {
            self.became_ready(entry.identity);
        }
        Ok(())
    }

    /// `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(&self, descriptor: i32, file: &Arc<OpenFile>) -> Result<()> {
        let entry = self.set.lock().remove((descriptor, file.identity())).ok_or(Errno::ENOENT)?;
        entry.leave();
        let mut ready = self.ready.lock();
        ready.retain(|&identity| identity != entry.identity);
        drop(ready);
        if let Some(inner) = file.operations_as::<Self>() {
            self.stop_watching(inner);
        }
        Ok(())
    }

    /// Takes up to `limit` events that there are now.
    fn collect(&self, limit: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut set = self.set.lock();
        let mut again = Vec::new();
        let rounds = self.ready.lock().len();
        for _ in 0..rounds {
            if events.len() >= limit {
                break;
            }
            let Some(identity) = self.ready.lock().pop_front() else { break };
            let Some(key) = set.by_identity.get(&identity).copied() else { continue };
            let Some(entry) = set.entries.get(&key).cloned() else { continue };
            let Some(file) = entry.file.upgrade() else {
                set.remove(key);
                entry.leave();
                continue;
            };
            let found = entry.ask(&file);
            if found.is_empty() {
                continue;
            }
            let mut interest = entry.interest.lock();
            events.push(Event { events: found.bits(), data: interest.data });
            if interest.mode().contains(Mode::ONE_SHOT) {
                interest.bits &= Mode::all().bits();
            } else if !interest.mode().contains(Mode::EDGE_TRIGGERED) {
                again.push(identity);
            }
        }
        drop(set);
        if !again.is_empty() {
            let mut ready = self.ready.lock();
            for identity in again {
                if !ready.contains(&identity) {
                    ready.push_back(identity);
                }
            }
            drop(ready);
            // Others that wait may have the rest.
            self.waiters.wake_one();
        }
        events
    }

    fn try_collect(&self, limit: usize) -> Option<Vec<Event>> {
        if self.ready.lock().is_empty() {
            return None;
        }
        Some(self.collect(limit.min(MOST_EVENTS))).filter(|events| !events.is_empty())
    }

    /// Waits for events; none when the deadline passed first. A deadline of zero does not wait.
    ///
    /// # Errors
    /// `EINTR`.
    pub fn wait(&self, limit: usize, deadline: Option<Nanoseconds>) -> Result<Vec<Event>> {
        if deadline == Some(Nanoseconds::ZERO) {
            return Ok(self.try_collect(limit).unwrap_or_default());
        }
        match self.waiters.wait_until(deadline, Interruptible::BySignal, || self.try_collect(limit)) {
            Ok(events) => Ok(events),
            Err(WaitError::TimedOut) => Ok(Vec::new()),
            Err(WaitError::Interrupted) => Err(Errno::EINTR),
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for entry in self.set.get_mut().entries.values() {
            entry.leave();
        }
    }
}

impl FileOperations for Epoll {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        table.wait_on(&self.poll, PollEvents::READABLE);
        let set = self.set.lock();
        let candidates: Vec<u64> = self.ready.lock().iter().copied().collect();
        for identity in candidates {
            let entry = set.by_identity.get(&identity).and_then(|key| set.entries.get(key));
            if let Some(entry) = entry
                && let Some(file) = entry.file.upgrade()
                && !entry.ask(&file).is_empty()
            {
                return PollEvents::READABLE;
            }
        }
        PollEvents::empty()
    }
    fn describe(&self) -> String {
        String::from("anon_inode:[eventpoll]")
    }
}

/// Whether `file` can be in a set: regular files and directories, which are always ready, cannot.
#[must_use]
pub fn can_watch(file: &OpenFile) -> bool {
    let always_ready = matches!(file.file_type(), FileType::Regular | FileType::Directory) && file.location().is_some();
    !always_ready && file.operations().can_poll()
}

/// Makes an epoll instance.
#[must_use]
pub fn create() -> Arc<OpenFile> {
    let epoll = Arc::new_cyclic(|myself| Epoll {
        set: Mutex::new(Set { sweep_at: 16, ..Set::default() }),
        ready: SpinLock::new(LockRank::WaitQueue, VecDeque::new()),
        waiters: WaitQueue::new(),
        poll: PollQueue::new(),
        watchers: Mutex::new(Vec::new()),
        myself: myself.clone(),
    });
    OpenFile::anonymous(epoll, OpenFlags::READ_WRITE)
}

#[cfg(test)]
mod tests;
