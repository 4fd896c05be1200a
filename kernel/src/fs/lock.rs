//! Locks on files: POSIX ranges of a process, ranges of an open file description (`F_OFD_*`), whole-file `flock` locks.
//!
//! Range locks of both kinds conflict with each other; `flock` locks are a world of their own. The locks of a file hang on its
//! inode, in a list sorted by start; no two ranges of one owner overlap, and neighbours of one owner and kind are joined. A waiter
//! sleeps on the file's queue and looks again whenever a lock goes. Before a process sleeps, the chain of who waits for whom is
//! followed: a circle is `EDEADLK`, as on Linux for POSIX locks only.

use super::inode::Inode;
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock, WaitQueue};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Whether others may hold a lock at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// Others may share it.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// Whose a range lock is.
#[derive(Clone, Copy, Debug)]
pub enum LockOwner {
    /// A process, by the identity of its file table; `pid` is only shown.
    Process {
        /// The identity.
        files: u64,
        /// The process's number.
        pid: i32,
    },
    /// An open file description, by its identity.
    Description(u64),
}

impl PartialEq for LockOwner {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Process { files, .. }, Self::Process { files: others, .. }) => files == others,
            (Self::Description(identity), Self::Description(other)) => identity == other,
            _ => false,
        }
    }
}

impl Eq for LockOwner {}

/// Whether to wait for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Wait, until a signal comes.
    Yes,
    /// Fail at once.
    No,
}

/// Bytes `start..=end` of a file; `end` is `i64::MAX` for "to the end".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
}

impl Range {
    const LAST: u64 = i64::MAX as u64;

    /// The length as `struct flock` has it: 0 for "to the end".
    #[must_use]
    pub fn length(self) -> u64 {
        if self.end >= Self::LAST { 0 } else { self.end - self.start + 1 }
    }
    fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
    /// Whether the two overlap or stand side by side.
    fn touches(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }
}

/// A lock on a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeLock {
    /// Whose.
    pub owner: LockOwner,
    /// Which kind.
    pub kind: LockKind,
    /// On what.
    pub range: Range,
}

/// The locks on one file.
#[derive(Debug, Default)]
pub struct FileLocks {
    ranges: Vec<RangeLock>,
    whole: Vec<(u64, LockKind)>,
    queue: Arc<WaitQueue>,
}

impl FileLocks {
    fn conflicting(&self, owner: LockOwner, kind: LockKind, range: Range) -> Option<RangeLock> {
        let conflicts = |lock: &&RangeLock| {
            lock.owner != owner
                && lock.range.overlaps(range)
                && (kind == LockKind::Exclusive || lock.kind == LockKind::Exclusive)
        };
        self.ranges.iter().find(conflicts).copied()
    }

    /// Replaces what `owner` has in `range` by a lock of `kind`, or by nothing.
    fn set(&mut self, owner: LockOwner, kind: Option<LockKind>, range: Range) {
        let mut joined = range;
        let mut kept = Vec::with_capacity(self.ranges.len() + 2);
        for lock in self.ranges.drain(..) {
            if lock.owner != owner {
                kept.push(lock);
                continue;
            }
            if kind == Some(lock.kind) && lock.range.touches(range) {
                joined.start = joined.start.min(lock.range.start);
                joined.end = joined.end.max(lock.range.end);
                continue;
            }
            if !lock.range.overlaps(range) {
                kept.push(lock);
                continue;
            }
            if lock.range.start < range.start {
                kept.push(RangeLock { range: Range { end: range.start - 1, ..lock.range }, ..lock });
            }
            if lock.range.end > range.end {
                kept.push(RangeLock { range: Range { start: range.end + 1, ..lock.range }, ..lock });
            }
        }
        if let Some(kind) = kind {
            kept.push(RangeLock { owner, kind, range: joined });
        }
        kept.sort_by_key(|lock| lock.range.start);
        self.ranges = kept;
    }

    fn set_whole(&mut self, identity: u64, kind: LockKind) -> bool {
        let conflicts = |(other, held): &(u64, LockKind)| {
            *other != identity && (kind == LockKind::Exclusive || *held == LockKind::Exclusive)
        };
        // A change of kind gives the old lock up first, as on Linux.
        self.whole.retain(|(other, _)| *other != identity);
        if self.whole.iter().any(conflicts) {
            return false;
        }
        self.whole.push((identity, kind));
        true
    }

    fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.whole.is_empty()
    }
}

