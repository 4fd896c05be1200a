//! What happens when there is no memory, and when it is wanted back.

use super::super::soak::Places;
use super::platform::{Frames, be_cpu};
use super::*;

type Small = Heap<Frames<false>, 4096>;

fn small(frames: usize) -> Small {
    Heap::on(Frames::new(frames))
}

#[test]
fn out_of_memory_is_null_and_loses_nothing() {
    for size in [8, 24, 64, 200, 1000, 2000, 2500, 4096, 8192, 20_000] {
        let heap = small(64);
        let mut counts = Vec::new();
        for _ in 0..3 {
            let mut live = Vec::new();
            while let Some(object) = Live::new(&heap, layout(size, 8), live.len() as u8) {
                live.push(object);
            }
            assert!(heap.validate());
            counts.push(live.len());
            // Every other one first: slabs that are partly free.
            let (even, odd): (Vec<_>, Vec<_>) = live.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
            even.into_iter().chain(odd).for_each(|(_, object)| object.free(&heap));
            assert!(heap.validate());
        }
        assert!(counts[0] * size > 30 * PAGE_SIZE, "{size}: {counts:?}");
        assert_eq!(counts[1], counts[2], "{size}");
        heap.shrink();
        let statistics = heap.statistics();
        assert_eq!((statistics.small_bytes, statistics.list_bytes, statistics.large_bytes), (0, 0, 0), "{size}");
        assert_eq!(heap.platform().out() as u64, statistics.frames);
        // The magazines, and an arena of the list.
        assert!(statistics.frames <= 2 + 8, "{size}: {statistics:?}");
    }
}

#[test]
fn one_class_lives_on_what_another_one_kept() {
    let heap = small(16);
    let objects: Vec<_> = std::iter::from_fn(|| Live::new(&heap, layout(64, 8), 1)).collect();
    let count = objects.len();
    objects.into_iter().for_each(|object| object.free(&heap));
    // All frames are slabs of 64 bytes, or wait as empty ones.
    let large: Vec<_> = std::iter::from_fn(|| Live::new(&heap, layout(2048, 8), 2)).collect();
    assert!(large.len() >= 2 * 13, "{} of {count}", large.len());
    large.into_iter().for_each(|object| object.free(&heap));
    // A row of frames as well.
    Live::new(&heap, layout(5 * PAGE_SIZE, 8), 3).unwrap().free(&heap);
    assert!(heap.validate());
}

#[test]
fn shrinking_takes_what_other_cpus_keep() {
    let heap = small(256);
    for cpu in 0..4 {
        be_cpu(cpu);
        let objects: Vec<_> = (1..60).flat_map(|index| Live::new(&heap, layout(index * 60, 8), cpu as u8)).collect();
        objects.into_iter().for_each(|object| object.free(&heap));
    }
    assert!(heap.statistics().frames > 60);
    // What an interrupt on each CPU does.
    for cpu in 0..3 {
        be_cpu(cpu);
        heap.hand_over();
    }
    be_cpu(3);
    assert!(heap.shrink() > 40);
    let statistics = heap.statistics();
    assert_eq!((statistics.small_bytes, statistics.list_bytes), (0, 0));
    assert!(statistics.frames <= 4 * 2 + 8, "{statistics:?}");
    assert!(heap.validate());
    be_cpu(0);
}

#[test]
fn before_there_are_frames_the_heaps_own_bytes_serve() {
    let heap: Heap<Frames<false>, 65_536> = Heap::on(Frames::new(32));
    heap.platform().budget.store(0, std::sync::atomic::Ordering::Relaxed);
    let early: Vec<_> = [(8, 8), (24, 8), (64, 64), (100, 256), (1024, 1024), (2500, 16), (5000, 8), (0, 1)]
        .map(|(size, alignment)| Live::new(&heap, layout(size, alignment), size as u8).unwrap())
        .into();
    assert_eq!(heap.platform().out(), 0);
    assert!(Live::new(&heap, layout(70_000, 8), 0).is_none());
    heap.platform().budget.store(32, std::sync::atomic::Ordering::Relaxed);
    let late = Live::new(&heap, layout(100, 8), 7).unwrap();
    assert!(heap.platform().out() > 0);
    early.into_iter().chain([late]).for_each(|object| object.free(&heap));
    heap.shrink();
    assert_eq!((heap.statistics().list_bytes, heap.statistics().small_bytes), (0, 0));
    assert!(heap.validate());
}

#[test]
fn alignment_goes_beyond_what_frames_have_by_themselves() {
    let heap = small(6000);
    for alignment in [4096, 8192, 1 << 16, 2 << 20, 4 << 20, 8 << 20] {
        for size in [1, 4096, 5000, 70_000] {
            let object = Live::new(&heap, layout(size, alignment), 9).unwrap();
            assert!(object.address.addr().is_multiple_of(alignment));
            object.free(&heap);
        }
    }
    assert!(Live::new(&heap, layout(1, 1 << 40), 0).is_none());
    heap.shrink();
    assert_eq!((heap.statistics().large_bytes, heap.platform().out() as u64), (0, heap.statistics().frames));
}

#[test]
fn what_goes_from_cpu_to_cpu_comes_back() {
    let heap = small(2000);
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<usize>>(4);
    let of = |number: usize| layout(1 + number * 7 % 900, 8);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            be_cpu(1);
            for batch in receiver {
                for (number, address) in batch.into_iter().enumerate() {
                    let address: *mut u8 = std::ptr::with_exposed_provenance_mut(address);
                    let tag = number as u8;
                    Live { address, layout: of(number), tag }.free(&heap);
                }
            }
            heap.drain();
        });
        be_cpu(2);
        for _ in 0..200 {
            let batch =
                (0..300).map(|number| Live::new(&heap, of(number), number as u8).unwrap().address.expose_provenance());
            sender.send(batch.collect()).unwrap();
        }
        drop(sender);
    });
    heap.shrink();
    assert!(heap.validate());
    assert_eq!(heap.statistics().small_bytes, 0);
    assert!(heap.platform().take_reports().is_empty());
    be_cpu(0);
}

#[test]
fn a_soak_on_four_cpus_ends_where_it_began() {
    static PLACES: Places = Places::new();
    let heap: Heap<Frames<true>, 4096> = Heap::on(Frames::new(2000));
    std::thread::scope(|scope| {
        for cpu in 0..4 {
            let heap = &heap;
            scope.spawn(move || {
                be_cpu(cpu);
                for part in 0..4 {
                    PLACES.soak(heap, 2000, cpu as u64 * 4 + part).unwrap();
                    heap.shrink();
                }
                heap.hand_over();
            });
        }
    });
    be_cpu(5);
    PLACES.clear(&heap).unwrap();
    heap.shrink();
    let statistics = heap.statistics();
    assert_eq!((statistics.small_bytes, statistics.list_bytes, statistics.large_bytes), (0, 0, 0));
    assert!(heap.validate());
    assert!(heap.platform().take_reports().is_empty());
    be_cpu(0);
}
