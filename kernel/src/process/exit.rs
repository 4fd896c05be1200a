//! The end of threads and processes.
//!
//! A thread ends itself, always: [`end_current`] gives up what it holds and leaves its stack for good. Others make it end by
//! telling it to ([`exit_group`], a fatal signal, `execve` in a sibling), which it sees at its next way to user mode or in its next
//! interruptible sleep. The last thread ends the process: children go to the nearest subreaper or PID 1, the parent gets its
//! signal, and the process stays as a zombie until it is waited for, unless the parent does not care.
//!
//! Lock order: everything about relations happens in one section under the process table's lock; what is to be dropped is
//! collected there and dropped after.

#![allow(unsafe_code, reason = "replaces the address space of a process whose last thread it runs on")]

use super::outcome::KIBIBYTES_PER_PAGE;
use super::signal::{ActionFlags, Ending, Signal, SignalInformation, Target, job_control};
use super::table::{self, TableGuard};
use super::thread::current_thread;
use super::{ExitStatus, Lifecycle, Process, ProcessGroup, Thread};
use super::{call_trace, dispatch};
use crate::arch::{Cpu, Current, Power};
use crate::base::VirtualAddress;
use crate::fs::FileTable;
use crate::fs::file_table::close_file;
use crate::memory::user::UserPointer;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use spin::Once;

/// What other rooms have to do when a thread or process ends; they register at boot.
#[derive(Clone, Copy)]
pub struct EndHooks {
    /// In each ending thread, while it still has its address space: robust futexes, System V semaphores.
    pub thread: fn(&Arc<Thread>),
    /// In the last thread of an ending process, before its relations change: timers, the controlling terminal.
    pub process: fn(&Arc<Process>),
}

/// One hook per room that has one.
static HOOKS: [Once<EndHooks>; 4] = [const { Once::new() }; 4];

/// Registers hooks; there is room for four.
pub fn add_end_hooks(hooks: EndHooks) {
    for place in &HOOKS {
        let mut taken = false;
        place.call_once(|| {
            taken = true;
            hooks
        });
        if taken {
            return;
        }
    }
}

/// Whether the end of PID 1 switches the machine off, giving its status to the emulator (`ashlar.exit=qemu`).
static POWER_OFF_WITH_INIT: AtomicBool = AtomicBool::new(false);

/// Has the end of PID 1 switch the machine off instead of stopping it with a panic.
pub fn power_off_with_init() {
    POWER_OFF_WITH_INIT.store(true, Relaxed);
}

/// Gives descriptors up: when no other thread shares them, every file is closed.
pub fn release_files(table: Arc<FileTable>) {
    let owner = Arc::as_ptr(&table).addr() as u64;
    if let Some(last) = Arc::into_inner(table) {
        for file in last.remove_all() {
            close_file(file, owner);
        }
    }
}

/// An end as strace writes it.
struct Ended(ExitStatus);

impl core::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Some(signal) = self.0.signal().and_then(Signal::new) else {
            return write!(formatter, "exited with {}", self.0.code());
        };
        let core = if self.0.0 & 0x80 == 0 { "" } else { " (core dumped)" };
        write!(formatter, "killed by {signal}{core}")
    }
}

/// Ends the running thread, and with `status` its process if it is the last. `exit(2)`.
pub fn end_current(status: ExitStatus) -> ! {
    {
        let thread = current_thread();
        let process = thread.process().clone();
        if call_trace::is_on() {
            let status = process.group_exit().unwrap_or(status);
            call_trace::event(process.pid(), thread.tid(), "+++", format_args!("{}", Ended(status)));
        }
        give_up_resources(&thread);
        let mut table = table::lock();
        // One decision for all: whoever finds itself alone ends the process. Others are out of every list, and have let go of the
        // address space, before that one can look.
        if process.family(&table).threads.len() > 1 {
            thread.space_root.store(0, Relaxed);
            let removed = remove_thread(&thread, &process, &mut table);
            drop(table);
            drop(removed);
            process.end_event.wake_all();
        } else {
            drop(table);
            let status = process.group_exit().unwrap_or(status);
            end_process(&thread, &process, status);
        }
    }
    dispatch::leave_for_good()
}

