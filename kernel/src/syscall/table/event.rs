//! Pipes, waiting on many files, event objects, random numbers.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::process::signal::SignalSet;
use crate::syscall::argument::Flags;
use crate::syscall::poll::{PollDescriptor, SignalSetArgument};
use crate::syscall::time_values::{TimeSpecification, TimeValue};
use crate::syscall::{pipe, poll, random};

crate::system_call_rows! {
    /// Makes a pipe. EMFILE: too many descriptors. EFAULT: memory.
    pipe { x86_64: 22, aarch64: none, needs: Nothing, support: Full } = pipe::pipe, (descriptors: UserPointer<[i32; 2]>);
    /// Makes a pipe. EINVAL: unknown flags. EMFILE: too many descriptors. EFAULT: memory.
    pipe2 { x86_64: 293, aarch64: 59, needs: Nothing, support: Partial("no notification pipes") } = pipe::pipe2,
        (descriptors: UserPointer<[i32; 2]>, flags: Flags);
    /// Waits for events on descriptors. EINVAL: more than the limit of open files. EINTR: a signal. EFAULT: memory.
    poll { x86_64: 7, aarch64: none, needs: Nothing, support: Full } = poll::poll,
        (descriptors: UserPointer<PollDescriptor>, count: u32, timeout: i32);
    /// As `poll`, with a finer timeout and a signal mask. EINVAL: also a bad time or mask size.
    ppoll { x86_64: 271, aarch64: 73, needs: Nothing, support: Full } = poll::ppoll,
        (descriptors: UserPointer<PollDescriptor>, count: u32, timeout: UserPointer<TimeSpecification>,
         mask: UserPointer<SignalSet>, mask_size: usize);
    /// Waits for sets of descriptors. EBADF: one is not open. EINVAL: negative count or time. EINTR: a signal. EFAULT: memory.
    select { x86_64: 23, aarch64: none, needs: Nothing, support: Full } = poll::select,
        (count: i32, readable: UserPointer<u64>, writable: UserPointer<u64>, exceptional: UserPointer<u64>,
         timeout: UserPointer<TimeValue>);
    /// As `select`, with a finer timeout and a signal mask.
    pselect6 { x86_64: 270, aarch64: 72, needs: Nothing, support: Full } = poll::pselect6,
        (count: i32, readable: UserPointer<u64>, writable: UserPointer<u64>, exceptional: UserPointer<u64>,
         timeout: UserPointer<TimeSpecification>, mask: UserPointer<SignalSetArgument>);
    /// Fills memory with random bytes. EINVAL: unknown flags. EFAULT: memory.
    getrandom { x86_64: 318, aarch64: 278, needs: Nothing, support: Full } = random::getrandom,
        (buffer: VirtualAddress, length: usize, flags: Flags);
}
