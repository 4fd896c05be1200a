//! Open files: Linux's open file description, and what a kind of file does.
//!
//! [`OpenFile`] is what descriptors refer to; `dup` and `fork` share it, and with it the position and the status flags.
//! [`FileOperations`] is implemented once per kind of file. Where the file can seek, [`OpenFile`] keeps the position and hands it
//! down; the lock around it makes reads and writes through one description atomic to each other. A stream (pipe, terminal, socket)
//! has no position and takes no lock here, so a sleeping reader keeps no writer out.

pub mod asynchronous;
mod operations;

pub use super::signal_hook::FileOwner;
pub use operations::{FileOperations, FileTraits, SeekFrom, anonymous_metadata, seek_in};

use super::inode::{DirectorySink, Inode};
use super::io::{IoDestination, IoSource};
use super::mount::Location;
use super::types::{FileType, Metadata, OpenFlags};
use crate::base::{Errno, Result};
use crate::sync::{LockRank, Mutex, SpinLock};
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

bitflags::bitflags! {
    /// What may be done with an open file; fixed when it is opened.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct FileMode: u32 {
        /// It may be read.
        const READ = 1;
        /// It may be written.
        const WRITE = 2;
        /// `lseek`, `pread` and `pwrite` work.
        const SEEKABLE = 4;
        /// It has no position.
        const STREAM = 8;
        /// It is only a handle on its location (`O_PATH`).
        const PATH = 16;
        /// It counts as a writer of its inode.
        const COUNTED_WRITER = 32;
        /// Reading does not change access times.
        const NO_ACCESS_TIME = 64;
        /// Who opened it may keep set-ID bits through writes (`CAP_FSETID`).
        const KEEPS_SET_ID = 128;
    }
}

/// An open file description.
pub struct OpenFile {
    operations: Arc<dyn FileOperations>,
    location: Option<Location>,
    mode: FileMode,
    flags: AtomicU32,
    position: Mutex<u64>,
    owner: SpinLock<FileOwner>,
}

impl OpenFile {
    /// An open file at `location`, or without one, that does what `operations` says. `mode` is completed from the flags' access
    /// mode and the kind's traits.
    #[must_use]
    pub fn new(
        operations: Arc<dyn FileOperations>,
        location: Option<Location>,
        flags: OpenFlags,
        mode: FileMode,
    ) -> Arc<Self> {
        let mut mode = mode;
        if flags.contains(OpenFlags::PATH) {
            mode |= FileMode::PATH;
        } else {
            mode |= match flags.bits() & 3 {
                0 => FileMode::READ,
                1 => FileMode::WRITE,
                2 => FileMode::READ | FileMode::WRITE,
                _ => FileMode::empty(),
            };
            mode |= match operations.traits() {
                FileTraits::Seekable => FileMode::SEEKABLE,
                FileTraits::Stream => FileMode::STREAM,
            };
        }
        const TRANSIENT: OpenFlags = OpenFlags::CREATE
            .union(OpenFlags::EXCLUSIVE)
            .union(OpenFlags::NO_CONTROLLING_TERMINAL)
            .union(OpenFlags::TRUNCATE)
            .union(OpenFlags::CLOSE_ON_EXEC);
        Arc::new(Self {
            operations,
            location,
            mode,
            flags: AtomicU32::new(flags.difference(TRANSIENT).bits()),
            position: Mutex::new(0),
            owner: SpinLock::new(LockRank::FileObject, FileOwner::default()),
        })
    }

    /// An open file that has no place in the tree: a pipe's end, an eventfd.
    #[must_use]
    pub fn anonymous(operations: Arc<dyn FileOperations>, flags: OpenFlags) -> Arc<Self> {
        Self::new(operations, None, flags, FileMode::empty())
    }

