//! System calls that lock files.

use super::Call;
use super::argument::Descriptor;
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::file::FileMode;
use crate::fs::lock::{self, LockKind, LockOwner, Range, Wait};
use crate::fs::{FileDescriptor, OpenFile};
use crate::memory::user::UserPointer;
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct flock`, the same on both machines.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct LockArgument {
    kind: i16,
    whence: i16,
    padding: u32,
    start: i64,
    length: i64,
    pid: i32,
    padding_end: u32,
}

/// The identity of the caller's descriptors, to which its POSIX locks belong.
fn lock_owner(call: &Call<'_>) -> u64 {
    Arc::as_ptr(&call.thread.files()).addr() as u64
}

/// `l_type` of a lock, or of none.
#[expect(clippy::cast_possible_truncation, reason = "the three numbers are 0 to 2")]
const fn type_number(kind: Option<LockKind>) -> i16 {
    let number = match kind {
        Some(LockKind::Shared) => linux::F_RDLCK,
        Some(LockKind::Exclusive) => linux::F_WRLCK,
        None => linux::F_UNLCK,
    };
    number as i16
}

/// The bytes that a lock argument names: `length` 0 reaches to the end of all files, a negative one goes backwards.
fn range(file: &OpenFile, argument: &LockArgument) -> Result<Range> {
    let base = match argument.whence {
        0 => 0,
        1 => file.position(),
        2 => file.inode().map_or(0, |inode| inode.size()),
        _ => return Err(Errno::EINVAL),
    };
    let base = i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?;
    let start = base.checked_add(argument.start).ok_or(Errno::EOVERFLOW)?;
    let (start, end) = match argument.length {
        0 => (start, i64::MAX),
        length if length > 0 => (start, start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?),
        length => (start.checked_add(length).ok_or(Errno::EINVAL)?, start - 1),
    };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    Ok(Range { start, end: u64::try_from(end).map_err(|_| Errno::EINVAL)? })
}

/// The lock commands of `fcntl(2)`.
pub(super) fn control(call: &Call<'_>, file: &OpenFile, command: u32, argument: VirtualAddress) -> Result<()> {
    let pointer: UserPointer<LockArgument> = UserPointer::new(argument);
    let given = pointer.read()?;
    let inode = file.inode().ok_or(Errno::EBADF)?;
    let kind = match u32::from(given.kind.cast_unsigned()) {
        linux::F_RDLCK => Some(LockKind::Shared),
        linux::F_WRLCK => Some(LockKind::Exclusive),
        linux::F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let is_description = matches!(command, linux::F_OFD_GETLK | linux::F_OFD_SETLK | linux::F_OFD_SETLKW);
    if is_description && given.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = if is_description {
        LockOwner::Description(file.identity())
    } else {
        LockOwner::Process { files: lock_owner(call), pid: call.process.pid() }
    };
    let range = range(file, &given)?;
    if matches!(command, linux::F_GETLK | linux::F_OFD_GETLK) {
        let kind = kind.ok_or(Errno::EINVAL)?;
        let answer = match lock::conflicting(inode, owner, kind, range) {
            None => LockArgument { kind: type_number(None), ..given },
            Some(found) => LockArgument {
                kind: type_number(Some(found.kind)),
                whence: 0,
                padding: 0,
                start: found.range.start.cast_signed(),
                length: found.range.length().cast_signed(),
                pid: match found.owner {
                    LockOwner::Process { pid, .. } => pid,
                    LockOwner::Description(_) => -1,
                },
                padding_end: 0,
            },
        };
        return pointer.write(&answer);
    }
    match kind {
        Some(LockKind::Shared) if !file.mode().contains(FileMode::READ) => return Err(Errno::EBADF),
        Some(LockKind::Exclusive) if !file.mode().contains(FileMode::WRITE) => return Err(Errno::EBADF),
        _ => {}
    }
    let wait = if matches!(command, linux::F_SETLKW | linux::F_OFD_SETLKW) { Wait::Yes } else { Wait::No };
    lock::set_range(inode, owner, kind, range, wait)
}

/// `flock(2)`.
pub fn flock(call: &mut Call<'_>, descriptor: Descriptor, operation: u32) -> Result<()> {
    let wait = if operation & linux::LOCK_NB != 0 { Wait::No } else { Wait::Yes };
    let kind = match operation & !linux::LOCK_NB {
        linux::LOCK_SH => Some(LockKind::Shared),
        linux::LOCK_EX => Some(LockKind::Exclusive),
        linux::LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let file = call.thread.files().get(FileDescriptor(descriptor.0))?;
    let Some(inode) = file.inode() else { return Err(Errno::EBADF) };
    lock::set_whole(inode, file.identity(), kind, wait)
}
