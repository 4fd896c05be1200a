//! Files without a place in the tree: `memfd_create`.

use super::inode::{MEMFD_MODE, seal};
use super::{MountOptions, Tmpfs, TmpfsInode, superblock};
use crate::base::{Errno, Result};
use crate::fs::dentry::Dentry;
use crate::fs::file::OpenFile;
use crate::fs::inode::NewInode;
use crate::fs::mount::{Location, Mount, MountFlags};
use crate::fs::open::open_checked;
use crate::fs::types::{DeviceNumber, OpenFlags};
use crate::security::Credentials;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Whether a memfd may get seals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealing {
    /// It may (`MFD_ALLOW_SEALING`).
    Allowed,
    /// It may not.
    Forbidden,
}

/// The mount, attached nowhere, that memfds live on.
fn mount() -> Result<Arc<Mount>> {
    static MOUNT: spin::Once<Arc<Mount>> = spin::Once::new();
    MOUNT
        .try_call_once(|| {
            let superblock =
                superblock("tmpfs", &MountOptions { pages: Some(0), inodes: Some(0), ..Default::default() })?;
            let root = superblock.root().clone();
            Ok(Mount::new(superblock, root, String::from("tmpfs"), MountFlags::empty()))
        })
        .cloned()
}

/// A new memfd called `name`, open for reading and writing.
///
/// # Errors
/// `ENOMEM`.
pub fn create_memfd(name: &[u8], sealing: Sealing, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    let mount = mount()?;
    let any: Arc<dyn core::any::Any + Send + Sync> = mount.superblock().file_system().clone();
    let file_system = any.downcast::<Tmpfs>().map_err(|_| Errno::ENOMEM)?;
    let new = NewInode {
        mode: MEMFD_MODE,
        uid: credentials.fsuid,
        gid: credentials.fsgid,
        device_id: DeviceNumber::default(),
        target: &[],
    };
    let inode = TmpfsInode::new(&file_system, &new)?;
    inode.set_seals(if sealing == Sealing::Allowed { 0 } else { seal::SEAL });
    crate::fs::Inode::header(&*inode).set_links(0);
    let mut full_name = Vec::from(*b"memfd:");
    full_name.extend_from_slice(name);
    let dentry = Dentry::detached(mount.root(), &full_name, inode);
    dentry.mark_deleted();
    open_checked(Location { mount, dentry }, OpenFlags::READ_WRITE, credentials)
}
