//! Threads between CPUs: waking them where they run best, helping those that have too much, affinity.
//!
//! [`super::super::scheduler::placement`] decides from hints; here the locks are taken, the decision is checked once more and done.
//! A thread is moved by whoever holds the queues of both CPUs, and only while it runs on neither; one that runs is first expelled by
//! its own CPU and sent on after the switch ([`send_on`]).

use super::machine::{
    CpuState, Guard, Hints, active, ask, claim, cpu_state, idle_cpus, is_alone, is_marked_idle, lock_pair,
    lock_queue_of, mark_idle, request, this_cpu, topology,
};
use super::{Uninterrupted, event, give_way_if_due};
use crate::arch::{Cpu, Current, TimerHardware, inter_processor};
use crate::base::{CpuId, CpuMask, Nanoseconds};
use crate::process::Pid;
use crate::process::scheduler::deadline::Promise;
use crate::process::scheduler::placement::{self, BALANCE_PERIOD, View, Waker};
use crate::process::scheduler::{Member, Place, Policy, Preempt, SCHED_DEADLINE, Standing, Waited};
use crate::process::thread::{NAME_LENGTH, Thread, ThreadPointer, ThreadState, try_current_thread};
use core::sync::atomic::Ordering::Relaxed;

/// Puts a thread that nobody has started yet on a queue.
pub(super) fn launch(thread: &Thread, member: ThreadPointer) {
    let here = Current::id();
    loop {
        let target =
            if is_alone() { here } else { placement::place_new(topology(), &Hints, thread.entity.allowed(), here) };
        let mut scheduler = cpu_state(target).lock();
        if !active().contains(target) {
            continue;
        }
        let stranded = Stranded::release(thread);
        thread.entity.set_cpu(target);
        let preempt = make_ready(&mut scheduler, member);
        arrived(target, scheduler, thread, preempt, Waker::GoesOn);
        return Stranded::tell(stranded);
    }
}

/// Puts a thread on a queue that slept, or has just been created.
#[inline]
fn make_ready(scheduler: &mut Guard, member: ThreadPointer) -> Preempt {
    let now = Current::now();
    member.get().waiting_since.store(now.0, Relaxed);
    scheduler.wake(member, || now)
}

/// Takes a waiting thread off the queue of CPU `from`, for another one: what it has waited so far, it has waited here.
fn take_off(from: CpuId, source: &mut Guard, member: ThreadPointer) -> Waited {
    let (cpu, now) = (cpu_state(from), Current::now().0);
    let waited = source.detach(member);
    cpu.end_wait(member.get(), now);
    member.get().waiting_since.store(now, Relaxed);
    cpu.publish(source);
    waited
}

/// A thread that could run on no CPU any more, for those that it may use are off line: it may use all from now on, as on Linux.
struct Stranded {
    tid: Pid,
    name: [u8; NAME_LENGTH],
    cpu: CpuId,
}

impl Stranded {
    /// Looks whether `thread` is one, and lets it go. The lock of its CPU's queue is held, or it is on none.
    fn release(thread: &Thread) -> Option<Self> {
        let entity = &thread.entity;
        if entity.home().is_some() || !entity.allowed().intersection(active()).is_empty() {
            return None;
        }
        entity.set_affinity(inter_processor::possible());
        Some(Self { tid: thread.tid(), name: thread.name(), cpu: entity.cpu() })
    }

    /// Says so in the log. No queue's lock is held.
    fn tell(stranded: Option<Self>) {
        if let Some(Self { tid, name, cpu }) = stranded {
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            log::info!("process {tid} ({}) no longer affine to cpu{}", name.escape_ascii(), cpu.0);
        }
    }
}

/// Makes a sleeping thread ready, on the CPU that suits it.
#[inline]
pub(super) fn rouse(thread: &Thread, waker: Waker) {
    if is_alone() {
        let (target, mut scheduler) = lock_queue_of(thread);
        if thread.state().is_asleep() {
            thread.set_state(ThreadState::Ready);
            let preempt = make_ready(&mut scheduler, thread.member());
            // Before the lock is let go: its release is where a better thread gets the CPU.
            request(target, preempt);
        }
        return;
    }
    rouse_somewhere(thread, waker);
}

/// The same by a running thread that sleeps at once, if it does as it is used to.
#[inline]
pub(super) fn rouse_sync(thread: &Thread) {
    if is_alone() {
        return rouse(thread, Waker::GoesOn);
    }
    let hands_over = try_current_thread().is_some_and(|waker| waker.entity.habit.wakes(Current::now()));
    // Moved to another CPU from here on, it means that one no longer: nothing but a waste.
    rouse_somewhere(thread, if hands_over { Waker::AboutToSleep(Current::id()) } else { Waker::GoesOn });
}

