//! Clocks and timers.
//!
//! | clock | counts from | changed by |
//! |---|---|---|
//! | [`monotonic`] | boot | nothing |
//! | [`boottime`] | boot, sleep included (there is none) | nothing |
//! | [`realtime`] | 1970 | [`set_realtime`] |
//!
//! [`arm`] calls back in interrupt context when a deadline (on the monotonic clock) has passed. [`handle_interrupt`] is the
//! timer interrupt's work: it fires what is due, says how many accounting ticks (100 Hz) have passed and programs the next
//! alarm: the earliest timer or, unless [`stop_tick`] was called, the next tick.
//!
//! Each CPU has a queue of its own with its own alarm and ticks; a timer fires on the CPU that armed it. A CPU that idles has no ticks.
//! The queue of a CPU that is off line stays where it is, so that its timers can be cancelled by their handles; another CPU *keeps* it ([`adopt`])
//! and fires what becomes due there, until the first one is back ([`resume`]).
//!
//! Lock order: a queue's lock (rank Timer, interrupts off) is never held while a callback runs, and never two at once.

pub mod timer_queue;

use crate::arch::{Cpu, Current, TimerHardware};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS, Nanoseconds, Ticks};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
pub use timer_queue::{TimerCallback, TimerHandle, TimerQueue};

/// Realtime less monotonic, in nanoseconds.
static REALTIME_OFFSET: AtomicU64 = AtomicU64::new(0);
/// How often the realtime clock was set: for timers that are to notice.
static CLOCK_CHANGES: AtomicU64 = AtomicU64::new(0);
/// Accounting ticks of all CPUs since boot.
static TICKS: AtomicU64 = AtomicU64::new(0);

struct State {
    queue: TimerQueue,
    /// The deadline that the hardware was given.
    alarm: Nanoseconds,
    /// The next accounting tick.
    next_tick: Nanoseconds,
    /// Whether ticks are wanted.
    ticking: bool,
    /// When the scheduler wants an interrupt.
    event: Nanoseconds,
    /// The CPUs off line whose queues this one keeps.
    kept: CpuMask,
    /// When the first timer of those is due, at the earliest.
    kept_deadline: Nanoseconds,
}

impl State {
    const fn new() -> Self {
        Self {
            queue: TimerQueue::new(),
            alarm: Nanoseconds::MAX,
            next_tick: Nanoseconds::MAX,
            ticking: false,
            event: Nanoseconds::MAX,
            kept: CpuMask::EMPTY,
            kept_deadline: Nanoseconds::MAX,
        }
    }

    /// Wants ticks from `now` on: at the same distances from boot as before they were stopped, so that a thread that runs
    /// between two of them is not spared each time.
    fn start_tick(&mut self, now: Nanoseconds) {
        if self.ticking {
            return;
        }
        self.ticking = true;
        self.next_tick = match self.next_tick {
            Nanoseconds::MAX => now.saturating_add(Nanoseconds::TICK),
            next if next > now => next,
            last => {
                let missed = now.saturating_sub(last).0 / Nanoseconds::TICK.0 + 1;
                last.saturating_add(Nanoseconds(missed * Nanoseconds::TICK.0))
            }
        };
        self.program();
    }

    /// The alarm has come: how many ticks have passed by `now`.
    fn take_ticks(&mut self, now: Nanoseconds) -> u64 {
        self.alarm = Nanoseconds::MAX;
        if self.event <= now {
            self.event = Nanoseconds::MAX;
        }
        if !self.ticking || self.next_tick > now {
            return 0;
        }
        let passed = now.saturating_sub(self.next_tick).0 / Nanoseconds::TICK.0 + 1;
        self.next_tick = self.next_tick.saturating_add(Nanoseconds(passed * Nanoseconds::TICK.0));
        passed
    }

    /// Gives the hardware its next deadline when it differs from what it has.
    fn program(&mut self) {
        let mut deadline =
            self.queue.next_deadline().unwrap_or(Nanoseconds::MAX).min(self.event).min(self.kept_deadline);
        if self.ticking {
            deadline = deadline.min(self.next_tick);
        }
        if deadline < self.alarm {
            self.alarm = deadline;
            Current::set_alarm(deadline);
        }
    }
}

static STATES: [SpinLock<State, InterruptsDisabled>; MAXIMUM_CPUS] =
    [const { SpinLock::new(LockRank::Timer, State::new()) }; MAXIMUM_CPUS];

fn state_of(cpu: CpuId) -> &'static SpinLock<State, InterruptsDisabled> {
    &STATES[cpu.0 as usize % MAXIMUM_CPUS]
}

