//! What dispatch keeps of each CPU, and what CPUs know of each other.
//!
//! # Locks
//! The lock of a CPU's [`Scheduler`] guards its queue, its running thread *and the switch*: it is kept across [`super::switch_to`] and let
//! go on the new stack, so whoever holds it finds every thread of that CPU either running or left completely. Of two, the lower CPU's
//! number is locked first ([`lock_pair`]).
//!
//! # Hints
//! [`IDLE`] and each CPU's `summary` are read without locks. A CPU that goes idle adds itself to [`IDLE`] and *then* looks at the others'
//! summaries; who puts a thread on a queue publishes the summary and *then* looks at [`IDLE`]; with a fence between on both sides, one
//! of the two sees the other, and nobody waits beside an idle CPU.

#![allow(unsafe_code, reason = "keeps a guard across a switch of stacks")]

use crate::arch::inter_processor::{self, InterProcessorInterrupt};
use crate::arch::{Cpu, Current};
use crate::base::{AtomicCpuMask, CpuId, CpuMask, MAXIMUM_CPUS};
use crate::process::scheduler::placement::{Topology, View};
use crate::process::scheduler::{Preempt, Priority, Scheduler};
use crate::process::thread::{Thread, ThreadPointer, ThreadState};
use crate::sync::spinlock::SpinLockGuard;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release, Ordering::SeqCst, fence,
};

/// A CPU's scheduler, locked.
pub(super) type Guard = SpinLockGuard<'static, Scheduler<ThreadPointer>, InterruptsDisabled>;

/// One CPU. On lines of its own: others read the summary often.
#[repr(align(128))]
pub(super) struct CpuState {
    scheduler: SpinLock<Scheduler<ThreadPointer>, InterruptsDisabled>,
    /// The scheduler's lock while stacks are switched.
    held: UnsafeCell<Option<Guard>>,
    /// The thread that runs when nobody else wants to; it is on no queue.
    pub idle: AtomicPtr<Thread>,
    /// Whose vector registers the CPU holds, if they are still those of that thread: see `user_state`. Never followed.
    pub extended_owner: AtomicPtr<Thread>,
    /// Whether one of the next three says something: what is looked at after each switch.
    pub has_afterwork: AtomicBool,
    /// The tick was stopped, for the CPU idled.
    pub tickless: AtomicBool,
    /// It was asked to come for a thread that waits somewhere, or left others waiting when it began to run.
    pub asked: AtomicBool,
    /// The thread that ended here, until the next one drops the scheduler's reference to it.
    pub left_behind: AtomicPtr<Thread>,
    /// When the scheduler wants to be called ([`Scheduler::next_event`]), in nanoseconds.
    pub event: AtomicU64,
    /// A thread was woken here by one that is expected to sleep: when it has waited long enough for that.
    pub sleep_expected: AtomicU64,
    /// When that is looked at: then, or before. What is no longer of interest then need not have been taken back.
    pub sleep_alarm: AtomicU64,
    /// When the running thread was switched to, in nanoseconds.
    pub switched_at: AtomicU64,
    pub switches: AtomicU64,
    /// Switches that left the idle thread.
    pub idle_ends: AtomicU64,
    /// How long threads had waited, in nanoseconds, that were switched to here or taken away; the idle thread, which waits while others run, among them.
    pub waited: AtomicU64,
    pub user_ticks: AtomicU64,
    pub nice_ticks: AtomicU64,
    pub system_ticks: AtomicU64,
    /// Ready and running threads, those that wait, and the running level plus one: 12, 12 and 8 bits from the top.
    summary: AtomicU32,
}

// SAFETY: `held` is touched by its own CPU alone, interrupts disabled, and holds a guard for the length of a switch; everything else may
// be shared.
unsafe impl Sync for CpuState {}

pub(super) static CPUS: [CpuState; MAXIMUM_CPUS] = [const {
    CpuState {
        scheduler: SpinLock::new(LockRank::RunQueue, Scheduler::new()),
        held: UnsafeCell::new(None),
        idle: AtomicPtr::new(null_mut()),
        extended_owner: AtomicPtr::new(null_mut()),
        left_behind: AtomicPtr::new(null_mut()),
        has_afterwork: AtomicBool::new(false),
        tickless: AtomicBool::new(false),
        asked: AtomicBool::new(false),
        event: AtomicU64::new(u64::MAX),
        sleep_expected: AtomicU64::new(u64::MAX),
        sleep_alarm: AtomicU64::new(u64::MAX),
        switched_at: AtomicU64::new(0),
        switches: AtomicU64::new(0),
        idle_ends: AtomicU64::new(0),
        waited: AtomicU64::new(0),
        user_ticks: AtomicU64::new(0),
        nice_ticks: AtomicU64::new(0),
        system_ticks: AtomicU64::new(0),
        summary: AtomicU32::new(0),
    }
}; MAXIMUM_CPUS];

