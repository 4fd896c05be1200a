//! `madvise`, `mincore`, `msync`, `mlock`: calls that walk a range and report holes with `ENOMEM`.

use super::fault::Trouble;
use super::{AddressSpace, LockLimit, Removed, State, UNLIMITED, round_up};
use crate::arch::{AccessKind, Current, Mmu};
use crate::base::{Errno, PAGE_SHIFT, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing};
use crate::memory::object::MemoryObject;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Linux's `MADV_*`, as far as they are supported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Read-ahead as usual.
    Normal,
    /// No read-ahead.
    Random,
    /// More read-ahead.
    Sequential,
    /// Soon needed.
    WillNeed,
    /// Drop the pages now.
    DontNeed,
    /// Drop the pages now, locked ones too.
    DontNeedLocked,
    /// The content may go.
    Free,
    /// Not in children.
    DontFork,
    /// In children.
    DoFork,
    /// Zeros in children.
    WipeOnFork,
    /// Not zeros in children.
    KeepOnFork,
    /// Not in core dumps.
    DontDump,
    /// In core dumps.
    DoDump,
    /// Equal pages may be joined.
    Mergeable,
    /// They may not.
    Unmergeable,
    /// Large pages are welcome.
    HugePage,
    /// They are not.
    NoHugePage,
    /// Not soon needed.
    Cold,
    /// Write it out.
    PageOut,
    /// Bring in for reading.
    PopulateRead,
    /// Bring in for writing.
    PopulateWrite,
}

impl Advice {
    /// The advice that Linux numbers `number`.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Normal,
            1 => Self::Random,
            2 => Self::Sequential,
            3 => Self::WillNeed,
            4 => Self::DontNeed,
            8 => Self::Free,
            10 => Self::DontFork,
            11 => Self::DoFork,
            12 => Self::Mergeable,
            13 => Self::Unmergeable,
            14 => Self::HugePage,
            15 => Self::NoHugePage,
            16 => Self::DontDump,
            17 => Self::DoDump,
            18 => Self::WipeOnFork,
            19 => Self::KeepOnFork,
            20 => Self::Cold,
            21 => Self::PageOut,
            22 => Self::PopulateRead,
            23 => Self::PopulateWrite,
            24 => Self::DontNeedLocked,
            _ => return None,
        })
    }

    /// What it does to an area's flags: those to set, those to clear; `None` when it is not about flags.
    const fn flags(self) -> Option<(AreaFlags, AreaFlags)> {
        let none = AreaFlags::empty();
        Some(match self {
            Self::Normal => (none, AreaFlags::RANDOM.union(AreaFlags::SEQUENTIAL)),
            Self::Random => (AreaFlags::RANDOM, AreaFlags::SEQUENTIAL),
            Self::Sequential => (AreaFlags::SEQUENTIAL, AreaFlags::RANDOM),
            Self::DontFork => (AreaFlags::DONT_FORK, none),
            Self::DoFork => (none, AreaFlags::DONT_FORK),
            Self::WipeOnFork => (AreaFlags::WIPE_ON_FORK, none),
            Self::KeepOnFork => (none, AreaFlags::WIPE_ON_FORK),
            Self::DontDump => (AreaFlags::DONT_DUMP, none),
            Self::DoDump => (none, AreaFlags::DONT_DUMP),
            Self::Mergeable => (AreaFlags::MERGEABLE, none),
            Self::Unmergeable => (none, AreaFlags::MERGEABLE),
            Self::HugePage => (AreaFlags::HUGE, AreaFlags::NO_HUGE),
            Self::NoHugePage => (AreaFlags::NO_HUGE, AreaFlags::HUGE),
            _ => return None,
        })
    }
}

/// How `mlock2` and `mlockall` lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// The pages come now.
    Now,
    /// They come when they are touched.
    OnFault,
}

