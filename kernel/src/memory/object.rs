//! What areas map when it is not anonymous memory: the [`MemoryObject`] trait and its implementations [`SharedPages`]
//! (the data of tmpfs files, memfds, System V segments and shared anonymous memory) and [`KernelPages`] (frames that the
//! kernel shows to user space, such as the vDSO).
//!
//! # Locking
//! The page-fault path calls [`MemoryObject::page`] with the address space's sleeping lock held. An implementation may
//! allocate and take locks of rank [`LockRank::PageCache`] and above, but **no lock under which somebody touches user
//! memory** (an inode's mutex, say): that would be the wrong way round.
//! [`SharedPages`] keeps its pages under one spinlock that is never held while bytes are copied, so a file system may hold
//! its inode's mutex around [`SharedPages::read_to_user`] and [`SharedPages::write_from_user`].
//!
//! # Invariant
//! Bytes of a [`SharedPages`] beyond its length are zero, so growing shows zeros. (A mapping may dirty the tail of the last
//! page; it is cleared when the length changes.)

use super::frame::Frame;
use super::user::{UserSlice, copy_frame_from_user, copy_frame_to_user};
use crate::base::{Errno, PAGE_SHIFT, PAGE_SIZE};
use crate::sync::{LockRank, SpinLock};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use spin::Once;

/// What the caller of [`MemoryObject::page`] will do with the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageIntent {
    /// Read it, or copy it.
    Read,
    /// Write to it through a shared mapping.
    Write,
}

/// Why an object has no page to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageError {
    /// The page lies wholly beyond the object's end: `SIGBUS`.
    BeyondEnd,
    /// Memory is out.
    OutOfMemory,
    /// The storage behind it failed: `SIGBUS`, `EIO`.
    InputOutput,
    /// The object's own limit (a file system's size, say) is reached: `SIGBUS`, `ENOSPC`.
    NoSpace,
}

impl From<PageError> for Errno {
    fn from(error: PageError) -> Self {
        match error {
            PageError::BeyondEnd => Self::EINVAL,
            PageError::OutOfMemory => Self::ENOMEM,
            PageError::InputOutput => Self::EIO,
            PageError::NoSpace => Self::ENOSPC,
        }
    }
}

/// Which of Linux's counters a resident page of the object belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageAccounting {
    /// `RssFile`: a file on storage.
    File,
    /// `RssShmem`: tmpfs, memfd, System V and shared anonymous memory.
    Shared,
    /// None: kernel pages such as the vDSO.
    Uncounted,
}

/// How an object appears in `/proc/PID/maps`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectDetails {
    /// The device number, as `makedev` packs it for user space.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// The path, or a name such as `[vdso]`; empty for none.
    pub name: Vec<u8>,
}

/// Something with pages that areas map.
pub trait MemoryObject: Send + Sync {
    /// The page numbered `index` (the byte offset divided by the page size), made or read in when absent.
    ///
    /// # Errors
    /// [`PageError`].
    fn page(&self, index: u64, intent: PageIntent) -> Result<Frame, PageError>;

    /// The page if it is in memory now. It does not wait or allocate.
    fn resident_page(&self, index: u64) -> Option<Frame>;

    /// Gives each of the pages `first..first + count` that is in memory now to `each`; what a read fault maps around itself.
    /// It stops early where the object ends.
    fn resident_pages(&self, first: u64, count: u64, each: &mut dyn FnMut(u64, Frame)) {
        for index in first..first.saturating_add(count) {
            if let Some(frame) = self.resident_page(index) {
                each(index, frame);
            }
        }
    }

    /// A number that is the same for all mappings of the same bytes, and differs from every other live object's: the inode's, not
    /// the open file's. A futex in shared memory is known by it.
    fn identity(&self) -> u64;

    /// What `/proc/PID/maps` shows.
    fn details(&self) -> ObjectDetails {
        ObjectDetails::default()
    }

    /// What it shows for an area that begins at page `index`: an object of several parts names each.
    fn details_at(&self, _index: u64) -> ObjectDetails {
        self.details()
    }

    /// Which counter its resident pages belong to.
    fn accounting(&self) -> PageAccounting {
        PageAccounting::File
    }

