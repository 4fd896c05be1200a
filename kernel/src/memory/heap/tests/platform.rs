//! A platform for tests: some frames of the host's memory, CPUs by number, misuse noted instead of logged.

use super::super::misuse::Misuse;
use super::super::platform::{Exclusion, Platform, SlabRecord};
use crate::base::PAGE_SIZE;
use std::alloc::Layout;
use std::cell::Cell;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

std::thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// The running host thread is CPU `cpu` from now on; one thread at a time.
pub fn be_cpu(cpu: usize) {
    CPU.set(cpu);
}

#[derive(Default)]
pub struct Record {
    bits: AtomicU64,
    links: AtomicU64,
    state: AtomicU16,
}

impl SlabRecord for Record {
    fn bits(&self) -> u64 {
        self.bits.load(Relaxed)
    }
    fn set_bits(&self, bits: u64) {
        self.bits.store(bits, Relaxed);
    }
    fn links(&self) -> u64 {
        self.links.load(Relaxed)
    }
    fn set_links(&self, links: u64) {
        self.links.store(links, Relaxed);
    }
    fn state(&self) -> u16 {
        self.state.load(Relaxed)
    }
    fn set_state(&self, state: u16) {
        assert!(state < 1 << 14, "fourteen bits");
        self.state.store(state, Relaxed);
    }
}

pub struct Spin(spin::Mutex<()>);

impl Exclusion for Spin {
    const FREE: Self = Self(spin::Mutex::new(()));
    type Guard<'a> = spin::MutexGuard<'a, ()>;
    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock()
    }
}

/// Frames 1 to `count`; `GUARDED` as in the trait.
pub struct Frames<const GUARDED: bool> {
    base: *mut u8,
    layout: Layout,
    records: Vec<Record>,
    is_out: Mutex<Vec<bool>>,
    /// Frames that may still be given out.
    pub budget: AtomicUsize,
    pub reports: Mutex<Vec<Misuse>>,
    traces: AtomicU64,
}

// SAFETY: the memory is handed out frame by frame, under a lock.
unsafe impl<const GUARDED: bool> Sync for Frames<GUARDED> {}
// SAFETY: as above.
unsafe impl<const GUARDED: bool> Send for Frames<GUARDED> {}

impl<const GUARDED: bool> Frames<GUARDED> {
    pub fn new(count: usize) -> Self {
        // Aligned to the largest row that is aligned by itself.
        let layout = Layout::from_size_align((count + 1) * PAGE_SIZE, 512 * PAGE_SIZE).unwrap();
        // SAFETY: the size is not zero.
        let base = unsafe { std::alloc::alloc(layout) };
        assert!(!base.is_null());
        let mut is_out = vec![false; count + 1];
        is_out[0] = true;
        Self {
            base,
            layout,
            records: (0..=count).map(|_| Record::default()).collect(),
            is_out: Mutex::new(is_out),
            budget: AtomicUsize::new(count),
            reports: Mutex::default(),
            traces: AtomicU64::new(0),
        }
    }
    pub fn out(&self) -> usize {
        self.frames().iter().skip(1).filter(|is_out| **is_out).count()
    }
    pub fn take_reports(&self) -> Vec<Misuse> {
        std::mem::take(&mut *self.reports.lock().unwrap())
    }
    fn frames(&self) -> std::sync::MutexGuard<'_, Vec<bool>> {
        self.is_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const GUARDED: bool> Drop for Frames<GUARDED> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; heap and objects are gone.
        unsafe { std::alloc::dealloc(self.base, self.layout) };
    }
}

// SAFETY: each CPU number is one thread's at a time; a frame is out or not.
unsafe impl<const GUARDED: bool> Platform for Frames<GUARDED> {
    const GUARDED: bool = GUARDED;
    type Lock = Spin;
    type Record = Record;

    fn enter(&self) -> usize {
        CPU.get()
    }
    fn leave(&self) {}
    fn keepable_frames(&self) -> u64 {
        self.budget.load(Relaxed) as u64 / 4
    }
    fn allocate_frame(&self) -> Option<u32> {
        self.allocate_contiguous(1)
    }
    fn free_frame(&self, number: u32) {
        self.free_contiguous(number, 1);
    }
    fn allocate_contiguous(&self, count: usize) -> Option<u32> {
        let mut frames = self.frames();
        if self.budget.load(Relaxed) < count {
            return None;
        }
        let step = count.next_power_of_two().min(512);
        let first = (0..frames.len()).step_by(step).find(|first| {
            frames.get(*first..first + count).is_some_and(|frames| frames.iter().all(|is_out| !is_out))
        })?;
        frames[first..first + count].fill(true);
        self.budget.fetch_sub(count, Relaxed);
        // Whoever reads what was left behind shall see that.
        // SAFETY: the frames are free.
        unsafe { self.frame_address(first as u32).write_bytes(0xa5, count * PAGE_SIZE) };
        Some(first as u32)
    }
    fn free_contiguous(&self, first: u32, count: usize) {
        let mut frames = self.frames();
        for frame in &mut frames[first as usize..first as usize + count] {
            assert!(*frame, "a free frame was freed");
            *frame = false;
        }
        self.budget.fetch_add(count, Relaxed);
    }
    fn record(&self, number: u32) -> Option<&Record> {
        assert_ne!(number, 0);
        self.records.get(number as usize)
    }
    fn frame_address(&self, number: u32) -> *mut u8 {
        self.base.wrapping_add(number as usize * PAGE_SIZE)
    }
    fn frame_number(&self, address: *const u8) -> u32 {
        (address.addr().wrapping_sub(self.base.addr()) / PAGE_SIZE) as u32
    }
    fn trace(&self) -> u32 {
        self.traces.fetch_add(1, Relaxed) as u32 + 1
    }
    fn report(&self, misuse: &Misuse) {
        self.reports.lock().unwrap().push(*misuse);
    }
}
