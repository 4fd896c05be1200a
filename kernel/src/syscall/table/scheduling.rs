//! Scheduling.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Flags, ProcessIdentifier};
use crate::syscall::names::process as process_names;
use crate::syscall::scheduling;
use crate::syscall::time_values::TimeSpecification;

crate::system_call_rows! {
    /// Gives way to other threads. Never fails.
    sched_yield { x86_64: 24, aarch64: 124, needs: Nothing, support: Full } = scheduling::sched_yield;
    /// Gives a thread's policy. ESRCH, EINVAL: the number.
    sched_getscheduler { x86_64: 145, aarch64: 120, needs: Nothing, support: Full } = scheduling::sched_getscheduler, (tid: ProcessIdentifier);
    /// Shows a thread's real-time priority. ESRCH, EINVAL: the number. EFAULT: memory.
    sched_getparam { x86_64: 143, aarch64: 121, needs: Nothing, support: Full } = scheduling::sched_getparam,
        (tid: ProcessIdentifier, parameter: UserPointer<i32>);
    /// Sets a thread's policy and real-time priority. EPERM, ESRCH, EINVAL: policy or priority. EFAULT: memory.
    sched_setscheduler { x86_64: 144, aarch64: 119, needs: Conditional(&[Capability::SysNice]), support: Full }
        = scheduling::sched_setscheduler, (tid: ProcessIdentifier, policy: i32 as Value(&process_names::POLICY), parameter: UserPointer<i32>);
    /// Sets a thread's real-time priority. Errors as `sched_setscheduler`.
    sched_setparam { x86_64: 142, aarch64: 118, needs: Conditional(&[Capability::SysNice]), support: Full }
        = scheduling::sched_setparam, (tid: ProcessIdentifier, parameter: UserPointer<i32>);
    /// Sets policy, priority and niceness from a structure. E2BIG: it has more than the kernel knows. EBUSY: no CPU can promise the
    /// reservation. EPERM: also a reservation for a thread that may not use every CPU. EOPNOTSUPP: utilisation clamps. Errors as `sched_setscheduler`.
    sched_setattr { x86_64: 314, aarch64: 274, needs: Conditional(&[Capability::SysNice]), support: Full }
        = scheduling::sched_setattr, (tid: ProcessIdentifier, attributes: UserPointer<u32>, flags: Flags);
    /// Shows policy, priority and niceness. ESRCH, EINVAL, EFAULT.
    sched_getattr { x86_64: 315, aarch64: 275, needs: Nothing, support: Full }
        = scheduling::sched_getattr, (tid: ProcessIdentifier, attributes: VirtualAddress, size: u32, flags: Flags);
    /// Gives a policy's highest real-time priority. EINVAL: no such policy.
    sched_get_priority_max { x86_64: 146, aarch64: 125, needs: Nothing, support: Full } = scheduling::sched_get_priority_max, (policy: u32 as Value(&process_names::POLICY));
    /// Gives a policy's lowest real-time priority. EINVAL: no such policy.
    sched_get_priority_min { x86_64: 147, aarch64: 126, needs: Nothing, support: Full } = scheduling::sched_get_priority_min, (policy: u32 as Value(&process_names::POLICY));
    /// Shows a thread's time slice. ESRCH, EINVAL, EFAULT.
    sched_rr_get_interval { x86_64: 148, aarch64: 127, needs: Nothing, support: Full }
        = scheduling::sched_rr_get_interval, (tid: ProcessIdentifier, interval: UserPointer<TimeSpecification> as Filled(Structure::TimeSpecification));
    /// Says on which CPUs a thread may run. EINVAL: none that runs. EBUSY: it has a reservation. EPERM, ESRCH, EFAULT.
    sched_setaffinity { x86_64: 203, aarch64: 122, needs: Conditional(&[Capability::SysNice]), support: Full }
        = scheduling::sched_setaffinity, (tid: ProcessIdentifier, size: u32, mask: VirtualAddress);
    /// Shows on which CPUs a thread may run, and gives the number of bytes. EINVAL: too little room. ESRCH, EFAULT.
    sched_getaffinity { x86_64: 204, aarch64: 123, needs: Nothing, support: Full }
        = scheduling::sched_getaffinity, (tid: ProcessIdentifier, size: u32, mask: VirtualAddress);
    /// Gives 20 less the niceness of a thread, or the best of a group or user. ESRCH, EINVAL.
    getpriority { x86_64: 140, aarch64: 141, needs: Nothing, support: Full } = scheduling::getpriority, (which: i32 as Value(&process_names::PRIORITY_WHICH), who: i32);
    /// Sets the niceness of a thread, group or user. ESRCH, EINVAL, EPERM: another user's. EACCES: less nice without privilege.
    setpriority { x86_64: 141, aarch64: 140, needs: Conditional(&[Capability::SysNice]), support: Full }
        = scheduling::setpriority, (which: i32 as Value(&process_names::PRIORITY_WHICH), who: i32, niceness: i32);
    /// Shows on which CPU and node the thread runs. EFAULT: memory.
    getcpu { x86_64: 309, aarch64: 168, needs: Nothing, support: Full }
        = scheduling::getcpu, (cpu: UserPointer<u32>, node: UserPointer<u32>, cache: VirtualAddress);
}
