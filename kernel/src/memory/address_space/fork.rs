//! `fork`, and the end of an address space.

use super::{AddressSpace, State};
use crate::arch::{Current, Mmu};
use crate::base::{Errno, Result, VirtualAddress, VirtualRange};
use crate::memory::area::AreaFlags;
use crate::memory::area_map::AreaMap;
use crate::memory::paging::TlbBatch;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

impl AddressSpace {
    /// A copy: shared areas are shared, the pages of private ones are common until one side writes.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>> {
        let mut parent = self.lock();
        let mut batch = parent.batch();
        let tables = parent.tables.fork(&mut batch).ok_or(Errno::ENOMEM)?;
        drop(batch);
        let mut child = State {
            tables,
            areas: AreaMap::new(),
            layout: parent.layout,
            program_break: parent.program_break,
            limits: parent.limits,
            future: AreaFlags::empty(),
            counters: super::Counters {
                anonymous: parent.counters.anonymous,
                file: parent.counters.file,
                shared: parent.counters.shared,
                ..super::Counters::default()
            },
        };
        child.areas.reserve_copies(parent.areas.len())?;
        let mut batch = TlbBatch::new(&child.tables);
        for area in parent.areas.iter() {
            let dropped = area.flags.intersects(AreaFlags::DONT_FORK | AreaFlags::WIPE_ON_FORK);
            if dropped {
                child.zap(area, area.range, &mut batch)?;
            }
            if !area.flags.contains(AreaFlags::DONT_FORK) {
                let mut copy = area.clone();
                copy.flags -= AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT;
                copy.has_private_pages &= !dropped;
                child.count_area(copy.flags, copy.page_count());
                child.areas.append(copy);
            }
        }
        drop(batch);
        child.counters.peak_resident = child.resident();
        drop(parent);
        let child = Self::with_state(child);
        child.membarrier.store(self.membarrier.load(Relaxed), Relaxed);
        Ok(child)
    }

    /// Takes everything away, for a space that no program runs in any more; `execve` and the end of a process may call it so that the
    /// memory is free before the last reference goes.
    pub fn clear(&self) {
        let mut removed = AreaMap::new();
        let mut state = self.lock();
        state.clear(&mut removed);
        drop(state);
        drop(removed);
    }
}

impl State {
    fn clear(&mut self, removed: &mut AreaMap) {
        let areas = core::mem::take(&mut self.areas);
        let mut batch = self.batch();
        // No entry straddles an end of the whole range, so this needs no memory.
        let whole = VirtualRange { start: VirtualAddress::new(0), end: Current::USER_END };
        let _ = self.tables.unmap_range(whole, &mut batch);
        for area in areas.iter() {
            self.uncount_area(area.flags, area.page_count());
        }
        *removed = areas;
        self.counters.anonymous = 0;
        self.counters.file = 0;
        self.counters.shared = 0;
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The tables give their leaves back themselves; what areas count for in the whole machine goes here.
        super::COMMITTED.fetch_sub(self.counters.committed, super::Relaxed);
    }
}
