//! Moving pages to other nodes: `move_pages`, `migrate_pages`, and `mbind` with `MPOL_MF_MOVE`.
//!
//! A page is moved by copying its frame, and while that goes on nobody can reach it by way of any page table:
//!
//! | page | how |
//! |---|---|
//! | private, this space's own | taken out of the tables, forgotten everywhere, copied, put back: under the space's lock |
//! | private, common after a fork | the same in all spaces that have it at that address, their locks taken together, in the order of their identities |
//! | an object's | taken out of all spaces (who wants it faults), then replaced in the object if nobody refers to it any more |
//!
//! A frame's count tells whether all users were found; where not (the kernel reads or writes it just now, or `mremap` has put a common page elsewhere)
//! the page is busy and stays.
//!
//! Nobody else holds two spaces' locks at a time, so the order among them is this file's own.

use super::registry;
use super::{AddressSpace, State};
use crate::arch::{AccessKind, Current, Mmu};
use crate::base::{Errno, FrameNumber, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing};
use crate::memory::frame_allocator;
use crate::memory::node_frames::{self, Content};
use crate::memory::numa::{NodeId, NodeMask, Placement, migration_pairs};
use crate::memory::object::{MemoryObject, PageAccounting};
use crate::memory::paging::{Entry, PageFlags};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Which pages may be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Those that nobody else maps (`MPOL_MF_MOVE`).
    Own,
    /// All (`MPOL_MF_MOVE_ALL`).
    All,
}

/// The node of a frame; node 0 for one that the allocator does not manage.
pub(super) fn node_of_frame(number: FrameNumber) -> NodeId {
    NodeId(frame_allocator::descriptor(number).map_or(0, |frame| frame.node()))
}

/// An object and a page's number in it.
type ObjectPage = (Arc<dyn MemoryObject>, u64);

/// A page to be moved, as its space has it.
enum Found {
    /// Where it should be.
    InPlace,
    /// Moved.
    Moved,
    /// A private page that other spaces have, too.
    Common(FrameNumber, Placement),
    /// An object's page.
    Object(Arc<dyn MemoryObject>, u64, FrameNumber, Placement),
}

impl AddressSpace {
    /// The node of the page at `address`, if it is in memory.
    ///
    /// # Errors
    /// `EFAULT`: nothing is mapped there, or the zero page. `ENOENT`: it is not in memory.
    pub fn resident_node(&self, address: VirtualAddress) -> Result<NodeId> {
        let state = self.lock();
        let area = state.areas.find(address).ok_or(Errno::EFAULT)?;
        state.resident_frame(area, address.align_down()).map(node_of_frame)
    }

    /// Whether the page at `address` can be moved to `node`: `Ok(false)` where it is there already.
    ///
    /// # Errors
    /// `EFAULT`, `ENOENT`: as [`Self::resident_node`]; `EFAULT` also for the kernel's own. `EACCES`: others map it, and `reach` excludes that.
    pub fn may_move(&self, address: VirtualAddress, node: NodeId, reach: Reach) -> Result<bool> {
        let mut state = self.lock();
        let page = address.align_down();
        let area =
            state.areas.find(page).filter(|area| !area.flags.contains(AreaFlags::SPECIAL)).ok_or(Errno::EFAULT)?;
        let frame = state.resident_frame(area, page)?;
        if node_of_frame(frame) == node {
            return Ok(false);
        }
        state.check_reach(page, reach)?;
        Ok(true)
    }

    /// Moves the page at `address` to `node` and no other.
    ///
    /// # Errors
    /// As [`Self::may_move`]. `EBUSY`: it is in use, or stays for another reason. `ENOMEM`: the node has no memory left.
    pub fn move_page(&self, address: VirtualAddress, node: NodeId, reach: Reach) -> Result<()> {
        self.relocate(address.align_down(), |_| Placement::exactly(node), reach)
    }

    /// Moves the page at `page` to where its area's policy has it.
    ///
    /// # Errors
    /// As [`Self::move_page`].
    pub(super) fn move_to_policy(&self, page: VirtualAddress, reach: Reach) -> Result<()> {
        self.relocate(page, |area| area.placement(page), reach)
    }

    /// Moves all pages that are on nodes of `from` to those of `to`, node by node in Linux's order. Gives how many could not be moved; those that
    /// `reach` excludes do not count.
    ///
    /// # Errors
    /// `ENOMEM`: a node has no memory left.
    pub fn move_between_nodes(&self, from: NodeMask, to: NodeMask, reach: Reach) -> Result<u64> {
        let mut failed = 0;
        for (source, target) in migration_pairs(from, to) {
            let mut pages = Vec::new();
            let mut full = false;
            let everything = VirtualRange { start: VirtualAddress::new(0), end: Current::USER_END };
            self.lock().visit_movable(everything, |page, node| {
                full |= pages.try_reserve(1).is_err();
                if node == source && !full {
                    pages.push(page);
                }
            });
            if full {
                return Err(Errno::ENOMEM);
            }
            for page in pages {
                match self.move_page(page, target, reach) {
                    Ok(()) | Err(Errno::EACCES | Errno::ENOENT | Errno::EFAULT) => {}
                    Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
                    Err(_) => failed += 1,
                }
            }
        }
        Ok(failed)
    }

    fn relocate(&self, page: VirtualAddress, wanted: impl FnOnce(&Area) -> Placement, reach: Reach) -> Result<()> {
        let found = self.lock().relocate_own(page, wanted, reach)?;
        match found {
            Found::InPlace | Found::Moved => Ok(()),
            Found::Common(number, placement) => {
                let new = node_frames::allocate(placement, Content::Undefined).ok_or(Errno::ENOMEM)?;
                move_common(page, number, &new)
            }
            Found::Object(object, index, number, placement) => {
                let new = node_frames::allocate(placement, Content::Undefined).ok_or(Errno::ENOMEM)?;
                registry::replace_object_page(&*object, index, number, &new)?;
                // As it was before, if that can be; else the next access brings it in.
                let _ = self.lock().bring_in(page, AccessKind::Read);
                Ok(())
            }
        }
    }
}

