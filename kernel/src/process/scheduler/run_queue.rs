//! The ready threads of one CPU: five levels and a mask that says which are not empty.
//!
//! The lists are intrusive: a thread carries its [`Entity`] for life, and what a queue holds are [`Member`]s, handles that lead to one. So
//! queueing, taking and removing from the middle allocate nothing and cannot fail, and a thread goes from one CPU's queue to another's
//! by a few stores.
//!
//! A level is a doubly linked list. On four of them it is first-in first-out; on Realtime the more *urgent* (`SCHED_DEADLINE` by its
//! deadline, then priorities 99 to 1) stand in front of the less urgent, and among equals it is first-in first-out. A second list holds all
//! ready threads by how long they have waited: its head has waited longest.
//!
//! # Invariant (`validate`)
//! Bit *l* of the mask is set exactly when level *l* has a member; each member's `place` is the list that it is on; links agree in both
//! directions; urgency never rises along a list; the second list has the same members, `ready_since` rising.

use super::{Entity, Member, Place, Priority};

#[derive(Debug, Clone, Copy)]
struct Level<K> {
    head: Option<K>,
    tail: Option<K>,
}

/// The ready threads of one CPU.
#[derive(Debug)]
pub struct RunQueue<K> {
    levels: [Level<K>; Priority::COUNT],
    mask: u8,
    ready: u32,
    oldest: Option<K>,
    newest: Option<K>,
    /// Reservations that are used up, the earliest renewal first.
    throttled: Option<K>,
    throttled_count: u32,
}

impl<K> RunQueue<K> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            levels: [const { Level { head: None, tail: None } }; Priority::COUNT],
            mask: 0,
            ready: 0,
            oldest: None,
            newest: None,
            throttled: None,
            throttled_count: 0,
        }
    }

    /// How many threads are ready and may run.
    #[must_use]
    #[inline]
    pub const fn ready_count(&self) -> u32 {
        self.ready
    }

    /// How many reservations are used up.
    #[must_use]
    pub const fn throttled_count(&self) -> u32 {
        self.throttled_count
    }

    /// The highest level that has a ready thread: one bit scan.
    #[must_use]
    #[inline]
    pub const fn highest(&self) -> Option<Priority> {
        Self::highest_of(self.mask)
    }

    /// The highest level below `level` that has one.
    #[must_use]
    pub const fn highest_below(&self, level: Priority) -> Option<Priority> {
        Self::highest_of(self.mask & ((1 << level as u8) - 1))
    }

    const fn highest_of(mask: u8) -> Option<Priority> {
        match 7u32.checked_sub(mask.leading_zeros()) {
            Some(index) => Priority::from_index(index as usize),
            None => None,
        }
    }
}

impl<K: Member> RunQueue<K> {
    /// Puts a thread behind those of its level that are as urgent, as waiting since tick `since`.
    #[inline]
    pub fn push_back(&mut self, member: K, since: u64) {
        let entity = member.entity();
        if entity.place.get() != Place::Nowhere {
            return;
        }
        let (level, urgency) = entity.standing();
        let mut before = self.levels[level as usize].tail;
        while let Some(neighbour) = before
            && neighbour.entity().urgency.get() < urgency
        {
            before = neighbour.entity().previous.get();
        }
        self.insert_after(member, level, before);
        self.join_ages(member, since);
    }

    /// Puts a thread before those of its level that are as urgent, as waiting since tick `since`.
    #[inline]
    pub fn push_front(&mut self, member: K, since: u64) {
        let entity = member.entity();
        if entity.place.get() != Place::Nowhere {
            return;
        }
        let (level, urgency) = entity.standing();
        let mut before = None;
        let mut after = self.levels[level as usize].head;
        while let Some(neighbour) = after
            && neighbour.entity().urgency.get() > urgency
        {
            before = after;
            after = neighbour.entity().next.get();
        }
        self.insert_after(member, level, before);
        self.join_ages(member, since);
    }

