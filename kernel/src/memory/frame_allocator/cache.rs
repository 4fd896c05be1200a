//! The per-CPU cache of free frames in front of the bitmaps.
//!
//! A cache is claimed by its `busy` flag and never waited for: who finds it taken (an interrupt handler on top of its user) goes to the bitmap
//! instead. So no interrupt needs to be masked, and a frame may be allocated and freed in any context.
//!
//! CPUs below [`OWN_CACHES`] have one of their own. Its user is pinned to the CPU, and what comes in between has ended before it goes on:
//! so a plain load and a plain store claim it, and no other CPU ever touches it. Further CPUs (threads of a host) share [`SHARED_CACHES`], claimed by an
//! atomic exchange.

#![allow(unsafe_code, reason = "a claim hands out exclusive access to its cell")]

use super::region::GROUP_FRAMES;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

/// CPUs with a cache of their own: as many as the kernel can run on.
pub const OWN_CACHES: usize = 64;
/// Caches that further CPUs share.
pub const SHARED_CACHES: usize = 8;
/// Frames that a cache holds at most, content undefined.
pub const CACHE_FRAMES: usize = 128;
/// Frames full of zeros that a cache holds at most.
pub const CACHE_ZEROED: usize = 64;

/// A stack of free frames that also gives up the ones at its bottom: a ring, so that nothing moves. `CAPACITY` is a power of two.
#[derive(Debug)]
pub struct Stack<H, const CAPACITY: usize> {
    /// The slot of the frame that was put first.
    bottom: usize,
    length: usize,
    slots: [Option<H>; CAPACITY],
}

impl<H: Copy, const CAPACITY: usize> Stack<H, CAPACITY> {
    const MASK: usize = {
        assert!(CAPACITY.is_power_of_two());
        CAPACITY - 1
    };

    const fn new() -> Self {
        Self { bottom: 0, length: 0, slots: [None; CAPACITY] }
    }
    /// Takes the frame that was put last.
    #[inline]
    pub fn pop(&mut self) -> Option<H> {
        if self.length == 0 {
            return None;
        }
        self.length -= 1;
        *self.slots.get((self.bottom + self.length) & Self::MASK)?
    }
    /// Puts a frame; `false` when the stack is full.
    #[inline]
    pub fn push(&mut self, frame: H) -> bool {
        if self.length == CAPACITY {
            return false;
        }
        if let Some(slot) = self.slots.get_mut((self.bottom + self.length) & Self::MASK) {
            *slot = Some(frame);
            self.length += 1;
        }
        true
    }
    /// Takes out the `count` frames that were put first, and hands them to `each`: the ones that the CPU's caches have forgotten.
    pub fn take_oldest(&mut self, count: usize, each: &mut impl FnMut(H)) {
        for _ in 0..count.min(self.length) {
            if let Some(frame) = self.slots.get(self.bottom & Self::MASK).copied().flatten() {
                each(frame);
            }
            self.bottom = (self.bottom + 1) & Self::MASK;
            self.length -= 1;
        }
    }
    /// How many frames it holds.
    pub const fn len(&self) -> usize {
        self.length
    }
    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Where a CPU allocates: it stays in one tree, and in one group of it, until that is used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// Index of the region.
    pub region: usize,
    /// Index of the tree in it.
    pub tree: usize,
    /// Index of the group in the region.
    pub group: usize,
    /// Whether the tree is reserved for this CPU.
    pub is_reserved: bool,
    /// Frames taken since the tree was chosen.
    pub taken: u32,
    /// The group in that region after which whole blocks are sought.
    pub whole_group: usize,
    /// Whether the places were chosen yet.
    pub is_placed: bool,
}

/// What a cache holds.
#[derive(Debug)]
pub struct Content<H> {
    /// Frames with any content.
    pub frames: Stack<H, CACHE_FRAMES>,
    /// Frames full of zeros.
    pub zeroed: Stack<H, CACHE_ZEROED>,
    /// A 2 MiB block with any content. To the bitmaps it is taken.
    pub block: Option<H>,
    /// Where the next refill comes from.
    pub cursor: Cursor,
}

/// One CPU's cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Cache<H> {
    busy: AtomicBool,
    held: AtomicU32,
    content: UnsafeCell<Content<H>>,
}