impl LockMode {
    const fn flags(self) -> AreaFlags {
        match self {
            Self::Now => AreaFlags::LOCKED,
            Self::OnFault => AreaFlags::LOCKED.union(AreaFlags::LOCK_ON_FAULT),
        }
    }
}

const LOCK_FLAGS: AreaFlags = AreaFlags::LOCKED.union(AreaFlags::LOCK_ON_FAULT);

impl AddressSpace {
    /// Takes advice about `length` bytes from `address`.
    ///
    /// # Errors
    /// `EINVAL`: not aligned, past 2^64, or not for this kind of area. `ENOMEM`: a part is not mapped (the rest was done). `EFAULT`: a page could
    /// not be brought in.
    pub fn advise(&self, address: VirtualAddress, length: u64, advice: Advice) -> Result<()> {
        if !address.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let range = round_up(length).and_then(|length| VirtualRange::new(address, length)).ok_or(Errno::EINVAL)?;
        if range.length() == 0 {
            return Ok(());
        }
        let access = match advice {
            Advice::PopulateRead => Some(AccessKind::Read),
            Advice::PopulateWrite => Some(AccessKind::Write),
            _ => None,
        };
        match access {
            Some(access) => self.populate_checked(range, access),
            None => self.lock().advise(range, advice),
        }
    }

    fn populate_checked(&self, range: VirtualRange, access: AccessKind) -> Result<()> {
        if range.end > Current::USER_END {
            return Err(Errno::ENOMEM);
        }
        let mut page = range.start;
        while page < range.end {
            page = self.lock().bring_in_ahead(page, range.end, access).map_err(|trouble| match trouble {
                Trouble::NotMapped | Trouble::OutOfMemory => Errno::ENOMEM,
                Trouble::NotAllowed => Errno::EINVAL,
                Trouble::Bus => Errno::EFAULT,
            })?;
        }
        Ok(())
    }

    /// For each page of `length` bytes from `address`, 1 when it is in memory and 0 when it is not (`mincore`).
    ///
    /// # Errors
    /// `ENOMEM`: a part is not mapped.
    pub fn residence(&self, range: VirtualRange) -> Result<Vec<u8>> {
        let state = self.lock();
        let mut pages = Vec::new();
        let count = usize::try_from(range.length() >> PAGE_SHIFT).map_err(|_| Errno::ENOMEM)?;
        pages.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        let mut position = range.start;
        for area in state.areas.overlapping(range) {
            if area.range.start > position {
                return Err(Errno::ENOMEM);
            }
            let end = area.range.end.min(range.end);
            for page in (VirtualRange { start: position, end }).pages() {
                let is_present = state.tables.translate(page).is_some()
                    || match &area.backing {
                        Backing::Anonymous => false,
                        Backing::Object { object, .. } => object.resident_page(area.page_index(page)).is_some(),
                    };
                pages.push(u8::from(is_present));
            }
            position = end;
        }
        if position < range.end { Err(Errno::ENOMEM) } else { Ok(pages) }
    }

