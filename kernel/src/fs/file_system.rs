//! File systems and their types: what `mount(2)` finds by name and what a mount stands on.

use super::dentry::Dentry;
use super::inode::Inode;
use super::types::DeviceNumber;
use crate::base::{Errno, Result};
use crate::security::Credentials;
use crate::sync::{LockRank, SpinLock};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What `statfs` tells of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileSystemStatistics {
    /// The type's magic number.
    pub magic: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub free_blocks: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes free.
    pub free_inodes: u64,
}

/// A file system that is there.
pub trait FileSystem: Any + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;
    /// Its device.
    fn device(&self) -> DeviceNumber;
    /// What `statfs` tells.
    fn statistics(&self) -> FileSystemStatistics;
    /// Its own options as `/proc/mounts` shows them, each with a comma before it.
    fn options(&self) -> String {
        String::new()
    }
    /// Takes new options (`MS_REMOUNT`).
    ///
    /// # Errors
    /// `EINVAL` for an option that it does not know.
    fn remount(&self, _options: &[u8]) -> Result<()> {
        Ok(())
    }
    /// Writes everything to its device.
    ///
    /// # Errors
    /// `EIO`.
    fn synchronise(&self) -> Result<()> {
        Ok(())
    }
}

/// A file system with the root of its directory tree: what all its mounts share. Freed with the last mount and open file.
pub struct Superblock {
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    read_only: AtomicBool,
}

impl Superblock {
    /// A superblock around a new file system whose root directory is `root`.
    #[must_use]
    pub fn new(file_system: Arc<dyn FileSystem>, root: Arc<dyn Inode>) -> Arc<Self> {
        let root = Dentry::root(root);
        Arc::new(Self { file_system, root, read_only: AtomicBool::new(false) })
    }
    /// The file system.
    #[must_use]
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }
    /// The root of its tree.
    #[must_use]
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }
    /// Whether the whole file system is read only.
    #[must_use]
    #[inline]
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Relaxed)
    }
    /// Makes the whole file system read only, or writable.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Relaxed);
    }
}

impl Drop for Superblock {
    fn drop(&mut self) {
        self.root.dissolve();
    }
}

impl core::fmt::Debug for Superblock {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Superblock({})", self.file_system.type_name())
    }
}

/// A type of file system.
pub trait FileSystemType: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// A file system for a new mount from `source` with the option text `options`; a type with one instance gives that.
    ///
    /// # Errors
    /// `EINVAL` for a bad option; what reading the source gives.
    fn mount(&self, source: &[u8], options: &[u8], credentials: &Credentials) -> Result<Arc<Superblock>>;
    /// Whether it is on a block device (`/proc/filesystems` shows `nodev` for the others).
    fn needs_device(&self) -> bool {
        false
    }
}

static TYPES: SpinLock<Vec<&'static dyn FileSystemType>> = SpinLock::new(LockRank::FileSystem, Vec::new());

/// Makes a type known. A second one of the same name is ignored.
pub fn register(file_system_type: &'static dyn FileSystemType) {
    let mut types = TYPES.lock();
    if !types.iter().any(|known| known.name() == file_system_type.name()) {
        types.push(file_system_type);
    }
}

/// The type called `name`.
///
/// # Errors
/// `ENODEV`.
pub fn find(name: &[u8]) -> Result<&'static dyn FileSystemType> {
    let types = TYPES.lock();
    types.iter().find(|known| known.name().as_bytes() == name).copied().ok_or(Errno::ENODEV)
}

/// All types, for `/proc/filesystems`.
#[must_use]
pub fn types() -> Vec<&'static dyn FileSystemType> {
    TYPES.lock().clone()
}
