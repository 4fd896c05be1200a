//! Reading, writing, length.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Descriptor, Flags, PathPointer};
use crate::syscall::file;
use crate::syscall::names::file as file_names;

crate::system_call_rows! {
    /// Reads up to `count` bytes from an open file.
    /// EBADF: not open for reading. EFAULT: the buffer is not there. EISDIR: a directory. EAGAIN: it would have to wait and may not. EINTR: a signal came.
    read { x86_64: 0, aarch64: 63, needs: Nothing, support: Full } = file::read,
        (descriptor: Descriptor, buffer: VirtualAddress as FilledBytes, count: usize);
    /// Writes up to `count` bytes to an open file.
    /// EBADF: not open for writing. EFAULT: the buffer is not there. EFBIG: beyond RLIMIT_FSIZE. ENOSPC: full. EPIPE: nobody reads. EAGAIN, EINTR.
    write { x86_64: 1, aarch64: 64, needs: Nothing, support: Full } = file::write,
        (descriptor: Descriptor, buffer: VirtualAddress as Bytes, count: usize);
    /// Moves the position. ESPIPE: the file has none. EINVAL: before the beginning, or no such `whence`. ENXIO: no data or hole behind the offset.
    lseek { x86_64: 8, aarch64: 62, needs: Nothing, support: Full } = file::lseek,
        (descriptor: Descriptor, offset: i64, whence: u32 as Value(&file_names::WHENCE));
    /// Reads at an offset, leaving the position. ESPIPE: the file has none. EINVAL: the offset is negative.
    pread64 { x86_64: 17, aarch64: 67, needs: Nothing, support: Full } = file::pread64,
        (descriptor: Descriptor, buffer: VirtualAddress as FilledBytes, count: usize, offset: i64);
    /// Writes at an offset, leaving the position. ESPIPE: the file has none. EINVAL: the offset is negative.
    pwrite64 { x86_64: 18, aarch64: 68, needs: Nothing, support: Full } = file::pwrite64,
        (descriptor: Descriptor, buffer: VirtualAddress as Bytes, count: usize, offset: i64);
    /// Reads into several buffers. EINVAL: more than 1024 of them, or a negative length.
    readv { x86_64: 19, aarch64: 65, needs: Nothing, support: Full } = file::readv,
        (descriptor: Descriptor, vectors: VirtualAddress as FilledVectors, count: usize);
    /// Writes from several buffers. EINVAL: more than 1024 of them, or a negative length.
    writev { x86_64: 20, aarch64: 66, needs: Nothing, support: Full } = file::writev,
        (descriptor: Descriptor, vectors: VirtualAddress as Vectors, count: usize);
    /// Waits until a file is stored. EINVAL: the file has no storage.
    fsync { x86_64: 74, aarch64: 82, needs: Nothing, support: Full } = file::fsync, (descriptor: Descriptor);
    /// Waits until a file's data are stored. EINVAL: the file has no storage.
    fdatasync { x86_64: 75, aarch64: 83, needs: Nothing, support: Full } = file::fsync, (descriptor: Descriptor);
    /// Sets the length of the file at a path. EINVAL: negative, or no regular file. EISDIR. EACCES. EROFS. ETXTBSY: it is executed. EFBIG.
    truncate { x86_64: 76, aarch64: 45, needs: Nothing, support: Full } = file::truncate, (path: PathPointer, length: i64);
    /// Sets the length of an open file. EINVAL: negative, or not open for writing, or no regular file. EFBIG. EPERM: sealed.
    ftruncate { x86_64: 77, aarch64: 46, needs: Nothing, support: Full } = file::ftruncate, (descriptor: Descriptor, length: i64);
    /// Writes all file systems to their devices.
    sync { x86_64: 162, aarch64: 81, needs: Nothing, support: Full } = file::sync;
    /// Reads ahead. EINVAL: nothing that has pages. EBADF: not open for reading.
    readahead { x86_64: 187, aarch64: 213, needs: Nothing, support: Full } = file::readahead,
        (descriptor: Descriptor, offset: i64, count: usize);
    /// Announces how a file will be used. EINVAL: no such advice. ESPIPE: a pipe.
    fadvise64 { x86_64: 221, aarch64: 223, needs: Nothing, support: Full } = file::fadvise64,
        (descriptor: Descriptor, offset: i64, length: i64, advice: i32 as Value(&file_names::FILE_ADVICE));
    /// Writes a part of a file to its device. EINVAL: unknown flags. ESPIPE: nothing that has storage.
    sync_file_range { x86_64: 277, aarch64: 84, needs: Nothing, support: Full } = file::sync_file_range,
        (descriptor: Descriptor, offset: i64, length: i64, flags: Flags);
    /// Changes the space behind a file. EOPNOTSUPP: a mode other than plain, FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE. ENOSPC. EFBIG. ENODEV, ESPIPE, EISDIR: no regular file.
    fallocate { x86_64: 285, aarch64: 47, needs: Nothing, support: Full } = file::fallocate,
        (descriptor: Descriptor, mode: Flags as Bits(&file_names::ALLOCATE), offset: i64, length: i64);
    /// Reads into several buffers at an offset.
    preadv { x86_64: 295, aarch64: 69, needs: Nothing, support: Full } = file::preadv,
        (descriptor: Descriptor, vectors: VirtualAddress as FilledVectors, count: usize, offset: u64, high: u64);
    /// Writes from several buffers at an offset.
    pwritev { x86_64: 296, aarch64: 70, needs: Nothing, support: Full } = file::pwritev,
        (descriptor: Descriptor, vectors: VirtualAddress as Vectors, count: usize, offset: u64, high: u64);
    /// Writes one file system to its device.
    syncfs { x86_64: 306, aarch64: 267, needs: Nothing, support: Full } = file::syncfs, (descriptor: Descriptor);
    /// Copies bytes from one file to another. EISDIR, EINVAL: not two regular files, or the ranges overlap. EBADF: not open for it, or O_APPEND.
    copy_file_range { x86_64: 326, aarch64: 285, needs: Nothing, support: Full } = file::copy_file_range,
        (from: Descriptor, from_offset: UserPointer<i64> as Given(Structure::Offset), to: Descriptor, to_offset: UserPointer<i64> as Given(Structure::Offset), count: usize, flags: Flags);
    /// Reads into several buffers at an offset, or at the position for offset -1. EOPNOTSUPP: a flag that is not RWF_HIPRI, RWF_DSYNC or RWF_SYNC.
    preadv2 { x86_64: 327, aarch64: 286, needs: Nothing, support: Partial("RWF_NOWAIT is refused") } = file::preadv2,
        (descriptor: Descriptor, vectors: VirtualAddress as FilledVectors, count: usize, offset: u64, high: u64, flags: Flags as Bits(&file_names::READ_WRITE));
    /// Writes from several buffers at an offset, or at the position for offset -1. EOPNOTSUPP: a flag that is not RWF_HIPRI, RWF_DSYNC, RWF_SYNC or RWF_APPEND.
    pwritev2 { x86_64: 328, aarch64: 287, needs: Nothing, support: Partial("RWF_NOWAIT is refused") } = file::pwritev2,
        (descriptor: Descriptor, vectors: VirtualAddress as Vectors, count: usize, offset: u64, high: u64, flags: Flags as Bits(&file_names::READ_WRITE));
}
