//! Changing the tree of mounts: mounting, binding, moving, unmounting, `pivot_root`.
//!
//! There is one namespace for now, so propagation (`MS_SHARED` and its kin) has nobody to propagate to: the types are accepted and
//! every mount is private. Each change holds the namespace's change lock.

use super::context::FsContext;
use super::file_system;
use super::mount::{Location, Mount, MountFlags};
use crate::base::{Errno, Result};
use crate::security::Credentials;
use alloc::string::String;
use alloc::sync::Arc;

/// The flags of a mount call that become the mount's own. Without one about access times it is `relatime`.
#[must_use]
pub fn mount_flags(bits: u64) -> MountFlags {
    let mut flags = MountFlags::from_bits_truncate(bits as u32);
    let strict = flags.contains(MountFlags::STRICT_ACCESS_TIME);
    flags.remove(MountFlags::STRICT_ACCESS_TIME);
    if strict || flags.contains(MountFlags::NO_ACCESS_TIME) {
        flags.remove(MountFlags::RELATIVE_ACCESS_TIME);
    } else {
        flags |= MountFlags::RELATIVE_ACCESS_TIME;
    }
    flags
}

/// Refuses to mount a directory on something else, or the reverse.
fn check_kinds(root: &Location, target: &Location) -> Result<()> {
    if root.inode().header().is_directory() == target.inode().header().is_directory() {
        Ok(())
    } else {
        Err(Errno::ENOTDIR)
    }
}

/// Whether `location` is in the caller's tree (and not in a mount that was taken off it).
fn is_attached(context: &FsContext, location: &Location) -> bool {
    let mut mount = location.mount.clone();
    while let Some(place) = mount.place() {
        mount = place.mount;
    }
    Arc::ptr_eq(&mount, &context.namespace().root())
}

/// Mounts a file system of the type called `type_name` at `target`.
///
/// # Errors
/// `ENODEV` for an unknown type, `ENOENT` for a directory that was removed, `EBUSY`, `ENOTDIR`; what the type says.
pub fn mount_new(
    context: &FsContext,
    target: &Location,
    type_name: &[u8],
    source: &[u8],
    options: &[u8],
    flags: u64,
    credentials: &Credentials,
) -> Result<()> {
    let file_system_type = file_system::find(type_name)?;
    let superblock = file_system_type.mount(source, options, credentials)?;
    let mut own = mount_flags(flags);
    if own.contains(MountFlags::READ_ONLY) {
        // The call's read-only flag is the file system's; the mount's own is set by a bind remount.
        superblock.set_read_only(true);
        own.remove(MountFlags::READ_ONLY);
    }
    let _changes = context.namespace().change_lock().lock();
    let target = target.clone().enter_mounts();
    if target.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    if !is_attached(context, &target) {
        return Err(Errno::EINVAL);
    }
    let same = |mount: &Arc<Mount>| Arc::ptr_eq(mount.superblock(), &superblock);
    if target.is_mount_root() && same(&target.mount) {
        return Err(Errno::EBUSY);
    }
    let root = superblock.root().clone();
    let source = String::from_utf8_lossy(if source.is_empty() { b"none" } else { source }).into_owned();
    let mount = Mount::new(superblock, root, source, own);
    check_kinds(&mount.root_location(), &target)?;
    mount.attach(target);
    Ok(())
}

/// Whether a bind takes the mounts below along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// It takes them (`MS_REC`).
    Recursive,
    /// Only the one mount.
    Single,
}

/// Shows the tree at `source` at `target` too.
///
/// # Errors
/// `EINVAL`, `ENOTDIR`, `ENOENT`.
pub fn bind(context: &FsContext, source: &Location, target: &Location, depth: Depth) -> Result<()> {
    let _changes = context.namespace().change_lock().lock();
    let target = target.clone().enter_mounts();
    if target.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    if !is_attached(context, &target) || !is_attached(context, source) {
        return Err(Errno::EINVAL);
    }
    check_kinds(source, &target)?;
    let copy = |mount: &Arc<Mount>, root| {
        Mount::new(mount.superblock().clone(), root, String::from(mount.source()), mount.flags())
    };
    let top = copy(&source.mount, source.dentry.clone());
    if depth == Depth::Recursive {
        // Pairs of a mount and its copy; children below the bound dentry follow their parents.
        let mut pending = alloc::vec![(source.mount.clone(), top.clone())];
        while let Some((original, copied)) = pending.pop() {
            for child in original.children() {
                let Some(place) = child.place() else { continue };
                if !copied.root().is_ancestor_of(&place.dentry) {
                    continue;
                }
                let child_copy = copy(&child, child.root().clone());
                child_copy.attach(Location { mount: copied.clone(), dentry: place.dentry });
                pending.push((child, child_copy));
            }
        }
    }
    top.attach(target);
    Ok(())
}

/// Changes a mount's flags, and without `bind` its file system's options.
///
/// # Errors
/// `EINVAL` for what is no mount's root; what the file system says.
pub fn remount(location: &Location, flags: u64, options: &[u8], kind: RemountKind) -> Result<()> {
    if !location.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let mut own = mount_flags(flags);
    let superblock = location.mount.superblock();
    if kind == RemountKind::FileSystem {
        superblock.file_system().remount(options)?;
        let read_only = own.contains(MountFlags::READ_ONLY);
        if read_only && !superblock.is_read_only() && has_writers(superblock.root()) {
            return Err(Errno::EBUSY);
        }
        superblock.set_read_only(read_only);
        own.remove(MountFlags::READ_ONLY);
    }
    location.mount.set_flags(own);
    Ok(())
}

