//! The scheduler: which thread a CPU runs next.
//!
//! [`Scheduler`] is a plain data structure, one per CPU. It is told what happened (a thread became ready, a tick passed, the
//! running thread blocked) and answers with a [`Decision`]; it touches no clock, no lock and no register.
//! [`super::dispatch`] acts on the decisions.
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
//! 2. The first thread of the highest non-empty level runs next. Inside a level that is round-robin.
//! 3. A thread that slept and wakes rises one level, up to its base priority, with a fresh slice.
//! 4. A thread that becomes ready on a higher level than the running one's preempts it at once; the preempted thread keeps the rest
//!    of its slice and its place at the front.
//! 5. **Aging**: every [`AGING_PERIOD`] ticks, if the ready thread that has waited longest has waited at least that long, it gets the next
//!    tick, whatever its level, and nothing preempts it in that tick.
//!
//! # The starvation bound
//! With *n* threads that are ready or running on a CPU, none waits longer than (*n* + 1) × [`AGING_PERIOD`] ticks for a tick of its own:
//! each aging tick serves the longest-waiting one and puts it behind all others in that order. A property test checks it
//! against random loads, Realtime hogs among them. (A FIFO thread loses at most one tick in [`AGING_PERIOD`].)

pub mod run_queue;

pub use run_queue::{Entity, RunQueue, Slot};

/// Linux's policy numbers.
pub const SCHED_OTHER: u32 = 0;
/// See [`SCHED_OTHER`].
pub const SCHED_FIFO: u32 = 1;
/// See [`SCHED_OTHER`].
pub const SCHED_RR: u32 = 2;
/// See [`SCHED_OTHER`].
pub const SCHED_BATCH: u32 = 3;
/// See [`SCHED_OTHER`].
pub const SCHED_IDLE: u32 = 5;

/// Every this many ticks the longest-waiting ready thread gets one: 5 % of the CPU at most.
pub const AGING_PERIOD: u64 = 20;

/// A level of the scheduler, and a thread's base priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Runs when nothing else wants to (`SCHED_IDLE`).
    Idle = 0,
    /// Background work: niceness 10 and more.
    Low = 1,
    /// Everybody: niceness -9 to 9.
    Normal = 2,
    /// Niceness -10 and less.
    High = 3,
    /// `SCHED_FIFO` and `SCHED_RR`.
    Realtime = 4,
}

impl Priority {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All of them, rising.
    pub const ALL: [Self; Self::COUNT] = [Self::Idle, Self::Low, Self::Normal, Self::High, Self::Realtime];

    /// The level numbered `index`.
    #[must_use]
    #[inline]
    pub const fn from_index(index: usize) -> Option<Self> {
        match index {
            0 => Some(Self::Idle),
            1 => Some(Self::Low),
            2 => Some(Self::Normal),
            3 => Some(Self::High),
            4 => Some(Self::Realtime),
            _ => None,
        }
    }
    /// The time slice in ticks.
    #[must_use]
    #[inline]
    pub const fn slice(self) -> u16 {
        match self {
            Self::Idle => 1,
            Self::Low => 5,
            Self::Normal => 10,
            Self::High => 20,
            Self::Realtime => 50,
        }
    }
    /// One level down, within what feedback may move.
    const fn demoted(self) -> Self {
        match self {
            Self::High => Self::Normal,
            Self::Normal | Self::Low => Self::Low,
            stays => stays,
        }
    }
    /// One level up, within what feedback may move.
    const fn promoted(self) -> Self {
        match self {
            Self::Low => Self::Normal,
            Self::Normal | Self::High => Self::High,
            stays => stays,
        }
    }
}

/// How Linux's scheduling calls see a thread; the scheduler's [`Priority`] and [`Policy`] follow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SchedulingParameters {
    /// `SCHED_OTHER` and so on.
    pub policy: u32,
    /// -20 to 19.
    pub niceness: i8,
    /// 1 to 99 for the real-time policies, else 0.
    pub realtime_priority: u8,
    /// Whether children start as `SCHED_OTHER`.
    pub reset_on_fork: bool,
    /// The CPUs that it may run on, as a mask of the first 64.
    pub affinity: u64,
}

