//! Asking other CPUs to run a function, and waiting until they have: what [`super::inter_processor::call_on`] is made of.
//!
//! A plain structure that is told which CPU it works for: the tests use threads as CPUs. Each CPU has a [`Mailbox`] with its one outgoing request and the set
//! of those whose requests wait for it. A request is valid, and what it borrows is borrowed, while its `waiting` is not empty. A CPU that waits serves
//! others meanwhile, so two that call each other both get on.

#![allow(unsafe_code, reason = "carries a function and its argument as untyped pointers")]

use super::{Cpu, Current};
use crate::base::{AtomicCpuMask, CpuId, CpuMask};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering, Ordering::Relaxed, fence};

/// The requests of each CPU: one outgoing, any number of incoming.
#[derive(Debug)]
pub struct CallTable<const CPUS: usize> {
    boxes: [Mailbox; CPUS],
}

/// One CPU's outgoing request, and who asks something of it. A line of its own: others spin on `waiting`.
#[derive(Debug)]
#[repr(align(64))]
struct Mailbox {
    /// The request: a `fn(&T)`, its `&T`, and what casts both back. Valid while `waiting` is not empty.
    function: AtomicPtr<()>,
    argument: AtomicPtr<()>,
    trampoline: AtomicPtr<()>,
    /// Who has not done it yet.
    waiting: AtomicCpuMask,
    /// Whose requests wait for this CPU.
    asked_by: AtomicCpuMask,
    /// How many requests it has served (`/proc/interrupts`).
    served: AtomicU32,
}

impl<const CPUS: usize> CallTable<CPUS> {
    /// Nobody asks for anything.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            boxes: [const {
                Mailbox {
                    function: AtomicPtr::new(core::ptr::null_mut()),
                    argument: AtomicPtr::new(core::ptr::null_mut()),
                    trampoline: AtomicPtr::new(core::ptr::null_mut()),
                    waiting: AtomicCpuMask::new(CpuMask::EMPTY),
                    asked_by: AtomicCpuMask::new(CpuMask::EMPTY),
                    served: AtomicU32::new(0),
                }
            }; CPUS],
        }
    }

    /// CPU `me` has `function` run with `argument` on each of `targets` but itself, tells those that do not know yet through `interrupt`, and
    /// returns when all have; it serves others meanwhile. `me` does nothing else until then: its interrupts are masked. Those that are not `online`
    /// any more are not waited for.
    pub fn call<T: Sync>(
        &self,
        me: CpuId,
        targets: CpuMask,
        function: fn(&T),
        argument: &T,
        interrupt: impl FnOnce(CpuMask),
        online: impl FnOnce() -> CpuMask,
    ) {
        let targets = targets.without(me);
        let Some(mine) = self.boxes.get(me.0 as usize).filter(|_| !targets.is_empty()) else { return };
        mine.function.store(function as *mut (), Relaxed);
        mine.argument.store(core::ptr::from_ref(argument).cast_mut().cast(), Relaxed);
        let trampoline: unsafe fn(*const (), *const ()) = run::<T>;
        mine.trampoline.store(trampoline as *mut (), Relaxed);
        mine.waiting.store(targets, Ordering::Release);
        // A CPU that leaves takes itself out of those online and *then* looks who waits for it ([`Self::retire`]).
        fence(Ordering::SeqCst);
        let gone = targets.difference(online());
        for cpu in gone {
            mine.waiting.remove(cpu, Ordering::SeqCst);
        }
        let targets = targets.difference(gone);
        let mut unaware = CpuMask::EMPTY;
        for target in targets {
            let Some(theirs) = self.boxes.get(target.0 as usize) else {
                mine.waiting.remove(target, Relaxed);
                continue;
            };
            // Sequentially consistent: the request is there before the target can see who asks, and an interrupt is on its way for each
            // mask that is not empty.
            if theirs.asked_by.insert(me, Ordering::SeqCst).is_empty() {
                unaware.insert(target);
            }
        }
        interrupt(unaware);
        while !mine.waiting.load(Ordering::Acquire).is_empty() {
            self.serve(me);
            Current::relax();
        }
    }

    /// CPU `me`, which is not online any more, serves what any of `others` has asked or is about to ask of it, until nobody waits for it.
    pub fn retire(&self, me: CpuId, others: CpuMask) {
        let others = others.without(me);
        fence(Ordering::SeqCst);
        let waits = |cpu: CpuId| {
            self.boxes.get(cpu.0 as usize).is_some_and(|other| other.waiting.load(Ordering::SeqCst).contains(me))
        };
        while others.iter().any(waits) {
            self.serve(me);
            Current::relax();
        }
    }

    /// Whether anybody asks something of `me`.
    #[inline]
    pub fn is_asked(&self, me: CpuId) -> bool {
        self.boxes.get(me.0 as usize).is_some_and(|mine| !mine.asked_by.load(Relaxed).is_empty())
    }

    /// CPU `me` does what is asked of it.
    #[inline]
    pub fn serve(&self, me: CpuId) {
        if self.is_asked(me) {
            self.serve_all(me);
        }
    }

    #[cold]
    fn serve_all(&self, me: CpuId) {
        let Some(mine) = self.boxes.get(me.0 as usize) else { return };
        for sender in mine.asked_by.swap(CpuMask::EMPTY, Ordering::SeqCst) {
            let Some(theirs) = self.boxes.get(sender.0 as usize) else { continue };
            let trampoline = theirs.trampoline.load(Relaxed);
            // SAFETY: the sender stored a `run::<T>` with the function and argument that belong to it before it added itself to `asked_by`, and
            // leaves all three alone, and the argument borrowed, until this CPU has taken itself out of `waiting`.
            unsafe {
                let trampoline = core::mem::transmute::<*mut (), unsafe fn(*const (), *const ())>(trampoline);
                trampoline(theirs.function.load(Relaxed), theirs.argument.load(Relaxed));
            }
            mine.served.fetch_add(1, Relaxed);
            theirs.waiting.remove(me, Ordering::Release);
        }
    }

    /// How many requests `cpu` has served.
    #[must_use]
    pub fn served(&self, cpu: CpuId) -> u32 {
        self.boxes.get(cpu.0 as usize).map_or(0, |mailbox| mailbox.served.load(Relaxed))
    }
}

