//! From a path to a location.
//!
//! A walk holds one location and goes on component by component: search permission on the directory, the entry in its table (or
//! its file system's look-up), mounts on top, and for a symbolic link its text in place of the component. No component is copied
//! and nothing is allocated, except where a symbolic link is followed: its text and the rest are put together and walked as a new
//! path, so links that lead through links need no recursion. At most 40 links are followed in one walk.

use super::context::FsContext;
use super::dentry::Dentry;
use super::inode::LinkTarget;
use super::mount::{Location, MountFlags};
use super::name::{self, NAME_MAX, Name};
use super::permission::{self, Access};
use crate::base::{Errno, Result};
use crate::security::Credentials;
use alloc::vec::Vec;

/// The most symbolic links that a walk follows.
pub const LINK_MAX: u32 = 40;

bitflags::bitflags! {
    /// How a path is walked.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct LookupFlags: u32 {
        /// A symbolic link at the end is followed.
        const FOLLOW = 1;
        /// What the path leads to must be a directory.
        const DIRECTORY = 2;
        /// An empty path means where the walk begins (`AT_EMPTY_PATH`).
        const EMPTY_PATH = 4;
        /// No mount is crossed (`RESOLVE_NO_XDEV`).
        const NO_CROSSING = 8;
        /// No magic link is followed (`RESOLVE_NO_MAGICLINKS`).
        const NO_MAGIC_LINKS = 16;
        /// No symbolic link is followed (`RESOLVE_NO_SYMLINKS`).
        const NO_LINKS = 32;
        /// The walk must not leave the directory where it begins (`RESOLVE_BENEATH`).
        const BENEATH = 64;
        /// The directory where it begins is the root (`RESOLVE_IN_ROOT`).
        const IN_ROOT = 128;
    }
}

impl LookupFlags {
    /// `FOLLOW` unless `flags` has `AT_SYMLINK_NOFOLLOW`, and `EMPTY_PATH` as it says.
    #[must_use]
    pub const fn from_at_flags(flags: u32) -> Self {
        let mut lookup =
            if flags & linux_raw_sys::general::AT_SYMLINK_NOFOLLOW == 0 { Self::FOLLOW } else { Self::empty() };
        if flags & linux_raw_sys::general::AT_EMPTY_PATH != 0 {
            lookup = lookup.union(Self::EMPTY_PATH);
        }
        lookup
    }
}

/// Who walks, and from which root and working directory.
#[derive(Clone, Copy, Debug)]
pub struct Walker<'a> {
    /// Root, working directory, umask.
    pub context: &'a FsContext,
    /// Whose permissions count.
    pub credentials: &'a Credentials,
}

/// The last component of a path that was walked up to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Last {
    /// A name in the directory, and whether slashes follow.
    Name(Name, TrailingSlash),
    /// `.`, `..` or no component at all: the walk is already there.
    Directory(DotKind),
}

/// Which path without a last name it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DotKind {
    /// It ends in `.`.
    Dot,
    /// It ends in `..`.
    DotDot,
    /// It is `/`.
    Root,
}

/// Whether slashes follow the last component.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrailingSlash {
    /// They do.
    Present,
    /// They do not.
    Absent,
}

/// A directory and the last component to be looked up in it.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The directory.
    pub location: Location,
    /// The component.
    pub last: Last,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    LastComponent,
}

enum Step {
    /// The walk is at its end.
    Finished(Option<Last>),
    /// This path is to be walked from where the walk stands.
    Path(Vec<u8>),
}

/// A walk under way.
pub struct Walk<'a> {
    walker: Walker<'a>,
    flags: LookupFlags,
    at: Location,
    /// The root in place of the context's, for `IN_ROOT` and `BENEATH`.
    jail: Option<Location>,
    links: u32,
    /// The walk stands at the root already, because its path begins with a slash: the first pass need not go there.
    starts_at_root: bool,
}

