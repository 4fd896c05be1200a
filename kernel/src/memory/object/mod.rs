//! What areas map when it is not anonymous memory: the [`MemoryObject`] trait and its implementations [`SharedPages`]
//! (the data of tmpfs files, memfds, System V segments and shared anonymous memory) and [`KernelPages`] (frames that the
//! kernel shows to user space, such as the vDSO).
//!
//! # Locking
//! The page-fault path calls [`MemoryObject::page`] with the address space's sleeping lock held. An implementation may
//! allocate and take locks of rank [`crate::sync::LockRank::PageCache`] and above, but **no lock under which somebody touches user
//! memory** (an inode's mutex, say): that would be the wrong way round.

mod kernel_pages;
mod shared_pages;

use super::frame::Frame;
use super::numa::SharedPolicies;
use crate::base::{Errno, FrameNumber};
use alloc::vec::Vec;
use spin::Once;

pub use kernel_pages::KernelPages;
pub use shared_pages::{SharedPages, shared_page_count};

/// What the caller of [`MemoryObject::page`] will do with the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageIntent {
    /// Read it, or copy it.
    Read,
    /// Write to it through a shared mapping.
    Write,
}

/// Why an object has no page to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageError {
    /// The page lies wholly beyond the object's end: `SIGBUS`.
    BeyondEnd,
    /// Memory is out.
    OutOfMemory,
    /// The storage behind it failed: `SIGBUS`, `EIO`.
    InputOutput,
    /// The object's own limit (a file system's size, say) is reached: `SIGBUS`, `ENOSPC`.
    NoSpace,
}

impl From<PageError> for Errno {
    fn from(error: PageError) -> Self {
        match error {
            PageError::BeyondEnd => Self::EINVAL,
            PageError::OutOfMemory => Self::ENOMEM,
            PageError::InputOutput => Self::EIO,
            PageError::NoSpace => Self::ENOSPC,
        }
    }
}

/// Which of Linux's counters a resident page of the object belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageAccounting {
    /// `RssFile`: a file on storage.
    File,
    /// `RssShmem`: tmpfs, memfd, System V and shared anonymous memory.
    Shared,
    /// None: kernel pages such as the vDSO.
    Uncounted,
}

/// How an object appears in `/proc/PID/maps`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectDetails {
    /// The device number, as `makedev` packs it for user space.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// The path, or a name such as `[vdso]`; empty for none.
    pub name: Vec<u8>,
}

/// Something with pages that areas map.
pub trait MemoryObject: Send + Sync {
    /// The page numbered `index` (the byte offset divided by the page size), made or read in when absent.
    ///
    /// # Errors
    /// [`PageError`].
    fn page(&self, index: u64, intent: PageIntent) -> Result<Frame, PageError>;

    /// The page if it is in memory now. It does not wait or allocate.
    fn resident_page(&self, index: u64) -> Option<Frame>;

    /// Gives each of the pages `first..first + count` that is in memory now to `each`; what a read fault maps around itself.
    /// It stops early where the object ends.
    fn resident_pages(&self, first: u64, count: u64, each: &mut dyn FnMut(u64, Frame)) {
        for index in first..first.saturating_add(count) {
            if let Some(frame) = self.resident_page(index) {
                each(index, frame);
            }
        }
    }

    /// A number that is the same for all mappings of the same bytes, and differs from every other live object's: the inode's, not
    /// the open file's. A futex in shared memory is known by it.
    fn identity(&self) -> u64;

    /// What `/proc/PID/maps` shows.
    fn details(&self) -> ObjectDetails {
        ObjectDetails::default()
    }

    /// What it shows for an area that begins at page `index`: an object of several parts names each.
    fn details_at(&self, _index: u64) -> ObjectDetails {
        self.details()
    }

    /// Which counter its resident pages belong to.
    fn accounting(&self) -> PageAccounting {
        PageAccounting::File
    }

    /// Writes the pages `first..first + count` back to storage, if there is one, and waits.
    ///
    /// # Errors
    /// `EIO` and the file system's own.
    fn synchronise(&self, _first: u64, _count: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// A writable shared mapping is made, until [`MemoryObject::writer_left`]. Seals count them.
    ///
    /// # Errors
    /// `EPERM` when the object is sealed against writing, `ETXTBSY`.
    fn writer_came(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// A writable shared mapping, or a part of one, is gone.
    fn writer_left(&self) {}

    /// The policies that its pages have for everybody; `None` where it keeps none, and those of areas count.
    fn policies(&self) -> Option<&SharedPolicies> {
        None
    }

    /// Puts `new` in the place of the page at `index`, content included, if that still is `old` and nobody else refers to it. It does not wait.
    fn replace_page(&self, _index: u64, _old: FrameNumber, _new: &Frame) -> Replacement {
        Replacement::Refused
    }

    /// A private mapping has a copy of one of its pages from now on, which must go when the object is cut off before that page.
    fn page_copied(&self) {}
}

/// How [`MemoryObject::replace_page`] went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacement {
    /// The new frame is there.
    Done,
    /// The page is in use.
    Busy,
    /// There is another page, or none.
    Gone,
    /// The object's pages stay where they are.
    Refused,
}

/// What happens to private copies when pages of an object go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// They go too: the object was cut off there.
    Go,
    /// They stay: a hole was made.
    Stay,
}

/// Takes the pages `first..end` of the object with an identity out of every address space.
pub type Unmap = fn(identity: u64, first: u64, end: u64, copies: Copies);

static UNMAP: Once<Unmap> = Once::new();

/// Registers how pages are taken out of address spaces: `memory::address_space` does it with its first space.
pub(super) fn set_unmap(unmap: Unmap) {
    UNMAP.call_once(|| unmap);
}
