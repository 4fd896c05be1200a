//! One region of physical memory, in the shape of LLFree (Wrenger et al., ATC'23): a bit per frame, a word per 2 MiB group, a word per
//! 64 MiB tree.
//!
//! ```text
//! trees[t]      : owner + 1 | without free | without whole                one AtomicU32 per 32 groups
//! groups[g]     : used 0..=512 | whole block | initializing | initialized one AtomicU16 per 512 frames: a cache line per tree
//! rows[8g + r]  : 1 = free                                                one AtomicU64 per 64 frames: a cache line per group
//! ```
//!
//! Plain data over memory that is lent: nothing here knows a machine. What else there is for each frame (the kernel's descriptors) is a
//! [`Companion`], which is told before a group is used for the first time.
//!
//! Invariants (nothing takes a lock):
//! * A group that is not a whole block has at least `512 - used` bits set. So an allocation first adds to `used`, at most up to 512, and is then
//!   sure to find its bits; a release sets the bits first and then takes from `used`.
//! * A whole block (2 MiB) is one exchange of the group's word. Its rows say "free" and are not looked at until it is [`Region::split`].
//! * A group whose word is 0 was never touched: its rows and companions are garbage, and it is entirely free. The first CPU to want
//!   it writes them, so that boot costs nothing per frame, and zeros are the tables of a free region.
//! * A tree with a free frame (an entirely free group) is not marked as without, once no operation on it is under way: who marks it looks at its
//!   groups again afterwards, who frees looks at the mark afterwards.
//!
//! Unlike LLFree's, a tree's word does not count free frames: that is asked once per reservation, from one cache line of groups, and would be
//! written with each release.

use super::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use super::bits::{ROW_FRAMES, ROW_ORDER, lowest_bits, run_mask};

/// Frames in a group: 2 MiB.
pub const GROUP_FRAMES: usize = 512;
/// Rows in a group.
pub const GROUP_ROWS: usize = GROUP_FRAMES / ROW_FRAMES;
/// The order of a group.
pub const GROUP_ORDER: u8 = 9;
/// Groups in a tree: 64 MiB.
pub const TREE_GROUPS: usize = 32;

pub(super) const USED: u16 = 0x3ff;
pub(super) const FULL: u16 = GROUP_FRAMES as u16;
pub(super) const WHOLE: u16 = 1 << 13;
const INITIALIZING: u16 = 1 << 14;
pub(super) const INITIALIZED: u16 = 1 << 15;

const OWNER: u32 = 0xffff;
/// No group of the tree has a free frame.
pub(super) const WITHOUT_FREE: u32 = 1 << 16;
/// No group of the tree is entirely free.
pub(super) const WITHOUT_WHOLE: u32 = 1 << 17;

/// A tree with fewer free frames is reserved only when there is no better one.
const WORTH_RESERVING: u32 = 256;
/// How many trees are compared before one is reserved.
const COMPARED_TREES: usize = 64;

/// What an allocator's user keeps for each frame, beside the bits.
pub trait Companion: Send + Sync + 'static {
    /// What stands for a frame.
    type Handle: Copy + Send + core::fmt::Debug + 'static;
    /// The frame at `index` of the region that begins with frame `first`.
    fn handle(&self, first: u64, index: usize) -> Option<Self::Handle>;
    /// The number of the frame behind `handle`.
    fn number(handle: Self::Handle) -> u64;
    /// `count` frames from `index` on are about to be used for the first time.
    fn prepare(&self, first: u64, node: u8, index: usize, count: usize);
}

/// Why frames were not taken back. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReleaseError {
    /// One of them is free.
    DoubleFree,
    /// They are a part of a larger block, or more than one.
    WrongOrder,
    /// The region has no such frames.
    NotManaged,
}

/// Whose trees to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trees {
    /// Those that nobody has reserved.
    Unreserved,
    /// Those that a CPU has reserved.
    Reserved,
}

