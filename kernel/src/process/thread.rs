//! Threads: what the scheduler runs and what Linux calls a task.
//!
//! A [`Thread`] is counted (`Arc`). The process table and its process's list hold one reference each until it ends; the scheduler
//! holds one until it has been switched away from for the last time, so that nothing the CPU still uses is freed.
//!
//! Field groups and who may touch them:
//! - *machine*: context, vector registers, thread pointer. The scheduler's alone, interrupts disabled, while the thread is not
//!   running; the thread's own code while it is.
//! - *owned*: files, directories, credentials. Read by anybody, replaced by the thread itself; see [`super::cells::OwnedCell`].
//! - *sleep*: atomics; the protocol stands in `scheduler::dispatch`.
//! - everything else: atomics or a small lock of rank `Thread`.

#![allow(unsafe_code, reason = "turns the per-CPU pointer into the running thread and keeps machine state in cells")]

use super::cells::OwnedCell;
use super::context::SwitchContext;
use super::scheduler::{Policy, Priority, dispatch};
use super::signal::{InheritStack, SignalSet, ThreadSignals};
use super::{Pid, Process, Usage, table};
use crate::arch::{Cpu, Current, ExtendedState, ExtendedStateOperations, TrapFrame};
use crate::base::{Errno, Nanoseconds, Result, VirtualAddress};
use crate::security::Credentials;
use crate::sync::parking::Unpark;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::{Arc, Weak};
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bytes of a thread's name with its final NUL (`TASK_COMM_LEN`).
pub const NAME_LENGTH: usize = 16;

/// What a thread is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ThreadState {
    /// Waits for a CPU (or has not been started).
    Ready = 0,
    /// On a CPU.
    Running = 1,
    /// Waits for an event.
    Blocked = 2,
    /// Waits for an event or a point in time.
    Sleeping = 3,
    /// Has ended.
    Terminated = 4,
}

impl ThreadState {
    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ready,
            1 => Self::Running,
            2 => Self::Blocked,
            3 => Self::Sleeping,
            _ => Self::Terminated,
        }
    }
    /// Whether it waits for something other than a CPU.
    #[must_use]
    pub const fn is_asleep(self) -> bool {
        matches!(self, Self::Blocked | Self::Sleeping)
    }
}

/// Where a new thread begins.
#[derive(Debug)]
pub enum Start<'a> {
    /// In user mode, with these registers.
    User(&'a TrapFrame),
    /// In this kernel function; when it returns, the thread enters user mode with the registers in its frame if it has become a
    /// program by `execve`, and else ends.
    Kernel(fn()),
}

/// How Linux's scheduling calls see a thread; the scheduler's [`Priority`] and [`Policy`] follow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SchedulingParameters {
    /// `SCHED_OTHER` and so on.
    pub policy: u32,
    /// -20 to 19.
    pub niceness: i8,
    /// 1 to 99 for the real-time policies, else 0.
    pub realtime_priority: u8,
    /// Whether children start as `SCHED_OTHER`.
    pub reset_on_fork: bool,
    /// The CPUs that it may run on, as a mask of the first 64.
    pub affinity: u64,
}

impl Default for SchedulingParameters {
    fn default() -> Self {
        Self { policy: 0, niceness: 0, realtime_priority: 0, reset_on_fork: false, affinity: u64::MAX }
    }
}

/// A thread.
pub struct Thread {
    id: AtomicI32,
    process: Arc<Process>,
    /// Its signal mask and the signals pending for it alone.
    pub signals: Arc<ThreadSignals>,

    // Sleep.
    state: AtomicU8,
    pub(super) token: AtomicBool,
    pub(super) timed_out: AtomicBool,
    pub(super) interruptible: AtomicU8,

    // Scheduling.
    pub(super) cpu: AtomicU32,
    pub(super) slot: AtomicU32,
    pub(super) parameters: SpinLock<SchedulingParameters, InterruptsDisabled>,
    pub(super) runtime: AtomicU64,
    pub(super) user_ticks: AtomicU64,
    pub(super) system_ticks: AtomicU64,
    pub(super) voluntary_switches: AtomicU64,
    pub(super) involuntary_switches: AtomicU64,
    pub(super) minor_faults: AtomicU64,
    pub(super) major_faults: AtomicU64,

    // Machine.
    pub(super) context: UnsafeCell<SwitchContext>,
    pub(super) extended_state: UnsafeCell<Option<ExtendedState>>,
    /// The user thread pointer while the thread does not run.
    pub(super) thread_pointer: AtomicU64,
    pub(super) stack_top: VirtualAddress,
    pub(super) start_function: Option<fn()>,

    // Owned.
    credentials: OwnedCell<Credentials>,

