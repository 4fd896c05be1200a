//! The graph against a model that works everything out anew after each operation.

use super::*;
use crate::process::scheduler::{SCHED_FIFO, SchedulingParameters};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Thread = u64;
type Name = u32;

fn realtime(priority: u8) -> Standing {
    let parameters =
        SchedulingParameters { policy: SCHED_FIFO, realtime_priority: priority, ..SchedulingParameters::default() };
    Standing::of(&parameters, 0)
}

fn fair(niceness: i8) -> Standing {
    Standing::of(&SchedulingParameters { niceness, ..SchedulingParameters::default() }, 0)
}

/// The graph, and what it has lent last.
#[derive(Default)]
struct Subject {
    graph: Graph<Name, Thread>,
    own: BTreeMap<Thread, Standing>,
    lent: BTreeMap<Thread, Standing>,
}

/// Keeps what was lent last.
fn note(lent: &mut BTreeMap<Thread, Standing>) -> impl FnMut(&Thread, Standing) {
    |thread, standing| {
        lent.insert(*thread, standing);
    }
}

impl Subject {
    fn with_own(own: impl IntoIterator<Item = Standing>) -> Self {
        Self { own: own.into_iter().enumerate().map(|(thread, own)| (thread as u64, own)).collect(), ..Self::default() }
    }

    fn party(&self, thread: Thread) -> Party<Thread> {
        Party { identity: thread, handle: thread, own: self.own[&thread] }
    }

    fn wait(&mut self, lock: Name, holder: Thread, waiter: Thread) -> Result<(), Refusal> {
        let (holder, waiter) = (self.party(holder), self.party(waiter));
        self.graph.wait(lock, holder, waiter, &mut note(&mut self.lent))
    }

    fn leave(&mut self, thread: Thread) -> bool {
        self.graph.leave(thread, &mut note(&mut self.lent))
    }

    fn hand_over(&mut self, lock: Name, handing: Handing) -> Option<Thread> {
        self.graph.hand_over(&lock, handing, &mut note(&mut self.lent))
    }

    fn seize(&mut self, lock: Name, holder: Thread) {
        let holder = self.party(holder);
        assert!(self.graph.seize(&lock, holder, &mut note(&mut self.lent)));
    }

    fn set_own(&mut self, thread: Thread, own: Standing) {
        self.own.insert(thread, own);
        self.graph.set_own(thread, own, &mut note(&mut self.lent));
    }

    fn lent(&self, thread: Thread) -> Standing {
        self.lent.get(&thread).copied().unwrap_or_default()
    }
}

#[test]
fn a_holder_stands_as_high_as_who_waits_through_others() {
    let mut subject = Subject::with_own([fair(0), fair(5), realtime(10), realtime(3)]);
    assert_eq!(subject.wait(1, 0, 1), Ok(()));
    assert_eq!(subject.lent(0), Standing::NOTHING, "who waits stands lower");
    assert_eq!(subject.wait(2, 1, 2), Ok(()));
    assert_eq!((subject.lent(0), subject.lent(1)), (realtime(10), realtime(10)));
    assert_eq!(subject.wait(2, 1, 3), Ok(()));
    assert!(subject.leave(2), "a time-out, say");
    assert_eq!((subject.lent(0), subject.lent(1)), (realtime(3), realtime(3)));
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(1));
    assert_eq!((subject.lent(0), subject.lent(1)), (Standing::NOTHING, realtime(3)));
    assert_eq!(subject.hand_over(2, Handing::Settled), Some(3));
    assert_eq!(subject.lent(1), Standing::NOTHING);
    assert_eq!((subject.graph.lock_count(), subject.graph.threads.len()), (0, 0), "nothing is left");
}

#[test]
fn who_takes_a_lock_before_its_turn_is_lent_what_those_stand_for_that_wait() {
    let mut subject = Subject::with_own([fair(0), realtime(20), realtime(10), fair(5)]);
    subject.seize(1, 3);
    assert_eq!(subject.lent(3), Standing::NOTHING, "nobody waits for it");
    assert_eq!((subject.wait(1, 0, 1), subject.wait(1, 0, 2)), (Ok(()), Ok(())));
    assert_eq!(subject.lent(0), realtime(20));
    // The holder lets go, and a third takes it before the first waiter comes.
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(1));
    assert_eq!(subject.lent(0), Standing::NOTHING);
    subject.graph.validate();
    subject.seize(1, 3);
    assert_eq!((subject.lent(3), subject.lent(1)), (realtime(10), Standing::NOTHING));
    subject.graph.validate();
    assert_eq!(subject.wait(1, 3, 1), Ok(()));
    assert_eq!(subject.lent(3), realtime(20));
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(1));
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(2));
    assert_eq!(subject.graph.lock_count(), 0);
}

