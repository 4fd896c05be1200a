//! Opening: from a path and flags to an [`OpenFile`].
//!
//! The order of checks is Linux's `path_openat` and `do_open`. Regular files ask their inode, devices the registry, FIFOs the pipe
//! module; directories and `O_PATH` handles are the VFS's own.

use super::device_registry::{self, DeviceOpenRequest};
use super::directory;
use super::fifo;
use super::file::{FileMode, FileOperations, OpenFile};
use super::inode::{AttributeChange, Inode, NewInode};
use super::listing;
use super::mount::{Location, MountFlags};
use super::permission::{self, Access};
use super::types::{DeviceNumber, FileType, OpenFlags, Timestamp, mode};
use super::walk::{Last, LookupFlags, TrailingSlash, Walk, Walker, lookup};
use crate::base::{Errno, Result};
use crate::security::{Capability, Credentials};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What `O_PATH` gives: a handle that does nothing.
#[derive(Debug)]
struct PathOperations;

impl FileOperations for PathOperations {}

fn path_operations() -> Arc<dyn FileOperations> {
    static OPERATIONS: spin::Once<Arc<PathOperations>> = spin::Once::new();
    OPERATIONS.call_once(|| Arc::new(PathOperations)).clone()
}

impl OpenFlags {
    /// The access that these flags ask for.
    #[must_use]
    pub fn access(self) -> Access {
        let mut access = match self.bits() & 3 {
            0 => Access::READ,
            1 => Access::WRITE,
            _ => Access::READ | Access::WRITE,
        };
        if self.contains(Self::TRUNCATE) {
            access |= Access::WRITE;
        }
        access
    }
    /// Whether writing is asked for.
    #[must_use]
    pub fn writes(self) -> bool {
        self.bits() & 3 != 0
    }
}

/// Opens `path` from `base`; `permissions` are those of a file that is made, before the umask.
///
/// # Errors
/// As `open(2)`.
pub fn open(
    walker: &Walker<'_>,
    base: Option<&Location>,
    path: &[u8],
    flags: OpenFlags,
    permissions: u32,
    resolve: LookupFlags,
) -> Result<Arc<OpenFile>> {
    if flags.contains(OpenFlags::TEMPORARY) {
        return open_nameless(walker, base, path, flags, permissions, resolve);
    }
    if flags.contains(OpenFlags::CREATE) && !flags.contains(OpenFlags::PATH) {
        return open_or_create(walker, base, path, flags, permissions, resolve);
    }
    let mut how = resolve;
    how.set(LookupFlags::FOLLOW, !flags.contains(OpenFlags::NO_FOLLOW));
    how.set(LookupFlags::DIRECTORY, flags.contains(OpenFlags::DIRECTORY));
    let location = walker.resolve(base, path, how)?;
    if flags.contains(OpenFlags::PATH) {
        return Ok(OpenFile::new(path_operations(), Some(location), flags, FileMode::empty()));
    }
    open_existing(location, flags, walker.credentials)
}

/// Opens what is at `location`, with all checks.
///
/// # Errors
/// As `open(2)` of a file that is there.
pub fn open_existing(location: Location, flags: OpenFlags, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    let mut flags = flags;
    let header = location.inode().header();
    let file_type = header.file_type();
    match file_type {
        FileType::SymbolicLink => return Err(Errno::ELOOP),
        FileType::Directory if flags.access().contains(Access::WRITE) => return Err(Errno::EISDIR),
        FileType::CharacterDevice | FileType::BlockDevice => {
            if location.mount.flags().contains(MountFlags::NO_DEVICES) {
                return Err(Errno::EACCES);
            }
            flags.remove(OpenFlags::TRUNCATE);
        }
        FileType::Fifo | FileType::Socket => flags.remove(OpenFlags::TRUNCATE),
        _ => {}
    }
    permission::check_location(&location, credentials, flags.access())?;
    if flags.contains(OpenFlags::NO_ACCESS_TIME) && !permission::is_owner_or_capable(&**location.inode(), credentials) {
        return Err(Errno::EPERM);
    }
    if file_type == FileType::Regular && flags.access().contains(Access::WRITE) {
        permission::want_write(&location)?;
    }
    let truncate = flags.contains(OpenFlags::TRUNCATE) && file_type == FileType::Regular;
    let file = open_checked(location, flags, credentials)?;
    if truncate && let Some(inode) = file.inode() {
        truncate_opened(inode, credentials)?;
    }
    Ok(file)
}

