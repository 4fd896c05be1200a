//! The allocator against a set of frame numbers, on memory that the host lends.

use super::allocator::RESERVE_SHARE;
use super::region::Region;
use super::*;
use crate::base::PAGE_SIZE;
use crate::memory::numa::NodeId;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

/// Bytes lent for a region's tables: 2 MiB hold the descriptors of 256 MiB.
const TABLES: usize = 4 << 20;

/// An allocator over `usable`, whose tables live in leaked host memory. Frames of these allocators are only numbers.
fn allocator(map: &MemoryMap<'_>) -> &'static FrameAllocator<Kernel> {
    let frames: &'static FrameAllocator<Kernel> = Box::leak(Box::new(FrameAllocator::new()));
    let memory = |_: FrameNumber| -> *mut u8 {
        let layout = std::alloc::Layout::from_size_align(TABLES, 4096).unwrap();
        // SAFETY: the size is not zero; filled with stale bytes, as on a machine that was restarted.
        unsafe {
            let base = std::alloc::alloc(layout);
            base.write_bytes(0xa5, TABLES);
            base
        }
    };
    // SAFETY: each region's tables get memory of their own, enough for the regions below; frames are never touched.
    unsafe { frames.initialize(map, memory) }.unwrap();
    frames
}

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange { start: FrameNumber::new(start), count }
}

fn covers(ranges: &[FrameRange], number: u64) -> bool {
    ranges.iter().any(|range| (range.start.value()..range.start.value() + range.count).contains(&number))
}

/// Any free frame, the reserve included.
fn take(frames: &FrameAllocator<Kernel>) -> Option<&'static FrameDescriptor> {
    frames.allocate().or_else(|| frames.allocate_from_reserve()).inspect(|frame| frame.set_allocated())
}

/// A block of any order.
fn take_block(frames: &FrameAllocator<Kernel>, order: u8) -> Option<&'static FrameDescriptor> {
    if order == 0 {
        return take(frames);
    }
    let block = frames.allocate_block(order)?;
    block.set_order(order);
    block.set_allocated();
    Some(block)
}

/// Gives a frame or block back.
fn give(frames: &FrameAllocator<Kernel>, block: &'static FrameDescriptor) {
    let order = block.order();
    assert!(block.take_reference());
    block.set_order(0);
    frames.free(block, order).unwrap();
}

/// The bits, the counters and the totals agree.
fn validate(frames: &FrameAllocator<Kernel>) {
    frames.drain();
    frames.regions().iter().for_each(|region| region.validate().unwrap());
    assert_eq!(frames.regions().iter().map(Region::collect_free).sum::<u64>(), frames.statistics().free);
}

fn simple(count: u64) -> &'static FrameAllocator<Kernel> {
    allocator(&MemoryMap { usable: &[range(512, count)], reserved: &[], limit: None, nodes: &[] })
}

#[test]
fn every_free_frame_is_handed_out_once_and_comes_back() {
    let usable = [range(3, 150), range(256, 5000), range(0x10_0000, 700)];
    let reserved = [range(512, 100), range(1025, 3)];
    let frames = allocator(&MemoryMap { usable: &usable, reserved: &reserved, limit: None, nodes: &[] });
    let total = frames.statistics().total;
    assert_eq!(frames.statistics().free, total);
    let mut seen = HashSet::new();
    let mut held = Vec::new();
    while let Some(frame) = take(frames) {
        let number = frame.number().value();
        assert!(covers(&usable, number));
        assert!(!covers(&reserved, number));
        assert!(seen.insert(number), "frame {number} came twice");
        assert_eq!(frame.references(), 1);
        held.push(frame);
    }
    assert_eq!(seen.len() as u64, total);
    assert_eq!(frames.statistics().free, 0);
    for frame in held {
        give(frames, frame);
    }
    assert_eq!(frames.statistics().free, total);
    frames.drain();
    assert_eq!(frames.regions().iter().map(Region::collect_free).sum::<u64>(), total);
}