/// Low holds one of the kernel's locks, which a thread waits for that holds a futex; medium would keep low from running for good, and high wants the futex.
#[test]
fn an_inversion_through_locks_of_both_kinds_ends() {
    use crate::base::{CpuMask, Nanoseconds};
    use crate::process::scheduler::simulator::Handle;
    use crate::process::scheduler::{Decision, Scheduler, levels_of};
    let fifo = |priority| SchedulingParameters {
        policy: SCHED_FIFO,
        realtime_priority: priority,
        ..SchedulingParameters::default()
    };
    let parameters = [SchedulingParameters::default(), SchedulingParameters::default(), fifo(10), fifo(20)];
    let threads: Vec<Handle> = (0..4).map(|key| Handle::new(key, levels_of(&parameters[key]), CpuMask::ALL)).collect();
    let [low, between, medium, high] = [0, 1, 2, 3];
    let mut scheduler = Scheduler::new();
    let clock = || Nanoseconds(0);
    let runs = |scheduler: &mut Scheduler<Handle>| match scheduler.pick(clock) {
        Decision::Run(thread) => thread.key(),
        Decision::Continue => scheduler.current().unwrap().key(),
        Decision::Idle => usize::MAX,
    };
    let mut subject = Subject::with_own(parameters.iter().map(|parameters| Standing::of(parameters, 0)));
    // Low has been preempted with its lock, between waits for it.
    scheduler.wake(threads[low], clock);
    assert_eq!(runs(&mut scheduler), low);
    subject.wait(1, low as u64, between as u64).unwrap();
    scheduler.wake(threads[medium], clock);
    assert_eq!(runs(&mut scheduler), medium);
    scheduler.wake(threads[high], clock);
    assert_eq!(runs(&mut scheduler), high);
    // High blocks on the futex: what it lends goes along the chain.
    subject.wait(2, between as u64, high as u64).unwrap();
    scheduler.block_current(clock);
    let lent = |subject: &Subject, thread: usize| levels_of(&parameters[thread]).with_lent(subject.lent(thread as u64));
    scheduler.set_parameters(threads[low], lent(&subject, low), Nanoseconds(0));
    scheduler.set_parameters(threads[between], lent(&subject, between), Nanoseconds(0));
    assert_eq!(runs(&mut scheduler), low, "before medium");
    // It lets go: between has the lock, and goes on at once.
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(between as u64));
    scheduler.set_parameters(threads[low], lent(&subject, low), Nanoseconds(0));
    scheduler.wake(threads[between], clock);
    assert_eq!(runs(&mut scheduler), between);
    // And the futex, to high.
    assert_eq!(subject.hand_over(2, Handing::Settled), Some(high as u64));
    scheduler.set_parameters(threads[between], lent(&subject, between), Nanoseconds(0));
    scheduler.wake(threads[high], clock);
    assert_eq!(runs(&mut scheduler), high);
    scheduler.block_current(clock);
    assert_eq!(runs(&mut scheduler), medium, "nothing is left of what was lent");
}

#[test]
fn niceness_is_lent_too_but_turns_are_taken_in_order() {
    let mut subject = Subject::with_own([fair(19), fair(5), fair(-5), realtime(1)]);
    subject.wait(1, 0, 1).unwrap();
    subject.wait(1, 0, 2).unwrap();
    assert_eq!(subject.lent(0), fair(-5));
    subject.wait(1, 0, 3).unwrap();
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(3), "real-time first");
    assert_eq!(subject.hand_over(1, Handing::Settled), Some(1), "then in the order of coming");
    assert_eq!(subject.lent(1), fair(-5));
}

#[test]
fn circles_and_endless_chains_are_refused() {
    let length = DEPTH as u64 + 2;
    let mut subject = Subject::with_own((0..length).map(|_| fair(0)));
    assert_eq!(subject.wait(0, 0, 0), Err(Refusal::Deadlock));
    for thread in 1..length - 1 {
        assert_eq!(subject.wait(thread as Name, thread - 1, thread), Ok(()), "{thread}");
    }
    assert_eq!(subject.wait(5000, 3, 0), Err(Refusal::Deadlock));
    assert_eq!(subject.wait(5000, length - 2, length - 1), Err(Refusal::Deadlock), "too long");
    assert_eq!(subject.graph.lock_count(), DEPTH, "what is refused leaves nothing");
    subject.graph.validate();
}

