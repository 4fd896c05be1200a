//! Memory of a case's own, outside all that Rust's allocator and stacks use.
//!
//! Invariants: a [`Mapping`] owns its address range; no reference into it exists but the atomics that [`Mapping::word`] lends and `add_word` uses, so that
//! content may change under another process's hand, and an access may fault, without harm to any Rust object. Accesses are volatile and
//! within the range.
#![allow(unsafe_code, reason = "maps memory and reaches it by its address")]

use super::nowhere::jump;
use super::{Errno, Must, Outcome, Plain, Returned};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

/// The size of a page, in bytes.
pub const PAGE: usize = 4096;
/// To read and to write.
pub const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// The instruction that returns to the caller.
#[cfg(target_arch = "x86_64")]
const RETURN: &[u8] = &[0xc3];
/// The instruction that returns to the caller.
#[cfg(target_arch = "aarch64")]
const RETURN: &[u8] = &[0xc0, 0x03, 0x5f, 0xd6];

/// A range of mapped memory; dropping it unmaps it, unless the case has made holes in it (in which other memory may be by now): then it
/// stays until the process ends.
#[derive(Debug)]
pub struct Mapping {
    start: usize,
    length: usize,
    whole: AtomicBool,
}

/// `mmap(2)` where the kernel likes: the address.
fn map(length: usize, protection: i32, flags: i32, descriptor: i32) -> Result<usize, Errno> {
    // SAFETY: no place is named, so the kernel takes one where nothing is.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, descriptor, 0) };
    if address == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(address.expose_provenance()) }
}

impl Mapping {
    /// Maps `length` bytes; `flags` are `MAP_PRIVATE` or `MAP_SHARED` and what goes with them, but never `MAP_FIXED`.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn new(length: usize, protection: i32, flags: i32, descriptor: i32) -> Result<Self, Errno> {
        let flags = flags & !(libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
        map(length, protection, flags, descriptor).map(|start| Self { start, length, whole: AtomicBool::new(true) })
    }

    /// Anonymous memory; the process ends where there is none.
    #[must_use]
    pub fn anonymous(pages: usize, protection: i32, kind: i32) -> Self {
        Self::new(pages * PAGE, protection, kind | libc::MAP_ANONYMOUS, -1).must()
    }

    /// Private memory to read and to write.
    #[must_use]
    pub fn private(pages: usize) -> Self {
        Self::anonymous(pages, READ_WRITE, libc::MAP_PRIVATE)
    }

    /// Memory that the process shares with its children, to read and to write.
    #[must_use]
    pub fn shared(pages: usize) -> Self {
        Self::anonymous(pages, READ_WRITE, libc::MAP_SHARED)
    }

    /// Private memory with a hole on each side, so that neighbours never merge with it.
    #[must_use]
    pub fn apart(pages: usize) -> Self {
        let all = Self::anonymous(pages + 2, libc::PROT_NONE, libc::MAP_PRIVATE);
        let inside = Self { start: all.start + PAGE, length: pages * PAGE, whole: AtomicBool::new(false) };
        inside.map_again(0, inside.length, libc::MAP_FIXED).must();
        std::mem::forget(all);
        inside
    }

    /// Its first address.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// The address of a byte of it, or just behind it.
    #[must_use]
    pub fn at(&self, offset: usize) -> usize {
        assert!(offset <= self.length);
        self.start + offset
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// It stays until the process ends.
    #[must_use]
    pub fn leak(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    /// The place of a `T` within the range.
    fn place<T: Plain>(&self, offset: usize) -> *mut T {
        assert!(offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.length));
        std::ptr::with_exposed_provenance_mut(self.start + offset)
    }

    /// Reads a byte, or faults where it may not be read.
    #[must_use]
    pub fn read(&self, offset: usize) -> u8 {
        // SAFETY: within the range, where no Rust object is; what may not be read faults.
        unsafe { self.place::<u8>(offset).read_volatile() }
    }

    /// Reads a word, or faults.
    #[must_use]
    pub fn read_word(&self, offset: usize) -> u64 {
        // SAFETY: as in `read`; callers' offsets are multiples of 8.
        unsafe { self.place::<u64>(offset & !7).read_volatile() }
    }

    /// Writes a byte, or faults where it may not be written.
    pub fn write(&self, offset: usize, value: u8) {
        // SAFETY: within the range, where no Rust object is; what may not be written faults.
        unsafe { self.place::<u8>(offset).write_volatile(value) };
    }

    /// Writes a word at a multiple of 8, or faults.
    pub fn write_word(&self, offset: usize, value: u64) {
        // SAFETY: as in `write`.
        unsafe { self.place::<u64>(offset & !7).write_volatile(value) };
    }

    /// Adds to a word at a multiple of 8 in one step, or faults. One that faulted adds to what is there afterwards.
    pub fn add_word(&self, offset: usize, amount: u64) {
        // SAFETY: as in `write`; every other access to such a word is a volatile or an atomic one of its size.
        unsafe { AtomicU64::from_ptr(self.place::<u64>(offset & !7)) }.fetch_add(amount, SeqCst);
    }

    /// Writes `value` to all bytes.
    pub fn fill(&self, value: u8) {
        (0..self.length).for_each(|offset| self.write(offset, value));
    }

    /// Writes `bytes` at `offset`.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        bytes.iter().enumerate().for_each(|(index, byte)| self.write(offset + index, *byte));
    }

