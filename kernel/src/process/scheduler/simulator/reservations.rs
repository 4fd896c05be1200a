//! Reservations in the simulator: periodic threads beside hogs meet every deadline.

use super::*;

const MILLISECOND: u64 = 1_000_000;

/// A thread that wakes every `period` and then runs for `need`, both in milliseconds.
struct Periodic {
    key: usize,
    period: u64,
    need: u64,
    /// What it has run when it began the present turn, in nanoseconds.
    begun: u64,
    woken: u64,
    turns: u64,
}

fn reserved(runtime: u64, period: u64) -> Parameters {
    let deadline = DeadlineParameters {
        runtime: runtime * MILLISECOND,
        deadline: period * MILLISECOND,
        period: period * MILLISECOND,
        flags: 0,
    };
    levels_of(&SchedulingParameters { policy: SCHED_DEADLINE, deadline, ..Default::default() })
}

/// Admits the reservations (runtime, period) to `cpus` CPUs, runs them beside hogs that want everything, and checks that each turn ends by
/// its deadline. Gives the milliseconds that each thread has run, the hogs' first.
fn run(cpus: usize, reservations: &[(u64, u64)], milliseconds: u64) -> Vec<u64> {
    let mut machine = Machine::new(cpus);
    let mut admission = deadline::Admission::new();
    let fifo = levels_of(&SchedulingParameters { policy: SCHED_FIFO, realtime_priority: 99, ..Default::default() });
    for cpu in machine.all_cpus() {
        for parameters in [fifo, Parameters::default(), Parameters::default()] {
            machine.fork(cpu, parameters, CpuMask::ALL);
        }
    }
    let limit = deadline::utilisation(95, 100);
    let mut periodic = Vec::new();
    for (need, period) in reservations {
        let utilisation = deadline::utilisation(*need, *period);
        // Only what one CPU promises is met to the day.
        let promise = admission.admit(utilisation, machine.online, CpuId(0), limit);
        let Some(deadline::Promise::By(cpu)) = promise else {
            if let Some(promise) = promise {
                admission.release(utilisation, promise);
            }
            continue;
        };
        let key = machine.fork(cpu, reserved(*need, *period), CpuMask::single(cpu));
        periodic.push(Periodic { key, period: *period, need: *need, begun: 0, woken: 0, turns: 0 });
    }
    machine.settle();
    for time in 1..milliseconds {
        machine.advance(Nanoseconds(MILLISECOND));
        for thread in &mut periodic {
            let record = &machine.threads[thread.key];
            if record.ran_for - thread.begun >= thread.need * MILLISECOND {
                let took = time - thread.woken;
                assert!(took <= thread.period, "thread {} took {took} ms of {}", thread.key, thread.period);
                thread.begun = record.ran_for;
                thread.turns += 1;
                if let State::Running(cpu) = record.state {
                    machine.sleep(cpu);
                }
            }
        }
        if time % 10 == 0 {
            for cpu in machine.all_cpus() {
                machine.tick_on(cpu);
            }
        }
        for thread in &mut periodic {
            if time % thread.period == 0 {
                assert_eq!(machine.threads[thread.key].state, State::Asleep, "thread {} is late", thread.key);
                thread.woken = time;
                machine.wake(thread.key, Waker::GoesOn);
            }
        }
        machine.settle();
    }
    for thread in &periodic {
        assert!(thread.turns >= milliseconds / thread.period - 2, "{} turns", thread.turns);
    }
    machine.threads.iter().map(|record| record.ran_for / MILLISECOND).collect()
}

#[test]
fn reservations_are_met_beside_hogs() {
    let sets: [(usize, &[(u64, u64)]); 3] =
        [(1, &[(10, 100)]), (1, &[(2, 10), (5, 20), (20, 100)]), (1, &[(3, 10), (11, 20)])];
    for (cpus, reservations) in sets {
        let ran = run(cpus, reservations, 10_000);
        assert!(ran.iter().all(|ran| *ran > 0), "the others get what is left: {ran:?}");
    }
    run(2, &[(6, 10), (12, 20), (3, 10), (6, 20)], 5000);
}

#[test]
fn random_reservations_are_met() {
    for seed in 0..if cfg!(miri) { 1 } else { 30 } {
        let mut random = Random(seed);
        let cpus = 1 + random.below(4);
        let reservations: Vec<_> = (0..3 * cpus)
            .map(|_| {
                let period = [5, 10, 20, 50, 100][random.below(5)];
                (1 + random.below(period as usize - 1) as u64, period)
            })
            .collect();
        run(cpus, &reservations, 2000);
    }
}

#[test]
fn a_thread_that_wants_more_than_it_reserved_is_held_to_it() {
    let mut machine = Machine::new(1);
    let greedy = machine.fork(CpuId(0), reserved(2, 10), CpuMask::ALL);
    let hog = machine.fork(CpuId(0), Parameters::default(), CpuMask::ALL);
    machine.settle();
    for time in 1..=1000 {
        machine.advance(Nanoseconds(MILLISECOND));
        if time % 10 == 0 {
            machine.tick_on(CpuId(0));
        }
        machine.settle();
        machine.check();
    }
    let ran = machine.threads[greedy].ran_for / MILLISECOND;
    assert!((198..=202).contains(&ran), "{ran}");
    assert_eq!(machine.threads[hog].ran_for / MILLISECOND, 1000 - ran);
}
