//! System calls about descriptors themselves: `close`, `dup`, `fcntl`, `ioctl`.

use super::Call;
use super::argument::{Descriptor, Flags, low_half};
use super::lock;
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::file::asynchronous::{self, NaturalOwner, Telling};
use crate::fs::file::{FileMode, FileOwner};
use crate::fs::file_table::{CloseOnExec, close_file};
use crate::fs::{FileDescriptor, FileType, OpenFile, OpenFlags, permission};
use crate::memory::user::UserPointer;
use crate::process::resource_limits::Resource;
use crate::process::table;
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use linux_raw_sys::ioctl;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

fn file(call: &Call<'_>, descriptor: Descriptor) -> Result<Arc<OpenFile>> {
    call.thread.files().get(FileDescriptor(descriptor.0))
}

/// `close(2)`.
pub fn close(call: &mut Call<'_>, descriptor: Descriptor) -> Result<()> {
    let files = call.thread.files();
    let file = files.remove(FileDescriptor(descriptor.0))?;
    close_file(file, Arc::as_ptr(&files).addr() as u64);
    Ok(())
}

/// `close_range(2)`.
pub fn close_range(call: &mut Call<'_>, first: u32, last: u32, flags: Flags) -> Result<()> {
    const UNSHARE: u32 = 2;
    const CLOSE_ON_EXEC: u32 = 4;
    if flags.0 & !(UNSHARE | CLOSE_ON_EXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    if flags.0 & UNSHARE != 0 {
        let copy = Arc::new(call.thread.files().duplicate());
        if let Some(old) = call.thread.replace_files(Some(copy)) {
            crate::process::exit::release_files(old);
        }
    }
    let files = call.thread.files();
    if flags.0 & CLOSE_ON_EXEC != 0 {
        files.mark_range(first, last);
        return Ok(());
    }
    let owner = Arc::as_ptr(&files).addr() as u64;
    for file in files.remove_range(first, last) {
        close_file(file, owner);
    }
    Ok(())
}

/// `dup(2)`.
pub fn dup(call: &mut Call<'_>, descriptor: Descriptor) -> Result<i32> {
    let files = call.thread.files();
    let file = files.get_any(FileDescriptor(descriptor.0))?;
    let limit = call.process.limit(Resource::OpenFiles);
    files.install(file, limit, CloseOnExec::No).map(|descriptor| descriptor.0)
}

/// `dup2(2)`.
pub fn dup2(call: &mut Call<'_>, descriptor: Descriptor, new: Descriptor) -> Result<i32> {
    if descriptor == new {
        call.thread.files().get_any(FileDescriptor(descriptor.0))?;
        return Ok(new.0);
    }
    duplicate_to(call, descriptor, new, CloseOnExec::No)
}

/// `FIOASYNC`: sets or clears `O_ASYNC`, of a file that can tell.
fn toggle_telling(
    call: &Call<'_>,
    file: &Arc<OpenFile>,
    descriptor: FileDescriptor,
    pointer: VirtualAddress,
) -> Result<u64> {
    let on: i32 = UserPointer::new(pointer).read()?;
    let old = file.flags();
    let mut flags = old;
    flags.set(OpenFlags::ASYNCHRONOUS, on != 0);
    if flags != old && !asynchronous::can_tell(file)? {
        return Err(Errno::ENOTTY);
    }
    file.set_flags(flags)?;
    tell_of_changes(call, file, descriptor, old).map(|()| 0)
}

/// `dup3(2)`.
pub fn dup3(call: &mut Call<'_>, descriptor: Descriptor, new: Descriptor, flags: Flags) -> Result<i32> {
    if flags.0 & !linux::O_CLOEXEC != 0 || descriptor == new {
        return Err(Errno::EINVAL);
    }
    duplicate_to(call, descriptor, new, CloseOnExec::from_condition(flags.0 != 0))
}

fn duplicate_to(call: &Call<'_>, descriptor: Descriptor, new: Descriptor, close_on_exec: CloseOnExec) -> Result<i32> {
    let files = call.thread.files();
    let limit = call.process.limit(Resource::OpenFiles);
    if FileDescriptor(new.0).index().is_none_or(|index| index as u64 >= limit) {
        return Err(Errno::EBADF);
    }
    let file = files.get_any(FileDescriptor(descriptor.0))?;
    if let Some(old) = files.replace(FileDescriptor(new.0), file, limit, close_on_exec)? {
        close_file(old, Arc::as_ptr(&files).addr() as u64);
    }
    Ok(new.0)
}

/// `struct f_owner_ex`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct OwnerArgument {
    kind: i32,
    id: i32,
}

const OWNER_THREAD: i32 = 0;
const OWNER_PROCESS: i32 = 1;
const OWNER_GROUP: i32 = 2;