#[test]
fn room_that_a_crowd_has_left_goes_and_who_is_there_stays() {
    let mut subject = Subject::with_own([fair(0); 200]);
    (1..200).for_each(|thread| subject.wait(7, 0, thread).unwrap());
    (3..200).for_each(|thread| assert!(subject.leave(thread)));
    let before = subject.graph.threads.allocation_size();
    drop(subject.graph.take_room());
    let after = subject.graph.threads.allocation_size();
    assert!(before > 16 * after, "{before} {after}");
    drop(subject.graph.take_room());
    assert_eq!(subject.graph.threads.allocation_size(), after);
    subject.graph.validate();
    assert_eq!(subject.hand_over(7, Handing::Settled), Some(1));
    assert_eq!(subject.hand_over(7, Handing::Settled), Some(2));
    assert_eq!(subject.hand_over(7, Handing::Settled), None);
    drop(subject.graph.take_room());
    assert_eq!((subject.graph.threads.allocation_size(), subject.graph.locks.allocation_size()), (0, 0));
}

#[test]
fn an_unsettled_lock_stands_until_it_is_settled() {
    let mut subject = Subject::with_own([fair(0), fair(0), realtime(5)]);
    subject.wait(1, 0, 1).unwrap();
    assert_eq!(subject.hand_over(1, Handing::Unsettled), Some(1));
    assert!(subject.graph.is_to_settle(&1, 1));
    assert_eq!(subject.graph.holder(&1), Some(&1));
    subject.wait(1, 1, 2).unwrap();
    subject.graph.settle(&1);
    assert_eq!((subject.lent(1), subject.graph.is_to_settle(&1, 1)), (realtime(5), false));
    assert_eq!(subject.hand_over(1, Handing::Unsettled), Some(2));
    subject.graph.settle(&1);
    assert_eq!(subject.graph.lock_count(), 0);
}

#[test]
fn new_parameters_of_its_own_count_beside_what_is_lent() {
    let mut subject = Subject::with_own([fair(0), realtime(5)]);
    subject.wait(1, 0, 1).unwrap();
    subject.set_own(0, realtime(9));
    assert_eq!(subject.lent(0), Standing::NOTHING);
    subject.set_own(0, realtime(2));
    assert_eq!(subject.lent(0), realtime(5));
    subject.set_own(1, realtime(7));
    assert_eq!(subject.lent(0), realtime(7));
    subject.set_own(0, realtime(7));
    assert_eq!(subject.lent(0), Standing::NOTHING);
}

/// What everything is worked out from.
#[derive(Default)]
struct Model {
    own: BTreeMap<Thread, Standing>,
    /// Holder, and the waiters in the order in which they came.
    locks: BTreeMap<Name, (Thread, Vec<Thread>)>,
    unsettled: Vec<Name>,
}

impl Model {
    fn effective(&self, thread: Thread) -> Standing {
        let held = self.locks.values().filter(|(holder, _)| *holder == thread);
        let lent = held.flat_map(|(_, waiters)| waiters).map(|waiter| self.effective(*waiter)).max();
        lent.unwrap_or_default().max(self.own[&thread])
    }

    fn waits(&self, thread: Thread) -> bool {
        self.locks.values().any(|(_, waiters)| waiters.contains(&thread))
    }