    /// A word of it that several threads and processes may use at once. The page must be there to be read and written.
    #[must_use]
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: within the range, aligned, and lent for as long as the mapping is; everybody who uses it does so atomically.
        unsafe { AtomicU32::from_ptr(self.place::<u32>(offset & !3)) }
    }

    /// Writes the instruction that returns. Making the page executable is all that it takes to call it: the kernel sees to the
    /// instruction cache.
    pub fn put_return(&self, offset: usize) {
        self.copy_in(offset, RETURN);
    }

    /// Calls what is at `offset`.
    ///
    /// # Safety
    /// That is the instruction that returns, or the page is not executable, so that the machine faults.
    pub unsafe fn call(&self, offset: usize) {
        // SAFETY: the caller's promise.
        unsafe { jump(self.at(offset)) }
    }

    /// `mprotect(2)`; the range may be odd or reach beyond the end of the mapping by its length.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn protect(&self, offset: usize, length: usize, protection: i32) -> Result<i32, Errno> {
        // SAFETY: permissions of this mapping's memory, where no Rust object is.
        unsafe { libc::mprotect(self.pointer(offset), length, protection) }.check()
    }

    /// `munmap(2)` of a part. Nothing is to be mapped while the case still touches the hole.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn unmap(&self, offset: usize, length: usize) -> Result<i32, Errno> {
        self.whole.store(false, SeqCst);
        // SAFETY: this mapping's own memory, where no Rust object is.
        unsafe { libc::munmap(self.pointer(offset), length) }.check()
    }

    /// `madvise(2)`.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn advise(&self, offset: usize, length: usize, advice: i32) -> Result<i32, Errno> {
        // SAFETY: about this mapping's own memory, where no Rust object is.
        unsafe { libc::madvise(self.pointer(offset), length, advice) }.check()
    }

    /// `msync(2)`.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn synchronize(&self, offset: usize, length: usize, flags: i32) -> Result<i32, Errno> {
        // SAFETY: about this mapping's own memory.
        unsafe { libc::msync(self.pointer(offset), length, flags) }.check()
    }

    /// `mincore(2)` of as many pages as `resident` has bytes, from `offset`.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn resident(&self, offset: usize, resident: &mut [u8]) -> Result<i32, Errno> {
        let length = resident.len() * PAGE;
        // SAFETY: a byte for each page that is asked about.
        unsafe { libc::mincore(self.pointer(offset), length, resident.as_mut_ptr()) }.check()
    }

    /// Maps private anonymous memory at this mapping's own place; `flags` are `MAP_FIXED` or `MAP_FIXED_NOREPLACE`.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn map_again(&self, offset: usize, length: usize, flags: i32) -> Outcome {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.length));
        let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        crate::raw!(libc::SYS_mmap, self.at(offset), length, READ_WRITE, flags, -1, 0)
    }

    /// `mremap(2)` of the whole; the mapping is then what the kernel gave. On failure it is gone with the process.
    #[must_use]
    pub fn remap(self, length: usize, flags: i32) -> Self {
        let moved = crate::raw!(libc::SYS_mremap, self.start, self.length, length, flags).must();
        std::mem::forget(self);
        Self { start: moved as usize, length, whole: AtomicBool::new(true) }
    }

    /// `mremap(2)` of the whole onto the beginning of `target`, which holds it afterwards; this mapping is a hole then.
    pub fn move_onto(&self, target: &Self) -> Outcome {
        assert!(self.length <= target.length);
        self.whole.store(false, SeqCst);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        crate::raw!(libc::SYS_mremap, self.start, self.length, self.length, flags, target.start)
    }

    /// `mremap(2)` of one page onto another; where it was is a hole then.
    pub fn move_page(&self, from: usize, to: usize) -> Outcome {
        self.whole.store(false, SeqCst);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        crate::raw!(libc::SYS_mremap, self.at(from), PAGE, PAGE, flags, self.at(to))
    }

    /// Reads a byte behind the end, where the case has seen to it that nothing is.
    #[must_use]
    pub fn read_behind(&self, offset: usize) -> u8 {
        // SAFETY: a read that nobody takes for more than bits; where nothing is it faults.
        unsafe { std::ptr::with_exposed_provenance::<u8>(self.start.wrapping_add(offset)).read_volatile() }
    }

    fn pointer(&self, offset: usize) -> *mut libc::c_void {
        std::ptr::with_exposed_provenance_mut(self.at(offset))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.whole.load(SeqCst) {
            // SAFETY: the range is this mapping's, and no reference into it is left.
            unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(self.start), self.length) };
        }
    }
}

/// The memory behind the break where the process stood, which the allocator does not reach for while the case runs.
#[derive(Debug)]
pub struct Heap {
    end: usize,
}

impl Heap {
    /// The break as it is.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn end() -> Result<Self, Errno> {
        crate::raw!(libc::SYS_brk, 0).map(|end| Self { end: end as usize })
    }

    /// Where the break was.
    #[must_use]
    pub fn start(&self) -> usize {
        self.end
    }

    /// `brk(2)`: the break as it is afterwards, whether it was moved or not.
    #[must_use]
    pub fn set(&self, to: usize) -> usize {
        crate::raw!(libc::SYS_brk, to).unwrap_or(0) as usize
    }

    /// Moves the break so that there are `length` bytes behind where it was: the memory, which is not unmapped on dropping.
    ///
    /// # Errors
    /// `ENOMEM` where the break is not there afterwards.
    pub fn grow(&self, length: usize) -> Result<Mapping, Errno> {
        if self.set(self.end + length) != self.end + length {
            return Err(Errno(libc::ENOMEM));
        }
        Ok(Mapping { start: self.end, length, whole: AtomicBool::new(false) })
    }
}
