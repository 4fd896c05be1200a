//! System calls about scheduling: policies, priorities, niceness, CPUs.
//!
//! Linux's parameters are kept and shown as they were set; what the scheduler does with them is in
//! [`crate::process::scheduler::levels_of`]: five levels, see there.

use super::Call;
use super::argument::{Flags, ProcessIdentifier};
use super::scheduling_attributes::{self as attributes, SchedulingAttributes, is_fair, is_realtime};
use super::time_values::TimeSpecification;
use crate::arch::{Cpu, Current, inter_processor};
use crate::base::{CpuMask, Errno, Nanoseconds, Result, VirtualAddress};
use crate::memory::numa;
use crate::memory::user::{UserPointer, UserSlice};
use crate::process::dispatch;
use crate::process::inheritance;
use crate::process::resource_limits::Resource;
use crate::process::scheduler::{
    DeadlineParameters, SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR,
    SchedulingParameters, levels_of,
};
use crate::process::{Process, Thread, table};
use crate::security::{Capability, Credentials};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `SCHED_RESET_ON_FORK`.
const RESET_ON_FORK: u32 = 0x4000_0000;

/// `sched_yield(2)`.
pub fn sched_yield(_call: &mut Call<'_>) -> Result<()> {
    dispatch::yield_now();
    Ok(())
}

/// The thread that a number names, 0 the caller.
fn find(call: &Call<'_>, tid: i32) -> Result<Arc<Thread>> {
    match tid {
        0 => Ok(call.thread.clone()),
        tid if tid < 0 => Err(Errno::EINVAL),
        tid => table::find_thread(tid).ok_or(Errno::ESRCH),
    }
}

/// As [`find`] for the calls about affinity, to which a negative number is one that no thread has.
fn find_by_number(call: &Call<'_>, tid: i32) -> Result<Arc<Thread>> {
    if tid < 0 { Err(Errno::ESRCH) } else { find(call, tid) }
}

/// Whether the caller has the thread's user.
fn is_owner(caller: &Credentials, thread: &Thread) -> bool {
    let target = thread.credentials();
    caller.euid == target.uid || caller.euid == target.euid
}

/// Whether the caller has the thread's user, or the capability.
fn may_change(caller: &Credentials, thread: &Thread) -> bool {
    is_owner(caller, thread) || caller.may(Capability::SysNice)
}

/// `sched_getscheduler(2)`.
pub fn sched_getscheduler(call: &mut Call<'_>, tid: ProcessIdentifier) -> Result<u32> {
    let parameters = find(call, tid.0)?.scheduling();
    Ok(parameters.policy | if parameters.reset_on_fork { RESET_ON_FORK } else { 0 })
}

/// `sched_getparam(2)`.
pub fn sched_getparam(call: &mut Call<'_>, tid: ProcessIdentifier, parameter: UserPointer<i32>) -> Result<()> {
    if parameter.is_null() {
        return Err(Errno::EINVAL);
    }
    parameter.write(&find(call, tid.0)?.scheduling().realtime_priority.into())
}

