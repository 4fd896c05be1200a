//! The scheduler: which thread a CPU runs next, and which CPU a thread goes to.
//!
//! Plain data throughout: it is handed the time, the CPU and the topology, is told what happened (a thread became ready, a tick passed,
//! the running thread blocked) and answers with a [`Decision`] or a CPU; it touches no clock, no lock and no register.
//! [`super::dispatch`] acts on the answers; the `simulator` plays dispatch for up to 64 CPUs in the unit tests.
//!
//! | file | what |
//! |---|---|
//! | this | [`Scheduler`]: one CPU |
//! | `budget` | its part that charges and renews reservations |
//! | `moving` | its part that hands threads to other CPUs and takes them over |
//! | `entity` | what it knows of one thread: [`Entity`] |
//! | `run_queue` | the ready threads of one CPU, intrusive lists of [`Entity`] |
//! | `priority` | levels and policies, and what Linux's parameters come to |
//! | `standing` | where a thread stands, on one scale, for who lends it |
//! | `deadline` | reservations and their admission |
//! | `bandwidth` | what the real-time policies may take of a CPU |
//! | `hand_over` | whether who wakes another is about to sleep |
//! | `placement` | several CPUs: where a thread wakes up, whom an idle CPU helps, balance |
//!
//! # The algorithm: multi-level feedback, five levels
//! | level | slice in ticks of 10 ms |
//! |---|---|
//! | Realtime | 50 |
//! | High | 20 |
//! | Normal | 10 |
//! | Low | 5 |
//! | Idle | 1 |
//!
//! 1. At each tick the running thread's slice is charged. When it is spent the thread is Ready, sinks one level (down to Low;
//!    Realtime and Idle threads stay), gets a fresh slice and goes to the end of its level.
//! 2. The first thread of the highest non-empty level runs next. Inside a level that is round-robin; on Realtime, the more urgent first.
//! 3. A thread that slept and wakes rises one level, up to its base priority, with a fresh slice.
//! 4. A thread that becomes ready and stands above the running one preempts it at once; the preempted thread keeps the rest
//!    of its slice and its place at the front.
//! 5. **Aging**: every [`AGING_PERIOD`] ticks, if the ready thread that has waited longest has waited at least that long, it gets the next
//!    tick, whatever its level, and nothing but a reservation preempts it in that tick.
//! 6. Reservations come before everything; FIFO and round-robin threads leave room where [`Bandwidth`] says so.
//! 7. A thread that gives way goes to the end of its level; alone there, it lets the first from a level below run, up to the next tick.
//!
//! # The starvation bound
//! With *n* threads that are ready or running on a CPU, none waits longer than (*n* + 1) × [`AGING_PERIOD`] ticks for a tick of its own:
//! each aging tick serves the longest-waiting one and puts it behind all others in that order. A thread that moves to another CPU takes
//! its level, its slice and its waiting time along and stands there among the ages where that puts it; each one that moves in ahead of
//! another costs that one a period more. Property tests check both against random loads, Realtime hogs among them. (A FIFO thread loses
//! at most one tick in [`AGING_PERIOD`]. Where reservations take a share *u* of a CPU, ticks are those of the rest: the bound is 1/(1-*u*)
//! times as long.)

mod bandwidth;
mod budget;
pub mod deadline;
mod entity;
pub mod hand_over;
mod moving;
pub mod placement;
mod priority;
pub mod run_queue;
mod standing;

pub use bandwidth::{Bandwidth, Limit};
pub use entity::{Entity, Member, Place};
pub use moving::Waited;
pub use priority::{
    DeadlineParameters, FULL_WEIGHT, Parameters, Policy, Priority, SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE,
    SCHED_OTHER, SCHED_RR, SchedulingParameters, levels_of,
};
pub use run_queue::RunQueue;
pub use standing::Standing;

use crate::base::Nanoseconds;

/// Every this many ticks the longest-waiting ready thread gets one: 5 % of the CPU at most.
pub const AGING_PERIOD: u64 = 20;

/// Ticks begin here, so that a thread which moves to a CPU that has ticked less can have waited since before.
const FIRST_TICK: u64 = 1 << 40;

