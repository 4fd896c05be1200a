//! One allocator: its regions, caches and totals.

use super::cache::{self, Cache, CacheGuard, Cursor, OWN_CACHES, SHARED_CACHES};
use super::map::{self, MAXIMUM_REGIONS};
use super::platform::Platform;
use super::region::{Companion, GROUP_FRAMES, GROUP_ORDER, Region, ReleaseError, TREE_GROUPS, Trees};
use super::registry::Registry;
use super::{FrameAllocatorError, FrameStatistics, HUGE_ORDER, MemoryMap, NodeStatistics};
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
/// Groups in a 1 GiB block.
const HUGE_GROUPS: usize = 1 << (HUGE_ORDER - GROUP_ORDER);

/// What stands for a frame of `P`'s.
pub type Handle<P> = <<P as Platform>::Companion as Companion>::Handle;

/// A frame allocator. The kernel has one ([`super::init_frame_allocator`]); tests and benchmarks make their own.
#[derive(Debug)]
pub struct FrameAllocator<P: Platform> {
    pub(super) regions: Registry<Region<P::Companion>>,
    own: [Cache<Handle<P>>; OWN_CACHES],
    shared: [Cache<Handle<P>>; SHARED_CACHES],
    pub(super) total: AtomicU64,
    /// Free frames in the bitmaps.
    pub(super) free: AtomicU64,
    /// How many were free when emptying the caches last gave no block: it is not tried again until there are more.
    futile: AtomicU64,
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
            free: AtomicU64::new(0),
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
            self.free.store(free, Ordering::Relaxed);
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
        self.free.fetch_add(added, Ordering::Relaxed);
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
    fn place_of(&self, number: u64) -> Option<(&Region<P::Companion>, usize)> {
        self.regions().iter().find_map(|region| Some((region, region.index_of(number)?)))
    }

