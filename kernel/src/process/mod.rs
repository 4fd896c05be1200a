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

pub mod attributes;
pub mod call_trace;
pub mod cells;
pub mod load;
pub mod membarrier;
pub mod memory_policy;
pub mod clock;
pub mod context;
pub mod dispatch;
pub mod exec;
pub mod exit;
pub mod family;
pub mod fork;
pub mod out_of_memory;
pub mod outcome;
pub mod pidfd;
pub mod program;
pub mod provoke;
pub mod futex;
pub mod inheritance;
pub mod resource_limits;
pub mod rseq;
pub mod scheduler;
pub mod secondary;
pub mod membership;
pub mod session;
pub mod signal;
pub mod table;
pub mod thread;
pub mod thread_group;
pub mod timers;
pub mod uts;
pub mod trap;
pub mod wait;

pub use family::{Family, create_process};
pub use outcome::{ExitStatus, Lifecycle, Usage};
pub use program::Program;
pub use resource_limits::ResourceLimits;
pub use session::{ProcessGroup, Session};
pub use signal::{SignalState, ThreadSignals};
pub use table::{ProcessTable, ThreadTable};
pub use thread::{
    CurrentProcess, CurrentThread, Start, Thread, ThreadState, create_thread, current_process, current_thread,
};
pub use thread_group::Process;

use crate::base::Result;
use alloc::sync::Arc;

/// The number of a process, thread, process group or session: Linux's `pid_t`.
pub type Pid = i32;

/// Boot: registers this room with the machine and with `sync`, and turns the code that runs (the boot path) into the first CPU's idle
/// thread. The heap and the page tables work by now.
pub fn initialize() {
    crate::memory::paging::shootdown::set_kernel_root(<crate::arch::Current as crate::arch::Mmu>::active_root());
    dispatch::set_end_of_kernel_thread(exit::end_kernel_thread);
    dispatch::adopt_idle_thread(&thread::boot_thread().clone());
    inheritance::initialize();
    crate::arch::set_trap_handler(&trap::TRAPS);
    timers::initialize();
    futex::initialize();
    crate::memory::numa::set_thread_policy(|| thread::try_current_thread()?.memory_policy.get());
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
    thread.start();
    Ok(process)
}

/// The end of the boot path: runs others from now on.
pub fn run_idle() -> ! {
    dispatch::run_idle()
}
