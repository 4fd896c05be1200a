//! `mmap` and `munmap`: finding room, making areas, taking them away.

use super::{
    AREA_LIMIT, AddressSpace, LOWEST_ADDRESS, Removed, State, UNLIMITED, enough_memory, is_accountable,
    reserve_removed, round_up, user_range,
};
use crate::arch::{AccessKind, Current, Mmu};
use crate::base::{Errno, FrameNumber, PAGE_SHIFT, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing, Protection, STACK_GUARD_GAP, WriterToken};
use crate::memory::frame::Frame;
use crate::memory::numa::SharedPolicies;
use crate::memory::object::{
    MemoryObject, ObjectDetails, PageAccounting, PageError, PageIntent, Replacement, SharedPages,
};
use crate::memory::paging::{PageFlags, TlbBatch};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where a mapping may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Where there is room; at the requested address if that is not null and free.
    Anywhere,
    /// In the lowest 2 GiB (`MAP_32BIT`).
    Low,
    /// Exactly at the address; what is there goes.
    Fixed,
    /// Exactly at the address, `EEXIST` when something is there.
    FixedNoReplace,
}

bitflags::bitflags! {
    /// Further properties of a mapping.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 {
        /// `MAP_GROWSDOWN`.
        const GROWS_DOWN = 1;
        /// `MAP_LOCKED`.
        const LOCKED = 2;
        /// `MAP_POPULATE`.
        const POPULATE = 4;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 8;
        /// The kernel's own pages (the vDSO).
        const SPECIAL = 16;
    }
}

/// Whether `RLIMIT_MEMLOCK` applies to the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockLimit {
    /// It does.
    Enforced,
    /// It does not: the caller has `CAP_IPC_LOCK`.
    Exempt,
}

/// An object as the source of a mapping.
#[derive(Clone)]
pub struct ObjectSource {
    /// The object.
    pub object: Arc<dyn MemoryObject>,
    /// The byte of the object that appears first; page-aligned.
    pub offset: u64,
    /// What `mprotect` may allow later (for a shared mapping of a file that is open for reading, not WRITE).
    pub maximum: Protection,
}

impl core::fmt::Debug for ObjectSource {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "ObjectSource({:#x}, {:#x}, {:?})", self.object.identity(), self.offset, self.maximum)
    }
}

/// What a mapping shows.
#[derive(Clone, Debug)]
pub enum MapSource {
    /// Zeros of its own.
    Anonymous,
    /// Zeros that it will share with its children.
    SharedAnonymous,
    /// An object; stores go to copies.
    Private(ObjectSource),
    /// An object; stores go there.
    Shared(ObjectSource),
}

/// A request to map.
#[derive(Clone, Debug)]
pub struct MapRequest {
    /// The wish, or the exact address.
    pub address: VirtualAddress,
    /// In bytes; rounded up.
    pub length: u64,
    /// How the address is meant.
    pub placement: Placement,
    /// What is allowed.
    pub protection: Protection,
    /// More.
    pub flags: MapFlags,
    /// Of what.
    pub source: MapSource,
    /// For LOCKED.
    pub lock_limit: LockLimit,
}

impl MapRequest {
    /// Private anonymous memory anywhere: change what differs.
    #[must_use]
    pub fn anonymous(length: u64, protection: Protection) -> Self {
        Self {
            address: VirtualAddress::default(),
            length,
            placement: Placement::Anywhere,
            protection,
            flags: MapFlags::empty(),
            source: MapSource::Anonymous,
            lock_limit: LockLimit::Enforced,
        }
    }
    /// The same at exactly `address`, in place of what is there.
    #[must_use]
    pub fn at(self, address: VirtualAddress) -> Self {
        Self { address, placement: Placement::Fixed, ..self }
    }
    /// The same showing `source`.
    #[must_use]
    pub fn of(self, source: MapSource) -> Self {
        Self { source, ..self }
    }
    /// The same with `flags` too.
    #[must_use]
    pub fn with(self, flags: MapFlags) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    fn area_flags(&self) -> AreaFlags {
        let (shared, maximum) = match &self.source {
            MapSource::Anonymous => (AreaFlags::empty(), Protection::all()),
            MapSource::SharedAnonymous => (AreaFlags::SHARED, Protection::all()),
            MapSource::Private(source) => (AreaFlags::empty(), source.maximum),
            MapSource::Shared(source) => (AreaFlags::SHARED, source.maximum),
        };
        let mut flags = AreaFlags::allowing(self.protection) | shared;
        for (allowed, may) in [
            (Protection::READ, AreaFlags::MAY_READ),
            (Protection::WRITE, AreaFlags::MAY_WRITE),
            (Protection::EXECUTE, AreaFlags::MAY_EXECUTE),
        ] {
            flags.set(may, maximum.contains(allowed));
        }
        flags.set(AreaFlags::GROWS_DOWN, self.flags.contains(MapFlags::GROWS_DOWN));
        flags.set(AreaFlags::LOCKED, self.flags.contains(MapFlags::LOCKED));
        flags.set(AreaFlags::NO_RESERVE, self.flags.contains(MapFlags::NO_RESERVE));
        flags.set(AreaFlags::SPECIAL, self.flags.contains(MapFlags::SPECIAL));
        flags
    }
}

