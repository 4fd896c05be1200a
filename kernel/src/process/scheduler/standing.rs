//! Where a thread stands among all others, on one scale, so that it can be lent: [`Standing`].
//!
//! Priority inheritance ([`super::super::inheritance`]) lets the holder of a lock stand as high as whoever waits for it. What the scheduler goes by is
//! then [`Parameters::with_lent`] in place of the thread's own.
//!
//! | standing | whose |
//! |---|---|
//! | 0 | nobody's: nothing is lent |
//! | 1 | `SCHED_IDLE` |
//! | 2 to 41 | niceness 19 to -20 |
//! | 101 to 199 | real-time priority 1 to 99 |
//! | from 2^63 | a reservation, the earlier its deadline the higher |
//!
//! A reservation lends its deadline's urgency, not its budget: the holder runs before all with a later deadline until it lets the lock go,
//! and nothing is charged, for who lends does not run. Rejected: lending the budget too, where a holder would be set aside when it is used up while
//! the lender waits for it.

use super::deadline::Reservation;
use super::priority::levels_of;
use super::{Parameters, Policy, Priority, SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE, SCHED_RR, SchedulingParameters};

/// How high a thread stands. Higher is more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Standing(u64);

/// What is added to a real-time priority.
const REALTIME: u64 = 100;
/// Niceness -20.
const NICEST: u64 = 41;

impl Standing {
    /// Below everybody.
    pub const NOTHING: Self = Self(0);

    /// Where Linux's parameters put a thread; `urgency` is its reservation's, if it has one.
    #[must_use]
    pub fn of(parameters: &SchedulingParameters, urgency: u64) -> Self {
        Self(match parameters.policy {
            SCHED_DEADLINE => urgency,
            SCHED_FIFO | SCHED_RR => REALTIME + u64::from(parameters.realtime_priority),
            SCHED_IDLE => 1,
            _ => 21u64.saturating_add_signed(-i64::from(parameters.niceness)).clamp(2, NICEST),
        })
    }

    /// For keeping it in an atomic.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }
    /// Back from [`Self::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether it is that of a real-time policy or of a reservation.
    #[must_use]
    pub const fn is_realtime(self) -> bool {
        self.0 > REALTIME
    }

    /// The order in which waiters for a lock are served, the highest first: all that are not real-time are equals, as in Linux.
    #[must_use]
    pub const fn turn(self) -> u64 {
        if self.is_realtime() { self.0 } else { 0 }
    }

    /// As `/proc/PID/stat` shows a priority: 0 to 39 for niceness, -2 to -100 for real-time priorities, -101 for reservations.
    #[must_use]
    pub fn shown(self) -> i64 {
        match self.0 {
            0 | 1 => 20,
            low @ 2..=NICEST => 41 - low.cast_signed(),
            middle if middle <= REALTIME + 99 => -1 - (middle - REALTIME).cast_signed(),
            _ => -101,
        }
    }
}

impl Parameters {
    /// What they come to while `lent` is lent: for who stands higher than by its own.
    #[must_use]
    pub fn with_lent(self, lent: Standing) -> Self {
        match lent.0 {
            0 => self,
            // The reservation is kept for when the thread goes by it again.
            high if lent.is_realtime() => {
                let urgency = if high <= REALTIME + 99 { high - REALTIME } else { high };
                let own = levels_of(&SchedulingParameters { policy: SCHED_FIFO, ..SchedulingParameters::default() });
                Self { base: Priority::Realtime, policy: Policy::Fifo, urgency, reservation: self.reservation, ..own }
            }
            low => {
                let niceness = i8::try_from(21 - low.cast_signed()).unwrap_or(0);
                let fair = SchedulingParameters { niceness, ..SchedulingParameters::default() };
                Self { reservation: Reservation::NONE, ..levels_of(&fair) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SCHED_BATCH, SCHED_OTHER};
    use super::*;

    fn parameters(policy: u32, niceness: i8, realtime_priority: u8) -> SchedulingParameters {
        SchedulingParameters { policy, niceness, realtime_priority, ..SchedulingParameters::default() }
    }

    fn standing(policy: u32, niceness: i8, priority: u8) -> Standing {
        Standing::of(&parameters(policy, niceness, priority), 0)
    }

    #[test]
    fn the_scale_is_linux_s() {
        let rising = [
            Standing::NOTHING,
            standing(SCHED_IDLE, 0, 0),
            standing(SCHED_OTHER, 19, 0),
            standing(SCHED_OTHER, 0, 0),
            standing(SCHED_BATCH, -20, 0),
            standing(SCHED_RR, 0, 1),
            standing(SCHED_FIFO, 0, 99),
            Standing::of(&parameters(SCHED_DEADLINE, 0, 0), 1 << 63),
        ];
        assert!(rising.is_sorted_by(|one, other| one < other), "{rising:?}");
        let shown: Vec<i64> = rising.into_iter().skip(2).map(Standing::shown).collect();
        assert_eq!(shown, [39, 20, 0, -2, -100, -101]);
    }

    #[test]
    fn those_without_a_real_time_policy_take_turns_as_equals() {
        assert_eq!(standing(SCHED_OTHER, -20, 0).turn(), standing(SCHED_OTHER, 19, 0).turn());
        assert!(standing(SCHED_FIFO, 0, 2).turn() > standing(SCHED_RR, 0, 1).turn());
    }

    #[test]
    fn what_is_lent_counts_in_place_of_the_own() {
        let own = levels_of(&parameters(SCHED_OTHER, 19, 0));
        assert_eq!(own.with_lent(Standing::NOTHING), own);
        let as_realtime = own.with_lent(standing(SCHED_RR, 0, 7));
        assert_eq!((as_realtime.base, as_realtime.policy, as_realtime.urgency), (Priority::Realtime, Policy::Fifo, 7));
        let urgent = own.with_lent(Standing::from_bits(1 << 63 | 5));
        assert_eq!(urgent.urgency, 1 << 63 | 5, "a deadline's urgency is that of the lender");
        assert_eq!(own.with_lent(standing(SCHED_OTHER, -12, 0)), levels_of(&parameters(SCHED_OTHER, -12, 0)));
    }
}
