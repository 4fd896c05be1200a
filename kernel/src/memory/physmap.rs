//! Physical memory as the kernel sees it: every frame at a fixed distance from its physical address.

#![allow(unsafe_code, reason = "reads and writes frames through the physmap")]

use crate::arch::{Current, Mmu};
use crate::base::{FrameNumber, PAGE_SIZE, PhysicalAddress, VirtualAddress};

/// Where the kernel sees physical address `address`.
#[inline]
#[must_use]
pub fn address_of(address: PhysicalAddress) -> VirtualAddress {
    Current::physmap_base().offset(address.value())
}

/// The physical address behind a physmap address.
#[inline]
#[must_use]
pub fn physical_of(address: VirtualAddress) -> PhysicalAddress {
    PhysicalAddress::new(address.value().wrapping_sub(Current::physmap_base().value()))
}

/// A pointer to the memory at `address`. Making it is safe; using it needs the frame to be the caller's.
#[inline]
#[must_use]
pub fn pointer<T>(address: PhysicalAddress) -> *mut T {
    core::ptr::with_exposed_provenance_mut(address_of(address).value() as usize)
}

/// Writes zeros over a whole frame. The frame must be the caller's: this is for the allocator and for owners of a frame.
#[inline]
pub(super) fn zero_frame(frame: FrameNumber) {
    // SAFETY: the callers, all in this room, own the frame, which the physmap maps.
    unsafe { Current::zero_page(address_of(frame.address())) };
}

/// Copies a whole frame over another. Both must be the caller's, and differ.
#[inline]
pub(super) fn copy_frame(target: FrameNumber, source: FrameNumber) {
    // SAFETY: the callers, all in this room, own the frames, which the physmap maps.
    unsafe { Current::copy_page(address_of(target.address()), address_of(source.address())) };
}

/// Writes `words` over a frame, as many as it has; debug builds' poison.
pub(super) fn write_words(frame: FrameNumber, words: impl Iterator<Item = u64>) {
    let place = pointer::<u64>(frame.address());
    for (index, word) in words.take(PAGE_SIZE / 8).enumerate() {
        // SAFETY: inside the frame, which is the caller's.
        unsafe { place.add(index).write_volatile(word) };
    }
}

/// The words of a frame.
pub(super) fn read_words(frame: FrameNumber) -> impl Iterator<Item = u64> {
    let place = pointer::<u64>(frame.address());
    // SAFETY: inside the frame, which is the caller's.
    (0..PAGE_SIZE / 8).map(move |index| unsafe { place.add(index).read_volatile() })
}

/// Whether a frame is full of zeros.
pub(super) fn is_zero(frame: FrameNumber) -> bool {
    read_words(frame).all(|word| word == 0)
}
