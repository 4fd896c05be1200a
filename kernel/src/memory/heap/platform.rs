//! What the heap needs of whoever uses it: a CPU's number, a source of frames, a lock. Nothing else of the heap's structures knows a machine.

#![allow(unsafe_code, reason = "the platform vouches for its frames; a lock gives access to its data")]

use super::misuse::{Misuse, TraceId};
use core::cell::UnsafeCell;

/// Three words about a frame, in memory of the platform's. They are the heap's while the frame is, and changed under a lock of the heap's.
pub trait SlabRecord {
    /// One word.
    fn bits(&self) -> u64;
    /// Sets it.
    fn set_bits(&self, bits: u64);
    /// Another word.
    fn links(&self) -> u64;
    /// Sets it.
    fn set_links(&self, links: u64);
    /// Fourteen bits.
    fn state(&self) -> u16;
    /// Sets them.
    fn set_state(&self, state: u16);
}

/// The machine, and the memory behind the heap.
///
/// # Safety
/// * Between `enter` and `leave` the caller runs on the CPU whose number it got; others on that CPU come between only if they
///   have ended before it goes on (interrupt handlers).
/// * A frame that was given out is nobody else's until it comes back, and lies where `frame_address` says.
pub unsafe trait Platform: Sync {
    /// Whether objects are guarded ([`super::guard`]).
    const GUARDED: bool;
    /// What lets one into the slabs of a class at a time.
    type Lock: Exclusion;
    /// What is known about a frame.
    type Record: SlabRecord;

    /// Keeps the caller on its CPU until [`Platform::leave`]. Gives the CPU's number; those from [`super::MAXIMUM_CPUS`] on do without magazines.
    fn enter(&self) -> usize;
    /// Ends what `enter` began.
    fn leave(&self);
    /// How many frames' worth of free objects the heap may keep for crowds to come, beyond what is little. It keeps no more than that, but gives nothing
    /// back because this has become less: whoever wants it calls [`super::Heap::shrink`].
    fn keepable_frames(&self) -> u64;
    /// A frame. `None`: there is none. Called in any context, under locks of the heap's.
    fn allocate_frame(&self) -> Option<u32>;
    /// Takes one back.
    fn free_frame(&self, number: u32);
    /// `count` frames in a row, aligned to the power of two from `count` on, at least up to 512.
    fn allocate_contiguous(&self, count: usize) -> Option<u32>;
    /// Takes frames in a row back: all of a call's, or a part.
    fn free_contiguous(&self, first: u32, count: usize);
    /// The record of a frame, which is not 0. `None`: it is not one of the platform's.
    fn record(&self, number: u32) -> Option<&Self::Record>;
    /// Where a frame lies.
    fn frame_address(&self, number: u32) -> *mut u8;
    /// The frame that an address lies in, if it does.
    fn frame_number(&self, address: *const u8) -> u32;

    /// Where guarded objects are asked for or freed, so that it can be told.
    fn trace(&self) -> TraceId {
        0
    }
    /// Somebody has misused the heap. Called in any context, maybe under a lock of the heap's.
    fn report(&self, misuse: &Misuse);
}

/// A lock without data.
pub trait Exclusion: Sync {
    /// A free one.
    const FREE: Self;
    /// Held until it is dropped.
    type Guard<'a>
    where
        Self: 'a;
    /// Takes it. In any context, so whoever holds it is not interrupted by others that take it.
    fn lock(&self) -> Self::Guard<'_>;
}

/// Data behind an [`Exclusion`].
#[derive(Debug)]
pub(super) struct Locked<T, L> {
    lock: L,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one in at a time.
unsafe impl<T: Send, L: Sync> Sync for Locked<T, L> {}

impl<T, L: Exclusion> Locked<T, L> {
    pub const fn new(value: T) -> Self {
        Self { lock: L::FREE, value: UnsafeCell::new(value) }
    }
    /// Calls `function` with the lock held.
    #[inline]
    pub fn with<R>(&self, function: impl FnOnce(&mut T) -> R) -> R {
        let _guard = self.lock.lock();
        // SAFETY: the lock is held; nothing that is called under it comes back here, for it is not to be taken twice.
        function(unsafe { &mut *self.value.get() })
    }
}

/// The caller on its CPU, until dropped.
pub(super) struct Pinned<'a, P: Platform> {
    platform: &'a P,
    pub cpu: usize,
}

impl<'a, P: Platform> Pinned<'a, P> {
    #[inline]
    pub fn new(platform: &'a P) -> Self {
        Self { platform, cpu: platform.enter() }
    }
}

impl<P: Platform> Drop for Pinned<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.platform.leave();
    }
}
