//! Open files without a place in the tree, as a magic link of procfs leads to them: an inode and a mount that stand for the file.

use super::{Attributes, FixedDirectory, directory, superblock};
use crate::base::Result;
use crate::fs::dentry::Dentry;
use crate::fs::file::{FileOperations, OpenFile};
use crate::fs::inode::{Inode, InodeHeader};
use crate::fs::mount::{Location, Mount, MountFlags};
use crate::fs::types::{Metadata, OpenFlags};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// An open file as an inode: what a magic link to a pipe leads to.
struct AnonymousInode {
    header: InodeHeader,
    file: Arc<OpenFile>,
}

impl Inode for AnonymousInode {
    fn header(&self) -> &InodeHeader {
        &self.header
    }
    fn metadata(&self) -> Metadata {
        self.file.metadata()
    }
    fn opens_itself(&self) -> bool {
        true
    }
    fn is_generated(&self) -> bool {
        true
    }
    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        self.file.operations().reopen(flags)
    }
}

fn anonymous_mount() -> Arc<Mount> {
    static MOUNT: spin::Once<Arc<Mount>> = spin::Once::new();
    let make = || {
        let superblock = superblock("anon_inodefs", 0x0904_1934, |device| {
            directory(Attributes::new(device, 1, 0o555), Arc::new(FixedDirectory::new()))
        });
        let root = superblock.root().clone();
        Mount::new(superblock, root, String::from("anon_inodefs"), MountFlags::empty())
    };
    MOUNT.call_once(make).clone()
}

/// The location of an open file; for one without a place in the tree, one that leads to the file itself.
#[must_use]
pub fn location_of(file: &Arc<OpenFile>) -> Location {
    if let Some(location) = file.location() {
        return location.clone();
    }
    let metadata = file.metadata();
    let header = InodeHeader::new(
        metadata.inode,
        metadata.device,
        metadata.mode,
        metadata.uid,
        metadata.gid,
        metadata.device_id,
    );
    let inode: Arc<dyn Inode> = Arc::new(AnonymousInode { header, file: file.clone() });
    Location { mount: anonymous_mount(), dentry: Dentry::named_root(inode, file.operations().describe().as_bytes()) }
}

/// What `/proc/PID/fd/N` shows for an open file, seen from `root`.
#[must_use]
pub fn describe(file: &OpenFile, root: &Location) -> Vec<u8> {
    match file.location() {
        Some(location) => location.display_path(root),
        None => file.operations().describe().into_bytes(),
    }
}
