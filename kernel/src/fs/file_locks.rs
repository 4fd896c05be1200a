//! The locks on one file as a plain structure: who has which bytes, who has the whole.
//!
//! [`FileLocks`] hangs on an inode's header. It knows neither inodes nor files; [`super::lock`] sets, waits for and takes away. Range locks
//! of both kinds (POSIX and `F_OFD_*`) conflict with each other; `flock` locks are a world of their own.
//!
//! Invariants: ranges are sorted by start; no two of one owner overlap; neighbours of one owner and kind are joined.

use crate::sync::WaitQueue;
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

/// Puts `lock` behind those of `kept` that start where it does or before. A stable sort of all would take 4 KiB of the stack.
fn keep(kept: &mut Vec<RangeLock>, lock: RangeLock) {
    let place = kept.partition_point(|other| other.range.start <= lock.range.start);
    kept.insert(place, lock);
}

/// The locks on one file.
#[derive(Debug, Default)]
pub struct FileLocks {
    pub(super) ranges: Vec<RangeLock>,
    pub(super) whole: Vec<(u64, LockKind)>,
    /// Those who wait for any of them.
    pub(super) queue: Arc<WaitQueue>,
}

impl FileLocks {
    /// The lock that keeps `owner` from getting one of `kind` on `range`.
    pub(super) fn conflicting(&self, owner: LockOwner, kind: LockKind, range: Range) -> Option<RangeLock> {
        let conflicts = |lock: &&RangeLock| {
            lock.owner != owner
                && lock.range.overlaps(range)
                && (kind == LockKind::Exclusive || lock.kind == LockKind::Exclusive)
        };
        self.ranges.iter().find(conflicts).copied()
    }

    /// Replaces what `owner` has in `range` by a lock of `kind`, or by nothing.
    pub(super) fn set(&mut self, owner: LockOwner, kind: Option<LockKind>, range: Range) {
        let mut joined = range;
        let mut kept = Vec::with_capacity(self.ranges.len() + 2);
        for lock in self.ranges.drain(..) {
            if lock.owner != owner {
                keep(&mut kept, lock);
                continue;
            }
            if kind == Some(lock.kind) && lock.range.touches(range) {
                joined.start = joined.start.min(lock.range.start);
                joined.end = joined.end.max(lock.range.end);
                continue;
            }
            if !lock.range.overlaps(range) {
                keep(&mut kept, lock);
                continue;
            }
            if lock.range.start < range.start {
                keep(&mut kept, RangeLock { range: Range { end: range.start - 1, ..lock.range }, ..lock });
            }
            if lock.range.end > range.end {
                keep(&mut kept, RangeLock { range: Range { start: range.end + 1, ..lock.range }, ..lock });
            }
        }
        if let Some(kind) = kind {
            keep(&mut kept, RangeLock { owner, kind, range: joined });
        }
        self.ranges = kept;
    }

    /// Sets the `flock` lock of `identity`, unless others are in the way; says whether it is set.
    pub(super) fn set_whole(&mut self, identity: u64, kind: LockKind) -> bool {
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

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.whole.is_empty()
    }
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
