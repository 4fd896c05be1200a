//! The ready threads of one CPU: five first-in first-out levels and a mask that says which are not empty.
//!
//! Threads stand in a slab of [`Entity`] slots owned by the [`RunQueue`]; a level is a doubly linked list of slot numbers, so that
//! queueing, taking and removing from the middle are O(1) and allocate nothing. Growing the slab happens when a thread is
//! created. A second list holds all ready threads in the order in which they became ready: its head has waited longest.
//!
//! Invariant (`validate`): bit *l* of the mask is set exactly when level *l* has a member; each member's `queued` level is the list
//! that it is on; links agree in both directions; the second list has the same members, `ready_since` rising.

use super::{Policy, Priority};
use alloc::vec::Vec;

/// "No slot": the end of a list.
const NONE: u32 = u32::MAX;

/// A thread's place in a [`RunQueue`], from [`RunQueue::insert`] to [`RunQueue::delete`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Slot(pub u32);

/// What the scheduler knows of a thread.
#[derive(Debug, Clone)]
pub struct Entity<K> {
    /// Whose it is.
    pub key: K,
    /// The highest level it can rise to.
    pub base: Priority,
    /// The level it is on now.
    pub level: Priority,
    /// How it shares a level.
    pub policy: Policy,
    /// Ticks left before it must give way to its level's others.
    pub slice: u16,
    /// The tick at which it was last queued: how long it has waited.
    pub ready_since: u64,
    /// The level on whose list it is, if it is on one.
    queued: Option<Priority>,
    next: u32,
    previous: u32,
    /// The one that was queued before it, on whatever level, and the one after it.
    older: u32,
    newer: u32,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    head: u32,
    tail: u32,
}

/// The ready threads of one CPU.
#[derive(Debug, Clone)]
pub struct RunQueue<K> {
    slots: Vec<Option<Entity<K>>>,
    free: Vec<u32>,
    levels: [Level; Priority::COUNT],
    mask: u8,
    ready: u32,
    oldest: u32,
    newest: u32,
}

