//! System calls about resource limits and what was used.

use super::Call;
use super::argument::ProcessIdentifier;
use super::time_values::TimeValue;
use crate::base::{Errno, Nanoseconds, Result};
use crate::memory::user::UserPointer;
use crate::process::resource_limits::{Limit, Privilege, Resource};
use crate::process::{Process, Usage, table};
use crate::security::Capability;
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct rusage`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UsageArgument {
    user_time: TimeValue,
    system_time: TimeValue,
    maximum_resident: i64,
    unused: [i64; 3],
    minor_faults: i64,
    major_faults: i64,
    unused2: [i64; 6],
    voluntary_switches: i64,
    involuntary_switches: i64,
}

const _: () = assert!(size_of::<UsageArgument>() == 144);

impl From<Usage> for UsageArgument {
    fn from(usage: Usage) -> Self {
        Self {
            user_time: usage.user_time.into(),
            system_time: usage.system_time.into(),
            maximum_resident: usage.maximum_resident.cast_signed(),
            minor_faults: usage.minor_faults.cast_signed(),
            major_faults: usage.major_faults.cast_signed(),
            voluntary_switches: usage.voluntary_switches.cast_signed(),
            involuntary_switches: usage.involuntary_switches.cast_signed(),
            ..Self::default()
        }
    }
}

/// `struct tms`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessTimes {
    user: i64,
    system: i64,
    children_user: i64,
    children_system: i64,
}

fn change(call: &Call<'_>, process: &Arc<Process>, resource: u32, new: Option<Limit>) -> Result<Limit> {
    let resource = Resource::from_number(resource).ok_or(Errno::EINVAL)?;
    let Some(new) = new else { return Ok(process.limits.lock().get(resource)) };
    let privilege =
        if call.thread.credentials().may(Capability::SysResource) { Privilege::SysResource } else { Privilege::None };
    let old = process.limits.lock().set(resource, new, privilege)?;
    if let Some(space) = process.address_space() {
        space.change_limits(|limits| match resource {
            Resource::AddressSpace => limits.address_space = new.soft,
            Resource::Data => limits.data = new.soft,
            Resource::Stack => limits.stack = new.soft,
            Resource::LockedMemory => limits.locked = new.soft,
            _ => {}
        });
    }
    Ok(old)
}

/// `getrlimit(2)`.
pub fn getrlimit(call: &mut Call<'_>, resource: u32, limit: UserPointer<Limit>) -> Result<()> {
    limit.write(&change(call, call.process, resource, None)?)
}

/// `setrlimit(2)`.
pub fn setrlimit(call: &mut Call<'_>, resource: u32, limit: UserPointer<Limit>) -> Result<()> {
    let new = limit.read()?;
    change(call, call.process, resource, Some(new)).map(drop)
}

/// `prlimit64(2)`.
pub fn prlimit64(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    resource: u32,
    new: UserPointer<Limit>,
    old: UserPointer<Limit>,
) -> Result<()> {
    let limit = new.read_optional()?;
    let found = match pid.0 {
        0 => call.process.clone(),
        pid => {
            let thread = table::find_thread(pid).ok_or(Errno::ESRCH)?;
            let (own, theirs) = (call.thread.credentials(), thread.credentials());
            let same_user = [theirs.uid, theirs.euid, theirs.suid].iter().all(|uid| *uid == own.uid);
            let same_group = [theirs.gid, theirs.egid, theirs.sgid].iter().all(|gid| *gid == own.gid);
            let is_own = Arc::ptr_eq(thread.process(), call.process);
            let allowed = is_own || (same_user && same_group) || own.may(Capability::SysResource);
            if !allowed {
                return Err(Errno::EPERM);
            }
            thread.process().clone()
        }
    };
    let before = change(call, &found, resource, limit)?;
    old.write_optional(&before)
}

/// `getrusage(2)`.
pub fn getrusage(call: &mut Call<'_>, who: i32, usage: UserPointer<UsageArgument>) -> Result<()> {
    let used = match who {
        0 => call.process.usage(),
        -1 => call.process.children_usage(),
        1 => call.thread.usage(),
        _ => return Err(Errno::EINVAL),
    };
    usage.write(&used.into())
}

/// `times(2)`.
pub fn times(call: &mut Call<'_>, times: UserPointer<ProcessTimes>) -> Result<u64> {
    let ticks = |time: Nanoseconds| time.to_ticks().0.cast_signed();
    if !times.is_null() {
        let (own, children) = (call.process.usage(), call.process.children_usage());
        times.write(&ProcessTimes {
            user: ticks(own.user_time),
            system: ticks(own.system_time),
            children_user: ticks(children.user_time),
            children_system: ticks(children.system_time),
        })?;
    }
    Ok(crate::time::monotonic().to_ticks().0)
}
