//! Kernel stacks from the heap, until the mapped ones with guard pages are there.

use crate::base::VirtualAddress;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bytes of a kernel stack.
const SIZE: usize = 32 * 1024;

/// A kernel stack.
#[derive(Debug)]
pub struct KernelStack(Box<[u128]>);

impl KernelStack {
    /// A new one; `None` when memory is out.
    #[must_use]
    pub fn allocate() -> Option<Self> {
        let mut memory: Vec<u128> = Vec::new();
        memory.try_reserve_exact(SIZE / 16).ok()?;
        memory.resize(SIZE / 16, 0);
        Some(Self(memory.into_boxed_slice()))
    }
    /// Its upper end, 16-byte aligned.
    #[must_use]
    pub fn top(&self) -> VirtualAddress {
        VirtualAddress::new(self.0.as_ptr_range().end.expose_provenance() as u64)
    }
}
