//! Numbers that are given out once: of inodes and of devices, where no file system and no driver has better ones.

use super::types::DeviceNumber;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Inode numbers for file systems that have no better ones; unique, never zero.
#[must_use]
pub fn next_inode_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// A device number for a file system without a device: major 0.
#[must_use]
pub fn next_anonymous_device() -> DeviceNumber {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    DeviceNumber::new(0, NEXT.fetch_add(1, Relaxed))
}
