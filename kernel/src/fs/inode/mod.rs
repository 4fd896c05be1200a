//! A file on a file system, whatever its names are.
//!
//! [`InodeHeader`] is the part that every inode has: type, permissions, owner, times, link count. [`Inode`] is what differs by file
//! system.
//!
//! A directory stores its names in one of two ways. Where [`Inode::keeps_names`] holds (tmpfs), the dentries below it are the
//! directory: [`super::dentry`] keeps them until they are unlinked, and the inode only makes and counts. Otherwise (procfs) every
//! look-up asks [`Inode::lookup`].

mod header;

pub use header::{Attachment, AttributeChange, InodeExtras, InodeHeader};

use super::file::FileOperations;
use super::mount::Location;
use super::types::{DeviceNumber, FileType, Metadata, OpenFlags};
use crate::base::{Errno, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

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
            device: header.device(),
            inode: header.number(),
            mode: header.mode(),
            links: header.links(),
            uid: header.uid(),
            gid: header.gid(),
            device_id: header.device_id(),
            size: self.size(),
            block_size: 4096,
            blocks: self.blocks(),
            accessed: header.accessed(),
            modified: header.modified(),
            changed: header.changed(),
            created: header.created(),
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