impl Default for SchedulingParameters {
    fn default() -> Self {
        Self { policy: 0, niceness: 0, realtime_priority: 0, reset_on_fork: false, affinity: u64::MAX }
    }
}

/// The level and policy that Linux's parameters come to.
#[must_use]
pub fn levels_of(parameters: &SchedulingParameters) -> (Priority, Policy) {
    match parameters.policy {
        SCHED_FIFO => (Priority::Realtime, Policy::Fifo),
        SCHED_RR => (Priority::Realtime, Policy::RoundRobin),
        SCHED_IDLE => (Priority::Idle, Policy::RoundRobin),
        _ if parameters.niceness <= -10 => (Priority::High, Policy::Feedback),
        _ if parameters.niceness >= 10 => (Priority::Low, Policy::Feedback),
        _ => (Priority::Normal, Policy::Feedback),
    }
}

/// How a thread shares the CPU with those of its level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// The feedback rules.
    Feedback,
    /// Round-robin on a fixed level (`SCHED_RR`, `SCHED_IDLE`).
    RoundRobin,
    /// Until it gives way itself (`SCHED_FIFO`).
    Fifo,
}

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

/// The scheduler of one CPU.
#[derive(Debug, Clone)]
pub struct Scheduler<K> {
    queue: RunQueue<K>,
    current: Option<Slot>,
    tick: u64,
    next_aging: u64,
    /// A thread chosen by aging: it runs next, for one tick.
    granted: Option<Slot>,
    /// The running thread runs in a tick granted by aging.
    in_grant: bool,
}

