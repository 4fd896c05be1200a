//! The allocators that are compared, behind one interface.
//!
//! | rival | what |
//! |---|---|
//! | [`Ours`] | the kernel's own code over lent memory, a CPU for each thread |
//! | [`Buddy`] | the crate `buddy_system_allocator`: sets of free blocks by order, behind its lock |
//! | [`LockedBitmap`] | a bit per frame and a cursor behind a spinlock |
//! | [`FlatBitmap`] | a bit per frame, atomically, a cursor per thread; no counters, no trees, no caches |

#![allow(unsafe_code, reason = "lends memory to the kernel's allocator and says what its threads keep to")]

use ashlar_kernel::base::{FrameNumber, FrameRange};
use ashlar_kernel::memory::frame_allocator::platform::{Numbers, Platform};
use ashlar_kernel::memory::frame_allocator::{FrameAllocator, MemoryMap};
use buddy_system_allocator::LockedFrameAllocator;
use spin::Mutex;
use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames in 2 MiB.
pub const HUGE_FRAMES: u64 = 512;

/// An allocator of frames `HUGE_FRAMES..`.
pub trait Rival: Sync {
    /// What a thread keeps for itself.
    type Local;
    /// With `frames` free frames.
    fn new(frames: u64) -> Self;
    /// For thread number `thread`, called by it.
    fn local(&self, thread: usize) -> Self::Local;
    /// A frame.
    fn get(&self, local: &mut Self::Local) -> Option<u64>;
    /// Takes it back.
    fn put(&self, local: &mut Self::Local, frame: u64);
    /// 2 MiB, naturally aligned.
    fn get_huge(&self, local: &mut Self::Local) -> Option<u64>;
    /// Takes them back.
    fn put_huge(&self, local: &mut Self::Local, frame: u64);
    /// Takes back many frames.
    fn put_all(&self, local: &mut Self::Local, frames: &[u64]) {
        frames.iter().for_each(|frame| self.put(local, *frame));
    }
}

std::thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
    static PREEMPTION_COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Threads as CPUs: each has a number of its own, and nothing comes in between.
#[derive(Debug)]
pub struct Threads;

/// Stands for a raised preemption count, which costs the kernel as much.
#[derive(Debug)]
pub struct Pin;

impl Drop for Pin {
    #[inline]
    fn drop(&mut self) {
        PREEMPTION_COUNT.set(PREEMPTION_COUNT.get() - 1);
    }
}

// SAFETY: threads that use one allocator have different numbers (`Rival::local`); signals are not handled.
unsafe impl Platform for Threads {
    type Companion = Numbers;
    type Pin = Pin;
    #[inline]
    fn pin() -> Pin {
        PREEMPTION_COUNT.set(PREEMPTION_COUNT.get() + 1);
        Pin
    }
    #[inline]
    fn cpu(_pin: &Pin) -> usize {
        CPU.get()
    }
    fn home_node() -> u8 {
        0
    }
    fn distance(_from: u8, _to: u8) -> u8 {
        10
    }
    fn on_other_cpus<T: Sync>(_work: fn(&T), _argument: &T) {}
}

/// The kernel's.
#[derive(Debug)]
pub struct Ours(Box<FrameAllocator<Threads>>);

