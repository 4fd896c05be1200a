//! System calls that move bytes through open files, and change their length.

use super::Call;
use super::argument::{Descriptor, Flags, PathPointer};
use super::path;
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::file::FileMode;
use crate::fs::signal_hook::{SIGXFSZ, send_to_current_thread};
use crate::fs::walk::LookupFlags;
use crate::fs::{FileDescriptor, FileType, IoDestination, IoSource, OpenFile, SeekFrom, open};
use crate::memory::user::{READ_WRITE_MAX, UserPointer, UserSlice, read_io_vectors};
use crate::process::resource_limits::{Resource, UNLIMITED};
use crate::security::Capability;
use alloc::sync::Arc;

#[inline]
fn file(call: &Call<'_>, descriptor: Descriptor) -> Result<Arc<OpenFile>> {
    call.thread.files().get(FileDescriptor(descriptor.0))
}

/// A buffer argument, cut off at what one call moves.
#[inline]
fn buffer(address: VirtualAddress, count: usize) -> Result<UserSlice> {
    if isize::try_from(count).is_err() {
        return Err(Errno::EINVAL);
    }
    let slice = UserSlice::new(address, count);
    slice.check()?;
    Ok(slice.take(READ_WRITE_MAX))
}

/// The offset of `pread` and its kin.
fn offset(position: i64) -> Result<u64> {
    u64::try_from(position).map_err(|_| Errno::EINVAL)
}

/// Holds a write to a regular file to `RLIMIT_FSIZE`.
fn limit_write(call: &Call<'_>, file: &OpenFile, position: Option<u64>, source: &mut IoSource<'_>) -> Result<()> {
    // A write of nothing is within every limit.
    if !file.mode().contains(FileMode::SEEKABLE) || source.remaining() == 0 {
        return Ok(());
    }
    let limit = call.process.limit(Resource::FileSize);
    if limit == UNLIMITED || file.inode().is_none_or(|inode| inode.header().file_type() != FileType::Regular) {
        return Ok(());
    }
    let appends = file.flags().contains(crate::fs::OpenFlags::APPEND);
    let size = || file.inode().map_or(0, |inode| inode.size());
    let start = if appends { size() } else { position.unwrap_or_else(|| file.position()) };
    if start >= limit {
        send_to_current_thread(SIGXFSZ);
        return Err(Errno::EFBIG);
    }
    source.limit(usize::try_from(limit - start).unwrap_or(usize::MAX));
    Ok(())
}

/// `read(2)`.
pub fn read(call: &mut Call<'_>, descriptor: Descriptor, address: VirtualAddress, count: usize) -> Result<usize> {
    let file = file(call, descriptor)?;
    if !file.mode().contains(FileMode::READ) {
        return Err(Errno::EBADF);
    }
    file.read(&mut IoDestination::user(buffer(address, count)?))
}

/// `write(2)`.
pub fn write(call: &mut Call<'_>, descriptor: Descriptor, address: VirtualAddress, count: usize) -> Result<usize> {
    let file = file(call, descriptor)?;
    if !file.mode().contains(FileMode::WRITE) {
        return Err(Errno::EBADF);
    }
    let mut source = IoSource::user(buffer(address, count)?);
    limit_write(call, &file, None, &mut source)?;
    file.write(&mut source)
}

/// `pread64(2)`.
pub fn pread64(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    address: VirtualAddress,
    count: usize,
    position: i64,
) -> Result<usize> {
    let position = offset(position)?;
    let file = file(call, descriptor)?;
    file.read_at(position, &mut IoDestination::user(buffer(address, count)?))
}

/// `pwrite64(2)`.
pub fn pwrite64(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    address: VirtualAddress,
    count: usize,
    position: i64,
) -> Result<usize> {
    let position = offset(position)?;
    let file = file(call, descriptor)?;
    let mut source = IoSource::user(buffer(address, count)?);
    limit_write(call, &file, Some(position), &mut source)?;
    file.write_at(position, &mut source)
}

/// `readv(2)`.
pub fn readv(call: &mut Call<'_>, descriptor: Descriptor, vectors: VirtualAddress, count: usize) -> Result<usize> {
    preadv2(call, descriptor, vectors, count, u64::MAX, 0, Flags(0))
}

/// `writev(2)`.
pub fn writev(call: &mut Call<'_>, descriptor: Descriptor, vectors: VirtualAddress, count: usize) -> Result<usize> {
    pwritev2(call, descriptor, vectors, count, u64::MAX, 0, Flags(0))
}

/// `preadv(2)`.
pub fn preadv(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    vectors: VirtualAddress,
    count: usize,
    low: u64,
    high: u64,
) -> Result<usize> {
    offset(low.cast_signed())?;
    preadv2(call, descriptor, vectors, count, low, high, Flags(0))
}

/// `pwritev(2)`.
pub fn pwritev(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    vectors: VirtualAddress,
    count: usize,
    low: u64,
    high: u64,
) -> Result<usize> {
    offset(low.cast_signed())?;
    pwritev2(call, descriptor, vectors, count, low, high, Flags(0))
}