/// Runs `change` on the file's locks, making them first if there are none; gives its result and the queue.
fn with_locks<R>(inode: &Arc<dyn Inode>, change: impl FnOnce(&mut FileLocks) -> R) -> (R, Arc<WaitQueue>) {
    let header = inode.header();
    header.mark_locked();
    let mut extras = header.extras();
    let locks = extras.locks.get_or_insert_with(Box::default);
    (change(locks), locks.queue.clone())
}

/// The lock that keeps `owner` from getting one of `kind` on `range`.
#[must_use]
pub fn conflicting(inode: &Arc<dyn Inode>, owner: LockOwner, kind: LockKind, range: Range) -> Option<RangeLock> {
    let extras = inode.header().extras();
    extras.locks.as_ref()?.conflicting(owner, kind, range)
}

/// Who waits for whom: (waiter, holder), processes only.
static WAITING: SpinLock<Vec<(LockOwner, LockOwner)>> = SpinLock::new(LockRank::FileSystem, Vec::new());

/// Notes that `waiter` waits for `holder`, unless that closes a circle.
fn note_waiting(waiter: LockOwner, holder: LockOwner) -> Result<()> {
    let mut waiting = WAITING.lock();
    let mut at = holder;
    // A chain is no longer than the list; that also ends a walk around a circle of others.
    for _ in 0..=waiting.len() {
        if at == waiter {
            return Err(Errno::EDEADLK);
        }
        match waiting.iter().find(|(other, _)| *other == at) {
            Some((_, next)) => at = *next,
            None => break,
        }
    }
    waiting.push((waiter, holder));
    Ok(())
}

fn forget_waiting(waiter: LockOwner) {
    WAITING.lock().retain(|(other, _)| *other != waiter);
}

/// Sets a range lock of `kind`, or takes away what `owner` has in the range.
///
/// # Errors
/// `EAGAIN` when it would have to wait and may not; `EDEADLK`; `ERESTARTSYS` when a signal ends the wait.
pub fn set_range(
    inode: &Arc<dyn Inode>,
    owner: LockOwner,
    kind: Option<LockKind>,
    range: Range,
    wait: Wait,
) -> Result<()> {
    let Some(kind) = kind else {
        if inode.header().is_locked() {
            let ((), queue) = with_locks(inode, |locks| locks.set(owner, None, range));
            queue.wake_all();
        }
        return Ok(());
    };
    let attempt = || {
        with_locks(inode, |locks| match locks.conflicting(owner, kind, range) {
            Some(found) => Err(found),
            None => {
                locks.set(owner, Some(kind), range);
                Ok(())
            }
        })
    };
    let (first, queue) = attempt();
    let Err(mut blocker) = first else {
        // A downgrade may let others in.
        queue.wake_all();
        return Ok(());
    };
    if wait == Wait::No {
        return Err(Errno::EAGAIN);
    }
    let is_process = matches!(owner, LockOwner::Process { .. });
    loop {
        if is_process {
            note_waiting(owner, blocker.owner)?;
        }
        let result = queue.wait(|| match attempt().0 {
            Ok(()) => Some(None),
            Err(found) if found != blocker => Some(Some(found)),
            Err(_) => None,
        });
        if is_process {
            forget_waiting(owner);
        }
        match result? {
            None => return Ok(()),
            Some(found) => blocker = found,
        }
    }
}

/// Sets the `flock` lock of the open file with `identity`, or takes it away.
///
/// # Errors
/// `EAGAIN` when it would have to wait and may not; `ERESTARTSYS`.
pub fn set_whole(inode: &Arc<dyn Inode>, identity: u64, kind: Option<LockKind>, wait: Wait) -> Result<()> {
    let Some(kind) = kind else {
        if inode.header().is_locked() {
            let ((), queue) = with_locks(inode, |locks| locks.whole.retain(|(other, _)| *other != identity));
            queue.wake_all();
        }
        return Ok(());
    };
    let (done, queue) = with_locks(inode, |locks| locks.set_whole(identity, kind));
    queue.wake_all();
    if done {
        return Ok(());
    }
    if wait == Wait::No {
        return Err(Errno::EAGAIN);
    }
    queue.wait(|| with_locks(inode, |locks| locks.set_whole(identity, kind)).0.then_some(()))?;
    Ok(())
}

/// Takes away what `goes` says and wakes waiters; frees the structure when nothing is left.
fn release(inode: &Arc<dyn Inode>, goes: impl FnOnce(&mut FileLocks)) {
    let header = inode.header();
    let queue = {
        let mut extras = header.extras();
        let Some(locks) = extras.locks.as_mut() else { return };
        goes(locks);
        let queue = locks.queue.clone();
        if locks.is_empty() && Arc::strong_count(&locks.queue) == 2 && queue.is_empty() {
            header.mark_unlocked();
        }
        queue
    };
    queue.wake_all();
}

