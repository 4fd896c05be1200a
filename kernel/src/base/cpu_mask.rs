//! Sets of CPUs: one word, a bit for each of the [`MAXIMUM_CPUS`] CPUs that the kernel can run on.
//!
//! `Display` writes Linux's list format (`0-3,5`), which `/sys/devices/system/cpu` and `/proc/PID/status` show.

use super::CpuId;
use core::sync::atomic::{AtomicU64, Ordering};

/// The most CPUs that the kernel runs on.
pub const MAXIMUM_CPUS: usize = 64;

/// A set of CPUs. CPUs from [`MAXIMUM_CPUS`] on are in no set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CpuMask(u64);

impl CpuMask {
    /// No CPU.
    pub const EMPTY: Self = Self(0);
    /// Every CPU that there could be.
    pub const ALL: Self = Self(u64::MAX);

    /// The set of the CPUs whose bits are set.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    /// `cpu` alone.
    #[must_use]
    pub const fn single(cpu: CpuId) -> Self {
        if cpu.0 < MAXIMUM_CPUS as u32 { Self(1 << cpu.0) } else { Self::EMPTY }
    }
    /// CPUs 0 to `count - 1`.
    #[must_use]
    pub const fn first_cpus(count: usize) -> Self {
        if count >= MAXIMUM_CPUS { Self::ALL } else { Self((1 << count) - 1) }
    }
    /// A bit for each CPU.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// Whether `cpu` is in it.
    #[must_use]
    pub const fn contains(self, cpu: CpuId) -> bool {
        self.0 & Self::single(cpu).0 != 0
    }
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }
    /// The lowest of them.
    #[must_use]
    pub const fn first(self) -> Option<CpuId> {
        if self.0 == 0 { None } else { Some(CpuId(self.0.trailing_zeros())) }
    }
    /// The highest of them.
    #[must_use]
    pub const fn last(self) -> Option<CpuId> {
        if self.0 == 0 { None } else { Some(CpuId(63 - self.0.leading_zeros())) }
    }
    /// Adds `cpu`.
    pub const fn insert(&mut self, cpu: CpuId) {
        self.0 |= Self::single(cpu).0;
    }
    /// Takes `cpu` out.
    pub const fn remove(&mut self, cpu: CpuId) {
        self.0 &= !Self::single(cpu).0;
    }
    /// With `cpu`.
    #[must_use]
    pub const fn with(self, cpu: CpuId) -> Self {
        Self(self.0 | Self::single(cpu).0)
    }
    /// Without `cpu`.
    #[must_use]
    pub const fn without(self, cpu: CpuId) -> Self {
        Self(self.0 & !Self::single(cpu).0)
    }
    /// The CPUs of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// The CPUs of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// The CPUs that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// The CPUs, from the lowest up.
    #[must_use]
    pub const fn iter(self) -> CpuMaskIterator {
        CpuMaskIterator(self)
    }
}

impl IntoIterator for CpuMask {
    type Item = CpuId;
    type IntoIter = CpuMaskIterator;
    fn into_iter(self) -> CpuMaskIterator {
        self.iter()
    }
}

impl FromIterator<CpuId> for CpuMask {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        cpus.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl core::fmt::Display for CpuMask {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut rest = *self;
        let mut separator = "";
        while let Some(CpuId(first)) = rest.first() {
            let length = (self.0 >> first).trailing_ones();
            match length {
                1 => write!(formatter, "{separator}{first}")?,
                _ => write!(formatter, "{separator}{first}-{}", first + length - 1)?,
            }
            (first..first + length).for_each(|cpu| rest.remove(CpuId(cpu)));
            separator = ",";
        }
        Ok(())
    }
}

/// The CPUs of a [`CpuMask`], from the lowest up.
#[derive(Clone, Debug)]
pub struct CpuMaskIterator(CpuMask);

impl Iterator for CpuMaskIterator {
    type Item = CpuId;
    fn next(&mut self) -> Option<CpuId> {
        let cpu = self.0.first()?;
        self.0.remove(cpu);
        Some(cpu)
    }
}

/// A [`CpuMask`] that any CPU may change.
#[derive(Debug, Default)]
pub struct AtomicCpuMask(AtomicU64);

impl AtomicCpuMask {
    /// Begins with `mask`.
    #[must_use]
    pub const fn new(mask: CpuMask) -> Self {
        Self(AtomicU64::new(mask.0))
    }
    /// The set now.
    #[inline]
    pub fn load(&self, order: Ordering) -> CpuMask {
        CpuMask(self.0.load(order))
    }
    /// Makes it `mask`.
    #[inline]
    pub fn store(&self, mask: CpuMask, order: Ordering) {
        self.0.store(mask.0, order);
    }
    /// Makes it `mask`; gives what it was.
    #[inline]
    pub fn swap(&self, mask: CpuMask, order: Ordering) -> CpuMask {
        CpuMask(self.0.swap(mask.0, order))
    }
    /// Adds `cpu`; gives what it was before.
    #[inline]
    pub fn insert(&self, cpu: CpuId, order: Ordering) -> CpuMask {
        CpuMask(self.0.fetch_or(CpuMask::single(cpu).0, order))
    }
    /// Takes `cpu` out; gives what it was before.
    #[inline]
    pub fn remove(&self, cpu: CpuId, order: Ordering) -> CpuMask {
        CpuMask(self.0.fetch_and(!CpuMask::single(cpu).0, order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_linux_writes_them() {
        let text = |bits| CpuMask::from_bits(bits).to_string();
        assert_eq!(text(0), "");
        assert_eq!(text(1), "0");
        assert_eq!(text(0b10_1111), "0-3,5");
        assert_eq!(text(0b11 << 62 | 1), "0,62-63");
        assert_eq!(text(u64::MAX), "0-63");
    }

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut mask: CpuMask = [CpuId(7), CpuId(0), CpuId(63), CpuId(64)].into_iter().collect();
        assert_eq!(mask.iter().map(|cpu| cpu.0).collect::<Vec<_>>(), [0, 7, 63], "there is no CPU 64");
        assert_eq!((mask.count(), mask.first(), mask.last()), (3, Some(CpuId(0)), Some(CpuId(63))));
        assert!(mask.contains(CpuId(7)) && !mask.contains(CpuId(8)) && !mask.contains(CpuId(71)));
        mask.remove(CpuId(0));
        assert_eq!(mask, CpuMask::single(CpuId(7)).with(CpuId(63)));
        assert_eq!(CpuMask::first_cpus(3).bits(), 7);
        assert_eq!(CpuMask::first_cpus(64), CpuMask::ALL);
        assert_eq!(CpuMask::ALL.difference(CpuMask::first_cpus(63)), CpuMask::single(CpuId(63)));
    }
}