/// The CPUs that have nothing to run and have not been given anything.
static IDLE: AtomicCpuMask = AtomicCpuMask::new(CpuMask::EMPTY);
/// The CPUs that may be given threads: those online, but for one that is on its way off line. Who puts a thread on a queue looks here under that queue's
/// lock; who takes a CPU out locks its queue afterwards.
static ACTIVE: AtomicCpuMask = AtomicCpuMask::new(CpuMask::single(CpuId(0)));
/// Whether a second CPU has ever run threads: until then nobody is asked about others.
static SEVERAL: AtomicBool = AtomicBool::new(false);
/// Made from a box that is kept for good; null for [`FLAT`].
static TOPOLOGY: AtomicPtr<Topology> = AtomicPtr::new(null_mut());
static FLAT: Topology = Topology::FLAT;

/// Says which CPUs are near which: at boot, and when a CPU has come up for the first time; until then all are equally near.
pub fn set_topology(topology: Topology) {
    TOPOLOGY.store(Box::into_raw(Box::new(topology)), Release);
}

#[inline]
pub(super) fn topology() -> &'static Topology {
    // SAFETY: null, or from a box that is never freed: somebody may be reading an older one.
    unsafe { TOPOLOGY.load(Acquire).as_ref() }.unwrap_or(&FLAT)
}

/// The CPUs that may be given threads.
#[inline]
#[must_use]
pub fn active() -> CpuMask {
    ACTIVE.load(SeqCst)
}

/// `cpu` may be given threads.
pub(super) fn activate(cpu: CpuId) {
    ACTIVE.insert(cpu, SeqCst);
}

/// `cpu` is given no further threads, once its queue has been locked.
pub(super) fn deactivate(cpu: CpuId) {
    ACTIVE.remove(cpu, SeqCst);
    claim(cpu);
}

/// Whether this CPU is, and always was, the only one.
#[inline]
pub(super) fn is_alone() -> bool {
    !SEVERAL.load(Relaxed)
}

/// A second CPU is about to run threads: this one, the only one until now, tells what it has.
pub(super) fn set_several() {
    if is_alone() {
        let _interrupts = super::Uninterrupted::new();
        let cpu = this_cpu();
        let scheduler = cpu.lock();
        SEVERAL.store(true, Release);
        cpu.publish(&scheduler);
    }
}

#[inline]
pub(super) fn cpu_state(cpu: CpuId) -> &'static CpuState {
    &CPUS[cpu.0 as usize % MAXIMUM_CPUS]
}

/// This CPU's. Interrupts are disabled, or the caller does not mind another one's.
#[inline]
pub(super) fn this_cpu() -> &'static CpuState {
    cpu_state(Current::id())
}

impl CpuState {
    /// The thread that runs when nobody else wants to, once there is one.
    pub fn idle_thread(&self) -> Option<&'static Thread> {
        // SAFETY: the idle thread's reference is kept for good; see `adopt_idle_thread`.
        unsafe { self.idle.load(Relaxed).as_ref() }
    }

    /// It is to look for threads that wait, or has to ask others to.
    pub fn set_asked(&self) {
        self.asked.store(true, Release);
        self.has_afterwork.store(true, Release);
    }

    #[inline]
    pub fn lock(&'static self) -> Guard {
        self.scheduler.lock()
    }

    /// Keeps the lock over a switch of stacks.
    ///
    /// # Safety
    /// It is this CPU's own, interrupts are disabled, and a [`Self::take_held`] follows, on whatever stack, before anything else of dispatch.
    #[inline]
    pub unsafe fn hold(&self, guard: Guard) {
        // SAFETY: only this CPU touches the cell, and it is empty: the last switch has taken what was in it.
        unsafe { self.held.get().write(Some(guard)) };
    }

    /// The lock that was kept over the switch.
    ///
    /// # Safety
    /// It is this CPU's own and interrupts are disabled.
    #[inline]
    pub unsafe fn take_held(&self) -> Option<Guard> {
        // SAFETY: only this CPU touches the cell.
        unsafe { (*self.held.get()).take() }
    }

    /// `thread`, which has waited on this CPU's queue, does so no more. The queue's lock is held.
    #[inline]
    pub fn end_wait(&self, thread: &Thread, now: u64) {
        let waited = now.saturating_sub(thread.waiting_since.load(Relaxed));
        thread.wait_time.store(thread.wait_time.load(Relaxed) + waited, Relaxed);
        self.waited.store(self.waited.load(Relaxed) + waited, Relaxed);
    }

    /// Tells the others what `scheduler`, this CPU's, has now.
    #[inline]
    pub fn publish(&self, scheduler: &Scheduler<ThreadPointer>) {
        if !is_alone() {
            const MOST: u32 = 0xfff;
            let level = scheduler.running_level().map_or(0, |level| level as u32 + 1);
            let (load, waiting) = (scheduler.load().min(MOST), scheduler.waiting().min(MOST));
            self.summary.store(load << 20 | waiting << 8 | level, Relaxed);
        }
    }

    /// Whether neither a thread runs nor one waits, or is to be given time later.
    pub fn is_empty(scheduler: &Scheduler<ThreadPointer>) -> bool {
        scheduler.current().is_none() && scheduler.waiting() == 0 && scheduler.throttled_thread().is_none()
    }

    /// How many threads wait, as last published.
    #[inline]
    pub fn waiting(&self) -> u32 {
        self.summary.load(Relaxed) >> 8 & 0xfff
    }

    /// How many are ready or running, likewise; exact where there is one CPU.
    pub fn load(&self) -> u32 {
        if is_alone() { self.scheduler.lock().load() } else { self.summary.load(Relaxed) >> 20 }
    }
}

