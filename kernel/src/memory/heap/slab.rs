//! Slabs: frames cut into objects of one size, a list of partly used ones per size class.
//!
//! A slab has no header: its frame's descriptor holds the head of its free objects (`owner`), its neighbours on the class's list
//! (`index`, two frame numbers) and the count of objects out (`flags`). Free objects hold the address of the next one.
//!
//! One spinlock per class, rank `Heap`, interrupts masked; held for one batch at a time. Frames come and go under it (the frame
//! allocator takes no lock).

#![allow(unsafe_code, reason = "free objects hold their links")]

use super::super::frame_allocator::{self as frames, descriptor};
use super::super::frame_descriptor::{FrameDescriptor, FrameKind};
use super::super::physmap;
use crate::base::{FrameNumber, PAGE_SIZE, VirtualAddress};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use core::ptr::{NonNull, null_mut};

/// Size classes in bytes. All but the first are multiples of 16, so any object of theirs has that alignment; a power of two is aligned
/// to itself.
pub const CLASS_SIZES: [usize; CLASSES] = [8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048];
/// How many classes there are.
pub const CLASSES: usize = 14;
/// The largest object that comes from a slab.
pub const LARGEST: usize = 2048;

const INDEXED: usize = 1024;

/// The class of each size up to 1024, by eighths.
static CLASS_OF: [u8; INDEXED / 8 + 1] = {
    let mut table = [0; INDEXED / 8 + 1];
    let mut index = 0;
    while index < table.len() {
        let mut class = 0;
        while CLASS_SIZES[class] < index * 8 {
            class += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 14")]
        {
            table[index] = class as u8;
        }
        index += 1;
    }
    table
};

/// The smallest class whose objects have `size` bytes; `size` is at most [`LARGEST`].
#[inline]
pub fn class_of(size: usize) -> usize {
    CLASS_OF.get(size.wrapping_add(7) / 8).map_or(CLASSES - 1, |class| usize::from(*class))
}

/// A free object: its first word is the next one.
#[derive(Debug)]
#[repr(transparent)]
pub struct Object {
    /// The next free object.
    pub next: *mut Object,
}

/// A chain of free objects of one class.
#[derive(Debug)]
pub struct Chain {
    /// The first.
    pub head: *mut Object,
    /// How many.
    pub length: u32,
}

// SAFETY: the objects of a chain belong to whoever has it.
unsafe impl Send for Chain {}

impl Chain {
    /// No objects.
    pub const EMPTY: Self = Self { head: null_mut(), length: 0 };

    /// Takes the first object.
    #[inline]
    pub fn pop(&mut self) -> *mut Object {
        let object = self.head;
        if let Some(first) = NonNull::new(object) {
            // SAFETY: a free object of the chain holds the next one.
            self.head = unsafe { first.as_ref().next };
            self.length = self.length.wrapping_sub(1);
        }
        object
    }
    /// Puts an object first.
    ///
    /// # Safety
    /// It is a free object of this chain's class, and the caller's.
    #[inline]
    pub unsafe fn push(&mut self, object: *mut Object) {
        // SAFETY: the caller's promise.
        unsafe { (*object).next = self.head };
        self.head = object;
        self.length += 1;
    }
}

/// One class's slabs.
#[derive(Debug)]
struct Slabs {
    /// The first slab with both free objects and objects out; 0 is none.
    partial: u32,
    /// Frames that are slabs.
    frames: u32,
    /// Objects out, those in magazines included.
    objects: u32,
}

/// What one class uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassUsage {
    /// Bytes of an object.
    pub object_size: usize,
    /// Objects that a slab, one frame, holds.
    pub objects_per_slab: u16,
    /// Slabs.
    pub slabs: u32,
    /// Objects out, those in magazines included.
    pub objects: u32,
}

/// All classes.
#[derive(Debug)]
pub struct SlabCache {
    classes: [SpinLock<Slabs, InterruptsDisabled>; CLASSES],
}