/// What a remount changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemountKind {
    /// The file system.
    FileSystem,
    /// This mount alone (`MS_BIND`).
    MountAlone,
}

/// Whether a file below `root` is open for writing.
fn has_writers(root: &Arc<super::dentry::Dentry>) -> bool {
    let mut pending = alloc::vec![root.clone()];
    while let Some(directory) = pending.pop() {
        let children = directory.with_children(|table| {
            table.older_than(u64::MAX).map(|(_, _, dentry)| dentry.clone()).collect::<alloc::vec::Vec<_>>()
        });
        for child in children.unwrap_or_default() {
            let header = child.inode().header();
            if header.is_directory() {
                pending.push(child);
            } else if header.writers() > 0 {
                return true;
            }
        }
    }
    false
}

/// Moves the mount whose root is `source` to `target`.
///
/// # Errors
/// `EINVAL` for what is no mount's root or the root of the tree; `ELOOP` into itself; `ENOTDIR`, `ENOENT`.
pub fn move_mount(context: &FsContext, source: &Location, target: &Location) -> Result<()> {
    let _changes = context.namespace().change_lock().lock();
    let target = target.clone().enter_mounts();
    if target.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    if !source.is_mount_root() || source.mount.place().is_none() || !is_attached(context, &target) {
        return Err(Errno::EINVAL);
    }
    check_kinds(source, &target)?;
    let mut above = Some(target.mount.clone());
    while let Some(mount) = above {
        if Arc::ptr_eq(&mount, &source.mount) {
            return Err(Errno::ELOOP);
        }
        above = mount.place().map(|place| place.mount);
    }
    drop(source.mount.detach());
    source.mount.attach(target);
    Ok(())
}

/// How hard an unmount tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnmountKind {
    /// Only when nobody uses it.
    Unused,
    /// At once; what is open stays so (`MNT_DETACH`).
    Detach,
    /// Only when nobody uses it, and only at the second try (`MNT_EXPIRE`).
    Expire,
}

/// References to a mount that nobody uses: its parent's list and the caller's location.
const IDLE_REFERENCES: usize = 2;

/// Unmounts the mount whose root is `location`.
///
/// # Errors
/// `EINVAL` for what is no mount's root; `EBUSY` when it is used.
pub fn unmount(context: &FsContext, location: Location, kind: UnmountKind) -> Result<()> {
    if !location.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let _changes = context.namespace().change_lock().lock();
    if location.mount.place().is_none() {
        // The root of the tree stays; asking for it makes it read only, as on Linux.
        if kind == UnmountKind::Detach || !is_attached(context, &location) {
            return Err(Errno::EINVAL);
        }
        if has_writers(location.mount.superblock().root()) {
            return Err(Errno::EBUSY);
        }
        location.mount.superblock().set_read_only(true);
        return Ok(());
    }
    if kind != UnmountKind::Detach
        && (!location.mount.has_no_children() || Arc::strong_count(&location.mount) > IDLE_REFERENCES)
    {
        return Err(Errno::EBUSY);
    }
    if kind == UnmountKind::Expire && location.mount.mark_expired() {
        return Err(Errno::EAGAIN);
    }
    detach_tree(&location.mount);
    Ok(())
}

/// Takes a mount and all on top of it off the tree.
fn detach_tree(mount: &Arc<Mount>) {
    let mut pending = alloc::vec![mount.clone()];
    while let Some(mount) = pending.pop() {
        pending.extend(mount.children());
        drop(mount.detach());
    }
}

/// Makes the mount at `new_root` the root and puts the old root at `put_old`.
///
/// # Errors
/// `EINVAL` when `new_root` is no mount's root, or `put_old` not below it; `EBUSY` when one is the present root.
pub fn pivot_root(context: &FsContext, new_root: &Location, put_old: &Location) -> Result<()> {
    let _changes = context.namespace().change_lock().lock();
    let root = context.root();
    let put_old = put_old.clone().enter_mounts();
    if Arc::ptr_eq(&new_root.mount, &root.mount) || Arc::ptr_eq(&put_old.mount, &root.mount) {
        return Err(Errno::EBUSY);
    }
    if !root.is_mount_root() || !new_root.is_mount_root() || !is_attached(context, new_root) {
        return Err(Errno::EINVAL);
    }
    if new_root.dentry.is_deleted() || put_old.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let new_place = new_root.mount.place().ok_or(Errno::EINVAL)?;
    // `put_old` must be reachable from the new root.
    let mut at = put_old.clone();
    while !Arc::ptr_eq(&at.mount, &new_root.mount) {
        at = at.mount.place().ok_or(Errno::EINVAL)?;
    }
    if !new_root.dentry.is_ancestor_of(&at.dentry) {
        return Err(Errno::EINVAL);
    }
    let Some(root_place) = root.mount.detach() else {
        // The present root is the root of the whole tree, which Linux refuses too when it is the rootfs.
        if root.mount.superblock().file_system().type_name() == "rootfs" {
            return Err(Errno::EINVAL);
        }
        drop(new_root.mount.detach());
        context.namespace().set_root(new_root.mount.clone());
        root.mount.attach(put_old);
        context.replace(&root, new_root);
        return Ok(());
    };
    drop(new_place);
    drop(new_root.mount.detach());
    root.mount.attach(put_old);
    new_root.mount.attach(root_place);
    context.replace(&root, new_root);
    Ok(())
}
