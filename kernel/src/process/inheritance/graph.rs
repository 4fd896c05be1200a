//! Who waits for which lock, who holds it, and what each waiter lends: plain data.
//!
//! A lock stands here while somebody waits for it (or while it is *unsettled*, below). A thread stands here while it waits for a lock or holds one that
//! stands here. A thread waits for one lock at most, so the graph is a forest of chains that run from waiters to holders; [`Graph::wait`] refuses
//! what would close a circle.
//!
//! # What is lent
//! A thread's *effective* standing is the highest of its own and those of all who wait for what it holds, through any number of holders. Whenever that
//! changes, `lend` is called with what the thread is to be lent: [`Standing::NOTHING`] when its own is the highest.
//!
//! # Handing over
//! A lock never stands here without a holder: who lets go makes the first waiter its holder. Where that cannot be said at once where
//! the lock itself is (its holder has ended), the lock is *unsettled* until the new holder has done so, and stands here even if nobody waits.
//!
//! # Invariants (`validate`)
//! - Waiters stand in order of their turn ([`Standing::turn`]), among equals the longest waiting first, each with its effective standing.
//! - A thread is a waiter of exactly the lock that it `waits_for`; it holds exactly the locks that name it.
//! - Effective standings are as above (but see [`DEPTH`]).

use crate::process::scheduler::Standing;
use alloc::vec::Vec;
use core::hash::Hash;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// The longest chain of holders that a waiter may have before it (Linux's `max_lock_depth`), and the furthest that a change of standing goes.
pub const DEPTH: usize = 1024;

/// A thread's number here: no two that are alive have the same.
pub type Identity = u64;

/// A thread, for its entry.
#[derive(Clone, Debug)]
pub struct Party<T> {
    /// Its number.
    pub identity: Identity,
    /// What leads to it.
    pub handle: T,
    /// Where it stands by itself.
    pub own: Standing,
}

/// Why a thread cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The holder waits, directly or through others, for the waiter; or the chain is too long.
    Deadlock,
    /// There is no memory for it.
    Memory,
}

/// Whether the new holder has to say something where the lock is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handing {
    /// It is said already.
    Settled,
    /// It will call [`Graph::settle`].
    Unsettled,
}

#[derive(Debug)]
struct Waiter {
    identity: Identity,
    standing: Standing,
}

#[derive(Debug)]
struct Lock {
    holder: Identity,
    waiters: Vec<Waiter>,
    handing: Handing,
}

impl Lock {
    /// Puts a waiter behind those whose turn comes before its.
    fn insert(&mut self, waiter: Waiter) {
        let place = self.waiters.partition_point(|other| other.standing.turn() >= waiter.standing.turn());
        self.waiters.insert(place, waiter);
    }

    fn remove(&mut self, identity: Identity) {
        self.waiters.retain(|waiter| waiter.identity != identity);
    }

    /// The highest standing of those that wait.
    fn highest(&self) -> Standing {
        match self.waiters.first() {
            Some(first) if first.standing.is_realtime() => first.standing,
            _ => self.waiters.iter().map(|waiter| waiter.standing).max().unwrap_or_default(),
        }
    }
}

#[derive(Debug)]
struct Node<L, T> {
    handle: T,
    own: Standing,
    effective: Standing,
    waits_for: Option<L>,
    holds: SmallVec<[L; 2]>,
}

/// Puts what is in `map` into a smaller one, if there can be one and there is memory for it. Gives the old one, empty.
fn take_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>) -> HashMap<K, V> {
    let mut smaller = HashMap::new();
    if smaller.try_reserve(map.len()).is_ok() && smaller.allocation_size() < map.allocation_size() {
        smaller.extend(map.drain());
        core::mem::swap(map, &mut smaller);
    }
    smaller
}

/// Locks that are waited for, and the threads that hold them or wait.
#[derive(Debug)]
pub struct Graph<L, T> {
    locks: HashMap<L, Lock>,
    threads: HashMap<Identity, Node<L, T>>,
}

