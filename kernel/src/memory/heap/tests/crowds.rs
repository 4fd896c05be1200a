//! What is kept of a crowd that has gone: by the depots, out of the budget that they share.

use super::super::class::CLASSES;
use super::super::depot::{Budget, Depot};
use super::platform::{Frames, be_cpu};
use super::*;
use core::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

fn object(number: usize) -> *mut u8 {
    core::ptr::without_provenance_mut(number * 16)
}

#[test]
fn a_depot_is_a_stack_over_several_frames() {
    let (platform, budget, mut depot) = (Frames::<false>::new(128), Budget::new(), Depot::new());
    let mut model: Vec<*mut u8> = Vec::new();
    let mut next = 1;
    // More come than go, then more go than come, in batches that frames do not divide by.
    for (coming, going) in [(31, 7), (64, 64), (5, 30)] {
        for _ in 0..120 {
            let batch: Vec<_> = (next..next + coming).map(object).collect();
            if depot.put(&platform, &budget, 0, &batch) {
                model.extend(&batch);
                next += coming;
            }
            let mut taken = vec![null_mut(); going];
            let count = depot.take(&platform, &budget, 0, &mut taken);
            assert_eq!(count, going.min(model.len()));
            // What lies in two frames comes the upper part first.
            taken.truncate(count);
            taken.sort_unstable();
            assert_eq!(taken, model.split_off(model.len() - count));
            assert_eq!(depot.count(), model.len());
            assert_eq!(depot.frames(), platform.out() as u64);
        }
    }
    let mut rest = vec![null_mut(); 10_000];
    assert_eq!(depot.take(&platform, &budget, 0, &mut rest), model.len());
    depot.close(&platform, &budget);
    assert_eq!(platform.out(), 0);
}

#[test]
fn depots_share_a_budget_and_return_it() {
    let platform = Frames::<false>::new(256);
    let budget = Budget::new();
    let mut depots: Vec<Depot> = (0..CLASSES).map(|_| Depot::new()).collect();
    let class = CLASSES - 1;
    let fill = |depot: &mut Depot, class| {
        let batch = [object(1); 8];
        while depot.put(&platform, &budget, class, &batch) {}
        depot.count()
    };
    let first = fill(&mut depots[class], class);
    // What is little has room whatever the others do; the crowd got a quarter of all frames beyond that.
    assert!((32 + 48..=32 + 64).contains(&first), "{first} objects");
    let second = fill(&mut depots[class - 1], class - 1);
    assert!(second <= 48, "{second} objects");
    // What the first class gives up the next one may have.
    let mut taken = vec![null_mut(); first];
    assert_eq!(depots[class].take(&platform, &budget, class, &mut taken), first);
    depots[class].close(&platform, &budget);
    assert!(fill(&mut depots[class - 2], class - 2) > 64);
}

#[test]
fn without_frames_a_depot_keeps_nothing() {
    let platform = Frames::<false>::new(16);
    platform.budget.store(0, Relaxed);
    let (budget, mut depot) = (Budget::new(), Depot::new());
    assert!(!depot.put(&platform, &budget, 3, &[object(1); 4]));
    assert_eq!((depot.count(), depot.frames()), (0, 0));
}

#[test]
fn a_crowd_that_goes_leaves_a_part_and_shrinking_takes_it() {
    be_cpu(0);
    let heap: Heap<Frames<false>, 4096> = Heap::on(Frames::new(4000));
    for size in [60, 500, 2500, 4096] {
        let crowd: Vec<_> =
            (0..6_000_000 / size.max(64)).map(|tag| Live::new(&heap, layout(size, 8), tag as u8).unwrap()).collect();
        assert!(heap.validate());
        crowd.into_iter().for_each(|object| object.free(&heap));
        assert!(heap.validate());
        // A quarter of what is free, in objects and pointers to them, and what slabs and the list keep.
        assert!(heap.statistics().frames < 1500, "{size}: {:?}", heap.statistics());
        let before = heap.statistics();
        let given = heap.shrink() * PAGE_SIZE as u64;
        // More for what magazines held and what the list had free beside; less where objects do not fill their frames.
        assert!(
            before.reclaimable_bytes > 0 && before.reclaimable_bytes < given + given / 3,
            "{size}: {before:?} {given}"
        );
        let statistics = heap.statistics();
        assert_eq!((statistics.small_bytes, statistics.list_bytes), (0, 0), "{size}");
        assert_eq!(statistics.reclaimable_bytes, 0);
        assert!(statistics.frames <= 2 + 8, "{size}: {statistics:?}");
    }
    assert!(heap.platform().take_reports().is_empty());
}
