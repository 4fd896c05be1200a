//! One region of physical memory: a bit per frame, a word per 2 MiB group, two hint bits per group.
//!
//! ```text
//! groups[g]     : used 0..=512 | initializing | initialized      one AtomicU32 per 512 frames
//! rows[8g + r]  : 1 = free                                       one AtomicU64 per 64 frames
//! available[..] : 1 = the group may have a free frame            one bit per group, a hint
//! whole[..]     : 1 = the group may be entirely free             one bit per group, a hint
//! ```
//!
//! Invariant (lock-free): a group has at least `512 - used` bits set. So an allocation first adds to `used`, which it may do only up
//! to 512, and is then sure to find its bits; a release sets the bits first and then takes from `used`. A group whose word is 0
//! was never touched: its rows and descriptors are garbage, and it is entirely free. The first CPU to want it writes
//! them, so boot costs nothing per frame. Hints may be stale in both directions except that a group with `used < 512` (`used == 0`)
//! is hinted once no operation on it is under way: whoever clears a hint looks at the word again afterwards.

use super::super::frame_descriptor::FrameDescriptor;
use crate::base::FrameNumber;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Frames in a group: 2 MiB.
pub const GROUP_FRAMES: usize = 512;
/// Frames in a row.
pub const ROW_FRAMES: usize = 64;
/// Rows in a group.
pub const GROUP_ROWS: usize = GROUP_FRAMES / ROW_FRAMES;
/// The order of a group.
pub const GROUP_ORDER: u8 = 9;

const USED: u32 = 0x3ff;
const FULL: u32 = GROUP_FRAMES as u32;
const INITIALIZING: u32 = 1 << 30;
const INITIALIZED: u32 = 1 << 31;

/// A region's tables. Built by [`super::map`], never changed afterwards but for the atomics.
#[derive(Debug)]
pub struct Region {
    /// The first frame's number, a multiple of [`GROUP_FRAMES`].
    pub first: u64,
    /// The NUMA node.
    pub node: u8,
    /// One descriptor per frame.
    pub descriptors: &'static [FrameDescriptor],
    /// One bit per frame.
    pub rows: &'static [AtomicU64],
    /// One word per group.
    pub groups: &'static [AtomicU32],
    /// One bit per group.
    pub available: &'static [AtomicU64],
    /// One bit per group.
    pub whole: &'static [AtomicU64],
}

