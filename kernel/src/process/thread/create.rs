//! Making threads: from the parts that `fork` gathers, and the kernel's own.
//!
//! A thread is put together by [`Thread::assemble`], entered into the table and its process's list by [`enter_thread`] and runs from
//! [`Thread::start`] on. Lock: [`enter_thread`] is called with the process table locked, and nothing else here is.

use super::super::attributes::ThreadAttributes;
use super::super::cells::OwnedCell;
use super::super::context::SwitchContext;
use super::super::memory_policy::ThreadMemoryPolicy;
use super::super::resource_limits::{Processes, UserCharge};
use super::super::rseq::Sequences;
use super::super::scheduler::{self, Entity, SchedulingParameters};
use super::super::signal::{SignalSet, ThreadSignals};
use super::super::table::TableGuard;
use super::super::{Pid, Process, table};
use super::{NAME_LENGTH, Thread, ThreadState};
use crate::arch::{ExtendedState, ThreadHead, TrapFrame};
use crate::base::{CpuId, CpuMask, Errno, Result, VirtualAddress};
use crate::fs::{FileTable, FsContext};
use crate::memory::kernel_stack::KernelStack;
use crate::security::Credentials;
use crate::sync::{LockRank, SpinLock};
use alloc::sync::{Arc, Weak};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Where a new thread begins.
#[derive(Debug)]
pub enum Start<'a> {
    /// In user mode, with these registers.
    User(&'a TrapFrame),
    /// In this kernel function; when it returns, the thread enters user mode with the registers in its frame if it has become a
    /// program by `execve`, and else ends.
    Kernel(fn()),
}

/// What a new thread is made of.
pub(in super::super) struct Parts<'a> {
    pub(in super::super) id: Pid,
    pub(in super::super) process: Arc<Process>,
    pub(in super::super) start: Start<'a>,
    pub(in super::super) signals: Arc<ThreadSignals>,
    pub(in super::super) parameters: SchedulingParameters,
    pub(in super::super) affinity: CpuMask,
    pub(in super::super) credentials: Arc<Credentials>,
    pub(in super::super) files: Option<Arc<FileTable>>,
    pub(in super::super) file_system: Option<Arc<FsContext>>,
    pub(in super::super) charge: Option<Arc<UserCharge<Processes>>>,
    pub(in super::super) name: [u8; NAME_LENGTH],
    pub(in super::super) extended_state: Option<ExtendedState>,
    pub(in super::super) thread_pointer: u64,
    pub(in super::super) second_thread_pointer: u64,
    pub(in super::super) space_root: u64,
}

