//! `struct sched_attr`: reading it in any size that Linux takes, checking it, writing it.

use super::argument::low_half;
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::memory::user::{UserPointer, UserSlice};
use crate::process::scheduler::{
    DeadlineParameters, SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_OTHER, SCHED_RR, SchedulingParameters,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `SCHED_FLAG_RESET_ON_FORK`.
pub const RESET_ON_FORK: u64 = 1;
/// `SCHED_FLAG_RECLAIM`: kept and shown. Nothing is reclaimed: a thread has what it reserved.
pub const RECLAIM: u64 = 2;
/// `SCHED_FLAG_DL_OVERRUN`.
pub const DEADLINE_OVERRUN: u64 = 4;
/// `SCHED_FLAG_KEEP_POLICY`.
pub const KEEP_POLICY: u64 = 8;
/// `SCHED_FLAG_KEEP_PARAMS`.
pub const KEEP_PARAMETERS: u64 = 0x10;
/// `SCHED_FLAG_UTIL_CLAMP_MIN` and `_MAX`, which Linux answers with `EOPNOTSUPP` where it was built without.
pub const UTILISATION_CLAMPS: u64 = 0x60;
/// The flags that there are.
pub const ALL_FLAGS: u64 = 0x7f;
/// `SCHED_FLAG_SUGOV`: the kernel's own. A program that passes it is refused later than one that passes an unknown flag.
pub const KERNELS_OWN: u64 = 0x1000_0000;

/// `struct sched_attr`, in its newest size.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SchedulingAttributes {
    size: u32,
    /// `SCHED_OTHER` and so on.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19.
    pub niceness: i32,
    /// 1 to 99 for the real-time policies.
    pub priority: u32,
    /// Of `SCHED_DEADLINE`, in nanoseconds.
    pub runtime: u64,
    /// Likewise.
    pub deadline: u64,
    /// Likewise; 0 for the deadline.
    pub period: u64,
    utilisation: [u32; 2],
}

const NEWEST_SIZE: usize = size_of::<SchedulingAttributes>();
/// The size in Linux's first version.
const FIRST_SIZE: usize = 48;

impl SchedulingAttributes {
    /// Reads what a program wants; the niceness comes clamped.
    ///
    /// # Errors
    /// `E2BIG`: a size, or something beyond the newest one, that is not known here; the newest size is written then. `EINVAL`: clamps in a
    /// structure without them. `EFAULT`.
    pub fn read(attributes: UserPointer<u32>) -> Result<Self> {
        let size = match attributes.read()? as usize {
            0 => FIRST_SIZE,
            size => size,
        };
        let refuse = || match attributes.write(&low_half(NEWEST_SIZE as u64)) {
            // Linux does not look at whether that worked.
            Ok(()) | Err(_) => Err(Errno::E2BIG),
        };
        if !(FIRST_SIZE..=PAGE_SIZE).contains(&size) {
            return refuse();
        }
        let given = UserSlice::new(attributes.address(), size).read_to_vec()?;
        if given.iter().skip(NEWEST_SIZE).any(|byte| *byte != 0) {
            return refuse();
        }
        let mut bytes = [0; NEWEST_SIZE];
        bytes.iter_mut().zip(&given).for_each(|(target, byte)| *target = *byte);
        let mut wanted: Self = zerocopy::transmute!(bytes);
        if wanted.flags & UTILISATION_CLAMPS != 0 && size < NEWEST_SIZE {
            return Err(Errno::EINVAL);
        }
        wanted.niceness = wanted.niceness.clamp(-20, 19);
        Ok(wanted)
    }

    /// What `sched_setscheduler` and `sched_setparam` ask for.
    #[must_use]
    pub fn with_priority(priority: u32, niceness: i8, flags: u64) -> Self {
        Self { priority, niceness: niceness.into(), flags, ..Self::default() }
    }

    /// What `parameters` look like to a program.
    #[must_use]
    pub fn of(parameters: &SchedulingParameters) -> Self {
        let mut shown = Self {
            policy: parameters.policy,
            flags: if parameters.reset_on_fork { RESET_ON_FORK } else { 0 },
            ..Self::default()
        };
        shown.fill(parameters);
        shown
    }

