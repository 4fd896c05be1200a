//! System calls about who a thread is and what it may do: user and group IDs, supplementary groups, capabilities.
//!
//! Credentials belong to the thread, as on Linux; C libraries change all threads of a process by signals among them.

use super::Call;
use super::argument::low_half;
use crate::base::{Errno, Result, VirtualAddress};
use crate::memory::user::UserPointer;
use crate::process::resource_limits::{Processes, UserAccount, UserCharge};
use crate::process::table;
use crate::security::{Capability, CapabilitySet, Credentials, GroupList};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "Leave it as it is."
const UNCHANGED: u32 = u32::MAX;

/// `getuid(2)`.
pub fn getuid(call: &mut Call<'_>) -> Result<u32> {
    Ok(call.thread.credentials().uid)
}

/// `geteuid(2)`.
pub fn geteuid(call: &mut Call<'_>) -> Result<u32> {
    Ok(call.thread.credentials().euid)
}

/// `getgid(2)`.
pub fn getgid(call: &mut Call<'_>) -> Result<u32> {
    Ok(call.thread.credentials().gid)
}

/// `getegid(2)`.
pub fn getegid(call: &mut Call<'_>) -> Result<u32> {
    Ok(call.thread.credentials().egid)
}

/// Makes `new` the thread's credentials, with what follows from other user IDs.
fn commit(call: &Call<'_>, old: &Credentials, mut new: Credentials) {
    new.fix_capabilities(old);
    if new.uid != old.uid {
        call.process.real_user.store(new.uid, Relaxed);
        // Linux lets the change through over the limit as well, and refuses a later execve.
        let charge = UserCharge::<Processes>::take(UserAccount::of(new.uid), u64::MAX);
        call.thread.set_charge(charge.map(Arc::new));
    }
    if new.euid != old.euid || new.egid != old.egid {
        call.thread.parent_death_signal.store(0, Relaxed);
    }
    call.thread.set_credentials(Arc::new(new));
}

/// `setuid(2)`.
pub fn setuid(call: &mut Call<'_>, uid: u32) -> Result<()> {
    if uid == UNCHANGED {
        return Err(Errno::EINVAL);
    }
    let old = call.thread.credentials();
    let mut new = (*old).clone();
    if old.may(Capability::Setuid) {
        new.uid = uid;
        new.suid = uid;
    } else if uid != old.uid && uid != old.suid {
        return Err(Errno::EPERM);
    }
    new.euid = uid;
    new.fsuid = uid;
    commit(call, &old, new);
    Ok(())
}

/// `setgid(2)`.
pub fn setgid(call: &mut Call<'_>, gid: u32) -> Result<()> {
    if gid == UNCHANGED {
        return Err(Errno::EINVAL);
    }
    let old = call.thread.credentials();
    let mut new = (*old).clone();
    if old.may(Capability::Setgid) {
        new.gid = gid;
        new.sgid = gid;
    } else if gid != old.gid && gid != old.sgid {
        return Err(Errno::EPERM);
    }
    new.egid = gid;
    new.fsgid = gid;
    commit(call, &old, new);
    Ok(())
}

/// Whether an ID may be taken without privilege: it is unchanged or one of those held.
fn is_held(id: u32, held: &[u32]) -> bool {
    id == UNCHANGED || held.contains(&id)
}

fn set(target: &mut u32, id: u32) {
    if id != UNCHANGED {
        *target = id;
    }
}

