//! The allocator of physical frames: lock-free bitmaps per region, a cache per CPU in front.
//!
//! ```text
//! Frame::allocate ── Cache (per CPU, 128 frames + 64 zeroed) ── refill / drain by 32 ── Region (bits, words per 2 MiB)
//! Frame::allocate_block ─────────────────────────────────────────────────────────────── Region
//! ```
//!
//! * [`region`]: the bitmap and its invariant; [`map`]: how the firmware's map becomes regions; [`cache`]: the per-CPU part.
//! * Round-robin: each CPU's cursor stays in one 2 MiB group until it is used up and then moves on, partly used groups first, so
//!   CPUs do not meet and whole groups stay whole. Another region (or node, nearest first) is used when one has nothing left.
//! * Nothing here takes a lock or masks interrupts; every function may be called in any context.
//! * A frame's reference count is 0 while it is free, so freeing twice is seen and refused. Debug builds fill freed frames with
//!   [`POISON`] and check it when they are allocated again.

#![allow(unsafe_code, reason = "frames given back by number must be the caller's own")]

pub mod cache;
pub mod map;
pub mod region;

use super::frame_descriptor::{FrameDescriptor, FrameKind};
use super::numa::{self, NodeId};
use super::physmap;
use crate::arch::{Cpu, Current};
use crate::base::FrameNumber;
use arrayvec::ArrayVec;
use cache::{Cache, Cursor};
use core::sync::atomic::{AtomicU64, Ordering};
use map::MAXIMUM_REGIONS;
use region::{GROUP_FRAMES, GROUP_ORDER, Region};
use spin::Once;

/// The order of a 1 GiB block, the largest there is.
pub const HUGE_ORDER: u8 = 18;
/// What debug builds fill a freed frame with.
pub const POISON: u64 = 0x6b6b_6b6b_6b6b_6b6b;

/// Caches: CPUs beyond share them, which is only slower.
const CACHES: usize = 16;
/// Frames moved between a cache and the bitmap at a time.
const BATCH: u32 = 32;
/// The kernel heap alone may take the last frames: this share of all of them,
const RESERVE_SHARE: u64 = 64;
/// but at most this many.
const LARGEST_RESERVE: u64 = 256;
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

/// A range of physical memory, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRange {
    /// The first frame.
    pub start: FrameNumber,
    /// How many.
    pub count: u64,
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

/// A frame allocator. The kernel has one ([`init_frame_allocator`]); tests make their own.
#[derive(Debug)]
pub struct FrameAllocator {
    regions: Once<ArrayVec<Region, MAXIMUM_REGIONS>>,
    caches: [Cache; CACHES],
    total: AtomicU64,
    /// Free frames in the bitmaps.
    free: AtomicU64,
}

static FRAMES: FrameAllocator = FrameAllocator::new();