impl Thread {
    /// Puts a thread together, with a kernel stack of its own. It is in no table yet.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(in super::super) fn assemble(parts: Parts<'_>) -> Result<Arc<Self>> {
        let stack = KernelStack::allocate().ok_or(Errno::ENOMEM)?;
        let stack_top = stack.top();
        let thread = Self::from_parts(parts, Some(stack), stack_top);
        Ok(Arc::new(thread))
    }

    fn from_parts(parts: Parts<'_>, stack: Option<KernelStack>, stack_top: VirtualAddress) -> Self {
        let thread = Self {
            head: ThreadHead::new(),
            id: AtomicI32::new(parts.id),
            process: parts.process,
            signals: parts.signals,
            attributes: ThreadAttributes::default(),
            state: AtomicU8::new(ThreadState::Ready as u8),
            token: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            interruptible: AtomicU8::new(0),
            entity: Entity::new(scheduler::levels_of(&parts.parameters), parts.affinity),
            started: AtomicBool::new(false),
            extended_cpu: AtomicU32::new(Self::NO_CPU),
            parameters: SpinLock::new(LockRank::Thread, parts.parameters),
            lent: AtomicU64::new(0),
            runtime: AtomicU64::new(0),
            wait_time: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
            user_ticks: AtomicU64::new(0),
            system_ticks: AtomicU64::new(0),
            voluntary_switches: AtomicU64::new(0),
            involuntary_switches: AtomicU64::new(0),
            minor_faults: AtomicU64::new(0),
            major_faults: AtomicU64::new(0),
            context: UnsafeCell::new(SwitchContext::EMPTY),
            extended_state: UnsafeCell::new(parts.extended_state),
            thread_pointer: AtomicU64::new(parts.thread_pointer),
            second_thread_pointer: AtomicU64::new(parts.second_thread_pointer),
            space_root: AtomicU64::new(parts.space_root),
            user: AtomicBool::new(false),
            stack,
            stack_top,
            start_function: match parts.start {
                Start::Kernel(function) => Some(function),
                Start::User(_) => None,
            },
            credentials: OwnedCell::new(Some(parts.credentials)),
            files: OwnedCell::new(parts.files),
            file_system: OwnedCell::new(parts.file_system),
            charge: OwnedCell::new(parts.charge),
            sequences: Sequences::new(),
            memory_policy: ThreadMemoryPolicy::new(),
            set_child_tid: AtomicU64::new(0),
            released_memory: AtomicBool::new(false),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            has_left_futexes: AtomicBool::new(false),
            parent_death_signal: AtomicU32::new(0),
            name: SpinLock::new(LockRank::Hardware, parts.name),
        };
        if let Start::User(frame) = parts.start {
            // SAFETY: it has not been started.
            unsafe { thread.set_user_frame(frame) };
        }
        thread
    }

    /// A thread without a stack of its own, for the code that runs already: the boot path.
    pub(in super::super) fn adopting(process: &Arc<Process>, name: &[u8]) -> Arc<Self> {
        let thread =
            Self::from_parts(kernel_parts(process, process.pid(), Start::Kernel(|| {})), None, VirtualAddress::new(0));
        thread.set_name(name);
        Arc::new(thread)
    }

    /// The idle thread of `cpu`, with a stack on which the CPU starts.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(in super::super) fn idle(process: &Arc<Process>, cpu: CpuId) -> Result<Arc<Self>> {
        let thread = Self::assemble(kernel_parts(process, process.pid(), Start::Kernel(|| {})))?;
        let mut name = arrayvec::ArrayString::<NAME_LENGTH>::new();
        // It fits: there are fewer than a hundred CPUs.
        let _ = core::fmt::Write::write_fmt(&mut name, format_args!("swapper/{}", cpu.0));
        thread.set_name(name.as_bytes());
        thread.entity.set_cpu(cpu);
        Ok(thread)
    }
}

/// The parts of a thread that works for the kernel, with root's credentials.
fn kernel_parts<'a>(process: &Arc<Process>, id: Pid, start: Start<'a>) -> Parts<'a> {
    Parts {
        id,
        process: process.clone(),
        start,
        signals: ThreadSignals::new(id, SignalSet::EMPTY),
        parameters: SchedulingParameters::default(),
        affinity: CpuMask::ALL,
        credentials: Arc::new(Credentials::root()),
        files: Some(Arc::new(FileTable::new())),
        file_system: None,
        charge: None,
        name: [0; NAME_LENGTH],
        extended_state: None,
        thread_pointer: 0,
        second_thread_pointer: 0,
        space_root: 0,
    }
}

/// Makes a thread of `process` with root's credentials and no open files, which does not run before [`Thread::start`]. Threads and
/// processes of programs are made by [`super::super::fork`]; this is for the first process, for the kernel's own threads and for tests.
///
/// # Errors
/// `EAGAIN`: no number is free. `ENOMEM`.
pub fn create_thread(process: &Arc<Process>, start: Start<'_>) -> Result<Arc<Thread>> {
    let mut guard = table::lock();
    // The first thread of a process has the process's number.
    let is_first = process.family(&guard).threads.is_empty();
    let id = if is_first { process.pid() } else { guard.reserve_number().ok_or(Errno::EAGAIN)? };
    drop(guard);
    let mut parts = kernel_parts(process, id, start);
    parts.space_root = process.address_space().map_or(0, |space| space.root().value());
    let thread = Thread::assemble(parts);
    let mut guard = table::lock();
    match thread {
        Ok(thread) => {
            enter_thread(&thread, &mut guard)?;
            Ok(thread)
        }
        Err(error) => {
            guard.release_number(id);
            Err(error)
        }
    }
}

/// Puts a thread into the table and its process's list.
pub(in super::super) fn enter_thread(thread: &Arc<Thread>, table: &mut TableGuard) -> Result<()> {
    if !table.insert_thread(thread.tid(), thread.clone()) {
        table.release_number(thread.tid());
        return Err(Errno::ENOMEM);
    }
    let process = thread.process();
    process.family_mut(table).threads.push(thread.clone());
    process.live_threads.fetch_add(1, Relaxed);
    let waker: Weak<Thread> = Arc::downgrade(thread);
    thread.signals.set_waker(waker);
    process.signals.attach(thread.signals.clone());
    Ok(())
}
