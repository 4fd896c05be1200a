//! Blocks of a [`Region`]: aligned runs of a row or of whole rows, and whole groups (2 MiB), which are one exchange of the group's word.

use super::atomic::{AtomicU64, Ordering};
use super::bits::{ROW_FRAMES, ROW_ORDER, aligned_run, run_mask};
use super::region::{
    Companion, FULL, GROUP_FRAMES, GROUP_ORDER, INITIALIZED, Region, ReleaseError, TREE_GROUPS, Trees, USED, WHOLE,
    WITHOUT_FREE, WITHOUT_WHOLE,
};

impl<C: Companion> Region<C> {
    /// Takes a naturally aligned block of 2^`order` frames (order 0..=8) from `group`. Gives its index.
    pub fn take_block(&self, group: usize, order: u8) -> Option<usize> {
        let count = 1u16 << order;
        if self.reserve(group, count, count) == 0 {
            return None;
        }
        let rows = self.group_rows(group);
        let found = if order <= ROW_ORDER {
            rows.iter().enumerate().find_map(|(index, row)| {
                let mut bits = row.load(Ordering::Relaxed);
                while let Some(position) = aligned_run(bits, order) {
                    let taken = run_mask(position, order);
                    match row.compare_exchange_weak(bits, bits & !taken, Ordering::Acquire, Ordering::Relaxed) {
                        Ok(_) => return Some(index * ROW_FRAMES + position as usize),
                        Err(now) => bits = now,
                    }
                }
                None
            })
        } else {
            let length = 1usize << (order - ROW_ORDER);
            rows.chunks(length)
                .position(|chunk| {
                    let take = |row: &&AtomicU64| {
                        row.compare_exchange(u64::MAX, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
                    };
                    let taken = chunk.iter().take_while(take).count();
                    if taken < length {
                        chunk.iter().take(taken).for_each(|row| row.store(u64::MAX, Ordering::Release));
                    }
                    taken == length
                })
                .map(|position| position * length * ROW_FRAMES)
        };
        if found.is_none() {
            self.unreserve(group, count);
        }
        Some(group * GROUP_FRAMES + found?)
    }

    /// Takes a block of 2^`order` frames (order 0..=8) from `tree`, out of the fullest group that has one. Gives its index.
    pub fn take_block_from_tree(&self, tree: usize, order: u8) -> Option<usize> {
        let (first, groups) = self.tree_groups(tree);
        let most = FULL - (1 << order);
        let mut tried = 0u32;
        loop {
            let used = groups.iter().map(|word| word.load(Ordering::Relaxed) & USED);
            let untried = |(place, used): &(usize, u16)| *used <= most && tried & 1 << place == 0;
            let (place, _) = used.enumerate().filter(untried).max_by_key(|(_, used)| *used)?;
            if let Some(index) = self.take_block(first + place, order) {
                return Some(index);
            }
            tried |= 1 << place;
        }
    }

    /// Takes `group` as one block if it is entirely free.
    #[inline]
    pub fn take_whole(&self, group: usize) -> bool {
        self.initialized_group(group).is_some_and(|word| {
            let (free, taken) = (INITIALIZED, INITIALIZED | WHOLE | FULL);
            // Acquire: the bits that releases set before they took the count to 0 belong to this block's past.
            word.compare_exchange(free, taken, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// Takes an entirely free group of `tree`, the first from place `from` in it on.
    #[inline]
    pub fn take_whole_from_tree(&self, tree: usize, from: usize) -> Option<usize> {
        let (first, groups) = self.tree_groups(tree);
        let from = if from < groups.len() { from } else { 0 };
        let is_free = |place: &usize| groups.get(*place).is_some_and(|word| word.load(Ordering::Relaxed) & USED == 0);
        let mut places = (from..groups.len()).chain(0..from).filter(is_free).map(|place| first + place);
        let found = places.find(|group| self.take_whole(*group));
        if found.is_none() {
            self.mark(tree, WITHOUT_WHOLE);
        }
        found
    }

    /// Trees that may have an entirely free group, from `from` on and cyclically.
    pub fn trees_with_whole(&self, from: usize, whose: Trees) -> impl Iterator<Item = usize> + '_ {
        self.trees_from(from).filter(move |tree| self.may_have(*tree, WITHOUT_WHOLE, whose))
    }

    /// Takes the groups `group..group + count` as whole blocks; all or none.
    pub fn take_groups(&self, group: usize, count: usize) -> bool {
        let taken = (group..group + count).take_while(|group| self.take_whole(*group)).count();
        if taken < count {
            (group..group + taken).for_each(|group| self.release_whole(group));
        }
        taken == count
    }

    fn release_whole(&self, group: usize) {
        if let Some(word) = self.groups.get(group) {
            word.fetch_and(!WHOLE, Ordering::Relaxed);
        }
        self.unreserve(group, FULL);
    }

    /// Makes the whole block at `index` single frames, all of them taken. The block is the caller's.
    ///
    /// # Errors
    /// [`ReleaseError`]: there is none.
    pub fn split(&self, index: usize) -> Result<(), ReleaseError> {
        let group = index / GROUP_FRAMES;
        let word = self.groups.get(group).ok_or(ReleaseError::NotManaged)?;
        if !index.is_multiple_of(GROUP_FRAMES) || word.load(Ordering::Acquire) & WHOLE == 0 {
            return Err(ReleaseError::WrongOrder);
        }
        self.group_rows(group).iter().for_each(|row| row.store(0, Ordering::Relaxed));
        word.fetch_and(!WHOLE, Ordering::Release);
        Ok(())
    }

    pub(super) fn release_large(&self, index: usize, order: u8) -> Result<(), ReleaseError> {
        let group = index / GROUP_FRAMES;
        let word = self.groups.get(group).ok_or(ReleaseError::NotManaged)?;
        let value = word.load(Ordering::Acquire);
        if order > GROUP_ORDER || index & ((1 << order) - 1) != 0 {
            return Err(ReleaseError::WrongOrder);
        }
        if value & INITIALIZED == 0 || value & USED == 0 {
            return Err(ReleaseError::DoubleFree);
        }
        if (value & WHOLE != 0) != (order == GROUP_ORDER) {
            return Err(ReleaseError::WrongOrder);
        }
        if order == GROUP_ORDER {
            // One exchange: of two that free it, one fails.
            word.compare_exchange(INITIALIZED | WHOLE | FULL, INITIALIZED, Ordering::SeqCst, Ordering::Relaxed)
                .map_err(|_| ReleaseError::DoubleFree)?;
            self.unmark(group / TREE_GROUPS, WITHOUT_FREE | WITHOUT_WHOLE);
            return Ok(());
        }
        let first = index / ROW_FRAMES;
        let rows = self.rows.get(first..first + (1usize << (order - ROW_ORDER))).unwrap_or_default();
        if rows.iter().any(|row| row.load(Ordering::Relaxed) != 0) {
            return Err(ReleaseError::DoubleFree);
        }
        rows.iter().for_each(|row| row.store(u64::MAX, Ordering::Release));
        self.unreserve(group, 1 << order);
        Ok(())
    }
}