/// What a CPU is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision<K> {
    /// Go on with the running thread.
    Continue,
    /// Switch to this one.
    Run(K),
    /// Nobody is ready: idle.
    Idle,
}

/// Whether the running thread is to give way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preempt {
    /// Yes, as soon as it may be preempted.
    Yes,
    /// No.
    No,
}

impl Preempt {
    const fn when(condition: bool) -> Self {
        if condition { Self::Yes } else { Self::No }
    }
    const fn or(self, other: Self) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::No => other,
        }
    }
}

/// How long a granted time is to last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum GrantLength {
    /// Until the next tick, which is a whole one away.
    Whole,
    /// Until so many ticks have come.
    Ticks(u8),
}

/// The scheduler of one CPU.
#[derive(Debug)]
pub struct Scheduler<K> {
    queue: RunQueue<K>,
    current: Option<K>,
    tick: u64,
    next_aging: u64,
    /// A thread chosen by aging: it runs next, for one tick.
    granted: Option<K>,
    /// How many ticks the granted time is to last: one; or two when a reservation came first, so that it does not begin with a tick; or
    /// what a reservation interrupted.
    grant_length: GrantLength,
    /// The running thread runs in time granted by aging, until so many ticks have come; 0 when it does not.
    grant_ticks: u8,
    /// Whom a thread that gave way let by, from a level below its own: the very next choice.
    let_by: Option<K>,
    /// The running thread was let by, and runs until the next tick at most if others stand above it.
    runs_by_leave: bool,
    /// The running thread may not use this CPU any more.
    expelled: bool,
    /// The thread that was expelled, until it has been left and sent on.
    departing: Option<K>,
    bandwidth: Bandwidth,
    /// Up to when the running thread's reservation has been charged.
    charged_at: u64,
}