/// Works on this CPU's queue, and stays on the CPU meanwhile.
#[inline]
fn with_own<T>(work: impl FnOnce(CpuId, &mut State) -> T) -> T {
    let interrupts = Current::save_and_disable_interrupts();
    let cpu = Current::id();
    let result = work(cpu, &mut state_of(cpu).lock());
    if interrupts {
        Current::enable_interrupts();
    }
    result
}

/// Time since boot. Never goes back.
#[inline]
#[must_use]
pub fn monotonic() -> Nanoseconds {
    Current::now()
}

/// Time since boot, sleep of the machine included.
#[inline]
#[must_use]
pub fn boottime() -> Nanoseconds {
    Current::now()
}

/// Time since 1970.
#[inline]
#[must_use]
pub fn realtime() -> Nanoseconds {
    Nanoseconds(monotonic().0.wrapping_add(REALTIME_OFFSET.load(Relaxed)))
}

/// Realtime less monotonic: what turns a deadline on one clock into one on the other (wrapping).
#[inline]
#[must_use]
pub fn realtime_offset() -> u64 {
    REALTIME_OFFSET.load(Relaxed)
}

/// Sets the realtime clock.
pub fn set_realtime(now: Nanoseconds) {
    REALTIME_OFFSET.store(now.0.wrapping_sub(monotonic().0), Relaxed);
    CLOCK_CHANGES.fetch_add(1, Relaxed);
    Current::publish_realtime_offset(REALTIME_OFFSET.load(Relaxed));
}

/// How often [`set_realtime`] was called.
#[must_use]
pub fn clock_changes() -> u64 {
    CLOCK_CHANGES.load(Relaxed)
}

/// Accounting ticks that CPUs have seen, all together.
#[must_use]
pub fn ticks() -> Ticks {
    Ticks(TICKS.load(Relaxed))
}

/// Reads the battery clock and starts the tick. Interrupts may come from now on.
pub fn initialize() {
    let seconds = Current::read_wall_clock().unwrap_or(0);
    let offset = Nanoseconds::from_seconds(seconds).0.wrapping_sub(monotonic().0);
    REALTIME_OFFSET.store(offset, Relaxed);
    Current::publish_realtime_offset(offset);
    start_tick();
}

/// Asks for ticks again after [`stop_tick`]: the CPU leaves its idle thread. The ticks that were missed are not made up for.
#[inline]
pub fn start_tick() {
    with_own(|_, state| state.start_tick(monotonic()));
}

/// Says that nobody needs ticks: the CPU idles. Timers go on; an alarm that was set for a tick still comes, once.
#[inline]
pub fn stop_tick() {
    with_own(|_, state| state.ticking = false);
}

/// Asks for a timer interrupt on this CPU at `event`; a later call replaces an earlier one.
pub fn set_event(event: Nanoseconds) {
    with_own(|_, state| {
        state.event = event;
        state.program();
    });
}

/// This CPU goes off line: its hardware is asked for nothing any more. Interrupts are disabled.
pub fn stop() {
    with_own(|_, state| {
        state.ticking = false;
        state.event = Nanoseconds::MAX;
        state.alarm = Nanoseconds::MAX;
    });
}

/// This CPU keeps the queue of `gone`, which has gone off line, and those that it kept.
pub fn adopt(gone: CpuId) {
    let (kept, first) = {
        let mut state = state_of(gone).lock();
        let kept = core::mem::take(&mut state.kept).with(gone);
        let first = state.queue.next_deadline().unwrap_or(Nanoseconds::MAX).min(state.kept_deadline);
        state.kept_deadline = Nanoseconds::MAX;
        (kept, first)
    };
    with_own(|_, state| {
        state.kept = state.kept.union(kept);
        state.kept_deadline = state.kept_deadline.min(first);
        state.program();
    });
}

/// This CPU comes (back) on line: its queue is its own. Interrupts are disabled.
pub fn resume() {
    let me = Current::id();
    for state in &STATES {
        state.lock().kept.remove(me);
    }
    with_own(|_, state| {
        state.alarm = Nanoseconds::MAX;
        state.program();
    });
}

/// Fires what is due on the queues of `kept`, and gives when the next one is.
#[cold]
fn fire_kept(kept: CpuMask, now: Nanoseconds) -> Nanoseconds {
    let mut next = Nanoseconds::MAX;
    for cpu in kept {
        loop {
            let Some((handle, callback)) = state_of(cpu).lock().queue.take_expired(now) else { break };
            callback.expired(handle);
        }
        next = next.min(state_of(cpu).lock().queue.next_deadline().unwrap_or(Nanoseconds::MAX));
    }
    next
}