static NEXT_SHARED: AtomicU64 = AtomicU64::new(1);

/// The object behind shared anonymous memory: its pages and the number under which maps shows it.
struct SharedAnonymous {
    pages: SharedPages,
    number: u64,
}

impl MemoryObject for SharedAnonymous {
    fn page(&self, index: u64, intent: PageIntent) -> Result<Frame, PageError> {
        self.pages.page(index, intent)
    }
    fn resident_page(&self, index: u64) -> Option<Frame> {
        self.pages.resident_page(index)
    }
    fn identity(&self) -> u64 {
        self.pages.identity()
    }
    fn policies(&self) -> Option<&SharedPolicies> {
        self.pages.policies()
    }
    fn replace_page(&self, index: u64, old: FrameNumber, new: &Frame) -> Replacement {
        self.pages.replace_page(index, old, new)
    }
    fn details(&self) -> ObjectDetails {
        ObjectDetails { device: 1, inode: self.number, name: b"/dev/zero (deleted)".to_vec() }
    }
    fn accounting(&self) -> PageAccounting {
        PageAccounting::Shared
    }
}

impl AddressSpace {
    /// Makes a mapping and gives its address.
    ///
    /// # Errors
    /// `EINVAL`: length 0, or a fixed address or offset that is not page-aligned. `ENOMEM`: no room, a limit, too many areas, or more
    /// memory than the machine has. `EOVERFLOW`: the object's pages pass 2^64. `EEXIST`: [`Placement::FixedNoReplace`] and
    /// something is there. `EAGAIN`: over the limit of locked memory.
    pub fn map(&self, request: &MapRequest) -> Result<VirtualAddress> {
        let mut removed = Removed::new();
        let mut state = self.lock();
        let mapped = state.map(request, &mut removed);
        let future = state.future;
        drop(state);
        drop(removed);
        let range = mapped?;
        let locks_now = future.contains(AreaFlags::LOCKED) && !future.contains(AreaFlags::LOCK_ON_FAULT);
        if locks_now || request.flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
            self.populate(range);
        }
        Ok(range.start)
    }

    /// Takes away every mapping in `length` bytes from `address`; a range without any is fine.
    ///
    /// # Errors
    /// `EINVAL`: not aligned, length 0, or outside user space. `ENOMEM`: too many areas.
    pub fn unmap(&self, address: VirtualAddress, length: u64) -> Result<()> {
        let range = user_range(address, length, Errno::EINVAL)?;
        if range.length() == 0 {
            return Err(Errno::EINVAL);
        }
        let mut removed = Removed::new();
        let mut state = self.lock();
        let result = state.unmap(range, &mut removed);
        drop(state);
        drop(removed);
        result
    }

    /// Brings the pages of `range` in, for writing where private ones may be written, so that they are the space's own.
    /// What cannot be brought in is left: `MAP_POPULATE` and `mlock` do not report it.
    pub(super) fn populate(&self, range: VirtualRange) {
        let mut page = range.start;
        while page < range.end {
            let mut state = self.lock();
            let Some(area) = state.areas.find(page) else {
                page = page.offset(PAGE_SIZE as u64);
                continue;
            };
            let access = if area.flags.is_private_writable() { AccessKind::Write } else { AccessKind::Read };
            if !area.flags.is_accessible() {
                return;
            }
            match state.bring_in_ahead(page, range.end, access) {
                Ok(next) => page = next,
                Err(_) => return,
            }
        }
    }
}

