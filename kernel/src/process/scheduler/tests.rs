//! A simulator that drives a [`Scheduler`] as `dispatch` does, and the properties that it checks.

use super::simulator::{Handle, Threads};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A simulated CPU: threads are numbered; each is asleep, ready or running.
struct Simulator {
    scheduler: Scheduler<Handle>,
    threads: Threads,
    awake: Vec<bool>,
    running: Option<usize>,
    /// For each thread, the tick at which it last ran through a whole tick, slept or was created.
    served: Vec<u64>,
    ticks_run: Vec<u64>,
}

const NOW: fn() -> Nanoseconds = || Nanoseconds(0);

fn levels((base, policy): (Priority, Policy)) -> Parameters {
    Parameters { base, policy, ..Parameters::default() }
}

impl Simulator {
    fn new(threads: &[(Priority, Policy)]) -> Self {
        let scheduler = Scheduler::new();
        let count = threads.len();
        Self {
            served: vec![scheduler.ticks(); count],
            scheduler,
            threads: Threads::new(threads.iter().copied().map(levels)),
            awake: vec![false; count],
            running: None,
            ticks_run: vec![0; count],
        }
    }

    fn now(&self) -> u64 {
        self.scheduler.ticks()
    }

    fn pick(&mut self) {
        match self.scheduler.pick(NOW) {
            Decision::Continue => assert!(self.running.is_some()),
            Decision::Run(thread) => {
                let thread = thread.key();
                assert!(self.awake[thread], "a sleeping thread was chosen");
                self.running = Some(thread);
            }
            Decision::Idle => {
                assert!(!self.awake.contains(&true), "a CPU idles while a thread is ready");
                self.running = None;
            }
        }
        self.check();
    }

    fn check(&self) {
        self.scheduler.validate();
        let current = self.scheduler.current().map(Handle::key);
        assert_eq!(current, self.running, "a thread is on the CPU exactly when it runs");
        let awake = self.awake.iter().filter(|awake| **awake).count();
        assert_eq!(self.scheduler.load() as usize, awake);
    }

    fn wake(&mut self, thread: usize) {
        if self.awake[thread] {
            return;
        }
        self.awake[thread] = true;
        self.served[thread] = self.now();
        if self.scheduler.wake(self.threads.get(thread), NOW) == Preempt::Yes {
            self.pick();
        }
        self.check();
    }

    fn sleep(&mut self) {
        if let Some(thread) = self.running.take() {
            self.awake[thread] = false;
            self.scheduler.block_current(NOW);
            self.pick();
        }
    }

    fn tick(&mut self) {
        let ran = self.running;
        let preempt = self.scheduler.tick(Limit::NONE, NOW);
        if let Some(thread) = ran {
            self.ticks_run[thread] += 1;
            self.served[thread] = self.now();
        }
        if preempt == Preempt::Yes {
            self.pick();
        }
    }

    fn set_levels(&mut self, thread: usize, base: Priority, policy: Policy) -> Preempt {
        self.scheduler.set_parameters(self.threads.get(thread), levels((base, policy)), NOW())
    }

    fn level(&self, thread: usize) -> Priority {
        self.threads.get(thread).entity().level()
    }
}

#[test]
fn slices_are_the_mission_s() {
    assert_eq!(Priority::ALL.map(Priority::slice), [1, 5, 10, 20, 50]);
}

#[test]
fn a_thread_that_burns_its_slice_sinks_and_one_that_sleeps_rises_to_its_base() {
    let mut cpu = Simulator::new(&[(Priority::High, Policy::Feedback), (Priority::Normal, Policy::Feedback)]);
    cpu.wake(0);
    for (ticks, level) in [(20, Priority::Normal), (10, Priority::Low), (5, Priority::Low)] {
        for _ in 0..ticks {
            cpu.tick();
        }
        assert_eq!(cpu.level(0), level);
    }
    for level in [Priority::Normal, Priority::High, Priority::High] {
        cpu.sleep();
        cpu.wake(0);
        assert_eq!(cpu.level(0), level);
    }
    cpu.wake(1);
    cpu.sleep();
    for _ in 0..3 {
        cpu.sleep();
        cpu.wake(1);
    }
    assert_eq!(cpu.level(1), Priority::Normal, "never above its base");
}

#[test]
fn inside_a_level_turns_are_taken() {
    let mut cpu = Simulator::new(&[(Priority::Realtime, Policy::RoundRobin); 3]);
    (0..3).for_each(|thread| cpu.wake(thread));
    let mut order = Vec::new();
    for _ in 0..300 {
        order.push(cpu.running.unwrap());
        cpu.tick();
    }
    order.dedup();
    let turns: Vec<_> = order.windows(3).filter(|turn| turn[0] == turn[1]).collect();
    assert!(turns.is_empty());
    assert!(cpu.ticks_run.iter().all(|ticks| (90..=110).contains(ticks)), "{:?}", cpu.ticks_run);
}

