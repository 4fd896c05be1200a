//! The descriptors of a process.
//!
//! A slot per number, a bitmap of numbers in use, from which the lowest free one comes, and a bitmap of those that `execve` closes.
//! A number can be reserved before its file exists, so that `open` fails with `EMFILE` before it makes anything. Limits are handed
//! in as values.
//!
//! The lock is a spinlock held for a few instructions; files are dropped after it is released, because closing may sleep.

use super::file::{FileMode, OpenFile};
use super::types::FileDescriptor;
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Whether `execve` closes a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseOnExec {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl CloseOnExec {
    /// `Yes` where `condition` holds.
    #[must_use]
    pub const fn from_condition(condition: bool) -> Self {
        if condition { Self::Yes } else { Self::No }
    }
    /// Whether it is `Yes`.
    #[must_use]
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// A bitmap of any length; bits beyond it are zero.
#[derive(Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }
    fn set(&mut self, index: usize) {
        if self.0.len() <= index / 64 {
            self.0.resize(index / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }
    fn clear(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word &= !(1 << (index % 64));
        }
    }
    fn put(&mut self, index: usize, value: CloseOnExec) {
        if value.is_yes() { self.set(index) } else { self.clear(index) }
    }
    /// The lowest clear bit at or after `from`.
    fn first_clear(&self, from: usize) -> usize {
        let mut word = from / 64;
        let mut ignored = (1u64 << (from % 64)) - 1;
        while let Some(bits) = self.0.get(word) {
            let free = !(bits | ignored);
            if free != 0 {
                return word * 64 + free.trailing_zeros() as usize;
            }
            word += 1;
            ignored = 0;
        }
        (word * 64).max(from)
    }
}

#[derive(Default)]
struct Inner {
    files: Vec<Option<Arc<OpenFile>>>,
    used: Bits,
    close_on_exec: Bits,
    /// No number below is free.
    lowest: usize,
}

impl Inner {
    fn reserve(&mut self, minimum: usize, limit: u64, close_on_exec: CloseOnExec) -> Result<usize> {
        let index = self.used.first_clear(minimum.max(self.lowest));
        if index as u64 >= limit {
            return Err(Errno::EMFILE);
        }
        if self.files.len() <= index {
            self.files.try_reserve(index + 1 - self.files.len()).map_err(|_| Errno::ENOMEM)?;
            self.files.resize(index + 1, None);
        }
        self.used.set(index);
        self.close_on_exec.put(index, close_on_exec);
        if minimum <= self.lowest {
            self.lowest = index + 1;
        }
        Ok(index)
    }

    fn release(&mut self, index: usize) -> Option<Arc<OpenFile>> {
        let file = self.files.get_mut(index)?.take();
        self.used.clear(index);
        self.close_on_exec.clear(index);
        self.lowest = self.lowest.min(index);
        file
    }
}

fn to_descriptor(index: usize) -> Result<FileDescriptor> {
    i32::try_from(index).map(FileDescriptor).map_err(|_| Errno::EMFILE)
}

/// The descriptors of a process; shared by `CLONE_FILES`.
pub struct FileTable {
    inner: SpinLock<Inner>,
}

impl FileTable {
    /// No descriptor.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: SpinLock::new(LockRank::FileSystem, Inner::default()) }
    }

    /// A copy that shares the open files, for `fork`. Numbers that are only reserved are not copied.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let inner = self.inner.lock();
        let mut copy = Inner {
            files: inner.files.clone(),
            used: inner.used.clone(),
            close_on_exec: inner.close_on_exec.clone(),
            lowest: inner.lowest,
        };
        drop(inner);
        for index in 0..copy.files.len() {
            if copy.used.get(index) && copy.files.get(index).is_none_or(Option::is_none) {
                copy.release(index);
            }
        }
        Self { inner: SpinLock::new(LockRank::FileSystem, copy) }
    }

    /// The open file behind a descriptor, handles that are only for their location (`O_PATH`) too.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn get_any(&self, descriptor: FileDescriptor) -> Result<Arc<OpenFile>> {
        let index = descriptor.index().ok_or(Errno::EBADF)?;
        let inner = self.inner.lock();
        inner.files.get(index).and_then(Option::as_ref).cloned().ok_or(Errno::EBADF)
    }

    /// The open file behind a descriptor.
    ///
    /// # Errors
    /// `EBADF`, also for one opened with `O_PATH`.
    #[inline]
    pub fn get(&self, descriptor: FileDescriptor) -> Result<Arc<OpenFile>> {
        let file = self.get_any(descriptor)?;
        if file.mode().contains(FileMode::PATH) {
            return Err(Errno::EBADF);
        }
        Ok(file)
    }

    /// Gives `file` the lowest free number, which must be below `limit` (`RLIMIT_NOFILE`).
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn install(&self, file: Arc<OpenFile>, limit: u64, close_on_exec: CloseOnExec) -> Result<FileDescriptor> {
        self.install_from(0, file, limit, close_on_exec)
    }

    /// Gives `file` the lowest free number from `minimum` on (`F_DUPFD`).
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn install_from(
        &self,
        minimum: usize,
        file: Arc<OpenFile>,
        limit: u64,
        close_on_exec: CloseOnExec,
    ) -> Result<FileDescriptor> {
        let mut inner = self.inner.lock();
        let index = inner.reserve(minimum, limit, close_on_exec)?;
        if let Some(slot) = inner.files.get_mut(index) {
            *slot = Some(file);
        }
        to_descriptor(index)
    }

    /// Takes the lowest free number for a file that is yet to come; [`FileTable::fill`] or [`FileTable::abandon`] follows.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn reserve(&self, limit: u64, close_on_exec: CloseOnExec) -> Result<FileDescriptor> {
        to_descriptor(self.inner.lock().reserve(0, limit, close_on_exec)?)
    }

    /// Puts the file behind a reserved number.
    pub fn fill(&self, descriptor: FileDescriptor, file: Arc<OpenFile>) {
        let mut inner = self.inner.lock();
        let slot = descriptor.index().and_then(|index| inner.files.get_mut(index));
        if let Some(slot) = slot {
            *slot = Some(file);
        }
    }

    /// Gives a reserved number up.
    pub fn abandon(&self, descriptor: FileDescriptor) {
        if let Some(index) = descriptor.index() {
            let file = self.inner.lock().release(index);
            drop(file);
        }
    }

    /// Puts `file` behind the number `descriptor`, whatever is there (`dup2`); gives what was, for [`close_file`].
    ///
    /// # Errors
    /// `EBADF` at or beyond `limit`; `EBUSY` when the number is reserved by a call under way.
    pub fn replace(
        &self,
        descriptor: FileDescriptor,
        file: Arc<OpenFile>,
        limit: u64,
        close_on_exec: CloseOnExec,
    ) -> Result<Option<Arc<OpenFile>>> {
        let index = descriptor.index().filter(|index| (*index as u64) < limit).ok_or(Errno::EBADF)?;
        let mut inner = self.inner.lock();
        if inner.files.len() <= index {
            let more = index + 1 - inner.files.len();
            inner.files.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            inner.files.resize(index + 1, None);
        }
        let reserved = inner.used.get(index);
        let Some(slot) = inner.files.get_mut(index) else { return Err(Errno::EBADF) };
        if reserved && slot.is_none() {
            return Err(Errno::EBUSY);
        }
        let old = slot.replace(file);
        inner.used.set(index);
        inner.close_on_exec.put(index, close_on_exec);
        Ok(old)
    }

    /// Takes a descriptor away; gives its file, for [`close_file`].
    ///
    /// # Errors
    /// `EBADF`.
    pub fn remove(&self, descriptor: FileDescriptor) -> Result<Arc<OpenFile>> {
        let index = descriptor.index().ok_or(Errno::EBADF)?;
        let mut inner = self.inner.lock();
        if inner.files.get(index).is_none_or(Option::is_none) {
            return Err(Errno::EBADF);
        }
        inner.release(index).ok_or(Errno::EBADF)
    }

    /// Takes the descriptors `first..=last` away; gives their files, for [`close_file`].
    #[must_use]
    pub fn remove_range(&self, first: u32, last: u32) -> Vec<Arc<OpenFile>> {
        let mut inner = self.inner.lock();
        let end = (last as usize).saturating_add(1).min(inner.files.len());
        let mut removed = Vec::new();
        for index in first as usize..end {
            if inner.files.get(index).is_some_and(Option::is_some) {
                removed.extend(inner.release(index));
            }
        }
        removed
    }

    /// Marks the descriptors `first..=last` to be closed by `execve`.
    pub fn mark_range(&self, first: u32, last: u32) {
        let mut inner = self.inner.lock();
        let end = (last as usize).saturating_add(1).min(inner.files.len());
        for index in first as usize..end {
            if inner.used.get(index) {
                inner.close_on_exec.set(index);
            }
        }
    }

    /// Takes away those that `execve` closes; gives their files, for [`close_file`].
    #[must_use]
    pub fn remove_marked(&self) -> Vec<Arc<OpenFile>> {
        let mut inner = self.inner.lock();
        let mut removed = Vec::new();
        for word in 0..inner.close_on_exec.0.len() {
            while let Some(bits) = inner.close_on_exec.0.get(word).copied().filter(|bits| *bits != 0) {
                let index = word * 64 + bits.trailing_zeros() as usize;
                inner.close_on_exec.clear(index);
                removed.extend(inner.release(index));
            }
        }
        removed
    }

    /// Takes all away; gives their files, for [`close_file`].
    #[must_use]
    pub fn remove_all(&self) -> Vec<Arc<OpenFile>> {
        let inner = core::mem::take(&mut *self.inner.lock());
        inner.files.into_iter().flatten().collect()
    }

    /// Whether `execve` closes a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close_on_exec(&self, descriptor: FileDescriptor) -> Result<CloseOnExec> {
        let index = descriptor.index().ok_or(Errno::EBADF)?;
        let inner = self.inner.lock();
        inner.files.get(index).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
        Ok(CloseOnExec::from_condition(inner.close_on_exec.get(index)))
    }

    /// Says whether `execve` closes a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_close_on_exec(&self, descriptor: FileDescriptor, close_on_exec: CloseOnExec) -> Result<()> {
        let index = descriptor.index().ok_or(Errno::EBADF)?;
        let mut inner = self.inner.lock();
        inner.files.get(index).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
        inner.close_on_exec.put(index, close_on_exec);
        Ok(())
    }

    /// The descriptors in use from `minimum` on, with their files, in order; for `/proc/PID/fd`.
    #[must_use]
    pub fn collect_from(&self, minimum: usize) -> Vec<(FileDescriptor, Arc<OpenFile>)> {
        let inner = self.inner.lock();
        let files = inner.files.iter().enumerate().skip(minimum);
        files.filter_map(|(index, file)| Some((to_descriptor(index).ok()?, file.clone()?))).collect()
    }

    /// How many slots there are (`FDSize` in `/proc/PID/status`).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.lock().files.len().next_power_of_two().max(64)
    }
}

