//! Misuse, as a guarded heap sees it, and as an unguarded one survives it.

use super::super::guard::POISON;
use super::super::misuse::{Misuse, MisuseKind};
use super::platform::{Frames, be_cpu};
use super::*;

type Guarded = Heap<Frames<true>, 4096>;

fn guarded() -> Guarded {
    be_cpu(0);
    Heap::on(Frames::new(64))
}

fn kinds<const GUARDED: bool, const SIZE: usize>(heap: &Heap<Frames<GUARDED>, SIZE>) -> Vec<MisuseKind> {
    heap.platform().take_reports().into_iter().map(|misuse| misuse.kind).collect()
}

#[test]
fn a_second_free_is_refused_and_names_both() {
    for size in [1, 8, 40, 500, 2000, 2500, 4000] {
        let heap = guarded();
        // SAFETY: freed twice on purpose, which a guarded heap sees to.
        unsafe {
            let object = heap.alloc(layout(size, 8));
            heap.dealloc(object, layout(size, 8));
            heap.dealloc(object, layout(size, 8));
            let [misuse] = heap.platform().take_reports()[..] else { panic!("one report") };
            // Each way has a number of its own here: 1 allocated, 2 freed, 3 freed again.
            assert_eq!(misuse, Misuse { kind: MisuseKind::FreedTwice, address: object, size, allocated: 1, freed: 2 });
            let (first, second) = (heap.alloc(layout(size, 8)), heap.alloc(layout(size, 8)));
            assert_ne!(first, second);
        }
    }
}

#[test]
fn each_byte_behind_an_object_is_watched() {
    for (size, storage) in
        [(1, 32), (16, 32), (17, 48), (100, 128), (1000, 1024), (2300, 3072), (4000, 4096), (5000, 5024)]
    {
        for offset in size..storage - 16 {
            let heap = guarded();
            // SAFETY: inside the storage, and wrong.
            unsafe {
                let object = heap.alloc(layout(size, 8));
                object.add(offset).write(0);
                heap.dealloc(object, layout(size, 8));
            }
            let [misuse] = heap.platform().take_reports()[..] else { panic!("one report for {size} at {offset}") };
            assert_eq!((misuse.kind, misuse.size, misuse.allocated, misuse.freed), (MisuseKind::Overrun, size, 1, 0));
        }
    }
}

#[test]
fn a_write_after_the_end_is_seen_with_who_freed_it() {
    for offset in [0, 7, 8, 50, 111] {
        let heap = guarded();
        // SAFETY: the storage is still the heap's; it is written to on purpose.
        unsafe {
            let object = heap.alloc(layout(100, 8));
            object.write_bytes(1, 100);
            heap.dealloc(object, layout(100, 8));
            assert_eq!(*object.add(offset), POISON);
            object.add(offset).write(0);
            // Another size of the same class gets the storage.
            assert_eq!(heap.alloc(layout(90, 8)), object);
        }
        let [misuse] = heap.platform().take_reports()[..] else { panic!("one report") };
        assert_eq!((misuse.kind, misuse.allocated, misuse.freed), (MisuseKind::WrittenAfterFree, 1, 2));
    }
}

#[test]
fn proper_use_is_not_reported() {
    let heap = guarded();
    for round in 0..3 {
        let objects: Vec<_> = (0..200)
            .flat_map(|index| Live::new(&heap, layout(index * 23 % 4500, 1 << (index % 7)), index as u8))
            .collect();
        let mut grown = Vec::new();
        for object in objects {
            // SAFETY: allocated with this layout; what was filled is read again.
            unsafe {
                let length = object.layout.size();
                let address = heap.realloc(object.address, object.layout, length + 5);
                let layout = Layout::from_size_align(length + 5, object.layout.align()).unwrap();
                if address.is_null() {
                    grown.push(object);
                    continue;
                }
                address.add(length).write_bytes(object.tag, 5);
                grown.push(Live { address, layout, tag: object.tag });
            }
        }
        grown.into_iter().for_each(|object| object.free(&heap));
        if round == 1 {
            heap.hand_over();
            heap.shrink();
        }
    }
    assert_eq!(kinds(&heap), []);
    assert!(heap.validate());
}

#[test]
fn an_unguarded_heap_sees_it_when_objects_come_back_to_their_slab() {
    for size in [8, 32, 48, 64, 384, 1360, 4096] {
        let heap: Heap<Frames<false>, 4096> = Heap::on(Frames::new(64));
        be_cpu(0);
        // SAFETY: freed twice on purpose.
        unsafe {
            let (object, other) = (heap.alloc(layout(size, 8)), heap.alloc(layout(size, 8)));
            heap.dealloc(object, layout(size, 8));
            heap.dealloc(object, layout(size, 8));
            heap.shrink();
            let kind = if size == 4096 { MisuseKind::NotAllocated } else { MisuseKind::FreedTwice };
            assert_eq!(kinds(&heap), [kind], "{size}");
            assert!(heap.validate());
            // In the middle of an object, and by a layout of another class.
            if size > 8 && size < 4096 {
                heap.dealloc(other.add(8), layout(size, 8));
                heap.dealloc(other, layout(if size == 32 { 48 } else { 32 }, 8));
                heap.shrink();
                assert_eq!(kinds(&heap), [MisuseKind::NotAllocated; 2], "{size}");
            }
            heap.dealloc(other, layout(size, 8));
            heap.shrink();
        }
        assert!(heap.validate());
        assert_eq!(heap.statistics().small_bytes, 0);
    }
}
