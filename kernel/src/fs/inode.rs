//! A file on a file system, whatever its names are.
//!
//! [`InodeHeader`] is the part that every inode has: type, permissions, owner, times, link count. Its fields are atomics, so that a
//! permission check on each component of a path takes no lock. [`Inode`] is what differs by file system.
//!
//! A directory stores its names in one of two ways. Where [`Inode::keeps_names`] holds (tmpfs), the dentries below it are the
//! directory: [`super::dentry`] keeps them until they are unlinked, and the inode only makes and counts. Otherwise (procfs) every
//! look-up asks [`Inode::lookup`].

use super::file::FileOperations;
use super::file_locks::FileLocks;
use super::mount::Location;
use super::types::{DeviceNumber, FileType, Metadata, OpenFlags, Timestamp, mode};
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, Ordering::Relaxed};

/// Something that a room keeps with an inode while it is in use (the pipe behind a FIFO, a socket).
pub type Attachment = Weak<dyn Any + Send + Sync>;

/// What few inodes have.
#[derive(Default)]
pub struct InodeExtras {
    /// The pipe of a FIFO that is open, or the socket bound here.
    pub attachment: Option<Attachment>,
    /// Locks on the file.
    pub locks: Option<Box<FileLocks>>,
}

/// What every inode has.
pub struct InodeHeader {
    number: u64,
    device: DeviceNumber,
    device_id: DeviceNumber,
    mode: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    links: AtomicU32,
    accessed: AtomicI64,
    modified: AtomicI64,
    changed: AtomicI64,
    created: i64,
    /// How many may write it now (positive) or that it is being executed (negative): `ETXTBSY`.
    writers: AtomicI32,
    /// Whether there may be locks on it: closing looks no further where there are none.
    locked: AtomicBool,
    extras: SpinLock<InodeExtras>,
}

