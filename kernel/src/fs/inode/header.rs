//! The part that every inode has: type, permissions, owner, times, link count.
//!
//! The fields are atomics, so that a permission check on each component of a path takes no lock. What few inodes have (a FIFO's pipe,
//! locks) stands behind one small lock of rank `FileObject`.

use crate::base::{Errno, Result};
use crate::fs::file_locks::FileLocks;
use crate::fs::types::{DeviceNumber, FileType, Timestamp, mode};
use crate::sync::{LockRank, SpinLock};
use alloc::boxed::Box;
use alloc::sync::Weak;
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
    #[inline]
    pub fn number(&self) -> u64 {
        self.number
    }
    /// The file system's device.
    #[must_use]
    #[inline]
    pub fn device(&self) -> DeviceNumber {
        self.device
    }
    /// For a device file, the device.
    #[must_use]
    #[inline]
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
    /// When it was made.
    #[must_use]
    #[inline]
    pub fn created(&self) -> Timestamp {
        Timestamp(self.created)
    }
    /// Names that it has.
    #[must_use]
    #[inline]
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
    #[inline]
    pub fn accessed(&self) -> Timestamp {
        Timestamp(self.accessed.load(Relaxed))
    }
    /// The last change of the contents.
    #[must_use]
    #[inline]
    pub fn modified(&self) -> Timestamp {
        Timestamp(self.modified.load(Relaxed))
    }
    /// The last change of contents or attributes.
    #[must_use]
    #[inline]
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
    pub(in crate::fs) fn mark_locked(&self) {
        self.locked.store(true, Relaxed);
    }
    pub(in crate::fs) fn mark_unlocked(&self) {
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
