//! Levels, policies, and what Linux's scheduling parameters come to.
//!
//! [`SchedulingParameters`] is what programs set and see; [`levels_of`] says which [`Priority`], [`Policy`], urgency and weight follow.

use super::deadline::Reservation;

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
/// See [`SCHED_OTHER`].
pub const SCHED_DEADLINE: u32 = 6;

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
    pub(super) const fn demoted(self) -> Self {
        match self {
            Self::High => Self::Normal,
            Self::Normal | Self::Low => Self::Low,
            stays => stays,
        }
    }
    /// One level up, within what feedback may move.
    pub(super) const fn promoted(self) -> Self {
        match self {
            Self::Low => Self::Normal,
            Self::Normal | Self::High => Self::High,
            stays => stays,
        }
    }
}

/// How Linux's scheduling calls see a thread; what the scheduler goes by follows from it: [`levels_of`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SchedulingParameters {
    /// `SCHED_OTHER` and so on.
    pub policy: u32,
    /// -20 to 19.
    pub niceness: i8,
    /// 1 to 99 for the real-time policies, else 0.
    pub realtime_priority: u8,
    /// Whether children start as `SCHED_OTHER`.
    pub reset_on_fork: bool,
    /// What `SCHED_DEADLINE` asks for.
    pub deadline: DeadlineParameters,
}

/// A reservation as `sched_setattr` gives it: all zero for other policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeadlineParameters {
    /// How much of each period, in nanoseconds.
    pub runtime: u64,
    /// By when after a period's start, in nanoseconds.
    pub deadline: u64,
    /// In nanoseconds.
    pub period: u64,
    /// `SCHED_FLAG_RECLAIM` and `SCHED_FLAG_DL_OVERRUN`, as set.
    pub flags: u64,
}

/// What the scheduler goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// The highest level it can rise to.
    pub base: Priority,
    /// How it shares a level.
    pub policy: Policy,
    /// Who comes first on the Realtime level.
    pub urgency: u64,
    /// Its share among equals; [`FULL_WEIGHT`] for niceness 0 and less.
    pub weight: u32,
    /// What it was promised.
    pub reservation: Reservation,
}

impl Default for Parameters {
    fn default() -> Self {
        levels_of(&SchedulingParameters::default())
    }
}

/// The share of a thread that is not nice.
pub const FULL_WEIGHT: u32 = 1024;

/// Linux's shares of niceness 0 to 19: each is about four fifths of the last.
const WEIGHTS: [u32; 20] =
    [FULL_WEIGHT, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15];

/// What Linux's parameters come to. Niceness decides on the level, and inside a level on the slice: slices are the most that a thread
/// may use, so a positive one shortens them and a negative one does not lengthen them.
#[must_use]
pub fn levels_of(parameters: &SchedulingParameters) -> Parameters {
    let (base, policy) = match parameters.policy {
        SCHED_DEADLINE => (Priority::Realtime, Policy::Deadline),
        SCHED_FIFO => (Priority::Realtime, Policy::Fifo),
        SCHED_RR => (Priority::Realtime, Policy::RoundRobin),
        SCHED_IDLE => (Priority::Idle, Policy::RoundRobin),
        _ if parameters.niceness <= -10 => (Priority::High, Policy::Feedback),
        _ if parameters.niceness >= 10 => (Priority::Low, Policy::Feedback),
        _ => (Priority::Normal, Policy::Feedback),
    };
    let weight = match policy {
        Policy::Feedback => usize::try_from(parameters.niceness)
            .map_or(FULL_WEIGHT, |niceness| WEIGHTS.get(niceness).copied().unwrap_or(FULL_WEIGHT)),
        _ => FULL_WEIGHT,
    };
    let urgency = match policy {
        Policy::Fifo | Policy::RoundRobin if base == Priority::Realtime => parameters.realtime_priority.into(),
        _ => 0,
    };
    Parameters { base, policy, urgency, weight, reservation: Reservation::new(&parameters.deadline) }
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
    /// Before all others, the earliest deadline first, as long as its reservation lasts (`SCHED_DEADLINE`).
    Deadline,
}
