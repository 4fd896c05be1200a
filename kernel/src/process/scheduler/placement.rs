//! Several CPUs: where a thread wakes up, whom an idle CPU helps, and when a busy one takes over work.
//!
//! Everything here decides; nothing is changed. What it goes by is a [`Topology`] and hints about each CPU ([`View`]) that may be a
//! moment old: dispatch looks again under the locks.
//!
//! # Rules
//! - **Waking** ([`place`]): the waker's CPU, when the waker is about to sleep and has nothing else to run; the thread's last CPU if it
//!   idles; the nearest idle one (one that shares a cache, then the node, then by distance); for a real-time thread one whose running
//!   thread it displaces; else its last one.
//! - **Helping** ([`Topology::nearest_first`]): a CPU that runs out of work takes the longest-waiting thread that it may from the nearest CPU
//!   that has one.
//! - **Balance** ([`busier`]): every [`BALANCE_PERIOD`] ticks a CPU takes one thread from one that has at least two more.
//!
//! Affinity comes before everything: no rule gives a CPU that the thread may not use.

use super::Priority;
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS};

/// Ticks between two looks at whether others have more to do.
pub const BALANCE_PERIOD: u64 = 10;

/// How many distances are told apart: those that share a cache, a node, and six for other nodes, the last for all that are further.
const RINGS: usize = 8;

/// The others as one CPU sees them, the nearest ring first; each CPU stands in one ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Neighbours {
    rings: [CpuMask; RINGS],
}

/// Which CPUs are near which.
#[derive(Clone, Debug)]
pub struct Topology {
    cpus: [Neighbours; MAXIMUM_CPUS],
}

/// Where a CPU stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The last-level cache that it shares with those of the same number.
    pub cache: u32,
    /// Its node.
    pub node: u32,
}

impl Topology {
    /// All CPUs equally near to each other.
    pub const FLAT: Self = {
        let mut rings = [CpuMask::EMPTY; RINGS];
        rings[0] = CpuMask::ALL;
        Self { cpus: [Neighbours { rings }; MAXIMUM_CPUS] }
    };

    /// The topology of the CPUs whose positions are given, CPU 0's first. `distance` is the one of the firmware between two nodes.
    #[must_use]
    pub fn new(positions: &[Position], distance: impl Fn(u32, u32) -> u8) -> Self {
        let mut topology = Self { cpus: [Neighbours { rings: [CpuMask::EMPTY; RINGS] }; MAXIMUM_CPUS] };
        for (own, neighbours) in positions.iter().zip(&mut topology.cpus) {
            // Rising distances of other nodes: the ring of each is its place among them.
            let mut distances = [0u8; RINGS - 2];
            let mut count = 0;
            loop {
                let last = if count == 0 { None } else { distances.get(count - 1).copied() };
                let further = positions
                    .iter()
                    .filter(|other| other.node != own.node)
                    .map(|other| distance(own.node, other.node))
                    .filter(|distance| last.is_none_or(|last| *distance > last))
                    .min();
                let (Some(further), Some(slot)) = (further, distances.get_mut(count)) else { break };
                *slot = further;
                count += 1;
            }
            for (cpu, other) in (0..).map(CpuId).zip(positions) {
                let ring = if other.node != own.node {
                    let place = distances.iter().take(count).position(|step| *step >= distance(own.node, other.node));
                    2 + place.unwrap_or(RINGS - 3)
                } else if other.cache == own.cache {
                    0
                } else {
                    1
                };
                if let Some(ring) = neighbours.rings.get_mut(ring) {
                    ring.insert(cpu);
                }
            }
        }
        topology
    }

    /// The CPUs of `set` without `from` itself, the nearest to it first; of equally near ones those that follow it in number, so that not
    /// all ask the same one.
    pub fn nearest_first(&self, from: CpuId, set: CpuMask) -> impl Iterator<Item = CpuId> + '_ {
        let rings = self.cpus.get(from.0 as usize).map_or(&[][..], |neighbours| &neighbours.rings[..]);
        let below = CpuMask::first_cpus(from.0 as usize);
        rings.iter().flat_map(move |ring| {
            let ring = ring.intersection(set).without(from);
            ring.difference(below).iter().chain(ring.intersection(below).iter())
        })
    }

    /// The nearest of `set` to `from`, itself included.
    #[must_use]
    pub fn nearest(&self, from: CpuId, set: CpuMask) -> Option<CpuId> {
        if set.contains(from) { Some(from) } else { self.nearest_first(from, set).next() }
    }
}

