//! What the scheduler knows of a thread, and where it is.
//!
//! A thread carries its [`Entity`] for life; queues hold [`Member`]s, handles that lead to one. The links are the run queue's own affair
//! ([`super::run_queue`]).
//!
//! # Whose the fields are
//! The lock of the queue of CPU `cpu` guards an entity. `cpu` and `affinity` are atomics that are *written* under that lock (`cpu`
//! under both queues' when a thread moves) and may be read by anybody, as a hint; so are `allowed` and `home`, which follow from them.

use super::deadline::Reservation;
use super::hand_over::Habit;
use super::{Parameters, Policy, Priority};
use crate::base::{AtomicCpuMask, CpuId, CpuMask};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// A handle that leads to an entity, always the same, which lives while the handle is on a queue.
pub trait Member: Copy + PartialEq + core::fmt::Debug {
    /// What the scheduler knows of it.
    fn entity(&self) -> &Entity<Self>;
}

/// Where an entity is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On no list: it sleeps, runs, is on its way, or has not been started.
    Nowhere,
    /// Ready, on a level's list.
    Level(Priority),
    /// Ready, but with its reservation used up: it waits for the next period.
    Throttled,
}

/// What the scheduler knows of a thread.
pub struct Entity<K> {
    pub(super) base: Cell<Priority>,
    pub(super) level: Cell<Priority>,
    pub(super) policy: Cell<Policy>,
    /// Who comes first on the Realtime level; 0 on the others.
    pub(super) urgency: Cell<u64>,
    /// Its share among equals: 1024 for niceness 0.
    pub(super) weight: Cell<u32>,
    /// Ticks left before it must give way to its level's others.
    pub(super) slice: Cell<u16>,
    /// The tick of its CPU since which it has waited.
    pub(super) ready_since: Cell<u64>,
    /// What `SCHED_DEADLINE` promises it.
    pub(super) reservation: Cell<Reservation>,
    pub(super) place: Cell<Place>,
    pub(super) next: Cell<Option<K>>,
    pub(super) previous: Cell<Option<K>>,
    pub(super) older: Cell<Option<K>>,
    pub(super) newer: Cell<Option<K>>,
    cpu: AtomicU32,
    affinity: AtomicCpuMask,
    /// What of `affinity` counts: all of it, or `home` alone.
    allowed: AtomicCpuMask,
    /// The CPU that promised its reservation, or [`NO_CPU`].
    home: AtomicU32,
    /// Whether its base is the Realtime level.
    is_realtime: AtomicBool,
    /// What it does after it has woken others; its own.
    pub habit: Habit,
}

const NO_CPU: u32 = u32::MAX;

impl<K> Entity<K> {
    /// An entity that is on no queue.
    #[must_use]
    pub fn new(parameters: Parameters, affinity: CpuMask) -> Self {
        let entity = Self {
            base: Cell::new(parameters.base),
            level: Cell::new(parameters.base),
            policy: Cell::new(parameters.policy),
            urgency: Cell::new(0),
            weight: Cell::new(0),
            slice: Cell::new(0),
            ready_since: Cell::new(0),
            reservation: Cell::new(Reservation::NONE),
            place: Cell::new(Place::Nowhere),
            next: Cell::new(None),
            previous: Cell::new(None),
            older: Cell::new(None),
            newer: Cell::new(None),
            cpu: AtomicU32::new(0),
            affinity: AtomicCpuMask::new(affinity),
            allowed: AtomicCpuMask::new(affinity),
            home: AtomicU32::new(NO_CPU),
            is_realtime: AtomicBool::new(false),
            habit: Habit::new(),
        };
        entity.set_parameters(parameters);
        entity
    }

