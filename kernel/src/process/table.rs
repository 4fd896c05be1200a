//! The process table: who exists, by number.
//!
//! Processes, threads, process groups and sessions draw their numbers from one space, as on Linux; a number is free again when
//! none of the four uses it. [`ProcessTable`] is a two-level array that grows and shrinks by chunks of 128 numbers, so that every look-up
//! is two loads and a new number is the next free one after the last given (O(1) until the numbers wrap at [`PID_MAX`]). A chunk
//! without a used number is there only while numbers are given from it.
//! [`ThreadTable`] is its view by thread number.
//!
//! One lock, [`lock`] ([`LockRank::ProcessTable`], interrupts masked, the first of all spinlocks), guards the table and all
//! relations between processes: parents and children, groups, sessions, the list of a process's threads. Those relations
//! live in [`super::cells::TableCell`]s, which open only for the holder of the [`TableGuard`].

#![allow(unsafe_code, reason = "its guard is the witness that opens the cells of relations")]

use super::cells::TableWitness;
use super::session::{ProcessGroup, Session};
use super::{Pid, Process, Thread};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock, SpinLockGuard};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::{Deref, DerefMut};

/// One more than the highest number that is given: Linux's default on machines with few CPUs.
pub const PID_MAX: Pid = 32768;
/// After a wrap, numbering goes on here, as on Linux: lower ones belong to what was started at boot.
const AFTER_WRAP: Pid = 300;
const CHUNK: usize = 128;
const CHUNKS: usize = (PID_MAX as usize).div_ceil(CHUNK);

/// Who uses a number.
#[derive(Default, Debug)]
struct Entry {
    thread: Option<Arc<Thread>>,
    process: Option<Arc<Process>>,
    group: Option<Arc<ProcessGroup>>,
    session: Option<Arc<Session>>,
    /// Given out, not yet used by any of the above.
    reserved: bool,
}

impl Entry {
    fn is_free(&self) -> bool {
        !self.reserved
            && self.thread.is_none()
            && self.process.is_none()
            && self.group.is_none()
            && self.session.is_none()
    }
}

/// The entries of neighbouring numbers.
#[derive(Debug)]
struct Chunk {
    entries: [Entry; CHUNK],
    /// How many of them are not free.
    used: usize,
}

/// All processes, threads, groups and sessions.
#[derive(Debug)]
pub struct ProcessTable {
    chunks: [Option<Box<Chunk>>; CHUNKS],
    last: Pid,
    processes: u32,
    threads: u32,
    /// Processes and threads created since boot (`/proc/stat`).
    forks: u64,
}

