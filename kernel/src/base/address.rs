//! Physical and virtual addresses and the frames and pages that they fall in.
//!
//! Arithmetic that could pass the end of the address space is checked or saturating; a plain `+` is not offered, because
//! most of these numbers come from user space.

use core::fmt;

/// Bytes in a frame or page: 4 KiB on both machines.
pub const PAGE_SIZE: usize = 4096;
/// `PAGE_SIZE` as a shift.
pub const PAGE_SHIFT: u32 = 12;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address `value`, in bytes.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }
            /// The address in bytes.
            #[must_use]
            pub const fn value(self) -> u64 {
                self.0
            }
            /// This address `bytes` further on, or `None` past 2^64.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }
            /// This address `bytes` further on, wrapping past 2^64: for addresses already known to be inside a region.
            #[must_use]
            pub const fn offset(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
            /// The start of the page or frame that holds the address.
            #[must_use]
            pub const fn align_down(self) -> Self {
                Self(self.0 & !(PAGE_SIZE as u64 - 1))
            }
            /// The first page boundary at or after the address, or `None` past 2^64.
            #[must_use]
            pub const fn align_up(self) -> Option<Self> {
                match self.0.checked_add(PAGE_SIZE as u64 - 1) {
                    Some(value) => Some(Self(value & !(PAGE_SIZE as u64 - 1))),
                    None => None,
                }
            }
            /// Whether the address is a multiple of the page size.
            #[must_use]
            pub const fn is_page_aligned(self) -> bool {
                self.0 & (PAGE_SIZE as u64 - 1) == 0
            }
            /// The distance from the start of the page, in bytes (0..=4095).
            #[must_use]
            pub const fn page_offset(self) -> usize {
                (self.0 & (PAGE_SIZE as u64 - 1)) as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($letter, ":{:#x}"), self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, formatter)
            }
        }
    };
}

address! {
    /// An address on the machine's memory bus.
    PhysicalAddress, "P"
}
address! {
    /// An address as a program or the kernel uses it, before translation.
    VirtualAddress, "V"
}

impl PhysicalAddress {
    /// The frame that holds the address.
    #[must_use]
    pub const fn frame(self) -> FrameNumber {
        FrameNumber(self.0 >> PAGE_SHIFT)
    }
}

impl VirtualAddress {
    /// The number of the page that holds the address: the address divided by the page size.
    #[must_use]
    pub const fn page_number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
}

/// A 4 KiB frame of physical memory: its address divided by the page size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct FrameNumber(u64);

impl FrameNumber {
    /// The frame numbered `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
    /// The address of the frame's first byte.
    #[must_use]
    pub const fn address(self) -> PhysicalAddress {
        PhysicalAddress(self.0 << PAGE_SHIFT)
    }
    /// The frame `count` frames further on.
    #[must_use]
    pub const fn offset(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

/// A range of physical memory, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRange {
    /// The first frame.
    pub start: FrameNumber,
    /// How many.
    pub count: u64,
}

/// A half-open range of virtual addresses, `start <= end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct VirtualRange {
    /// The first byte.
    pub start: VirtualAddress,
    /// One past the last byte.
    pub end: VirtualAddress,
}

impl VirtualRange {
    /// The range of `length` bytes from `start`, or `None` where it passes 2^64.
    #[must_use]
    pub const fn new(start: VirtualAddress, length: u64) -> Option<Self> {
        match start.checked_add(length) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }
    /// Its length in bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
    /// Whether `address` lies in it.
    #[must_use]
    pub const fn contains(self, address: VirtualAddress) -> bool {
        self.start.0 <= address.0 && address.0 < self.end.0
    }
    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }
    /// The addresses of the pages that it touches, first to last.
    pub fn pages(self) -> impl DoubleEndedIterator<Item = VirtualAddress> {
        let first = self.start.page_number();
        let last = self.end.0.div_ceil(PAGE_SIZE as u64);
        (first..last.max(first)).map(|page| VirtualAddress(page << PAGE_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_is_checked_at_the_top_of_the_address_space() {
        assert_eq!(VirtualAddress::new(u64::MAX).align_up(), None);
        assert_eq!(VirtualAddress::new(1).align_up(), Some(VirtualAddress::new(4096)));
        assert_eq!(VirtualRange::new(VirtualAddress::new(u64::MAX), 2), None);
    }

    #[test]
    fn a_range_yields_every_page_it_touches() {
        let range = VirtualRange::new(VirtualAddress::new(0x1ffe), 4).unwrap();
        assert_eq!(range.pages().map(VirtualAddress::value).collect::<Vec<_>>(), [0x1000, 0x2000]);
        assert_eq!(VirtualRange::default().pages().count(), 0);
    }
}