impl<L: Copy + Eq + Hash, T: Clone> Default for Graph<L, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Copy + Eq + Hash, T: Clone> Graph<L, T> {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self { locks: HashMap::new(), threads: HashMap::new() }
    }

    /// Takes the room away that a crowd has left behind, if there is memory for what is there now: for the caller to drop.
    #[must_use]
    pub fn take_room(&mut self) -> Self {
        Self { locks: take_room(&mut self.locks), threads: take_room(&mut self.threads) }
    }

    /// How many locks stand here.
    #[must_use]
    pub fn lock_count(&self) -> usize {
        self.locks.len()
    }

    /// The holder of a lock that stands here.
    #[must_use]
    pub fn holder(&self, lock: &L) -> Option<&T> {
        self.threads.get(&self.locks.get(lock)?.holder).map(|node| &node.handle)
    }

    /// Whose turn is next.
    #[must_use]
    pub fn next(&self, lock: &L) -> Option<&T> {
        self.threads.get(&self.locks.get(lock)?.waiters.first()?.identity).map(|node| &node.handle)
    }

    /// What a thread waits for.
    #[must_use]
    pub fn waits_for(&self, identity: Identity) -> Option<L> {
        self.threads.get(&identity)?.waits_for
    }

    /// The locks that stand here and that a thread holds.
    pub fn held_by(&self, identity: Identity) -> impl Iterator<Item = L> + '_ {
        self.threads.get(&identity).into_iter().flat_map(|node| node.holds.iter().copied())
    }

    /// Whether `identity` has been made a lock's holder and has not settled that.
    #[must_use]
    pub fn is_to_settle(&self, lock: &L, identity: Identity) -> bool {
        self.locks.get(lock).is_some_and(|lock| lock.holder == identity && lock.handing == Handing::Unsettled)
    }

    /// `waiter` waits for `lock` from now on, which `holder` holds: the one that stands here already, if the lock does.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing has changed then.
    pub fn wait(
        &mut self,
        lock: L,
        holder: Party<T>,
        waiter: Party<T>,
        lend: &mut impl FnMut(&T, Standing),
    ) -> Result<(), Refusal> {
        let holding = self.locks.get(&lock).map_or(holder.identity, |found| found.holder);
        self.check_chain(holding, waiter.identity)?;
        if self.threads.get(&waiter.identity).is_some_and(|node| node.waits_for.is_some()) {
            return Err(Refusal::Deadlock);
        }
        self.reserve(&lock, holding)?;
        let standing = self.enter(&waiter).effective;
        if !self.locks.contains_key(&lock) {
            self.enter(&holder).holds.push(lock);
            let new = Lock { holder: holding, waiters: Vec::new(), handing: Handing::Settled };
            self.locks.insert(lock, new);
        }
        if let Some(found) = self.locks.get_mut(&lock) {
            found.insert(Waiter { identity: waiter.identity, standing });
        }
        if let Some(node) = self.threads.get_mut(&waiter.identity) {
            node.waits_for = Some(lock);
        }
        self.refresh(holding, lend);
        Ok(())
    }

    /// Room for one lock more, two threads more, and a waiter more on a lock.
    fn reserve(&mut self, lock: &L, holder: Identity) -> Result<(), Refusal> {
        let no_memory = |_| Refusal::Memory;
        self.locks.try_reserve(1).map_err(no_memory)?;
        self.threads.try_reserve(2).map_err(no_memory)?;
        if let Some(found) = self.locks.get_mut(lock) {
            found.waiters.try_reserve(1).map_err(|_| Refusal::Memory)?;
        } else if let Some(node) = self.threads.get_mut(&holder) {
            node.holds.try_reserve(1).map_err(|_| Refusal::Memory)?;
        }
        Ok(())
    }

    /// Whether `waiter` may wait for what `holder` holds.
    fn check_chain(&self, holder: Identity, waiter: Identity) -> Result<(), Refusal> {
        let mut identity = holder;
        for _ in 0..DEPTH {
            if identity == waiter {
                return Err(Refusal::Deadlock);
            }
            let next = self.threads.get(&identity).and_then(|node| node.waits_for.as_ref());
            let Some(lock) = next.and_then(|lock| self.locks.get(lock)) else { return Ok(()) };
            identity = lock.holder;
        }
        Err(Refusal::Deadlock)
    }

    /// The thread's entry, made if it has none.
    fn enter(&mut self, party: &Party<T>) -> &mut Node<L, T> {
        self.threads.entry(party.identity).or_insert_with(|| Node {
            handle: party.handle.clone(),
            own: party.own,
            effective: party.own,
            waits_for: None,
            holds: SmallVec::new(),
        })
    }

    /// A thread gives up waiting. False if it does not wait.
    pub fn leave(&mut self, identity: Identity, lend: &mut impl FnMut(&T, Standing)) -> bool {
        let Some(lock) = self.threads.get_mut(&identity).and_then(|node| node.waits_for.take()) else { return false };
        self.prune(identity);
        if let Some(found) = self.locks.get_mut(&lock) {
            found.remove(identity);
            let holder = found.holder;
            self.close_if_idle(&lock);
            self.refresh(holder, lend);
            self.prune(holder);
        }
        true
    }

    /// The holder lets a lock go, to whoever's turn is next: gives that thread. Without waiters the lock is gone.
    pub fn hand_over(&mut self, lock: &L, handing: Handing, lend: &mut impl FnMut(&T, Standing)) -> Option<T> {
        let found = self.locks.get_mut(lock)?;
        let old = found.holder;
        let next = (!found.waiters.is_empty()).then(|| found.waiters.remove(0).identity);
        if let Some(next) = next {
            found.holder = next;
            found.handing = handing;
        }
        if let Some(node) = self.threads.get_mut(&old) {
            node.holds.retain(|held| held != lock);
        }
        let mut handle = None;
        match next {
            Some(next) => {
                if let Some(node) = self.threads.get_mut(&next) {
                    node.waits_for = None;
                    node.holds.push(*lock);
                    handle = Some(node.handle.clone());
                }
                self.close_if_idle(lock);
                // Who gets the lock first: it may stand higher than who lets it go, and that one gives way sooner.
                self.refresh(next, lend);
                self.prune(next);
            }
            None => {
                self.locks.remove(lock);
            }
        }
        self.refresh(old, lend);
        self.prune(old);
        handle
    }

    /// `holder` has a lock that stands here, whoever had it before: nobody gave it to it. False when there is no memory to say so.
    pub fn seize(&mut self, lock: &L, holder: Party<T>, lend: &mut impl FnMut(&T, Standing)) -> bool {
        let Some(found) = self.locks.get(lock) else { return true };
        let old = found.holder;
        if old == holder.identity {
            return true;
        }
        if self.threads.try_reserve(1).is_err() || self.enter(&holder).holds.try_reserve(1).is_err() {
            self.prune(holder.identity);
            return false;
        }
        self.enter(&holder).holds.push(*lock);
        if let Some(found) = self.locks.get_mut(lock) {
            found.holder = holder.identity;
        }
        if let Some(node) = self.threads.get_mut(&old) {
            node.holds.retain(|held| held != lock);
        }
        self.refresh(holder.identity, lend);
        self.refresh(old, lend);
        self.prune(old);
        true
    }

    /// The new holder has said so where the lock is.
    pub fn settle(&mut self, lock: &L) {
        let Some(found) = self.locks.get_mut(lock) else { return };
        found.handing = Handing::Settled;
        let holder = found.holder;
        self.close_if_idle(lock);
        self.prune(holder);
    }

    /// A thread stands somewhere else by itself.
    pub fn set_own(&mut self, identity: Identity, own: Standing, lend: &mut impl FnMut(&T, Standing)) {
        let Some(node) = self.threads.get_mut(&identity) else { return };
        node.own = own;
        // What it is lent may change without its effective standing changing: it is worked out anew in any case.
        node.effective = Standing::NOTHING;
        self.refresh(identity, lend);
    }

    /// Takes a lock out that nobody waits for.
    fn close_if_idle(&mut self, lock: &L) {
        let Some(found) = self.locks.get(lock) else { return };
        if found.waiters.is_empty() && found.handing == Handing::Settled {
            if let Some(node) = self.threads.get_mut(&found.holder) {
                node.holds.retain(|held| held != lock);
            }
            self.locks.remove(lock);
        }
    }

    /// Takes a thread out that neither waits nor holds.
    fn prune(&mut self, identity: Identity) {
        if self.threads.get(&identity).is_some_and(|node| node.waits_for.is_none() && node.holds.is_empty()) {
            self.threads.remove(&identity);
        }
    }

    /// Where a thread is to stand.
    fn effective(&self, node: &Node<L, T>) -> Standing {
        let lent = node.holds.iter().filter_map(|lock| self.locks.get(lock)).map(Lock::highest).max();
        lent.map_or(node.own, |lent| lent.max(node.own))
    }

    /// Works a thread's standing out anew, and that of whoever it waits for, as far as it changes.
    fn refresh(&mut self, first: Identity, lend: &mut impl FnMut(&T, Standing)) {
        let mut identity = first;
        for _ in 0..DEPTH {
            let Some(node) = self.threads.get(&identity) else { return };
            let effective = self.effective(node);
            let Some(node) = self.threads.get_mut(&identity).filter(|node| node.effective != effective) else { return };
            node.effective = effective;
            lend(&node.handle, if effective > node.own { effective } else { Standing::NOTHING });
            let Some(lock) = node.waits_for.and_then(|lock| self.locks.get_mut(&lock)) else { return };
            // Behind its equals, as if it had just come (Linux).
            lock.remove(identity);
            lock.insert(Waiter { identity, standing: effective });
            identity = lock.holder;
        }
    }

    /// Checks the invariants.
    #[cfg(test)]
    pub fn validate(&self) {
        for (name, lock) in &self.locks {
            assert!(lock.waiters.is_sorted_by(|one, other| one.standing.turn() >= other.standing.turn()));
            assert!(!lock.waiters.is_empty() || lock.handing == Handing::Unsettled);
            for waiter in &lock.waiters {
                let node = &self.threads[&waiter.identity];
                assert!(node.waits_for.as_ref() == Some(name) && node.effective == waiter.standing);
            }
            assert_eq!(self.threads[&lock.holder].holds.iter().filter(|held| *held == name).count(), 1);
        }
        for (identity, node) in &self.threads {
            assert!(node.waits_for.is_some() || !node.holds.is_empty());
            assert_eq!(node.effective, self.effective(node));
            assert!(node.holds.iter().all(|held| self.locks[held].holder == *identity));
            let waits =
                |lock: &L| self.locks[lock].waiters.iter().filter(|waiter| waiter.identity == *identity).count();
            assert!(node.waits_for.as_ref().is_none_or(|lock| waits(lock) == 1));
        }
    }
}

#[cfg(test)]
mod tests;
