//! Extended attributes.

use crate::base::VirtualAddress;
use crate::syscall::argument::{Descriptor, Flags, PathPointer};
use crate::syscall::extended_attribute;
use crate::syscall::names::file as file_names;

crate::system_call_rows! {
    /// Sets an extended attribute, of the file at a path. EEXIST: XATTR_CREATE and it is there. ENODATA: XATTR_REPLACE and it is not. ENOSPC, E2BIG, ERANGE: too large. EPERM, EACCES: not permitted. EOPNOTSUPP: no such class of names.
    setxattr { x86_64: 188, aarch64: 5, needs: Nothing, support: Full } = extended_attribute::setxattr,
        (path: PathPointer, name: VirtualAddress as Text, value: VirtualAddress as Bytes, size: usize, flags: Flags as Bits(&file_names::ATTRIBUTE));
    /// Sets an extended attribute, of a symbolic link itself. EEXIST: XATTR_CREATE and it is there. ENODATA: XATTR_REPLACE and it is not. ENOSPC, E2BIG, ERANGE: too large. EPERM, EACCES: not permitted. EOPNOTSUPP: no such class of names.
    lsetxattr { x86_64: 189, aarch64: 6, needs: Nothing, support: Full } = extended_attribute::lsetxattr,
        (path: PathPointer, name: VirtualAddress as Text, value: VirtualAddress as Bytes, size: usize, flags: Flags as Bits(&file_names::ATTRIBUTE));
    /// Sets an extended attribute, of an open file. EEXIST: XATTR_CREATE and it is there. ENODATA: XATTR_REPLACE and it is not. ENOSPC, E2BIG, ERANGE: too large. EPERM, EACCES: not permitted. EOPNOTSUPP: no such class of names.
    fsetxattr { x86_64: 190, aarch64: 7, needs: Nothing, support: Full } = extended_attribute::fsetxattr,
        (descriptor: Descriptor, name: VirtualAddress as Text, value: VirtualAddress as Bytes, size: usize, flags: Flags as Bits(&file_names::ATTRIBUTE));
    /// Shows an extended attribute, of the file at a path. ENODATA: there is none. ERANGE: no room for it. EOPNOTSUPP: no such class of names.
    getxattr { x86_64: 191, aarch64: 8, needs: Nothing, support: Full } = extended_attribute::getxattr,
        (path: PathPointer, name: VirtualAddress as Text, value: VirtualAddress as FilledBytes, size: usize);
    /// Shows an extended attribute, of a symbolic link itself. ENODATA: there is none. ERANGE: no room for it. EOPNOTSUPP: no such class of names.
    lgetxattr { x86_64: 192, aarch64: 9, needs: Nothing, support: Full } = extended_attribute::lgetxattr,
        (path: PathPointer, name: VirtualAddress as Text, value: VirtualAddress as FilledBytes, size: usize);
    /// Shows an extended attribute, of an open file. ENODATA: there is none. ERANGE: no room for it. EOPNOTSUPP: no such class of names.
    fgetxattr { x86_64: 193, aarch64: 10, needs: Nothing, support: Full } = extended_attribute::fgetxattr,
        (descriptor: Descriptor, name: VirtualAddress as Text, value: VirtualAddress as FilledBytes, size: usize);
    /// Lists extended attributes, of the file at a path. ERANGE: no room for them.
    listxattr { x86_64: 194, aarch64: 11, needs: Nothing, support: Full } = extended_attribute::listxattr,
        (path: PathPointer, names: VirtualAddress as FilledBytes, size: usize);
    /// Lists extended attributes, of a symbolic link itself. ERANGE: no room for them.
    llistxattr { x86_64: 195, aarch64: 12, needs: Nothing, support: Full } = extended_attribute::llistxattr,
        (path: PathPointer, names: VirtualAddress as FilledBytes, size: usize);
    /// Lists extended attributes, of an open file. ERANGE: no room for them.
    flistxattr { x86_64: 196, aarch64: 13, needs: Nothing, support: Full } = extended_attribute::flistxattr,
        (descriptor: Descriptor, names: VirtualAddress as FilledBytes, size: usize);
    /// Removes an extended attribute, of the file at a path. ENODATA: there is none. EPERM, EACCES: not permitted.
    removexattr { x86_64: 197, aarch64: 14, needs: Nothing, support: Full } = extended_attribute::removexattr,
        (path: PathPointer, name: VirtualAddress as Text);
    /// Removes an extended attribute, of a symbolic link itself. ENODATA: there is none. EPERM, EACCES: not permitted.
    lremovexattr { x86_64: 198, aarch64: 15, needs: Nothing, support: Full } = extended_attribute::lremovexattr,
        (path: PathPointer, name: VirtualAddress as Text);
    /// Removes an extended attribute, of an open file. ENODATA: there is none. EPERM, EACCES: not permitted.
    fremovexattr { x86_64: 199, aarch64: 16, needs: Nothing, support: Full } = extended_attribute::fremovexattr,
        (descriptor: Descriptor, name: VirtualAddress as Text);
}
