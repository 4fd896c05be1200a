//! The kernel heap, Rust's global allocator on bare metal.
//!
//! ```text
//! size <= 2 KiB    magazine (per CPU, per size class)  ── batches ──  slab  ──  frame
//! 2 to 3 KiB       first-fit list, grown by frames, which go back when empty but for one lot
//! more             frames: contiguous, exactly as many as it takes
//! before frames    first-fit list over the heap's own 100 KB
//! ```
//!
//! * An address inside the heap's own bytes belongs to the list; any other address is told apart by its layout alone.
//! * Magazines are taken by one exchange and never waited for (as the frame caches are), so allocating and freeing is allowed in any
//!   context, interrupts included. The slabs' and the list's spinlocks have rank `Heap` and mask interrupts.
//! * Failure is a null pointer, never a stop. Code that must report it uses [`try_box`], [`try_arc`], `Vec::try_reserve`.
//!   The last frames of the machine are kept for the heap (`frame_allocator::allocate_reserved_descriptor`): programs run
//!   out of memory before the kernel does.
//! * Debug builds put a canary behind each object (overruns, double frees) and fill freed ones with [`POISON`].

#![allow(unsafe_code, reason = "implements GlobalAlloc")]

mod fallible;
pub mod free_list;
mod redzone;
pub mod slab;

use super::frame::Frame;
use super::frame_allocator::{self as frames, descriptor};
use super::frame_descriptor::FrameKind;
use super::physmap;
use crate::arch::{Cpu, Current};
use crate::base::PAGE_SIZE;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use free_list::{FreeList, Freed};
use redzone::{REDZONE, check, mark, with_redzone};
use slab::{CLASS_SIZES, CLASSES, Chain, LARGEST, Object, SlabCache, class_of, frame_of};

pub use fallible::{try_arc, try_box};
pub use redzone::POISON;
pub use slab::ClassUsage;

/// The bytes that a heap has of its own, unless it is configured otherwise: 100 KB.
pub const DEFAULT_SIZE: usize = 100 * 1024;
/// Sizes above this take whole frames.
const LARGEST_LISTED: usize = 3072;
/// Frames by which the list grows.
const LIST_GROWTH_ORDER: u8 = 3;
/// CPUs beyond share magazines, which is only slower.
const MAGAZINE_SETS: usize = 16;
/// Objects of a class that are moved between a magazine and the slabs at a time.
const fn batch(class: usize) -> u32 {
    if CLASS_SIZES[class] <= 256 { 32 } else { 8 }
}

const BATCHES: [u32; CLASSES] = {
    let mut batches = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        batches[class] = batch(class);
        class += 1;
    }
    batches
};

/// One CPU's free objects.
#[derive(Debug)]
#[repr(C, align(64))]
struct Magazines {
    busy: AtomicBool,
    chains: UnsafeCell<[Chain; CLASSES]>,
}

// SAFETY: the chains are touched only by whoever set `busy`.
unsafe impl Sync for Magazines {}

impl Magazines {
    const fn new() -> Self {
        Self { busy: AtomicBool::new(false), chains: UnsafeCell::new([Chain::EMPTY; CLASSES]) }
    }
    /// Calls `use_chain` with the chain of `class`, unless somebody uses these magazines now.
    #[inline]
    fn with<R>(&self, class: usize, use_chain: impl FnOnce(&mut Chain) -> R) -> Option<R> {
        if self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `busy` was clear, and only its setter touches the chains.
        let chains = unsafe { &mut *self.chains.get() };
        let result = chains.get_mut(class).map(use_chain);
        self.busy.store(false, Ordering::Release);
        result
    }
}

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

/// What the heap uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapStatistics {
    /// Frames that slabs, the list and large objects take.
    pub frames: u64,
    /// Bytes in small objects that are out (those in magazines count).
    pub small_bytes: u64,
    /// Bytes that the first-fit list has handed out, headers included.
    pub list_bytes: u64,
    /// Bytes in objects of whole frames.
    pub large_bytes: u64,
}

