//! The allocator of physical frames: LLFree's lock-free bitmaps per region, a cache per CPU in front.
//!
//! ```text
//! Frame::allocate ── Cache (per CPU, 128 frames + 64 zeroed) ── refill / drain by 64 ── tree (reserved per CPU) ── Region
//! Frame::allocate_block ── Cache (one block of 2 MiB) ───────────────────────────────── tree ─────────────────── Region
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`bits`], [`region`], `region_blocks`, [`region_counts`] | the bitmap, its counters and trees, and their invariants |
//! | [`cache`] | the per-CPU part |
//! | [`allocator`], `blocks`, `giving` | one allocator of several regions: which CPU allocates where; more than one frame; how they come back |
//! | [`map`], [`registry`] | how the firmware's map becomes regions; the list of them |
//! | [`platform`] | what all of these ask of their user: they import nothing else of the kernel but numbers (`base`) |
//! | `kernel`, `poison`, this file | the kernel as such a user; what debug builds do with freed frames; the front door |
//!
//! * Round-robin: each CPU's cursor stays in one 64 MiB tree until that is used up and then moves on, to the fullest one, so that
//!   CPUs do not meet and half-empty trees become empty. Another region (or node, nearest first) is used when one has nothing left.
//! * Nothing here takes a lock or masks interrupts; every function may be called in any context. Adding a region is the exception: thread context.
//! * A frame's reference count is 0 while it is free, so freeing twice is seen and refused; the bits say so once more. Debug builds
//!   fill freed frames with [`POISON`] and with who freed them, and check it when they are allocated again.

#![allow(unsafe_code, reason = "frames given back by number must be the caller's own")]

pub mod allocator;
pub mod bits;
mod blocks;
pub mod cache;
mod giving;
mod kernel;
pub mod map;
pub mod platform;
mod poison;
pub mod region;
mod region_blocks;
pub mod region_counts;
pub mod registry;
mod usage;

/// The atomic integers that regions are made of; the models try them with others.
mod atomic {
    pub use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
}

use super::frame_descriptor::{FrameDescriptor, FrameKind};
use super::numa::NodeId;
use super::physmap;
use crate::arch::{Cpu, Current};
use crate::base::{CpuId, FrameNumber};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::Kernel;
use poison::Misuse;
use region::{GROUP_ORDER, ReleaseError};
use region_counts::LARGEST_COUNTED_ORDER;

pub use crate::base::FrameRange;
pub use allocator::FrameAllocator;
pub use usage::{NodeUsage, collect_usage};

/// The order of a 1 GiB block, the largest there is.
pub const HUGE_ORDER: u8 = 18;
/// What debug builds fill a freed frame with.
pub const POISON: u64 = 0x6b6b_6b6b_6b6b_6b6b;

/// Memory totals in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameStatistics {
    /// Frames under the allocator's control, its own tables excluded.
    pub total: u64,
    /// Frames that could be allocated now, those in caches included.
    pub free: u64,
}

/// What one node has, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeStatistics {
    /// The first frame.
    pub first: u64,
    /// From the first frame to the last, holes included.
    pub spanned: u64,
    /// Frames that the allocator's tables cover.
    pub present: u64,
    /// Frames that could be allocated now, those in caches excluded.
    pub free: u64,
    /// Free blocks of each order, as a buddy allocator would cut them.
    pub blocks: [u64; LARGEST_COUNTED_ORDER as usize + 1],
    /// Of `present`, those that were ever free: holes, the allocator's tables and what firmware keeps are not among them.
    pub managed: u64,
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
    /// Memory that is to be added is managed already.
    Overlap,
}

/// Why a frame was not freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeallocateError {
    /// The frame is free.
    DoubleFree,
    /// It is not the beginning of a block of that order.
    WrongOrder,
    /// The allocator does not manage it.
    NotManaged,
}

impl From<ReleaseError> for DeallocateError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::DoubleFree => Self::DoubleFree,
            ReleaseError::WrongOrder => Self::WrongOrder,
            ReleaseError::NotManaged => Self::NotManaged,
        }
    }
}

static FRAMES: FrameAllocator<Kernel> = FrameAllocator::new();

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
    if FRAMES.regions().is_empty() {
        initialize_hosted();
        return FRAMES.allocate();
    }
    None
}

/// Before an allocation that does not go by single frames: as [`allocate_first`].
#[inline]
fn ensure_started() {
    #[cfg(not(target_os = "none"))]
    if FRAMES.regions().is_empty() {
        initialize_hosted();
    }
}

/// A frame that was just taken out, with one reference, content undefined.
#[inline]
fn hand_out(frame: &'static FrameDescriptor) -> &'static FrameDescriptor {
    frame.set_allocated();
    if cfg!(debug_assertions) {
        poison::check(frame);
        poison::note_allocated(frame.number());
    }
    frame
}

/// A frame's descriptor with one reference, content undefined.
#[inline]
pub(super) fn allocate_descriptor() -> Option<&'static FrameDescriptor> {
    FRAMES.allocate().or_else(allocate_first).map(hand_out)
}