/// `setreuid(2)`.
pub fn setreuid(call: &mut Call<'_>, uid: u32, euid: u32) -> Result<()> {
    let old = call.thread.credentials();
    let allowed = is_held(uid, &[old.uid, old.euid]) && is_held(euid, &[old.uid, old.euid, old.suid]);
    if !allowed && !old.may(Capability::Setuid) {
        return Err(Errno::EPERM);
    }
    let mut new = (*old).clone();
    set(&mut new.uid, uid);
    set(&mut new.euid, euid);
    if uid != UNCHANGED || euid != UNCHANGED && euid != old.uid {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    commit(call, &old, new);
    Ok(())
}

/// `setregid(2)`.
pub fn setregid(call: &mut Call<'_>, gid: u32, egid: u32) -> Result<()> {
    let old = call.thread.credentials();
    let allowed = is_held(gid, &[old.gid, old.egid]) && is_held(egid, &[old.gid, old.egid, old.sgid]);
    if !allowed && !old.may(Capability::Setgid) {
        return Err(Errno::EPERM);
    }
    let mut new = (*old).clone();
    set(&mut new.gid, gid);
    set(&mut new.egid, egid);
    if gid != UNCHANGED || egid != UNCHANGED && egid != old.gid {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    commit(call, &old, new);
    Ok(())
}

/// `setresuid(2)`.
pub fn setresuid(call: &mut Call<'_>, uid: u32, euid: u32, suid: u32) -> Result<()> {
    let old = call.thread.credentials();
    let held = [old.uid, old.euid, old.suid];
    if ![uid, euid, suid].iter().all(|id| is_held(*id, &held)) && !old.may(Capability::Setuid) {
        return Err(Errno::EPERM);
    }
    let mut new = (*old).clone();
    set(&mut new.uid, uid);
    set(&mut new.euid, euid);
    set(&mut new.suid, suid);
    new.fsuid = new.euid;
    commit(call, &old, new);
    Ok(())
}

/// `setresgid(2)`.
pub fn setresgid(call: &mut Call<'_>, gid: u32, egid: u32, sgid: u32) -> Result<()> {
    let old = call.thread.credentials();
    let held = [old.gid, old.egid, old.sgid];
    if ![gid, egid, sgid].iter().all(|id| is_held(*id, &held)) && !old.may(Capability::Setgid) {
        return Err(Errno::EPERM);
    }
    let mut new = (*old).clone();
    set(&mut new.gid, gid);
    set(&mut new.egid, egid);
    set(&mut new.sgid, sgid);
    new.fsgid = new.egid;
    commit(call, &old, new);
    Ok(())
}

/// `getresuid(2)`.
pub fn getresuid(
    call: &mut Call<'_>,
    real: UserPointer<u32>,
    effective: UserPointer<u32>,
    saved: UserPointer<u32>,
) -> Result<()> {
    let credentials = call.thread.credentials();
    real.write(&credentials.uid)?;
    effective.write(&credentials.euid)?;
    saved.write(&credentials.suid)
}

/// `getresgid(2)`.
pub fn getresgid(
    call: &mut Call<'_>,
    real: UserPointer<u32>,
    effective: UserPointer<u32>,
    saved: UserPointer<u32>,
) -> Result<()> {
    let credentials = call.thread.credentials();
    real.write(&credentials.gid)?;
    effective.write(&credentials.egid)?;
    saved.write(&credentials.sgid)
}

/// `setfsuid(2)`: gives the old one, whether it worked or not.
pub fn setfsuid(call: &mut Call<'_>, uid: u32) -> Result<u32> {
    let old = call.thread.credentials();
    let held = [old.uid, old.euid, old.suid, old.fsuid];
    if uid != old.fsuid && uid != UNCHANGED && (held.contains(&uid) || old.may(Capability::Setuid)) {
        let mut new = (*old).clone();
        new.fsuid = uid;
        new.fix_fs_capabilities(&old);
        call.thread.set_credentials(Arc::new(new));
    }
    Ok(old.fsuid)
}

/// `setfsgid(2)`: gives the old one, whether it worked or not.
pub fn setfsgid(call: &mut Call<'_>, gid: u32) -> Result<u32> {
    let old = call.thread.credentials();
    let held = [old.gid, old.egid, old.sgid, old.fsgid];
    if gid != old.fsgid && gid != UNCHANGED && (held.contains(&gid) || old.may(Capability::Setgid)) {
        let mut new = (*old).clone();
        new.fsgid = gid;
        call.thread.set_credentials(Arc::new(new));
    }
    Ok(old.fsgid)
}

/// `getgroups(2)`.
pub fn getgroups(call: &mut Call<'_>, size: i32, list: UserPointer<u32>) -> Result<usize> {
    let credentials = call.thread.credentials();
    let groups = credentials.groups.as_slice();
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size != 0 {
        if groups.len() > size {
            return Err(Errno::EINVAL);
        }
        list.write_slice(groups)?;
    }
    Ok(groups.len())
}

/// `setgroups(2)`.
pub fn setgroups(call: &mut Call<'_>, size: i32, list: UserPointer<u32>) -> Result<()> {
    let size = usize::try_from(size).ok().filter(|size| *size <= GroupList::MAXIMUM).ok_or(Errno::EINVAL)?;
    let groups = if size == 0 { GroupList::default() } else { GroupList::new(list.read_vector(size)?) };
    let mut new = (*call.thread.credentials()).clone();
    new.groups = groups;
    call.thread.set_credentials(Arc::new(new));
    Ok(())
}

/// `struct __user_cap_header_struct`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, half of each set.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CapabilityHalf {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// How many halves a version has; an unknown one is answered with the newest.
fn halves(header: UserPointer<CapabilityHeader>) -> Result<(CapabilityHeader, usize)> {
    const VERSION_1: u32 = 0x1998_0330;
    const VERSION_2: u32 = 0x2007_1026;
    const VERSION_3: u32 = 0x2008_0522;
    let given = header.read()?;
    match given.version {
        VERSION_1 => Ok((given, 1)),
        VERSION_2 | VERSION_3 => Ok((given, 2)),
        _ => {
            header.write(&CapabilityHeader { version: VERSION_3, ..given })?;
            Err(Errno::EINVAL)
        }
    }
}

fn low(set: CapabilitySet) -> u32 {
    low_half(set.bits())
}

fn high(set: CapabilitySet) -> u32 {
    (set.bits() >> 32) as u32
}

/// `capget(2)`.
pub fn capget(call: &mut Call<'_>, header: UserPointer<CapabilityHeader>, data: VirtualAddress) -> Result<()> {
    let (given, count) = match halves(header) {
        // Asking for the version alone is no error.
        Err(Errno::EINVAL) if data.value() == 0 => return Ok(()),
        other => other?,
    };
    if given.pid < 0 {
        return Err(Errno::EINVAL);
    }
    let credentials = match given.pid {
        0 => call.thread.credentials(),
        pid => table::find_thread(pid).ok_or(Errno::ESRCH)?.credentials(),
    };
    if data.value() == 0 {
        return Ok(());
    }
    let part = |half: fn(CapabilitySet) -> u32| CapabilityHalf {
        effective: half(credentials.effective),
        permitted: half(credentials.permitted),
        inheritable: half(credentials.inheritable),
    };
    let both = [part(low), part(high)];
    UserPointer::<CapabilityHalf>::new(data).write_slice(both.get(..count).unwrap_or(&both))
}

/// `capset(2)`.
pub fn capset(
    call: &mut Call<'_>,
    header: UserPointer<CapabilityHeader>,
    data: UserPointer<CapabilityHalf>,
) -> Result<()> {
    let (given, count) = halves(header)?;
    if given.pid != 0 && given.pid != call.thread.tid() {
        return Err(Errno::EPERM);
    }
    let both = data.read_vector(count)?;
    let whole = |half: fn(&CapabilityHalf) -> u32| {
        let bits = both.iter().rev().fold(0u64, |bits, part| bits << 32 | u64::from(half(part)));
        CapabilitySet::from_bits(bits)
    };
    let effective = whole(|part| part.effective);
    let permitted = whole(|part| part.permitted);
    let inheritable = whole(|part| part.inheritable);
    let old = call.thread.credentials();
    let may_inherit = old.inheritable.union(old.bounding);
    let may_inherit_unprivileged = old.inheritable.union(old.permitted);
    let allowed = (old.may(Capability::Setpcap) || inheritable.is_subset_of(may_inherit_unprivileged))
        && inheritable.is_subset_of(may_inherit)
        && permitted.is_subset_of(old.permitted)
        && effective.is_subset_of(permitted);
    if !allowed {
        return Err(Errno::EPERM);
    }
    let mut new = (*old).clone();
    new.effective = effective;
    new.permitted = permitted;
    new.inheritable = inheritable;
    new.ambient = old.ambient.intersection(permitted.intersection(inheritable));
    call.thread.set_credentials(Arc::new(new));
    Ok(())
}
