//! Moving bytes between files inside the kernel: `splice`, `tee`, `vmsplice`, `sendfile`.
//!
//! Bytes are copied through a buffer; pages do not change hands. What the target does not take is put back into a pipe, or stays
//! before the source's position, so that nothing is lost. A stream that is neither (a terminal, a socket) is read only after the pipe has room.

use super::file::{FileMode, OpenFile};
use super::io::{IoDestination, IoSource};
use super::pipe::ring::WriteKind;
use super::pipe::{Pipe, Waiting, pipe_of};
use super::types::OpenFlags;
use crate::base::{Errno, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes moved at a time.
const CHUNK: usize = 16 * 1024;

fn buffer(length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    Ok(bytes)
}

/// A file with the offset at which it is read or written; `None` means its own position.
#[derive(Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a Arc<OpenFile>,
    /// The offset.
    pub offset: Option<u64>,
}

impl Place<'_> {
    fn read(&self, bytes: &mut [u8]) -> Result<usize> {
        let mut destination = IoDestination::kernel(bytes);
        match self.offset {
            Some(offset) => self.file.read_at(offset, &mut destination),
            None if self.file.mode().contains(FileMode::SEEKABLE) => {
                self.file.read_at(self.file.position(), &mut destination)
            }
            None => self.file.read(&mut destination),
        }
    }

    /// Goes on by what was moved; a stream has gone on by itself.
    fn advance(&mut self, count: usize) {
        match &mut self.offset {
            Some(offset) => *offset = offset.saturating_add(count as u64),
            None if self.file.mode().contains(FileMode::SEEKABLE) => {
                self.file.set_position(self.file.position().saturating_add(count as u64));
            }
            None => {}
        }
    }

    /// Writes all of `bytes`; gives how many were written before an error, and the error.
    fn write(&mut self, bytes: &[u8]) -> (usize, Result<()>) {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let mut source = IoSource::kernel(rest);
            let result = match self.offset {
                Some(offset) => self.file.write_at(offset.saturating_add(done as u64), &mut source),
                None => self.file.write(&mut source),
            };
            match result {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) => return (done, Err(error)),
            }
        }
        if let Some(offset) = &mut self.offset {
            *offset = offset.saturating_add(done as u64);
        }
        (done, Ok(()))
    }
}

/// The number moved, or the error when none was.
fn settle(moved: usize, result: Result<()>) -> Result<usize> {
    match result {
        Err(error) if moved == 0 => Err(error),
        _ => Ok(moved),
    }
}

/// `sendfile`: from a file to anything that can be written.
///
/// # Errors
/// `EBADF`; `EINVAL` for a pipe or terminal as source, or a target in append mode; what reading and writing give.
pub fn send(mut source: Place<'_>, target: &Arc<OpenFile>, count: usize) -> Result<(usize, Option<u64>)> {
    if !source.file.mode().contains(FileMode::READ) || !target.mode().contains(FileMode::WRITE) {
        return Err(Errno::EBADF);
    }
    if !source.file.mode().contains(FileMode::SEEKABLE) {
        return Err(if source.offset.is_some() { Errno::ESPIPE } else { Errno::EINVAL });
    }
    if target.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let mut target = Place { file: target, offset: None };
    let mut bytes = buffer(count.min(CHUNK))?;
    let mut moved = 0;
    let mut result = Ok(());
    while moved < count && result.is_ok() {
        let wanted = (count - moved).min(bytes.len());
        let read = match source.read(bytes.get_mut(..wanted).ok_or(Errno::EFAULT)?) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                result = Err(error);
                break;
            }
        };
        let (written, outcome) = target.write(bytes.get(..read).unwrap_or(&[]));
        source.advance(written);
        moved += written;
        result = outcome;
        if written < read {
            break;
        }
    }
    Ok((settle(moved, result)?, source.offset))
}

/// `splice`: one end or both are pipes. Gives the number of bytes and the new offsets.
///
/// # Errors
/// `EBADF`; `ESPIPE` for an offset into a pipe; `EINVAL` without a pipe, with the same pipe twice, or for append mode; `EAGAIN`, `EPIPE`.
pub fn splice(
    mut source: Place<'_>,
    mut target: Place<'_>,
    count: usize,
    waiting: Waiting,
) -> Result<(usize, Option<u64>, Option<u64>)> {
    if !source.file.mode().contains(FileMode::READ) || !target.file.mode().contains(FileMode::WRITE) {
        return Err(Errno::EBADF);
    }
    let moved = match (pipe_of(source.file), pipe_of(target.file)) {
        (None, None) => return Err(Errno::EINVAL),
        (Some(_), _) if source.offset.is_some() => return Err(Errno::ESPIPE),
        (_, Some(_)) if target.offset.is_some() => return Err(Errno::ESPIPE),
        (Some(from), Some(to)) if Arc::ptr_eq(from, to) => return Err(Errno::EINVAL),
        (Some(from), _) => {
            if target.offset.is_some() && !target.file.mode().contains(FileMode::SEEKABLE) {
                return Err(Errno::EINVAL);
            }
            if target.file.flags().contains(OpenFlags::APPEND) {
                return Err(Errno::EINVAL);
            }
            let waiting = if source.file.is_non_blocking() { Waiting::Never } else { waiting };
            from_pipe(from, &mut target, count, waiting)?
        }
        (None, Some(to)) => {
            if source.offset.is_some() && !source.file.mode().contains(FileMode::SEEKABLE) {
                return Err(Errno::EINVAL);
            }
            let waiting = if target.file.is_non_blocking() { Waiting::Never } else { waiting };
            to_pipe(&mut source, to, count, waiting)?
        }
    };
    Ok((moved, source.offset, target.offset))
}

