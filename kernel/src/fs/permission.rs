//! Who may do what with a file, by mode bits and capabilities.
//!
//! The order of the checks, and so the errno when several fail, is Linux's `fs/namei.c`.

use super::dentry::Dentry;
use super::inode::Inode;
use super::mount::Location;
use super::types::{FileType, mode};
use crate::base::{Errno, Result};
use crate::security::{Capability, Credentials};

bitflags::bitflags! {
    /// What somebody wants to do with a file, as the bits of one class in a mode.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Access: u32 {
        /// Execute it, or search the directory.
        const EXECUTE = 1;
        /// Write it.
        const WRITE = 2;
        /// Read it.
        const READ = 4;
    }
}

/// Checks the mode bits of `inode`.
///
/// # Errors
/// `EACCES`.
#[inline]
pub fn check(inode: &dyn Inode, credentials: &Credentials, access: Access) -> Result<()> {
    let mode = inode.header().mode();
    let wanted = access.bits();
    // What all three classes may do needs no look at who asks.
    if (wanted * 0o111) & !mode == 0 {
        return Ok(());
    }
    check_class(inode, mode, credentials, access)
}

fn check_class(inode: &dyn Inode, mode: u32, credentials: &Credentials, access: Access) -> Result<()> {
    let header = inode.header();
    let class = if credentials.fsuid == header.uid() {
        mode >> 6
    } else if credentials.is_in_group(header.gid()) {
        mode >> 3
    } else {
        mode
    };
    if access.bits() & !class & 7 == 0 {
        return Ok(());
    }
    if header.is_directory() {
        if !access.contains(Access::WRITE) && credentials.may(Capability::DacReadSearch) {
            return Ok(());
        }
        if credentials.may(Capability::DacOverride) {
            return Ok(());
        }
        return Err(Errno::EACCES);
    }
    if access == Access::READ && credentials.may(Capability::DacReadSearch) {
        return Ok(());
    }
    if (!access.contains(Access::EXECUTE) || mode & 0o111 != 0) && credentials.may(Capability::DacOverride) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// Checks access to what is at `location`: a file system that is read only refuses writing first.
///
/// # Errors
/// `EROFS`, `EACCES`.
pub fn check_location(location: &Location, credentials: &Credentials, access: Access) -> Result<()> {
    let inode = &**location.inode();
    if access.contains(Access::WRITE)
        && location.mount.superblock().is_read_only()
        && stores(inode.header().file_type())
    {
        return Err(Errno::EROFS);
    }
    if access.contains(Access::EXECUTE)
        && inode.header().file_type() == FileType::Regular
        && location.mount.flags().contains(super::mount::MountFlags::NO_EXECUTE)
    {
        return Err(Errno::EACCES);
    }
    check(inode, credentials, access)
}

/// Whether writing a file of this type writes to the file system.
fn stores(file_type: FileType) -> bool {
    matches!(file_type, FileType::Regular | FileType::Directory | FileType::SymbolicLink)
}

/// Refuses changes through a mount that is read only.
///
/// # Errors
/// `EROFS`.
pub fn want_write(location: &Location) -> Result<()> {
    if location.mount.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
}

/// Whether a name may be made in `directory`.
///
/// # Errors
/// `ENOENT` for a directory that was removed, `EACCES`.
pub fn check_create(directory: &Dentry, credentials: &Credentials) -> Result<()> {
    if directory.is_deleted() {
        return Err(Errno::ENOENT);
    }
    check(&**directory.inode(), credentials, Access::WRITE | Access::EXECUTE)
}

/// What is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victim {
    /// A directory, by `rmdir` or a rename of one over it.
    Directory,
    /// Anything else.
    Other,
}

/// Whether the name `victim` may be taken away from `directory`.
///
/// # Errors
/// `EACCES`, `EPERM` by the sticky bit, `ENOTDIR`, `EISDIR`, `EBUSY` for a root, `ENOENT` in a directory that was removed.
pub fn check_delete(directory: &Dentry, victim: &Dentry, kind: Victim, credentials: &Credentials) -> Result<()> {
    let parent = directory.inode().header();
    check(&**directory.inode(), credentials, Access::WRITE | Access::EXECUTE)?;
    let header = victim.inode().header();
    if parent.mode() & mode::STICKY != 0
        && credentials.fsuid != header.uid()
        && credentials.fsuid != parent.uid()
        && !credentials.may(Capability::Fowner)
    {
        return Err(Errno::EPERM);
    }
    match kind {
        Victim::Directory if !header.is_directory() => return Err(Errno::ENOTDIR),
        Victim::Directory if victim.is_root() => return Err(Errno::EBUSY),
        Victim::Other if header.is_directory() => return Err(Errno::EISDIR),
        _ => {}
    }
    if directory.is_deleted() { Err(Errno::ENOENT) } else { Ok(()) }
}

/// Whether the caller owns the file or passes for its owner.
#[must_use]
pub fn is_owner_or_capable(inode: &dyn Inode, credentials: &Credentials) -> bool {
    credentials.fsuid == inode.header().uid() || credentials.may(Capability::Fowner)
}

/// Group and mode of a file that the caller makes in `directory` with `mode` (type and permissions, umask applied): a
/// set-group-ID directory gives its group on, and to directories the bit too.
#[must_use]
pub fn inherit(directory: &dyn Inode, mode: u32, credentials: &Credentials) -> (u32, u32) {
    let parent = directory.header();
    if parent.mode() & mode::SET_GID == 0 {
        return (credentials.fsgid, mode);
    }
    let gid = parent.gid();
    let is_directory = mode >> 12 == FileType::Directory as u32;
    if is_directory {
        return (gid, mode | mode::SET_GID);
    }
    let both = mode::SET_GID | mode::GROUP_EXECUTE;
    let strips = mode & both == both && !credentials.is_in_group(gid) && !credentials.may(Capability::Fsetid);
    (gid, if strips { mode & !mode::SET_GID } else { mode })
}
