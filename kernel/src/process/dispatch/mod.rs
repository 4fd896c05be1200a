//! Acting on the scheduler's decisions: switching threads, sleeping and waking, and the idle loop.
//!
//! | file | what |
//! |---|---|
//! | this | sleeping, waking, switching, the idle loop |
//! | `machine` | each CPU's state and locks, and what CPUs know of each other |
//! | `migrate` | threads between CPUs: wake-up, help, balance, affinity |
//! | `offline` | a CPU's last thread, and its first again |
//! | `user_state` | address space and registers of user mode |
//! | `reservations` | what `SCHED_DEADLINE` was promised, and the real-time policies' limit |
//! | `accounting`, `deadline`, `event` | the tick, CPU time; timers; when the scheduler is called |
//!
//! Everything here that switches runs with interrupts disabled and holds the run queue's lock *across* the switch; the thread that is
//! switched to lets it go ([`after_switch`]). So another CPU can take a thread only after it has been left completely. Rejected: a flag in
//! each thread that says so (Linux's `on_cpu`). Counted on x86_64, it takes five instructions more a switch (two stores, the thread
//! left remembered and loaded again, a load and a branch before the next one), and a waker would have to spin on it where it now spins on the lock
//! that it takes anyway. What the lock costs is that others wait for the length of a switch; they have nothing to do on that queue meanwhile.
//!
//! # Sleeping and waking
//! [`park`]: under the run queue's lock, the state becomes Blocked or Sleeping and *then* the token, the signals and the deadline are
//! looked at once more. [`wake`]: the token is set and *then* the state is looked at; only a sleeping thread's queue is
//! locked. Both are sequentially consistent, so one of the two sees the other; no wake-up is lost, and waking a thread that does not
//! sleep costs two memory accesses.
//!
//! # Whose registers are in the CPU
//! A user thread's vector registers and thread pointers are saved when it is left, so that it may go on anywhere. They are loaded again
//! unless the CPU still has them: it came back to where it ran last, and no other user thread ran there since. The address
//! space stays until another is needed, or until it changes while no thread of it runs on the CPU (`memory::paging::shootdown`).
//!
//! # Invariants
//! - A thread's `context` is valid whenever it is not Running.
//! - `left_behind` holds the scheduler's reference to a thread that has ended from its last switch until the next thread drops it.

#![allow(unsafe_code, reason = "switches stacks and keeps threads alive by hand")]

mod accounting;
pub mod deadline;
mod event;
mod machine;
mod migrate;
#[cfg(test)]
mod model;
pub mod offline;
mod reservations;
mod user_state;

pub use accounting::{CpuTimes, CpuTurns, TickMode, cpu_times, cpu_turns, runnable_count, runtime, switch_count, tick};
pub use machine::{active, set_topology};
pub use migrate::{lend, own_standing, set_affinity};
pub use reservations::{realtime_period, realtime_runtime, set_parameters, set_realtime_bandwidth};
pub use user_state::{
    release_address_space, reset_user_registers, save_extended_state, second_thread_pointer, set_second_thread_pointer,
    use_address_space,
};

use super::context::SwitchContext;
use super::scheduler::Decision;
use super::scheduler::placement::Waker;
use super::thread::{Thread, ThreadPointer, ThreadState, try_current_thread};
use crate::arch::{ContextSwitch, Cpu, Current, TimerHardware, TrapFrame};
use crate::base::{Nanoseconds, VirtualAddress};
use crate::memory::frame_allocator;
use crate::sync::parking::{self, ThreadReference, Unpark};
use crate::sync::{Interruptible, Parker, WakeReason};
use crate::time;
use alloc::sync::Arc;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};
use machine::{CpuState, Guard, this_cpu};
use spin::Once;

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

/// Runs a better thread if one waits and this context may be preempted. It goes through `sync`, as a lock's release does: a direct way
/// from waking to switching would be a circle of calls through most of the kernel, in which nothing is inlined.
#[inline]
fn give_way_if_due() {
    if Current::local().need_reschedule() {
        parking::preempt();
    }
}

/// Turns the code that runs now (the boot path of a CPU) into this CPU's idle thread, and registers the scheduler with `sync`. For a CPU
/// other than the first it comes before `inter_processor::set_online`; a CPU that comes back has the same one again.
pub fn adopt_idle_thread(thread: &Arc<Thread>) {
    let pointer = Arc::as_ptr(thread).cast_mut();
    let cpu = this_cpu();
    if cpu.idle.swap(pointer, Relaxed) != pointer {
        // The reference is kept for good.
        core::mem::forget(thread.clone());
    }
    cpu.switched_at.store(Current::now().0, Relaxed);
    // SAFETY: made from an `Arc` of which a reference is kept for good.
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
        if Current::local().need_reschedule() || migrate::help() {
            reschedule();
            Current::enable_interrupts();
        } else if offline::is_leaving() {
            offline::leave();
            Current::enable_interrupts();
        } else if frame_allocator::zero_ahead() {
            // One at a time, and with interrupts masked: whoever wakes waits for one at most, and does not find the frames taken.
            Current::enable_interrupts();
        } else {
            time::stop_tick();
            let cpu = this_cpu();
            cpu.tickless.store(true, Relaxed);
            cpu.has_afterwork.store(true, Relaxed);
            Current::wait_for_interrupt();
        }
    }
}

