//! The heap against a list of live objects, from one thread and from several.

#![allow(unsafe_code, reason = "allocates and frees by hand")]

mod crowds;
mod misuse;
mod platform;
mod shortage;

use super::platform::Platform;
use super::*;
use crate::base::PAGE_SIZE;
use core::alloc::{GlobalAlloc, Layout};
use platform::{Frames, be_cpu};
use proptest::prelude::*;

fn layout(size: usize, alignment: usize) -> Layout {
    Layout::from_size_align(size, alignment).unwrap()
}

fn heap() -> &'static KernelHeap {
    Box::leak(Box::new(KernelHeap::new()))
}

struct Live {
    address: *mut u8,
    layout: Layout,
    tag: u8,
}

impl Live {
    fn new<P: Platform, const SIZE: usize>(heap: &Heap<P, SIZE>, layout: Layout, tag: u8) -> Option<Self> {
        // SAFETY: a size of zero is served as well.
        let address = unsafe { heap.alloc(layout) };
        if address.is_null() {
            return None;
        }
        assert_eq!(address.addr() % layout.align(), 0);
        // SAFETY: just allocated.
        unsafe { address.write_bytes(tag, layout.size()) };
        Some(Self { address, layout, tag })
    }
    fn check(&self) {
        // SAFETY: alive and filled.
        let bytes = unsafe { core::slice::from_raw_parts(self.address, self.layout.size()) };
        assert!(bytes.iter().all(|byte| *byte == self.tag));
    }
    fn free<P: Platform, const SIZE: usize>(self, heap: &Heap<P, SIZE>) {
        self.check();
        // SAFETY: allocated with this layout, freed once.
        unsafe { heap.dealloc(self.address, self.layout) };
    }
}

#[test]
fn every_route_gives_memory_and_takes_it_back() {
    let heap = heap();
    for size in [1, 8, 9, 24, 100, 1000, 2040, 2048, 2100, 3000, 3072, 4096, 5000, 12_000, 70_000, 300_000] {
        for alignment in [1, 8, 16, 32, 64, 512, 4096] {
            Live::new(heap, layout(size, alignment), 7).unwrap().free(heap);
        }
    }
    heap.shrink();
    let statistics = heap.statistics();
    assert_eq!((statistics.small_bytes, statistics.large_bytes, statistics.list_bytes), (0, 0, 0));
}

#[test]
fn objects_of_many_megabytes_are_contiguous_and_come_back() {
    let heap = heap();
    let mut vector = Vec::new();
    for size in [(2 << 20) - 8, (2 << 20) + 1, 3 << 20, (5 << 20) + 4097, 9 << 20] {
        vector.push(Live::new(heap, layout(size, 4096), size as u8).unwrap());
    }
    assert!(heap.statistics().large_bytes >= 21 << 20);
    vector.into_iter().for_each(|object| object.free(heap));
    assert_eq!(heap.statistics().large_bytes, 0);
    // Larger than the machine, and larger than any number of frames.
    for size in [1 << 31, isize::MAX as usize - 4096] {
        // SAFETY: the size is not zero.
        assert!(unsafe { heap.alloc(layout(size, 8)) }.is_null());
    }
}

#[test]
fn what_the_list_grew_by_goes_back_when_it_is_empty() {
    let heap = heap();
    // One lot for the list, and this CPU's magazines.
    let kept = super::allocator::LIST_GROWTH as u64 + 2;
    for _ in 0..3 {
        let objects: Vec<_> = (0..1000).map(|_| Live::new(heap, layout(2500, 8), 5).unwrap()).collect();
        assert!(heap.statistics().frames >= 1000 * 2500 / 4096);
        // Every other one first: holes of one object each.
        let (even, odd): (Vec<_>, Vec<_>) = objects.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
        even.into_iter().chain(odd).for_each(|(_, object)| object.free(heap));
        heap.shrink();
        let statistics = heap.statistics();
        assert_eq!(statistics.list_bytes, 0);
        assert!(statistics.frames <= kept, "{statistics:?}");
    }
}

