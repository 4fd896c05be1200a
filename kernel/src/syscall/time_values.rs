//! Linux's representations of time in user memory, the same on both machines.

use crate::base::{Errno, Nanoseconds, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timespec`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeSpecification {
    /// Whole seconds.
    pub seconds: i64,
    /// 0..=999,999,999.
    pub nanoseconds: i64,
}

impl TimeSpecification {
    /// The length of time or point in time that it stands for. What is past the end of [`Nanoseconds`] saturates.
    ///
    /// # Errors
    /// `EINVAL` for negative seconds or nanoseconds out of range.
    pub fn to_nanoseconds(self) -> Result<Nanoseconds> {
        let seconds = u64::try_from(self.seconds).map_err(|_| Errno::EINVAL)?;
        let nanoseconds = u64::try_from(self.nanoseconds).map_err(|_| Errno::EINVAL)?;
        if nanoseconds >= Nanoseconds::SECOND.0 {
            return Err(Errno::EINVAL);
        }
        Ok(Nanoseconds::from_seconds(seconds).saturating_add(Nanoseconds(nanoseconds)))
    }
}

impl From<Nanoseconds> for TimeSpecification {
    fn from(time: Nanoseconds) -> Self {
        let (seconds, nanoseconds) = time.split();
        Self { seconds: seconds.cast_signed(), nanoseconds: nanoseconds.into() }
    }
}

/// `struct timeval`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeValue {
    /// Whole seconds.
    pub seconds: i64,
    /// 0..=999,999.
    pub microseconds: i64,
}

impl TimeValue {
    /// The length of time or point in time that it stands for. What is past the end of [`Nanoseconds`] saturates.
    ///
    /// # Errors
    /// `EINVAL` for negative seconds or microseconds out of range.
    pub fn to_nanoseconds(self) -> Result<Nanoseconds> {
        if !(0..1_000_000).contains(&self.microseconds) {
            return Err(Errno::EINVAL);
        }
        TimeSpecification { seconds: self.seconds, nanoseconds: self.microseconds * 1000 }.to_nanoseconds()
    }
}

impl From<Nanoseconds> for TimeValue {
    fn from(time: Nanoseconds) -> Self {
        let (seconds, nanoseconds) = time.split();
        Self { seconds: seconds.cast_signed(), microseconds: (nanoseconds / 1000).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused_and_what_is_too_far_saturates() {
        let time = |seconds, nanoseconds| TimeSpecification { seconds, nanoseconds }.to_nanoseconds();
        assert_eq!(time(1, 5), Ok(Nanoseconds(1_000_000_005)));
        assert_eq!(time(0, 1_000_000_000), Err(Errno::EINVAL));
        assert_eq!(time(0, -1), Err(Errno::EINVAL));
        assert_eq!(time(-1, 0), Err(Errno::EINVAL));
        assert_eq!(time(i64::MAX, 999_999_999), Ok(Nanoseconds::MAX));
        let value = |seconds, microseconds| TimeValue { seconds, microseconds }.to_nanoseconds();
        assert_eq!(value(2, 7), Ok(Nanoseconds(2_000_007_000)));
        assert_eq!(value(0, 1_000_000), Err(Errno::EINVAL));
        assert_eq!(value(0, i64::MIN), Err(Errno::EINVAL));
        assert_eq!(TimeValue::from(Nanoseconds(1_999_999_999)), TimeValue { seconds: 1, microseconds: 999_999 });
    }
}