    /// Whether `holder` waits for `waiter`, through whomever.
    fn leads_to(&self, holder: Thread, waiter: Thread) -> bool {
        holder == waiter
            || self
                .locks
                .values()
                .find(|(_, waiters)| waiters.contains(&holder))
                .is_some_and(|(next, _)| self.leads_to(*next, waiter))
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Wait { lock: Name, holder: Thread, waiter: Thread },
    Leave(Thread),
    Unlock(Name),
    Seize(Name, Thread),
    End(Thread),
    Settle(Name),
    SetOwn(Thread, u8),
}

const THREADS: u64 = 8;

fn operation() -> impl Strategy<Value = Operation> {
    let thread = || 0..THREADS;
    let lock = || 0u32..6;
    prop_oneof![
        6 => (lock(), thread(), thread()).prop_map(|(lock, holder, waiter)| Operation::Wait { lock, holder, waiter }),
        1 => thread().prop_map(Operation::Leave),
        3 => lock().prop_map(Operation::Unlock),
        2 => (lock(), thread()).prop_map(|(lock, thread)| Operation::Seize(lock, thread)),
        1 => thread().prop_map(Operation::End),
        2 => lock().prop_map(Operation::Settle),
        1 => (thread(), 0u8..60).prop_map(|(thread, level)| Operation::SetOwn(thread, level)),
    ]
}

fn standing(level: u8) -> Standing {
    match level {
        0..40 => fair(level.cast_signed() - 20),
        level => realtime(level - 39),
    }
}

fn hand_over(subject: &mut Subject, model: &mut Model, lock: Name, handing: Handing) {
    let Some((_, waiters)) = model.locks.get(&lock) else {
        assert_eq!(subject.hand_over(lock, handing), None);
        return;
    };
    // The highest turn of those that wait; among equals the graph knows who came first or changed last.
    let turns: Vec<(Thread, u64)> = waiters.iter().map(|waiter| (*waiter, model.effective(*waiter).turn())).collect();
    let best = turns.iter().map(|(_, turn)| *turn).max();
    let next = subject.hand_over(lock, handing);
    assert_eq!(next.is_some(), best.is_some(), "whoever waits gets it");
    model.unsettled.retain(|name| *name != lock);
    match next {
        None => drop(model.locks.remove(&lock)),
        Some(next) => {
            let turn = turns.iter().find(|(waiter, _)| *waiter == next).map(|(_, turn)| *turn);
            assert_eq!(turn, best, "it is the turn of the highest");
            let (holder, waiters) = model.locks.get_mut(&lock).unwrap();
            *holder = next;
            waiters.retain(|waiter| *waiter != next);
            if handing == Handing::Unsettled {
                model.unsettled.push(lock);
            }
        }
    }
}

fn apply(subject: &mut Subject, model: &mut Model, operation: Operation) {
    match operation {
        Operation::Wait { lock, holder, waiter } => {
            let holder = model.locks.get(&lock).map_or(holder, |(holder, _)| *holder);
            if model.waits(waiter) {
                return;
            }
            let refused = model.leads_to(holder, waiter);
            assert_eq!(subject.wait(lock, holder, waiter), if refused { Err(Refusal::Deadlock) } else { Ok(()) });
            if !refused {
                model.locks.entry(lock).or_insert((holder, Vec::new())).1.push(waiter);
            }
        }
        Operation::Leave(thread) => {
            assert_eq!(subject.leave(thread), model.waits(thread));
            model.locks.values_mut().for_each(|(_, waiters)| waiters.retain(|waiter| *waiter != thread));
        }
        Operation::Unlock(lock) => hand_over(subject, model, lock, Handing::Settled),
        Operation::Seize(lock, thread) => {
            // Who takes a lock runs.
            if model.waits(thread) || model.unsettled.contains(&lock) {
                return;
            }
            subject.seize(lock, thread);
            if let Some((holder, _)) = model.locks.get_mut(&lock) {
                *holder = thread;
            }
        }
        Operation::End(thread) => {
            // What ends does not wait, and has nothing left in the end.
            apply(subject, model, Operation::Leave(thread));
            let held: Vec<Name> = subject.graph.held_by(thread).collect();
            for lock in held {
                assert_eq!(model.locks[&lock].0, thread);
                hand_over(subject, model, lock, Handing::Unsettled);
                model.locks.retain(|lock, (_, waiters)| !waiters.is_empty() || model.unsettled.contains(lock));
            }
            assert!(model.locks.values().all(|(holder, _)| *holder != thread));
        }
        Operation::Settle(lock) => {
            subject.graph.settle(&lock);
            model.unsettled.retain(|name| *name != lock);
        }
        Operation::SetOwn(thread, level) => {
            model.own.insert(thread, standing(level));
            subject.set_own(thread, standing(level));
        }
    }
    model.locks.retain(|lock, (_, waiters)| !waiters.is_empty() || model.unsettled.contains(lock));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1500 }))]
    /// No boost is lost, none is left over, circles are refused and nothing else is.
    #[test]
    fn the_graph_does_what_the_model_says(
        own in prop::collection::vec(0u8..60, THREADS as usize),
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        let mut subject = Subject::with_own(own.iter().map(|level| standing(*level)));
        let mut model = Model { own: subject.own.clone(), ..Model::default() };
        for operation in operations {
            apply(&mut subject, &mut model, operation);
            subject.graph.validate();
            prop_assert_eq!(subject.graph.lock_count(), model.locks.len());
            for thread in 0..THREADS {
                let (own, effective) = (model.own[&thread], model.effective(thread));
                let expected = if effective > own { effective } else { Standing::NOTHING };
                prop_assert_eq!(subject.lent(thread), expected, "thread {}", thread);
            }
            for (lock, (holder, _)) in &model.locks {
                prop_assert_eq!(subject.graph.holder(lock), Some(holder));
            }
        }
    }
}
