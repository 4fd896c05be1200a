//! Address spaces: what a process may touch, and how it comes to be there.
//!
//! [`AddressSpace`] joins the areas (what *should* be at an address) and the page tables (what *is* there now). Nothing
//! is brought in before it is touched: [`AddressSpace::handle_fault`] fills one page (or a few that are at hand), from zeros or from a
//! [`MemoryObject`]. `fork` shares every private page copy-on-write.
//!
//! | file | what |
//! |---|---|
//! | `map` | `mmap`, `munmap`, placement, limits |
//! | `protect` | `mprotect` |
//! | `fault` | page faults, stack growth, copy-on-write |
//! | `fork` | `fork`, and the end of a space |
//! | `program_break` | `brk` |
//! | `remap` | `mremap` |
//! | `advise` | `madvise`, `mincore`, `msync`, `mlock` |
//! | `policy` | `mbind`, `get_mempolicy` |
//! | `migrate` | `move_pages`, `migrate_pages` |
//! | `foreign` | another process's memory |
//! | `registry` | all spaces, for an object that loses pages |
//! | `report` | `/proc/PID/maps` and counters |
//!
//! # Locks
//! One sleeping lock per address space, first in the order of mutexes: it is taken before any file-system lock, and user memory
//! is **never** touched while it is held (the fault would take it again). Every change is a transaction over a range: look up the
//! areas, change tables through a [`TlbBatch`], drop the batch (which invalidates and only then frees) and
//! release. The functions of `State` that do this take a range and touch nothing outside it, so a lock per range can replace the one lock.
//! Objects are dropped after the lock is released.
//!
//! # When memory runs out
//! A call either does all that it says or nothing, as far as a program can see: what needs memory (tables to copy or make,
//! leaves to split, room for areas) comes first, and what follows cannot fail. Calls over several areas that Linux, too, carries out area
//! by area (`mprotect`, `madvise`) stop between two areas.
//!
//! # Invariants ([`AddressSpace::validate`])
//! - Every leaf lies in an area; a leaf is writable only where its area is.
//! - A private page that another space (or an object) also refers to is never writable.
//! - Resident counters equal the number of leaves of each kind.

use super::area::{Area, AreaFlags};
use super::area_map::AreaMap;
use super::frame::Frame;
use super::frame_allocator;
use super::object::PageAccounting;
use super::paging::{PageFlags, PageTables, TlbBatch};
use crate::arch::{Current, Mmu};
use crate::base::{Errno, FrameNumber, PAGE_SHIFT, PAGE_SIZE, PhysicalAddress, Result, VirtualAddress, VirtualRange};
use crate::sync::{Mutex, MutexGuard};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

mod advise;
mod fault;
mod foreign;
mod fork;
mod map;
mod migrate;
mod policy;
mod program_break;
mod protect;
mod registry;
mod remap;
mod report;
#[cfg(test)]
pub mod test_support;
#[cfg(test)]
mod measure;
#[cfg(test)]
mod numa_tests;
#[cfg(test)]
mod shortage_tests;
#[cfg(test)]
mod tests;

pub use super::area::Protection;
pub use advise::{Advice, Invalidate, LockMode, Writing};
pub use fault::{FaultError, FaultKind, OutOfMemoryKiller, Victim, set_out_of_memory_killer};
pub use foreign::ForeignAccess;
pub use map::{LockLimit, MapFlags, MapRequest, MapSource, ObjectSource, Placement};
pub use migrate::Reach;
pub use policy::Misplaced;
pub use remap::{RemapFlags, RemapRequest};
pub use report::{AreaReport, AreaUsage, Detail, FutexKey, NodeUsage, Statistics};

/// The lowest address that is handed out (`vm.mmap_min_addr`).
pub const LOWEST_ADDRESS: u64 = 65536;
/// The most areas (`vm.max_map_count`).
pub const AREA_LIMIT: usize = 65530;
/// "No limit" in [`MemoryLimits`].
pub const UNLIMITED: u64 = u64::MAX;

/// The resource limits that concern memory, in bytes; [`UNLIMITED`] for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryLimits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`.
    pub locked: u64,
}

