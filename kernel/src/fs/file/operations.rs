//! What a kind of file does.
//!
//! [`FileOperations`] is implemented once per kind of file; [`OpenFile`] checks its mode, keeps the position and hands it down.

use super::OpenFile;
use super::asynchronous::{Listeners, NaturalOwner};
use crate::base::{Errno, Result};
use crate::fs::inode::DirectorySink;
use crate::fs::io::{IoDestination, IoSource};
use crate::fs::numbers;
use crate::fs::poll::{PollEvents, PollTable};
use crate::fs::types::{DeviceNumber, Metadata, OpenFlags, Timestamp};
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

/// What a kind of file is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileTraits {
    /// It has a position that can be set: regular files, directories, most memory devices.
    Seekable,
    /// It has no position: `lseek` and `pread` answer `ESPIPE`.
    Stream,
}

/// From where `lseek` counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekFrom {
    /// The beginning.
    Start,
    /// The present position.
    Current,
    /// The end.
    End,
    /// The next data at or after the offset.
    Data,
    /// The next hole at or after the offset.
    Hole,
}

/// What a kind of file does. A method that a kind does not have answers as Linux does for a file without that operation.
///
/// Offsets are those of the position or of `pread`; a stream is always given zero and ignores it.
pub trait FileOperations: Any + Send + Sync {
    /// Whether it has a position.
    fn traits(&self) -> FileTraits {
        FileTraits::Seekable
    }
    /// Reads from `offset` on into `destination`; gives the number of bytes, 0 at the end. An error after some bytes were moved is
    /// turned into their number by the caller.
    ///
    /// # Errors
    /// `EINVAL` for a kind that cannot be read, `EISDIR`, `EAGAIN`, `ERESTARTSYS`, `EFAULT`, `EIO`.
    fn read_at(&self, _file: &OpenFile, _offset: u64, _destination: &mut IoDestination<'_>) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// Writes `source` from `offset` on; gives the number of bytes.
    ///
    /// # Errors
    /// `EINVAL` for a kind that cannot be written, `EAGAIN`, `ERESTARTSYS`, `EFAULT`, `ENOSPC`, `EFBIG`, `EPIPE`.
    fn write_at(&self, _file: &OpenFile, _offset: u64, _source: &mut IoSource<'_>) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// Writes `source` at the end (`O_APPEND`), atomically to other appends; gives the number of bytes and the new position.
    ///
    /// # Errors
    /// As [`FileOperations::write_at`].
    fn append(&self, file: &OpenFile, source: &mut IoSource<'_>) -> Result<(usize, u64)> {
        Ok((self.write_at(file, 0, source)?, 0))
    }
    /// Which events there are now; registers the caller with the wait queues of those that it would wait for.
    fn poll(&self, _file: &OpenFile, _table: &mut PollTable) -> PollEvents {
        PollEvents::ALWAYS_READY
    }
    /// Whether there is anything to wait for; epoll refuses files without.
    fn can_poll(&self) -> bool {
        true
    }
    /// A control call.
    ///
    /// # Errors
    /// `ENOTTY` for a request that the kind does not have.
    fn ioctl(&self, _file: &OpenFile, _request: u32, _argument: u64) -> Result<u64> {
        Err(Errno::ENOTTY)
    }
    /// The length, for `SEEK_END`.
    fn size(&self, file: &OpenFile) -> u64 {
        file.location().map_or(0, |location| location.inode().size())
    }
    /// Moves the position for `lseek`; the default knows files with a size and no holes.
    ///
    /// # Errors
    /// `EINVAL` for a negative result, `ENXIO` past the data, `EOVERFLOW`.
    fn seek(&self, file: &OpenFile, position: u64, offset: i64, from: SeekFrom) -> Result<u64> {
        seek_in(position, offset, from, self.size(file))
    }
    /// Lists the directory from `position` on, leaving there where to go on.
    ///
    /// # Errors
    /// `ENOTDIR` for other kinds; `ENOENT` for a directory that was removed.
    fn read_directory(&self, _file: &OpenFile, _position: &mut u64, _sink: &mut dyn DirectorySink) -> Result<()> {
        Err(Errno::ENOTDIR)
    }
    /// Waits until what was written is stored.
    ///
    /// # Errors
    /// `EINVAL` for kinds without storage, `EIO`.
    fn synchronise(&self, _file: &OpenFile) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// The memory behind the file, for `mmap`; called once per mapping.
    ///
    /// # Errors
    /// `ENODEV` for a kind that cannot be mapped.
    fn memory_object(&self, _file: &OpenFile) -> Result<Arc<dyn crate::memory::object::MemoryObject>> {
        Err(Errno::ENODEV)
    }
    /// Changes the space behind the range (`fallocate(2)`, `mode` as given).
    ///
    /// # Errors
    /// `ENODEV` for kinds without, `EOPNOTSUPP` for a mode, `ENOSPC`, `EFBIG`.
    fn allocate(&self, _file: &OpenFile, _mode: u32, _offset: u64, _length: u64) -> Result<()> {
        Err(Errno::ENODEV)
    }
    /// The file in place of a nameless one's inode: what `fstat` tells where there is no location.
    fn metadata(&self, _file: &OpenFile) -> Metadata {
        anonymous_metadata(0o600)
    }
    /// What `/proc/PID/fd/N` shows where there is no location, such as `pipe:[7]`.
    fn describe(&self) -> String {
        String::from("anon_inode:[file]")
    }
    /// Opens the same object again (through `/proc/PID/fd/N`), where there is no location.
    ///
    /// # Errors
    /// `ENXIO` for kinds that cannot be.
    fn reopen(&self, _flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ENXIO)
    }
    /// The status flags are about to become `flags` (`F_SETFL`).
    ///
    /// # Errors
    /// `EINVAL` for one that the kind does not take.
    fn change_flags(&self, _file: &OpenFile, _flags: OpenFlags) -> Result<()> {
        Ok(())
    }
    /// Those who hear by signal of what can be read and what can be written; none of a kind that does not tell.
    ///
    /// # Errors
    /// `ENOTTY` for a terminal's that was hung up.
    fn listeners(&self) -> Result<[Option<&Listeners>; 2]> {
        Ok([None, None])
    }
    /// Who is told by signal where nobody was named.
    fn natural_owner(&self) -> NaturalOwner {
        NaturalOwner::Nobody
    }
    /// The capacity of a pipe (`F_GETPIPE_SZ`).
    ///
    /// # Errors
    /// `EBADF` for what is none.
    fn pipe_size(&self) -> Result<usize> {
        Err(Errno::EBADF)
    }
    /// Changes the capacity of a pipe (`F_SETPIPE_SZ`); gives the new one.
    ///
    /// # Errors
    /// `EBADF` for what is none, `EBUSY`, `EPERM`, `EINVAL`.
    fn set_pipe_size(&self, _size: usize) -> Result<usize> {
        Err(Errno::EBADF)
    }
    /// The seals (`F_GET_SEALS`).
    ///
    /// # Errors
    /// `EINVAL` for what cannot be sealed.
    fn seals(&self) -> Result<u32> {
        Err(Errno::EINVAL)
    }
    /// Adds seals (`F_ADD_SEALS`).
    ///
    /// # Errors
    /// `EINVAL` for what cannot be sealed, `EPERM` when sealed against it, `EBUSY`.
    fn add_seals(&self, _seals: u32) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// A descriptor of the file is closed; others may remain.
    fn flush(&self, _file: &OpenFile) {}
    /// The last reference to the open file is gone.
    fn release(&self, _file: &OpenFile) {}
}

/// `lseek` over `size` bytes without holes.
///
/// # Errors
/// `EINVAL` for a negative result or one that does not fit, `ENXIO` for data or a hole past the end, `EOVERFLOW`.
pub fn seek_in(position: u64, offset: i64, from: SeekFrom, size: u64) -> Result<u64> {
    let base = match from {
        SeekFrom::Start => 0,
        SeekFrom::Current => position,
        SeekFrom::End => size,
        SeekFrom::Data | SeekFrom::Hole => {
            let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            if offset >= size {
                return Err(Errno::ENXIO);
            }
            return Ok(if from == SeekFrom::Data { offset } else { size });
        }
    };
    let base = i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?;
    let target = base.checked_add(offset).ok_or(Errno::EINVAL)?;
    u64::try_from(target).map_err(|_| Errno::EINVAL)
}

/// What `fstat` tells of a file that only the kernel has made: anonymous inode, permissions `mode` (with type bits or none).
#[must_use]
pub fn anonymous_metadata(mode: u32) -> Metadata {
    static NUMBER: spin::Once<u64> = spin::Once::new();
    static DEVICE: spin::Once<DeviceNumber> = spin::Once::new();
    Metadata {
        device: *DEVICE.call_once(numbers::next_anonymous_device),
        inode: *NUMBER.call_once(numbers::next_inode_number),
        mode,
        links: 1,
        uid: 0,
        gid: 0,
        device_id: DeviceNumber::default(),
        size: 0,
        block_size: 4096,
        blocks: 0,
        accessed: Timestamp::default(),
        modified: Timestamp::default(),
        changed: Timestamp::default(),
        created: Timestamp::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_checks_its_ends() {
        assert_eq!(seek_in(10, -11, SeekFrom::Current, 0), Err(Errno::EINVAL));
        assert_eq!(seek_in(10, -10, SeekFrom::Current, 0), Ok(0));
        assert_eq!(seek_in(0, i64::MAX, SeekFrom::End, 5), Err(Errno::EINVAL));
        assert_eq!(seek_in(0, 4, SeekFrom::Data, 5), Ok(4));
        assert_eq!(seek_in(0, 4, SeekFrom::Hole, 5), Ok(5));
        assert_eq!(seek_in(0, 5, SeekFrom::Hole, 5), Err(Errno::ENXIO));
    }
}
