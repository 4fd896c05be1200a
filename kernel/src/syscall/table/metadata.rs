//! What a file is: status, permissions, owner, times.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Descriptor, Flags, ModeBits, PathPointer};
use crate::syscall::metadata;
use crate::syscall::names::file as file_names;
use crate::syscall::time_values::{TimeSpecification, TimeValue};

crate::system_call_rows! {
    /// Shows the status of the file at a path. ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, EFAULT.
    stat { x86_64: 4, aarch64: none, needs: Nothing, support: Full } = metadata::stat, (path: PathPointer, status: VirtualAddress as Filled(Structure::Status));
    /// Shows the status of an open file. EBADF, EFAULT.
    fstat { x86_64: 5, aarch64: 80, needs: Nothing, support: Full } = metadata::fstat, (descriptor: Descriptor, status: VirtualAddress as Filled(Structure::Status));
    /// Shows the status of the file at a path, of a symbolic link itself.
    lstat { x86_64: 6, aarch64: none, needs: Nothing, support: Full } = metadata::lstat, (path: PathPointer, status: VirtualAddress as Filled(Structure::Status));
    /// Changes permissions. EPERM: not the owner's. EROFS.
    chmod { x86_64: 90, aarch64: none, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::chmod,
        (path: PathPointer, mode: ModeBits);
    /// Changes permissions of an open file.
    fchmod { x86_64: 91, aarch64: 52, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::fchmod,
        (descriptor: Descriptor, mode: ModeBits);
    /// Changes owner and group. EPERM: not permitted. EROFS.
    chown { x86_64: 92, aarch64: none, needs: Conditional(&[Capability::Chown]), support: Full } = metadata::chown,
        (path: PathPointer, uid: u32 as UserId, gid: u32 as UserId);
    /// Changes owner and group of an open file.
    fchown { x86_64: 93, aarch64: 55, needs: Conditional(&[Capability::Chown]), support: Full } = metadata::fchown,
        (descriptor: Descriptor, uid: u32 as UserId, gid: u32 as UserId);
    /// Changes owner and group, of a symbolic link itself.
    lchown { x86_64: 94, aarch64: none, needs: Conditional(&[Capability::Chown]), support: Full } = metadata::lchown,
        (path: PathPointer, uid: u32 as UserId, gid: u32 as UserId);
    /// Sets which permissions new files do not get; gives the old mask.
    umask { x86_64: 95, aarch64: 166, needs: Nothing, support: Full } = metadata::umask, (mask: ModeBits);
    /// Sets a file's times, in seconds.
    utime { x86_64: 132, aarch64: none, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::utime,
        (path: PathPointer, times: UserPointer<[i64; 2]>);
    /// Shows a file system's space.
    statfs { x86_64: 137, aarch64: 43, needs: Nothing, support: Full } = metadata::statfs, (path: PathPointer, status: VirtualAddress);
    /// Shows the space of an open file's file system.
    fstatfs { x86_64: 138, aarch64: 44, needs: Nothing, support: Full } = metadata::fstatfs,
        (descriptor: Descriptor, status: VirtualAddress);
    /// Sets a file's times, in microseconds.
    utimes { x86_64: 235, aarch64: none, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::utimes,
        (path: PathPointer, times: UserPointer<[TimeValue; 2]>);
    /// Changes owner and group, from a directory.
    fchownat { x86_64: 260, aarch64: 54, needs: Conditional(&[Capability::Chown]), support: Full } = metadata::fchownat,
        (descriptor: Descriptor, path: PathPointer, uid: u32 as UserId, gid: u32 as UserId, flags: Flags as Bits(&file_names::AT));
    /// Sets a file's times, from a directory, in microseconds.
    futimesat { x86_64: 261, aarch64: none, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::futimesat,
        (descriptor: Descriptor, path: PathPointer, times: UserPointer<[TimeValue; 2]>);
    /// Shows the status of a file, from a directory.
    newfstatat { x86_64: 262, aarch64: 79, needs: Nothing, support: Full } = metadata::newfstatat,
        (descriptor: Descriptor, path: PathPointer, status: VirtualAddress as Filled(Structure::Status), flags: Flags as Bits(&file_names::AT));
    /// Changes permissions, from a directory.
    fchmodat { x86_64: 268, aarch64: 53, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::fchmodat,
        (descriptor: Descriptor, path: PathPointer, mode: ModeBits);
    /// Sets a file's times, from a directory, in nanoseconds. EINVAL: nanoseconds out of range. EPERM, EACCES: not permitted.
    utimensat { x86_64: 280, aarch64: 88, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::utimensat,
        (descriptor: Descriptor, path: PathPointer, times: UserPointer<[TimeSpecification; 2]>, flags: Flags as Bits(&file_names::AT));
    /// Shows the extended status of a file.
    statx { x86_64: 332, aarch64: 291, needs: Nothing, support: Full } = metadata::statx,
        (descriptor: Descriptor, path: PathPointer, flags: Flags as Bits(&file_names::AT_STATX), mask: Flags as Bits(&file_names::STATX_MASK), status: VirtualAddress as Filled(Structure::ExtendedStatus));
    /// Changes permissions, from a directory, with flags.
    fchmodat2 { x86_64: 452, aarch64: 452, needs: Conditional(&[Capability::Fowner]), support: Full } = metadata::fchmodat2,
        (descriptor: Descriptor, path: PathPointer, mode: ModeBits, flags: Flags as Bits(&file_names::AT));
}
