//! Sets of CPUs: one word, a bit for each of the [`MAXIMUM_CPUS`] CPUs that the kernel can run on.
//!
//! `Display` writes Linux's list format (`0-3,5`), which `/sys/devices/system/cpu` and `/proc/PID/status` show.

use super::CpuId;
use super::bit_set::{BitSet, Member, Members, set_operations};
use core::sync::atomic::{AtomicU64, Ordering};

/// The most CPUs that the kernel runs on.
pub const MAXIMUM_CPUS: usize = 64;

/// A set of CPUs. CPUs from [`MAXIMUM_CPUS`] on are in no set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CpuMask(BitSet<1>);

set_operations!(CpuMask of CpuId);

impl Member for CpuId {
    fn numbered(number: u32) -> Self {
        Self(number)
    }
}

impl CpuMask {
    /// Every CPU that there could be.
    pub const ALL: Self = Self(BitSet::FULL);

    /// The set of the CPUs whose bits are set.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(BitSet::from_words([bits]))
    }
    /// `cpu` alone.
    #[must_use]
    pub const fn single(cpu: CpuId) -> Self {
        Self(BitSet::single(cpu.0))
    }
    /// CPUs 0 to `count - 1`.
    #[must_use]
    pub const fn first_cpus(count: usize) -> Self {
        if count >= MAXIMUM_CPUS { Self::ALL } else { Self(BitSet::below(count as u32)) }
    }
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count() as usize
    }
    /// The lowest of them.
    #[must_use]
    pub const fn first(self) -> Option<CpuId> {
        match self.0.first() {
            Some(number) => Some(CpuId(number)),
            None => None,
        }
    }
    /// The highest of them.
    #[must_use]
    pub const fn last(self) -> Option<CpuId> {
        match self.0.last() {
            Some(number) => Some(CpuId(number)),
            None => None,
        }
    }
    /// Adds `cpu`.
    pub const fn insert(&mut self, cpu: CpuId) {
        *self = self.with(cpu);
    }
    /// Takes `cpu` out.
    pub const fn remove(&mut self, cpu: CpuId) {
        *self = self.without(cpu);
    }
    /// The CPUs, from the lowest up.
    #[must_use]
    pub const fn iter(self) -> Members<CpuId, 1> {
        self.0.members()
    }
}

impl IntoIterator for CpuMask {
    type Item = CpuId;
    type IntoIter = Members<CpuId, 1>;
    fn into_iter(self) -> Members<CpuId, 1> {
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
        self.0.fmt(formatter)
    }
}

/// A [`CpuMask`] that any CPU may change.
#[derive(Debug, Default)]
pub struct AtomicCpuMask(AtomicU64);

impl AtomicCpuMask {
    /// Begins with `mask`.
    #[must_use]
    pub const fn new(mask: CpuMask) -> Self {
        Self(AtomicU64::new(mask.bits()))
    }
    /// The set now.
    #[inline]
    pub fn load(&self, order: Ordering) -> CpuMask {
        CpuMask::from_bits(self.0.load(order))
    }
    /// Makes it `mask`.
    #[inline]
    pub fn store(&self, mask: CpuMask, order: Ordering) {
        self.0.store(mask.bits(), order);
    }
    /// Makes it `mask`; gives what it was.
    #[inline]
    pub fn swap(&self, mask: CpuMask, order: Ordering) -> CpuMask {
        CpuMask::from_bits(self.0.swap(mask.bits(), order))
    }
    /// Adds `cpu`; gives what it was before.
    #[inline]
    pub fn insert(&self, cpu: CpuId, order: Ordering) -> CpuMask {
        CpuMask::from_bits(self.0.fetch_or(CpuMask::single(cpu).bits(), order))
    }
    /// Takes `cpu` out; gives what it was before.
    #[inline]
    pub fn remove(&self, cpu: CpuId, order: Ordering) -> CpuMask {
        CpuMask::from_bits(self.0.fetch_and(!CpuMask::single(cpu).bits(), order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
