//! The file system in memory: `tmpfs`, and under other names the initial `rootfs` and `devtmpfs`.
//!
//! Names live in the dentries (see [`super::dentry`]); file data in [`crate::memory::object::SharedPages`], which `mmap` shows too.
//! A [`Tmpfs`] counts pages and inodes against its limits. Pages are counted after the fact from each file's own page count, so that
//! faults through mappings, writes and holes need no common lock: every change ends with `TmpfsInode::settle`, and the sum over all
//! files is the file system's.

mod inode;
mod memfd;
mod options;

pub use inode::{TmpfsInode, seal, set_times};
pub use memfd::{Sealing, create_memfd};
pub use options::MountOptions;

use super::file_system::{self, FileSystem, FileSystemStatistics, FileSystemType, Superblock};
use super::numbers;
use super::types::{DeviceNumber, FileType};
use crate::base::{Errno, PAGE_SIZE, Result};
use crate::security::Credentials;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

/// `TMPFS_MAGIC`.
const MAGIC: u64 = 0x0102_1994;

/// A file system in memory.
pub struct Tmpfs {
    type_name: &'static str,
    device: DeviceNumber,
    page_limit: AtomicU64,
    inode_limit: AtomicU64,
    pages: AtomicI64,
    inodes: AtomicU64,
    next_number: AtomicU64,
    root_mode: AtomicU32,
    root_uid: u32,
    root_gid: u32,
    shown: crate::sync::SpinLock<String>,
}

impl Tmpfs {
    /// An empty file system of the type called `type_name`.
    #[must_use]
    pub fn new(type_name: &'static str, options: &MountOptions) -> Arc<Self> {
        Arc::new(Self {
            type_name,
            device: numbers::next_anonymous_device(),
            page_limit: AtomicU64::new(options.pages.unwrap_or_else(default_page_limit)),
            inode_limit: AtomicU64::new(options.inodes.unwrap_or_else(default_inode_limit)),
            pages: AtomicI64::new(0),
            inodes: AtomicU64::new(0),
            next_number: AtomicU64::new(1),
            root_mode: AtomicU32::new(options.mode.unwrap_or(0o1777)),
            root_uid: options.uid.unwrap_or(0),
            root_gid: options.gid.unwrap_or(0),
            shown: crate::sync::SpinLock::new(crate::sync::LockRank::FileObject, options.show()),
        })
    }

    /// Counts one more inode and numbers it.
    ///
    /// # Errors
    /// `ENOSPC` at the limit.
    fn new_inode_number(&self) -> Result<u64> {
        let limit = self.inode_limit.load(Relaxed);
        let admit = |count: u64| (limit == 0 || count < limit).then_some(count + 1);
        self.inodes.fetch_update(Relaxed, Relaxed, admit).map_err(|_| Errno::ENOSPC)?;
        Ok(self.next_number.fetch_add(1, Relaxed))
    }

    fn forget_inode(&self) {
        self.inodes.fetch_sub(1, Relaxed);
    }

    /// Pages that may still be used, at most `wanted`.
    fn room(&self, wanted: u64) -> u64 {
        let limit = self.page_limit.load(Relaxed);
        if limit == 0 {
            return wanted;
        }
        let used = u64::try_from(self.pages.load(Relaxed)).unwrap_or(0);
        limit.saturating_sub(used).min(wanted)
    }

    fn change_pages(&self, by: i64) {
        self.pages.fetch_add(by, Relaxed);
    }
}

fn total_pages() -> u64 {
    crate::memory::frame_allocator::statistics().total
}

/// Half the memory, as Linux has it.
fn default_page_limit() -> u64 {
    (total_pages() / 2).max(16)
}

fn default_inode_limit() -> u64 {
    (total_pages() / 2).max(256)
}

impl FileSystem for Tmpfs {
    fn type_name(&self) -> &'static str {
        self.type_name
    }
    fn device(&self) -> DeviceNumber {
        self.device
    }
    fn statistics(&self) -> FileSystemStatistics {
        let (pages, inodes) = (self.page_limit.load(Relaxed), self.inode_limit.load(Relaxed));
        FileSystemStatistics {
            magic: MAGIC,
            block_size: PAGE_SIZE as u64,
            blocks: pages,
            free_blocks: self.room(pages),
            inodes,
            free_inodes: inodes.saturating_sub(self.inodes.load(Relaxed)),
        }
    }
    fn options(&self) -> String {
        self.shown.lock().clone()
    }
    fn remount(&self, options: &[u8]) -> Result<()> {
        let options = MountOptions::parse(options)?;
        if let Some(pages) = options.pages {
            if pages != 0 && pages < u64::try_from(self.pages.load(Relaxed)).unwrap_or(0) {
                return Err(Errno::EINVAL);
            }
            self.page_limit.store(pages, Relaxed);
        }
        if let Some(inodes) = options.inodes {
            if inodes != 0 && inodes < self.inodes.load(Relaxed) {
                return Err(Errno::EINVAL);
            }
            self.inode_limit.store(inodes, Relaxed);
        }
        let shown = options.show();
        if !shown.is_empty() {
            let old = core::mem::replace(&mut *self.shown.lock(), shown);
            drop(old);
        }
        Ok(())
    }
}

impl core::fmt::Debug for Tmpfs {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(&format!("Tmpfs({})", self.type_name))
    }
}

/// An empty file system of the type called `type_name`, ready to be mounted.
///
/// # Errors
/// `ENOSPC` when the limits leave no room for the root.
pub fn superblock(type_name: &'static str, options: &MountOptions) -> Result<Arc<Superblock>> {
    let file_system = Tmpfs::new(type_name, options);
    let mode = FileType::Directory.mode_bits() | file_system.root_mode.load(Relaxed);
    let root = TmpfsInode::new_root(&file_system, mode, file_system.root_uid, file_system.root_gid)?;
    Ok(Superblock::new(file_system, root))
}

/// The type that `mount -t tmpfs` finds.
#[derive(Debug)]
struct TmpfsType;

impl FileSystemType for TmpfsType {
    fn name(&self) -> &'static str {
        "tmpfs"
    }
    fn mount(&self, _source: &[u8], options: &[u8], _credentials: &Credentials) -> Result<Arc<Superblock>> {
        superblock("tmpfs", &MountOptions::parse(options)?)
    }
}

/// Registers the type.
pub fn initialize() {
    file_system::register(&TmpfsType);
}

#[cfg(test)]
mod tests;