impl InodeHeader {
    /// A header for a new inode with one link (two for a directory), made now. `mode` has type and permissions.
    #[must_use]
    pub fn new(number: u64, device: DeviceNumber, mode: u32, uid: u32, gid: u32, device_id: DeviceNumber) -> Self {
        let now = Timestamp::now();
        let links = if FileType::from_mode(mode) == Some(FileType::Directory) { 2 } else { 1 };
        Self {
            number,
            device,
            device_id,
            mode: AtomicU32::new(mode),
            uid: AtomicU32::new(uid),
            gid: AtomicU32::new(gid),
            links: AtomicU32::new(links),
            accessed: AtomicI64::new(now.0),
            modified: AtomicI64::new(now.0),
            changed: AtomicI64::new(now.0),
            created: now.0,
            writers: AtomicI32::new(0),
            locked: AtomicBool::new(false),
            extras: SpinLock::new(LockRank::FileObject, InodeExtras::default()),
        }
    }
    /// The inode number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
    /// The file system's device.
    #[must_use]
    pub fn device(&self) -> DeviceNumber {
        self.device
    }
    /// For a device file, the device.
    #[must_use]
    pub fn device_id(&self) -> DeviceNumber {
        self.device_id
    }
    /// Type and permissions.
    #[must_use]
    #[inline]
    pub fn mode(&self) -> u32 {
        self.mode.load(Relaxed)
    }
    /// The type.
    #[must_use]
    #[inline]
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode()).unwrap_or(FileType::Regular)
    }
    /// Whether it is a directory.
    #[must_use]
    #[inline]
    pub fn is_directory(&self) -> bool {
        self.mode() >> 12 == FileType::Directory as u32
    }
    /// Whether it is a symbolic link.
    #[must_use]
    #[inline]
    pub fn is_symbolic_link(&self) -> bool {
        self.mode() >> 12 == FileType::SymbolicLink as u32
    }
    /// The owner.
    #[must_use]
    #[inline]
    pub fn uid(&self) -> u32 {
        self.uid.load(Relaxed)
    }
    /// The group.
    #[must_use]
    #[inline]
    pub fn gid(&self) -> u32 {
        self.gid.load(Relaxed)
    }
    /// Names that it has.
    #[must_use]
    pub fn links(&self) -> u32 {
        self.links.load(Relaxed)
    }
    /// Sets the number of names.
    pub fn set_links(&self, links: u32) {
        self.links.store(links, Relaxed);
    }
    /// One name more.
    pub fn add_link(&self) {
        self.links.fetch_add(1, Relaxed);
    }
    /// One name less; gives what is left.
    pub fn remove_link(&self) -> u32 {
        let before = self.links.fetch_update(Relaxed, Relaxed, |links| Some(links.saturating_sub(1)));
        before.unwrap_or(0).saturating_sub(1)
    }
    /// Sets the permission bits, leaving the type.
    pub fn set_permissions(&self, permissions: u32) {
        let kept = self.mode() & !mode::ALL;
        self.mode.store(kept | permissions & mode::ALL, Relaxed);
    }
    /// Sets owner and group.
    pub fn set_owner(&self, uid: u32, gid: u32) {
        self.uid.store(uid, Relaxed);
        self.gid.store(gid, Relaxed);
    }
    /// The last read.
    #[must_use]
    pub fn accessed(&self) -> Timestamp {
        Timestamp(self.accessed.load(Relaxed))
    }
    /// The last change of the contents.
    #[must_use]
    pub fn modified(&self) -> Timestamp {
        Timestamp(self.modified.load(Relaxed))
    }
    /// The last change of contents or attributes.
    #[must_use]
    pub fn changed(&self) -> Timestamp {
        Timestamp(self.changed.load(Relaxed))
    }
    /// Sets the time of the last read.
    pub fn set_accessed(&self, time: Timestamp) {
        self.accessed.store(time.0, Relaxed);
    }
    /// Sets the time of the last change of the contents.
    pub fn set_modified(&self, time: Timestamp) {
        self.modified.store(time.0, Relaxed);
    }
    /// Sets the time of the last change of contents or attributes.
    pub fn set_changed(&self, time: Timestamp) {
        self.changed.store(time.0, Relaxed);
    }
    /// Notes a read now, as `relatime` has it: only when the last noted one is older than a change or a day.
    #[inline]
    pub fn note_read(&self) {
        const DAY: i64 = 86_400_000_000_000;
        let accessed = self.accessed.load(Relaxed);
        if accessed <= self.modified.load(Relaxed) || accessed <= self.changed.load(Relaxed) {
            let now = Timestamp::now().0;
            if now != accessed {
                self.accessed.store(now, Relaxed);
            }
        } else {
            let now = Timestamp::now().0;
            if now.saturating_sub(accessed) >= DAY {
                self.accessed.store(now, Relaxed);
            }
        }
    }
    /// Notes a change of the contents now.
    pub fn note_write(&self) {
        let now = Timestamp::now().0;
        self.modified.store(now, Relaxed);
        self.changed.store(now, Relaxed);
    }
    /// Notes a change of attributes now.
    pub fn note_change(&self) {
        self.changed.store(Timestamp::now().0, Relaxed);
    }
    /// Takes away the set-user-ID bit, and set-group-ID where the group may execute, as a write by somebody without
    /// `CAP_FSETID` does.
    pub fn drop_set_id_bits(&self) {
        let mode = self.mode();
        let mut kept = mode & !mode::SET_UID;
        if mode & mode::GROUP_EXECUTE != 0 {
            kept &= !mode::SET_GID;
        }
        if kept != mode {
            self.mode.store(kept, Relaxed);
            self.note_change();
        }
    }
    /// Applies a change of attributes that was permitted.
    pub fn apply(&self, change: &AttributeChange) {
        if let Some(permissions) = change.permissions {
            self.set_permissions(permissions);
        }
        if let Some(uid) = change.uid {
            self.uid.store(uid, Relaxed);
        }
        if let Some(gid) = change.gid {
            self.gid.store(gid, Relaxed);
        }
        if let Some(time) = change.accessed {
            self.set_accessed(time);
        }
        if let Some(time) = change.modified {
            self.set_modified(time);
        }
        self.note_change();
    }
    /// Admits one more writer.
    ///
    /// # Errors
    /// `ETXTBSY` while the file is executed.
    pub fn begin_writing(&self) -> Result<()> {
        let admit = |count: i32| (count >= 0).then(|| count.saturating_add(1));
        self.writers.fetch_update(Relaxed, Relaxed, admit).map(|_| ()).map_err(|_| Errno::ETXTBSY)
    }
    /// A writer that was admitted leaves.
    pub fn end_writing(&self) {
        self.writers.fetch_sub(1, Relaxed);
    }
    /// Keeps writers out while the file is executed.
    ///
    /// # Errors
    /// `ETXTBSY` while somebody may write it.
    pub fn deny_writing(&self) -> Result<()> {
        let deny = |count: i32| (count <= 0).then(|| count.saturating_sub(1));
        self.writers.fetch_update(Relaxed, Relaxed, deny).map(|_| ()).map_err(|_| Errno::ETXTBSY)
    }
    /// Ends one [`Self::deny_writing`].
    pub fn allow_writing(&self) {
        self.writers.fetch_add(1, Relaxed);
    }
    /// How many may write it now.
    #[must_use]
    pub fn writers(&self) -> u32 {
        u32::try_from(self.writers.load(Relaxed)).unwrap_or(0)
    }
    /// Whether there may be locks on it.
    #[must_use]
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.locked.load(Relaxed)
    }
    pub(super) fn mark_locked(&self) {
        self.locked.store(true, Relaxed);
    }
    pub(super) fn mark_unlocked(&self) {
        self.locked.store(false, Relaxed);
    }
    /// What few inodes have, under its lock.
    pub fn extras(&self) -> crate::sync::SpinLockGuard<'_, InodeExtras> {
        self.extras.lock()
    }
}

