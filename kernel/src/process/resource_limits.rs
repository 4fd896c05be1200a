//! Resource limits (`setrlimit(2)`) and what is counted for each user.
//!
//! [`ResourceLimits`] is a value: a process holds it under its own lock and hands a copy to a forked child. What enforces a
//! limit asks [`ResourceLimits::soft`] at the place where the resource grows. Limits that are a user's and not a process's
//! (`RLIMIT_NPROC`, `RLIMIT_SIGPENDING`) are counted in a [`UserAccount`], by [`UserCharge`] values that give back what they took
//! when they are dropped.

use crate::base::{Errno, Result};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// No limit: `RLIM_INFINITY`.
pub const UNLIMITED: u64 = u64::MAX;
/// How many limits there are: `RLIM_NLIMITS`.
pub const RESOURCE_COUNT: usize = 16;
/// The most that `RLIMIT_NOFILE` can be set to, whoever sets it: `fs.nr_open`.
pub const OPEN_FILES_MAX: u64 = 1 << 20;

/// What is limited; numbers are Linux's, the same on both machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Resource {
    /// CPU time in seconds.
    Cpu = 0,
    /// The largest file that a write may make, in bytes.
    FileSize = 1,
    /// Heap and initialised data, in bytes.
    Data = 2,
    /// The initial stack, in bytes.
    Stack = 3,
    /// Core dumps, in bytes.
    Core = 4,
    /// Resident memory: has no effect, as on Linux.
    ResidentSet = 5,
    /// Processes and threads of the user.
    Processes = 6,
    /// One more than the highest file descriptor.
    OpenFiles = 7,
    /// Locked memory, in bytes.
    LockedMemory = 8,
    /// The whole address space, in bytes.
    AddressSpace = 9,
    /// File locks: has no effect, as on Linux.
    Locks = 10,
    /// Queued signals of the user.
    PendingSignals = 11,
    /// Bytes in POSIX message queues.
    MessageQueue = 12,
    /// How far `nice` may raise: 20 less the nice value.
    Nice = 13,
    /// The highest real-time priority.
    RealTimePriority = 14,
    /// Microseconds that a real-time thread may run without sleeping.
    RealTimeTime = 15,
}

impl Resource {
    /// All of them, in order of number.
    pub const ALL: [Self; RESOURCE_COUNT] = [
        Self::Cpu,
        Self::FileSize,
        Self::Data,
        Self::Stack,
        Self::Core,
        Self::ResidentSet,
        Self::Processes,
        Self::OpenFiles,
        Self::LockedMemory,
        Self::AddressSpace,
        Self::Locks,
        Self::PendingSignals,
        Self::MessageQueue,
        Self::Nice,
        Self::RealTimePriority,
        Self::RealTimeTime,
    ];

    /// The resource with Linux's `number`.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A limit: `struct rlimit64`, which is `struct rlimit` on both machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// How high the soft limit may be set.
    pub hard: u64,
}

impl Limit {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { soft: UNLIMITED, hard: UNLIMITED };
    const fn same(value: u64) -> Self {
        Self { soft: value, hard: value }
    }
}

/// Whether the caller holds `CAP_SYS_RESOURCE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// Hard limits may be raised.
    SysResource,
    /// They may not.
    None,
}

/// The limits of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceLimits {
    limits: [Limit; RESOURCE_COUNT],
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl ResourceLimits {
    /// Linux's limits of the first process (`INIT_RLIMITS`), those that depend on the size of memory aside.
    #[must_use]
    pub const fn new() -> Self {
        let none = Limit::UNLIMITED;
        Self {
            limits: [
                none,
                none,
                none,
                Limit { soft: 8 << 20, hard: UNLIMITED },
                Limit { soft: 0, hard: UNLIMITED },
                none,
                Limit::same(0),
                Limit { soft: 1024, hard: 4096 },
                Limit::same(8 << 20),
                none,
                none,
                Limit::same(0),
                Limit::same(819_200),
                Limit::same(0),
                Limit::same(0),
                none,
            ],
        }
    }

    /// The limits of the first process on a machine with `memory` bytes: threads take at most an eighth of it, each a
    /// kernel stack of 16 KiB; a user may have half of them, and as many queued signals.
    #[must_use]
    pub fn for_machine(memory: u64) -> Self {
        let threads = (memory / (8 * 16384)).clamp(20, 0x3fff_ffff);
        let mut limits = Self::new();
        limits.replace(Resource::Processes, Limit::same(threads / 2));
        limits.replace(Resource::PendingSignals, Limit::same(threads / 2));
        limits
    }

    /// A limit.
    #[inline]
    #[must_use]
    pub fn get(&self, resource: Resource) -> Limit {
        self.limits.get(resource as usize).copied().unwrap_or(Limit::UNLIMITED)
    }

    /// What holds now.
    #[inline]
    #[must_use]
    pub fn soft(&self, resource: Resource) -> u64 {
        self.get(resource).soft
    }

    /// Sets a limit, unchecked.
    pub fn replace(&mut self, resource: Resource, limit: Limit) {
        if let Some(slot) = self.limits.get_mut(resource as usize) {
            *slot = limit;
        }
    }

    /// Sets a limit as `setrlimit` does and gives the one before.
    ///
    /// # Errors
    /// `EINVAL` when the soft limit is above the hard one; `EPERM` when the hard limit rises without privilege, or the number of
    /// open files above what the kernel can hold.
    pub fn set(&mut self, resource: Resource, limit: Limit, privilege: Privilege) -> Result<Limit> {
        if limit.soft > limit.hard {
            return Err(Errno::EINVAL);
        }
        if resource == Resource::OpenFiles && limit.hard > OPEN_FILES_MAX {
            return Err(Errno::EPERM);
        }
        let old = self.get(resource);
        if limit.hard > old.hard && privilege == Privilege::None {
            return Err(Errno::EPERM);
        }
        self.replace(resource, limit);
        Ok(old)
    }
}

