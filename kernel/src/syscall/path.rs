//! System calls that open and name files: `open`, `access`, `chdir`, `readlink`, and what all path arguments share.

use super::Call;
use super::argument::{Descriptor, Flags, ModeBits, PathPointer};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::file_table::{CloseOnExec, FileTable};
use crate::fs::mount::Reach;
use crate::fs::permission::{self, Access};
use crate::fs::types::mode;
use crate::fs::walk::{LookupFlags, Walker};
use crate::fs::{FileDescriptor, FsContext, Location, OpenFlags, open, pseudo};
use crate::memory::user::{PATH_MAX, UserPointer, UserSlice, copy_to_user, read_c_string, read_c_string_into};
use crate::process::resource_limits::Resource;
use crate::security::{Capability, Credentials};
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A path copied from user space: on the stack unless it is long.
pub struct PathBuffer {
    short: [u8; 96],
    long: Vec<u8>,
}

impl PathBuffer {
    /// An empty buffer.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self { short: [0; 96], long: Vec::new() }
    }
    /// Reads the path at `pointer`.
    ///
    /// # Errors
    /// `EFAULT`; `ENAMETOOLONG` from `PATH_MAX` bytes on.
    #[inline]
    pub fn read(&mut self, pointer: PathPointer) -> Result<&[u8]> {
        if let Some(length) = read_c_string_into(pointer.0, &mut self.short)? {
            return self.short.get(..length).ok_or(Errno::EFAULT);
        }
        self.long = read_c_string(pointer.0, PATH_MAX)?;
        Ok(&self.long)
    }
}

impl Default for PathBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// The caller's root, working directory and identity, held for the length of a call.
pub struct Caller {
    /// Root, working directory, umask.
    pub context: Arc<FsContext>,
    /// Identity.
    pub credentials: Arc<Credentials>,
}

impl Caller {
    /// Those of the thread that makes `call`.
    #[must_use]
    #[inline]
    pub fn of(call: &Call<'_>) -> Self {
        Self { context: call.thread.file_system(), credentials: call.thread.credentials() }
    }
    /// A walker for them.
    #[must_use]
    #[inline]
    pub fn walker(&self) -> Walker<'_> {
        Walker { context: &self.context, credentials: &self.credentials }
    }
}

/// Where the walk of `path` begins: at the descriptor, or `None` for the working directory (and for an absolute path, for which
/// the descriptor does not matter).
///
/// # Errors
/// `EBADF`.
#[inline]
pub fn base(call: &Call<'_>, descriptor: Descriptor, path: &[u8]) -> Result<Option<Location>> {
    if path.first() == Some(&b'/') {
        return Ok(None);
    }
    descriptor_location(call, descriptor)
}

fn descriptor_location(call: &Call<'_>, descriptor: Descriptor) -> Result<Option<Location>> {
    if descriptor.0 == FileDescriptor::WORKING_DIRECTORY.0 {
        return Ok(None);
    }
    let file = call.thread.files().get_any(FileDescriptor(descriptor.0))?;
    Ok(Some(pseudo::location_of(&file)))
}

/// The location that a path argument leads to.
///
/// # Errors
/// As a path walk.
pub fn resolve(call: &Call<'_>, descriptor: Descriptor, path: PathPointer, flags: LookupFlags) -> Result<Location> {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let base = base(call, descriptor, path)?;
    Caller::of(call).walker().resolve(base.as_ref(), path, flags)
}

/// `AT_FDCWD` as an argument.
pub const WORKING_DIRECTORY: Descriptor = Descriptor(FileDescriptor::WORKING_DIRECTORY.0);

/// What `open` understands; it ignores other bits, `openat2` refuses them.
const KNOWN: OpenFlags = OpenFlags::all();

/// Brings the flags into the form that the VFS wants, as Linux's `build_open_flags` does.
fn normalise(flags: u32, permissions: u32) -> Result<(OpenFlags, u32)> {
    let mut flags = OpenFlags::from_bits_retain(flags).intersection(KNOWN);
    if flags.contains(OpenFlags::FULL_SYNC) {
        flags |= OpenFlags::DATA_SYNC;
    }
    if flags.contains(OpenFlags::TEMPORARY_BIT) {
        if !flags.contains(OpenFlags::TEMPORARY) || !flags.access().contains(Access::WRITE) {
            return Err(Errno::EINVAL);
        }
        flags.remove(OpenFlags::CREATE);
    }
    if flags.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(OpenFlags::PATH) {
        let kept = OpenFlags::DIRECTORY | OpenFlags::NO_FOLLOW | OpenFlags::PATH | OpenFlags::CLOSE_ON_EXEC;
        flags = flags.intersection(kept);
    }
    if flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
        flags |= OpenFlags::NO_FOLLOW;
    }
    Ok((flags, permissions & mode::ALL))
}