impl Default for FileTable {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for FileTable {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("FileTable")
    }
}

/// What closing a descriptor does to its file: the kind is told, and the POSIX locks that `owner` (the identity of the process's
/// file table) has on the file go.
pub fn close_file(file: Arc<OpenFile>, owner: u64) {
    file.operations().flush(&file);
    if let Some(location) = file.location()
        && !file.mode().contains(FileMode::PATH)
    {
        super::lock::release_process(location.inode(), owner);
    }
    drop(file);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::file::FileOperations;
    use crate::fs::types::OpenFlags;
    use std::collections::BTreeMap;

    struct Nothing;
    impl FileOperations for Nothing {}

    fn file() -> Arc<OpenFile> {
        OpenFile::anonymous(Arc::new(Nothing), OpenFlags::READ_WRITE)
    }

    #[test]
    fn numbers_are_the_lowest_free_and_limits_hold() {
        let table = FileTable::new();
        for expected in 0..70 {
            assert_eq!(table.install(file(), 70, CloseOnExec::No), Ok(FileDescriptor(expected)));
        }
        assert_eq!(table.install(file(), 70, CloseOnExec::No), Err(Errno::EMFILE));
        table.remove(FileDescriptor(65)).unwrap();
        table.remove(FileDescriptor(3)).unwrap();
        assert_eq!(table.remove(FileDescriptor(3)).unwrap_err(), Errno::EBADF);
        assert_eq!(table.install_from(10, file(), 70, CloseOnExec::No), Ok(FileDescriptor(65)));
        assert_eq!(table.install(file(), 70, CloseOnExec::No), Ok(FileDescriptor(3)));
        assert_eq!(table.get(FileDescriptor(-1)).unwrap_err(), Errno::EBADF);
        assert_eq!(table.get(FileDescriptor(i32::MAX)).unwrap_err(), Errno::EBADF);
    }

    #[test]
    fn reserved_numbers_are_busy_and_not_inherited() {
        let table = FileTable::new();
        let reserved = table.reserve(10, CloseOnExec::No).unwrap();
        assert_eq!(table.get(reserved).unwrap_err(), Errno::EBADF);
        assert_eq!(table.replace(reserved, file(), 10, CloseOnExec::No).unwrap_err(), Errno::EBUSY);
        let child = table.duplicate();
        assert_eq!(child.install(file(), 10, CloseOnExec::No), Ok(reserved));
        table.abandon(reserved);
        assert_eq!(table.replace(FileDescriptor(10), file(), 10, CloseOnExec::No).unwrap_err(), Errno::EBADF);
        assert!(table.replace(FileDescriptor(9), file(), 10, CloseOnExec::No).unwrap().is_none());
    }

    #[test]
    fn exec_closes_the_marked_ones() {
        let table = FileTable::new();
        for number in 0..6 {
            let mark = CloseOnExec::from_condition(number % 2 == 0);
            table.install(file(), 100, mark).unwrap();
        }
        assert_eq!(table.remove_marked().len(), 3);
        assert_eq!(table.collect_from(0).iter().map(|(fd, _)| fd.0).collect::<Vec<_>>(), [1, 3, 5]);
        table.mark_range(0, 3);
        assert_eq!(table.close_on_exec(FileDescriptor(3)), Ok(CloseOnExec::Yes));
        assert_eq!(table.remove_range(2, u32::MAX).len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn the_table_behaves_as_a_map(operations in proptest::collection::vec((0u8..4, 0i32..150), 1..300)) {
            let table = FileTable::new();
            let mut model: BTreeMap<i32, u64> = BTreeMap::new();
            for (operation, number) in operations {
                let file = file();
                let identity = file.identity();
                let lowest = |from: i32, model: &BTreeMap<i32, u64>| (from..).find(|n| !model.contains_key(n)).unwrap();
                match operation {
                    0 => {
                        let expected = lowest(0, &model);
                        proptest::prop_assert_eq!(table.install(file, 200, CloseOnExec::No), Ok(FileDescriptor(expected)));
                        model.insert(expected, identity);
                    }
                    1 => {
                        let expected = lowest(number, &model);
                        let from = usize::try_from(number).unwrap();
                        let got = table.install_from(from, file, 400, CloseOnExec::No);
                        proptest::prop_assert_eq!(got, Ok(FileDescriptor(expected)));
                        model.insert(expected, identity);
                    }
                    2 => {
                        let removed = table.remove(FileDescriptor(number)).ok().map(|file| file.identity());
                        proptest::prop_assert_eq!(removed, model.remove(&number));
                    }
                    _ => {
                        let old = table.replace(FileDescriptor(number), file, 400, CloseOnExec::No).unwrap();
                        proptest::prop_assert_eq!(old.map(|file| file.identity()), model.insert(number, identity));
                    }
                }
            }
            let found: Vec<_> = table.collect_from(0).iter().map(|(fd, file)| (fd.0, file.identity())).collect();
            proptest::prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }
}
