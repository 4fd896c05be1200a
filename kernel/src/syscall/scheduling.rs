//! System calls about scheduling: policies, priorities, niceness, CPUs.
//!
//! Linux's parameters are kept and shown as they were set; what the scheduler does with them is in
//! [`crate::process::scheduler::levels_of`]: five levels, see there.

use super::Call;
use super::argument::{Flags, ProcessIdentifier, low_half};
use super::time_values::TimeSpecification;
use crate::arch::inter_processor;
use crate::base::{CpuMask, Errno, Nanoseconds, PAGE_SIZE, Result, VirtualAddress};
use crate::memory::user::{UserPointer, UserSlice};
use crate::process::dispatch;
use crate::process::resource_limits::Resource;
use crate::process::scheduler::{
    SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR, SchedulingParameters, levels_of,
};
use crate::process::{Process, Thread, table};
use crate::security::{Capability, Credentials};
use alloc::sync::Arc;
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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

/// Whether the caller has the thread's user, or the capability.
fn may_change(caller: &Credentials, thread: &Thread) -> bool {
    let target = thread.credentials();
    caller.euid == target.uid || caller.euid == target.euid || caller.may(Capability::SysNice)
}

fn set_parameters(thread: &Thread, parameters: SchedulingParameters) {
    thread.set_scheduling(parameters);
    dispatch::apply_parameters(thread);
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

/// What is asked for.
struct Wish {
    policy: u32,
    realtime_priority: i32,
    niceness: Option<i8>,
    reset_on_fork: bool,
}

fn apply(call: &Call<'_>, thread: &Arc<Thread>, wish: &Wish) -> Result<()> {
    let (lowest, highest) =
        priority_range(wish.policy).ok().filter(|_| wish.policy != SCHED_DEADLINE).ok_or(Errno::EINVAL)?;
    if !(lowest..=highest).contains(&wish.realtime_priority) {
        return Err(Errno::EINVAL);
    }
    let caller = call.thread.credentials();
    let old = thread.scheduling();
    let new = SchedulingParameters {
        policy: wish.policy,
        realtime_priority: u8::try_from(wish.realtime_priority).unwrap_or(0),
        niceness: wish.niceness.unwrap_or(old.niceness),
        reset_on_fork: wish.reset_on_fork,
        ..old
    };
    if !caller.may(Capability::SysNice) {
        let process = thread.process();
        let ceiling = process.limit(Resource::RealTimePriority);
        let raises = new.realtime_priority > old.realtime_priority && u64::from(new.realtime_priority) > ceiling;
        let becomes_realtime = highest > 0 && new.policy != old.policy && ceiling == 0;
        let leaves_idle =
            old.policy == SCHED_IDLE && new.policy != SCHED_IDLE && !may_have_niceness(process, old.niceness);
        let nicer = new.niceness < old.niceness && !may_have_niceness(process, new.niceness);
        let forgets = old.reset_on_fork && !new.reset_on_fork;
        if raises || becomes_realtime || leaves_idle || nicer || forgets || !may_change(&caller, thread) {
            return Err(Errno::EPERM);
        }
    }
    set_parameters(thread, new);
    Ok(())
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
    let realtime_priority = parameter.read()?;
    let thread = find(call, tid.0)?;
    let old = thread.scheduling();
    let policy_and_flag = policy.unwrap_or(old.policy | if old.reset_on_fork { RESET_ON_FORK } else { 0 });
    let wish = Wish {
        policy: policy_and_flag & !RESET_ON_FORK,
        realtime_priority,
        niceness: None,
        reset_on_fork: policy_and_flag & RESET_ON_FORK != 0,
    };
    apply(call, &thread, &wish)
}

/// `struct sched_attr`, in its newest size.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    niceness: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilisation: [u32; 2],
}

const ATTRIBUTES_SIZE: usize = size_of::<SchedulingAttributes>();
/// The size in Linux's first version.
const FIRST_ATTRIBUTES_SIZE: usize = 48;

