//! Slabs: frames cut into objects of one size, kept by size class.
//!
//! A plain structure: it is handed the frames' source and their records, and its user locks it. Nothing is kept in free objects, so
//! neither taking nor putting touches them, and who writes to a freed object harms the next owner at most. Which are free is said by a bitmap
//! ([`super::class`] draws where it is), lowest address first; the record's other fields:
//!
//! | field | holds |
//! |---|---|
//! | `bits` | the bitmap, or a bit for each word of it that is not 0 |
//! | `links` | the neighbours on the class's list: two frame numbers, 0 is none |
//! | `state` | objects out (9 bits), class (5 bits) |
//!
//! A slab with both free objects and objects out is on the list `partial`, one without objects out on `empty`, a full one on none. A few empty
//! slabs stay, so that an object that comes and goes does not move a frame each time; [`Slabs::release`] gives them back.

#![allow(unsafe_code, reason = "the bitmap of small objects lies in the frame")]

use super::class::{CLASS_SIZES, CLASSES, Geometry, geometry};
use super::guard;
use super::misuse::{Misuse, MisuseKind};
use super::platform::{Platform, SlabRecord};
use crate::base::PAGE_SIZE;

/// Empty slabs that a class keeps.
pub const SPARE: u32 = 8;

/// Slabs that one call takes objects from: it bounds how long the one takes that finds a magazine and the depot empty.
const SLABS_AT_A_TIME: usize = 2;

/// One class's slabs; which class is said with each call.
#[derive(Debug)]
pub struct Slabs {
    partial: u32,
    empty: u32,
    empty_count: u32,
    frames: u32,
    objects: u32,
}

impl Default for Slabs {
    fn default() -> Self {
        Self::new()
    }
}

/// What one class uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassUsage {
    /// Bytes of an object.
    pub object_size: usize,
    /// Objects that a slab, one frame, holds.
    pub objects_per_slab: usize,
    /// Slabs.
    pub slabs: u32,
    /// Objects out, those in magazines included.
    pub objects: u32,
}

const OUT: u16 = 0x1ff;
const CLASS_SHIFT: u32 = 9;
const _: () = assert!(CLASSES <= 32);

fn neighbours(record: &impl SlabRecord) -> (u32, u32) {
    let links = record.links();
    #[expect(clippy::cast_possible_truncation, reason = "two halves")]
    (links as u32, (links >> 32) as u32)
}

fn set_neighbours(record: &impl SlabRecord, previous: u32, next: u32) {
    record.set_links(u64::from(next) << 32 | u64::from(previous));
}

/// A list of slabs that begins at `head`.
fn link<P: Platform>(platform: &P, head: &mut u32, number: u32) {
    if let Some(record) = platform.record(number) {
        set_neighbours(record, 0, *head);
    }
    if *head != 0
        && let Some(next) = platform.record(*head)
    {
        set_neighbours(next, number, neighbours(next).1);
    }
    *head = number;
}

fn unlink<P: Platform>(platform: &P, head: &mut u32, record: &P::Record) {
    let (previous, next) = neighbours(record);
    if next != 0
        && let Some(next) = platform.record(next)
    {
        set_neighbours(next, previous, neighbours(next).1);
    }
    if previous == 0 {
        *head = next;
    } else if let Some(before) = platform.record(previous) {
        set_neighbours(before, neighbours(before).0, next);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "out is below 512, the class below 32")]
fn set_out(record: &impl SlabRecord, class: usize, out: usize) {
    record.set_state(out as u16 & OUT | (class as u16) << CLASS_SHIFT);
}

fn map<'a, P: Platform>(platform: &P, class: usize, number: u32, record: &'a P::Record) -> Map<'a, P::Record> {
    Map { record, base: platform.frame_address(number), geometry: geometry(class) }
}

/// The bitmap of a slab's free objects.
struct Map<'a, R> {
    record: &'a R,
    base: *mut u8,
    geometry: &'static Geometry,
}