impl ProcessTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: [const { None }; CHUNKS], last: 0, processes: 0, threads: 0, forks: 0 }
    }

    #[inline]
    fn entry(&self, number: Pid) -> Option<&Entry> {
        let number = usize::try_from(number).ok()?;
        self.chunks.get(number / CHUNK)?.as_ref()?.entries.get(number % CHUNK)
    }

    /// Changes the entry of a number, if its chunk is there, and lets go of a chunk that is not used any more.
    fn update<T>(&mut self, number: Pid, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let number = usize::try_from(number).ok()?;
        let chunk = self.chunks.get_mut(number / CHUNK)?.as_mut()?;
        let entry = chunk.entries.get_mut(number % CHUNK)?;
        let before = entry.is_free();
        let result = change(entry);
        match (before, entry.is_free()) {
            (true, false) => chunk.used += 1,
            (false, true) => {
                chunk.used -= 1;
                self.release_chunk(number / CHUNK);
            }
            _ => {}
        }
        Some(result)
    }

    /// As [`Self::update`], with a chunk that is made if need be. `None` when memory is out.
    fn update_or_grow<T>(&mut self, number: Pid, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let index = usize::try_from(number).ok()? / CHUNK;
        let chunk = self.chunks.get_mut(index)?;
        if chunk.is_none() {
            const FREE: Entry = Entry { thread: None, process: None, group: None, session: None, reserved: false };
            *chunk = Some(Box::new(Chunk { entries: [FREE; CHUNK], used: 0 }));
        }
        self.update(number, change)
    }

    /// Frees a chunk without used numbers, unless the next numbers will come from it.
    fn release_chunk(&mut self, index: usize) {
        if index != self.current_chunk()
            && let Some(chunk) = self.chunks.get_mut(index)
            && chunk.as_ref().is_some_and(|chunk| chunk.used == 0)
        {
            *chunk = None;
        }
    }

    /// The chunk of the number given out last.
    fn current_chunk(&self) -> usize {
        usize::try_from(self.last).unwrap_or(0) / CHUNK
    }

    /// Gives out a free number. `None` when all are in use or memory is out.
    pub fn reserve_number(&mut self) -> Option<Pid> {
        let start = self.last;
        let mut number = start;
        loop {
            number += 1;
            if number >= PID_MAX {
                number = AFTER_WRAP;
            }
            if self.entry(number).is_none_or(Entry::is_free) {
                let left = self.current_chunk();
                self.update_or_grow(number, |entry| entry.reserved = true)?;
                self.last = number;
                self.release_chunk(left);
                return Some(number);
            }
            if number == start || (start == 0 && number == PID_MAX - 1) {
                return None;
            }
        }
    }

    /// Gives a number back that was reserved and not used.
    pub fn release_number(&mut self, number: Pid) {
        self.update(number, |entry| entry.reserved = false);
    }

    /// The process numbered `pid`, zombies included.
    #[must_use]
    #[inline]
    pub fn process(&self, pid: Pid) -> Option<&Arc<Process>> {
        self.entry(pid)?.process.as_ref()
    }
    /// The thread numbered `tid`.
    #[must_use]
    #[inline]
    pub fn thread(&self, tid: Pid) -> Option<&Arc<Thread>> {
        self.entry(tid)?.thread.as_ref()
    }
    /// The process group numbered `pgid`.
    #[must_use]
    #[inline]
    pub fn group(&self, pgid: Pid) -> Option<&Arc<ProcessGroup>> {
        self.entry(pgid)?.group.as_ref()
    }
    /// The session numbered `sid`.
    #[must_use]
    #[inline]
    pub fn session(&self, sid: Pid) -> Option<&Arc<Session>> {
        self.entry(sid)?.session.as_ref()
    }

    /// Enters a process under its number. Says whether that worked (memory).
    pub fn insert_process(&mut self, pid: Pid, process: Arc<Process>) -> bool {
        let entered = self.update_or_grow(pid, |entry| {
            entry.reserved = false;
            entry.process = Some(process);
        });
        self.processes += u32::from(entered.is_some());
        self.forks += u64::from(entered.is_some());
        entered.is_some()
    }
    /// Enters a thread under its number.
    pub fn insert_thread(&mut self, tid: Pid, thread: Arc<Thread>) -> bool {
        let replaced = self.update_or_grow(tid, |entry| {
            entry.reserved = false;
            entry.thread.replace(thread)
        });
        self.threads += u32::from(matches!(replaced, Some(None)));
        replaced.is_some()
    }
    /// Enters a process group under its number.
    pub fn insert_group(&mut self, pgid: Pid, group: Arc<ProcessGroup>) -> bool {
        self.update_or_grow(pgid, |entry| entry.group = Some(group)).is_some()
    }
    /// Enters a session under its number.
    pub fn insert_session(&mut self, sid: Pid, session: Arc<Session>) -> bool {
        self.update_or_grow(sid, |entry| entry.session = Some(session)).is_some()
    }

    /// Takes a process out; the caller drops it after it has let the lock go.
    pub fn remove_process(&mut self, pid: Pid) -> Option<Arc<Process>> {
        let removed = self.update(pid, |entry| entry.process.take())?;
        self.processes -= u32::from(removed.is_some());
        removed
    }
    /// Takes a thread out; the caller drops it after it has let the lock go.
    pub fn remove_thread(&mut self, tid: Pid) -> Option<Arc<Thread>> {
        let removed = self.update(tid, |entry| entry.thread.take())?;
        self.threads -= u32::from(removed.is_some());
        removed
    }
    /// Takes a group out.
    pub fn remove_group(&mut self, pgid: Pid) -> Option<Arc<ProcessGroup>> {
        self.update(pgid, |entry| entry.group.take())?
    }
    /// Takes a session out.
    pub fn remove_session(&mut self, sid: Pid) -> Option<Arc<Session>> {
        self.update(sid, |entry| entry.session.take())?
    }

    /// How many processes there are, zombies included.
    #[must_use]
    pub fn process_count(&self) -> u32 {
        self.processes
    }
    /// How many threads there are.
    #[must_use]
    pub fn thread_count(&self) -> u32 {
        self.threads
    }
    /// Processes created since boot.
    #[must_use]
    pub fn forks(&self) -> u64 {
        self.forks
    }
    /// The number given out last (`/proc/loadavg`).
    #[must_use]
    pub fn last_number(&self) -> Pid {
        self.last
    }

    /// All processes, by rising number: linear in the numbers given, for `kill(-1)` and `/proc`.
    pub fn processes(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.chunks.iter().flatten().flat_map(|chunk| &chunk.entries).filter_map(|entry| entry.process.as_ref())
    }

    /// The first process whose number is at least `pid`: for `readdir` of `/proc`.
    #[must_use]
    pub fn process_from(&self, pid: Pid) -> Option<&Arc<Process>> {
        let first = usize::try_from(pid).unwrap_or(0);
        self.chunks
            .iter()
            .enumerate()
            .skip(first / CHUNK)
            .filter_map(|(index, chunk)| Some((index, chunk.as_ref()?)))
            .flat_map(|(index, chunk)| {
                chunk.entries.iter().enumerate().map(move |(at, entry)| (index * CHUNK + at, entry))
            })
            .filter(|(number, _)| *number >= first)
            .find_map(|(_, entry)| entry.process.as_ref())
    }
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self::new()
    }
}

