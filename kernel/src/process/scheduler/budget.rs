//! What a CPU does about reservations: it charges the running thread's, sets aside who has used its budget up, and renews budgets when
//! their time comes.
//!
//! A [`super::deadline::Reservation`] is the account of one thread; this is the part of [`Scheduler`] that keeps those of a CPU. Time is what
//! the caller says it is; [`Scheduler::next_event`] tells when to come again.

use super::{Member, Policy, Preempt, Scheduler};
use crate::base::Nanoseconds;

impl<K: Member> Scheduler<K> {
    #[cold]
    pub(super) fn wake_reservation(&mut self, member: K, now: Nanoseconds) -> Preempt {
        let entity = member.entity();
        let mut reservation = entity.reservation.get();
        if reservation.is_exhausted() && reservation.due() != 0 && now.0 < reservation.renewal() {
            // It slept after its budget was used up: it still has to wait for the next. Who picks asks for [`Self::next_event`].
            self.queue.throttle(member);
            return Preempt::Yes;
        }
        reservation.wake(now.0);
        entity.reservation.set(reservation);
        entity.urgency.set(reservation.urgency());
        self.queue.push_back(member, self.tick);
        self.preempts(entity)
    }

    /// Charges the running thread's reservation up to `now`.
    pub(super) fn settle(&mut self, now: Nanoseconds) -> Preempt {
        let Some(current) = self.current.filter(|current| current.entity().policy.get() == Policy::Deadline) else {
            return Preempt::No;
        };
        let mut reservation = current.entity().reservation.get();
        reservation.charge(now.0.saturating_sub(self.charged_at));
        self.charged_at = now.0;
        current.entity().reservation.set(reservation);
        Preempt::when(reservation.is_exhausted())
    }

    /// When [`Self::advance`] is next to be called: a budget ends or is renewed.
    #[must_use]
    #[inline]
    pub fn next_event(&self) -> Option<Nanoseconds> {
        let renewal = self.queue.next_renewal().map(|member| member.entity().reservation.get().renewal());
        let end = self.current.and_then(|current| {
            let entity = current.entity();
            (entity.policy.get() == Policy::Deadline).then(|| self.charged_at + entity.reservation.get().left())
        });
        match (renewal, end) {
            (Some(renewal), Some(end)) => Some(Nanoseconds(renewal.min(end))),
            (renewal, end) => renewal.or(end).map(Nanoseconds),
        }
    }

    /// The time of [`Self::next_event`] may have come: ends and renews budgets.
    pub fn advance(&mut self, now: Nanoseconds) -> Preempt {
        let mut preempt = self.settle(now);
        while let Some(member) =
            self.queue.next_renewal().filter(|member| member.entity().reservation.get().renewal() <= now.0)
        {
            self.queue.remove(member);
            let entity = member.entity();
            let mut reservation = entity.reservation.get();
            reservation.renew(now.0);
            entity.reservation.set(reservation);
            if reservation.is_exhausted() && reservation.renewal() > now.0 {
                // It used more than a whole period's too much.
                self.queue.throttle(member);
                continue;
            }
            entity.urgency.set(reservation.urgency());
            self.queue.push_back(member, self.tick);
            preempt = preempt.or(self.preempts(entity));
        }
        preempt
    }

    /// Whether the running thread has used up its reservation.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.current.is_some_and(|current| {
            let entity = current.entity();
            entity.policy.get() == Policy::Deadline && entity.reservation.get().is_exhausted()
        })
    }
}