impl<R: SlabRecord> Map<'_, R> {
    /// A word of the frame's tail.
    fn word(&self, index: usize) -> *mut u64 {
        debug_assert!(index < self.geometry.map_words, "a bitmap's word");
        // SAFETY: inside the frame, behind its objects.
        unsafe { self.base.add(PAGE_SIZE - (self.geometry.map_words - index) * 8).cast() }
    }

    /// All objects are free.
    fn fill(&self) {
        let objects = self.geometry.objects;
        let ones = |count: usize| if count >= 64 { u64::MAX } else { (1 << count) - 1 };
        if self.geometry.map_words == 0 {
            self.record.set_bits(ones(objects));
            return;
        }
        for index in 0..self.geometry.map_words {
            // SAFETY: as in `word`; the slab is locked.
            unsafe { self.word(index).write(ones(objects.saturating_sub(index * 64))) };
        }
        self.record.set_bits(ones(objects.div_ceil(64)));
    }

    /// Takes the free objects in `bits`, object `first` on, as long as there is room. Gives what is left of them.
    #[inline]
    fn take_from(&self, mut bits: u64, first: usize, into: &mut impl Iterator<Item = *mut *mut u8>) -> u64 {
        let base = self.base.wrapping_add(first * self.geometry.size);
        while bits != 0 {
            let Some(slot) = into.next() else { break };
            // SAFETY: the slot is one of a slice that the iterator borrows.
            unsafe { slot.write(base.wrapping_add(bits.trailing_zeros() as usize * self.geometry.size)) };
            bits &= bits - 1;
        }
        bits
    }

    /// Takes free objects into the slots.
    fn take(&self, into: &mut impl ExactSizeIterator<Item = *mut *mut u8>) {
        let mut bits = self.record.bits();
        if self.geometry.map_words == 0 {
            self.record.set_bits(self.take_from(bits, 0, into));
            return;
        }
        while bits != 0 && into.len() > 0 {
            let index = bits.trailing_zeros() as usize;
            let word = self.word(index);
            // SAFETY: as in `word`; the slab is locked.
            let left = unsafe {
                let left = self.take_from(word.read(), index * 64, into);
                word.write(left);
                left
            };
            if left == 0 {
                bits &= bits - 1;
            }
        }
        self.record.set_bits(bits);
    }

    /// Puts an object back; `false`: it is free.
    fn put(&self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        let bits = self.record.bits();
        if self.geometry.map_words == 0 {
            self.record.set_bits(bits | bit);
            return bits & bit == 0;
        }
        let word = self.word(index / 64);
        // SAFETY: as in `word`; the slab is locked.
        let before = unsafe {
            let before = word.read();
            word.write(before | bit);
            before
        };
        self.record.set_bits(bits | 1 << (index / 64));
        before & bit == 0
    }
}

#[cold]
fn refuse<P: Platform>(platform: &P, class: usize, object: *mut u8, kind: MisuseKind) {
    let size = CLASS_SIZES.get(class).copied().unwrap_or(0);
    platform.report(&Misuse { kind, address: object, size, allocated: 0, freed: 0 });
}