/// The kernel heap. `SIZE` bytes of its own carry it until there are frames.
pub struct KernelHeap<const SIZE: usize = DEFAULT_SIZE> {
    magazines: [Magazines; MAGAZINE_SETS],
    slabs: SlabCache,
    list: SpinLock<List, InterruptsDisabled>,
    list_frames: AtomicU64,
    large_frames: AtomicU64,
    arena: Arena<SIZE>,
}

/// How a layout is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    Small(usize),
    List,
    Frames(usize),
}

/// The route of a layout; the same at allocation and at release.
#[inline]
fn route(layout: Layout) -> Route {
    let (size, alignment) = (layout.size() + REDZONE, layout.align());
    let size = if alignment > 16 { size.max(alignment).next_power_of_two() } else { size.max(alignment) };
    if size <= LARGEST {
        Route::Small(class_of(size))
    } else if size <= LARGEST_LISTED && alignment <= 16 {
        Route::List
    } else {
        Route::Frames(size.div_ceil(PAGE_SIZE))
    }
}

impl<const SIZE: usize> KernelHeap<SIZE> {
    /// An empty heap: for a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            magazines: [const { Magazines::new() }; MAGAZINE_SETS],
            slabs: SlabCache::new(),
            list: SpinLock::new(LockRank::Heap, List { list: FreeList::new(), started: false }),
            list_frames: AtomicU64::new(0),
            large_frames: AtomicU64::new(0),
            arena: Arena(UnsafeCell::new([0; SIZE])),
        }
    }

    /// Whether the heap's own bytes hold the address.
    #[inline]
    fn is_own(&self, address: *const u8) -> bool {
        address.addr().wrapping_sub(self.arena.0.get().addr()) < SIZE
    }

    #[inline]
    fn magazines(&self) -> &Magazines {
        let [first, ..] = &self.magazines;
        self.magazines.get(Current::id().0 as usize % MAGAZINE_SETS).unwrap_or(first)
    }

    #[inline]
    fn allocate_small(&self, class: usize) -> *mut u8 {
        match self.magazines().with(class, Chain::pop) {
            Some(object) if !object.is_null() => object.cast(),
            _ => self.allocate_small_slowly(class),
        }
    }

    #[cold]
    fn allocate_small_slowly(&self, class: usize) -> *mut u8 {
        let want = BATCHES.get(class).copied().unwrap_or(1);
        // Outside the magazine: the slabs' lock is not taken while it is busy.
        let mut chain = self.slabs.take(class, want);
        let object = chain.pop();
        if object.is_null() {
            // Before there are frames, or after the last one.
            let size = CLASS_SIZES.get(class).copied().unwrap_or(LARGEST);
            return Layout::from_size_align(size, size.min(16))
                .map_or(null_mut(), |layout| self.allocate_early(layout));
        }
        self.keep(class, &mut chain);
        object.cast()
    }

    /// Puts the objects of `chain` into this CPU's magazine, or back into their slabs.
    fn keep(&self, class: usize, chain: &mut Chain) {
        let kept = self.magazines().with(class, |magazine| {
            loop {
                let object = chain.pop();
                if object.is_null() {
                    break;
                }
                // SAFETY: a free object of this class that was just taken.
                unsafe { magazine.push(object) };
            }
        });
        if kept.is_none() {
            self.slabs.put(class, chain, u32::MAX);
        }
    }

    #[inline]
    fn free_small(&self, class: usize, object: *mut Object) {
        let limit = BATCHES.get(class).copied().unwrap_or(1) * 2;
        let length = self.magazines().with(class, |magazine| {
            // SAFETY: the object is of this class and free: its owner gave it back.
            unsafe { magazine.push(object) };
            magazine.length
        });
        match length {
            Some(length) if length <= limit => {}
            Some(_) => self.shrink(class),
            None => {
                let mut chain = Chain::EMPTY;
                // SAFETY: as above.
                unsafe { chain.push(object) };
                self.slabs.put(class, &mut chain, 1);
            }
        }
    }

    /// Moves a batch from this CPU's magazine to the slabs.
    #[cold]
    fn shrink(&self, class: usize) {
        let mut moved = Chain::EMPTY;
        let count = BATCHES.get(class).copied().unwrap_or(1);
        self.magazines().with(class, |magazine| {
            for _ in 0..count {
                let object = magazine.pop();
                if !object.is_null() {
                    // SAFETY: a free object of this class.
                    unsafe { moved.push(object) };
                }
            }
        });
        self.slabs.put(class, &mut moved, u32::MAX);
    }

    /// From the list, over the heap's own bytes alone.
    #[cold]
    fn allocate_early(&self, layout: Layout) -> *mut u8 {
        let mut guard = self.list.lock();
        self.start(&mut guard);
        let found = guard.list.allocate(layout);
        if self.is_own(found) {
            return found;
        }
        // What the list got from frames is not told from a slab's object by its address: small ones must not come from there.
        if let Some(found) = NonNull::new(found) {
            // SAFETY: just handed out by this list. An arena that is empty now was so before.
            let _ = unsafe { guard.list.deallocate(found) };
        }
        null_mut()
    }

    fn start(&self, guard: &mut List) {
        if !guard.started {
            guard.started = true;
            // SAFETY: the heap's own bytes, touched by its list alone, which lives as long.
            unsafe { guard.list.add_arena(self.arena.0.get().cast(), SIZE) };
        }
    }

    fn allocate_listed(&self, layout: Layout) -> *mut u8 {
        let mut guard = self.list.lock();
        self.start(&mut guard);
        let found = guard.list.allocate(layout);
        if !found.is_null() {
            return found;
        }
        let Some(block) = Frame::allocate_block(LIST_GROWTH_ORDER) else { return null_mut() };
        let pointer = physmap::pointer::<u8>(block.number().address());
        let length = block.size();
        block.descriptor().set_kind(FrameKind::Heap);
        // The list keeps it.
        let _ = block.into_raw();
        self.list_frames.fetch_add(1 << LIST_GROWTH_ORDER, Ordering::Relaxed);
        // SAFETY: the block is the list's alone from here on.
        unsafe { guard.list.add_arena(pointer, length) };
        guard.list.allocate(layout)
    }

    /// `count` contiguous frames; the rest of the block they come from is given back.
    fn allocate_frames(&self, count: usize) -> *mut u8 {
        let Some(first) = frames::allocate_contiguous(count as u64) else { return null_mut() };
        if let Some(descriptor) = descriptor(first) {
            descriptor.set_kind(FrameKind::Heap);
        }
        self.large_frames.fetch_add(count as u64, Ordering::Relaxed);
        physmap::pointer(first.address())
    }

    fn free_frames(&self, address: *mut u8, count: usize) {
        let first = frame_of(address);
        for index in 0..count as u64 {
            // SAFETY: the frames were allocated for this object, one reference each, and its owner uses them no more.
            let freed = unsafe { frames::deallocate_frame(first.offset(index)) };
            debug_assert!(freed.is_ok(), "a large object that is not made of frames");
        }
        self.large_frames.fetch_sub(count as u64, Ordering::Relaxed);
    }

    #[inline]
    fn allocate(&self, layout: Layout) -> *mut u8 {
        match route(layout) {
            Route::Small(class) => self.allocate_small(class),
            Route::List => self.allocate_listed(with_redzone(layout)),
            Route::Frames(count) => {
                let found = self.allocate_frames(count);
                if found.is_null() { self.allocate_early(with_redzone(layout)) } else { found }
            }
        }
    }

    #[inline]
    fn free(&self, address: *mut u8, layout: Layout) {
        if self.is_own(address) {
            self.free_listed(address);
            return;
        }
        match route(layout) {
            Route::Small(class) => self.free_small(class, address.cast()),
            Route::List => self.free_listed(address),
            Route::Frames(count) => self.free_frames(address, count),
        }
    }

    #[cold]
    fn free_listed(&self, address: *mut u8) {
        if let Some(address) = NonNull::new(address) {
            let mut guard = self.list.lock();
            // SAFETY: the route of the layout, and the caller's promise, say that the list handed it out.
            match unsafe { guard.list.deallocate(address) } {
                Freed::Part => {}
                Freed::LastOfArena(first) => {
                    // One empty arena stays, so that an object that comes and goes does not move frames each time.
                    if guard.list.empty_arenas() > 1 && !self.is_own(first.as_ptr()) {
                        // SAFETY: under the lock since.
                        unsafe { guard.list.take_arena(first) };
                        drop(guard);
                        self.free_arena(first);
                    }
                }
                Freed::Twice => {
                    drop(guard);
                    log::error!("heap: {address:?} was freed twice");
                }
            }
        }
    }

    /// Gives the frames of an arena, which is not the list's any more, back.
    fn free_arena(&self, first: NonNull<u8>) {
        self.list_frames.fetch_sub(1 << LIST_GROWTH_ORDER, Ordering::Relaxed);
        // SAFETY: the list grew by this block, whose one reference it kept; the first of its frames holds the arena's first block.
        drop(unsafe { Frame::from_raw(frame_of(first.as_ptr())) });
    }

    /// Gives this CPU's free objects back to the slabs, and slabs that are empty back to the frame allocator.
    pub fn drain(&self) {
        for class in 0..CLASSES {
            let mut moved = Chain::EMPTY;
            self.magazines().with(class, |magazine| core::mem::swap(magazine, &mut moved));
            self.slabs.put(class, &mut moved, u32::MAX);
        }
    }

    /// What it uses.
    pub fn statistics(&self) -> HeapStatistics {
        let (slab_frames, small_bytes) = self.slabs.usage();
        let list_bytes = {
            let guard = self.list.lock();
            guard.list.total() - guard.list.free()
        };
        let large = self.large_frames.load(Ordering::Relaxed);
        HeapStatistics {
            frames: slab_frames + self.list_frames.load(Ordering::Relaxed) + large,
            small_bytes,
            list_bytes: list_bytes as u64,
            large_bytes: large * PAGE_SIZE as u64,
        }
    }
}

