//! One allocator: its regions, caches and totals.

use super::cache::{self, Cache, Cursor};
use super::map::{self, MAXIMUM_REGIONS};
use super::region::{GROUP_FRAMES, GROUP_ORDER, Region};
use super::{FrameAllocatorError, FrameStatistics, HUGE_ORDER, MemoryMap};
use crate::arch::{Cpu, Current};
use crate::base::{FrameNumber, FrameRange};
use crate::memory::frame_descriptor::FrameDescriptor;
use crate::memory::numa::{self, NodeId};
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;

/// Caches: CPUs beyond share them, which is only slower.
const CACHES: usize = 16;
/// Frames moved between a cache and the bitmap at a time.
const BATCH: u32 = 32;
/// The kernel heap alone may take the last frames: this share of all of them,
pub(super) const RESERVE_SHARE: u64 = 64;
/// but at most this many.
const LARGEST_RESERVE: u64 = 256;

/// Whether `frame` is of another node than this CPU: then it is not kept at hand, as what comes next wants memory that is near.
#[inline]
fn is_remote(frame: &FrameDescriptor) -> bool {
    numa::has_several_nodes() && frame.node() != numa::current_node().0
}

/// A frame allocator. The kernel has one ([`init_frame_allocator`]); tests make their own.
#[derive(Debug)]
pub struct FrameAllocator {
    pub(super) regions: Once<ArrayVec<Region, MAXIMUM_REGIONS>>,
    caches: [Cache; CACHES],
    pub(super) total: AtomicU64,
    /// Free frames in the bitmaps.
    pub(super) free: AtomicU64,
}

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
    #[allow(unsafe_code, reason = "the memory must be the caller's own")]
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
    pub(super) fn regions(&self) -> &[Region] {
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
    pub(super) fn allocate_slowly(&self) -> Option<&'static FrameDescriptor> {
        let reserve = self.total.load(Ordering::Relaxed) / RESERVE_SHARE;
        if self.statistics().free <= reserve.min(LARGEST_RESERVE) {
            return None;
        }
        self.allocate_from_reserve()
    }

    /// A free frame, with one reference, though it may be one of the last.
    #[cold]
    pub(super) fn allocate_from_reserve(&self) -> Option<&'static FrameDescriptor> {
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
    pub(super) fn take(&self, cursor: &mut Cursor, want: u32, each: &mut impl FnMut(&'static FrameDescriptor)) -> u32 {
        let regions = self.regions();
        let node_at = |region: usize| regions.get(region).map(|region| region.node);
        if !cursor.is_placed {
            // CPUs start in memory of their own node, far apart.
            let node = numa::topology().node_of_cpu(Current::hardware_identifier());
            let nearest = numa::topology().closest(node).into_iter();
            let home = nearest.filter_map(|near| regions.iter().position(|region| region.node == near.0)).next();
            let home = home.unwrap_or(0);
            let groups = regions.get(home).map_or(0, |region| region.groups.len());
            let share = Current::id().0 as usize % CACHES;
            *cursor = Cursor { region: home, group: groups * share / CACHES, is_placed: true };
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
        // What another node lent is no reason to stay there.
        if node_at(place.region) == node_at(cursor.region) {
            *cursor = place;
        }
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

    /// The first of `count` contiguous frames out of whole groups, one reference each; what is left of the last group is given back.
    /// For more than a block can hold: linear in groups.
    pub fn allocate_run(&self, count: u64) -> Option<FrameNumber> {
        let groups = usize::try_from(count.div_ceil(GROUP_FRAMES as u64)).ok()?;
        let take = || {
            self.regions().iter().find_map(|region| {
                let last = region.groups.len().checked_sub(groups)?;
                region
                    .whole_candidates(0)
                    .filter(|first| *first <= last)
                    .find_map(|first| region.take_groups(first, groups))
            })
        };
        let first = take().or_else(|| if self.drain() > 0 { take() } else { None })?.number();
        self.free.fetch_sub((groups * GROUP_FRAMES) as u64, Ordering::Relaxed);
        for index in 0..(groups * GROUP_FRAMES) as u64 {
            let Some(frame) = self.descriptor(first.offset(index)) else { continue };
            frame.set_order(0);
            if index < count {
                frame.set_allocated();
            } else {
                self.release(frame);
            }
        }
        Some(first)
    }

    /// Takes back a frame or block whose last reference is gone.
    #[inline]
    pub fn free(&self, frame: &'static FrameDescriptor) {
        if is_remote(frame) {
            return self.release(frame);
        }
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
        if !is_remote(frame)
            && let Some(mut cache) = self.cache().try_lock()
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
    pub fn zero_ahead(&self, zero: impl FnOnce(&'static FrameDescriptor)) -> bool {
        let Some(mut cache) = self.cache().try_lock() else { return false };
        if cache.zeroed.len() >= cache::CACHE_ZEROED / 2 {
            return false;
        }
        let Some(frame) = cache.frames.pop() else { return false };
        zero(frame);
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