impl Rival for Ours {
    type Local = ();
    fn new(frames: u64) -> Self {
        // For the tables, which the allocator takes from the end of what it manages: frames themselves are numbers only.
        let tables = frames / 64 + 64;
        let allocator = Box::new(FrameAllocator::<Threads>::new());
        let range = FrameRange { start: FrameNumber::new(HUGE_FRAMES), count: frames };
        let map = MemoryMap { usable: &[range], reserved: &[], limit: None, nodes: &[] };
        let bytes = usize::try_from(tables * 64).unwrap_or(usize::MAX);
        let lent = Vec::leak(vec![0u64; bytes / 8 + 512]);
        let base = lent.as_mut_ptr().cast::<u8>();
        // SAFETY: less than a page is skipped, and there is a page more than needed.
        let base = unsafe { base.add(base.align_offset(4096)) };
        // SAFETY: the tables get memory of their own, of a row, a word and a share of another for each frame; frames are never touched.
        let started = unsafe { allocator.initialize(&map, |_| base) };
        assert!(started.is_ok(), "the allocator did not start");
        Self(allocator)
    }
    fn local(&self, thread: usize) {
        CPU.set(thread);
    }
    #[inline]
    fn get(&self, (): &mut ()) -> Option<u64> {
        self.0.allocate().map(NonZeroU64::get)
    }
    #[inline]
    fn put(&self, (): &mut (), frame: u64) {
        let result = NonZeroU64::new(frame).map(|frame| self.0.free(frame, 0));
        debug_assert_eq!(result, Some(Ok(())));
    }
    #[inline]
    fn get_huge(&self, (): &mut ()) -> Option<u64> {
        self.0.allocate_block(9).map(NonZeroU64::get)
    }
    #[inline]
    fn put_huge(&self, (): &mut (), frame: u64) {
        let result = NonZeroU64::new(frame).map(|frame| self.0.free(frame, 9));
        debug_assert_eq!(result, Some(Ok(())));
    }
    fn put_all(&self, (): &mut (), frames: &[u64]) {
        let result = self.0.free_bulk(frames.iter().filter_map(|frame| NonZeroU64::new(*frame)));
        debug_assert_eq!(result, Ok(()));
    }
}

/// `buddy_system_allocator`.
pub struct Buddy(LockedFrameAllocator<33>);

#[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
impl Rival for Buddy {
    type Local = ();
    fn new(frames: u64) -> Self {
        let allocator = LockedFrameAllocator::new();
        allocator.lock().add_frame(HUGE_FRAMES as usize, (HUGE_FRAMES + frames) as usize);
        Self(allocator)
    }
    fn local(&self, _thread: usize) {}
    #[inline]
    fn get(&self, (): &mut ()) -> Option<u64> {
        self.0.lock().alloc(1).map(|frame| frame as u64)
    }
    #[inline]
    fn put(&self, (): &mut (), frame: u64) {
        self.0.lock().dealloc(frame as usize, 1);
    }
    #[inline]
    fn get_huge(&self, (): &mut ()) -> Option<u64> {
        self.0.lock().alloc(HUGE_FRAMES as usize).map(|frame| frame as u64)
    }
    #[inline]
    fn put_huge(&self, (): &mut (), frame: u64) {
        self.0.lock().dealloc(frame as usize, HUGE_FRAMES as usize);
    }
}

/// Words of a bitmap over `frames` frames, all free.
fn words<T: From<u64>>(frames: u64) -> Vec<T> {
    (0..frames / 64).map(|_| T::from(u64::MAX)).collect()
}

fn place(frame: u64) -> (usize, u64) {
    let index = frame - HUGE_FRAMES;
    (usize::try_from(index / 64).unwrap_or(usize::MAX), 1 << (index % 64))
}

fn frame_at(word: usize, bit: u32) -> u64 {
    HUGE_FRAMES + word as u64 * 64 + u64::from(bit)
}

/// The simplest thing that works: what many small kernels have.
#[derive(Debug)]
pub struct LockedBitmap(Mutex<Words>);

/// Words of bits, and the one to look at next.
#[derive(Debug)]
struct Words {
    bits: Vec<u64>,
    next: usize,
}

impl Rival for LockedBitmap {
    type Local = ();
    fn new(frames: u64) -> Self {
        Self(Mutex::new(Words { bits: words(frames), next: 0 }))
    }
    fn local(&self, _thread: usize) {}
    #[inline]
    fn get(&self, (): &mut ()) -> Option<u64> {
        let mut words = self.0.lock();
        let count = words.bits.len();
        for word in (words.next..count).chain(0..words.next) {
            let bits = words.bits[word];
            if bits != 0 {
                words.bits[word] = bits & (bits - 1);
                words.next = word;
                return Some(frame_at(word, bits.trailing_zeros()));
            }
        }
        None
    }
    #[inline]
    fn put(&self, (): &mut (), frame: u64) {
        let (word, bit) = place(frame);
        self.0.lock().bits[word] |= bit;
    }
    fn get_huge(&self, (): &mut ()) -> Option<u64> {
        let mut words = self.0.lock();
        let found = words.bits.chunks(8).position(|group| group.iter().all(|bits| *bits == u64::MAX))?;
        words.bits[found * 8..found * 8 + 8].fill(0);
        Some(frame_at(found * 8, 0))
    }
    fn put_huge(&self, (): &mut (), frame: u64) {
        let (word, _) = place(frame);
        self.0.lock().bits[word..word + 8].fill(u64::MAX);
    }
}