impl<const SIZE: usize> Default for KernelHeap<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SIZE: usize> core::fmt::Debug for KernelHeap<SIZE> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("KernelHeap")
    }
}

// SAFETY: each route hands out memory that is its own, of at least the layout's size and alignment, and takes it back by the same route.
unsafe impl<const SIZE: usize> GlobalAlloc for KernelHeap<SIZE> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let address = self.allocate(layout);
        mark(address, layout);
        address
    }

    #[inline]
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if check(address, layout) {
            self.free(address, layout);
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        let same = match (route(layout), route(new_layout)) {
            (Route::Small(old), Route::Small(new)) => old == new,
            (Route::Frames(old), Route::Frames(new)) => old == new,
            _ => false,
        };
        if same && !self.is_own(address) {
            mark(address, new_layout);
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

/// A heap whose numbers can be asked for.
trait Reporting: Sync {
    fn report(&self) -> HeapStatistics;
    fn report_classes(&self) -> [ClassUsage; CLASSES];
    fn give_back(&self);
}

impl<const SIZE: usize> Reporting for KernelHeap<SIZE> {
    fn report(&self) -> HeapStatistics {
        self.statistics()
    }
    fn report_classes(&self) -> [ClassUsage; CLASSES] {
        self.slabs.class_usage()
    }
    fn give_back(&self) {
        self.drain();
    }
}

static REGISTERED: spin::Once<&'static dyn Reporting> = spin::Once::new();

/// Makes `heap` the one that [`statistics`] speaks of: the global allocator. Once, at boot.
pub fn register<const SIZE: usize>(heap: &'static KernelHeap<SIZE>) {
    REGISTERED.call_once(|| heap);
}

/// What the registered heap uses; zeros on the hosted machine, where the host's allocator serves.
#[must_use]
pub fn statistics() -> HeapStatistics {
    REGISTERED.get().map_or(HeapStatistics::default(), |heap| heap.report())
}

/// Gives the free objects that this CPU keeps back to the registered heap, for it goes off line.
pub fn drain() {
    if let Some(heap) = REGISTERED.get() {
        heap.give_back();
    }
}

/// What the registered heap's size classes use; zeros on the hosted machine.
#[must_use]
pub fn class_usage() -> [ClassUsage; CLASSES] {
    REGISTERED.get().map_or([ClassUsage::default(); CLASSES], |heap| heap.report_classes())
}

#[cfg(test)]
mod tests;
