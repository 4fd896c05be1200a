//! Settings of a process or thread.

use crate::base::VirtualAddress;
use crate::security::Capability;
use crate::syscall::argument::Flags;
use crate::syscall::names::process as process_names;
use crate::syscall::{barrier, prctl};

crate::system_call_rows! {
    /// Sets and shows attributes of the caller: PDEATHSIG DUMPABLE KEEPCAPS TIMING NAME CAPBSET SECUREBITS TIMERSLACK CHILD_SUBREAPER
    /// NO_NEW_PRIVS TID_ADDRESS CAP_AMBIENT; GET_SECCOMP.
    /// EINVAL: unknown option or argument. EPERM: not without the capability, or locked. EFAULT: memory.
    prctl { x86_64: 157, aarch64: 167, needs: Conditional(&[Capability::Setpcap, Capability::SysResource]), support: Partial("the options named; others EINVAL") } = prctl::prctl,
        (option: i32 as Value(&process_names::PROCESS_OPTION), second: u64 as OptionArgument, third: u64, fourth: u64, fifth: u64);
    /// Sets and shows the bases of fs, the thread pointer, and gs (ARCH_SET_FS, ARCH_GET_FS, ARCH_SET_GS, ARCH_GET_GS); ARCH_GET_CPUID.
    /// EINVAL: another code. EPERM: an address outside user space. ENODEV: CPUID cannot be made to fault. EFAULT: memory.
    arch_prctl { x86_64: 158, aarch64: none, needs: Nothing, support: Partial("no shadow stacks") } = prctl::arch_prctl,
        (code: i32 as Value(&process_names::MACHINE_STATE), address: VirtualAddress);
    /// Asks for memory barriers on other CPUs: all commands of Linux 6.1.
    /// EINVAL: another command, or flags. EPERM: the process has not registered for the command.
    membarrier { x86_64: 324, aarch64: 283, needs: Nothing, support: Full } = barrier::membarrier,
        (command: i32 as Value(&process_names::BARRIER), flags: Flags, cpu: i32);
    /// Registers an area that tells a thread which CPU it runs on and which of its code is to begin anew when it was interrupted.
    /// EINVAL: flags, length or alignment; another area; to take back, none. EBUSY: registered already. EPERM: another signature. EFAULT: memory.
    rseq { x86_64: 334, aarch64: 293, needs: Nothing, support: Full } = barrier::rseq,
        (area: VirtualAddress, length: u32 as Flags, flags: Flags, signature: u32 as Flags);
    /// Restricts which system calls a thread may make.
    seccomp { x86_64: 317, aarch64: 277, needs: Nothing, support: Absent };
}
