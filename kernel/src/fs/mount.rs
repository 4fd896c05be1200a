//! Mounts, and places in the tree that they make.
//!
//! A [`Mount`] shows (part of) a file system somewhere; a [`Location`] is a dentry seen through a mount: what a path leads to. Each
//! mount knows its mount point and the mounts on top of it, so crossing one way or the other needs no global table; a dentry that
//! nothing is mounted on says so without a lock.

use super::dentry::Dentry;
use super::file_system::Superblock;
use super::inode::Inode;
use crate::sync::{LockRank, SpinLock};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

bitflags::bitflags! {
    /// A mount's own flags, with the values of `mount(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountFlags: u32 {
        /// Read only through this mount.
        const READ_ONLY = 1;
        /// Set-user-ID and set-group-ID are ignored.
        const NO_SET_UID = 2;
        /// Device files cannot be opened.
        const NO_DEVICES = 4;
        /// Files cannot be executed.
        const NO_EXECUTE = 8;
        /// Symbolic links are not followed.
        const NO_SYMBOLIC_LINKS = 256;
        /// Access times are not changed.
        const NO_ACCESS_TIME = 1024;
        /// Directories' access times are not changed.
        const NO_DIRECTORY_ACCESS_TIME = 2048;
        /// Access times follow changes (the default).
        const RELATIVE_ACCESS_TIME = 1 << 21;
        /// Access times are always changed.
        const STRICT_ACCESS_TIME = 1 << 24;
    }
}

/// A file system, or part of one, as it appears in the tree.
pub struct Mount {
    id: u32,
    superblock: Arc<Superblock>,
    root: Arc<Dentry>,
    source: String,
    flags: AtomicU32,
    expired: core::sync::atomic::AtomicBool,
    place: SpinLock<Option<Location>>,
    children: SpinLock<Vec<Arc<Mount>>>,
}

impl Mount {
    /// A mount of the tree below `root` that is not attached anywhere.
    #[must_use]
    pub fn new(superblock: Arc<Superblock>, root: Arc<Dentry>, source: String, flags: MountFlags) -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Relaxed),
            superblock,
            root,
            source,
            flags: AtomicU32::new(flags.bits()),
            expired: core::sync::atomic::AtomicBool::new(false),
            place: SpinLock::new(LockRank::FileObject, None),
            children: SpinLock::new(LockRank::FileSystem, Vec::new()),
        })
    }
    /// Its number in `/proc/self/mountinfo`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
    /// The file system.
    #[must_use]
    pub fn superblock(&self) -> &Arc<Superblock> {
        &self.superblock
    }
    /// The root of what it shows.
    #[must_use]
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }
    /// What was named as its source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
    /// Its flags.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Relaxed))
    }
    /// Replaces its flags.
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Relaxed);
    }
    /// Whether nothing can be changed through it.
    #[must_use]
    #[inline]
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::READ_ONLY) || self.superblock.is_read_only()
    }
    /// Marks it as one that nobody uses (`MNT_EXPIRE`); whether this was the first time.
    pub fn mark_expired(&self) -> bool {
        !self.expired.swap(true, Relaxed)
    }
    /// Where it is attached; `None` for the root of the tree and for one that is not attached.
    #[must_use]
    pub fn place(&self) -> Option<Location> {
        self.place.lock().clone()
    }
    /// The mounts on top of it.
    #[must_use]
    pub fn children(&self) -> Vec<Arc<Self>> {
        self.children.lock().clone()
    }
    /// Whether nothing is mounted on it.
    #[must_use]
    pub fn has_no_children(&self) -> bool {
        self.children.lock().is_empty()
    }
    /// Its root as a location.
    #[must_use]
    pub fn root_location(self: &Arc<Self>) -> Location {
        Location { mount: self.clone(), dentry: self.root.clone() }
    }
    /// Attaches it at `place`.
    pub fn attach(self: &Arc<Self>, place: Location) {
        place.dentry.add_mount();
        place.mount.children.lock().push(self.clone());
        *self.place.lock() = Some(place);
    }
    /// Detaches it; gives where it was.
    pub fn detach(self: &Arc<Self>) -> Option<Location> {
        let place = self.place.lock().take()?;
        place.mount.children.lock().retain(|child| !Arc::ptr_eq(child, self));
        place.dentry.remove_mount();
        Some(place)
    }
    /// The mount on top of `dentry` of this mount.
    fn mounted_on(&self, dentry: &Arc<Dentry>) -> Option<Arc<Self>> {
        let children = self.children.lock();
        let is_it =
            |child: &&Arc<Self>| child.place.lock().as_ref().is_some_and(|place| Arc::ptr_eq(&place.dentry, dentry));
        children.iter().rev().find(is_it).cloned()
    }
    /// This mount and all on top of it, in the order in which they were made.
    #[must_use]
    pub fn collect_tree(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut tree = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(mount) = tree.get(next).cloned() {
            tree.extend(mount.children());
            next += 1;
        }
        tree.sort_unstable_by_key(|mount| mount.id);
        tree
    }
}