fn truncate_opened(inode: &Arc<dyn Inode>, credentials: &Credentials) -> Result<()> {
    if inode.is_generated() {
        return Ok(());
    }
    inode.truncate(0)?;
    if !credentials.may(Capability::Fsetid) {
        inode.header().drop_set_id_bits();
    }
    Ok(())
}

/// Opens what is at `location`, permissions having been checked.
///
/// # Errors
/// What the kind of file says; `ETXTBSY`.
pub fn open_checked(location: Location, flags: OpenFlags, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    let inode = location.inode();
    let header = inode.header();
    let mut file_mode = FileMode::empty();
    if credentials.may(Capability::Fsetid) {
        file_mode |= FileMode::KEEPS_SET_ID;
    }
    if flags.contains(OpenFlags::NO_ACCESS_TIME) || location.mount.flags().contains(MountFlags::NO_ACCESS_TIME) {
        file_mode |= FileMode::NO_ACCESS_TIME;
    }
    let file_type = header.file_type();
    if file_type == FileType::Regular && flags.writes() && !inode.is_generated() {
        header.begin_writing()?;
        file_mode |= FileMode::COUNTED_WRITER;
    }
    let operations = open_operations(&location, file_type, flags);
    match operations {
        Ok(operations) => Ok(OpenFile::new(operations, Some(location), flags, file_mode)),
        Err(error) => {
            if file_mode.contains(FileMode::COUNTED_WRITER) {
                header.end_writing();
            }
            Err(error)
        }
    }
}

fn open_operations(location: &Location, file_type: FileType, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
    let inode = location.inode();
    if inode.opens_itself() {
        return inode.clone().open(flags);
    }
    let request = DeviceOpenRequest { number: inode.header().device_id(), flags, location };
    match file_type {
        FileType::Regular => inode.clone().open(flags),
        FileType::Directory => Ok(listing::directory_operations()),
        FileType::CharacterDevice => device_registry::open_character_device(&request),
        FileType::BlockDevice => device_registry::open_block_device(&request),
        FileType::Fifo => fifo::open(inode, flags),
        FileType::Socket => Err(Errno::ENXIO),
        FileType::SymbolicLink => Err(Errno::ELOOP),
    }
}

fn open_nameless(
    walker: &Walker<'_>,
    base: Option<&Location>,
    path: &[u8],
    flags: OpenFlags,
    permissions: u32,
    resolve: LookupFlags,
) -> Result<Arc<OpenFile>> {
    let how = resolve | LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let directory = walker.resolve(base, path, how)?;
    permission::want_write(&directory)?;
    permission::check(&**directory.inode(), walker.credentials, Access::WRITE | Access::EXECUTE)?;
    let file_mode = FileType::Regular.mode_bits() | permissions & mode::ALL & !walker.context.umask();
    let (gid, file_mode) = permission::inherit(&**directory.inode(), file_mode, walker.credentials);
    let new = NewInode {
        mode: file_mode,
        uid: walker.credentials.fsuid,
        gid,
        device_id: DeviceNumber::default(),
        target: &[],
    };
    let inode = directory.inode().create_nameless(&new)?;
    inode.header().set_links(0);
    let name = alloc::format!("#{}", inode.header().number());
    let dentry = super::dentry::Dentry::detached(&directory.dentry, name.as_bytes(), inode);
    dentry.mark_deleted();
    open_checked(
        Location { mount: directory.mount, dentry },
        flags.difference(OpenFlags::TEMPORARY),
        walker.credentials,
    )
}

