//! One heap: magazines over slabs, the first-fit list and whole frames, for any [`Platform`].

#![allow(unsafe_code, reason = "implements GlobalAlloc")]

use super::class::{self, CLASS_SIZES, CLASSES, LARGEST, LISTED, class_of};
use super::depot::Depot;
use super::free_list::{FreeList, Freed};
use super::guard::{self, Misuse, MisuseKind, Storage, TRAILER};
use super::magazine::{Handover, Magazines};
use super::platform::{Locked, Pinned, Platform};
use super::slab::{ClassUsage, SPARE, Slabs};
use crate::base::{MAXIMUM_CPUS, PAGE_SIZE};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The bytes that a heap has of its own, unless it is configured otherwise: 100 KB.
pub const DEFAULT_SIZE: usize = 100 * 1024;
/// Frames by which the list grows, if there are as many in a row.
pub(super) const LIST_GROWTH: usize = 8;
/// Alignment up to which frames in a row are aligned by themselves.
const NATURAL_FRAMES: usize = 512;
const MAGAZINE_FRAMES: usize = size_of::<Magazines>().div_ceil(PAGE_SIZE);

#[repr(C, align(16))]
struct Arena<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: the bytes are handed out by the list, under its lock.
unsafe impl<const SIZE: usize> Sync for Arena<SIZE> {}

#[derive(Debug)]
struct List {
    list: FreeList,
    /// Whether the heap's own bytes were added.
    started: bool,
}

/// What is behind the magazines for one class. The slabs of `LISTED` stay empty: the list is behind its depot.
#[derive(Debug)]
struct Stock {
    depot: Depot,
    slabs: Slabs,
}

/// What the heap uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapStatistics {
    /// Frames that slabs, the list, magazines and large objects take.
    pub frames: u64,
    /// Bytes in small objects that are out (those in magazines count).
    pub small_bytes: u64,
    /// Bytes that the first-fit list has handed out, headers included (those in magazines count).
    pub list_bytes: u64,
    /// Bytes in objects of whole frames.
    pub large_bytes: u64,
}

/// A heap. `SIZE` bytes of its own carry it until there are frames.
pub struct Heap<P: Platform, const SIZE: usize = DEFAULT_SIZE> {
    platform: P,
    magazines: [AtomicPtr<Magazines>; MAXIMUM_CPUS],
    handover: Handover,
    stocks: [Locked<Stock, P::Lock>; CLASSES],
    list: Locked<List, P::Lock>,
    list_frames: AtomicU64,
    large_frames: AtomicU64,
    magazine_frames: AtomicU64,
    arena: Arena<SIZE>,
}

/// How a layout is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    Small(usize),
    Frames(usize),
}

impl<P: Platform, const SIZE: usize> Heap<P, SIZE> {
    /// An empty heap: for a `static`.
    #[must_use]
    pub const fn on(platform: P) -> Self {
        Self {
            platform,
            magazines: [const { AtomicPtr::new(null_mut()) }; MAXIMUM_CPUS],
            handover: Handover::new(),
            stocks: [const { Locked::new(Stock { depot: Depot::new(), slabs: Slabs::new() }) }; CLASSES],
            list: Locked::new(List { list: FreeList::new(), started: false }),
            list_frames: AtomicU64::new(0),
            large_frames: AtomicU64::new(0),
            magazine_frames: AtomicU64::new(0),
            arena: Arena(UnsafeCell::new([0; SIZE])),
        }
    }

    /// The platform.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// The route of a layout; the same at allocation and at release.
    #[inline]
    pub(super) fn route(layout: Layout) -> Route {
        let (size, alignment) = (layout.size() + if P::GUARDED { TRAILER } else { 0 }, layout.align());
        let size = if alignment > 16 { size.max(alignment).next_power_of_two() } else { size.max(alignment) };
        if size <= LARGEST { Route::Small(class_of(size)) } else { Route::Frames(size.div_ceil(PAGE_SIZE)) }
    }

    /// What a guarded object of the layout takes.
    fn storage(address: *mut u8, layout: Layout) -> Storage {
        let length = match Self::route(layout) {
            Route::Small(class) => CLASS_SIZES.get(class).copied().unwrap_or(LARGEST),
            Route::Frames(_) => layout.size().next_multiple_of(16) + TRAILER,
        };
        Storage { address, length }
    }

