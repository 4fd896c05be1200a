//! Threads that leave a CPU's scheduler for another's: the one that runs and may not stay, and those that wait and are fetched.
//!
//! A thread takes its level, its slice and how long it has [`Waited`] along. Between [`Scheduler::detach`] (or [`Scheduler::take_departing`])
//! and [`Scheduler::attach`] it is ready and on no queue.

use super::{Member, Place, Policy, Preempt, Scheduler};
use crate::base::{CpuId, Nanoseconds};

/// How long a thread that is between two CPUs has waited, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Waited(u64);

impl<K: Member> Scheduler<K> {
    /// The running thread may not stay on this CPU: the next [`Self::pick`] chooses another one, and [`Self::take_departing`] then has it.
    pub const fn expel_current(&mut self) {
        self.expelled = self.current.is_some();
    }

    /// It may stay after all.
    pub const fn keep_current(&mut self) {
        self.expelled = false;
    }

    /// The thread that was expelled, once it has been left. It is on its way: ready, and on no queue.
    #[inline]
    pub const fn take_departing(&mut self) -> Option<K> {
        self.departing.take()
    }

    /// Takes a waiting thread off, for another CPU.
    pub fn detach(&mut self, member: K) -> Waited {
        let waited = match member.entity().place() {
            Place::Level(_) => self.tick.saturating_sub(member.entity().ready_since.get()),
            Place::Nowhere | Place::Throttled => 0,
        };
        self.queue.remove(member);
        if self.granted == Some(member) {
            self.granted = None;
        }
        Waited(waited)
    }

    /// Takes over a thread from another CPU, which is ready and has waited that long.
    pub fn attach(&mut self, member: K, waited: Waited, now: Nanoseconds) -> Preempt {
        let entity = member.entity();
        if entity.policy.get() == Policy::Deadline {
            return self.wake_reservation(member, now);
        }
        self.queue.push_back(member, self.tick.saturating_sub(waited.0));
        self.preempts(entity)
    }

    /// The thread that has waited longest of those that CPU `cpu` may take.
    #[must_use]
    pub fn candidate_for(&self, cpu: CpuId) -> Option<K> {
        self.queue.by_age().find(|member| member.entity().allowed().contains(cpu))
    }

    /// The waiting threads, longest waiting first.
    pub fn waiting_threads(&self) -> impl Iterator<Item = K> + use<K> {
        self.queue.by_age()
    }

    /// The reservation that is renewed next, of those that are used up.
    #[must_use]
    pub fn throttled_thread(&self) -> Option<K> {
        self.queue.next_renewal()
    }
}
