//! Processes and threads.
//!
//! A [`Process`] is Linux's thread group: an address space, children, limits, signal handlers and one or more [`Thread`]s. A thread is
//! what the [`scheduler`] runs; it holds what Linux keeps per task: its open files, working directory and credentials (each
//! usually shared with its siblings by a counted pointer), its signal mask, its name.
//!
//! # Where to find what
//! | you have | you want | take |
//! |---|---|---|
//! | nothing | the running thread, its process | [`current_thread`], [`current_process`] (one load each) |
//! | a number | a process, thread, group | [`table::find_process`], [`table::find_thread`], [`table::lock`] |
//! | a thread | its process | [`Thread::process`] |
//! | a thread | files, directories, credentials | [`Thread::files`], [`Thread::file_system`], [`Thread::credentials`] |
//! | a process | address space | [`Process::address_space`] |
//! | a process | parent, children, threads, group | [`table::lock`], then [`Process::family`] |
//!
//! # Lock order
//! process table ([`crate::sync::LockRank::ProcessTable`]; guards all relations) → a process's own state (`Process`) → its limits and
//! timers (`ProcessTimers`) → signal state (`Signal`) → a thread's cells (`Thread`) → run queues (`RunQueue`). None is held over anything that sleeps.
//!
//! # Life
//! `fork` makes a process with one thread; `exit` ends a thread; the last thread's end makes the process a zombie, which
//! keeps its number, its relations and its exit status until its parent waits. A thread's kernel stack is freed by whoever runs
//! next on its CPU, never by itself.

#![allow(unsafe_code, reason = "the address-space cell is replaced by its owner alone")]

pub mod attributes;
pub mod call_trace;
pub mod cells;
pub mod load;
pub mod clock;
pub mod context;
pub mod dispatch;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod out_of_memory;
pub mod pidfd;
pub mod provoke;
pub mod futex;
pub mod resource_limits;
pub mod scheduler;
pub mod membership;
pub mod session;
pub mod signal;
pub mod table;
pub mod thread;
pub mod timers;
pub mod uts;
pub mod trap;
pub mod wait;

pub use resource_limits::ResourceLimits;
pub use session::{ProcessGroup, Session};
pub use signal::{SignalState, ThreadSignals};
pub use table::{ProcessTable, ThreadTable};
pub use thread::{
    CurrentProcess, CurrentThread, Start, Thread, ThreadState, create_thread, current_process, current_thread,
};

use crate::base::{Errno, Nanoseconds, Result};
use crate::fs::OpenFile;
use crate::fs::poll::PollQueue;
use crate::memory::address_space::AddressSpace;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock, WaitQueue};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use cells::{OwnedCell, TableCell};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};
use table::TableGuard;

/// The number of a process, thread, process group or session: Linux's `pid_t`.
pub type Pid = i32;

/// A process: Linux's thread group.
pub struct Process {
    id: Pid,
    /// Signal handlers and the signals pending for the process as a whole.
    pub signals: SignalState,
    /// What `prctl` sets.
    pub attributes: attributes::ProcessAttributes,
    /// Timers that send signals.
    pub timers: timers::ProcessTimers,
    /// Resource limits.
    pub limits: SpinLock<ResourceLimits, InterruptsDisabled>,
    /// Relations to others, guarded by the process table's lock.
    family: TableCell<Family>,
    /// The parent's number, as `getppid` gives it: a copy of what `family` says, read without a lock.
    parent_id: AtomicI32,
    /// Threads that have not ended.
    live_threads: AtomicU32,
    /// The status with which the whole group ends, once it does: [`Self::NO_EXIT`] before.
    group_exit: AtomicU32,
    /// Waiters in `wait4` and its kin, woken when a child changes state.
    pub child_event: WaitQueue,
    /// Woken when a thread of the process ends (de-threading `execve`) and when it becomes a zombie (pidfd).
    pub end_event: WaitQueue,
    /// Whether a thread of several is in `execve`, ending the others.
    executing: AtomicBool,
    /// Whether it has called `execve` since `fork` (`setpgid` asks).
    executed: AtomicBool,
    /// Whether orphaned descendants come to it (`PR_SET_CHILD_SUBREAPER`).
    subreaper: AtomicBool,
    /// When it started, on the boot-time clock.
    start_time: Nanoseconds,
    /// CPU time and counts of threads that have ended.
    ended_threads: SpinLock<Usage>,
    /// The same of children that were waited for.
    waited_children: SpinLock<Usage>,
    /// See [`Self::real_user`].
    pub(crate) real_user: AtomicU32,
    /// Linux's personality(2).
    personality: AtomicU32,
    /// The signal that the parent gets at the end, 0 for none.
    exit_signal: AtomicU32,
    /// The address space; replaced by `execve`, given up by the last thread.
    address_space: OwnedCell<AddressSpace>,
    /// The program's file, for `/proc/PID/exe`.
    program: SpinLock<Option<Arc<Program>>>,
    /// Who polls a pidfd of it; woken when it has ended.
    pub end_poll: PollQueue,
}

