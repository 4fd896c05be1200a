//! A file of a tmpfs.

mod contents;
mod mapping;

use super::Tmpfs;
use crate::base::{Errno, PAGE_SIZE, Result};
use crate::fs::file::FileOperations;
use crate::fs::inode::{
    AttributeChange, Inode, InodeHeader, LinkTarget, NewInode, RenameKind, RenameRequest, SetAttributeMode,
};
use crate::fs::types::{DeviceNumber, FileType, OpenFlags, Timestamp, mode};
use crate::memory::object::SharedPages;
use crate::sync::{LockRank, Mutex, SpinLock};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What each name adds to a directory's size, as Linux's tmpfs has it.
const ENTRY_SIZE: u64 = 20;

/// The most bytes of extended attributes on one file, names included.
const ATTRIBUTE_SPACE: usize = 64 * 1024;

type Attributes = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// `F_SEAL_*`.
pub mod seal {
    /// No more seals.
    pub const SEAL: u32 = 1;
    /// The file cannot shrink.
    pub const SHRINK: u32 = 2;
    /// The file cannot grow.
    pub const GROW: u32 = 4;
    /// The file cannot be written.
    pub const WRITE: u32 = 8;
    /// The file cannot be written but through mappings that are there.
    pub const FUTURE_WRITE: u32 = 16;
    /// The executable bits cannot change.
    pub const EXEC: u32 = 32;
    /// All of them.
    pub const ALL: u32 = 63;
}

enum Contents {
    Directory { size: AtomicU64 },
    Regular(Box<Regular>),
    Link(Arc<[u8]>),
    Special,
}

struct Regular {
    pages: SharedPages,
    /// Pages that the file system has counted for this file.
    counted: AtomicU64,
    /// Held by writes and changes of length; never by page faults.
    change: Mutex<()>,
    seals: AtomicU32,
    shared_writers: AtomicU32,
}

/// A file of a tmpfs.
pub struct TmpfsInode {
    header: InodeHeader,
    file_system: Arc<Tmpfs>,
    contents: Contents,
    attributes: SpinLock<Option<Box<Attributes>>>,
}

