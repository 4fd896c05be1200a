//! Threads that are not there, and the random numbers that loads are made of.

use super::super::{Entity, Member, Parameters};
use crate::base::CpuMask;

/// A thread of the simulation.
#[derive(Debug)]
pub struct SimulatedThread {
    key: usize,
    entity: Entity<Handle>,
}

/// Leads to one; they live as long as the tests.
#[derive(Clone, Copy)]
pub struct Handle(&'static SimulatedThread);

impl Handle {
    /// Its number.
    pub fn key(self) -> usize {
        self.0.key
    }
    /// What the scheduler knows of it.
    pub fn entity_for_good(self) -> &'static Entity<Self> {
        &self.0.entity
    }
    /// A thread of its own.
    pub fn new(key: usize, parameters: Parameters, affinity: CpuMask) -> Self {
        Self(Box::leak(Box::new(SimulatedThread { key, entity: Entity::new(parameters, affinity) })))
    }
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "thread {}", self.0.key)
    }
}

impl Member for Handle {
    fn entity(&self) -> &Entity<Self> {
        &self.0.entity
    }
}

/// Threads by number, for tests of one queue.
pub struct Threads(Vec<Handle>);

impl Threads {
    pub fn new(parameters: impl Iterator<Item = Parameters>) -> Self {
        Self(parameters.enumerate().map(|(key, parameters)| Handle::new(key, parameters, CpuMask::ALL)).collect())
    }
    pub fn get(&self, key: usize) -> Handle {
        self.0[key]
    }
}

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
    pub fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}