/// As [`allocate_descriptor`], for the kernel heap, which may take the frames that are kept from everybody else. The thread for which
/// it does has to see to it that there are more before it goes back to user mode; see [`take_shortage`].
pub(super) fn allocate_reserved_descriptor() -> Option<&'static FrameDescriptor> {
    let frame = allocate_descriptor().or_else(|| FRAMES.allocate_from_reserve().map(hand_out));
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
        ensure_started();
        let first = FRAMES.allocate_run(count)?;
        (0..count).filter_map(|index| descriptor(first.offset(index))).for_each(|frame| {
            hand_out(frame);
        });
        return Some(first);
    }
    let first = allocate_block_descriptor(order)?;
    let number = first.number();
    split(first, 0);
    let rest = (count..1 << order).filter_map(|index| descriptor(number.offset(index)));
    rest.for_each(|frame| {
        if frame.take_reference() {
            free_descriptor(frame);
        }
    });
    Some(number)
}

/// A block's descriptor with one reference, content undefined.
pub(super) fn allocate_block_descriptor(order: u8) -> Option<&'static FrameDescriptor> {
    if order == 0 {
        return allocate_descriptor();
    }
    ensure_started();
    Some(hand_out_block(FRAMES.allocate_block(order)?, order))
}

fn hand_out_block(first: &'static FrameDescriptor, order: u8) -> &'static FrameDescriptor {
    first.set_order(order);
    first.set_allocated();
    // What a frame says of its past must not outlive the block, which is freed without poison.
    if cfg!(debug_assertions) {
        (0..1 << order).filter_map(|index| descriptor(first.number().offset(index))).for_each(poison::check);
        poison::note_allocated(first.number());
    }
    first
}

/// Makes a block, whose only reference is the caller's, blocks of 2^`parts` frames with one reference each.
pub(super) fn split(first: &'static FrameDescriptor, parts: u8) {
    let (number, order) = (first.number(), first.order());
    if let Err(error) = FRAMES.split(number, order, parts) {
        poison::report(Misuse::Split, number, order, error.into());
    }
    for part in (0..1u64 << order).step_by(1 << parts) {
        if let Some(frame) = descriptor(number.offset(part)) {
            frame.set_order(parts);
            frame.set_allocated();
        }
    }
}

/// A frame's descriptor with one reference, all zeros.
#[inline]
pub(super) fn allocate_zeroed_descriptor() -> Option<&'static FrameDescriptor> {
    if let Some(frame) = FRAMES.allocate_zeroed() {
        frame.set_allocated();
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
    let order = frame.order();
    if order > 0 {
        frame.set_order(0);
    } else if cfg!(debug_assertions) {
        poison::fill(frame);
    }
    if let Err(error) = FRAMES.free(frame, order) {
        poison::report(Misuse::Free, frame.number(), order, error.into());
    }
}

/// Frees a single frame that has no reference left and is full of zeros.
#[inline]
pub(super) fn free_zeroed_descriptor(frame: &'static FrameDescriptor) {
    frame.set_kind(FrameKind::Free);
    frame.note_written();
    debug_assert!(physmap::is_zero(frame.number()), "a frame freed as zeroed is not");
    if let Err(error) = FRAMES.free_zeroed(frame) {
        poison::report(Misuse::Free, frame.number(), 0, error.into());
    }
}

/// The descriptor of an allocated frame of the kernel's allocator.
#[inline]
pub fn descriptor(number: FrameNumber) -> Option<&'static FrameDescriptor> {
    FRAMES.handle(number)
}

/// Allocates a 4 KiB frame, content undefined. [`super::frame::Frame`] is the safe way.
#[must_use]
pub fn allocate_frame() -> Option<FrameNumber> {
    allocate_descriptor().map(FrameDescriptor::number)
}

/// Allocates a 4 KiB frame on `node`, or on the nearest node that has one; content undefined.
#[must_use]
pub fn allocate_frame_on(node: NodeId) -> Option<FrameNumber> {
    FRAMES.allocate_on(node.0).or_else(allocate_first).map(|frame| hand_out(frame).number())
}

/// A frame's descriptor on `node` and no other, with one reference, content undefined.
pub fn allocate_descriptor_on(node: NodeId) -> Option<&'static FrameDescriptor> {
    ensure_started();
    FRAMES.allocate_exactly_on(node.0).map(hand_out)
}

/// Allocates a naturally aligned block of 2^`order` frames (0..=9 or 18), content undefined.
#[must_use]
pub fn allocate_frames(order: u8) -> Option<FrameNumber> {
    allocate_block_descriptor(order).map(FrameDescriptor::number)
}