impl Thread {
    /// Makes a thread ready that was created: it begins in [`begin`], with the stack below its user registers. Once.
    pub fn start(self: &Arc<Self>) {
        if self.started.swap(true, Relaxed) {
            return;
        }
        let entry = VirtualAddress::new(begin as *const () as u64);
        // SAFETY: a thread that has not been started is run by no CPU, and only its creator starts it.
        unsafe { *self.context.get() = SwitchContext::kernel(entry, self.frame_address()) };
        self.head.expect_lock();
        let Some(member) = NonNull::new(Arc::into_raw(self.clone()).cast_mut()) else { return };
        let interrupts = Uninterrupted::new();
        migrate::launch(self, ThreadPointer(member));
        drop(interrupts);
        give_way_if_due();
    }

    /// The thread as its queue knows it.
    fn member(&self) -> ThreadPointer {
        ThreadPointer(NonNull::from(self))
    }
}

/// Gives a thread its token and makes it ready if it sleeps. Any context.
#[inline]
pub fn wake(thread: &Thread) {
    if !thread.token.swap(true, SeqCst) && thread.state_in_order().is_asleep() {
        migrate::rouse(thread, Waker::GoesOn);
    }
}

/// The same for a running thread that may have handed over what `thread` waited for, and sleep: then that one may as well run here
/// ([`super::scheduler::hand_over`]). Thread context.
#[inline]
pub fn wake_sync(thread: &Thread) {
    if !thread.token.swap(true, SeqCst) && thread.state_in_order().is_asleep() {
        migrate::rouse_sync(thread);
    }
}

impl Unpark for Thread {
    fn unpark(&self) {
        wake(self);
    }
    fn unpark_sync(&self) {
        wake_sync(self);
    }
    fn notice(&self) {
        wake(self);
        machine::interrupt_if_running_elsewhere(self);
    }
    fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
}

/// A thread's deadline has passed: the timer calls it.
pub fn deadline_passed(thread: &Thread) {
    thread.timed_out.store(true, Relaxed);
    fence(SeqCst);
    if thread.state_in_order().is_asleep() {
        migrate::rouse(thread, Waker::GoesOn);
    }
}

/// Why a thread that wants to sleep need not.
#[inline]
fn reason_to_go_on(thread: &Thread, interruptible: Interruptible) -> Option<WakeReason> {
    // Taken in one step: what the sleeper looks at next must not be read before a waker can see that the token is gone.
    if thread.token.load(SeqCst) && thread.token.swap(false, SeqCst) {
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
        let cpu = this_cpu();
        let mut scheduler = cpu.lock();
        thread.announce_sleep(asleep);
        if let Some(reason) = reason_to_go_on(&thread, interruptible) {
            thread.set_state(ThreadState::Running);
            drop(scheduler);
            drop(interrupts);
            break reason;
        }
        thread.voluntary_switches.fetch_add(1, Relaxed);
        thread.entity.habit.sleeps(Current::now);
        scheduler.block_current(Current::now);
        Current::local().clear_reschedule();
        let decision = scheduler.pick(Current::now);
        act(cpu, scheduler, decision);
        drop(interrupts);
        if let Some(reason) = reason_to_go_on(&thread, interruptible) {
            break reason;
        }
    };
    if let Some(timer) = timer {
        deadline::cancel(&thread, timer);
    }
    reason
}

/// Runs a better thread if one waits; interrupts are disabled.
pub fn reschedule() {
    let cpu = this_cpu();
    let mut scheduler = cpu.lock();
    Current::local().clear_reschedule();
    let running = scheduler.current().is_some();
    let decision = scheduler.pick(Current::now);
    if running
        && decision != Decision::Continue
        && let Some(thread) = try_current_thread()
    {
        thread.set_state(ThreadState::Ready);
        thread.involuntary_switches.fetch_add(1, Relaxed);
        migrate::offer_displaced(cpu, &scheduler, &thread);
    }
    act(cpu, scheduler, decision);
}

/// Gives way to the others of the running thread's level (`sched_yield`).
pub fn yield_now() {
    let _interrupts = Uninterrupted::new();
    let cpu = this_cpu();
    let mut scheduler = cpu.lock();
    Current::local().clear_reschedule();
    scheduler.yield_current();
    let decision = scheduler.pick(Current::now);
    let Some(thread) = try_current_thread() else { return };
    if scheduler.current() == Some(thread.member()) {
        // It was taken off and put back: nobody better waits.
        return;
    }
    thread.set_state(ThreadState::Ready);
    thread.voluntary_switches.fetch_add(1, Relaxed);
    migrate::offer_displaced(cpu, &scheduler, &thread);
    act(cpu, scheduler, decision);
}