#[test]
fn a_better_thread_preempts_at_once_and_an_equal_one_does_not() {
    let mut cpu = Simulator::new(&[
        (Priority::Normal, Policy::Feedback),
        (Priority::Normal, Policy::Feedback),
        (Priority::High, Policy::Feedback),
        (Priority::Realtime, Policy::Fifo),
    ]);
    cpu.wake(0);
    cpu.wake(1);
    assert_eq!(cpu.running, Some(0));
    cpu.wake(2);
    assert_eq!(cpu.running, Some(2));
    cpu.wake(3);
    assert_eq!(cpu.running, Some(3));
    cpu.sleep();
    assert_eq!(cpu.running, Some(2), "the preempted thread kept its place in front");
    cpu.sleep();
    assert_eq!(cpu.running, Some(0));
}

#[test]
fn a_fifo_thread_runs_on_but_for_the_ticks_of_aging() {
    let mut cpu = Simulator::new(&[(Priority::Realtime, Policy::Fifo), (Priority::Idle, Policy::RoundRobin)]);
    cpu.wake(0);
    cpu.wake(1);
    for _ in 0..1000 {
        cpu.tick();
    }
    assert!(cpu.ticks_run[0] >= 950, "{:?}", cpu.ticks_run);
    assert!(cpu.ticks_run[1] >= 40, "{:?}", cpu.ticks_run);
}

#[test]
fn yielding_lets_the_others_of_the_level_run() {
    let mut cpu = Simulator::new(&[(Priority::Normal, Policy::Feedback); 2]);
    cpu.wake(0);
    cpu.wake(1);
    cpu.scheduler.yield_current();
    cpu.running = None;
    cpu.pick();
    assert_eq!(cpu.running, Some(1));
}

#[test]
fn yielding_alone_on_a_level_lets_one_from_below_run_until_the_next_tick() {
    let mut cpu = Simulator::new(&[(Priority::Normal, Policy::Feedback), (Priority::Low, Policy::Feedback)]);
    cpu.wake(0);
    cpu.wake(1);
    let give_way = |cpu: &mut Simulator| {
        cpu.scheduler.yield_current();
        cpu.running = None;
        cpu.pick();
        cpu.running
    };
    assert_eq!(give_way(&mut cpu), Some(1));
    assert_eq!(give_way(&mut cpu), Some(0), "the one above comes first again");
    assert_eq!(give_way(&mut cpu), Some(1));
    cpu.tick();
    assert_eq!(cpu.running, Some(0));
    // Neither idle threads nor a real-time thread's inferiors are let by.
    for levels in [
        [(Priority::Low, Policy::Feedback), (Priority::Idle, Policy::RoundRobin)],
        [(Priority::Realtime, Policy::Fifo), (Priority::Normal, Policy::Feedback)],
    ] {
        let mut cpu = Simulator::new(&levels);
        cpu.wake(0);
        cpu.wake(1);
        assert_eq!(give_way(&mut cpu), Some(0));
    }
}

#[test]
fn a_changed_priority_counts_at_once() {
    let mut cpu = Simulator::new(&[(Priority::Normal, Policy::Feedback); 2]);
    cpu.wake(0);
    cpu.wake(1);
    assert_eq!(cpu.set_levels(1, Priority::Realtime, Policy::Fifo), Preempt::Yes);
    cpu.pick();
    assert_eq!(cpu.running, Some(1));
    assert_eq!(cpu.set_levels(1, Priority::Idle, Policy::RoundRobin), Preempt::Yes);
    cpu.pick();
    assert_eq!(cpu.running, Some(0));
}

#[test]
fn parameters_lead_to_levels() {
    let with = |policy, niceness| {
        let levels = levels_of(&SchedulingParameters { policy, niceness, ..Default::default() });
        (levels.base, levels.policy)
    };
    assert_eq!(with(SCHED_OTHER, 0), (Priority::Normal, Policy::Feedback));
    assert_eq!(with(SCHED_OTHER, -10), (Priority::High, Policy::Feedback));
    assert_eq!(with(SCHED_BATCH, 10), (Priority::Low, Policy::Feedback));
    assert_eq!(with(SCHED_IDLE, -20), (Priority::Idle, Policy::RoundRobin));
    assert_eq!(with(SCHED_RR, 0), (Priority::Realtime, Policy::RoundRobin));
    assert_eq!(with(SCHED_FIFO, 0), (Priority::Realtime, Policy::Fifo));
}

fn any_thread() -> impl Strategy<Value = (Priority, Policy)> {
    (0usize..5, 0u8..3).prop_map(|(level, policy)| {
        let policy = match policy {
            0 => Policy::Feedback,
            1 => Policy::RoundRobin,
            _ => Policy::Fifo,
        };
        (Priority::from_index(level).unwrap(), policy)
    })
}

