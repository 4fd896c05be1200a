//! `mprotect`.

use super::{AddressSpace, State, enough_memory, is_accountable, leaf_flags, round_up};
use crate::arch::{Current, Mmu};
use crate::base::{Errno, PAGE_SHIFT, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{AreaFlags, Protection};
use crate::memory::paging::{PageFlags, TlbBatch};
use core::ops::ControlFlow;

impl AddressSpace {
    /// Sets what is allowed in `length` bytes from `address`. Areas before the one that gives an error are changed, as on Linux.
    ///
    /// # Errors
    /// `EINVAL`: not aligned. `ENOMEM`: past the end, a part of the range is not mapped, too many areas, or more writable memory
    /// than the machine has. `EACCES`: a file that was not opened so.
    pub fn protect(&self, address: VirtualAddress, length: u64, protection: Protection) -> Result<()> {
        if !address.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        if length == 0 {
            return Ok(());
        }
        let length = round_up(length).ok_or(Errno::ENOMEM)?;
        let range = VirtualRange::new(address, length).ok_or(Errno::ENOMEM)?;
        self.lock().protect(range, protection)
    }

    /// The start of the growing stack that holds `address` (`PROT_GROWSDOWN`).
    ///
    /// # Errors
    /// `ENOMEM`: nothing is mapped there. `EINVAL`: no stack is.
    pub fn stack_bottom(&self, address: VirtualAddress) -> Result<VirtualAddress> {
        let state = self.lock();
        let area = state.areas.find(address).ok_or(Errno::ENOMEM)?;
        if area.flags.contains(AreaFlags::GROWS_DOWN) { Ok(area.range.start) } else { Err(Errno::EINVAL) }
    }
}

impl State {
    fn protect(&mut self, range: VirtualRange, protection: Protection) -> Result<()> {
        let mut position = range.start;
        while position < range.end {
            let Some(area) = self.areas.find(position) else { return Err(Errno::ENOMEM) };
            let end = area.range.end.min(range.end);
            let piece = VirtualRange { start: position, end };
            let old = area.flags;
            let mut new = old - (AreaFlags::READ | AreaFlags::WRITE | AreaFlags::EXECUTE);
            new |= AreaFlags::allowing(protection);
            if new != old {
                self.protect_piece(piece, old, new)?;
            }
            self.areas.merge_at(position);
            position = end;
        }
        self.areas.merge_at(range.end);
        Ok(())
    }

    /// Changes `piece`, which lies in one area with flags `old`.
    fn protect_piece(&mut self, piece: VirtualRange, old: AreaFlags, mut new: AreaFlags) -> Result<()> {
        let wanted =
            AreaFlags::from_bits_truncate(new.protection().bits() << AreaFlags::MAY_READ.bits().trailing_zeros());
        if !old.contains(wanted) {
            return Err(Errno::EACCES);
        }
        let pages = piece.length() >> PAGE_SHIFT;
        if is_accountable(new) && !old.contains(AreaFlags::ACCOUNTED) {
            if !enough_memory(pages) {
                return Err(Errno::ENOMEM);
            }
            new |= AreaFlags::ACCOUNTED;
        }
        if self.areas.len() + 2 > super::AREA_LIMIT {
            return Err(Errno::ENOMEM);
        }
        debug_assert!(piece.end <= Current::USER_END);
        self.areas.reserve(piece)?;
        self.protect_leaves(piece, old, new)?;
        self.areas.split_at(piece.start);
        self.areas.split_at(piece.end);
        self.set_area_flags(piece.start, new);
        Ok(())
    }

    /// Makes the leaf of `page` allow what `flags` allow.
    pub(super) fn protect_page(&mut self, page: VirtualAddress, flags: AreaFlags) {
        if let Some(range) = VirtualRange::new(page, PAGE_SIZE as u64) {
            // Where a shared table cannot be copied, nothing was changed that would have to be changed back.
            let _ = self.protect_leaves(range, flags, flags);
        }
    }

    /// Makes the leaves of `range`, which allow what `old` allows, allow what `new` allows. On an error they are as they were.
    fn protect_leaves(&mut self, range: VirtualRange, old: AreaFlags, new: AreaFlags) -> Result<()> {
        let mut batch = self.batch();
        let mut changed = VirtualRange { start: range.start, end: range.start };
        self.change_leaves(range, new, &mut batch, &mut changed).inspect_err(|_| {
            // The tables up to there are this space's own by now: changing them back needs no memory.
            let mut again = VirtualRange::default();
            let _ = self.change_leaves(changed, old, &mut batch, &mut again);
        })
    }

    /// Makes the leaves of `range` allow what `flags` allow; `changed` is how far that came. Private ones that other spaces refer to
    /// stay copy-on-write.
    fn change_leaves(
        &mut self,
        range: VirtualRange,
        flags: AreaFlags,
        batch: &mut TlbBatch,
        changed: &mut VirtualRange,
    ) -> Result<()> {
        let allowed = leaf_flags(flags);
        let is_private_writable = flags.is_private_writable();
        let kept = PageFlags::DIRTY | PageFlags::UNCOUNTED | PageFlags::ACCESSED;
        Ok(self.tables.visit_range(range, batch, |slot| {
            if let Some(leaf) = slot.leaf() {
                let mut new = (leaf.flags & kept) | allowed;
                if !allowed.contains(PageFlags::SHARED) {
                    // Two references: the leaf's and the one that asking made.
                    let is_own = slot.frame().is_some_and(|frame| frame.reference_count() == 2);
                    new |= match (is_private_writable, is_own) {
                        (true, true) => PageFlags::WRITABLE,
                        _ => PageFlags::COPY_ON_WRITE,
                    };
                }
                if new != leaf.flags {
                    slot.protect(new);
                }
                changed.end = slot.page().offset(leaf.size.pages() << PAGE_SHIFT);
            }
            ControlFlow::Continue(())
        })?)
    }
}
