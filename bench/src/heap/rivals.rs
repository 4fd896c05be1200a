//! The heaps: ours on frames of the kernel's own allocator, others as kernels use them (one spinlock around all of it, one arena), and mimalloc,
//! which is for programs: it has the memory of a process and is no rival but a mark.

#![allow(unsafe_code, reason = "drives allocators by hand")]

use ashlar_kernel::arch::hosted::PHYSICAL_MEMORY_SIZE;
use ashlar_kernel::base::{FrameNumber, PAGE_SIZE, PhysicalAddress};
use ashlar_kernel::memory::frame_descriptor::FrameDescriptor;
use ashlar_kernel::memory::heap::misuse::Misuse;
use ashlar_kernel::memory::heap::platform::{Exclusion, Platform};
use ashlar_kernel::memory::heap::{Heap, Machine};
use ashlar_kernel::memory::{frame_allocator, physmap};
use rustix::mm::{Advice, madvise};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

/// A thread as the kernel's CPU: its number and its preemption count, one thread-local access away as they are one `gs:` access away there.
struct Cpu {
    number: AtomicU32,
    preemption: AtomicU32,
}

std::thread_local! {
    static CPU: Cpu = const { Cpu { number: AtomicU32::new(0), preemption: AtomicU32::new(0) } };
}

/// The running thread is CPU `number`; one thread at a time.
pub fn be_cpu(number: u32) {
    CPU.with(|cpu| cpu.number.store(number, Ordering::Relaxed));
}

/// Frames of the kernel's allocator on its emulated machine; a thread is a CPU.
#[derive(Debug)]
pub struct Threads;

/// What the rivals have as well.
#[derive(Debug)]
pub struct Spinlock(spin::Mutex<()>);

impl Exclusion for Spinlock {
    const FREE: Self = Self(spin::Mutex::new(()));
    type Guard<'a> = spin::MutexGuard<'a, ()>;
    #[inline]
    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock()
    }
}

// SAFETY: threads have different numbers ([`be_cpu`]); frames are the kernel's allocator's.
unsafe impl Platform for Threads {
    const GUARDED: bool = false;
    type Lock = Spinlock;
    type Record = FrameDescriptor;

    #[inline]
    fn enter(&self) -> usize {
        CPU.with(|cpu| {
            cpu.preemption.store(cpu.preemption.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            cpu.number.load(Ordering::Relaxed) as usize
        })
    }
    #[inline]
    fn leave(&self) {
        CPU.with(|cpu| {
            compiler_fence(Ordering::SeqCst);
            cpu.preemption.store(cpu.preemption.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        });
    }
    fn keepable_frames(&self) -> u64 {
        Machine.keepable_frames()
    }
    fn allocate_frame(&self) -> Option<u32> {
        Machine.allocate_frame()
    }
    fn free_frame(&self, number: u32) {
        Machine.free_frame(number);
    }
    fn allocate_contiguous(&self, count: usize) -> Option<u32> {
        Machine.allocate_contiguous(count)
    }
    fn free_contiguous(&self, first: u32, count: usize) {
        Machine.free_contiguous(first, count);
    }
    fn record(&self, number: u32) -> Option<&FrameDescriptor> {
        frame_allocator::descriptor(FrameNumber::new(number.into()))
    }
    fn frame_address(&self, number: u32) -> *mut u8 {
        Machine.frame_address(number)
    }
    fn frame_number(&self, address: *const u8) -> u32 {
        Machine.frame_number(address)
    }
    fn report(&self, misuse: &Misuse) {
        Machine.report(misuse);
    }
}

/// Ours.
pub type Ours = Heap<Threads>;

/// A heap of the benchmark.
pub trait Rival: Sync {
    /// A new one. Ours and mimalloc go on as they are; the others begin with an empty arena, so objects need not be freed first.
    fn begin() -> Self
    where
        Self: Sized;
    /// Whether objects must be freed before the next one begins.
    const FREES: bool;
    /// An object.
    fn allocate(&self, layout: Layout) -> *mut u8;
    /// Its end.
    ///
    /// # Safety
    /// Allocated here with this layout, freed once.
    unsafe fn free(&self, object: *mut u8, layout: Layout);
}

/// Ours, one for all of a run.
pub struct Ashlar(&'static Ours);

impl Rival for Ashlar {
    const FREES: bool = true;
    fn begin() -> Self {
        static HEAP: OnceLock<&'static Ours> = OnceLock::new();
        Self(HEAP.get_or_init(|| Box::leak(Box::new(Heap::on(Threads)))))
    }
    // Not inlined: the global allocator is called as well.
    #[inline(never)]
    fn allocate(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no size here is zero.
        unsafe { self.0.alloc(layout) }
    }
    #[inline(never)]
    unsafe fn free(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(object, layout) }
    }
}

/// mimalloc.
pub struct Mimalloc;

impl Rival for Mimalloc {
    const FREES: bool = true;
    fn begin() -> Self {
        Self
    }
    #[inline(never)]
    fn allocate(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no size here is zero.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }
    #[inline(never)]
    unsafe fn free(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { mimalloc::MiMalloc.dealloc(object, layout) }
    }
}

/// The arena of the kernel-class rivals, which take turns.
const ARENA: usize = 512 << 20;

fn arena() -> *mut u8 {
    static ARENA_START: OnceLock<usize> = OnceLock::new();
    let start = ARENA_START.get_or_init(|| {
        // Zeroed, so that the host gives pages when they are first touched.
        Vec::leak(vec![0u128; ARENA / 16]).as_mut_ptr().expose_provenance()
    });
    std::ptr::with_exposed_provenance_mut(*start)
}

/// Asks the host to map the rivals' arena and the emulated machine's memory by huge pages. Where it refuses, both do without.
pub fn map_hugely() {
    let machine = physmap::pointer::<u8>(PhysicalAddress::new(0));
    for (start, length) in [(arena(), ARENA), (machine, usize::try_from(PHYSICAL_MEMORY_SIZE).unwrap_or(0))] {
        // Whole pages of what is there.
        let skipped = start.addr().next_multiple_of(PAGE_SIZE) - start.addr();
        let length = length.saturating_sub(skipped) / PAGE_SIZE * PAGE_SIZE;
        // SAFETY: advice changes no content.
        let _ = unsafe { madvise(start.wrapping_add(skipped).cast(), length, Advice::LinuxHugepage) };
    }
}

/// An allocator of one user at a time over one arena.
pub trait Plain: Send {
    /// An empty one over `length` bytes.
    ///
    /// # Safety
    /// They are its own.
    unsafe fn over(start: *mut u8, length: usize) -> Self;
    /// An object, or null.
    fn allocate(&mut self, layout: Layout) -> *mut u8;
    /// Its end.
    ///
    /// # Safety
    /// Allocated here with this layout, freed once.
    unsafe fn free(&mut self, object: *mut u8, layout: Layout);
}

/// A plain allocator behind a spinlock.
pub struct Spinning<T>(spin::Mutex<T>);

impl<T: Plain> Rival for Spinning<T> {
    const FREES: bool = false;
    fn begin() -> Self {
        // SAFETY: rivals take turns, and what the last one handed out is used no more.
        Self(spin::Mutex::new(unsafe { T::over(arena(), ARENA) }))
    }
    #[inline(never)]
    fn allocate(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate(layout)
    }
    #[inline(never)]
    unsafe fn free(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().free(object, layout) }
    }
}

fn pointer(found: Option<NonNull<u8>>) -> *mut u8 {
    found.map_or(null_mut(), NonNull::as_ptr)
}

impl Plain for linked_list_allocator::Heap {
    unsafe fn over(start: *mut u8, length: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new(start, length) }
    }
    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        pointer(self.allocate_first_fit(layout).ok())
    }
    unsafe fn free(&mut self, object: *mut u8, layout: Layout) {
        if let Some(object) = NonNull::new(object) {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(object, layout) }
        }
    }
}