proptest! {
    /// Whatever happens, the invariants hold, and no ready thread waits for a whole tick of its own longer than the bound.
    #[test]
    fn nobody_starves(
        threads in prop::collection::vec(any_thread(), 1..12),
        events in prop::collection::vec((0u8..8, 0usize..12), 1..3000),
    ) {
        let count = threads.len();
        let mut cpu = Simulator::new(&threads);
        (0..count).for_each(|thread| cpu.wake(thread));
        let bound = (count as u64 + 1) * AGING_PERIOD;
        for (event, which) in events {
            match event {
                0 => cpu.sleep(),
                1 => cpu.wake(which % count),
                _ => cpu.tick(),
            }
            for thread in 0..count {
                if cpu.awake[thread] && cpu.running != Some(thread) {
                    let waited = cpu.now() - cpu.threads.get(thread).entity().ready_since.get();
                    prop_assert!(waited <= bound, "thread {} waited {} ticks, bound {}", thread, waited, bound);
                }
            }
        }
    }

    /// With hogs alone, everybody gets a whole tick within the bound: also those that better ones always preempt.
    #[test]
    fn every_hog_is_served(threads in prop::collection::vec(any_thread(), 1..10)) {
        let count = threads.len();
        let mut cpu = Simulator::new(&threads);
        (0..count).for_each(|thread| cpu.wake(thread));
        let bound = (count as u64 + 1) * AGING_PERIOD;
        let mut levels = BTreeMap::new();
        for _ in 0..20 * bound {
            cpu.tick();
            for (thread, description) in threads.iter().enumerate() {
                prop_assert!(cpu.now() - cpu.served[thread] <= bound + 1);
                levels.insert(thread, cpu.level(thread));
                prop_assert!(cpu.level(thread) <= description.0);
            }
        }
        prop_assert!(cpu.ticks_run.iter().all(|ticks| *ticks > 0));
    }
}

/// A thread that is lent a real-time priority displaces who would otherwise run, until it is taken back.
#[test]
fn what_is_lent_counts_at_once() {
    let mut simulator = Simulator::new(&[(Priority::Low, Policy::Feedback), (Priority::High, Policy::Feedback)]);
    simulator.wake(0);
    simulator.wake(1);
    assert_eq!(simulator.running, Some(1));
    let lender = SchedulingParameters { policy: SCHED_FIFO, realtime_priority: 3, ..SchedulingParameters::default() };
    let own = levels((Priority::Low, Policy::Feedback));
    let owner = simulator.threads.get(0);
    let lent = own.with_lent(Standing::of(&lender, 0));
    assert_eq!(simulator.scheduler.set_parameters(owner, lent, NOW()), Preempt::Yes);
    simulator.pick();
    assert_eq!(simulator.running, Some(0));
    assert_eq!(simulator.scheduler.set_parameters(owner, own, NOW()), Preempt::Yes);
    simulator.pick();
    assert_eq!((simulator.running, simulator.level(0)), (Some(1), Priority::Low));
}

/// A reservation that is lent an earlier deadline keeps the budget that it had: lending is no way to a fresh one.
#[test]
fn a_reservation_goes_on_where_it_was_when_nothing_is_lent_any_more() {
    let deadline = DeadlineParameters { runtime: 10, deadline: 100, period: 100, flags: 0 };
    let own = levels_of(&SchedulingParameters { policy: SCHED_DEADLINE, deadline, ..SchedulingParameters::default() });
    let threads = Threads::new([own].into_iter());
    let mut scheduler = Scheduler::new();
    let member = threads.get(0);
    let at = |time| move || Nanoseconds(time);
    let _ = scheduler.wake(member, at(1000));
    assert!(matches!(scheduler.pick(at(1000)), Decision::Run(_)));
    let urgency = member.entity().reserved_urgency();
    // Seven of ten are used when it is lent something, and what it runs then is not charged.
    let lent = own.with_lent(Standing::from_bits(u64::MAX));
    let _ = scheduler.set_parameters(member, lent, Nanoseconds(1007));
    assert_eq!(member.entity().reservation.get().left(), 3);
    let _ = scheduler.set_parameters(member, own, Nanoseconds(1020));
    assert_eq!((member.entity().reservation.get().left(), member.entity().reserved_urgency()), (3, urgency));
    assert_eq!(scheduler.next_event(), Some(Nanoseconds(1023)));
    // Other terms begin anew.
    let other = DeadlineParameters { runtime: 20, ..deadline };
    let other =
        levels_of(&SchedulingParameters { policy: SCHED_DEADLINE, deadline: other, ..SchedulingParameters::default() });
    let _ = scheduler.set_parameters(member, other, Nanoseconds(1021));
    assert_eq!(member.entity().reservation.get().left(), 20);
}
