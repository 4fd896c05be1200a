//! User memory: an allegation until checked.
//!
//! [`UserPointer<T>`] and [`UserSlice`] carry an address as a program gave it and nothing else. Every access checks that
//! the range ends at or below [`Mmu::USER_END`], goes through [`UserAccess`] and answers `EFAULT` when the memory is not
//! there. The access may bring pages in and therefore sleep: **never under a spinlock**.
//!
//! Types that cross the border are `zerocopy` types without padding, so no kernel byte leaks and every bit pattern is valid.

#![allow(unsafe_code, reason = "copies between frames and user memory through the physmap")]

mod slice;

use super::frame::Frame;
use super::physmap;
use crate::arch::{Current, Mmu, UserAccess, UserFault};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
pub use slice::{UserSlice, UserSlices, read_io_vectors};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `PATH_MAX`: the longest path, its NUL included.
pub const PATH_MAX: usize = 4096;
/// `UIO_MAXIOV`: the most buffers in one vectored call.
pub const IO_VECTOR_MAX: usize = 1024;
/// `MAX_RW_COUNT`: the most bytes that one read or write moves.
pub const READ_WRITE_MAX: usize = 0x7fff_f000;

impl From<UserFault> for Errno {
    fn from(_fault: UserFault) -> Self {
        Self::EFAULT
    }
}

/// Whether `length` bytes from `start` lie where user space may have memory (Linux's `access_ok`).
#[inline]
#[must_use]
pub const fn is_user_range(start: VirtualAddress, length: usize) -> bool {
    match start.value().checked_add(length as u64) {
        Some(end) => end <= Current::USER_END.value(),
        None => false,
    }
}

#[inline]
fn check(start: VirtualAddress, length: usize) -> Result<()> {
    if is_user_range(start, length) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies `target.len()` bytes from user space.
///
/// # Errors
/// `EFAULT`; part of `target` may then have been written.
#[inline]
pub fn copy_from_user(target: &mut [u8], source: VirtualAddress) -> Result<()> {
    check(source, target.len())?;
    Ok(Current::copy_from_user(target, source)?)
}

/// Copies `source` to user space.
///
/// # Errors
/// `EFAULT`; part of `source` may then have been written.
#[inline]
pub fn copy_to_user(target: VirtualAddress, source: &[u8]) -> Result<()> {
    check(target, source.len())?;
    Ok(Current::copy_to_user(target, source)?)
}

/// Copies from `frame`, starting at byte `offset`, to user space, without a buffer between. The bytes end inside the frame.
///
/// # Errors
/// `EFAULT`, also when the bytes would pass the frame's end.
#[inline]
pub fn copy_frame_to_user(frame: &Frame, offset: usize, target: UserSlice) -> Result<()> {
    target.check()?;
    if offset.checked_add(target.len()).is_none_or(|end| end > PAGE_SIZE) {
        return Err(Errno::EFAULT);
    }
    let start = physmap::pointer::<u8>(frame.number().address());
    // SAFETY: the frame is kept by the reference and the range lies inside it. Programs may store to it meanwhile through a
    // shared mapping; only the machine's copy loop reads through the slice, so no Rust code sees a byte twice.
    let bytes = unsafe { core::slice::from_raw_parts(start.add(offset), target.len()) };
    Ok(Current::copy_to_user(target.start(), bytes)?)
}

/// Copies user memory into `frame`, starting at byte `offset`, without a buffer between. The bytes end inside the frame.
///
/// # Errors
/// `EFAULT`, also when the bytes would pass the frame's end.
#[inline]
pub fn copy_frame_from_user(frame: &Frame, offset: usize, source: UserSlice) -> Result<()> {
    source.check()?;
    if offset.checked_add(source.len()).is_none_or(|end| end > PAGE_SIZE) {
        return Err(Errno::EFAULT);
    }
    let start = physmap::pointer::<u8>(frame.number().address());
    // SAFETY: as in `copy_frame_to_user`; only the machine's copy loop writes through the slice.
    let bytes = unsafe { core::slice::from_raw_parts_mut(start.add(offset), source.len()) };
    Ok(Current::copy_from_user(bytes, source.start())?)
}

/// The address of a `T` in user space, as the program gave it.
pub struct UserPointer<T> {
    address: VirtualAddress,
    target: PhantomData<fn() -> T>,
}

impl<T> UserPointer<T> {
    /// The null pointer.
    pub const NULL: Self = Self::new(VirtualAddress::new(0));

    /// A pointer to `address`, unchecked until used.
    #[inline]
    #[must_use]
    pub const fn new(address: VirtualAddress) -> Self {
        Self { address, target: PhantomData }
    }
    /// The address.
    #[inline]
    #[must_use]
    pub const fn address(self) -> VirtualAddress {
        self.address
    }
    /// Whether it is null; what null means is the call's affair.
    #[inline]
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.address.value() == 0
    }
    /// `None` for null, for arguments that may be left out.
    #[inline]
    #[must_use]
    pub const fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }
    /// The same address, seen as a `U`.
    #[inline]
    #[must_use]
    pub const fn cast<U>(self) -> UserPointer<U> {
        UserPointer::new(self.address)
    }
    /// The pointer to the element `index` further on; wraps, and then fails when used.
    #[inline]
    #[must_use]
    pub const fn element(self, index: usize) -> Self {
        Self::new(self.address.offset((index as u64).wrapping_mul(size_of::<T>() as u64)))
    }
    /// The pointer `bytes` further on, seen as a `U` (a field, say).
    #[inline]
    #[must_use]
    pub const fn field<U>(self, bytes: usize) -> UserPointer<U> {
        UserPointer::new(self.address.offset(bytes as u64))
    }
    /// `count` elements from here as bytes.
    ///
    /// # Errors
    /// `EFAULT` when the size overflows.
    pub fn bytes(self, count: usize) -> Result<UserSlice> {
        let length = count.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
        Ok(UserSlice::new(self.address, length))
    }
}

