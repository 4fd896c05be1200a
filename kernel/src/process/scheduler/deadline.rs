//! Reservations: `SCHED_DEADLINE` as a constant-bandwidth server, as Linux and the literature have it.
//!
//! A reservation promises `runtime` in each `period`, by `deadline` after the period's start. A thread that wakes begins a new
//! period unless what is left of the present one still fits (rule of the wake-up); running uses the budget up; without budget it is set
//! aside until the next period, where it gets a new one and a later deadline. So a thread that asks for more than it was promised harms
//! nobody else.
//!
//! Reservations are *partitioned*: each is admitted to one CPU, and stays there ([`Admission`]). Earliest deadline first then meets every
//! deadline as long as the CPU's utilisation stays below what it admits. Rejected: Linux's global order, which admits more (the sum over
//! all CPUs), meets deadlines with some tardiness only, and would have threads pushed and pulled between CPUs.

use super::DeadlineParameters;
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS};

/// Urgencies from here on are deadlines: above every priority.
const DEADLINE_URGENCY: u64 = 1 << 63;

/// One CPU in parts of [`WHOLE`], as Linux counts it.
const SHIFT: u32 = 20;
/// A whole CPU.
pub const WHOLE: u64 = 1 << SHIFT;

/// What was promised, and what is left of it. Times in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    runtime: u64,
    deadline: u64,
    period: u64,
    /// The budget of the present period; below 0 what was used too much.
    left: i64,
    /// The present period's deadline, on the clock.
    due: u64,
}

impl Reservation {
    /// None.
    pub const NONE: Self = Self { runtime: 0, deadline: 0, period: 0, left: 0, due: 0 };

    /// What was asked for.
    #[must_use]
    pub const fn new(parameters: &DeadlineParameters) -> Self {
        let period = if parameters.period == 0 { parameters.deadline } else { parameters.period };
        Self { runtime: parameters.runtime, deadline: parameters.deadline, period, left: 0, due: 0 }
    }
    /// Whether both promise the same.
    #[must_use]
    pub const fn is_on_terms_of(&self, other: &Self) -> bool {
        self.runtime == other.runtime && self.deadline == other.deadline && self.period == other.period
    }
    /// What it takes of a CPU, in parts of [`WHOLE`].
    #[must_use]
    pub fn utilisation(&self) -> u64 {
        utilisation(self.runtime, self.period)
    }
    /// Nanoseconds that it may still run in this period.
    #[must_use]
    pub fn left(&self) -> u64 {
        u64::try_from(self.left).unwrap_or(0)
    }
    /// Whether the period's budget is used up.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        self.left <= 0
    }
    /// When the next period begins.
    #[must_use]
    pub const fn renewal(&self) -> u64 {
        self.due.saturating_sub(self.deadline).saturating_add(self.period)
    }
    /// The present deadline.
    #[must_use]
    pub const fn due(&self) -> u64 {
        self.due
    }
    /// Among the urgent: the earlier, the more.
    #[must_use]
    pub const fn urgency(&self) -> u64 {
        let latest = DEADLINE_URGENCY - 1;
        DEADLINE_URGENCY | (latest - if self.due > latest { latest } else { self.due })
    }
    /// Begins a period at `now`.
    pub const fn begin(&mut self, now: u64) {
        self.due = now.saturating_add(self.deadline);
        self.left = self.runtime.cast_signed();
    }
    /// The thread wakes at `now`: what is left may be used only as far as it keeps to the promised share until the deadline.
    pub fn wake(&mut self, now: u64) {
        let time = self.due.saturating_sub(now);
        let fits = u128::from(self.left()) * u128::from(self.deadline) <= u128::from(self.runtime) * u128::from(time);
        if time == 0 || !fits {
            self.begin(now);
        }
    }
    /// It ran for `time`.
    pub fn charge(&mut self, time: u64) {
        self.left = self.left.saturating_sub_unsigned(time);
    }
    /// It gives up the rest of its budget (`sched_yield`).
    pub const fn give_up(&mut self) {
        self.left = if self.left > 0 { 0 } else { self.left };
    }
    /// The next period has begun by `now`.
    pub fn renew(&mut self, now: u64) {
        while self.left <= 0 && self.period != 0 && self.runtime != 0 {
            self.due = self.due.saturating_add(self.period);
            self.left = self.left.saturating_add_unsigned(self.runtime);
            if self.due <= now {
                // It lags behind by more than a period: nothing of the past is made up for.
                self.begin(now);
            }
        }
    }
}

