//! A process: what the threads of one thread group share.
//!
//! Field groups and who may touch them:
//! - *relations* (`family`): under the process table's lock; see [`super::family`].
//! - *address space*: read by anybody, replaced by the only thread of the process; see [`super::cells::OwnedCell`].
//! - everything else: atomics, or a small lock of rank `Process`.

#![allow(unsafe_code, reason = "the address-space cell is replaced by its owner alone")]

use super::attributes::ProcessAttributes;
use super::cells::{OwnedCell, TableCell};
use super::family::Family;
use super::outcome::{ExitStatus, KIBIBYTES_PER_PAGE, Lifecycle, Usage};
use super::program::Program;
use super::resource_limits::{Resource, ResourceLimits};
use super::session::{ProcessGroup, Session};
use super::signal::SignalState;
use super::table::{self, TableGuard};
use super::thread::NAME_LENGTH;
use super::timers::ProcessTimers;
use super::{Pid, Thread, thread};
use crate::base::{Nanoseconds, VirtualAddress};
use crate::fs::poll::PollQueue;
use crate::memory::address_space::{AddressSpace, FutexKey};
use crate::security::Credentials;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

/// A process: Linux's thread group.
pub struct Process {
    id: Pid,
    /// Signal handlers and the signals pending for the process as a whole.
    pub signals: SignalState,
    /// What `prctl` sets.
    pub attributes: ProcessAttributes,
    /// Timers that send signals.
    pub timers: ProcessTimers,
    /// Resource limits.
    pub limits: SpinLock<ResourceLimits, InterruptsDisabled>,
    /// Relations to others, guarded by the process table's lock.
    family: TableCell<Family>,
    /// The parent's number, as `getppid` gives it: a copy of what `family` says, read without a lock.
    pub(super) parent_id: AtomicI32,
    /// Threads that have not ended.
    pub(super) live_threads: AtomicU32,
    /// The status with which the whole group ends, once it does: [`Self::NO_EXIT`] before.
    pub(super) group_exit: AtomicU32,
    /// Waiters in `wait4` and its kin, woken when a child changes state.
    pub child_event: WaitQueue,
    /// Woken when a thread of the process ends (de-threading `execve`) and when it becomes a zombie (pidfd).
    pub end_event: WaitQueue,
    /// Whether a thread of several is in `execve`, ending the others.
    pub(super) executing: AtomicBool,
    /// Whether it has called `execve` since `fork` (`setpgid` asks).
    pub(super) executed: AtomicBool,
    /// Whether orphaned descendants come to it (`PR_SET_CHILD_SUBREAPER`).
    subreaper: AtomicBool,
    /// When it started, on the boot-time clock.
    start_time: Nanoseconds,
    /// CPU time and counts of threads that have ended.
    pub(super) ended_threads: SpinLock<Usage>,
    /// The same of children that were waited for.
    pub(super) waited_children: SpinLock<Usage>,
    /// See [`Self::real_user`].
    pub(crate) real_user: AtomicU32,
    /// Linux's personality(2).
    personality: AtomicU32,
    /// The signal that the parent gets at the end, 0 for none.
    pub(super) exit_signal: AtomicU32,
    /// The address space; replaced by `execve`, given up by the last thread.
    address_space: OwnedCell<AddressSpace>,
    /// The program's file, for `/proc/PID/exe`.
    program: SpinLock<Option<Arc<Program>>>,
    /// What its leader was called when it ended; see [`Self::name`].
    last_name: SpinLock<[u8; NAME_LENGTH], InterruptsDisabled>,
    /// Who polls a pidfd of it; woken when it has ended.
    pub end_poll: PollQueue,
}

impl Process {
    /// `group_exit` before anybody has asked for the end.
    pub(super) const NO_EXIT: u32 = u32::MAX;

