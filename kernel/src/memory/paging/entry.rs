//! What a table entry says to those who do not know the format.

use super::super::frame::Frame;
use super::format::{Decoded, Format, level_size};
use super::{Entry, Leaf, MapError, PageFlags};

/// The order of a block that a leaf can map, as the leaf's level.
pub(super) fn block_level(frame: &Frame) -> Result<u8, MapError> {
    match frame.order() {
        0 => Ok(0),
        9 => Ok(1),
        18 => Ok(2),
        _ => Err(MapError::Unaligned),
    }
}

/// The entry as others see it: under a shared table nothing can be written yet, and private pages are copy-on-write.
fn effective(flags: PageFlags, is_shared: bool) -> PageFlags {
    if !is_shared || !flags.contains(PageFlags::WRITABLE) {
        return flags;
    }
    let copied = if flags.contains(PageFlags::SHARED) { PageFlags::empty() } else { PageFlags::COPY_ON_WRITE };
    (flags - PageFlags::WRITABLE) | copied
}

/// The leaf that `entry` of `level` is, if it is one.
#[inline]
pub(super) fn leaf_of<F: Format>(entry: u64, level: u8, is_shared: bool) -> Option<Leaf> {
    match F::decode(entry, level) {
        Decoded::Leaf(frame, flags) => {
            Some(Leaf { frame, flags: effective(flags, is_shared), size: level_size(level) })
        }
        _ => None,
    }
}

/// What `entry` of `level` is.
#[inline]
pub(super) fn entry_of<F: Format>(entry: u64, level: u8, is_shared: bool) -> Entry {
    match F::decode(entry, level) {
        Decoded::Leaf(frame, flags) => {
            Entry::Leaf(Leaf { frame, flags: effective(flags, is_shared), size: level_size(level) })
        }
        Decoded::Software(value) => Entry::Software(value),
        Decoded::Empty | Decoded::Table(_) => Entry::Empty,
    }
}