static TABLE: SpinLock<ProcessTable, InterruptsDisabled> = SpinLock::new(LockRank::ProcessTable, ProcessTable::new());

/// The table, locked. It opens [`super::cells::TableCell`]s. There is one at a time: only [`lock`] makes it.
pub struct TableGuard(SpinLockGuard<'static, ProcessTable, InterruptsDisabled>);

// SAFETY: only `lock` makes a guard, and the lock in it lets one exist at a time.
unsafe impl TableWitness for TableGuard {}

impl core::fmt::Debug for TableGuard {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("TableGuard")
    }
}

impl Deref for TableGuard {
    type Target = ProcessTable;
    #[inline]
    fn deref(&self) -> &ProcessTable {
        &self.0
    }
}

impl DerefMut for TableGuard {
    #[inline]
    fn deref_mut(&mut self) -> &mut ProcessTable {
        &mut self.0
    }
}

/// Takes the process table's lock.
#[inline]
#[track_caller]
pub fn lock() -> TableGuard {
    TableGuard(TABLE.lock())
}

/// The process numbered `pid`, zombies included.
#[must_use]
pub fn find_process(pid: Pid) -> Option<Arc<Process>> {
    lock().process(pid).cloned()
}

/// The thread numbered `tid`.
#[must_use]
pub fn find_thread(tid: Pid) -> Option<Arc<Thread>> {
    lock().thread(tid).cloned()
}

/// The process table seen by thread number.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadTable;

impl ThreadTable {
    /// The thread numbered `tid`.
    #[must_use]
    pub fn get(tid: Pid) -> Option<Arc<Thread>> {
        find_thread(tid)
    }
    /// How many threads there are.
    #[must_use]
    pub fn count() -> u32 {
        lock().thread_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_unique_and_reused_after_the_wrap_only() {
        let mut table = ProcessTable::new();
        assert_eq!((1..=5).map(|_| table.reserve_number().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        table.release_number(3);
        assert_eq!(table.reserve_number(), Some(6));
        for number in 7..PID_MAX {
            assert_eq!(table.reserve_number(), Some(number));
        }
        // All are in use but 3, which is below the numbers that a wrap gives again.
        assert_eq!(table.reserve_number(), None);
        table.release_number(4000);
        assert_eq!(table.reserve_number(), Some(4000));
    }

    #[test]
    fn the_table_grows_by_chunks() {
        let mut table = ProcessTable::new();
        let chunks = |table: &ProcessTable| table.chunks.iter().flatten().count();
        assert!(table.process(7).is_none() && table.process(-1).is_none() && table.process(i32::MAX).is_none());
        table.reserve_number();
        assert_eq!(chunks(&table), 1);
        for _ in 0..200 {
            table.reserve_number();
        }
        assert_eq!(chunks(&table), 2);
    }

    #[test]
    fn the_table_keeps_no_chunk_without_used_numbers() {
        let mut table = ProcessTable::new();
        let kept = |table: &ProcessTable| table.chunks.iter().flatten().count();
        let first = table.reserve_number().unwrap();
        for _ in 0..40 * CHUNK {
            let number = table.reserve_number().unwrap();
            table.release_number(number);
        }
        // That of the first number, and that of the last.
        assert_eq!(kept(&table), 2);
        table.release_number(first);
        assert_eq!(kept(&table), 1);
        let all: Vec<Pid> = (0..10 * CHUNK).map(|_| table.reserve_number().unwrap()).collect();
        all.into_iter().for_each(|number| table.release_number(number));
        assert_eq!(kept(&table), 1);
    }
}