impl<K> RunQueue<K> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            levels: [Level { head: NONE, tail: NONE }; Priority::COUNT],
            mask: 0,
            ready: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Gives a thread a slot; it is not queued yet. `None` when memory is out.
    pub fn insert(&mut self, key: K, base: Priority, policy: Policy) -> Option<Slot> {
        let entity = Entity {
            key,
            base,
            level: base,
            policy,
            slice: base.slice(),
            ready_since: 0,
            queued: None,
            next: NONE,
            previous: NONE,
            older: NONE,
            newer: NONE,
        };
        if let Some(index) = self.free.pop() {
            *self.slots.get_mut(index as usize)? = Some(entity);
            return Some(Slot(index));
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|index| *index != NONE)?;
        self.slots.try_reserve(1).ok()?;
        // Room for every slot on the free list, so that a thread's end never allocates.
        self.free.try_reserve(self.slots.len() + 1).ok()?;
        self.slots.push(Some(entity));
        Some(Slot(index))
    }

    /// Takes a thread's slot away and gives its key back.
    pub fn delete(&mut self, slot: Slot) -> Option<K> {
        self.remove(slot);
        let entity = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.free.push(slot.0);
        Some(entity.key)
    }

    /// What is known of a thread.
    #[must_use]
    #[inline]
    pub fn entity(&self, slot: Slot) -> Option<&Entity<K>> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    /// What is known of a thread, to change it. Its list is not changed by this: see [`Self::remove`].
    #[inline]
    pub fn entity_mut(&mut self, slot: Slot) -> Option<&mut Entity<K>> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    /// How many threads are ready.
    #[must_use]
    pub fn ready_count(&self) -> u32 {
        self.ready
    }

    /// Whether the thread waits on a level's list.
    #[must_use]
    pub fn is_queued(&self, slot: Slot) -> bool {
        self.entity(slot).is_some_and(|entity| entity.queued.is_some())
    }

    /// Puts a thread at the end of its level's list, as ready since tick `now` (which never falls).
    #[inline]
    pub fn push_back(&mut self, slot: Slot, now: u64) {
        let Some(entity) = self.entity_mut(slot).filter(|entity| entity.queued.is_none()) else { return };
        let level = entity.level;
        entity.queued = Some(level);
        entity.ready_since = now;
        entity.next = NONE;
        let list = &mut self.levels[level as usize];
        let tail = core::mem::replace(&mut list.tail, slot.0);
        if tail == NONE {
            list.head = slot.0;
        }
        if let Some(entity) = self.entity_mut(slot) {
            entity.previous = tail;
        }
        if let Some(last) = self.entity_mut(Slot(tail)) {
            last.next = slot.0;
        }
        self.mask |= 1 << level as u8;
        self.join_ages(slot);
    }

    /// Puts a thread at the front of its level's list, as ready since tick `now` (which never falls).
    pub fn push_front(&mut self, slot: Slot, now: u64) {
        let Some(entity) = self.entity_mut(slot).filter(|entity| entity.queued.is_none()) else { return };
        let level = entity.level;
        entity.queued = Some(level);
        entity.ready_since = now;
        entity.previous = NONE;
        let list = &mut self.levels[level as usize];
        let head = core::mem::replace(&mut list.head, slot.0);
        if head == NONE {
            list.tail = slot.0;
        }
        if let Some(entity) = self.entity_mut(slot) {
            entity.next = head;
        }
        if let Some(first) = self.entity_mut(Slot(head)) {
            first.previous = slot.0;
        }
        self.mask |= 1 << level as u8;
        self.join_ages(slot);
    }

    /// Makes a thread the newest.
    #[inline]
    fn join_ages(&mut self, slot: Slot) {
        let older = core::mem::replace(&mut self.newest, slot.0);
        if let Some(entity) = self.entity_mut(slot) {
            entity.older = older;
            entity.newer = NONE;
        }
        match self.entity_mut(Slot(older)) {
            Some(neighbour) => neighbour.newer = slot.0,
            None => self.oldest = slot.0,
        }
        self.ready += 1;
    }

    /// Takes a thread off its list, if it is on one.
    #[inline]
    pub fn remove(&mut self, slot: Slot) {
        let Some(entity) = self.entity_mut(slot) else { return };
        let Some(level) = entity.queued.take() else { return };
        let (next, previous, older, newer) = (entity.next, entity.previous, entity.older, entity.newer);
        if let Some(neighbour) = self.entity_mut(Slot(previous)) {
            neighbour.next = next;
        }
        if let Some(neighbour) = self.entity_mut(Slot(next)) {
            neighbour.previous = previous;
        }
        let list = &mut self.levels[level as usize];
        if list.head == slot.0 {
            list.head = next;
        }
        if list.tail == slot.0 {
            list.tail = previous;
        }
        if list.head == NONE {
            self.mask &= !(1 << level as u8);
        }
        match self.entity_mut(Slot(older)) {
            Some(neighbour) => neighbour.newer = newer,
            None => self.oldest = newer,
        }
        match self.entity_mut(Slot(newer)) {
            Some(neighbour) => neighbour.older = older,
            None => self.newest = older,
        }
        self.ready -= 1;
    }

    /// The highest level that has a ready thread: one bit scan.
    #[must_use]
    #[inline]
    pub fn highest(&self) -> Option<Priority> {
        Priority::from_index(7u32.checked_sub(self.mask.leading_zeros())? as usize)
    }

    /// The first thread of a level.
    #[must_use]
    #[inline]
    pub fn front(&self, level: Priority) -> Option<Slot> {
        let head = self.levels[level as usize].head;
        (head != NONE).then_some(Slot(head))
    }

    /// The ready thread that has waited longest.
    #[must_use]
    pub fn longest_waiting(&self) -> Option<Slot> {
        (self.oldest != NONE).then_some(Slot(self.oldest))
    }

    /// Checks the invariant.
    #[cfg(test)]
    pub fn validate(&self) {
        let mut count = 0;
        for level in Priority::ALL {
            let (mut at, mut previous) = (self.levels[level as usize].head, NONE);
            assert_eq!(self.mask >> level as u8 & 1 == 1, at != NONE);
            while at != NONE {
                let entity = self.entity(Slot(at)).expect("a member has a slot");
                assert_eq!((entity.queued, entity.previous, entity.level), (Some(level), previous, level));
                (previous, at) = (at, entity.next);
                count += 1;
            }
            assert_eq!(self.levels[level as usize].tail, previous);
        }
        assert_eq!(count, self.ready);
        let (mut at, mut older, mut since, mut aged) = (self.oldest, NONE, 0, 0);
        while at != NONE {
            let entity = self.entity(Slot(at)).expect("a member has a slot");
            assert!(entity.older == older && entity.ready_since >= since && entity.queued.is_some());
            (older, at, since, aged) = (at, entity.newer, entity.ready_since, aged + 1);
        }
        assert_eq!((self.newest, aged), (older, self.ready));
        assert_eq!(count as usize, self.slots.iter().flatten().filter(|entity| entity.queued.is_some()).count());
    }
}

impl<K> Default for RunQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// The lists behave as a vector of double-ended queues does.
        #[test]
        fn agrees_with_a_model(operations in prop::collection::vec((0u8..5, 0u32..12), 1..300)) {
            let mut queue = RunQueue::new();
            let slots: Vec<_> = (0..12)
                .map(|key: usize| {
                    queue.insert(key, Priority::from_index(key % 5).unwrap(), Policy::Feedback).unwrap()
                })
                .collect();
            let mut model: [VecDeque<u32>; 5] = Default::default();
            for (operation, which) in operations {
                let level = which as usize % 5;
                let slot = slots[which as usize];
                let queued = model[level].contains(&which);
                match operation {
                    0 | 1 if !queued => {
                        if operation == 0 { queue.push_back(slot, 0); model[level].push_back(which) }
                        else { queue.push_front(slot, 0); model[level].push_front(which) }
                    }
                    2 | 3 => { queue.remove(slot); model[level].retain(|other| *other != which) }
                    _ => {
                        let expected = (0..5).rev().find(|level| !model[*level].is_empty());
                        prop_assert_eq!(queue.highest().map(|level| level as usize), expected);
                        if let Some(level) = expected {
                            let front = queue.front(Priority::from_index(level).unwrap()).unwrap();
                            prop_assert_eq!(queue.entity(front).unwrap().key, model[level][0] as usize);
                        }
                    }
                }
                queue.validate();
            }
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut queue = RunQueue::new();
        let first = queue.insert('a', Priority::Low, Policy::Feedback).unwrap();
        queue.push_back(first, 0);
        assert_eq!(queue.delete(first), Some('a'));
        assert_eq!(queue.delete(first), None);
        queue.validate();
        assert_eq!(queue.insert('b', Priority::Low, Policy::Feedback), Some(first));
    }
}
