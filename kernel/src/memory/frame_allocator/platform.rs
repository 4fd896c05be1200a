//! What the allocator asks of whoever uses it.

#![allow(unsafe_code, reason = "the per-CPU caches rely on what a platform promises")]

use super::map::OverMemory;
use super::region::Companion;
use core::num::NonZeroU64;

/// The machine, the topology and the log, as far as the allocator needs them. The kernel has one ([`super::Kernel`]); benchmarks and tests
/// have others.
///
/// # Safety
/// While a [`Platform::Pin`] lives, [`Platform::cpu`] gives the same number, no other CPU has it if it is below [`super::cache::OWN_CACHES`], and
/// whoever else uses the allocator on this CPU meanwhile (an interrupt handler) has finished before the pin's holder goes on.
pub unsafe trait Platform: Sized + 'static {
    /// What there is for each frame.
    type Companion: Companion;
    /// Keeps its holder on one CPU.
    type Pin;
    /// Stays on this CPU.
    fn pin() -> Self::Pin;
    /// This CPU's number.
    fn cpu(pin: &Self::Pin) -> usize;
    /// The node that this CPU is on.
    fn home_node() -> u8;
    /// How far memory of node `to` is from node `from`: nearer ones are used first.
    fn distance(from: u8, to: u8) -> u8;
    /// Whether a frame that is freed on this CPU may be the next one that is allocated here.
    #[inline]
    fn keeps(_frame: <Self::Companion as Companion>::Handle) -> bool {
        true
    }
    /// Runs `work(argument)` on every other CPU that may have frames at hand, and waits.
    fn on_other_cpus<T: Sync>(work: fn(&T), argument: &T);
}

/// Nothing beside the bits: a frame is its number. Frame 0 is never managed.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    count: usize,
}

impl Companion for Numbers {
    type Handle = NonZeroU64;
    #[inline]
    fn handle(&self, first: u64, index: usize) -> Option<NonZeroU64> {
        if index < self.count { NonZeroU64::new(first + index as u64) } else { None }
    }
    #[inline]
    fn number(handle: NonZeroU64) -> u64 {
        handle.get()
    }
    fn prepare(&self, _first: u64, _node: u8, _index: usize, _count: usize) {}
}

impl OverMemory for Numbers {
    const SIZE: usize = 0;
    unsafe fn over(_memory: *mut u8, count: usize) -> Self {
        Self { count }
    }
}
