//! Numbers with a unit that is not an address.

use core::time::Duration;

/// A CPU's index: 0 is the one that booted; dense, below the number of CPUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CpuId(pub u32);

/// Timer ticks of 10 ms (100 Hz): the scheduler's accounting unit and `USER_HZ`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticks(pub u64);

/// A point in time (since boot, on the monotonic clock, unless said otherwise) or a length of time, in nanoseconds.
/// It holds 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanoseconds(pub u64);

impl Nanoseconds {
    /// Nothing, or the moment of boot.
    pub const ZERO: Self = Self(0);
    /// Further than any clock will reach: "never".
    pub const MAX: Self = Self(u64::MAX);
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);
    /// The length of a tick.
    pub const TICK: Self = Self(10_000_000);

    /// `seconds` whole seconds, saturating.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }
    /// `milliseconds`, saturating.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }
    /// `microseconds`, saturating.
    #[must_use]
    pub const fn from_microseconds(microseconds: u64) -> Self {
        Self(microseconds.saturating_mul(1_000))
    }
    /// The sum, or [`Self::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// The difference, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// Whole seconds and the nanoseconds left over (0..=999,999,999).
    #[must_use]
    pub const fn split(self) -> (u64, u32) {
        (self.0 / 1_000_000_000, (self.0 % 1_000_000_000) as u32)
    }
    /// Whole ticks of `USER_HZ`.
    #[must_use]
    pub const fn to_ticks(self) -> Ticks {
        Ticks(self.0 / Self::TICK.0)
    }
}

impl From<Duration> for Nanoseconds {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}