fn open_common(
    call: &Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    flags: OpenFlags,
    permissions: u32,
    resolve: LookupFlags,
) -> Result<i32> {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let files = call.thread.files();
    let limit = call.process.limit(Resource::OpenFiles);
    let close_on_exec = CloseOnExec::from_condition(flags.contains(OpenFlags::CLOSE_ON_EXEC));
    let reserved = files.reserve(limit, close_on_exec)?;
    let opened = open_path(call, descriptor, path, flags, permissions, resolve);
    finish_open(&files, reserved, opened)
}

fn open_path(
    call: &Call<'_>,
    descriptor: Descriptor,
    path: &[u8],
    flags: OpenFlags,
    permissions: u32,
    resolve: LookupFlags,
) -> Result<Arc<crate::fs::OpenFile>> {
    let base = if resolve.intersects(LookupFlags::IN_ROOT | LookupFlags::BENEATH) {
        descriptor_location(call, descriptor)?
    } else {
        base(call, descriptor, path)?
    };
    let caller = Caller::of(call);
    open::open(&caller.walker(), base.as_ref(), path, flags, permissions, resolve)
}

fn finish_open(files: &FileTable, reserved: FileDescriptor, opened: Result<Arc<crate::fs::OpenFile>>) -> Result<i32> {
    match opened {
        Ok(file) => {
            files.fill(reserved, file);
            Ok(reserved.0)
        }
        Err(error) => {
            files.abandon(reserved);
            Err(error)
        }
    }
}

/// `open(2)`.
pub fn open(call: &mut Call<'_>, path: PathPointer, flags: Flags, permissions: ModeBits) -> Result<i32> {
    openat(call, WORKING_DIRECTORY, path, flags, permissions)
}

/// `creat(2)`.
pub fn creat(call: &mut Call<'_>, path: PathPointer, permissions: ModeBits) -> Result<i32> {
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE;
    openat(call, WORKING_DIRECTORY, path, Flags(flags.bits()), permissions)
}

/// `openat(2)`.
pub fn openat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    flags: Flags,
    permissions: ModeBits,
) -> Result<i32> {
    let (flags, permissions) = normalise(flags.0, permissions.0)?;
    open_common(call, descriptor, path, flags, permissions, LookupFlags::empty())
}