#[test]
fn twenty_four_mebibytes_are_enough() {
    let usable = [range(0, 0x9f), range(0x100, 0x1700)];
    let frames = allocator(&MemoryMap { usable: &usable, reserved: &[range(0x100, 0x300)], limit: None, nodes: &[] });
    assert_eq!(frames.regions().len(), 1);
    // Less than 1 % goes into the tables.
    assert!(frames.statistics().total >= 0x1700 + 0x9e - 0x300 - 60);
}

#[test]
fn sixty_four_gibibytes_take_no_longer_than_their_groups() {
    let words = (64 << 18) * 32 / 8 + (1 << 20);
    let layout = std::alloc::Layout::array::<u64>(words).unwrap();
    // SAFETY: the size is not zero. The host commits what is touched.
    let base = unsafe { std::alloc::alloc_zeroed(layout) };
    assert!(!base.is_null());
    // SAFETY: the slack above covers the alignment.
    let base = unsafe { base.add(base.align_offset(4096)) };
    let frames: &'static FrameAllocator<Kernel> = Box::leak(Box::new(FrameAllocator::new()));
    let map = MemoryMap { usable: &[range(0x100, 64 << 18)], reserved: &[], limit: None, nodes: &[] };
    // SAFETY: one region, whose tables fit into `base`; frames are never touched.
    unsafe { frames.initialize(&map, |_| base) }.unwrap();
    let block = take_block(frames, HUGE_ORDER).unwrap();
    assert_eq!(block.number().value() % (1 << 18), 0);
    let other = take_block(frames, HUGE_ORDER).unwrap();
    assert_ne!(block.number(), other.number());
    give(frames, block);
    give(frames, other);
    assert_eq!(frames.statistics().free, frames.statistics().total);
}

#[test]
fn blocks_are_aligned_and_disjoint() {
    let frames = simple(8 * 512);
    let mut taken = HashSet::new();
    let mut blocks = Vec::new();
    for order in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 3, 8, 9, 7] {
        let block = take_block(frames, order).unwrap();
        let first = block.number().value();
        assert_eq!(first % (1 << order), 0);
        for number in first..first + (1 << order) {
            assert!(taken.insert(number));
        }
        blocks.push(block);
    }
    assert!(frames.allocate_block(10).is_none());
    assert!(frames.allocate_block(HUGE_ORDER).is_none());
    for block in blocks {
        give(frames, block);
    }
    assert_eq!(frames.statistics().free, frames.statistics().total);
}

#[test]
fn a_run_of_groups_is_contiguous_and_gives_its_rest_back() {
    let frames = simple(8 * 512);
    let total = frames.statistics().free;
    assert!(frames.allocate_run(8 * 512).is_none(), "the tables take a part of the last group");
    let in_the_way = take(frames).unwrap();
    for count in [513, 1024, 1500, 3 * 512] {
        let first = frames.allocate_run(count).unwrap();
        assert_eq!(first.value() % 512, 0);
        assert_eq!(frames.statistics().free, total - 1 - count);
        for index in 0..count {
            let frame = frames.handle(first.offset(index)).unwrap();
            frame.set_allocated();
            give(frames, frame);
        }
    }
    give(frames, in_the_way);
    assert_eq!(frames.statistics().free, total);
}

#[test]
fn frames_in_caches_do_not_keep_a_block_from_forming() {
    let frames = simple(512 * 3);
    let mut held = Vec::new();
    while let Some(frame) = take(frames) {
        held.push(frame);
    }
    for frame in held {
        give(frames, frame);
    }
    assert!(frames.allocate_block(9).is_some());
}