/// What one CPU knows of the others: hints.
pub trait View {
    /// The CPUs that run threads.
    fn online(&self) -> CpuMask;
    /// Those of them that have nothing to run.
    fn idle(&self) -> CpuMask;
    /// How many threads are ready or running on a CPU.
    fn load(&self, cpu: CpuId) -> u32;
    /// The level that it runs, `None` when it idles.
    fn running_level(&self, cpu: CpuId) -> Option<Priority>;
}

/// What the waker does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waker {
    /// Something, or it is an interrupt.
    GoesOn,
    /// It runs on this CPU and is about to sleep: it has handed over what the thread waited for.
    AboutToSleep(CpuId),
}

/// The CPUs of `affinity` that run, or all that run where none of them does.
#[must_use]
#[inline]
pub fn permitted(affinity: CpuMask, online: CpuMask) -> CpuMask {
    let both = affinity.intersection(online);
    if both.is_empty() { online } else { both }
}

/// Where a thread of level `level` goes that becomes ready and was last on `previous`.
#[inline]
pub fn place(
    topology: &Topology,
    view: &impl View,
    affinity: CpuMask,
    level: Priority,
    previous: CpuId,
    waker: Waker,
) -> CpuId {
    let online = view.online();
    let permitted = permitted(affinity, online);
    if let Waker::AboutToSleep(cpu) = waker
        && permitted.contains(cpu)
        && view.load(cpu) <= 1
    {
        return cpu;
    }
    let idle = permitted.intersection(view.idle());
    if let Some(cpu) = topology.nearest(previous, idle) {
        return cpu;
    }
    place_among_busy(topology, view, permitted, level, previous)
}

/// The same where no permitted CPU idles.
fn place_among_busy(
    topology: &Topology,
    view: &impl View,
    permitted: CpuMask,
    level: Priority,
    previous: CpuId,
) -> CpuId {
    let may_stay = permitted.contains(previous);
    if level == Priority::Realtime && view.running_level(previous) >= Some(level) {
        // It would wait for another real-time thread: one that runs something lower serves it at once.
        let lower = topology.nearest_first(previous, permitted).filter(|cpu| view.running_level(*cpu) < Some(level));
        if let Some(cpu) = lower.min_by_key(|cpu| view.running_level(*cpu)) {
            return cpu;
        }
    }
    if may_stay {
        return previous;
    }
    topology.nearest_first(previous, permitted).min_by_key(|cpu| view.load(*cpu)).unwrap_or(previous)
}

/// Where a new thread goes: as [`place`], but where nobody idles to the CPU that has least to do, the nearest of those, for it has nothing
/// in any cache.
pub fn place_new(topology: &Topology, view: &impl View, affinity: CpuMask, parent: CpuId) -> CpuId {
    let permitted = permitted(affinity, view.online());
    if let Some(cpu) = topology.nearest(parent, permitted.intersection(view.idle())) {
        return cpu;
    }
    let own = core::iter::once(parent).filter(|cpu| permitted.contains(*cpu));
    own.chain(topology.nearest_first(parent, permitted)).min_by_key(|cpu| view.load(*cpu)).unwrap_or(parent)
}

