//! One heap: magazines over slabs, the first-fit list and whole frames, for any [`Platform`].

#![allow(unsafe_code, reason = "implements GlobalAlloc")]

use super::class::{CLASS_SIZES, CLASSES, LARGEST, LISTED, class_of};
use super::depot::{Budget, Depot};
use super::free_list::FreeList;
use super::guard::{self, Storage, TRAILER};
use super::magazine::{Handover, Magazines};
use super::misuse::{Misuse, MisuseKind};
use super::platform::{Locked, Pinned, Platform};
use super::slab::{ClassUsage, SPARE, Slabs};
use crate::base::{MAXIMUM_CPUS, PAGE_SIZE};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The bytes that a heap has of its own, unless it is configured otherwise: 100 KB.
pub const DEFAULT_SIZE: usize = 100 * 1024;
/// Frames by which the list grows, if there are as many in a row.
pub(super) const LIST_GROWTH: usize = 8;
/// Frames that a CPU's magazines take.
pub(super) const MAGAZINE_FRAMES: usize = size_of::<Magazines>().div_ceil(PAGE_SIZE);

#[repr(C, align(16))]
pub(super) struct Arena<const SIZE: usize>(pub(super) UnsafeCell<[u8; SIZE]>);

// SAFETY: the bytes are handed out by the list, under its lock.
unsafe impl<const SIZE: usize> Sync for Arena<SIZE> {}

#[derive(Debug)]
pub(super) struct List {
    pub(super) list: FreeList,
    /// Whether the heap's own bytes were added.
    pub(super) started: bool,
}

/// What is behind the magazines for one class. The slabs of `LISTED` stay empty: the list is behind its depot.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) depot: Depot,
    pub(super) slabs: Slabs,
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
    /// Bytes that shrinking would give back at most: free objects in depots, and empty slabs. What magazines hold is not looked at.
    pub reclaimable_bytes: u64,
}

/// A heap. `SIZE` bytes of its own carry it until there are frames.
pub struct Heap<P: Platform, const SIZE: usize = DEFAULT_SIZE> {
    pub(super) platform: P,
    pub(super) magazines: [AtomicPtr<Magazines>; MAXIMUM_CPUS],
    pub(super) handover: Handover,
    pub(super) budget: Budget,
    pub(super) stocks: [Locked<Stock, P::Lock>; CLASSES],
    pub(super) list: Locked<List, P::Lock>,
    pub(super) list_frames: AtomicU64,
    pub(super) large_frames: AtomicU64,
    pub(super) magazine_frames: AtomicU64,
    pub(super) arena: Arena<SIZE>,
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
            budget: Budget::new(),
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
    pub(super) fn storage(address: *mut u8, layout: Layout) -> Storage {
        let length = match Self::route(layout) {
            Route::Small(class) => CLASS_SIZES.get(class).copied().unwrap_or(LARGEST),
            Route::Frames(_) => layout.size().next_multiple_of(16) + TRAILER,
        };
        Storage { address, length }
    }

    /// Whether the heap's own bytes hold the address.
    #[inline]
    pub(super) fn is_own(&self, address: *const u8) -> bool {
        address.addr().wrapping_sub(self.arena.0.get().addr()) < SIZE
    }

    #[inline]
    pub(super) fn magazines(&self, cpu: usize) -> Option<&Magazines> {
        let magazines = self.magazines.get(cpu)?.load(Ordering::Acquire);
        // SAFETY: null, or set once by `magazines_or_new`, and never freed.
        unsafe { magazines.as_ref() }
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
    pub(super) fn reclaim(&self) -> u64 {
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
            reclaimable_bytes: self.reclaimable(),
        }
    }

    fn reclaimable(&self) -> u64 {
        let of = |(stock, size): (&Locked<Stock, P::Lock>, &usize)| {
            stock.with(|stock| {
                let objects = (stock.depot.count() * size) as u64;
                let frames = stock.depot.frames() + u64::from(stock.slabs.empty_slabs());
                objects + frames * PAGE_SIZE as u64
            })
        };
        self.stocks.iter().zip(&CLASS_SIZES).map(of).sum()
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