    /// What it does.
    #[must_use]
    #[inline]
    pub fn operations(&self) -> &Arc<dyn FileOperations> {
        &self.operations
    }
    /// What it does, where that is a `T`.
    #[must_use]
    pub fn operations_as<T: FileOperations>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.operations;
        any.downcast_ref()
    }
    /// Where it is in the tree.
    #[must_use]
    #[inline]
    pub fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }
    /// Its inode, if it has a place in the tree.
    #[must_use]
    pub fn inode(&self) -> Option<&Arc<dyn Inode>> {
        self.location.as_ref().map(Location::inode)
    }
    /// What may be done with it.
    #[must_use]
    #[inline]
    pub fn mode(&self) -> FileMode {
        self.mode
    }
    /// The status flags.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Relaxed))
    }
    /// Whether calls must not wait.
    #[must_use]
    #[inline]
    pub fn is_non_blocking(&self) -> bool {
        self.flags().contains(OpenFlags::NON_BLOCKING)
    }
    /// Changes the status flags that can be changed to those in `flags`.
    ///
    /// # Errors
    /// What the kind says.
    pub fn set_flags(&self, flags: OpenFlags) -> Result<()> {
        let new = self.flags().difference(OpenFlags::CHANGEABLE) | flags.intersection(OpenFlags::CHANGEABLE);
        self.operations.change_flags(self, new)?;
        self.flags.store(new.bits(), Relaxed);
        Ok(())
    }
    /// Who is told of readiness.
    #[must_use]
    pub fn owner(&self) -> FileOwner {
        *self.owner.lock()
    }
    /// Sets who is told of readiness.
    pub fn set_owner(&self, owner: FileOwner) {
        *self.owner.lock() = owner;
    }
    /// The position now.
    #[must_use]
    pub fn position(&self) -> u64 {
        if self.mode.contains(FileMode::STREAM) { 0 } else { *self.position.lock() }
    }
    /// Sets the position.
    pub fn set_position(&self, position: u64) {
        *self.position.lock() = position;
    }
    /// Its type.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.metadata().file_type()
    }
    /// What `fstat` tells.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        match &self.location {
            Some(location) => location.inode().metadata(),
            None => self.operations.metadata(self),
        }
    }

    /// Reads at the position and moves it.
    ///
    /// # Errors
    /// `EBADF` when not open for reading; what the kind says.
    #[inline]
    pub fn read(&self, destination: &mut IoDestination<'_>) -> Result<usize> {
        if !self.mode.contains(FileMode::READ) {
            return Err(Errno::EBADF);
        }
        if self.mode.contains(FileMode::STREAM) {
            let result = self.operations.read_at(self, 0, destination);
            return settle(result, destination.transferred());
        }
        let mut position = self.position.lock();
        let count = settle(self.operations.read_at(self, *position, destination), destination.transferred())?;
        *position = position.saturating_add(count as u64);
        Ok(count)
    }

    /// Writes at the position, or at the end for `O_APPEND`, and moves it.
    ///
    /// # Errors
    /// `EBADF` when not open for writing; what the kind says.
    #[inline]
    pub fn write(&self, source: &mut IoSource<'_>) -> Result<usize> {
        if !self.mode.contains(FileMode::WRITE) {
            return Err(Errno::EBADF);
        }
        if self.mode.contains(FileMode::STREAM) {
            let result = self.operations.write_at(self, 0, source);
            return settle(result, source.transferred());
        }
        let mut position = self.position.lock();
        if self.flags().contains(OpenFlags::APPEND) {
            let (count, end) = self.operations.append(self, source)?;
            *position = end;
            return Ok(count);
        }
        let count = settle(self.operations.write_at(self, *position, source), source.transferred())?;
        *position = position.saturating_add(count as u64);
        Ok(count)
    }

    /// Reads at `offset`, leaving the position (`pread`).
    ///
    /// # Errors
    /// `ESPIPE` for a stream, `EBADF`; what the kind says.
    pub fn read_at(&self, offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        if !self.mode.contains(FileMode::SEEKABLE) {
            return Err(if self.mode.contains(FileMode::PATH) { Errno::EBADF } else { Errno::ESPIPE });
        }
        if !self.mode.contains(FileMode::READ) {
            return Err(Errno::EBADF);
        }
        settle(self.operations.read_at(self, offset, destination), destination.transferred())
    }

    /// Writes at `offset`, leaving the position; at the end for `O_APPEND`, as on Linux (`pwrite`).
    ///
    /// # Errors
    /// `ESPIPE` for a stream, `EBADF`; what the kind says.
    pub fn write_at(&self, offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        if !self.mode.contains(FileMode::SEEKABLE) {
            return Err(if self.mode.contains(FileMode::PATH) { Errno::EBADF } else { Errno::ESPIPE });
        }
        if !self.mode.contains(FileMode::WRITE) {
            return Err(Errno::EBADF);
        }
        if self.flags().contains(OpenFlags::APPEND) {
            return self.operations.append(self, source).map(|(count, _)| count);
        }
        settle(self.operations.write_at(self, offset, source), source.transferred())
    }

    /// Moves the position.
    ///
    /// # Errors
    /// `ESPIPE` for a stream; what the kind says.
    pub fn seek(&self, offset: i64, from: SeekFrom) -> Result<u64> {
        if !self.mode.contains(FileMode::SEEKABLE) {
            return Err(Errno::ESPIPE);
        }
        let mut position = self.position.lock();
        *position = self.operations.seek(self, *position, offset, from)?;
        Ok(*position)
    }

    /// Lists the directory from the position on and moves it.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` for a directory that was removed.
    pub fn read_directory(&self, sink: &mut dyn DirectorySink) -> Result<()> {
        let mut position = self.position.lock();
        self.operations.read_directory(self, &mut position, sink)
    }
}

/// An error after some bytes were moved becomes their number.
#[inline]
fn settle(result: Result<usize>, transferred: usize) -> Result<usize> {
    match result {
        Err(_) if transferred > 0 => Ok(transferred),
        other => other,
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.operations.release(self);
        if let Some(location) = &self.location {
            if self.mode.contains(FileMode::COUNTED_WRITER) {
                location.inode().header().end_writing();
            }
            super::lock::release_description(location.inode(), self.identity());
        }
    }
}

impl OpenFile {
    /// A number that no other open file has while this one is open: the owner of its locks.
    #[must_use]
    pub fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
}

impl core::fmt::Debug for OpenFile {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "OpenFile({:?}, {:?})", self.location, self.flags())
    }
}