impl Slabs {
    /// No slabs yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: 0, empty: 0, empty_count: 0, frames: 0, objects: 0 }
    }

    /// A slab without objects out, on no list.
    fn provide<'a, P: Platform>(&mut self, platform: &'a P, class: usize) -> Option<(u32, &'a P::Record)> {
        if self.empty != 0 {
            let number = self.empty;
            let record = platform.record(number)?;
            unlink(platform, &mut self.empty, record);
            self.empty_count -= 1;
            return Some((number, record));
        }
        let number = platform.allocate_frame()?;
        let record = platform.record(number)?;
        set_out(record, class, 0);
        map(platform, class, number, record).fill();
        self.frames += 1;
        if P::GUARDED {
            let geometry = geometry(class);
            let base = platform.frame_address(number);
            let objects = (0..geometry.objects).map(|index| base.wrapping_add(index * geometry.size));
            objects.for_each(|object| guard::forget(object, geometry.size));
        }
        Some((number, record))
    }

    /// Takes objects out of the slabs into the slots. Gives how many: those of [`SLABS_AT_A_TIME`] slabs at most, and none only if memory is out.
    pub fn take<P: Platform>(&mut self, platform: &P, class: usize, slots: &mut [*mut u8]) -> usize {
        let want = slots.len();
        let mut into = slots.iter_mut().map(core::ptr::from_mut);
        for _ in 0..SLABS_AT_A_TIME {
            if into.len() == 0 {
                break;
            }
            let is_listed = self.partial != 0;
            let found = match is_listed {
                true => platform.record(self.partial).map(|record| (self.partial, record)),
                false => self.provide(platform, class),
            };
            let Some((number, record)) = found else { break };
            let missing = into.len();
            map(platform, class, number, record).take(&mut into);
            set_out(record, class, usize::from(record.state() & OUT) + missing - into.len());
            // A new slab that is used up at once is on no list in between.
            match (is_listed, record.bits() == 0) {
                (true, true) => unlink(platform, &mut self.partial, record),
                (false, false) => link(platform, &mut self.partial, number),
                _ => {}
            }
        }
        let taken = want - into.len();
        #[expect(clippy::cast_possible_truncation, reason = "at most a batch")]
        {
            self.objects += taken as u32;
        }
        taken
    }

    /// Puts one object back into its slab. What is no object of this class that is out is reported and left alone.
    pub fn put<P: Platform>(&mut self, platform: &P, class: usize, object: *mut u8) {
        let number = platform.frame_number(object);
        let geometry = geometry(class);
        let record = if number == 0 { None } else { platform.record(number) };
        let index = geometry.index_of(object.addr() % PAGE_SIZE);
        let (Some(record), Some(index)) = (record, index) else {
            return refuse(platform, class, object, MisuseKind::NotAllocated);
        };
        let out = usize::from(record.state() & OUT);
        if usize::from(record.state() >> CLASS_SHIFT) != class || out == 0 {
            return refuse(platform, class, object, MisuseKind::NotAllocated);
        }
        let was_full = record.bits() == 0;
        if !map(platform, class, number, record).put(index) {
            return refuse(platform, class, object, MisuseKind::FreedTwice);
        }
        self.objects -= 1;
        set_out(record, class, out - 1);
        if out > 1 {
            if was_full {
                link(platform, &mut self.partial, number);
            }
            return;
        }
        if !was_full {
            unlink(platform, &mut self.partial, record);
        }
        if self.empty_count < SPARE {
            link(platform, &mut self.empty, number);
            self.empty_count += 1;
        } else {
            self.give_back(platform, number, record);
        }
    }

    fn give_back<P: Platform>(&mut self, platform: &P, number: u32, record: &P::Record) {
        self.frames -= 1;
        record.set_state(0);
        platform.free_frame(number);
    }

    /// Gives empty slabs back until `keep` are left. Gives their number.
    pub fn release<P: Platform>(&mut self, platform: &P, keep: u32) -> u32 {
        let mut released = 0;
        while self.empty_count > keep {
            let number = self.empty;
            let Some(record) = platform.record(number) else { break };
            unlink(platform, &mut self.empty, record);
            self.empty_count -= 1;
            self.give_back(platform, number, record);
            released += 1;
        }
        released
    }

    /// Slabs without objects out.
    #[must_use]
    pub const fn empty_slabs(&self) -> u32 {
        self.empty_count
    }

    /// What it uses.
    #[must_use]
    pub fn usage(&self, class: usize) -> ClassUsage {
        let Geometry { size, objects, .. } = *geometry(class);
        ClassUsage { object_size: size, objects_per_slab: objects, slabs: self.frames, objects: self.objects }
    }

    /// Checks every invariant that the lists show; gives the free objects found. For tests.
    #[must_use]
    pub fn validate<P: Platform>(&self, platform: &P, class: usize) -> Option<usize> {
        let geometry = geometry(class);
        let (mut free, mut empties) = (0, 0);
        for (head, is_empty) in [(self.partial, false), (self.empty, true)] {
            let (mut previous, mut at) = (0, head);
            while at != 0 {
                let record = platform.record(at)?;
                let (before, next) = neighbours(record);
                let out = usize::from(record.state() & OUT);
                let map = map(platform, class, at, record);
                let count = if geometry.map_words == 0 {
                    record.bits().count_ones() as usize
                } else {
                    // SAFETY: the slab is locked.
                    let words = (0..geometry.map_words).map(|index| unsafe { map.word(index).read() });
                    words.map(|word| word.count_ones() as usize).sum()
                };
                let is_sound =
                    before == previous && count + out == geometry.objects && (out == 0) == is_empty && count > 0;
                if !is_sound {
                    return None;
                }
                free += count;
                empties += u32::from(is_empty);
                (previous, at) = (at, next);
            }
        }
        let capacity = self.frames as usize * geometry.objects;
        (empties == self.empty_count && free + self.objects as usize == capacity).then_some(free)
    }
}
