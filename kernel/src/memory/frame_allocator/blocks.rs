//! Blocks and runs: several frames in a row, out of the bitmaps past the caches. One 2 MiB block alone is kept by the CPU that freed it.

use super::allocator::{FrameAllocator, Handle};
use super::cache::Cursor;
use super::platform::Platform;
use super::region::{Companion, GROUP_FRAMES, GROUP_ORDER, Region, ReleaseError, TREE_GROUPS, Trees};
use super::{FrameNumber, HUGE_ORDER};
use core::sync::atomic::Ordering;

/// Groups in a 1 GiB block.
pub(super) const HUGE_GROUPS: usize = 1 << (HUGE_ORDER - GROUP_ORDER);

impl<P: Platform> FrameAllocator<P> {
    /// A block of 2^`order` frames (0..=9 or 18).
    #[inline]
    pub fn allocate_block(&self, order: u8) -> Option<Handle<P>> {
        if order == GROUP_ORDER
            && let Some(mut cache) = self.cache()
            && let Some(block) = cache.block.take()
        {
            return Some(block);
        }
        self.allocate_block_slowly(order)
    }

    #[inline(never)]
    fn allocate_block_slowly(&self, order: u8) -> Option<Handle<P>> {
        self.with_emptied_caches(1 << order.min(HUGE_ORDER), || self.take_block(order))
    }

    /// A block of 2^`order` frames (0..=9) that ends at or below frame `limit`, for a device that reaches no further. Linear in groups below it.
    pub fn allocate_block_below(&self, order: u8, limit: FrameNumber) -> Option<Handle<P>> {
        self.with_emptied_caches(1 << order.min(GROUP_ORDER), || {
            self.regions_from(self.home_region()).into_iter().find_map(|index| {
                let region = self.regions().get(index)?;
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
                region.count_taken(1 << order);
                region.companion.handle(region.first, index)
            })
        })
    }

    /// Takes `count` frames by `take`, once more when frames at hand may be what it lacks.
    fn with_emptied_caches<T>(&self, count: u64, take: impl Fn() -> Option<T>) -> Option<T> {
        take().or_else(|| {
            let free = self.statistics().free;
            if free < count || free <= self.futile.load(Ordering::Relaxed) || self.drain() == 0 {
                return None;
            }
            let taken = take();
            // Until a good deal more is free there is no use in troubling the other CPUs again.
            let futile = if taken.is_some() { 0 } else { free + free / 64 };
            self.futile.store(futile, Ordering::Relaxed);
            taken
        })
    }

    fn take_block(&self, order: u8) -> Option<Handle<P>> {
        match order {
            0..GROUP_ORDER => self.take_small_block(order),
            GROUP_ORDER => self.take_whole_group(),
            HUGE_ORDER => self.regions_from(self.home_region()).into_iter().find_map(|index| {
                let region = self.regions().get(index)?;
                #[expect(clippy::cast_possible_truncation, reason = "below the count")]
                let first = (region.first / GROUP_FRAMES as u64).wrapping_neg() as usize % HUGE_GROUPS;
                let firsts = (first..).step_by(HUGE_GROUPS);
                let mut firsts = firsts.take_while(|group| group + HUGE_GROUPS <= region.groups.len());
                let group = firsts.find(|group| region.take_groups(*group, HUGE_GROUPS))?;
                region.count_taken(1 << HUGE_ORDER);
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
            region.count_taken(1 << order);
            return region.companion.handle(region.first, index);
        }
        self.regions_from(cursor.region).into_iter().find_map(|index| {
            let region = regions.get(index)?;
            let mut trees = region.trees_with_free();
            let index = trees.find_map(|tree| region.take_block_from_tree(tree, order))?;
            region.count_taken(1 << order);
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
        let handle = |region: &Region<P::Companion>, group: usize| {
            region.count_taken(GROUP_FRAMES as u64);
            region.companion.handle(region.first, group * GROUP_FRAMES)
        };
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
    /// For more than a block can hold: linear in groups, those of near memory first.
    pub fn allocate_run(&self, count: u64) -> Option<FrameNumber> {
        let groups = usize::try_from(count.div_ceil(GROUP_FRAMES as u64)).ok()?;
        let taken = (groups * GROUP_FRAMES) as u64;
        let (region, first) = self.with_emptied_caches(taken, || {
            self.regions_from(self.home_region()).into_iter().find_map(|index| {
                let region = self.regions().get(index)?;
                let last = region.groups.len().checked_sub(groups)?;
                let first = (0..=last).find(|first| region.take_groups(*first, groups))?;
                region.count_taken(taken);
                Some((region, first))
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
}
