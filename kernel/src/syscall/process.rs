//! System calls that make, replace, end and wait for processes and threads, and tell their numbers.

use super::Call;
use super::argument::{Descriptor, Flags, LongFlags, PathPointer, ProcessIdentifier};
use super::limits::UsageArgument;
use crate::arch::linux_interface::CloneOrder;
use crate::arch::{Current, Machine};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::walk::{LookupFlags, Walker};
use crate::fs::{FileDescriptor, FileType, Location};
use crate::memory::user::{PATH_MAX, UserPointer, UserSlice, read_c_string};
use crate::process::exec::arguments::{Strings, size_limit, take};
use crate::process::exec::{self, Reachable, Target};
use crate::process::fork::{self, CloneFlags, CloneRequest};
use crate::process::pidfd::{self, Blocking};
use crate::process::resource_limits::Resource;
use crate::process::signal::SignalInformation;
use crate::process::wait::{Report, WaitFor, WaitOptions, wait};
use crate::process::{ExitStatus, Pid, exit, table};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `AT_FDCWD`.
const WORKING_DIRECTORY: i32 = -100;
/// `AT_SYMLINK_NOFOLLOW`.
const NO_FOLLOW: u32 = 0x100;
/// `AT_EMPTY_PATH`.
const EMPTY_PATH: u32 = 0x1000;

/// `getpid(2)`.
pub fn getpid(call: &mut Call<'_>) -> Result<i32> {
    Ok(call.process.pid())
}

/// `gettid(2)`.
pub fn gettid(call: &mut Call<'_>) -> Result<i32> {
    Ok(call.thread.tid())
}

/// `getppid(2)`.
pub fn getppid(call: &mut Call<'_>) -> Result<i32> {
    Ok(call.process.parent_pid())
}

/// `set_tid_address(2)`.
pub fn set_tid_address(call: &mut Call<'_>, address: VirtualAddress) -> Result<i32> {
    call.thread.clear_child_tid.store(address.value(), Relaxed);
    Ok(call.thread.tid())
}

/// `fork(2)`.
pub fn fork(call: &mut Call<'_>) -> Result<i32> {
    fork::clone(call.thread, call.frame, &CloneRequest::fork())
}

/// `vfork(2)`.
pub fn vfork(call: &mut Call<'_>) -> Result<i32> {
    fork::clone(call.thread, call.frame, &CloneRequest::vfork())
}

/// `clone(2)`. The last two arguments' order differs between machines.
pub fn clone(
    call: &mut Call<'_>,
    flags: LongFlags,
    stack: VirtualAddress,
    parent_tid: UserPointer<i32>,
    fourth: u64,
    fifth: u64,
) -> Result<i32> {
    let (child_tid, thread_pointer) = match Current::LINUX.clone_order {
        CloneOrder::ChildThenThreadPointer => (fourth, fifth),
        CloneOrder::ThreadPointerThenChild => (fifth, fourth),
    };
    // The high half means nothing here; the low byte is the exit signal, whatever its value.
    let exit_signal = u32::from(flags.0.to_le_bytes()[0]);
    let flags = CloneFlags::from_bits_truncate(flags.0 & 0xffff_ff00);
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
        return Err(Errno::EINVAL);
    }
    let request = CloneRequest {
        flags,
        exit_signal,
        stack,
        parent_tid,
        child_tid: VirtualAddress::new(child_tid),
        thread_pointer,
        pidfd: parent_tid,
    };
    fork::clone(call.thread, call.frame, &request)
}

/// `struct clone_args`, in its newest size.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Reads a structure that grows over time: what the caller does not have is zero, what the kernel does not know must be.
fn read_extensible<const KNOWN: usize>(address: VirtualAddress, size: usize, least: usize) -> Result<[u8; KNOWN]> {
    if size < least {
        return Err(Errno::EINVAL);
    }
    if size > crate::base::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let mut bytes = [0; KNOWN];
    let known = bytes.get_mut(..size.min(KNOWN)).unwrap_or(&mut []);
    UserSlice::new(address, known.len()).read(known)?;
    if size > KNOWN {
        let rest = UserSlice::new(address.offset(KNOWN as u64), size - KNOWN).read_to_vec()?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
    }
    Ok(bytes)
}

