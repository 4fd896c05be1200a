//! Linux's capabilities and sets of them (capabilities(7)).

use crate::base::BitSet;
use crate::base::bit_set::set_operations;

macro_rules! capabilities {
    ($($name:ident = $value:literal, $linux:literal, $text:literal;)*) => {
        /// One privilege that root is divided into.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Capability {
            $(#[doc = $text] $name = $value,)*
        }

        impl Capability {
            /// Every capability, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// The name as Linux spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $linux,)* }
            }
        }
    };
}

capabilities! {
    Chown = 0, "CAP_CHOWN", "Change the owner and group of files.";
    DacOverride = 1, "CAP_DAC_OVERRIDE", "Pass file permission checks.";
    DacReadSearch = 2, "CAP_DAC_READ_SEARCH", "Pass read checks on files and read and search checks on directories.";
    Fowner = 3, "CAP_FOWNER", "Pass checks that want the file's owner.";
    Fsetid = 4, "CAP_FSETID", "Keep set-user-ID and set-group-ID bits when a file changes.";
    Kill = 5, "CAP_KILL", "Send signals to any process.";
    Setgid = 6, "CAP_SETGID", "Change group IDs.";
    Setuid = 7, "CAP_SETUID", "Change user IDs.";
    Setpcap = 8, "CAP_SETPCAP", "Change the bounding set and securebits.";
    LinuxImmutable = 9, "CAP_LINUX_IMMUTABLE", "Set the append-only and immutable flags.";
    NetBindService = 10, "CAP_NET_BIND_SERVICE", "Bind to ports below 1024.";
    NetBroadcast = 11, "CAP_NET_BROADCAST", "Unused.";
    NetAdmin = 12, "CAP_NET_ADMIN", "Administer the network.";
    NetRaw = 13, "CAP_NET_RAW", "Use raw sockets.";
    IpcLock = 14, "CAP_IPC_LOCK", "Lock memory.";
    IpcOwner = 15, "CAP_IPC_OWNER", "Pass permission checks on System V IPC objects.";
    SysModule = 16, "CAP_SYS_MODULE", "Load kernel modules.";
    SysRawio = 17, "CAP_SYS_RAWIO", "Use I/O ports.";
    SysChroot = 18, "CAP_SYS_CHROOT", "Change the root directory.";
    SysPtrace = 19, "CAP_SYS_PTRACE", "Trace any process.";
    SysPacct = 20, "CAP_SYS_PACCT", "Switch process accounting.";
    SysAdmin = 21, "CAP_SYS_ADMIN", "Administer the system: mount, set the host name and much else.";
    SysBoot = 22, "CAP_SYS_BOOT", "Reboot.";
    SysNice = 23, "CAP_SYS_NICE", "Raise priority and change others' scheduling.";
    SysResource = 24, "CAP_SYS_RESOURCE", "Exceed resource limits.";
    SysTime = 25, "CAP_SYS_TIME", "Set the clock.";
    SysTtyConfig = 26, "CAP_SYS_TTY_CONFIG", "Configure terminals, hang up.";
    Mknod = 27, "CAP_MKNOD", "Make device files.";
    Lease = 28, "CAP_LEASE", "Take leases on any file.";
    AuditWrite = 29, "CAP_AUDIT_WRITE", "Write to the audit log.";
    AuditControl = 30, "CAP_AUDIT_CONTROL", "Configure auditing.";
    Setfcap = 31, "CAP_SETFCAP", "Set file capabilities.";
    MacOverride = 32, "CAP_MAC_OVERRIDE", "Override mandatory access control.";
    MacAdmin = 33, "CAP_MAC_ADMIN", "Configure mandatory access control.";
    Syslog = 34, "CAP_SYSLOG", "Privileged use of the kernel log.";
    WakeAlarm = 35, "CAP_WAKE_ALARM", "Set timers that wake the system.";
    BlockSuspend = 36, "CAP_BLOCK_SUSPEND", "Prevent suspension.";
    AuditRead = 37, "CAP_AUDIT_READ", "Read the audit log.";
    Perfmon = 38, "CAP_PERFMON", "Use performance monitoring.";
    Bpf = 39, "CAP_BPF", "Use privileged BPF operations.";
    CheckpointRestore = 40, "CAP_CHECKPOINT_RESTORE", "Checkpoint and restore.";
}

impl Capability {
    /// The capability numbered `number`, as user space names it.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index)).copied()
    }
}

/// A set of capabilities: bit n is capability n.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CapabilitySet(BitSet<1>);

set_operations!(CapabilitySet of Capability);

impl CapabilitySet {
    /// Every capability that there is.
    pub const FULL: Self = Self(BitSet::below(Capability::ALL.len() as u32));

    /// The set with these bits; those that name nothing are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(BitSet::from_words([bits])).intersection(Self::FULL)
    }
    /// `capability` alone.
    #[must_use]
    pub const fn single(capability: Capability) -> Self {
        Self(BitSet::from_words([1 << capability as u8]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_the_full_set_is_linux_s() {
        for (number, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(*capability as usize, number);
        }
        assert_eq!(CapabilitySet::FULL.bits(), 0x1ff_ffff_ffff);
        assert_eq!(Capability::from_number(41), None);
        assert_eq!(Capability::from_number(40), Some(Capability::CheckpointRestore));
    }

    #[test]
    fn set_operations() {
        let set = CapabilitySet::EMPTY.with(Capability::Kill).with(Capability::Chown);
        assert!(set.contains(Capability::Kill) && !set.contains(Capability::Setuid));
        assert!(set.is_subset_of(CapabilitySet::FULL) && !CapabilitySet::FULL.is_subset_of(set));
        assert_eq!(set.without(Capability::Kill).bits(), 1);
    }
}
