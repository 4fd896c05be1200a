//! A soak: objects of all sizes come and go in random order, shared by all who take part. In the booted kernel each CPU runs one
//! (`/proc/sys/kernel/ashlar_soak`); hosted tests run it on threads.
//!
//! Objects lie in shared places. Who takes part puts a new one into a random place and frees what was there, whoever allocated it. Each object says how
//! long it is and is otherwise full of one byte, which is checked before it goes.

#![allow(unsafe_code, reason = "allocates and frees by hand")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

const PLACES: usize = 512;
const HEADER: usize = 8;

/// Where the objects of a soak lie.
#[derive(Debug)]
pub struct Places([AtomicPtr<u8>; PLACES]);

/// An object was not what it was left as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

/// Rust's global allocator.
#[derive(Debug)]
pub struct Global;

// SAFETY: hands all on.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { alloc::alloc::alloc(layout) }
    }
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { alloc::alloc::dealloc(object, layout) }
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high as usize * bound) >> 32
    }
    /// Mostly small, sometimes up to a page, rarely several.
    fn size(&mut self) -> usize {
        HEADER
            + match self.below(64) {
                0 => self.below(40_000),
                1..=12 => self.below(4096),
                _ => self.below(400),
            }
    }
}

impl Places {
    /// Without objects.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicPtr::new(null_mut()) }; PLACES])
    }

    /// Has `operations` objects come and others go.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn soak(&self, heap: &impl GlobalAlloc, operations: u64, seed: u64) -> Result<(), Damaged> {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..operations {
            let (size, tag) = (random.size(), random.below(256));
            let new = Self::make(heap, size, tag.to_le_bytes()[0]);
            let Some(place) = self.0.get(random.below(PLACES)) else { continue };
            Self::unmake(heap, place.swap(new, Ordering::AcqRel))?;
        }
        Ok(())
    }

    /// Frees all objects.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn clear(&self, heap: &impl GlobalAlloc) -> Result<(), Damaged> {
        self.0.iter().try_for_each(|place| Self::unmake(heap, place.swap(null_mut(), Ordering::AcqRel)))
    }

    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size, HEADER).ok()
    }

    /// Null when memory is out, which is no fault.
    fn make(heap: &impl GlobalAlloc, size: usize, tag: u8) -> *mut u8 {
        let Some(layout) = Self::layout(size) else { return null_mut() };
        // SAFETY: the size is not zero; what is written was allocated.
        unsafe {
            let object = heap.alloc(layout);
            if !object.is_null() {
                object.cast::<usize>().write(size);
                object.add(HEADER).write_bytes(tag, size - HEADER);
            }
            object
        }
    }

    fn unmake(heap: &impl GlobalAlloc, object: *mut u8) -> Result<(), Damaged> {
        if object.is_null() {
            return Ok(());
        }
        // SAFETY: made by `make`, and taken out of its place, so it is the caller's alone.
        unsafe {
            let size = object.cast::<usize>().read();
            let layout = Self::layout(size).ok_or(Damaged)?;
            let content = core::slice::from_raw_parts(object.add(HEADER), size.saturating_sub(HEADER));
            let is_whole = content.first().is_none_or(|tag| content.iter().all(|byte| byte == tag));
            heap.dealloc(object, layout);
            if is_whole { Ok(()) } else { Err(Damaged) }
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}
