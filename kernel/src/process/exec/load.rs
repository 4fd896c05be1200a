//! Putting an ELF image into a fresh address space. Pages come in when they are touched.

use super::elf::{Header, Image, Segment};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::fs::{IoDestination, OpenFile};
use crate::memory::address_space::{AddressSpace, MapFlags, MapRequest, MapSource, ObjectSource};
use crate::memory::area::Protection;
use crate::memory::object::MemoryObject;
use crate::memory::user::UserSlice;
use alloc::sync::Arc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use elf::abi;

/// How much of a file is read in one go: its header and, nearly always, its program headers.
pub const HEAD_SIZE: usize = 1024;

/// A file's first bytes.
pub type Head = ArrayVec<u8, HEAD_SIZE>;

/// Reads a file's first bytes.
///
/// # Errors
/// What the file says: `EIO` and the like.
pub fn read_head(file: &OpenFile) -> Result<Head> {
    let mut bytes = [0; HEAD_SIZE];
    let count = file.operations().read_at(file, 0, &mut IoDestination::kernel(&mut bytes))?;
    let mut head = Head::from(bytes);
    head.truncate(count);
    Ok(head)
}

/// Reads exactly `length` bytes at `offset`.
///
/// # Errors
/// `EIO`: the file ends before.
pub fn read_exactly(file: &OpenFile, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    let mut done = 0;
    while done < length {
        let rest = bytes.get_mut(done..).unwrap_or(&mut []);
        let at = offset.checked_add(done as u64).ok_or(Errno::EIO)?;
        match file.operations().read_at(file, at, &mut IoDestination::kernel(rest))? {
            0 => return Err(Errno::EIO),
            count => done += count,
        }
    }
    Ok(bytes)
}

/// Reads a file's program headers, from its first bytes where they are there.
///
/// # Errors
/// `ENOEXEC` for what is no program, or ends before its headers do.
pub fn read_image(file: &OpenFile, head: &[u8]) -> Result<Image> {
    let header = Header::parse(head)?;
    let start = usize::try_from(header.table_offset).unwrap_or(usize::MAX);
    match head.get(start..start.saturating_add(header.table_size())) {
        Some(table) => Image::parse(&header, table),
        None if header.table_offset > i64::MAX.cast_unsigned() => Err(Errno::ENOEXEC),
        None => {
            let table = read_exactly(file, header.table_offset, header.table_size()).map_err(|_| Errno::ENOEXEC)?;
            Image::parse(&header, &table)
        }
    }
}

/// A file's image as it lies in an address space.
#[derive(Debug)]
pub struct Loaded {
    /// What was added to the file's addresses.
    pub bias: u64,
    /// Bytes to be zeroed once the address space is active: what follows the file's part in a segment's page.
    pub tails: ArrayVec<UserSlice, 16>,
}

impl Loaded {
    /// Zeroes the tails. A tail that cannot be written (the segment is read-only) is left, as Linux does.
    pub fn zero_tails(&self) {
        for tail in &self.tails {
            let _ = tail.zero();
        }
    }
}

/// Maps `image` of `file` so that its first page lies at `base`; a fixed image has its own base.
///
/// # Errors
/// `ENOMEM`, `EINVAL`; `ENODEV` for a file that cannot be mapped.
pub fn map_image(space: &AddressSpace, file: &OpenFile, image: &Image, base: u64) -> Result<Loaded> {
    let object = file.operations().memory_object(file)?;
    let mut loaded = Loaded { bias: base.wrapping_sub(image.first), tails: ArrayVec::new() };
    for segment in &image.segments {
        map_segment(space, &object, segment, &mut loaded)?;
    }
    Ok(loaded)
}

/// The rights that a segment's flags give.
fn protection(flags: u32) -> Protection {
    let mut protection = Protection::empty();
    protection.set(Protection::READ, flags & abi::PF_R != 0);
    protection.set(Protection::WRITE, flags & abi::PF_W != 0);
    protection.set(Protection::EXECUTE, flags & abi::PF_X != 0);
    protection
}

fn map_segment(
    space: &AddressSpace,
    object: &Arc<dyn MemoryObject>,
    segment: &Segment,
    loaded: &mut Loaded,
) -> Result<()> {
    let page_mask = PAGE_SIZE as u64 - 1;
    let start = segment.start.wrapping_add(loaded.bias);
    let (page, in_page) = (start & !page_mask, start & page_mask);
    let file_end = start.wrapping_add(segment.file_size);
    let memory_end = start.wrapping_add(segment.memory_size);
    let protection = protection(segment.flags);
    let mut mapped_to = page;
    if segment.file_size != 0 {
        let source =
            ObjectSource { object: object.clone(), offset: segment.offset & !page_mask, maximum: Protection::all() };
        let request = MapRequest::anonymous(in_page + segment.file_size, protection)
            .at(VirtualAddress::new(page))
            .of(MapSource::Private(source));
        space.map(&request)?;
        mapped_to = (file_end + page_mask) & !page_mask;
        if memory_end > file_end && mapped_to > file_end {
            let length = usize::try_from(mapped_to - file_end).unwrap_or(0);
            // Files with more than 16 such segments do not exist outside of laboratories; they are refused.
            loaded.tails.try_push(UserSlice::new(VirtualAddress::new(file_end), length)).map_err(|_| Errno::ENOEXEC)?;
        }
    }
    let end = (memory_end + page_mask) & !page_mask;
    if end > mapped_to {
        space.map(&MapRequest::anonymous(end - mapped_to, protection).at(VirtualAddress::new(mapped_to)))?;
    }
    Ok(())
}

/// Maps a program's stack: room for its contents and 128 KiB more below, and it grows down.
///
/// # Errors
/// `ENOMEM`.
pub fn map_stack(space: &AddressSpace, end: VirtualAddress, contents: u64, executable: Executable) -> Result<()> {
    const ROOM_BELOW: u64 = 128 << 10;
    let mut protection = Protection::READ | Protection::WRITE;
    protection.set(Protection::EXECUTE, executable == Executable::Yes);
    let length = (contents + ROOM_BELOW).next_multiple_of(PAGE_SIZE as u64);
    let request = MapRequest::anonymous(length, protection)
        .at(VirtualAddress::new(end.value() - length))
        .with(MapFlags::GROWS_DOWN);
    space.map(&request).map(|_| ())
}

/// Whether a stack may hold code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executable {
    /// It may.
    Yes,
    /// It may not.
    No,
}