/// The lowest `count` set bits of `bits`, or all of them.
fn lowest_bits(bits: u64, count: u32) -> u64 {
    if bits.count_ones() <= count {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}

/// The position of a naturally aligned run of 2^`order` set bits (order 0..=6).
fn aligned_run(bits: u64, order: u8) -> Option<u32> {
    let mut runs = bits;
    for step in 0..order.min(6) {
        runs &= runs >> (1u32 << step);
    }
    // Starts that are multiples of the run's length.
    let starts = match order {
        0 => u64::MAX,
        1 => 0x5555_5555_5555_5555,
        2 => 0x1111_1111_1111_1111,
        3 => 0x0101_0101_0101_0101,
        4 => 0x0001_0001_0001_0001,
        5 => 0x0000_0001_0000_0001,
        _ => 1,
    };
    let found = runs & starts;
    (found != 0).then(|| found.trailing_zeros())
}

fn run_mask(position: u32, order: u8) -> u64 {
    let ones = if order >= 6 { u64::MAX } else { (1 << (1u32 << order)) - 1 };
    ones << position
}

impl Region {
    /// The descriptor of frame `number` if the region holds it.
    #[inline]
    pub fn descriptor(&self, number: FrameNumber) -> Option<&'static FrameDescriptor> {
        #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
        self.descriptors.get(number.value().wrapping_sub(self.first) as usize)
    }

    fn index_of(&self, number: FrameNumber) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
        {
            number.value().wrapping_sub(self.first) as usize
        }
    }

    fn group_rows(&self, group: usize) -> &'static [AtomicU64] {
        self.rows.get(group * GROUP_ROWS..(group + 1) * GROUP_ROWS).unwrap_or_default()
    }

    /// Writes the group's descriptors and rows; `free` says which frames of it are. Its word must not be initialised.
    pub(super) fn write_group(&self, group: usize, free: [u64; GROUP_ROWS]) {
        let first = self.first + (group * GROUP_FRAMES) as u64;
        let descriptors = self.descriptors.get(group * GROUP_FRAMES..(group + 1) * GROUP_FRAMES).unwrap_or_default();
        for (number, descriptor) in (first..).zip(descriptors) {
            descriptor.initialize(FrameNumber::new(number), self.node);
        }
        let mut used = FULL;
        for (row, bits) in self.group_rows(group).iter().zip(free) {
            row.store(bits, Ordering::Relaxed);
            used -= bits.count_ones();
        }
        if let Some(word) = self.groups.get(group) {
            word.store(INITIALIZED | used, Ordering::Release);
        }
        self.hint(group, used);
    }

    /// Says that the group is entirely free without touching its tables; for the start, its word being 0.
    pub(super) fn mark_untouched(&self, group: usize) {
        self.hint(group, 0);
    }

    /// The group's word, initialised; `None` while another CPU writes its tables, or where there is no such group.
    fn initialized_group(&self, group: usize) -> Option<&'static AtomicU32> {
        let word = self.groups.get(group)?;
        if word.load(Ordering::Acquire) & INITIALIZED == 0 {
            word.compare_exchange(0, INITIALIZING, Ordering::Acquire, Ordering::Relaxed).ok()?;
            self.write_group(group, [u64::MAX; GROUP_ROWS]);
        }
        Some(word)
    }

    /// Sets the hints that a group with `used` frames should have.
    fn hint(&self, group: usize, used: u32) {
        let bit = 1u64 << (group % 64);
        let hints = [(self.available, used < FULL), (self.whole, used == 0)];
        for (hints, wanted) in hints {
            if let Some(word) = hints.get(group / 64)
                && (word.load(Ordering::Relaxed) & bit != 0) != wanted
            {
                if wanted {
                    word.fetch_or(bit, Ordering::Release);
                } else {
                    word.fetch_and(!bit, Ordering::Release);
                }
            }
        }
    }

    /// Brings the hints of `group` up to date after its `used` crossed a border. Repeats until the word stood still meanwhile.
    fn update_hints(&self, group: usize) {
        let Some(word) = self.groups.get(group) else { return };
        let class = |used: u32| (used == 0, used == FULL);
        let mut used = word.load(Ordering::SeqCst) & USED;
        loop {
            self.hint(group, used);
            let now = word.load(Ordering::SeqCst) & USED;
            if class(now) == class(used) {
                return;
            }
            used = now;
        }
    }

    /// Adds up to `most` (but at least `least`) to the group's used count; gives how many, 0 for none.
    fn reserve(&self, group: usize, least: u32, most: u32) -> u32 {
        let Some(word) = self.initialized_group(group) else { return 0 };
        let mut value = word.load(Ordering::Relaxed);
        loop {
            let used = value & USED;
            let count = most.min(FULL.saturating_sub(used));
            if count < least || count == 0 {
                return 0;
            }
            match word.compare_exchange_weak(value, value + count, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    if used == 0 || used + count == FULL {
                        self.update_hints(group);
                    }
                    return count;
                }
                Err(now) => value = now,
            }
        }
    }

    /// Takes `count` from the group's used count, whose bits are set again.
    fn unreserve(&self, group: usize, count: u32) {
        let Some(word) = self.groups.get(group) else { return };
        let used = word.fetch_sub(count, Ordering::AcqRel) & USED;
        if used == FULL || used == count {
            self.update_hints(group);
        }
    }

    /// Takes up to `want` single frames from `group` and hands each to `each`. Gives the count.
    pub fn take_frames(&self, group: usize, want: u32, each: &mut impl FnMut(&'static FrameDescriptor)) -> u32 {
        let reserved = self.reserve(group, 1, want);
        let mut missing = reserved;
        // The invariant says that the bits are there; another CPU's release may make one more round necessary.
        while missing > 0 {
            for (index, row) in self.group_rows(group).iter().enumerate() {
                let mut bits = row.load(Ordering::Relaxed);
                while bits != 0 && missing > 0 {
                    let taken = lowest_bits(bits, missing);
                    match row.compare_exchange_weak(bits, bits & !taken, Ordering::Acquire, Ordering::Relaxed) {
                        Ok(_) => {
                            missing -= taken.count_ones();
                            self.hand_out(group * GROUP_FRAMES + index * ROW_FRAMES, taken, each);
                            break;
                        }
                        Err(now) => bits = now,
                    }
                }
            }
        }
        reserved
    }

    fn hand_out(&self, first: usize, mut bits: u64, each: &mut impl FnMut(&'static FrameDescriptor)) {
        while bits != 0 {
            if let Some(descriptor) = self.descriptors.get(first + bits.trailing_zeros() as usize) {
                each(descriptor);
            }
            bits &= bits - 1;
        }
    }

    /// Takes a naturally aligned block of 2^`order` frames (order 0..=9) from `group`.
    pub fn take_block(&self, group: usize, order: u8) -> Option<&'static FrameDescriptor> {
        let count = 1u32 << order;
        if self.reserve(group, count, count) == 0 {
            return None;
        }
        let rows = self.group_rows(group);
        let found = if order <= 6 {
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
            let length = 1usize << (order - 6);
            rows.chunks(length)
                .position(|chunk| {
                    let taken = chunk
                        .iter()
                        .take_while(|row| {
                            row.compare_exchange(u64::MAX, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
                        })
                        .count();
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
        self.descriptors.get(group * GROUP_FRAMES + found?)
    }

    /// Takes whole groups `group..group + count` (for 1 GiB); all or none.
    pub fn take_groups(&self, group: usize, count: usize) -> Option<&'static FrameDescriptor> {
        for index in 0..count {
            if self.take_block(group + index, GROUP_ORDER).is_none() {
                for taken in 0..index {
                    self.release_block(
                        FrameNumber::new(self.first + ((group + taken) * GROUP_FRAMES) as u64),
                        GROUP_ORDER,
                    );
                }
                return None;
            }
        }
        self.descriptors.get(group * GROUP_FRAMES)
    }

    /// Gives back the block of 2^`order` frames (order 0..=9) at `number`. Returns false when (part of) it was free already.
    pub fn release_block(&self, number: FrameNumber, order: u8) -> bool {
        let index = self.index_of(number);
        let group = index / GROUP_FRAMES;
        let mut doubly = false;
        if order <= 6 {
            #[expect(clippy::cast_possible_truncation, reason = "below 64")]
            let mask = run_mask((index % ROW_FRAMES) as u32, order);
            let Some(row) = self.rows.get(index / ROW_FRAMES) else { return false };
            doubly |= row.fetch_or(mask, Ordering::Release) & mask != 0;
        } else {
            let first = index / ROW_FRAMES;
            for row in self.rows.get(first..first + (1usize << (order - 6))).unwrap_or_default() {
                doubly |= row.swap(u64::MAX, Ordering::Release) != 0;
            }
        }
        if !doubly {
            self.unreserve(group, 1 << order);
        }
        !doubly
    }

    /// Groups that hint at free frames, from `from` on and cyclically, each once: the partly used ones, then the whole ones.
    pub fn candidates(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        let partly = move |word: usize| load(self.available, word) & !load(self.whole, word);
        cyclic(self.groups.len(), from, partly).chain(self.whole_candidates(from))
    }

    /// Groups that hint at being entirely free, from `from` on and cyclically, each once.
    pub fn whole_candidates(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        cyclic(self.groups.len(), from, |word| load(self.whole, word))
    }

    /// Frames that the bitmap holds, counted over the groups: for tests and validation.
    pub fn collect_free(&self) -> u64 {
        self.groups.iter().map(|word| u64::from(FULL - (word.load(Ordering::Relaxed) & USED))).sum()
    }
}

fn load(hints: &[AtomicU64], word: usize) -> u64 {
    hints.get(word).map_or(0, |bits| bits.load(Ordering::Relaxed))
}

/// The set bits at `from..length`, then those at `0..from`.
fn cyclic<'a>(
    length: usize,
    from: usize,
    word_at: impl Fn(usize) -> u64 + Copy + 'a,
) -> impl Iterator<Item = usize> + 'a {
    let from = if from < length { from } else { 0 };
    set_bits(from, length, word_at).chain(set_bits(0, from, word_at))
}

/// The set bits at `start..end`, a word looked up when it is reached.
fn set_bits(start: usize, end: usize, word_at: impl Fn(usize) -> u64) -> impl Iterator<Item = usize> {
    let mut next = start;
    core::iter::from_fn(move || {
        while next < end {
            let bits = word_at(next / 64) >> (next % 64);
            if bits != 0 {
                let found = next + bits.trailing_zeros() as usize;
                next = found + 1;
                return (found < end).then_some(found);
            }
            next = (next / 64 + 1) * 64;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_and_complete() {
        assert_eq!(aligned_run(0b0110, 1), None);
        assert_eq!(aligned_run(0b1100, 1), Some(2));
        assert_eq!(aligned_run(u64::MAX, 6), Some(0));
        assert_eq!(aligned_run(u64::MAX << 1, 6), None);
        assert_eq!(aligned_run(u64::MAX << 9, 3), Some(16));
        assert_eq!(run_mask(16, 3), 0xff_0000);
        assert_eq!(run_mask(0, 6), u64::MAX);
    }

    #[test]
    fn the_lowest_bits_are_taken() {
        assert_eq!(lowest_bits(0b1011, 2), 0b0011);
        assert_eq!(lowest_bits(0b1011, 5), 0b1011);
        assert_eq!(lowest_bits(0, 5), 0);
    }

    #[test]
    fn the_search_wraps_and_gives_each_bit_once() {
        let bits = [1u64 << 3, 1 << 5 | 1 << 63];
        let at = |index: usize| bits.get(index).copied().unwrap_or(0);
        assert_eq!(cyclic(128, 0, at).collect::<Vec<_>>(), [3, 69, 127]);
        assert_eq!(cyclic(128, 4, at).collect::<Vec<_>>(), [69, 127, 3]);
        assert_eq!(cyclic(127, 70, at).collect::<Vec<_>>(), [3, 69]);
        assert_eq!(cyclic(0, 0, at).count(), 0);
    }
}
