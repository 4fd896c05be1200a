//! `prctl`, `arch_prctl` and the like: settings of one process or thread.

use super::Call;
use crate::arch::{ContextSwitch, Current, Mmu};
use crate::base::{Errno, Result, VirtualAddress};
use crate::memory::user::{UserPointer, copy_from_user, copy_to_user};
use crate::process::attributes::Dumpable;
use crate::process::dispatch;
use crate::process::signal::Signal;
use crate::process::thread::NAME_LENGTH;
use crate::security::{Capability, Credentials, SecureBits};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// `PR_*` numbers.
mod option {
    pub const SET_PDEATHSIG: i32 = 1;
    pub const GET_PDEATHSIG: i32 = 2;
    pub const GET_DUMPABLE: i32 = 3;
    pub const SET_DUMPABLE: i32 = 4;
    pub const GET_KEEPCAPS: i32 = 7;
    pub const SET_KEEPCAPS: i32 = 8;
    pub const GET_TIMING: i32 = 13;
    pub const SET_TIMING: i32 = 14;
    pub const SET_NAME: i32 = 15;
    pub const GET_NAME: i32 = 16;
    pub const GET_SECCOMP: i32 = 21;
    pub const CAPBSET_READ: i32 = 23;
    pub const CAPBSET_DROP: i32 = 24;
    pub const GET_SECUREBITS: i32 = 27;
    pub const SET_SECUREBITS: i32 = 28;
    pub const SET_TIMERSLACK: i32 = 29;
    pub const GET_TIMERSLACK: i32 = 30;
    pub const SET_MM: i32 = 35;
    pub const SET_CHILD_SUBREAPER: i32 = 36;
    pub const GET_CHILD_SUBREAPER: i32 = 37;
    pub const SET_NO_NEW_PRIVS: i32 = 38;
    pub const GET_NO_NEW_PRIVS: i32 = 39;
    pub const GET_TID_ADDRESS: i32 = 40;
    pub const CAP_AMBIENT: i32 = 47;
}