#[test]
fn reserved_frames_can_be_released_later() {
    let reserved = range(600, 300);
    let frames = allocator(&MemoryMap { usable: &[range(512, 2048)], reserved: &[reserved], limit: None, nodes: &[] });
    let before = frames.statistics();
    frames.release_reserved(reserved);
    frames.release_reserved(reserved);
    assert_eq!(frames.statistics().free, before.free + 300);
    assert_eq!(frames.statistics().total, before.total + 300);
}

#[test]
fn the_last_frames_are_kept_for_the_heap() {
    let frames = simple(4096);
    let mut count = 0;
    while frames.allocate().is_some() {
        count += 1;
    }
    let left = frames.statistics().free;
    assert_eq!(left, frames.statistics().total / RESERVE_SHARE);
    assert_eq!(count + left, frames.statistics().total);
    assert!(frames.allocate_from_reserve().is_some());
}

#[test]
fn memory_comes_from_the_wanted_node_while_it_has_some() {
    let nodes = [(range(0, 0x3000), 0), (range(0x3000, 0x2000), 1)];
    let frames = allocator(&MemoryMap { usable: &[range(0x1000, 0x4000)], reserved: &[], limit: None, nodes: &nodes });
    for _ in 0..700 {
        assert!(frames.allocate_on(0).unwrap().number().value() < 0x3000);
    }
    assert_eq!(frames.allocate_on(0).unwrap().node(), 0);
    // A node that is not there has what is left of all.
    assert!(frames.allocate_on(9).is_some());
    let total = frames.statistics().total;
    assert!(frames.collect_node_statistics(1).present <= total);
    while take(frames).is_some() {}
    assert_eq!(frames.statistics().free, 0);
}

#[test]
fn no_memory_is_an_error() {
    let frames: FrameAllocator<Kernel> = FrameAllocator::new();
    assert!(frames.allocate().is_none());
    let map = MemoryMap { usable: &[range(5, 3)], reserved: &[], limit: None, nodes: &[] };
    // SAFETY: the map has no room for tables, so nothing is touched.
    assert_eq!(unsafe { frames.initialize(&map, |_| std::ptr::null_mut()) }, Err(FrameAllocatorError::NoMemory));
}

#[test]
fn four_threads_never_share_a_frame() {
    let frames = simple(4 * 512);
    let owners: Vec<AtomicU64> = (0..8 * 512).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let owners = &owners;
            scope.spawn(move || {
                let mut held: Vec<&'static FrameDescriptor> = Vec::new();
                for round in 0..4000u64 {
                    if (round * 7 + thread) % 5 < 3 || held.is_empty() {
                        let order = [0u8, 0, 0, 0, 1, 3, 6][(round % 7) as usize];
                        let block = take_block(frames, order);
                        let Some(block) = block else { continue };
                        for number in block.number().value()..block.number().value() + (1 << order) {
                            assert_eq!(owners[number as usize].swap(thread, Ordering::SeqCst), 0);
                        }
                        held.push(block);
                    } else {
                        let block = held.swap_remove((round % held.len() as u64) as usize);
                        for number in block.number().value()..block.number().value() + (1 << block.order()) {
                            assert_eq!(owners[number as usize].swap(0, Ordering::SeqCst), thread);
                        }
                        give(frames, block);
                    }
                }
                for block in held {
                    for number in block.number().value()..block.number().value() + (1 << block.order()) {
                        owners[number as usize].store(0, Ordering::SeqCst);
                    }
                    give(frames, block);
                }
            });
        }
    });
    validate(frames);
    assert_eq!(frames.statistics().free, frames.statistics().total);
}

#[test]
fn the_global_allocator_serves_the_emulated_memory() {
    let number = allocate_frame().unwrap();
    // SAFETY: the frame was just allocated and is not used.
    unsafe { deallocate_frame(number) }.unwrap();
    let block = allocate_frames(4).unwrap();
    assert_eq!(block.value() % 16, 0);
    // SAFETY: as above.
    unsafe { deallocate_frame(block) }.unwrap();
    // SAFETY: not managed, so refused.
    assert_eq!(unsafe { deallocate_frame(FrameNumber::new(1 << 40)) }, Err(DeallocateError::NotManaged));
}

