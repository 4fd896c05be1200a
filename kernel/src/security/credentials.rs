//! A process's identity: user and group IDs, capability sets, securebits (credentials(7), capabilities(7)).
//!
//! A value, changed on a copy. The two rules that tie IDs to capabilities are here: what changing user IDs does to them
//! ([`Credentials::fix_capabilities`]) and what `execve` does ([`Credentials::prepare_exec`]).

use super::capability::{Capability, CapabilitySet};
use alloc::sync::Arc;
use alloc::vec::Vec;

bitflags::bitflags! {
    /// How user ID 0 and capabilities go together (`PR_SET_SECUREBITS`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SecureBits: u32 {
        /// User ID 0 gains nothing from `execve`.
        const NOROOT = 1 << 0;
        /// `NOROOT` cannot be changed.
        const NOROOT_LOCKED = 1 << 1;
        /// Changing user IDs leaves capabilities alone.
        const NO_SETUID_FIXUP = 1 << 2;
        /// `NO_SETUID_FIXUP` cannot be changed.
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Permitted capabilities survive giving up user ID 0 (`PR_SET_KEEPCAPS`).
        const KEEP_CAPS = 1 << 4;
        /// `KEEP_CAPS` cannot be changed.
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// Ambient capabilities cannot be raised.
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// `NO_CAP_AMBIENT_RAISE` cannot be changed.
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}

/// Supplementary groups, sorted; shared between copies of the credentials.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupList(Option<Arc<[u32]>>);

impl GroupList {
    /// The most groups that `setgroups` takes.
    pub const MAXIMUM: usize = 65_536;

    /// The list of `groups`.
    #[must_use]
    pub fn new(mut groups: Vec<u32>) -> Self {
        groups.sort_unstable();
        Self((!groups.is_empty()).then(|| groups.into()))
    }
    /// The groups in rising order.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        self.0.as_deref().unwrap_or_default()
    }
    /// Whether `gid` is in it.
    #[must_use]
    pub fn contains(&self, gid: u32) -> bool {
        self.as_slice().binary_search(&gid).is_ok()
    }
}

/// The identity that permission checks ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Real user ID.
    pub uid: u32,
    /// Effective user ID.
    pub euid: u32,
    /// Saved set-user-ID.
    pub suid: u32,
    /// User ID for file access; follows the effective one unless `setfsuid` says otherwise.
    pub fsuid: u32,
    /// Real group ID.
    pub gid: u32,
    /// Effective group ID.
    pub egid: u32,
    /// Saved set-group-ID.
    pub sgid: u32,
    /// Group ID for file access.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: GroupList,
    /// Kept across `execve` for files that have them inheritable too.
    pub inheritable: CapabilitySet,
    /// What may be made effective.
    pub permitted: CapabilitySet,
    /// What counts in checks.
    pub effective: CapabilitySet,
    /// What `execve` can give at most.
    pub bounding: CapabilitySet,
    /// Kept across `execve` of plain files.
    pub ambient: CapabilitySet,
    /// See [`SecureBits`].
    pub securebits: SecureBits,
    /// Set for good: `execve` grants nothing (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
}

/// What a file that is executed asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExecIdentity {
    /// The owner of a set-user-ID file on a mount that honours it.
    pub set_uid: Option<u32>,
    /// The group of a set-group-ID file on a mount that honours it.
    pub set_gid: Option<u32>,
}

impl Credentials {
    /// What init starts with: user 0, every capability permitted and effective, none inheritable.
    #[must_use]
    pub fn root() -> Self {
        Self {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: GroupList::default(),
            inheritable: CapabilitySet::EMPTY,
            permitted: CapabilitySet::FULL,
            effective: CapabilitySet::FULL,
            bounding: CapabilitySet::FULL,
            ambient: CapabilitySet::EMPTY,
            securebits: SecureBits::empty(),
            no_new_privs: false,
        }
    }

