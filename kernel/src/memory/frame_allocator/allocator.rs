//! One allocator: its regions, caches and totals.

use super::cache::{self, Cache, CacheGuard, Cursor, OWN_CACHES, SHARED_CACHES};
use super::map::{self, MAXIMUM_REGIONS};
use super::platform::Platform;
use super::region::{Companion, GROUP_FRAMES, Region, TREE_GROUPS, Trees};
use super::registry::Registry;
use super::{FrameAllocatorError, FrameStatistics, MemoryMap, NodeStatistics};
use crate::base::{FrameNumber, FrameRange};
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Frames moved between a cache and the bitmaps at a time: a row.
pub(super) const BATCH: u16 = 64;
/// After so many frames a CPU looks, at the end of a group, whether another tree is fuller than its own by now. Less often leaves trees half
/// empty on machines with few; more often costs a nanosecond a frame.
const TAKEN_BEFORE_CHOICE: u32 = 1024;
/// The kernel heap alone may take the last frames: this share of all of them,
pub(super) const RESERVE_SHARE: u64 = 64;
/// but at most this many.
const LARGEST_RESERVE: u64 = 256;

/// What stands for a frame of `P`'s.
pub type Handle<P> = <<P as Platform>::Companion as Companion>::Handle;

/// A frame allocator. The kernel has one ([`super::init_frame_allocator`]); tests and benchmarks make their own.
#[derive(Debug)]
pub struct FrameAllocator<P: Platform> {
    pub(super) regions: Registry<Region<P::Companion>>,
    own: [Cache<Handle<P>>; OWN_CACHES],
    pub(super) shared: [Cache<Handle<P>>; SHARED_CACHES],
    pub(super) total: AtomicU64,
    /// How many frames were free when emptying the caches last gave no block: it is not tried again until there are more.
    pub(super) futile: AtomicU64,
}