    /// This CPU's cache, unless somebody below on the stack uses it.
    #[inline]
    #[allow(unsafe_code, reason = "claims the CPU's own cache without an atomic exchange")]
    fn cache(&self) -> Option<CacheGuard<'_, Handle<P>, P::Pin>> {
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
        let room = self.statistics().free.saturating_sub(reserve);
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
        }
        if count == 0 {
            count = self.take_elsewhere(cursor, want, each);
        }
        cursor.taken = cursor.taken.saturating_add(count.into());
        self.free.fetch_sub(count.into(), Ordering::Relaxed);
        count
    }

    /// Chooses where a CPU starts: in memory of its own node, away from the others.
    fn place(&self, cursor: &mut Cursor) {
        let regions = self.regions();
        let home = P::home_node();
        let nearest = (0..regions.len())
            .min_by_key(|index| regions.get(*index).map_or(u8::MAX, |region| P::distance(home, region.node)));
        let region = nearest.unwrap_or(0);
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
    fn regions_from(&self, first: usize) -> ArrayVec<usize, MAXIMUM_REGIONS> {
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
            self.free.fetch_sub(1, Ordering::Relaxed);
            region.companion.handle(region.first, found?)
        })
    }

    /// A free frame on `node` or, where that has none left, on the nearest one that has.
    pub fn allocate_on(&self, node: u8) -> Option<Handle<P>> {
        let mut nodes: ArrayVec<u8, MAXIMUM_REGIONS> = self.regions().iter().map(|region| region.node).collect();
        nodes.sort_unstable_by_key(|other| (P::distance(node, *other), *other));
        nodes.iter().find_map(|near| self.allocate_exactly_on(*near)).or_else(|| self.allocate())
    }

    /// A block of 2^`order` frames (0..=9 or 18).
    pub fn allocate_block(&self, order: u8) -> Option<Handle<P>> {
        self.with_emptied_caches(1 << order.min(HUGE_ORDER), || self.take_block(order))
    }

    /// A block of 2^`order` frames (0..=9) that ends at or below frame `limit`, for a device that reaches no further. Linear in groups below it.
    pub fn allocate_block_below(&self, order: u8, limit: FrameNumber) -> Option<Handle<P>> {
        self.with_emptied_caches(1 << order.min(GROUP_ORDER), || {
            self.regions().iter().find_map(|region| {
                let groups = limit.value().saturating_sub(region.first) / GROUP_FRAMES as u64;
                #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
                let groups = region.groups.len().min(groups as usize);
                let index = match order {
                    0..GROUP_ORDER => (0..groups).find_map(|group| region.take_block(group, order)),
                    GROUP_ORDER => {
                        (0..groups).find(|group| region.take_whole(*group)).map(|group| group * GROUP_FRAMES)
                    }
                    _ => None,
                }?;
                region.companion.handle(region.first, index)
            })
        })
    }

    /// Takes `count` frames by `take`, once more when frames at hand may be what it lacks.
    fn with_emptied_caches<T>(&self, count: u64, take: impl Fn() -> Option<T>) -> Option<T> {
        let taken = take().or_else(|| {
            let free = self.statistics().free;
            if free < count || free <= self.futile.load(Ordering::Relaxed) || self.drain() == 0 {
                return None;
            }
            let taken = take();
            // Until a good deal more is free there is no use in troubling the other CPUs again.
            let futile = if taken.is_some() { 0 } else { free + free / 64 };
            self.futile.store(futile, Ordering::Relaxed);
            taken
        })?;
        self.free.fetch_sub(count, Ordering::Relaxed);
        Some(taken)
    }

    fn take_block(&self, order: u8) -> Option<Handle<P>> {
        match order {
            0..GROUP_ORDER => self.take_small_block(order),
            GROUP_ORDER => self.take_whole_group(),
            HUGE_ORDER => self.regions().iter().find_map(|region| {
                #[expect(clippy::cast_possible_truncation, reason = "below the count")]
                let first = (region.first / GROUP_FRAMES as u64).wrapping_neg() as usize % HUGE_GROUPS;
                let firsts = (first..).step_by(HUGE_GROUPS);
                let mut firsts = firsts.take_while(|group| group + HUGE_GROUPS <= region.groups.len());
                let group = firsts.find(|group| region.take_groups(*group, HUGE_GROUPS))?;
                region.companion.handle(region.first, group * GROUP_FRAMES)
            }),
            _ => None,
        }
    }

    fn take_small_block(&self, order: u8) -> Option<Handle<P>> {
        let regions = self.regions();
        let cursor = self.cache().map(|mut cache| {
            if !cache.cursor.is_placed {
                self.place(&mut cache.cursor);
            }
            cache.cursor
        });
        let cursor = cursor.unwrap_or_default();
        if let Some(region) = regions.get(cursor.region)
            && let Some(index) = region.take_block_from_tree(cursor.tree, order)
        {
            return region.companion.handle(region.first, index);
        }
        self.regions_from(cursor.region).into_iter().find_map(|index| {
            let region = regions.get(index)?;
            let mut trees = region.trees_with_free();
            let index = trees.find_map(|tree| region.take_block_from_tree(tree, order))?;
            region.companion.handle(region.first, index)
        })
    }

    /// An entirely free group: from the one on that this CPU took last, in trees that nobody has reserved, then in any.
    fn take_whole_group(&self) -> Option<Handle<P>> {
        let regions = self.regions();
        let mut cache = self.cache();
        let mut local = Cursor::default();
        let cursor = cache.as_mut().map_or(&mut local, |cache| &mut cache.cursor);
        if !cursor.is_placed {
            self.place(cursor);
        }
        let home = regions.get(cursor.region)?;
        let handle =
            |region: &Region<P::Companion>, group: usize| region.companion.handle(region.first, group * GROUP_FRAMES);
        // What this CPU has just given back, or the next one.
        let (tree, place) = (cursor.whole_group / TREE_GROUPS, cursor.whole_group % TREE_GROUPS);
        if let Some(group) = home.take_whole_from_tree(tree, place) {
            cursor.whole_group = group;
            return handle(home, group);
        }
        self.regions_from(cursor.region).into_iter().find_map(|index| {
            let region = regions.get(index)?;
            let from = if index == cursor.region { tree } else { 0 };
            let of = |whose| {
                let mut trees = region.trees_with_whole(from, whose);
                trees.find_map(|tree| region.take_whole_from_tree(tree, 0))
            };
            let group = of(Trees::Unreserved).or_else(|| of(Trees::Reserved))?;
            if index == cursor.region {
                cursor.whole_group = group;
            }
            handle(region, group)
        })
    }

    /// The first of `count` contiguous frames out of whole groups, each by itself; what is left of the last group is given back.
    /// For more than a block can hold: linear in groups.
    pub fn allocate_run(&self, count: u64) -> Option<FrameNumber> {
        let groups = usize::try_from(count.div_ceil(GROUP_FRAMES as u64)).ok()?;
        let taken = (groups * GROUP_FRAMES) as u64;
        let (region, first) = self.with_emptied_caches(taken, || {
            self.regions().iter().find_map(|region| {
                let last = region.groups.len().checked_sub(groups)?;
                (0..=last).find(|first| region.take_groups(*first, groups)).map(|first| (region, first))
            })
        })?;
        for group in first..first + groups {
            let _ = region.split(group * GROUP_FRAMES);
        }
        let number = FrameNumber::new(region.first + (first * GROUP_FRAMES) as u64);
        for index in count..taken {
            let _ = self.release(number.offset(index).value(), 0);
        }
        Some(number)
    }

    /// Makes the block of 2^`order` frames at `number`, the caller's, a row of blocks of 2^`parts`.
    ///
    /// # Errors
    /// [`ReleaseError`]: there is no such block.
    pub fn split(&self, number: FrameNumber, order: u8, parts: u8) -> Result<(), ReleaseError> {
        // The bits know of blocks of 2 MiB only: larger ones are many of those, smaller ones are single frames.
        if order < GROUP_ORDER || parts >= GROUP_ORDER {
            return Ok(());
        }
        let (region, index) = self.place_of(number.value()).ok_or(ReleaseError::NotManaged)?;
        (0..1usize << (order - GROUP_ORDER)).try_for_each(|group| region.split(index + group * GROUP_FRAMES))
    }

    /// Takes back a block of 2^`order` frames.
    ///
    /// # Errors
    /// [`ReleaseError`]. What goes into the CPU's cache is checked when it leaves that: then `complain` of [`FrameAllocator::drain`] hears of it.
    #[inline]
    pub fn free(&self, frame: Handle<P>, order: u8) -> Result<(), ReleaseError> {
        if order == 0
            && P::keeps(frame)
            && let Some(mut cache) = self.cache()
            && cache.frames.push(frame)
        {
            return Ok(());
        }
        self.free_slowly(frame, order)
    }

    /// Takes back a single frame that is full of zeros.
    ///
    /// # Errors
    /// [`ReleaseError`].
    #[inline]
    pub fn free_zeroed(&self, frame: Handle<P>) -> Result<(), ReleaseError> {
        if P::keeps(frame)
            && let Some(mut cache) = self.cache()
            && cache.zeroed.push(frame)
        {
            return Ok(());
        }
        self.free(frame, 0)
    }

    #[cold]
    fn free_slowly(&self, frame: Handle<P>, order: u8) -> Result<(), ReleaseError> {
        if order == 0
            && P::keeps(frame)
            && let Some(mut cache) = self.cache()
        {
            let mut bulk = Bulk::new(self);
            cache.frames.take_oldest(BATCH.into(), &mut |frame| bulk.add(frame));
            let result = bulk.finish();
            if cache.frames.push(frame) {
                return result;
            }
        }
        self.release(P::Companion::number(frame), order)
    }

    /// Takes back many single frames at once, past the cache: neighbours that follow each other cost one step together.
    ///
    /// # Errors
    /// The first [`ReleaseError`]; the others are taken back all the same.
    pub fn free_bulk(&self, frames: impl Iterator<Item = Handle<P>>) -> Result<(), ReleaseError> {
        let mut bulk = Bulk::new(self);
        frames.for_each(|frame| bulk.add(frame));
        bulk.finish()
    }

    /// Gives a block to its region's bitmap.
    fn release(&self, number: u64, order: u8) -> Result<(), ReleaseError> {
        let (region, index) = self.place_of(number).ok_or(ReleaseError::NotManaged)?;
        let step = order.min(GROUP_ORDER);
        if order > GROUP_ORDER && (order != HUGE_ORDER || !region.are_whole(index, HUGE_GROUPS)) {
            return Err(ReleaseError::WrongOrder);
        }
        for block in (0..1usize << order).step_by(1 << step) {
            region.release(index + block, step)?;
            self.free.fetch_add(1 << step, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Empties the caches into the bitmaps: this CPU's, those that are shared, and by way of [`Platform::on_other_cpus`] the other CPUs'. Those in
    /// use are left out. Gives how many frames they held.
    pub fn drain(&self) -> u64 {
        let held = self.cached();
        if held > 0 {
            self.drain_local();
            for cache in &self.shared {
                if let Some(cache) = cache.try_claim_shared(()) {
                    self.empty(cache);
                }
            }
            P::on_other_cpus(Self::drain_local, self);
        }
        held
    }

    /// Empties this CPU's cache and gives up its tree: also for a CPU that goes off line.
    pub fn drain_local(&self) {
        if let Some(cache) = self.cache() {
            self.empty(cache);
        }
    }

    fn empty<Pin>(&self, mut cache: CacheGuard<'_, Handle<P>, Pin>) {
        let mut bulk = Bulk::new(self);
        cache.frames.take_oldest(usize::MAX, &mut |frame| bulk.add(frame));
        cache.zeroed.take_oldest(usize::MAX, &mut |frame| bulk.add(frame));
        let _ = bulk.finish();
        if cache.cursor.is_reserved
            && let Some(region) = self.regions().get(cache.cursor.region)
        {
            region.leave_tree(cache.cursor.tree);
            cache.cursor.is_reserved = false;
        }
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

    /// Gives a range that was reserved at start to the allocator.
    pub fn release_reserved(&self, range: FrameRange) {
        for offset in 0..range.count {
            let number = range.start.offset(offset).value();
            if self.release(number, 0).is_ok() {
                self.total.fetch_add(1, Ordering::Relaxed);
                if let Some((region, _)) = self.place_of(number) {
                    region.managed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Frames in caches.
    fn cached(&self) -> u64 {
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
            free: self.free.load(Ordering::Relaxed).saturating_add(self.cached()),
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

/// Frames on their way back to the bitmaps: those of one row that follow each other go together.
struct Bulk<'a, P: Platform> {
    allocator: &'a FrameAllocator<P>,
    region: Option<&'a Region<P::Companion>>,
    row: usize,
    mask: u64,
    released: u64,
    result: Result<(), ReleaseError>,
}

impl<'a, P: Platform> Bulk<'a, P> {
    fn new(allocator: &'a FrameAllocator<P>) -> Self {
        Self { allocator, region: None, row: 0, mask: 0, released: 0, result: Ok(()) }
    }

    #[inline]
    fn add(&mut self, frame: Handle<P>) {
        let number = P::Companion::number(frame);
        let place = match self.region.and_then(|region| Some((region, region.index_of(number)?))) {
            None => self.allocator.place_of(number),
            found => found,
        };
        let Some((region, index)) = place else {
            self.result = self.result.and(Err(ReleaseError::NotManaged));
            return;
        };
        let (row, bit) = (index / 64, 1u64 << (index % 64));
        let is_same = self.row == row && self.region.is_some_and(|before| core::ptr::eq(before, region));
        if !is_same || self.mask & bit != 0 {
            self.flush();
            (self.region, self.row, self.mask) = (Some(region), row, 0);
        }
        self.mask |= bit;
    }

    #[inline]
    fn flush(&mut self) {
        let Some(region) = self.region else { return };
        let mask = core::mem::take(&mut self.mask);
        if mask == 0 {
            return;
        }
        match region.release_bits(self.row, mask) {
            Ok(()) => self.released += u64::from(mask.count_ones()),
            Err(_) => self.release_one_by_one(region, mask),
        }
    }

    /// One of the frames was free: the others are not to suffer for it.
    #[cold]
    fn release_one_by_one(&mut self, region: &Region<P::Companion>, mut mask: u64) {
        while mask != 0 {
            match region.release_bits(self.row, mask & mask.wrapping_neg()) {
                Ok(()) => self.released += 1,
                error => self.result = self.result.and(error),
            }
            mask &= mask - 1;
        }
    }

    fn finish(mut self) -> Result<(), ReleaseError> {
        self.flush();
        self.allocator.free.fetch_add(self.released, Ordering::Relaxed);
        self.result
    }
}

impl<P: Platform> Default for FrameAllocator<P> {
    fn default() -> Self {
        Self::new()
    }
}
