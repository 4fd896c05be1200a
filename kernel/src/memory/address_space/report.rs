//! What `/proc` shows of an address space, and the keys by which futexes are known.

use super::migrate::node_of_frame;
use super::{AddressSpace, Counters, State};
use crate::arch::AccessKind;
use crate::base::{Errno, PAGE_SHIFT, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing};
use crate::memory::numa::{MAXIMUM_NODES, MemoryPolicy};
use crate::memory::object::{MemoryObject, ObjectDetails, PageAccounting, PageError, PageIntent};
use crate::memory::paging::{Entry, PageFlags};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// How much [`AddressSpace::areas`] finds out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// What `/proc/PID/maps` shows.
    Plain,
    /// What `smaps` shows as well: looks at every page.
    Usage,
    /// What `numa_maps` shows: looks at every page, too.
    Nodes,
}

/// Where an area's pages are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeUsage {
    /// The policy of the area's first page.
    pub policy: Option<MemoryPolicy>,
    /// Resident pages by node.
    pub pages: [u64; MAXIMUM_NODES],
    /// Private anonymous pages and copies among them.
    pub anonymous: u64,
    /// Those written to, and those that have no other place than memory.
    pub dirty: u64,
    /// The most users that one of them has.
    pub most_users: u32,
}

/// An area's resident pages, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AreaUsage {
    /// Present.
    pub resident: u64,
    /// Present, and nobody else refers to the frame.
    pub unshared: u64,
    /// Present and written to.
    pub dirty: u64,
    /// Private anonymous pages and copies.
    pub anonymous: u64,
}

impl core::ops::AddAssign for AreaUsage {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.unshared += other.unshared;
        self.dirty += other.dirty;
        self.anonymous += other.anonymous;
    }
}

/// An area as `/proc/PID/maps` shows it.
#[derive(Clone, Debug)]
pub struct AreaReport {
    /// The addresses.
    pub range: VirtualRange,
    /// Permissions and properties.
    pub flags: AreaFlags,
    /// The offset in the object, in bytes; 0 for anonymous memory.
    pub offset: u64,
    /// Device, inode, and the path or `[heap]`, `[stack]`, `[vdso]`; empty for none.
    pub details: ObjectDetails,
    /// With [`Detail::Usage`].
    pub usage: AreaUsage,
    /// With [`Detail::Nodes`].
    pub nodes: Option<Box<NodeUsage>>,
}

/// Counters, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// `VmSize`.
    pub total: u64,
    /// `VmPeak`.
    pub peak_total: u64,
    /// `RssAnon`.
    pub anonymous: u64,
    /// `RssFile`.
    pub file: u64,
    /// `RssShmem`.
    pub shared: u64,
    /// `VmHWM`.
    pub peak_resident: u64,
    /// `VmLck`.
    pub locked: u64,
    /// `VmData`.
    pub data: u64,
    /// `VmStk`.
    pub stack: u64,
    /// `VmExe` and `VmLib` together.
    pub executable: u64,
    /// `VmPTE`: frames that hold tables.
    pub tables: u64,
    /// Faults served without waiting.
    pub minor_faults: u64,
    /// Faults that waited for storage.
    pub major_faults: u64,
    /// The number of areas.
    pub areas: u64,
}

impl Statistics {
    /// `VmRSS`.
    #[must_use]
    pub const fn resident(&self) -> u64 {
        self.anonymous + self.file + self.shared
    }
}

/// By what a futex is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FutexKey {
    /// A word that only this address space sees.
    Private {
        /// [`AddressSpace::identity`].
        space: u64,
        /// Its address.
        address: u64,
    },
    /// A word in a shared mapping.
    Shared {
        /// [`MemoryObject::identity`].
        object: u64,
        /// The byte in the object.
        offset: u64,
    },
}

impl AddressSpace {
    /// The areas from the lowest up.
    #[must_use]
    pub fn areas(&self, detail: Detail) -> Vec<AreaReport> {
        let state = self.lock();
        state.areas.iter().map(|area| state.report(area, detail)).collect()
    }