fn priority_range(policy: u32) -> Result<(i32, i32)> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_get_priority_max(2)`.
pub fn sched_get_priority_max(_call: &mut Call<'_>, policy: u32) -> Result<i32> {
    priority_range(policy).map(|(_, highest)| highest)
}

/// `sched_get_priority_min(2)`.
pub fn sched_get_priority_min(_call: &mut Call<'_>, policy: u32) -> Result<i32> {
    priority_range(policy).map(|(lowest, _)| lowest)
}

/// Where the parameters to set come from.
#[derive(Clone, Copy)]
enum Policy {
    /// As it is (`sched_setparam`, `SCHED_FLAG_KEEP_POLICY`).
    Keep,
    Set(u32),
}

/// Sets what a program asks for, or says why not, in Linux's order.
fn apply(call: &Call<'_>, thread: &Arc<Thread>, policy: Policy, wanted: &SchedulingAttributes) -> Result<()> {
    let old = thread.scheduling();
    let (policy, reset_on_fork) = match policy {
        Policy::Keep => (old.policy, old.reset_on_fork),
        Policy::Set(policy) => (policy, wanted.flags & attributes::RESET_ON_FORK != 0),
    };
    priority_range(policy)?;
    let is_valid = wanted.flags & !(attributes::ALL_FLAGS | attributes::KERNELS_OWN) == 0
        && wanted.priority <= 99
        && (policy != SCHED_DEADLINE || wanted.has_reservation() || wanted.flags & attributes::KERNELS_OWN != 0)
        && is_realtime(policy) == (wanted.priority != 0);
    if !is_valid {
        return Err(Errno::EINVAL);
    }
    let niceness = clamp_niceness(wanted.niceness);
    let change = Change { policy, niceness, priority: wanted.priority, reset_on_fork };
    if !may_apply(call, thread, &old, &change) {
        return Err(Errno::EPERM);
    }
    if wanted.flags & attributes::KERNELS_OWN != 0 {
        return Err(Errno::EINVAL);
    }
    if wanted.flags & attributes::UTILISATION_CLAMPS != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut new = SchedulingParameters { reset_on_fork, ..old };
    // With this flag Linux leaves the policy as it is, too.
    if wanted.flags & attributes::KEEP_PARAMETERS == 0 {
        new.policy = policy;
        new.realtime_priority = u8::try_from(wanted.priority).unwrap_or(0);
        if is_fair(policy) {
            new.niceness = niceness;
        }
        new.deadline = if policy == SCHED_DEADLINE { wanted.reservation() } else { DeadlineParameters::default() };
    }
    let online = inter_processor::online();
    if policy == SCHED_DEADLINE && new != old && !online.difference(thread.affinity()).is_empty() {
        // A reservation is for a thread that may use every CPU.
        return Err(Errno::EPERM);
    }
    inheritance::set_parameters(thread, new)
}

/// What permission is asked for.
struct Change {
    policy: u32,
    niceness: i8,
    priority: u32,
    reset_on_fork: bool,
}

/// Whether the caller has the capability, or the change needs none.
fn may_apply(call: &Call<'_>, thread: &Thread, old: &SchedulingParameters, change: &Change) -> bool {
    let caller = call.thread.credentials();
    let process = thread.process();
    let ceiling = process.limit(Resource::RealTimePriority);
    let is_nicer =
        is_fair(change.policy) && change.niceness < old.niceness && !may_have_niceness(process, change.niceness);
    let becomes_realtime = is_realtime(change.policy) && change.policy != old.policy && ceiling == 0;
    let rises = is_realtime(change.policy)
        && change.priority > u32::from(old.realtime_priority)
        && u64::from(change.priority) > ceiling;
    let leaves_idle =
        old.policy == SCHED_IDLE && change.policy != SCHED_IDLE && !may_have_niceness(process, old.niceness);
    let forgets = old.reset_on_fork && !change.reset_on_fork;
    let needs_privilege = is_nicer
        || becomes_realtime
        || rises
        || change.policy == SCHED_DEADLINE
        || leaves_idle
        || forgets
        || !is_owner(&caller, thread);
    !needs_privilege || caller.may(Capability::SysNice)
}

/// Whether `RLIMIT_NICE` allows this niceness.
fn may_have_niceness(process: &Process, niceness: i8) -> bool {
    i64::try_from(process.limit(Resource::Nice)).unwrap_or(i64::MAX) >= 20 - i64::from(niceness)
}

/// `sched_setscheduler(2)`.
pub fn sched_setscheduler(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    policy: i32,
    parameter: UserPointer<i32>,
) -> Result<()> {
    let policy = u32::try_from(policy).map_err(|_| Errno::EINVAL)?;
    set_from(call, tid, Some(policy), parameter)
}

/// `sched_setparam(2)`.
pub fn sched_setparam(call: &mut Call<'_>, tid: ProcessIdentifier, parameter: UserPointer<i32>) -> Result<()> {
    set_from(call, tid, None, parameter)
}

fn set_from(call: &Call<'_>, tid: ProcessIdentifier, policy: Option<u32>, parameter: UserPointer<i32>) -> Result<()> {
    if parameter.is_null() || tid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = parameter.read()?;
    let thread = find(call, tid.0)?;
    let flags = if policy.is_some_and(|policy| policy & RESET_ON_FORK != 0) { attributes::RESET_ON_FORK } else { 0 };
    let wanted = SchedulingAttributes::with_priority(priority.cast_unsigned(), thread.scheduling().niceness, flags);
    let policy = policy.map_or(Policy::Keep, |policy| Policy::Set(policy & !RESET_ON_FORK));
    apply(call, &thread, policy, &wanted)
}

/// `sched_setattr(2)`.
pub fn sched_setattr(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    attributes: UserPointer<u32>,
    flags: Flags,
) -> Result<()> {
    if attributes.is_null() || tid.0 < 0 || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let mut wanted = SchedulingAttributes::read(attributes)?;
    if wanted.policy > i32::MAX as u32 {
        return Err(Errno::EINVAL);
    }
    let policy = if wanted.flags & attributes::KEEP_POLICY != 0 { Policy::Keep } else { Policy::Set(wanted.policy) };
    let thread = find(call, tid.0)?;
    if wanted.flags & attributes::KEEP_PARAMETERS != 0 {
        wanted.fill(&thread.scheduling());
    }
    apply(call, &thread, policy, &wanted)
}

/// `sched_getattr(2)`.
pub fn sched_getattr(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    attributes: VirtualAddress,
    size: u32,
    flags: Flags,
) -> Result<()> {
    let size = size as usize;
    if attributes.value() == 0 || tid.0 < 0 || !SchedulingAttributes::is_size(size) || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    SchedulingAttributes::of(&find(call, tid.0)?.scheduling()).write(attributes, size)
}

/// `sched_rr_get_interval(2)`.
pub fn sched_rr_get_interval(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    interval: UserPointer<TimeSpecification>,
) -> Result<()> {
    let parameters = find(call, tid.0)?.scheduling();
    let ticks = match parameters.policy {
        SCHED_FIFO | SCHED_DEADLINE | SCHED_IDLE => 0,
        _ => levels_of(&parameters).base.slice().into(),
    };
    interval.write(&Nanoseconds(Nanoseconds::TICK.0 * ticks).into())
}

/// `sched_setaffinity(2)`.
pub fn sched_setaffinity(call: &mut Call<'_>, tid: ProcessIdentifier, size: u32, mask: VirtualAddress) -> Result<()> {
    let mut bytes = [0; 8];
    let known = bytes.get_mut(..(size as usize).min(8)).unwrap_or(&mut []);
    UserSlice::new(mask, known.len()).read(known)?;
    let thread = find_by_number(call, tid.0)?;
    let caller = call.thread.credentials();
    if !may_change(&caller, &thread) {
        return Err(Errno::EPERM);
    }
    let affinity = CpuMask::from_bits(u64::from_le_bytes(bytes)).intersection(inter_processor::possible());
    let online = dispatch::active();
    if thread.scheduling().policy == SCHED_DEADLINE && !online.difference(affinity).is_empty() {
        return Err(Errno::EBUSY);
    }
    if affinity.intersection(online).is_empty() {
        return Err(Errno::EINVAL);
    }
    dispatch::set_affinity(&thread, affinity);
    Ok(())
}

/// `sched_getaffinity(2)`: gives the bytes written.
pub fn sched_getaffinity(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    size: u32,
    mask: VirtualAddress,
) -> Result<usize> {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let affinity = find_by_number(call, tid.0)?.affinity().intersection(dispatch::active());
    UserSlice::new(mask, 8).write(&affinity.bits().to_le_bytes())?;
    Ok(8)
}

/// `PRIO_PROCESS`, `PRIO_PGRP`, `PRIO_USER`: the threads that they name.
fn select(call: &Call<'_>, which: i32, who: i32) -> Result<Vec<Arc<Thread>>> {
    let mut threads = Vec::new();
    let table = table::lock();
    let mut add = |process: &Arc<Process>| threads.extend(process.family(&table).threads.iter().cloned());
    match which {
        0 => {
            if who == 0 {
                threads.push(call.thread.clone());
            } else {
                threads.extend(table.thread(who).cloned());
            }
        }
        1 => {
            let group = match who {
                0 => call.process.family(&table).group.as_ref(),
                number => table.group(number),
            };
            if let Some(group) = group {
                group.members(&table).iter().for_each(&mut add);
            }
        }
        2 => {
            let user = if who == 0 { call.thread.credentials().uid } else { who.cast_unsigned() };
            table.processes().for_each(&mut add);
            threads.retain(|thread| thread.credentials().uid == user);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(threads)
}

/// `getpriority(2)`: the system call gives 20 less the niceness.
pub fn getpriority(call: &mut Call<'_>, which: i32, who: i32) -> Result<i32> {
    let threads = select(call, which, who)?;
    threads.iter().map(|thread| 20 - i32::from(thread.scheduling().niceness)).max().ok_or(Errno::ESRCH)
}

/// Linux takes the nearest niceness that there is.
fn clamp_niceness(niceness: i32) -> i8 {
    const BEST: i8 = -20;
    const WORST: i8 = 19;
    i8::try_from(niceness.clamp(BEST.into(), WORST.into())).unwrap_or(WORST)
}

/// `setpriority(2)`.
pub fn setpriority(call: &mut Call<'_>, which: i32, who: i32, niceness: i32) -> Result<()> {
    let niceness = clamp_niceness(niceness);
    let caller = call.thread.credentials();
    let mut result = Err(Errno::ESRCH);
    for thread in select(call, which, who)? {
        let old = thread.scheduling();
        if !may_change(&caller, &thread) {
            result = Err(Errno::EPERM);
        } else if niceness < old.niceness
            && !caller.may(Capability::SysNice)
            && !may_have_niceness(thread.process(), niceness)
        {
            result = Err(Errno::EACCES);
        } else {
            let set = inheritance::set_parameters(&thread, SchedulingParameters { niceness, ..old });
            if result == Err(Errno::ESRCH) {
                result = set;
            }
        }
    }
    result
}

/// `getcpu(2)`.
pub fn getcpu(
    _call: &mut Call<'_>,
    cpu: UserPointer<u32>,
    node: UserPointer<u32>,
    _cache: VirtualAddress,
) -> Result<()> {
    let here = Current::id();
    cpu.write_optional(&here.0)?;
    node.write_optional(&numa::node_of_cpu(here).0.into())
}
