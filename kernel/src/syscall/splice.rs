//! System calls that move bytes between files inside the kernel.

use super::Call;
use super::argument::{Descriptor, Flags};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::file::FileMode;
use crate::fs::pipe::ring::WriteKind;
use crate::fs::pipe::{Waiting, pipe_of};
use crate::fs::splice::{self as splicing, Place};
use crate::fs::{FileDescriptor, IoDestination, IoSource, OpenFile};
use crate::memory::user::{READ_WRITE_MAX, UserPointer, read_io_vectors};
use alloc::sync::Arc;

const MOVE: u32 = 1;
const NON_BLOCKING: u32 = 2;
const MORE: u32 = 4;
const GIFT: u32 = 8;

fn file(call: &Call<'_>, descriptor: Descriptor) -> Result<Arc<OpenFile>> {
    call.thread.files().get(FileDescriptor(descriptor.0))
}

fn waiting(flags: Flags) -> Result<Waiting> {
    if flags.0 & !(MOVE | NON_BLOCKING | MORE | GIFT) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(if flags.0 & NON_BLOCKING != 0 { Waiting::Never } else { Waiting::Allowed })
}

fn offset(pointer: UserPointer<i64>) -> Result<Option<u64>> {
    pointer.read_optional()?.map(|offset| u64::try_from(offset).map_err(|_| Errno::EINVAL)).transpose()
}

fn store(pointer: UserPointer<i64>, offset: Option<u64>) -> Result<()> {
    match offset {
        Some(offset) => pointer.write(&offset.cast_signed()),
        None => Ok(()),
    }
}

/// `splice`.
///
/// # Errors
/// See [`splicing::splice`]; `EINVAL` for an unknown flag, `EFAULT`.
pub fn splice(
    call: &mut Call<'_>,
    source: Descriptor,
    source_offset: UserPointer<i64>,
    target: Descriptor,
    target_offset: UserPointer<i64>,
    length: usize,
    flags: Flags,
) -> Result<usize> {
    if length == 0 {
        return Ok(0);
    }
    let waiting = waiting(flags)?;
    let (from, to) = (file(call, source)?, file(call, target)?);
    // An offset into a pipe is refused before it is read.
    if (pipe_of(&from).is_some() && !source_offset.is_null()) || (pipe_of(&to).is_some() && !target_offset.is_null()) {
        return Err(Errno::ESPIPE);
    }
    let from = Place { file: &from, offset: offset(source_offset)? };
    let to = Place { file: &to, offset: offset(target_offset)? };
    let (count, from, to) = splicing::splice(from, to, length.min(READ_WRITE_MAX), waiting)?;
    store(source_offset, from)?;
    store(target_offset, to)?;
    Ok(count)
}

/// `tee`.
///
/// # Errors
/// See [`splicing::tee`]; `EINVAL` for an unknown flag.
pub fn tee(call: &mut Call<'_>, source: Descriptor, target: Descriptor, length: usize, flags: Flags) -> Result<usize> {
    let waiting = waiting(flags)?;
    if length == 0 {
        return Ok(0);
    }
    splicing::tee(&file(call, source)?, &file(call, target)?, length.min(READ_WRITE_MAX), waiting)
}

/// `vmsplice`: copies between user memory and a pipe.
///
/// # Errors
/// `EBADF` for what is no pipe; `EINVAL` for an unknown flag or too many buffers; `EAGAIN`, `EPIPE`, `EFAULT`.
pub fn vmsplice(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    vectors: VirtualAddress,
    count: usize,
    flags: Flags,
) -> Result<usize> {
    let waiting = waiting(flags)?;
    let file = file(call, descriptor)?;
    let pipe = pipe_of(&file).ok_or(Errno::EBADF)?;
    let slices = read_io_vectors(vectors, count)?;
    let waiting = if file.is_non_blocking() { Waiting::Never } else { waiting };
    if file.mode().contains(FileMode::WRITE) {
        let mut source = IoSource::user_vectors(&slices);
        let result = pipe.write(&mut source, waiting, WriteKind::Stream);
        if source.transferred() > 0 { Ok(source.transferred()) } else { result }
    } else {
        let mut destination = IoDestination::user_vectors(&slices);
        let result = pipe.read(&mut destination, waiting);
        if destination.transferred() > 0 { Ok(destination.transferred()) } else { result }
    }
}

/// `sendfile`.
///
/// # Errors
/// See [`splicing::send`]; `EINVAL` for a negative offset, `EFAULT`.
pub fn sendfile(
    call: &mut Call<'_>,
    target: Descriptor,
    source: Descriptor,
    source_offset: UserPointer<i64>,
    count: usize,
) -> Result<usize> {
    let (from, to) = (file(call, source)?, file(call, target)?);
    let from = Place { file: &from, offset: offset(source_offset)? };
    let (count, from) = splicing::send(from, &to, count.min(READ_WRITE_MAX))?;
    store(source_offset, from)?;
    Ok(count)
}