/// `sched_setattr(2)`.
pub fn sched_setattr(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    attributes: UserPointer<u32>,
    flags: Flags,
) -> Result<()> {
    const RESET: u64 = 1;
    const KEEP_POLICY: u64 = 8;
    const KEEP_PARAMETERS: u64 = 16;
    if attributes.is_null() || tid.0 < 0 || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let size = match attributes.read()? as usize {
        0 => FIRST_ATTRIBUTES_SIZE,
        size => size,
    };
    if !(FIRST_ATTRIBUTES_SIZE..=PAGE_SIZE).contains(&size) {
        attributes.write(&low_half(ATTRIBUTES_SIZE as u64))?;
        return Err(Errno::E2BIG);
    }
    let given = UserSlice::new(attributes.address(), size).read_to_vec()?;
    let mut bytes = [0; ATTRIBUTES_SIZE];
    let known = size.min(ATTRIBUTES_SIZE);
    if given.iter().skip(known).any(|byte| *byte != 0) {
        attributes.write(&low_half(ATTRIBUTES_SIZE as u64))?;
        return Err(Errno::E2BIG);
    }
    bytes.iter_mut().zip(&given).for_each(|(target, byte)| *target = *byte);
    let wanted: SchedulingAttributes = zerocopy::transmute!(bytes);
    if wanted.flags & !(RESET | KEEP_POLICY | KEEP_PARAMETERS) != 0 || wanted.policy > i32::MAX as u32 {
        return Err(Errno::EINVAL);
    }
    let thread = find(call, tid.0)?;
    let old = thread.scheduling();
    let policy = if wanted.flags & KEEP_POLICY != 0 { old.policy } else { wanted.policy };
    let keeps = wanted.flags & KEEP_PARAMETERS != 0;
    let is_ordinary = !matches!(policy, SCHED_FIFO | SCHED_RR);
    let wish = Wish {
        policy,
        realtime_priority: if keeps {
            old.realtime_priority.into()
        } else {
            i32::try_from(wanted.priority).map_err(|_| Errno::EINVAL)?
        },
        niceness: (is_ordinary && !keeps).then(|| clamp_niceness(wanted.niceness)),
        reset_on_fork: wanted.flags & RESET != 0,
    };
    apply(call, &thread, &wish)
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
    if attributes.value() == 0 || !(FIRST_ATTRIBUTES_SIZE..=PAGE_SIZE).contains(&size) || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let parameters = find(call, tid.0)?.scheduling();
    let known = size.min(ATTRIBUTES_SIZE);
    let shown = SchedulingAttributes {
        size: low_half(known as u64),
        policy: parameters.policy,
        flags: parameters.reset_on_fork.into(),
        niceness: parameters.niceness.into(),
        priority: parameters.realtime_priority.into(),
        utilisation: [0, 1024],
        ..SchedulingAttributes::default()
    };
    let bytes: [u8; ATTRIBUTES_SIZE] = zerocopy::transmute!(shown);
    UserSlice::new(attributes, known).write(bytes.get(..known).unwrap_or(&bytes))
}

/// `sched_rr_get_interval(2)`.
pub fn sched_rr_get_interval(
    call: &mut Call<'_>,
    tid: ProcessIdentifier,
    interval: UserPointer<TimeSpecification>,
) -> Result<()> {
    let parameters = find(call, tid.0)?.scheduling();
    let ticks = match parameters.policy {
        SCHED_FIFO => 0,
        _ => levels_of(&parameters).base.slice().into(),
    };
    interval.write(&Nanoseconds(Nanoseconds::TICK.0 * ticks).into())
}

/// The CPUs that run.
fn active() -> CpuMask {
    inter_processor::online()
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
    let affinity = CpuMask::from_bits(u64::from_le_bytes(bytes));
    if affinity.intersection(active()).is_empty() {
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
    let affinity = find_by_number(call, tid.0)?.affinity().intersection(active());
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
            set_parameters(&thread, SchedulingParameters { niceness, ..old });
            if result == Err(Errno::ESRCH) {
                result = Ok(());
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
    use crate::arch::{Cpu, Current};
    cpu.write_optional(&Current::id().0)?;
    node.write_optional(&0)
}
