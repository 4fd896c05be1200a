//! Futexes.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::{Flags, ProcessIdentifier};
use crate::syscall::futex::{self, WaitArgument};

crate::system_call_rows! {
    /// Sleeps on a word of memory, or wakes sleepers.
    /// EAGAIN: the word does not hold `value`. ETIMEDOUT: the time is over. EINTR: a signal. EINVAL: unaligned, an empty set, a time out of
    /// range, a negative count, a word used for something else. EDEADLK, EPERM, ESRCH: the owner of a lock. ENOMEM. ENOSYS: unknown
    /// operation. EFAULT: memory.
    futex { x86_64: 202, aarch64: 98, needs: Nothing, support: Full } = futex::futex,
        (address: UserPointer<u32>, operation: Flags as FutexOperation, value: u32, timeout: VirtualAddress as FutexRest, second: UserPointer<u32>, third: u32);
    /// Sleeps on several words at once and gives the index of one that was woken. Errors as `futex`.
    futex_waitv { x86_64: 449, aarch64: 449, needs: Nothing, support: Full } = futex::futex_waitv,
        (waiters: UserPointer<WaitArgument>, count: u32, flags: Flags, timeout: VirtualAddress, clock: i32);
    /// Tells the kernel where the calling thread's list of robust locks begins. EINVAL: `length` is not 24.
    set_robust_list { x86_64: 273, aarch64: 99, needs: Nothing, support: Full } = futex::set_robust_list,
        (head: VirtualAddress, length: usize);
    /// Shows it. ESRCH: no such thread. EPERM: one that the caller may not trace. EFAULT: memory.
    get_robust_list { x86_64: 274, aarch64: 100, needs: Conditional(&[Capability::SysPtrace]), support: Full } = futex::get_robust_list,
        (pid: ProcessIdentifier, head: UserPointer<u64>, length: UserPointer<u64>);
}