    /// Writes the pages `first..first + count` back to storage, if there is one, and waits.
    ///
    /// # Errors
    /// `EIO` and the file system's own.
    fn synchronise(&self, _first: u64, _count: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// A writable shared mapping is made, until [`MemoryObject::writer_left`]. Seals count them.
    ///
    /// # Errors
    /// `EPERM` when the object is sealed against writing, `ETXTBSY`.
    fn writer_came(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// A writable shared mapping, or a part of one, is gone.
    fn writer_left(&self) {}
}

/// What happens to private copies when pages of an object go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// They go too: the object was cut off there.
    Go,
    /// They stay: a hole was made.
    Stay,
}

/// Takes the pages `first..end` of the object with an identity out of every address space.
pub type Unmap = fn(identity: u64, first: u64, end: u64, copies: Copies);

static UNMAP: Once<Unmap> = Once::new();

/// Registers how pages are taken out of address spaces: `memory::address_space` does it with its first space.
pub(super) fn set_unmap(unmap: Unmap) {
    UNMAP.call_once(|| unmap);
}

/// Pages per leaf of the sparse array.
const CHUNK_PAGES: u64 = 16;

type Chunk = [Option<Frame>; CHUNK_PAGES as usize];

#[derive(Default)]
struct Pages {
    chunks: BTreeMap<u64, Box<Chunk>>,
    length: u64,
    count: u64,
}

/// Pages in all objects of shared memory.
static SHARED_PAGES: AtomicU64 = AtomicU64::new(0);

/// Pages that tmpfs and shared anonymous memory hold: `Shmem` in `/proc/meminfo`.
#[must_use]
pub fn shared_page_count() -> u64 {
    SHARED_PAGES.load(Relaxed)
}

impl Drop for Pages {
    fn drop(&mut self) {
        SHARED_PAGES.fetch_sub(self.count, Relaxed);
    }
}

/// A sparse array of pages with a length in bytes. Holes read as zeros and take no memory.
pub struct SharedPages {
    pages: SpinLock<Pages>,
}

fn split(index: u64) -> (u64, usize) {
    (index / CHUNK_PAGES, (index % CHUNK_PAGES) as usize)
}

fn page_of(offset: u64) -> (u64, usize) {
    (offset >> PAGE_SHIFT, (offset & (PAGE_SIZE as u64 - 1)) as usize)
}

impl Pages {
    fn get(&self, index: u64) -> Option<&Frame> {
        let (chunk, slot) = split(index);
        self.chunks.get(&chunk)?.get(slot)?.as_ref()
    }

    /// Puts `frame` at `index` unless there is one; gives the one that is there then, and the unused one back.
    fn insert(&mut self, index: u64, frame: Frame) -> (Option<Frame>, Option<Frame>) {
        let (chunk, slot) = split(index);
        let chunk = self.chunks.entry(chunk).or_insert_with(|| Box::new([const { None }; CHUNK_PAGES as usize]));
        match chunk.get_mut(slot) {
            Some(Some(present)) => (Some(present.clone()), Some(frame)),
            Some(empty) => {
                *empty = Some(frame.clone());
                self.count += 1;
                SHARED_PAGES.fetch_add(1, Relaxed);
                (Some(frame), None)
            }
            None => (None, Some(frame)),
        }
    }

    /// Takes the pages `first..end` out.
    fn remove(&mut self, first: u64, end: u64) -> Vec<Frame> {
        let mut removed = Vec::new();
        if first >= end {
            return removed;
        }
        let (first_chunk, _) = split(first);
        let (last_chunk, _) = split(end - 1);
        let mut emptied = Vec::new();
        for (&number, chunk) in self.chunks.range_mut(first_chunk..=last_chunk) {
            for (slot, page) in chunk.iter_mut().enumerate() {
                let index = number * CHUNK_PAGES + slot as u64;
                if (first..end).contains(&index)
                    && let Some(frame) = page.take()
                {
                    removed.push(frame);
                    self.count -= 1;
                    SHARED_PAGES.fetch_sub(1, Relaxed);
                }
            }
            if chunk.iter().all(Option::is_none) {
                emptied.push(number);
            }
        }
        for number in emptied {
            self.chunks.remove(&number);
        }
        removed
    }
}

impl SharedPages {
    /// No bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_length(0)
    }