/// `RWF_*`: high priority, data sync, sync, no waiting, append.
const HIGH_PRIORITY: u32 = 1;
const DATA_SYNC: u32 = 2;
const SYNC: u32 = 4;
const APPEND: u32 = 16;

fn check_flags(flags: Flags, known: u32) -> Result<()> {
    if flags.0 & !known != 0 { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

/// `preadv2(2)`: at the position where the offset is -1.
pub fn preadv2(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    vectors: VirtualAddress,
    count: usize,
    low: u64,
    _high: u64,
    flags: Flags,
) -> Result<usize> {
    let file = file(call, descriptor)?;
    check_flags(flags, HIGH_PRIORITY | DATA_SYNC | SYNC)?;
    if !file.mode().contains(FileMode::READ) {
        return Err(Errno::EBADF);
    }
    let slices = read_io_vectors(vectors, count)?;
    let mut destination = IoDestination::user_vectors(&slices);
    if low == u64::MAX {
        return file.read(&mut destination);
    }
    file.read_at(offset(low.cast_signed())?, &mut destination)
}

/// `pwritev2(2)`.
pub fn pwritev2(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    vectors: VirtualAddress,
    count: usize,
    low: u64,
    _high: u64,
    flags: Flags,
) -> Result<usize> {
    let file = file(call, descriptor)?;
    check_flags(flags, HIGH_PRIORITY | DATA_SYNC | SYNC | APPEND)?;
    if !file.mode().contains(FileMode::WRITE) {
        return Err(Errno::EBADF);
    }
    let slices = read_io_vectors(vectors, count)?;
    let mut source = IoSource::user_vectors(&slices);
    if low == u64::MAX {
        limit_write(call, &file, None, &mut source)?;
        if flags.0 & APPEND != 0 {
            return file.operations().append(&file, &mut source).map(|(count, _)| count);
        }
        return file.write(&mut source);
    }
    let position = offset(low.cast_signed())?;
    limit_write(call, &file, Some(position), &mut source)?;
    if flags.0 & APPEND != 0 {
        return file.operations().append(&file, &mut source).map(|(count, _)| count);
    }
    file.write_at(position, &mut source)
}

/// `lseek(2)`.
pub fn lseek(call: &mut Call<'_>, descriptor: Descriptor, offset: i64, whence: u32) -> Result<u64> {
    let file = file(call, descriptor)?;
    let from = match whence {
        0 => SeekFrom::Start,
        1 => SeekFrom::Current,
        2 => SeekFrom::End,
        3 => SeekFrom::Data,
        4 => SeekFrom::Hole,
        _ => return Err(Errno::EINVAL),
    };
    file.seek(offset, from)
}

fn length(length: i64) -> Result<u64> {
    u64::try_from(length).map_err(|_| Errno::EINVAL)
}

fn limit_length(call: &Call<'_>, length: u64) -> Result<()> {
    if length > call.process.limit(Resource::FileSize) {
        send_to_current_thread(SIGXFSZ);
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// `truncate(2)`.
pub fn truncate(call: &mut Call<'_>, path: PathPointer, new_length: i64) -> Result<()> {
    let new_length = length(new_length)?;
    let location = path::resolve(call, path::WORKING_DIRECTORY, path, LookupFlags::FOLLOW)?;
    limit_length(call, new_length)?;
    open::truncate(&location, new_length, &call.thread.credentials())
}

/// `ftruncate(2)`.
pub fn ftruncate(call: &mut Call<'_>, descriptor: Descriptor, new_length: i64) -> Result<()> {
    let new_length = length(new_length)?;
    let file = file(call, descriptor)?;
    let inode = file.inode().ok_or(Errno::EINVAL)?;
    if inode.header().file_type() != FileType::Regular || !file.mode().contains(FileMode::WRITE) {
        return Err(Errno::EINVAL);
    }
    limit_length(call, new_length)?;
    inode.truncate(new_length)?;
    if !call.thread.credentials().may(Capability::Fsetid) {
        inode.header().drop_set_id_bits();
    }
    Ok(())
}

/// `fallocate(2)`.
pub fn fallocate(call: &mut Call<'_>, descriptor: Descriptor, mode: Flags, start: i64, size: i64) -> Result<()> {
    let file = file(call, descriptor)?;
    let (start, size) = (length(start)?, length(size)?);
    if size == 0 {
        return Err(Errno::EINVAL);
    }
    const KEEP_SIZE: u32 = 1;
    const PUNCH_HOLE: u32 = 2;
    const KNOWN: u32 = 0x7f;
    if mode.0 & !KNOWN != 0 || (mode.0 & PUNCH_HOLE != 0 && mode.0 & KEEP_SIZE == 0) {
        return Err(Errno::EOPNOTSUPP);
    }
    if !file.mode().contains(FileMode::WRITE) {
        return Err(Errno::EBADF);
    }
    match file.file_type() {
        FileType::Fifo => return Err(Errno::ESPIPE),
        FileType::Directory => return Err(Errno::EISDIR),
        FileType::Regular | FileType::BlockDevice => {}
        _ => return Err(Errno::ENODEV),
    }
    let end = start.checked_add(size).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
    if mode.0 & KEEP_SIZE == 0 {
        limit_length(call, end)?;
    }
    file.operations().allocate(&file, mode.0, start, size)
}

/// `fsync(2)` and `fdatasync(2)`.
pub fn fsync(call: &mut Call<'_>, descriptor: Descriptor) -> Result<()> {
    let file = file(call, descriptor)?;
    file.operations().synchronise(&file)
}

/// `sync_file_range(2)`.
pub fn sync_file_range(call: &mut Call<'_>, descriptor: Descriptor, start: i64, size: i64, flags: Flags) -> Result<()> {
    if flags.0 & !7 != 0 {
        return Err(Errno::EINVAL);
    }
    length(start)?;
    length(size)?;
    let file = file(call, descriptor)?;
    match file.file_type() {
        FileType::Regular | FileType::BlockDevice | FileType::Directory | FileType::SymbolicLink => Ok(()),
        _ => Err(Errno::ESPIPE),
    }
}

/// `sync(2)`.
pub fn sync(call: &mut Call<'_>) -> Result<()> {
    for mount in call.thread.file_system().namespace().collect_mounts() {
        // `sync` reports nothing; what failed is the business of `fsync`.
        let _ = mount.superblock().file_system().synchronise();
    }
    Ok(())
}

/// `syncfs(2)`.
pub fn syncfs(call: &mut Call<'_>, descriptor: Descriptor) -> Result<()> {
    let file = file(call, descriptor)?;
    match file.location() {
        Some(location) => location.mount.superblock().file_system().synchronise(),
        None => Ok(()),
    }
}

/// `fadvise64(2)`: checked, and without effect where all files are in memory.
pub fn fadvise64(call: &mut Call<'_>, descriptor: Descriptor, _start: i64, size: i64, advice: i32) -> Result<()> {
    let file = file(call, descriptor)?;
    if file.file_type() == FileType::Fifo {
        return Err(Errno::ESPIPE);
    }
    if size < 0 || !(0..=5).contains(&advice) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// `readahead(2)`.
pub fn readahead(call: &mut Call<'_>, descriptor: Descriptor, _start: i64, _count: usize) -> Result<()> {
    let file = file(call, descriptor)?;
    if !file.mode().contains(FileMode::READ) {
        return Err(Errno::EBADF);
    }
    if !matches!(file.file_type(), FileType::Regular | FileType::BlockDevice) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// One end of a copy: the offset variable's value, or the file's position.
fn copy_offset(pointer: UserPointer<i64>) -> Result<Option<u64>> {
    pointer.read_optional()?.map(offset).transpose()
}

/// `copy_file_range(2)`.
pub fn copy_file_range(
    call: &mut Call<'_>,
    from: Descriptor,
    from_offset: UserPointer<i64>,
    to: Descriptor,
    to_offset: UserPointer<i64>,
    count: usize,
    flags: Flags,
) -> Result<usize> {
    let (source, target) = (file(call, from)?, file(call, to)?);
    let start = copy_offset(from_offset)?;
    let target_start = copy_offset(to_offset)?;
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    for file in [&source, &target] {
        match file.file_type() {
            FileType::Directory => return Err(Errno::EISDIR),
            FileType::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if !source.mode().contains(FileMode::READ)
        || !target.mode().contains(FileMode::WRITE)
        || target.flags().contains(crate::fs::OpenFlags::APPEND)
    {
        return Err(Errno::EBADF);
    }
    let mut from_position = start.unwrap_or_else(|| source.position());
    let mut to_position = target_start.unwrap_or_else(|| target.position());
    let same = match (source.inode(), target.inode()) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    let wanted = count.min(READ_WRITE_MAX);
    if same
        && from_position < to_position.saturating_add(wanted as u64)
        && to_position < from_position.saturating_add(wanted as u64)
    {
        return Err(Errno::EINVAL);
    }
    let mut staging = alloc::vec![0u8; wanted.min(64 * 1024)];
    let mut done = 0;
    while done < wanted {
        let step = staging.len().min(wanted - done);
        let piece = staging.get_mut(..step).ok_or(Errno::EINVAL)?;
        let read = source.read_at(from_position, &mut IoDestination::kernel(piece));
        let read = match read {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        let mut bytes = IoSource::kernel(staging.get(..read).unwrap_or_default());
        let written = limit_write(call, &target, Some(to_position), &mut bytes)
            .and_then(|()| target.write_at(to_position, &mut bytes));
        let written = match written {
            Ok(written) => written,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        done += written;
        from_position += written as u64;
        to_position += written as u64;
        if written < read {
            break;
        }
    }
    if start.is_some() {
        from_offset.write(&from_position.cast_signed())?;
    } else {
        source.set_position(from_position);
    }
    if target_start.is_some() {
        to_offset.write(&to_position.cast_signed())?;
    } else {
        target.set_position(to_position);
    }
    Ok(done)
}
