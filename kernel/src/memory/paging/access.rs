//! How table entries are reached: through the physmap, or through the recursive window.
//!
//! The recursive window (x86_64, slot 511) shows the tables of the *active* space at fixed addresses: with R = 511 the entry that
//! translates address A stands, level by level, at
//!
//! ```text
//! P1 entry: R | A.p4 | A.p3 | A.p2 | A.p1 * 8        P2 entry: R | R | A.p4 | A.p3 | A.p2 * 8
//! P3 entry: R | R | R | A.p4 | A.p3 * 8              P4 entry: R | R | R | R | A.p4 * 8
//! ```
//!
//! The window ends with the address space: no reference, slice or iterator may cover the P4 table there, for its end address is not
//! representable. [`EntryPointer`] makes single raw volatile accesses and nothing else. The entry of slot 511 itself is never touched.
//! An entry's address is only valid while all tables above it are present; the walker goes from the top, so it has seen them.

#![allow(unsafe_code, reason = "reads and writes page-table entries through raw pointers")]

use super::super::physmap;
use super::format::level_index;
use crate::base::{FrameNumber, VirtualAddress};
use core::sync::atomic::{AtomicU64, Ordering};

/// One table entry in memory.
#[derive(Clone, Copy, Debug)]
pub struct EntryPointer(*mut u64);

impl EntryPointer {
    /// Reads it.
    #[inline]
    #[must_use]
    pub fn load(self) -> u64 {
        // SAFETY: made by a `TableAccess` for an entry of a live table; aligned.
        unsafe { self.0.read_volatile() }
    }
    /// Writes it. Hardware that walks the table sees the old value or the new one.
    #[inline]
    pub fn store(self, value: u64) {
        // SAFETY: as in `load`; the tables' owner is exclusively borrowed by the walker.
        unsafe { self.0.write_volatile(value) };
    }
    /// Writes it and gives what stood there, accessed and dirty bits that the hardware set meanwhile included.
    #[inline]
    pub fn swap(self, value: u64) -> u64 {
        // SAFETY: as in `store`; eight aligned bytes, never the last ones of the address space (slot 511 of the top).
        unsafe { AtomicU64::from_ptr(self.0) }.swap(value, Ordering::AcqRel)
    }
    /// Writes `new` where `current` stands; gives what stood there otherwise.
    ///
    /// # Errors
    /// The value found.
    #[inline]
    pub fn compare_exchange(self, current: u64, new: u64) -> Result<u64, u64> {
        // SAFETY: as in `swap`.
        unsafe { AtomicU64::from_ptr(self.0) }.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// A way to reach entries.
pub trait TableAccess: Copy + core::fmt::Debug {
    /// The entry that translates `address` in the table of `level` that lies in `table`.
    fn entry(self, table: FrameNumber, level: u8, address: VirtualAddress) -> EntryPointer;
}

/// Through the physmap: any space's tables.
#[derive(Clone, Copy, Default, Debug)]
pub struct Physmap;

impl From<FrameNumber> for Physmap {
    fn from(_root: FrameNumber) -> Self {
        Self
    }
}

impl TableAccess for Physmap {
    #[inline]
    fn entry(self, table: FrameNumber, level: u8, address: VirtualAddress) -> EntryPointer {
        let base = physmap::pointer::<u64>(table.address());
        EntryPointer(base.wrapping_add(level_index(address, level)))
    }
}

/// Where in the recursive window of slot `slot` the entry of `level` for `address` stands.
#[inline]
#[must_use]
pub const fn window_address(slot: usize, level: u8, address: VirtualAddress) -> VirtualAddress {
    let mut window = address.value() & 0x0000_ffff_ffff_f000;
    let mut step = 0;
    // Each step shifts the address's indexes down by one level and puts the slot on top.
    while step <= level {
        window = (window >> 9) & 0x0000_007f_ffff_ffff | (slot as u64) << 39;
        step += 1;
    }
    // Sign extension of bit 47, and whole entries.
    VirtualAddress::new((((window << 16).cast_signed() >> 16).cast_unsigned()) & !7)
}

/// Through the recursive window of slot 511: the active space's tables only.
#[derive(Clone, Copy, Default, Debug)]
pub struct Recursive;

impl TableAccess for Recursive {
    #[inline]
    fn entry(self, _table: FrameNumber, level: u8, address: VirtualAddress) -> EntryPointer {
        let window = window_address(511, level, address);
        EntryPointer(core::ptr::with_exposed_provenance_mut(window.value() as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_where_the_drawing_says() {
        let address = VirtualAddress::new(0x0000_1234_5678_9abc);
        let [p4, p3, p2, p1] = [3, 2, 1, 0].map(|level| level_index(address, level) as u64);
        let top = 0xffff_0000_0000_0000;
        let join = |a: u64, b: u64, c: u64, d: u64, e: u64| top | a << 39 | b << 30 | c << 21 | d << 12 | (e * 8);
        assert_eq!(window_address(511, 0, address).value(), join(511, p4, p3, p2, p1));
        assert_eq!(window_address(511, 1, address).value(), join(511, 511, p4, p3, p2));
        assert_eq!(window_address(511, 2, address).value(), join(511, 511, 511, p4, p3));
        assert_eq!(window_address(511, 3, address).value(), join(511, 511, 511, 511, p4));
        let kernel = VirtualAddress::new(0xffff_8000_0000_0000);
        assert_eq!(window_address(511, 3, kernel).value(), 0xffff_ffff_ffff_f800);
    }
}
