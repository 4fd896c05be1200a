//! Paths, directories, attributes and mounts.
#![allow(unsafe_code, reason = "calls of the C library with strings and slices")]

use super::prototypes::prototypes;
use super::{Errno, Returned};
use std::ffi::CStr;

pub use super::prototypes::c;

prototypes! {
    /// `open(2)`; the mode is looked at where a file is made.
    fn open(path: &CStr, flags: i32, mode: u32) -> i32;
    /// `openat(2)`.
    fn openat(directory: i32, path: &CStr, flags: i32, mode: u32) -> i32;
    /// `memfd_create(2)`.
    fn memfd_create(name: &CStr, flags: u32) -> i32;
    /// `truncate(2)`.
    fn truncate(path: &CStr, length: i64) -> i32;
    /// `access(2)`.
    fn access(path: &CStr, mode: i32) -> i32;
    /// `faccessat(2)`.
    fn faccessat(directory: i32, path: &CStr, mode: i32, flags: i32) -> i32;
    /// `chmod(2)`.
    fn chmod(path: &CStr, mode: u32) -> i32;
    /// `fchmod(2)`.
    fn fchmod(descriptor: i32, mode: u32) -> i32;
    /// `fchmodat(2)`.
    fn fchmodat(directory: i32, path: &CStr, mode: u32, flags: i32) -> i32;
    /// `chown(2)`.
    fn chown(path: &CStr, user: u32, group: u32) -> i32;
    /// `fchownat(2)`.
    fn fchownat(directory: i32, path: &CStr, user: u32, group: u32, flags: i32) -> i32;
    /// `lstat(2)`.
    fn lstat(path: &CStr, status: &mut libc::stat) -> i32;
    /// `fstat(2)`.
    fn fstat(descriptor: i32, status: &mut libc::stat) -> i32;
    /// `fstatat(2)`.
    fn fstatat(directory: i32, path: &CStr, status: &mut libc::stat, flags: i32) -> i32;
    /// `statx(2)`.
    fn statx(directory: i32, path: &CStr, flags: i32, mask: u32, status: &mut libc::statx) -> i32;
    /// `link(2)`.
    fn link(from: &CStr, to: &CStr) -> i32;
    /// `linkat(2)`.
    fn linkat(from_directory: i32, from: &CStr, to_directory: i32, to: &CStr, flags: i32) -> i32;
    /// `symlink(2)`.
    fn symlink(target: &CStr, path: &CStr) -> i32;
    /// `symlinkat(2)`.
    fn symlinkat(target: &CStr, directory: i32, path: &CStr) -> i32;
    /// `rename(2)`.
    fn rename(from: &CStr, to: &CStr) -> i32;
    /// `renameat(2)`.
    fn renameat(from_directory: i32, from: &CStr, to_directory: i32, to: &CStr) -> i32;
    /// `unlink(2)`.
    fn unlink(path: &CStr) -> i32;
    /// `unlinkat(2)`.
    fn unlinkat(directory: i32, path: &CStr, flags: i32) -> i32;
    /// `mkdir(2)`.
    fn mkdir(path: &CStr, mode: u32) -> i32;
    /// `mkdirat(2)`.
    fn mkdirat(directory: i32, path: &CStr, mode: u32) -> i32;
    /// `rmdir(2)`.
    fn rmdir(path: &CStr) -> i32;
    /// `mknod(2)`.
    fn mknod(path: &CStr, mode: u32, device: u64) -> i32;
    /// `mkfifo(3)`.
    fn mkfifo(path: &CStr, mode: u32) -> i32;
    /// `chdir(2)`.
    fn chdir(path: &CStr) -> i32;
    /// `chroot(2)`.
    fn chroot(path: &CStr) -> i32;
    /// `umount2(2)`.
    fn umount2(path: &CStr, flags: i32) -> i32;
    /// `unshare(2)`.
    fn unshare(flags: i32) -> i32;
    /// `removexattr(2)`.
    fn removexattr(path: &CStr, name: &CStr) -> i32;
}

/// `mount(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    options: Option<&CStr>,
) -> Result<i32, Errno> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: strings that end in NUL, or null pointers where the call allows them.
    unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(options).cast()) }.check()
}

/// `umask(2)`, which always works: the old mask.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: a number.
    unsafe { libc::umask(mask) }
}

/// `utimensat(2)`: access and modification time.
///
/// # Errors
/// As the kernel gives them.
pub fn utimensat(directory: i32, path: &CStr, times: &[libc::timespec; 2], flags: i32) -> Result<i32, Errno> {
    // SAFETY: a string that ends in NUL, and two times.
    unsafe { libc::utimensat(directory, path.as_ptr(), times.as_ptr(), flags) }.check()
}

/// `readlink(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn readlink(path: &CStr, buffer: &mut [u8]) -> Result<isize, Errno> {
    // SAFETY: a string that ends in NUL, and a buffer with its length.
    unsafe { libc::readlink(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }.check()
}

/// `setxattr(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn setxattr(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Result<i32, Errno> {
    // SAFETY: strings that end in NUL, and bytes with their length.
    unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) }.check()
}

/// `getxattr(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn getxattr(path: &CStr, name: &CStr, buffer: &mut [u8]) -> Result<isize, Errno> {
    // SAFETY: strings that end in NUL, and a buffer with its length.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }.check()
}

/// `listxattr(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn listxattr(path: &CStr, buffer: &mut [u8]) -> Result<isize, Errno> {
    // SAFETY: a string that ends in NUL, and a buffer with its length.
    unsafe { libc::listxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }.check()
}