/// A region's tables. Built by [`super::map`], never changed afterwards but for the atomics.
#[derive(Debug)]
pub struct Region<C> {
    /// The first frame's number, a multiple of [`GROUP_FRAMES`].
    pub first: u64,
    /// The NUMA node.
    pub node: u8,
    /// One bit per frame.
    pub rows: &'static [AtomicU64],
    /// One word per group.
    pub groups: &'static [AtomicU16],
    /// One word per tree.
    pub trees: &'static [AtomicU32],
    /// What else there is for each frame.
    pub companion: C,
    /// Free frames in the bitmap. Its user counts, by [`Region::count_taken`] and [`Region::count_given`], so that many count at once.
    pub free: AtomicU64,
    /// How many of its frames were ever free: holes, tables and what firmware keeps are not among them.
    pub managed: AtomicU64,
}

impl<C: Companion> Region<C> {
    /// The index of frame `number` if the region holds it.
    #[inline]
    pub fn index_of(&self, number: u64) -> Option<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
        let index = number.wrapping_sub(self.first) as usize;
        (index < self.groups.len() * GROUP_FRAMES).then_some(index)
    }

    /// Free frames, as counted: none while more have been counted as taken than as given back, which others may see for a moment.
    #[inline]
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed).cast_signed().max(0).cast_unsigned()
    }

    /// Frames were taken.
    #[inline]
    pub fn count_taken(&self, frames: u64) {
        self.free.fetch_sub(frames, Ordering::Relaxed);
    }

    /// Frames came back.
    #[inline]
    pub fn count_given(&self, frames: u64) {
        self.free.fetch_add(frames, Ordering::Relaxed);
    }

    pub(super) fn group_rows(&self, group: usize) -> &'static [AtomicU64] {
        self.rows.get(group * GROUP_ROWS..(group + 1) * GROUP_ROWS).unwrap_or_default()
    }

    /// The groups of `tree`: the number of the first, and their words.
    pub(super) fn tree_groups(&self, tree: usize) -> (usize, &'static [AtomicU16]) {
        let first = tree * TREE_GROUPS;
        let end = self.groups.len().min(first + TREE_GROUPS);
        (first, self.groups.get(first..end).unwrap_or_default())
    }

    /// Writes the group's rows and companions; `free` says which frames of it are. Its word must not be initialised.
    pub fn write_group(&self, group: usize, free: [u64; GROUP_ROWS]) {
        self.companion.prepare(self.first, self.node, group * GROUP_FRAMES, GROUP_FRAMES);
        let mut used = FULL;
        for (row, bits) in self.group_rows(group).iter().zip(free) {
            row.store(bits, Ordering::Relaxed);
            #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
            let ones = bits.count_ones() as u16;
            used -= ones;
        }
        if let Some(word) = self.groups.get(group) {
            word.store(INITIALIZED | used, Ordering::Release);
        }
    }

    /// The group's word, initialised; `None` while another CPU writes its tables, or where there is no such group.
    #[inline]
    pub(super) fn initialized_group(&self, group: usize) -> Option<&'static AtomicU16> {
        let word = self.groups.get(group)?;
        if word.load(Ordering::Acquire) & INITIALIZED == 0 {
            self.initialize_group(group, word)?;
        }
        Some(word)
    }

    #[cold]
    fn initialize_group(&self, group: usize, word: &AtomicU16) -> Option<()> {
        word.compare_exchange(0, INITIALIZING, Ordering::Acquire, Ordering::Relaxed).ok()?;
        self.write_group(group, [u64::MAX; GROUP_ROWS]);
        Some(())
    }

    /// Whether each of the `count` groups from `index` on is a whole block, and the first one such as a block of that size may begin with.
    pub fn are_whole(&self, index: usize, count: usize) -> bool {
        let group = index / GROUP_FRAMES;
        let is_aligned = (self.first + index as u64).is_multiple_of((count * GROUP_FRAMES) as u64);
        let mut words = self.groups.get(group..group + count).unwrap_or_default().iter();
        is_aligned && !words.as_slice().is_empty() && words.all(|word| word.load(Ordering::Acquire) & WHOLE != 0)
    }

    /// Whether the group's companions may be looked at.
    #[inline]
    pub fn is_initialized(&self, index: usize) -> bool {
        self.groups.get(index / GROUP_FRAMES).is_some_and(|word| word.load(Ordering::Acquire) & INITIALIZED != 0)
    }

    /// Adds up to `most` (but at least `least`) to the group's used count; gives how many, 0 for none.
    #[inline]
    pub(super) fn reserve(&self, group: usize, least: u16, most: u16) -> u16 {
        let Some(word) = self.initialized_group(group) else { return 0 };
        let mut value = word.load(Ordering::Relaxed);
        loop {
            // The used count of a whole block is full.
            let count = most.min(FULL.saturating_sub(value & USED));
            if count < least || count == 0 {
                return 0;
            }
            match word.compare_exchange_weak(value, value + count, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return count,
                Err(now) => value = now,
            }
        }
    }

    /// Takes `count` from the group's used count, whose bits are set again.
    #[inline]
    pub(super) fn unreserve(&self, group: usize, count: u16) {
        let Some(word) = self.groups.get(group) else { return };
        let used = word.fetch_sub(count, Ordering::SeqCst) & USED;
        if used == FULL {
            self.unmark(group / TREE_GROUPS, WITHOUT_FREE);
        }
        if used == count {
            self.unmark(group / TREE_GROUPS, WITHOUT_WHOLE);
        }
    }

    #[inline]
    pub(super) fn unmark(&self, tree: usize, mark: u32) {
        if let Some(word) = self.trees.get(tree)
            && word.load(Ordering::SeqCst) & mark != 0
        {
            word.fetch_and(!mark, Ordering::SeqCst);
        }
    }

    /// Marks the tree as being without what no group of it had a moment ago, unless it is marked.
    #[cold]
    pub(super) fn mark(&self, tree: usize, mark: u32) {
        let Some(word) = self.trees.get(tree).filter(|word| word.load(Ordering::Relaxed) & mark == 0) else { return };
        word.fetch_or(mark, Ordering::SeqCst);
        let most = if mark == WITHOUT_FREE { FULL - 1 } else { 0 };
        if self.tree_groups(tree).1.iter().any(|group| group.load(Ordering::SeqCst) & USED <= most) {
            word.fetch_and(!mark, Ordering::SeqCst);
        }
    }

    /// Takes up to `want` single frames from `group` and hands the index of each to `each`. Gives the count.
    #[inline]
    pub fn take_frames(&self, group: usize, want: u16, each: &mut impl FnMut(usize)) -> u16 {
        let reserved = self.reserve(group, 1, want);
        let mut missing = u32::from(reserved);
        // The invariant says that the bits are there; another CPU's release may make one more round necessary.
        while missing > 0 {
            for (index, row) in self.group_rows(group).iter().enumerate() {
                let mut bits = row.load(Ordering::Relaxed);
                while bits != 0 && missing > 0 {
                    let taken = lowest_bits(bits, missing);
                    match row.compare_exchange_weak(bits, bits & !taken, Ordering::Acquire, Ordering::Relaxed) {
                        Ok(_) => {
                            missing -= taken.count_ones();
                            let first = group * GROUP_FRAMES + index * ROW_FRAMES;
                            let mut rest = taken;
                            while rest != 0 {
                                each(first + rest.trailing_zeros() as usize);
                                rest &= rest - 1;
                            }
                            break;
                        }
                        Err(now) => bits = now,
                    }
                }
            }
        }
        reserved
    }

    /// Takes up to `want` single frames from the fullest group of `tree` that has some. Gives the group and the count.
    pub fn take_from_tree(&self, tree: usize, want: u16, each: &mut impl FnMut(usize)) -> Option<(usize, u16)> {
        // Each round fails only because another CPU was faster.
        for _ in 0..TREE_GROUPS {
            let (first, groups) = self.tree_groups(tree);
            let used = groups.iter().map(|word| word.load(Ordering::Relaxed) & USED);
            let fullest = (first..).zip(used).filter(|(_, used)| *used < FULL).max_by_key(|(_, used)| *used);
            let Some((group, _)) = fullest else {
                self.mark(tree, WITHOUT_FREE);
                return None;
            };
            let count = self.take_frames(group, want, each);
            if count > 0 {
                return Some((group, count));
            }
        }
        None
    }

    /// Free frames of `tree`.
    pub fn tree_free(&self, tree: usize) -> u32 {
        self.tree_groups(tree)
            .1
            .iter()
            .map(|word| u32::from(FULL.saturating_sub(word.load(Ordering::Relaxed) & USED)))
            .sum()
    }

    pub(super) fn may_have(&self, tree: usize, without: u32, whose: Trees) -> bool {
        self.trees.get(tree).is_some_and(|word| {
            let word = word.load(Ordering::Relaxed);
            word & without == 0 && (word & OWNER == 0) == (whose == Trees::Unreserved)
        })
    }

    /// The trees from `from` on and cyclically, each once.
    pub(super) fn trees_from(&self, from: usize) -> impl Iterator<Item = usize> + use<C> {
        let count = self.trees.len();
        let from = if from < count { from } else { 0 };
        (from..count).chain(0..from)
    }

    /// The tree to allocate single frames from: the fullest of those with a good number of free ones, the first from `from` on where
    /// several are equal. So half-empty trees become empty, and whole again.
    pub fn best_tree(&self, from: usize, whose: Trees) -> Option<usize> {
        let free = |tree: usize| (self.tree_free(tree), tree);
        let with_free = self.trees_from(from).filter(|tree| self.may_have(*tree, WITHOUT_FREE, whose)).map(free);
        let compared = with_free.filter(|(free, _)| *free > 0).take(COMPARED_TREES);
        compared.min_by_key(|(free, _)| (*free < WORTH_RESERVING, *free)).map(|(_, tree)| tree)
    }

    /// All trees that may have free frames, the owners' own too.
    pub fn trees_with_free(&self) -> impl Iterator<Item = usize> + '_ {
        let has =
            |tree: &usize| [Trees::Unreserved, Trees::Reserved].map(|whose| self.may_have(*tree, WITHOUT_FREE, whose));
        self.trees_from(0).filter(move |tree| has(tree).contains(&true))
    }

    /// Reserves `tree` for CPU `owner` unless somebody has it.
    pub fn reserve_tree(&self, tree: usize, owner: u16) -> bool {
        let reserve = |word: u32| (word & OWNER == 0).then_some(word | (u32::from(owner) + 1));
        let word = self.trees.get(tree);
        word.is_some_and(|word| word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, reserve).is_ok())
    }

    /// Gives up what [`Region::reserve_tree`] gave.
    pub fn leave_tree(&self, tree: usize) {
        if let Some(word) = self.trees.get(tree) {
            word.fetch_and(!OWNER, Ordering::Release);
        }
    }

    /// Gives back the block of 2^`order` frames (order 0..=9) at `index`.
    ///
    /// # Errors
    /// [`ReleaseError`].
    #[inline]
    pub fn release(&self, index: usize, order: u8) -> Result<(), ReleaseError> {
        if order <= ROW_ORDER {
            #[expect(clippy::cast_possible_truncation, reason = "below 64")]
            let position = (index % ROW_FRAMES) as u32;
            if position & ((1u32 << order) - 1) != 0 {
                return Err(ReleaseError::WrongOrder);
            }
            return self.release_bits(index / ROW_FRAMES, run_mask(position, order));
        }
        self.release_large(index, order)
    }

    /// Gives back the frames of `row` that `mask` has set.
    ///
    /// # Errors
    /// [`ReleaseError`].
    #[inline]
    pub fn release_bits(&self, row: usize, mask: u64) -> Result<(), ReleaseError> {
        let group = row / GROUP_ROWS;
        let word = self.groups.get(group).ok_or(ReleaseError::NotManaged)?.load(Ordering::Relaxed);
        let row = self.rows.get(row).ok_or(ReleaseError::NotManaged)?;
        if word & INITIALIZED == 0 {
            return Err(ReleaseError::DoubleFree);
        }
        if word & WHOLE != 0 {
            return Err(ReleaseError::WrongOrder);
        }
        let mut bits = row.load(Ordering::Relaxed);
        loop {
            if bits & mask != 0 {
                return Err(ReleaseError::DoubleFree);
            }
            match row.compare_exchange_weak(bits, bits | mask, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => bits = now,
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        self.unreserve(group, mask.count_ones() as u16);
        Ok(())
    }
}
