//! Bugs on demand, so that booted tests see what the kernel does about them: `/proc/sys/kernel/ashlar_provoke`, written by
//! root. Linux's `lkdtm` module is the example.

#![allow(unsafe_code, reason = "does on purpose what must never happen")]

use crate::arch::{Cpu, Current, TimerHardware};
use crate::base::{FrameNumber, Nanoseconds};
use crate::memory::frame_allocator::{allocate_frame, deallocate_frame};
use crate::sync::{LockRank, SpinLock};
use alloc::alloc::{alloc, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::hint::black_box;

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A Rust panic in a thread's context.
    Panic,
    /// A Rust panic under a spinlock.
    LockedPanic,
    /// A read of a kernel address that is not mapped.
    WildRead,
    /// A write to the kernel's code.
    WriteText,
    /// A jump into the kernel's data.
    ExecuteData,
    /// A recursion without end.
    StackOverflow,
    /// Interrupts masked for [`LONG`].
    LongInterruptsOff,
    /// Preemption off for [`LONG`].
    LongPreemptionOff,
    /// Heap memory that is freed twice.
    HeapDoubleFree,
    /// A write behind an object on the heap.
    HeapOverrun,
    /// A write to an object that was freed.
    HeapUseAfterFree,
    /// A frame that is freed twice: refused and logged, and nobody ends.
    DoubleFree,
}

/// How long a section is that is too long.
pub const LONG: Nanoseconds = Nanoseconds::from_milliseconds(20);

impl Bug {
    /// Every bug and the word for it.
    pub const ALL: [(&'static str, Self); 12] = [
        ("panic", Self::Panic),
        ("locked-panic", Self::LockedPanic),
        ("wild-read", Self::WildRead),
        ("write-text", Self::WriteText),
        ("execute-data", Self::ExecuteData),
        ("stack-overflow", Self::StackOverflow),
        ("long-interrupts-off", Self::LongInterruptsOff),
        ("long-preemption-off", Self::LongPreemptionOff),
        ("heap-double-free", Self::HeapDoubleFree),
        ("heap-overrun", Self::HeapOverrun),
        ("heap-use-after-free", Self::HeapUseAfterFree),
        ("double-free", Self::DoubleFree),
    ];

    /// The bug that `word` names. Misuse of the heap is committed only where the heap is guarded: elsewhere it would not be noticed.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let bug = Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, bug)| bug)?;
        (cfg!(debug_assertions) || !bug.is_misuse_of_the_heap()).then_some(bug)
    }

    const fn is_misuse_of_the_heap(self) -> bool {
        matches!(self, Self::HeapDoubleFree | Self::HeapOverrun | Self::HeapUseAfterFree)
    }
}

static LOCK: SpinLock<()> = SpinLock::new(LockRank::FileObject, ());
static mut DATA: [u8; 16] = [0xc3; 16];
/// In P4 slot 300, where nothing ever is.
const UNMAPPED: u64 = 0xffff_9600_0000_0000;

/// Commits the bug. Returns only if the kernel failed to notice, or nothing but time was lost. Not inlined: the backtrace is to name it.
#[inline(never)]
#[expect(clippy::panic, reason = "that is what it is for")]
pub fn commit(bug: Bug) {
    match bug {
        Bug::Panic => panic!("provoked"),
        Bug::LockedPanic => {
            let _guard = LOCK.lock();
            panic!("provoked under a spinlock");
        }
        Bug::WildRead => {
            // SAFETY: none: nothing is mapped there, and the fault ends this thread.
            let _ = black_box(unsafe { (UNMAPPED as *const u64).read_volatile() });
        }
        Bug::WriteText => {
            let code = commit as *const () as usize as *mut u8;
            // SAFETY: none: the page is read-only, and the fault ends this thread.
            unsafe { code.write_volatile(code.read_volatile()) };
        }
        Bug::ExecuteData => {
            // SAFETY: none: the page is not executable, and the fault ends this thread.
            let function: extern "C" fn() = unsafe { core::mem::transmute(&raw const DATA) };
            function();
        }
        Bug::StackOverflow => {
            black_box(recurse(0));
        }
        Bug::DoubleFree => free_twice(),
        Bug::LongInterruptsOff => {
            let were_on = Current::save_and_disable_interrupts();
            waste_time();
            if were_on {
                Current::enable_interrupts();
            }
        }
        Bug::LongPreemptionOff => {
            let _guard = LOCK.lock();
            waste_time();
        }
        Bug::HeapDoubleFree => misuse_heap(&|object, layout| {
            // SAFETY: the second is wrong: a guarded heap refuses it.
            unsafe {
                dealloc(object, layout);
                dealloc(object, layout);
            }
        }),
        Bug::HeapOverrun => misuse_heap(&|object, layout| {
            // SAFETY: the write is wrong: a guarded heap has room there and sees it.
            unsafe {
                object.add(layout.size()).write_volatile(1);
                dealloc(object, layout);
            }
        }),
        Bug::HeapUseAfterFree => misuse_heap(&|object, layout| {
            // SAFETY: the write is wrong: a guarded heap keeps nothing there, and sees it when the storage is used again.
            unsafe {
                dealloc(object, layout);
                object.add(50).write_volatile(1);
                (0..1000)
                    .map(|_| alloc(layout))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|object| dealloc(object, layout));
            }
        }),
    }
}

fn waste_time() {
    let end = Current::now().saturating_add(LONG);
    while Current::now() < end {
        Current::relax();
    }
}

/// Has `misuse` do something to an object that was allocated here.
#[inline(never)]
fn misuse_heap(misuse: &dyn Fn(*mut u8, Layout)) {
    let layout = Layout::new::<[u64; 13]>();
    // SAFETY: the size is not zero.
    let object = unsafe { alloc(layout) };
    if !object.is_null() {
        misuse(black_box(object), layout);
    }
}

/// The rightful free and the other one, with the names that their backtraces shall show.
#[inline(never)]
fn free_twice() {
    let Some(number) = allocate_frame() else { return };
    free_first(number);
    // SAFETY: none: the frame is free, which the allocator sees.
    let refused = unsafe { deallocate_frame(number) };
    log::info!("the second free: {refused:?}");
}

#[inline(never)]
fn free_first(number: FrameNumber) {
    // SAFETY: the caller has just allocated the frame and uses it no more.
    let freed = unsafe { deallocate_frame(number) };
    black_box(freed.is_ok());
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    let space = black_box([depth; 64]);
    recurse(depth + 1) + space.iter().sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_word_of_its_own() {
        for (name, bug) in Bug::ALL {
            let is_committed = cfg!(debug_assertions) || !bug.is_misuse_of_the_heap();
            assert_eq!(Bug::parse(name), is_committed.then_some(bug));
        }
        assert_eq!(Bug::parse("none"), None);
    }
}