impl State {
    fn map(&mut self, request: &MapRequest, removed: &mut Removed) -> Result<VirtualRange> {
        if request.length == 0 {
            return Err(Errno::EINVAL);
        }
        let length = round_up(request.length).ok_or(Errno::ENOMEM)?;
        let pages = length >> PAGE_SHIFT;
        if let MapSource::Private(source) | MapSource::Shared(source) = &request.source {
            if source.offset & (PAGE_SIZE as u64 - 1) != 0 {
                return Err(Errno::EINVAL);
            }
            if (source.offset >> PAGE_SHIFT).checked_add(pages).is_none_or(|end| end > u64::MAX >> PAGE_SHIFT) {
                return Err(Errno::EOVERFLOW);
            }
        }
        if self.areas.len() > AREA_LIMIT {
            return Err(Errno::ENOMEM);
        }
        let mut flags = request.area_flags() | self.future;
        let start = self.place(request, length, flags)?;
        let range = VirtualRange::new(start, length).ok_or(Errno::ENOMEM)?;
        let is_fixed = matches!(request.placement, Placement::Fixed | Placement::FixedNoReplace);
        if request.placement == Placement::FixedNoReplace && self.areas.overlapping(range).next().is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.contains(AreaFlags::LOCKED) {
            self.check_locked(pages, request.lock_limit)?;
        }
        // What is replaced makes room in the limits.
        let replaced = if is_fixed { self.pages_in_areas(range) } else { 0 };
        if !self.may_expand(flags, pages.saturating_sub(replaced)) {
            return Err(Errno::ENOMEM);
        }
        let reserve_shared = matches!(request.source, MapSource::SharedAnonymous);
        if is_accountable(flags) || (reserve_shared && !flags.contains(AreaFlags::NO_RESERVE)) {
            if !enough_memory(pages) {
                return Err(Errno::ENOMEM);
            }
            flags.set(AreaFlags::ACCOUNTED, is_accountable(flags));
        }
        self.areas.reserve(range)?;
        let backing = match &request.source {
            MapSource::Anonymous => Backing::Anonymous,
            MapSource::SharedAnonymous => {
                let number = NEXT_SHARED.fetch_add(1, Relaxed);
                let object = Arc::new(SharedAnonymous { pages: SharedPages::with_length(length), number });
                Backing::Object { object, first: 0, writer: None }
            }
            MapSource::Private(source) => {
                Backing::Object { object: source.object.clone(), first: source.offset >> PAGE_SHIFT, writer: None }
            }
            MapSource::Shared(source) => {
                let writer = if flags.contains(AreaFlags::MAY_WRITE) {
                    Some(WriterToken::new(source.object.clone())?)
                } else {
                    None
                };
                Backing::Object { object: source.object.clone(), first: source.offset >> PAGE_SHIFT, writer }
            }
        };
        if is_fixed {
            self.unmap(range, removed)?;
        }
        self.insert_area(Area { range, flags, has_private_pages: false, backing, policy: None });
        Ok(range)
    }

    /// Adds an area, counts it, and joins it to its neighbours where it continues them.
    pub(super) fn insert_area(&mut self, area: Area) {
        let range = area.range;
        self.count_area(area.flags, area.page_count());
        let lower = self.areas.before(range.start).filter(|lower| lower.continues_with(&area));
        if let Some(lower) = lower.map(|lower| lower.range.start) {
            self.areas.resize(lower, |lower| {
                lower.range.end = range.end;
                lower.has_private_pages |= area.has_private_pages;
            });
        } else {
            self.areas.insert(area);
        }
        self.areas.merge_at(range.end);
    }

    /// The pages of `range` that lie in areas.
    pub(super) fn pages_in_areas(&self, range: VirtualRange) -> u64 {
        let bytes: u64 = self
            .areas
            .overlapping(range)
            .map(|area| {
                let start = area.range.start.max(range.start);
                let end = area.range.end.min(range.end);
                end.value().saturating_sub(start.value())
            })
            .sum();
        bytes >> PAGE_SHIFT
    }