impl<P: Platform> FrameAllocator<P> {
    /// An allocator without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            regions: Registry::new(),
            own: [const { Cache::new() }; OWN_CACHES],
            shared: [const { Cache::new() }; SHARED_CACHES],
            total: AtomicU64::new(0),
            futile: AtomicU64::new(0),
        }
    }

    /// Gives it the memory of `map`; `memory` says where a frame is accessible, `companion` makes what there is for each frame out of its tables.
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
    ) -> Result<(), FrameAllocatorError>
    where
        P::Companion: map::OverMemory,
    {
        self.regions.fill_once(FrameAllocatorError::AlreadyInitialized, || {
            // SAFETY: the caller's promise.
            let (regions, free) = unsafe { map::build(map, &memory) }?;
            self.total.store(free, Ordering::Relaxed);
            Ok(regions)
        })
    }

    /// Adds a range of memory that was plugged in while the machine runs; its tables lie at its end. Gives the count of frames that came to the free ones.
    ///
    /// # Errors
    /// [`FrameAllocatorError`]: it is too small, overlaps what is there, or there are [`MAXIMUM_REGIONS`] regions already.
    ///
    /// # Safety
    /// The range is memory that nothing else uses, and `memory` maps all of it.
    #[allow(unsafe_code, reason = "the memory must be the caller's own")]
    pub unsafe fn add_memory(
        &self,
        range: FrameRange,
        node: u8,
        memory: impl Fn(FrameNumber) -> *mut u8,
    ) -> Result<u64, FrameAllocatorError>
    where
        P::Companion: map::OverMemory,
    {
        let map = MemoryMap { usable: &[range], reserved: &[], limit: None, nodes: &[(range, node)] };
        let mut added = 0;
        self.regions.append(FrameAllocatorError::TooManyRanges, |present| {
            let end = range.start.value().saturating_add(range.count);
            let overlaps = |region: &Region<P::Companion>| {
                let last = region.first + (region.groups.len() * GROUP_FRAMES) as u64;
                range.start.value() < last && region.first < end
            };
            if present.iter().any(overlaps) {
                return Err(FrameAllocatorError::Overlap);
            }
            // SAFETY: the caller's promise.
            let (mut regions, free) = unsafe { map::build(&map, &memory) }?;
            added = free;
            regions.pop().ok_or(FrameAllocatorError::NoMemory)
        })?;
        self.total.fetch_add(added, Ordering::Relaxed);
        Ok(added)
    }

    #[inline]
    pub(super) fn regions(&self) -> &[Region<P::Companion>] {
        self.regions.as_slice()
    }

    /// What stands for frame `number`; `None` where the allocator has no region.
    #[inline]
    pub fn handle(&self, number: FrameNumber) -> Option<Handle<P>> {
        let number = number.value();
        self.regions().iter().find_map(|region| region.companion.handle(region.first, region.index_of(number)?))
    }

    #[inline]
    pub(super) fn place_of(&self, number: u64) -> Option<(&Region<P::Companion>, usize)> {
        self.regions().iter().find_map(|region| Some((region, region.index_of(number)?)))
    }

    /// This CPU's cache, unless somebody below on the stack uses it.
    #[inline]
    #[allow(unsafe_code, reason = "claims the CPU's own cache without an atomic exchange")]
    pub(super) fn cache(&self) -> Option<CacheGuard<'_, Handle<P>, P::Pin>> {
        let pin = P::pin();
        let cpu = P::cpu(&pin);
        match self.own.get(cpu) {
            // SAFETY: `Platform`'s promise.
            Some(cache) => unsafe { cache.try_claim_own(pin) },
            None => self.shared.get(cpu % SHARED_CACHES)?.try_claim_shared(pin),
        }
    }

    /// A free frame.
    #[inline]
    pub fn allocate(&self) -> Option<Handle<P>> {
        if let Some(mut cache) = self.cache()
            && let Some(frame) = cache.frames.pop()
        {
            return Some(frame);
        }
        self.allocate_slowly()
    }

    /// A free frame that is full of zeros; `None` when none is ready.
    #[inline]
    pub fn allocate_zeroed(&self) -> Option<Handle<P>> {
        self.cache()?.zeroed.pop()
    }

    #[cold]
    pub(super) fn allocate_slowly(&self) -> Option<Handle<P>> {
        let reserve = (self.total.load(Ordering::Relaxed) / RESERVE_SHARE).min(LARGEST_RESERVE);
        // What the bitmaps have is enough, most of the time; what is in caches takes a look at each.
        let mut room = self.free_in_bitmaps().saturating_sub(reserve);
        if room == 0 {
            room = self.statistics().free.saturating_sub(reserve);
        }
        if room == 0 {
            return None;
        }
        self.refill(u16::try_from(room).map_or(BATCH, |room| room.min(BATCH)))
    }

    /// A free frame, though it may be one of the last.
    #[cold]
    pub fn allocate_from_reserve(&self) -> Option<Handle<P>> {
        self.refill(BATCH)
    }

    /// Takes up to `batch` frames into this CPU's cache, and one out of it.
    fn refill(&self, batch: u16) -> Option<Handle<P>> {
        let mut found = None;
        match self.cache() {
            Some(mut cache) => {
                if cache.frames.is_empty() {
                    let mut cursor = cache.cursor;
                    self.take(&mut cursor, batch, &mut |frame| {
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
        found
    }

    /// Takes up to `want` frames out of the bitmaps. Gives the count; 0 only when there is nothing.
    fn take(&self, cursor: &mut Cursor, want: u16, each: &mut impl FnMut(Handle<P>)) -> u16 {
        let regions = self.regions();
        if !cursor.is_placed {
            self.place(cursor);
        }
        // The group at hand first, then the tree at hand.
        let mut count = 0;
        if let Some(region) = regions.get(cursor.region) {
            let hand = &mut hand_out(region, each);
            count = region.take_frames(cursor.group, want, hand);
            if count == 0
                && (!cursor.is_reserved || cursor.taken < TAKEN_BEFORE_CHOICE)
                && let Some((group, taken)) = region.take_from_tree(cursor.tree, want, hand)
            {
                (cursor.group, count) = (group, taken);
            }
            region.count_taken(count.into());
        }
        if count == 0 {
            count = self.take_elsewhere(cursor, want, each);
        }
        cursor.taken = cursor.taken.saturating_add(count.into());
        count
    }

    /// The first region that is as near to this CPU as any.
    pub(super) fn home_region(&self) -> usize {
        let (home, regions) = (P::home_node(), self.regions());
        let nearest = (0..regions.len())
            .min_by_key(|index| regions.get(*index).map_or(u8::MAX, |region| P::distance(home, region.node)));
        nearest.unwrap_or(0)
    }

    /// Chooses where a CPU starts: in memory of its own node, away from the others.
    pub(super) fn place(&self, cursor: &mut Cursor) {
        let regions = self.regions();
        let region = self.home_region();
        let groups = regions.get(region).map_or(0, |region| region.groups.len());
        let cpu = P::cpu(&P::pin());
        // Eighths in an order that keeps the first few CPUs far apart.
        let group = groups * [0usize, 4, 2, 6, 1, 5, 3, 7][cpu % 8] / 8;
        *cursor = Cursor {
            region,
            tree: group / TREE_GROUPS,
            group,
            is_reserved: false,
            taken: 0,
            whole_group: group,
            is_placed: true,
        };
    }

    /// Reserves another tree and takes frames from it; as a last resort takes them from trees of others.
    #[cold]
    fn take_elsewhere(&self, cursor: &mut Cursor, want: u16, each: &mut impl FnMut(Handle<P>)) -> u16 {
        let regions = self.regions();
        if let Some(region) = regions.get(cursor.region)
            && cursor.is_reserved
        {
            region.leave_tree(cursor.tree);
            cursor.is_reserved = false;
        }
        let owner = u16::try_from(P::cpu(&P::pin()) % usize::from(u16::MAX)).unwrap_or(0);
        for index in self.regions_from(cursor.region) {
            let Some(region) = regions.get(index) else { continue };
            let is_home = regions.get(cursor.region).is_none_or(|home| home.node == region.node);
            let from = if index == cursor.region { cursor.tree } else { 0 };
            let hand = &mut hand_out(region, each);
            for whose in [Trees::Unreserved, Trees::Reserved] {
                // Each round but the last fails because another CPU was faster, or finds a tree that it then marks as empty.
                while let Some(tree) = region.best_tree(from, whose) {
                    let reserve = whose == Trees::Unreserved && is_home;
                    if reserve && !region.reserve_tree(tree, owner) {
                        continue;
                    }
                    if let Some((group, count)) = region.take_from_tree(tree, want, hand) {
                        region.count_taken(count.into());
                        // What another node lent is no reason to stay there.
                        if is_home {
                            *cursor = Cursor { region: index, tree, group, is_reserved: reserve, taken: 0, ..*cursor };
                        }
                        return count;
                    }
                    if reserve {
                        region.leave_tree(tree);
                    }
                }
            }
        }
        0
    }

    /// All regions, from `first` on: those of its node, then those of other nodes, nearest first, each group round-robin.
    pub(super) fn regions_from(&self, first: usize) -> ArrayVec<usize, MAXIMUM_REGIONS> {
        let regions = self.regions();
        let length = regions.len().max(1);
        let mut order: ArrayVec<usize, MAXIMUM_REGIONS> =
            (0..regions.len()).map(|step| (first + step) % length).collect();
        if let Some(home) = regions.get(first) {
            // Stable: equal distances keep the round-robin order.
            order
                .sort_by_key(|index| regions.get(*index).map_or(u8::MAX, |region| P::distance(home.node, region.node)));
        }
        order
    }

    /// A free frame of `node` and no other, out of the bitmaps; `None` where those have none. What CPUs have at hand is not looked at.
    pub fn allocate_exactly_on(&self, node: u8) -> Option<Handle<P>> {
        self.regions().iter().filter(|region| region.node == node).find_map(|region| {
            let mut found = None;
            let mut hand = |index| found = Some(index);
            region.trees_with_free().find_map(|tree| region.take_from_tree(tree, 1, &mut hand))?;
            region.count_taken(1);
            region.companion.handle(region.first, found?)
        })
    }

    /// A free frame on `node` or, where that has none left, on the nearest one that has.
    pub fn allocate_on(&self, node: u8) -> Option<Handle<P>> {
        let mut nodes: ArrayVec<u8, MAXIMUM_REGIONS> = self.regions().iter().map(|region| region.node).collect();
        nodes.sort_unstable_by_key(|other| (P::distance(node, *other), *other));
        nodes.iter().find_map(|near| self.allocate_exactly_on(*near)).or_else(|| self.allocate())
    }

    /// Makes one frame of this CPU's cache zeroed ahead of time: work for an idle CPU. `false` when enough are.
    pub fn zero_ahead(&self, zero: impl FnOnce(Handle<P>)) -> bool {
        let Some(mut cache) = self.cache() else { return false };
        if cache.zeroed.len() >= cache::CACHE_ZEROED / 2 {
            return false;
        }
        let Some(frame) = cache.frames.pop() else { return false };
        zero(frame);
        cache.zeroed.push(frame)
    }

    /// Free frames in the bitmaps: a load for each region.
    #[inline]
    #[must_use]
    pub fn free_in_bitmaps(&self) -> u64 {
        self.regions().iter().map(Region::free).sum()
    }

    /// What `node` has in its bitmaps and how much of that was ever free: two loads for each region. What CPUs have at hand counts as taken.
    #[must_use]
    pub fn node_totals(&self, node: u8) -> FrameStatistics {
        let mut totals = FrameStatistics::default();
        for region in self.regions().iter().filter(|region| region.node == node) {
            totals.total += region.managed.load(Ordering::Relaxed);
            totals.free += region.free();
        }
        totals
    }

    /// Frames in caches.
    pub(super) fn cached(&self) -> u64 {
        self.own.iter().chain(&self.shared).map(|cache| u64::from(cache.held())).sum()
    }

    /// What stands for frame `number` if its group has ever been used: only then it means anything.
    pub fn touched(&self, number: FrameNumber) -> Option<Handle<P>> {
        let (region, index) = self.place_of(number.value())?;
        region.is_initialized(index).then(|| region.companion.handle(region.first, index))?
    }

    /// What one node has, counted over its rows.
    #[must_use]
    pub fn collect_node_statistics(&self, node: u8) -> NodeStatistics {
        let mut statistics = NodeStatistics::default();
        let mut end = 0;
        for region in self.regions().iter().filter(|region| region.node == node) {
            let frames = (region.groups.len() * GROUP_FRAMES) as u64;
            let is_first = statistics.present == 0 || region.first < statistics.first;
            statistics.first = if is_first { region.first } else { statistics.first };
            end = end.max(region.first + frames);
            statistics.present += frames;
            statistics.managed += region.managed.load(Ordering::Relaxed);
            statistics.free += region.collect_free();
            region.collect_blocks(&mut statistics.blocks);
        }
        statistics.spanned = end - statistics.first;
        statistics
    }

    /// Frames that CPU number `cpu` has at hand, if it has a cache of its own.
    pub fn cached_by(&self, cpu: usize) -> u32 {
        self.own.get(cpu).map_or(0, Cache::held)
    }

    /// Totals.
    #[must_use]
    pub fn statistics(&self) -> FrameStatistics {
        FrameStatistics {
            total: self.total.load(Ordering::Relaxed),
            free: self.free_in_bitmaps().saturating_add(self.cached()),
        }
    }
}

/// Turns indexes in `region` into handles.
#[inline]
fn hand_out<C: Companion>(region: &Region<C>, each: &mut impl FnMut(C::Handle)) -> impl FnMut(usize) {
    |index| {
        if let Some(frame) = region.companion.handle(region.first, index) {
            each(frame);
        }
    }
}

impl<P: Platform> Default for FrameAllocator<P> {
    fn default() -> Self {
        Self::new()
    }
}
