//! Opening and finding files.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::{Descriptor, Flags, ModeBits, PathPointer};
use crate::syscall::names::file as file_names;
use crate::syscall::path::{self, OpenHow};

crate::system_call_rows! {
    /// Opens a file.
    /// ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG: by the path. EEXIST: with O_CREAT and O_EXCL. EISDIR, EROFS, ETXTBSY: it cannot be written. EMFILE. ENXIO: no such device, or a FIFO without reader.
    open { x86_64: 2, aarch64: none, needs: Nothing, support: Full } = path::open, (path: PathPointer, flags: Flags as Bits(&file_names::OPEN), mode: ModeBits as CreationMode);
    /// Asks for access with the real IDs. EACCES: refused. EROFS: asked to write. EINVAL: no such access.
    access { x86_64: 21, aarch64: none, needs: Nothing, support: Full } = path::access, (path: PathPointer, mode: i32 as Bits(&file_names::ACCESS));
    /// Shows the working directory. ERANGE: the buffer is too small. ENOENT: it was removed.
    getcwd { x86_64: 79, aarch64: 17, needs: Nothing, support: Full } = path::getcwd, (buffer: VirtualAddress as FilledBytes, size: usize);
    /// Changes the working directory. ENOENT, ENOTDIR, EACCES.
    chdir { x86_64: 80, aarch64: 49, needs: Nothing, support: Full } = path::chdir, (path: PathPointer);
    /// Changes the working directory to an open one. ENOTDIR, EACCES, EBADF.
    fchdir { x86_64: 81, aarch64: 50, needs: Nothing, support: Full } = path::fchdir, (descriptor: Descriptor);
    /// Makes a file, or empties it.
    creat { x86_64: 85, aarch64: none, needs: Nothing, support: Full } = path::creat, (path: PathPointer, mode: ModeBits);
    /// Shows a symbolic link's text. EINVAL: no link, or no room.
    readlink { x86_64: 89, aarch64: none, needs: Nothing, support: Full } = path::readlink,
        (path: PathPointer, buffer: VirtualAddress as FilledBytes, size: i32);
    /// Changes the root directory. EPERM: without CAP_SYS_CHROOT. ENOENT, ENOTDIR, EACCES.
    chroot { x86_64: 161, aarch64: 51, needs: Conditional(&[Capability::SysChroot]), support: Full } = path::chroot, (path: PathPointer);
    /// Opens a file, from a directory. As open; EBADF: the path is relative and the descriptor is not open.
    openat { x86_64: 257, aarch64: 56, needs: Nothing, support: Full } = path::openat,
        (descriptor: Descriptor, path: PathPointer, flags: Flags as Bits(&file_names::OPEN), mode: ModeBits as CreationMode);
    /// Shows a symbolic link's text, from a directory. EINVAL: no link, or no room.
    readlinkat { x86_64: 267, aarch64: 78, needs: Nothing, support: Full } = path::readlinkat,
        (descriptor: Descriptor, path: PathPointer, buffer: VirtualAddress as FilledBytes, size: i32);
    /// Asks for access with the real IDs, from a directory.
    faccessat { x86_64: 269, aarch64: 48, needs: Nothing, support: Full } = path::faccessat,
        (descriptor: Descriptor, path: PathPointer, mode: i32 as Bits(&file_names::ACCESS));
    /// Opens a file with a confined walk. EXDEV: RESOLVE_BENEATH or RESOLVE_NO_XDEV. ELOOP: RESOLVE_NO_SYMLINKS or RESOLVE_NO_MAGICLINKS. E2BIG: the structure has fields that are not known. EINVAL: unknown flags.
    openat2 { x86_64: 437, aarch64: 437, needs: Nothing, support: Full } = path::openat2,
        (descriptor: Descriptor, path: PathPointer, how: UserPointer<OpenHow>, size: usize);
    /// Asks for access, with the effective IDs for AT_EACCESS.
    faccessat2 { x86_64: 439, aarch64: 439, needs: Nothing, support: Full } = path::faccessat2,
        (descriptor: Descriptor, path: PathPointer, mode: i32 as Bits(&file_names::ACCESS), flags: Flags as Bits(&file_names::AT_ACCESS));
}
