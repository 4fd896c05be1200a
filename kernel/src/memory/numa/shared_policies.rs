//! The policies of shared memory: by ranges of pages, for everybody who maps them.
//!
//! [`SharedPolicies`] is what `mbind` on a shared mapping (or on any mapping of a tmpfs file) changes. Invariant: ranges are disjoint and not empty.
//! Its lock is a leaf of the page cache's rank; nothing but the heap is called under it.

use super::MemoryPolicy;
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    first: u64,
    end: u64,
    policy: MemoryPolicy,
}

/// Policies by page number.
pub struct SharedPolicies {
    /// Whether there is any: what is asked for each new page.
    exist: AtomicBool,
    entries: SpinLock<Vec<Entry>>,
}

impl SharedPolicies {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { exist: AtomicBool::new(false), entries: SpinLock::new(LockRank::PageCache, Vec::new()) }
    }

    /// The policy of page `index`.
    #[must_use]
    pub fn find(&self, index: u64) -> Option<MemoryPolicy> {
        if !self.exist.load(Relaxed) {
            return None;
        }
        let entries = self.entries.lock();
        entries.iter().find(|entry| (entry.first..entry.end).contains(&index)).map(|entry| entry.policy)
    }

    /// Sets the policy of the pages `first..end`; `None` takes it away.
    ///
    /// # Errors
    /// `ENOMEM`; nothing was changed.
    pub fn set(&self, first: u64, end: u64, policy: Option<MemoryPolicy>) -> Result<()> {
        if first >= end {
            return Ok(());
        }
        let mut entries = self.entries.lock();
        // One is cut in two at most, and one is new.
        entries.try_reserve(2).map_err(|_| Errno::ENOMEM)?;
        let mut index = 0;
        while let Some(entry) = entries.get(index).copied() {
            if entry.end <= first || end <= entry.first {
                index += 1;
                continue;
            }
            entries.remove(index);
            for part in [Entry { end: first, ..entry }, Entry { first: end, ..entry }] {
                if part.first < part.end && part.first >= entry.first && part.end <= entry.end {
                    entries.insert(index, part);
                    index += 1;
                }
            }
        }
        entries.extend(policy.map(|policy| Entry { first, end, policy }));
        self.exist.store(!entries.is_empty(), Relaxed);
        Ok(())
    }
}

impl Default for SharedPolicies {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for SharedPolicies {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("SharedPolicies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::numa::{Mode, ModeFlags, NamedMode, NamedNodes, NodeMask};
    use proptest::prelude::*;

    fn policy(node: u8) -> MemoryPolicy {
        let mut named = NamedNodes::NONE;
        named.0[0] = 1 << node;
        let allowed = NodeMask::from_bits(0xff);
        MemoryPolicy::new(NamedMode::Policy(Mode::Bind), ModeFlags::empty(), &named, allowed).unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn the_last_word_counts_for_each_page(changes in prop::collection::vec((0u64..40, 0u64..12, 0u8..5), 0..30)) {
            let policies = SharedPolicies::new();
            let mut model = [None; 60];
            for (first, count, node) in changes {
                let wanted = (node < 4).then(|| policy(node));
                policies.set(first, first + count, wanted).unwrap();
                model[first as usize..(first + count) as usize].fill(wanted);
            }
            for (index, expected) in model.iter().enumerate() {
                prop_assert_eq!(policies.find(index as u64), *expected);
            }
        }
    }
}
