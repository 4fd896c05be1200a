//! Threads: what the scheduler runs and what Linux calls a task.
//!
//! A [`Thread`] is counted (`Arc`). The process table and its process's list hold one reference each until it ends; the scheduler
//! holds one until it has been switched away from for the last time, so that nothing the CPU still uses is freed.
//!
//! Field groups and who may touch them:
//! - *machine*: context, vector registers, thread pointer. The scheduler's alone, interrupts disabled, while the thread is not
//!   running; the thread's own code while it is.
//! - *owned*: files, directories, credentials. Read by anybody, replaced by the thread itself; see [`super::cells::OwnedCell`].
//! - *sleep*: atomics; the protocol stands in [`super::dispatch`].
//! - *entity*: guarded by the run queue that it is on; see [`super::scheduler::run_queue`].
//! - everything else: atomics or a small lock of rank `Thread`.

#![allow(unsafe_code, reason = "keeps machine state in cells")]

mod create;
mod current;

pub(super) use create::{Parts, enter_thread};
pub use create::{Start, create_thread};
pub(super) use current::is_process_of_current;
pub use current::{CurrentProcess, CurrentThread, boot_thread, current_process, current_thread, try_current_thread};

use super::cells::OwnedCell;
use super::context::SwitchContext;
use super::resource_limits::{Processes, UserCharge};
use super::rseq::Sequences;
use super::scheduler::{self, Entity, Member, Parameters, SCHED_DEADLINE, SchedulingParameters, Standing};
use super::signal::ThreadSignals;
use super::{Pid, Process};
use crate::arch::{Cpu, Current, ExtendedState, ThreadHead, TrapFrame};
use crate::base::{CpuId, CpuMask, VirtualAddress};
use crate::fs::{FileTable, FsContext};
use crate::memory::kernel_stack::KernelStack;
use crate::security::Credentials;
use crate::sync::{Interruptible, InterruptsDisabled, SpinLock, SpinLockGuard};
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence,
};

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

/// A thread. The machine's part comes first, so that its address is the thread's.
#[repr(C)]
pub struct Thread {
    pub(super) head: ThreadHead,
    id: AtomicI32,
    process: Arc<Process>,
    /// Its signal mask and the signals pending for it alone.
    pub signals: Arc<ThreadSignals>,
    /// What `prctl` sets.
    pub attributes: super::attributes::ThreadAttributes,

    // Sleep.
    state: AtomicU8,
    pub(super) token: AtomicBool,
    pub(super) timed_out: AtomicBool,
    pub(super) interruptible: AtomicU8,

    // Scheduling.
    /// What the run queues know of it.
    pub(super) entity: Entity<ThreadPointer>,
    /// Whether the scheduler has it.
    pub(super) started: AtomicBool,
    /// The CPU in whose registers its vector registers are as long as that CPU says so too: see [`super::dispatch`].
    pub(super) extended_cpu: AtomicU32,
    pub(super) parameters: SpinLock<SchedulingParameters, InterruptsDisabled>,
    /// What [`super::inheritance`] lends it, as bits of a [`Standing`].
    pub(super) lent: AtomicU64,
    /// How long it has run, and how long it was ready and waited, in nanoseconds; the present turn and the present wait not counted.
    pub(super) runtime: AtomicU64,
    pub(super) wait_time: AtomicU64,
    /// When it was last left, or became ready if that was later: since when it waits if it is ready.
    pub(super) waiting_since: AtomicU64,
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
    /// The second one (GS base), likewise.
    pub(super) second_thread_pointer: AtomicU64,
    /// The top table of its address space, 0 for a thread without one.
    pub(super) space_root: AtomicU64,
    /// Whether it has, or will have, a user mode: see [`Self::is_user`].
    pub(super) user: AtomicBool,
    pub(super) stack: Option<KernelStack>,
    pub(super) stack_top: VirtualAddress,
    pub(super) start_function: Option<fn()>,

