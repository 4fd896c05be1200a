//! `mremap`: resizing and moving.

use super::{
    AREA_LIMIT, AddressSpace, LockLimit, MapRequest, Placement, Removed, State, enough_memory, reserve_removed,
    round_up,
};
use crate::arch::{Current, Mmu};
use crate::base::{Errno, PAGE_SHIFT, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing, Protection};

bitflags::bitflags! {
    /// Linux's `MREMAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RemapFlags: u32 {
        /// It may move.
        const MAY_MOVE = 1;
        /// It moves to the given address.
        const FIXED = 2;
        /// The old range stays, without pages.
        const DONT_UNMAP = 4;
    }
}

/// A request to resize or move.
#[derive(Clone, Copy, Debug)]
pub struct RemapRequest {
    /// The mapping's address.
    pub address: VirtualAddress,
    /// Its length.
    pub old_length: u64,
    /// What it is to be.
    pub new_length: u64,
    /// How.
    pub flags: RemapFlags,
    /// With [`RemapFlags::FIXED`], and as a wish with [`RemapFlags::DONT_UNMAP`].
    pub new_address: VirtualAddress,
    /// Whether the limit of locked memory applies.
    pub lock_limit: LockLimit,
}

impl AddressSpace {
    /// Resizes or moves a mapping and gives its address.
    ///
    /// # Errors
    /// `EINVAL`: flags that do not go together, addresses that are not aligned, new length 0, ranges that overlap. `EFAULT`: the old range is
    /// not one mapping. `ENOMEM`: no room. `EAGAIN`: over the limit of locked memory.
    pub fn remap(&self, request: &RemapRequest) -> Result<VirtualAddress> {
        let mut removed = Removed::new();
        let mut state = self.lock();
        let result = state.remap(request, &mut removed);
        let locked = result
            .is_ok_and(|start| state.areas.find(start).is_some_and(|area| area.flags.contains(AreaFlags::LOCKED)));
        drop(state);
        drop(removed);
        let start = result?;
        if locked && let Some(range) = VirtualRange::new(start, request.new_length) {
            self.populate(range);
        }
        Ok(start)
    }
}

