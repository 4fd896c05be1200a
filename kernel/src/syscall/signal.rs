//! System calls about signals.

use super::Call;
use super::argument::{Descriptor, Flags, ProcessIdentifier, SignalNumber};
use super::time_values::TimeSpecification;
use crate::arch::{Destination, Registers};
use crate::base::{Errno, Nanoseconds, Result};
use crate::fs::{CloseOnExec, FileDescriptor, OpenFile, OpenFlags};
use crate::memory::user::UserPointer;
use crate::process::pidfd;
use crate::process::resource_limits::Resource;
use crate::process::signal::descriptor::SignalFile;
use crate::process::signal::send::{self, Sender};
use crate::process::signal::{
    AlternateStack, Restart, Signal, SignalAction, SignalInformation, SignalSet, alternate_stack, code, deliver, wait,
};
use crate::pseudofs::procfs::process_directory;
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The size of a set, which callers have to state.
const SET_SIZE: usize = size_of::<SignalSet>();

fn check_set_size(size: usize) -> Result<()> {
    if size == SET_SIZE { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `stack_t`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackArgument {
    base: u64,
    flags: u32,
    padding: u32,
    size: u64,
}

/// `siginfo_t`, all 128 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InformationArgument {
    start: SignalInformation,
    rest: [u8; 80],
}

/// `rt_sigaction(2)`.
pub fn rt_sigaction(
    call: &mut Call<'_>,
    signal: SignalNumber,
    action: UserPointer<SignalAction>,
    old_action: UserPointer<SignalAction>,
    set_size: usize,
) -> Result<()> {
    check_set_size(set_size)?;
    let new = action.read_optional()?;
    let signal = Signal::from_argument(signal.0).ok_or(Errno::EINVAL)?;
    let signals = &call.process.signals;
    let old = match new {
        Some(new) => signals.set_action(signal, new)?,
        None => signals.action(signal),
    };
    old_action.write_optional(&old)
}

/// `rt_sigprocmask(2)`.
pub fn rt_sigprocmask(
    call: &mut Call<'_>,
    how: i32,
    set: UserPointer<SignalSet>,
    old_set: UserPointer<SignalSet>,
    set_size: usize,
) -> Result<()> {
    check_set_size(set_size)?;
    let signals = &call.thread.signals;
    let old = signals.blocked();
    if let Some(set) = set.read_optional()? {
        let mask = match how {
            0 => old.union(set),
            1 => old.difference(set),
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
        call.process.signals.set_mask(signals, mask);
    }
    old_set.write_optional(&old)
}

/// `rt_sigpending(2)`.
pub fn rt_sigpending(call: &mut Call<'_>, set: UserPointer<SignalSet>, set_size: usize) -> Result<()> {
    if set_size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let signals = &call.thread.signals;
    let pending = signals.pending().union(call.process.signals.pending()).intersection(signals.blocked());
    let bytes = pending.as_bytes();
    crate::memory::user::copy_to_user(set.address(), bytes.get(..set_size).unwrap_or(bytes))
}

/// `rt_sigsuspend(2)`.
pub fn rt_sigsuspend(_call: &mut Call<'_>, mask: UserPointer<SignalSet>, set_size: usize) -> Result<()> {
    check_set_size(set_size)?;
    wait::suspend(mask.read()?)
}

/// `pause(2)`.
pub fn pause(_call: &mut Call<'_>) -> Result<()> {
    wait::pause()
}

/// `rt_sigtimedwait(2)`.
pub fn rt_sigtimedwait(
    _call: &mut Call<'_>,
    set: UserPointer<SignalSet>,
    information: UserPointer<InformationArgument>,
    timeout: UserPointer<TimeSpecification>,
    set_size: usize,
) -> Result<u32> {
    check_set_size(set_size)?;
    let set = set.read()?;
    let deadline = match timeout.read_optional()? {
        None => None,
        Some(timeout) => Some(match timeout.to_nanoseconds()? {
            Nanoseconds::ZERO => Nanoseconds::ZERO,
            length => crate::time::monotonic().saturating_add(length),
        }),
    };
    let taken = wait::wait_for(set, deadline)?;
    information.write_optional(&InformationArgument { start: taken, rest: [0; 80] })?;
    Ok(taken.number.cast_unsigned())
}

fn queued_information(
    call: &Call<'_>,
    signal: SignalNumber,
    information: UserPointer<InformationArgument>,
    target: i32,
) -> Result<SignalInformation> {
    let mut information = information.read()?.start;
    information.number = signal.0;
    // What only the kernel or `tgkill` may say, nobody may say to another.
    if (information.code >= 0 || information.code == code::SI_TKILL) && target != call.thread.tid() {
        return Err(Errno::EPERM);
    }
    Ok(information)
}

/// `rt_sigqueueinfo(2)`.
pub fn rt_sigqueueinfo(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    signal: SignalNumber,
    information: UserPointer<InformationArgument>,
) -> Result<()> {
    let information = queued_information(call, signal, information, pid.0)?;
    send::send_to_pid(&Sender::current(), pid.0, signal.0, &|_| information)
}

/// `rt_tgsigqueueinfo(2)`.
pub fn rt_tgsigqueueinfo(
    call: &mut Call<'_>,
    tgid: ProcessIdentifier,
    tid: ProcessIdentifier,
    signal: SignalNumber,
    information: UserPointer<InformationArgument>,
) -> Result<()> {
    let information = queued_information(call, signal, information, tid.0)?;
    if tgid.0 <= 0 || tid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    send::send_to_tid(&Sender::current(), Some(tgid.0), tid.0, signal.0, &|_| information)
}

/// `kill(2)`.
pub fn kill(_call: &mut Call<'_>, pid: ProcessIdentifier, signal: SignalNumber) -> Result<()> {
    send::kill(&Sender::current(), pid.0, signal.0)
}

/// `tkill(2)`.
pub fn tkill(_call: &mut Call<'_>, tid: ProcessIdentifier, signal: SignalNumber) -> Result<()> {
    if tid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let sender = Sender::current();
    send::send_to_tid(&sender, None, tid.0, signal.0, &|signal| sender.information(signal, code::SI_TKILL))
}

/// `tgkill(2)`.
pub fn tgkill(
    _call: &mut Call<'_>,
    tgid: ProcessIdentifier,
    tid: ProcessIdentifier,
    signal: SignalNumber,
) -> Result<()> {
    if tgid.0 <= 0 || tid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let sender = Sender::current();
    send::send_to_tid(&sender, Some(tgid.0), tid.0, signal.0, &|signal| sender.information(signal, code::SI_TKILL))
}

/// `sigaltstack(2)`.
pub fn sigaltstack(
    call: &mut Call<'_>,
    new: UserPointer<StackArgument>,
    old: UserPointer<StackArgument>,
) -> Result<()> {
    let signals = &call.thread.signals;
    let stack_pointer = call.frame.stack_pointer().value();
    let shown = alternate_stack::shown(signals, stack_pointer);
    if let Some(new) = new.read_optional()? {
        let stack = AlternateStack { base: new.base, size: new.size, flags: new.flags };
        alternate_stack::set(signals, stack_pointer, stack)?;
    }
    old.write_optional(&StackArgument { base: shown.base, flags: shown.flags, padding: 0, size: shown.size })
}

/// `rt_sigreturn(2)`.
pub fn rt_sigreturn(call: &mut Call<'_>) -> Result<u64> {
    match deliver::return_from_handler(call.frame, &call.thread.signals, &call.process.signals) {
        Ok(Destination::Reachable) => Ok(call.frame.result()),
        Ok(Destination::Refused) => {
            send::force(Signal::SIGSEGV, SignalInformation::from_kernel(Signal::SIGSEGV));
            Ok(call.frame.result())
        }
        Err(_) => {
            call.frame.forget_system_call();
            send::force_bad_frame(call.frame.stack_pointer());
            Ok(0)
        }
    }
}

/// `restart_syscall(2)`.
pub fn restart_syscall(call: &mut Call<'_>) -> Result<u64> {
    match call.thread.signals.take_restart() {
        Restart::Sleep { clock, deadline, remaining } => super::clock::go_on_sleeping(call, clock, deadline, remaining),
        Restart::Futex { address, expected, bitset, operation, deadline } => {
            super::futex::go_on_waiting(call, address, expected, bitset, operation, deadline)
        }
        Restart::Poll { descriptors, count, deadline } => {
            super::poll::poll_or_restart(call, UserPointer::new(descriptors), count, deadline).map(|ready| ready as u64)
        }
        Restart::None => Err(Errno::EINTR),
    }
}

/// `signalfd4(2)`.
pub fn signalfd4(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    set: UserPointer<SignalSet>,
    set_size: usize,
    flags: Flags,
) -> Result<i32> {
    check_set_size(set_size)?;
    let set = set.read()?;
    let flags = OpenFlags::from_bits(flags.0)
        .filter(|flags| (OpenFlags::CLOSE_ON_EXEC | OpenFlags::NON_BLOCKING).contains(*flags))
        .ok_or(Errno::EINVAL)?;
    let files = call.thread.files();
    if descriptor.0 != -1 {
        let descriptor = FileDescriptor(descriptor.0);
        let file = files.get(descriptor)?;
        file.operations_as::<SignalFile>().ok_or(Errno::EINVAL)?.replace_set(set);
        return Ok(descriptor.0);
    }
    let file = OpenFile::anonymous(Arc::new(SignalFile::new(set)), OpenFlags::READ_WRITE | flags);
    let close = CloseOnExec::from_condition(flags.contains(OpenFlags::CLOSE_ON_EXEC));
    files.install(file, call.process.limit(Resource::OpenFiles), close).map(|descriptor| descriptor.0)
}

/// `signalfd(2)`.
pub fn signalfd(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    set: UserPointer<SignalSet>,
    set_size: usize,
) -> Result<i32> {
    signalfd4(call, descriptor, set, set_size, Flags(0))
}

/// `pidfd_send_signal(2)`.
pub fn pidfd_send_signal(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    signal: SignalNumber,
    information: UserPointer<InformationArgument>,
    flags: Flags,
) -> Result<()> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let file = call.thread.files().get(FileDescriptor(descriptor.0))?;
    let process = match pidfd::process_of(&file) {
        Ok((process, _)) => process,
        Err(error) => process_directory::process_of(&file).ok_or(error)?,
    };
    let sender = Sender::current();
    if information.is_null() {
        return send::send_checked(&sender, &process, signal.0, &|signal| sender.information(signal, code::SI_USER));
    }
    let given = information.read()?.start;
    if given.number != signal.0 {
        return Err(Errno::EINVAL);
    }
    if (given.code >= 0 || given.code == code::SI_TKILL) && process.pid() != call.process.pid() {
        return Err(Errno::EPERM);
    }
    send::send_checked(&sender, &process, signal.0, &|_| given)
}
