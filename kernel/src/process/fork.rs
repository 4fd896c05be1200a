//! New processes and threads: `fork`, `vfork`, `clone`, `clone3`.
//!
//! A child is put together completely, memory and all, before anybody can find it; then one section under the process table's
//! lock enters it, and it is started. Whatever fails before that is undone by dropping.

#![allow(
    unsafe_code,
    reason = "fills the address space of a process without threads and reads the machine state of the calling thread"
)]

use super::dispatch;
use super::family::{Relatives, enter_process};
use super::resource_limits::{Processes, Resource, UserCharge};
use super::rseq::Duties;
use super::scheduler::{DeadlineParameters, SCHED_BATCH, SCHED_DEADLINE, SCHED_IDLE, SCHED_OTHER};
use super::signal::{InheritStack, Signal};
use super::table;
use super::thread::{Parts, Start, enter_thread};
use super::{Pid, Process, Thread, exit};
use crate::arch::{ContextSwitch, Current, ExtendedStateOperations, Registers, TrapFrame};
use crate::base::{Errno, Result, VirtualAddress};
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::sync::Interruptible;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

bitflags::bitflags! {
    /// `clone`'s flags, Linux's numbers.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CloneFlags: u64 {
        /// Share the address space.
        const VM = 0x100;
        /// Share root, working directory and umask.
        const FS = 0x200;
        /// Share descriptors.
        const FILES = 0x400;
        /// Share signal handlers.
        const SIGHAND = 0x800;
        /// A descriptor for the child.
        const PIDFD = 0x1000;
        /// The tracer goes on with the child.
        const PTRACE = 0x2000;
        /// Wait until the child no longer uses the memory.
        const VFORK = 0x4000;
        /// The child's parent is the caller's parent.
        const PARENT = 0x8000;
        /// The child is a thread of the same process.
        const THREAD = 0x1_0000;
        /// Mounts of its own.
        const NEWNS = 0x2_0000;
        /// Share System V semaphore undo values.
        const SYSVSEM = 0x4_0000;
        /// Set the thread pointer.
        const SETTLS = 0x8_0000;
        /// Write the child's number in the caller's memory.
        const PARENT_SETTID = 0x10_0000;
        /// Clear a word in the child's memory at its end.
        const CHILD_CLEARTID = 0x20_0000;
        /// Without effect.
        const DETACHED = 0x40_0000;
        /// The tracer cannot force tracing on the child.
        const UNTRACED = 0x80_0000;
        /// Write the child's number in the child's memory.
        const CHILD_SETTID = 0x100_0000;
        /// A control-group namespace.
        const NEWCGROUP = 0x200_0000;
        /// A host-name namespace.
        const NEWUTS = 0x400_0000;
        /// A System V IPC namespace.
        const NEWIPC = 0x800_0000;
        /// A user namespace.
        const NEWUSER = 0x1000_0000;
        /// A PID namespace.
        const NEWPID = 0x2000_0000;
        /// A network namespace.
        const NEWNET = 0x4000_0000;
        /// Share I/O scheduling.
        const IO = 0x8000_0000;
        /// Signal handlers back to the default (`clone3`).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// Into a control group (`clone3`).
        const INTO_CGROUP = 0x2_0000_0000;
        /// A time namespace (`clone3`).
        const NEWTIME = 0x80;
    }
}

