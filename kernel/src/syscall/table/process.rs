//! Processes and threads.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Descriptor, Flags, LongFlags, PathPointer, ProcessIdentifier};
use crate::syscall::limits::UsageArgument;
use crate::syscall::names::file as file_names;
use crate::syscall::names::process as process_names;
use crate::syscall::process;

crate::system_call_rows! {
    /// Gives the process's number. Never fails.
    getpid { x86_64: 39, aarch64: 172, needs: Nothing, support: Full } = process::getpid;
    /// Gives the thread's number. Never fails.
    gettid { x86_64: 186, aarch64: 178, needs: Nothing, support: Full } = process::gettid;
    /// Gives the parent's number, 0 for none. Never fails.
    getppid { x86_64: 110, aarch64: 173, needs: Nothing, support: Full } = process::getppid;
    /// Says which word is cleared and woken at the thread's end, and gives its number.
    set_tid_address { x86_64: 218, aarch64: 96, needs: Nothing, support: Full } = process::set_tid_address, (address: VirtualAddress);
    /// Makes a copy of the process. EAGAIN: too many processes. ENOMEM.
    fork { x86_64: 57, aarch64: none, needs: Nothing, support: Full } = process::fork;
    /// Makes a child that borrows the memory until it executes a program or ends; the caller waits. Errors as `fork`.
    vfork { x86_64: 58, aarch64: none, needs: Nothing, support: Full } = process::vfork;
    /// Makes a process or thread that shares what the flags say. EINVAL: flags that exclude each other. EPERM: a namespace without
    /// CAP_SYS_ADMIN. EAGAIN, ENOMEM.
    clone { x86_64: 56, aarch64: 220, needs: Conditional(&[Capability::SysAdmin]), support: Partial("no namespaces") } = process::clone,
        (flags: LongFlags, stack: VirtualAddress, parent_tid: UserPointer<i32>, child_tid_or_tls: u64, tls_or_child_tid: u64);
    /// As `clone`, with its arguments in a structure. E2BIG: the structure has more than the kernel knows. EFAULT: memory.
    clone3 { x86_64: 435, aarch64: 435, needs: Conditional(&[Capability::SysAdmin]), support: Partial("no namespaces, no set_tid, no cgroup") }
        = process::clone3, (arguments: VirtualAddress, size: usize);
    /// Becomes another program. ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES: the path. ENOEXEC: no program. ELIBBAD: a bad
    /// interpreter. ETXTBSY: somebody may write it. E2BIG: too many or too long arguments. EFAULT, ENOMEM, EAGAIN.
    execve { x86_64: 59, aarch64: 221, needs: Nothing, support: Full } = process::execve,
        (path: PathPointer, arguments: VirtualAddress as Strings, environment: VirtualAddress as Environment);
    /// As `execve`, from a directory, or the very file behind a descriptor. EBADF: no descriptor. EINVAL: flags.
    execveat { x86_64: 322, aarch64: 281, needs: Nothing, support: Full } = process::execveat,
        (directory: Descriptor, path: PathPointer, arguments: VirtualAddress as Strings, environment: VirtualAddress as Environment, flags: Flags as Bits(&file_names::AT));
    /// Ends the thread.
    exit { x86_64: 60, aarch64: 93, needs: Nothing, support: Full } = process::exit, (status: i32);
    /// Ends the process.
    exit_group { x86_64: 231, aarch64: 94, needs: Nothing, support: Full } = process::exit_group, (status: i32);
    /// Waits for a child. ECHILD: there is none. EINVAL: options. ERESTARTSYS, seen as EINTR: a signal. EFAULT: memory.
    wait4 { x86_64: 61, aarch64: 260, needs: Nothing, support: Full } = process::wait4,
        (pid: ProcessIdentifier, status: UserPointer<u32> as Filled(Structure::WaitStatus), options: Flags as Bits(&process_names::WAIT), usage: UserPointer<UsageArgument> as Filled(Structure::Usage));
    /// Waits for a child chosen by number, group or pidfd. Errors as `wait4`; EAGAIN: a non-blocking pidfd. EBADF: no pidfd.
    waitid { x86_64: 247, aarch64: 95, needs: Nothing, support: Full } = process::waitid,
        (kind: u32 as Value(&process_names::WAIT_KIND), id: ProcessIdentifier, information: UserPointer<[u8; 128]>, options: Flags as Bits(&process_names::WAIT), usage: UserPointer<UsageArgument> as Filled(Structure::Usage));
    /// Opens a descriptor that stands for a process. ESRCH: no such process. EINVAL: a thread's number, flags. EMFILE.
    pidfd_open { x86_64: 434, aarch64: 434, needs: Nothing, support: Full } = process::pidfd_open, (pid: ProcessIdentifier, flags: Flags);
}