/// As [`allocate_frames`] (0..=9), for a device that reaches no further than frame `limit`, which the block does not include.
#[must_use]
pub fn allocate_frames_below(order: u8, limit: FrameNumber) -> Option<FrameNumber> {
    ensure_started();
    let first = FRAMES.allocate_block_below(order, limit)?;
    Some(hand_out_block(first, order).number())
}

/// Takes one reference from the frame (or block) that begins at `number`, and frees it with the last.
///
/// # Errors
/// [`DeallocateError`]: nothing was changed.
///
/// # Safety
/// The reference is the caller's, and it uses the frame no more.
pub unsafe fn deallocate_frame(number: FrameNumber) -> Result<(), DeallocateError> {
    let frame = FRAMES.touched(number).ok_or(DeallocateError::NotManaged);
    let refuse = |order, error| {
        poison::report(Misuse::Free, number, order, error);
        Err(error)
    };
    let frame = match frame {
        Ok(frame) => frame,
        Err(error) => return refuse(0, error),
    };
    match frame.try_take_reference() {
        0 => refuse(frame.order(), DeallocateError::DoubleFree),
        1 => {
            free_descriptor(frame);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// As [`deallocate_frame`], for a block that the caller takes to have 2^`order` frames.
///
/// # Errors
/// [`DeallocateError`], [`DeallocateError::WrongOrder`] where it has not: nothing was changed.
///
/// # Safety
/// As for [`deallocate_frame`].
pub unsafe fn deallocate_frames(number: FrameNumber, order: u8) -> Result<(), DeallocateError> {
    if let Some(frame) = FRAMES.touched(number)
        && frame.references() > 0
        && frame.order() != order
    {
        poison::report(Misuse::Free, number, order, DeallocateError::WrongOrder);
        return Err(DeallocateError::WrongOrder);
    }
    // SAFETY: the caller's promise.
    unsafe { deallocate_frame(number) }
}

/// Adds memory that was plugged in while the machine runs. Gives the count of frames that are free because of it.
///
/// # Errors
/// [`FrameAllocatorError`].
///
/// # Safety
/// The range is memory that nothing else uses, mapped by the physmap.
pub unsafe fn add_memory(range: FrameRange, node: NodeId) -> Result<u64, FrameAllocatorError> {
    // SAFETY: the caller's promise.
    unsafe { FRAMES.add_memory(range, node.0, |frame| physmap::pointer(frame.address())) }
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

/// Free frames that no CPU has at hand: a load for each region.
#[inline]
#[must_use]
pub fn free_in_bitmaps() -> u64 {
    FRAMES.free_in_bitmaps()
}

/// Whether a frame may go to user space or to file data: below the reserve only the kernel's own needs are served, so that a
/// full machine can still log, kill and page-fault its way out. A few loads.
#[inline]
#[must_use]
pub fn has_room_for_users() -> bool {
    let total = total_frames();
    // Zero before the first allocation starts the emulated memory.
    total == 0 || free_in_bitmaps() > user_reserve()
}

/// What one node has in all and free, what CPUs have at hand counting as taken: two loads for each region.
#[must_use]
pub fn node_totals(node: u8) -> FrameStatistics {
    FRAMES.node_totals(node)
}

/// What one node has, without what is in caches: linear in rows.
#[must_use]
pub fn collect_node_statistics(node: u8) -> NodeStatistics {
    FRAMES.collect_node_statistics(node)
}

/// Frames that `cpu` has at hand: how many, how many at most, and how many move at a time.
#[must_use]
pub fn cache_usage(cpu: CpuId) -> (u32, usize, u16) {
    (FRAMES.cached_by(cpu.0 as usize), cache::CACHE_FRAMES + cache::CACHE_ZEROED, allocator::BATCH)
}

/// How many of all frames are kept from user space.
#[must_use]
pub fn user_reserve() -> u64 {
    (total_frames() / 64).min(1024)
}

/// Zeroes a free frame ahead of its use: work for an idle CPU. `false` when enough are.
pub fn zero_ahead() -> bool {
    FRAMES.zero_ahead(|frame| {
        if cfg!(debug_assertions) {
            poison::check(frame);
        }
        physmap::zero_frame(frame.number());
    })
}

/// Empties the caches into the bitmaps, so that blocks can form.
pub fn drain_caches() {
    FRAMES.drain();
}

/// Empties the caches and looks whether the tables agree with each other: what does not, and the 2 MiB group where. Others that allocate
/// meanwhile may make it seem so.
#[must_use]
pub fn validate() -> Option<(&'static str, u64)> {
    FRAMES.drain();
    FRAMES.regions().iter().find_map(|region| {
        let (what, group) = region.validate().err()?;
        Some((what, region.first / region::GROUP_FRAMES as u64 + group as u64))
    })
}

/// Empties this CPU's cache and gives up its tree: it goes off line.
pub fn leave_cpu() {
    FRAMES.drain_local();
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
