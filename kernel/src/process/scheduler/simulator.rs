//! A machine of up to 64 CPUs that is not there: it drives a [`Scheduler`] for each as `dispatch` does, with interrupts that arrive when
//! they like, and checks the invariants after every step.
//!
//! What is checked (`simulator/check.rs`):
//! - a thread is on one CPU at a time, running or on one list, and only on one that it may use;
//! - nobody waits beside an idle CPU that it may use, unless that CPU's interrupt is under way or its waker is about to sleep;
//! - nobody waits longer than the starvation bound;
//! - the schedulers' own invariants.
//!
//! Loads stand in `simulator/loads.rs`: random ones from a seed, which is printed when a check fails, and recorded ones.

mod check;
mod loads;
mod offline;
mod reservations;
mod threads;

pub use threads::{Handle, Random, Threads};

use super::placement::{self, BALANCE_PERIOD, Topology, View, Waker};
use super::*;
use crate::base::{CpuId, CpuMask};

/// What a simulated thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Asleep,
    /// Ready, with what the starvation bound is made of: the most threads that its CPU had, and how many came in from elsewhere.
    Ready {
        most: u64,
        came_in: u64,
    },
    Running(CpuId),
    Ended,
}

/// One simulated thread's record.
#[derive(Debug)]
struct Record {
    handle: Handle,
    state: State,
    /// Ticks it has run.
    ran: u64,
    /// Nanoseconds it has run.
    ran_for: u64,
    /// Its waker said that it is about to sleep.
    handed_over: bool,
}

struct Cpu {
    scheduler: Scheduler<Handle>,
    running: Option<usize>,
    /// A reschedule interrupt is under way.
    interrupted: bool,
    /// It idled, and was asked to come for a thread that waits.
    asked: bool,
    ticks_idle: u64,
}

/// The machine.
pub struct Machine {
    topology: Topology,
    cpus: Vec<Cpu>,
    threads: Vec<Record>,
    idle: CpuMask,
    online: CpuMask,
    now: Nanoseconds,
    limit: Limit,
    moves: u64,
}

impl View for Machine {
    fn online(&self) -> CpuMask {
        self.online
    }
    fn idle(&self) -> CpuMask {
        self.idle
    }
    fn load(&self, cpu: CpuId) -> u32 {
        self.cpus[cpu.0 as usize].scheduler.load()
    }
    fn running_level(&self, cpu: CpuId) -> Option<Priority> {
        self.cpus[cpu.0 as usize].scheduler.running_level()
    }
}

impl Machine {
    /// A machine whose CPUs share a cache in pairs and a node in fours.
    pub fn new(cpus: usize) -> Self {
        let positions: Vec<_> =
            (0..cpus as u32).map(|cpu| placement::Position { cache: cpu / 2, node: cpu / 4 }).collect();
        let topology = Topology::new(&positions, |one, other| 10 + 10 * one.abs_diff(other).min(20) as u8);
        let cpus = positions.iter().map(|_| Cpu {
            scheduler: Scheduler::new(),
            running: None,
            interrupted: false,
            asked: false,
            ticks_idle: 0,
        });
        let cpus: Vec<_> = cpus.collect();
        let online = CpuMask::first_cpus(cpus.len());
        Self {
            topology,
            cpus,
            threads: Vec::new(),
            idle: online,
            online,
            now: Nanoseconds(1),
            limit: Limit::NONE,
            moves: 0,
        }
    }