impl<K: Member> Scheduler<K> {
    /// A scheduler with no threads.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: RunQueue::new(),
            current: None,
            tick: FIRST_TICK,
            next_aging: FIRST_TICK + AGING_PERIOD,
            granted: None,
            grant_length: GrantLength::Whole,
            grant_ticks: 0,
            let_by: None,
            runs_by_leave: false,
            expelled: false,
            departing: None,
            bandwidth: Bandwidth::new(),
            charged_at: 0,
        }
    }

    /// The running thread, unless the CPU idles.
    #[must_use]
    #[inline]
    pub const fn current(&self) -> Option<K> {
        self.current
    }

    /// Ticks so far.
    #[must_use]
    pub const fn ticks(&self) -> u64 {
        self.tick
    }

    /// How many threads are ready or running.
    #[must_use]
    #[inline]
    pub const fn load(&self) -> u32 {
        self.queue.ready_count() + self.current.is_some() as u32
    }

    /// How many are ready and wait.
    #[must_use]
    #[inline]
    pub const fn waiting(&self) -> u32 {
        self.queue.ready_count()
    }

    /// The running thread's level.
    #[must_use]
    #[inline]
    pub fn running_level(&self) -> Option<Priority> {
        self.current.map(|current| current.entity().level())
    }

    /// Makes a thread ready that was created, slept or was blocked: it rises one level and has a fresh slice. `clock` is read for a
    /// reservation only.
    #[inline]
    pub fn wake(&mut self, member: K, clock: impl FnOnce() -> Nanoseconds) -> Preempt {
        let entity = member.entity();
        if self.current == Some(member) || entity.place() != Place::Nowhere {
            return Preempt::No;
        }
        match entity.policy.get() {
            Policy::Feedback => entity.level.set(entity.level.get().promoted().min(entity.base.get())),
            Policy::Deadline => return self.wake_reservation(member, clock()),
            Policy::RoundRobin | Policy::Fifo => {}
        }
        entity.renew_slice();
        self.queue.push_back(member, self.tick);
        self.preempts(entity)
    }

    /// Whether a thread that has just become ready displaces the running one.
    #[inline]
    fn preempts(&self, entity: &Entity<K>) -> Preempt {
        let Some(running) = self.current else { return Preempt::Yes };
        if self.grant_ticks != 0 {
            return Preempt::when(entity.policy.get() == Policy::Deadline);
        }
        Preempt::when(entity.standing() > running.entity().standing() && !self.is_held_back(entity))
    }

    /// Whether the real-time policies have used what they may and it is one of theirs.
    #[inline]
    fn is_held_back(&self, entity: &Entity<K>) -> bool {
        self.bandwidth.is_exhausted()
            && entity.level.get() == Priority::Realtime
            && entity.policy.get() != Policy::Deadline
    }

    /// A tick passed: charges the running thread and ages the waiting ones. `limit` is what the real-time policies may use.
    pub fn tick(&mut self, limit: Limit, clock: impl FnOnce() -> Nanoseconds) -> Preempt {
        self.tick += 1;
        // A granted tick is over; the slice is as it was.
        let was_granted = self.grant_ticks != 0;
        self.grant_ticks = self.grant_ticks.saturating_sub(1);
        let mut preempt = Preempt::when(was_granted && self.grant_ticks == 0);
        let running = self.current.map(|current| (current.entity().policy.get(), current.entity().level.get()));
        let is_realtime = matches!(running, Some((Policy::Fifo | Policy::RoundRobin, Priority::Realtime)));
        preempt = preempt.or(self.bandwidth.tick(self.tick, limit, is_realtime));
        match (running, self.current) {
            (Some((Policy::Deadline, _)), _) => preempt = preempt.or(self.settle(clock())),
            (Some((Policy::Feedback | Policy::RoundRobin, _)), Some(current)) if !was_granted => {
                let slice = &current.entity().slice;
                slice.set(slice.get().saturating_sub(1));
                preempt = preempt.or(Preempt::when(slice.get() == 0));
            }
            _ => {}
        }
        preempt = preempt.or(Preempt::when(self.runs_by_leave));
        if self.tick >= self.next_aging {
            self.next_aging = self.tick + AGING_PERIOD;
            if let Some(member) = self.queue.longest_waiting()
                && member.entity().ready_since.get() + AGING_PERIOD <= self.tick + 1
            {
                self.granted = Some(member);
                self.grant_length = GrantLength::Whole;
                preempt = Preempt::Yes;
            }
        }
        preempt
    }

    /// The running thread blocks, sleeps or ends: it is no longer ready. [`Self::pick`] must follow.
    #[inline]
    pub fn block_current(&mut self, clock: impl FnOnce() -> Nanoseconds) {
        if self.current.is_some_and(|current| current.entity().policy.get() == Policy::Deadline) {
            self.settle(clock());
        }
        self.current = None;
        self.grant_ticks = 0;
        self.expelled = false;
    }

    /// The running thread gives way to the others of its level, and where it is alone there to the first of the level below that has one
    /// (not to `Idle` ones): who gives way over and over waits for somebody, and that one may have sunk. A FIFO or round-robin thread gives way
    /// to its own priority alone; one with a reservation, until its next period.
    pub fn yield_current(&mut self) {
        let Some(current) = self.current else { return };
        let entity = current.entity();
        if entity.policy.get() == Policy::Deadline {
            let mut reservation = entity.reservation.get();
            reservation.give_up();
            entity.reservation.set(reservation);
        } else if !self.expelled {
            self.current = None;
            self.grant_ticks = 0;
            entity.renew_slice();
            self.queue.push_back(current, self.tick);
            let level = entity.level();
            let is_first = self.queue.highest() == Some(level) && self.queue.front(level) == Some(current);
            if is_first && entity.policy.get() == Policy::Feedback {
                let below = self.queue.highest_below(level).filter(|below| *below != Priority::Idle);
                self.let_by = below.and_then(|below| self.queue.front(below));
            }
        }
    }

    /// Puts the running thread, if it is still ready, where it belongs, and chooses the next.
    #[inline]
    pub fn pick(&mut self, clock: impl Fn() -> Nanoseconds) -> Decision<K> {
        let previous = self.current;
        if let Some(member) = previous {
            if core::mem::take(&mut self.expelled) {
                self.departing = Some(member);
                self.grant_ticks = 0;
            } else {
                self.requeue(member, &clock);
            }
        }
        let let_by = self.let_by.take();
        self.runs_by_leave = let_by.is_some();
        let Some(member) = let_by.or_else(|| self.choose()) else {
            self.current = None;
            return Decision::Idle;
        };
        self.queue.remove(member);
        self.current = Some(member);
        if member.entity().policy.get() == Policy::Deadline {
            self.charged_at = clock().0;
        }
        if previous == Some(member) { Decision::Continue } else { Decision::Run(member) }
    }

    /// The ready thread that is to run next.
    #[inline]
    fn choose(&mut self) -> Option<K> {
        let level = self.queue.highest()?;
        let front = self.queue.front(level)?;
        let is_reserved = front.entity().policy.get() == Policy::Deadline;
        if let Some(granted) = self.granted {
            if is_reserved {
                if self.grant_length == GrantLength::Whole {
                    self.grant_length = GrantLength::Ticks(2);
                }
                return Some(front);
            }
            self.granted = None;
            if matches!(granted.entity().place(), Place::Level(_)) {
                self.grant_ticks = match self.grant_length {
                    GrantLength::Whole => 1,
                    GrantLength::Ticks(ticks) => ticks,
                };
                return Some(granted);
            }
        }
        if self.is_held_back(front.entity())
            && let Some(lower) = self.queue.highest_below(Priority::Realtime)
        {
            return self.queue.front(lower);
        }
        Some(front)
    }

    /// A running thread that is still ready: with its slice spent it sinks and goes to the end, else it stays in front.
    #[inline]
    fn requeue(&mut self, member: K, clock: &impl Fn() -> Nanoseconds) {
        let entity = member.entity();
        let ticks = core::mem::take(&mut self.grant_ticks);
        if ticks != 0 {
            // Its time is not over.
            self.granted = Some(member);
            self.grant_length = GrantLength::Ticks(ticks);
        }
        match entity.policy.get() {
            Policy::Deadline => {
                self.settle(clock());
                if entity.reservation.get().is_exhausted() {
                    self.queue.throttle(member);
                } else {
                    self.queue.push_front(member, self.tick);
                }
            }
            policy if entity.slice.get() == 0 => {
                if policy == Policy::Feedback {
                    entity.level.set(entity.level.get().demoted());
                }
                entity.renew_slice();
                self.queue.push_back(member, self.tick);
            }
            _ => self.queue.push_front(member, self.tick),
        }
    }

    /// Changes what a thread's parameters come to; its level becomes the base. Says whether the running thread is to give way. A new
    /// reservation begins at `now`; one that asks for what the thread has goes on, also if the thread goes by something else meanwhile.
    pub fn set_parameters(&mut self, member: K, parameters: Parameters, now: Nanoseconds) -> Preempt {
        let entity = member.entity();
        let place = entity.place();
        if self.current == Some(member) {
            self.settle(now);
        }
        self.queue.remove(member);
        let mut reservation = entity.reservation.get();
        entity.set_parameters(parameters);
        if reservation.is_on_terms_of(&parameters.reservation) {
            entity.reservation.set(reservation);
        } else {
            reservation = parameters.reservation;
        }
        if parameters.policy == Policy::Deadline && (place != Place::Nowhere || self.current == Some(member)) {
            reservation.wake(now.0);
            entity.reservation.set(reservation);
            entity.urgency.set(reservation.urgency());
        }
        if place != Place::Nowhere {
            self.queue.push_back(member, self.tick);
            self.preempts(entity)
        } else if self.current == Some(member) {
            self.charged_at = now.0;
            let best = self.queue.highest().and_then(|level| self.queue.front(level));
            Preempt::when(best.is_some_and(|best| best.entity().standing() > entity.standing()))
        } else {
            Preempt::No
        }
    }

    /// Checks the invariants: the running thread is on no list; nobody is on two.
    #[cfg(test)]
    pub fn validate(&self) {
        self.queue.validate();
        for member in [self.current, self.departing].into_iter().flatten() {
            assert_eq!(member.entity().place(), Place::Nowhere);
        }
    }
}

impl<K: Member> Default for Scheduler<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(in crate::process) mod simulator;
#[cfg(test)]
mod tests;