/// Lock-free, but without tiers: each operation is one atomic exchange on the word, once it is found.
#[derive(Debug)]
pub struct FlatBitmap(Vec<AtomicU64>);

impl Rival for FlatBitmap {
    /// The word that the thread looks at next.
    type Local = usize;
    fn new(frames: u64) -> Self {
        Self(words(frames))
    }
    fn local(&self, thread: usize) -> usize {
        self.0.len() / 8 * [0, 4, 2, 6, 1, 5, 3, 7][thread % 8]
    }
    #[inline]
    fn get(&self, next: &mut usize) -> Option<u64> {
        for word in (*next..self.0.len()).chain(0..*next) {
            let mut bits = self.0[word].load(Ordering::Relaxed);
            while bits != 0 {
                let rest = bits & (bits - 1);
                match self.0[word].compare_exchange_weak(bits, rest, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => {
                        *next = word;
                        return Some(frame_at(word, bits.trailing_zeros()));
                    }
                    Err(now) => bits = now,
                }
            }
        }
        None
    }
    #[inline]
    fn put(&self, _next: &mut usize, frame: u64) {
        let (word, bit) = place(frame);
        self.0[word].fetch_or(bit, Ordering::Release);
    }
    fn get_huge(&self, next: &mut usize) -> Option<u64> {
        let (groups, from) = (self.0.len() / 8, *next / 8);
        for group in (from..groups).chain(0..from) {
            let words = &self.0[group * 8..group * 8 + 8];
            if words.iter().any(|word| word.load(Ordering::Relaxed) != u64::MAX) {
                continue;
            }
            let take =
                |word: &&AtomicU64| word.compare_exchange(u64::MAX, 0, Ordering::Acquire, Ordering::Relaxed).is_ok();
            let taken = words.iter().take_while(take).count();
            if taken == words.len() {
                *next = group * 8;
                return Some(frame_at(group * 8, 0));
            }
            words.iter().take(taken).for_each(|word| word.store(u64::MAX, Ordering::Release));
        }
        None
    }
    fn put_huge(&self, _next: &mut usize, frame: u64) {
        let (word, _) = place(frame);
        self.0[word..word + 8].iter().for_each(|word| word.store(u64::MAX, Ordering::Release));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn serves_all<R: Rival>() {
        const FRAMES: u64 = 64 * HUGE_FRAMES;
        let rival = R::new(FRAMES);
        let mut local = rival.local(0);
        let huge = rival.get_huge(&mut local).unwrap();
        assert_eq!(huge % HUGE_FRAMES, 0);
        let mut taken: HashSet<u64> = (huge..huge + HUGE_FRAMES).collect();
        let singles: Vec<u64> = std::iter::from_fn(|| rival.get(&mut local)).collect();
        assert!(singles.iter().all(|frame| taken.insert(*frame)));
        // The kernel keeps a few for itself, and its tables.
        assert!(taken.len() as u64 > FRAMES * 95 / 100);
        rival.put_all(&mut local, &singles);
        rival.put_huge(&mut local, huge);
        assert!(rival.get_huge(&mut local).is_some());
        assert!(rival.get(&mut local).is_some());
    }

    #[test]
    fn every_rival_serves_each_frame_once() {
        serves_all::<Ours>();
        serves_all::<Buddy>();
        serves_all::<LockedBitmap>();
        serves_all::<FlatBitmap>();
    }
}