    /// Whether the heap's own bytes hold the address.
    #[inline]
    fn is_own(&self, address: *const u8) -> bool {
        address.addr().wrapping_sub(self.arena.0.get().addr()) < SIZE
    }

    #[inline]
    fn magazines(&self, cpu: usize) -> Option<&Magazines> {
        let magazines = self.magazines.get(cpu)?.load(Ordering::Acquire);
        // SAFETY: null, or set once by `magazines_or_new`, and never freed.
        unsafe { magazines.as_ref() }
    }

    /// The magazines of the CPU that the caller is pinned to.
    fn magazines_or_new(&self, cpu: usize) -> Option<&Magazines> {
        let place = self.magazines.get(cpu)?;
        if place.load(Ordering::Acquire).is_null() {
            let first = self.platform.allocate_contiguous(MAGAZINE_FRAMES)?;
            let memory = self.platform.frame_address(first).cast::<Magazines>();
            // SAFETY: enough fresh frames, aligned to a page.
            unsafe { Magazines::initialize(memory) };
            // A handler on this CPU may have been first.
            match place.compare_exchange(null_mut(), memory, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => _ = self.magazine_frames.fetch_add(MAGAZINE_FRAMES as u64, Ordering::Relaxed),
                Err(_) => self.platform.free_contiguous(first, MAGAZINE_FRAMES),
            }
        }
        self.magazines(cpu)
    }

    #[inline]
    fn allocate_small(&self, class: usize) -> *mut u8 {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        let object = match self.magazines(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            Some(mut open) => open.pop(class),
            None => null_mut(),
        };
        drop(pinned);
        if object.is_null() { self.allocate_small_slowly(class) } else { object }
    }

    #[cold]
    #[inline(never)]
    fn allocate_small_slowly(&self, class: usize) -> *mut u8 {
        let mut object = self.refill(class);
        if object.is_null() && self.reclaim() > 0 {
            object = self.refill(class);
        }
        if object.is_null() {
            // Before there are frames, or after the last one.
            let size = CLASS_SIZES.get(class).copied().unwrap_or(LARGEST);
            let alignment = if size.is_power_of_two() { size } else { 16 };
            object = Layout::from_size_align(size, alignment).map_or(null_mut(), |layout| self.allocate_early(layout));
        }
        object
    }

    /// An object out of a new batch.
    fn refill(&self, class: usize) -> *mut u8 {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        if let Some(mut open) = self.magazines_or_new(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            // Whoever ran here since the first look may have left some.
            let object = open.pop(class);
            if !object.is_null() {
                return object;
            }
            open.refill(class, |slots| self.take(class, slots));
            return open.pop(class);
        }
        drop(pinned);
        let mut one = [null_mut()];
        self.take(class, &mut one);
        let [object] = one;
        object
    }

    /// Takes free objects of a class from what is behind the magazines.
    fn take(&self, class: usize, slots: &mut [*mut u8]) -> usize {
        let Some(stock) = self.stocks.get(class) else { return 0 };
        let count = stock.with(|stock| {
            let count = stock.depot.take(&self.platform, slots);
            if count > 0 || class == LISTED { count } else { stock.slabs.take(&self.platform, class, slots) }
        });
        if count == 0 && class == LISTED { self.take_listed(slots) } else { count }
    }

    /// Puts free objects of a class back there.
    fn put(&self, class: usize, objects: &[*mut u8]) {
        let Some(stock) = self.stocks.get(class) else { return };
        let is_kept = stock.with(|stock| {
            let is_kept = objects.len() > 1 && stock.depot.put(&self.platform, class, objects);
            if !is_kept && class != LISTED {
                objects.iter().for_each(|object| stock.slabs.put(&self.platform, class, *object));
            }
            is_kept
        });
        if !is_kept && class == LISTED {
            self.free_listed(objects);
        }
    }

    /// Empties the depot of a class, and gives its empty slabs back.
    fn settle(&self, class: usize) {
        let Some(stock) = self.stocks.get(class) else { return };
        loop {
            let mut objects = [null_mut(); 16];
            let count = stock.with(|stock| {
                let count = stock.depot.take(&self.platform, &mut objects);
                let taken = objects.iter().take(count);
                if class != LISTED {
                    taken.for_each(|object| stock.slabs.put(&self.platform, class, *object));
                }
                if count == 0 {
                    stock.depot.close(&self.platform);
                    stock.slabs.release(&self.platform, 0);
                }
                count
            });
            if count == 0 {
                return;
            }
            if class == LISTED {
                self.free_listed(objects.get(..count).unwrap_or(&[]));
            }
        }
    }

