//! Changing directories: making, linking, removing and renaming names.
//!
//! Each change holds the change lock of the directory; a rename between two holds the rename lock first and then both, the
//! ancestor (or else the one at the lower address) first.

use super::dentry::Dentry;
use super::inode::{NewInode, RenameKind, RenameRequest};
use super::mount::Location;
use super::name::Name;
use super::permission::{self, Victim};
use super::types::{DeviceNumber, FileType, mode};
use super::walk::{DotKind, Last, LookupFlags, TrailingSlash, Walker, lookup};
use crate::base::{Errno, Result};
use crate::security::Capability;
use crate::sync::Mutex;
use alloc::sync::Arc;

/// Makes an inode in the directory at `parent`, whose change lock is held and which has no such name, and enters it.
///
/// # Errors
/// `EACCES`, `ENOENT` in a directory that was removed; what the file system says.
pub fn create_locked(
    walker: &Walker<'_>,
    parent: &Location,
    name: &[u8],
    file_mode: u32,
    device_id: DeviceNumber,
    target: &[u8],
) -> Result<Arc<Dentry>> {
    permission::check_create(&parent.dentry, walker.credentials)?;
    let directory = parent.inode();
    let (gid, file_mode) = permission::inherit(&**directory, file_mode, walker.credentials);
    let new = NewInode { mode: file_mode, uid: walker.credentials.fsuid, gid, device_id, target };
    let inode = directory.create(name, &new)?;
    if directory.keeps_names() {
        Ok(parent.dentry.add_child(name, inode))
    } else {
        Ok(Dentry::detached(&parent.dentry, name, inode))
    }
}

/// The end of a path at which something is to be made.
fn new_name(walker: &Walker<'_>, base: Option<&Location>, path: &[u8]) -> Result<(Location, Name, TrailingSlash)> {
    let parent = walker.resolve_parent(base, path, LookupFlags::empty())?;
    match parent.last {
        Last::Name(name, trailing) => Ok((parent.location, name, trailing)),
        Last::Directory(_) => Err(Errno::EEXIST),
    }
}

/// Makes a directory, node, FIFO or symbolic link at `path`: `file_mode` has the type and the permissions before the umask.
///
/// # Errors
/// `EEXIST`, `ENOENT`, `EROFS`, `EACCES`, `EPERM` for a device without `CAP_MKNOD`, `ENOSPC`.
pub fn make(
    walker: &Walker<'_>,
    base: Option<&Location>,
    path: &[u8],
    file_mode: u32,
    device_id: DeviceNumber,
    target: &[u8],
) -> Result<()> {
    let file_type = FileType::from_mode(file_mode).ok_or(Errno::EINVAL)?;
    let (parent, name, trailing) = new_name(walker, base, path)?;
    let _guard = parent.dentry.change_lock().ok_or(Errno::ENOTDIR)?.lock();
    match lookup(&parent, name.as_bytes()) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    if trailing == TrailingSlash::Present && file_type != FileType::Directory {
        return Err(Errno::ENOENT);
    }
    permission::want_write(&parent)?;
    permission::check_create(&parent.dentry, walker.credentials)?;
    if file_type.is_device() && !walker.credentials.may(Capability::Mknod) {
        return Err(Errno::EPERM);
    }
    let umask = if file_type == FileType::SymbolicLink { 0 } else { walker.context.umask() };
    create_locked(walker, &parent, name.as_bytes(), file_mode & !umask, device_id, target)?;
    Ok(())
}

/// Gives the file at `existing` one more name, at `path`.
///
/// # Errors
/// `EXDEV`, `EEXIST`, `EPERM` for a directory, `EMLINK`, `EROFS`, `EACCES`; `ENOENT` for a file without names that may not get one.
pub fn link(walker: &Walker<'_>, existing: &Location, base: Option<&Location>, path: &[u8]) -> Result<()> {
    let (parent, name, trailing) = new_name(walker, base, path)?;
    let _guard = parent.dentry.change_lock().ok_or(Errno::ENOTDIR)?.lock();
    match lookup(&parent, name.as_bytes()) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    if trailing == TrailingSlash::Present {
        return Err(Errno::ENOENT);
    }
    permission::want_write(&parent)?;
    if !Arc::ptr_eq(&existing.mount, &parent.mount) {
        return Err(Errno::EXDEV);
    }
    permission::check_create(&parent.dentry, walker.credentials)?;
    let inode = existing.inode();
    if inode.header().is_directory() {
        return Err(Errno::EPERM);
    }
    let nameless = inode.header().links() == 0;
    if nameless && !existing.dentry.name().as_bytes().starts_with(b"#") {
        return Err(Errno::ENOENT);
    }
    parent.inode().link(name.as_bytes(), inode)?;
    parent.dentry.add_child(name.as_bytes(), inode.clone());
    Ok(())
}