    /// Writes shared pages of `range` back and waits (`msync(MS_SYNC)`); with `invalidates`, refuses locked areas.
    ///
    /// # Errors
    /// `ENOMEM`: a part is not mapped (the rest was done). `EBUSY`. What the object says.
    pub fn synchronise(&self, range: VirtualRange, invalidate: Invalidate, writing: Writing) -> Result<()> {
        let mut work: Vec<(Arc<dyn MemoryObject>, u64, u64)> = Vec::new();
        let mut position = range.start;
        let mut holes = false;
        {
            let state = self.lock();
            for area in state.areas.overlapping(range) {
                holes |= area.range.start > position;
                let start = area.range.start.max(position);
                let end = area.range.end.min(range.end);
                if invalidate == Invalidate::Yes && area.flags.contains(AreaFlags::LOCKED) {
                    return Err(Errno::EBUSY);
                }
                if let Backing::Object { object, .. } = &area.backing
                    && writing == Writing::Wait
                    && area.flags.contains(AreaFlags::SHARED)
                {
                    work.push((object.clone(), area.page_index(start), (end.value() - start.value()) >> PAGE_SHIFT));
                }
                position = end;
            }
        }
        holes |= position < range.end;
        for (object, first, count) in work {
            object.synchronise(first, count)?;
        }
        if holes { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Locks the pages of `length` bytes from `address`.
    ///
    /// # Errors
    /// `EPERM`: the limit is 0. `ENOMEM`: over the limit, or a part is not mapped. `EINVAL`: past 2^64.
    pub fn lock_range(&self, address: VirtualAddress, length: u64, mode: LockMode, limit: LockLimit) -> Result<()> {
        let mut state = self.lock();
        state.may_lock(limit)?;
        let Some(range) = whole_pages(address, length) else { return Err(Errno::EINVAL) };
        let bytes = state.limits.locked;
        if limit == LockLimit::Enforced && bytes != UNLIMITED {
            let new = range.length() >> PAGE_SHIFT;
            let present: u64 = state
                .areas
                .overlapping(range)
                .filter(|area| area.flags.contains(AreaFlags::LOCKED))
                .map(|area| {
                    (area.range.end.min(range.end).value() - area.range.start.max(range.start).value()) >> PAGE_SHIFT
                })
                .sum();
            if (state.counters.locked + new).saturating_sub(present) > bytes >> PAGE_SHIFT {
                return Err(Errno::ENOMEM);
            }
        }
        state.change_flags(range, |flags| Ok((flags - LOCK_FLAGS) | mode.flags()))?;
        drop(state);
        if mode == LockMode::Now {
            self.populate(range);
        }
        Ok(())
    }

    /// Unlocks the pages of `length` bytes from `address`.
    ///
    /// # Errors
    /// `ENOMEM`: a part is not mapped. `EINVAL`: past 2^64.
    pub fn unlock_range(&self, address: VirtualAddress, length: u64) -> Result<()> {
        let Some(range) = whole_pages(address, length) else { return Err(Errno::EINVAL) };
        self.lock().change_flags(range, |flags| Ok(flags - LOCK_FLAGS))
    }

    /// `mlockall`: `present` for what is there, `future` for what will come.
    ///
    /// # Errors
    /// `EPERM`: the limit is 0. `ENOMEM`: over the limit.
    pub fn lock_all(&self, present: Option<LockMode>, future: Option<LockMode>, limit: LockLimit) -> Result<()> {
        let mut state = self.lock();
        state.may_lock(limit)?;
        let bytes = state.limits.locked;
        if present.is_some()
            && limit == LockLimit::Enforced
            && bytes != UNLIMITED
            && state.counters.total > bytes >> PAGE_SHIFT
        {
            return Err(Errno::ENOMEM);
        }
        state.future = future.map_or(AreaFlags::empty(), LockMode::flags);
        let Some(mode) = present else { return Ok(()) };
        let ranges = state.lock_everything(mode.flags());
        drop(state);
        if mode == LockMode::Now {
            ranges.into_iter().for_each(|range| self.populate(range));
        }
        Ok(())
    }

    /// `munlockall`.
    pub fn unlock_all(&self) {
        let mut state = self.lock();
        state.future = AreaFlags::empty();
        state.lock_everything(AreaFlags::empty());
    }
}

/// Whether `msync` got `MS_INVALIDATE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalidate {
    /// It did.
    Yes,
    /// It did not.
    No,
}

/// Whether `msync` waits for the writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// `MS_SYNC`.
    Wait,
    /// `MS_ASYNC`, or neither.
    Later,
}

/// The pages that `length` bytes from `address` touch; `None` past 2^64.
fn whole_pages(address: VirtualAddress, length: u64) -> Option<VirtualRange> {
    let length = round_up(length.checked_add(address.page_offset() as u64)?)?;
    VirtualRange::new(address.align_down(), length)
}