/// Ends every thread of the running thread's process with `status`. `exit_group(2)`, and the default action of fatal signals.
/// When the end has begun already, the status that it began with stays.
pub fn exit_group(status: ExitStatus) -> ! {
    let status = {
        let thread = current_thread();
        begin_group_exit(thread.process(), &thread, status)
    };
    end_current(status)
}

/// Begins the end of a whole process; gives the status that counts.
fn begin_group_exit(process: &Arc<Process>, thread: &Arc<Thread>, status: ExitStatus) -> ExitStatus {
    match process.group_exit.compare_exchange(Process::NO_EXIT, status.0, AcqRel, Acquire) {
        Ok(_) => {
            if process.live_threads.load(Acquire) > 1 {
                process.signals.kill_threads(Some(&thread.signals), Ending::Process);
            }
            status
        }
        Err(first) => ExitStatus(first),
    }
}

/// A kernel thread's function has returned.
pub(super) fn end_kernel_thread() -> ! {
    Current::enable_interrupts();
    end_current(ExitStatus::exited(0))
}

/// What `execve` and the end of a thread do to a thread's use of its address space: the futex of `CLONE_CHILD_CLEARTID`, the creator
/// that waits (`vfork`). The space is still active.
pub(super) fn leave_memory(thread: &Arc<Thread>) {
    for hooks in HOOKS.iter().filter_map(Once::get) {
        (hooks.thread)(thread);
    }
    let address = thread.clear_child_tid.swap(0, Relaxed);
    if address != 0 {
        let word = UserPointer::<u32>::new(VirtualAddress::new(address));
        // Only worth it where somebody else can see it; a bad address is nobody's trouble any more.
        if word.write(&0).is_ok() {
            wake_child_tid(word);
        }
    }
    if !thread.released_memory.swap(true, Release) {
        thread.process().end_event.wake_all();
    }
}

/// Wakes a `pthread_join` that waits on the word that was just cleared.
static CHILD_TID_WAKER: Once<fn(UserPointer<u32>)> = Once::new();

/// Registers the futex code's way to wake one waiter on a word.
pub fn set_child_tid_waker(waker: fn(UserPointer<u32>)) {
    CHILD_TID_WAKER.call_once(|| waker);
}

fn wake_child_tid(word: UserPointer<u32>) {
    if let Some(waker) = CHILD_TID_WAKER.get() {
        waker(word);
    }
}

fn give_up_resources(thread: &Arc<Thread>) {
    if thread.is_user() {
        leave_memory(thread);
    }
    if let Some(files) = thread.replace_files(None) {
        release_files(files);
    }
    thread.set_file_system(None);
}

/// Takes a thread out of table and process; gives what is to be dropped after the lock is let go.
fn remove_thread(thread: &Arc<Thread>, process: &Arc<Process>, table: &mut TableGuard) -> [Option<Arc<Thread>>; 2] {
    process.ended_threads.lock().add(&thread.usage());
    process.keep_name(thread);
    let threads = &mut process.family_mut(table).threads;
    let position = threads.iter().position(|other| Arc::ptr_eq(other, thread));
    let listed = position.map(|position| threads.remove(position));
    process.live_threads.fetch_sub(1, AcqRel);
    let change = process.signals.detach(&thread.signals);
    let entered = table.remove_thread(thread.tid());
    if let Some(change) = change {
        job_control::report_locked(process, change, table);
    }
    [listed, entered]
}

fn end_process(thread: &Arc<Thread>, process: &Arc<Process>, status: ExitStatus) {
    if process.pid() == 1 {
        end_of_init(status);
    }
    for hooks in HOOKS.iter().filter_map(Once::get) {
        (hooks.process)(process);
    }
    // Its memory goes before the parent hears of the end, so that a parent that has waited finds it free.
    if thread.is_user() {
        dispatch::release_address_space(thread);
    }
    // SAFETY: the caller is the last thread.
    if let Some(space) = unsafe { process.replace_address_space(None) } {
        let resident = space.peak_resident() * KIBIBYTES_PER_PAGE;
        let mut usage = process.ended_threads.lock();
        usage.maximum_resident = usage.maximum_resident.max(resident);
        drop(usage);
        drop(space);
    }
    process.set_program(None);
    thread.set_charge(None);

    let mut leftovers = Leftovers::default();
    let mut table = table::lock();
    leftovers.threads = remove_thread(thread, process, &mut table);
    leave_children(process, &mut table, &mut leftovers);
    orphan_own_group(process, &mut table);
    process.family_mut(&mut table).lifecycle = Lifecycle::Zombie(status);
    notify_parent(process, status, &mut table, &mut leftovers);
    drop(table);
    process.end_poll.wake();
    process.end_event.wake_all();
    leftovers.wake();
}

