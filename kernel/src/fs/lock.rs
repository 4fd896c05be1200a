//! Locks on files.

use super::inode::Inode;
use alloc::sync::Arc;

/// The locks on one file.
#[derive(Debug, Default)]
pub struct FileLocks {}

/// An open file is gone: its `flock` and its own (`F_OFD_*`) locks go.
pub fn release_description(_inode: &Arc<dyn Inode>, _identity: u64) {}

/// A process closed a descriptor of the file: its POSIX locks go.
pub fn release_process(_inode: &Arc<dyn Inode>, _owner: u64) {}