// SAFETY: the content is reached only through a guard, of which `busy` lets one exist; what it holds may go to other threads.
unsafe impl<H: Copy + Send> Sync for Cache<H> {}

/// Access to a cache's content, and what keeps its user on the CPU.
#[derive(Debug)]
pub struct CacheGuard<'a, H: Copy, P> {
    cache: &'a Cache<H>,
    _pin: P,
}

impl<H: Copy> Default for Cache<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Copy> Cache<H> {
    /// An empty cache.
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            held: AtomicU32::new(0),
            content: UnsafeCell::new(Content {
                frames: Stack::new(),
                zeroed: Stack::new(),
                block: None,
                cursor: Cursor {
                    region: 0,
                    tree: 0,
                    group: 0,
                    is_reserved: false,
                    taken: 0,
                    whole_group: 0,
                    is_placed: false,
                },
            }),
        }
    }
    /// The content of this CPU's own cache, unless somebody below on the stack uses it.
    ///
    /// # Safety
    /// While `pin` lives no other CPU uses this cache, and who uses it on this one in between ends before the caller goes on.
    #[inline]
    pub unsafe fn try_claim_own<P>(&self, pin: P) -> Option<CacheGuard<'_, H, P>> {
        if self.busy.load(Ordering::Relaxed) {
            return None;
        }
        // Who comes in between leaves the flag as it was.
        self.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(CacheGuard { cache: self, _pin: pin })
    }
    /// The content of a cache that CPUs share, unless somebody uses it.
    #[inline]
    pub fn try_claim_shared<P>(&self, pin: P) -> Option<CacheGuard<'_, H, P>> {
        // Lazily: dropping a guard frees the cache.
        (!self.busy.swap(true, Ordering::Acquire)).then(|| CacheGuard { cache: self, _pin: pin })
    }
    /// How many frames it held when it was last left.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }
}

impl<H: Copy, P> Deref for CacheGuard<'_, H, P> {
    type Target = Content<H>;
    #[inline]
    fn deref(&self) -> &Content<H> {
        // SAFETY: this guard is the only one.
        unsafe { &*self.cache.content.get() }
    }
}

impl<H: Copy, P> DerefMut for CacheGuard<'_, H, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Content<H> {
        // SAFETY: this guard is the only one, and is borrowed exclusively.
        unsafe { &mut *self.cache.content.get() }
    }
}

impl<H: Copy, P> Drop for CacheGuard<'_, H, P> {
    #[inline]
    fn drop(&mut self) {
        let block = if self.block.is_some() { GROUP_FRAMES } else { 0 };
        #[expect(clippy::cast_possible_truncation, reason = "below 1024")]
        let held = (self.frames.len() + self.zeroed.len() + block) as u32;
        self.cache.held.store(held, Ordering::Relaxed);
        self.cache.busy.store(false, Ordering::Release);
        // The pin goes last, as fields are dropped after this.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_frames_leave_first_and_the_newest_are_used_first() {
        let mut stack: Stack<u32, 8> = Stack::new();
        assert!((0..8).all(|frame| stack.push(frame)) && !stack.push(8));
        let mut out = Vec::new();
        stack.take_oldest(3, &mut |frame| out.push(frame));
        assert_eq!((out.as_slice(), stack.len(), stack.pop()), (&[0, 1, 2][..], 5, Some(7)));
        // Round the ring's end.
        assert!((8..12).all(|frame| stack.push(frame)) && !stack.push(12));
        stack.take_oldest(100, &mut |frame| out.push(frame));
        assert_eq!(
            (out.as_slice(), stack.is_empty(), stack.pop()),
            (&[0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11][..], true, None)
        );
    }

    #[test]
    fn a_cache_that_is_used_is_not_claimed_again() {
        let cache: Cache<u32> = Cache::new();
        // SAFETY: this test is the only user.
        let mut guard = unsafe { cache.try_claim_own(()) }.unwrap();
        assert!(guard.frames.push(1));
        // SAFETY: likewise; this is what an interrupt handler finds.
        assert!(unsafe { cache.try_claim_own(()) }.is_none());
        assert!(cache.try_claim_shared(()).is_none());
        drop(guard);
        assert_eq!(cache.held(), 1);
        assert_eq!(cache.try_claim_shared(()).unwrap().frames.pop(), Some(1));
    }
}