    /// Takes over what Linux's parameters come to: the level becomes the base, the slice is fresh. Not while it is on a list.
    pub(super) fn set_parameters(&self, parameters: Parameters) {
        self.base.set(parameters.base);
        self.level.set(parameters.base);
        self.policy.set(parameters.policy);
        self.urgency.set(parameters.urgency);
        self.weight.set(parameters.weight);
        self.reservation.set(parameters.reservation);
        self.is_realtime.store(parameters.base == Priority::Realtime, Relaxed);
        self.renew_slice();
    }

    /// A fresh slice of its level, less for those that are nice.
    #[inline]
    pub(super) fn renew_slice(&self) {
        let full = self.level.get().slice();
        let weight = self.weight.get();
        self.slice.set(if weight >= super::FULL_WEIGHT { full } else { nice_slice(full, weight) });
    }

    /// The CPU on whose queue it is, or was when it slept; for others a hint unless they hold that queue's lock.
    #[must_use]
    #[inline]
    pub fn cpu(&self) -> CpuId {
        CpuId(self.cpu.load(Relaxed))
    }
    /// Says where it goes; see the module's description on locks.
    #[inline]
    pub fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.0, Relaxed);
    }
    /// The CPUs that it was said it may use.
    #[must_use]
    #[inline]
    pub fn affinity(&self) -> CpuMask {
        self.affinity.load(Relaxed)
    }
    /// Says which it may use; see the module's description on locks.
    pub fn set_affinity(&self, affinity: CpuMask) {
        self.affinity.store(affinity, Relaxed);
        if self.home().is_none() {
            self.allowed.store(affinity, Relaxed);
        }
    }
    /// The CPUs that it may use: its affinity, or the one that promised its reservation.
    #[must_use]
    #[inline]
    pub fn allowed(&self) -> CpuMask {
        self.allowed.load(Relaxed)
    }
    /// The CPU that promised its reservation.
    #[must_use]
    pub fn home(&self) -> Option<CpuId> {
        let home = self.home.load(Relaxed);
        (home != NO_CPU).then_some(CpuId(home))
    }
    /// Says which CPU promised its reservation; see the module's description on locks.
    pub fn bind(&self, home: Option<CpuId>) {
        self.home.store(home.map_or(NO_CPU, |home| home.0), Relaxed);
        self.allowed.store(home.map_or(self.affinity(), CpuMask::single), Relaxed);
    }
    /// Whether its base is the Realtime level. For anybody, as a hint; exact for the thread itself.
    #[must_use]
    #[inline]
    pub fn is_realtime(&self) -> bool {
        self.is_realtime.load(Relaxed)
    }
    /// How urgent its reservation makes it, whatever it goes by now. The lock of its queue is held.
    #[must_use]
    pub fn reserved_urgency(&self) -> u64 {
        self.reservation.get().urgency()
    }
    /// The level that placement goes by: whether others are to make room. For anybody, as a hint.
    #[must_use]
    pub fn level_for_placement(&self) -> Priority {
        if self.is_realtime() { Priority::Realtime } else { Priority::Normal }
    }
    /// The level that it is on now.
    #[must_use]
    #[inline]
    pub fn level(&self) -> Priority {
        self.level.get()
    }
    /// Where it is.
    #[must_use]
    #[inline]
    pub fn place(&self) -> Place {
        self.place.get()
    }
    /// Who comes first: level, then urgency.
    #[inline]
    pub(super) fn standing(&self) -> (Priority, u64) {
        (self.level.get(), self.urgency.get())
    }
}

impl<K> core::fmt::Debug for Entity<K> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut fields = formatter.debug_struct("Entity");
        fields.field("level", &self.level.get()).field("place", &self.place.get()).field("cpu", &self.cpu());
        fields.finish_non_exhaustive()
    }
}

/// A slice for a share below the ordinary one: at least a tick.
#[cold]
fn nice_slice(full: u16, weight: u32) -> u16 {
    let share = u32::from(full) * weight / super::FULL_WEIGHT;
    u16::try_from(share).unwrap_or(full).max(1)
}
