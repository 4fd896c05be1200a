//! A file of a tmpfs.

use super::Tmpfs;
use crate::base::{Errno, PAGE_SIZE, Result};
use crate::fs::file::{FileMode, FileOperations, OpenFile, SeekFrom, seek_in};
use crate::fs::inode::{
    AttributeChange, Inode, InodeHeader, LinkTarget, NewInode, RenameKind, RenameRequest, SetAttributeMode,
};
use crate::fs::io::{DestinationPiece, IoDestination, IoSource, SourcePiece};
use crate::fs::mount::Location;
use crate::fs::types::{DeviceNumber, FileType, OpenFlags, Timestamp, mode};
use crate::memory::frame::Frame;
use crate::memory::object::{MemoryObject, ObjectDetails, PageAccounting, PageError, PageIntent, SharedPages};
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

    pub(super) fn new_root(file_system: &Arc<Tmpfs>, mode: u32, uid: u32, gid: u32) -> Result<Arc<dyn Inode>> {
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
    pub(super) fn set_seals(&self, seals: u32) {
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

    fn note_written(&self, file: &OpenFile) {
        self.header.note_write();
        if !file.mode().contains(FileMode::KEEPS_SET_ID) {
            self.header.drop_set_id_bits();
        }
    }

    /// Writes with the change lock held.
    fn write_locked(&self, regular: &Regular, offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let seals = regular.seals.load(Relaxed);
        if seals & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        let wanted = source.remaining() as u64;
        let end = offset.checked_add(wanted).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
        if seals & seal::GROW != 0 && end > regular.pages.length() {
            return Err(Errno::EPERM);
        }
        let spanned = end.div_ceil(PAGE_SIZE as u64) - offset / PAGE_SIZE as u64;
        if self.file_system.room(spanned) < spanned {
            self.limit_to_room(regular, offset, end, source)?;
        }
        let mut position = offset;
        let result = source.drain(|piece| {
            let count = match piece {
                SourcePiece::User(slice) => regular.pages.write_from_user(position, slice)?,
                SourcePiece::Kernel(bytes) => regular.pages.write_at(position, bytes)?,
            };
            position += count as u64;
            Ok(count)
        });
        self.settle();
        result.map_err(|error| if error == Errno::ENOMEM { Errno::ENOSPC } else { error })
    }

    /// Cuts `source` off where the file system's pages would run out.
    fn limit_to_room(&self, regular: &Regular, offset: u64, end: u64, source: &mut IoSource<'_>) -> Result<()> {
        let page = PAGE_SIZE as u64;
        let mut room = self.file_system.room(u64::MAX);
        for index in offset / page..end.div_ceil(page) {
            if regular.pages.resident_page(index).is_some() {
                continue;
            }
            if room == 0 {
                let fits = (index * page).saturating_sub(offset);
                if fits == 0 {
                    return Err(Errno::ENOSPC);
                }
                source.limit(usize::try_from(fits).unwrap_or(usize::MAX));
                return Ok(());
            }
            room -= 1;
        }
        Ok(())
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

impl FileOperations for TmpfsInode {
    fn read_at(&self, file: &OpenFile, offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        let regular = self.regular()?;
        let mut position = offset;
        let result = destination.fill(|piece| {
            let count = match piece {
                DestinationPiece::User(slice) => regular.pages.read_to_user(position, slice)?,
                DestinationPiece::Kernel(bytes) => regular.pages.read_at(position, bytes),
            };
            position += count as u64;
            Ok(count)
        });
        if !file.mode().contains(FileMode::NO_ACCESS_TIME) {
            self.header.note_read();
        }
        result
    }

    fn write_at(&self, file: &OpenFile, offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let regular = self.regular()?;
        let _guard = regular.change.lock();
        let written = self.write_locked(regular, offset, source)?;
        self.note_written(file);
        Ok(written)
    }

    fn append(&self, file: &OpenFile, source: &mut IoSource<'_>) -> Result<(usize, u64)> {
        let regular = self.regular()?;
        let _guard = regular.change.lock();
        let start = regular.pages.length();
        let written = self.write_locked(regular, start, source)?;
        self.note_written(file);
        Ok((written, start + written as u64))
    }

    fn size(&self, _file: &OpenFile) -> u64 {
        Inode::size(self)
    }

    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, from: SeekFrom) -> Result<u64> {
        let pages = &self.regular()?.pages;
        match from {
            SeekFrom::Data | SeekFrom::Hole => {
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                let found = if from == SeekFrom::Data { pages.next_data(offset) } else { pages.next_hole(offset) };
                found.ok_or(Errno::ENXIO)
            }
            _ => seek_in(position, offset, from, pages.length()),
        }
    }

    fn synchronise(&self, _file: &OpenFile) -> Result<()> {
        Ok(())
    }

    fn memory_object(&self, file: &OpenFile) -> Result<Arc<dyn MemoryObject>> {
        let location = file.location().ok_or(Errno::ENODEV)?;
        let any: Arc<dyn core::any::Any + Send + Sync> = location.inode().clone();
        let inode = any.downcast::<Self>().map_err(|_| Errno::ENODEV)?;
        Ok(Arc::new(MappedFile { inode, location: location.clone() }))
    }

    fn allocate(&self, file: &OpenFile, mode: u32, offset: u64, length: u64) -> Result<()> {
        const KEEP_SIZE: u32 = 1;
        const PUNCH_HOLE: u32 = 2;
        let regular = self.regular()?;
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
        let _guard = regular.change.lock();
        let seals = regular.seals.load(Relaxed);
        if mode == KEEP_SIZE | PUNCH_HOLE {
            if seals & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
                return Err(Errno::EPERM);
            }
            regular.pages.punch_hole(offset, end);
            self.settle();
            self.note_written(file);
            return Ok(());
        }
        if mode & !KEEP_SIZE != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let grows = mode & KEEP_SIZE == 0 && end > regular.pages.length();
        if grows && seals & seal::GROW != 0 {
            return Err(Errno::EPERM);
        }
        let page = PAGE_SIZE as u64;
        let spanned = end.div_ceil(page) - offset / page;
        if self.file_system.room(spanned) < spanned {
            let present = (offset / page..end.div_ceil(page).min(regular.pages.length().div_ceil(page)))
                .filter(|index| regular.pages.resident_page(*index).is_some())
                .count() as u64;
            let missing = spanned.saturating_sub(present);
            if self.file_system.room(missing) < missing {
                return Err(Errno::ENOSPC);
            }
        }
        let made = regular.pages.preallocate(offset, end);
        if made.is_ok() && grows {
            regular.pages.truncate(end);
        }
        self.settle();
        self.header.note_change();
        made.map_err(|_| Errno::ENOSPC)
    }

    fn seals(&self) -> Result<u32> {
        Ok(self.regular()?.seals.load(Relaxed))
    }

    fn add_seals(&self, seals: u32) -> Result<()> {
        if seals & !seal::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        let regular = self.regular()?;
        let _guard = regular.change.lock();
        let present = regular.seals.load(Relaxed);
        if present & seal::SEAL != 0 {
            return Err(Errno::EPERM);
        }
        if seals & seal::WRITE != 0 && present & seal::WRITE == 0 && regular.shared_writers.load(Relaxed) != 0 {
            return Err(Errno::EBUSY);
        }
        let mut seals = seals;
        if seals & seal::EXEC != 0 && self.header.mode() & 0o111 != 0 {
            seals |= seal::SHRINK | seal::GROW | seal::WRITE | seal::FUTURE_WRITE;
        }
        regular.seals.fetch_or(seals, Relaxed);
        Ok(())
    }
}

/// The pages of a regular file as one mapping sees them: with the path that it was opened by.
struct MappedFile {
    inode: Arc<TmpfsInode>,
    location: Location,
}

impl MappedFile {
    fn pages(&self) -> Result<&SharedPages, PageError> {
        self.inode.pages().ok_or(PageError::InputOutput)
    }
}

impl MemoryObject for MappedFile {
    fn page(&self, index: u64, intent: PageIntent) -> Result<Frame, PageError> {
        let pages = self.pages()?;
        if let Some(frame) = pages.resident_page(index)
            && index < pages.length().div_ceil(PAGE_SIZE as u64)
        {
            return Ok(frame);
        }
        if self.inode.file_system.room(1) == 0 && index < pages.length().div_ceil(PAGE_SIZE as u64) {
            return Err(PageError::NoSpace);
        }
        let frame = pages.page(index, intent)?;
        self.inode.settle();
        Ok(frame)
    }

    fn resident_page(&self, index: u64) -> Option<Frame> {
        self.pages().ok()?.resident_page(index)
    }

    fn resident_pages(&self, first: u64, count: u64, each: &mut dyn FnMut(u64, Frame)) {
        if let Ok(pages) = self.pages() {
            pages.resident_pages(first, count, each);
        }
    }

    fn identity(&self) -> u64 {
        // The pages' own, by which they are found when the file is cut off.
        self.inode.pages().map_or(0, MemoryObject::identity)
    }

    fn details(&self) -> ObjectDetails {
        ObjectDetails {
            device: self.inode.header.device().encode(),
            inode: self.inode.header.number(),
            name: self.location.path_from_global_root(),
        }
    }

    fn accounting(&self) -> PageAccounting {
        PageAccounting::Shared
    }

    fn writer_came(&self) -> Result<(), Errno> {
        let regular = self.inode.regular()?;
        if regular.seals.load(Relaxed) & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        regular.shared_writers.fetch_add(1, Relaxed);
        Ok(())
    }

    fn writer_left(&self) {
        if let Ok(regular) = self.inode.regular() {
            regular.shared_writers.fetch_sub(1, Relaxed);
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
pub(super) const MEMFD_MODE: u32 = FileType::Regular.mode_bits() | mode::PERMISSIONS;
