//! Bytes of user space: [`UserSlice`], and the list of them that a vectored call names.

use super::{IO_VECTOR_MAX, READ_WRITE_MAX, UserPointer, check, copy_from_user, copy_to_user};
use crate::arch::{Current, UserAccess};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Bytes in user space: address and length as the program gave them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserSlice {
    start: VirtualAddress,
    length: usize,
}

impl UserSlice {
    /// `length` bytes from `start`, unchecked until used.
    #[inline]
    #[must_use]
    pub const fn new(start: VirtualAddress, length: usize) -> Self {
        Self { start, length }
    }
    /// The first byte's address.
    #[inline]
    #[must_use]
    pub const fn start(self) -> VirtualAddress {
        self.start
    }
    /// The number of bytes.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.length
    }
    /// Whether there is no byte.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }
    /// Whether the range lies below the end of user space (`access_ok`).
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn check(self) -> Result<()> {
        check(self.start, self.length)
    }
    /// The part from `offset` on; empty past the end.
    #[inline]
    #[must_use]
    pub fn skip(self, offset: usize) -> Self {
        let offset = offset.min(self.length);
        Self { start: self.start.offset(offset as u64), length: self.length - offset }
    }
    /// At most the first `length` bytes.
    #[inline]
    #[must_use]
    pub fn take(self, length: usize) -> Self {
        Self { start: self.start, length: self.length.min(length) }
    }

    /// Copies the first bytes into `target`, which is no longer than the slice.
    ///
    /// # Errors
    /// `EFAULT`, also when `target` is longer.
    #[inline]
    pub fn read(self, target: &mut [u8]) -> Result<()> {
        if target.len() > self.length {
            return Err(Errno::EFAULT);
        }
        copy_from_user(target, self.start)
    }

    /// Copies `source`, which is no longer than the slice, to its beginning.
    ///
    /// # Errors
    /// `EFAULT`, also when `source` is longer.
    #[inline]
    pub fn write(self, source: &[u8]) -> Result<()> {
        if source.len() > self.length {
            return Err(Errno::EFAULT);
        }
        copy_to_user(self.start, source)
    }

    /// All its bytes. Callers bound the length first.
    ///
    /// # Errors
    /// `EFAULT`; `ENOMEM` when the kernel has no memory for them.
    pub fn read_to_vec(self) -> Result<Vec<u8>> {
        self.check()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.length).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(self.length, 0);
        Current::copy_from_user(&mut bytes, self.start)?;
        Ok(bytes)
    }

    /// Writes zero bytes over all of it.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn zero(self) -> Result<()> {
        self.check()?;
        Ok(Current::zero_user(self.start, self.length)?)
    }

    /// The pieces that lie in one page each, in order: what copies that may stop half-way work by.
    pub fn pages(self) -> impl Iterator<Item = Self> {
        let mut rest = self;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let piece = rest.take(PAGE_SIZE - rest.start.page_offset());
            rest = rest.skip(piece.length);
            Some(piece)
        })
    }

    /// The range, or `None` where it passes 2^64.
    #[must_use]
    pub fn range(self) -> Option<VirtualRange> {
        VirtualRange::new(self.start, self.length as u64)
    }
}

/// The buffers of a vectored call; eight fit without allocation.
pub type UserSlices = SmallVec<[UserSlice; 8]>;

/// Reads `count` structures `iovec` at `address` and checks them as Linux's `import_iovec` does: each length fits
/// `ssize_t`, each range lies in user space, and the sum is cut off at [`READ_WRITE_MAX`].
///
/// # Errors
/// `EINVAL` for more than [`IO_VECTOR_MAX`] or a negative length; `EFAULT`.
pub fn read_io_vectors(address: VirtualAddress, count: usize) -> Result<UserSlices> {
    if count > IO_VECTOR_MAX {
        return Err(Errno::EINVAL);
    }
    let mut slices = UserSlices::new();
    slices.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    let mut total = 0usize;
    let pointer: UserPointer<[u64; 2]> = UserPointer::new(address);
    check(address, count * size_of::<[u64; 2]>())?;
    for index in 0..count {
        let [start, length] = pointer.element(index).read()?;
        if i64::try_from(length).is_err() {
            return Err(Errno::EINVAL);
        }
        let slice = UserSlice::new(VirtualAddress::new(start), usize::try_from(length).map_err(|_| Errno::EINVAL)?);
        slice.check()?;
        let slice = slice.take(READ_WRITE_MAX - total);
        total += slice.len();
        slices.push(slice);
    }
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_vectors_are_bounded() {
        assert_eq!(read_io_vectors(VirtualAddress::new(0), IO_VECTOR_MAX + 1), Err(Errno::EINVAL));
        assert_eq!(read_io_vectors(VirtualAddress::new(0), 1), Err(Errno::EFAULT));
        assert!(read_io_vectors(VirtualAddress::new(0), 0).is_ok_and(|slices| slices.is_empty()));
    }

    #[test]
    fn a_slice_splits_at_page_boundaries() {
        let slice = UserSlice::new(VirtualAddress::new(0x1ff0), 0x1020);
        let pieces: Vec<_> = slice.pages().map(|piece| (piece.start().value(), piece.len())).collect();
        assert_eq!(pieces, [(0x1ff0, 0x10), (0x2000, 0x1000), (0x3000, 0x10)]);
        assert!(slice.skip(usize::MAX).is_empty());
    }
}