/// `clone3(2)`.
pub fn clone3(call: &mut Call<'_>, arguments: VirtualAddress, size: usize) -> Result<i32> {
    const LEAST: usize = 64;
    let bytes: [u8; size_of::<CloneArguments>()] = read_extensible(arguments, size, LEAST)?;
    let arguments: CloneArguments = zerocopy::transmute!(bytes);
    let flags = CloneFlags::from_bits(arguments.flags).ok_or(Errno::EINVAL)?;
    let exit_signal = fork::check_exit_signal(arguments.exit_signal)?;
    let has_stack = arguments.stack != 0;
    let refused = flags.contains(CloneFlags::DETACHED)
        || has_stack != (arguments.stack_size != 0)
        || flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) && exit_signal != 0
        || (arguments.set_tid == 0) != (arguments.set_tid_size == 0);
    if refused {
        return Err(Errno::EINVAL);
    }
    if arguments.set_tid_size != 0 {
        // Choosing numbers needs namespaces that are not there.
        return Err(if arguments.set_tid_size > 32 { Errno::EINVAL } else { Errno::EPERM });
    }
    let stack = arguments.stack.checked_add(arguments.stack_size).ok_or(Errno::EINVAL)?;
    let request = CloneRequest {
        flags,
        exit_signal,
        stack: VirtualAddress::new(if has_stack { stack } else { 0 }),
        parent_tid: UserPointer::new(VirtualAddress::new(arguments.parent_tid)),
        child_tid: VirtualAddress::new(arguments.child_tid),
        thread_pointer: arguments.tls,
        pidfd: UserPointer::new(VirtualAddress::new(arguments.pidfd)),
    };
    fork::clone(call.thread, call.frame, &request)
}

fn execute(
    call: &mut Call<'_>,
    target: Target,
    arguments: VirtualAddress,
    environment: VirtualAddress,
    path_length: usize,
) -> Result<()> {
    let mut room = size_limit(call.process.limit(Resource::Stack));
    take(&mut room, path_length + 1)?;
    let arguments = Strings::read_user(arguments, &mut room)?;
    let environment = Strings::read_user(environment, &mut room)?;
    exec::execute(call.thread, call.frame, target, arguments, environment)
}

/// `execve(2)`.
pub fn execve(
    call: &mut Call<'_>,
    path: PathPointer,
    arguments: VirtualAddress,
    environment: VirtualAddress,
) -> Result<()> {
    let path = read_c_string(path.0, PATH_MAX)?;
    let length = path.len();
    execute(call, Target::Path(path), arguments, environment, length)
}