#[test]
fn a_block_has_no_marks_of_frames_that_were_free() {
    // Single frames that were freed are filled with poison. As parts of a block they are written to, and go back without poison.
    let frames: Vec<_> = (0..64).map(|_| allocate_contiguous(8).unwrap()).collect();
    for first in &frames {
        for index in 0..8 {
            // SAFETY: each frame of the run has one reference, which is this test's.
            unsafe { deallocate_frame(first.offset(index)) }.unwrap();
        }
    }
    drain_caches();
    let is_clean = |number: FrameNumber| descriptor(number).unwrap().flags() & poison::POISONED == 0;
    let blocks: Vec<_> = (0..64).map(|_| allocate_frames(3).unwrap()).collect();
    let run = allocate_contiguous(600).unwrap();
    let single = allocate_frame_on(NodeId(0)).unwrap();
    assert!(blocks.iter().all(|first| (0..8).all(|index| is_clean(first.offset(index)))));
    assert!((0..600).all(|index| is_clean(run.offset(index))) && is_clean(single));
    for first in blocks {
        // SAFETY: the block's reference is this test's.
        unsafe { deallocate_frame(first) }.unwrap();
    }
    for number in (0..600).map(|index| run.offset(index)).chain([single]) {
        // SAFETY: likewise.
        unsafe { deallocate_frame(number) }.unwrap();
    }
}

#[test]
fn a_double_free_is_refused() {
    let frames = simple(1024);
    let frame = take_block(frames, 1).unwrap();
    assert_eq!(frame.try_take_reference(), 1);
    frames.free(frame, 1).unwrap();
    assert_eq!(frame.try_take_reference(), 0);
    for order in [0, 1, 2, 5] {
        assert_eq!(frames.free_bulk([frame].into_iter()).unwrap_err(), ReleaseError::DoubleFree);
        if order > 0 {
            assert_eq!(frames.free(frame, order), Err(ReleaseError::DoubleFree), "{order}");
        }
    }
    validate(frames);
    assert_eq!(frames.statistics().free, frames.statistics().total);
}

#[test]
fn whole_blocks_are_freed_as_they_were_taken() {
    let frames = simple(8 * 512);
    let block = take_block(frames, 9).unwrap();
    let inside = frames.handle(block.number().offset(5)).unwrap();
    for order in [1, 3, 6, 7, 8, 18] {
        assert_eq!(frames.free(block, order), Err(ReleaseError::WrongOrder), "{order}");
    }
    assert_eq!(frames.free_bulk([inside].into_iter()), Err(ReleaseError::WrongOrder));
    assert_eq!(frames.free(inside, 9), Err(ReleaseError::WrongOrder));
    validate(frames);
    // Split, it is single frames; together again they are a block.
    frames.split(block.number(), 9, 0).unwrap();
    assert_eq!(frames.split(block.number(), 9, 0), Err(ReleaseError::WrongOrder));
    assert_eq!(frames.free(block, 9), Err(ReleaseError::WrongOrder));
    let parts = (0..512).map(|index| frames.handle(block.number().offset(index)).unwrap());
    frames.free_bulk(parts).unwrap();
    validate(frames);
    assert_eq!(frames.statistics().free, frames.statistics().total);
    assert_eq!(frames.free(block, 9), Err(ReleaseError::DoubleFree));
}

#[test]
fn blocks_below_an_address_stay_below_it() {
    let frames = allocator(&MemoryMap {
        usable: &[range(512, 4 * 512), range(0x10_0000, 64 * 512)],
        reserved: &[],
        limit: None,
        nodes: &[],
    });
    let limit = FrameNumber::new(5 * 512 - 1);
    let mut held = Vec::new();
    for order in [0, 3, 9, 8, 9] {
        let block = frames.allocate_block_below(order, limit).unwrap();
        assert!(block.number().value() + (1 << order) <= limit.value(), "{order}");
        block.set_allocated();
        block.set_order(order);
        held.push(block);
    }
    assert!(frames.allocate_block_below(9, limit).is_none());
    assert!(frames.allocate_block_below(0, FrameNumber::new(600)).is_none());
    held.into_iter().for_each(|block| give(frames, block));
    assert_eq!(frames.statistics().free, frames.statistics().total);
}

