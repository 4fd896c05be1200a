//! Users, groups, capabilities.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::credential::{self, CapabilityHalf, CapabilityHeader};

crate::system_call_rows! {
    /// Gives the real user ID. Never fails.
    getuid { x86_64: 102, aarch64: 174, needs: Nothing, support: Full } = credential::getuid;
    /// Gives the effective user ID. Never fails.
    geteuid { x86_64: 107, aarch64: 175, needs: Nothing, support: Full } = credential::geteuid;
    /// Gives the real group ID. Never fails.
    getgid { x86_64: 104, aarch64: 176, needs: Nothing, support: Full } = credential::getgid;
    /// Gives the effective group ID. Never fails.
    getegid { x86_64: 108, aarch64: 177, needs: Nothing, support: Full } = credential::getegid;
    /// Sets the effective user ID, with privilege all three. EPERM: not one of the caller's. EINVAL: -1.
    setuid { x86_64: 105, aarch64: 146, needs: Conditional(&[Capability::Setuid]), support: Full } = credential::setuid, (uid: u32);
    /// Sets the effective group ID, with privilege all three. EPERM: not one of the caller's. EINVAL: -1.
    setgid { x86_64: 106, aarch64: 144, needs: Conditional(&[Capability::Setgid]), support: Full } = credential::setgid, (gid: u32);
    /// Sets real and effective user ID. EPERM.
    setreuid { x86_64: 113, aarch64: 145, needs: Conditional(&[Capability::Setuid]), support: Full } = credential::setreuid,
        (uid: u32 as UserId, euid: u32 as UserId);
    /// Sets real and effective group ID. EPERM.
    setregid { x86_64: 114, aarch64: 143, needs: Conditional(&[Capability::Setgid]), support: Full } = credential::setregid,
        (gid: u32 as UserId, egid: u32 as UserId);
    /// Sets real, effective and saved user ID. EPERM.
    setresuid { x86_64: 117, aarch64: 147, needs: Conditional(&[Capability::Setuid]), support: Full } = credential::setresuid,
        (uid: u32 as UserId, euid: u32 as UserId, suid: u32 as UserId);
    /// Sets real, effective and saved group ID. EPERM.
    setresgid { x86_64: 119, aarch64: 149, needs: Conditional(&[Capability::Setgid]), support: Full } = credential::setresgid,
        (gid: u32 as UserId, egid: u32 as UserId, sgid: u32 as UserId);
    /// Shows real, effective and saved user ID. EFAULT: memory.
    getresuid { x86_64: 118, aarch64: 148, needs: Nothing, support: Full } = credential::getresuid,
        (real: UserPointer<u32>, effective: UserPointer<u32>, saved: UserPointer<u32>);
    /// Shows real, effective and saved group ID. EFAULT: memory.
    getresgid { x86_64: 120, aarch64: 150, needs: Nothing, support: Full } = credential::getresgid,
        (real: UserPointer<u32>, effective: UserPointer<u32>, saved: UserPointer<u32>);
    /// Sets the user ID for file access and gives the old one.
    setfsuid { x86_64: 122, aarch64: 151, needs: Conditional(&[Capability::Setuid]), support: Full } = credential::setfsuid, (uid: u32);
    /// Sets the group ID for file access and gives the old one.
    setfsgid { x86_64: 123, aarch64: 152, needs: Conditional(&[Capability::Setgid]), support: Full } = credential::setfsgid, (gid: u32);
    /// Shows the supplementary groups. EINVAL: the list is too short. EFAULT: memory.
    getgroups { x86_64: 115, aarch64: 158, needs: Nothing, support: Full } = credential::getgroups, (size: i32, list: UserPointer<u32>);
    /// Sets the supplementary groups. EPERM: no CAP_SETGID. EINVAL: more than 65536. EFAULT: memory.
    setgroups { x86_64: 116, aarch64: 159, needs: Always(Capability::Setgid), support: Full } = credential::setgroups,
        (size: i32, list: UserPointer<u32>);
    /// Shows a thread's capability sets. EINVAL: the version, which is answered with the newest. ESRCH. EFAULT: memory.
    capget { x86_64: 125, aarch64: 90, needs: Nothing, support: Full } = credential::capget,
        (header: UserPointer<CapabilityHeader>, data: VirtualAddress);
    /// Sets the thread's capability sets. EPERM: more than it may have, or another thread. EINVAL: the version. EFAULT: memory.
    capset { x86_64: 126, aarch64: 91, needs: Conditional(&[Capability::Setpcap]), support: Full } = credential::capset,
        (header: UserPointer<CapabilityHeader>, data: UserPointer<CapabilityHalf>);
}
