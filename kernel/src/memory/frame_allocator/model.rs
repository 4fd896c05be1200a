//! The region's own code, tried in every order that the memory model allows (`loom`).
//!
//! It is `region.rs` (with `region_blocks.rs` and `region_counts.rs`) as it stands, compiled once more with loom's atomics in place of the machine's. Loom takes sequentially consistent accesses for
//! acquire and release only, so what rests on more, the marks of trees, has a model with fences of its own.

mod atomic {
    pub use loom::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
}
use super::bits;
#[path = "region.rs"]
#[expect(dead_code, reason = "the models use a part of it")]
#[allow(clippy::duplicate_mod, reason = "compiled once more, on atomics of loom")]
mod region;
#[path = "region_blocks.rs"]
#[expect(dead_code, reason = "likewise")]
#[allow(clippy::duplicate_mod, reason = "likewise")]
mod region_blocks;
#[path = "region_counts.rs"]
#[expect(dead_code, reason = "likewise")]
#[allow(clippy::duplicate_mod, reason = "likewise")]
mod region_counts;

use atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use loom::sync::atomic::fence;
use loom::sync::{Arc, Mutex};
use loom::thread;
use region::{Companion, GROUP_ROWS, Region, ReleaseError, Trees};

/// Frames are indexes.
#[derive(Clone, Copy, Debug)]
struct Indexes;

impl Companion for Indexes {
    type Handle = usize;
    fn handle(&self, _first: u64, index: usize) -> Option<usize> {
        Some(index)
    }
    fn number(handle: usize) -> u64 {
        handle as u64
    }
    fn prepare(&self, _first: u64, _node: u8, _index: usize, _count: usize) {}
}