    // Owned.
    credentials: OwnedCell<Credentials>,
    files: OwnedCell<FileTable>,
    file_system: OwnedCell<FsContext>,
    /// Its unit of the user's `RLIMIT_NPROC`.
    charge: OwnedCell<UserCharge<Processes>>,

    /// Its duties before user mode, its restartable sequences.
    pub sequences: Sequences,
    /// On which nodes it wants its memory.
    pub memory_policy: super::memory_policy::ThreadMemoryPolicy,

    // The clone protocol.
    /// Where the thread writes its number before it first enters user mode (`CLONE_CHILD_SETTID`).
    pub(super) set_child_tid: AtomicU64,
    /// Set when it no longer uses the address space that its creator waits for (`CLONE_VFORK`).
    pub(super) released_memory: AtomicBool,
    /// Where to write 0 and wake a futex at the end (`set_tid_address`).
    pub clear_child_tid: AtomicU64,
    /// Head of the robust-futex list.
    pub robust_list: AtomicU64,
    /// Set when it has given up its futexes: nobody may begin to wait for it any more.
    pub(super) has_left_futexes: AtomicBool,
    /// The signal that it gets when its parent ends (`PR_SET_PDEATHSIG`), 0 for none.
    pub parent_death_signal: AtomicU32,
    name: SpinLock<[u8; NAME_LENGTH], InterruptsDisabled>,
}