/// The program that a process runs.
#[derive(Debug)]
pub struct Program {
    /// Its file.
    pub file: Arc<OpenFile>,
    /// The auxiliary vector as it lies on the stack, for `/proc/PID/auxv`.
    pub auxiliary_vector: Vec<[u64; 2]>,
    /// Keeps writers out of the program's files.
    _denied: Vec<exec::DeniedWriters>,
}

/// CPU time and counts, as `getrusage` sums them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in user mode.
    pub user_time: Nanoseconds,
    /// Time in the kernel.
    pub system_time: Nanoseconds,
    /// Page faults that needed no I/O.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// Times it gave the CPU up itself.
    pub voluntary_switches: u64,
    /// Times it was preempted.
    pub involuntary_switches: u64,
    /// The most memory resident, in KiB: a maximum, not a sum.
    pub maximum_resident: u64,
}

impl Usage {
    /// Adds another's times and counts and takes the larger maximum.
    pub fn add(&mut self, other: &Self) {
        self.user_time = self.user_time.saturating_add(other.user_time);
        self.system_time = self.system_time.saturating_add(other.system_time);
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.maximum_resident = self.maximum_resident.max(other.maximum_resident);
    }
}

/// How a process ended, or what happened to it, as `wait` encodes it: `code << 8`, or a signal's number, with 0x80 for a core dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ExitStatus(pub u32);

impl ExitStatus {
    /// `exit(code)`: the low eight bits count.
    #[must_use]
    pub const fn exited(code: i32) -> Self {
        Self((code.cast_unsigned() & 0xff) << 8)
    }
    /// Ended by signal `number`.
    #[must_use]
    pub const fn killed(number: u32) -> Self {
        Self(number & 0x7f)
    }
    /// Ended by signal `number` with a core dump.
    #[must_use]
    pub const fn dumped(number: u32) -> Self {
        Self(number & 0x7f | 0x80)
    }
    /// The signal that ended it, if one did.
    #[must_use]
    pub const fn signal(self) -> Option<u32> {
        match self.0 & 0x7f {
            0 => None,
            number => Some(number),
        }
    }
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> i32 {
        (self.0 >> 8 & 0xff).cast_signed()
    }
}

/// Whether a process runs, waits to be waited for, or is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lifecycle {
    /// It has threads.
    #[default]
    Alive,
    /// All its threads have ended; it waits for its parent.
    Zombie(ExitStatus),
    /// Waited for: only references to it remain.
    Reaped,
}

/// A process's relations, guarded by the process table's lock.
#[derive(Debug, Default)]
pub struct Family {
    /// The parent; none for PID 1 and the kernel's own.
    pub parent: Option<Arc<Process>>,
    /// Children, zombies included, in no particular order once one has gone.
    pub children: Vec<Arc<Process>>,
    /// Those children that are zombies, in the order in which they ended.
    pub zombies: VecDeque<Arc<Process>>,
    /// Where this process stands in its parent's `children`.
    index_in_parent: usize,
    /// Where it stands in its group's members.
    index_in_group: usize,
    /// The process group.
    pub group: Option<Arc<ProcessGroup>>,
    /// Threads that have not ended, in order of creation.
    pub threads: Vec<Arc<Thread>>,
    /// Alive or not.
    pub lifecycle: Lifecycle,
}

impl Process {
    /// `group_exit` before anybody has asked for the end.
    const NO_EXIT: u32 = u32::MAX;

