//! The kernel as the heap's [`Platform`]: its frames, its descriptors as the slabs' records, its locks, its CPUs.

#![allow(unsafe_code, reason = "vouches for the frames")]

use super::misuse::{Misuse, MisuseKind, TraceId};
use super::platform::{Exclusion, Platform, SlabRecord};
use crate::arch::{Cpu, Current};
use crate::base::{FrameNumber, VirtualAddress};
use crate::memory::frame_allocator as frames;
use crate::memory::frame_descriptor::{FrameDescriptor, FrameKind};
use crate::memory::{physmap, traces};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock, SpinLockGuard, parking};

/// The machine that the kernel runs on.
#[derive(Debug)]
pub struct Machine;

/// A spinlock of rank `Heap` that masks interrupts.
#[derive(Debug)]
pub struct HeapLock(SpinLock<(), InterruptsDisabled>);

impl Exclusion for HeapLock {
    const FREE: Self = Self(SpinLock::new(LockRank::Heap, ()));
    type Guard<'a> = SpinLockGuard<'a, (), InterruptsDisabled>;
    #[inline]
    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock()
    }
}

impl SlabRecord for FrameDescriptor {
    fn bits(&self) -> u64 {
        self.owner()
    }
    fn set_bits(&self, bits: u64) {
        self.set_owner(bits);
    }
    fn links(&self) -> u64 {
        self.index()
    }
    fn set_links(&self, links: u64) {
        self.set_index(links);
    }
    fn state(&self) -> u16 {
        self.flags()
    }
    fn set_state(&self, state: u16) {
        self.set_flags(state);
    }
}

fn number_of(frame: FrameNumber) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "frame numbers are below 2^32")]
    {
        frame.value() as u32
    }
}

/// The frame behind an address of the physmap.
fn frame_of(address: *const u8) -> FrameNumber {
    physmap::physical_of(VirtualAddress::new(address.addr() as u64)).frame()
}

// SAFETY: while the preemption count is raised the running thread stays on its CPU; the frame allocator gives each frame to one owner.
unsafe impl Platform for Machine {
    const GUARDED: bool = cfg!(debug_assertions);
    type Lock = HeapLock;
    type Record = FrameDescriptor;

    #[inline]
    fn enter(&self) -> usize {
        Current::disable_preemption();
        Current::id().0 as usize
    }
    #[inline]
    fn leave(&self) {
        if Current::enable_preemption() {
            parking::preempt();
        }
    }
    fn keepable_frames(&self) -> u64 {
        (frames::total_frames() / 32).min(frames::free_in_bitmaps() / 4)
    }
    fn allocate_frame(&self) -> Option<u32> {
        let frame = frames::allocate_reserved_descriptor()?;
        frame.set_kind(FrameKind::Heap);
        Some(number_of(frame.number()))
    }
    fn free_frame(&self, number: u32) {
        if let Some(frame) = frames::descriptor(FrameNumber::new(number.into()))
            && frame.take_reference()
        {
            frames::free_descriptor(frame);
        }
    }
    fn allocate_contiguous(&self, count: usize) -> Option<u32> {
        let first = frames::allocate_contiguous(count as u64)?;
        let row = (0..count as u64).filter_map(|index| frames::descriptor(first.offset(index)));
        row.for_each(|frame| frame.set_kind(FrameKind::Heap));
        Some(number_of(first))
    }
    fn free_contiguous(&self, first: u32, count: usize) {
        for index in 0..count as u64 {
            // SAFETY: the frames were allocated for the heap, one reference each, and it uses them no more.
            let freed = unsafe { frames::deallocate_frame(FrameNumber::new(u64::from(first) + index)) };
            debug_assert!(freed.is_ok(), "a large object that is not made of frames");
        }
    }
    fn record(&self, number: u32) -> Option<&'static FrameDescriptor> {
        frames::descriptor(FrameNumber::new(number.into()))
    }
    fn frame_address(&self, number: u32) -> *mut u8 {
        physmap::pointer(FrameNumber::new(number.into()).address())
    }
    fn frame_number(&self, address: *const u8) -> u32 {
        number_of(frame_of(address))
    }

    fn trace(&self) -> TraceId {
        traces::take()
    }
    #[cold]
    fn report(&self, misuse: &Misuse) {
        let Misuse { kind, address, size, allocated, freed } = *misuse;
        let what = match kind {
            MisuseKind::FreedTwice => "was freed twice",
            MisuseKind::Overrun => "was overrun",
            MisuseKind::WrittenAfterFree => "was written to after it was freed",
            MisuseKind::NotAllocated => "was freed but is no object",
        };
        log::error!("heap: {address:p} ({size} bytes) {what}");
        traces::show("allocated", allocated);
        traces::show("freed", freed);
    }
}
