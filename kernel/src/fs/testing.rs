//! A small world for tests: a tmpfs root, a context and identities.

use super::context::FsContext;
use super::mount::{Location, Mount, MountFlags, MountNamespace};
use super::tmpfs::{MountOptions, superblock};
use super::types::{DeviceNumber, FileType, OpenFlags};
use super::walk::{LookupFlags, Walker};
use super::{IoDestination, IoSource, OpenFile, directory, open};
use crate::base::Result;
use crate::security::Credentials;
use std::sync::Arc;

/// A context on a fresh tmpfs, with root's identity.
pub struct World {
    /// The context.
    pub context: Arc<FsContext>,
    /// Who acts.
    pub credentials: Credentials,
}

impl World {
    /// A world with the mount options `options`.
    pub fn with_options(options: &str) -> Self {
        let options = MountOptions::parse(options.as_bytes()).unwrap();
        let superblock = superblock("tmpfs", &options).unwrap();
        let root = superblock.root().clone();
        let mount = Mount::new(superblock, root, String::from("tmpfs"), MountFlags::empty());
        let context = FsContext::new(MountNamespace::new(mount));
        context.set_umask(0);
        Self { context, credentials: Credentials::root() }
    }
    /// A world with room for all that tests do.
    pub fn new() -> Self {
        Self::with_options("mode=755,size=64m,nr_inodes=100k")
    }
    /// The walker.
    pub fn walker(&self) -> Walker<'_> {
        Walker { context: &self.context, credentials: &self.credentials }
    }
    /// Acts as another user from now on.
    pub fn become_user(&mut self, uid: u32, gid: u32) {
        self.credentials = Credentials::user(uid, gid);
    }
    /// Makes a directory.
    pub fn mkdir(&self, path: &str, permissions: u32) -> Result<()> {
        let mode = FileType::Directory.mode_bits() | permissions;
        directory::make(&self.walker(), None, path.as_bytes(), mode, DeviceNumber::default(), &[])
    }
    /// Makes a symbolic link.
    pub fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let mode = FileType::SymbolicLink.mode_bits() | 0o777;
        directory::make(&self.walker(), None, path.as_bytes(), mode, DeviceNumber::default(), target.as_bytes())
    }
    /// Opens a file.
    pub fn open(&self, path: &str, flags: OpenFlags, permissions: u32) -> Result<Arc<OpenFile>> {
        open::open(&self.walker(), None, path.as_bytes(), flags, permissions, LookupFlags::empty())
    }
    /// Makes a file with contents.
    pub fn write(&self, path: &str, contents: &[u8]) -> Result<()> {
        let file = self.open(path, OpenFlags::CREATE | OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE, 0o644)?;
        let written = file.write(&mut IoSource::kernel(contents))?;
        assert_eq!(written, contents.len());
        Ok(())
    }
    /// A file's contents.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.open(path, OpenFlags::empty(), 0)?;
        let mut contents = vec![0; usize::try_from(file.metadata().size).unwrap() + 16];
        let count = file.read(&mut IoDestination::kernel(&mut contents))?;
        contents.truncate(count);
        Ok(contents)
    }
    /// Where a path leads.
    pub fn resolve(&self, path: &str) -> Result<Location> {
        self.walker().resolve(None, path.as_bytes(), LookupFlags::FOLLOW)
    }
    /// The path of where a path leads.
    pub fn canonical(&self, path: &str) -> Result<String> {
        let location = self.resolve(path)?;
        Ok(String::from_utf8(location.path_from(&self.context.root()).0).unwrap())
    }
}