/// The queue of the CPU where `thread` is, locked, so that it stays there.
#[inline]
pub(super) fn lock_queue_of(thread: &Thread) -> (CpuId, Guard) {
    loop {
        let cpu = thread.entity.cpu();
        let guard = cpu_state(cpu).lock();
        if thread.entity.cpu() == cpu {
            return (cpu, guard);
        }
    }
}

/// Two CPUs' queues, the lower number's first; given in the order asked for.
pub(super) fn lock_pair(one: CpuId, other: CpuId) -> (Guard, Guard) {
    if one < other {
        let first = cpu_state(one).scheduler.lock();
        // The second order of this rank: CPU numbers rise.
        let second = cpu_state(other).scheduler.lock_nested();
        (first, second)
    } else {
        let first = cpu_state(other).scheduler.lock();
        let second = cpu_state(one).scheduler.lock_nested();
        (second, first)
    }
}

/// The CPUs that idle, after what the caller has published.
#[inline]
pub(super) fn idle_cpus() -> CpuMask {
    fence(SeqCst);
    IDLE.load(Relaxed).intersection(active())
}

/// Whether `cpu` is among them.
#[inline]
pub(super) fn is_marked_idle(cpu: CpuId) -> bool {
    IDLE.load(Acquire).contains(cpu)
}

/// This CPU has nothing to run; what others publish from now on concerns it.
pub(super) fn mark_idle(cpu: CpuId) {
    IDLE.insert(cpu, SeqCst);
    // Before the looks at the others' summaries: on some machines an atomic change alone does not order what is read after it.
    fence(SeqCst);
}

/// `cpu` has been given something, or was asked for help: nobody else is to count on it. Says whether it idled until now.
#[inline]
pub(super) fn claim(cpu: CpuId) -> bool {
    IDLE.load(Relaxed).contains(cpu) && IDLE.remove(cpu, AcqRel).contains(cpu)
}

/// Asks the idle `cpu` to come for a thread that waits somewhere.
pub(super) fn ask(cpu: CpuId) {
    cpu_state(cpu).set_asked();
    interrupt(cpu);
}

/// Has the thread that runs on `cpu` give way at the next opportunity.
#[inline]
pub(super) fn request(cpu: CpuId, preempt: Preempt) {
    if preempt == Preempt::Yes {
        if is_alone() || cpu == Current::id() {
            Current::local().request_reschedule();
        } else {
            interrupt(cpu);
        }
    }
}

/// What was noted for `thread` has its CPU look, if it runs on another one. A CPU that goes over to the thread now sees the note by itself: both say what they
/// do, fence, and look (`user_state::prepare_user`).
pub(super) fn interrupt_if_running_elsewhere(thread: &Thread) {
    if is_alone() {
        return;
    }
    fence(SeqCst);
    let cpu = thread.entity.cpu();
    if thread.state() == ThreadState::Running && !thread.is_current() {
        interrupt(cpu);
    }
}

fn interrupt(cpu: CpuId) {
    inter_processor::send_interrupt(CpuMask::single(cpu), InterProcessorInterrupt::Reschedule);
}

/// What is known of the other CPUs, as placement asks for it.
pub(super) struct Hints;

impl View for Hints {
    #[inline]
    fn online(&self) -> CpuMask {
        active()
    }
    #[inline]
    fn idle(&self) -> CpuMask {
        IDLE.load(Relaxed)
    }
    fn load(&self, cpu: CpuId) -> u32 {
        cpu_state(cpu).summary.load(Relaxed) >> 20
    }
    fn running_level(&self, cpu: CpuId) -> Option<Priority> {
        Priority::from_index((cpu_state(cpu).summary.load(Relaxed) as usize & 0xff).checked_sub(1)?)
    }
}