    // The clone protocol.
    /// Where to write 0 and wake a futex at the end (`set_tid_address`).
    pub clear_child_tid: AtomicU64,
    /// Head of the robust-futex list.
    pub robust_list: AtomicU64,
    name: SpinLock<[u8; NAME_LENGTH], InterruptsDisabled>,
}

// SAFETY: the cells are touched as the module's documentation says: by the scheduler while the thread does not run, by the thread
// itself while it does.
unsafe impl Sync for Thread {}
// SAFETY: nothing in a thread is bound to a CPU.
unsafe impl Send for Thread {}

impl Thread {
    /// Its number.
    #[must_use]
    #[inline]
    pub fn tid(&self) -> Pid {
        self.id.load(Relaxed)
    }
    /// Its process.
    #[must_use]
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
    /// Whether its number is its process's.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid()
    }
    /// What it is doing now.
    #[must_use]
    #[inline]
    pub fn state(&self) -> ThreadState {
        ThreadState::from_number(self.state.load(Relaxed))
    }
    pub(super) fn set_state(&self, state: ThreadState) {
        self.state.store(state as u8, core::sync::atomic::Ordering::SeqCst);
    }
    /// Whether it is the running thread of this CPU.
    #[must_use]
    #[inline]
    pub fn is_current(&self) -> bool {
        core::ptr::eq(Current::current_thread().cast(), self)
    }
    /// Who it is and what it may do.
    #[must_use]
    #[inline]
    pub fn credentials(&self) -> Arc<Credentials> {
        if self.is_current() {
            // SAFETY: the thread itself is the owner.
            unsafe { self.credentials.get_as_owner() }
        } else {
            self.credentials.get()
        }
    }
    /// Changes who it is. For the thread itself, or before it is started; from elsewhere it changes nothing.
    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        if self.may_replace() {
            // SAFETY: just checked.
            drop(unsafe { self.credentials.replace(credentials) });
        }
    }
    /// Whether the caller is the owner of the owned cells, or the thread has not been started.
    fn may_replace(&self) -> bool {
        self.is_current() || self.slot.load(Relaxed) == Self::NO_SLOT
    }
    /// The name, as `/proc/PID/comm` shows it, padded with NULs.
    #[must_use]
    pub fn name(&self) -> [u8; NAME_LENGTH] {
        *self.name.lock()
    }
    /// Sets the name; what does not fit is cut off.
    pub fn set_name(&self, name: &[u8]) {
        let mut padded = [0; NAME_LENGTH];
        for (target, byte) in padded.iter_mut().take(NAME_LENGTH - 1).zip(name.iter().take_while(|byte| **byte != 0)) {
            *target = *byte;
        }
        *self.name.lock() = padded;
    }
    /// How Linux's scheduling calls see it.
    #[must_use]
    pub fn scheduling(&self) -> SchedulingParameters {
        *self.parameters.lock()
    }
    /// CPU time and counts.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let runtime = dispatch::runtime(self);
        let (user, system) = (self.user_ticks.load(Relaxed), self.system_ticks.load(Relaxed));
        // The clock says how much; the ticks say how it is divided.
        let user_time = match (user, system) {
            (0, 0) | (0, _) => 0,
            _ => (u128::from(runtime) * u128::from(user) / u128::from(user + system)) as u64,
        };
        Usage {
            user_time: Nanoseconds(user_time),
            system_time: Nanoseconds(runtime - user_time),
            minor_faults: self.minor_faults.load(Relaxed),
            major_faults: self.major_faults.load(Relaxed),
            voluntary_switches: self.voluntary_switches.load(Relaxed),
            involuntary_switches: self.involuntary_switches.load(Relaxed),
            maximum_resident: 0,
        }
    }
    /// Makes a thread ready that was created.
    pub fn start(self: &Arc<Self>) -> Result<()> {
        dispatch::start(self)
    }
    /// The value of `slot` before the thread is started.
    pub(super) const NO_SLOT: u32 = u32::MAX;

    /// The base priority and policy that follow from the parameters.
    #[must_use]
    pub fn base_priority(&self) -> (Priority, Policy) {
        super::scheduler::levels_of(&self.scheduling())
    }
}

impl Unpark for Thread {
    fn unpark(&self) {
        dispatch::wake(self);
    }
    fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
}

impl core::fmt::Debug for Thread {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Thread({} of {})", self.tid(), self.process.pid())
    }
}

/// The running thread, borrowed from the CPU: it derefs to `Arc<Thread>`, costs one load and stays with the thread that got it.
pub struct CurrentThread {
    thread: ManuallyDrop<Arc<Thread>>,
    /// It must not go to another thread, which may outlive this one.
    stays_here: PhantomData<*mut ()>,
}

impl Deref for CurrentThread {
    type Target = Arc<Thread>;
    #[inline]
    fn deref(&self) -> &Arc<Thread> {
        &self.thread
    }
}

impl core::fmt::Debug for CurrentThread {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&**self.thread, formatter)
    }
}