#[test]
fn memory_can_be_added_later() {
    let frames = simple(1024);
    let before = frames.statistics();
    let memory = |_: FrameNumber| -> *mut u8 {
        let layout = std::alloc::Layout::from_size_align(1 << 20, 4096).unwrap();
        // SAFETY: the size is not zero.
        unsafe { std::alloc::alloc(layout) }
    };
    // SAFETY: the tables get a megabyte of their own; frames are never touched.
    let add = |start, count, node| unsafe { frames.add_memory(range(start, count), node, memory) };
    assert_eq!(add(1000, 4096, 0), Err(FrameAllocatorError::Overlap));
    assert_eq!(add(0x8000, 3, 0), Err(FrameAllocatorError::NoMemory));
    let added = add(0x8000, 4096, 1).unwrap();
    assert!(added > 4000);
    assert_eq!(add(0x8000, 4096, 1), Err(FrameAllocatorError::Overlap));
    assert_eq!(frames.statistics().free, before.free + added);
    assert_eq!(frames.allocate_exactly_on(1).unwrap().node(), 1);
    let mut full = Ok(0);
    for place in 1..map::MAXIMUM_REGIONS as u64 {
        full = add(0x10_0000 + place * 4096, 1024, 0);
    }
    assert_eq!(full, Err(FrameAllocatorError::TooManyRanges));
}

#[test]
fn a_node_s_own_frames_or_none() {
    let nodes = [(range(0, 0x3000), 0), (range(0x3000, 0x2000), 1)];
    let frames = allocator(&MemoryMap { usable: &[range(0x1000, 0x4000)], reserved: &[], limit: None, nodes: &nodes });
    let free = frames.collect_node_statistics(1).free;
    let taken =
        std::iter::from_fn(|| frames.allocate_exactly_on(1)).inspect(|frame| assert_eq!(frame.node(), 1)).count();
    assert_eq!(taken as u64, free);
    assert!(frames.allocate_exactly_on(7).is_none());
    assert!(frames.allocate_exactly_on(0).is_some());
}

#[test]
fn a_node_s_blocks_are_counted_as_a_buddy_allocator_would() {
    let frames = simple(16 * 512);
    let statistics = frames.collect_node_statistics(0);
    let frames_of = |blocks: &[u64]| (0..).zip(blocks).map(|(order, count): (u32, &u64)| count << order).sum::<u64>();
    assert_eq!(frames_of(&statistics.blocks), statistics.free);
    // From frame 512 on: one group, then pairs of groups, and a last one that the tables have cut.
    assert_eq!((statistics.blocks[9], statistics.blocks[10]), (1, 7));
    let block = frames.allocate_block(4).unwrap();
    let now = frames.collect_node_statistics(0);
    assert_eq!(now.free, statistics.free - 16);
    assert_eq!(frames_of(&now.blocks), now.free);
    assert_eq!(block.number().value() % 16, 0);
    assert_eq!((now.first, now.spanned, now.present), (512, 16 * 512, 16 * 512));
}

#[test]
fn half_empty_trees_become_whole_again() {
    let frames = simple(128 * 512);
    let mut held: Vec<_> = std::iter::from_fn(|| take(frames)).collect();
    let mut seed = 1u64;
    let mut random = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % bound
    };
    for _ in 0..held.len() / 2 {
        let at = random(held.len());
        give(frames, held.swap_remove(at));
    }
    for _ in 0..100 {
        let count = held.len() / 10;
        for _ in 0..count {
            let at = random(held.len());
            give(frames, held.swap_remove(at));
        }
        held.extend((0..count).filter_map(|_| take(frames)));
    }
    validate(frames);
    let free = frames.statistics().free;
    let whole: usize = frames.regions().iter().map(Region::collect_whole).sum();
    assert!(whole as u64 * 512 * 10 > free * 8, "{whole} of {}", free / 512);
}

