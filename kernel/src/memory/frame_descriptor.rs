//! What the kernel knows about each frame of physical memory: 32 bytes, in an array per region.
//!
//! A descriptor's fields belong to whoever holds the frame; the reference count and the block order belong to
//! [`super::frame::Frame`] and the allocator. Fields are atomics because references are shared between CPUs; a kind's owner
//! decides what `owner` and `index` mean:
//!
//! | [`FrameKind`] | `owner` | `index` |
//! |---|---|---|
//! | `Free`, `Kernel` | - | - |
//! | `PageTable` | groups of entries that may be in use, one bit for eight | entries in use; of a top table the tag (`paging::tags`) |
//! | `Heap` | the slab's header | size class |
//! | `Anonymous`, `File` | the memory object (reverse mapping) | page number in it |
//!
//! Invariant: `references` is 0 exactly while the frame is free; `number` never changes once the descriptor is initialised.

use crate::arch::{Current, Mmu};
use crate::base::FrameNumber;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, Ordering::Relaxed};

/// What a frame is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// Nothing, or not said.
    Free = 0,
    /// Kernel data that is not otherwise listed: stacks, buffers.
    Kernel = 1,
    /// A page table.
    PageTable = 2,
    /// A slab of the kernel heap, or a large heap block.
    Heap = 3,
    /// Anonymous user memory.
    Anonymous = 4,
    /// A page of a file or of shared memory.
    File = 5,
}

impl FrameKind {
    const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Kernel,
            2 => Self::PageTable,
            3 => Self::Heap,
            4 => Self::Anonymous,
            5 => Self::File,
            _ => Self::Free,
        }
    }
}

/// One frame's descriptor.
#[derive(Debug)]
#[repr(C, align(32))]
pub struct FrameDescriptor {
    references: AtomicU32,
    number: AtomicU32,
    kind: AtomicU8,
    order: AtomicU8,
    generation: AtomicU8,
    node: AtomicU8,
    charge: AtomicU16,
    flags: AtomicU16,
    owner: AtomicU64,
    index: AtomicU64,
}

const _: () = assert!(size_of::<FrameDescriptor>() == 32);

/// In the flags: instruction fetch sees the frame's content (`paging::code`).
const SYNCHRONISED: u16 = 1 << 14;

/// Highest number of references: above it a reference is refused, so that a count never wraps (Linux saturates there too).
pub const MAXIMUM_REFERENCES: u32 = u32::MAX / 2;

impl FrameDescriptor {
    /// Makes the descriptor that of free frame `number` on `node`, whatever the memory held before.
    pub(super) fn initialize(&self, number: FrameNumber, node: u8) {
        // Physical memory ends below 2^44: the allocator's map is cut there.
        #[expect(clippy::cast_possible_truncation, reason = "frame numbers are below 2^32")]
        self.number.store(number.value() as u32, Relaxed);
        self.references.store(0, Relaxed);
        self.kind.store(FrameKind::Free as u8, Relaxed);
        self.order.store(0, Relaxed);
        self.generation.store(0, Relaxed);
        self.node.store(node, Relaxed);
        self.charge.store(0, Relaxed);
        self.flags.store(0, Relaxed);
        self.owner.store(0, Relaxed);
        self.index.store(0, Relaxed);
    }