/// An open file is gone: its `flock` lock and its own range locks go.
#[inline]
pub fn release_description(inode: &Arc<dyn Inode>, identity: u64) {
    if inode.header().is_locked() {
        release(inode, |locks| {
            locks.whole.retain(|(other, _)| *other != identity);
            locks.ranges.retain(|lock| lock.owner != LockOwner::Description(identity));
        });
    }
}

/// A process closed a descriptor of the file: its POSIX locks go.
#[inline]
pub fn release_process(inode: &Arc<dyn Inode>, owner: u64) {
    if inode.header().is_locked() {
        release(inode, |locks| locks.ranges.retain(|lock| lock.owner != LockOwner::Process { files: owner, pid: 0 }));
    }
}

/// The range locks of a file, for `/proc/locks`.
#[must_use]
pub fn collect_ranges(inode: &Arc<dyn Inode>) -> Vec<RangeLock> {
    let extras = inode.header().extras();
    extras.locks.as_ref().map(|locks| locks.ranges.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LockOwner = LockOwner::Process { files: 1, pid: 1 };
    const B: LockOwner = LockOwner::Process { files: 2, pid: 2 };

    #[test]
    fn neighbours_join_and_middles_split() {
        let mut locks = FileLocks::default();
        locks.set(A, Some(LockKind::Shared), Range { start: 0, end: 9 });
        locks.set(A, Some(LockKind::Shared), Range { start: 10, end: 19 });
        assert_eq!(locks.ranges.len(), 1);
        locks.set(A, Some(LockKind::Exclusive), Range { start: 5, end: 6 });
        assert_eq!(
            locks.ranges.iter().map(|lock| (lock.range.start, lock.range.end)).collect::<Vec<_>>(),
            [(0, 4), (5, 6), (7, 19)]
        );
        locks.set(A, None, Range { start: 0, end: Range::LAST });
        assert!(locks.is_empty());
    }

    #[test]
    fn a_circle_of_waiters_is_found() {
        let (c, d) = (LockOwner::Process { files: 901, pid: 1 }, LockOwner::Process { files: 902, pid: 2 });
        let e = LockOwner::Process { files: 903, pid: 3 };
        assert_eq!(note_waiting(c, d), Ok(()));
        assert_eq!(note_waiting(d, e), Ok(()));
        assert_eq!(note_waiting(e, c), Err(Errno::EDEADLK));
        forget_waiting(c);
        assert_eq!(note_waiting(e, c), Ok(()));
        [c, d, e].into_iter().for_each(forget_waiting);
    }

    proptest::proptest! {
        #[test]
        fn ranges_behave_as_a_lock_for_each_byte(
            steps in proptest::collection::vec((0usize..2, 0usize..3, 0u64..40, 0u64..20), 1..60)
        ) {
            let mut locks = FileLocks::default();
            let mut model = [[None::<LockKind>; 64]; 2];
            for (who, what, start, length) in steps {
                let owner = [A, B][who];
                let kind = [None, Some(LockKind::Shared), Some(LockKind::Exclusive)][what];
                let range = Range { start, end: start + length };
                let bytes = start as usize..=(start + length) as usize;
                let other = &model[1 - who];
                let conflicts = kind.is_some_and(|kind| other[bytes.clone()].iter().flatten().any(|held| {
                    kind == LockKind::Exclusive || *held == LockKind::Exclusive
                }));
                if let Some(kind) = kind {
                    proptest::prop_assert_eq!(locks.conflicting(owner, kind, range).is_some(), conflicts);
                }
                if !conflicts {
                    locks.set(owner, kind, range);
                    model[who][bytes].fill(kind);
                }
            }
            for (who, owner) in [A, B].into_iter().enumerate() {
                let mut found = [None; 64];
                let mut last: Option<RangeLock> = None;
                for lock in locks.ranges.iter().filter(|lock| lock.owner == owner) {
                    if let Some(last) = last {
                        proptest::prop_assert!(last.range.end < lock.range.start);
                        proptest::prop_assert!(last.kind != lock.kind || last.range.end + 1 < lock.range.start);
                    }
                    found[lock.range.start as usize..=lock.range.end as usize].fill(Some(lock.kind));
                    last = Some(*lock);
                }
                proptest::prop_assert_eq!(found, model[who]);
            }
        }
    }
}