fn rouse_somewhere(thread: &Thread, waker: Waker) {
    let interrupts = Uninterrupted::new();
    put_somewhere(thread, waker);
    drop(interrupts);
    give_way_if_due();
}

fn put_somewhere(thread: &Thread, waker: Waker) {
    let entity = &thread.entity;
    loop {
        let previous = entity.cpu();
        let level = entity.level_for_placement();
        let target = placement::place(topology(), &Hints, entity.allowed(), level, previous, waker);
        // The lock of the CPU that it was on is also what tells that it has been left.
        let (last, mut scheduler) = if target == previous {
            (None, cpu_state(previous).lock())
        } else {
            let (last, scheduler) = lock_pair(previous, target);
            (Some(last), scheduler)
        };
        if entity.cpu() != previous {
            continue;
        }
        if !thread.state().is_asleep() {
            return;
        }
        if !placement::permitted(entity.allowed(), active()).contains(target) {
            continue;
        }
        let stranded = Stranded::release(thread);
        thread.set_state(ThreadState::Ready);
        entity.set_cpu(target);
        drop(last);
        let preempt = make_ready(&mut scheduler, thread.member());
        arrived(target, scheduler, thread, preempt, waker);
        return Stranded::tell(stranded);
    }
}

/// `thread` was put on `target`'s queue: tells that CPU, or another that can come for it.
fn arrived(target: CpuId, scheduler: Guard, thread: &Thread, preempt: Preempt, waker: Waker) {
    cpu_state(target).publish(&scheduler);
    if is_alone() {
        request(target, preempt);
        return;
    }
    let was_idle = claim(target);
    // Before the lock is let go: its release is where a better thread gets this CPU.
    request(target, if was_idle { Preempt::Yes } else { preempt });
    if was_idle {
        return drop(scheduler);
    }
    if waker == Waker::AboutToSleep(target) && target == Current::id() {
        let may_be_taken = !thread.entity.allowed().intersection(idle_cpus()).is_empty();
        drop(scheduler);
        if may_be_taken {
            event::expect_sleep(cpu_state(target));
        }
        return;
    }
    offer(thread);
}

/// A thread has begun to wait: an idle CPU that it may use is asked to come for it. Its queue's lock is held, and published.
pub(super) fn offer(thread: &Thread) {
    let mut idle = thread.entity.allowed().intersection(idle_cpus());
    while let Some(cpu) = topology().nearest(thread.entity.cpu(), idle) {
        if claim(cpu) {
            return ask(cpu);
        }
        idle.remove(cpu);
    }
}

/// The thread that ran until now may have to wait for longer than others have to idle.
#[inline]
pub(super) fn offer_displaced(cpu: &CpuState, scheduler: &Guard, thread: &Thread) {
    if is_alone() {
        return;
    }
    cpu.publish(scheduler);
    if matches!(thread.entity.place(), Place::Level(_)) {
        offer(thread);
    }
}

/// This CPU idled and has begun to run, though it was asked to come for a thread or others wait on its queue: it asks the next idle one
/// for whoever still waits. No lock is held.
#[cold]
pub(super) fn pass_on(cpu: &CpuState) {
    cpu.asked.store(false, Relaxed);
    for other in inter_processor::online() {
        let idle = idle_cpus();
        if idle.is_empty() {
            return;
        }
        let other = cpu_state(other);
        if other.waiting() != 0 && offer_waiting(&other.lock(), idle) {
            return;
        }
    }
}

/// Offers the longest-waiting thread of a queue that one of `idle` may take. Says whether there was one.
fn offer_waiting(scheduler: &Guard, idle: CpuMask) -> bool {
    let found = scheduler.waiting_threads().find(|member| !member.entity().allowed().intersection(idle).is_empty());
    if let Some(member) = &found {
        offer(member.get());
    }
    found.is_some()
}

/// This CPU idles: takes a thread from one that has too many, the nearest first. Says whether it has something to run now. Interrupts are
/// disabled, no lock is held.
pub(super) fn help() -> bool {
    let here = Current::id();
    if is_alone() || is_marked_idle(here) || !active().contains(here) {
        return false;
    }
    this_cpu().asked.store(false, Relaxed);
    mark_idle(here);
    for other in topology().nearest_first(here, inter_processor::online()) {
        if cpu_state(other).waiting() != 0 && take_from(other, here) {
            claim(here);
            return true;
        }
    }
    // Somebody may have put a thread here between the last look at the queue and the mark.
    if this_cpu().waiting() != 0 {
        claim(here);
        return true;
    }
    false
}