    #[inline]
    fn free_small(&self, class: usize, object: *mut u8) {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        let is_kept = match self.magazines(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            Some(mut open) => open.push(class, object),
            None => false,
        };
        drop(pinned);
        if !is_kept {
            self.free_small_slowly(class, object);
        }
    }

    #[cold]
    #[inline(never)]
    fn free_small_slowly(&self, class: usize, object: *mut u8) {
        let pinned = Pinned::new(&self.platform);
        // SAFETY: pinned to the CPU.
        if let Some(mut open) = self.magazines_or_new(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            if open.push(class, object) {
                return;
            }
            open.flush(class, class::batch(class), |objects| self.put(class, objects));
            if open.push(class, object) {
                return;
            }
        }
        drop(pinned);
        self.put(class, &[object]);
    }

    /// From the list, over the heap's own bytes alone.
    #[cold]
    fn allocate_early(&self, layout: Layout) -> *mut u8 {
        let found = self.list.with(|list| {
            self.start(list);
            let found = list.list.allocate(layout);
            if self.is_own(found) {
                return found;
            }
            // What the list got from frames is not told from a slab's object by its address: it must not come from there.
            if let Some(found) = NonNull::new(found) {
                // SAFETY: just handed out by this list. An arena that is empty now was so before.
                let _ = unsafe { list.list.deallocate(found) };
            }
            null_mut()
        });
        if P::GUARDED && !found.is_null() {
            guard::forget(found, layout.size());
        }
        found
    }

    fn start(&self, list: &mut List) {
        if !list.started {
            list.started = true;
            // SAFETY: the heap's own bytes, touched by its list alone, which lives as long.
            unsafe { list.list.add_arena(self.arena.0.get().cast(), SIZE) };
        }
    }

    /// Objects of the class `LISTED`.
    fn take_listed(&self, slots: &mut [*mut u8]) -> usize {
        let Some(size) = CLASS_SIZES.get(LISTED) else { return 0 };
        let Ok(layout) = Layout::from_size_align(*size, 16) else { return 0 };
        self.list.with(|list| {
            self.start(list);
            let mut count = 0;
            for slot in slots {
                let mut found = list.list.allocate(layout);
                if found.is_null() && self.grow(&mut list.list) {
                    found = list.list.allocate(layout);
                }
                if found.is_null() {
                    break;
                }
                if P::GUARDED {
                    guard::forget(found, *size);
                }
                *slot = found;
                count += 1;
            }
            count
        })
    }

    fn grow(&self, list: &mut FreeList) -> bool {
        let grown =
            [LIST_GROWTH, 1].into_iter().find_map(|count| Some((self.platform.allocate_contiguous(count)?, count)));
        let Some((first, count)) = grown else { return false };
        self.list_frames.fetch_add(count as u64, Ordering::Relaxed);
        // SAFETY: the frames are the list's alone from here on.
        unsafe { list.add_arena(self.platform.frame_address(first), count * PAGE_SIZE) };
        true
    }

    /// Gives objects back to the list.
    #[cold]
    fn free_listed(&self, objects: &[*mut u8]) {
        self.list.with(|list| {
            for address in objects.iter().filter_map(|object| NonNull::new(*object)) {
                // SAFETY: the route of the layout, and the caller's promise, say that the list handed it out.
                match unsafe { list.list.deallocate(address) } {
                    // One empty arena stays, so that an object that comes and goes does not move frames each time.
                    Freed::LastOfArena(first) if list.list.empty_arenas() > 1 && !self.is_own(first.as_ptr()) => {
                        // SAFETY: under the lock since.
                        let length = unsafe { list.list.take_arena(first) };
                        self.free_arena(first, length);
                    }
                    Freed::Part | Freed::LastOfArena(_) => {}
                    Freed::Twice => {
                        let (kind, address) = (MisuseKind::FreedTwice, address.as_ptr());
                        self.platform.report(&Misuse { kind, address, size: 0, allocated: 0, freed: 0 });
                    }
                }
            }
        });
    }

    /// Gives the frames of an arena, which is not the list's any more, back.
    fn free_arena(&self, first: NonNull<u8>, length: usize) {
        // What the list does not use of an arena is less than a frame.
        let count = length.div_ceil(PAGE_SIZE);
        self.list_frames.fetch_sub(count as u64, Ordering::Relaxed);
        self.platform.free_contiguous(self.platform.frame_number(first.as_ptr()), count);
    }