/// The CPU from which `cpu`, with `load` threads, is to take one: the busiest of those that have at least two more, the nearest of these.
#[must_use]
pub fn busier(topology: &Topology, view: &impl View, cpu: CpuId, load: u32) -> Option<CpuId> {
    let mut found = None;
    let mut most = load + 1;
    for other in topology.nearest_first(cpu, view.online()) {
        let load = view.load(other);
        if load > most {
            (found, most) = (Some(other), load);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Loads(Vec<u32>);

    impl View for Loads {
        fn online(&self) -> CpuMask {
            CpuMask::first_cpus(self.0.len())
        }
        fn idle(&self) -> CpuMask {
            (0..).map(CpuId).zip(&self.0).filter(|(_, load)| **load == 0).map(|(cpu, _)| cpu).collect()
        }
        fn load(&self, cpu: CpuId) -> u32 {
            self.0[cpu.0 as usize]
        }
        fn running_level(&self, cpu: CpuId) -> Option<Priority> {
            (self.0[cpu.0 as usize] > 0).then_some(Priority::Normal)
        }
    }

    /// Two nodes of two caches of two CPUs each.
    fn eight() -> Topology {
        let positions: Vec<_> = (0..8).map(|cpu| Position { cache: cpu / 2, node: cpu / 4 }).collect();
        Topology::new(&positions, |one, other| if one == other { 10 } else { 20 })
    }

    fn numbers(cpus: impl Iterator<Item = CpuId>) -> Vec<u32> {
        cpus.map(|cpu| cpu.0).collect()
    }

    #[test]
    fn the_nearest_come_first() {
        assert_eq!(numbers(eight().nearest_first(CpuId(2), CpuMask::ALL)), [3, 0, 1, 4, 5, 6, 7]);
        assert_eq!(numbers(eight().nearest_first(CpuId(5), CpuMask::ALL)), [4, 6, 7, 0, 1, 2, 3]);
        assert_eq!(numbers(Topology::FLAT.nearest_first(CpuId(1), CpuMask::first_cpus(4))), [2, 3, 0]);
    }

    #[test]
    fn far_nodes_come_by_their_distance() {
        let positions: Vec<_> = (0..4).map(|cpu| Position { cache: cpu, node: cpu }).collect();
        let distances = [[10, 40, 20, 30], [40, 10, 20, 20], [20, 20, 10, 20], [30, 20, 20, 10]];
        let topology = Topology::new(&positions, |one, other| distances[one as usize][other as usize]);
        assert_eq!(numbers(topology.nearest_first(CpuId(0), CpuMask::ALL)), [2, 3, 1]);
    }

    #[test]
    fn a_thread_wakes_on_its_last_cpu_or_an_idle_one_near_it() {
        let topology = eight();
        let place = |loads: [u32; 8], affinity: u64, waker| {
            let view = Loads(loads.to_vec());
            place(&topology, &view, CpuMask::from_bits(affinity), Priority::Normal, CpuId(2), waker).0
        };
        let all = u64::MAX;
        assert_eq!(place([0, 0, 0, 0, 0, 0, 0, 0], all, Waker::GoesOn), 2);
        assert_eq!(place([0, 0, 1, 0, 0, 0, 0, 0], all, Waker::GoesOn), 3);
        assert_eq!(place([1, 1, 1, 1, 1, 1, 0, 0], all, Waker::GoesOn), 6);
        assert_eq!(place([1, 1, 1, 1, 1, 1, 1, 1], all, Waker::GoesOn), 2);
        assert_eq!(
            place([1, 2, 1, 1, 1, 1, 1, 1], 0b1000_0010, Waker::GoesOn),
            7,
            "the less loaded of those permitted"
        );
        assert_eq!(place([0, 0, 0, 0, 0, 0, 0, 0], 1 << 40, Waker::GoesOn), 2, "none of its CPUs runs");
        assert_eq!(place([0, 0, 0, 0, 0, 0, 1, 0], all, Waker::AboutToSleep(CpuId(6))), 6);
        assert_eq!(place([0, 0, 0, 0, 0, 0, 2, 0], all, Waker::AboutToSleep(CpuId(6))), 2);
        assert_eq!(place([0, 0, 0, 0, 0, 0, 1, 0], 0b1, Waker::AboutToSleep(CpuId(6))), 0);
    }

    #[test]
    fn a_real_time_thread_goes_where_it_runs_at_once() {
        struct Levels;
        impl View for Levels {
            fn online(&self) -> CpuMask {
                CpuMask::first_cpus(3)
            }
            fn idle(&self) -> CpuMask {
                CpuMask::EMPTY
            }
            fn load(&self, _cpu: CpuId) -> u32 {
                1
            }
            fn running_level(&self, cpu: CpuId) -> Option<Priority> {
                Some([Priority::Realtime, Priority::Normal, Priority::Low][cpu.0 as usize])
            }
        }
        let place = |level| place(&Topology::FLAT, &Levels, CpuMask::ALL, level, CpuId(0), Waker::GoesOn).0;
        assert_eq!((place(Priority::Realtime), place(Priority::Normal)), (2, 0));
    }

    #[test]
    fn only_a_difference_of_two_is_worth_a_move() {
        let topology = eight();
        let busier = |loads: [u32; 4]| busier(&topology, &Loads(loads.to_vec()), CpuId(0), loads[0]).map(|cpu| cpu.0);
        assert_eq!(busier([1, 2, 2, 2]), None);
        assert_eq!(busier([1, 2, 3, 3]), Some(2));
        assert_eq!(busier([0, 2, 9, 2]), Some(2));
    }

    #[test]
    fn a_new_thread_goes_to_who_has_least_to_do() {
        let place = |loads: [u32; 4]| place_new(&eight(), &Loads(loads.to_vec()), CpuMask::ALL, CpuId(1)).0;
        assert_eq!(place([2, 1, 0, 0]), 2);
        assert_eq!(place([2, 1, 1, 1]), 1);
        assert_eq!(place([1, 2, 1, 1]), 0);
    }
}
