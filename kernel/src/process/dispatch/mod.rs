//! Acting on the scheduler's decisions: switching threads, sleeping and waking, and the idle loop.
//!
//! Each CPU has a [`Scheduler`] in a lock of rank `RunQueue`. Everything here that switches runs with interrupts disabled, and the run
//! queue's lock is let go before the switch: what keeps another CPU from running the thread that is being left is that threads stay
//! on the CPU they are queued on.
//!
//! # Sleeping and waking
//! [`park`]: under the run queue's lock, the state becomes Blocked or Sleeping and *then* the token, the signals and the deadline are
//! looked at once more. [`wake`]: the token is set and *then* the state is looked at; only a sleeping thread's queue is
//! locked. Both are sequentially consistent, so one of the two sees the other; no wake-up is lost, and waking a thread that does not
//! sleep costs two memory accesses.
//!
//! # Whose registers are in the CPU
//! Vector registers are saved when *another* user thread is about to use them, not when their owner is left: the idle thread and kernel
//! threads do not disturb them. The same holds for the address space. A thread that ends gives both up first.
//!
//! # Invariants
//! - A thread's `context` is valid whenever it is not Running.
//! - `left_behind` holds the scheduler's reference to a thread that has ended from its last switch until the next thread drops it.

#![allow(unsafe_code, reason = "switches stacks and keeps threads alive by hand")]

mod accounting;
pub mod deadline;
mod user_state;

pub use accounting::{CpuTimes, TickMode, cpu_times, runnable_count, runtime, switch_count, tick};
pub use user_state::{
    release_address_space, reset_user_registers, save_extended_state, second_thread_pointer, set_second_thread_pointer,
    use_address_space,
};

use super::context::SwitchContext;
use super::scheduler::{Decision, Preempt, Scheduler};
use super::thread::{Thread, ThreadPointer, ThreadState, try_current_thread};
use crate::arch::{ContextSwitch, Cpu, Current, TimerHardware, TrapFrame};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS, Nanoseconds, VirtualAddress};
use crate::memory::frame_allocator;
use crate::sync::parking::{ThreadReference, Unpark};
use crate::sync::{Interruptible, InterruptsDisabled, LockRank, Parker, SpinLock, WakeReason};
use crate::time;
use alloc::sync::Arc;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use spin::Once;

struct CpuState {
    scheduler: SpinLock<Scheduler<ThreadPointer>, InterruptsDisabled>,
    /// The thread that runs when nobody else wants to; it is on no queue.
    idle: AtomicPtr<Thread>,
    /// Whose vector registers the CPU holds.
    extended_owner: AtomicPtr<Thread>,
    left_behind: AtomicPtr<Thread>,
    /// When the running thread was switched to, in nanoseconds.
    switched_at: AtomicU64,
    switches: AtomicU64,
    user_ticks: AtomicU64,
    nice_ticks: AtomicU64,
    system_ticks: AtomicU64,
}

static CPUS: [CpuState; MAXIMUM_CPUS] = [const {
    CpuState {
        scheduler: SpinLock::new(LockRank::RunQueue, Scheduler::new()),
        idle: AtomicPtr::new(null_mut()),
        extended_owner: AtomicPtr::new(null_mut()),
        left_behind: AtomicPtr::new(null_mut()),
        switched_at: AtomicU64::new(0),
        switches: AtomicU64::new(0),
        user_ticks: AtomicU64::new(0),
        nice_ticks: AtomicU64::new(0),
        system_ticks: AtomicU64::new(0),
    }
}; MAXIMUM_CPUS];

impl CpuState {
    /// The thread that runs when nobody else wants to, once there is one.
    fn idle_thread(&self) -> Option<&'static Thread> {
        // SAFETY: the idle thread's reference is kept for good; see `adopt_idle_thread`.
        unsafe { self.idle.load(Relaxed).as_ref() }
    }
}

#[inline]
fn cpu_state(cpu: CpuId) -> &'static CpuState {
    &CPUS[cpu.0 as usize % MAXIMUM_CPUS]
}

#[inline]
fn this_cpu() -> &'static CpuState {
    cpu_state(Current::id())
}

/// Interrupts disabled until dropped, and then as they were.
struct Uninterrupted(bool);

impl Uninterrupted {
    #[inline]
    fn new() -> Self {
        Self(Current::save_and_disable_interrupts())
    }
}

