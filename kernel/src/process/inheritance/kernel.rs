//! The kernel's own sleeping locks in the graph: [`Lender`] filled.
//!
//! # How it goes with a lock that is not handed over
//! Who lets go makes the first waiter the holder, as far as the graph is concerned, and wakes it. Until that one has the lock's word, another may have taken it: then the first waiter
//! finds that when it looks, the other *seizes* the lock in the graph, and the first waits for it anew, lending to it as well. So between a release and the next look of a waiter the graph may name
//! a holder that is none: it is then lent what it needs to look soon.
//!
//! A thread that cannot be entered (memory is out, or it waits for a futex in the graph already) waits all the same, and lends nothing.

#![allow(unsafe_code, reason = "makes references of the holders that locks' words name")]

use super::graph::Handing;
use super::{Inheritance, LockKey, party};
use crate::process::dispatch::lend;
use crate::process::thread::{Thread, try_current_thread};
use crate::sync::lending::{Found, HolderIdentity, Lender, LockIdentity, Woken};
use crate::sync::parking::Unpark;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// The kernel's [`Lender`].
#[derive(Debug)]
pub(super) struct KernelLocks;

impl Lender for KernelLocks {
    fn want(&self, lock: LockIdentity, look: &mut dyn FnMut() -> Found) -> Found {
        let Some(thread) = try_current_thread() else { return look() };
        let key = LockKey::Kernel(lock);
        let mut graph = super::lock();
        let found = look();
        match found {
            Found::Taken => graph.has_taken(&key, &thread),
            Found::HeldBy(holder) => {
                // SAFETY: the word names it, and the graph is locked.
                let holder = unsafe { reference(holder) };
                // One that was never started is an idle thread, which is on no queue.
                if holder.started.load(Relaxed) && thread.started.load(Relaxed) {
                    graph.waits_for_holder(key, &holder, &thread);
                }
            }
            Found::HeldByNobody => {}
        }
        found
    }

    fn let_go(&self, lock: LockIdentity, holder: HolderIdentity) -> Woken {
        let key = LockKey::Kernel(lock);
        let mut graph = super::lock();
        let is_known = graph.0.holder(&key).is_some_and(|known| known.identity() == holder.0 as u64);
        if is_known { graph.pass_on(&key, Handing::Settled) } else { Woken::Nobody }
    }
}

impl Inheritance {
    fn seize(&mut self, key: &LockKey, holder: &Arc<Thread>) -> bool {
        if self.0.holder(key).is_none_or(|known| Arc::ptr_eq(known, holder)) {
            return true;
        }
        self.0.seize(key, party(holder), &mut |thread, standing| lend(thread, standing))
    }

    fn has_taken(&mut self, key: &LockKey, thread: &Arc<Thread>) {
        if self.0.waits_for(thread.identity()) == Some(*key) {
            self.leave(thread);
        }
        self.seize(key, thread);
    }

    fn waits_for_holder(&mut self, key: LockKey, holder: &Arc<Thread>, thread: &Arc<Thread>) {
        // What was said of somebody else before is not true any more.
        if self.seize(&key, holder) && self.0.waits_for(thread.identity()).is_none() {
            // Refused: it lends nothing.
            let _ = self.begin_wait(key, holder, thread);
        }
    }
}

/// A counted reference to the thread that a lock's word names.
///
/// # Safety
/// The word names it now, and the graph is locked: the holder comes to [`Lender::let_go`] before it can end.
unsafe fn reference(holder: HolderIdentity) -> Arc<Thread> {
    let thread = core::ptr::with_exposed_provenance::<Thread>(holder.0);
    // SAFETY: a thread's record begins with what the machine is given of it, and is in an `Arc`, which lives; see above.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}
