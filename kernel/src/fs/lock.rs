//! Locks on files: POSIX ranges of a process, ranges of an open file description (`F_OFD_*`), whole-file `flock` locks.
//!
//! What is locked stands in [`FileLocks`], which hangs on the inode. A waiter sleeps on the file's queue and looks again whenever a
//! lock goes. Before a process sleeps, the chain of who waits for whom is followed: a circle is `EDEADLK`, as on Linux for POSIX
//! locks only.

pub use super::file_locks::{LockKind, LockOwner, Range, RangeLock};

use super::file_locks::FileLocks;
use super::inode::Inode;
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock, WaitQueue};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Whether to wait for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Wait, until a signal comes.
    Yes,
    /// Fail at once.
    No,
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
}