impl State {
    /// The counted frame at `page` in `area`.
    fn resident_frame(&self, area: &Area, page: VirtualAddress) -> Result<FrameNumber> {
        match self.tables.entry(page) {
            Entry::Leaf(leaf) if !leaf.flags.contains(PageFlags::UNCOUNTED) => Ok(leaf.frame),
            // The zero page, or the kernel's own.
            Entry::Leaf(_) => Err(Errno::EFAULT),
            // Linux looks for a page as a core dump does, and anonymous memory without one is a hole to that.
            Entry::Empty | Entry::Software(_) => {
                Err(if matches!(area.backing, Backing::Anonymous) { Errno::EFAULT } else { Errno::ENOENT })
            }
        }
    }

    /// The object of `area` and the page's number in it, if that is what `number` belongs to.
    fn object_of(area: &Area, page: VirtualAddress, number: FrameNumber) -> Option<ObjectPage> {
        let Backing::Object { object, .. } = &area.backing else { return None };
        let index = area.page_index(page);
        object.resident_page(index).filter(|frame| frame.number() == number)?;
        Some((object.clone(), index))
    }

    /// Owns the page at `page` and checks that `reach` includes it. Gives its frame, and its object where it is one's.
    fn check_reach(&mut self, page: VirtualAddress, reach: Reach) -> Result<(FrameNumber, Option<ObjectPage>)> {
        let number = self.tables.own_page(page).map_err(|_| Errno::ENOMEM)?.ok_or(Errno::ENOENT)?;
        let area = self.areas.find(page).ok_or(Errno::EFAULT)?;
        let object = Self::object_of(area, page, number);
        let references = frame_allocator::descriptor(number).map_or(u32::MAX, |frame| frame.references());
        let own = 1 + u32::from(object.is_some());
        if references > own && reach == Reach::Own { Err(Errno::EACCES) } else { Ok((number, object)) }
    }

    fn relocate_own(
        &mut self,
        page: VirtualAddress,
        wanted: impl FnOnce(&Area) -> Placement,
        reach: Reach,
    ) -> Result<Found> {
        let area =
            self.areas.find(page).filter(|area| !area.flags.contains(AreaFlags::SPECIAL)).ok_or(Errno::EFAULT)?;
        let (placement, number) = (wanted(area), self.resident_frame(area, page)?);
        if placement.first() == node_of_frame(number) {
            return Ok(Found::InPlace);
        }
        let (number, object) = self.check_reach(page, reach)?;
        if let Some((object, index)) = object {
            if object.accounting() == PageAccounting::Uncounted {
                return Err(Errno::EBUSY);
            }
            return Ok(Found::Object(object, index, number, placement));
        }
        if frame_allocator::descriptor(number).is_none_or(|frame| frame.references() != 1) {
            return Ok(Found::Common(number, placement));
        }
        let new = node_frames::allocate(placement, Content::Undefined).ok_or(Errno::ENOMEM)?;
        let mut batch = self.batch();
        let Some(mut suspended) = self.tables.suspend_page(page, number, &mut batch) else { return Err(Errno::EBUSY) };
        // Nobody can begin to refer to it now, but somebody may have before.
        let is_free = suspended.frame.is_unique();
        if is_free {
            new.copy_from(&suspended.frame);
            suspended.frame = new;
        }
        self.tables.resume_page(page, suspended);
        if is_free { Ok(Found::Moved) } else { Err(Errno::EBUSY) }
    }
}

/// Moves the private page `number` that several spaces have at `page`.
fn move_common(page: VirtualAddress, number: FrameNumber, new: &crate::memory::frame::Frame) -> Result<()> {
    let mut sharers = registry::collect();
    let has_it = |state: &State| match state.tables.entry(page) {
        Entry::Leaf(leaf) => leaf.frame == number && !leaf.flags.contains(PageFlags::UNCOUNTED),
        _ => false,
    };
    sharers.retain(|space| has_it(&space.lock()));
    sharers.sort_unstable_by_key(|space| space.identity());
    let mut guards = Vec::new();
    guards.try_reserve_exact(sharers.len()).map_err(|_| Errno::ENOMEM)?;
    for space in &sharers {
        let mut state = space.lock();
        // One that has let go of it meanwhile is not needed.
        if state.tables.own_page(page).map_err(|_| Errno::ENOMEM)? == Some(number) {
            guards.push(state);
        }
    }
    let references = frame_allocator::descriptor(number).map_or(0, |frame| frame.references());
    if guards.is_empty() || references as usize != guards.len() {
        return Err(Errno::EBUSY);
    }
    let mut suspended = Vec::new();
    suspended.try_reserve_exact(guards.len()).map_err(|_| Errno::ENOMEM)?;
    for state in &mut guards {
        let mut batch = state.batch();
        suspended.push(state.tables.suspend_page(page, number, &mut batch));
    }
    let references = suspended.iter().flatten().next().map_or(0, |one| one.frame.reference_count());
    let is_free = references as usize == suspended.iter().flatten().count();
    if is_free && let Some(first) = suspended.iter().flatten().next() {
        new.copy_from(&first.frame);
    }
    for (state, suspended) in guards.iter_mut().zip(suspended) {
        let Some(mut suspended) = suspended else { continue };
        if is_free {
            suspended.frame = new.clone();
        }
        state.tables.resume_page(page, suspended);
    }
    if is_free { Ok(()) } else { Err(Errno::EBUSY) }
}