/// References to be dropped, and parents to be woken, when the table's lock is no longer held.
#[derive(Default)]
struct Leftovers {
    threads: [Option<Arc<Thread>>; 2],
    processes: Vec<Arc<Process>>,
    groups: Vec<Arc<ProcessGroup>>,
    parents: Vec<Arc<Process>>,
}

impl Leftovers {
    fn wake(self) {
        for parent in &self.parents {
            parent.child_event.wake_all();
        }
    }
}

/// Who takes the children of an ending process: the nearest ancestor that is a subreaper and alive, else PID 1.
fn find_reaper(process: &Arc<Process>, table: &TableGuard) -> Option<Arc<Process>> {
    let mut ancestor = process.family(table).parent.clone();
    while let Some(candidate) = ancestor {
        let family = candidate.family(table);
        if candidate.is_subreaper() && family.lifecycle == Lifecycle::Alive {
            return Some(candidate);
        }
        ancestor = family.parent.clone();
    }
    table.process(1).filter(|init| !Arc::ptr_eq(init, process)).cloned()
}

fn leave_children(process: &Arc<Process>, table: &mut TableGuard, leftovers: &mut Leftovers) {
    if process.family(table).children.is_empty() {
        return;
    }
    let reaper = find_reaper(process, table);
    let family = process.family_mut(table);
    let children = core::mem::take(&mut family.children);
    let _zombies = core::mem::take(&mut family.zombies);
    for child in &children {
        let family = child.family_mut(table);
        let lifecycle = family.lifecycle;
        if let Some(parent) = core::mem::replace(&mut family.parent, reaper.clone()) {
            leftovers.processes.push(parent);
        }
        child.parent_id.store(reaper.as_ref().map_or(0, |reaper| reaper.pid()), Relaxed);
        // Whoever takes them in wants to hear of their end in the ordinary way.
        child.exit_signal.store(Signal::SIGCHLD.number(), Relaxed);
        if let Some(reaper) = &reaper {
            let siblings = &mut reaper.family_mut(table).children;
            let index = siblings.len();
            siblings.push(child.clone());
            child.family_mut(table).index_in_parent = index;
        }
        match lifecycle {
            Lifecycle::Alive => send_parent_death_signal(child, table),
            Lifecycle::Zombie(status) => notify_parent(child, status, table, leftovers),
            Lifecycle::Reaped => {}
        }
    }
    // Groups that had their only link to the rest of the session through this process are orphaned now.
    let own = process.family(table).group.clone();
    for child in &children {
        if let Some(group) = child.family(table).group.clone() {
            if own.as_ref().is_some_and(|own| links(own, &group)) {
                hang_up_if_orphaned(&group, Some(process), table);
            }
            leftovers.groups.push(group);
        }
    }
    leftovers.groups.extend(own);
    leftovers.processes.extend(children);
}

fn send_parent_death_signal(child: &Arc<Process>, table: &TableGuard) {
    for thread in &child.family(table).threads {
        let number = thread.parent_death_signal.load(Relaxed);
        if let Some(signal) = Signal::new(number) {
            let information = SignalInformation::from_kernel(signal);
            let _ = child.signals.send(Target::Thread(&thread.signals), signal, information, None);
        }
    }
}

/// Whether a process of `parents` whose child is in `group` keeps that from being orphaned: another group of the same session. Only
/// the end of such a process, or of such a child, can orphan the group.
fn links(parents: &Arc<ProcessGroup>, group: &Arc<ProcessGroup>) -> bool {
    !Arc::ptr_eq(parents, group) && Arc::ptr_eq(parents.session(), group.session())
}