/// The running thread's process: derefs to `Arc<Process>`.
#[derive(Debug)]
pub struct CurrentProcess(CurrentThread);

impl Deref for CurrentProcess {
    type Target = Arc<Process>;
    #[inline]
    fn deref(&self) -> &Arc<Process> {
        self.0.process()
    }
}

/// The running thread, if this CPU runs one: not before the scheduler was set up, nor in most hosted tests.
#[must_use]
#[inline]
pub fn try_current_thread() -> Option<CurrentThread> {
    let pointer: *const Thread = Current::current_thread().cast();
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the scheduler sets the pointer from an `Arc` of which it holds a reference until the thread has been switched
    // away from for good. The caller runs on that thread, and the result is not sent to another one.
    let thread = ManuallyDrop::new(unsafe { Arc::from_raw(pointer) });
    Some(CurrentThread { thread, stays_here: PhantomData })
}

/// The running thread.
#[must_use]
#[inline]
#[expect(
    clippy::expect_used,
    reason = "code above the scheduler runs on a thread; a call from elsewhere is a kernel bug"
)]
pub fn current_thread() -> CurrentThread {
    try_current_thread().expect("there is no running thread yet")
}

/// The running thread's process.
#[must_use]
#[inline]
pub fn current_process() -> CurrentProcess {
    CurrentProcess(current_thread())
}

/// The credentials of nobody in particular, who may do nothing.
pub(super) fn nobody() -> Arc<Credentials> {
    Arc::new(Credentials::user(65534, 65534))
}

/// Makes a thread of `process`, which does not run before [`Thread::start`]. It has the credentials, files and directories of
/// the running thread, or root's when there is none.
///
/// # Errors
/// `EAGAIN`: no number is free. `ENOMEM`.
pub fn create_thread(process: &Arc<Process>, start: Start<'_>) -> Result<Arc<Thread>> {
    let creator = try_current_thread();
    let mut guard = table::lock();
    // The first thread of a process has the process's number.
    let is_first = process.family(&guard).threads.is_empty() && process.live_threads() == 0;
    let id = if is_first { process.pid() } else { guard.reserve_number().ok_or(Errno::EAGAIN)? };
    drop(guard);
    let thread = Arc::new(new_thread(id, process, &start, creator.as_ref().map(|creator| &***creator))?);
    let mut guard = table::lock();
    if !guard.insert_thread(id, thread.clone()) {
        guard.release_number(id);
        return Err(Errno::ENOMEM);
    }
    process.family_mut(&mut guard).threads.push(thread.clone());
    process.live_threads.fetch_add(1, Relaxed);
    let waker: Weak<Thread> = Arc::downgrade(&thread);
    thread.signals.set_waker(waker);
    process.signals.attach(thread.signals.clone());
    Ok(thread)
}

fn new_thread(id: Pid, process: &Arc<Process>, start: &Start<'_>, creator: Option<&Thread>) -> Result<Thread> {
    let extended_state = ExtendedState::initial().ok_or(Errno::ENOMEM)?;
    let thread = Thread {
        id: AtomicI32::new(id),
        process: process.clone(),
        signals: match creator {
            Some(creator) => creator.signals.inherit(id, InheritStack::Keep),
            None => ThreadSignals::new(id, SignalSet::EMPTY),
        },
        state: AtomicU8::new(ThreadState::Ready as u8),
        token: AtomicBool::new(false),
        timed_out: AtomicBool::new(false),
        interruptible: AtomicU8::new(0),
        cpu: AtomicU32::new(0),
        slot: AtomicU32::new(Thread::NO_SLOT),
        parameters: SpinLock::new(
            LockRank::Thread,
            creator.map_or_else(SchedulingParameters::default, Thread::scheduling),
        ),
        runtime: AtomicU64::new(0),
        user_ticks: AtomicU64::new(0),
        system_ticks: AtomicU64::new(0),
        voluntary_switches: AtomicU64::new(0),
        involuntary_switches: AtomicU64::new(0),
        minor_faults: AtomicU64::new(0),
        major_faults: AtomicU64::new(0),
        context: UnsafeCell::new(SwitchContext::EMPTY),
        extended_state: UnsafeCell::new(Some(extended_state)),
        thread_pointer: AtomicU64::new(0),
        stack_top: VirtualAddress::new(0),
        start_function: match start {
            Start::Kernel(function) => Some(*function),
            Start::User(_) => None,
        },
        credentials: OwnedCell::new(creator.map_or_else(|| Arc::new(Credentials::root()), Thread::credentials)),
        clear_child_tid: AtomicU64::new(0),
        robust_list: AtomicU64::new(0),
        name: SpinLock::new(LockRank::Thread, creator.map_or([0; NAME_LENGTH], Thread::name)),
    };
    Ok(thread)
}