impl Default for MemoryLimits {
    /// Linux's defaults: 8 MiB of stack, 64 KiB... 8 MiB locked, the rest free.
    fn default() -> Self {
        Self { address_space: UNLIMITED, data: UNLIMITED, stack: 8 << 20, locked: 8 << 20 }
    }
}

/// Where a program's parts lie; `execve` decides (and randomises) them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// `mmap` looks for room from here downwards.
    pub mmap_base: VirtualAddress,
    /// Code.
    pub code: VirtualRange,
    /// Initialised data.
    pub data: VirtualRange,
    /// Where the heap starts; [`AddressSpace::set_break`] moves its end.
    pub heap_start: VirtualAddress,
    /// The initial stack pointer.
    pub stack_start: VirtualAddress,
    /// The argument strings.
    pub arguments: VirtualRange,
    /// The environment strings.
    pub environment: VirtualRange,
    /// Where signal handlers return to when the program named no place; 0 where it must name one.
    pub signal_return: VirtualAddress,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            mmap_base: VirtualAddress::new(Current::USER_END.value() - (16 << 20)),
            code: VirtualRange::default(),
            data: VirtualRange::default(),
            heap_start: VirtualAddress::default(),
            stack_start: VirtualAddress::default(),
            arguments: VirtualRange::default(),
            environment: VirtualRange::default(),
            signal_return: VirtualAddress::default(),
        }
    }
}

/// Page counts, kept as things change.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Counters {
    /// Resident: private anonymous, and private copies of file pages.
    anonymous: u64,
    /// Resident: files.
    file: u64,
    /// Resident: tmpfs and shared anonymous memory.
    shared: u64,
    peak_resident: u64,
    /// In areas.
    total: u64,
    peak_total: u64,
    locked: u64,
    data: u64,
    stack: u64,
    executable: u64,
    /// Counted in [`COMMITTED`].
    committed: u64,
    minor_faults: u64,
    major_faults: u64,
}

/// Pages promised to private writable memory in all address spaces (`Committed_AS`).
static COMMITTED: AtomicU64 = AtomicU64::new(0);
static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);

/// Pages that all address spaces together were promised: `Committed_AS` in `/proc/meminfo`.
#[must_use]
pub fn committed_pages() -> u64 {
    COMMITTED.load(Relaxed)
}

/// An address space. Threads and `vfork` children share it by `Arc`.
#[derive(Debug)]
pub struct AddressSpace {
    root: PhysicalAddress,
    identity: u64,
    /// What `membarrier` has registered: bits of its commands.
    membarrier: AtomicU32,
    /// [`Layout::signal_return`], for every signal's delivery.
    signal_return: AtomicU64,
    state: Mutex<State>,
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        registry::remove(self.identity);
    }
}

/// What the lock guards.
#[derive(Debug)]
struct State {
    tables: PageTables,
    areas: AreaMap,
    layout: Layout,
    program_break: VirtualAddress,
    limits: MemoryLimits,
    /// Flags for areas to come (`mlockall(MCL_FUTURE)`).
    future: AreaFlags,
    counters: Counters,
}

impl AddressSpace {
    /// An empty address space; `None` when memory is out.
    #[must_use]
    pub fn new() -> Option<Arc<Self>> {
        let tables = PageTables::new()?;
        Some(Self::with_state(State {
            tables,
            areas: AreaMap::new(),
            layout: Layout::default(),
            program_break: VirtualAddress::default(),
            limits: MemoryLimits::default(),
            future: AreaFlags::empty(),
            counters: Counters::default(),
        }))
    }

    fn with_state(state: State) -> Arc<Self> {
        let root = state.tables.root();
        let identity = NEXT_IDENTITY.fetch_add(1, Relaxed);
        let signal_return = AtomicU64::new(state.layout.signal_return.value());
        let membarrier = AtomicU32::new(0);
        let space = Arc::new(Self { root, identity, membarrier, signal_return, state: Mutex::new(state) });
        registry::add(identity, Arc::downgrade(&space));
        space
    }

    #[inline]
    #[track_caller]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What `membarrier` has registered for the programs that use the space; the kernel's memory does not look at it.
    #[must_use]
    pub const fn membarrier(&self) -> &AtomicU32 {
        &self.membarrier
    }