/// `fcntl(2)`.
pub fn fcntl(call: &mut Call<'_>, descriptor: Descriptor, command: u32, argument: u64) -> Result<u64> {
    let files = call.thread.files();
    let number = FileDescriptor(descriptor.0);
    let file = files.get_any(number)?;
    let allowed_on_handles = [linux::F_DUPFD, linux::F_DUPFD_CLOEXEC, linux::F_GETFD, linux::F_SETFD, linux::F_GETFL];
    if file.mode().contains(FileMode::PATH) && !allowed_on_handles.contains(&command) {
        return Err(Errno::EBADF);
    }
    let small = low_half(argument);
    match command {
        linux::F_DUPFD | linux::F_DUPFD_CLOEXEC => {
            let limit = call.process.limit(Resource::OpenFiles);
            if u64::from(small) >= limit {
                return Err(Errno::EINVAL);
            }
            let close_on_exec = CloseOnExec::from_condition(command == linux::F_DUPFD_CLOEXEC);
            let new = files.install_from(small as usize, file, limit, close_on_exec)?;
            Ok(u64::from(new.0.cast_unsigned()))
        }
        linux::F_GETFD => Ok(u64::from(files.close_on_exec(number)?.is_yes())),
        linux::F_SETFD => {
            let close_on_exec = CloseOnExec::from_condition(small & linux::FD_CLOEXEC != 0);
            files.set_close_on_exec(number, close_on_exec).map(|()| 0)
        }
        linux::F_GETFL => Ok(u64::from(shown_flags(&file).bits())),
        linux::F_SETFL => set_flags(call, number, &file, OpenFlags::from_bits_retain(small)).map(|()| 0),
        linux::F_GETLK
        | linux::F_SETLK
        | linux::F_SETLKW
        | linux::F_OFD_GETLK
        | linux::F_OFD_SETLK
        | linux::F_OFD_SETLKW => lock::control(call, &file, command, VirtualAddress::new(argument)).map(|()| 0),
        linux::F_GETOWN => {
            let owner = file.owner();
            Ok(i64::from(if owner.is_thread { 0 } else { owner.id }).cast_unsigned())
        }
        linux::F_SETOWN => {
            let id = small.cast_signed();
            if id == i32::MIN {
                return Err(Errno::EINVAL);
            }
            set_owner(call, &file, id, OwnerKind::Process).map(|()| 0)
        }
        linux::F_GETOWN_EX => {
            let owner = file.owner();
            let kind = match owner {
                FileOwner { is_thread: true, .. } => OWNER_THREAD,
                FileOwner { id, .. } if id < 0 => OWNER_GROUP,
                _ => OWNER_PROCESS,
            };
            let shown = OwnerArgument { kind, id: owner.id.wrapping_abs() };
            UserPointer::new(VirtualAddress::new(argument)).write(&shown).map(|()| 0)
        }
        linux::F_SETOWN_EX => {
            let given: OwnerArgument = UserPointer::new(VirtualAddress::new(argument)).read()?;
            let (id, kind) = match given.kind {
                OWNER_THREAD => (given.id, OwnerKind::Thread),
                OWNER_PROCESS => (given.id, OwnerKind::Process),
                OWNER_GROUP => (given.id.checked_neg().ok_or(Errno::ESRCH)?, OwnerKind::Process),
                _ => return Err(Errno::EINVAL),
            };
            if given.id < 0 {
                return Err(Errno::ESRCH);
            }
            set_owner(call, &file, id, kind).map(|()| 0)
        }
        linux::F_GETSIG => Ok(i64::from(file.owner().signal).cast_unsigned()),
        linux::F_SETSIG => {
            let signal = small.cast_signed();
            if !(0..=64).contains(&signal) {
                return Err(Errno::EINVAL);
            }
            file.set_owner(FileOwner { signal, ..file.owner() });
            Ok(0)
        }
        linux::F_GETPIPE_SZ => file.operations().pipe_size().map(|size| size as u64),
        linux::F_SETPIPE_SZ => file.operations().set_pipe_size(small as usize).map(|size| size as u64),
        linux::F_GET_SEALS => file.operations().seals().map(u64::from),
        linux::F_ADD_SEALS => {
            if !file.mode().contains(FileMode::WRITE) {
                return Err(Errno::EPERM);
            }
            file.operations().add_seals(small).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// The flags as `F_GETFL` shows them: on a 64-bit machine every open file has `O_LARGEFILE`.
fn shown_flags(file: &OpenFile) -> OpenFlags {
    let flags = file.flags();
    let has_large = file.location().is_some() && !flags.contains(OpenFlags::PATH);
    if has_large { flags | OpenFlags::LARGE_FILE } else { flags }
}

/// What the number of an owner counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnerKind {
    /// A process, or a process group if it is negative.
    Process,
    Thread,
}

/// Names the owner of `file`; 0 is nobody.
fn set_owner(call: &Call<'_>, file: &OpenFile, id: i32, kind: OwnerKind) -> Result<()> {
    let is_known = {
        let (table, number) = (table::lock(), id.saturating_abs());
        id == 0 || table.thread(number).is_some() || table.process(number).is_some() || table.group(number).is_some()
    };
    if !is_known {
        return Err(Errno::ESRCH);
    }
    make_owner(call, file, id, kind);
    Ok(())
}

/// Makes `id` the owner, whom the caller may signal by `file` as far as it may now.
fn make_owner(call: &Call<'_>, file: &OpenFile, id: i32, kind: OwnerKind) {
    let credentials = call.thread.credentials();
    let (uid, euid) = (credentials.uid, credentials.euid);
    file.set_owner(FileOwner { id, is_thread: kind == OwnerKind::Thread, uid, euid, ..file.owner() });
}

fn set_flags(call: &Call<'_>, descriptor: FileDescriptor, file: &Arc<OpenFile>, flags: OpenFlags) -> Result<()> {
    let old = file.flags();
    if flags.contains(OpenFlags::NO_ACCESS_TIME)
        && !old.contains(OpenFlags::NO_ACCESS_TIME)
        && let Some(inode) = file.inode()
        && !permission::is_owner_or_capable(&**inode, &call.thread.credentials())
    {
        return Err(Errno::EPERM);
    }
    // A kind that cannot tell leaves the flag as it was.
    let changes = (flags ^ old).contains(OpenFlags::ASYNCHRONOUS);
    let telling = if changes && asynchronous::can_tell(file)? { flags } else { old };
    let mut flags = flags;
    flags.set(OpenFlags::ASYNCHRONOUS, telling.contains(OpenFlags::ASYNCHRONOUS));
    file.set_flags(flags)?;
    tell_of_changes(call, file, descriptor, old)
}

/// Where `O_ASYNC` is not what it was in `old`, the file is to be told by signal from now on, or not any more.
fn tell_of_changes(call: &Call<'_>, file: &Arc<OpenFile>, descriptor: FileDescriptor, old: OpenFlags) -> Result<()> {
    let (before, now) = (old.contains(OpenFlags::ASYNCHRONOUS), file.flags().contains(OpenFlags::ASYNCHRONOUS));
    if before == now {
        return Ok(());
    }
    if now && file.owner().id == 0 {
        match file.operations().natural_owner() {
            NaturalOwner::Nobody => {}
            NaturalOwner::Caller => make_owner(call, file, call.process.pid(), OwnerKind::Process),
            NaturalOwner::Group(group) => make_owner(call, file, group.saturating_neg(), OwnerKind::Process),
        }
    }
    asynchronous::set(file, descriptor.0, if now { Telling::On } else { Telling::Off })
}

/// `ioctl(2)`: what all files have here, the rest by the kind of file.
pub fn ioctl(call: &mut Call<'_>, descriptor: Descriptor, request: Flags, argument: u64) -> Result<u64> {
    let file = file(call, descriptor)?;
    let number = FileDescriptor(descriptor.0);
    let pointer = VirtualAddress::new(argument);
    match request.0 {
        ioctl::FIOCLEX => call.thread.files().set_close_on_exec(number, CloseOnExec::Yes).map(|()| 0),
        ioctl::FIONCLEX => call.thread.files().set_close_on_exec(number, CloseOnExec::No).map(|()| 0),
        ioctl::FIONBIO => toggle(&file, OpenFlags::NON_BLOCKING, pointer),
        ioctl::FIOASYNC => toggle_telling(call, &file, number, pointer),
        ioctl::FIOQSIZE
            if matches!(file.file_type(), FileType::Regular | FileType::Directory | FileType::SymbolicLink) =>
        {
            UserPointer::new(pointer).write(&file.metadata().size).map(|()| 0)
        }
        ioctl::FIONREAD if file.location().is_some() && file.file_type() == FileType::Regular => {
            let left = file.metadata().size.saturating_sub(file.position());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            UserPointer::new(pointer).write(&left).map(|()| 0)
        }
        request => file.operations().ioctl(&file, request, argument),
    }
}

/// Sets or clears a status flag as the `int` at `pointer` says.
fn toggle(file: &OpenFile, flag: OpenFlags, pointer: VirtualAddress) -> Result<u64> {
    let on: i32 = UserPointer::new(pointer).read()?;
    let mut flags = file.flags();
    flags.set(flag, on != 0);
    file.set_flags(flags).map(|()| 0)
}
