//! The per-CPU cache of free frames in front of the bitmaps.
//!
//! A cache is taken by one exchange of its `busy` flag and never waited for: a thread that finds it taken (an interrupt handler on top of
//! its user, or a thread that came to this CPU while another was preempted inside) goes to the bitmap instead. So neither
//! preemption nor interrupts need to be masked, and a frame may be allocated and freed in any context.

#![allow(unsafe_code, reason = "a try-lock hands out exclusive access to its cell")]

use super::super::frame_descriptor::FrameDescriptor;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Frames that a cache holds at most, content undefined.
pub const CACHE_FRAMES: usize = 128;
/// Frames full of zeros that a cache holds at most.
pub const CACHE_ZEROED: usize = 64;

type Slot = Option<&'static FrameDescriptor>;

/// A stack of free frames.
#[derive(Debug)]
pub struct Stack<const CAPACITY: usize> {
    length: usize,
    slots: [Slot; CAPACITY],
}

impl<const CAPACITY: usize> Stack<CAPACITY> {
    const fn new() -> Self {
        Self { length: 0, slots: [None; CAPACITY] }
    }
    /// Takes the frame that was put last.
    #[inline]
    pub fn pop(&mut self) -> Slot {
        let index = self.length.wrapping_sub(1);
        let frame = *self.slots.get(index)?;
        self.length = index;
        frame
    }
    /// Puts a frame; `false` when the stack is full.
    #[inline]
    pub fn push(&mut self, frame: &'static FrameDescriptor) -> bool {
        match self.slots.get_mut(self.length) {
            Some(slot) => {
                *slot = Some(frame);
                self.length += 1;
                true
            }
            None => false,
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

/// Where a CPU allocates: it stays in one 2 MiB group until that is used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// Index of the region.
    pub region: usize,
    /// Index of the group in it.
    pub group: usize,
    /// Whether the two were chosen yet.
    pub is_placed: bool,
}

/// What a cache holds.
#[derive(Debug)]
pub struct Content {
    /// Frames with any content.
    pub frames: Stack<CACHE_FRAMES>,
    /// Frames full of zeros.
    pub zeroed: Stack<CACHE_ZEROED>,
    /// Where the next refill comes from.
    pub cursor: Cursor,
}

/// One CPU's cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Cache {
    busy: AtomicBool,
    held: AtomicU32,
    content: UnsafeCell<Content>,
}

// SAFETY: the content is reached only through a guard, of which `busy` lets one exist; it holds shared references to atomics.
unsafe impl Sync for Cache {}

/// Access to a cache's content.
#[derive(Debug)]
pub struct CacheGuard<'a> {
    cache: &'a Cache,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            held: AtomicU32::new(0),
            content: UnsafeCell::new(Content {
                frames: Stack::new(),
                zeroed: Stack::new(),
                cursor: Cursor { region: 0, group: 0, is_placed: false },
            }),
        }
    }
    /// The content, unless somebody uses it.
    #[inline]
    pub fn try_lock(&self) -> Option<CacheGuard<'_>> {
        // Lazily: dropping a guard frees the cache.
        (!self.busy.swap(true, Ordering::Acquire)).then(|| CacheGuard { cache: self })
    }
    /// How many frames it held when it was last left.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Deref for CacheGuard<'_> {
    type Target = Content;
    #[inline]
    fn deref(&self) -> &Content {
        // SAFETY: this guard is the only one.
        unsafe { &*self.cache.content.get() }
    }
}

impl DerefMut for CacheGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Content {
        // SAFETY: this guard is the only one, and is borrowed exclusively.
        unsafe { &mut *self.cache.content.get() }
    }
}

impl Drop for CacheGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let held = (self.frames.len() + self.zeroed.len()) as u32;
        self.cache.held.store(held, Ordering::Relaxed);
        self.cache.busy.store(false, Ordering::Release);
    }
}