    /// A number that no other address space has or had: private futexes are known by it.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The top table's address.
    #[must_use]
    pub fn root(&self) -> PhysicalAddress {
        self.root
    }

    /// Whether this CPU translates user addresses with it now.
    #[inline]
    #[must_use]
    pub fn is_active(&self) -> bool {
        Current::active_root() == self.root
    }

    /// Sets the parts' places: `execve`, before it maps anything. The heap becomes empty.
    pub fn set_layout(&self, layout: Layout) {
        let mut state = self.lock();
        state.program_break = layout.heap_start;
        state.layout = layout;
        self.signal_return.store(layout.signal_return.value(), Relaxed);
    }

    /// [`Layout::signal_return`], without the lock.
    #[inline]
    #[must_use]
    pub fn signal_return(&self) -> VirtualAddress {
        VirtualAddress::new(self.signal_return.load(Relaxed))
    }

    /// The parts' places.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.lock().layout
    }

    /// The end of the heap.
    #[must_use]
    pub fn program_break(&self) -> VirtualAddress {
        self.lock().program_break
    }

    /// Sets the limits; `setrlimit` and `execve` call it.
    pub fn set_limits(&self, limits: MemoryLimits) {
        self.lock().limits = limits;
    }

    /// Changes some of the limits.
    pub fn change_limits(&self, change: impl FnOnce(&mut MemoryLimits)) {
        change(&mut self.lock().limits);
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> MemoryLimits {
        self.lock().limits
    }
}

/// The frame of zeros that every untouched page shows to reads. Its content never changes.
fn zero_page() -> Option<FrameNumber> {
    static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);
    let known = ZERO_PAGE.load(Relaxed);
    if known != 0 {
        return Some(FrameNumber::new(known));
    }
    let frame = Frame::allocate_zeroed()?;
    let number = frame.number();
    match ZERO_PAGE.compare_exchange(0, number.value(), Relaxed, Relaxed) {
        Ok(_) => {
            // The reference is kept for good.
            let _ = frame.into_raw();
            Some(number)
        }
        Err(other) => Some(FrameNumber::new(other)),
    }
}

/// The leaf flags that an area's pages have at most; WRITABLE only where stores need no copy first.
fn leaf_flags(flags: AreaFlags) -> PageFlags {
    let mut leaf = PageFlags::USER | PageFlags::ACCESSED;
    if flags.contains(AreaFlags::EXECUTE) {
        leaf |= PageFlags::EXECUTABLE;
    }
    if !flags.is_accessible() {
        leaf |= PageFlags::NO_ACCESS;
    }
    if flags.contains(AreaFlags::SHARED) {
        leaf |= PageFlags::SHARED;
        if flags.contains(AreaFlags::WRITE) {
            leaf |= PageFlags::WRITABLE;
        }
    }
    leaf
}

/// Bytes rounded up to whole pages; `None` past 2^64.
fn round_up(length: u64) -> Option<u64> {
    length.checked_add(PAGE_SIZE as u64 - 1).map(|length| length & !(PAGE_SIZE as u64 - 1))
}

/// The range that a call names: `start` page-aligned, `length` rounded up, in user space.
///
/// # Errors
/// `EINVAL` for a start that is not aligned; `beyond` when it passes the end of user space.
fn user_range(start: VirtualAddress, length: u64, beyond: Errno) -> Result<VirtualRange> {
    if !start.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let length = round_up(length).ok_or(beyond)?;
    VirtualRange::new(start, length).filter(|range| range.end <= Current::USER_END).ok_or(beyond)
}

impl State {
    fn resident(&self) -> u64 {
        self.counters.anonymous + self.counters.file + self.counters.shared
    }

    /// Counts `pages` more resident ones of a kind.
    #[inline]
    fn add_resident(&mut self, kind: PageAccounting, private: bool, pages: u64) {
        let counters = &mut self.counters;
        match (private, kind) {
            (true, _) => counters.anonymous += pages,
            (false, PageAccounting::File) => counters.file += pages,
            (false, PageAccounting::Shared) => counters.shared += pages,
            (false, PageAccounting::Uncounted) => {}
        }
        let resident = counters.anonymous + counters.file + counters.shared;
        counters.peak_resident = counters.peak_resident.max(resident);
    }