/// `execveat(2)`.
pub fn execveat(
    call: &mut Call<'_>,
    directory: Descriptor,
    path: PathPointer,
    arguments: VirtualAddress,
    environment: VirtualAddress,
    flags: Flags,
) -> Result<()> {
    if flags.0 & !(NO_FOLLOW | EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = read_c_string(path.0, PATH_MAX)?;
    if path.is_empty() && flags.0 & EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    let length = path.len();
    // An absolute path never looks at the descriptor, which may be anything.
    let directory = if path.first() == Some(&b'/') { Descriptor(WORKING_DIRECTORY) } else { directory };
    let target = if directory.0 == WORKING_DIRECTORY && flags.0 & NO_FOLLOW == 0 && !path.is_empty() {
        Target::Path(path)
    } else {
        found_at(call, directory, &path, flags.0)?
    };
    execute(call, target, arguments, environment, length)
}

fn found_at(call: &Call<'_>, directory: Descriptor, path: &[u8], flags: u32) -> Result<Target> {
    let files = call.thread.files();
    let (base, closes): (Option<Location>, bool) = if directory.0 == WORKING_DIRECTORY {
        (None, false)
    } else {
        let descriptor = FileDescriptor(directory.0);
        let file = files.get_any(descriptor)?;
        let closes = files.close_on_exec(descriptor)?.is_yes();
        (Some(file.location().cloned().ok_or(Errno::EACCES)?), closes)
    };
    let context = call.thread.file_system();
    let credentials = call.thread.credentials();
    let walker = Walker { context: &context, credentials: &credentials };
    let location = walker.resolve(base.as_ref(), path, LookupFlags::from_at_flags(flags))?;
    if location.inode().header().file_type() == FileType::SymbolicLink {
        return Err(Errno::ELOOP);
    }
    let mut name = Vec::new();
    if directory.0 != WORKING_DIRECTORY {
        name.extend_from_slice(alloc::format!("/dev/fd/{}", directory.0).as_bytes());
        if !path.is_empty() {
            name.push(b'/');
        }
    }
    name.extend_from_slice(path);
    let reachable = if closes { Reachable::No } else { Reachable::Yes };
    Ok(Target::Found { location, path: name, reachable })
}

/// `exit(2)`.
pub fn exit(_call: &mut Call<'_>, code: i32) -> Result<()> {
    exit::end_current(ExitStatus::exited(code))
}

/// `exit_group(2)`.
pub fn exit_group(_call: &mut Call<'_>, code: i32) -> Result<()> {
    exit::exit_group(ExitStatus::exited(code))
}

/// `wait4(2)`.
pub fn wait4(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    status: UserPointer<u32>,
    options: Flags,
    usage: UserPointer<UsageArgument>,
) -> Result<i32> {
    let options = WaitOptions::from_bits(options.0)
        .filter(|options| !options.intersects(WaitOptions::WEXITED | WaitOptions::WNOWAIT))
        .ok_or(Errno::EINVAL)?;
    let which = match pid.0 {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => WaitFor::Any,
        0 => WaitFor::Group(call.process.group_id()),
        group if group < 0 => WaitFor::Group(-group),
        pid => WaitFor::Process(pid),
    };
    let Some(report) = wait(call.process, &which, options | WaitOptions::WEXITED)? else { return Ok(0) };
    status.write_optional(&report.status_word())?;
    if !usage.is_null() {
        usage.write(&report.usage.into())?;
    }
    Ok(report.pid)
}

/// `waitid(2)`.
pub fn waitid(
    call: &mut Call<'_>,
    kind: u32,
    id: ProcessIdentifier,
    information: UserPointer<[u8; 128]>,
    options: Flags,
    usage: UserPointer<UsageArgument>,
) -> Result<()> {
    /// `P_ALL`, `P_PID`, `P_PGID`, `P_PIDFD`.
    const KINDS: [u32; 4] = [0, 1, 2, 3];
    let wanted = WaitOptions::WEXITED | WaitOptions::WSTOPPED | WaitOptions::WCONTINUED;
    let mut options =
        WaitOptions::from_bits(options.0).filter(|options| options.intersects(wanted)).ok_or(Errno::EINVAL)?;
    let [all, process, group, descriptor] = KINDS;
    let mut blocking = Blocking::Yes;
    let which = match kind {
        _ if kind == all => WaitFor::Any,
        _ if kind == process && id.0 > 0 => WaitFor::Process(id.0),
        _ if kind == group && id.0 > 0 => WaitFor::Group(id.0),
        _ if kind == group && id.0 == 0 => WaitFor::Group(call.process.group_id()),
        _ if kind == descriptor && id.0 >= 0 => {
            let file = call.thread.files().get(FileDescriptor(id.0))?;
            let (process, mode) = pidfd::process_of(&file)?;
            blocking = mode;
            WaitFor::Exactly(process)
        }
        _ => return Err(Errno::EINVAL),
    };
    let no_wait = options.contains(WaitOptions::WNOHANG);
    if blocking == Blocking::No {
        options |= WaitOptions::WNOHANG;
    }
    let report = wait(call.process, &which, options)?;
    if report.is_none() && blocking == Blocking::No && !no_wait {
        return Err(Errno::EAGAIN);
    }
    if !information.is_null() {
        information.write(&wait_information(report.as_ref()))?;
    }
    if let Some(report) = report
        && !usage.is_null()
    {
        usage.write(&report.usage.into())?;
    }
    Ok(())
}

/// What `waitid` writes: all zeros when nothing has happened. Linux leaves the rest of the structure alone; zeros do nobody harm.
fn wait_information(report: Option<&Report>) -> [u8; 128] {
    let Some(report) = report else { return [0; 128] };
    let (code, status) = report.code_and_status();
    SignalInformation::child(code, report.pid, report.user, status, 0, 0).to_user()
}

/// `pidfd_open(2)`.
pub fn pidfd_open(call: &mut Call<'_>, pid: ProcessIdentifier, flags: Flags) -> Result<i32> {
    const NON_BLOCKING: u32 = 0o4000;
    if flags.0 & !NON_BLOCKING != 0 || pid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let target: Pid = pid.0;
    let process = {
        let table = table::lock();
        match (table.process(target), table.thread(target)) {
            (Some(process), _) => process.clone(),
            (None, Some(_)) => return Err(Errno::EINVAL),
            (None, None) => return Err(Errno::ESRCH),
        }
    };
    let blocking = if flags.0 & NON_BLOCKING == 0 { Blocking::Yes } else { Blocking::No };
    pidfd::open(call.thread, &process, blocking).map(|descriptor| descriptor.0)
}