#[test]
fn reallocation_keeps_the_content() {
    let heap = heap();
    let mut object = Live::new(heap, layout(1, 8), 3).unwrap();
    for size in [2, 8, 9, 100, 120, 2000, 2900, 4000, 4090, 20_000, 100, 1] {
        // SAFETY: allocated with this layout.
        let address = unsafe { heap.realloc(object.address, object.layout, size) };
        assert!(!address.is_null());
        let kept = size.min(object.layout.size());
        // SAFETY: both ends of the content that was kept are inside the object.
        unsafe {
            assert_eq!((*address, *address.add(kept - 1)), (3, 3));
            address.write_bytes(3, size);
        }
        object = Live { address, layout: layout(size, 8), tag: 3 };
    }
    object.free(heap);
}

#[test]
fn impossible_requests_are_null() {
    let heap = heap();
    // SAFETY: the size is not zero.
    unsafe {
        assert!(heap.alloc(layout(1 << 40, 8)).is_null());
        assert!(heap.alloc(layout(1 << 30, 8)).is_null());
    }
}

#[test]
fn four_threads_share_a_heap() {
    let heap = heap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                let mut live = Vec::new();
                for round in 0..20_000usize {
                    if round % 3 < 2 {
                        let size =
                            1 + (round * 37 + usize::from(thread) * 11) % if round % 50 == 0 { 9000 } else { 400 };
                        live.extend(Live::new(heap, layout(size, 8), thread + 1));
                    } else {
                        let index = round * 7 % live.len();
                        let object: Live = live.swap_remove(index);
                        object.free(heap);
                    }
                    if live.len() > 300 {
                        live.drain(..150).for_each(|object| object.free(heap));
                    }
                }
                live.into_iter().for_each(|object| object.free(heap));
                heap.drain();
            });
        }
    });
    assert_eq!(heap.statistics().large_bytes, 0);
}

#[test]
fn boxes_and_references_report_what_is_out() {
    assert_eq!(*try_box(5u32).unwrap(), 5);
    assert_eq!(*try_arc([7u64; 9]).unwrap(), [7; 9]);
    assert!(try_box(()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn objects_never_overlap(
        steps in proptest::collection::vec((0u8..6, 1usize..9000, 0u32..8, any::<usize>()), 1..400)
    ) {
        play::<true>(&steps);
        play::<false>(&steps);
    }
}

/// Objects come and go on three CPUs, in memory that does not always last.
fn play<const GUARDED: bool>(steps: &[(u8, usize, u32, usize)]) {
    let heap: Heap<Frames<GUARDED>, 8192> = Heap::on(Frames::new(200));
    let mut live: Vec<Live> = Vec::new();
    for (tag, (kind, size, alignment, pick)) in steps.iter().enumerate() {
        be_cpu(pick % 3);
        match kind {
            0..=2 => {
                let size = if *kind == 0 { *size } else { size % 300 };
                live.extend(Live::new(&heap, layout(size, 1 << alignment), tag as u8));
            }
            5 if pick % 8 == 0 => {
                heap.hand_over();
            }
            5 if pick % 8 == 1 => {
                heap.shrink();
            }
            _ if !live.is_empty() => live.swap_remove(pick % live.len()).free(&heap),
            _ => {}
        }
        live.iter().rev().take(4).for_each(Live::check);
    }
    assert!(heap.validate());
    live.into_iter().for_each(|object| object.free(&heap));
    for cpu in 0..3 {
        be_cpu(cpu);
        heap.hand_over();
    }
    heap.shrink();
    be_cpu(0);
    let statistics = heap.statistics();
    assert_eq!((statistics.small_bytes, statistics.large_bytes, statistics.list_bytes), (0, 0, 0));
    assert!(heap.validate());
    assert_eq!(heap.platform().out() as u64, statistics.frames);
    assert!(heap.platform().take_reports().is_empty());
}
