//! What a machine calls: [`TrapHandler`], and the faults and exceptions that it tells of, in Linux's terms.

use crate::arch::TrapFrame;
use crate::base::VirtualAddress;

/// What kind of access faulted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// A page fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The address that was touched.
    pub address: VirtualAddress,
    /// How.
    pub access: AccessKind,
    /// Whether a translation was present (so that permission was the trouble).
    pub present: bool,
    /// Whether user mode touched it (false also for the kernel's own accesses to user memory).
    pub user: bool,
    /// The machine's vector and error code, for the signal frame and the log.
    pub vector: u64,
    /// See `vector`. It shows a program nothing of where kernel addresses are mapped.
    pub error_code: u64,
}

/// A synchronous exception other than a page fault, in Linux's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// The signal that Linux sends for it (`SIGFPE`, `SIGILL`, `SIGTRAP`, `SIGSEGV`, `SIGBUS`).
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: VirtualAddress,
    /// The machine's vector and error code, for the log and the signal frame's `trapno` and `err`.
    pub vector: u64,
    /// See `vector`.
    pub error_code: u64,
    /// What signal frames show as the last fault's address from now on, where the machine says one.
    pub fault_address: Option<VirtualAddress>,
    /// A name for the log, such as "divide error".
    pub name: &'static str,
}

/// The kernel as the machine calls it. Registered once; see [`set_trap_handler`](crate::arch::set_trap_handler).
pub trait TrapHandler: Sync {
    /// A system call, interrupts enabled, on the thread's kernel stack. The result goes into `frame`.
    fn system_call(&self, frame: &mut TrapFrame);
    /// A page fault in user mode or in one of [`UserAccess`](super::UserAccess)'s functions. Returns whether to go on (the access is
    /// repeated); false only for a kernel access that cannot be satisfied: the machine then makes it a [`UserFault`](super::UserFault).
    /// Interrupts are enabled when they were in the interrupted context.
    fn page_fault(&self, frame: &mut TrapFrame, fault: PageFault) -> bool;
    /// An exception in user mode. Interrupts enabled.
    fn exception(&self, frame: &mut TrapFrame, exception: Exception);
    /// An exception or unhandled fault in kernel mode: a kernel bug. Ends the thread's process, or panics. Does not return.
    fn kernel_bug(&self, frame: &TrapFrame, description: &str) -> !;
    /// The alarm of [`TimerHardware::set_alarm`](super::TimerHardware::set_alarm), or the periodic tick. Interrupts disabled; already acknowledged.
    fn timer_interrupt(&self, frame: &TrapFrame);
    /// Another device's interrupt. Interrupts disabled; acknowledged after the return.
    fn device_interrupt(&self, line: u32);
    /// The last thing before interrupted kernel code goes on, interrupts disabled: the place to preempt it.
    fn before_return_to_kernel(&self);
    /// The last thing before user mode, interrupts disabled on entry and on return: reschedule, deliver signals, account.
    /// Called only when [`CpuLocal::work_pending`](crate::arch::CpuLocal::work_pending) is set.
    fn before_return_to_user(&self, frame: &mut TrapFrame);
}
