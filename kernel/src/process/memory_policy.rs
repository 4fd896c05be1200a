//! A thread's memory policy: `set_mempolicy`, inherited by the threads and processes that it makes and kept over `execve`.

use crate::memory::numa::MemoryPolicy;
use crate::sync::{LockRank, SpinLock};

/// The policy of a thread; `None` is the default.
#[derive(Debug)]
pub struct ThreadMemoryPolicy(SpinLock<Option<MemoryPolicy>>);

impl ThreadMemoryPolicy {
    /// The default.
    #[must_use]
    pub const fn new() -> Self {
        Self(SpinLock::new(LockRank::PageCache, None))
    }
    /// The policy now.
    #[must_use]
    pub fn get(&self) -> Option<MemoryPolicy> {
        *self.0.lock()
    }
    /// Sets it: the thread's own to do.
    pub fn set(&self, policy: Option<MemoryPolicy>) {
        *self.0.lock() = policy;
    }
}

impl Default for ThreadMemoryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::numa::{Mode, ModeFlags, NamedMode, NamedNodes, NodeMask};

    #[test]
    fn a_policy_is_kept_until_another_is_set() {
        let own = ThreadMemoryPolicy::new();
        assert_eq!(own.get(), None);
        let mode = NamedMode::Policy(Mode::Local);
        let local = MemoryPolicy::new(mode, ModeFlags::empty(), &NamedNodes::NONE, NodeMask::from_bits(1)).unwrap();
        own.set(local);
        assert_eq!(own.get(), local);
        own.set(None);
        assert_eq!(own.get(), None);
    }
}
