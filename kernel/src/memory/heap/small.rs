//! Objects that have a size class: from the CPU's magazine, by the batch from the depot and the slabs behind it.

#![allow(unsafe_code, reason = "opens the magazines of the CPU that it is pinned to")]

use super::allocator::{Heap, MAGAZINE_FRAMES};
use super::class::{self, CLASS_SIZES, CLASSES, LARGEST, LISTED};
use super::magazine::Magazines;
use super::platform::{Pinned, Platform};
use core::alloc::Layout;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;

impl<P: Platform, const SIZE: usize> Heap<P, SIZE> {
    /// The magazines of the CPU that the caller is pinned to.
    fn magazines_or_new(&self, cpu: usize) -> Option<&Magazines> {
        let place = self.magazines.get(cpu)?;
        if place.load(Ordering::Acquire).is_null() {
            let first = self.platform.allocate_contiguous(MAGAZINE_FRAMES)?;
            let memory = self.platform.frame_address(first).cast::<Magazines>();
            // SAFETY: enough fresh frames, aligned to a page.
            unsafe { Magazines::initialize(memory) };
            // A handler on this CPU may have been first.
            match place.compare_exchange(null_mut(), memory, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => _ = self.magazine_frames.fetch_add(MAGAZINE_FRAMES as u64, Ordering::Relaxed),
                Err(_) => self.platform.free_contiguous(first, MAGAZINE_FRAMES),
            }
        }
        self.magazines(cpu)
    }

    #[inline]
    pub(super) fn allocate_small(&self, class: usize) -> *mut u8 {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        let object = match self.magazines(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            Some(mut open) => open.pop(class),
            None => null_mut(),
        };
        drop(pinned);
        if object.is_null() { self.allocate_small_slowly(class) } else { object }
    }

    #[cold]
    #[inline(never)]
    fn allocate_small_slowly(&self, class: usize) -> *mut u8 {
        let mut object = self.refill(class);
        if object.is_null() && self.reclaim() > 0 {
            object = self.refill(class);
        }
        if object.is_null() {
            // Before there are frames, or after the last one.
            let size = CLASS_SIZES.get(class).copied().unwrap_or(LARGEST);
            let alignment = if size.is_power_of_two() { size } else { 16 };
            object = Layout::from_size_align(size, alignment).map_or(null_mut(), |layout| self.allocate_early(layout));
        }
        object
    }

    /// An object out of a new batch.
    fn refill(&self, class: usize) -> *mut u8 {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        if let Some(mut open) = self.magazines_or_new(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            // Whoever ran here since the first look may have left some.
            let object = open.pop(class);
            if !object.is_null() {
                return object;
            }
            open.refill(class, |slots| self.take(class, slots));
            return open.pop(class);
        }
        drop(pinned);
        let mut one = [null_mut()];
        self.take(class, &mut one);
        let [object] = one;
        object
    }

    /// Takes free objects of a class from what is behind the magazines.
    fn take(&self, class: usize, slots: &mut [*mut u8]) -> usize {
        let Some(stock) = self.stocks.get(class) else { return 0 };
        let count = stock.with(|stock| {
            let count = stock.depot.take(&self.platform, &self.budget, class, slots);
            if count > 0 || class == LISTED { count } else { stock.slabs.take(&self.platform, class, slots) }
        });
        if count == 0 && class == LISTED { self.take_listed(slots) } else { count }
    }

    /// Puts free objects of a class back there.
    pub(super) fn put(&self, class: usize, objects: &[*mut u8]) {
        let Some(stock) = self.stocks.get(class) else { return };
        let is_kept = stock.with(|stock| {
            let is_kept = objects.len() > 1 && stock.depot.put(&self.platform, &self.budget, class, objects);
            if !is_kept && class != LISTED {
                objects.iter().for_each(|object| stock.slabs.put(&self.platform, class, *object));
            }
            is_kept
        });
        if !is_kept && class == LISTED {
            self.free_listed(objects);
        }
    }

    /// Empties the depot of a class, and gives its empty slabs back.
    pub(super) fn settle(&self, class: usize) {
        let Some(stock) = self.stocks.get(class) else { return };
        loop {
            let mut objects = [null_mut(); 16];
            let count = stock.with(|stock| {
                let count = stock.depot.take(&self.platform, &self.budget, class, &mut objects);
                let taken = objects.iter().take(count);
                if class != LISTED {
                    taken.for_each(|object| stock.slabs.put(&self.platform, class, *object));
                }
                if count == 0 {
                    stock.depot.close(&self.platform, &self.budget);
                    stock.slabs.release(&self.platform, 0);
                }
                count
            });
            if count == 0 {
                return;
            }
            if class == LISTED {
                self.free_listed(objects.get(..count).unwrap_or(&[]));
            }
        }
    }

    #[inline]
    pub(super) fn free_small(&self, class: usize, object: *mut u8) {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        let is_kept = match self.magazines(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            Some(mut open) => open.push(class, object),
            None => false,
        };
        drop(pinned);
        if !is_kept {
            self.free_small_slowly(class, object);
        }
    }

    #[cold]
    #[inline(never)]
    fn free_small_slowly(&self, class: usize, object: *mut u8) {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        if let Some(mut open) = self.magazines_or_new(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            if open.push(class, object) {
                return;
            }
            open.flush(class, class::batch(class), |objects| self.put(class, objects));
            if open.push(class, object) {
                return;
            }
        }
        drop(pinned);
        self.put(class, &[object]);
    }

    /// Empties this CPU's magazines, those of `cpu` if it is on that one, through `put`.
    pub(super) fn empty_magazines(&self, pinned: &Pinned<'_, P>, mut put: impl FnMut(usize, &[*mut u8])) {
        // SAFETY: pinned to the CPU.
        if let Some(mut open) = self.magazines(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            (0..CLASSES).for_each(|class| open.flush(class, usize::MAX, |objects| put(class, objects)));
        }
    }
}
