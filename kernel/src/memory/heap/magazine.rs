//! Magazines: the free objects that a CPU keeps, so that most allocations touch nothing that is shared.
//!
//! One stack of pointers per size class, all in one block of memory. Taking and keeping an object costs no lock and no atomic operation, and does not
//! touch the object: the block is its CPU's, and whoever uses it stays there. What may come between is an interrupt handler on the same
//! CPU, which has ended before its victim goes on; it finds `busy` set and goes to the slabs. Hence plain stores with compiler fences do.
//!
//! [`Handover`] is the one thing that CPUs share here: what was taken out of a CPU's magazines on behalf of another one ([`super::Heap::shrink`]).

#![allow(unsafe_code, reason = "a CPU's own block is reached through a shared reference")]

use super::class::{CLASSES, batch, capacity};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering, compiler_fence};

/// Where the stack of each class begins; the last entry is where the last one ends.
const STARTS: [u16; CLASSES + 1] = {
    let mut starts = [0; CLASSES + 1];
    let mut class = 0;
    while class < CLASSES {
        #[expect(clippy::cast_possible_truncation, reason = "some hundred")]
        {
            starts[class + 1] = starts[class] + capacity(class) as u16;
        }
        class += 1;
    }
    starts
};
const SLOTS: usize = STARTS[CLASSES] as usize;

/// One CPU's free objects.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Magazines {
    busy: AtomicBool,
    content: UnsafeCell<Content>,
}

/// `tops[class]` is the first free slot of that class's stack: between `STARTS[class]` and `STARTS[class + 1]`, both included.
#[derive(Debug)]
#[repr(C)]
struct Content {
    tops: [u16; CLASSES],
    slots: [*mut u8; SLOTS],
}

/// The marks of magazines without objects.
const EMPTY: [u16; CLASSES] = {
    let mut tops = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        tops[class] = STARTS[class];
        class += 1;
    }
    tops
};

/// The magazines, while nobody else may use them.
#[derive(Debug)]
pub struct Open<'a> {
    magazines: &'a Magazines,
}

// SAFETY: the content is touched only by whoever opened it, on the CPU that the magazines belong to.
unsafe impl Sync for Magazines {}
// SAFETY: the objects in it are nobody's.
unsafe impl Send for Magazines {}

impl Magazines {
    /// Makes them, without objects, where they are to be: as a value on the way there they would take most of a kernel stack.
    ///
    /// # Safety
    /// `place` is memory for them, which nobody else uses.
    pub unsafe fn initialize(place: *mut Self) {
        // SAFETY: the caller's promise. Zeros are closed magazines whose slots are null; then the marks of where each is empty.
        unsafe {
            place.write_bytes(0, 1);
            let content = UnsafeCell::raw_get(&raw const (*place).content);
            (&raw mut (*content).tops).write(EMPTY);
        }
    }

    /// Opens them, unless somebody has them open.
    ///
    /// # Safety
    /// The caller runs on the one CPU that these belong to and stays there until the result is dropped.
    #[inline]
    pub unsafe fn open(&self) -> Option<Open<'_>> {
        if self.busy.load(Ordering::Relaxed) {
            return None;
        }
        // A handler that comes in between has left them closed again.
        self.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(Open { magazines: self })
    }
}

impl Drop for Open<'_> {
    #[inline]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.magazines.busy.store(false, Ordering::Relaxed);
    }
}

impl Open<'_> {
    #[inline]
    fn content(&mut self) -> &mut Content {
        // SAFETY: whoever has the magazines open is alone with them.
        unsafe { &mut *self.magazines.content.get() }
    }

    /// The object of `class` (below [`CLASSES`]) that was kept last; null: there is none.
    #[inline]
    pub fn pop(&mut self, class: usize) -> *mut u8 {
        let content = self.content();
        let (Some(top), Some(start)) = (content.tops.get_mut(class), STARTS.get(class)) else { return null_mut() };
        if *top == *start {
            return null_mut();
        }
        *top -= 1;
        // SAFETY: above its class's start, and so far below the slots' end.
        unsafe { *content.slots.get_unchecked(usize::from(*top)) }
    }

    /// Keeps a free object of `class`; `false`: there is no room.
    #[inline]
    pub fn push(&mut self, class: usize, object: *mut u8) -> bool {
        let content = self.content();
        let (Some(top), Some(end)) = (content.tops.get_mut(class), STARTS.get(class + 1)) else { return false };
        if *top == *end {
            return false;
        }
        // SAFETY: below its class's end, which is at most the slots'.
        unsafe { *content.slots.get_unchecked_mut(usize::from(*top)) = object };
        *top += 1;
        true
    }

    /// Has `fill` put up to a batch of objects of `class`, of which there are none here, and say how many.
    pub fn refill(&mut self, class: usize, fill: impl FnOnce(&mut [*mut u8]) -> usize) {
        let content = self.content();
        let Some(start) = STARTS.get(class) else { return };
        let first = usize::from(*start);
        let (Some(top), Some(slots)) =
            (content.tops.get_mut(class), content.slots.get_mut(first..first + batch(class)))
        else {
            return;
        };
        debug_assert_eq!(*top, *start, "a magazine that is not empty is filled");
        #[expect(clippy::cast_possible_truncation, reason = "at most a batch")]
        {
            *top = *start + fill(slots).min(slots.len()) as u16;
        }
    }

    /// Gives those `count` objects of `class` away that were kept longest.
    pub fn flush(&mut self, class: usize, count: usize, take: impl FnOnce(&[*mut u8])) {
        let content = self.content();
        let (Some(top), Some(start)) = (content.tops.get_mut(class), STARTS.get(class)) else { return };
        let first = usize::from(*start);
        let Some(held) = content.slots.get_mut(first..usize::from(*top)) else { return };
        let count = count.min(held.len());
        if let Some(old) = held.get(..count) {
            take(old);
        }
        held.copy_within(count.., 0);
        #[expect(clippy::cast_possible_truncation, reason = "at most what there are")]
        {
            *top -= count as u16;
        }
    }
}