    /// `length` zero bytes, all of them holes.
    #[must_use]
    pub fn with_length(length: u64) -> Self {
        Self { pages: SpinLock::new(LockRank::PageCache, Pages { length, chunks: BTreeMap::new(), count: 0 }) }
    }

    /// The length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.pages.lock().length
    }

    /// How many pages are in memory.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.pages.lock().count
    }

    /// Sets the length. What is cut off is freed and leaves the address spaces that map it (take no address space's lock before);
    /// what is added is a hole.
    pub fn truncate(&self, length: u64) {
        let mut pages = self.pages.lock();
        let old = core::mem::replace(&mut pages.length, length);
        let removed = if length < old { pages.remove(length.div_ceil(PAGE_SIZE as u64), u64::MAX) } else { Vec::new() };
        // The tail of the last page must be zero: after a cut because it holds old bytes, before growth because a mapping
        // may have written there.
        let (index, offset) = page_of(length.min(old));
        let tail = if offset == 0 { None } else { pages.get(index).cloned() };
        if let Some(frame) = tail {
            frame.zero(offset, PAGE_SIZE - offset);
        }
        drop(pages);
        self.unmap(&removed, length.div_ceil(PAGE_SIZE as u64), u64::MAX, Copies::Go);
    }

    /// Takes the pages `first..end`, of which `removed` were there, out of the address spaces that map them. Mostly
    /// nobody does, and then it costs nothing.
    fn unmap(&self, removed: &[Frame], first: u64, end: u64, copies: Copies) {
        if removed.iter().any(|frame| !frame.is_unique())
            && let Some(unmap) = UNMAP.get()
        {
            unmap(self.identity(), first, end, copies);
        }
    }

    /// Makes a hole of the bytes `start..end`; the length stays. As [`SharedPages::truncate`] it reaches into address spaces.
    pub fn punch_hole(&self, start: u64, end: u64) {
        let end = end.max(start);
        let (first, first_offset) = page_of(start);
        let (last, last_offset) = page_of(end);
        let mut pages = self.pages.lock();
        if first == last {
            if let Some(frame) = pages.get(first) {
                frame.zero(first_offset, last_offset - first_offset);
            }
            return;
        }
        if first_offset != 0
            && let Some(frame) = pages.get(first)
        {
            frame.zero(first_offset, PAGE_SIZE - first_offset);
        }
        if last_offset != 0
            && let Some(frame) = pages.get(last)
        {
            frame.zero(0, last_offset);
        }
        let first = first + u64::from(first_offset != 0);
        let removed = pages.remove(first, last);
        drop(pages);
        self.unmap(&removed, first, last, Copies::Stay);
    }

    /// The first offset at or after `offset` that holds data (`SEEK_DATA`), in page steps; `None` when the rest is a hole or
    /// `offset` is at or beyond the end.
    #[must_use]
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let pages = self.pages.lock();
        if offset >= pages.length {
            return None;
        }
        let (first, _) = page_of(offset);
        let (first_chunk, _) = split(first);
        for (&number, chunk) in pages.chunks.range(first_chunk..) {
            for (slot, page) in chunk.iter().enumerate() {
                let index = number * CHUNK_PAGES + slot as u64;
                if index >= first && page.is_some() {
                    let found = (index << PAGE_SHIFT).max(offset);
                    return (found < pages.length).then_some(found);
                }
            }
        }
        None
    }

    /// The first offset at or after `offset` that lies in a hole (`SEEK_HOLE`); the end is one. `None` when `offset` is at or
    /// beyond the end.
    #[must_use]
    pub fn next_hole(&self, offset: u64) -> Option<u64> {
        let pages = self.pages.lock();
        if offset >= pages.length {
            return None;
        }
        let (mut index, _) = page_of(offset);
        while (index << PAGE_SHIFT) < pages.length && pages.get(index).is_some() {
            index += 1;
        }
        Some((index << PAGE_SHIFT).clamp(offset, pages.length))
    }

    /// Copies bytes from `offset` on into `target`; gives how many there were before the end.
    pub fn read_at(&self, offset: u64, target: &mut [u8]) -> usize {
        let available = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = available.min(target.len());
        let Some(target) = target.get_mut(..wanted) else { return 0 };
        let mut position = offset;
        let mut rest = target;
        while !rest.is_empty() {
            let (index, within) = page_of(position);
            let count = (PAGE_SIZE - within).min(rest.len());
            let (piece, tail) = rest.split_at_mut(count);
            match self.resident_page(index) {
                Some(frame) => {
                    frame.read(within, piece);
                }
                None => piece.fill(0),
            }
            position += count as u64;
            rest = tail;
        }
        wanted
    }

    /// Copies `source` to `offset`, growing as needed; gives the number of bytes written, less than all only when memory
    /// ran out on the way.
    ///
    /// # Errors
    /// [`PageError::OutOfMemory`] when nothing could be written, [`PageError::NoSpace`] past 2^63 bytes.
    pub fn write_at(&self, offset: u64, source: &[u8]) -> Result<usize, PageError> {
        self.write_pieces(offset, source.len(), |frame, within, from, count| {
            if let Some(piece) = source.get(from..from + count) {
                frame.write(within, piece);
            }
            Ok(())
        })
    }

    /// Copies bytes from `offset` on to user memory; gives the number copied, less than all at the end or at an address that
    /// is not there.
    ///
    /// # Errors
    /// `EFAULT` when nothing could be copied.
    pub fn read_to_user(&self, offset: u64, target: UserSlice) -> Result<usize, Errno> {
        let available = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX);
        let target = target.take(available);
        let mut done = 0;
        while done < target.len() {
            let (index, within) = page_of(offset + done as u64);
            let piece = target.skip(done).take(PAGE_SIZE - within);
            let copied = match self.resident_page(index) {
                Some(frame) => copy_frame_to_user(&frame, within, piece),
                None => piece.zero(),
            };
            match copied {
                Ok(()) => done += piece.len(),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Copies user memory to `offset`, growing as needed; gives the number of bytes written, less than all at an address that
    /// is not there or when memory runs out.
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM` or `EFBIG` when nothing could be written.
    pub fn write_from_user(&self, offset: u64, source: UserSlice) -> Result<usize, Errno> {
        let mut failure = Errno::EFAULT;
        let written = self.write_pieces(offset, source.len(), |frame, within, from, count| {
            copy_frame_from_user(frame, within, source.skip(from).take(count)).map_err(|error| {
                failure = error;
                PageError::InputOutput
            })
        });
        written.map_err(|error| match error {
            PageError::InputOutput => failure,
            PageError::NoSpace => Errno::EFBIG,
            other => other.into(),
        })
    }

    /// Gives `copy` each page of `offset..offset + length` with the offset in the page, the offset in the source and the count.
    fn write_pieces(
        &self,
        offset: u64,
        length: usize,
        mut copy: impl FnMut(&Frame, usize, usize, usize) -> Result<(), PageError>,
    ) -> Result<usize, PageError> {
        let end = offset.checked_add(length as u64).filter(|&end| i64::try_from(end).is_ok());
        if end.is_none() {
            return Err(PageError::NoSpace);
        }
        self.clear_tail_before(offset);
        let mut done = 0;
        let mut result = Ok(());
        while done < length {
            let position = offset + done as u64;
            let (index, within) = page_of(position);
            let count = (PAGE_SIZE - within).min(length - done);
            result = self.page_or_new(index).and_then(|frame| copy(&frame, within, done, count));
            if result.is_err() {
                break;
            }
            done += count;
            self.grow_to(position + count as u64);
        }
        match result {
            Err(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// When a write at `offset` leaves a gap after the present end, clears what a mapping may have left in the last page.
    fn clear_tail_before(&self, offset: u64) {
        let pages = self.pages.lock();
        let (index, within) = page_of(pages.length);
        if offset > pages.length
            && within != 0
            && let Some(frame) = pages.get(index)
        {
            frame.zero(within, PAGE_SIZE - within);
        }
    }

    /// Makes the length at least `end`.
    fn grow_to(&self, end: u64) {
        let mut pages = self.pages.lock();
        if pages.length < end {
            pages.length = end;
        }
    }

    /// The page at `index`, wherever the end is.
    fn page_or_new(&self, index: u64) -> Result<Frame, PageError> {
        if let Some(frame) = self.resident_page(index) {
            return Ok(frame);
        }
        let frame = Frame::allocate_zeroed_for_user().ok_or(PageError::OutOfMemory)?;
        let (present, unused) = self.pages.lock().insert(index, frame);
        drop(unused);
        present.ok_or(PageError::OutOfMemory)
    }

    /// Makes every page of the bytes `start..end` present (`fallocate`); the length stays.
    ///
    /// # Errors
    /// [`PageError::OutOfMemory`]; pages before that were made.
    pub fn preallocate(&self, start: u64, end: u64) -> Result<(), PageError> {
        for index in start >> PAGE_SHIFT..end.div_ceil(PAGE_SIZE as u64) {
            self.page_or_new(index)?;
        }
        Ok(())
    }

    /// Puts a whole page of data at `index` (unpacking the initramfs, splice); the length becomes at least its end.
    pub fn put_page(&self, index: u64, frame: Frame) {
        let mut pages = self.pages.lock();
        let removed = pages.remove(index, index.saturating_add(1));
        let (present, unused) = pages.insert(index, frame);
        pages.length = pages.length.max(index.saturating_add(1).saturating_mul(PAGE_SIZE as u64));
        drop(pages);
        drop((removed, present, unused));
    }
}

impl Default for SharedPages {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for SharedPages {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("SharedPages")
    }
}

impl MemoryObject for SharedPages {
    fn page(&self, index: u64, _intent: PageIntent) -> Result<Frame, PageError> {
        {
            let pages = self.pages.lock();
            if index >= pages.length.div_ceil(PAGE_SIZE as u64) {
                return Err(PageError::BeyondEnd);
            }
            if let Some(frame) = pages.get(index) {
                return Ok(frame.clone());
            }
        }
        self.page_or_new(index)
    }

    fn resident_page(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(index).cloned()
    }

    fn resident_pages(&self, first: u64, count: u64, each: &mut dyn FnMut(u64, Frame)) {
        let pages = self.pages.lock();
        let end = first.saturating_add(count).min(pages.length.div_ceil(PAGE_SIZE as u64));
        for index in first..end {
            if let Some(frame) = pages.get(index) {
                each(index, frame.clone());
            }
        }
    }

    fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    fn accounting(&self) -> PageAccounting {
        PageAccounting::Shared
    }
}

/// Frames that the kernel shows to user space: the vDSO and its data page. Each run of pages has its own name.
#[derive(Debug)]
pub struct KernelPages {
    /// Where each name begins, from the first page on.
    names: Vec<(u64, &'static str)>,
    frames: Vec<Frame>,
}

impl KernelPages {
    /// The runs one after the other; names are what `/proc/PID/maps` shows.
    #[must_use]
    pub fn new(runs: Vec<(&'static str, Vec<Frame>)>) -> Self {
        let (mut names, mut frames) = (Vec::new(), Vec::new());
        for (name, run) in runs {
            names.push((frames.len() as u64, name));
            frames.extend(run);
        }
        Self { names, frames }
    }
    /// The number of pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl MemoryObject for KernelPages {
    fn page(&self, index: u64, _intent: PageIntent) -> Result<Frame, PageError> {
        self.resident_page(index).ok_or(PageError::BeyondEnd)
    }
    fn resident_page(&self, index: u64) -> Option<Frame> {
        self.frames.get(usize::try_from(index).ok()?).cloned()
    }
    fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
    fn details_at(&self, index: u64) -> ObjectDetails {
        let name = self.names.iter().rev().find(|(first, _)| *first <= index).map_or("", |(_, name)| name);
        ObjectDetails { name: name.as_bytes().to_vec(), ..ObjectDetails::default() }
    }
    fn accounting(&self) -> PageAccounting {
        PageAccounting::Uncounted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holes_take_no_memory_and_read_as_zeros() {
        let pages = SharedPages::with_length(1 << 40);
        assert_eq!(pages.write_at((1 << 39) + 5, b"abc"), Ok(3));
        assert_eq!(pages.page_count(), 1);
        let mut bytes = [1; 8];
        assert_eq!(pages.read_at((1 << 39) + 3, &mut bytes), 8);
        assert_eq!(&bytes, b"\0\0abc\0\0\0");
        assert_eq!(pages.next_data(0), Some(1 << 39));
        assert_eq!(pages.next_hole(1 << 39), Some((1 << 39) + 4096));
        assert_eq!(pages.next_data((1 << 39) + 4096), None);
        assert_eq!(pages.read_at(1 << 40, &mut bytes), 0);
    }

    #[test]
    fn numbers_near_the_end_are_refused() {
        let pages = SharedPages::new();
        assert_eq!(pages.write_at(u64::MAX, b"x"), Err(PageError::NoSpace));
        assert_eq!(pages.write_at(i64::MAX as u64, b"x"), Err(PageError::NoSpace));
        assert_eq!(pages.read_at(u64::MAX, &mut [0]), 0);
        assert_eq!(pages.page(u64::MAX, PageIntent::Read).err(), Some(PageError::BeyondEnd));
        pages.punch_hole(u64::MAX - 5, u64::MAX);
        pages.truncate(u64::MAX);
        pages.truncate(0);
        assert_eq!(pages.page_count(), 0);
    }

    #[test]
    fn the_frames_go_with_the_object() {
        let pages = SharedPages::new();
        pages.write_at(0, &[1; 100]).unwrap();
        let frame = pages.page(0, PageIntent::Read).unwrap();
        assert_eq!(frame.reference_count(), 2);
        drop(pages);
        assert_eq!(frame.reference_count(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, usize, u8),
        Read(usize, usize),
        Truncate(usize),
        Punch(usize, usize),
        Dirty(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let at = 0usize..150_000;
        let step = prop_oneof![
            (at.clone(), 0usize..9000, any::<u8>()).prop_map(|(at, length, value)| Step::Write(at, length, value)),
            (at.clone(), 0usize..9000).prop_map(|(at, length)| Step::Read(at, length)),
            at.clone().prop_map(Step::Truncate),
            (at.clone(), 0usize..20_000).prop_map(|(at, length)| Step::Punch(at, length)),
            at.prop_map(Step::Dirty),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn they_agree_with_a_vector(steps in steps()) {
            let pages = SharedPages::new();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(at, length, value) => {
                        prop_assert_eq!(pages.write_at(at as u64, &vec![value; length]), Ok(length));
                        if length > 0 {
                            model.resize(model.len().max(at + length), 0);
                            model[at..at + length].fill(value);
                        }
                    }
                    Step::Read(at, length) => {
                        let mut bytes = vec![0xee; length];
                        let count = pages.read_at(at as u64, &mut bytes);
                        let expected = model.get(at.min(model.len())..(at + length).min(model.len())).unwrap_or_default();
                        prop_assert_eq!(&bytes[..count], expected);
                    }
                    Step::Truncate(length) => {
                        pages.truncate(length as u64);
                        model.resize(length, 0);
                    }
                    Step::Punch(at, length) => {
                        pages.punch_hole(at as u64, (at + length) as u64);
                        let end = (at + length).min(model.len());
                        if at < end {
                            model[at..end].fill(0);
                        }
                    }
                    Step::Dirty(at) => {
                        // A mapping writes to the whole page, also beyond the end.
                        if let Ok(frame) = pages.page((at >> PAGE_SHIFT) as u64, PageIntent::Write) {
                            frame.write(0, &[0xdd; PAGE_SIZE]);
                            let start = at & !(PAGE_SIZE - 1);
                            let end = (start + PAGE_SIZE).min(model.len());
                            model[start..end].fill(0xdd);
                        }
                    }
                }
                prop_assert_eq!(pages.length(), model.len() as u64);
            }
            let mut bytes = vec![0; model.len()];
            pages.read_at(0, &mut bytes);
            prop_assert_eq!(bytes, model);
        }
    }
}