const _: () = assert!(offset_of!(Thread, head) == 0, "the machine names a thread by its head");

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

    /// Gives the thread the number of its process: the one that is left after `execve`.
    pub(super) fn set_tid(&self, id: Pid) {
        self.id.store(id, Relaxed);
        self.signals.set_identifier(id);
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
    /// The same for waking: after a sequentially consistent read-modify-write, or a fence, of what the sleeper looks at last.
    #[inline]
    pub(super) fn state_in_order(&self) -> ThreadState {
        ThreadState::from_number(self.state.load(SeqCst))
    }
    /// Sets it. Whoever acts on it looks again under the lock of the thread's CPU.
    #[inline]
    pub(super) fn set_state(&self, state: ThreadState) {
        self.state.store(state as u8, Relaxed);
    }
    /// Says that the thread is about to sleep, before it looks for the last time whether it has to: who gives it a reason sees this, or is seen.
    ///
    /// It takes a fence: a sequentially consistent store and the load after it are a store-release and a load-acquire on 64-bit Arm, whose order
    /// QEMU's emulation on x86 does not keep.
    #[inline]
    pub(super) fn announce_sleep(&self, state: ThreadState) {
        self.set_state(state);
        fence(SeqCst);
    }
    /// Whether a wait of the present sleep ends by signals: Linux's `S` and `D` in `/proc/PID/stat`.
    #[must_use]
    pub fn sleeps_interruptibly(&self) -> bool {
        self.interruptible.load(Relaxed) == Interruptible::BySignal as u8
    }
    /// Whether it runs a program, and not only kernel code.
    #[must_use]
    #[inline]
    pub fn is_user(&self) -> bool {
        self.user.load(Relaxed)
    }
    /// The registers with which the thread last came from user mode; meaningful while it does not run in user mode. For the
    /// tracer of registers and `/proc/PID/syscall`; the thread's own handlers get them handed.
    #[must_use]
    pub fn user_registers(&self) -> Option<TrapFrame> {
        if self.stack.is_none() || !self.is_user() || self.is_current() {
            return None;
        }
        // SAFETY: the frame lies on the thread's own stack, which lives as long as the thread, and was written before the
        // thread became a user thread.
        Some(unsafe { &*self.frame_pointer() }.clone())
    }
    /// The registers with which the running thread came from user mode, as they stand now, for the last words of a panic.
    #[must_use]
    pub(super) fn entry_registers(&self) -> Option<TrapFrame> {
        if self.stack.is_none() || !self.is_user() {
            return None;
        }
        // SAFETY: as above; plain numbers, which only this thread writes, and it is here.
        Some(unsafe { self.frame_pointer().read_volatile() })
    }
    /// Where a system call leaves the user registers: at the top of the kernel stack. What the kernel pushes lies below.
    pub(super) fn frame_address(&self) -> VirtualAddress {
        VirtualAddress::new((self.stack_top.value() - size_of::<TrapFrame>() as u64) & !15)
    }
    /// Where the entry code puts the user registers.
    pub(super) fn frame_pointer(&self) -> *mut TrapFrame {
        let address = self.frame_address();
        core::ptr::with_exposed_provenance_mut(address.value() as usize)
    }
    /// Gives a thread that has not entered user mode the registers with which it will.
    ///
    /// # Safety
    /// The thread has not been started, or it is the caller and does not return to user mode by another frame.
    pub(super) unsafe fn set_user_frame(&self, frame: &TrapFrame) {
        if self.stack.is_some() {
            // SAFETY: the place is inside the thread's own stack, at its top, where nothing lives before the first entry.
            unsafe { self.frame_pointer().write(frame.clone()) };
        }
        self.user.store(true, Relaxed);
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
        self.read(&self.credentials).unwrap_or_else(nobody)
    }
    /// Changes who it is. For the thread itself, or before it is started; from elsewhere it changes nothing.
    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        drop(self.replace(&self.credentials, Some(credentials)));
    }
    /// Its descriptors; none once it has ended.
    #[must_use]
    #[inline]
    pub fn files(&self) -> Arc<FileTable> {
        self.read(&self.files).unwrap_or_else(|| Arc::new(FileTable::new()))
    }
    /// Replaces its descriptors (`unshare(CLONE_FILES)`) and gives the old table back, for [`super::exit::release_files`].
    #[must_use]
    pub fn replace_files(&self, files: Option<Arc<FileTable>>) -> Option<Arc<FileTable>> {
        self.replace(&self.files, files)
    }
    /// Its descriptors, if it has not given them up.
    #[must_use]
    pub fn try_files(&self) -> Option<Arc<FileTable>> {
        self.read(&self.files)
    }
    /// Its root, working directory and umask, if it has not given them up; the kernel's own threads have none.
    #[must_use]
    pub fn try_file_system(&self) -> Option<Arc<FsContext>> {
        self.read(&self.file_system)
    }
    /// Its root, working directory and umask. A thread that has none of its own (one that has ended, or works for the kernel) has
    /// those of [`set_initial_file_system`]: for the running thread. What looks at others wants [`Self::try_file_system`].
    #[must_use]
    #[inline]
    pub fn file_system(&self) -> Arc<FsContext> {
        self.read(&self.file_system).unwrap_or_else(initial_file_system)
    }
    /// Replaces them (`unshare(CLONE_FS)`, the first process).
    pub fn set_file_system(&self, context: Option<Arc<FsContext>>) {
        drop(self.replace(&self.file_system, context));
    }
    /// Its unit of its user's process limit.
    #[must_use]
    pub fn charge(&self) -> Option<Arc<UserCharge<Processes>>> {
        self.read(&self.charge)
    }
    /// Replaces it, when the real user changes.
    pub fn set_charge(&self, charge: Option<Arc<UserCharge<Processes>>>) {
        drop(self.replace(&self.charge, charge));
    }
    #[inline]
    fn read<T>(&self, cell: &OwnedCell<T>) -> Option<Arc<T>> {
        if self.is_current() {
            // SAFETY: the thread itself is the owner.
            unsafe { cell.get_as_owner() }
        } else {
            cell.get()
        }
    }
    fn replace<T>(&self, cell: &OwnedCell<T>, value: Option<Arc<T>>) -> Option<Arc<T>> {
        if !self.may_replace() {
            return value;
        }
        // SAFETY: just checked.
        unsafe { cell.replace(value) }
    }
    /// Whether the caller is the owner of the owned cells, or the thread has not been started.
    fn may_replace(&self) -> bool {
        self.is_current() || !self.started.load(Relaxed)
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
    /// Replaces them, for [`super::dispatch::set_parameters`], and gives the old ones. The lock of admissions, of the same rank, comes
    /// before a thread's.
    pub(super) fn exchange_scheduling(&self, parameters: SchedulingParameters) -> SchedulingParameters {
        core::mem::replace(&mut *self.parameters.lock_nested(), parameters)
    }
    /// The same as [`Self::scheduling`], with the lock of admissions held.
    pub(super) fn scheduling_in_admission(&self) -> SchedulingParameters {
        *self.parameters.lock_nested()
    }
    /// The value of `extended_cpu` before the thread has run anywhere.
    pub(super) const NO_CPU: u32 = u32::MAX;

    /// What the scheduler is to go by: its own parameters, or what it is lent. The guard keeps both as they are until the scheduler has been told, so that of
    /// two that change them the later one counts.
    pub(super) fn lock_levels(&self) -> (Parameters, SpinLockGuard<'_, SchedulingParameters, InterruptsDisabled>) {
        let guard = self.parameters.lock();
        (scheduler::levels_of(&guard).with_lent(self.lent()), guard)
    }
    /// How high it stands at least, because others wait for what it holds; [`Standing::NOTHING`] if that is not above its own.
    #[must_use]
    pub fn lent(&self) -> Standing {
        Standing::from_bits(self.lent.load(Relaxed))
    }
    /// Its real-time priority, 100 with a reservation, 0 without either: the order among waiters of plain futexes.
    #[must_use]
    #[inline]
    pub(super) fn urgency_among_waiters(&self) -> u8 {
        if !self.entity.is_realtime() {
            return 0;
        }
        let parameters = self.scheduling();
        if parameters.policy == SCHED_DEADLINE { 100 } else { parameters.realtime_priority }
    }
    /// The CPUs that it may use, as they were set.
    #[must_use]
    pub fn affinity(&self) -> CpuMask {
        self.entity.affinity()
    }
    /// The CPU that it runs on or ran on last; to others, as it was a moment ago.
    #[must_use]
    pub fn last_cpu(&self) -> CpuId {
        self.entity.cpu()
    }
}