impl TmpfsInode {
    /// A new inode without a name.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub fn new(file_system: &Arc<Tmpfs>, new: &NewInode<'_>) -> Result<Arc<Self>> {
        let number = file_system.new_inode_number()?;
        let contents = match FileType::from_mode(new.mode) {
            Some(FileType::Directory) => Contents::Directory { size: AtomicU64::new(2 * ENTRY_SIZE) },
            Some(FileType::Regular) | None => Contents::Regular(Box::new(Regular {
                pages: SharedPages::new(),
                counted: AtomicU64::new(0),
                change: Mutex::new(()),
                seals: AtomicU32::new(seal::SEAL),
                shared_writers: AtomicU32::new(0),
            })),
            Some(FileType::SymbolicLink) => Contents::Link(new.target.into()),
            Some(_) => Contents::Special,
        };
        let header = InodeHeader::new(number, file_system.device, new.mode, new.uid, new.gid, new.device_id);
        Ok(Arc::new(Self {
            header,
            file_system: file_system.clone(),
            contents,
            attributes: SpinLock::new(LockRank::FileObject, None),
        }))
    }

    pub(in crate::fs::tmpfs) fn new_root(
        file_system: &Arc<Tmpfs>,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>> {
        Ok(Self::new(file_system, &NewInode { mode, uid, gid, device_id: DeviceNumber::default(), target: &[] })?)
    }

    /// The data of a regular file.
    fn regular(&self) -> Result<&Regular> {
        match &self.contents {
            Contents::Regular(regular) => Ok(regular),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The data of a regular file, to be filled while nobody else knows the file (unpacking the initramfs).
    #[must_use]
    pub fn pages(&self) -> Option<&SharedPages> {
        self.regular().ok().map(|regular| &regular.pages)
    }

    /// Tells the file system of pages that came or went.
    pub fn settle(&self) {
        if let Ok(regular) = self.regular() {
            let now = regular.pages.page_count();
            let before = regular.counted.swap(now, Relaxed);
            if now != before {
                self.file_system.change_pages(now.cast_signed().wrapping_sub(before.cast_signed()));
            }
        }
    }

    /// Sets the seals that a memfd begins with.
    pub(in crate::fs::tmpfs) fn set_seals(&self, seals: u32) {
        if let Ok(regular) = self.regular() {
            regular.seals.store(seals, Relaxed);
        }
    }

    fn grow_directory(&self, entries: i64) {
        if let Contents::Directory { size } = &self.contents {
            let change = entries * ENTRY_SIZE.cast_signed();
            let _ = size.fetch_update(Relaxed, Relaxed, |size| Some(size.saturating_add_signed(change)));
        }
        self.header.note_write();
    }
}

impl Drop for TmpfsInode {
    fn drop(&mut self) {
        if let Contents::Regular(regular) = &self.contents {
            let counted = regular.counted.load(Relaxed);
            if counted != 0 {
                self.file_system.change_pages(counted.cast_signed().wrapping_neg());
            }
        }
        self.file_system.forget_inode();
    }
}

impl Inode for TmpfsInode {
    fn header(&self) -> &InodeHeader {
        &self.header
    }

    fn size(&self) -> u64 {
        match &self.contents {
            Contents::Directory { size } => size.load(Relaxed),
            Contents::Regular(regular) => regular.pages.length(),
            Contents::Link(target) => target.len() as u64,
            Contents::Special => 0,
        }
    }

    fn blocks(&self) -> u64 {
        self.regular().map_or(0, |regular| regular.pages.page_count() * (PAGE_SIZE as u64 / 512))
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Ok(self)
    }

    fn keeps_names(&self) -> bool {
        true
    }

    fn create(&self, _name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let inode = Self::new(&self.file_system, new)?;
        if inode.header.is_directory() {
            self.header.add_link();
        }
        self.grow_directory(1);
        Ok(inode)
    }

    fn create_nameless(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Ok(Self::new(&self.file_system, new)?)
    }

    fn link(&self, _name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        inode.header().add_link();
        inode.header().note_change();
        self.grow_directory(1);
        Ok(())
    }

    fn unlink(&self, _name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        let header = inode.header();
        if header.is_directory() {
            header.set_links(0);
            self.header.remove_link();
        } else {
            header.remove_link();
        }
        header.note_change();
        self.grow_directory(-1);
        Ok(())
    }

    fn rename(&self, request: &RenameRequest<'_>) -> Result<()> {
        let target = request.target.header();
        let moved = request.inode.header();
        let same = core::ptr::eq(&raw const self.header, target);
        let is_directory = moved.is_directory();
        if request.kind == RenameKind::Exchange {
            let Some(other) = request.replaced else { return Err(Errno::ENOENT) };
            match (is_directory, other.header().is_directory()) {
                (true, false) if !same => {
                    self.header.remove_link();
                    target.add_link();
                }
                (false, true) if !same => {
                    target.remove_link();
                    self.header.add_link();
                }
                _ => {}
            }
            other.header().note_change();
        } else {
            if let Some(replaced) = request.replaced {
                request.target.unlink(request.new_name, replaced)?;
            }
            if !same {
                if is_directory {
                    self.header.remove_link();
                    target.add_link();
                }
                self.grow_directory(-1);
                let any: &dyn core::any::Any = &**request.target;
                if let Some(target) = any.downcast_ref::<Self>() {
                    target.grow_directory(1);
                }
            }
        }
        self.header.note_write();
        target.note_write();
        moved.note_change();
        Ok(())
    }

    fn read_link(&self) -> Result<LinkTarget> {
        match &self.contents {
            Contents::Link(target) => Ok(LinkTarget::Path(target.clone())),
            _ => Err(Errno::EINVAL),
        }
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<()> {
        if let (Some(permissions), Ok(regular)) = (change.permissions, self.regular())
            && regular.seals.load(Relaxed) & seal::EXEC != 0
            && (self.header.mode() ^ permissions) & 0o111 != 0
        {
            return Err(Errno::EPERM);
        }
        self.header.apply(change);
        Ok(())
    }

    fn truncate(&self, length: u64) -> Result<()> {
        let regular = self.regular()?;
        if i64::try_from(length).is_err() {
            return Err(Errno::EFBIG);
        }
        let _guard = regular.change.lock();
        let seals = regular.seals.load(Relaxed);
        let old = regular.pages.length();
        if (length < old && seals & seal::SHRINK != 0) || (length > old && seals & seal::GROW != 0) {
            return Err(Errno::EPERM);
        }
        if length != old {
            regular.pages.truncate(length);
            self.settle();
        }
        self.header.note_write();
        Ok(())
    }

    fn extended_attribute(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.check_attribute_name(name)?;
        let attributes = self.attributes.lock();
        attributes.as_ref().and_then(|all| all.get(name)).map(|value| value.to_vec()).ok_or(Errno::ENODATA)
    }

    fn set_extended_attribute(&self, name: &[u8], value: &[u8], mode: SetAttributeMode) -> Result<()> {
        self.check_attribute_name(name)?;
        let (name, value): (Box<[u8]>, Box<[u8]>) = (name.into(), value.into());
        let mut attributes = self.attributes.lock();
        let all = attributes.get_or_insert_default();
        match (all.contains_key(&name), mode) {
            (true, SetAttributeMode::Create) => return Err(Errno::EEXIST),
            (false, SetAttributeMode::Replace) => return Err(Errno::ENODATA),
            _ => {}
        }
        let used: usize =
            all.iter().filter(|(other, _)| **other != name).map(|(name, value)| name.len() + value.len()).sum();
        if used + name.len() + value.len() > ATTRIBUTE_SPACE {
            return Err(Errno::ENOSPC);
        }
        let old = all.insert(name, value);
        drop(attributes);
        drop(old);
        self.header.note_change();
        Ok(())
    }

    fn remove_extended_attribute(&self, name: &[u8]) -> Result<()> {
        self.check_attribute_name(name)?;
        let removed = self.attributes.lock().as_mut().and_then(|all| all.remove(name));
        removed.ok_or(Errno::ENODATA)?;
        self.header.note_change();
        Ok(())
    }

    fn list_extended_attributes(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let names: Vec<Box<[u8]>> = {
            let attributes = self.attributes.lock();
            attributes.as_ref().map(|all| all.keys().cloned().collect()).unwrap_or_default()
        };
        names.iter().for_each(|name| each(name));
        Ok(())
    }
}

impl TmpfsInode {
    /// Which names tmpfs stores: `trusted.` and `security.`; `user.` on regular files and directories.
    fn check_attribute_name(&self, name: &[u8]) -> Result<()> {
        if name.starts_with(b"trusted.") || name.starts_with(b"security.") || name.starts_with(b"user.") {
            Ok(())
        } else {
            Err(Errno::EOPNOTSUPP)
        }
    }
}

/// Sets the times that the initramfs gives.
pub fn set_times(inode: &dyn Inode, seconds: i64) {
    let time = Timestamp::new(seconds, 0);
    inode.header().set_accessed(time);
    inode.header().set_modified(time);
    inode.header().set_changed(time);
}

/// The bits of a mode that a memfd is made with.
pub(in crate::fs::tmpfs) const MEMFD_MODE: u32 = FileType::Regular.mode_bits() | mode::PERMISSIONS;