/// `prctl(2)`.
pub fn prctl(call: &mut Call<'_>, code: i32, second: u64, third: u64, fourth: u64, fifth: u64) -> Result<i64> {
    let thread = call.thread;
    let rest_is_zero = third == 0 && fourth == 0 && fifth == 0;
    match code {
        option::SET_PDEATHSIG => {
            let number = u32::try_from(second).map_err(|_| Errno::EINVAL)?;
            if number != 0 && Signal::new(number).is_none() {
                return Err(Errno::EINVAL);
            }
            thread.parent_death_signal.store(number, Relaxed);
            Ok(0)
        }
        option::GET_PDEATHSIG => store(second, thread.parent_death_signal.load(Relaxed).cast_signed()),
        option::GET_DUMPABLE => Ok(call.process.attributes.dumpable() as i64),
        option::SET_DUMPABLE => {
            let dumpable = match second {
                0 => Dumpable::No,
                1 => Dumpable::Yes,
                _ => return Err(Errno::EINVAL),
            };
            call.process.attributes.set_dumpable(dumpable);
            Ok(0)
        }
        option::SET_NAME => set_name(call, second),
        option::GET_NAME => copy_to_user(VirtualAddress::new(second), &thread.name()).map(|()| 0),
        // Linux without a choice of timing has the statistical one, 0, alone.
        option::GET_TIMING => Ok(0),
        option::SET_TIMING => {
            if second == 0 {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        option::GET_SECCOMP => Ok(0),
        option::SET_TIMERSLACK => {
            // As on Linux, a value that is negative as a `long` asks for the default.
            thread.attributes.set_timer_slack(if second.cast_signed() <= 0 { 0 } else { second });
            Ok(0)
        }
        option::GET_TIMERSLACK => Ok(thread.attributes.timer_slack().cast_signed()),
        option::SET_MM => {
            Err(if thread.credentials().may(Capability::SysResource) { Errno::EINVAL } else { Errno::EPERM })
        }
        option::SET_CHILD_SUBREAPER => {
            call.process.set_subreaper(second != 0);
            Ok(0)
        }
        option::GET_CHILD_SUBREAPER => store(second, i32::from(call.process.is_subreaper())),
        option::GET_TID_ADDRESS => {
            UserPointer::<u64>::new(VirtualAddress::new(second)).write(&thread.clear_child_tid.load(Relaxed))?;
            Ok(0)
        }
        option::GET_NO_NEW_PRIVS if second == 0 && rest_is_zero => Ok(thread.credentials().no_new_privs.into()),
        option::SET_NO_NEW_PRIVS if second == 1 && rest_is_zero => change(call, |credentials| {
            credentials.no_new_privs = true;
            Ok(())
        }),
        option::GET_NO_NEW_PRIVS | option::SET_NO_NEW_PRIVS => Err(Errno::EINVAL),
        option::GET_KEEPCAPS
        | option::SET_KEEPCAPS
        | option::CAPBSET_READ
        | option::CAPBSET_DROP
        | option::GET_SECUREBITS
        | option::SET_SECUREBITS
        | option::CAP_AMBIENT => capabilities(call, code, second, third, fourth == 0 && fifth == 0),
        _ => Err(Errno::EINVAL),
    }
}

fn store(address: u64, value: i32) -> Result<i64> {
    UserPointer::<i32>::new(VirtualAddress::new(address)).write(&value)?;
    Ok(0)
}

fn change(call: &Call<'_>, edit: impl FnOnce(&mut Credentials) -> Result<()>) -> Result<i64> {
    let mut credentials = (*call.thread.credentials()).clone();
    edit(&mut credentials)?;
    call.thread.set_credentials(Arc::new(credentials));
    Ok(0)
}

fn set_name(call: &Call<'_>, address: u64) -> Result<i64> {
    // Up to the NUL and no further: the bytes behind it need not be there.
    let mut name = [0; NAME_LENGTH];
    for (index, byte) in name.iter_mut().enumerate().take(NAME_LENGTH - 1) {
        copy_from_user(core::slice::from_mut(byte), VirtualAddress::new(address.wrapping_add(index as u64)))?;
        if *byte == 0 {
            break;
        }
    }
    call.thread.set_name(&name);
    Ok(0)
}

fn capabilities(call: &Call<'_>, code: i32, second: u64, third: u64, rest_is_zero: bool) -> Result<i64> {
    let credentials = call.thread.credentials();
    match code {
        option::GET_KEEPCAPS => Ok(credentials.securebits.contains(SecureBits::KEEP_CAPS).into()),
        option::SET_KEEPCAPS => {
            if second > 1 {
                return Err(Errno::EINVAL);
            }
            if credentials.securebits.contains(SecureBits::KEEP_CAPS_LOCKED) {
                return Err(Errno::EPERM);
            }
            change(call, |credentials| {
                credentials.securebits.set(SecureBits::KEEP_CAPS, second == 1);
                Ok(())
            })
        }
        option::CAPBSET_READ => {
            Ok(credentials.bounding.contains(Capability::from_number(second).ok_or(Errno::EINVAL)?).into())
        }
        option::CAPBSET_DROP => {
            if !credentials.may(Capability::Setpcap) {
                return Err(Errno::EPERM);
            }
            let capability = Capability::from_number(second).ok_or(Errno::EINVAL)?;
            change(call, |credentials| {
                credentials.bounding = credentials.bounding.without(capability);
                Ok(())
            })
        }
        option::GET_SECUREBITS => Ok(credentials.securebits.bits().into()),
        option::SET_SECUREBITS => change(call, |credentials| {
            credentials.securebits = new_secure_bits(credentials, second)?;
            Ok(())
        }),
        _ if rest_is_zero => change_ambient(call, &credentials, second, third),
        _ => Err(Errno::EINVAL),
    }
}

/// The bits that `PR_SET_SECUREBITS` sets, if the locks and the caller's capabilities let it.
fn new_secure_bits(credentials: &Credentials, value: u64) -> Result<SecureBits> {
    const LOCKS: u32 = 0xaa;
    let old = credentials.securebits.bits();
    let new = u32::try_from(value).ok().and_then(SecureBits::from_bits).ok_or(Errno::EPERM)?;
    let changes_locked = (old & LOCKS) >> 1 & (old ^ new.bits()) != 0;
    let unlocks = old & LOCKS & !new.bits() != 0;
    if changes_locked || unlocks || !credentials.may(Capability::Setpcap) {
        return Err(Errno::EPERM);
    }
    Ok(new)
}

fn change_ambient(call: &Call<'_>, credentials: &Credentials, operation: u64, capability: u64) -> Result<i64> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    if operation == CLEAR_ALL {
        if capability != 0 {
            return Err(Errno::EINVAL);
        }
        return change(call, |credentials| {
            credentials.ambient = crate::security::CapabilitySet::EMPTY;
            Ok(())
        });
    }
    let capability = Capability::from_number(capability).ok_or(Errno::EINVAL)?;
    match operation {
        IS_SET => Ok(credentials.ambient.contains(capability).into()),
        RAISE => {
            if !credentials.permitted.contains(capability)
                || !credentials.inheritable.contains(capability)
                || credentials.securebits.contains(SecureBits::NO_CAP_AMBIENT_RAISE)
            {
                return Err(Errno::EPERM);
            }
            change(call, |credentials| {
                credentials.ambient = credentials.ambient.with(capability);
                Ok(())
            })
        }
        LOWER => change(call, |credentials| {
            credentials.ambient = credentials.ambient.without(capability);
            Ok(())
        }),
        _ => Err(Errno::EINVAL),
    }
}

/// `arch_prctl(2)`, on x86_64 alone.
pub fn arch_prctl(_call: &mut Call<'_>, code: i32, address: VirtualAddress) -> Result<i64> {
    const SET_GS: i32 = 0x1001;
    const SET_FS: i32 = 0x1002;
    const GET_FS: i32 = 0x1003;
    const GET_GS: i32 = 0x1004;
    const GET_CPUID: i32 = 0x1011;
    const SET_CPUID: i32 = 0x1012;
    match code {
        SET_FS if address < Current::USER_END => {
            Current::set_thread_pointer(address.value());
            Ok(0)
        }
        SET_GS if address < Current::USER_END => {
            dispatch::set_second_thread_pointer(address);
            Ok(0)
        }
        SET_FS | SET_GS => Err(Errno::EPERM),
        GET_FS => UserPointer::<u64>::new(address).write(&Current::thread_pointer()).map(|()| 0),
        GET_GS => UserPointer::<u64>::new(address).write(&dispatch::second_thread_pointer()).map(|()| 0),
        // The CPUID instruction works and cannot be made to fault.
        GET_CPUID => Ok(1),
        SET_CPUID => Err(Errno::ENODEV),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_bits_stay() {
        let mut root = Credentials::root();
        assert_eq!(new_secure_bits(&root, 0x3), Ok(SecureBits::NOROOT | SecureBits::NOROOT_LOCKED));
        assert_eq!(new_secure_bits(&root, 0x100), Err(Errno::EPERM));
        root.securebits = SecureBits::NOROOT | SecureBits::NOROOT_LOCKED;
        assert_eq!(new_secure_bits(&root, 0x2), Err(Errno::EPERM));
        assert_eq!(new_secure_bits(&root, 0x1), Err(Errno::EPERM));
        assert!(new_secure_bits(&root, 0x13).is_ok());
        assert_eq!(new_secure_bits(&Credentials::user(1, 1), 0), Err(Errno::EPERM));
    }
}