/// `struct open_how`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `openat2(2)`.
pub fn openat2(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    how: UserPointer<OpenHow>,
    size: usize,
) -> Result<i32> {
    let known = size_of::<OpenHow>();
    if size < known {
        return Err(Errno::EINVAL);
    }
    if size > crate::base::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size > known {
        let rest = UserSlice::new(how.address(), size).skip(known).read_to_vec()?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
    }
    let how = how.read()?;
    let flags = u32::try_from(how.flags).map_err(|_| Errno::EINVAL)?;
    if OpenFlags::from_bits(flags).is_none() || how.mode & !u64::from(mode::ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    let creates = OpenFlags::from_bits_retain(flags).intersects(OpenFlags::CREATE | OpenFlags::TEMPORARY_BIT);
    if how.mode != 0 && !creates {
        return Err(Errno::EINVAL);
    }
    const WITH_PATH: OpenFlags =
        OpenFlags::PATH.union(OpenFlags::DIRECTORY).union(OpenFlags::NO_FOLLOW).union(OpenFlags::CLOSE_ON_EXEC);
    if flags & OpenFlags::PATH.bits() != 0 && flags & !WITH_PATH.bits() != 0 {
        return Err(Errno::EINVAL);
    }
    const NO_XDEV: u64 = 1;
    const NO_MAGICLINKS: u64 = 2;
    const NO_SYMLINKS: u64 = 4;
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    const CACHED: u64 = 32;
    if how.resolve & !63 != 0 || how.resolve & (BENEATH | IN_ROOT) == BENEATH | IN_ROOT {
        return Err(Errno::EINVAL);
    }
    let mut resolve = LookupFlags::empty();
    for (bit, flag) in [
        (NO_XDEV, LookupFlags::NO_CROSSING),
        (NO_MAGICLINKS, LookupFlags::NO_MAGIC_LINKS),
        (NO_SYMLINKS, LookupFlags::NO_LINKS | LookupFlags::NO_MAGIC_LINKS),
        (BENEATH, LookupFlags::BENEATH | LookupFlags::NO_MAGIC_LINKS),
        (IN_ROOT, LookupFlags::IN_ROOT | LookupFlags::NO_MAGIC_LINKS),
    ] {
        if how.resolve & bit != 0 {
            resolve |= flag;
        }
    }
    let changes = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::TEMPORARY_BIT;
    if how.resolve & CACHED != 0 && OpenFlags::from_bits_retain(flags).intersects(changes) {
        return Err(Errno::EAGAIN);
    }
    let (flags, permissions) = normalise(flags, u32::try_from(how.mode).map_err(|_| Errno::EINVAL)?)?;
    open_common(call, descriptor, path, flags, permissions, resolve)
}

/// `access(2)`.
pub fn access(call: &mut Call<'_>, path: PathPointer, wanted: i32) -> Result<()> {
    faccessat2(call, WORKING_DIRECTORY, path, wanted, Flags(0))
}

/// `faccessat(2)`.
pub fn faccessat(call: &mut Call<'_>, descriptor: Descriptor, path: PathPointer, wanted: i32) -> Result<()> {
    faccessat2(call, descriptor, path, wanted, Flags(0))
}

/// `faccessat2(2)`.
pub fn faccessat2(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    wanted: i32,
    flags: Flags,
) -> Result<()> {
    let wanted = u32::try_from(wanted).ok().and_then(Access::from_bits).ok_or(Errno::EINVAL)?;
    if flags.0 & !(linux::AT_EACCESS | linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let base = base(call, descriptor, path)?;
    let effective = call.thread.credentials();
    let real;
    let credentials = if flags.0 & linux::AT_EACCESS != 0 {
        &*effective
    } else {
        real = effective.as_real();
        &real
    };
    let context = call.thread.file_system();
    let walker = Walker { context: &context, credentials };
    let location = walker.resolve(base.as_ref(), path, LookupFlags::from_at_flags(flags.0))?;
    permission::check_location(&location, credentials, wanted)?;
    let stores = !location.inode().header().file_type().is_device();
    if wanted.contains(Access::WRITE) && stores && location.mount.is_read_only() {
        return Err(Errno::EROFS);
    }
    Ok(())
}

fn enter(call: &Call<'_>, location: Location) -> Result<()> {
    permission::check(&**location.inode(), &call.thread.credentials(), Access::EXECUTE)?;
    call.thread.file_system().set_working_directory(location);
    Ok(())
}

/// `chdir(2)`.
pub fn chdir(call: &mut Call<'_>, path: PathPointer) -> Result<()> {
    let location = resolve(call, WORKING_DIRECTORY, path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    enter(call, location)
}

/// `fchdir(2)`.
pub fn fchdir(call: &mut Call<'_>, descriptor: Descriptor) -> Result<()> {
    let file = call.thread.files().get_any(FileDescriptor(descriptor.0))?;
    let location = file.location().ok_or(Errno::ENOTDIR)?;
    if !location.inode().header().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    enter(call, location.clone())
}

/// `chroot(2)`.
pub fn chroot(call: &mut Call<'_>, path: PathPointer) -> Result<()> {
    let location = resolve(call, WORKING_DIRECTORY, path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    let credentials = call.thread.credentials();
    permission::check(&**location.inode(), &credentials, Access::EXECUTE)?;
    if !credentials.may(Capability::SysChroot) {
        return Err(Errno::EPERM);
    }
    call.thread.file_system().set_root(location);
    Ok(())
}

/// `getcwd(2)`: gives the length with its NUL.
pub fn getcwd(call: &mut Call<'_>, buffer: VirtualAddress, size: usize) -> Result<usize> {
    let context = call.thread.file_system();
    let directory = context.working_directory();
    if directory.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let (mut path, reach) = directory.path_from(&context.root());
    if reach == Reach::Outside {
        path.splice(0..0, *b"(unreachable)");
    }
    path.push(0);
    if path.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    copy_to_user(buffer, &path)?;
    Ok(path.len())
}

/// `readlink(2)`.
pub fn readlink(call: &mut Call<'_>, path: PathPointer, buffer: VirtualAddress, size: i32) -> Result<usize> {
    readlinkat(call, WORKING_DIRECTORY, path, buffer, size)
}

/// `readlinkat(2)`.
pub fn readlinkat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    buffer: VirtualAddress,
    size: i32,
) -> Result<usize> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let mut path_buffer = PathBuffer::new();
    let path = path_buffer.read(path)?;
    let base = base(call, descriptor, path)?;
    let flags = if base.is_some() { LookupFlags::EMPTY_PATH } else { LookupFlags::empty() };
    let caller = Caller::of(call);
    let location = caller.walker().resolve(base.as_ref(), path, flags)?;
    let inode = location.inode();
    if !inode.header().is_symbolic_link() {
        return Err(if path.is_empty() { Errno::ENOENT } else { Errno::EINVAL });
    }
    let text = inode.link_text()?;
    inode.header().note_read();
    let length = text.len().min(size);
    copy_to_user(buffer, text.get(..length).unwrap_or_default())?;
    Ok(length)
}
