//! Bugs on demand, so that booted tests see what the kernel does about them: `/proc/sys/kernel/ashlar_provoke`, written by
//! root. Linux's `lkdtm` module is the example.

#![allow(unsafe_code, reason = "does on purpose what must never happen")]

use crate::arch::{Cpu, Current, TimerHardware};
use crate::base::Nanoseconds;
use crate::sync::{LockRank, SpinLock};
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
}

/// How long a section is that is too long.
pub const LONG: Nanoseconds = Nanoseconds::from_milliseconds(20);

impl Bug {
    /// Every bug and the word for it.
    pub const ALL: [(&'static str, Self); 8] = [
        ("panic", Self::Panic),
        ("locked-panic", Self::LockedPanic),
        ("wild-read", Self::WildRead),
        ("write-text", Self::WriteText),
        ("execute-data", Self::ExecuteData),
        ("stack-overflow", Self::StackOverflow),
        ("long-interrupts-off", Self::LongInterruptsOff),
        ("long-preemption-off", Self::LongPreemptionOff),
    ];

    /// The bug that `word` names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, bug)| bug)
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
    }
}

fn waste_time() {
    let end = Current::now().saturating_add(LONG);
    while Current::now() < end {
        Current::relax();
    }
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
            assert_eq!(Bug::parse(name), Some(bug));
        }
        assert_eq!(Bug::parse("none"), None);
    }
}
