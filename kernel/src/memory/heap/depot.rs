//! The depot: what lies between the CPUs' magazines and a class's slabs, so that objects that one CPU frees and another one allocates, or that come
//! and go in crowds, move by the batch and not one by one.
//!
//! A stack of pointers in one frame, bounded by bytes. Its user locks it.

#![allow(unsafe_code, reason = "the pointers lie in a frame")]

use super::class::CLASS_SIZES;
use super::platform::Platform;
use crate::base::PAGE_SIZE;

/// Bytes of free objects that a class's depot holds at most.
const LARGEST_HOLD: usize = 128 * 1024;
const SLOTS: usize = PAGE_SIZE / size_of::<*mut u8>();

/// One class's depot; which class is said with each call.
#[derive(Debug)]
pub struct Depot {
    /// The frame, or 0.
    frame: u32,
    /// Objects in it.
    count: usize,
}

const fn limit(class: usize) -> usize {
    let by_bytes = LARGEST_HOLD / CLASS_SIZES[class];
    if by_bytes < SLOTS { by_bytes } else { SLOTS }
}

static LIMITS: [usize; CLASS_SIZES.len()] = {
    let mut limits = [0; CLASS_SIZES.len()];
    let mut class = 0;
    while class < limits.len() {
        limits[class] = limit(class);
        class += 1;
    }
    limits
};

impl Depot {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { frame: 0, count: 0 }
    }

    /// Frames that it takes.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        (self.frame != 0) as u64
    }

    fn slots<P: Platform>(&self, platform: &P) -> *mut *mut u8 {
        platform.frame_address(self.frame).cast()
    }

    /// Takes objects into the slots. Gives how many.
    pub fn take<P: Platform>(&mut self, platform: &P, into: &mut [*mut u8]) -> usize {
        let count = self.count.min(into.len());
        if count > 0 {
            self.count -= count;
            // SAFETY: the frame is the depot's, and holds `count` pointers from there on.
            unsafe { self.slots(platform).add(self.count).copy_to_nonoverlapping(into.as_mut_ptr(), count) };
        }
        count
    }

    /// Keeps the objects, all of them or none.
    pub fn put<P: Platform>(&mut self, platform: &P, class: usize, objects: &[*mut u8]) -> bool {
        if self.count + objects.len() > LIMITS.get(class).copied().unwrap_or(0) {
            return false;
        }
        if self.frame == 0 {
            let Some(frame) = platform.allocate_frame() else { return false };
            self.frame = frame;
        }
        // SAFETY: the frame is the depot's and has room: the limit is at most its slots.
        unsafe { self.slots(platform).add(self.count).copy_from_nonoverlapping(objects.as_ptr(), objects.len()) };
        self.count += objects.len();
        true
    }

    /// Gives its frame back. It is empty.
    pub fn close<P: Platform>(&mut self, platform: &P) {
        debug_assert_eq!(self.count, 0, "a depot is closed with objects in it");
        if self.frame != 0 && self.count == 0 {
            platform.free_frame(self.frame);
            self.frame = 0;
        }
    }
}

impl Default for Depot {
    fn default() -> Self {
        Self::new()
    }
}