    /// Links a member in after `before`, or as its level's first.
    #[inline]
    fn insert_after(&mut self, member: K, level: Priority, before: Option<K>) {
        let entity = member.entity();
        let list = &mut self.levels[level as usize];
        let after = match before {
            Some(neighbour) => neighbour.entity().next.replace(Some(member)),
            None => list.head.replace(member),
        };
        match after {
            Some(neighbour) => neighbour.entity().previous.set(Some(member)),
            None => list.tail = Some(member),
        }
        entity.previous.set(before);
        entity.next.set(after);
        entity.place.set(Place::Level(level));
        self.mask |= 1 << level as u8;
        self.ready += 1;
    }

    /// Links a member in among the ages: as the newest, unless it brings waiting time from elsewhere.
    #[inline]
    fn join_ages(&mut self, member: K, since: u64) {
        let entity = member.entity();
        entity.ready_since.set(since);
        let mut older = self.newest;
        while let Some(neighbour) = older
            && neighbour.entity().ready_since.get() > since
        {
            older = neighbour.entity().older.get();
        }
        let newer = match older {
            Some(neighbour) => neighbour.entity().newer.replace(Some(member)),
            None => self.oldest.replace(member),
        };
        match newer {
            Some(neighbour) => neighbour.entity().older.set(Some(member)),
            None => self.newest = Some(member),
        }
        entity.older.set(older);
        entity.newer.set(newer);
    }

    /// Takes a thread off its list, if it is on one.
    #[inline]
    pub fn remove(&mut self, member: K) {
        let entity = member.entity();
        match entity.place.get() {
            Place::Nowhere => {}
            Place::Level(level) => self.unlink(entity, level),
            Place::Throttled => self.unlink_throttled(entity),
        }
    }

    #[inline]
    fn unlink(&mut self, entity: &Entity<K>, level: Priority) {
        entity.place.set(Place::Nowhere);
        let (next, previous) = (entity.next.take(), entity.previous.take());
        let list = &mut self.levels[level as usize];
        match previous {
            Some(neighbour) => neighbour.entity().next.set(next),
            None => list.head = next,
        }
        match next {
            Some(neighbour) => neighbour.entity().previous.set(previous),
            None => list.tail = previous,
        }
        if list.head.is_none() {
            self.mask &= !(1 << level as u8);
        }
        let (older, newer) = (entity.older.take(), entity.newer.take());
        match older {
            Some(neighbour) => neighbour.entity().newer.set(newer),
            None => self.oldest = newer,
        }
        match newer {
            Some(neighbour) => neighbour.entity().older.set(older),
            None => self.newest = older,
        }
        self.ready -= 1;
    }

    /// The first thread of a level.
    #[must_use]
    #[inline]
    pub fn front(&self, level: Priority) -> Option<K> {
        self.levels[level as usize].head
    }

    /// The ready thread that has waited longest.
    #[must_use]
    #[inline]
    pub fn longest_waiting(&self) -> Option<K> {
        self.oldest
    }

    /// The ready threads, longest waiting first.
    pub fn by_age(&self) -> impl Iterator<Item = K> + use<K> {
        core::iter::successors(self.oldest, |member| member.entity().newer.get())
    }

    /// Sets a thread aside until its reservation is renewed.
    pub fn throttle(&mut self, member: K) {
        let entity = member.entity();
        if entity.place.get() != Place::Nowhere {
            return;
        }
        let renewal = |member: &K| member.entity().reservation.get().renewal();
        let (mut before, mut after) = (None, self.throttled);
        while let Some(neighbour) = after
            && renewal(&neighbour) <= renewal(&member)
        {
            before = after;
            after = neighbour.entity().next.get();
        }
        match before {
            Some(neighbour) => neighbour.entity().next.set(Some(member)),
            None => self.throttled = Some(member),
        }
        if let Some(neighbour) = after {
            neighbour.entity().previous.set(Some(member));
        }
        entity.previous.set(before);
        entity.next.set(after);
        entity.place.set(Place::Throttled);
        self.throttled_count += 1;
    }

    /// The thread whose reservation is renewed next.
    #[must_use]
    #[inline]
    pub fn next_renewal(&self) -> Option<K> {
        self.throttled
    }

    fn unlink_throttled(&mut self, entity: &Entity<K>) {
        entity.place.set(Place::Nowhere);
        let (next, previous) = (entity.next.take(), entity.previous.take());
        match previous {
            Some(neighbour) => neighbour.entity().next.set(next),
            None => self.throttled = next,
        }
        if let Some(neighbour) = next {
            neighbour.entity().previous.set(previous);
        }
        self.throttled_count -= 1;
    }

