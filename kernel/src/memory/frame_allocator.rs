//! The allocator of physical frames.

use crate::base::FrameNumber;

/// Memory totals in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameStatistics {
    /// Frames under the allocator's control, its own metadata excluded.
    pub total: u64,
    /// Frames that could be allocated now.
    pub free: u64,
}

/// A range of physical memory that may be used, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRange {
    /// The first frame.
    pub start: FrameNumber,
    /// How many.
    pub count: u64,
}

/// What the frame allocator starts from.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap<'a> {
    /// Usable ranges in any order; the overlap of two counts once.
    pub usable: &'a [FrameRange],
    /// Ranges to leave alone inside them: kernel image, start information, initrd.
    pub reserved: &'a [FrameRange],
    /// The `mem=` limit: frames from this number on are ignored.
    pub limit: Option<FrameNumber>,
}

/// Why the frame allocator could not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameAllocatorError {
    /// No usable range has room for the allocator's own tables.
    NoMemory,
    /// It runs already.
    AlreadyInitialized,
}

/// Starts the allocator; the physmap must be up. Called once at boot, before the first allocation.
///
/// # Errors
/// [`FrameAllocatorError`].
pub fn init_frame_allocator(_map: &MemoryMap<'_>) -> Result<(), FrameAllocatorError> {
    Err(FrameAllocatorError::NoMemory)
}

/// Gives a range that was reserved at boot (the initrd, once unpacked) to the allocator.
pub fn release_reserved(_range: FrameRange) {}

/// Totals. A few instructions per CPU.
#[must_use]
pub fn statistics() -> FrameStatistics {
    FrameStatistics::default()
}
