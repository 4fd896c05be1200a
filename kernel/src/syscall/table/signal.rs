//! Signals.

use crate::memory::user::UserPointer;
use crate::process::signal::{SignalAction, SignalSet};
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Descriptor, Flags, ProcessIdentifier, SignalNumber};
use crate::syscall::names::event as event_names;
use crate::syscall::names::process as process_names;
use crate::syscall::signal::{self, InformationArgument, StackArgument};
use crate::syscall::time_values::TimeSpecification;

crate::system_call_rows! {
    /// Sets and shows what a signal does. Unknown flags are cleared.
    /// EINVAL: no such signal, SIGKILL or SIGSTOP to be changed, or `set_size` is not 8. EFAULT: an action cannot be read or written.
    rt_sigaction { x86_64: 13, aarch64: 134, needs: Nothing, support: Full } = signal::rt_sigaction,
        (signal: SignalNumber, action: UserPointer<SignalAction> as Given(Structure::SignalAction), old_action: UserPointer<SignalAction> as Filled(Structure::SignalAction), set_size: usize);
    /// Changes and shows the calling thread's mask. SIGKILL and SIGSTOP are silently left out.
    /// EINVAL: `how` is unknown, or `set_size` is not 8. EFAULT: a set cannot be read or written.
    rt_sigprocmask { x86_64: 14, aarch64: 135, needs: Nothing, support: Full } = signal::rt_sigprocmask,
        (how: i32 as Value(&process_names::MASK_CHANGE), set: UserPointer<SignalSet> as Given(Structure::SignalSet), old_set: UserPointer<SignalSet> as Filled(Structure::SignalSet), set_size: usize);
    /// Returns from a signal handler. A frame that cannot be read, or holds what the CPU would refuse, means SIGSEGV.
    rt_sigreturn { x86_64: 15, aarch64: 139, needs: Nothing, support: Full } = signal::rt_sigreturn;
    /// Waits for a signal. EINTR: always.
    pause { x86_64: 34, aarch64: none, needs: Nothing, support: Full } = signal::pause;
    /// Sends a signal to a process, a group or everybody; signal 0 only asks.
    /// ESRCH: there is no such process or group. EPERM: none of the targets may be signalled. EINVAL: no such signal.
    kill { x86_64: 62, aarch64: 129, needs: Conditional(&[crate::security::Capability::Kill]), support: Full } = signal::kill,
        (pid: ProcessIdentifier, signal: SignalNumber);
    /// Shows which blocked signals wait. EINVAL: `set_size` is above 8. EFAULT: the set cannot be written.
    rt_sigpending { x86_64: 127, aarch64: 136, needs: Nothing, support: Full } = signal::rt_sigpending,
        (set: UserPointer<SignalSet> as Filled(Structure::SignalSet), set_size: usize);
    /// Takes a waiting signal of a set, or waits for one.
    /// EAGAIN: the time is over. EINTR: another signal came. EINVAL: the time is out of range, or `set_size` is not 8. EFAULT: memory.
    rt_sigtimedwait { x86_64: 128, aarch64: 137, needs: Nothing, support: Full } = signal::rt_sigtimedwait,
        (set: UserPointer<SignalSet> as Given(Structure::SignalSet), information: UserPointer<InformationArgument>, timeout: UserPointer<TimeSpecification>, set_size: usize);
    /// Queues a signal with information for a process.
    /// EPERM: not allowed, or the information pretends to be the kernel's. ESRCH: no such process. EINVAL: no such signal. EAGAIN: the
    /// user's limit of queued signals is reached.
    rt_sigqueueinfo { x86_64: 129, aarch64: 138, needs: Conditional(&[crate::security::Capability::Kill]), support: Full } = signal::rt_sigqueueinfo,
        (pid: ProcessIdentifier, signal: SignalNumber, information: UserPointer<InformationArgument>);
    /// Waits for a signal under another mask. EINTR: always. EINVAL: `set_size` is not 8. EFAULT: the mask cannot be read.
    rt_sigsuspend { x86_64: 130, aarch64: 133, needs: Nothing, support: Full } = signal::rt_sigsuspend,
        (mask: UserPointer<SignalSet> as Given(Structure::SignalSet), set_size: usize);
    /// Sets and shows the alternate signal stack.
    /// EPERM: the thread runs on it. EINVAL: unknown flags. ENOMEM: it is below 2048 bytes. EFAULT: memory.
    sigaltstack { x86_64: 131, aarch64: 132, needs: Nothing, support: Full } = signal::sigaltstack,
        (new: UserPointer<StackArgument>, old: UserPointer<StackArgument>);
    /// Sends a signal to a thread. Use `tgkill`. ESRCH: no such thread. EINVAL: a bad number. EPERM: not allowed.
    tkill { x86_64: 200, aarch64: 130, needs: Conditional(&[crate::security::Capability::Kill]), support: Full } = signal::tkill,
        (tid: ProcessIdentifier, signal: SignalNumber);
    /// Goes on with a sleep that a signal without handler interrupted; the kernel alone makes programs call it. EINTR: there is none.
    restart_syscall { x86_64: 219, aarch64: 128, needs: Nothing, support: Full } = signal::restart_syscall;
    /// Sends a signal to a thread of a process. ESRCH: no such thread there. EINVAL: a bad number. EPERM: not allowed.
    tgkill { x86_64: 234, aarch64: 131, needs: Conditional(&[crate::security::Capability::Kill]), support: Full } = signal::tgkill,
        (tgid: ProcessIdentifier, tid: ProcessIdentifier, signal: SignalNumber);
    /// Queues a signal with information for a thread. Errors as `rt_sigqueueinfo`.
    rt_tgsigqueueinfo { x86_64: 297, aarch64: 240, needs: Conditional(&[crate::security::Capability::Kill]), support: Full } = signal::rt_tgsigqueueinfo,
        (tgid: ProcessIdentifier, tid: ProcessIdentifier, signal: SignalNumber, information: UserPointer<InformationArgument>);
    /// Makes (descriptor -1) or changes a file from which signals are read.
    /// EBADF: no such descriptor. EINVAL: it is another kind of file, unknown flags, or `set_size` is not 8. EMFILE, EFAULT.
    signalfd4 { x86_64: 289, aarch64: 74, needs: Nothing, support: Full } = signal::signalfd4,
        (descriptor: Descriptor, set: UserPointer<SignalSet> as Given(Structure::SignalSet), set_size: usize, flags: Flags as Bits(&event_names::SIGNAL_FILE));
    /// As `signalfd4` without flags.
    signalfd { x86_64: 282, aarch64: none, needs: Nothing, support: Full } = signal::signalfd,
        (descriptor: Descriptor, set: UserPointer<SignalSet> as Given(Structure::SignalSet), set_size: usize);
    /// Sends a signal to the process that a descriptor stands for.
    /// EBADF: no such descriptor. EINVAL: flags, no such signal, or the information names another. ESRCH: it has been waited for.
    /// EPERM: not allowed. EFAULT: memory.
    pidfd_send_signal { x86_64: 424, aarch64: 424, needs: Conditional(&[crate::security::Capability::Kill]), support: Full } = signal::pidfd_send_signal,
        (descriptor: Descriptor, signal: SignalNumber, information: UserPointer<InformationArgument>, flags: Flags);
}
