//! What opens a FIFO: the pipe module registers itself here.
//!
//! The opener keeps the pipe of a FIFO that is open in [`super::inode::InodeExtras::attachment`].

use super::file::FileOperations;
use super::inode::Inode;
use super::types::OpenFlags;
use crate::base::{Errno, Result};
use alloc::sync::Arc;

/// Opens FIFOs.
pub trait FifoOpener: Sync {
    /// What reading and writing the FIFO behind `inode` do. May wait for the other end, as `fifo(7)` says.
    ///
    /// # Errors
    /// `ENXIO` for a non-blocking writer without readers, `ERESTARTSYS`.
    fn open(&self, inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>>;
}

static OPENER: spin::Once<&'static dyn FifoOpener> = spin::Once::new();

/// Registers the opener, once, at boot.
pub fn set_opener(opener: &'static dyn FifoOpener) {
    OPENER.call_once(|| opener);
}

/// Opens the FIFO behind `inode`.
///
/// # Errors
/// `ENXIO` before an opener is registered; what it says.
pub fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
    OPENER.get().ok_or(Errno::ENXIO)?.open(inode, flags)
}
