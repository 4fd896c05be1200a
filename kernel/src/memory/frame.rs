//! The counted owner of a frame of physical memory.
//!
//! A [`Frame`] is a pointer to the frame's descriptor, whose count says how many there are. Invariant: each `Frame`, each page-table
//! leaf that is not `UNCOUNTED` and each number from [`Frame::into_raw`] stands for exactly one reference.
//!
//! Content is reached by copying in and out ([`Frame::read`], [`Frame::write`]): user space may change a mapped frame at any
//! moment, so there is no `&[u8]` over one.

#![allow(unsafe_code, reason = "copies between frames and kernel buffers through the physmap")]

use super::frame_allocator as allocator;
use super::frame_descriptor::{FrameDescriptor, MAXIMUM_REFERENCES};
use super::numa::NodeId;
use super::physmap;
use crate::base::{FrameNumber, PAGE_SIZE, VirtualAddress};
use arrayvec::ArrayVec;
use core::mem::ManuallyDrop;

/// A reference to a frame (4 KiB, or a naturally aligned block of 2^order frames). `Clone` adds a reference, `Drop` takes one
/// and frees the frame with the last. It is one pointer wide, as is `Option<Frame>`.
pub struct Frame {
    descriptor: &'static FrameDescriptor,
}

impl Frame {
    /// The frame that `allocate` finds.
    #[inline]
    fn take(allocate: impl FnOnce() -> Option<&'static FrameDescriptor>) -> Option<Self> {
        #[cfg(test)]
        if !super::frame_ledger::may_take() {
            return None;
        }
        let descriptor = allocate()?;
        #[cfg(test)]
        super::frame_ledger::took(descriptor);
        Some(Self { descriptor })
    }
    /// A frame with undefined content. `None` when memory is out.
    #[inline]
    #[must_use]
    pub fn allocate() -> Option<Self> {
        Self::take(allocator::allocate_descriptor)
    }
    /// A frame full of zeros. `None` when memory is out.
    #[inline]
    #[must_use]
    pub fn allocate_zeroed() -> Option<Self> {
        Self::take(allocator::allocate_zeroed_descriptor)
    }
    /// A frame with undefined content for user space or file data. `None` when only the kernel's reserve is left.
    #[inline]
    #[must_use]
    pub fn allocate_for_user() -> Option<Self> {
        if allocator::has_room_for_users() { Self::allocate() } else { None }
    }
    /// A frame full of zeros for user space or file data. `None` when only the kernel's reserve is left.
    #[inline]
    #[must_use]
    pub fn allocate_zeroed_for_user() -> Option<Self> {
        if allocator::has_room_for_users() { Self::allocate_zeroed() } else { None }
    }
    /// A frame of `node` and no other, with undefined content. `None` where that has none left, beside what CPUs keep at hand.
    #[must_use]
    pub fn allocate_on(node: NodeId) -> Option<Self> {
        Self::take(|| allocator::allocate_descriptor_on(node))
    }
    /// The node that it is on.
    #[inline]
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.descriptor.node())
    }
    /// A naturally aligned block of 2^`order` frames (0..=9 or 18) with undefined content.
    #[must_use]
    pub fn allocate_block(order: u8) -> Option<Self> {
        Self::take(|| allocator::allocate_block_descriptor(order))
    }
    /// As [`Frame::allocate_block`], full of zeros, for user space. `None` also when only the kernel's reserve is left.
    #[must_use]
    pub fn allocate_zeroed_block_for_user(order: u8) -> Option<Self> {
        let block = allocator::has_room_for_users().then(|| Self::allocate_block(order)).flatten()?;
        block.zero(0, block.size());
        Some(block)
    }
    /// The number of the (first) frame.
    #[inline]
    #[must_use]
    pub fn number(&self) -> FrameNumber {
        self.descriptor.number()
    }
    /// The block's size as a power of two, in frames.
    #[inline]
    #[must_use]
    pub fn order(&self) -> u8 {
        self.descriptor.order()
    }
    /// The block's size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        PAGE_SIZE << self.order()
    }
    /// The descriptor, for its owner and LRU fields.
    #[inline]
    #[must_use]
    pub fn descriptor(&self) -> &'static FrameDescriptor {
        self.descriptor
    }
    /// How many references there are. Without exclusive access to the others it is a hint.
    #[must_use]
    pub fn reference_count(&self) -> u32 {
        self.descriptor.references()
    }
    /// Whether this is the only reference: nobody else can then add one.
    #[inline]
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.descriptor.references() == 1
    }
    /// Where the kernel sees the (first) frame.
    #[must_use]
    pub fn physmap_address(&self) -> VirtualAddress {
        physmap::address_of(self.number().address())
    }
    /// Gives the reference up to the caller as a number; [`Frame::from_raw`] makes it a `Frame` again.
    #[inline]
    #[must_use]
    pub fn into_raw(self) -> FrameNumber {
        ManuallyDrop::new(self).number()
    }
    /// Takes back a reference given up with [`Frame::into_raw`]. `None` for a frame that the allocator does not manage.
    ///
    /// # Safety
    /// The caller holds such a reference to the frame, and gives it away.
    #[inline]
    #[must_use]
    pub unsafe fn from_raw(number: FrameNumber) -> Option<Self> {
        allocator::descriptor(number).map(|descriptor| Self { descriptor })
    }
    /// Adds a reference to a frame of which somebody holds one during the call.
    ///
    /// # Safety
    /// As said: a table that maps the frame as counted and cannot change meanwhile, for example.
    #[inline]
    #[must_use]
    pub unsafe fn reference_raw(number: FrameNumber) -> Option<Self> {
        let descriptor = allocator::descriptor(number)?;
        let _ = descriptor.add_reference();
        Some(Self { descriptor })
    }
    /// Another reference, or `None` when there are absurdly many (2^31).
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        (self.descriptor.references() < MAXIMUM_REFERENCES).then(|| self.clone())
    }
    /// Drops what is known to be a sole reference to a single frame full of zeros: the next [`Frame::allocate_zeroed`] is cheap.
    #[inline]
    pub(super) fn drop_zeroed(self) {
        let this = ManuallyDrop::new(self);
        if this.descriptor.take_reference() {
            #[cfg(test)]
            super::frame_ledger::gave(this.descriptor);
            allocator::free_zeroed_descriptor(this.descriptor);
        }
    }
    /// Drops this reference; when it was the last one, gives the frame back instead, for its content to be released first.
    #[inline]
    pub(super) fn into_last(self) -> Option<Self> {
        let this = ManuallyDrop::new(self);
        this.descriptor.take_reference().then(|| {
            this.descriptor.set_allocated();
            Self { descriptor: this.descriptor }
        })
    }
    /// Makes a sole reference to a block of order 9 or 18 into 512 references to its parts, all owned by the caller as numbers
    /// (the parts in order from [`Frame::number`] on). Gives the block back when there are other references.
    pub(super) fn split(self) -> Result<FrameNumber, Self> {
        let order = self.order();
        if !self.is_unique() || order < 9 {
            return Err(self);
        }
        let descriptor = self.descriptor;
        let number = self.into_raw();
        allocator::split(descriptor, order - 9);
        Ok(number)
    }
    /// A block as its frames, each of its own, in order. `None`, and the block is given back, when there are other references or it has more than `N`.
    #[must_use]
    pub fn into_pages<const N: usize>(self) -> Option<ArrayVec<Self, N>> {
        let count = 1usize.checked_shl(self.order().into())?;
        if !self.is_unique() || count > N {
            return None;
        }
        let first = self.descriptor;
        let number = self.into_raw();
        allocator::split(first, 0);
        let mut pages = ArrayVec::new();
        for part in 0..count as u64 {
            let descriptor = allocator::descriptor(number.offset(part))?;
            #[cfg(test)]
            if part > 0 {
                super::frame_ledger::parted(descriptor);
            }
            pages.push(Self { descriptor });
        }
        Some(pages)
    }
    /// A pointer to the byte at `offset` and the number of bytes from there to the end.
    fn at(&self, offset: usize) -> Option<(*mut u8, usize)> {
        let left = self.size().checked_sub(offset)?;
        let base = physmap::pointer::<u8>(self.number().address());
        // SAFETY: the offset is inside the block, which the physmap maps contiguously.
        Some((unsafe { base.add(offset) }, left))
    }
    /// Copies from the frame into `target`, starting at byte `offset`; stops at the frame's end. Gives the count copied.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> usize {
        let Some((source, left)) = self.at(offset) else { return 0 };
        let count = left.min(target.len());
        // SAFETY: `count` bytes lie inside the frame and the target; a kernel buffer is not in a frame that is shared with
        // user space, so they do not overlap. Racing user stores give some mixture of old and new bytes.
        unsafe { core::ptr::copy_nonoverlapping(source, target.as_mut_ptr(), count) };
        count
    }
    /// Copies `source` into the frame at byte `offset`; stops at the frame's end. Gives the count copied.
    pub fn write(&self, offset: usize, source: &[u8]) -> usize {
        let Some((target, left)) = self.at(offset) else { return 0 };
        let count = left.min(source.len());
        // SAFETY: as in `read`.
        unsafe { core::ptr::copy_nonoverlapping(source.as_ptr(), target, count) };
        self.descriptor.note_written();
        count
    }
    /// Writes zeros from byte `offset` on, `length` of them or up to the frame's end.
    pub fn zero(&self, offset: usize, length: usize) {
        let Some((target, left)) = self.at(offset) else { return };
        // SAFETY: as in `read`.
        unsafe { core::ptr::write_bytes(target, 0, left.min(length)) };
        self.descriptor.note_written();
    }
    /// Makes this frame's content that of `source`: as many 4 KiB frames as the smaller block has.
    pub fn copy_from(&self, source: &Self) {
        if self.number() == source.number() {
            return;
        }
        for index in 0..1u64 << self.order().min(source.order()) {
            physmap::copy_frame(self.number().offset(index), source.number().offset(index));
        }
        self.descriptor.note_written();
    }
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Self {
        let _ = self.descriptor.add_reference();
        Self { descriptor: self.descriptor }
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if self.descriptor.take_reference() {
            #[cfg(test)]
            super::frame_ledger::gave(self.descriptor);
            allocator::free_descriptor(self.descriptor);
        }
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            formatter,
            "Frame({:#x}, order {}, {} references)",
            self.number().value(),
            self.order(),
            self.reference_count()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const _: () = assert!(size_of::<Option<Frame>>() == 8);

    #[test]
    fn references_are_counted() {
        let frame = Frame::allocate().unwrap();
        assert!(frame.is_unique());
        let second = frame.clone();
        assert_eq!((frame.reference_count(), second.number()), (2, frame.number()));
        drop(frame);
        assert!(second.is_unique());
        let number = second.into_raw();
        // SAFETY: the reference was given up in the line before.
        let again = unsafe { Frame::from_raw(number) }.unwrap();
        assert!(again.is_unique());
    }

    #[test]
    fn zeroed_frames_are_zero_even_after_use() {
        for _ in 0..300 {
            let frame = Frame::allocate_zeroed().unwrap();
            let mut bytes = [1; 64];
            assert_eq!(frame.read(4000, &mut bytes), 64);
            assert_eq!(bytes, [0; 64]);
            frame.write(4000, &[7; 64]);
        }
    }

    #[test]
    fn copies_stop_at_the_end_of_the_frame() {
        let frame = Frame::allocate_zeroed().unwrap();
        assert_eq!(frame.write(4090, b"0123456789"), 6);
        let mut bytes = [0; 10];
        assert_eq!(frame.read(4088, &mut bytes), 8);
        assert_eq!(&bytes, b"\0\x00012345\0\0");
        assert_eq!(frame.read(4096, &mut bytes), 0);
        assert_eq!(frame.write(usize::MAX, b"x"), 0);
        frame.zero(4091, 100);
        assert_eq!(frame.read(4090, &mut bytes), 6);
        assert_eq!(&bytes[..6], b"0\0\0\0\0\0");
    }

    #[test]
    fn a_copy_has_the_same_content() {
        let source = Frame::allocate().unwrap();
        source.write(0, &[9; PAGE_SIZE]);
        let target = Frame::allocate().unwrap();
        target.copy_from(&source);
        let mut bytes = [0; PAGE_SIZE];
        target.read(0, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == 9));
        source.copy_from(&source.clone());
    }

    #[test]
    fn a_block_is_one_allocation() {
        let block = Frame::allocate_block(3).unwrap();
        assert_eq!((block.order(), block.size(), block.number().value() % 8), (3, 8 * PAGE_SIZE, 0));
        assert_eq!(block.write(7 * PAGE_SIZE + 4095, b"xy"), 1);
    }
}