impl CloneFlags {
    /// Everything that asks for a namespace.
    pub const NAMESPACES: Self = Self::NEWNS
        .union(Self::NEWCGROUP)
        .union(Self::NEWUTS)
        .union(Self::NEWIPC)
        .union(Self::NEWUSER)
        .union(Self::NEWPID)
        .union(Self::NEWNET)
        .union(Self::NEWTIME);
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct CloneRequest {
    /// How.
    pub flags: CloneFlags,
    /// The signal for the parent at the end, 0 for none.
    pub exit_signal: u32,
    /// The child's stack pointer, or null for the caller's.
    pub stack: VirtualAddress,
    /// Where `PARENT_SETTID` writes.
    pub parent_tid: UserPointer<i32>,
    /// The word of `CHILD_SETTID` and `CHILD_CLEARTID`.
    pub child_tid: VirtualAddress,
    /// The thread pointer of `SETTLS`.
    pub thread_pointer: u64,
    /// Where `PIDFD` writes.
    pub pidfd: UserPointer<i32>,
}

impl CloneRequest {
    /// `fork`.
    #[must_use]
    pub const fn fork() -> Self {
        Self {
            flags: CloneFlags::empty(),
            exit_signal: 17,
            stack: VirtualAddress::new(0),
            parent_tid: UserPointer::NULL,
            child_tid: VirtualAddress::new(0),
            thread_pointer: 0,
            pidfd: UserPointer::NULL,
        }
    }
    /// `vfork`.
    #[must_use]
    pub const fn vfork() -> Self {
        Self { flags: CloneFlags::VM.union(CloneFlags::VFORK), ..Self::fork() }
    }

