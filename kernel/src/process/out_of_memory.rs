//! Out of memory: one victim is chosen, logged and killed, and who asked tries again.
//!
//! The victim is the process whose end frees most, PID 1 spared. Linux's badness is the same: resident pages and page tables. Where memory is out on some nodes
//! only ([`Scope`]), processes that a policy keeps off them are spared, too.
//! A victim that is already leaving is waited for before another one is chosen.
//!
//! Locks: [`TURN`] is taken without any other; the process table and address spaces are asked one after the other below it.

use super::{Process, exit, futex, inheritance, table};
use crate::arch::{Current, TimerHardware};
use crate::base::Nanoseconds;
use crate::memory::address_space::{AddressSpace, OutOfMemoryKiller, Statistics, Victim, set_out_of_memory_killer};
use crate::memory::node_frames::Scope;
use crate::memory::paging::kernel;
use crate::memory::{frame_allocator, heap, kernel_stack};
use crate::sync::{Interruptible, Mutex, parking};
use alloc::sync::Arc;

/// One at a time: those who come later find memory, most often.
static TURN: Mutex<()> = Mutex::new(());

/// How long a victim gets to leave before another one is looked for.
const PATIENCE: Nanoseconds = Nanoseconds::from_milliseconds(500);
/// How often that is looked at.
const STEP: Nanoseconds = Nanoseconds::from_milliseconds(5);

struct Killer;

/// Registers the killer.
pub fn initialize() {
    set_out_of_memory_killer(&Killer);
}

/// What a process's end would free, in pages.
fn badness(statistics: &Statistics) -> u64 {
    statistics.resident() + statistics.tables
}

/// Whether a process has been told to end. It may not have heard of it: it sleeps for something that another thread holds which itself wants
/// memory. So one that was chosen once and has had its time is not chosen again, and the next one goes (Linux: `MMF_OOM_SKIP`).
fn is_dying(process: &Process) -> bool {
    process.is_exiting() || process.signals.fatal_signal().is_some()
}

/// The process that is to go: the one with the most memory, PID 1 and those that are dying already excepted. It allocates nothing.
fn choose(scope: Scope) -> Option<(Arc<Process>, Statistics)> {
    let mut best: Option<(Arc<Process>, Statistics)> = None;
    for_each_process(|process| {
        if is_dying(&process) || !may_have_memory_in(&process, scope) {
            return;
        }
        let Some(statistics) = process.address_space().map(|space| space.statistics()) else { return };
        if best.as_ref().is_none_or(|(_, most)| badness(&statistics) > badness(most)) {
            best = Some((process, statistics));
        }
    });
    best
}

/// Whether a thread of the process may have taken memory there.
fn may_have_memory_in(process: &Process, scope: Scope) -> bool {
    let Scope::Nodes(nodes) = scope else { return true };
    let table = table::lock();
    let mut threads = process.family(&table).threads.iter();
    threads.any(|thread| !thread.memory_policy.get().is_some_and(|policy| policy.keeps_off(nodes)))
}

/// Ends the other processes that have the same address space (`vfork`, `CLONE_VM`): it is not freed before they all have left it.
fn kill_sharers(space: &Arc<AddressSpace>) {
    for_each_process(|process| {
        if !is_dying(&process) && process.address_space().is_some_and(|other| Arc::ptr_eq(&other, space)) {
            log::error!("Out of memory: Killed process {} for sharing the victim's memory", process.pid());
            exit::kill_process(&process);
        }
    });
}

/// Calls `each` with every process but PID 1. It allocates nothing, and no lock is held meanwhile.
fn for_each_process(mut each: impl FnMut(Arc<Process>)) {
    let mut next = 2;
    loop {
        let found = table::lock().process_from(next).cloned();
        let Some(process) = found else { return };
        next = process.pid().saturating_add(1);
        each(process);
    }
}

/// Waits until there is memory again or the victim has had its time.
fn wait_for_memory(scope: Scope) {
    let end = Current::now().saturating_add(PATIENCE);
    while !scope.has_room() && Current::now() < end {
        let _ = parking::park(Some(Current::now().saturating_add(STEP)), Interruptible::ByKill);
    }
}

/// The system calls of this thread or another have driven the kernel's own heap into the reserve: one victim goes, as for a page of a
/// program's. So what a single call takes is all that the reserve is used for. Thread context, on the way to user mode.
pub fn relieve() {
    let _ = Killer.choose_and_kill(Scope::Everywhere);
}

/// Gives back what the kernel keeps at hand: stacks for the next threads, top tables for the next address spaces, room for waiters, free objects of the
/// heap, free frames of each CPU; in this order, for the former are made of the latter. Thread context.
pub fn give_back_caches() {
    kernel_stack::shrink();
    kernel::shrink();
    futex::give_back();
    inheritance::give_back();
    heap::shrink();
    frame_allocator::drain_caches();
}

impl OutOfMemoryKiller for Killer {
    fn choose_and_kill(&self, scope: Scope) -> Victim {
        let Some(caller) = super::thread::try_current_thread() else { return Victim::Caller };
        let _turn = TURN.lock();
        if is_dying(caller.process()) {
            return Victim::Caller;
        }
        if scope.has_room() {
            return Victim::Other;
        }
        // What is free but kept somewhere comes first: of the heap, and then of the frames.
        give_back_caches();
        if scope.has_room() {
            return Victim::Other;
        }
        let Some((victim, statistics)) = choose(scope) else {
            log::error!("Out of memory and no killable processes");
            return Victim::Caller;
        };
        let name = victim.main_thread().map(|thread| thread.name()).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        log::error!(
            "Out of memory: Killed process {} ({}) total-vm:{}kB, anon-rss:{}kB, file-rss:{}kB, shmem-rss:{}kB, pgtables:{}kB",
            victim.pid(),
            name.escape_ascii(),
            statistics.total * 4,
            statistics.anonymous * 4,
            statistics.file * 4,
            statistics.shared * 4,
            statistics.tables * 4
        );
        let space = victim.address_space();
        exit::kill_process(&victim);
        if let Some(space) = space {
            kill_sharers(&space);
        }
        if is_dying(caller.process()) {
            return Victim::Caller;
        }
        wait_for_memory(scope);
        Victim::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::family::create_process;
    use crate::process::signal::{SignalSet, ThreadSignals};

    #[test]
    fn a_victim_that_has_not_heard_of_its_end_is_not_chosen_again() {
        let process = create_process(None).unwrap();
        let thread = ThreadSignals::new(process.pid(), SignalSet::EMPTY);
        process.signals.attach(thread.clone());
        assert!(!is_dying(&process));
        exit::kill_process(&process);
        assert!(is_dying(&process) && !process.is_exiting());
    }
}