/// Ends the running thread for the scheduler: it never runs again. It has given up everything but its stack.
pub fn leave_for_good() -> ! {
    Current::disable_interrupts();
    let cpu = this_cpu();
    if let Some(thread) = try_current_thread() {
        let pointer = core::ptr::from_ref::<Thread>(&thread).cast_mut();
        reservations::release(&thread);
        // The registers are nobody's any more: they need not be saved.
        thread.extended_cpu.store(Thread::NO_CPU, Relaxed);
        let mut scheduler = cpu.lock();
        thread.set_state(ThreadState::Terminated);
        scheduler.block_current(Current::now);
        cpu.left_behind.store(pointer, Relaxed);
        cpu.has_afterwork.store(true, Relaxed);
        Current::local().clear_reschedule();
        let decision = scheduler.pick(Current::now);
        act(cpu, scheduler, decision);
    }
    // No decision leads back to a thread that is on no queue.
    Current::halt()
}

/// Does what was decided and lets the lock of this CPU's scheduler go; interrupts are disabled.
#[inline]
fn act(cpu: &'static CpuState, scheduler: Guard, decision: Decision<ThreadPointer>) {
    cpu.publish(&scheduler);
    match decision {
        Decision::Continue => release(cpu, scheduler),
        Decision::Run(next) => switch_to(cpu, scheduler, next.0.as_ptr()),
        Decision::Idle => switch_to(cpu, scheduler, cpu.idle.load(Relaxed)),
    }
}

/// Lets the lock go, and has the scheduler called when it wants to be.
#[inline]
fn release(cpu: &CpuState, scheduler: Guard) {
    let next = scheduler.next_event();
    drop(scheduler);
    event::set_event(cpu, next);
}

/// Leaves the running thread for `next`, and returns when somebody switches back, on this CPU or another one: what `cpu` names
/// must not be used after.
fn switch_to(cpu: &'static CpuState, scheduler: Guard, next: *const Thread) {
    let previous: *const Thread = Current::current_thread().cast();
    if next == previous || next.is_null() || previous.is_null() {
        return release(cpu, scheduler);
    }
    if previous == cpu.idle.load(Relaxed).cast_const() {
        cpu.idle_ends.store(cpu.idle_ends.load(Relaxed) + 1, Relaxed);
        migrate::leave_idle(cpu, &scheduler);
    }
    // SAFETY: the scheduler holds a reference to each thread that it names, the idle thread's is kept for good, and the running
    // thread's is held until it has been left (`left_behind`).
    let (old, new) = unsafe { (&*previous, &*next) };
    let now = Current::now().0;
    let ran = now.saturating_sub(cpu.switched_at.load(Relaxed));
    old.runtime.store(old.runtime.load(Relaxed) + ran, Relaxed);
    old.waiting_since.store(now, Relaxed);
    cpu.end_wait(new, now);
    cpu.switched_at.store(now, Relaxed);
    cpu.switches.store(cpu.switches.load(Relaxed) + 1, Relaxed);
    if old.is_user() {
        user_state::save_user(old);
    }
    new.set_state(ThreadState::Running);
    // SAFETY: interrupts are disabled; `next` is held as above.
    unsafe { Current::set_current_thread(next.cast()) };
    if new.is_user() {
        user_state::prepare_user(cpu, new);
    } else {
        user_state::rest_in_user_space();
    }
    // SAFETY: interrupts are disabled, and each way onto another stack leads to `after_switch`. The old context is the running thread's
    // own; the new one was filled when its thread was left or created, and nobody else runs that thread: it was taken off this CPU's
    // queue, and where it ran last it had been left before it was queued here.
    unsafe {
        cpu.hold(scheduler);
        Current::switch(old.context.get().cast(), new.context.get().cast());
    }
    after_switch();
}

/// The first thing on the new stack: lets the lock of the scheduler go, and does what had to wait for that.
#[inline]
fn after_switch() {
    let cpu = this_cpu();
    // SAFETY: interrupts are disabled.
    let Some(mut scheduler) = (unsafe { cpu.take_held() }) else { return };
    let departing = scheduler.take_departing();
    release(cpu, scheduler);
    if departing.is_some() || cpu.has_afterwork.load(Relaxed) {
        finish_switch(cpu, departing);
    }
}

#[cold]
fn finish_switch(cpu: &CpuState, departing: Option<ThreadPointer>) {
    let idles = Current::current_thread().cast() == cpu.idle.load(Relaxed).cast_const();
    // What the idle thread does not do stays to be done.
    if !idles {
        cpu.has_afterwork.swap(false, SeqCst);
        if cpu.tickless.swap(false, Relaxed) {
            time::start_tick();
        }
        if cpu.asked.load(Relaxed) {
            migrate::pass_on(cpu);
        }
    }
    if let Some(member) = departing {
        migrate::send_on(member);
    }
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
    this_cpu().lock().current().is_none()
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
