//! Waiting and waking with host threads: each has a token of its own, as `process` gives its threads one.

use super::*;
use alloc::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use std::vec::Vec;

/// No wait in these tests takes as long unless a wake-up was lost.
const LOST: Duration = Duration::from_secs(20);

/// A thread that parks on a token.
struct HostThread {
    identity: u64,
    token: Mutex<bool>,
    arrived: Condvar,
}

impl HostThread {
    fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let identity = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { identity, token: Mutex::new(false), arrived: Condvar::new() })
    }
    fn reference(self: &Arc<Self>) -> ThreadReference {
        self.clone()
    }
    /// Waits for the token and takes it; `TimedOut` when none comes for so long that it must have been lost.
    fn park(&self) -> WakeReason {
        let token = self.token.lock().unwrap();
        let (mut token, timeout) = self.arrived.wait_timeout_while(token, LOST, |token| !*token).unwrap();
        *token = false;
        if timeout.timed_out() { WakeReason::TimedOut } else { WakeReason::Woken }
    }
}

impl parking::Unpark for HostThread {
    fn unpark(&self) {
        *self.token.lock().unwrap() = true;
        self.arrived.notify_one();
    }
    fn identity(&self) -> u64 {
        self.identity
    }
}

impl WaitQueue {
    fn wait_on_host<T>(&self, condition: impl FnMut() -> Option<T>) -> Result<T, WaitError> {
        let thread = HostThread::new();
        self.wait_parked(|| Some(thread.reference()), |_| thread.park(), condition)
    }
}

/// A thread that queues up again as soon as it is woken, as one does that runs at once and finds its condition false.
struct Persistent {
    queue: Arc<WaitQueue>,
    this: alloc::sync::Weak<Self>,
    identity: u64,
    woken: AtomicUsize,
}

impl parking::Unpark for Persistent {
    fn unpark(&self) {
        if self.woken.fetch_add(1, Ordering::Relaxed) < 100
            && let Some(this) = self.this.upgrade()
        {
            let thread: ThreadReference = this;
            self.queue.add(&thread);
        }
    }
    fn identity(&self) -> u64 {
        self.identity
    }
}

#[test]
fn waking_all_wakes_each_waiter_once_however_soon_it_queues_up_again() {
    let queue = Arc::new(WaitQueue::new());
    let waiters: Vec<_> = (0..3)
        .map(|identity| {
            Arc::new_cyclic(|this| Persistent {
                queue: queue.clone(),
                this: this.clone(),
                identity,
                woken: AtomicUsize::new(0),
            })
        })
        .collect();
    for waiter in &waiters {
        let thread: ThreadReference = waiter.clone();
        queue.add(&thread);
    }
    let woken = || waiters.iter().map(|waiter| waiter.woken.load(Ordering::Relaxed)).collect::<Vec<_>>();
    queue.wake_all();
    assert_eq!(woken(), [1, 1, 1]);
    assert!(queue.wake_one());
    assert_eq!(woken(), [2, 1, 1], "the one that has waited longest");
    queue.wake_all();
    assert_eq!(woken(), [3, 2, 2]);
    for waiter in &waiters {
        let thread: ThreadReference = waiter.clone();
        queue.remove(&thread);
        queue.remove(&thread);
    }
    assert!(queue.is_empty() && !queue.wake_one());
}

#[test]
fn a_thread_is_on_the_queue_once() {
    let queue = WaitQueue::new();
    let thread = HostThread::new();
    queue.add(&thread.reference());
    queue.add(&thread.reference());
    assert!(queue.wake_one() && !queue.wake_one());
    assert_eq!(thread.park(), WakeReason::Woken);
}

#[test]
fn a_wake_up_between_the_check_and_the_sleep_is_not_lost() {
    let queue = WaitQueue::new();
    let ready = AtomicBool::new(false);
    let mut checks = 0;
    let result = queue.wait_on_host(|| {
        checks += 1;
        if checks == 2 {
            // After the last look and before the sleep: the worst moment.
            let seen = ready.load(Ordering::SeqCst);
            ready.store(true, Ordering::SeqCst);
            queue.wake_all();
            return seen.then_some(());
        }
        ready.load(Ordering::SeqCst).then_some(())
    });
    assert_eq!((result, checks), (Ok(()), 3));
    assert!(queue.is_empty());
}

