//! What is behind the size classes: the first-fit list, over the heap's own bytes and over frames by which it grows, and frames in a row for objects that
//! are larger than any class.

#![allow(unsafe_code, reason = "hands memory to the list")]

use super::allocator::{Heap, LIST_GROWTH, List};
use super::class::{CLASS_SIZES, LISTED};
use super::free_list::{FreeList, Freed};
use super::guard::{self, Storage};
use super::misuse::{Misuse, MisuseKind};
use super::platform::Platform;
use crate::base::PAGE_SIZE;
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering;

/// Alignment up to which frames in a row are aligned by themselves.
const NATURAL_FRAMES: usize = 512;

impl<P: Platform, const SIZE: usize> Heap<P, SIZE> {
    /// From the list, over the heap's own bytes alone.
    #[cold]
    pub(super) fn allocate_early(&self, layout: Layout) -> *mut u8 {
        let found = self.list.with(|list| {
            self.start(list);
            let found = list.list.allocate(layout);
            if self.is_own(found) {
                return found;
            }
            // What the list got from frames is not told from a slab's object by its address: it must not come from there.
            if let Some(found) = NonNull::new(found) {
                // SAFETY: just handed out by this list. An arena that is empty now was so before.
                let _ = unsafe { list.list.deallocate(found) };
            }
            null_mut()
        });
        if P::GUARDED && !found.is_null() {
            guard::forget(found, layout.size());
        }
        found
    }

    fn start(&self, list: &mut List) {
        if !list.started {
            list.started = true;
            // SAFETY: the heap's own bytes, touched by its list alone, which lives as long.
            unsafe { list.list.add_arena(self.arena.0.get().cast(), SIZE) };
        }
    }

    /// Objects of the class `LISTED`.
    pub(super) fn take_listed(&self, slots: &mut [*mut u8]) -> usize {
        let Some(size) = CLASS_SIZES.get(LISTED) else { return 0 };
        let Ok(layout) = Layout::from_size_align(*size, 16) else { return 0 };
        self.list.with(|list| {
            self.start(list);
            let mut count = 0;
            for slot in slots {
                let mut found = list.list.allocate(layout);
                if found.is_null() && self.grow(&mut list.list) {
                    found = list.list.allocate(layout);
                }
                if found.is_null() {
                    break;
                }
                if P::GUARDED {
                    guard::forget(found, *size);
                }
                *slot = found;
                count += 1;
            }
            count
        })
    }

    fn grow(&self, list: &mut FreeList) -> bool {
        let grown =
            [LIST_GROWTH, 1].into_iter().find_map(|count| Some((self.platform.allocate_contiguous(count)?, count)));
        let Some((first, count)) = grown else { return false };
        self.list_frames.fetch_add(count as u64, Ordering::Relaxed);
        // SAFETY: the frames are the list's alone from here on.
        unsafe { list.add_arena(self.platform.frame_address(first), count * PAGE_SIZE) };
        true
    }

    /// Gives objects back to the list.
    #[cold]
    pub(super) fn free_listed(&self, objects: &[*mut u8]) {
        self.list.with(|list| {
            for address in objects.iter().filter_map(|object| NonNull::new(*object)) {
                // SAFETY: the route of the layout, and the caller's promise, say that the list handed it out.
                match unsafe { list.list.deallocate(address) } {
                    // One empty arena stays, so that an object that comes and goes does not move frames each time.
                    Freed::LastOfArena(first) if list.list.empty_arenas() > 1 && !self.is_own(first.as_ptr()) => {
                        // SAFETY: under the lock since.
                        let length = unsafe { list.list.take_arena(first) };
                        self.free_arena(first, length);
                    }
                    Freed::Part | Freed::LastOfArena(_) => {}
                    Freed::Twice => {
                        let (kind, address) = (MisuseKind::FreedTwice, address.as_ptr());
                        self.platform.report(&Misuse { kind, address, size: 0, allocated: 0, freed: 0 });
                    }
                }
            }
        });
    }

    /// Gives the frames of an arena, which is not the list's any more, back.
    fn free_arena(&self, first: NonNull<u8>, length: usize) {
        // What the list does not use of an arena is less than a frame.
        let count = length.div_ceil(PAGE_SIZE);
        self.list_frames.fetch_sub(count as u64, Ordering::Relaxed);
        self.platform.free_contiguous(self.platform.frame_number(first.as_ptr()), count);
    }

    /// `count` frames in a row, aligned.
    fn allocate_frames(&self, count: usize, alignment: usize) -> *mut u8 {
        let aligned = alignment / PAGE_SIZE;
        let first = if aligned <= NATURAL_FRAMES {
            self.platform.allocate_contiguous(count)
        } else {
            self.allocate_aligned(count, aligned)
        };
        let Some(first) = first else { return null_mut() };
        self.large_frames.fetch_add(count as u64, Ordering::Relaxed);
        let address = self.platform.frame_address(first);
        debug_assert!(address.addr().is_multiple_of(alignment.min(PAGE_SIZE * NATURAL_FRAMES)), "frames out of line");
        address
    }

    /// Frames aligned to more than they are by themselves: out of a longer row, whose ends go back.
    fn allocate_aligned(&self, count: usize, aligned: usize) -> Option<u32> {
        let length = count.checked_add(aligned)?.checked_sub(NATURAL_FRAMES)?;
        let first = self.platform.allocate_contiguous(length)?;
        let page = self.platform.frame_address(first).addr() / PAGE_SIZE;
        let head = page.next_multiple_of(aligned) - page;
        let tail = length.checked_sub(head + count)?;
        #[expect(clippy::cast_possible_truncation, reason = "within a row of frames, whose numbers fit")]
        let at = |distance: usize| first + distance as u32;
        if head > 0 {
            self.platform.free_contiguous(first, head);
        }
        if tail > 0 {
            self.platform.free_contiguous(at(head + count), tail);
        }
        Some(at(head))
    }

    pub(super) fn free_frames(&self, address: *mut u8, count: usize) {
        self.large_frames.fetch_sub(count as u64, Ordering::Relaxed);
        self.platform.free_contiguous(self.platform.frame_number(address), count);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn allocate_large(&self, layout: Layout, count: usize) -> *mut u8 {
        let mut found = self.allocate_frames(count, layout.align());
        if found.is_null() && self.reclaim() > 0 {
            found = self.allocate_frames(count, layout.align());
        }
        if P::GUARDED && !found.is_null() {
            let Storage { address, length } = Self::storage(found, layout);
            guard::forget(address, length);
        }
        if found.is_null() {
            let length = Self::storage(found, layout).length;
            let early = Layout::from_size_align(length, layout.align());
            found = early.map_or(null_mut(), |layout| self.allocate_early(layout));
        }
        found
    }
}