    /// A plain user without capabilities.
    #[must_use]
    pub fn user(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            permitted: CapabilitySet::EMPTY,
            effective: CapabilitySet::EMPTY,
            ..Self::root()
        }
    }

    /// Whether `capability` is effective.
    #[must_use]
    #[inline]
    pub fn may(&self, capability: Capability) -> bool {
        self.effective.contains(capability)
    }

    /// Whether the real user may look into a process with the credentials `target` (`ptrace_may_access` with `PTRACE_MODE_REALCREDS`): it is the same on all three
    /// of real, effective and saved numbers and may do no less, or has `CAP_SYS_PTRACE`.
    #[must_use]
    pub fn may_trace(&self, target: &Self) -> bool {
        let same_user = [target.euid, target.suid, target.uid].iter().all(|uid| *uid == self.uid);
        let same_group = [target.egid, target.sgid, target.gid].iter().all(|gid| *gid == self.gid);
        same_user && same_group && target.permitted.is_subset_of(self.permitted) || self.may(Capability::SysPtrace)
    }

    /// Whether `gid` is the group for file access or a supplementary one.
    #[must_use]
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(gid)
    }

    /// Whether `gid` is the effective group or a supplementary one.
    #[must_use]
    pub fn is_in_effective_group(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(gid)
    }

    /// The identity with real in place of effective IDs, as `access(2)` wants it.
    #[must_use]
    pub fn as_real(&self) -> Self {
        let mut real = self.clone();
        real.fsuid = self.uid;
        real.fsgid = self.gid;
        if !self.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            real.effective = if self.uid == 0 { self.permitted } else { CapabilitySet::EMPTY };
        }
        real
    }

    /// Adapts the capability sets after user IDs changed from those of `old` (`setuid` and its kin): leaving user 0
    /// gives capabilities up, and the effective set follows the effective user ID.
    pub fn fix_capabilities(&mut self, old: &Self) {
        if self.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let had_root = old.uid == 0 || old.euid == 0 || old.suid == 0;
        let has_root = self.uid == 0 || self.euid == 0 || self.suid == 0;
        if had_root && !has_root {
            if !self.securebits.contains(SecureBits::KEEP_CAPS) {
                self.permitted = CapabilitySet::EMPTY;
                self.effective = CapabilitySet::EMPTY;
            }
            self.ambient = CapabilitySet::EMPTY;
        }
        if old.euid == 0 && self.euid != 0 {
            self.effective = CapabilitySet::EMPTY;
        }
        if old.euid != 0 && self.euid == 0 {
            self.effective = self.permitted;
        }
    }

    /// Adapts the capabilities of file access after `fsuid` changed from that of `old` (`setfsuid`).
    pub fn fix_fs_capabilities(&mut self, old: &Self) {
        const FS: [Capability; 8] = [
            Capability::Chown,
            Capability::DacOverride,
            Capability::DacReadSearch,
            Capability::Fowner,
            Capability::Fsetid,
            Capability::LinuxImmutable,
            Capability::Mknod,
            Capability::MacOverride,
        ];
        if self.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let fs = FS.iter().fold(CapabilitySet::EMPTY, |set, capability| set.with(*capability));
        if old.fsuid == 0 && self.fsuid != 0 {
            self.effective = self.effective.difference(fs);
        }
        if old.fsuid != 0 && self.fsuid == 0 {
            self.effective = self.effective.union(self.permitted.intersection(fs));
        }
    }

    /// The credentials of the program that `execve` starts from a file with identity `file`, and whether it runs
    /// "secure" (`AT_SECURE`: it has more than its caller).
    #[must_use]
    pub fn prepare_exec(&self, file: ExecIdentity) -> (Self, bool) {
        let mut new = self.clone();
        if !self.no_new_privs {
            if let Some(uid) = file.set_uid {
                new.euid = uid;
            }
            if let Some(gid) = file.set_gid {
                new.egid = gid;
            }
        }
        new.suid = new.euid;
        new.fsuid = new.euid;
        new.sgid = new.egid;
        new.fsgid = new.egid;
        let changed_identity = new.euid != self.euid || new.egid != self.egid;
        if changed_identity {
            new.ambient = CapabilitySet::EMPTY;
        }
        let root_counts = !self.securebits.contains(SecureBits::NOROOT);
        let mut effective_by_root = false;
        new.permitted = CapabilitySet::EMPTY;
        if root_counts && (new.euid == 0 || new.uid == 0) {
            new.permitted = self.bounding.union(self.inheritable);
            effective_by_root = new.euid == 0;
        }
        new.permitted = new.permitted.union(new.ambient);
        new.effective = if effective_by_root { new.permitted } else { new.ambient };
        new.securebits.remove(SecureBits::KEEP_CAPS);
        let secure = new.uid != new.euid
            || new.gid != new.egid
            || (new.uid != 0 && effective_by_root && !new.effective.is_subset_of(new.ambient));
        (new, secure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_root_loses_capabilities_unless_kept() {
        let old = Credentials::root();
        let mut new = old.clone();
        (new.uid, new.euid, new.suid, new.fsuid) = (5, 5, 5, 5);
        let mut kept = new.clone();
        new.fix_capabilities(&old);
        assert!(new.permitted.is_empty() && new.effective.is_empty());
        kept.securebits.insert(SecureBits::KEEP_CAPS);
        kept.fix_capabilities(&old);
        assert_eq!(kept.permitted, CapabilitySet::FULL);
        assert!(kept.effective.is_empty());
    }

    #[test]
    fn a_set_user_id_program_gains_root_and_runs_secure() {
        let user = Credentials::user(1000, 1000);
        let (new, secure) = user.prepare_exec(ExecIdentity { set_uid: Some(0), set_gid: None });
        assert_eq!((new.uid, new.euid, new.suid), (1000, 0, 0));
        assert!(secure && new.may(Capability::SysAdmin));
        let bound = Credentials { no_new_privs: true, ..user };
        let (new, secure) = bound.prepare_exec(ExecIdentity { set_uid: Some(0), set_gid: None });
        assert_eq!(new.euid, 1000);
        assert!(!secure && new.effective.is_empty());
    }

    #[test]
    fn root_stays_root_across_exec() {
        let (new, secure) = Credentials::root().prepare_exec(ExecIdentity::default());
        assert_eq!(new, Credentials::root());
        assert!(!secure);
    }

    #[test]
    fn groups_and_real_identity() {
        let mut user = Credentials::user(0, 7);
        user.groups = GroupList::new(vec![30, 10]);
        assert!(user.is_in_group(7) && user.is_in_group(10) && !user.is_in_group(8));
        let mut set_uid = Credentials::root();
        (set_uid.uid, set_uid.gid) = (9, 9);
        let real = set_uid.as_real();
        assert!(real.fsuid == 9 && real.effective.is_empty());
    }
}
