//! Sessions, process groups, and the system as a whole.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Flags, ProcessIdentifier};
use crate::syscall::names::process as process_names;
use crate::syscall::system::{self, SystemInformation, SystemName};

crate::system_call_rows! {
    /// Puts a process into a process group. EINVAL, ESRCH, EPERM: another session. EACCES: a child that has executed a program.
    setpgid { x86_64: 109, aarch64: 154, needs: Nothing, support: Full } = system::setpgid,
        (pid: ProcessIdentifier, group: ProcessIdentifier);
    /// Gives a process's group. ESRCH.
    getpgid { x86_64: 121, aarch64: 155, needs: Nothing, support: Full } = system::getpgid, (pid: ProcessIdentifier);
    /// Gives the caller's process group. Never fails.
    getpgrp { x86_64: 111, aarch64: none, needs: Nothing, support: Full } = system::getpgrp;
    /// Makes the caller the leader of a new session. EPERM: it leads a group.
    setsid { x86_64: 112, aarch64: 157, needs: Nothing, support: Full } = system::setsid;
    /// Gives a process's session. ESRCH.
    getsid { x86_64: 124, aarch64: 156, needs: Nothing, support: Full } = system::getsid, (pid: ProcessIdentifier);
    /// Names the system. EFAULT: memory.
    uname { x86_64: 63, aarch64: 160, needs: Nothing, support: Full } = system::uname, (name: UserPointer<SystemName> as Filled(Structure::SystemName));
    /// Sets the host's name. EINVAL: longer than 64. EFAULT: memory.
    sethostname { x86_64: 170, aarch64: 161, needs: Always(Capability::SysAdmin), support: Full } = system::sethostname,
        (name: VirtualAddress as Bytes, length: i32);
    /// Sets the NIS domain's name. EINVAL: longer than 64. EFAULT: memory.
    setdomainname { x86_64: 171, aarch64: 162, needs: Always(Capability::SysAdmin), support: Full } = system::setdomainname,
        (name: VirtualAddress, length: i32);
    /// Shows time since boot, load and memory. EFAULT: memory.
    sysinfo { x86_64: 99, aarch64: 179, needs: Nothing, support: Full } = system::sysinfo,
        (information: UserPointer<SystemInformation> as Filled(Structure::SystemInformation));
    /// Sets the execution domain's bits and gives the old ones.
    personality { x86_64: 135, aarch64: 92, needs: Nothing, support: Partial("ADDR_NO_RANDOMIZE and UNAME26 have an effect") }
        = system::personality, (personality: u32);
    /// Restarts, halts or switches off the machine. EINVAL: the magic numbers or the command. EPERM.
    reboot { x86_64: 169, aarch64: 142, needs: Conditional(&[Capability::SysBoot]), support: Partial("no kexec, no suspend") } = system::reboot,
        (magic: u32, magic2: u32, command: u32, argument: VirtualAddress);
    /// Stops sharing directories or descriptors with other threads. EINVAL: flags. EPERM: a namespace without CAP_SYS_ADMIN.
    unshare { x86_64: 272, aarch64: 97, needs: Conditional(&[Capability::SysAdmin]), support: Partial("no namespaces") } = system::unshare,
        (flags: Flags as Bits(&process_names::CLONE));
}
