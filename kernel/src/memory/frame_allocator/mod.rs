//! The allocator of physical frames: lock-free bitmaps per region, a cache per CPU in front.
//!
//! ```text
//! Frame::allocate ── Cache (per CPU, 128 frames + 64 zeroed) ── refill / drain by 32 ── Region (bits, words per 2 MiB)
//! Frame::allocate_block ─────────────────────────────────────────────────────────────── Region
//! ```
//!
//! * [`FrameAllocator`]: one allocator; [`region`]: the bitmap and its invariant; [`map`]: how the firmware's map becomes regions; [`cache`]: the per-CPU part.
//! * Round-robin: each CPU's cursor stays in one 2 MiB group until it is used up and then moves on, partly used groups first, so
//!   CPUs do not meet and whole groups stay whole. Another region (or node, nearest first) is used when one has nothing left.
//! * Nothing here takes a lock or masks interrupts; every function may be called in any context.
//! * A frame's reference count is 0 while it is free, so freeing twice is seen and refused. Debug builds fill freed frames with
//!   [`POISON`] and check it when they are allocated again.

#![allow(unsafe_code, reason = "frames given back by number must be the caller's own")]

mod allocator;
pub mod cache;
pub mod map;
mod nodes;
pub mod region;

use super::frame_descriptor::{FrameDescriptor, FrameKind};
use super::numa::NodeId;
use super::physmap;
use crate::arch::{Cpu, Current};
use crate::base::FrameNumber;
use core::sync::atomic::{AtomicBool, Ordering};
use region::GROUP_ORDER;

pub use crate::base::FrameRange;
pub use allocator::FrameAllocator;
pub(super) use nodes::allocate_descriptor_on;

/// The order of a 1 GiB block, the largest there is.
pub const HUGE_ORDER: u8 = 18;
/// What debug builds fill a freed frame with.
pub const POISON: u64 = 0x6b6b_6b6b_6b6b_6b6b;

/// Descriptor flag of debug builds: the frame is full of [`POISON`].
const POISONED: u16 = 1 << 15;

/// Memory totals in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameStatistics {
    /// Frames under the allocator's control, its own tables excluded.
    pub total: u64,
    /// Frames that could be allocated now, those in caches included.
    pub free: u64,
}

/// What the frame allocator starts from.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap<'a> {
    /// Usable ranges in any order; the overlap of two counts once.
    pub usable: &'a [FrameRange],
    /// Ranges to leave alone inside them: kernel image, start information, initrd, what firmware keeps.
    pub reserved: &'a [FrameRange],
    /// The `mem=` limit: frames from this number on are ignored.
    pub limit: Option<FrameNumber>,
    /// Which node a range is on; what is not listed is on node 0.
    pub nodes: &'a [(FrameRange, u8)],
}

/// Why the frame allocator could not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameAllocatorError {
    /// No usable range has room for the allocator's own tables.
    NoMemory,
    /// The map has more than 128 separate ranges.
    TooManyRanges,
    /// It runs already.
    AlreadyInitialized,
}

/// Why a frame was not freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeallocateError {
    /// The frame is free.
    DoubleFree,
    /// The allocator does not manage it.
    NotManaged,
}

static FRAMES: FrameAllocator = FrameAllocator::new();

/// Starts the kernel's allocator; the physmap must be up. Called once at boot, before the first allocation.
///
/// # Errors
/// [`FrameAllocatorError`].
///
/// # Safety
/// The usable ranges less the reserved ones are memory that nothing else uses, mapped by the physmap.
pub unsafe fn init_frame_allocator(map: &MemoryMap<'_>) -> Result<(), FrameAllocatorError> {
    // SAFETY: the caller's promise.
    unsafe { FRAMES.initialize(map, |frame| physmap::pointer(frame.address())) }
}

/// The emulated machine has its memory from the start: the first allocation of a test registers it.
#[cfg(not(target_os = "none"))]
fn initialize_hosted() {
    use crate::arch::hosted::PHYSICAL_MEMORY_SIZE;
    use crate::base::PAGE_SIZE;
    let usable = [FrameRange { start: FrameNumber::new(1), count: PHYSICAL_MEMORY_SIZE / PAGE_SIZE as u64 - 1 }];
    let map = MemoryMap { usable: &usable, reserved: &[], limit: None, nodes: &[] };
    // SAFETY: the emulated memory is one allocation, used by this allocator alone. A second call is refused.
    let _ = unsafe { init_frame_allocator(&map) };
}