/// A thread as the run queues hold it: it stands for one counted reference, from [`Thread::start`] until the thread has been switched
/// away from for the last time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ThreadPointer(pub(super) NonNull<Thread>);

// SAFETY: it stands for a counted reference to a `Sync` type.
unsafe impl Send for ThreadPointer {}

impl ThreadPointer {
    /// The thread, as long as the handle is at hand.
    #[inline]
    pub(super) fn get(&self) -> &Thread {
        // SAFETY: the reference that it stands for keeps the thread alive while the scheduler has it.
        unsafe { self.0.as_ref() }
    }
}

impl Member for ThreadPointer {
    #[inline]
    fn entity(&self) -> &Entity<Self> {
        &self.get().entity
    }
}

impl core::fmt::Debug for Thread {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Thread({} of {})", self.tid(), self.process.pid())
    }
}

/// The credentials of nobody in particular, who may do nothing.
pub(super) fn nobody() -> Arc<Credentials> {
    Arc::new(Credentials::user(65534, 65534))
}

static INITIAL_FILE_SYSTEM: spin::Once<Arc<FsContext>> = spin::Once::new();

/// Says where threads without directories of their own look up paths: the root of the first mounts. Once, at boot.
pub fn set_initial_file_system(context: Arc<FsContext>) {
    INITIAL_FILE_SYSTEM.call_once(|| context);
}

#[expect(clippy::expect_used, reason = "no thread walks paths before the root is mounted: boot's first step")]
fn initial_file_system() -> Arc<FsContext> {
    INITIAL_FILE_SYSTEM.get().expect("the root file system is not mounted yet").clone()
}