impl Drop for Uninterrupted {
    #[inline]
    fn drop(&mut self) {
        if self.0 {
            Current::enable_interrupts();
        }
    }
}

/// Turns the code that runs now (the boot path) into this CPU's idle thread and registers the scheduler with `sync`.
pub fn adopt_idle_thread(thread: Arc<Thread>) {
    let pointer = Arc::into_raw(thread).cast_mut();
    let cpu = this_cpu();
    cpu.idle.store(pointer, Relaxed);
    cpu.switched_at.store(Current::now().0, Relaxed);
    // SAFETY: just made from an `Arc` whose reference is kept for good.
    unsafe {
        (*pointer).set_state(ThreadState::Running);
        let _interrupts = Uninterrupted::new();
        Current::set_current_thread(pointer.cast_const().cast());
    }
    crate::sync::set_parker(&DISPATCHER);
}

/// What the boot path becomes: runs others, and sleeps when there are none.
pub fn run_idle() -> ! {
    loop {
        Current::disable_interrupts();
        if Current::local().need_reschedule() {
            reschedule();
            Current::enable_interrupts();
        } else if frame_allocator::zero_ahead() {
            // One at a time, and with interrupts masked: whoever wakes waits for one at most, and does not find the frames taken.
            Current::enable_interrupts();
        } else {
            time::stop_tick();
            Current::wait_for_interrupt();
        }
    }
}

impl Thread {
    /// Makes a thread ready that was created: it begins in [`begin`], with the stack below its user registers. Once; from then on it
    /// belongs to this CPU.
    pub fn start(self: &Arc<Self>) {
        if self.started.swap(true, Relaxed) {
            return;
        }
        let entry = VirtualAddress::new(begin as *const () as u64);
        // SAFETY: a thread that has not been started is run by no CPU, and only its creator starts it.
        unsafe { *self.context.get() = SwitchContext::kernel(entry, self.frame_address()) };
        let Some(member) = NonNull::new(Arc::into_raw(self.clone()).cast_mut()) else { return };
        self.entity.set_cpu(Current::id());
        let mut scheduler = this_cpu().scheduler.lock();
        let preempt = scheduler.wake(ThreadPointer(member), Current::now);
        drop(scheduler);
        request(preempt);
    }

    /// The thread as its queue knows it.
    fn member(&self) -> ThreadPointer {
        ThreadPointer(NonNull::from(self))
    }
}

/// Has the running thread give way at the next opportunity.
#[inline]
fn request(preempt: Preempt) {
    if preempt == Preempt::Yes {
        Current::local().request_reschedule();
    }
}

/// Gives a thread its token and makes it ready if it sleeps. Any context.
#[inline]
pub fn wake(thread: &Thread) {
    if !thread.token.swap(true, SeqCst) && thread.state_in_order().is_asleep() {
        rouse(thread);
    }
}

impl Unpark for Thread {
    fn unpark(&self) {
        wake(self);
    }
    fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
}

/// Makes a sleeping thread ready.
fn rouse(thread: &Thread) {
    let cpu = cpu_state(thread.entity.cpu());
    let mut scheduler = cpu.scheduler.lock();
    if !thread.state().is_asleep() {
        return;
    }
    thread.set_state(ThreadState::Ready);
    let preempt = scheduler.wake(thread.member(), Current::now);
    // Before the lock is let go: its release is where a better thread gets the CPU.
    request(preempt);
    drop(scheduler);
}

/// A thread's deadline has passed: the timer calls it.
pub fn deadline_passed(thread: &Thread) {
    thread.timed_out.store(true, SeqCst);
    if thread.state_in_order().is_asleep() {
        rouse(thread);
    }
}

/// Why a thread that wants to sleep need not.
#[inline]
fn reason_to_go_on(thread: &Thread, interruptible: Interruptible) -> Option<WakeReason> {
    if thread.token.load(SeqCst) {
        thread.token.store(false, Relaxed);
        return Some(WakeReason::Woken);
    }
    if thread.signals.interrupts(interruptible) {
        return Some(WakeReason::Interrupted);
    }
    thread.timed_out.load(Relaxed).then_some(WakeReason::TimedOut)
}