    fn cpu(&mut self, cpu: CpuId) -> &mut Cpu {
        &mut self.cpus[cpu.0 as usize]
    }
    fn all_cpus(&self) -> impl Iterator<Item = CpuId> + use<> {
        (0..self.cpus.len() as u32).map(CpuId)
    }
    fn entity(&self, key: usize) -> &'static Entity<Handle> {
        self.threads[key].handle.entity_for_good()
    }

    /// A thread is made by one that runs on `parent`, and is ready.
    pub fn fork(&mut self, parent: CpuId, parameters: Parameters, affinity: CpuMask) -> usize {
        let key = self.threads.len();
        let handle = Handle::new(key, parameters, affinity);
        self.threads.push(Record { handle, state: State::Asleep, ran: 0, ran_for: 0, handed_over: false });
        let target = placement::place_new(&self.topology, self, affinity, parent);
        self.make_ready(key, target);
        key
    }

    /// A sleeping thread is woken.
    pub fn wake(&mut self, key: usize, waker: Waker) {
        if self.threads[key].state != State::Asleep {
            return;
        }
        let entity = self.entity(key);
        let target = placement::place(
            &self.topology,
            self,
            entity.affinity(),
            entity.level_for_placement(),
            entity.cpu(),
            waker,
        );
        self.threads[key].handed_over = matches!(waker, Waker::AboutToSleep(cpu) if cpu == target);
        self.make_ready(key, target);
    }

    fn make_ready(&mut self, key: usize, target: CpuId) {
        let (handle, now) = (self.threads[key].handle, self.now);
        self.release_stranded(handle);
        handle.entity().set_cpu(target);
        let preempt = self.cpu(target).scheduler.wake(handle, || now);
        let most = u64::from(self.load(target));
        self.threads[key].state = State::Ready { most, came_in: 0 };
        self.arrived(key, target, preempt);
    }

    /// Something was put on `target`'s queue.
    fn arrived(&mut self, key: usize, target: CpuId, preempt: Preempt) {
        if preempt == Preempt::Yes {
            self.cpu(target).interrupted = true;
        }
        if self.idle.contains(target) {
            self.idle.remove(target);
        } else if !self.threads[key].handed_over {
            self.offer(key);
        }
    }

    /// A thread has begun to wait: an idle CPU that it may use is asked to come for it.
    fn offer(&mut self, key: usize) {
        let entity = self.entity(key);
        if !matches!(entity.place(), Place::Level(_)) {
            return;
        }
        let idle = entity.allowed().intersection(self.idle);
        if let Some(cpu) = self.topology.nearest(entity.cpu(), idle) {
            self.idle.remove(cpu);
            self.cpu(cpu).interrupted = true;
            self.cpu(cpu).asked = true;
        }
    }

    /// A CPU that idled begins to run. Was it asked to come for a thread, or do others wait on its own queue, then it asks the next idle one
    /// for whoever still waits.
    fn pass_on(&mut self, cpu: CpuId) {
        if !core::mem::take(&mut self.cpu(cpu).asked) && self.cpu(cpu).scheduler.waiting() == 0 {
            return;
        }
        for other in self.online {
            if self.idle.is_empty() {
                return;
            }
            let idle = self.idle;
            let mut waiting = self.cpu(other).scheduler.waiting_threads();
            if let Some(handle) = waiting.find(|handle| !handle.entity().allowed().intersection(idle).is_empty()) {
                self.offer(handle.key());
                return;
            }
        }
    }

    /// The interrupt arrives, or the CPU passes a point where it may be preempted.
    pub fn deliver(&mut self, cpu: CpuId) {
        if !core::mem::take(&mut self.cpu(cpu).interrupted) {
            return;
        }
        self.reschedule(cpu);
    }

    fn reschedule(&mut self, cpu: CpuId) {
        let now = self.now;
        let previous = self.cpu(cpu).running;
        let decision = self.cpu(cpu).scheduler.pick(|| now);
        match decision {
            Decision::Continue => {
                assert!(previous.is_some());
                return;
            }
            Decision::Run(handle) => {
                let key = handle.key();
                assert!(matches!(self.threads[key].state, State::Ready { .. }), "{handle:?} is not ready");
                self.leave(cpu, previous);
                self.threads[key].state = State::Running(cpu);
                self.threads[key].handed_over = false;
                self.cpu(cpu).running = Some(key);
                self.idle.remove(cpu);
                if previous.is_none() {
                    self.pass_on(cpu);
                }
            }
            Decision::Idle => {
                self.leave(cpu, previous);
                self.cpu(cpu).running = None;
            }
        }
        self.send_on(cpu);
        if let Some(previous) = previous {
            self.offer(previous);
        }
        if decision == Decision::Idle {
            self.run_idle(cpu);
        }
    }

    /// The thread that ran is ready, unless it has been said to be something else.
    fn leave(&mut self, cpu: CpuId, previous: Option<usize>) {
        let most = u64::from(self.load(cpu)) + 1;
        if let Some(record) = previous.and_then(|key| self.threads.get_mut(key))
            && matches!(record.state, State::Running(_))
        {
            record.state = State::Ready { most, came_in: 0 };
        }
    }

    /// A thread that was expelled has been left: it goes where it may run.
    fn send_on(&mut self, cpu: CpuId) {
        let Some(handle) = self.cpu(cpu).scheduler.take_departing() else { return };
        let entity = handle.entity();
        let target = placement::place_new(&self.topology, self, entity.affinity(), cpu);
        self.hand_to(handle, target, Waited::default());
    }

    fn hand_to(&mut self, handle: Handle, target: CpuId, waited: Waited) {
        self.release_stranded(handle);
        handle.entity().set_cpu(target);
        let now = self.now;
        for (key, record) in self.threads.iter_mut().enumerate() {
            if key != handle.key()
                && record.handle.entity().cpu() == target
                && let State::Ready { came_in, .. } = &mut record.state
            {
                *came_in += 1;
            }
        }
        self.moves += 1;
        let preempt = self.cpu(target).scheduler.attach(handle, waited, now);
        self.arrived(handle.key(), target, preempt);
    }

    fn run_idle(&mut self, cpu: CpuId) {
        if !self.online.contains(cpu) {
            return;
        }
        self.idle.insert(cpu);
        self.cpu(cpu).asked = false;
        let others: Vec<_> = self.topology.nearest_first(cpu, self.online).collect();
        for other in others {
            if let Some(handle) = self.cpu(other).scheduler.candidate_for(cpu) {
                let waited = self.cpu(other).scheduler.detach(handle);
                self.hand_to(handle, cpu, waited);
                return;
            }
        }
    }

    /// The thread that runs on `cpu` sleeps.
    pub fn sleep(&mut self, cpu: CpuId) {
        self.stop(cpu, State::Asleep);
    }

    /// It ends.
    pub fn exit(&mut self, cpu: CpuId) {
        self.stop(cpu, State::Ended);
    }

    fn stop(&mut self, cpu: CpuId, state: State) {
        let Some(key) = self.cpu(cpu).running else { return };
        let now = self.now;
        self.threads[key].state = state;
        self.cpu(cpu).scheduler.block_current(|| now);
        self.cpu(cpu).interrupted = false;
        self.reschedule(cpu);
    }

    /// It gives way.
    pub fn give_way(&mut self, cpu: CpuId) {
        if self.cpu(cpu).running.is_some() {
            self.cpu(cpu).scheduler.yield_current();
            if let Some(key) = self.cpu(cpu).running {
                let most = u64::from(self.load(cpu)) + 1;
                self.threads[key].state = State::Ready { most, came_in: 0 };
            }
            // `pick` does not know that it ran: it may choose it again.
            let previous = self.cpu(cpu).running.take();
            self.reschedule(cpu);
            if let Some(previous) = previous {
                self.offer(previous);
            }
        }
    }

    /// The CPUs that a thread may use change.
    pub fn set_affinity(&mut self, key: usize, affinity: CpuMask) {
        if affinity.intersection(self.online).is_empty() {
            return;
        }
        let entity = self.entity(key);
        entity.set_affinity(affinity);
        let cpu = entity.cpu();
        let may_stay = placement::permitted(affinity, self.online).contains(cpu);
        match self.threads[key].state {
            State::Running(_) if may_stay => self.cpu(cpu).scheduler.keep_current(),
            State::Running(_) => {
                self.cpu(cpu).scheduler.expel_current();
                self.cpu(cpu).interrupted = true;
            }
            State::Ready { .. } if may_stay => self.offer(key),
            State::Ready { .. } => {
                let handle = self.threads[key].handle;
                let waited = self.cpu(cpu).scheduler.detach(handle);
                let target = placement::place_new(&self.topology, self, affinity, cpu);
                self.hand_to(handle, target, waited);
            }
            State::Asleep | State::Ended => {}
        }
    }

    /// A thread's policy or niceness changes.
    pub fn set_parameters(&mut self, key: usize, parameters: Parameters) {
        let (handle, now) = (self.threads[key].handle, self.now);
        let cpu = handle.entity().cpu();
        let preempt = self.cpu(cpu).scheduler.set_parameters(handle, parameters, now);
        if preempt == Preempt::Yes {
            self.cpu(cpu).interrupted = true;
        }
        self.offer(key);
    }

    /// A tick of every CPU, one after the other.
    pub fn tick(&mut self) {
        self.now = Nanoseconds(self.now.0 + Nanoseconds::TICK.0);
        for cpu in self.all_cpus() {
            self.tick_on(cpu);
        }
    }

    fn tick_on(&mut self, cpu: CpuId) {
        let (now, limit) = (self.now, self.limit);
        match self.cpu(cpu).running {
            Some(key) => self.threads[key].ran += 1,
            // An idle CPU has no ticks.
            None => {
                self.cpu(cpu).ticks_idle += 1;
                return;
            }
        }
        if self.cpu(cpu).scheduler.tick(limit, || now) == Preempt::Yes {
            self.cpu(cpu).interrupted = true;
        }
        self.balance(cpu);
        for handle in self.cpu(cpu).scheduler.waiting_threads().collect::<Vec<_>>() {
            self.threads[handle.key()].handed_over = false;
            self.offer(handle.key());
        }
    }

    fn balance(&mut self, cpu: CpuId) {
        if !self.cpu(cpu).scheduler.ticks().is_multiple_of(BALANCE_PERIOD) {
            return;
        }
        let load = self.load(cpu);
        if let Some(other) = placement::busier(&self.topology, self, cpu, load)
            && let Some(handle) = self.cpu(other).scheduler.candidate_for(cpu)
        {
            let waited = self.cpu(other).scheduler.detach(handle);
            self.hand_to(handle, cpu, waited);
        }
    }

    /// Time passes; budgets end and are renewed.
    pub fn advance(&mut self, time: Nanoseconds) {
        self.now = Nanoseconds(self.now.0 + time.0);
        let now = self.now;
        for cpu in self.all_cpus() {
            if let Some(key) = self.cpu(cpu).running {
                self.threads[key].ran_for += time.0;
            }
            if self.cpu(cpu).scheduler.next_event().is_some_and(|event| event <= now)
                && self.cpu(cpu).scheduler.advance(now) == Preempt::Yes
            {
                self.idle.remove(cpu);
                self.cpu(cpu).interrupted = true;
            }
        }
    }

    /// All interrupts arrive, and those that follow from them.
    pub fn settle(&mut self) {
        while let Some(cpu) = self.all_cpus().find(|cpu| self.cpus[cpu.0 as usize].interrupted) {
            self.deliver(cpu);
        }
    }
}
