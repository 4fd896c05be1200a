//! `brk`: the heap's end.

use super::{AddressSpace, Removed, State, UNLIMITED, enough_memory};
use crate::arch::{Current, Mmu};
use crate::base::{PAGE_SHIFT, PAGE_SIZE, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing};

impl AddressSpace {
    /// Moves the heap's end to `wish` and gives where it is then: the old end when that is not possible (or `wish` lies below
    /// the heap), as Linux's call does.
    pub fn set_break(&self, wish: VirtualAddress) -> VirtualAddress {
        let mut removed = Removed::new();
        let mut state = self.lock();
        if let Some(new) = state.move_break(wish, &mut removed) {
            state.program_break = new;
        }
        let result = state.program_break;
        let locks = state.future.contains(AreaFlags::LOCKED) && !state.future.contains(AreaFlags::LOCK_ON_FAULT);
        let heap = VirtualRange { start: state.layout.heap_start, end: result };
        drop(state);
        drop(removed);
        if locks {
            self.populate(heap);
        }
        result
    }
}

impl State {
    fn move_break(&mut self, wish: VirtualAddress, removed: &mut Removed) -> Option<VirtualAddress> {
        let start = self.layout.heap_start;
        if wish < start || wish > Current::USER_END {
            return None;
        }
        let heap = wish.value() - start.value();
        let limit = self.limits.data;
        if limit != UNLIMITED && heap.saturating_add(self.layout.data.length()) > limit {
            return None;
        }
        let (old, new) = (self.program_break.align_up()?, wish.align_up()?);
        if new < old {
            self.unmap(VirtualRange { start: new, end: old }, removed).ok()?;
        } else if new > old {
            let clear_end = new.checked_add(PAGE_SIZE as u64)?;
            if self.areas.at_or_after(old).is_some_and(|next| clear_end.value() > next.guarded_start()) {
                return None;
            }
            let range = VirtualRange { start: old, end: new };
            let pages = range.length() >> PAGE_SHIFT;
            let flags = AreaFlags::READ
                | AreaFlags::WRITE
                | AreaFlags::MAY_READ
                | AreaFlags::MAY_WRITE
                | AreaFlags::MAY_EXECUTE
                | AreaFlags::ACCOUNTED
                | self.future;
            if !self.may_expand(flags, pages) || !enough_memory(pages) || self.areas.len() > super::AREA_LIMIT {
                return None;
            }
            if flags.contains(AreaFlags::LOCKED) {
                self.check_locked(pages, super::LockLimit::Enforced).ok()?;
            }
            self.areas.reserve(range).ok()?;
            self.insert_area(Area {
                range,
                flags,
                has_private_pages: false,
                backing: Backing::Anonymous,
                policy: None,
            });
        }
        Some(wish)
    }
}