impl FrameAllocator {
    /// An allocator without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            regions: Once::new(),
            caches: [const { Cache::new() }; CACHES],
            total: AtomicU64::new(0),
            free: AtomicU64::new(0),
        }
    }

    /// Gives it the memory of `map`; `memory` says where a frame is accessible.
    ///
    /// # Errors
    /// [`FrameAllocatorError`].
    ///
    /// # Safety
    /// The usable ranges less the reserved ones are memory that nothing else uses, and `memory` maps every one of them.
    pub unsafe fn initialize(
        &self,
        map: &MemoryMap<'_>,
        memory: impl Fn(FrameNumber) -> *mut u8,
    ) -> Result<(), FrameAllocatorError> {
        let mut result = Err(FrameAllocatorError::AlreadyInitialized);
        // On failure nothing was registered, and the next call may try again.
        let _ = self.regions.try_call_once(|| {
            // SAFETY: the caller's promise.
            let (regions, free) = unsafe { map::build(map, &memory) }.inspect_err(|error| result = Err(*error))?;
            self.total.store(free, Ordering::Relaxed);
            self.free.store(free, Ordering::Relaxed);
            result = Ok(());
            Ok::<_, FrameAllocatorError>(regions)
        });
        result
    }

    #[inline]
    fn regions(&self) -> &[Region] {
        self.regions.get().map_or(&[], |regions| regions.as_slice())
    }

    /// The descriptor of frame `number`; `None` where the allocator has no region, or the frame's group was never touched
    /// and holds no allocation.
    #[inline]
    pub fn descriptor(&self, number: FrameNumber) -> Option<&'static FrameDescriptor> {
        self.regions().iter().find_map(|region| region.descriptor(number))
    }

    fn region_of(&self, number: FrameNumber) -> Option<&Region> {
        self.regions().iter().find(|region| region.descriptor(number).is_some())
    }

    #[inline]
    fn cache(&self) -> &Cache {
        // The index is below the array's length, so this compiles to an address calculation.
        let [first, ..] = &self.caches;
        self.caches.get(Current::id().0 as usize % CACHES).unwrap_or(first)
    }

    /// A free frame, with one reference.
    #[inline]
    pub fn allocate(&self) -> Option<&'static FrameDescriptor> {
        if let Some(mut cache) = self.cache().try_lock()
            && let Some(frame) = cache.frames.pop()
        {
            frame.set_allocated();
            return Some(frame);
        }
        self.allocate_slowly()
    }

    /// A free frame that is full of zeros, with one reference; `None` when none is ready.
    #[inline]
    pub fn allocate_zeroed(&self) -> Option<&'static FrameDescriptor> {
        let frame = self.cache().try_lock()?.zeroed.pop()?;
        frame.set_allocated();
        Some(frame)
    }

    #[cold]
    fn allocate_slowly(&self) -> Option<&'static FrameDescriptor> {
        let reserve = self.total.load(Ordering::Relaxed) / RESERVE_SHARE;
        if self.statistics().free <= reserve.min(LARGEST_RESERVE) {
            return None;
        }
        self.allocate_from_reserve()
    }

    /// A free frame, with one reference, though it may be one of the last.
    #[cold]
    fn allocate_from_reserve(&self) -> Option<&'static FrameDescriptor> {
        let mut found = None;
        match self.cache().try_lock() {
            Some(mut cache) => {
                if cache.frames.is_empty() {
                    let mut cursor = cache.cursor;
                    self.take(&mut cursor, BATCH, &mut |frame| {
                        // The stack was empty, so it takes a batch.
                        let _ = cache.frames.push(frame);
                    });
                    cache.cursor = cursor;
                }
                found = cache.frames.pop().or_else(|| cache.zeroed.pop());
            }
            None => {
                self.take(&mut Cursor::default(), 1, &mut |frame| found = Some(frame));
            }
        }
        if found.is_none() && self.drain() > 0 {
            self.take(&mut Cursor::default(), 1, &mut |frame| found = Some(frame));
        }
        found.inspect(|frame| frame.set_allocated())
    }

    /// Takes up to `want` frames out of the bitmaps. Gives the count; 0 only when there is nothing.
    fn take(&self, cursor: &mut Cursor, want: u32, each: &mut impl FnMut(&'static FrameDescriptor)) -> u32 {
        let regions = self.regions();
        if !cursor.is_placed {
            // CPUs start far apart.
            let groups = regions.first().map_or(0, |region| region.groups.len());
            let share = Current::id().0 as usize % CACHES;
            *cursor = Cursor { region: 0, group: groups * share / CACHES, is_placed: true };
        }
        let mut take_in = |index: usize, groups: &mut dyn Iterator<Item = usize>| {
            let region = regions.get(index)?;
            for group in groups {
                let count = region.take_frames(group, want, each);
                if count > 0 {
                    self.free.fetch_sub(count.into(), Ordering::Relaxed);
                    return Some((Cursor { region: index, group, is_placed: true }, count));
                }
            }
            None
        };
        // The group at hand first, whatever its hints.
        let mut found = take_in(cursor.region, &mut core::iter::once(cursor.group));
        if found.is_none() {
            let order = self.regions_from(cursor.region);
            found = order.into_iter().find_map(|index| {
                let from = if index == cursor.region { cursor.group } else { 0 };
                take_in(index, &mut regions.get(index)?.candidates(from))
            });
        }
        let Some((place, count)) = found else { return 0 };
        *cursor = place;
        count
    }

    /// All regions, from `first` on: those of its node, then those of other nodes, nearest first, each group round-robin.
    fn regions_from(&self, first: usize) -> ArrayVec<usize, MAXIMUM_REGIONS> {
        let regions = self.regions();
        let length = regions.len().max(1);
        let mut order: ArrayVec<usize, MAXIMUM_REGIONS> =
            (0..regions.len()).map(|step| (first + step) % length).collect();
        if let Some(home) = regions.get(first) {
            let topology = numa::topology();
            // Stable: equal distances keep the round-robin order.
            order.sort_by_key(|index| {
                regions.get(*index).map_or(u8::MAX, |region| topology.distance(NodeId(home.node), NodeId(region.node)))
            });
        }
        order
    }

    /// A free frame on `node` or, where that has none left, on the nearest one that has; with one reference.
    pub fn allocate_on(&self, node: NodeId) -> Option<&'static FrameDescriptor> {
        for near in numa::topology().closest(node) {
            for region in self.regions().iter().filter(|region| region.node == near.0) {
                for group in region.candidates(0) {
                    let mut found = None;
                    if region.take_frames(group, 1, &mut |frame| found = Some(frame)) > 0 {
                        self.free.fetch_sub(1, Ordering::Relaxed);
                        return found.inspect(|frame| frame.set_allocated());
                    }
                }
            }
        }
        self.allocate()
    }

    /// A block of 2^`order` frames (1..=9 or 18), with one reference on its first frame.
    pub fn allocate_block(&self, order: u8) -> Option<&'static FrameDescriptor> {
        let frame = self.take_block(order).or_else(|| {
            // Frames in caches may be what the block lacks.
            if self.drain() > 0 { self.take_block(order) } else { None }
        })?;
        self.free.fetch_sub(1 << order, Ordering::Relaxed);
        frame.set_order(order);
        frame.set_allocated();
        Some(frame)
    }

    fn take_block(&self, order: u8) -> Option<&'static FrameDescriptor> {
        self.regions().iter().find_map(|region| match order {
            0..GROUP_ORDER => region.candidates(0).find_map(|group| region.take_block(group, order)),
            GROUP_ORDER => region.whole_candidates(0).find_map(|group| region.take_block(group, order)),
            HUGE_ORDER => {
                let count = 1usize << (HUGE_ORDER - GROUP_ORDER);
                #[expect(clippy::cast_possible_truncation, reason = "below the count")]
                let first = (region.first / GROUP_FRAMES as u64).wrapping_neg() as usize % count;
                (first..)
                    .step_by(count)
                    .take_while(|group| group + count <= region.groups.len())
                    .find_map(|group| region.take_groups(group, count))
            }
            _ => None,
        })
    }

    /// Takes back a frame or block whose last reference is gone.
    #[inline]
    pub fn free(&self, frame: &'static FrameDescriptor) {
        if frame.order() == 0
            && let Some(mut cache) = self.cache().try_lock()
            && cache.frames.push(frame)
        {
            return;
        }
        self.free_slowly(frame);
    }

    /// Takes back a single frame that is full of zeros.
    #[inline]
    pub fn free_zeroed(&self, frame: &'static FrameDescriptor) {
        if let Some(mut cache) = self.cache().try_lock()
            && cache.zeroed.push(frame)
        {
            return;
        }
        self.free(frame);
    }

    #[cold]
    fn free_slowly(&self, frame: &'static FrameDescriptor) {
        if frame.order() == 0
            && let Some(mut cache) = self.cache().try_lock()
        {
            for _ in 0..BATCH * 2 {
                match cache.frames.pop() {
                    Some(other) => self.release(other),
                    None => break,
                }
            }
            if cache.frames.push(frame) {
                return;
            }
        }
        self.release(frame);
    }

    /// Gives a free frame or block to its region's bitmap.
    fn release(&self, frame: &'static FrameDescriptor) {
        let (number, order) = (frame.number(), frame.order());
        frame.set_order(0);
        let Some(region) = self.region_of(number) else { return };
        let count = 1u64 << order;
        let step = order.min(GROUP_ORDER);
        for block in (0..count).step_by(1 << step) {
            if region.release_block(number.offset(block), step) {
                self.free.fetch_add(1 << step, Ordering::Relaxed);
            } else {
                log::error!("frame {:#x} (order {order}) was freed twice", number.value());
            }
        }
    }

    /// Empties every cache that is not in use into the bitmaps. Gives the number of frames.
    pub fn drain(&self) -> u64 {
        let mut count = 0;
        for cache in &self.caches {
            let Some(mut cache) = cache.try_lock() else { continue };
            while let Some(frame) = cache.frames.pop().or_else(|| cache.zeroed.pop()) {
                self.release(frame);
                count += 1;
            }
        }
        count
    }

    /// Makes one frame of this CPU's cache zeroed ahead of time: work for an idle CPU. `false` when enough are.
    pub fn zero_ahead(&self, zero: impl FnOnce(FrameNumber)) -> bool {
        let Some(mut cache) = self.cache().try_lock() else { return false };
        if cache.zeroed.len() >= cache::CACHE_ZEROED / 2 {
            return false;
        }
        let Some(frame) = cache.frames.pop() else { return false };
        zero(frame.number());
        cache.zeroed.push(frame)
    }

    /// Gives a range that was reserved at start to the allocator.
    pub fn release_reserved(&self, range: FrameRange) {
        for offset in 0..range.count {
            let number = range.start.offset(offset);
            if let Some(region) = self.region_of(number)
                && region.release_block(number, 0)
            {
                self.free.fetch_add(1, Ordering::Relaxed);
                self.total.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Totals.
    #[must_use]
    pub fn statistics(&self) -> FrameStatistics {
        let cached: u64 = self.caches.iter().map(|cache| u64::from(cache.held())).sum();
        FrameStatistics {
            total: self.total.load(Ordering::Relaxed),
            free: self.free.load(Ordering::Relaxed).saturating_add(cached),
        }
    }

    /// Totals of one node, counted over its groups: linear in 2 MiB groups. Frames in caches count as used.
    #[must_use]
    pub fn collect_node_statistics(&self, node: u8) -> FrameStatistics {
        let mut statistics = FrameStatistics::default();
        for region in self.regions().iter().filter(|region| region.node == node) {
            statistics.free += region.collect_free();
            statistics.total += (region.groups.len() * GROUP_FRAMES) as u64;
        }
        statistics
    }
}

impl Default for FrameAllocator {
    fn default() -> Self {
        Self::new()
    }
}

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

/// As [`allocate_descriptor`], for the kernel heap, which may take the frames that are kept from everybody else.
pub(super) fn allocate_reserved_descriptor() -> Option<&'static FrameDescriptor> {
    allocate_descriptor().or_else(|| FRAMES.allocate_from_reserve())
}

/// The first of `count` contiguous frames, one reference each, out of a block of 2^`order`, whose rest is given back.
pub(super) fn allocate_contiguous(order: u8, count: u64) -> Option<FrameNumber> {
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
    FRAMES.allocate_block(order)
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

/// Allocates a 4 KiB frame, content undefined. [`super::frame::Frame`] is the safe way.
#[must_use]
pub fn allocate_frame() -> Option<FrameNumber> {
    allocate_descriptor().map(FrameDescriptor::number)
}

/// Allocates a 4 KiB frame on `node`, or on the nearest node that has one; content undefined.
#[must_use]
pub fn allocate_frame_on(node: NodeId) -> Option<FrameNumber> {
    FRAMES.allocate_on(node).or_else(allocate_first).map(FrameDescriptor::number)
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
    FRAMES.zero_ahead(physmap::zero_frame)
}

/// Empties the caches into the bitmaps, so that blocks can form.
pub fn drain_caches() {
    FRAMES.drain();
}

#[cfg(test)]
mod tests;