    /// `count` frames in a row, aligned.
    fn allocate_frames(&self, count: usize, alignment: usize) -> *mut u8 {
        let aligned = alignment / PAGE_SIZE;
        let first = if aligned <= NATURAL_FRAMES {
            self.platform.allocate_contiguous(count)
        } else {
            self.allocate_aligned(count, aligned)
        };
        let Some(first) = first else { return null_mut() };
        self.large_frames.fetch_add(count as u64, Ordering::Relaxed);
        let address = self.platform.frame_address(first);
        debug_assert!(address.addr().is_multiple_of(alignment.min(PAGE_SIZE * NATURAL_FRAMES)), "frames out of line");
        address
    }

    /// Frames aligned to more than they are by themselves: out of a longer row, whose ends go back.
    fn allocate_aligned(&self, count: usize, aligned: usize) -> Option<u32> {
        let length = count.checked_add(aligned)?.checked_sub(NATURAL_FRAMES)?;
        let first = self.platform.allocate_contiguous(length)?;
        let page = self.platform.frame_address(first).addr() / PAGE_SIZE;
        let head = page.next_multiple_of(aligned) - page;
        let tail = length.checked_sub(head + count)?;
        #[expect(clippy::cast_possible_truncation, reason = "within a row of frames, whose numbers fit")]
        let at = |distance: usize| first + distance as u32;
        if head > 0 {
            self.platform.free_contiguous(first, head);
        }
        if tail > 0 {
            self.platform.free_contiguous(at(head + count), tail);
        }
        Some(at(head))
    }

    fn free_frames(&self, address: *mut u8, count: usize) {
        self.large_frames.fetch_sub(count as u64, Ordering::Relaxed);
        self.platform.free_contiguous(self.platform.frame_number(address), count);
    }

    #[cold]
    #[inline(never)]
    fn allocate_large(&self, layout: Layout, count: usize) -> *mut u8 {
        let mut found = self.allocate_frames(count, layout.align());
        if found.is_null() && self.reclaim() > 0 {
            found = self.allocate_frames(count, layout.align());
        }
        if P::GUARDED && !found.is_null() {
            let Storage { address, length } = Self::storage(found, layout);
            guard::forget(address, length);
        }
        if found.is_null() {
            let length = Self::storage(found, layout).length;
            let early = Layout::from_size_align(length, layout.align());
            found = early.map_or(null_mut(), |layout| self.allocate_early(layout));
        }
        found
    }

    #[inline]
    fn allocate(&self, layout: Layout) -> *mut u8 {
        match Self::route(layout) {
            Route::Small(class) => self.allocate_small(class),
            Route::Frames(count) => self.allocate_large(layout, count),
        }
    }

    #[inline]
    fn free(&self, address: *mut u8, layout: Layout) {
        if self.is_own(address) {
            self.free_listed(&[address]);
            return;
        }
        match Self::route(layout) {
            Route::Small(class) => self.free_small(class, address),
            Route::Frames(count) => self.free_frames(address, count),
        }
    }

    /// Empties this CPU's magazines, those of `cpu` if it is on that one, through `put`.
    fn empty_magazines(&self, pinned: &Pinned<'_, P>, mut put: impl FnMut(usize, &[*mut u8])) {
        // SAFETY: pinned to the CPU.
        if let Some(mut open) = self.magazines(pinned.cpu).and_then(|magazines| unsafe { magazines.open() }) {
            (0..CLASSES).for_each(|class| open.flush(class, usize::MAX, |objects| put(class, objects)));
        }
    }

    /// Gives this CPU's free objects away, for all to use. For a CPU that goes off line.
    pub fn drain(&self) {
        self.empty_magazines(&Pinned::new(&self.platform), |class, objects| self.put(class, objects));
    }

    /// Makes this CPU's free objects ready for [`Heap::shrink`] on another one. Takes no lock, so it may interrupt anything.
    pub fn hand_over(&self) {
        self.empty_magazines(&Pinned::new(&self.platform), |class, objects| {
            // SAFETY: free objects of this class, which has no less than 8 bytes.
            unsafe { self.handover.add(class, objects) };
        });
    }

