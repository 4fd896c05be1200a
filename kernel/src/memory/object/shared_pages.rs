//! A sparse array of pages: the data of what is kept in memory alone.
//!
//! [`SharedPages`] keeps its pages under one spinlock that is never held while bytes are copied from or to programs, so a file system may hold
//! its inode's mutex around [`SharedPages::read_to_user`] and [`SharedPages::write_from_user`].
//!
//! # Invariant
//! Bytes of a [`SharedPages`] beyond its length are zero, so growing shows zeros. (A mapping may dirty the tail of the last
//! page; it is cleared when the length changes.)

use super::{Copies, MemoryObject, PageAccounting, PageError, PageIntent, Replacement, UNMAP};
use crate::base::{Errno, FrameNumber, PAGE_SHIFT, PAGE_SIZE};
use crate::memory::frame::Frame;
use crate::memory::node_frames::{self, Content};
use crate::memory::numa::{self, SharedPolicies};
use crate::memory::user::{UserSlice, copy_frame_from_user, copy_frame_to_user};
use crate::sync::{LockRank, SpinLock};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

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
    /// Whether private mappings may have copies of pages: nothing but a walk through all address spaces tells where.
    has_copies: AtomicBool,
    policies: SharedPolicies,
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
        Self {
            pages: SpinLock::new(LockRank::PageCache, Pages { length, chunks: BTreeMap::new(), count: 0 }),
            has_copies: AtomicBool::new(false),
            policies: SharedPolicies::new(),
        }
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
        let first = length.div_ceil(PAGE_SIZE as u64);
        if length < old && self.has_copies.load(Relaxed) {
            // What is copied while this goes on is noted again.
            self.has_copies.store(length != 0, Relaxed);
            self.unmap_everywhere(first, u64::MAX, Copies::Go);
        } else {
            self.unmap(&removed, first, u64::MAX, Copies::Go);
        }
    }

    /// Takes the pages `first..end`, of which `removed` were there, out of the address spaces that map them. Mostly
    /// nobody does, and then it costs nothing.
    fn unmap(&self, removed: &[Frame], first: u64, end: u64, copies: Copies) {
        if removed.iter().any(|frame| !frame.is_unique()) {
            self.unmap_everywhere(first, end, copies);
        }
    }

    fn unmap_everywhere(&self, first: u64, end: u64, copies: Copies) {
        if let Some(unmap) = UNMAP.get() {
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
        let placement = numa::placement(|| self.policies.find(index), index);
        let frame = node_frames::allocate(placement, Content::Zeros).ok_or(PageError::OutOfMemory)?;
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

    fn policies(&self) -> Option<&SharedPolicies> {
        Some(&self.policies)
    }

    fn replace_page(&self, index: u64, old: FrameNumber, new: &Frame) -> Replacement {
        let mut pages = self.pages.lock();
        let (chunk, slot) = split(index);
        let place = pages.chunks.get_mut(&chunk).and_then(|chunk| chunk.get_mut(slot)?.as_mut());
        let Some(present) = place.filter(|present| present.number() == old) else { return Replacement::Gone };
        // Who does not refer to it yet comes by way of the lock, so that the copy misses no store.
        if !present.is_unique() {
            return Replacement::Busy;
        }
        new.copy_from(present);
        let last = core::mem::replace(present, new.clone());
        drop(pages);
        drop(last);
        Replacement::Done
    }

    fn page_copied(&self) {
        // Read first: copies are made often, and the line is everybody's.
        if !self.has_copies.load(Relaxed) {
            self.has_copies.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