impl<'a> Walker<'a> {
    /// The location that `path` leads to from `base` (the working directory where there is none).
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`; `EXDEV` by the flags that confine the walk.
    pub fn resolve(&self, base: Option<&Location>, path: &[u8], flags: LookupFlags) -> Result<Location> {
        if path.is_empty() {
            if !flags.contains(LookupFlags::EMPTY_PATH) {
                return Err(Errno::ENOENT);
            }
            let at = base.cloned().unwrap_or_else(|| self.context.working_directory());
            if flags.contains(LookupFlags::DIRECTORY) && !at.inode().header().is_directory() {
                return Err(Errno::ENOTDIR);
            }
            return Ok(at);
        }
        let mut walk = Walk::new(*self, base, path, flags)?;
        walk.run(path, Until::End)?;
        if flags.contains(LookupFlags::DIRECTORY) && !walk.at.inode().header().is_directory() {
            return Err(Errno::ENOTDIR);
        }
        Ok(walk.at)
    }

    /// The directory that `path` leads into, and its last component.
    ///
    /// # Errors
    /// As [`Walker::resolve`].
    pub fn resolve_parent(&self, base: Option<&Location>, path: &[u8], flags: LookupFlags) -> Result<Parent> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut walk = Walk::new(*self, base, path, flags)?;
        let last = walk.run(path, Until::LastComponent)?;
        Ok(Parent { location: walk.at, last })
    }
}

impl<'a> Walk<'a> {
    /// A walk that begins at `base`, or at the root for a path that begins with a slash.
    ///
    /// # Errors
    /// `EXDEV` for an absolute path with `BENEATH`.
    pub fn new(walker: Walker<'a>, base: Option<&Location>, path: &[u8], flags: LookupFlags) -> Result<Self> {
        let confined = flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
        if !confined && path.first() == Some(&b'/') {
            return Ok(Self { walker, flags, at: walker.context.root(), jail: None, links: 0, starts_at_root: true });
        }
        let at = base.cloned().unwrap_or_else(|| walker.context.working_directory());
        let jail = confined.then(|| at.clone());
        Ok(Self { walker, flags, at, jail, links: 0, starts_at_root: false })
    }

    /// Where the walk stands.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.at
    }

    fn root(&self) -> Location {
        self.jail.clone().unwrap_or_else(|| self.walker.context.root())
    }

    /// Goes up to the last component of `path`, and gives it.
    ///
    /// # Errors
    /// As [`Walker::resolve`].
    pub fn to_parent(&mut self, path: &[u8]) -> Result<Last> {
        self.run(path, Until::LastComponent)
    }

    /// Notes that the link `dentry`, in the directory where the walk stands, is followed next; gives what it leads to as the
    /// path to walk on, or `None` when the walk jumped there.
    ///
    /// # Errors
    /// `ELOOP`; what reading the link gives.
    pub fn follow(&mut self, dentry: &Dentry, rest: &[u8]) -> Result<Option<Vec<u8>>> {
        self.links += 1;
        if self.links > LINK_MAX || self.flags.contains(LookupFlags::NO_LINKS) {
            return Err(Errno::ELOOP);
        }
        let mount_flags = self.at.mount.flags();
        if mount_flags.contains(MountFlags::NO_SYMBOLIC_LINKS) {
            return Err(Errno::ELOOP);
        }
        if !mount_flags.contains(MountFlags::NO_ACCESS_TIME) {
            dentry.inode().header().note_read();
        }
        match dentry.inode().read_link()? {
            LinkTarget::Path(text) => {
                if text.is_empty() {
                    return Err(Errno::ENOENT);
                }
                let mut path = Vec::new();
                path.try_reserve_exact(text.len() + 1 + rest.len()).map_err(|_| Errno::ENOMEM)?;
                path.extend_from_slice(&text);
                if !rest.is_empty() {
                    path.push(b'/');
                    path.extend_from_slice(rest);
                }
                Ok(Some(path))
            }
            LinkTarget::Jump(location) => {
                if self.flags.contains(LookupFlags::NO_MAGIC_LINKS) {
                    return Err(Errno::ELOOP);
                }
                if self.jail.is_some() {
                    return Err(Errno::EXDEV);
                }
                self.cross(&location)?;
                self.at = location;
                if rest.is_empty() { Ok(None) } else { Ok(Some(relative(rest))) }
            }
        }
    }

    /// Refuses to leave the mount where that was asked for.
    fn cross(&self, to: &Location) -> Result<()> {
        if self.flags.contains(LookupFlags::NO_CROSSING) && !alloc::sync::Arc::ptr_eq(&self.at.mount, &to.mount) {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    fn run(&mut self, path: &[u8], until: Until) -> Result<Last> {
        let mut step = self.pass(path, until)?;
        loop {
            match step {
                Step::Finished(last) => return Ok(last.unwrap_or(Last::Directory(DotKind::Dot))),
                Step::Path(path) => step = self.pass(&path, until)?,
            }
        }
    }

    fn pass(&mut self, path: &[u8], until: Until) -> Result<Step> {
        let mut rest = path;
        if rest.first() == Some(&b'/') && !core::mem::take(&mut self.starts_at_root) {
            if self.flags.contains(LookupFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
            let root = self.root();
            self.cross(&root)?;
            self.at = root;
        }
        let mut last = Last::Directory(DotKind::Root);
        loop {
            while let [b'/', tail @ ..] = rest {
                rest = tail;
            }
            if rest.is_empty() {
                return Ok(Step::Finished(Some(last)));
            }
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (name, tail) = rest.split_at(end);
            let is_last = tail.iter().all(|byte| *byte == b'/');
            if !self.at.inode().header().is_directory() {
                return Err(Errno::ENOTDIR);
            }
            permission::check(&**self.at.inode(), self.walker.credentials, Access::EXECUTE)?;
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            rest = tail;
            match name {
                b"." => {
                    last = Last::Directory(DotKind::Dot);
                    continue;
                }
                b".." => {
                    self.go_up()?;
                    last = Last::Directory(DotKind::DotDot);
                    continue;
                }
                _ => {}
            }
            let trailing = if tail.is_empty() { TrailingSlash::Absent } else { TrailingSlash::Present };
            if is_last && until == Until::LastComponent {
                return Ok(Step::Finished(Some(Last::Name(Name::new(name), trailing))));
            }
            let dentry = lookup(&self.at, name)?;
            let header = dentry.inode().header();
            if header.is_symbolic_link()
                && (!is_last || trailing == TrailingSlash::Present || self.flags.contains(LookupFlags::FOLLOW))
            {
                return match self.follow(&dentry, tail)? {
                    Some(path) => Ok(Step::Path(path)),
                    None => Ok(Step::Finished(None)),
                };
            }
            let is_directory = header.is_directory();
            if dentry.is_mount_point() {
                let entered = Location { mount: self.at.mount.clone(), dentry }.enter_mounts();
                self.cross(&entered)?;
                self.at = entered;
            } else {
                self.at.dentry = dentry;
            }
            if is_last {
                if trailing == TrailingSlash::Present && !is_directory {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(Step::Finished(None));
            }
        }
    }

    fn go_up(&mut self) -> Result<()> {
        let root = self.root();
        if self.flags.contains(LookupFlags::BENEATH) && self.at == root {
            return Err(Errno::EXDEV);
        }
        let parent = self.at.parent(&root);
        self.cross(&parent)?;
        self.at = parent;
        Ok(())
    }
}

/// `rest` of a path after a component, without its leading slashes; `.` where there is nothing else.
fn relative(rest: &[u8]) -> Vec<u8> {
    let start = rest.iter().position(|byte| *byte != b'/');
    match start.and_then(|start| rest.get(start..)) {
        Some(rest) => rest.to_vec(),
        None => b".".to_vec(),
    }
}

/// The entry called `name` in the directory at `location`, mounts on it not entered.
///
/// # Errors
/// `ENOENT`; what the file system says.
#[inline]
pub fn lookup(location: &Location, name: &[u8]) -> Result<alloc::sync::Arc<Dentry>> {
    let directory = &location.dentry;
    if let Some(dentry) = directory.child(name, name::hash(name)) {
        return Ok(dentry);
    }
    let inode = directory.inode();
    if inode.keeps_names() {
        return Err(Errno::ENOENT);
    }
    Ok(Dentry::detached(directory, name, inode.lookup(name)?))
}
