//! [`super::magazine::Handover`] in every order that the memory model allows (`loom`): objects are numbers here, their links cells that loom watches. When the
//! original changes, this must.

#![allow(unsafe_code, reason = "cells that loom watches")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// Object `n` is `n + 1` in links; 0 ends.
struct Handover {
    head: AtomicUsize,
    links: [UnsafeCell<usize>; 4],
}

impl Handover {
    fn new() -> Self {
        Self { head: AtomicUsize::new(0), links: [0; 4].map(UnsafeCell::new) }
    }
    fn add(&self, objects: [usize; 2]) {
        let [first, last] = objects;
        // SAFETY: the object is this thread's.
        self.links[first].with_mut(|link| unsafe { *link = last + 1 });
        let mut found = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: as above.
            self.links[last].with_mut(|link| unsafe { *link = found });
            match self.head.compare_exchange_weak(found, first + 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => found = changed,
            }
        }
    }
    fn take(&self) -> Vec<usize> {
        let mut taken = Vec::new();
        let mut at = self.head.swap(0, Ordering::Acquire);
        while at != 0 {
            taken.push(at - 1);
            // SAFETY: what was added is this thread's now.
            at = self.links[at - 1].with(|link| unsafe { *link });
        }
        taken
    }
}

#[test]
fn each_object_is_taken_once() {
    loom::model(|| {
        let handover = Arc::new(Handover::new());
        let adding = [[0, 1], [2, 3]].map(|objects| {
            let handover = Arc::clone(&handover);
            thread::spawn(move || handover.add(objects))
        });
        let mut taken = handover.take();
        adding.into_iter().for_each(|thread| thread.join().unwrap());
        taken.extend(handover.take());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);
    });
}
