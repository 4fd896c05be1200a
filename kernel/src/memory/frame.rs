//! The counted owner of a frame of physical memory.

use crate::base::FrameNumber;

/// A reference to a frame (4 KiB, or a naturally aligned block of 2^order frames). `Clone` adds a reference, `Drop` takes one
/// and frees the frame with the last.
#[derive(Debug)]
pub struct Frame {
    number: FrameNumber,
}

impl Frame {
    /// A frame with undefined content. `None` when memory is out.
    #[must_use]
    pub fn allocate() -> Option<Self> {
        None
    }
    /// A frame full of zeros. `None` when memory is out.
    #[must_use]
    pub fn allocate_zeroed() -> Option<Self> {
        None
    }
    /// A naturally aligned block of 2^`order` frames (0..=9 or 18) with undefined content.
    #[must_use]
    pub fn allocate_block(_order: u8) -> Option<Self> {
        None
    }
    /// The number of the (first) frame.
    #[must_use]
    pub fn number(&self) -> FrameNumber {
        self.number
    }
    /// The block's size as a power of two, in frames.
    #[must_use]
    pub fn order(&self) -> u8 {
        0
    }
    /// How many references there are. Without exclusive access to the others it is a hint.
    #[must_use]
    pub fn reference_count(&self) -> u32 {
        1
    }
    /// Whether this is the only reference: nobody else can then add one.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        true
    }
    /// Gives the reference up to the caller as a number; see [`Frame::from_raw`].
    #[must_use]
    pub fn into_raw(self) -> FrameNumber {
        self.number
    }
    /// Copies from the frame into `target`, starting at byte `offset`; stops at the frame's end. Gives the count copied.
    pub fn read(&self, _offset: usize, _target: &mut [u8]) -> usize {
        0
    }
    /// Copies `source` into the frame at byte `offset`; stops at the frame's end. Gives the count copied.
    pub fn write(&self, _offset: usize, _source: &[u8]) -> usize {
        0
    }
    /// Writes zeros from byte `offset` on, `length` of them or up to the frame's end.
    pub fn zero(&self, _offset: usize, _length: usize) {}
    /// Makes this frame's content that of `source`.
    pub fn copy_from(&self, _source: &Self) {}
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        Self { number: self.number }
    }
}