    fn new(id: Pid, signals: SignalState, limits: ResourceLimits) -> Self {
        Self {
            id,
            signals,
            attributes: attributes::ProcessAttributes::default(),
            timers: timers::ProcessTimers::default(),
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
    /// Replaces the address space and gives the old one back.
    ///
    /// # Safety
    /// The caller is the only thread of the process, or the process has none yet.
    pub(crate) unsafe fn replace_address_space(&self, space: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        // SAFETY: the caller's promise.
        unsafe { self.address_space.replace(space) }
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
    pub fn limit(&self, resource: resource_limits::Resource) -> u64 {
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
        sum.maximum_resident = sum.maximum_resident.max(resident * exit::KIBIBYTES_PER_PAGE);
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
    pub fn credentials(&self) -> Arc<crate::security::Credentials> {
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

/// Makes a process without threads as a child of `parent`: with its limits, signal handlers, group and session, and an address space
/// of its own to be set. Without a parent it founds a session (PID 1 does).
///
/// # Errors
/// `EAGAIN`: no number is free. `ENOMEM`.
pub fn create_process(parent: Option<&Arc<Process>>) -> Result<Arc<Process>> {
    let (signals, limits) = match parent {
        Some(parent) => (parent.signals.fork(), parent.limits.lock().clone()),
        None => (SignalState::new(), ResourceLimits::new()),
    };
    let mut table = table::lock();
    let id = table.reserve_number().ok_or(Errno::EAGAIN)?;
    drop(table);
    let process = Arc::new(Process::new(id, signals, limits));
    enter_process(&process, parent.map(|parent| Relatives { parent, group_of: parent }), &mut table::lock())?;
    Ok(process)
}

/// Where a new process belongs.
#[derive(Clone, Copy)]
struct Relatives<'a> {
    /// Its parent.
    parent: &'a Arc<Process>,
    /// The process whose group it joins: that of its maker, which is not always its parent.
    group_of: &'a Arc<Process>,
}

/// Puts a process whose number is reserved into the table, among its parent's children and into its maker's group. Without
/// relatives it founds a session.
fn enter_process(process: &Arc<Process>, relatives: Option<Relatives<'_>>, table: &mut TableGuard) -> Result<()> {
    if !table.insert_process(process.id, process.clone()) {
        table.release_number(process.id);
        return Err(Errno::ENOMEM);
    }
    let Some(Relatives { parent, group_of }) = relatives else {
        return membership::found_session(process, table);
    };
    process.parent_id.store(parent.id, Relaxed);
    let siblings = &mut parent.family_mut(table).children;
    let index = siblings.len();
    siblings.push(process.clone());
    let group = group_of.family(table).group.clone();
    let family = process.family_mut(table);
    family.index_in_parent = index;
    family.parent = Some(parent.clone());
    if let Some(group) = group {
        membership::join_group(process, group, table);
    }
    Ok(())
}

/// Boot: registers this room with the machine and with `sync`, and turns the code that runs (the boot path) into the first CPU's idle
/// thread. The heap and the page tables work by now.
pub fn initialize() {
    let kernel = Arc::new(Process::new(0, SignalState::new(), ResourceLimits::new()));
    dispatch::set_kernel_root(<crate::arch::Current as crate::arch::Mmu>::active_root());
    dispatch::set_end_of_kernel_thread(exit::end_kernel_thread);
    dispatch::adopt_idle_thread(Thread::adopting(&kernel, b"swapper/0"));
    crate::arch::set_trap_handler(&trap::TRAPS);
    timers::initialize();
    futex::initialize();
}

/// Makes PID 1, which begins in the kernel function `function`: it prepares the root file system and becomes a program with
/// [`exec::become_program`].
///
/// # Errors
/// `ENOMEM`.
pub fn start_init(function: fn()) -> Result<Arc<Process>> {
    let process = create_process(None)?;
    process.signals.set_unkillable();
    let memory = crate::memory::frame_allocator::statistics().total * crate::base::PAGE_SIZE as u64;
    *process.limits.lock() = ResourceLimits::for_machine(memory);
    let thread = create_thread(&process, Start::Kernel(function))?;
    thread.set_name(b"init");
    thread.start()?;
    Ok(process)
}

/// The end of the boot path: runs others from now on.
pub fn run_idle() -> ! {
    dispatch::run_idle()
}
