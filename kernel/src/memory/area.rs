//! Areas: the ranges of an address space that hold something.
//!
//! [`Area`] is Linux's `vm_area_struct`: a page-aligned range with the same permissions and the same backing throughout.
//! `area_map` keeps them.

use super::numa::{self, MemoryPolicy, Placement};
use super::object::MemoryObject;
use crate::base::{PAGE_SHIFT, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use alloc::sync::Arc;

bitflags::bitflags! {
    /// What memory may be used for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Protection: u32 {
        /// `PROT_READ`.
        const READ = 1;
        /// `PROT_WRITE`.
        const WRITE = 2;
        /// `PROT_EXEC`.
        const EXECUTE = 4;
    }
}

bitflags::bitflags! {
    /// What an area is. The names follow Linux's `VM_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AreaFlags: u32 {
        /// Loads are allowed.
        const READ = 1 << 0;
        /// Stores are allowed.
        const WRITE = 1 << 1;
        /// Instruction fetch is allowed.
        const EXECUTE = 1 << 2;
        /// Stores go to the object and are seen by everybody who maps it.
        const SHARED = 1 << 3;
        /// `mprotect` may add READ.
        const MAY_READ = 1 << 4;
        /// `mprotect` may add WRITE.
        const MAY_WRITE = 1 << 5;
        /// `mprotect` may add EXECUTE.
        const MAY_EXECUTE = 1 << 6;
        /// A fault just below it makes it larger: a stack.
        const GROWS_DOWN = 1 << 7;
        /// `mlock`.
        const LOCKED = 1 << 8;
        /// `mlock2(MLOCK_ONFAULT)`, with LOCKED.
        const LOCK_ON_FAULT = 1 << 9;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 1 << 10;
        /// Counts as committed memory.
        const ACCOUNTED = 1 << 11;
        /// `MADV_DONTFORK`.
        const DONT_FORK = 1 << 12;
        /// `MADV_WIPEONFORK`.
        const WIPE_ON_FORK = 1 << 13;
        /// `MADV_DONTDUMP`.
        const DONT_DUMP = 1 << 14;
        /// `MADV_SEQUENTIAL`.
        const SEQUENTIAL = 1 << 15;
        /// `MADV_RANDOM`.
        const RANDOM = 1 << 16;
        /// `MADV_HUGEPAGE`.
        const HUGE = 1 << 17;
        /// `MADV_NOHUGEPAGE`.
        const NO_HUGE = 1 << 18;
        /// `MADV_MERGEABLE`.
        const MERGEABLE = 1 << 19;
        /// The kernel's own (the vDSO): it is not resized.
        const SPECIAL = 1 << 20;
    }
}

impl AreaFlags {
    /// READ, WRITE and EXECUTE as `protection` has them.
    #[must_use]
    pub fn allowing(protection: Protection) -> Self {
        Self::from_bits_truncate(protection.bits())
    }
    /// What is allowed now.
    #[must_use]
    pub fn protection(self) -> Protection {
        Protection::from_bits_truncate(self.bits())
    }
    /// Whether anything is allowed.
    #[must_use]
    pub fn is_accessible(self) -> bool {
        self.intersects(Self::READ | Self::WRITE | Self::EXECUTE)
    }
    /// Whether its pages, once written, belong to this address space alone.
    #[must_use]
    pub fn is_private_writable(self) -> bool {
        self.contains(Self::WRITE) && !self.contains(Self::SHARED)
    }
}

/// Where an area's pages come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros; pages live in the page tables alone.
    Anonymous,
    /// An object.
    Object {
        /// The object.
        object: Arc<dyn MemoryObject>,
        /// The object's page at the area's start.
        first: u64,
        /// Held by areas whose stores may reach the object; `None` for others.
        writer: Option<Arc<WriterToken>>,
    },
}

/// Says to an object, as long as it lives, that a writable shared mapping of it exists.
pub struct WriterToken {
    object: Arc<dyn MemoryObject>,
}

