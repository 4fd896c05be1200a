//! The checks after every step of the simulation; the module above says what they are.

use super::super::placement;
use super::{AGING_PERIOD, Cpu, Handle, Machine, Member, Place, State};

impl Machine {
    /// Checks all of it.
    pub fn check(&mut self) {
        for cpu in self.all_cpus() {
            let Cpu { scheduler, running, .. } = &self.cpus[cpu.0 as usize];
            scheduler.validate();
            let current = scheduler.current().map(Handle::key);
            assert_eq!(current, *running, "CPU {} runs what its scheduler says", cpu.0);
            assert!(!(self.idle.contains(cpu) && scheduler.load() > 0), "CPU {} idles with threads", cpu.0);
            if let Some(key) = running {
                assert_eq!(self.threads[*key].state, State::Running(cpu), "thread {key} runs on CPU {} alone", cpu.0);
                assert_eq!(self.entity(*key).cpu(), cpu);
            }
            for handle in scheduler.waiting_threads() {
                assert!(matches!(self.threads[handle.key()].state, State::Ready { .. }), "{handle:?} waits");
                assert_eq!(handle.entity().cpu(), cpu, "{handle:?} is on its CPU's queue");
            }
        }
        let mut queued = 0;
        for key in 0..self.threads.len() {
            self.check_thread(key);
            queued += usize::from(matches!(self.threads[key].state, State::Ready { .. }));
        }
        let waiting = self.cpus.iter().map(|cpu| cpu.scheduler.waiting() + cpu.scheduler.queue.throttled_count());
        assert_eq!(waiting.sum::<u32>() as usize, queued, "each ready thread is on one queue");
    }

    fn check_thread(&mut self, key: usize) {
        let entity = self.entity(key);
        let cpu = entity.cpu();
        let allowed = placement::permitted(entity.allowed(), self.online);
        let Cpu { scheduler, interrupted, .. } = &self.cpus[cpu.0 as usize];
        let load = u64::from(scheduler.load());
        match self.threads[key].state {
            State::Running(on) => {
                assert!(
                    allowed.contains(on) || scheduler.expelled && *interrupted,
                    "thread {key} may use CPU {}",
                    on.0
                );
            }
            State::Ready { most, came_in } if entity.place() != Place::Throttled => {
                assert!(allowed.contains(cpu), "thread {key} waits for a CPU that it may use");
                if !self.threads[key].handed_over {
                    let idle = entity.allowed().intersection(self.idle);
                    // A CPU that is on its way up asks the next.
                    let comes = self.cpus.iter().any(|cpu| cpu.interrupted && cpu.running.is_none());
                    assert!(idle.is_empty() || comes, "thread {key} waits beside {idle}");
                }
                let most = most.max(load);
                self.threads[key].state = State::Ready { most, came_in };
                let waited = scheduler.tick - entity.ready_since.get();
                let bound = (most + came_in + 1) * AGING_PERIOD;
                assert!(waited <= bound, "thread {key} has waited {waited} ticks, the bound is {bound}");
            }
            _ => {}
        }
    }
}