/// A newly orphaned group with stopped members gets `SIGHUP` and `SIGCONT`, so that nobody stays stopped for ever.
fn hang_up_if_orphaned(group: &Arc<ProcessGroup>, leaving: Option<&Arc<Process>>, table: &TableGuard) {
    let leaving = leaving.map(|process| &**process);
    if !job_control::has_stopped_member(group, table) || !job_control::is_orphaned(group, leaving, table) {
        return;
    }
    for member in group.members(table) {
        for signal in [Signal::SIGHUP, Signal::SIGCONT] {
            let _ = member.signals.send(Target::Process, signal, SignalInformation::from_kernel(signal), None);
        }
    }
}

fn orphan_own_group(process: &Arc<Process>, table: &mut TableGuard) {
    let family = process.family(table);
    let (Some(group), Some(parent)) = (family.group.clone(), family.parent.as_ref()) else { return };
    if parent.family(table).group.as_ref().is_some_and(|theirs| links(theirs, &group)) {
        hang_up_if_orphaned(&group, Some(process), table);
    }
}

/// Tells the parent of a zombie: the signal, the list of zombies, the waiters. A zombie whose parent does not care is reaped.
fn notify_parent(process: &Arc<Process>, status: ExitStatus, table: &mut TableGuard, leftovers: &mut Leftovers) {
    let Some(parent) = process.family(table).parent.clone() else {
        leftovers.processes.extend(table.remove_process(process.pid()));
        return;
    };
    let mut nobody_cares = false;
    if let Some(signal) = Signal::new(process.exit_signal()) {
        let mut send = true;
        if signal == Signal::SIGCHLD {
            let action = parent.signals.action(signal);
            let no_wait = action.action_flags().contains(ActionFlags::NO_CHILD_WAIT);
            nobody_cares = action.is_ignore() || no_wait;
            send = !action.is_ignore();
        }
        if send {
            let _ = parent.signals.send(Target::Process, signal, end_information(process, status, signal), None);
        }
    }
    if nobody_cares {
        super::wait::reap_locked(&parent, process, table, super::wait::Count::No, &mut |process, group| {
            leftovers.processes.extend(process);
            leftovers.groups.extend(group);
        });
    } else {
        parent.family_mut(table).zombies.push_back(process.clone());
    }
    leftovers.parents.push(parent);
}

/// The `siginfo` of a child's end.
fn end_information(process: &Arc<Process>, status: ExitStatus, signal: Signal) -> SignalInformation {
    let usage = *process.ended_threads.lock();
    let (code, value) = super::wait::code_and_value(status);
    let mut information = SignalInformation::child(
        code,
        process.pid(),
        process.real_user(),
        value,
        usage.user_time.to_ticks().0,
        usage.system_time.to_ticks().0,
    );
    information.number = signal.number().cast_signed();
    information
}

/// The end of PID 1 is the end of the machine.
#[cold]
#[inline(never)]
#[expect(clippy::panic, reason = "Linux panics too: there is nobody left to run the system")]
fn end_of_init(status: ExitStatus) {
    if POWER_OFF_WITH_INIT.load(Relaxed) {
        let code = status.signal().map_or(status.code(), |signal| 128 + signal.cast_signed());
        log::info!("init has ended with status {code}: power off");
        Current::exit(u8::try_from(code).unwrap_or(u8::MAX));
    }
    panic!("Attempted to kill init! exitcode=0x{:08x}", status.0);
}

/// Kills a process from outside as a kernel decision (out of memory): as `SIGKILL` from the kernel.
pub fn kill_process(process: &Arc<Process>) {
    super::signal::send_from_kernel(process, Signal::SIGKILL);
}

/// What the end of a process's last thread does to its relations, for a process without threads.
#[cfg(test)]
pub(super) fn end_without_threads(process: &Arc<Process>, status: ExitStatus) {
    let mut leftovers = Leftovers::default();
    let mut table = table::lock();
    leave_children(process, &mut table, &mut leftovers);
    orphan_own_group(process, &mut table);
    process.family_mut(&mut table).lifecycle = Lifecycle::Zombie(status);
    notify_parent(process, status, &mut table, &mut leftovers);
    drop(table);
    leftovers.wake();
}

#[cfg(test)]
mod tests;
