//! Resource limits and usage.

use crate::memory::user::UserPointer;
use crate::process::resource_limits::Limit;
use crate::security::Capability;
use crate::syscall::argument::ProcessIdentifier;
use crate::syscall::argument::Structure;
use crate::syscall::limits::{self, ProcessTimes, UsageArgument};
use crate::syscall::names::process as process_names;

crate::system_call_rows! {
    /// Shows a limit. EINVAL: no such resource. EFAULT: memory.
    getrlimit { x86_64: 97, aarch64: 163, needs: Nothing, support: Full } = limits::getrlimit,
        (resource: u32 as Value(&process_names::RESOURCE), limit: UserPointer<Limit> as Filled(Structure::Limit));
    /// Sets a limit. EINVAL: no such resource, or the soft limit is above the hard one. EPERM: the hard limit rises. EFAULT: memory.
    setrlimit { x86_64: 160, aarch64: 164, needs: Conditional(&[Capability::SysResource]), support: Full } = limits::setrlimit,
        (resource: u32 as Value(&process_names::RESOURCE), limit: UserPointer<Limit> as Given(Structure::Limit));
    /// Sets and shows a limit of any process. ESRCH: no such process. Others as `setrlimit`.
    prlimit64 { x86_64: 302, aarch64: 261, needs: Conditional(&[Capability::SysResource]), support: Full } = limits::prlimit64,
        (pid: ProcessIdentifier, resource: u32 as Value(&process_names::RESOURCE), new: UserPointer<Limit> as Given(Structure::Limit), old: UserPointer<Limit> as Filled(Structure::Limit));
    /// Shows CPU time and counts of the process (0), its children (-1) or the thread (1). EINVAL: `who` is none of these. EFAULT: memory.
    getrusage { x86_64: 98, aarch64: 165, needs: Nothing, support: Full } = limits::getrusage,
        (who: i32 as Value(&process_names::USAGE_WHO), usage: UserPointer<UsageArgument> as Filled(Structure::Usage));
    /// Shows CPU time in ticks of 10 ms and gives the ticks since boot. EFAULT: memory.
    times { x86_64: 100, aarch64: 153, needs: Nothing, support: Full } = limits::times, (times: UserPointer<ProcessTimes>);
}