impl<T: FromBytes + IntoBytes> UserPointer<T> {
    /// The value.
    ///
    /// # Errors
    /// `EFAULT`.
    #[inline]
    pub fn read(self) -> Result<T> {
        let mut value = T::new_zeroed();
        copy_from_user(value.as_mut_bytes(), self.address)?;
        Ok(value)
    }

    /// The value, or `None` for the null pointer.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read_optional(self) -> Result<Option<T>> {
        self.non_null().map(Self::read).transpose()
    }

    /// `count` values. Callers bound `count` first.
    ///
    /// # Errors
    /// `EFAULT`; `ENOMEM` when the kernel has no memory for them.
    pub fn read_vector(self, count: usize) -> Result<Vec<T>>
    where
        T: Clone,
    {
        let length = count.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
        check(self.address, length)?;
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        values.resize_with(count, T::new_zeroed);
        Current::copy_from_user(values.as_mut_bytes(), self.address)?;
        Ok(values)
    }
}

impl<T: IntoBytes + Immutable> UserPointer<T> {
    /// Stores `value`.
    ///
    /// # Errors
    /// `EFAULT`.
    #[inline]
    pub fn write(self, value: &T) -> Result<()> {
        copy_to_user(self.address, value.as_bytes())
    }

    /// Stores `value` unless the pointer is null.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write_optional(self, value: &T) -> Result<()> {
        if self.is_null() { Ok(()) } else { self.write(value) }
    }

    /// Stores `values` one after another.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write_slice(self, values: &[T]) -> Result<()> {
        copy_to_user(self.address, values.as_bytes())
    }
}

impl UserPointer<u32> {
    fn check_word(self) -> Result<()> {
        if !self.address.value().is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        check(self.address, 4)
    }

    /// Reads the word once, atomically.
    ///
    /// # Errors
    /// `EINVAL` when it is not aligned, `EFAULT`.
    #[inline]
    pub fn load(self) -> Result<u32> {
        self.check_word()?;
        Ok(Current::load_u32(self.address)?)
    }

    /// Replaces `expected` by `new`, atomically; gives the value found.
    ///
    /// # Errors
    /// `EINVAL` when it is not aligned, `EFAULT`.
    pub fn compare_exchange(self, expected: u32, new: u32) -> Result<u32> {
        self.check_word()?;
        Ok(Current::compare_exchange_u32(self.address, expected, new)?)
    }
}

impl<T> Clone for UserPointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserPointer<T> {}
impl<T> PartialEq for UserPointer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}
impl<T> Eq for UserPointer<T> {}
impl<T> fmt::Debug for UserPointer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.address)
    }
}

/// Reads a string that ends with a NUL, without the NUL; it has at most `limit` bytes, the NUL included.
///
/// # Errors
/// `EFAULT`; `ENAMETOOLONG` when there is no NUL within the limit; `ENOMEM`.
pub fn read_c_string(address: VirtualAddress, limit: usize) -> Result<Vec<u8>> {
    let mut string = Vec::new();
    let mut position = address;
    while string.len() < limit {
        // Up to a page boundary at a time, so that no page beyond the NUL is touched; short strings copy short.
        let step = (PAGE_SIZE - position.page_offset()).min(limit - string.len()).min(256);
        let old = string.len();
        string.try_reserve(step).map_err(|_| Errno::ENOMEM)?;
        string.resize(old + step, 0);
        let found = match string.get_mut(old..) {
            Some(target) => read_c_string_into(position, target)?,
            None => None,
        };
        if let Some(length) = found {
            string.truncate(old + length);
            return Ok(string);
        }
        position = position.offset(step as u64);
    }
    Err(Errno::ENAMETOOLONG)
}

/// Reads a string that ends with a NUL into `target` and gives its length without the NUL, or `None` when there is no NUL
/// within `target.len()` bytes. Paths are read this way, without allocation.
///
/// # Errors
/// `EFAULT`.
#[inline]
pub fn read_c_string_into(address: VirtualAddress, target: &mut [u8]) -> Result<Option<usize>> {
    let room = Current::USER_END.value().saturating_sub(address.value());
    if room == 0 {
        return Err(Errno::EFAULT);
    }
    let available = usize::try_from(room).unwrap_or(usize::MAX).min(target.len());
    let cut = available < target.len();
    let target = target.get_mut(..available).ok_or(Errno::EFAULT)?;
    match Current::copy_string_from_user(target, address)? {
        None if cut => Err(Errno::EFAULT),
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_wrap_or_leave_user_space_are_refused() {
        let end = Current::USER_END;
        assert!(is_user_range(end, 0));
        assert!(!is_user_range(end, 1));
        assert!(!is_user_range(VirtualAddress::new(u64::MAX), 2));
        assert!(!is_user_range(VirtualAddress::new(0xffff_8000_0000_0000), 0));
        assert_eq!(UserPointer::<u64>::new(VirtualAddress::new(u64::MAX - 3)).read(), Err(Errno::EFAULT));
        assert_eq!(UserPointer::<u64>::new(end).write(&1), Err(Errno::EFAULT));
        assert_eq!(UserPointer::<u32>::new(VirtualAddress::new(2)).load(), Err(Errno::EINVAL));
        assert_eq!(UserSlice::new(VirtualAddress::new(4096), usize::MAX).read_to_vec(), Err(Errno::EFAULT));
        assert_eq!(read_c_string(end, 10), Err(Errno::EFAULT));
        assert_eq!(read_c_string(VirtualAddress::new(u64::MAX), 10), Err(Errno::EFAULT));
    }
}