    /// Refuses combinations that Linux refuses.
    fn check(&self, caller: &Thread) -> Result<()> {
        let flags = self.flags;
        let refused = flags.contains(CloneFlags::THREAD) && !flags.contains(CloneFlags::SIGHAND)
            || flags.contains(CloneFlags::SIGHAND) && !flags.contains(CloneFlags::VM)
            || flags.contains(CloneFlags::NEWNS | CloneFlags::FS)
            || flags.contains(CloneFlags::NEWUSER | CloneFlags::FS)
            || flags.contains(CloneFlags::SIGHAND | CloneFlags::CLEAR_SIGHAND)
            || flags.contains(CloneFlags::PARENT) && caller.process().signals.is_unkillable()
            || flags.contains(CloneFlags::THREAD) && flags.intersects(CloneFlags::NEWUSER | CloneFlags::NEWPID)
            || flags.contains(CloneFlags::PIDFD) && flags.intersects(CloneFlags::DETACHED | CloneFlags::THREAD);
        if refused {
            return Err(Errno::EINVAL);
        }
        if flags.intersects(CloneFlags::NAMESPACES) {
            let privileged = caller.credentials().may(Capability::SysAdmin) || flags.contains(CloneFlags::NEWUSER);
            // Namespaces are not there: what a kernel built without them answers.
            return Err(if privileged { Errno::EINVAL } else { Errno::EPERM });
        }
        if flags.contains(CloneFlags::INTO_CGROUP) {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(())
    }
}

/// Makes a process or thread as `request` says, whose registers are those in `frame` with a result of 0, and gives its number.
///
/// # Errors
/// `EINVAL`: a combination of flags that has no sense. `EAGAIN`: the user has too many processes, or no number is free. `ENOMEM`.
/// `EPERM`: a namespace without the privilege. `ERESTARTNOINTR`: a signal came first. `EFAULT`, `EMFILE`: the pidfd.
pub fn clone(caller: &Arc<Thread>, frame: &TrapFrame, request: &CloneRequest) -> Result<Pid> {
    request.check(caller)?;
    let flags = request.flags;
    if caller.signals.interrupts(Interruptible::BySignal) {
        return Err(Errno::ERESTARTNOINTR);
    }
    let charge = take_charge(caller)?;
    let mut child_frame = frame.clone();
    child_frame.set_result(0);
    child_frame.forget_system_call();
    if request.stack.value() != 0 {
        child_frame.set_stack_pointer(request.stack);
    }
    let parent = caller.process();
    let space = match (parent.address_space(), flags.contains(CloneFlags::VM)) {
        (Some(space), true) => space,
        (Some(space), false) => space.fork()?,
        (None, _) => return Err(Errno::EINVAL),
    };
    dispatch::save_extended_state(caller);
    let files = caller.files();
    let files = if flags.contains(CloneFlags::FILES) { files } else { Arc::new(files.duplicate()) };
    let thread = assemble(caller, request, &child_frame, charge, &space, files.clone());
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => {
            exit::release_files(files);
            return Err(error);
        }
    };
    drop(files);
    let result = publish(caller, request, &thread, space);
    if let Err(error) = result {
        thread.replace_files(None).into_iter().for_each(exit::release_files);
        return Err(error);
    }
    let pid = thread.tid();
    if flags.contains(CloneFlags::PARENT_SETTID) {
        // As on Linux, a bad address is not an error here.
        let _ = request.parent_tid.write(&pid);
    }
    thread.start();
    if flags.contains(CloneFlags::VFORK) {
        wait_for_release(&thread);
    }
    Ok(pid)
}

/// A unit of the user's process limit.
fn take_charge(caller: &Arc<Thread>) -> Result<Option<Arc<UserCharge<Processes>>>> {
    let Some(mine) = caller.charge() else { return Ok(None) };
    let credentials = caller.credentials();
    let exempt =
        credentials.uid == 0 || credentials.may(Capability::SysResource) || credentials.may(Capability::SysAdmin);
    let limit = if exempt { u64::MAX } else { caller.process().limit(Resource::Processes) };
    match UserCharge::take(mine.account().clone(), limit) {
        Some(charge) => Ok(Some(Arc::new(charge))),
        None => Err(Errno::EAGAIN),
    }
}

/// Puts the child's process (unless it is a thread) and thread together; its number is reserved.
fn assemble(
    caller: &Arc<Thread>,
    request: &CloneRequest,
    frame: &TrapFrame,
    charge: Option<Arc<UserCharge<Processes>>>,
    space: &Arc<crate::memory::address_space::AddressSpace>,
    files: Arc<crate::fs::FileTable>,
) -> Result<Arc<Thread>> {
    let flags = request.flags;
    let parent = caller.process();
    let id = table::lock().reserve_number().ok_or(Errno::EAGAIN)?;
    let assembled = (|| {
        let process =
            if flags.contains(CloneFlags::THREAD) { parent.clone() } else { new_process(parent, id, request) };
        let mut parameters = caller.scheduling();
        if core::mem::take(&mut parameters.reset_on_fork) {
            let was_privileged = !matches!(parameters.policy, SCHED_OTHER | SCHED_BATCH | SCHED_IDLE);
            parameters.niceness = if was_privileged { 0 } else { parameters.niceness.max(0) };
            if was_privileged {
                parameters.policy = SCHED_OTHER;
            }
            parameters.realtime_priority = 0;
            parameters.deadline = DeadlineParameters::default();
        } else if parameters.policy == SCHED_DEADLINE {
            // A reservation is one thread's.
            return Err(Errno::EAGAIN);
        }
        let stack = if flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK) {
            InheritStack::Drop
        } else {
            InheritStack::Keep
        };
        let file_system = caller.file_system();
        let file_system = if flags.contains(CloneFlags::FS) { file_system } else { file_system.duplicate() };
        // SAFETY: the area is the running thread's own.
        let extended_state = unsafe { &*caller.extended_state.get() };
        let extended_state = match extended_state {
            Some(state) => Some(state.try_clone().ok_or(Errno::ENOMEM)?),
            None => None,
        };
        let thread_pointer =
            if flags.contains(CloneFlags::SETTLS) { request.thread_pointer } else { Current::thread_pointer() };
        let second_thread_pointer = dispatch::second_thread_pointer();
        let thread = Thread::assemble(Parts {
            id,
            process,
            start: Start::User(frame),
            signals: caller.signals.inherit(id, stack),
            parameters,
            affinity: caller.affinity(),
            credentials: caller.credentials(),
            files: Some(files),
            file_system: Some(file_system),
            charge,
            name: caller.name(),
            extended_state,
            thread_pointer,
            second_thread_pointer,
            space_root: space.root().value(),
        })?;
        thread.attributes.inherit(&caller.attributes);
        thread.memory_policy.set(caller.memory_policy.get());
        if !flags.contains(CloneFlags::VM) {
            thread.sequences.inherit(&caller.sequences);
        }
        if flags.contains(CloneFlags::CHILD_SETTID) {
            thread.set_child_tid.store(request.child_tid.value(), Relaxed);
            thread.sequences.add_duty(Duties::CHILD_TID);
        }
        if flags.contains(CloneFlags::CHILD_CLEARTID) {
            thread.clear_child_tid.store(request.child_tid.value(), Relaxed);
        }
        Ok(thread)
    })();
    if assembled.is_err() {
        table::lock().release_number(id);
    }
    assembled
}