    /// `EAGAIN` when `pages` more locked ones pass the limit.
    pub(super) fn check_locked(&self, pages: u64, limit: LockLimit) -> Result<()> {
        let bytes = self.limits.locked;
        if limit == LockLimit::Exempt || bytes == UNLIMITED {
            return Ok(());
        }
        if self.counters.locked.saturating_add(pages) > bytes >> PAGE_SHIFT { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// Chooses the address, as Linux's top-down search does.
    pub(super) fn place(&self, request: &MapRequest, length: u64, flags: AreaFlags) -> Result<VirtualAddress> {
        let end = Current::USER_END.value();
        if length > end {
            return Err(Errno::ENOMEM);
        }
        let wish = request.address.value();
        match request.placement {
            Placement::Fixed | Placement::FixedNoReplace => {
                if wish > end - length {
                    return Err(Errno::ENOMEM);
                }
                if !request.address.is_page_aligned() {
                    return Err(Errno::EINVAL);
                }
                return Ok(request.address);
            }
            Placement::Low => {
                let high = 0x8000_0000;
                return self.areas.find_gap_from_below(length, 0x4000_0000, high).ok_or(Errno::ENOMEM);
            }
            Placement::Anywhere => {}
        }
        let hint = match wish & !(PAGE_SIZE as u64 - 1) {
            0 => None,
            hint => Some(VirtualAddress::new(hint.max(LOWEST_ADDRESS))),
        };
        if let Some(start) = hint
            && let Some(range) = VirtualRange::new(start, length).filter(|range| range.end.value() <= end)
            && self.is_free(range)
        {
            return Ok(start);
        }
        let guard = if flags.contains(AreaFlags::GROWS_DOWN) { STACK_GUARD_GAP } else { 0 };
        let base = self.layout.mmap_base.value().min(end);
        self.areas
            .find_gap_from_above(length, LOWEST_ADDRESS, base, guard)
            .or_else(|| self.areas.find_gap_from_below(length, (end / 3) & !(PAGE_SIZE as u64 - 1), end))
            .ok_or(Errno::ENOMEM)
    }

    /// Whether `range` holds no area and keeps clear of the gap below a stack.
    fn is_free(&self, range: VirtualRange) -> bool {
        match self.areas.at_or_after(range.start) {
            None => true,
            Some(area) => area.guarded_start() >= range.end.value(),
        }
    }

    /// Takes away what lies in `range`; the areas go to `removed`.
    pub(super) fn unmap(&mut self, range: VirtualRange, removed: &mut Removed) -> Result<()> {
        let splits = self
            .areas
            .find(range.start)
            .is_some_and(|area| area.range.start < range.start && range.end < area.range.end);
        if splits && self.areas.len() >= AREA_LIMIT {
            return Err(Errno::ENOMEM);
        }
        let concerned = self.areas.overlapping(range).count();
        if concerned == 0 {
            return Ok(());
        }
        self.areas.reserve(range)?;
        reserve_removed(removed, concerned)?;
        if concerned > 1 {
            self.isolate_areas(range)?;
        }
        self.areas.split_at(range.start);
        self.areas.split_at(range.end);
        let mut batch = self.batch();
        let mut result = Ok(());
        while let Some(start) =
            self.areas.at_or_after(range.start).map(|area| area.range.start).filter(|&start| start < range.end)
        {
            let Some(area) = self.areas.remove(start) else { break };
            result = self.zap(&area, area.range, &mut batch);
            if result.is_err() {
                // A single area, of which nothing is gone: it goes back.
                self.areas.insert(area);
                self.areas.merge_at(range.start);
                self.areas.merge_at(range.end);
                break;
            }
            self.uncount_area(area.flags, area.page_count());
            removed.push(area);
        }
        result
    }

    /// Sees to it that taking away each area's part of `range` needs no memory.
    fn isolate_areas(&mut self, range: VirtualRange) -> Result<()> {
        for area in self.areas.overlapping(range) {
            self.tables.isolate(area.range.start.max(range.start))?;
            self.tables.isolate(area.range.end.min(range.end))?;
        }
        Ok(())
    }

    /// Empties the tables over `range`, which lies in `area`, and counts down. On an error nothing was emptied.
    pub(super) fn zap(&mut self, area: &Area, range: VirtualRange, batch: &mut TlbBatch) -> Result<()> {
        let (mut private, mut others) = (0, 0);
        let result = match &area.backing {
            Backing::Object { object, .. } if area.has_private_pages => {
                self.tables.remove_range(range, batch, |page, leaf| {
                    let resident = object.resident_page(area.page_index(page));
                    if resident.is_some_and(|frame| frame.number() == leaf.frame) {
                        others += 1;
                    } else {
                        private += 1;
                    }
                })
            }
            Backing::Object { .. } => self.tables.unmap_range(range, batch).map(|pages| others = pages),
            // Without a store there are no pages but the zero page, which is not counted.
            Backing::Anonymous if !area.has_private_pages => self.tables.unmap_range(range, batch).map(|_| ()),
            Backing::Anonymous => self.tables.remove_range(range, batch, |_, leaf| {
                if !leaf.flags.contains(PageFlags::UNCOUNTED) {
                    private += leaf.size.pages();
                }
            }),
        };
        let kind = match &area.backing {
            Backing::Anonymous => PageAccounting::Uncounted,
            Backing::Object { object, .. } => object.accounting(),
        };
        self.remove_resident(kind, true, private);
        self.remove_resident(kind, false, others);
        Ok(result?)
    }
}