impl core::fmt::Debug for Mount {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Mount({}, {:?})", self.id, self.superblock)
    }
}

/// A place in the tree: a dentry seen through a mount.
#[derive(Clone)]
pub struct Location {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The dentry.
    pub dentry: Arc<Dentry>,
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Eq for Location {}

impl core::fmt::Debug for Location {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Location({:?})", String::from_utf8_lossy(&self.path_from_global_root()))
    }
}

impl Location {
    /// The inode there.
    #[must_use]
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// The root of the topmost mount here, or the place itself.
    #[must_use]
    #[inline]
    pub fn enter_mounts(mut self) -> Self {
        while self.dentry.is_mount_point()
            && let Some(mount) = self.mount.mounted_on(&self.dentry)
        {
            self = mount.root_location();
        }
        self
    }

    /// Whether it is the root of its mount.
    #[must_use]
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, &self.mount.root)
    }

    /// Where `..` leads, at most to `root`.
    #[must_use]
    pub fn parent(&self, root: &Self) -> Self {
        let mut at = self.clone();
        loop {
            if at == *root {
                return at;
            }
            if at.is_mount_root() {
                match at.mount.place() {
                    Some(place) => at = place,
                    None => return at,
                }
                continue;
            }
            return match at.dentry.parent() {
                Some(parent) => Self { mount: at.mount, dentry: parent }.enter_mounts(),
                None => at,
            };
        }
    }

    /// The path from `root`, and whether `root` was met on the way up.
    #[must_use]
    pub fn path_from(&self, root: &Self) -> (Vec<u8>, Reach) {
        let mut names = Vec::new();
        let mut at = self.clone();
        let reach = loop {
            if at == *root {
                break Reach::Inside;
            }
            if at.is_mount_root() {
                match at.mount.place() {
                    Some(place) => at = place,
                    None => break Reach::Outside,
                }
                continue;
            }
            let Some(parent) = at.dentry.parent() else { break Reach::Outside };
            names.push(at.dentry.name());
            at.dentry = parent;
        };
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        if path.is_empty() {
            path.push(b'/');
        }
        (path, reach)
    }

    /// The path from `root` as `/proc/PID/fd` and the like show it, with ` (deleted)` behind a name that was taken away.
    #[must_use]
    pub fn display_path(&self, root: &Self) -> Vec<u8> {
        if self.dentry.is_root() {
            let name = self.dentry.name();
            if name.as_bytes() != b"/" {
                return name.as_bytes().to_vec();
            }
        }
        let (mut path, _) = self.path_from(root);
        if self.dentry.is_deleted() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// The path from the root of the whole tree.
    #[must_use]
    pub fn path_from_global_root(&self) -> Vec<u8> {
        let mut top = self.mount.clone();
        while let Some(place) = top.place() {
            top = place.mount;
        }
        self.display_path(&top.root_location())
    }
}

/// Whether a path lies below the root that it was asked from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It does.
    Inside,
    /// The root was not met: the place is outside it, or not attached.
    Outside,
}

/// The mounts that a set of processes sees.
pub struct MountNamespace {
    root: SpinLock<Arc<Mount>>,
    changes: crate::sync::Mutex<()>,
}

impl MountNamespace {
    /// A namespace whose tree begins with `root`.
    #[must_use]
    pub fn new(root: Arc<Mount>) -> Arc<Self> {
        Arc::new(Self { root: SpinLock::new(LockRank::FileSystem, root), changes: crate::sync::Mutex::new(()) })
    }
    /// The mount at the root of the tree.
    #[must_use]
    pub fn root(&self) -> Arc<Mount> {
        self.root.lock().clone()
    }
    /// Puts another mount at the root.
    pub fn set_root(&self, root: Arc<Mount>) {
        let old = core::mem::replace(&mut *self.root.lock(), root);
        drop(old);
    }
    /// All mounts, in the order in which they were made.
    #[must_use]
    pub fn collect_mounts(&self) -> Vec<Arc<Mount>> {
        self.root().collect_tree()
    }
    /// The lock that a change of the tree holds.
    #[must_use]
    pub fn change_lock(&self) -> &crate::sync::Mutex<()> {
        &self.changes
    }
}

impl core::fmt::Debug for MountNamespace {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("MountNamespace")
    }
}