    fn remove_resident(&mut self, kind: PageAccounting, private: bool, pages: u64) {
        let counter = match (private, kind) {
            (true, _) => &mut self.counters.anonymous,
            (false, PageAccounting::File) => &mut self.counters.file,
            (false, PageAccounting::Shared) => &mut self.counters.shared,
            (false, PageAccounting::Uncounted) => return,
        };
        *counter = counter.saturating_sub(pages);
    }

    /// Counts `pages` of an area with `flags` that came.
    fn count_area(&mut self, flags: AreaFlags, pages: u64) {
        let counters = &mut self.counters;
        counters.total += pages;
        counters.peak_total = counters.peak_total.max(counters.total);
        if let Some(kind) = kind_counter(counters, flags) {
            *kind += pages;
        }
        if flags.contains(AreaFlags::LOCKED) {
            counters.locked += pages;
        }
        if flags.contains(AreaFlags::ACCOUNTED) {
            counters.committed += pages;
            COMMITTED.fetch_add(pages, Relaxed);
        }
    }

    /// Counts `pages` of an area with `flags` that went.
    fn uncount_area(&mut self, flags: AreaFlags, pages: u64) {
        let counters = &mut self.counters;
        counters.total = counters.total.saturating_sub(pages);
        if let Some(kind) = kind_counter(counters, flags) {
            *kind = kind.saturating_sub(pages);
        }
        if flags.contains(AreaFlags::LOCKED) {
            counters.locked = counters.locked.saturating_sub(pages);
        }
        if flags.contains(AreaFlags::ACCOUNTED) {
            counters.committed = counters.committed.saturating_sub(pages);
            COMMITTED.fetch_sub(pages, Relaxed);
        }
    }

    /// Changes the flags of the area that holds `address`, counters included.
    fn set_area_flags(&mut self, address: VirtualAddress, flags: AreaFlags) {
        let Some(area) = self.areas.find_mut(address) else { return };
        let (old, pages) = (area.flags, area.page_count());
        area.flags = flags;
        if old != flags {
            self.uncount_area(old, pages);
            self.count_area(flags, pages);
        }
    }

    /// Whether `pages` more with `flags` keep within the limits.
    fn may_expand(&self, flags: AreaFlags, pages: u64) -> bool {
        let within = |present: u64, limit: u64| {
            present.checked_add(pages).is_some_and(|sum| limit == UNLIMITED || sum <= limit >> PAGE_SHIFT)
        };
        within(self.counters.total, self.limits.address_space)
            && (!is_data(flags) || within(self.counters.data, self.limits.data))
    }
}

/// Whether Linux counts an area as data: private, writable, no stack.
fn is_data(flags: AreaFlags) -> bool {
    flags.is_private_writable() && !flags.contains(AreaFlags::GROWS_DOWN)
}

fn kind_counter(counters: &mut Counters, flags: AreaFlags) -> Option<&mut u64> {
    if flags.contains(AreaFlags::GROWS_DOWN) {
        Some(&mut counters.stack)
    } else if is_data(flags) {
        Some(&mut counters.data)
    } else if flags.contains(AreaFlags::EXECUTE) && !flags.contains(AreaFlags::WRITE) {
        Some(&mut counters.executable)
    } else {
        None
    }
}

/// Whether memory could ever be had for `pages` more: Linux's heuristic overcommit refuses only what exceeds
/// all memory.
fn enough_memory(pages: u64) -> bool {
    pages <= frame_allocator::total_frames()
}

/// Whether an area with `flags` counts as committed.
fn is_accountable(flags: AreaFlags) -> bool {
    flags.is_private_writable() && !flags.contains(AreaFlags::NO_RESERVE)
}

/// Areas taken out of an address space; dropped by the caller once the lock is released.
type Removed = alloc::vec::Vec<Area>;

/// Makes room for `count` areas more.
///
/// # Errors
/// `ENOMEM`.
fn reserve_removed(removed: &mut Removed, count: usize) -> Result<()> {
    removed.try_reserve(count).map_err(|_| Errno::ENOMEM)
}

impl State {
    fn batch(&self) -> TlbBatch {
        TlbBatch::new(&self.tables)
    }
}