impl WriterToken {
    /// A token for `object`.
    ///
    /// # Errors
    /// What [`MemoryObject::writer_came`] says.
    pub fn new(object: Arc<dyn MemoryObject>) -> Result<Arc<Self>> {
        object.writer_came()?;
        Ok(Arc::new(Self { object }))
    }
}

impl Drop for WriterToken {
    fn drop(&mut self) {
        self.object.writer_left();
    }
}

impl core::fmt::Debug for Backing {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("Anonymous"),
            Self::Object { object, first, .. } => write!(formatter, "Object({:#x}, {first})", object.identity()),
        }
    }
}

/// A range of an address space with one set of permissions and one backing.
#[derive(Clone, Debug)]
pub struct Area {
    /// The addresses; page-aligned and not empty.
    pub range: VirtualRange,
    /// What it is.
    pub flags: AreaFlags,
    /// Whether private pages (copies of an object's pages, too) were ever made in it: if not, there is nothing
    /// that `fork` must copy.
    pub has_private_pages: bool,
    /// Where its pages come from.
    pub backing: Backing,
    /// Where they are wanted to be; `None` for what the thread wants that brings them in. Memory that is shared has its own
    /// ([`MemoryObject::policies`]), which counts before this one.
    pub policy: Option<Arc<MemoryPolicy>>,
}

impl Area {
    /// The object's page that `address` maps (the page number itself for anonymous memory).
    #[inline]
    #[must_use]
    pub fn page_index(&self, address: VirtualAddress) -> u64 {
        match &self.backing {
            Backing::Anonymous => address.page_number(),
            Backing::Object { first, .. } => {
                first.wrapping_add(address.page_number().wrapping_sub(self.range.start.page_number()))
            }
        }
    }

    /// The policy of the page at `address` as Linux tells it: shared memory's own, or the area's.
    #[must_use]
    pub fn policy_at(&self, address: VirtualAddress) -> Option<MemoryPolicy> {
        match &self.backing {
            Backing::Object { object, .. } if object.policies().is_some() => {
                object.policies().and_then(|policies| policies.find(self.page_index(address)))
            }
            _ => self.policy.as_deref().copied(),
        }
    }

    /// Where a page at `address` that is its own is taken from.
    #[inline]
    #[must_use]
    pub fn placement(&self, address: VirtualAddress) -> Placement {
        numa::placement(|| self.policy_at(address), self.page_index(address))
    }

    /// The number of pages.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.range.length() >> PAGE_SHIFT
    }

    /// Cuts it at `address`, which lies inside; the upper part is returned.
    #[must_use]
    pub fn split_off(&mut self, address: VirtualAddress) -> Self {
        let mut upper = self.clone();
        upper.range.start = address;
        if let Backing::Object { first, .. } = &mut upper.backing {
            *first = self.page_index(address);
        }
        self.range.end = address;
        upper
    }

    /// Moves the start, the end staying: growth of a stack, or a cut at the front.
    pub fn set_start(&mut self, start: VirtualAddress) {
        let index = self.page_index(start);
        if let Backing::Object { first, .. } = &mut self.backing {
            *first = index;
        }
        self.range.start = start;
    }

    /// Whether `next`, which begins where this ends, continues it in every respect.
    #[must_use]
    pub fn continues_with(&self, next: &Self) -> bool {
        if self.range.end != next.range.start || self.flags != next.flags || self.flags.contains(AreaFlags::SPECIAL) {
            return false;
        }
        if self.policy != next.policy {
            return false;
        }
        match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Object { object, .. }, Backing::Object { object: other, first, .. }) => {
                core::ptr::addr_eq(Arc::as_ptr(object), Arc::as_ptr(other))
                    && self.page_index(next.range.start) == *first
            }
            _ => false,
        }
    }

    /// The lowest address that others should keep away from: below a stack there is room to grow.
    #[inline]
    #[must_use]
    pub fn guarded_start(&self) -> u64 {
        if self.flags.contains(AreaFlags::GROWS_DOWN) {
            self.range.start.value().saturating_sub(STACK_GUARD_GAP)
        } else {
            self.range.start.value()
        }
    }
}

/// The distance that a growing stack keeps from what lies below: Linux's `stack_guard_gap`, 256 pages.
pub const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE as u64;
