//! Directories: making, linking, removing, renaming, listing.

use crate::base::VirtualAddress;
use crate::security::Capability;
use crate::syscall::argument::{Descriptor, Flags, ModeBits, PathPointer};
use crate::syscall::directory;
use crate::syscall::names::file as file_names;

crate::system_call_rows! {
    /// Lists a directory, in the old layout. EINVAL: no room for an entry. ENOTDIR. ENOENT: it was removed.
    getdents { x86_64: 78, aarch64: none, needs: Nothing, support: Full } = directory::getdents,
        (descriptor: Descriptor, buffer: VirtualAddress as Entries, count: u32);
    /// Renames a file. EXDEV: to another file system. EINVAL: a directory into itself. ENOTEMPTY, EISDIR, ENOTDIR: by what has the new name. EBUSY: a mount point. EACCES, EPERM: not permitted.
    rename { x86_64: 82, aarch64: none, needs: Nothing, support: Full } = directory::rename, (path: PathPointer, new_path: PathPointer);
    /// Makes a directory. EEXIST, ENOENT, EACCES, EROFS, ENOSPC.
    mkdir { x86_64: 83, aarch64: none, needs: Nothing, support: Full } = directory::mkdir, (path: PathPointer, mode: ModeBits);
    /// Removes an empty directory. ENOTEMPTY, ENOTDIR, EBUSY: a mount point or root. EINVAL: the path ends in a dot.
    rmdir { x86_64: 84, aarch64: none, needs: Nothing, support: Full } = directory::rmdir, (path: PathPointer);
    /// Gives a file one more name. EEXIST. EPERM: a directory. EXDEV: on another mount.
    link { x86_64: 86, aarch64: none, needs: Nothing, support: Full } = directory::link, (path: PathPointer, new_path: PathPointer);
    /// Removes a name. EISDIR: a directory. EPERM: by the sticky bit. EBUSY: a mount point.
    unlink { x86_64: 87, aarch64: none, needs: Nothing, support: Full } = directory::unlink, (path: PathPointer);
    /// Makes a symbolic link. EEXIST. ENOENT: the text is empty.
    symlink { x86_64: 88, aarch64: none, needs: Nothing, support: Full } = directory::symlink, (target: PathPointer, path: PathPointer);
    /// Makes a regular file, FIFO, socket or device. EPERM: a device without CAP_MKNOD, or a directory. EINVAL: no such type.
    mknod { x86_64: 133, aarch64: none, needs: Conditional(&[Capability::Mknod]), support: Full } = directory::mknod,
        (path: PathPointer, mode: ModeBits, device: u32);
    /// Lists a directory. EINVAL: no room for an entry. ENOTDIR. ENOENT: it was removed.
    getdents64 { x86_64: 217, aarch64: 61, needs: Nothing, support: Full } = directory::getdents64,
        (descriptor: Descriptor, buffer: VirtualAddress as Entries, count: u32);
    /// Makes a directory, from a directory.
    mkdirat { x86_64: 258, aarch64: 34, needs: Nothing, support: Full } = directory::mkdirat,
        (descriptor: Descriptor, path: PathPointer, mode: ModeBits);
    /// Makes a regular file, FIFO, socket or device, from a directory.
    mknodat { x86_64: 259, aarch64: 33, needs: Conditional(&[Capability::Mknod]), support: Full } = directory::mknodat,
        (descriptor: Descriptor, path: PathPointer, mode: ModeBits, device: u32);
    /// Removes a name, or with AT_REMOVEDIR a directory, from a directory.
    unlinkat { x86_64: 263, aarch64: 35, needs: Nothing, support: Full } = directory::unlinkat,
        (descriptor: Descriptor, path: PathPointer, flags: Flags as Bits(&file_names::AT));
    /// Renames a file, from a directory to a directory.
    renameat { x86_64: 264, aarch64: 38, needs: Nothing, support: Full } = directory::renameat,
        (descriptor: Descriptor, path: PathPointer, new_descriptor: Descriptor, new_path: PathPointer);
    /// Gives a file one more name, from a directory. ENOENT: AT_EMPTY_PATH without CAP_DAC_READ_SEARCH.
    linkat { x86_64: 265, aarch64: 37, needs: Conditional(&[Capability::DacReadSearch]), support: Full } = directory::linkat,
        (descriptor: Descriptor, path: PathPointer, new_descriptor: Descriptor, new_path: PathPointer, flags: Flags as Bits(&file_names::AT));
    /// Makes a symbolic link, from a directory.
    symlinkat { x86_64: 266, aarch64: 36, needs: Nothing, support: Full } = directory::symlinkat,
        (target: PathPointer, descriptor: Descriptor, path: PathPointer);
    /// Renames a file; RENAME_NOREPLACE and RENAME_EXCHANGE. EEXIST: the new name is there. EINVAL: other flags.
    renameat2 { x86_64: 316, aarch64: 276, needs: Nothing, support: Partial("no RENAME_WHITEOUT") } = directory::renameat2,
        (descriptor: Descriptor, path: PathPointer, new_descriptor: Descriptor, new_path: PathPointer, flags: Flags as Bits(&file_names::RENAME));
}