/// `runtime` in each `period`, in parts of [`WHOLE`].
#[must_use]
pub fn utilisation(runtime: u64, period: u64) -> u64 {
    match u128::from(period) {
        0 => 0,
        period => u64::try_from((u128::from(runtime) << SHIFT) / period).unwrap_or(u64::MAX),
    }
}

/// What has been promised on each CPU.
#[derive(Debug)]
pub struct Admission {
    used: [u64; MAXIMUM_CPUS],
}

impl Admission {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: [0; MAXIMUM_CPUS] }
    }
    /// Takes `utilisation` from the CPU of `permitted` that has promised least, `preferred` where that is one of them. `limit` is what
    /// a CPU may promise. `None`: it fits nowhere.
    pub fn admit(&mut self, utilisation: u64, permitted: CpuMask, preferred: CpuId, limit: u64) -> Option<CpuId> {
        let used = |cpu: CpuId| self.used.get(cpu.0 as usize).copied().unwrap_or(u64::MAX);
        let cpu = permitted.iter().min_by_key(|cpu| (used(*cpu), *cpu != preferred))?;
        let used = self.used.get_mut(cpu.0 as usize)?;
        let sum = used.saturating_add(utilisation);
        if sum > limit {
            return None;
        }
        *used = sum;
        Some(cpu)
    }
    /// Gives it back.
    pub fn release(&mut self, utilisation: u64, cpu: CpuId) {
        if let Some(used) = self.used.get_mut(cpu.0 as usize) {
            *used = used.saturating_sub(utilisation);
        }
    }
    /// Whether every CPU of `cpus` keeps to `limit`.
    #[must_use]
    pub fn fits(&self, cpus: CpuMask, limit: u64) -> bool {
        cpus.iter().filter_map(|cpu| self.used.get(cpu.0 as usize)).all(|used| *used <= limit)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ten_in_a_hundred() -> Reservation {
        Reservation::new(&DeadlineParameters { runtime: 10, deadline: 100, period: 0, flags: 0 })
    }

    #[test]
    fn a_budget_lasts_one_period() {
        let mut reservation = ten_in_a_hundred();
        reservation.wake(1000);
        assert_eq!((reservation.left(), reservation.due()), (10, 1100));
        reservation.charge(12);
        assert!(reservation.is_exhausted());
        assert_eq!(reservation.renewal(), 1100);
        reservation.renew(1100);
        assert_eq!((reservation.left(), reservation.due()), (8, 1200), "what was used too much is taken off");
    }

    #[test]
    fn waking_late_in_a_period_does_not_get_more_than_the_share() {
        let mut reservation = ten_in_a_hundred();
        reservation.wake(0);
        reservation.charge(2);
        // 8 left with 90 to go: more than a tenth.
        reservation.wake(10);
        assert!(reservation.left() == 8 || reservation.due() > 100);
        reservation.wake(95);
        assert_eq!((reservation.left(), reservation.due()), (10, 195));
        reservation.charge(9);
        reservation.wake(100);
        assert_eq!((reservation.left(), reservation.due()), (1, 195), "what still fits is kept");
    }

    #[test]
    fn a_lagging_reservation_begins_anew() {
        let mut reservation = ten_in_a_hundred();
        reservation.wake(0);
        reservation.charge(10);
        reservation.renew(5000);
        assert_eq!((reservation.left(), reservation.due()), (10, 5100));
    }

    #[test]
    fn the_earlier_deadline_is_the_more_urgent() {
        let (mut early, mut late) = (ten_in_a_hundred(), ten_in_a_hundred());
        early.begin(5);
        late.begin(6);
        assert!(early.urgency() > late.urgency() && late.urgency() > 99);
    }

    #[test]
    fn a_cpu_promises_no_more_than_its_limit() {
        let mut admission = Admission::new();
        let both = CpuMask::first_cpus(2);
        let limit = utilisation(95, 100);
        let six_tenths = utilisation(6, 10);
        assert_eq!(admission.admit(six_tenths, both, CpuId(1), limit), Some(CpuId(1)));
        assert_eq!(admission.admit(six_tenths, both, CpuId(1), limit), Some(CpuId(0)));
        assert_eq!(admission.admit(six_tenths, both, CpuId(1), limit), None);
        assert_eq!(admission.admit(utilisation(3, 10), both, CpuId(1), limit), Some(CpuId(1)));
        assert!(admission.fits(both, limit) && !admission.fits(both, utilisation(8, 10)));
        admission.release(six_tenths, CpuId(0));
        assert_eq!(admission.admit(six_tenths, CpuMask::single(CpuId(0)), CpuId(0), limit), Some(CpuId(0)));
    }
}
