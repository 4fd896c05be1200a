//! A regular file of a tmpfs as memory: what `mmap` maps.

use super::{TmpfsInode, seal};
use crate::base::{Errno, FrameNumber, PAGE_SIZE};
use crate::fs::mount::Location;
use crate::memory::frame::Frame;
use crate::memory::numa::SharedPolicies;
use crate::memory::object::{
    MemoryObject, ObjectDetails, PageAccounting, PageError, PageIntent, Replacement, SharedPages,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// The pages of a regular file as one mapping sees them: with the path that it was opened by.
pub(super) struct MappedFile {
    pub(super) inode: Arc<TmpfsInode>,
    pub(super) location: Location,
}

impl MappedFile {
    fn pages(&self) -> Result<&SharedPages, PageError> {
        self.inode.pages().ok_or(PageError::InputOutput)
    }
}

impl MemoryObject for MappedFile {
    fn page(&self, index: u64, intent: PageIntent) -> Result<Frame, PageError> {
        let pages = self.pages()?;
        if let Some(frame) = pages.resident_page(index)
            && index < pages.length().div_ceil(PAGE_SIZE as u64)
        {
            return Ok(frame);
        }
        if self.inode.file_system.room(1) == 0 && index < pages.length().div_ceil(PAGE_SIZE as u64) {
            return Err(PageError::NoSpace);
        }
        let frame = pages.page(index, intent)?;
        self.inode.settle();
        Ok(frame)
    }

    fn resident_page(&self, index: u64) -> Option<Frame> {
        self.pages().ok()?.resident_page(index)
    }

    fn resident_pages(&self, first: u64, count: u64, each: &mut dyn FnMut(u64, Frame)) {
        if let Ok(pages) = self.pages() {
            pages.resident_pages(first, count, each);
        }
    }

    fn identity(&self) -> u64 {
        // The pages' own, by which they are found when the file is cut off.
        self.inode.pages().map_or(0, MemoryObject::identity)
    }

    fn details(&self) -> ObjectDetails {
        ObjectDetails {
            device: self.inode.header.device().encode(),
            inode: self.inode.header.number(),
            name: self.location.path_from_global_root(),
        }
    }

    fn policies(&self) -> Option<&SharedPolicies> {
        self.pages().ok()?.policies()
    }

    fn replace_page(&self, index: u64, old: FrameNumber, new: &Frame) -> Replacement {
        self.pages().map_or(Replacement::Gone, |pages| pages.replace_page(index, old, new))
    }

    fn accounting(&self) -> PageAccounting {
        PageAccounting::Shared
    }

    fn writer_came(&self) -> Result<(), Errno> {
        let regular = self.inode.regular()?;
        if regular.seals.load(Relaxed) & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        regular.shared_writers.fetch_add(1, Relaxed);
        Ok(())
    }

    fn page_copied(&self) {
        if let Some(pages) = self.inode.pages() {
            pages.page_copied();
        }
    }

    fn writer_left(&self) {
        if let Ok(regular) = self.inode.regular() {
            regular.shared_writers.fetch_sub(1, Relaxed);
        }
    }
}
