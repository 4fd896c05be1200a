//! The time that goes into inodes.

use super::types::Timestamp;

/// The present, on the realtime clock.
#[must_use]
#[inline]
pub fn now() -> Timestamp {
    crate::time::realtime().into()
}