fn neighbours(frame: &FrameDescriptor) -> (u32, u32) {
    let index = frame.index();
    #[expect(clippy::cast_possible_truncation, reason = "two halves")]
    (index as u32, (index >> 32) as u32)
}

fn set_neighbours(frame: &FrameDescriptor, previous: u32, next: u32) {
    frame.set_index(u64::from(next) << 32 | u64::from(previous));
}

fn number_of(frame: &FrameDescriptor) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "frame numbers are below 2^32")]
    {
        frame.number().value() as u32
    }
}

fn slab(number: u32) -> Option<&'static FrameDescriptor> {
    if number == 0 { None } else { descriptor(FrameNumber::new(number.into())) }
}

/// The frame behind an address of the physmap.
pub fn frame_of(address: *const u8) -> FrameNumber {
    physmap::physical_of(VirtualAddress::new(address.addr() as u64)).frame()
}

fn objects_per_slab(class: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 512")]
    CLASS_SIZES.get(class).map_or(1, |size| (PAGE_SIZE / size) as u16)
}

impl Slabs {
    fn link(&mut self, frame: &FrameDescriptor) {
        set_neighbours(frame, 0, self.partial);
        if let Some(next) = slab(self.partial) {
            let (_, after) = neighbours(next);
            set_neighbours(next, number_of(frame), after);
        }
        self.partial = number_of(frame);
    }

    fn unlink(&mut self, frame: &FrameDescriptor) {
        let (previous, next) = neighbours(frame);
        if let Some(next) = slab(next) {
            let (_, after) = neighbours(next);
            set_neighbours(next, previous, after);
        }
        match slab(previous) {
            Some(before) => {
                let (first, _) = neighbours(before);
                set_neighbours(before, first, next);
            }
            None => self.partial = next,
        }
    }

    /// A new slab with all objects free, on the list.
    fn grow(&mut self, class: usize) -> Option<&'static FrameDescriptor> {
        let frame = frames::allocate_reserved_descriptor()?;
        frame.set_kind(FrameKind::Heap);
        frame.set_flags(0);
        let base = physmap::pointer::<u8>(frame.number().address());
        let size = *CLASS_SIZES.get(class)?;
        let mut chain = Chain::EMPTY;
        for index in (0..objects_per_slab(class)).rev() {
            // SAFETY: inside the new frame, aligned for a pointer.
            unsafe { chain.push(base.add(usize::from(index) * size).cast()) };
        }
        frame.set_owner(chain.head.expose_provenance() as u64);
        self.frames += 1;
        self.link(frame);
        Some(frame)
    }

    /// Takes up to `want` objects out of the slabs.
    fn take(&mut self, class: usize, want: u32, into: &mut Chain) {
        let mut missing = want;
        while missing > 0 {
            let frame = match slab(self.partial) {
                Some(frame) => frame,
                // One new slab is enough for now.
                None if missing == want => match self.grow(class) {
                    Some(frame) => frame,
                    None => return,
                },
                None => return,
            };
            let mut free =
                Chain { head: core::ptr::with_exposed_provenance_mut(frame.owner() as usize), length: u32::MAX };
            let mut out = frame.flags();
            while missing > 0 {
                let object = free.pop();
                if object.is_null() {
                    break;
                }
                // SAFETY: a free object of this class that was just taken.
                unsafe { into.push(object) };
                out += 1;
                missing -= 1;
                self.objects += 1;
            }
            frame.set_owner(free.head.expose_provenance() as u64);
            frame.set_flags(out);
            if free.head.is_null() {
                self.unlink(frame);
            }
        }
    }

    /// Puts one object back into its slab; frees the slab when that was its last one out and others have free objects.
    fn put(&mut self, class: usize, object: *mut Object) {
        let Some(frame) = descriptor(frame_of(object.cast())) else { return };
        debug_assert_eq!(frame.kind(), FrameKind::Heap, "an object that is in no slab");
        let out = frame.flags().wrapping_sub(1);
        let was_full = frame.owner() == 0;
        // SAFETY: the object is free and belongs to this slab.
        unsafe { (*object).next = core::ptr::with_exposed_provenance_mut(frame.owner() as usize) };
        frame.set_owner(object.expose_provenance() as u64);
        frame.set_flags(out);
        self.objects -= 1;
        if was_full {
            self.link(frame);
        }
        let is_only = self.partial == number_of(frame) && neighbours(frame).1 == 0;
        if out == 0 && !is_only {
            self.unlink(frame);
            self.frames -= 1;
            frame.set_flags(0);
            if frame.take_reference() {
                frames::free_descriptor(frame);
            }
        }
        let _ = class;
    }
}

