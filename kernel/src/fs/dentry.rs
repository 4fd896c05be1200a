//! A name in a directory and the inode behind it.
//!
//! A [`Dentry`] knows its parent and its name; a directory's dentry has the table of those below it. In a directory that keeps
//! its names ([`super::Inode::keeps_names`]) the table *is* the directory: entries stay until they are unlinked, and no entry means
//! no file. In other directories only dentries that something is mounted on, and their ancestors, are in the table.
//!
//! A table is a vector in the order in which names came, with holes where names went, and an index from hash to place. Each entry
//! has a sequence number that never comes twice in its directory; listings go from the newest to the oldest, as Linux's tmpfs
//! does, and use it as their position, so that deleting during a listing skips nothing.
//!
//! Invariants: an entry's name equals its dentry's name whenever the table's lock is free; parents hold children and children hold
//! parents, so a tree lives until [`Dentry::dissolve`].

use super::inode::Inode;
use super::name::{self, Name};
use crate::sync::{LockRank, Mutex, SpinLock};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use hashbrown::HashTable;

/// A name and the inode behind it.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    children: Option<Box<Children>>,
    mounts: AtomicU32,
    deleted: AtomicBool,
}

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Name,
}

struct Children {
    change: Mutex<()>,
    table: SpinLock<ChildTable>,
}

/// The names in a directory.
#[derive(Default)]
pub struct ChildTable {
    entries: Vec<Option<Entry>>,
    sequences: Vec<u64>,
    index: HashTable<u32>,
    next_sequence: u64,
}

struct Entry {
    hash: u64,
    name: Name,
    dentry: Arc<Dentry>,
}

impl ChildTable {
    fn find(&self, name: &[u8], hash: u64) -> Option<u32> {
        let is_it = |slot: &u32| {
            let entry = self.entries.get(*slot as usize).and_then(Option::as_ref);
            entry.is_some_and(|entry| entry.hash == hash && entry.name.as_bytes() == name)
        };
        self.index.find(hash, is_it).copied()
    }

    /// The dentry called `name`, whose hash is `hash`.
    #[must_use]
    pub fn get(&self, name: &[u8], hash: u64) -> Option<&Arc<Dentry>> {
        let slot = self.find(name, hash)?;
        Some(&self.entries.get(slot as usize)?.as_ref()?.dentry)
    }

    /// Enters a name that is not there yet.
    pub fn insert(&mut self, name: Name, dentry: Arc<Dentry>) {
        let hash = name::hash(name.as_bytes());
        let Ok(slot) = u32::try_from(self.entries.len()) else { return };
        self.entries.push(Some(Entry { hash, name, dentry }));
        self.sequences.push(self.next_sequence);
        self.next_sequence += 1;
        let entries = &self.entries;
        self.index.insert_unique(hash, slot, |slot| hash_at(entries, *slot));
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        let hash = name::hash(name);
        let slot = self.find(name, hash)?;
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        while self.entries.last().is_some_and(Option::is_none) {
            self.entries.pop();
            self.sequences.pop();
        }
        if self.entries.len() > 32 && self.index.len() < self.entries.len() / 2 {
            self.compact();
        }
        Some(entry.dentry)
    }

    /// Puts another dentry in the place of the one called `name`.
    pub fn replace(&mut self, name: &[u8], dentry: Arc<Dentry>) -> Option<Arc<Dentry>> {
        let slot = self.find(name, name::hash(name))?;
        let entry = self.entries.get_mut(slot as usize)?.as_mut()?;
        Some(core::mem::replace(&mut entry.dentry, dentry))
    }

    fn compact(&mut self) {
        let entries = core::mem::take(&mut self.entries);
        let sequences = core::mem::take(&mut self.sequences);
        self.index.clear();
        for (entry, sequence) in entries.into_iter().zip(sequences) {
            let Some(entry) = entry else { continue };
            let Ok(slot) = u32::try_from(self.entries.len()) else { continue };
            let hash = entry.hash;
            self.entries.push(Some(entry));
            self.sequences.push(sequence);
            let entries = &self.entries;
            self.index.insert_unique(hash, slot, |slot| hash_at(entries, *slot));
        }
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The entries that came before sequence number `before`, newest first, each with its own.
    pub fn older_than(&self, before: u64) -> impl Iterator<Item = (u64, &Name, &Arc<Dentry>)> {
        let count = self.sequences.partition_point(|sequence| *sequence < before);
        let entries = self.entries.get(..count).unwrap_or_default();
        entries.iter().zip(&self.sequences).rev().filter_map(|(entry, sequence)| {
            let entry = entry.as_ref()?;
            Some((*sequence, &entry.name, &entry.dentry))
        })
    }
}

fn hash_at(entries: &[Option<Entry>], slot: u32) -> u64 {
    entries.get(slot as usize).and_then(Option::as_ref).map_or(0, |entry| entry.hash)
}

impl Dentry {
    fn with_place(inode: Arc<dyn Inode>, parent: Option<Arc<Self>>, name: Name) -> Arc<Self> {
        let children = inode.header().is_directory().then(|| {
            Box::new(Children {
                change: Mutex::new(()),
                table: SpinLock::new(LockRank::FileSystem, ChildTable::default()),
            })
        });
        Arc::new(Self {
            inode,
            place: SpinLock::new(LockRank::FileObject, Place { parent, name }),
            children,
            mounts: AtomicU32::new(0),
            deleted: AtomicBool::new(false),
        })
    }

    /// The root of a file system.
    #[must_use]
    pub fn root(inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::with_place(inode, None, Name::new(b"/"))
    }

    /// A root with a name of its own, which paths show as it is (`pipe:[7]`).
    #[must_use]
    pub fn named_root(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::with_place(inode, None, Name::new(name))
    }