#[test]
fn the_condition_wins_over_the_reason() {
    let queue = WaitQueue::new();
    let thread = HostThread::new();
    for reason in [WakeReason::TimedOut, WakeReason::Interrupted] {
        let mut checks = 0;
        let mut third = || {
            checks += 1;
            (checks == 3).then_some(checks)
        };
        assert_eq!(queue.wait_parked(|| Some(thread.reference()), |_| reason, &mut third), Ok(3));
    }
    let timed_out = queue.wait_parked(|| Some(thread.reference()), |_| WakeReason::TimedOut, || None::<()>);
    assert_eq!(timed_out, Err(WaitError::TimedOut));
    assert!(queue.is_empty());
}

/// A waiter that is on the queue already finds its condition true, and wakes the next one as part of it: that one must not be itself.
#[test]
fn a_wake_up_from_within_a_condition_reaches_another_waiter() {
    for wakes_before_look in [1, 2, 3] {
        let queue = WaitQueue::new();
        let (leaving, waiting) = (HostThread::new(), HostThread::new());
        let mut looks = 0;
        let result = queue.wait_parked(
            || Some(leaving.reference()),
            |_| {
                // Behind the one that leaves.
                queue.add(&waiting.reference());
                assert!(queue.wake_one());
                leaving.park()
            },
            || {
                looks += 1;
                if looks == 2 && wakes_before_look == 2 {
                    queue.add(&waiting.reference());
                }
                (looks == wakes_before_look).then(|| queue.wake_one())
            },
        );
        let woken = *waiting.token.lock().unwrap();
        assert_eq!((result.is_ok(), woken), (true, wakes_before_look != 1));
    }
}

/// A wake-up that comes between a waiter's success and its leaving, or to one that gives up, goes to the next.
#[test]
fn a_wake_up_that_comes_too_late_for_one_goes_to_the_next() {
    for reason in [WakeReason::Woken, WakeReason::TimedOut, WakeReason::Interrupted] {
        let queue = WaitQueue::new();
        let (leaving, waiting) = (HostThread::new(), HostThread::new());
        let mut looks = 0;
        let result = queue.wait_parked(
            || Some(leaving.reference()),
            |_| {
                queue.add(&waiting.reference());
                assert!(queue.wake_one());
                reason
            },
            || {
                looks += 1;
                let succeeds = reason == WakeReason::Woken && looks == 2;
                succeeds.then(|| {
                    queue.add(&waiting.reference());
                    // Somebody else's, for the unit after the one that was just taken.
                    assert!(queue.wake_one());
                })
            },
        );
        assert_eq!(result.is_ok(), reason == WakeReason::Woken);
        assert!(*waiting.token.lock().unwrap(), "a wake-up was lost");
    }
}

/// Producers add units one at a time and wake one consumer for each; every unit is consumed. A lost wake-up leaves a consumer asleep.
#[test]
fn no_unit_waits_for_ever_under_stress() {
    const UNITS: usize = 3000;
    const SIDES: usize = 3;
    let queue = WaitQueue::new();
    let units = AtomicUsize::new(0);
    let take = || units.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |units| units.checked_sub(1)).ok();
    std::thread::scope(|scope| {
        for _ in 0..SIDES {
            scope.spawn(|| (0..UNITS).for_each(|_| assert!(queue.wait_on_host(take).is_ok(), "a wake-up was lost")));
            scope.spawn(|| {
                for _ in 0..UNITS {
                    units.fetch_add(1, Ordering::SeqCst);
                    queue.wake_one();
                }
            });
        }
    });
    assert_eq!(units.load(Ordering::SeqCst), 0);
    assert!(queue.is_empty());
}

/// Two threads hand a turn to and fro: each step is one wake-up that must not be lost.
#[test]
fn turns_are_handed_to_and_fro_under_stress() {
    const TURNS: usize = 3000;
    let queues = [WaitQueue::new(), WaitQueue::new()];
    let turn = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for side in 0..2 {
            let (queues, turn) = (&queues, &turn);
            scope.spawn(move || {
                for _ in 0..TURNS {
                    let mine = || (turn.load(Ordering::SeqCst) % 2 == side).then_some(());
                    assert!(queues[side].wait_on_host(mine).is_ok(), "a wake-up was lost");
                    turn.fetch_add(1, Ordering::SeqCst);
                    queues[1 - side].wake_all();
                }
            });
        }
    });
    assert_eq!(turn.load(Ordering::SeqCst), 2 * TURNS);
}