impl Default for SlabCache {
    fn default() -> Self {
        Self::new()
    }
}

impl SlabCache {
    /// No slabs yet.
    pub const fn new() -> Self {
        Self {
            classes: [const { SpinLock::new(LockRank::Heap, Slabs { partial: 0, frames: 0, objects: 0 }) }; CLASSES],
        }
    }
    /// Takes up to `want` objects of `class` into a chain; it may be empty when memory is out.
    #[cold]
    pub fn take(&self, class: usize, want: u32) -> Chain {
        let mut chain = Chain::EMPTY;
        if let Some(slabs) = self.classes.get(class) {
            slabs.lock().take(class, want, &mut chain);
        }
        chain
    }
    /// Puts `count` objects of `chain`, or all, back into their slabs.
    #[cold]
    pub fn put(&self, class: usize, chain: &mut Chain, count: u32) {
        let Some(slabs) = self.classes.get(class) else { return };
        let mut slabs = slabs.lock();
        for _ in 0..count {
            let object = chain.pop();
            if object.is_null() {
                return;
            }
            slabs.put(class, object);
        }
    }
    /// What each class uses, in the order of [`CLASS_SIZES`].
    pub fn class_usage(&self) -> [ClassUsage; CLASSES] {
        core::array::from_fn(|class| {
            let (slabs, objects) = self.classes.get(class).map_or((0, 0), |slabs| {
                let slabs = slabs.lock();
                (slabs.frames, slabs.objects)
            });
            let object_size = CLASS_SIZES.get(class).copied().unwrap_or(LARGEST);
            ClassUsage { object_size, objects_per_slab: objects_per_slab(class), slabs, objects }
        })
    }
    /// Frames that are slabs, and bytes in objects that are out.
    pub fn usage(&self) -> (u64, u64) {
        self.classes.iter().zip(CLASS_SIZES).fold((0, 0), |(frames, bytes), (slabs, size)| {
            let slabs = slabs.lock();
            (frames + u64::from(slabs.frames), bytes + u64::from(slabs.objects) * size as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_smallest_that_fit() {
        for size in 1..=LARGEST {
            let class = class_of(size);
            assert!(CLASS_SIZES[class] >= size);
            assert!(class == 0 || CLASS_SIZES[class - 1] < size, "size {size}");
        }
    }

    #[test]
    fn slabs_come_and_go() {
        let cache = SlabCache::new();
        for (class, _) in CLASS_SIZES.iter().enumerate() {
            let mut all = Chain::EMPTY;
            let per_slab = u32::from(objects_per_slab(class));
            let mut seen = std::collections::HashSet::new();
            for _ in 0..3 {
                let mut chain = cache.take(class, per_slab);
                assert_eq!(chain.length, per_slab);
                loop {
                    let object = chain.pop();
                    if object.is_null() {
                        break;
                    }
                    assert!(seen.insert(object.addr()));
                    assert_eq!(
                        object.addr() % CLASS_SIZES[class].min(16).min(1 << CLASS_SIZES[class].trailing_zeros()),
                        0
                    );
                    // SAFETY: just taken.
                    unsafe { all.push(object) };
                }
            }
            assert_eq!(cache.classes[class].lock().frames, 3);
            cache.put(class, &mut all, u32::MAX);
            let slabs = cache.classes[class].lock();
            assert_eq!((slabs.frames, slabs.objects), (1, 0));
        }
        assert_eq!(cache.usage(), (CLASSES as u64, 0));
    }
}
