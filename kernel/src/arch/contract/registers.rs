//! The saved registers of an interrupted context, by what they mean ([`Registers`]), and the frames from which signal handlers start and return ([`SignalFrame`]).

use super::UserFault;
use crate::base::VirtualAddress;

/// The registers of an interrupted context, in the machine's own layout, reached by what they mean.
pub trait Registers: Clone + Default + core::fmt::Debug + core::fmt::Display + Send + 'static {
    /// Registers for a new program: everything zero but these, interrupts enabled, user mode.
    fn for_program(entry: VirtualAddress, stack: VirtualAddress) -> Self;
    /// Whether the context was user mode.
    fn is_user(&self) -> bool;
    /// The system-call number as it was at entry; `None` when the entry was no system call (also set by [`Self::forget_system_call`]).
    fn system_call_number(&self) -> Option<u64>;
    /// The six argument registers.
    fn arguments(&self) -> [u64; 6];
    /// The result register.
    fn result(&self) -> u64;
    /// Sets the result register.
    fn set_result(&mut self, value: u64);
    /// The program counter.
    fn instruction_pointer(&self) -> VirtualAddress;
    /// Sets the program counter.
    fn set_instruction_pointer(&mut self, address: VirtualAddress);
    /// The user stack pointer.
    fn stack_pointer(&self) -> VirtualAddress;
    /// Sets the user stack pointer.
    fn set_stack_pointer(&mut self, address: VirtualAddress);
    /// Frame pointer, for backtraces.
    fn frame_pointer(&self) -> VirtualAddress;
    /// Makes the system call happen again on return to user mode, with the same arguments.
    fn rewind_system_call(&mut self);
    /// As [`Self::rewind_system_call`], with another call number (`restart_syscall`).
    fn rewind_as(&mut self, number: u64);
    /// Marks that this entry is no longer a system call, so that nothing restarts it (`sigreturn`, `execve`).
    fn forget_system_call(&mut self);
}

/// An alternate signal stack as a signal frame carries it (`stack_t`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalStack {
    /// Its lowest byte.
    pub base: u64,
    /// Its length in bytes.
    pub size: u64,
    /// `ss_flags`.
    pub flags: u32,
}

/// What a machine needs to know to start a signal handler.
#[derive(Clone, Copy, Debug)]
pub struct SignalDelivery<'a> {
    /// The signal's number.
    pub signal: u32,
    /// The handler.
    pub handler: VirtualAddress,
    /// Where it returns to: what the program gave, or the vDSO's code where the machine has some; zero for neither.
    pub restorer: VirtualAddress,
    /// The `siginfo`, for handlers that want it.
    pub information: Option<&'a [u8; 128]>,
    /// The mask that `sigreturn` is to bring back.
    pub mask: u64,
    /// The alternate stack to note in the frame.
    pub stack: SignalStack,
    /// Where to build the frame below, when the handler runs on another stack than the interrupted one.
    pub switch_to: Option<VirtualAddress>,
    /// An address that the frame must stay above.
    pub limit: Option<VirtualAddress>,
    /// The vector of the last exception.
    pub vector: u64,
    /// Its error code.
    pub error_code: u64,
    /// The address of the last page fault.
    pub fault_address: VirtualAddress,
}

/// What a signal frame brought back beside the registers. The mask may hold anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedSignalContext {
    /// The mask.
    pub mask: u64,
    /// The alternate stack.
    pub stack: SignalStack,
    /// Whether the CPU can go where the registers lead.
    pub destination: Destination,
}

/// Whether a CPU can go to the instruction that a signal frame names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// It can.
    Reachable,
    /// It would refuse the address in kernel mode: a signal must replace it before the thread goes back to user mode.
    Refused,
}

/// Starting signal handlers and returning from them, in Linux's layout for the machine. For the running thread only, whose vector
/// registers are in the CPU; both functions touch user memory.
pub trait SignalFrame {
    /// Saves the registers in a frame on the user stack and replaces them by those that the handler starts with.
    ///
    /// # Errors
    /// [`UserFault`] when the frame cannot be written or does not fit; the registers are unchanged then.
    fn push_signal(&mut self, delivery: &SignalDelivery<'_>) -> Result<(), UserFault>;
    /// Restores the registers from the frame that the stack pointer is at, as `sigreturn` finds it. The result makes no system
    /// call of this entry, and no register has a value that user mode could not have set, but for the instruction pointer of a
    /// [`Destination::Refused`].
    ///
    /// # Errors
    /// [`UserFault`] when the frame cannot be read or holds what the CPU would refuse.
    fn pop_signal(&mut self) -> Result<SavedSignalContext, UserFault>;
    /// The most bytes of stack that a frame takes: `AT_MINSIGSTKSZ`.
    fn signal_frame_size() -> usize;
}