/// Free objects on their way from one CPU's magazines to the slabs: a list per class, to which any CPU adds in any context, and which is
/// taken as a whole. So nothing is ever taken from the middle, and no address can come back unnoticed.
#[derive(Debug)]
pub struct Handover {
    heads: [AtomicPtr<u8>; CLASSES],
}

impl Handover {
    /// Without objects.
    #[must_use]
    pub const fn new() -> Self {
        Self { heads: [const { AtomicPtr::new(null_mut()) }; CLASSES] }
    }

    /// Adds free objects of `class`.
    ///
    /// # Safety
    /// They are the caller's, of at least 8 bytes.
    pub unsafe fn add(&self, class: usize, objects: &[*mut u8]) {
        let (Some(head), [first, ..], [.., last]) = (self.heads.get(class), objects, objects) else { return };
        for (object, next) in objects.iter().zip(objects.iter().skip(1)) {
            // SAFETY: the caller's promise.
            unsafe { object.cast::<*mut u8>().write_unaligned(*next) };
        }
        let mut found = head.load(Ordering::Relaxed);
        loop {
            // SAFETY: as above.
            unsafe { last.cast::<*mut u8>().write_unaligned(found) };
            match head.compare_exchange_weak(found, *first, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => found = changed,
            }
        }
    }

    /// Takes all objects of `class`.
    pub fn take(&self, class: usize, mut each: impl FnMut(*mut u8)) {
        let Some(head) = self.heads.get(class) else { return };
        let mut at = head.swap(null_mut(), Ordering::Acquire);
        while !at.is_null() {
            // SAFETY: it was added, with the next one's address in it, and is nobody else's.
            let next = unsafe { at.cast::<*mut u8>().read_unaligned() };
            each(at);
            at = next;
        }
    }
}

impl Default for Handover {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Box<Magazines> {
        let mut place = Box::<Magazines>::new_uninit();
        // SAFETY: memory for them; initialized afterwards.
        unsafe {
            Magazines::initialize(place.as_mut_ptr());
            place.assume_init()
        }
    }

    fn object(number: usize) -> *mut u8 {
        core::ptr::without_provenance_mut(number)
    }

    #[test]
    fn what_was_kept_last_comes_first_and_what_was_kept_longest_goes() {
        let magazines = empty();
        for class in 0..CLASSES {
            // SAFETY: this thread alone uses them.
            let mut open = unsafe { magazines.open() }.unwrap();
            assert!(open.pop(class).is_null());
            let capacity = capacity(class);
            assert!((1..=capacity).all(|number| open.push(class, object(number))));
            assert!(!open.push(class, object(99)));
            assert_eq!(open.pop(class), object(capacity));
            let mut gone = Vec::new();
            open.flush(class, batch(class), |objects| gone.extend_from_slice(objects));
            assert_eq!(gone, (1..=batch(class)).map(object).collect::<Vec<_>>());
            for number in (batch(class) + 1..capacity).rev() {
                assert_eq!(open.pop(class), object(number));
            }
            assert!(open.pop(class).is_null());
            open.refill(class, |slots| {
                assert_eq!(slots.len(), batch(class));
                slots[0] = object(7);
                slots[1] = object(8);
                2
            });
            assert_eq!([open.pop(class), open.pop(class), open.pop(class)], [object(8), object(7), null_mut()]);
        }
    }

    #[test]
    fn who_comes_in_between_finds_them_closed() {
        let magazines = empty();
        // SAFETY: this thread alone uses them.
        unsafe {
            let open = magazines.open();
            assert!(open.is_some() && magazines.open().is_none());
            drop(open);
            assert!(magazines.open().is_some());
        }
    }

    #[test]
    fn a_handover_gives_each_object_once() {
        let handover = Handover::new();
        let mut memory = vec![[0u64; 2]; 64];
        let pointers: Vec<*mut u8> = memory.iter_mut().map(|object| std::ptr::from_mut(object).cast()).collect();
        std::thread::scope(|scope| {
            for part in pointers.chunks(8) {
                let part: Vec<usize> = part.iter().map(|pointer| pointer.expose_provenance()).collect();
                let handover = &handover;
                scope.spawn(move || {
                    for pair in part.chunks(2) {
                        let pair: Vec<*mut u8> =
                            pair.iter().map(|address| std::ptr::with_exposed_provenance_mut(*address)).collect();
                        // SAFETY: this thread's part of the memory.
                        unsafe { handover.add(3, &pair) };
                    }
                });
            }
        });
        let mut found = Vec::new();
        handover.take(3, |object| found.push(object));
        handover.take(3, |_| panic!("taken before"));
        found.sort();
        assert_eq!(found, pointers);
    }
}
