//! Who waits for a sleeping lock lends its standing to the thread that holds it: a trait that `process` fills, so that locks need not know what standing is.
//!
//! A lock's word says who holds it. Where it is contended, word and the record of who waits change together: the lender calls back with its own lock
//! held, and what the word says *then* is what it goes by. A holder that finds its lock contended when it lets go comes by here before it does anything else. So a holder that
//! the word names under the lender's lock is alive, and stays so until that lock is free.

use core::sync::atomic::{AtomicUsize, Ordering};
use spin::Once;

/// A sleeping lock: its address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LockIdentity(pub usize);

/// A thread that holds one: the address of its record ([`crate::arch::ThreadHead`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HolderIdentity(pub usize);

/// What a thread that wants a lock found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// It has the lock.
    Taken,
    /// Somebody else has it, who comes to [`Lender::let_go`].
    HeldBy(HolderIdentity),
    /// Nobody knows who has it.
    HeldByNobody,
}

/// Whether somebody was woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// The thread whose turn it is.
    Next,
    /// Nobody that the record knows waits.
    Nobody,
}

/// Who keeps the record. Thread context; no spinlock is held.
pub trait Lender: Sync {
    /// The running thread wants `lock`: `look`, called with the record locked, says what it finds. Where it finds a holder, the thread waits for that one from now on, until
    /// it takes the lock.
    fn want(&self, lock: LockIdentity, look: &mut dyn FnMut() -> Found) -> Found;
    /// `holder`, the running thread, has let a contended lock go: the thread whose turn it is is woken, if one is known, and nobody lends to `holder` for the lock any more, both
    /// before it can be preempted.
    fn let_go(&self, lock: LockIdentity, holder: HolderIdentity) -> Woken;
}

static LENDER: Once<&'static dyn Lender> = Once::new();

/// Registers who keeps the record, once, at boot.
pub fn set_lender(lender: &'static dyn Lender) {
    LENDER.call_once(|| lender);
}

/// The word of a sleeping lock: [`FREE`], or who holds it and whether somebody may wait.
#[derive(Debug)]
pub(super) struct OwnerWord(AtomicUsize);

const FREE: usize = 0;
/// Somebody may wait.
const CONTENDED: usize = 1;
/// Somebody has it: in the word of every held lock, so that it is not [`FREE`] before there are threads. What is left is the holder.
const HELD: usize = 2;
/// Held by a thread that nobody knows.
const BY_NOBODY: usize = HELD;

const _: () = assert!(align_of::<crate::arch::ThreadHead>() > CONTENDED | HELD);

impl OwnerWord {
    pub const fn new() -> Self {
        Self(AtomicUsize::new(FREE))
    }

    /// What the word of the running thread's lock says.
    #[inline]
    fn own_mark() -> usize {
        <crate::arch::Current as crate::arch::Cpu>::current_thread().addr() | HELD
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_take(&self) -> bool {
        self.0.compare_exchange(FREE, Self::own_mark(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Frees the lock. Says who is then to call [`Self::let_go`], because somebody may wait.
    #[inline]
    pub fn free(&self) -> Option<usize> {
        let old = self.0.swap(FREE, Ordering::Release);
        (old & CONTENDED != 0).then_some(old & !CONTENDED)
    }

    /// The rest of [`Self::free`]: wakes the thread whose turn it is, if one is known.
    #[cold]
    pub fn let_go(&self, mark: usize) -> Woken {
        match LENDER.get() {
            Some(lender) if mark != BY_NOBODY => lender.let_go(self.identity(), HolderIdentity(mark & !HELD)),
            _ => Woken::Nobody,
        }
    }

    /// Takes the lock if it is free, and else says in the word that somebody waits.
    pub fn want(&self) -> Found {
        match LENDER.get() {
            Some(lender) => lender.want(self.identity(), &mut || self.take_or_mark()),
            None => self.take_or_mark(),
        }
    }

    fn take_or_mark(&self) -> Found {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            // Who gets it after waiting cannot know whether others wait.
            let new = if seen == FREE { Self::own_mark() } else { seen } | CONTENDED;
            match self.0.compare_exchange(seen, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(FREE) => return Found::Taken,
                Ok(held) if held & !CONTENDED == BY_NOBODY => return Found::HeldByNobody,
                Ok(held) => return Found::HeldBy(HolderIdentity(held & !(CONTENDED | HELD))),
                Err(now) => seen = now,
            }
        }
    }

    fn identity(&self) -> LockIdentity {
        LockIdentity(core::ptr::from_ref(self).addr())
    }
}
