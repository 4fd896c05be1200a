//! What a [`Region`] holds, counted over its tables, and whether they agree with each other.

use super::atomic::Ordering;
use super::bits::count_blocks;
use super::region::{
    Companion, FULL, GROUP_FRAMES, GROUP_ROWS, INITIALIZED, Region, TREE_GROUPS, USED, WHOLE, WITHOUT_FREE,
    WITHOUT_WHOLE,
};

/// Free blocks are counted up to this order, as on Linux.
pub const LARGEST_COUNTED_ORDER: u8 = 10;

impl<C: Companion> Region<C> {
    /// Frames that the bitmap holds, counted over the groups.
    pub fn collect_free(&self) -> u64 {
        self.groups.iter().map(|word| u64::from(FULL.saturating_sub(word.load(Ordering::Relaxed) & USED))).sum()
    }

    /// Groups that are entirely free.
    pub fn collect_whole(&self) -> usize {
        self.groups.iter().filter(|word| word.load(Ordering::Relaxed) & USED == 0).count()
    }

    /// How many free blocks of each order there are, as a buddy allocator would cut them. A look at a moment that never was, if
    /// others allocate meanwhile. Linear in rows.
    pub fn collect_blocks(&self, counts: &mut [u64; LARGEST_COUNTED_ORDER as usize + 1]) {
        let is_whole =
            |group: usize| self.groups.get(group).is_some_and(|word| word.load(Ordering::Relaxed) & USED == 0);
        let mut group = 0;
        while group < self.groups.len() {
            let is_even = (self.first / GROUP_FRAMES as u64 + group as u64).is_multiple_of(2);
            match (is_whole(group), is_even && is_whole(group + 1)) {
                (true, true) => {
                    counts[10] += 1;
                    group += 1;
                }
                (true, false) => counts[9] += 1,
                (false, _) => self.count_blocks_of(group, counts),
            }
            group += 1;
        }
    }

    fn count_blocks_of(&self, group: usize, counts: &mut [u64; LARGEST_COUNTED_ORDER as usize + 1]) {
        let word = self.groups.get(group).map_or(0, |word| word.load(Ordering::Acquire));
        if word & INITIALIZED == 0 || word & WHOLE != 0 {
            return;
        }
        let mut rows = [0; GROUP_ROWS];
        for (copy, row) in rows.iter_mut().zip(self.group_rows(group)) {
            *copy = row.load(Ordering::Relaxed);
        }
        for half in rows.chunks(4) {
            if half.iter().all(|row| *row == u64::MAX) {
                counts[8] += 1;
                continue;
            }
            for quarter in half.chunks(2) {
                if quarter.iter().all(|row| *row == u64::MAX) {
                    counts[7] += 1;
                } else {
                    quarter.iter().for_each(|row| count_blocks(*row, counts));
                }
            }
        }
    }

    /// Whether the tables agree with each other while nobody uses them; says what does not.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn validate(&self) -> Result<(), (&'static str, usize)> {
        for (group, word) in self.groups.iter().enumerate() {
            let value = word.load(Ordering::Acquire);
            let used = value & USED;
            let mark = self.trees.get(group / TREE_GROUPS).map_or(0, |tree| tree.load(Ordering::Relaxed));
            if used < FULL && mark & WITHOUT_FREE != 0 || used == 0 && mark & WITHOUT_WHOLE != 0 {
                return Err(("a tree has more than its mark says", group));
            }
            if value & INITIALIZED == 0 {
                continue;
            }
            let set: u32 = self.group_rows(group).iter().map(|row| row.load(Ordering::Relaxed).count_ones()).sum();
            let expected = if value & WHOLE != 0 { u32::from(FULL) } else { u32::from(FULL - used) };
            if set != expected {
                return Err(("a group's bits are not as many as its count says", group));
            }
        }
        Ok(())
    }
}