fn new_process(parent: &Arc<Process>, id: Pid, request: &CloneRequest) -> Arc<Process> {
    let flags = request.flags;
    let signals = if flags.contains(CloneFlags::SIGHAND) { parent.signals.share() } else { parent.signals.fork() };
    if flags.contains(CloneFlags::CLEAR_SIGHAND) {
        signals.clear_handlers();
    }
    let limits = parent.limits.lock().clone();
    let process = Process::new(id, signals, limits);
    process.exit_signal.store(request.exit_signal, Relaxed);
    process.real_user.store(parent.real_user(), Relaxed);
    process.set_personality(parent.personality());
    process.set_program(parent.program());
    process.attributes.set_dumpable(parent.attributes.dumpable());
    Arc::new(process)
}

/// Enters the child into the table. After this others can find it, and it cannot fail any more.
fn publish(
    caller: &Arc<Thread>,
    request: &CloneRequest,
    thread: &Arc<Thread>,
    space: Arc<crate::memory::address_space::AddressSpace>,
) -> Result<()> {
    let flags = request.flags;
    let process = thread.process();
    let is_process = !flags.contains(CloneFlags::THREAD);
    if is_process {
        // SAFETY: the process has not been entered, and its one thread has not been started.
        let none = unsafe { process.replace_address_space(Some(space)) };
        debug_assert!(none.is_none());
    }
    let pidfd = if flags.contains(CloneFlags::PIDFD) {
        let fd = super::pidfd::open(caller, process, super::pidfd::Blocking::Yes)?;
        if request.pidfd.write(&fd.0).is_err() {
            super::pidfd::close(caller, fd);
            return Err(Errno::EFAULT);
        }
        Some(fd)
    } else {
        None
    };
    let mut table = table::lock();
    let entered = (|| {
        // A process that is being ended gets no new threads: nobody would tell them.
        if caller.process().is_exiting() {
            return Err(Errno::ERESTARTNOINTR);
        }
        if is_process {
            let parent = caller.process();
            let parent = if flags.contains(CloneFlags::PARENT) {
                let grandparent = parent.family(&table).parent.clone();
                process.exit_signal.store(parent.exit_signal(), Relaxed);
                grandparent.unwrap_or_else(|| parent.clone())
            } else {
                parent.clone()
            };
            let relatives = Relatives { parent: &parent, group_of: caller.process() };
            enter_process(process, Some(relatives), &mut table)?;
        }
        enter_thread(thread, &mut table)
    })();
    drop(table);
    if entered.is_err()
        && let Some(fd) = pidfd
    {
        super::pidfd::close(caller, fd);
    }
    entered
}

/// `vfork`: sleeps until the child has called `execve` or ended. Only a fatal signal ends the wait early.
fn wait_for_release(child: &Arc<Thread>) {
    let _ = child
        .process()
        .end_event
        .wait_until(None, Interruptible::ByKill, || child.released_memory.load(Acquire).then_some(()));
}

/// In the child, on its first way to user mode: `CLONE_CHILD_SETTID`.
pub(super) fn write_child_tid(thread: &Arc<Thread>) {
    thread.sequences.remove_duty(Duties::CHILD_TID);
    let address = thread.set_child_tid.swap(0, Relaxed);
    if address != 0 {
        let _ = UserPointer::<i32>::new(VirtualAddress::new(address)).write(&thread.tid());
    }
}

/// Checks the exit signal of `clone3`, which must be a signal's number or 0.
///
/// # Errors
/// `EINVAL`.
pub fn check_exit_signal(number: u64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(0) => Ok(0),
        Ok(number) if Signal::new(number).is_some() => Ok(number),
        _ => Err(Errno::EINVAL),
    }
}