impl State {
    fn remap(&mut self, request: &RemapRequest, removed: &mut Removed) -> Result<VirtualAddress> {
        let &RemapRequest { address, flags, new_address, .. } = request;
        if flags.contains(RemapFlags::FIXED) && !flags.contains(RemapFlags::MAY_MOVE) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(RemapFlags::DONT_UNMAP)
            && (!flags.contains(RemapFlags::MAY_MOVE) || request.old_length != request.new_length)
        {
            return Err(Errno::EINVAL);
        }
        if !address.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        // Linux lets the lengths wrap to zero here.
        let mut old_length = round_up(request.old_length).unwrap_or(0);
        let new_length = round_up(request.new_length).unwrap_or(0);
        if new_length == 0 {
            return Err(Errno::EINVAL);
        }
        if self.areas.find(address).is_none() {
            return Err(Errno::EFAULT);
        }
        let end = Current::USER_END.value();
        if flags.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP) {
            if !new_address.is_page_aligned() || new_length > end || new_address.value() > end - new_length {
                return Err(Errno::EINVAL);
            }
            let old = VirtualRange::new(address, old_length).ok_or(Errno::EINVAL)?;
            let new = VirtualRange::new(new_address, new_length).ok_or(Errno::EINVAL)?;
            if old.overlaps(new) {
                return Err(Errno::EINVAL);
            }
            if self.areas.len() + 2 > AREA_LIMIT - 3 {
                return Err(Errno::ENOMEM);
            }
            if flags.contains(RemapFlags::FIXED) {
                self.unmap(new, removed)?;
            }
            if old_length > new_length {
                self.unmap_tail(address, old_length, new_length, removed)?;
                old_length = new_length;
            }
            self.check_resize(request, old_length, new_length)?;
            if flags.contains(RemapFlags::DONT_UNMAP) {
                let area_flags = self.areas.find(address).map_or(AreaFlags::empty(), |area| area.flags);
                if !self.may_expand(area_flags, old_length >> PAGE_SHIFT) {
                    return Err(Errno::ENOMEM);
                }
            }
            let placement = if flags.contains(RemapFlags::FIXED) { Placement::Fixed } else { Placement::Anywhere };
            let target = self.place_remapped(new_address, new_length, placement)?;
            return self.move_area(address, old_length, target, new_length, flags, removed);
        }
        if old_length >= new_length {
            self.unmap_tail(address, old_length, new_length, removed)?;
            return Ok(address);
        }
        self.check_resize(request, old_length, new_length)?;
        let growth = new_length - old_length;
        let area_end = self.areas.find(address).map_or(0, |area| area.range.end.value());
        if area_end - address.value() == old_length
            && self.grow_in_place(address, VirtualAddress::new(area_end), growth)
        {
            return Ok(address);
        }
        if !flags.contains(RemapFlags::MAY_MOVE) {
            return Err(Errno::ENOMEM);
        }
        let target = self.place_remapped(VirtualAddress::default(), new_length, Placement::Anywhere)?;
        self.move_area(address, old_length, target, new_length, flags, removed)
    }

    fn unmap_tail(&mut self, address: VirtualAddress, old: u64, new: u64, removed: &mut Removed) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let start = address.checked_add(new).ok_or(Errno::EINVAL)?;
        let tail =
            VirtualRange::new(start, old - new).filter(|tail| tail.end <= Current::USER_END).ok_or(Errno::EINVAL)?;
        self.unmap(tail, removed)
    }

    /// Linux's `vma_to_resize`.
    fn check_resize(&self, request: &RemapRequest, old_length: u64, new_length: u64) -> Result<()> {
        let area = self.areas.find(request.address).ok_or(Errno::EFAULT)?;
        if old_length == 0 && !area.flags.contains(AreaFlags::SHARED) {
            return Err(Errno::EINVAL);
        }
        let special = area.flags.contains(AreaFlags::SPECIAL);
        if special && request.flags.contains(RemapFlags::DONT_UNMAP) {
            return Err(Errno::EINVAL);
        }
        if old_length > area.range.end.value() - request.address.value() {
            return Err(Errno::EFAULT);
        }
        if old_length == new_length {
            return Ok(());
        }
        let pages = new_length >> PAGE_SHIFT;
        if area.page_index(request.address).checked_add(pages).is_none() {
            return Err(Errno::EINVAL);
        }
        if special {
            return Err(Errno::EFAULT);
        }
        let growth = new_length.saturating_sub(old_length) >> PAGE_SHIFT;
        if area.flags.contains(AreaFlags::LOCKED) {
            self.check_locked(growth, request.lock_limit)?;
        }
        if !self.may_expand(area.flags, growth) || (area.flags.contains(AreaFlags::ACCOUNTED) && !enough_memory(growth))
        {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    fn place_remapped(&self, address: VirtualAddress, length: u64, placement: Placement) -> Result<VirtualAddress> {
        let request = MapRequest { address, placement, ..MapRequest::anonymous(length, Protection::empty()) };
        self.place(&request, length, AreaFlags::empty())
    }

    /// Grows the area that holds `address` and ends at `end`, if there is room behind it.
    fn grow_in_place(&mut self, address: VirtualAddress, end: VirtualAddress, growth: u64) -> bool {
        let Some(grown) = VirtualRange::new(end, growth).filter(|grown| grown.end <= Current::USER_END) else {
            return false;
        };
        if self.areas.overlapping(grown).next().is_some() {
            return false;
        }
        let Some(flags) = self.areas.find(address).map(|area| area.flags) else { return false };
        self.areas.resize(address, |area| area.range.end = grown.end);
        self.count_area(flags, growth >> PAGE_SHIFT);
        self.areas.merge_at(grown.end);
        true
    }

    /// Moves `old_length` bytes at `address`, which lie in one area, to `target`, where nothing is, as an area of `new_length`.
    fn move_area(
        &mut self,
        address: VirtualAddress,
        old_length: u64,
        target: VirtualAddress,
        new_length: u64,
        flags: RemapFlags,
        removed: &mut Removed,
    ) -> Result<VirtualAddress> {
        if self.areas.len() + 3 > AREA_LIMIT {
            return Err(Errno::ENOMEM);
        }
        let old = VirtualRange::new(address, old_length).ok_or(Errno::EFAULT)?;
        let range = VirtualRange::new(target, new_length).ok_or(Errno::ENOMEM)?;
        let source = self.areas.find(address).ok_or(Errno::EFAULT)?;
        let first = source.page_index(address);
        let mut moved = Area { range, ..source.clone() };
        if let Backing::Object { first: start, .. } = &mut moved.backing {
            *start = first;
        }
        self.areas.reserve(old)?;
        self.areas.reserve(range)?;
        reserve_removed(removed, 1)?;
        let mut batch = self.batch();
        self.tables.move_range(old, target, &mut batch)?;
        drop(batch);
        if flags.contains(RemapFlags::DONT_UNMAP) {
            self.areas.split_at(old.start);
            self.areas.split_at(old.end);
            if let Some(stays) = self.areas.find(address).map(|area| area.flags) {
                self.set_area_flags(address, stays - (AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT));
            }
        } else if old_length != 0 {
            self.unmap(old, removed)?;
        }
        self.insert_area(moved);
        Ok(target)
    }
}