/// Moves the longest-waiting thread that CPU `to` may run from CPU `from` to it.
fn take_from(from: CpuId, to: CpuId) -> bool {
    let (mut source, mut target) = lock_pair(from, to);
    let Some(member) = source.candidate_for(to) else { return false };
    let waited = take_off(from, &mut source, member);
    member.entity().set_cpu(to);
    let preempt = target.attach(member, waited, Current::now());
    cpu_state(to).publish(&target);
    request(to, preempt);
    drop(source);
    drop(target);
    true
}

/// A tick's work for others: every [`BALANCE_PERIOD`] ticks this CPU takes a thread from a busier one; and what waits here is offered. No lock is held.
pub(super) fn balance(cpu: CpuId, ticks: u64) {
    if is_alone() || !active().contains(cpu) {
        return;
    }
    if ticks.is_multiple_of(BALANCE_PERIOD)
        && let Some(other) = placement::busier(topology(), &Hints, cpu, Hints.load(cpu))
    {
        take_from(other, cpu);
    }
    offer_all(cpu_state(cpu));
}

/// What waits here, though its waker meant to sleep, is offered to CPUs that idle. No lock is held.
pub(super) fn offer_all(cpu: &'static CpuState) {
    let idle = Hints.idle();
    if cpu.waiting() != 0 && !idle.is_empty() {
        offer_waiting(&cpu.lock(), idle);
    }
}

/// Sends a thread to a CPU that it may use, which was expelled from this one and has been left. It is ready, and on no queue; its `cpu` is
/// still this one. Interrupts are disabled, no lock is held.
#[cold]
pub(super) fn send_on(member: ThreadPointer) {
    let thread = member.get();
    let here = Current::id();
    loop {
        let allowed = thread.entity.allowed();
        let target = placement::place_new(topology(), &Hints, allowed, here);
        let (own, mut scheduler) = if target == here {
            (None, cpu_state(here).lock())
        } else {
            let (own, scheduler) = lock_pair(here, target);
            (Some(own), scheduler)
        };
        // It is written under the lock of `cpu`, which is held now.
        if thread.entity.allowed() != allowed || !active().contains(target) {
            continue;
        }
        let stranded = Stranded::release(thread);
        thread.entity.set_cpu(target);
        drop(own);
        let preempt = scheduler.attach(member, Default::default(), Current::now());
        arrived(target, scheduler, thread, preempt, Waker::GoesOn);
        return Stranded::tell(stranded);
    }
}

/// Moves one thread that waits on `from`, which is not active any more, to a CPU that suits it. Where none waits, the one that runs is told to
/// leave. Says whether there was one that waited.
pub(super) fn evict_one(from: CpuId) -> bool {
    let _interrupts = Uninterrupted::new();
    let all = |scheduler: &Guard| scheduler.waiting_threads().chain(scheduler.throttled_thread());
    let target = {
        let mut scheduler = cpu_state(from).lock();
        let Some(member) = all(&scheduler).next() else {
            if scheduler.current().is_some() {
                scheduler.expel_current();
            }
            request(from, Preempt::Yes);
            return false;
        };
        placement::place_new(topology(), &Hints, member.entity().allowed(), from)
    };
    if target == from {
        return true;
    }
    let (mut source, mut scheduler) = lock_pair(from, target);
    let suits = |member: &ThreadPointer| placement::permitted(member.entity().allowed(), active()).contains(target);
    let Some(member) = all(&source).find(suits) else { return true };
    let thread = member.get();
    let waited = take_off(from, &mut source, member);
    let stranded = Stranded::release(thread);
    thread.entity.set_cpu(target);
    drop(source);
    let preempt = scheduler.attach(member, waited, Current::now());
    arrived(target, scheduler, thread, preempt, Waker::GoesOn);
    Stranded::tell(stranded);
    true
}

/// Changes the CPUs that a thread may use; at least one of `affinity` is online. When this returns the thread does not run elsewhere.
pub fn set_affinity(thread: &Thread, affinity: CpuMask) {
    let interrupts = Uninterrupted::new();
    let (_, scheduler) = lock_queue_of(thread);
    thread.entity.set_affinity(affinity);
    drop(scheduler);
    let expelled_from = relocate(thread);
    drop(interrupts);
    give_way_if_due();
    if let Some(cpu) = expelled_from {
        wait_until_left(thread, cpu);
    }
}

/// Has a thread's parameters count, which may have changed; `promise` is who promised its reservation, if it has one.
pub(super) fn apply(thread: &Thread, promise: Option<Promise>) {
    let interrupts = Uninterrupted::new();
    let (levels, parameters) = thread.lock_levels();
    let (cpu, mut scheduler) = lock_queue_of(thread);
    thread.entity.bind(promise.and_then(Promise::home));
    let preempt = scheduler.set_parameters(thread.member(), levels, Current::now());
    cpu_state(cpu).publish(&scheduler);
    // Also when nobody better waits: the scheduler may want to be called at another time.
    request(cpu, if promise.is_some() { Preempt::Yes } else { preempt });
    drop(scheduler);
    drop(parameters);
    let expelled_from = relocate(thread);
    drop(interrupts);
    give_way_if_due();
    if let Some(cpu) = expelled_from {
        wait_until_left(thread, cpu);
    }
}