/// One group of which `free` is free. Loom's atomics cannot outlive a run, but may leak.
fn region(free: [u64; GROUP_ROWS]) -> Arc<Region<Indexes>> {
    let region = Region {
        first: 512,
        node: 0,
        rows: Vec::leak((0..GROUP_ROWS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>()),
        groups: Vec::leak(vec![AtomicU16::new(0)]),
        trees: Vec::leak(vec![AtomicU32::new(0)]),
        companion: Indexes,
        managed: AtomicU64::new(0),
        free: AtomicU64::new(0),
    };
    region.write_group(0, free);
    Arc::new(region)
}

fn take(region: &Region<Indexes>) -> Option<usize> {
    let mut found = None;
    region.take_frames(0, 1, &mut |index| found = Some(index));
    found
}

/// The last two frames go to two CPUs, one each, while a third one comes back.
#[test]
fn a_frame_is_taken_once() {
    loom::model(|| {
        let region = region([0b11, 0, 0, 0, 0, 0, 0, 0]);
        let theirs = region.clone();
        let other = thread::spawn(move || take(&theirs));
        let mine = take(&region);
        let other = other.join().unwrap();
        assert!(mine.is_some() && other.is_some(), "both were free: {mine:?} {other:?}");
        assert_ne!(mine, other);
        assert_eq!(take(&region), None);
        region.release(mine.unwrap(), 0).unwrap();
        region.validate().unwrap();
    });
}

/// One CPU gives a frame back while another takes one: the bit that the counter promises is found.
#[test]
fn a_frame_that_comes_back_is_found() {
    loom::model(|| {
        let region = region([0b1, 0, 0, 0, 0, 0, 0, 0]);
        let theirs = region.clone();
        let mine = take(&region).unwrap();
        let other = thread::spawn(move || take(&theirs));
        region.release(mine, 0).unwrap();
        let other = other.join().unwrap();
        assert!(other.is_none() || other == Some(0));
        assert_eq!(region.collect_free(), u64::from(other.is_none()));
        region.validate().unwrap();
    });
}

/// Two that free one frame: one of them is told.
#[test]
fn a_frame_is_freed_once() {
    loom::model(|| {
        let region = region([0b1, 0, 0, 0, 0, 0, 0, 0]);
        let index = take(&region).unwrap();
        let theirs = region.clone();
        let other = thread::spawn(move || theirs.release(index, 0));
        let results = [region.release(index, 0), other.join().unwrap()];
        assert!(results.contains(&Ok(())) && results.contains(&Err(ReleaseError::DoubleFree)), "{results:?}");
        assert_eq!(region.collect_free(), 1);
        region.validate().unwrap();
    });
}

/// A whole block and a single frame are wanted at once: never the same memory.
#[test]
fn a_whole_block_excludes_its_frames() {
    loom::model(|| {
        let region = region([u64::MAX; GROUP_ROWS]);
        let theirs = region.clone();
        let other = thread::spawn(move || take(&theirs));
        let whole = region.take_whole(0);
        let single = other.join().unwrap();
        assert_ne!(whole, single.is_some());
        if whole {
            region.release(0, 9).unwrap();
        }
        region.validate().unwrap();
    });
}

/// The last frame of a group comes back while another CPU wants all of it: who gets it sees every bit set.
#[test]
fn a_group_becomes_whole_with_its_bits() {
    loom::model(|| {
        let region = region([u64::MAX; GROUP_ROWS]);
        let index = take(&region).unwrap();
        let theirs = region.clone();
        let other = thread::spawn(move || theirs.release(index, 0).unwrap());
        if region.take_whole(0) {
            region.validate().unwrap();
            region.split(0).unwrap();
            assert_eq!(region.collect_free(), 0);
        }
        other.join().unwrap();
        region.validate().unwrap();
    });
}

/// A group that nobody has touched is written by one of two that want it; the other goes elsewhere or finds it written.
#[test]
fn a_group_is_written_once() {
    loom::model(|| {
        let region = region([0; GROUP_ROWS]);
        region.groups[0].store(0, Ordering::Relaxed);
        let theirs = region.clone();
        let other = thread::spawn(move || take(&theirs));
        let mine = take(&region);
        let other = other.join().unwrap();
        assert!(mine.is_some() || other.is_some());
        assert!(mine.is_none() || mine != other);
        region.validate().unwrap();
    });
}

/// A tree has one owner, who sees what the last one did in it.
#[test]
fn a_tree_is_reserved_by_one_cpu() {
    loom::model(|| {
        let region = region([0b11, 0, 0, 0, 0, 0, 0, 0]);
        let seen = Arc::new(Mutex::new(0));
        let turn = |region: &Region<Indexes>, seen: &Mutex<u32>, owner| {
            if region.reserve_tree(0, owner) {
                *seen.try_lock().unwrap() += 1;
                region.leave_tree(0);
            }
        };
        let (theirs, also) = (region.clone(), seen.clone());
        let other = thread::spawn(move || turn(&theirs, &also, 1));
        turn(&region, &seen, 0);
        other.join().unwrap();
        assert!(*seen.lock().unwrap() >= 1);
        assert_eq!(region.best_tree(0, Trees::Unreserved), Some(0));
    });
}

/// The marks: who finds a tree empty marks it and looks again, who frees looks at the mark afterwards. As in `Region::mark` and
/// `Region::unreserve`, whose accesses are sequentially consistent, which fences stand for here.
#[test]
fn a_free_frame_is_not_hidden_by_a_mark() {
    loom::model(|| {
        let (used, marked) = (Arc::new(AtomicU16::new(512)), Arc::new(AtomicU32::new(0)));
        let (their_used, their_mark) = (used.clone(), marked.clone());
        let releaser = thread::spawn(move || {
            their_used.fetch_sub(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if their_mark.load(Ordering::SeqCst) != 0 {
                their_mark.fetch_and(0, Ordering::SeqCst);
            }
        });
        if used.load(Ordering::Relaxed) == 512 {
            marked.fetch_or(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if used.load(Ordering::SeqCst) < 512 {
                marked.fetch_and(0, Ordering::SeqCst);
            }
        }
        releaser.join().unwrap();
        assert_eq!(marked.load(Ordering::SeqCst), 0, "a tree with a free frame is marked as without");
    });
}
