//! Reservations: `SCHED_DEADLINE` as a constant-bandwidth server, as Linux and the literature have it.
//!
//! A reservation promises `runtime` in each `period`, by `deadline` after the period's start. A thread that wakes begins a new
//! period unless what is left of the present one still fits (rule of the wake-up); running uses the budget up; without budget it is set
//! aside until the next period, where it gets a new one and a later deadline. So a thread that asks for more than it was promised harms
//! nobody else.
//!
//! # Admission
//! All CPUs together promise as much as Linux has them promise: the sum of all reservations stays below what each may promise, times their number
//! ([`Admission`]). A reservation that one CPU can promise alone is kept to that CPU: earliest deadline first then meets every deadline there.
//! One that fits into the sum only *roams*: it may use every CPU, wakes where it displaces something lower, and goes where there is room when it
//! has to wait. It, and those beside which it runs, may then be late, as on Linux, whose global order promises no more than that lateness has
//! a bound. Rejected: the global order for all, which would have threads pushed and pulled between CPUs that need not be.

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

/// Who keeps a promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// One CPU.
    By(CpuId),
    /// All together.
    ByAll,
}

impl Promise {
    /// The one CPU.
    #[must_use]
    pub const fn home(self) -> Option<CpuId> {
        match self {
            Self::By(cpu) => Some(cpu),
            Self::ByAll => None,
        }
    }
    /// Of a thread with a reservation and that home.
    #[must_use]
    pub fn with_home(home: Option<CpuId>) -> Self {
        home.map_or(Self::ByAll, Self::By)
    }
}

/// What has been promised, on each CPU and by all together.
#[derive(Debug)]
pub struct Admission {
    used: [u64; MAXIMUM_CPUS],
    roaming: u64,
}

impl Admission {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: [0; MAXIMUM_CPUS], roaming: 0 }
    }
    /// Promises `utilisation`, by the CPU of `permitted` that has promised least, `preferred` where that is one of them; where it fits on none, by all of
    /// them. `limit` is what each may promise. `None`: there is not that much left.
    pub fn admit(&mut self, utilisation: u64, permitted: CpuMask, preferred: CpuId, limit: u64) -> Option<Promise> {
        if !self.fits(utilisation, permitted, limit) {
            return None;
        }
        let used = |cpu: CpuId| self.used.get(cpu.0 as usize).copied().unwrap_or(u64::MAX);
        let cpu = permitted.iter().min_by_key(|cpu| (used(*cpu), *cpu != preferred))?;
        let promise =
            if used(cpu).saturating_add(utilisation) <= limit.min(WHOLE) { Promise::By(cpu) } else { Promise::ByAll };
        self.book(utilisation, promise);
        Some(promise)
    }
    /// Notes a promise, also one that does not fit.
    pub fn book(&mut self, utilisation: u64, promise: Promise) {
        if let Some(used) = self.account(promise) {
            *used = used.saturating_add(utilisation);
        }
    }
    /// Takes a promise back.
    pub fn release(&mut self, utilisation: u64, promise: Promise) {
        if let Some(used) = self.account(promise) {
            *used = used.saturating_sub(utilisation);
        }
    }
    fn account(&mut self, promise: Promise) -> Option<&mut u64> {
        match promise {
            Promise::By(cpu) => self.used.get_mut(cpu.0 as usize),
            Promise::ByAll => Some(&mut self.roaming),
        }
    }
    /// Whether `cpus`, of which each may promise `limit`, can promise all that has been, and `further`.
    #[must_use]
    pub fn fits(&self, further: u64, cpus: CpuMask, limit: u64) -> bool {
        let promised =
            self.used.iter().fold(self.roaming.saturating_add(further), |sum, used| sum.saturating_add(*used));
        promised <= limit.saturating_mul(cpus.count() as u64)
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
    fn cpus_promise_no_more_than_their_limits_together() {
        let mut admission = Admission::new();
        let both = CpuMask::first_cpus(2);
        let limit = utilisation(95, 100);
        let six_tenths = utilisation(6, 10);
        assert_eq!(admission.admit(six_tenths, both, CpuId(1), limit), Some(Promise::By(CpuId(1))));
        assert_eq!(admission.admit(six_tenths, both, CpuId(1), limit), Some(Promise::By(CpuId(0))));
        assert_eq!(admission.admit(six_tenths, both, CpuId(1), limit), Some(Promise::ByAll), "1.8 of 1.9");
        assert_eq!(admission.admit(utilisation(3, 10), both, CpuId(1), limit), None);
        assert!(admission.fits(0, both, limit) && !admission.fits(0, both, utilisation(8, 10)));
        admission.release(six_tenths, Promise::ByAll);
        assert_eq!(admission.admit(utilisation(3, 10), both, CpuId(1), limit), Some(Promise::By(CpuId(1))));
        admission.release(six_tenths, Promise::By(CpuId(0)));
        assert_eq!(admission.admit(WHOLE, both, CpuId(0), limit), Some(Promise::ByAll), "0.9 and 1 of 1.9");
        assert_eq!(admission.admit(1, CpuMask::single(CpuId(0)), CpuId(0), limit), None);
    }

    #[test]
    fn without_a_limit_everything_is_promised_but_not_by_one_cpu() {
        let mut admission = Admission::new();
        let one = CpuMask::first_cpus(1);
        assert_eq!(admission.admit(WHOLE, one, CpuId(0), u64::MAX), Some(Promise::By(CpuId(0))));
        assert_eq!(admission.admit(WHOLE, one, CpuId(0), u64::MAX), Some(Promise::ByAll));
    }
}