/// Allocates the kernel's `allocate` way, registering the emulated machine's memory first where that is due.
#[cold]
fn allocate_first() -> Option<&'static FrameDescriptor> {
    #[cfg(not(target_os = "none"))]
    if FRAMES.regions.get().is_none() {
        initialize_hosted();
        return FRAMES.allocate();
    }
    None
}

/// A frame's descriptor with one reference, content undefined.
#[inline]
pub(super) fn allocate_descriptor() -> Option<&'static FrameDescriptor> {
    let frame = FRAMES.allocate().or_else(allocate_first)?;
    if cfg!(debug_assertions) {
        check_poison(frame);
    }
    Some(frame)
}

/// As [`allocate_descriptor`], for the kernel heap, which may take the frames that are kept from everybody else. The thread for which
/// it does has to see to it that there are more before it goes back to user mode; see [`take_shortage`].
pub(super) fn allocate_reserved_descriptor() -> Option<&'static FrameDescriptor> {
    let frame = allocate_descriptor().or_else(|| FRAMES.allocate_from_reserve());
    if !has_room_for_users() {
        SHORTAGE.store(true, Ordering::Relaxed);
        Current::local().request_work();
    }
    frame
}

/// The heap has taken frames of the reserve.
static SHORTAGE: AtomicBool = AtomicBool::new(false);

/// Whether the heap has taken frames that are kept from user space, and nobody has answered for it yet. One load where not.
#[inline]
#[must_use]
pub fn take_shortage() -> bool {
    SHORTAGE.load(Ordering::Relaxed) && SHORTAGE.swap(false, Ordering::Relaxed)
}

/// The first of `count` contiguous frames, one reference each: out of a block, whose rest is given back, or a run of whole groups.
pub(super) fn allocate_contiguous(count: u64) -> Option<FrameNumber> {
    let order = u8::try_from(count.checked_next_power_of_two()?.ilog2()).ok()?;
    if order > GROUP_ORDER {
        #[cfg(not(target_os = "none"))]
        if FRAMES.regions.get().is_none() {
            initialize_hosted();
        }
        let first = FRAMES.allocate_run(count)?;
        check_poison_of(first, count);
        return Some(first);
    }
    let first = allocate_block_descriptor(order)?;
    let number = first.number();
    first.set_order(0);
    for index in 0..1u64 << order {
        if let Some(frame) = descriptor(number.offset(index)) {
            if index < count {
                frame.set_allocated();
            } else {
                FRAMES.free(frame);
            }
        }
    }
    Some(number)
}

/// A block's descriptor with one reference, content undefined.
pub(super) fn allocate_block_descriptor(order: u8) -> Option<&'static FrameDescriptor> {
    if order == 0 {
        return allocate_descriptor();
    }
    #[cfg(not(target_os = "none"))]
    if FRAMES.regions.get().is_none() {
        initialize_hosted();
    }
    let first = FRAMES.allocate_block(order)?;
    check_poison_of(first.number(), 1 << order);
    Some(first)
}

/// A frame's descriptor with one reference, all zeros.
#[inline]
pub(super) fn allocate_zeroed_descriptor() -> Option<&'static FrameDescriptor> {
    if let Some(frame) = FRAMES.allocate_zeroed() {
        return Some(frame);
    }
    let frame = allocate_descriptor()?;
    physmap::zero_frame(frame.number());
    Some(frame)
}

/// Frees what has no reference left.
#[inline]
pub(super) fn free_descriptor(frame: &'static FrameDescriptor) {
    frame.set_kind(FrameKind::Free);
    frame.note_written();
    if cfg!(debug_assertions) {
        poison(frame);
    }
    FRAMES.free(frame);
}

/// Frees a single frame that has no reference left and is full of zeros.
#[inline]
pub(super) fn free_zeroed_descriptor(frame: &'static FrameDescriptor) {
    frame.set_kind(FrameKind::Free);
    frame.note_written();
    debug_assert!(physmap::is_zero(frame.number()), "a frame freed as zeroed is not");
    FRAMES.free_zeroed(frame);
}