/// What one user has in use, over all processes with that real user.
#[derive(Debug)]
pub struct UserAccount {
    user: u32,
    processes: AtomicU64,
    pending_signals: AtomicU64,
}

/// Accounts of the users that have any; those that nobody uses any more are swept when another is added.
static ACCOUNTS: SpinLock<Vec<(u32, Weak<UserAccount>)>, InterruptsDisabled> =
    SpinLock::new(LockRank::WaitQueue, Vec::new());

impl UserAccount {
    /// The account of user `user`. A look-up in a short list; keep the result.
    #[must_use]
    pub fn of(user: u32) -> Arc<Self> {
        let mut accounts = ACCOUNTS.lock();
        if let Some(found) = accounts.iter().find(|(id, _)| *id == user).and_then(|(_, account)| account.upgrade()) {
            return found;
        }
        accounts.retain(|(_, account)| account.strong_count() != 0);
        let account = Arc::new(Self { user, processes: AtomicU64::new(0), pending_signals: AtomicU64::new(0) });
        accounts.push((user, Arc::downgrade(&account)));
        account
    }

    /// Whose it is.
    #[must_use]
    pub const fn user(&self) -> u32 {
        self.user
    }

    /// Processes and threads.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.processes.load(Ordering::Relaxed)
    }

    /// Queued signals and timers.
    #[must_use]
    pub fn pending_signals(&self) -> u64 {
        self.pending_signals.load(Ordering::Relaxed)
    }
}

/// Something that is counted for a user.
pub trait Counted: core::fmt::Debug {
    /// Its counter in an account.
    fn counter(account: &UserAccount) -> &AtomicU64;
}

/// Threads, for `RLIMIT_NPROC`.
#[derive(Debug)]
pub struct Processes;
/// Queued signals, for `RLIMIT_SIGPENDING`.
#[derive(Debug)]
pub struct PendingSignals;

impl Counted for Processes {
    fn counter(account: &UserAccount) -> &AtomicU64 {
        &account.processes
    }
}

impl Counted for PendingSignals {
    fn counter(account: &UserAccount) -> &AtomicU64 {
        &account.pending_signals
    }
}

/// One unit taken from a user's account; dropping it gives it back.
#[derive(Debug)]
pub struct UserCharge<T: Counted> {
    account: Arc<UserAccount>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Counted> UserCharge<T> {
    /// Takes a unit, or `None` when the user has `limit` of them already.
    #[must_use]
    pub fn take(account: Arc<UserAccount>, limit: u64) -> Option<Self> {
        if T::counter(&account).fetch_add(1, Ordering::Relaxed) >= limit {
            T::counter(&account).fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self { account, kind: PhantomData })
    }

    /// The account that it was taken from.
    #[must_use]
    pub const fn account(&self) -> &Arc<UserAccount> {
        &self.account
    }
}

impl<T: Counted> Drop for UserCharge<T> {
    fn drop(&mut self) {
        T::counter(&self.account).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_limits_only_sink_without_privilege() {
        let mut limits = ResourceLimits::new();
        let lower = Limit { soft: 100, hard: 200 };
        assert_eq!(limits.set(Resource::OpenFiles, lower, Privilege::None), Ok(Limit { soft: 1024, hard: 4096 }));
        assert_eq!(limits.set(Resource::OpenFiles, Limit::same(201), Privilege::None), Err(Errno::EPERM));
        assert_eq!(
            limits.set(Resource::OpenFiles, Limit { soft: 201, hard: 200 }, Privilege::None),
            Err(Errno::EINVAL)
        );
        assert_eq!(limits.set(Resource::OpenFiles, Limit::same(1 << 20), Privilege::SysResource), Ok(lower));
        assert_eq!(limits.set(Resource::OpenFiles, Limit::UNLIMITED, Privilege::SysResource), Err(Errno::EPERM));
    }

    #[test]
    fn numbers_are_linux_s() {
        assert_eq!(Resource::from_number(7), Some(Resource::OpenFiles));
        assert_eq!(Resource::from_number(16), None);
        assert_eq!(Resource::from_number(u32::MAX), None);
        for (number, resource) in Resource::ALL.iter().enumerate() {
            assert_eq!(*resource as usize, number);
        }
    }

    #[test]
    fn a_charge_comes_back_when_dropped() {
        let account = UserAccount::of(0xfeed_0001);
        let first = UserCharge::<PendingSignals>::take(account.clone(), 1);
        assert!(first.is_some());
        assert!(UserCharge::<PendingSignals>::take(account.clone(), 1).is_none());
        assert!(UserCharge::<Processes>::take(UserAccount::of(0xfeed_0001), 1).is_some());
        drop(first);
        assert_eq!(account.pending_signals(), 0);
    }
}