    /// A dentry below `parent` that is not in its table.
    #[must_use]
    pub fn detached(parent: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::with_place(inode, Some(parent.clone()), Name::new(name))
    }

    /// Enters a name for `inode` in this directory, which has no such name yet. The caller holds the change lock, or nobody else
    /// knows the directory.
    pub fn add_child(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        let child = Self::detached(self, name, inode);
        self.enter(&child);
        child
    }

    /// Enters a detached dentry in this directory's table, under its own name.
    pub fn enter(&self, child: &Arc<Self>) {
        if let Some(children) = &self.children {
            let name = child.name();
            children.table.lock().insert(name, child.clone());
        }
    }

    /// The inode.
    #[must_use]
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory that it is in; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.place.lock().name.clone()
    }

    /// Whether it is the root of its file system.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.place.lock().parent.is_none()
    }

    /// Whether its name was taken away.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Relaxed)
    }

    /// Notes that its name was taken away.
    pub fn mark_deleted(&self) {
        self.deleted.store(true, Relaxed);
    }

    /// Whether anything may be mounted here, in any mount.
    #[must_use]
    #[inline]
    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// Counts a mount here. Pins this dentry and its ancestors in their parents' tables, so that every later walk meets it.
    pub fn add_mount(self: &Arc<Self>) {
        self.mounts.fetch_add(1, Relaxed);
        let mut child = self.clone();
        while let Some(parent) = child.parent() {
            let name = child.name();
            if let Some(children) = &parent.children {
                let mut table = children.table.lock();
                if table.get(name.as_bytes(), name::hash(name.as_bytes())).is_none() && !child.is_deleted() {
                    table.insert(name, child.clone());
                }
            }
            child = parent;
        }
    }

    /// Takes one off the count.
    pub fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Relaxed);
    }

    /// The entry called `name`, whose hash is `hash`, in this directory's table.
    #[must_use]
    #[inline]
    pub fn child(&self, name: &[u8], hash: u64) -> Option<Arc<Self>> {
        self.children.as_ref()?.table.lock().get(name, hash).cloned()
    }

    /// The lock that a change of this directory holds; `None` for what is no directory.
    #[must_use]
    pub fn change_lock(&self) -> Option<&Mutex<()>> {
        Some(&self.children.as_ref()?.change)
    }

    /// Looks at this directory's table.
    pub fn with_children<R>(&self, look: impl FnOnce(&ChildTable) -> R) -> Option<R> {
        Some(look(&self.children.as_ref()?.table.lock()))
    }

    /// Takes `name` out of this directory's table and marks its dentry deleted.
    pub fn remove_child(&self, name: &[u8]) -> Option<Arc<Self>> {
        let removed = self.children.as_ref()?.table.lock().remove(name)?;
        removed.mark_deleted();
        Some(removed)
    }

    /// Moves `child` from this directory to `target` under `new_name`, over what has that name; gives the latter.
    /// The caller holds the change locks of both.
    pub fn move_child(self: &Arc<Self>, child: &Arc<Self>, target: &Arc<Self>, new_name: &[u8]) -> Option<Arc<Self>> {
        let old_name = child.name();
        let from = self.children.as_ref()?;
        let to = target.children.as_ref()?;
        let replaced = to.table.lock().remove(new_name);
        if let Some(replaced) = &replaced {
            replaced.mark_deleted();
        }
        // Between the two steps the file has no name; changes are kept out by the change locks, and a look-up that comes here
        // finds neither name, as one that came a moment later or earlier could.
        let taken = from.table.lock().remove(old_name.as_bytes());
        let name = Name::new(new_name);
        let old_place = {
            let mut place = child.place.lock();
            core::mem::replace(&mut *place, Place { parent: Some(target.clone()), name: name.clone() })
        };
        to.table.lock().insert(name, child.clone());
        drop((taken, old_place));
        replaced
    }

    /// Lets two entries change places. The caller holds the change locks of both directories.
    pub fn exchange(self: &Arc<Self>, child: &Arc<Self>, target: &Arc<Self>, other: &Arc<Self>) {
        let (Some(from), Some(to)) = (&self.children, &target.children) else { return };
        let (name, other_name) = (child.name(), other.name());
        from.table.lock().replace(name.as_bytes(), other.clone());
        to.table.lock().replace(other_name.as_bytes(), child.clone());
        let old_child =
            core::mem::replace(&mut *child.place.lock(), Place { parent: Some(target.clone()), name: other_name });
        let old_other = core::mem::replace(&mut *other.place.lock(), Place { parent: Some(self.clone()), name });
        drop((old_child, old_other));
    }

    /// Whether `self` is `other` or one of its ancestors.
    #[must_use]
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = other.clone();
        loop {
            if Arc::ptr_eq(&at, self) {
                return true;
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    /// Takes the tree below apart, so that it is freed as far as nobody else uses it. Works without recursion.
    pub fn dissolve(&self) {
        let mut pending: Vec<Arc<Self>> = Vec::new();
        let take = |dentry: &Self| {
            let Some(children) = &dentry.children else { return Vec::new() };
            let table = core::mem::take(&mut *children.table.lock());
            table.entries.into_iter().flatten().map(|entry| entry.dentry).collect()
        };
        pending.extend(take(self));
        while let Some(dentry) = pending.pop() {
            pending.extend(take(&dentry));
        }
    }
}

impl Drop for Dentry {
    /// Lets go of ancestors one after the other: a chain of removed directories may be longer than the stack is deep.
    fn drop(&mut self) {
        let mut next = self.place.get_mut().parent.take();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut parent| parent.place.get_mut().parent.take());
        }
    }
}

impl core::fmt::Debug for Dentry {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Dentry({:?})", self.inode.header())
    }
}