impl State {
    /// `EPERM` when nothing may be locked at all.
    fn may_lock(&self, limit: LockLimit) -> Result<()> {
        if limit == LockLimit::Enforced && self.limits.locked == 0 { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Calls `change` on the flags of every area in `range`, cut at its ends.
    fn change_flags(
        &mut self,
        range: VirtualRange,
        mut change: impl FnMut(AreaFlags) -> Result<AreaFlags>,
    ) -> Result<()> {
        let mut position = range.start;
        let mut result = Ok(());
        while position < range.end {
            let Some(area) = self.areas.at_or_after(position).filter(|area| area.range.start < range.end) else {
                return Err(Errno::ENOMEM);
            };
            if area.range.start > position {
                result = Err(Errno::ENOMEM);
            }
            let start = area.range.start.max(position);
            let end = area.range.end.min(range.end);
            let old = area.flags;
            let new = change(old)?;
            if new != old {
                if self.areas.len() + 2 > super::AREA_LIMIT {
                    return Err(Errno::ENOMEM);
                }
                self.areas.reserve(VirtualRange { start, end })?;
                self.areas.split_at(start);
                self.areas.split_at(end);
                self.set_area_flags(start, new);
            }
            self.areas.merge_at(start);
            position = end;
        }
        self.areas.merge_at(range.end);
        result
    }

    /// Sets the lock flags of every area; gives the ranges that are accessible.
    fn lock_everything(&mut self, lock: AreaFlags) -> Vec<VirtualRange> {
        let ranges: Vec<_> =
            self.areas.iter().filter(|area| !area.flags.contains(AreaFlags::SPECIAL)).map(|area| area.range).collect();
        for range in &ranges {
            if let Some(flags) = self.areas.find(range.start).map(|area| area.flags) {
                self.set_area_flags(range.start, (flags - LOCK_FLAGS) | lock);
            }
        }
        for range in &ranges {
            self.areas.merge_at(range.start);
        }
        ranges
    }

    fn advise(&mut self, range: VirtualRange, advice: Advice) -> Result<()> {
        if let Some((set, clear)) = advice.flags() {
            if advice == Advice::WipeOnFork && self.areas.overlapping(range).any(|area| !is_private_anonymous(area)) {
                return Err(Errno::EINVAL);
            }
            return self.change_flags(range, |flags| {
                // Linux does not let the kernel's own areas change in these two respects.
                let fixed = flags.contains(AreaFlags::SPECIAL)
                    && matches!(advice, Advice::DoFork | Advice::DoDump | Advice::HugePage | Advice::NoHugePage);
                if fixed { Err(Errno::EINVAL) } else { Ok((flags - clear) | set) }
            });
        }
        let mut position = range.start;
        let mut holes = false;
        let mut kept = Removed::new();
        while position < range.end {
            let Some(area) = self.areas.at_or_after(position).filter(|area| area.range.start < range.end) else {
                holes = true;
                break;
            };
            holes |= area.range.start > position;
            let piece = VirtualRange { start: area.range.start.max(position), end: area.range.end.min(range.end) };
            let is_locked = area.flags.contains(AreaFlags::LOCKED);
            let drops = match advice {
                Advice::DontNeed if is_locked => return Err(Errno::EINVAL),
                Advice::Cold | Advice::PageOut if is_locked => return Err(Errno::EINVAL),
                Advice::DontNeed | Advice::DontNeedLocked => true,
                Advice::Free if !is_private_anonymous(area) => return Err(Errno::EINVAL),
                // The content may go at any time: at once is the earliest.
                Advice::Free => true,
                _ => false,
            };
            if drops {
                let area = area.clone();
                super::reserve_removed(&mut kept, 1)?;
                let mut batch = self.batch();
                self.zap(&area, piece, &mut batch)?;
                kept.push(area);
            }
            position = piece.end;
        }
        if holes { Err(Errno::ENOMEM) } else { Ok(()) }
    }
}

fn is_private_anonymous(area: &Area) -> bool {
    matches!(area.backing, Backing::Anonymous) && !area.flags.contains(AreaFlags::SHARED)
}
