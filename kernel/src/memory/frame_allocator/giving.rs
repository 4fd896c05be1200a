//! How frames come back: one into the CPU's cache, many to the bitmaps at once, all that caches have when memory is short.

use super::allocator::{FrameAllocator, Handle};
use super::blocks::HUGE_GROUPS;
use super::cache::CacheGuard;
use super::platform::Platform;
use super::region::{Companion, GROUP_FRAMES, GROUP_ORDER, Region, ReleaseError};
use super::{FrameRange, HUGE_ORDER};
use core::sync::atomic::Ordering;

/// Frames that a full cache gives to the bitmaps at a time: fewer than come the other way, for each may be in a row of its own.
const FLUSHED: usize = 32;
/// A CPU keeps a 2 MiB block only while more than this share of a region's frames is free without it.
const PLENTY_SHARE: u64 = 8;

impl<P: Platform> FrameAllocator<P> {
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

    /// Keeps a 2 MiB block for this CPU's next one, if that is what it is and there is plenty of memory without it.
    fn keep_block(&self, block: Handle<P>) -> Result<bool, ReleaseError> {
        let number = P::Companion::number(block);
        let Some(mut cache) = self.cache() else { return Ok(false) };
        if let Some(kept) = cache.block {
            return if P::Companion::number(kept) == number { Err(ReleaseError::DoubleFree) } else { Ok(false) };
        }
        let Some((region, index)) = self.place_of(number).filter(|(region, index)| region.are_whole(*index, 1)) else {
            return Ok(false);
        };
        let is_plenty = region.free() > region.managed.load(Ordering::Relaxed) / PLENTY_SHARE;
        let is_kept = is_plenty && P::keeps(block) && index.is_multiple_of(GROUP_FRAMES);
        if is_kept {
            cache.block = Some(block);
        }
        Ok(is_kept)
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

    #[inline(never)]
    fn free_slowly(&self, frame: Handle<P>, order: u8) -> Result<(), ReleaseError> {
        if order == GROUP_ORDER && self.keep_block(frame)? {
            return Ok(());
        }
        if order == 0
            && P::keeps(frame)
            && let Some(mut cache) = self.cache()
        {
            let mut bulk = Bulk::new(self);
            cache.frames.take_oldest(FLUSHED, &mut |frame| bulk.add(frame));
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
    pub(super) fn release(&self, number: u64, order: u8) -> Result<(), ReleaseError> {
        let (region, index) = self.place_of(number).ok_or(ReleaseError::NotManaged)?;
        let step = order.min(GROUP_ORDER);
        if order > GROUP_ORDER && (order != HUGE_ORDER || !region.are_whole(index, HUGE_GROUPS)) {
            return Err(ReleaseError::WrongOrder);
        }
        for block in (0..1usize << order).step_by(1 << step) {
            region.release(index + block, step)?;
            region.count_given(1 << step);
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
        if let Some(block) = cache.block.take() {
            let _ = self.release(P::Companion::number(block), GROUP_ORDER);
        }
        if cache.cursor.is_reserved
            && let Some(region) = self.regions().get(cache.cursor.region)
        {
            region.leave_tree(cache.cursor.tree);
            cache.cursor.is_reserved = false;
        }
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
            if !self.region.is_some_and(|before| core::ptr::eq(before, region)) {
                self.count();
            }
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

    /// Tells the region how many of its frames came back.
    fn count(&mut self) {
        if let Some(region) = self.region
            && self.released > 0
        {
            region.count_given(core::mem::take(&mut self.released));
        }
    }

    fn finish(mut self) -> Result<(), ReleaseError> {
        self.flush();
        self.count();
        self.result
    }
}