    /// Gives back to the platform what is free: this CPU's objects, what others have handed over, and the empty slabs. Any context. Gives the number of frames.
    pub fn shrink(&self) -> u64 {
        for class in 0..CLASSES {
            self.handover.take(class, |object| {
                if P::GUARDED {
                    guard::restore_poison(object);
                }
                self.put(class, &[object]);
            });
        }
        self.reclaim()
    }

    /// Gives back what this CPU's objects, the depots and the empty slabs take. Gives the number of frames.
    #[cold]
    fn reclaim(&self) -> u64 {
        let before = self.frames();
        self.drain();
        (0..CLASSES).for_each(|class| self.settle(class));
        before.saturating_sub(self.frames())
    }

    fn frames(&self) -> u64 {
        let frames = |stock: &mut Stock| u64::from(stock.slabs.usage(0).slabs) + stock.depot.frames();
        let small: u64 = self.stocks.iter().map(|stock| stock.with(frames)).sum();
        let others = [&self.list_frames, &self.large_frames, &self.magazine_frames];
        small + others.iter().map(|frames| frames.load(Ordering::Relaxed)).sum::<u64>()
    }

    /// What each class uses, in the order of [`CLASS_SIZES`]; zeros where the list serves it.
    pub fn class_usage(&self) -> [ClassUsage; CLASSES] {
        core::array::from_fn(|class| match self.stocks.get(class) {
            Some(stock) if class != LISTED => stock.with(|stock| stock.slabs.usage(class)),
            _ => ClassUsage::default(),
        })
    }

    /// What it uses.
    pub fn statistics(&self) -> HeapStatistics {
        let small = self.class_usage().iter().map(|class| u64::from(class.objects) * class.object_size as u64).sum();
        let list = self.list.with(|list| list.list.total() - list.list.free());
        HeapStatistics {
            frames: self.frames(),
            small_bytes: small,
            list_bytes: list as u64,
            large_bytes: self.large_frames.load(Ordering::Relaxed) * PAGE_SIZE as u64,
        }
    }

    /// Checks every invariant. For tests: nobody else uses the heap.
    #[must_use]
    pub fn validate(&self) -> bool {
        let mut all = self.stocks.iter().enumerate();
        let are_sound =
            all.all(|(class, stock)| stock.with(|stock| stock.slabs.validate(&self.platform, class).is_some()));
        are_sound && self.list.with(|list| list.list.validate().is_some())
    }

    #[cold]
    fn report(&self, misuse: Misuse) {
        self.platform.report(&misuse);
    }

    /// Guarded heaps: the object begins.
    #[inline]
    fn mark(&self, address: *mut u8, layout: Layout) {
        if P::GUARDED
            && !address.is_null()
            && let Err(misuse) = Self::storage(address, layout).mark(layout.size(), self.platform.trace())
        {
            self.report(misuse);
        }
    }

    /// Guarded heaps: the object ends. `false`: it must not be freed.
    #[inline]
    fn unmark(&self, address: *mut u8, layout: Layout) -> bool {
        if P::GUARDED
            && let Err(misuse) = Self::storage(address, layout).unmark(layout.size(), self.platform.trace())
        {
            self.report(misuse);
            return misuse.kind != MisuseKind::FreedTwice;
        }
        true
    }
}

const _: () = assert!(SPARE > 0);

impl<P: Platform, const SIZE: usize> core::fmt::Debug for Heap<P, SIZE> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Heap")
    }
}

// SAFETY: each route hands out memory that is its own, of at least the layout's size and alignment, and takes it back by the same route.
unsafe impl<P: Platform, const SIZE: usize> GlobalAlloc for Heap<P, SIZE> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let address = self.allocate(layout);
        self.mark(address, layout);
        address
    }

    #[inline]
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if self.unmark(address, layout) {
            self.free(address, layout);
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        // An object of whole frames has its trailer behind its bytes, so a guarded one moves.
        let same = match (Self::route(layout), Self::route(new_layout)) {
            (Route::Small(old), Route::Small(new)) => old == new,
            (Route::Frames(old), Route::Frames(new)) => old == new && !P::GUARDED,
            _ => false,
        };
        if same && !self.is_own(address) {
            if P::GUARDED {
                Self::storage(address, new_layout).resize(new_size);
            }
            return address;
        }
        // SAFETY: the caller's promises about `address` and `layout`; the new object is at least as long as what is copied.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(address, new, layout.size().min(new_size));
                self.dealloc(address, layout);
            }
            new
        }
    }
}