/// The descriptor of an allocated frame of the kernel's allocator.
#[inline]
pub fn descriptor(number: FrameNumber) -> Option<&'static FrameDescriptor> {
    FRAMES.descriptor(number)
}

fn poison(frame: &'static FrameDescriptor) {
    if frame.order() == 0 {
        physmap::fill_frame(frame.number(), POISON);
        frame.set_flags(POISONED);
    }
}

fn check_poison(frame: &'static FrameDescriptor) {
    if frame.flags() & POISONED != 0 {
        if !physmap::is_filled(frame.number(), POISON) {
            log::error!("frame {:#x} was written to while it was free", frame.number().value());
        }
        frame.set_flags(0);
    }
}

/// As [`check_poison`], for the frames of a block: what one says of its past must not outlive the block, which is freed without poison.
fn check_poison_of(first: FrameNumber, count: u64) {
    if cfg!(debug_assertions) {
        (0..count).filter_map(|index| descriptor(first.offset(index))).for_each(check_poison);
    }
}

/// Allocates a 4 KiB frame, content undefined. [`super::frame::Frame`] is the safe way.
#[must_use]
pub fn allocate_frame() -> Option<FrameNumber> {
    allocate_descriptor().map(FrameDescriptor::number)
}

/// Allocates a 4 KiB frame on `node`, or on the nearest node that has one; content undefined.
#[must_use]
pub fn allocate_frame_on(node: NodeId) -> Option<FrameNumber> {
    let frame = FRAMES.allocate_on(node).or_else(allocate_first)?;
    check_poison_of(frame.number(), 1);
    Some(frame.number())
}

/// Allocates a naturally aligned block of 2^`order` frames (0..=9 or 18), content undefined.
#[must_use]
pub fn allocate_frames(order: u8) -> Option<FrameNumber> {
    allocate_block_descriptor(order).map(FrameDescriptor::number)
}

/// Takes one reference from the frame (or block) that begins at `number`, and frees it with the last.
///
/// # Errors
/// [`DeallocateError`]: nothing was changed.
///
/// # Safety
/// The reference is the caller's, and it uses the frame no more.
pub unsafe fn deallocate_frame(number: FrameNumber) -> Result<(), DeallocateError> {
    let frame = descriptor(number).ok_or(DeallocateError::NotManaged)?;
    match frame.try_take_reference() {
        0 => {
            log::error!("frame {:#x} was freed twice", number.value());
            Err(DeallocateError::DoubleFree)
        }
        1 => {
            free_descriptor(frame);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Gives a range that was reserved at boot (the initrd, once unpacked) to the allocator.
///
/// # Safety
/// The range is memory that nobody uses any more.
pub unsafe fn release_reserved(range: FrameRange) {
    FRAMES.release_reserved(range);
}

/// Totals. A few instructions per CPU.
#[must_use]
pub fn statistics() -> FrameStatistics {
    FRAMES.statistics()
}

/// Frames under the allocator's control: one load.
#[inline]
#[must_use]
pub fn total_frames() -> u64 {
    FRAMES.total.load(Ordering::Relaxed)
}

/// Whether a frame may go to user space or to file data: below the reserve only the kernel's own needs are served, so that a
/// full machine can still log, kill and page-fault its way out. Two loads.
#[inline]
#[must_use]
pub fn has_room_for_users() -> bool {
    let total = total_frames();
    // Zero before the first allocation starts the emulated memory.
    total == 0 || FRAMES.free.load(Ordering::Relaxed) > (total / 64).min(1024)
}

/// Totals of one node, without what is in caches: linear in 2 MiB groups.
#[must_use]
pub fn collect_node_statistics(node: u8) -> FrameStatistics {
    FRAMES.collect_node_statistics(node)
}

/// Zeroes a free frame ahead of its use: work for an idle CPU. `false` when enough are.
pub fn zero_ahead() -> bool {
    FRAMES.zero_ahead(|frame| {
        if cfg!(debug_assertions) {
            check_poison(frame);
        }
        physmap::zero_frame(frame.number());
    })
}

/// Empties the caches into the bitmaps, so that blocks can form.
pub fn drain_caches() {
    FRAMES.drain();
}

#[cfg(test)]
mod tests;