impl<K: Copy + Eq> Scheduler<K> {
    /// A scheduler with no threads.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: RunQueue::new(),
            current: None,
            tick: 0,
            next_aging: AGING_PERIOD,
            granted: None,
            in_grant: false,
        }
    }

    /// Adds a thread that is not ready yet. `None` when memory is out.
    pub fn add(&mut self, key: K, base: Priority, policy: Policy) -> Option<Slot> {
        self.queue.insert(key, base, policy)
    }

    /// Forgets a thread. If it was running, [`Self::pick`] must follow.
    pub fn remove(&mut self, slot: Slot) -> Option<K> {
        if self.current == Some(slot) {
            self.current = None;
        }
        if self.granted == Some(slot) {
            self.granted = None;
        }
        self.queue.delete(slot)
    }

    /// The running thread, unless the CPU idles.
    #[must_use]
    #[inline]
    pub fn current(&self) -> Option<Slot> {
        self.current
    }

    /// What is known of a thread.
    #[must_use]
    pub fn entity(&self, slot: Slot) -> Option<&Entity<K>> {
        self.queue.entity(slot)
    }

    /// Ticks so far.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.tick
    }

    /// How many threads are ready or running.
    #[must_use]
    pub fn load(&self) -> u32 {
        self.queue.ready_count() + u32::from(self.current.is_some())
    }

    /// Makes a thread ready that was created, slept or was blocked. It rises one level if it `slept`.
    #[inline]
    pub fn wake(&mut self, slot: Slot) -> Preempt {
        if self.current == Some(slot) || self.queue.is_queued(slot) {
            return Preempt::No;
        }
        let tick = self.tick;
        let Some(entity) = self.queue.entity_mut(slot) else { return Preempt::No };
        if entity.policy == Policy::Feedback {
            entity.level = entity.level.promoted().min(entity.base);
        }
        entity.slice = entity.level.slice();
        let level = entity.level;
        self.queue.push_back(slot, tick);
        self.preempts(level)
    }

    /// Whether a thread of `level` that has just become ready displaces the running one.
    #[inline]
    fn preempts(&self, level: Priority) -> Preempt {
        match self.current.and_then(|current| self.queue.entity(current)) {
            _ if self.in_grant => Preempt::No,
            Some(running) if running.level >= level => Preempt::No,
            _ => Preempt::Yes,
        }
    }

    /// A tick passed: charges the running thread and ages the waiting ones.
    pub fn tick(&mut self) -> Preempt {
        self.tick += 1;
        let mut preempt = Preempt::No;
        if core::mem::take(&mut self.in_grant) {
            // Its tick is over; its slice is as it was.
            preempt = Preempt::Yes;
        }
        let tick = self.tick;
        if let Some(entity) = self.current.and_then(|current| self.queue.entity_mut(current))
            && entity.policy != Policy::Fifo
            && preempt == Preempt::No
        {
            entity.slice = entity.slice.saturating_sub(1);
            if entity.slice == 0 {
                preempt = Preempt::Yes;
            }
        }
        if tick >= self.next_aging {
            self.next_aging = tick + AGING_PERIOD;
            if let Some(slot) = self.queue.longest_waiting()
                && self.queue.entity(slot).is_some_and(|entity| entity.ready_since + AGING_PERIOD <= tick + 1)
            {
                self.granted = Some(slot);
                preempt = Preempt::Yes;
            }
        }
        preempt
    }

    /// The running thread blocks, sleeps or ends: it is no longer ready. [`Self::pick`] must follow.
    #[inline]
    pub fn block_current(&mut self) {
        self.current = None;
        self.in_grant = false;
    }

    /// The running thread gives way to the others of its level. [`Self::pick`] must follow.
    pub fn yield_current(&mut self) {
        if let Some(slot) = self.current.take() {
            self.in_grant = false;
            let tick = self.tick;
            if let Some(entity) = self.queue.entity_mut(slot) {
                entity.slice = entity.level.slice();
            }
            self.queue.push_back(slot, tick);
        }
    }

    /// Puts the running thread, if it is still ready, where it belongs, and chooses the next.
    #[inline]
    pub fn pick(&mut self) -> Decision<K> {
        let previous = self.current;
        if let Some(slot) = previous {
            self.requeue(slot);
        }
        let next = match self.granted.take() {
            Some(slot) if self.queue.is_queued(slot) => {
                self.in_grant = true;
                Some(slot)
            }
            _ => self.queue.highest().and_then(|level| self.queue.front(level)),
        };
        let Some(slot) = next else {
            self.current = None;
            return Decision::Idle;
        };
        self.queue.remove(slot);
        self.current = Some(slot);
        if previous == Some(slot) {
            return Decision::Continue;
        }
        match self.queue.entity(slot) {
            Some(entity) => Decision::Run(entity.key),
            None => Decision::Idle,
        }
    }

    /// A running thread that is still ready: with its slice spent it sinks and goes to the end, else it stays in front.
    fn requeue(&mut self, slot: Slot) {
        self.in_grant = false;
        let tick = self.tick;
        let Some(entity) = self.queue.entity_mut(slot) else { return };
        if entity.slice == 0 {
            if entity.policy == Policy::Feedback {
                entity.level = entity.level.demoted();
            }
            entity.slice = entity.level.slice();
            self.queue.push_back(slot, tick);
        } else {
            self.queue.push_front(slot, tick);
        }
    }

    /// Changes a thread's base priority and policy; its level becomes the base. Says whether the running thread is to give way.
    pub fn set_priority(&mut self, slot: Slot, base: Priority, policy: Policy) -> Preempt {
        let (queued, tick) = (self.queue.is_queued(slot), self.tick);
        self.queue.remove(slot);
        let Some(entity) = self.queue.entity_mut(slot) else { return Preempt::No };
        entity.base = base;
        entity.policy = policy;
        entity.level = base;
        entity.slice = base.slice();
        if queued {
            self.queue.push_back(slot, tick);
            self.preempts(base)
        } else if self.current == Some(slot) && self.queue.highest().is_some_and(|level| level > base) {
            Preempt::Yes
        } else {
            Preempt::No
        }
    }

    /// Checks the invariants: the running thread is on no list; no thread waits while the CPU idles after a pick.
    #[cfg(test)]
    pub fn validate(&self) {
        self.queue.validate();
        if let Some(current) = self.current {
            assert!(!self.queue.is_queued(current));
        }
    }
}

impl<K: Copy + Eq> Default for Scheduler<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
