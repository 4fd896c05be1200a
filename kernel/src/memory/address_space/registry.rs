//! All address spaces: where an object that loses pages finds those that map them.
//!
//! The registry's lock is a leaf: nothing is called with it held but the heap.

use super::{AddressSpace, State};
use crate::base::{Errno, FrameNumber, PAGE_SHIFT, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing};
use crate::memory::frame::Frame;
use crate::memory::object::{Copies, MemoryObject, Replacement, set_unmap};
use crate::memory::paging::Entry;
use crate::sync::{LockRank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// The spaces by their identities. A tree, so that what a crowd of them takes goes with them.
static REGISTRY: SpinLock<BTreeMap<u64, Weak<AddressSpace>>> = SpinLock::new(LockRank::AddressSpace, BTreeMap::new());

/// Enters a space.
pub(super) fn add(identity: u64, space: Weak<AddressSpace>) {
    let mut registry = REGISTRY.lock();
    if registry.is_empty() {
        set_unmap(unmap_object);
    }
    registry.insert(identity, space);
}

/// Removes a space.
pub(super) fn remove(identity: u64) {
    let weak = REGISTRY.lock().remove(&identity);
    drop(weak);
}

/// All spaces that live now.
pub(super) fn collect() -> Vec<Arc<AddressSpace>> {
    REGISTRY.lock().values().filter_map(Weak::upgrade).collect()
}

/// Takes pages of an object out of every space.
fn unmap_object(identity: u64, first: u64, end: u64, copies: Copies) {
    for space in collect() {
        space.lock().unmap_object(identity, first, end, copies);
    }
}

/// How often a page of an object is taken out of all spaces before it counts as busy: somebody may fault it in again meanwhile.
const ATTEMPTS: u32 = 10;

/// Puts `new` in the place of the frame `old` of the page `index` of `object`, whoever maps it.
///
/// # Errors
/// `EBUSY`: it is in use, or the object's pages stay. `ENOENT`: it has gone.
pub(super) fn replace_object_page(object: &dyn MemoryObject, index: u64, old: FrameNumber, new: &Frame) -> Result<()> {
    for _ in 0..ATTEMPTS {
        for space in collect() {
            space.lock().unmap_frame(object.identity(), index, old);
        }
        match object.replace_page(index, old, new) {
            Replacement::Done => return Ok(()),
            Replacement::Gone => return Err(Errno::ENOENT),
            Replacement::Refused => break,
            Replacement::Busy => {}
        }
    }
    Err(Errno::EBUSY)
}

/// The part of `area` that shows the pages `first..end` of its object.
fn shown(area: &Area, first: u64, end: u64) -> Option<VirtualRange> {
    let base = area.page_index(area.range.start);
    let low = first.saturating_sub(base).min(area.page_count());
    let high = end.saturating_sub(base).min(area.page_count());
    let at = |pages: u64| VirtualAddress::new(area.range.start.value() + (pages << PAGE_SHIFT));
    (low < high).then(|| VirtualRange { start: at(low), end: at(high) })
}

impl State {
    /// Takes the frame `number`, page `index` of an object, out of this space, wherever it shows it. Copies stay.
    fn unmap_frame(&mut self, identity: u64, index: u64, number: FrameNumber) {
        let mut batch = self.batch();
        // Each time anew: taking a page out changes no area, but the borrow checker cannot know.
        let mut position = VirtualAddress::new(0);
        while let Some(area) = self.areas.at_or_after(position) {
            position = area.range.end;
            let is_its = match &area.backing {
                Backing::Object { object, .. } => object.identity() == identity,
                Backing::Anonymous => false,
            };
            let Some(page) = is_its.then(|| shown(area, index, index.saturating_add(1))).flatten() else { continue };
            if matches!(self.tables.entry(page.start), Entry::Leaf(leaf) if leaf.frame == number) {
                let area = area.clone();
                // Where a shared table cannot be copied the page stays, and is busy.
                let _ = self.zap(&area, page, &mut batch);
            }
        }
    }

    fn unmap_object(&mut self, identity: u64, first: u64, end: u64, copies: Copies) {
        let concerned: Vec<(Area, VirtualRange)> = self
            .areas
            .iter()
            .filter(|area| match &area.backing {
                Backing::Object { object, .. } => object.identity() == identity,
                Backing::Anonymous => false,
            })
            // A hole leaves private areas with copies alone: which pages are copies is not known any more.
            .filter(|area| copies == Copies::Go || area.flags.contains(AreaFlags::SHARED) || !area.has_private_pages)
            .filter_map(|area| shown(area, first, end).map(|range| (area.clone(), range)))
            .collect();
        let mut batch = self.batch();
        for (area, range) in concerned {
            // Memory that a split would need is not there only when nothing can be done about it anyway.
            let _ = self.zap(&area, range, &mut batch);
        }
    }
}