/// CPU `home`, or all of them, have taken over what another one promised to a thread, which goes there. The locks of queues are taken inside the caller's.
pub(super) fn rebind(thread: &Thread, home: Option<CpuId>) {
    let _interrupts = Uninterrupted::new();
    let (_, scheduler) = lock_queue_of(thread);
    thread.entity.bind(home);
    drop(scheduler);
    relocate(thread);
}

/// Where the thread stands by its own parameters: a reservation, by its present deadline. Locks below rank `Thread` may be held.
pub fn own_standing(thread: &Thread) -> Standing {
    let parameters = thread.scheduling();
    let urgency = match parameters.policy {
        SCHED_DEADLINE => {
            let _interrupts = Uninterrupted::new();
            let (_, _scheduler) = lock_queue_of(thread);
            thread.entity.reserved_urgency()
        }
        _ => 0,
    };
    Standing::of(&parameters, urgency)
}

/// Lends a thread a standing, or takes it back ([`Standing::NOTHING`]); it counts at once, wherever the thread is. Locks below rank `Thread` may be
/// held; whoever calls sees that of several changes the last one comes last.
pub fn lend(thread: &Thread, lent: Standing) {
    let _interrupts = Uninterrupted::new();
    thread.lent.store(lent.to_bits(), Relaxed);
    let (levels, _parameters) = thread.lock_levels();
    let (cpu, mut scheduler) = lock_queue_of(thread);
    let preempt = scheduler.set_parameters(thread.member(), levels, Current::now());
    cpu_state(cpu).publish(&scheduler);
    // For a reservation the scheduler may want to be called at another time.
    request(cpu, if levels.policy == Policy::Deadline { Preempt::Yes } else { preempt });
    if !is_alone() && matches!(thread.entity.place(), Place::Level(_)) {
        offer(thread);
    }
}

/// The CPUs that a thread may use, or its parameters, have changed: it is moved if it waits where it may not, and offered to idle ones else.
/// Interrupts are disabled. Gives the CPU that still runs the thread and has been told to leave it.
pub(super) fn relocate(thread: &Thread) -> Option<CpuId> {
    if is_alone() || !thread.started.load(Relaxed) {
        return None;
    }
    loop {
        let (cpu, mut scheduler) = lock_queue_of(thread);
        let member = thread.member();
        let allowed = thread.entity.allowed();
        let may_stay = placement::permitted(allowed, active()).contains(cpu);
        let runs = scheduler.current() == Some(member);
        if may_stay {
            if runs {
                scheduler.keep_current();
            } else if matches!(thread.entity.place(), Place::Level(_)) {
                offer(thread);
            }
            return None;
        }
        if runs {
            scheduler.expel_current();
            request(cpu, Preempt::Yes);
            return Some(cpu);
        }
        if thread.entity.place() == Place::Nowhere {
            // It sleeps or is on its way: who wakes or moves it looks at the mask.
            return None;
        }
        drop(scheduler);
        let target = placement::place_new(topology(), &Hints, allowed, cpu);
        let (mut source, mut scheduler) = lock_pair(cpu, target);
        let is_unchanged =
            thread.entity.cpu() == cpu && thread.entity.place() != Place::Nowhere && thread.entity.allowed() == allowed;
        if !is_unchanged || !active().contains(target) {
            continue;
        }
        let waited = take_off(cpu, &mut source, member);
        thread.entity.set_cpu(target);
        drop(source);
        let preempt = scheduler.attach(member, waited, Current::now());
        arrived(target, scheduler, thread, preempt, Waker::GoesOn);
        return None;
    }
}

/// Waits until a thread that was expelled from `cpu` has been left there; the running thread itself has been by now.
fn wait_until_left(thread: &Thread, cpu: CpuId) {
    // The interrupt is under way; a CPU that has its interrupts masked for longer than this is not waited for.
    const PATIENCE: u64 = 10_000_000;
    let end = Nanoseconds(Current::now().0 + PATIENCE);
    while thread.entity.cpu() == cpu && thread.state() == ThreadState::Running && !thread.is_current() {
        if Current::now() > end {
            return;
        }
        Current::relax();
    }
}

/// Notes that the CPU leaves its idle thread: others that wait here are for the next idle one.
#[inline]
pub(super) fn leave_idle(cpu: &CpuState, scheduler: &Guard) {
    if !is_alone() {
        claim(Current::id());
        if scheduler.waiting() != 0 {
            cpu.set_asked();
        }
    }
}