    /// At most `count` areas from the one that holds `start` or comes next after it: a report of many areas is made in steps, so
    /// that the space is not locked for long.
    #[must_use]
    pub fn areas_from(&self, start: VirtualAddress, count: usize, detail: Detail) -> Vec<AreaReport> {
        let range = VirtualRange { start, end: <crate::arch::Current as crate::arch::Mmu>::USER_END };
        let state = self.lock();
        state.areas.overlapping(range).take(count).map(|area| state.report(area, detail)).collect()
    }

    /// The most pages that were resident at a time.
    #[must_use]
    pub fn peak_resident(&self) -> u64 {
        self.lock().counters.peak_resident
    }

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let state = self.lock();
        let Counters {
            anonymous, file, shared, peak_resident, total, peak_total, locked, data, stack, executable, ..
        } = state.counters;
        Statistics {
            total,
            peak_total,
            anonymous,
            file,
            shared,
            peak_resident,
            locked,
            data,
            stack,
            executable,
            tables: state.tables.table_count(),
            minor_faults: state.counters.minor_faults,
            major_faults: state.counters.major_faults,
            areas: state.areas.len() as u64,
        }
    }

    /// The key of the futex at `address` when it may be shared between processes (without `FUTEX_PRIVATE_FLAG`): its object and place in it where
    /// others may see the word, which is also a page of a file that nobody can write here.
    ///
    /// # Errors
    /// `EFAULT`: nothing is mapped there, or not for `access`; or the object has no such page, because the file ends before it; or a page of the
    /// program's own that cannot be written, so that its word never changes. `ENOMEM`.
    pub fn futex_key(&self, address: VirtualAddress, access: AccessKind) -> Result<FutexKey> {
        let state = self.lock();
        let area = state.areas.find(address).ok_or(Errno::EFAULT)?;
        let may_write = area.flags.contains(AreaFlags::WRITE);
        let may_access = may_write || access == AccessKind::Read && area.flags.contains(AreaFlags::READ);
        if !may_access {
            return Err(Errno::EFAULT);
        }
        if let Backing::Object { object, .. } = &area.backing {
            let index = area.page_index(address);
            if object.resident_page(index).is_none() {
                object.page(index, PageIntent::Read).map_err(|error| match error {
                    PageError::OutOfMemory => Errno::ENOMEM,
                    PageError::BeyondEnd | PageError::InputOutput | PageError::NoSpace => Errno::EFAULT,
                })?;
            }
        }
        match &area.backing {
            Backing::Object { object, .. }
                if area.flags.contains(AreaFlags::SHARED) || !may_write && !area.has_private_pages =>
            {
                Ok(FutexKey::Shared {
                    object: object.identity(),
                    offset: (area.page_index(address) << PAGE_SHIFT) + address.page_offset() as u64,
                })
            }
            _ if may_write => Ok(self.private_futex_key(address)),
            _ => Err(Errno::EFAULT),
        }
    }

    /// The key of the futex at `address` with `FUTEX_PRIVATE_FLAG`. It takes no lock.
    #[must_use]
    pub fn private_futex_key(&self, address: VirtualAddress) -> FutexKey {
        FutexKey::Private { space: self.identity, address: address.value() }
    }

    /// Whether memory is mapped at `address` or anywhere above it.
    #[must_use]
    pub fn has_area_at_or_above(&self, address: VirtualAddress) -> bool {
        self.lock().areas.at_or_after(address).is_some()
    }

    /// Whether the structure is as the module's invariants say; looks at every page. For tests.
    #[must_use]
    pub fn validate(&self) -> bool {
        self.lock().validate()
    }
}

impl State {
    fn report(&self, area: &Area, detail: Detail) -> AreaReport {
        let (offset, mut details) = match &area.backing {
            Backing::Anonymous => (0, ObjectDetails::default()),
            // As on Linux the kernel's own pages have no offset.
            Backing::Object { object, first, .. } if area.flags.contains(AreaFlags::SPECIAL) => {
                (0, object.details_at(*first))
            }
            Backing::Object { object, first, .. } => (first << PAGE_SHIFT, object.details_at(*first)),
        };
        if matches!(area.backing, Backing::Anonymous) {
            let (start, end) = (area.range.start, area.range.end);
            let stack = self.layout.stack_start;
            if start <= self.program_break
                && end >= self.layout.heap_start
                && self.layout.heap_start < self.program_break
            {
                details.name = b"[heap]".to_vec();
            } else if start <= stack && stack <= end && stack.value() != 0 {
                details.name = b"[stack]".to_vec();
            }
        }
        let usage = if detail == Detail::Usage { self.usage(area) } else { AreaUsage::default() };
        let nodes = (detail == Detail::Nodes).then(|| Box::new(self.node_usage(area)));
        AreaReport { range: area.range, flags: area.flags, offset, details, usage, nodes }
    }