    /// Takes over those of `parameters` that its policy has (`SCHED_FLAG_KEEP_PARAMS`).
    pub fn fill(&mut self, parameters: &SchedulingParameters) {
        match parameters.policy {
            SCHED_DEADLINE => {
                let DeadlineParameters { runtime, deadline, period, flags } = parameters.deadline;
                self.priority = parameters.realtime_priority.into();
                (self.runtime, self.deadline, self.period) = (runtime, deadline, period);
                self.flags = self.flags & !(RECLAIM | DEADLINE_OVERRUN) | flags;
            }
            SCHED_FIFO | SCHED_RR => self.priority = parameters.realtime_priority.into(),
            _ => self.niceness = parameters.niceness.into(),
        }
    }

    /// Writes the part that fits in `size` bytes.
    ///
    /// # Errors
    /// `EINVAL`: no size that Linux ever had, or more than a page. `EFAULT`.
    pub fn write(mut self, target: VirtualAddress, size: usize) -> Result<()> {
        let known = size.min(NEWEST_SIZE);
        self.size = low_half(known as u64);
        let bytes: [u8; NEWEST_SIZE] = zerocopy::transmute!(self);
        UserSlice::new(target, known).write(bytes.get(..known).unwrap_or(&bytes))
    }

    /// Whether a program may ask for that much of the structure.
    #[must_use]
    pub fn is_size(size: usize) -> bool {
        (FIRST_SIZE..=PAGE_SIZE).contains(&size)
    }

    /// What it says of a reservation.
    #[must_use]
    pub const fn reservation(&self) -> DeadlineParameters {
        DeadlineParameters {
            runtime: self.runtime,
            deadline: self.deadline,
            period: if self.period == 0 { self.deadline } else { self.period },
            flags: self.flags & (RECLAIM | DEADLINE_OVERRUN),
        }
    }

    /// Whether the reservation is one: times that order, and that a timer can keep.
    #[must_use]
    pub const fn has_reservation(&self) -> bool {
        const SHORTEST_RUNTIME: u64 = 1 << 10;
        const PERIODS: core::ops::RangeInclusive<u64> = 100_000..=(1 << 22) * 1000;
        let DeadlineParameters { runtime, deadline, period, .. } = self.reservation();
        deadline != 0
            && runtime >= SHORTEST_RUNTIME
            && (deadline | self.period) >> 63 == 0
            && deadline <= period
            && runtime <= deadline
            && period >= *PERIODS.start()
            && period <= *PERIODS.end()
    }
}

/// Whether the policy shares by niceness.
#[must_use]
pub const fn is_fair(policy: u32) -> bool {
    matches!(policy, SCHED_OTHER | SCHED_BATCH)
}

/// Whether the policy goes by real-time priority.
#[must_use]
pub const fn is_realtime(policy: u32) -> bool {
    matches!(policy, SCHED_FIFO | SCHED_RR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_has_times_in_order() {
        let with = |runtime, deadline, period| {
            SchedulingAttributes { runtime, deadline, period, ..Default::default() }.has_reservation()
        };
        assert!(with(10_000_000, 30_000_000, 30_000_000) && with(10_000_000, 30_000_000, 0));
        assert!(with(1024, 100_000, 0) && !with(1023, 100_000, 0), "a microsecond at least");
        assert!(!with(1024, 99_999, 0) && !with(1024, 100_000, 99_999), "100 microseconds at least");
        assert!(with(1024, 100_000, 4_194_304_000) && !with(1024, 100_000, 4_194_304_001));
        assert!(!with(0, 0, 0) && !with(200_000, 100_000, 300_000) && !with(1024, 400_000, 300_000));
        assert!(!with(1024, 1 << 63, 1 << 63));
    }

    #[test]
    fn what_is_kept_is_what_the_policy_has() {
        let parameters =
            SchedulingParameters { policy: SCHED_FIFO, niceness: 5, realtime_priority: 7, ..Default::default() };
        let shown = SchedulingAttributes::of(&parameters);
        assert_eq!((shown.policy, shown.niceness, shown.priority), (SCHED_FIFO, 0, 7));
        let deadline = DeadlineParameters { runtime: 1, deadline: 2, period: 3, flags: RECLAIM };
        let parameters = SchedulingParameters { policy: SCHED_DEADLINE, deadline, ..Default::default() };
        let shown = SchedulingAttributes::of(&parameters);
        assert_eq!((shown.runtime, shown.deadline, shown.period, shown.flags), (1, 2, 3, RECLAIM));
    }
}