/// Takes the name at `path` away: `rmdir` where `kind` is a directory, `unlink` otherwise.
///
/// # Errors
/// As `unlink(2)` and `rmdir(2)`.
pub fn remove(walker: &Walker<'_>, base: Option<&Location>, path: &[u8], kind: Victim) -> Result<()> {
    let found = walker.resolve_parent(base, path, LookupFlags::empty())?;
    let parent = found.location;
    let (name, trailing) = match (found.last, kind) {
        (Last::Name(name, trailing), _) => (name, trailing),
        (Last::Directory(DotKind::Dot), Victim::Directory) => return Err(Errno::EINVAL),
        (Last::Directory(DotKind::DotDot), Victim::Directory) => return Err(Errno::ENOTEMPTY),
        (Last::Directory(DotKind::Root), Victim::Directory) => return Err(Errno::EBUSY),
        (Last::Directory(_), Victim::Other) => return Err(Errno::EISDIR),
    };
    permission::want_write(&parent)?;
    let _guard = parent.dentry.change_lock().ok_or(Errno::ENOTDIR)?.lock();
    let victim = lookup(&parent, name.as_bytes())?;
    if kind == Victim::Other && trailing == TrailingSlash::Present {
        return Err(if victim.inode().header().is_directory() { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    permission::check_delete(&parent.dentry, &victim, kind, walker.credentials)?;
    if victim.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    // The victim's own change lock keeps names from being made in a directory that is about to go.
    let _victim_guard = victim.change_lock().map(Mutex::lock);
    if kind == Victim::Directory && victim.with_children(|children| !children.is_empty()) == Some(true) {
        return Err(Errno::ENOTEMPTY);
    }
    parent.inode().unlink(name.as_bytes(), victim.inode())?;
    victim.mark_deleted();
    let removed = parent.dentry.remove_child(name.as_bytes());
    drop(removed);
    Ok(())
}

bitflags::bitflags! {
    /// The flags of `renameat2`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RenameFlags: u32 {
        /// Fail if the new name is there.
        const NO_REPLACE = 1;
        /// The two change places.
        const EXCHANGE = 2;
    }
}

/// Held by every rename between two directories, so that the tree's shape stands still while ancestors are compared.
static RENAME: Mutex<()> = Mutex::new(());

fn source_name(last: Last) -> Result<(Name, TrailingSlash)> {
    match last {
        Last::Name(name, trailing) => Ok((name, trailing)),
        Last::Directory(_) => Err(Errno::EBUSY),
    }
}

/// Renames `path` to `new_path`.
///
/// # Errors
/// As `rename(2)`.
pub fn rename(
    walker: &Walker<'_>,
    base: Option<&Location>,
    path: &[u8],
    new_base: Option<&Location>,
    new_path: &[u8],
    flags: RenameFlags,
) -> Result<()> {
    if flags.contains(RenameFlags::NO_REPLACE | RenameFlags::EXCHANGE) {
        return Err(Errno::EINVAL);
    }
    let from = walker.resolve_parent(base, path, LookupFlags::empty())?;
    let to = walker.resolve_parent(new_base, new_path, LookupFlags::empty())?;
    if !Arc::ptr_eq(&from.location.mount, &to.location.mount) {
        return Err(Errno::EXDEV);
    }
    let (name, trailing) = source_name(from.last)?;
    let (new_name, new_trailing) = match to.last {
        Last::Directory(_) if flags.contains(RenameFlags::NO_REPLACE) => return Err(Errno::EEXIST),
        last => source_name(last)?,
    };
    let (from, to) = (from.location, to.location);
    permission::want_write(&from)?;
    let same = Arc::ptr_eq(&from.dentry, &to.dentry);
    let _rename = (!same).then(|| RENAME.lock());
    let from_lock = from.dentry.change_lock().ok_or(Errno::ENOTDIR)?;
    let to_lock = to.dentry.change_lock().ok_or(Errno::ENOTDIR)?;
    let from_first = from.dentry.is_ancestor_of(&to.dentry)
        || (!to.dentry.is_ancestor_of(&from.dentry)
            && core::ptr::from_ref(from_lock).addr() < core::ptr::from_ref(to_lock).addr());
    let _guards = if same {
        (from_lock.lock(), None)
    } else if from_first {
        let first = from_lock.lock();
        (first, Some(to_lock.lock()))
    } else {
        let first = to_lock.lock();
        (first, Some(from_lock.lock()))
    };
    let source = lookup(&from, name.as_bytes())?;
    let target = match lookup(&to, new_name.as_bytes()) {
        Ok(dentry) => Some(dentry),
        Err(Errno::ENOENT) => None,
        Err(error) => return Err(error),
    };
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    if flags.contains(RenameFlags::NO_REPLACE) && target.is_some() {
        return Err(Errno::EEXIST);
    }
    if exchange {
        let target = target.as_ref().ok_or(Errno::ENOENT)?;
        if new_trailing == TrailingSlash::Present && !target.inode().header().is_directory() {
            return Err(Errno::ENOTDIR);
        }
    }
    let moves_directory = source.inode().header().is_directory();
    if !moves_directory && (trailing == TrailingSlash::Present || (!exchange && new_trailing == TrailingSlash::Present))
    {
        return Err(Errno::ENOTDIR);
    }
    // The source must not be an ancestor of where it goes, nor the target of where it comes from.
    if moves_directory && source.is_ancestor_of(&to.dentry) {
        return Err(Errno::EINVAL);
    }
    if let Some(target) = &target
        && target.is_ancestor_of(&from.dentry)
    {
        return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
    }
    rename_locked(walker, &from, &source, &to, &new_name, target.as_ref(), exchange)
}

fn victim_kind(dentry: &Dentry) -> Victim {
    if dentry.inode().header().is_directory() { Victim::Directory } else { Victim::Other }
}

fn rename_locked(
    walker: &Walker<'_>,
    from: &Location,
    source: &Arc<Dentry>,
    to: &Location,
    new_name: &Name,
    target: Option<&Arc<Dentry>>,
    exchange: bool,
) -> Result<()> {
    let credentials = walker.credentials;
    if let Some(target) = target
        && Arc::ptr_eq(target.inode(), source.inode())
    {
        return Ok(());
    }
    let kind = victim_kind(source);
    permission::check_delete(&from.dentry, source, kind, credentials)?;
    match target {
        None => permission::check_create(&to.dentry, credentials)?,
        Some(target) if exchange => {
            permission::check_delete(&to.dentry, target, victim_kind(target), credentials)?;
        }
        Some(target) => permission::check_delete(&to.dentry, target, kind, credentials)?,
    }
    let same = Arc::ptr_eq(&from.dentry, &to.dentry);
    // A directory that gets another parent has its own `..` changed: that wants write permission on it.
    if !same {
        for moved in [Some(source), target.filter(|_| exchange)].into_iter().flatten() {
            if moved.inode().header().is_directory() {
                permission::check(&**moved.inode(), credentials, permission::Access::WRITE)?;
            }
        }
    }
    if source.is_mount_point() || target.is_some_and(|target| target.is_mount_point()) {
        return Err(Errno::EBUSY);
    }
    let _target_guard = if exchange { None } else { target.and_then(|target| target.change_lock()).map(Mutex::lock) };
    if !exchange
        && let Some(target) = target
        && target.with_children(|children| !children.is_empty()) == Some(true)
    {
        return Err(Errno::ENOTEMPTY);
    }
    let name = source.name();
    from.inode().rename(&RenameRequest {
        name: name.as_bytes(),
        inode: source.inode(),
        target: to.inode(),
        new_name: new_name.as_bytes(),
        replaced: target.map(|target| target.inode()),
        kind: if exchange { RenameKind::Exchange } else { RenameKind::Replace },
    })?;
    match target {
        Some(target) if exchange => from.dentry.exchange(source, &to.dentry, target),
        _ => {
            let replaced = from.dentry.move_child(source, &to.dentry, new_name.as_bytes());
            drop(replaced);
        }
    }
    Ok(())
}

/// Changes the permission bits of what is at `location`.
///
/// # Errors
/// `EPERM` for who is not its owner, `EROFS`.
pub fn change_mode(walker: &Walker<'_>, location: &Location, permissions: u32) -> Result<()> {
    permission::want_write(location)?;
    let inode = location.inode();
    if !permission::is_owner_or_capable(&**inode, walker.credentials) {
        return Err(Errno::EPERM);
    }
    if inode.header().is_symbolic_link() {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut permissions = permissions & mode::ALL;
    if !walker.credentials.is_in_group(inode.header().gid()) && !walker.credentials.may(Capability::Fsetid) {
        permissions &= !mode::SET_GID;
    }
    inode.set_attributes(&super::inode::AttributeChange { permissions: Some(permissions), ..Default::default() })
}

/// Changes owner and group of what is at `location`; `None` leaves one alone.
///
/// # Errors
/// `EPERM`, `EROFS`.
pub fn change_owner(walker: &Walker<'_>, location: &Location, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    permission::want_write(location)?;
    let inode = location.inode();
    let header = inode.header();
    let credentials = walker.credentials;
    let may_chown = credentials.may(Capability::Chown);
    if let Some(uid) = uid
        && !may_chown
        && (credentials.fsuid != header.uid() || uid != header.uid())
    {
        return Err(Errno::EPERM);
    }
    if let Some(gid) = gid
        && !may_chown
        && (credentials.fsuid != header.uid() || !(credentials.is_in_group(gid) || gid == header.gid()))
    {
        return Err(Errno::EPERM);
    }
    let mut change = super::inode::AttributeChange { uid, gid, ..Default::default() };
    if !header.is_directory() {
        let old = header.mode();
        let mut kept = old & mode::ALL & !mode::SET_UID;
        if old & mode::GROUP_EXECUTE != 0 {
            kept &= !mode::SET_GID;
        }
        if kept != old & mode::ALL {
            change.permissions = Some(kept);
        }
    }
    inode.set_attributes(&change)
}