    /// Checks the invariant.
    #[cfg(test)]
    pub fn validate(&self) {
        let mut count = 0;
        for level in Priority::ALL {
            let (mut at, mut previous, mut urgency) = (self.levels[level as usize].head, None, u64::MAX);
            assert_eq!(self.mask >> level as u8 & 1 == 1, at.is_some());
            while let Some(member) = at {
                let entity = member.entity();
                assert_eq!((entity.place.get(), entity.previous.get()), (Place::Level(level), previous));
                assert!(entity.level.get() == level && entity.urgency.get() <= urgency);
                (previous, at, urgency) = (at, entity.next.get(), entity.urgency.get());
                count += 1;
            }
            assert_eq!(self.levels[level as usize].tail, previous);
        }
        assert_eq!(count, self.ready);
        let (mut at, mut older, mut since, mut aged) = (self.oldest, None, 0, 0);
        while let Some(member) = at {
            let entity = member.entity();
            assert!(entity.older.get() == older && entity.ready_since.get() >= since);
            assert!(matches!(entity.place.get(), Place::Level(_)));
            (older, at, since, aged) = (at, entity.newer.get(), entity.ready_since.get(), aged + 1);
        }
        assert_eq!((self.newest, aged), (older, self.ready));
        let (mut at, mut previous, mut aside) = (self.throttled, None, 0);
        while let Some(member) = at {
            let entity = member.entity();
            assert_eq!((entity.place.get(), entity.previous.get()), (Place::Throttled, previous));
            (previous, at, aside) = (at, entity.next.get(), aside + 1);
        }
        assert_eq!(aside, self.throttled_count);
    }
}

impl<K> Default for RunQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Parameters, simulator::Threads};
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// The lists behave as a vector of double-ended queues does, the Realtime level's sorted by urgency.
        #[test]
        fn agrees_with_a_model(operations in prop::collection::vec((0u8..5, 0usize..15), 1..300)) {
            let threads = Threads::new((0..15).map(|key| Parameters {
                base: Priority::from_index(key % 5).unwrap(),
                urgency: if key % 5 == 4 { key as u64 / 5 } else { 0 },
                ..Parameters::default()
            }));
            let urgency = |key: usize| if key % 5 == 4 { key / 5 } else { 0 };
            let mut queue = RunQueue::new();
            let mut model: [VecDeque<usize>; 5] = Default::default();
            for (operation, which) in operations {
                let member = threads.get(which);
                let level = &mut model[which % 5];
                let queued = level.contains(&which);
                match operation {
                    0 if !queued => {
                        queue.push_back(member, 0);
                        let at = level.iter().position(|other| urgency(*other) < urgency(which)).unwrap_or(level.len());
                        level.insert(at, which);
                    }
                    1 if !queued => {
                        queue.push_front(member, 0);
                        let at = level.iter().position(|other| urgency(*other) <= urgency(which)).unwrap_or(level.len());
                        level.insert(at, which);
                    }
                    2 | 3 => { queue.remove(member); level.retain(|other| *other != which) }
                    _ => {
                        let expected = (0..5).rev().find(|level| !model[*level].is_empty());
                        prop_assert_eq!(queue.highest().map(|level| level as usize), expected);
                        if let Some(level) = expected {
                            let front = queue.front(Priority::from_index(level).unwrap()).unwrap();
                            prop_assert_eq!(front.key(), model[level][0]);
                        }
                    }
                }
                queue.validate();
            }
        }

        /// However they come, the oldest is first: what moves between CPUs keeps its age.
        #[test]
        fn ages_are_kept_in_order(since in prop::collection::vec(0u64..50, 1..40)) {
            let threads = Threads::new(since.iter().map(|_| Parameters::default()));
            let mut queue = RunQueue::new();
            for (key, since) in since.iter().enumerate() {
                queue.push_back(threads.get(key), *since);
                queue.validate();
            }
            let ages: Vec<_> = queue.by_age().map(|member| member.entity().ready_since.get()).collect();
            let mut sorted = since.clone();
            sorted.sort_unstable();
            prop_assert_eq!(ages, sorted);
        }
    }
}
