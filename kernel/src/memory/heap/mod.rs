//! The kernel heap, Rust's global allocator on bare metal.
//!
//! ```text
//! up to 4 KiB      magazine (per CPU, per size class)  ── batches ──  depot  ──  slab  ──  frame
//! 2 to 3 KiB       magazine                            ── batches ──  depot  ──  first-fit list, grown by frames, which go back when empty but for one lot
//! more             frames: in a row, exactly as many as it takes
//! before frames    first-fit list over the heap's own 100 KB
//! ```
//!
//! | file | what | knows |
//! |---|---|---|
//! | [`class`], [`magazine`], [`depot`], [`slab`], [`free_list`], [`guard`], [`misuse`] | plain structures | a [`platform`], which hands them frames |
//! | [`allocator`], `small`, `backing` | [`Heap`]: all of it together, for any platform; its size classes; what is behind them | the same |
//! | [`machine`], and this file | the kernel's own heap | the kernel |
//! | [`soak`] | a load for tests | any heap |
//!
//! * An address inside the heap's own bytes belongs to the list; any other address is told apart by its layout alone.
//! * A magazine is its CPU's, which needs nothing but to stay there: an interrupt handler in between finds it open and goes to the slabs. So allocating and freeing is
//!   allowed in any context, interrupts included. The slabs' and the list's spinlocks have rank `Heap` and mask interrupts.
//! * Failure is a null pointer, never a stop. Code that must report it uses [`try_box`], [`try_arc`], `Vec::try_reserve`.
//!   The last frames of the machine are kept for the heap (`frame_allocator::allocate_reserved_descriptor`): programs run
//!   out of memory before the kernel does. Before anybody is killed for that, [`shrink`] gives back what is free.
//! * Debug builds guard objects ([`guard`]).
//!
//! Rejected: links in free objects (taking one waits for memory that nobody has touched for long, and a stray write there breaks the heap);
//! an atomic exchange per operation in place of the preemption count (20 cycles); a slab header in the frame (half a frame lost for each pair of
//! 2 KiB objects); objects freed on another CPU going home to the CPU that had them (they are as good here; slabs are shared).

mod allocator;
mod backing;
pub mod class;
pub mod depot;
mod fallible;
pub mod free_list;
pub mod guard;
pub mod machine;
pub mod magazine;
pub mod misuse;
pub mod platform;
pub mod slab;
mod small;
pub mod soak;

use crate::arch::inter_processor;
use class::CLASSES;

pub use crate::base::MAXIMUM_CPUS;
pub use allocator::{DEFAULT_SIZE, Heap, HeapStatistics};
pub use fallible::{try_arc, try_box};
pub use machine::Machine;
pub use slab::ClassUsage;

/// The kernel's heap.
pub type KernelHeap<const SIZE: usize = DEFAULT_SIZE> = Heap<Machine, SIZE>;

impl<const SIZE: usize> Heap<Machine, SIZE> {
    /// An empty heap: for a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self::on(Machine)
    }
}

impl<const SIZE: usize> Default for Heap<Machine, SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// A heap whose numbers can be asked for.
trait Reporting: Sync {
    fn report(&self) -> HeapStatistics;
    fn report_classes(&self) -> [ClassUsage; CLASSES];
    fn give_back(&self);
    fn hand_over_here(&self);
    fn shrink_here(&self) -> u64;
}

impl<const SIZE: usize> Reporting for KernelHeap<SIZE> {
    fn report(&self) -> HeapStatistics {
        self.statistics()
    }
    fn report_classes(&self) -> [ClassUsage; CLASSES] {
        self.class_usage()
    }
    fn give_back(&self) {
        self.drain();
    }
    fn hand_over_here(&self) {
        self.hand_over();
    }
    fn shrink_here(&self) -> u64 {
        self.shrink()
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

/// Memory is short: gives the frames of all that is free in the registered heap back, whichever CPU keeps it. Gives their number. Waits for the other
/// CPUs; thread context, no spinlock held.
pub fn shrink() -> u64 {
    let Some(heap) = REGISTERED.get() else { return 0 };
    inter_processor::call_on(inter_processor::online(), |heap: &&'static dyn Reporting| heap.hand_over_here(), heap);
    heap.shrink_here()
}

/// What the registered heap's size classes use; zeros on the hosted machine.
#[must_use]
pub fn class_usage() -> [ClassUsage; CLASSES] {
    REGISTERED.get().map_or([ClassUsage::default(); CLASSES], |heap| heap.report_classes())
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