    fn node_usage(&self, area: &Area) -> NodeUsage {
        let mut usage = NodeUsage { policy: area.policy_at(area.range.start), ..NodeUsage::default() };
        if area.flags.contains(AreaFlags::SPECIAL) {
            return usage;
        }
        self.tables.inspect_range(area.range, |page, entry| {
            let Entry::Leaf(leaf) = entry else { return ControlFlow::Continue(()) };
            if leaf.flags.contains(PageFlags::UNCOUNTED) {
                return ControlFlow::Continue(());
            }
            let object = match &area.backing {
                Backing::Anonymous => None,
                Backing::Object { object, .. } => {
                    Some(object).filter(|object| is_resident_as(&***object, area.page_index(page), leaf.frame))
                }
            };
            if let Some(count) = usage.pages.get_mut(usize::from(node_of_frame(leaf.frame).0)) {
                *count += 1;
            }
            usage.anonymous += u64::from(object.is_none());
            let is_memory_alone = object.is_some_and(|object| object.accounting() == PageAccounting::Shared);
            usage.dirty += u64::from(is_memory_alone || leaf.flags.contains(PageFlags::DIRTY));
            // The frame that is asked for here is one user more, an object another.
            let users = self.tables.frame(page).map_or(0, |frame| frame.reference_count());
            usage.most_users = usage.most_users.max(users.saturating_sub(1 + u32::from(object.is_some())));
            ControlFlow::Continue(())
        });
        usage
    }

    fn usage(&self, area: &Area) -> AreaUsage {
        let mut usage = AreaUsage::default();
        self.tables.inspect_range(area.range, |page, entry| {
            if let Entry::Leaf(leaf) = entry
                && !leaf.flags.contains(PageFlags::UNCOUNTED)
            {
                usage.resident += 1;
                let references = self.tables.frame(page).map_or(0, |frame| frame.reference_count());
                usage.unshared += u64::from(references == 2);
                usage.dirty += u64::from(leaf.flags.contains(PageFlags::DIRTY));
                let from_object = match &area.backing {
                    Backing::Anonymous => false,
                    Backing::Object { object, .. } => is_resident_as(&**object, area.page_index(page), leaf.frame),
                };
                usage.anonymous += u64::from(!from_object);
            }
            ControlFlow::Continue(())
        });
        usage
    }

    fn validate(&self) -> bool {
        let mut fine = self.areas.validate();
        let everything =
            VirtualRange { start: VirtualAddress::new(0), end: <crate::arch::Current as crate::arch::Mmu>::USER_END };
        let mut counted = 0;
        self.tables.inspect_range(everything, |page, entry| {
            let Entry::Leaf(leaf) = entry else { return ControlFlow::Continue(()) };
            let Some(area) = self.areas.find(page) else {
                fine = false;
                return ControlFlow::Break(());
            };
            if !leaf.flags.contains(PageFlags::UNCOUNTED) {
                counted += 1;
            }
            let writable = leaf.flags.contains(PageFlags::WRITABLE);
            let is_common = self.tables.frame(page).is_none_or(|frame| frame.reference_count() > 2);
            fine &= !writable || area.flags.contains(AreaFlags::WRITE);
            fine &= !(writable && is_common && !area.flags.contains(AreaFlags::SHARED));
            fine &= area.has_private_pages || !writable || area.flags.contains(AreaFlags::SHARED);
            ControlFlow::Continue(())
        });
        fine && counted == self.resident()
    }
}

fn is_resident_as(object: &dyn MemoryObject, index: u64, frame: crate::base::FrameNumber) -> bool {
    object.resident_page(index).is_some_and(|resident| resident.number() == frame)
}