fn from_pipe(pipe: &Arc<Pipe>, target: &mut Place<'_>, count: usize, waiting: Waiting) -> Result<usize> {
    let mut bytes = buffer(count.min(CHUNK))?;
    let mut moved = 0;
    while moved < count {
        // Only the first bytes are waited for.
        let waiting = if moved == 0 { waiting } else { Waiting::Never };
        let wanted = (count - moved).min(bytes.len());
        let read = match pipe.read(&mut IoDestination::kernel(bytes.get_mut(..wanted).ok_or(Errno::EFAULT)?), waiting) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return settle(moved, Err(error)),
        };
        let (written, outcome) = target.write(bytes.get(..read).unwrap_or(&[]));
        moved += written;
        if written < read {
            pipe.put_back(bytes.get(written..read).unwrap_or(&[]));
            return settle(moved, outcome);
        }
    }
    Ok(moved)
}

fn to_pipe(source: &mut Place<'_>, pipe: &Arc<Pipe>, count: usize, waiting: Waiting) -> Result<usize> {
    let mut bytes = buffer(count.min(CHUNK))?;
    let mut moved = 0;
    while moved < count {
        let room = match pipe.wait_for_room(if moved == 0 { waiting } else { Waiting::Never }) {
            Ok(room) => room,
            Err(error) => return settle(moved, Err(error)),
        };
        let wanted = (count - moved).min(bytes.len()).min(room);
        let read = match source.read(bytes.get_mut(..wanted).ok_or(Errno::EFAULT)?) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return settle(moved, Err(error)),
        };
        // Another writer may have taken the room: then this one waits.
        let mut kernel = IoSource::kernel(bytes.get(..read).unwrap_or(&[]));
        let result = pipe.write(&mut kernel, Waiting::Allowed, WriteKind::Stream);
        let written = kernel.transferred();
        source.advance(written);
        moved += written;
        if written < read || !source.file.mode().contains(FileMode::SEEKABLE) {
            return settle(moved, result.map(|_| ()));
        }
    }
    Ok(moved)
}

/// `tee`: copies from one pipe to another without taking.
///
/// # Errors
/// `EBADF`; `EINVAL` unless both are pipes, and two; `EAGAIN`, `EPIPE`.
pub fn tee(source: &Arc<OpenFile>, target: &Arc<OpenFile>, count: usize, waiting: Waiting) -> Result<usize> {
    if !source.mode().contains(FileMode::READ) || !target.mode().contains(FileMode::WRITE) {
        return Err(Errno::EBADF);
    }
    let (Some(from), Some(to)) = (pipe_of(source), pipe_of(target)) else { return Err(Errno::EINVAL) };
    if Arc::ptr_eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let room = to.wait_for_room(waiting)?;
    let limit = count.min(room);
    let bytes = match (from.peek(limit), waiting) {
        (Some(bytes), _) => bytes?,
        (None, Waiting::Never) => return Err(Errno::EAGAIN),
        (None, Waiting::Allowed) => from.wait_readable(|| from.peek(limit))??,
    };
    to.write(&mut IoSource::kernel(&bytes), waiting, WriteKind::Stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::pipe;

    type Ends = (Arc<OpenFile>, Arc<OpenFile>);

    fn ends() -> Ends {
        pipe::create(0, 0, OpenFlags::NON_BLOCKING)
    }

    fn put(ends: &Ends, bytes: &[u8]) {
        ends.1.write(&mut IoSource::kernel(bytes)).unwrap();
    }

    fn get(ends: &Ends) -> Vec<u8> {
        let mut bytes = vec![0; 200_000];
        let count = ends.0.read(&mut IoDestination::kernel(&mut bytes)).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    const fn place(file: &Arc<OpenFile>) -> Place<'_> {
        Place { file, offset: None }
    }

    #[test]
    fn pipes_pass_bytes_on_and_keep_what_does_not_fit() {
        let (from, to) = (ends(), ends());
        put(&from, &[7; 60_000]);
        put(&to, &[8; 40_000]);
        let moved = splice(place(&from.0), place(&to.1), 60_000, Waiting::Never).unwrap().0;
        assert!(moved > 0 && moved < 60_000, "{moved}");
        assert_eq!(get(&to).len(), 40_000 + moved);
        assert_eq!(get(&from).len(), 60_000 - moved);
        assert_eq!(splice(place(&from.0), place(&to.1), 1, Waiting::Never).err(), Some(Errno::EAGAIN));
        assert_eq!(splice(place(&from.0), place(&from.1), 1, Waiting::Never).err(), Some(Errno::EINVAL));
    }

    #[test]
    fn tee_leaves_the_bytes() {
        let (from, to) = (ends(), ends());
        put(&from, b"hello");
        assert_eq!(tee(&from.0, &to.1, 4, Waiting::Never), Ok(4));
        assert_eq!((get(&from), get(&to)), (b"hello".to_vec(), b"hell".to_vec()));
        assert_eq!(tee(&from.0, &to.1, 4, Waiting::Never), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_pipe_is_no_source_for_sendfile() {
        let (from, to) = (ends(), ends());
        assert_eq!(send(place(&from.0), &to.1, 4).err(), Some(Errno::EINVAL));
        let offset = Place { file: &from.0, offset: Some(0) };
        assert_eq!(splice(offset, place(&to.1), 4, Waiting::Never).err(), Some(Errno::ESPIPE));
    }
}