    /// The frame's number.
    #[inline]
    pub fn number(&self) -> FrameNumber {
        FrameNumber::new(self.number.load(Relaxed).into())
    }
    /// How many references there are.
    #[inline]
    pub fn references(&self) -> u32 {
        self.references.load(Ordering::Acquire)
    }
    /// From free to one reference; the allocator's alone.
    #[inline]
    pub(super) fn set_allocated(&self) {
        self.references.store(1, Relaxed);
    }
    /// Adds a reference to one that the caller holds. Returns the count before.
    #[inline]
    pub(super) fn add_reference(&self) -> u32 {
        self.references.fetch_add(1, Relaxed)
    }
    /// Takes a reference that the caller holds. Returns whether it was the last: the frame is then the caller's to free.
    #[inline]
    pub(super) fn take_reference(&self) -> bool {
        // A sole reference cannot be joined by another while its holder is here, so no atomic step is needed.
        if self.references() == 1 {
            self.references.store(0, Relaxed);
            return true;
        }
        if self.references.fetch_sub(1, Ordering::Release) == 1 {
            core::sync::atomic::fence(Ordering::Acquire);
            return true;
        }
        false
    }
    /// Takes a reference given as a bare number: gives the count before, 0 (and no change) when the frame is free.
    pub(super) fn try_take_reference(&self) -> u32 {
        self.references.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1)).unwrap_or(0)
    }
    /// The block's order: this frame and the 2^order - 1 after it are one allocation.
    #[inline]
    pub fn order(&self) -> u8 {
        self.order.load(Relaxed)
    }
    /// Sets it; the allocator's alone.
    pub(super) fn set_order(&self, order: u8) {
        self.order.store(order, Relaxed);
    }
    /// What the frame is used for.
    pub fn kind(&self) -> FrameKind {
        FrameKind::from_raw(self.kind.load(Relaxed))
    }
    /// Says what it is used for; the holder's to say.
    #[inline]
    pub fn set_kind(&self, kind: FrameKind) {
        self.kind.store(kind as u8, Relaxed);
    }
    /// The LRU generation (reclaim).
    pub fn generation(&self) -> u8 {
        self.generation.load(Relaxed)
    }
    /// Sets the LRU generation.
    pub fn set_generation(&self, generation: u8) {
        self.generation.store(generation, Relaxed);
    }
    /// The NUMA node.
    pub fn node(&self) -> u8 {
        self.node.load(Relaxed)
    }
    /// The memory cgroup that is charged for it; 0 is none.
    pub fn charge(&self) -> u16 {
        self.charge.load(Relaxed)
    }
    /// Sets the cgroup that is charged for it.
    pub fn set_charge(&self, charge: u16) {
        self.charge.store(charge, Relaxed);
    }
    /// Bits of the holder's own.
    pub fn flags(&self) -> u16 {
        self.flags.load(Relaxed)
    }
    /// Sets bits of the holder's own.
    pub fn set_flags(&self, flags: u16) {
        self.flags.store(flags, Relaxed);
    }
    /// Whether instruction fetch sees the frame's content.
    #[inline]
    pub(super) fn is_synchronised(&self) -> bool {
        self.flags() & SYNCHRONISED != 0
    }
    /// Notes that it does.
    #[inline]
    pub(super) fn set_synchronised(&self) {
        self.set_flags(self.flags() | SYNCHRONISED);
    }
    /// The kernel has written to the frame, or frees it: instruction fetch may see something else. Nothing where fetch is coherent.
    #[inline]
    pub fn note_written(&self) {
        if !Current::COHERENT_INSTRUCTIONS && self.is_synchronised() {
            self.set_flags(self.flags() & !SYNCHRONISED);
        }
    }
    /// The owner, as the kind defines it.
    #[inline]
    pub fn owner(&self) -> u64 {
        self.owner.load(Relaxed)
    }
    /// Sets the owner.
    #[inline]
    pub fn set_owner(&self, owner: u64) {
        self.owner.store(owner, Relaxed);
    }
    /// The index, as the kind defines it.
    #[inline]
    pub fn index(&self) -> u64 {
        self.index.load(Relaxed)
    }
    /// The index of a top table as its space's version (`paging::shootdown`).
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.index.load(Ordering::SeqCst)
    }
    /// Gives a space without a version its first, unless another CPU was faster. Gives what it has.
    pub(super) fn set_first_version(&self, version: u64) -> u64 {
        self.index
            .compare_exchange(0, version, Ordering::SeqCst, Ordering::SeqCst)
            .map_or_else(|held| held, |_| version)
    }
    /// Changes the version; gives the last.
    pub(super) fn replace_version(&self, version: u64) -> u64 {
        self.index.swap(version, Ordering::SeqCst)
    }
    /// Sets the index.
    #[inline]
    pub fn set_index(&self, index: u64) {
        self.index.store(index, Relaxed);
    }
}