/// Puts the running thread to sleep; see [`Parker::park`].
pub fn park(deadline: Option<Nanoseconds>, interruptible: Interruptible) -> WakeReason {
    let Some(thread) = try_current_thread() else { return WakeReason::Woken };
    thread.timed_out.store(false, Relaxed);
    if let Some(reason) = reason_to_go_on(&thread, interruptible) {
        return reason;
    }
    let timer = match deadline {
        Some(deadline) => match deadline::arm(&thread, deadline) {
            Some(timer) => Some(timer),
            None => return WakeReason::TimedOut,
        },
        None => None,
    };
    thread.interruptible.store(interruptible as u8, Relaxed);
    let asleep = if deadline.is_some() { ThreadState::Sleeping } else { ThreadState::Blocked };
    let reason = loop {
        let interrupts = Uninterrupted::new();
        let mut scheduler = this_cpu().scheduler.lock();
        thread.set_state(asleep);
        if let Some(reason) = reason_to_go_on(&thread, interruptible) {
            thread.set_state(ThreadState::Running);
            drop(scheduler);
            drop(interrupts);
            break reason;
        }
        thread.voluntary_switches.fetch_add(1, Relaxed);
        scheduler.block_current(Current::now);
        Current::local().clear_reschedule();
        let decision = scheduler.pick(Current::now);
        drop(scheduler);
        act(decision);
        drop(interrupts);
        if let Some(reason) = reason_to_go_on(&thread, interruptible) {
            break reason;
        }
    };
    if let Some(timer) = timer {
        deadline::cancel(timer);
    }
    reason
}

/// Runs a better thread if one waits; interrupts are disabled.
pub fn reschedule() {
    let cpu = this_cpu();
    let mut scheduler = cpu.scheduler.lock();
    Current::local().clear_reschedule();
    let running = scheduler.current().is_some();
    let decision = scheduler.pick(Current::now);
    if running
        && decision != Decision::Continue
        && let Some(thread) = try_current_thread()
    {
        thread.set_state(ThreadState::Ready);
        thread.involuntary_switches.fetch_add(1, Relaxed);
    }
    drop(scheduler);
    act(decision);
}

/// Gives way to the others of the running thread's level (`sched_yield`).
pub fn yield_now() {
    let _interrupts = Uninterrupted::new();
    let cpu = this_cpu();
    let mut scheduler = cpu.scheduler.lock();
    Current::local().clear_reschedule();
    scheduler.yield_current();
    let decision = scheduler.pick(Current::now);
    if let Decision::Run(next) = decision
        && let Some(thread) = try_current_thread()
    {
        if core::ptr::eq(next.0.as_ptr(), &raw const **thread) {
            // It was taken off and put back: nobody better waits.
            drop(scheduler);
            return;
        }
        thread.set_state(ThreadState::Ready);
        thread.voluntary_switches.fetch_add(1, Relaxed);
    }
    drop(scheduler);
    act(decision);
}

/// Ends the running thread for the scheduler: it never runs again. It has given up everything but its stack.
pub fn leave_for_good() -> ! {
    Current::disable_interrupts();
    let cpu = this_cpu();
    if let Some(thread) = try_current_thread() {
        thread.set_state(ThreadState::Terminated);
        let pointer = core::ptr::from_ref::<Thread>(&thread).cast_mut();
        if cpu.extended_owner.load(Relaxed) == pointer {
            cpu.extended_owner.store(null_mut(), Relaxed);
        }
        let mut scheduler = cpu.scheduler.lock();
        scheduler.block_current(Current::now);
        cpu.left_behind.store(pointer, Relaxed);
        Current::local().clear_reschedule();
        let decision = scheduler.pick(Current::now);
        drop(scheduler);
        act(decision);
    }
    // No decision leads back to a thread that is on no queue.
    Current::halt()
}

/// Does what was decided; interrupts are disabled.
#[inline]
fn act(decision: Decision<ThreadPointer>) {
    match decision {
        Decision::Continue => {}
        Decision::Run(next) => switch_to(next.0.as_ptr()),
        Decision::Idle => switch_to(this_cpu().idle.load(Relaxed)),
    }
}

