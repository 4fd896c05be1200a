//! CPUs that go off line and come back under the simulator's loads: `dispatch::offline` and what `dispatch::migrate` does for it.

use super::loads::{BOMB, Mix, RESTLESS, SLEEPERS, any_affinity, any_parameters, step};
use super::*;

impl Machine {
    /// Takes `cpu` off line: nobody is given to it any more, those that wait are moved, the one that runs is expelled.
    fn take_off(&mut self, cpu: CpuId) {
        self.online.remove(cpu);
        self.idle.remove(cpu);
        while self.cpu(cpu).scheduler.load() > 0 {
            let scheduler = &self.cpu(cpu).scheduler;
            match scheduler.waiting_threads().next() {
                Some(handle) => {
                    let waited = self.cpu(cpu).scheduler.detach(handle);
                    let target = placement::place_new(&self.topology, self, handle.entity().allowed(), cpu);
                    self.hand_to(handle, target, waited);
                }
                None => {
                    self.cpu(cpu).scheduler.expel_current();
                    self.cpu(cpu).interrupted = true;
                    self.deliver(cpu);
                }
            }
            self.check_placed();
        }
        self.cpu(cpu).interrupted = false;
    }

    /// `cpu` is back, idle.
    fn come_back(&mut self, cpu: CpuId) {
        self.online.insert(cpu);
        self.run_idle(cpu);
    }

    /// A thread that may use no CPU that is on line may use all.
    pub(super) fn release_stranded(&self, handle: Handle) {
        if handle.entity().allowed().intersection(self.online).is_empty() {
            handle.entity().set_affinity(CpuMask::ALL);
        }
    }

    /// Each ready or running thread is on the books of one CPU, while one is being emptied.
    fn check_placed(&self) {
        let ready =
            self.threads.iter().filter(|record| matches!(record.state, State::Ready { .. } | State::Running(_)));
        let load: u32 = self.cpus.iter().map(|cpu| cpu.scheduler.load()).sum();
        assert_eq!(load as usize, ready.count(), "a thread was lost");
    }
}

fn run(mix: Mix, cpus: usize, ticks: usize, seed: u64) {
    let mut random = Random(seed);
    let mut machine = Machine::new(cpus);
    for _ in 0..3 * cpus {
        let (parameters, affinity) = (any_parameters(&mut random), any_affinity(&mut random, cpus));
        machine.fork(CpuId(random.below(cpus) as u32), parameters, affinity);
    }
    machine.settle();
    for _ in 0..ticks {
        for _ in 0..cpus {
            step(&mut machine, mix, &mut random);
        }
        let cpu = CpuId(random.below(cpus) as u32);
        if random.one_in(3) {
            match machine.online.contains(cpu) {
                true if machine.online.count() > 1 => machine.take_off(cpu),
                true => {}
                false => machine.come_back(cpu),
            }
        }
        machine.settle();
        machine.check();
        machine.tick();
        machine.settle();
        machine.check();
        for off in machine.all_cpus().filter(|cpu| !machine.online.contains(*cpu)) {
            assert_eq!(machine.cpus[off.0 as usize].scheduler.load(), 0, "CPU {} is off line and has threads", off.0);
        }
    }
}

#[test]
fn nobody_is_lost_while_cpus_come_and_go() {
    for (mix, name) in [(RESTLESS, "restless"), (SLEEPERS, "sleepers"), (BOMB, "bomb")] {
        for (cpus, ticks) in [(2, 400), (4, 400), (8, 200), (64, 20)] {
            std::eprintln!("{name} on {cpus} CPUs");
            run(mix, cpus, if cfg!(miri) { 3 } else { ticks }, 7 + cpus as u64);
        }
    }
}