    /// A process that is in no table yet, without threads and address space.
    pub(super) fn new(id: Pid, signals: SignalState, limits: ResourceLimits) -> Self {
        Self {
            id,
            signals,
            attributes: ProcessAttributes::default(),
            timers: ProcessTimers::default(),
            limits: SpinLock::new(LockRank::ProcessTimers, limits),
            family: TableCell::new(Family::default()),
            parent_id: AtomicI32::new(0),
            live_threads: AtomicU32::new(0),
            group_exit: AtomicU32::new(Self::NO_EXIT),
            child_event: WaitQueue::new(),
            end_event: WaitQueue::new(),
            executing: AtomicBool::new(false),
            executed: AtomicBool::new(false),
            subreaper: AtomicBool::new(false),
            start_time: <crate::arch::Current as crate::arch::TimerHardware>::now(),
            ended_threads: SpinLock::new(LockRank::Process, Usage::default()),
            waited_children: SpinLock::new(LockRank::Process, Usage::default()),
            real_user: AtomicU32::new(0),
            personality: AtomicU32::new(0),
            exit_signal: AtomicU32::new(17),
            address_space: OwnedCell::new(None),
            program: SpinLock::new(LockRank::Process, None),
            last_name: SpinLock::new(LockRank::Process, [0; NAME_LENGTH]),
            end_poll: PollQueue::new(),
        }
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub const fn pid(&self) -> Pid {
        self.id
    }
    /// Its address space: none for a process of the kernel's own and once it has ended.
    #[must_use]
    #[inline]
    pub fn address_space(&self) -> Option<Arc<AddressSpace>> {
        if thread::is_process_of_current(self) {
            // SAFETY: it is replaced only by a thread of the process that is alone in it, and the caller is one.
            unsafe { self.address_space.get_as_owner() }
        } else {
            self.address_space.get()
        }
    }
    /// The key of a futex at `place` that no other process uses; `None` where there is no address space.
    #[inline]
    pub fn private_futex_key(&self, place: VirtualAddress) -> Option<FutexKey> {
        if thread::is_process_of_current(self) {
            // SAFETY: as above; looking replaces nothing.
            unsafe { self.address_space.look_as_owner(|space| space.private_futex_key(place)) }
        } else {
            self.address_space.get().map(|space| space.private_futex_key(place))
        }
    }
    /// Replaces the address space and gives the old one back.
    ///
    /// # Safety
    /// The caller is the only thread of the process, or the process has none yet.
    pub(crate) unsafe fn replace_address_space(&self, space: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        // SAFETY: the caller's promise.
        unsafe { self.address_space.replace(space) }
    }
    /// Its leader's name, as `/proc/PID/comm` shows it, padded with NULs. A leader that has ended left it its last one, so zombies have a
    /// name.
    #[must_use]
    pub fn name(&self) -> [u8; NAME_LENGTH] {
        let table = table::lock();
        match self.family(&table).threads.first() {
            Some(leader) if leader.is_leader() => leader.name(),
            _ => *self.last_name.lock(),
        }
    }
    /// Keeps the name of a thread that ends, if it is the leader.
    pub(super) fn keep_name(&self, ending: &Thread) {
        if ending.is_leader() {
            *self.last_name.lock() = ending.name();
        }
    }
    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> Option<Arc<Program>> {
        self.program.lock().clone()
    }
    /// Says which program it runs.
    pub(crate) fn set_program(&self, program: Option<Arc<Program>>) {
        let old = core::mem::replace(&mut *self.program.lock(), program);
        drop(old);
    }
    /// Whether it has called `execve` since it was forked.
    #[must_use]
    pub fn has_executed(&self) -> bool {
        self.executed.load(Relaxed)
    }
    /// The signal that the parent gets at its end, 0 for none.
    #[must_use]
    pub fn exit_signal(&self) -> u32 {
        self.exit_signal.load(Relaxed)
    }
    /// The parent's number, 0 when there is none.
    #[must_use]
    #[inline]
    pub fn parent_pid(&self) -> Pid {
        self.parent_id.load(Relaxed)
    }
    /// Its relations, to read.
    #[must_use]
    #[inline]
    pub fn family<'a>(&'a self, table: &'a TableGuard) -> &'a Family {
        self.family.get(table)
    }
    /// Its relations, to change.
    #[inline]
    pub fn family_mut<'a>(&'a self, table: &'a mut TableGuard) -> &'a mut Family {
        self.family.get_mut(table)
    }
    /// The thread that stands for the process where Linux's interfaces want one: the oldest that has not ended.
    #[must_use]
    pub fn main_thread(&self) -> Option<Arc<Thread>> {
        let table = table::lock();
        self.family(&table).threads.first().cloned()
    }
    /// All threads that have not ended.
    #[must_use]
    pub fn collect_threads(&self) -> Vec<Arc<Thread>> {
        let table = table::lock();
        self.family(&table).threads.clone()
    }
    /// How many threads have not ended.
    #[must_use]
    #[inline]
    pub fn live_threads(&self) -> u32 {
        self.live_threads.load(Relaxed)
    }
    /// Whether the whole group has been told to end.
    #[must_use]
    #[inline]
    pub fn is_exiting(&self) -> bool {
        self.group_exit.load(Relaxed) != Self::NO_EXIT
    }
    /// The status with which the group ends, once it has been told to.
    #[must_use]
    pub fn group_exit(&self) -> Option<ExitStatus> {
        match self.group_exit.load(Relaxed) {
            Self::NO_EXIT => None,
            status => Some(ExitStatus(status)),
        }
    }
    /// Whether it is gone: waited for, and known only by those who still hold a reference.
    #[must_use]
    pub fn has_been_reaped(&self) -> bool {
        let table = table::lock();
        self.family(&table).lifecycle == Lifecycle::Reaped
    }
    /// Whether it is a zombie or gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let table = table::lock();
        self.family(&table).lifecycle != Lifecycle::Alive
    }
    /// The soft limit of a resource.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> u64 {
        self.limits.lock().soft(resource)
    }
    /// The process group's number.
    #[must_use]
    pub fn group_id(&self) -> Pid {
        let table = table::lock();
        self.family(&table).group.as_ref().map_or(0, |group| group.id())
    }
    /// The session's number.
    #[must_use]
    pub fn session_id(&self) -> Pid {
        let table = table::lock();
        self.family(&table).group.as_ref().map_or(0, |group| group.session().id())
    }
    /// The process group.
    #[must_use]
    pub fn group(&self) -> Option<Arc<ProcessGroup>> {
        let table = table::lock();
        self.family(&table).group.clone()
    }
    /// The session.
    #[must_use]
    pub fn session(&self) -> Option<Arc<Session>> {
        let table = table::lock();
        self.family(&table).group.as_ref().map(|group| group.session().clone())
    }
    /// When it started, since boot.
    #[must_use]
    pub const fn start_time(&self) -> Nanoseconds {
        self.start_time
    }
    /// CPU time and counts of all its threads, ended and alive.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let resident = self.address_space().map_or(0, |space| space.peak_resident());
        // Under the table's lock no thread moves from the living to the ended in between.
        let table = table::lock();
        let mut sum = *self.ended_threads.lock();
        sum.maximum_resident = sum.maximum_resident.max(resident * KIBIBYTES_PER_PAGE);
        self.family(&table).threads.iter().for_each(|thread| sum.add(&thread.usage()));
        sum
    }
    /// CPU time and counts of children that were waited for, and of theirs.
    #[must_use]
    pub fn children_usage(&self) -> Usage {
        *self.waited_children.lock()
    }
    /// What its main thread may do; of a process without threads, nothing is allowed.
    #[must_use]
    pub fn credentials(&self) -> Arc<Credentials> {
        match self.main_thread() {
            Some(thread) => thread.credentials(),
            None => thread::nobody(),
        }
    }
    /// Its real user, as `waitid` and `SIGCHLD` tell it: that of the thread that changed it last.
    #[must_use]
    pub fn real_user(&self) -> u32 {
        self.real_user.load(Relaxed)
    }
    /// Whether orphaned descendants come to it.
    #[must_use]
    pub fn is_subreaper(&self) -> bool {
        self.subreaper.load(Relaxed)
    }
    /// Makes it a subreaper, or no longer.
    pub fn set_subreaper(&self, on: bool) {
        self.subreaper.store(on, Relaxed);
    }
    /// Linux's personality bits.
    #[must_use]
    pub fn personality(&self) -> u32 {
        self.personality.load(Relaxed)
    }
    /// Sets them and gives the old ones.
    pub fn set_personality(&self, value: u32) -> u32 {
        self.personality.swap(value, Relaxed)
    }
}

impl core::fmt::Debug for Process {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Process({})", self.id)
    }
}
