//! Loads for the simulator: random mixes from a seed, and recorded ones.

use super::*;

/// Says which seed it was when a check fails.
struct Seed(u64, usize);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("the simulation of {} CPUs from seed {} failed", self.1, self.0);
        }
    }
}

/// What a random load is made of, each in parts of the whole.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    threads: usize,
    /// Odds against each in a step of a CPU.
    sleep: usize,
    wake: usize,
    hand_over: usize,
    fork: usize,
    affinity: usize,
    parameters: usize,
    give_way: usize,
}

const HOGS: Mix =
    Mix { threads: 3, sleep: 400, wake: 50, hand_over: 500, fork: 5000, affinity: 500, parameters: 500, give_way: 500 };
pub const SLEEPERS: Mix =
    Mix { threads: 5, sleep: 3, wake: 3, hand_over: 10, fork: 1000, affinity: 300, parameters: 200, give_way: 20 };
const PAIRS: Mix =
    Mix { threads: 2, sleep: 50, wake: 20, hand_over: 2, fork: 5000, affinity: 300, parameters: 1000, give_way: 100 };
pub const BOMB: Mix =
    Mix { threads: 1, sleep: 30, wake: 10, hand_over: 30, fork: 4, affinity: 50, parameters: 100, give_way: 50 };
pub const RESTLESS: Mix =
    Mix { threads: 3, sleep: 10, wake: 5, hand_over: 10, fork: 200, affinity: 3, parameters: 5, give_way: 5 };

pub fn any_parameters(random: &mut Random) -> Parameters {
    let policy =
        [SCHED_OTHER, SCHED_OTHER, SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR][random.below(7)];
    let realtime_priority = if matches!(policy, SCHED_FIFO | SCHED_RR) { 1 + random.below(99) as u8 } else { 0 };
    let niceness = random.below(40) as i8 - 20;
    levels_of(&SchedulingParameters { policy, niceness, realtime_priority, ..Default::default() })
}

pub fn any_affinity(random: &mut Random, cpus: usize) -> CpuMask {
    let mask = match random.below(4) {
        0 => CpuMask::ALL,
        1 => CpuMask::single(CpuId(random.below(cpus) as u32)),
        _ => CpuMask::from_bits(random.next()),
    };
    if mask.intersection(CpuMask::first_cpus(cpus)).is_empty() { CpuMask::ALL } else { mask }
}

/// Runs a mix for `ticks`; checks after each step.
fn run(mix: Mix, cpus: usize, ticks: usize, seed: u64) -> Machine {
    let _seed = Seed(seed, cpus);
    let mut random = Random(seed);
    let mut machine = Machine::new(cpus);
    for _ in 0..mix.threads * cpus {
        let parameters = any_parameters(&mut random);
        let affinity = any_affinity(&mut random, cpus);
        machine.fork(CpuId(random.below(cpus) as u32), parameters, affinity);
        machine.check();
    }
    for _ in 0..ticks {
        for _ in 0..cpus {
            step(&mut machine, mix, &mut random);
            machine.check();
        }
        // What is waited for within a tick comes within it.
        machine.settle();
        machine.check();
        machine.tick();
        machine.settle();
        machine.check();
    }
    machine
}

pub fn step(machine: &mut Machine, mix: Mix, random: &mut Random) {
    let cpus = machine.cpus.len();
    let cpu = CpuId(random.below(cpus) as u32);
    let any_thread = |random: &mut Random, machine: &Machine| random.below(machine.threads.len());
    if random.one_in(2) {
        machine.deliver(cpu);
        machine.check();
    }
    let runs = machine.cpu(cpu).running.is_some();
    if runs && random.one_in(mix.hand_over) {
        let key = any_thread(random, machine);
        machine.wake(key, Waker::AboutToSleep(cpu));
        machine.check();
        machine.sleep(cpu);
    } else if runs && random.one_in(mix.sleep) {
        if random.one_in(50) { machine.exit(cpu) } else { machine.sleep(cpu) }
    } else if runs && random.one_in(mix.fork) && machine.threads.len() < 40 * cpus.min(8) {
        let key = machine.cpu(cpu).running.unwrap();
        let (parameters, affinity) = (any_parameters(random), machine.entity(key).affinity());
        machine.fork(cpu, parameters, affinity);
    } else if runs && random.one_in(mix.give_way) {
        machine.give_way(cpu);
    }
    machine.check();
    if random.one_in(mix.wake) {
        let key = any_thread(random, machine);
        machine.wake(key, Waker::GoesOn);
    }
    if random.one_in(mix.affinity) {
        let key = any_thread(random, machine);
        let affinity = any_affinity(random, cpus);
        machine.set_affinity(key, affinity);
    }
    if random.one_in(mix.parameters) {
        let key = any_thread(random, machine);
        let parameters = any_parameters(random);
        machine.set_parameters(key, parameters);
    }
}