impl core::fmt::Debug for InodeHeader {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "inode {} mode {:o}", self.number, self.mode())
    }
}

/// A change of attributes that was permitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AttributeChange {
    /// New permission bits.
    pub permissions: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New access time.
    pub accessed: Option<Timestamp>,
    /// New modification time.
    pub modified: Option<Timestamp>,
}

/// What a symbolic link leads to.
pub enum LinkTarget {
    /// A path, walked on from the link's directory.
    Path(Arc<[u8]>),
    /// A place, whatever its path: the magic links of procfs.
    Jump(Location),
}

/// What is to be made in a directory.
#[derive(Clone, Copy, Debug)]
pub struct NewInode<'a> {
    /// Type and permissions, the umask applied.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// For a device file, the device.
    pub device_id: DeviceNumber,
    /// For a symbolic link, the text.
    pub target: &'a [u8],
}

/// A name that a directory listing gives.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number.
    pub inode: u64,
    /// The type.
    pub file_type: FileType,
    /// The position to continue at after this entry.
    pub next: u64,
}

/// Takes the entries of a listing.
pub trait DirectorySink {
    /// Takes an entry; false when there is no room for it, which ends the listing before it.
    fn add(&mut self, entry: DirectoryEntry<'_>) -> bool;
}

/// How `setxattr` treats an attribute that is there or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetAttributeMode {
    /// Make or replace it.
    Any,
    /// It must not be there (`EEXIST`).
    Create,
    /// It must be there (`ENODATA`).
    Replace,
}

