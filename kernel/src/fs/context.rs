//! What of a process a path walk depends on: root, working directory, umask, mounts.
//!
//! Shared between processes that `clone` made with `CLONE_FS`.

use super::mount::{Location, MountNamespace};
use crate::sync::{LockRank, SpinLock};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Root, working directory, umask, mounts.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
    namespace: Arc<MountNamespace>,
}

#[derive(Clone)]
struct Places {
    root: Location,
    working_directory: Location,
}

impl FsContext {
    /// A context at the root of `namespace`, with Linux's first umask.
    #[must_use]
    pub fn new(namespace: Arc<MountNamespace>) -> Arc<Self> {
        let root = namespace.root().root_location().enter_mounts();
        Arc::new(Self {
            places: SpinLock::new(LockRank::FileSystem, Places { working_directory: root.clone(), root }),
            umask: AtomicU32::new(0o022),
            namespace,
        })
    }
    /// A copy, for `fork`.
    #[must_use]
    pub fn duplicate(&self) -> Arc<Self> {
        let places = self.places.lock().clone();
        Arc::new(Self {
            places: SpinLock::new(LockRank::FileSystem, places),
            umask: AtomicU32::new(self.umask()),
            namespace: self.namespace.clone(),
        })
    }
    /// The root directory.
    #[must_use]
    #[inline]
    pub fn root(&self) -> Location {
        self.places.lock().root.clone()
    }
    /// The working directory.
    #[must_use]
    #[inline]
    pub fn working_directory(&self) -> Location {
        self.places.lock().working_directory.clone()
    }
    /// Whether `location` is the root directory.
    #[must_use]
    pub fn is_root(&self, location: &Location) -> bool {
        self.places.lock().root == *location
    }
    /// Changes the root directory.
    pub fn set_root(&self, root: Location) {
        let old = core::mem::replace(&mut self.places.lock().root, root);
        drop(old);
    }
    /// Changes the working directory.
    pub fn set_working_directory(&self, directory: Location) {
        let old = core::mem::replace(&mut self.places.lock().working_directory, directory);
        drop(old);
    }
    /// Replaces root and working directory where they are `old` (`pivot_root`).
    pub fn replace(&self, old: &Location, new: &Location) {
        let mut places = self.places.lock();
        let mut replaced = (None, None);
        if places.root == *old {
            replaced.0 = Some(core::mem::replace(&mut places.root, new.clone()));
        }
        if places.working_directory == *old {
            replaced.1 = Some(core::mem::replace(&mut places.working_directory, new.clone()));
        }
        drop(places);
        drop(replaced);
    }
    /// The permission bits that new files do not get.
    #[must_use]
    #[inline]
    pub fn umask(&self) -> u32 {
        self.umask.load(Relaxed)
    }
    /// Sets the umask; gives the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        self.umask.swap(umask & 0o777, Relaxed)
    }
    /// The mounts.
    #[must_use]
    pub fn namespace(&self) -> &Arc<MountNamespace> {
        &self.namespace
    }
}

impl core::fmt::Debug for FsContext {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("FsContext")
    }
}