/// Calls `callback` in interrupt context soon after `deadline` (monotonic).
pub fn arm(deadline: Nanoseconds, callback: Arc<dyn TimerCallback>) -> TimerHandle {
    with_own(|cpu, state| {
        let handle = state.queue.insert(cpu, deadline, callback);
        if deadline < state.alarm {
            state.program();
        }
        handle
    })
}

/// Takes a timer off. False when it has fired (its callback may still be running on another CPU) or was cancelled.
pub fn cancel(handle: TimerHandle) -> bool {
    let callback = state_of(handle.cpu()).lock().queue.remove(handle);
    // Dropped here, outside the lock.
    callback.is_some()
}

/// The timer interrupt: fires what is due and gives the number of accounting ticks that have passed. Interrupts are disabled.
pub fn handle_interrupt() -> Ticks {
    let now = monotonic();
    let state = state_of(Current::id());
    let (passed, kept) = {
        let mut state = state.lock();
        // Even if none is kept any more: the deadline is of the past.
        let kept = (state.kept_deadline <= now).then_some(state.kept);
        (state.take_ticks(now), kept)
    };
    loop {
        let Some((handle, callback)) = state.lock().queue.take_expired(now) else { break };
        callback.expired(handle);
    }
    if let Some(kept) = kept {
        let next = fire_kept(kept, now);
        state.lock().kept_deadline = next;
    }
    state.lock().program();
    if passed > 0 {
        TICKS.fetch_add(passed, Relaxed);
    }
    Ticks(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = Nanoseconds::TICK.0;

    #[test]
    fn ticks_come_every_hundredth_of_a_second_and_late_ones_count() {
        let mut state = State::new();
        state.start_tick(Nanoseconds(5));
        assert_eq!((state.next_tick, state.alarm), (Nanoseconds(TICK + 5), Nanoseconds(TICK + 5)));
        assert_eq!(state.take_ticks(Nanoseconds(TICK + 4)), 0);
        assert_eq!(state.take_ticks(Nanoseconds(TICK + 5)), 1);
        assert_eq!(state.take_ticks(Nanoseconds(4 * TICK + 6)), 3);
        assert_eq!(state.next_tick, Nanoseconds(5 * TICK + 5));
    }

    /// A timer of a CPU that is off line fires where its queue is kept, can still be cancelled, and leaves no alarm behind when the CPU is back.
    #[test]
    fn the_timers_of_a_cpu_that_has_gone_are_kept() {
        struct Count(AtomicU64);
        impl TimerCallback for Count {
            fn expired(&self, _handle: TimerHandle) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let gone = CpuId(61);
        let counted = Arc::new(Count(AtomicU64::new(0)));
        let handles = [10, 20].map(|deadline| {
            state_of(gone).lock().queue.insert(gone, Nanoseconds(deadline), counted.clone() as Arc<dyn TimerCallback>)
        });
        let next = fire_kept(CpuMask::single(gone), Nanoseconds(15));
        assert_eq!((counted.0.load(Relaxed), next), (1, Nanoseconds(20)));
        assert_eq!((cancel(handles[0]), cancel(handles[1])), (false, true));
        assert_eq!(fire_kept(CpuMask::single(gone), Nanoseconds(30)), Nanoseconds::MAX);
        assert_eq!(fire_kept(CpuMask::EMPTY, Nanoseconds(30)), Nanoseconds::MAX);
    }

    #[test]
    fn an_idle_cpu_has_no_ticks_and_keeps_their_phase() {
        let mut state = State::new();
        state.start_tick(Nanoseconds(5));
        state.ticking = false;
        assert_eq!(state.take_ticks(Nanoseconds(100 * TICK)), 0);
        state.program();
        assert_eq!(state.alarm, Nanoseconds::MAX, "nothing to wake up for");
        state.start_tick(Nanoseconds(100 * TICK));
        assert_eq!(state.alarm, Nanoseconds(100 * TICK + 5));
        // Stopped and started between two ticks: the next one is where it was.
        state.ticking = false;
        state.start_tick(Nanoseconds(100 * TICK + 4));
        assert_eq!(state.next_tick, Nanoseconds(100 * TICK + 5));
        state.start_tick(Nanoseconds(300 * TICK));
        assert_eq!(state.next_tick, Nanoseconds(100 * TICK + 5), "it runs already");
    }
}