impl<const CPUS: usize> Default for CallTable<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls a `fn(&T)` that was made untyped with its `&T`.
///
/// # Safety
/// `function` is a `fn(&T)` and `argument` a `&T` that is alive.
unsafe fn run<T>(function: *const (), argument: *const ()) {
    // SAFETY: the caller's promise.
    unsafe { core::mem::transmute::<*const (), fn(&T)>(function)(&*argument.cast::<T>()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, AtomicU64};

    /// CPUs as threads that poll in place of being interrupted.
    #[test]
    fn calls_that_cross_one_another_are_all_served_once() {
        const CPUS: u32 = 4;
        const ROUNDS: u64 = if cfg!(miri) { 5 } else { 500 };
        static TABLE: CallTable<4> = CallTable::new();
        static RUN: AtomicU64 = AtomicU64::new(0);
        static DONE: AtomicU32 = AtomicU32::new(0);
        fn count(argument: &AtomicU64) {
            argument.fetch_add(1, Relaxed);
            RUN.fetch_add(1, Relaxed);
        }
        let all = CpuMask::first_cpus(CPUS as usize);
        std::thread::scope(|scope| {
            for cpu in 0..CPUS {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let argument = AtomicU64::new(round);
                        TABLE.call(CpuId(cpu), all, count, &argument, |_| {}, || all);
                        assert_eq!(argument.load(Relaxed), round + u64::from(CPUS) - 1);
                    }
                    DONE.fetch_add(1, Ordering::SeqCst);
                    while DONE.load(Ordering::SeqCst) != CPUS {
                        TABLE.serve(CpuId(cpu));
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(RUN.load(Relaxed), u64::from(CPUS) * u64::from(CPUS - 1) * ROUNDS);
        assert_eq!((0..CPUS).map(|cpu| u64::from(TABLE.served(CpuId(cpu)))).sum::<u64>(), RUN.load(Relaxed));
    }

    #[test]
    fn only_those_that_do_not_know_are_interrupted() {
        static TABLE: CallTable<3> = CallTable::new();
        static GO_ON: AtomicBool = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                TABLE.call(
                    CpuId(0),
                    CpuMask::single(CpuId(2)),
                    |()| {},
                    &(),
                    |unaware| {
                        assert_eq!(unaware, CpuMask::single(CpuId(2)));
                        GO_ON.store(true, Ordering::SeqCst);
                    },
                    || CpuMask::ALL,
                );
            });
            while !GO_ON.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            scope.spawn(|| {
                TABLE.call(
                    CpuId(1),
                    CpuMask::single(CpuId(2)),
                    |()| {},
                    &(),
                    |unaware| {
                        assert!(unaware.is_empty(), "CPU 2 has been told and not come yet");
                    },
                    || CpuMask::ALL,
                );
            });
            while TABLE.boxes[2].asked_by.load(Relaxed).count() < 2 {
                std::thread::yield_now();
            }
            TABLE.serve(CpuId(2));
        });
        assert_eq!(TABLE.served(CpuId(2)), 2);
    }

    #[test]
    fn a_call_to_nobody_returns() {
        let table = CallTable::<2>::new();
        table.call(CpuId(0), CpuMask::single(CpuId(0)), |()| unreachable!(), &(), |_| unreachable!(), || CpuMask::ALL);
        table.call(
            CpuId(0),
            CpuMask::single(CpuId(9)),
            |()| unreachable!(),
            &(),
            |unaware| assert!(unaware.is_empty()),
            || CpuMask::ALL,
        );
    }

    /// A CPU that leaves while others call it: each call is served or not waited for, and the caller's argument is not used afterwards.
    #[test]
    fn who_leaves_serves_what_was_asked_and_nobody_waits_for_it_afterwards() {
        const ROUNDS: u64 = if cfg!(miri) { 5 } else { 500 };
        static TABLE: CallTable<3> = CallTable::new();
        for _ in 0..ROUNDS {
            let online = AtomicCpuMask::new(CpuMask::first_cpus(3));
            let (called, served) = (AtomicU64::new(0), AtomicU64::new(0));
            std::thread::scope(|scope| {
                for cpu in 0..2 {
                    let (online, called) = (&online, &called);
                    scope.spawn(move || {
                        for _ in 0..3 {
                            let argument = AtomicU64::new(0);
                            fn count(argument: &AtomicU64) {
                                argument.fetch_add(1, Relaxed);
                            }
                            let target = CpuMask::single(CpuId(2));
                            let read = || online.load(Ordering::SeqCst);
                            TABLE.call(CpuId(cpu), target, count, &argument, |_| {}, read);
                            called.fetch_add(argument.load(Relaxed), Relaxed);
                        }
                    });
                }
                let before = TABLE.served(CpuId(2));
                TABLE.serve(CpuId(2));
                online.remove(CpuId(2), Ordering::SeqCst);
                TABLE.retire(CpuId(2), CpuMask::first_cpus(3));
                served.store(u64::from(TABLE.served(CpuId(2)) - before), Relaxed);
            });
            assert_eq!(called.load(Relaxed), served.load(Relaxed));
        }
    }
}