#[test]
fn what_a_cpu_leaves_others_find() {
    let frames = simple(2 * 512);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let frame = take(frames).unwrap();
            give(frames, frame);
            frames.drain_local();
        });
    });
    assert_eq!(frames.regions()[0].collect_free(), frames.statistics().total);
    let left = frames.regions()[0].best_tree(0, region::Trees::Unreserved);
    assert_eq!(left, Some(0), "the tree is still reserved");
}

#[test]
fn a_frame_that_is_written_to_while_free_is_noticed() {
    let number = allocate_frame().unwrap();
    let frame = descriptor(number).unwrap();
    poison::fill(frame);
    assert_ne!(frame.flags() & poison::POISONED, 0);
    assert!(physmap::read_words(number).skip(16).all(|word| word == POISON));
    assert!(poison::is_intact(frame));
    // SAFETY: the frame is this test's.
    unsafe { physmap::pointer::<u8>(number.address()).add(PAGE_SIZE - 1).write(1) };
    assert!(!poison::is_intact(frame));
    poison::check(frame);
    assert_eq!(frame.flags() & poison::POISONED, 0);
    // SAFETY: the reference is this test's.
    unsafe { deallocate_frame(number) }.unwrap();
}

#[test]
fn frames_that_are_freed_wrongly_are_refused() {
    let block = allocate_frames(3).unwrap();
    // SAFETY: refused, as the order is another.
    assert_eq!(unsafe { deallocate_frames(block, 2) }, Err(DeallocateError::WrongOrder));
    // SAFETY: the block is this test's.
    unsafe { deallocate_frames(block, 3) }.unwrap();
    let low = allocate_frames_below(4, FrameNumber::new(0x2_0000)).unwrap();
    assert!(low.value() + 16 <= 0x2_0000);
    // SAFETY: as above.
    unsafe { deallocate_frames(low, 4) }.unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate(u8),
    Free(usize),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..=9).prop_map(Step::Allocate),
        2 => Just(Step::Allocate(0)),
        6 => any::<usize>().prop_map(Step::Free),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn allocation_agrees_with_a_set(steps in proptest::collection::vec(step(), 1..200)) {
        let usable = [range(100, 1500), range(6000, 1200)];
        let frames = allocator(&MemoryMap { usable: &usable, reserved: &[range(700, 9)], limit: None, nodes: &[] });
        let total = frames.statistics().total;
        let mut held: Vec<&'static FrameDescriptor> = Vec::new();
        let mut taken = HashSet::new();
        for step in steps {
            match step {
                Step::Allocate(order) => {
                    let block = take_block(frames, order);
                    match block {
                        Some(block) => {
                            let first = block.number().value();
                            prop_assert_eq!(first % (1 << order), 0);
                            for number in first..first + (1 << order) {
                                prop_assert!(taken.insert(number));
                                prop_assert!(covers(&usable, number));
                            }
                            held.push(block);
                        }
                        None => prop_assert!(order > 0 || taken.len() as u64 == total),
                    }
                }
                Step::Free(index) => {
                    if !held.is_empty() {
                        let block = held.swap_remove(index % held.len());
                        for number in block.number().value()..block.number().value() + (1 << block.order()) {
                            prop_assert!(taken.remove(&number));
                        }
                        give(frames, block);
                    }
                }
                Step::Drain => {
                    frames.drain();
                }
            }
            prop_assert_eq!(frames.statistics().free, total - taken.len() as u64);
        }
        validate(frames);
    }
}
