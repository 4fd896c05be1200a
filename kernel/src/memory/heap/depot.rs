//! The depot: what lies between the CPUs' magazines and a class's slabs, so that objects that one CPU frees and another one allocates, or that come
//! and go in crowds, move by the batch and not one by one.
//!
//! A stack of pointers in frames that are chained by their records. Its user locks it. [`HOLD`] bytes of free objects each class may keep; what is
//! beyond comes out of a [`Budget`] that all classes share, as much as the platform has to spare, so that a class whose crowd has just gone may keep most
//! of it while the others keep little. Memory that is short gets all of it ([`super::Heap::shrink`]).

#![allow(unsafe_code, reason = "the pointers lie in frames")]

use super::class::CLASS_SIZES;
use super::platform::{Platform, SlabRecord};
use crate::base::PAGE_SIZE;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of free objects that a class's depot may hold whatever the others do, unless their pointers take more than a frame.
const HOLD: usize = 128 * 1024;
/// Bytes by which a depot's share of the budget changes.
const GRANT: usize = 64 * 1024;
const SLOTS: usize = PAGE_SIZE / size_of::<*mut u8>();

/// What a class's depot may hold without a grant, in bytes.
static HOLDS: [usize; CLASS_SIZES.len()] = {
    let mut holds = [0; CLASS_SIZES.len()];
    let mut class = 0;
    while class < holds.len() {
        let most = SLOTS * CLASS_SIZES[class];
        holds[class] = if most < HOLD { most } else { HOLD };
        class += 1;
    }
    holds
};

/// What the depots of a heap share.
#[derive(Debug, Default)]
pub struct Budget {
    granted: AtomicU64,
}

impl Budget {
    /// Nothing granted yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { granted: AtomicU64::new(0) }
    }

    /// Takes a grant, unless that were more than there is.
    fn take<P: Platform>(&self, platform: &P) -> bool {
        let limit = platform.keepable_frames() * PAGE_SIZE as u64;
        let more = |granted: u64| granted.checked_add(GRANT as u64).filter(|granted| *granted <= limit);
        self.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn put(&self, bytes: usize) {
        self.granted.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// One class's depot; which class is said with each call.
#[derive(Debug)]
pub struct Depot {
    /// The frame of the pointers that came last, or 0. Its record's links are the frame below.
    top: u32,
    /// Pointers in it.
    in_top: usize,
    /// Full frames below.
    below: usize,
    /// Bytes of the budget that it has.
    granted: usize,
}

impl Depot {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { top: 0, in_top: 0, below: 0, granted: 0 }
    }

    /// Frames that it takes.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        (self.below + (self.top != 0) as usize) as u64
    }

    /// Objects in it.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.below * SLOTS + self.in_top
    }

    fn slots<P: Platform>(&self, platform: &P) -> *mut *mut u8 {
        platform.frame_address(self.top).cast()
    }

    /// Lets the empty frame on top go.
    fn uncover<P: Platform>(&mut self, platform: &P) {
        let Some(record) = platform.record(self.top) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "a frame's number")]
        let below = record.links() as u32;
        platform.free_frame(self.top);
        self.top = below;
        if below != 0 {
            (self.in_top, self.below) = (SLOTS, self.below - 1);
        }
    }

    /// Puts a frame on top. `false`: there is none.
    fn cover<P: Platform>(&mut self, platform: &P) -> bool {
        let Some(frame) = platform.allocate_frame() else { return false };
        let Some(record) = platform.record(frame) else { return false };
        record.set_links(self.top.into());
        self.below += usize::from(self.top != 0);
        (self.top, self.in_top) = (frame, 0);
        true
    }

    /// Takes objects into the slots. Gives how many.
    pub fn take<P: Platform>(&mut self, platform: &P, budget: &Budget, class: usize, into: &mut [*mut u8]) -> usize {
        let mut rest = into;
        let mut taken = 0;
        while !rest.is_empty() && self.count() > 0 {
            if self.in_top == 0 {
                self.uncover(platform);
            }
            let count = self.in_top.min(rest.len());
            self.in_top -= count;
            // SAFETY: the frame is the depot's, and holds `count` pointers from there on.
            unsafe { self.slots(platform).add(self.in_top).copy_to_nonoverlapping(rest.as_mut_ptr(), count) };
            rest = rest.get_mut(count..).unwrap_or_default();
            taken += count;
        }
        // A grant more than it needs stays, so that what comes and goes does not change the budget each time.
        if self.granted > 0 && self.bytes(class) + 2 * GRANT <= self.room(class) {
            self.granted -= GRANT;
            budget.put(GRANT);
        }
        taken
    }

    /// Bytes of the objects in it.
    fn bytes(&self, class: usize) -> usize {
        self.count() * CLASS_SIZES.get(class).copied().unwrap_or(0)
    }

    /// Bytes that it may hold now.
    fn room(&self, class: usize) -> usize {
        HOLDS.get(class).copied().unwrap_or(0) + self.granted
    }

    /// Keeps the objects, all of them or none.
    pub fn put<P: Platform>(&mut self, platform: &P, budget: &Budget, class: usize, objects: &[*mut u8]) -> bool {
        let size = CLASS_SIZES.get(class).copied().unwrap_or(0);
        if self.bytes(class) + objects.len() * size > self.room(class) {
            if !budget.take(platform) {
                return false;
            }
            self.granted += GRANT;
        }
        let room = if self.top == 0 { 0 } else { SLOTS - self.in_top };
        let (first, second) = objects.split_at(room.min(objects.len()));
        // What does not fit on top goes on a new frame, which must be there before anything is kept.
        let was_in_top = self.in_top;
        self.append(platform, first);
        if !second.is_empty() {
            if !self.cover(platform) {
                self.in_top = was_in_top;
                return false;
            }
            self.append(platform, second);
        }
        true
    }

    /// Writes pointers on top, where there is room for them.
    fn append<P: Platform>(&mut self, platform: &P, objects: &[*mut u8]) {
        debug_assert!(self.in_top + objects.len() <= SLOTS, "a depot's frame overflows");
        if !objects.is_empty() {
            // SAFETY: the frame is the depot's and has room, says the caller.
            unsafe { self.slots(platform).add(self.in_top).copy_from_nonoverlapping(objects.as_ptr(), objects.len()) };
            self.in_top += objects.len();
        }
    }

    /// Gives its frame and its grants back. It is empty.
    pub fn close<P: Platform>(&mut self, platform: &P, budget: &Budget) {
        debug_assert_eq!(self.count(), 0, "a depot is closed with objects in it");
        if self.top != 0 && self.count() == 0 {
            self.uncover(platform);
        }
        if self.granted > 0 {
            budget.put(core::mem::take(&mut self.granted));
        }
    }
}

impl Default for Depot {
    fn default() -> Self {
        Self::new()
    }
}
