//! The contents of a regular file of a tmpfs: reading, writing, space, seals.
//!
//! Lock order: the file's change lock (sleeping; writes and changes of length), then the locks of its pages.

use super::{Regular, TmpfsInode, mapping::MappedFile, seal};
use crate::base::{Errno, PAGE_SIZE, Result};
use crate::fs::file::{FileMode, FileOperations, OpenFile, SeekFrom, seek_in};
use crate::fs::inode::Inode;
use crate::fs::io::{DestinationPiece, IoDestination, IoSource, SourcePiece};
use crate::memory::object::MemoryObject;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

impl TmpfsInode {
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
