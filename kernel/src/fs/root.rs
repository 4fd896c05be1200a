//! The root file system and the first context.

use super::context::FsContext;
use super::mount::{Mount, MountFlags, MountNamespace};
use super::tmpfs::{self, MountOptions};
use crate::base::Result;
use alloc::string::String;
use alloc::sync::Arc;

/// Makes the root file system (an empty tmpfs called `rootfs`) and a context at its root, for the first process.
///
/// # Errors
/// `ENOSPC`, `ENOMEM`.
pub fn mount_root() -> Result<Arc<FsContext>> {
    tmpfs::initialize();
    let superblock = tmpfs::superblock("rootfs", &MountOptions::default())?;
    let root = superblock.root().clone();
    root.inode().header().set_permissions(0o755);
    let mount = Mount::new(superblock, root, String::from("rootfs"), MountFlags::empty());
    Ok(FsContext::new(MountNamespace::new(mount)))
}