fn open_or_create(
    walker: &Walker<'_>,
    base: Option<&Location>,
    path: &[u8],
    flags: OpenFlags,
    permissions: u32,
    resolve: LookupFlags,
) -> Result<Arc<OpenFile>> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut walk = Walk::new(*walker, base, path, resolve)?;
    let mut linked: Option<Vec<u8>> = None;
    loop {
        let last = walk.to_parent(linked.as_deref().unwrap_or(path))?;
        let Last::Name(name, trailing) = last else { return Err(Errno::EISDIR) };
        if trailing == TrailingSlash::Present {
            return Err(Errno::EISDIR);
        }
        let directory = walk.location().clone();
        let found = match lookup(&directory, name.as_bytes()) {
            Ok(dentry) => dentry,
            Err(Errno::ENOENT) => match create_file(walker, &directory, name.as_bytes(), flags, permissions)? {
                Created::New(location) => {
                    return open_checked(location, flags.difference(OpenFlags::TRUNCATE), walker.credentials);
                }
                Created::Raced(dentry) => dentry,
            },
            Err(error) => return Err(error),
        };
        if flags.contains(OpenFlags::EXCLUSIVE) {
            return Err(Errno::EEXIST);
        }
        if found.inode().header().is_symbolic_link() {
            if flags.contains(OpenFlags::NO_FOLLOW) {
                return Err(Errno::ELOOP);
            }
            match walk.follow(&found, &[])? {
                Some(text) => {
                    linked = Some(text);
                    continue;
                }
                None => return open_existing(walk.location().clone(), flags, walker.credentials),
            }
        }
        let location = Location { mount: directory.mount, dentry: found }.enter_mounts();
        if location.inode().header().is_directory() {
            return Err(Errno::EISDIR);
        }
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::ENOTDIR);
        }
        return open_existing(location, flags, walker.credentials);
    }
}

enum Created {
    New(Location),
    Raced(Arc<super::dentry::Dentry>),
}

fn create_file(
    walker: &Walker<'_>,
    parent: &Location,
    name: &[u8],
    flags: OpenFlags,
    permissions: u32,
) -> Result<Created> {
    permission::want_write(parent)?;
    let _guard = parent.dentry.change_lock().ok_or(Errno::ENOTDIR)?.lock();
    if let Ok(dentry) = lookup(parent, name) {
        return Ok(Created::Raced(dentry));
    }
    if flags.contains(OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    let file_mode = FileType::Regular.mode_bits() | permissions & mode::ALL & !walker.context.umask();
    let dentry = match directory::create_locked(walker, parent, name, file_mode, DeviceNumber::default(), &[]) {
        // A directory of generated files has no way to make one; Linux's `vfs_create` says so.
        Err(Errno::EPERM) => return Err(Errno::EACCES),
        other => other?,
    };
    Ok(Created::New(Location { mount: parent.mount.clone(), dentry }))
}

/// Cuts or grows the regular file at `location` (`truncate(2)`).
///
/// # Errors
/// `EISDIR`, `EINVAL`, `EACCES`, `EROFS`, `ETXTBSY`, `EFBIG`.
pub fn truncate(location: &Location, length: u64, credentials: &Credentials) -> Result<()> {
    let inode = location.inode();
    match inode.header().file_type() {
        FileType::Directory => return Err(Errno::EISDIR),
        FileType::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    permission::want_write(location)?;
    permission::check_location(location, credentials, Access::WRITE)?;
    inode.header().begin_writing()?;
    let result = inode.truncate(length);
    inode.header().end_writing();
    result?;
    if !credentials.may(Capability::Fsetid) {
        inode.header().drop_set_id_bits();
    }
    Ok(())
}

/// Sets the times of what is at `location`; `None` leaves one alone. `kind` says whether both are the present, which who may
/// write the file may also set.
///
/// # Errors
/// `EPERM`, `EACCES`, `EROFS`.
pub fn set_times(
    location: &Location,
    accessed: Option<Timestamp>,
    modified: Option<Timestamp>,
    kind: TimesKind,
    credentials: &Credentials,
) -> Result<()> {
    permission::want_write(location)?;
    let inode = location.inode();
    if !permission::is_owner_or_capable(&**inode, credentials) {
        match kind {
            TimesKind::BothNow => permission::check_location(location, credentials, Access::WRITE)?,
            TimesKind::Given => return Err(Errno::EPERM),
        }
    }
    inode.set_attributes(&AttributeChange { accessed, modified, ..AttributeChange::default() })
}

/// Which times [`set_times`] sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimesKind {
    /// Both, to the present.
    BothNow,
    /// Others.
    Given,
}
