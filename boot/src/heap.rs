//! The kernel heap as Rust's global allocator.

use ashlar_kernel::memory::heap::{self, KernelHeap};

#[global_allocator]
static HEAP: KernelHeap = KernelHeap::new();

/// Lets `/proc` and the log ask for the heap's numbers.
pub fn register() {
    heap::register(&HEAP);
}