/// talc, told its memory by hand.
pub type Talc = talc::base::Talc<talc::source::Manual, talc::DefaultBinning>;

/// It is sent with the lock only.
pub struct SendTalc(Talc);
// SAFETY: its pointers lead into the arena, whichever thread uses it.
unsafe impl Send for SendTalc {}

impl Plain for SendTalc {
    unsafe fn over(start: *mut u8, length: usize) -> Self {
        let mut talc = Talc::new(talc::source::Manual);
        // SAFETY: the caller's promise.
        let claimed = unsafe { talc.claim(start, length) };
        assert!(claimed.is_some(), "talc takes the arena");
        Self(talc)
    }
    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: no size here is zero.
        pointer(unsafe { self.0.allocate(layout) })
    }
    unsafe fn free(&mut self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(object, layout) }
    }
}

/// rlsf's TLSF with room for blocks up to 1 GiB.
pub type Tlsf = rlsf::Tlsf<'static, u32, u32, 26, 32>;

impl Plain for Tlsf {
    unsafe fn over(start: *mut u8, length: usize) -> Self {
        let mut tlsf = Self::new();
        if let Some(block) = NonNull::new(std::ptr::slice_from_raw_parts_mut(start, length)) {
            // SAFETY: the caller's promise.
            let inserted = unsafe { tlsf.insert_free_block_ptr(block) };
            assert!(inserted.is_some(), "rlsf takes the arena");
        }
        tlsf
    }
    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        pointer(Self::allocate(self, layout))
    }
    unsafe fn free(&mut self, object: *mut u8, layout: Layout) {
        if let Some(object) = NonNull::new(object) {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(object, layout.align()) }
        }
    }
}

/// A binary buddy system.
pub type Buddy = buddy_system_allocator::Heap<32>;

impl Plain for Buddy {
    unsafe fn over(start: *mut u8, length: usize) -> Self {
        let mut heap = Self::empty();
        // SAFETY: the caller's promise.
        unsafe { heap.init(start.addr(), length) };
        heap
    }
    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        pointer(self.alloc(layout).ok())
    }
    unsafe fn free(&mut self, object: *mut u8, layout: Layout) {
        if let Some(object) = NonNull::new(object) {
            // SAFETY: the caller's promise.
            unsafe { self.dealloc(object, layout) }
        }
    }
}
