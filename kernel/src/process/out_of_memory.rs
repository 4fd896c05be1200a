//! Out of memory: one victim is chosen, logged and killed, and who asked tries again.
//!
//! The victim is the process whose end frees most, PID 1 spared. Linux's badness is the same: resident pages and page tables.
//! A victim that is already leaving is waited for before another one is chosen.
//!
//! Locks: [`TURN`] is taken without any other; the process table and address spaces are asked one after the other below it.

use super::{Process, exit, table};
use crate::arch::{Current, TimerHardware};
use crate::base::Nanoseconds;
use crate::memory::address_space::{OutOfMemoryKiller, Statistics, Victim, set_out_of_memory_killer};
use crate::memory::frame_allocator;
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

/// The process that is to go: the one with the most memory, PID 1 and those that are leaving already excepted. It allocates nothing.
fn choose() -> Option<(Arc<Process>, Statistics)> {
    let mut best: Option<(Arc<Process>, Statistics)> = None;
    let mut next = 2;
    loop {
        let found = table::lock().process_from(next).cloned();
        let Some(process) = found else { return best };
        next = process.pid().saturating_add(1);
        if process.is_exiting() {
            continue;
        }
        let Some(statistics) = process.address_space().map(|space| space.statistics()) else { continue };
        if best.as_ref().is_none_or(|(_, most)| badness(&statistics) > badness(most)) {
            best = Some((process, statistics));
        }
    }
}

/// Waits until there is memory again or the victim has had its time.
fn wait_for_memory() {
    let end = Current::now().saturating_add(PATIENCE);
    while !frame_allocator::has_room_for_users() && Current::now() < end {
        let _ = parking::park(Some(Current::now().saturating_add(STEP)), Interruptible::ByKill);
    }
}

impl OutOfMemoryKiller for Killer {
    fn choose_and_kill(&self) -> Victim {
        let Some(caller) = super::thread::try_current_thread() else { return Victim::Caller };
        let _turn = TURN.lock();
        if caller.process().is_exiting() {
            return Victim::Caller;
        }
        if frame_allocator::has_room_for_users() {
            return Victim::Other;
        }
        let Some((victim, statistics)) = choose() else {
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
        exit::kill_process(&victim);
        if Arc::ptr_eq(&victim, caller.process()) {
            return Victim::Caller;
        }
        wait_for_memory();
        Victim::Other
    }
}
