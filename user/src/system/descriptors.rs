//! Reading, writing and copying descriptors.
#![allow(unsafe_code, reason = "calls of the C library with slices")]

use super::prototypes::prototypes;
use super::{Errno, Returned};
use std::io::{IoSlice, IoSliceMut};

prototypes! {
    /// `close(2)`.
    fn close(descriptor: i32) -> i32;
    /// `dup(2)`.
    fn dup(descriptor: i32) -> i32;
    /// `dup2(2)`.
    fn dup2(descriptor: i32, target: i32) -> i32;
    /// `dup3(2)`.
    fn dup3(descriptor: i32, target: i32, flags: i32) -> i32;
    /// `lseek(2)`.
    fn lseek(descriptor: i32, offset: i64, whence: i32) -> i64;
    /// `ftruncate(2)`.
    fn ftruncate(descriptor: i32, length: i64) -> i32;
    /// `fallocate(2)`.
    fn fallocate(descriptor: i32, mode: i32, offset: i64, length: i64) -> i32;
    /// `flock(2)`.
    fn flock(descriptor: i32, operation: i32) -> i32;
    /// `sendfile(2)`.
    fn sendfile(to: i32, from: i32, offset: Option<&mut i64>, length: usize) -> isize;
    /// `splice(2)`.
    fn splice(from: i32, from_offset: Option<&mut i64>, to: i32, to_offset: Option<&mut i64>, length: usize, flags: u32) -> isize;
    /// `tee(2)`.
    fn tee(from: i32, to: i32, length: usize, flags: u32) -> isize;
}

/// `read(2)` into the whole of `buffer`.
///
/// # Errors
/// As the kernel gives them.
pub fn read(descriptor: i32, buffer: &mut [u8]) -> Result<isize, Errno> {
    // SAFETY: the buffer is borrowed for the call, with its length.
    unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), buffer.len()) }.check()
}

/// `write(2)` of all `bytes`.
///
/// # Errors
/// As the kernel gives them.
pub fn write(descriptor: i32, bytes: &[u8]) -> Result<isize, Errno> {
    // SAFETY: the bytes are borrowed for the call, with their length.
    unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) }.check()
}

/// `pread(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn pread(descriptor: i32, buffer: &mut [u8], offset: i64) -> Result<isize, Errno> {
    // SAFETY: the buffer is borrowed for the call, with its length.
    unsafe { libc::pread(descriptor, buffer.as_mut_ptr().cast(), buffer.len(), offset) }.check()
}

/// `pwrite(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn pwrite(descriptor: i32, bytes: &[u8], offset: i64) -> Result<isize, Errno> {
    // SAFETY: the bytes are borrowed for the call, with their length.
    unsafe { libc::pwrite(descriptor, bytes.as_ptr().cast(), bytes.len(), offset) }.check()
}

/// `writev(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn writev(descriptor: i32, parts: &[IoSlice<'_>]) -> Result<isize, Errno> {
    // SAFETY: an `IoSlice` is an `iovec` of borrowed bytes.
    unsafe { libc::writev(descriptor, parts.as_ptr().cast(), parts.len() as i32) }.check()
}

/// `pwritev(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn pwritev(descriptor: i32, parts: &[IoSlice<'_>], offset: i64) -> Result<isize, Errno> {
    // SAFETY: an `IoSlice` is an `iovec` of borrowed bytes.
    unsafe { libc::pwritev(descriptor, parts.as_ptr().cast(), parts.len() as i32, offset) }.check()
}

/// `preadv(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn preadv(descriptor: i32, parts: &mut [IoSliceMut<'_>], offset: i64) -> Result<isize, Errno> {
    // SAFETY: an `IoSliceMut` is an `iovec` of a buffer that is borrowed for the call.
    unsafe { libc::preadv(descriptor, parts.as_ptr().cast(), parts.len() as i32, offset) }.check()
}

/// `pipe2(2)`: the end to read from and the end to write to.
///
/// # Errors
/// As the kernel gives them.
pub fn pipe2(flags: i32) -> Result<[i32; 2], Errno> {
    let mut ends = [0; 2];
    // SAFETY: a place for two descriptors.
    unsafe { libc::pipe2(ends.as_mut_ptr(), flags) }.check()?;
    Ok(ends)
}

/// A pipe that blocks; both ends are -1 where there is none.
#[must_use]
pub fn pipe() -> [i32; 2] {
    pipe2(0).unwrap_or([-1; 2])
}

/// `getrandom(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn getrandom(buffer: &mut [u8], flags: u32) -> Result<isize, Errno> {
    // SAFETY: the buffer is borrowed for the call, with its length.
    unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), flags) }.check()
}