/// Each mix on several sizes of machine. The work is about the same for each.
fn on_machines_of_all_sizes(mix: Mix, name: u64) {
    for (cpus, ticks) in [(1, 2000), (2, 1500), (3, 800), (4, 800), (8, 200), (16, 60), (33, 20), (64, 8)] {
        for round in 0..if cfg!(miri) { 1 } else { 3 } {
            run(mix, cpus, if cfg!(miri) { 3 } else { ticks }, name << 32 | round << 8 | cpus as u64);
        }
    }
}

#[test]
fn hogs() {
    on_machines_of_all_sizes(HOGS, 1);
}

#[test]
fn sleepers() {
    on_machines_of_all_sizes(SLEEPERS, 2);
}

#[test]
fn pairs_that_hand_over_to_each_other() {
    on_machines_of_all_sizes(PAIRS, 3);
}

#[test]
fn fork_bombs() {
    on_machines_of_all_sizes(BOMB, 4);
}

#[test]
fn threads_whose_affinity_and_priority_keep_changing() {
    on_machines_of_all_sizes(RESTLESS, 5);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let runs = [7, 7, 8].map(|seed| {
        let machine = run(SLEEPERS, 4, 100, seed);
        machine.threads.iter().map(|record| record.ran).collect::<Vec<_>>()
    });
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[test]
fn equal_hogs_use_every_cpu_and_share_each_fairly() {
    for (cpus, hogs) in [(1, 5), (2, 4), (4, 12), (8, 8), (64, 128)] {
        let mut machine = Machine::new(cpus);
        for _ in 0..hogs {
            machine.fork(CpuId(0), Parameters::default(), CpuMask::ALL);
        }
        machine.settle();
        for _ in 0..1000 {
            machine.tick();
            machine.settle();
            machine.check();
        }
        assert_eq!(machine.threads.iter().map(|record| record.ran).sum::<u64>(), 1000 * cpus as u64);
        for cpu in machine.all_cpus() {
            let here = machine.threads.iter().filter(|record| record.handle.entity().cpu() == cpu);
            let ran: Vec<_> = here.map(|record| record.ran).collect();
            let spread = ran.iter().max().unwrap() - ran.iter().min().unwrap();
            assert!(spread <= u64::from(Priority::Normal.slice()), "{ran:?}");
        }
    }
}

#[test]
fn a_running_thread_leaves_a_cpu_that_it_may_no_longer_use_at_once() {
    let mut machine = Machine::new(4);
    let key = machine.fork(CpuId(0), Parameters::default(), CpuMask::ALL);
    machine.settle();
    for cpu in [3, 1, 2, 0] {
        machine.set_affinity(key, CpuMask::single(CpuId(cpu)));
        machine.settle();
        machine.check();
        assert_eq!(machine.threads[key].state, State::Running(CpuId(cpu)));
    }
}

#[test]
fn an_idle_cpu_helps_the_nearest_first_and_the_longest_waiting() {
    let mut machine = Machine::new(8);
    let pinned = |cpu| CpuMask::single(CpuId(cpu));
    // CPUs 1 (same cache) and 5 (another node) have two threads each that may move, and are the only busy ones.
    let mut waiting = Vec::new();
    for cpu in [5, 1] {
        for _ in 0..3 {
            let key = machine.fork(CpuId(cpu), Parameters::default(), pinned(cpu));
            waiting.push(key);
        }
    }
    machine.settle();
    let mut moved = Vec::new();
    for key in waiting.clone() {
        // Those that wait are freed for CPU 0 without being offered.
        if matches!(machine.threads[key].state, State::Ready { .. }) {
            let affinity = machine.entity(key).affinity().with(CpuId(0));
            machine.entity(key).set_affinity(affinity);
        }
    }
    for _ in 0..4 {
        machine.run_idle(CpuId(0));
        machine.settle();
        moved.extend(machine.cpu(CpuId(0)).running);
        machine.sleep(CpuId(0));
        if let Some(key) = machine.cpu(CpuId(0)).running {
            moved.push(key);
            machine.sleep(CpuId(0));
        }
    }
    moved.dedup();
    assert_eq!(moved, [waiting[4], waiting[5], waiting[1], waiting[2]]);
}

#[test]
fn a_pair_that_hands_over_stays_on_one_cpu() {
    let mut machine = Machine::new(4);
    let keys = [0, 1].map(|_| machine.fork(CpuId(0), Parameters::default(), CpuMask::ALL));
    machine.settle();
    let cpu = machine.entity(keys[0]).cpu();
    machine.sleep(machine.entity(keys[1]).cpu());
    for turn in 0..20 {
        assert_eq!(machine.cpu(cpu).running, Some(keys[turn % 2]));
        machine.wake(keys[(turn + 1) % 2], Waker::AboutToSleep(cpu));
        machine.check();
        machine.sleep(cpu);
        machine.check();
    }
    // One that does not sleep after all loses the other to an idle CPU at the next tick.
    machine.wake(keys[1], Waker::AboutToSleep(cpu));
    machine.tick();
    machine.settle();
    machine.check();
    assert!(matches!(machine.threads[keys[1]].state, State::Running(_)));
}

#[test]
fn real_time_threads_leave_what_the_limit_says() {
    let mut machine = Machine::new(1);
    machine.limit = Limit::from_microseconds(500_000, 1_000_000);
    let fifo = levels_of(&SchedulingParameters { policy: SCHED_FIFO, realtime_priority: 50, ..Default::default() });
    for parameters in [fifo, Parameters::default()] {
        machine.fork(CpuId(0), parameters, CpuMask::ALL);
    }
    for _ in 0..1000 {
        machine.tick();
        machine.settle();
        machine.check();
    }
    assert!((490..=510).contains(&machine.threads[0].ran), "{}", machine.threads[0].ran);
}

/// One step of a recording: the time in ticks, and what happened then.
enum Recorded {
    Fork { parent: u32, niceness: i8, affinity: u64 },
    Sleep { thread: usize },
    Wake { thread: usize },
    HandOver { thread: usize, to: usize },
    Affinity { thread: usize, mask: u64 },
    Exit { thread: usize },
}

/// A recording as text: one line `tick what arguments` each.
fn parse(text: &str) -> Vec<(u64, Recorded)> {
    let number = |word: Option<&str>| word.unwrap().parse::<i64>().unwrap();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let tick = number(words.next()) as u64;
        let what = words.next().unwrap();
        let mut next = || number(words.next());
        let thread = |number: i64| number as usize;
        let step = match what {
            "fork" => Recorded::Fork { parent: next() as u32, niceness: next() as i8, affinity: next() as u64 },
            "sleep" => Recorded::Sleep { thread: thread(next()) },
            "wake" => Recorded::Wake { thread: thread(next()) },
            "hand" => Recorded::HandOver { thread: thread(next()), to: thread(next()) },
            "affinity" => Recorded::Affinity { thread: thread(next()), mask: next() as u64 },
            "exit" => Recorded::Exit { thread: thread(next()) },
            other => panic!("{other}"),
        };
        (tick, step)
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(line).collect()
}

/// Plays a recording on `cpus` CPUs. What a thread does while it does not run there is left out: it did so on another machine.
fn play(text: &str, cpus: usize) {
    let mut machine = Machine::new(cpus);
    let present = |mask: u64| {
        let mask = CpuMask::from_bits(mask);
        if mask.intersection(CpuMask::first_cpus(cpus)).is_empty() { CpuMask::ALL } else { mask }
    };
    let mut time = 0;
    for (tick, step) in parse(text) {
        while time < tick {
            machine.settle();
            machine.check();
            machine.tick();
            machine.settle();
            machine.check();
            time += 1;
        }
        let running_on = |machine: &Machine, thread: usize| match machine.threads[thread].state {
            State::Running(cpu) => Some(cpu),
            _ => None,
        };
        match step {
            Recorded::Fork { parent, niceness, affinity } => {
                let parameters = levels_of(&SchedulingParameters { niceness, ..Default::default() });
                machine.fork(CpuId(parent % cpus as u32), parameters, present(affinity));
            }
            Recorded::Wake { thread } => machine.wake(thread, Waker::GoesOn),
            Recorded::Affinity { thread, mask } => machine.set_affinity(thread, present(mask)),
            Recorded::Sleep { thread } => {
                if let Some(cpu) = running_on(&machine, thread) {
                    machine.sleep(cpu);
                }
            }
            Recorded::HandOver { thread, to } => {
                if let Some(cpu) = running_on(&machine, thread) {
                    machine.wake(to, Waker::AboutToSleep(cpu));
                    machine.check();
                    machine.sleep(cpu);
                }
            }
            Recorded::Exit { thread } => {
                if let Some(cpu) = running_on(&machine, thread) {
                    machine.exit(cpu);
                }
            }
        }
        machine.check();
    }
}

#[test]
fn recorded_loads() {
    for cpus in [1, 2, 3, 8, 64] {
        play(include_str!("recorded/shell_pipeline.txt"), cpus);
        play(include_str!("recorded/parallel_build.txt"), cpus);
    }
}