/// Leaves the running thread for `next`, and returns when somebody switches back.
fn switch_to(next: *const Thread) {
    let previous: *const Thread = Current::current_thread().cast();
    if next == previous || next.is_null() || previous.is_null() {
        return;
    }
    let cpu = this_cpu();
    if previous == cpu.idle.load(Relaxed).cast_const() {
        time::start_tick();
    }
    // SAFETY: the scheduler holds a reference to each thread that it names, the idle thread's is kept for good, and the running
    // thread's is held until it has been left (`left_behind`).
    let (old, new) = unsafe { (&*previous, &*next) };
    let now = Current::now().0;
    let ran = now.saturating_sub(cpu.switched_at.load(Relaxed));
    old.runtime.store(old.runtime.load(Relaxed) + ran, Relaxed);
    cpu.switched_at.store(now, Relaxed);
    cpu.switches.store(cpu.switches.load(Relaxed) + 1, Relaxed);
    if old.is_user() {
        old.thread_pointer.store(Current::thread_pointer(), Relaxed);
        old.second_thread_pointer.store(Current::second_thread_pointer(), Relaxed);
    }
    new.set_state_relaxed(ThreadState::Running);
    // SAFETY: interrupts are disabled; `next` is held as above.
    unsafe { Current::set_current_thread(next.cast()) };
    if new.is_user() {
        user_state::prepare_user(cpu, new);
    }
    // SAFETY: interrupts are disabled. The old context is the running thread's own; the new one was filled when its thread was
    // left or created, and nobody else runs that thread, because it was taken off its queue under the lock.
    unsafe { Current::switch(old.context.get().cast(), new.context.get().cast()) };
    after_switch();
}

/// The first thing on the new stack: lets go of a thread that has ended.
#[inline]
fn after_switch() {
    let cpu = this_cpu();
    if !cpu.left_behind.load(Relaxed).is_null() {
        free_left_behind(cpu);
    }
}

#[cold]
fn free_left_behind(cpu: &CpuState) {
    let ended = cpu.left_behind.swap(null_mut(), Relaxed);
    if !ended.is_null() {
        // SAFETY: the scheduler's reference, put there once by `leave_for_good`; its stack is no longer in use.
        drop(unsafe { Arc::from_raw(ended.cast_const()) });
    }
}

static END_OF_KERNEL_THREAD: Once<fn() -> !> = Once::new();

/// Registers what ends a kernel thread whose function has returned; it is called with interrupts disabled. Once, at boot.
pub fn set_end_of_kernel_thread(end: fn() -> !) {
    END_OF_KERNEL_THREAD.call_once(|| end);
}

/// Where every thread begins, interrupts disabled.
extern "C" fn begin() -> ! {
    after_switch();
    let Some(thread) = try_current_thread() else { Current::halt() };
    if let Some(function) = thread.start_function {
        Current::enable_interrupts();
        function();
        Current::disable_interrupts();
        if !thread.is_user() {
            match END_OF_KERNEL_THREAD.get() {
                Some(end) => end(),
                None => Current::halt(),
            }
        }
    }
    let frame: *const TrapFrame = thread.frame_pointer();
    // SAFETY: `prepare_user` set the kernel stack and the address space, or `execve` did; the frame is the thread's own.
    unsafe { Current::enter_user(&*frame) }
}

/// Whether this CPU has nothing to run but the idle thread.
#[must_use]
pub fn is_idle() -> bool {
    this_cpu().scheduler.lock().current().is_none()
}

/// Changes a thread's level and policy to what its parameters say.
pub fn apply_parameters(thread: &Thread) {
    if !thread.started.load(Relaxed) {
        return;
    }
    let levels = thread.levels();
    let mut scheduler = cpu_state(thread.entity.cpu()).scheduler.lock();
    let preempt = scheduler.set_parameters(thread.member(), levels, Current::now());
    request(preempt);
    drop(scheduler);
}

/// Changes the CPUs that a thread may use.
pub fn set_affinity(thread: &Thread, affinity: CpuMask) {
    let scheduler = cpu_state(thread.entity.cpu()).scheduler.lock();
    thread.entity.set_affinity(affinity);
    drop(scheduler);
}

/// The scheduler as `sync` sees it.
struct Dispatcher;

static DISPATCHER: Dispatcher = Dispatcher;

impl Parker for Dispatcher {
    fn current(&self) -> ThreadReference {
        super::thread::current_thread().clone()
    }
    fn park(&self, deadline: Option<Nanoseconds>, interruptible: Interruptible) -> WakeReason {
        park(deadline, interruptible)
    }
    fn preempt(&self) {
        if Current::interrupts_are_enabled() && Current::preemption_count() == 0 {
            Current::disable_interrupts();
            reschedule();
            Current::enable_interrupts();
        }
    }
}