/// A file as its file system has it.
pub trait Inode: Any + Send + Sync {
    /// The part that all inodes have.
    fn header(&self) -> &InodeHeader;
    /// The length.
    fn size(&self) -> u64 {
        0
    }
    /// Space used, in units of 512 bytes.
    fn blocks(&self) -> u64 {
        0
    }
    /// What `stat` tells.
    fn metadata(&self) -> Metadata {
        let header = self.header();
        Metadata {
            device: header.device,
            inode: header.number,
            mode: header.mode(),
            links: header.links(),
            uid: header.uid(),
            gid: header.gid(),
            device_id: header.device_id,
            size: self.size(),
            block_size: 4096,
            blocks: self.blocks(),
            accessed: header.accessed(),
            modified: header.modified(),
            changed: header.changed(),
            created: Timestamp(header.created),
        }
    }
    /// What reading and writing the regular file do. Called for regular files, and for other types only where
    /// [`Inode::opens_itself`] holds; devices, FIFOs and directories are opened by the VFS.
    ///
    /// # Errors
    /// As `open(2)`.
    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ENXIO)
    }
    /// Whether [`Inode::open`] is to be called whatever the type.
    fn opens_itself(&self) -> bool {
        false
    }
    /// Whether the dentries below this directory are kept and are the directory.
    fn keeps_names(&self) -> bool {
        false
    }
    /// The inode called `name` in a directory that does not keep its names.
    ///
    /// # Errors
    /// `ENOENT`.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOENT)
    }
    /// Lists a directory that does not keep its names from `position` on (2 is the first after `.` and `..`).
    ///
    /// # Errors
    /// `ENOTDIR`.
    fn list(&self, _position: u64, _sink: &mut dyn DirectorySink) -> Result<()> {
        Err(Errno::ENOTDIR)
    }
    /// Makes an inode in this directory; the caller enters its name. Counts the link of a subdirectory and notes the change.
    ///
    /// # Errors
    /// `EPERM` where the file system cannot, `ENOSPC`, `ENOMEM`.
    fn create(&self, _name: &[u8], _new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a nameless regular file (`O_TMPFILE`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the file system cannot.
    fn create_nameless(&self, _new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Gives an inode of this file system one more name here; the caller enters it.
    ///
    /// # Errors
    /// `EPERM`, `ENOSPC`.
    fn link(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Takes a name of `inode` away (an empty directory too); the caller removes it.
    ///
    /// # Errors
    /// `EPERM`.
    fn unlink(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Moves `inode` from `name` here to `new_name` in `target`, over `replaced`; or exchanges the two. The caller moves names.
    ///
    /// # Errors
    /// `EPERM`, `EINVAL` for an exchange that is not possible.
    fn rename(&self, _request: &RenameRequest<'_>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// What a symbolic link leads to.
    ///
    /// # Errors
    /// `EINVAL` for what is none.
    fn read_link(&self) -> Result<LinkTarget> {
        Err(Errno::EINVAL)
    }
    /// The text that `readlink(2)` gives; differs from [`Inode::read_link`] for magic links.
    ///
    /// # Errors
    /// `EINVAL` for what is no link.
    fn link_text(&self) -> Result<Arc<[u8]>> {
        match self.read_link()? {
            LinkTarget::Path(text) => Ok(text),
            LinkTarget::Jump(location) => Ok(location.path_from_global_root().into()),
        }
    }
    /// Changes attributes; the change was permitted.
    ///
    /// # Errors
    /// `EPERM` where the file system cannot.
    fn set_attributes(&self, change: &AttributeChange) -> Result<()> {
        self.header().apply(change);
        Ok(())
    }
    /// Makes the regular file `length` bytes long.
    ///
    /// # Errors
    /// `EINVAL` where it cannot be, `EFBIG`, `ENOSPC`.
    fn truncate(&self, _length: u64) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// Whether opening to write needs no [`InodeHeader::begin_writing`] and `O_TRUNC` no [`Inode::truncate`]: generated files.
    fn is_generated(&self) -> bool {
        false
    }
    /// An extended attribute's value.
    ///
    /// # Errors
    /// `ENODATA`; `EOPNOTSUPP` where there are none.
    fn extended_attribute(&self, _name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA` as `mode` says; `ENOSPC`; `EOPNOTSUPP`.
    fn set_extended_attribute(&self, _name: &[u8], _value: &[u8], _mode: SetAttributeMode) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`; `EOPNOTSUPP`.
    fn remove_extended_attribute(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Calls `each` with the name of every extended attribute.
    ///
    /// # Errors
    /// `EOPNOTSUPP`.
    fn list_extended_attributes(&self, _each: &mut dyn FnMut(&[u8])) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
}

impl core::fmt::Debug for dyn Inode {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.header().fmt(formatter)
    }
}

/// A rename inside one file system; see [`Inode::rename`].
#[derive(Clone, Copy, Debug)]
pub struct RenameRequest<'a> {
    /// The old name.
    pub name: &'a [u8],
    /// What is moved.
    pub inode: &'a Arc<dyn Inode>,
    /// The directory that it goes to; may be the same.
    pub target: &'a Arc<dyn Inode>,
    /// The new name.
    pub new_name: &'a [u8],
    /// What has the new name now.
    pub replaced: Option<&'a Arc<dyn Inode>>,
    /// Whether the two change places instead.
    pub kind: RenameKind,
}

/// What a rename does with a file that has the new name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameKind {
    /// It is replaced.
    Replace,
    /// The two change places.
    Exchange,
}
