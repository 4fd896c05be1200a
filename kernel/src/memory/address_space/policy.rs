//! Memory policies of areas: `mbind`, `set_mempolicy_home_node`, and what `get_mempolicy` asks of an address.
//!
//! A policy belongs to an area, and areas are cut and joined at its edges; shared memory keeps its own, for everybody who maps it, and the area has the
//! same one then, as on Linux.

use super::migrate::Reach;
use super::{AddressSpace, State, round_up};
use crate::arch::{AccessKind, Current, Mmu};
use crate::base::{Errno, PAGE_SHIFT, Result, VirtualAddress, VirtualRange};
use crate::memory::area::{Area, AreaFlags, Backing};
use crate::memory::heap::try_arc;
use crate::memory::numa::{MemoryPolicy, NodeId, NodeMask};
use crate::memory::paging::{Entry, PageFlags};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// What `mbind` does with pages that are elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Misplaced {
    /// `MPOL_MF_STRICT`: they are an error.
    pub is_error: bool,
    /// `MPOL_MF_MOVE` and `MPOL_MF_MOVE_ALL`: they are moved.
    pub moves: Option<Reach>,
}

/// The range that `mbind` and its kin name.
///
/// # Errors
/// `EINVAL`: not page-aligned, or past 2^64.
fn named_range(start: VirtualAddress, length: u64) -> Result<VirtualRange> {
    if !start.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    // Linux rounds up without a look at the sum, so that the last page's worth wraps to nothing.
    let length = round_up(length).unwrap_or(0);
    VirtualRange::new(start, length).ok_or(Errno::EINVAL)
}

impl AddressSpace {
    /// Gives `length` bytes from `start` a policy, or takes theirs away. `named` are the nodes as the program named them: pages elsewhere are misplaced.
    ///
    /// # Errors
    /// `EINVAL`: the range. `EFAULT`: a part is not mapped. `EIO`: pages are misplaced, or could not be moved. `ENOMEM`.
    pub fn set_policy(
        &self,
        start: VirtualAddress,
        length: u64,
        policy: impl FnOnce() -> Result<Option<MemoryPolicy>>,
        named: NodeMask,
        misplaced: Misplaced,
    ) -> Result<()> {
        let range = named_range(start, length)?;
        if range.length() == 0 {
            return Ok(());
        }
        let policy = policy()?;
        let mut state = self.lock();
        state.check_covered(range, policy.is_none())?;
        let is_strict = misplaced.is_error && policy.is_some();
        let found =
            if is_strict || misplaced.moves.is_some() { state.misplaced_pages(range, named) } else { Vec::new() };
        if is_strict && misplaced.moves.is_none() && !found.is_empty() {
            return Err(Errno::EIO);
        }
        state.bind(range, policy)?;
        drop(state);
        let Some(reach) = misplaced.moves else { return Ok(()) };
        let mut failed = false;
        for page in found {
            // Pages that others use, too, are passed over; they count as misplaced to nobody, as on Linux.
            let moved = self.move_to_policy(page, reach);
            failed |= !matches!(moved, Ok(()) | Err(Errno::EACCES | Errno::ENOENT | Errno::EFAULT));
        }
        if failed && is_strict { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Gives the policies of `length` bytes from `start` a home node.
    ///
    /// # Errors
    /// `EINVAL`: the range. `ENOENT`: nothing there has a policy. `EOPNOTSUPP`: a policy without home. `ENOMEM`.
    pub fn set_home_node(&self, start: VirtualAddress, length: u64, home: NodeId) -> Result<()> {
        let range = named_range(start, length)?;
        if range.length() == 0 {
            return Ok(());
        }
        let mut state = self.lock();
        let mut result = Err(Errno::ENOENT);
        let mut position = range.start;
        while position < range.end
            && let Some(area) = state.areas.at_or_after(position).filter(|area| area.range.start < range.end)
        {
            let piece = VirtualRange { start: area.range.start.max(range.start), end: area.range.end.min(range.end) };
            position = piece.end;
            let Some(policy) = area.policy.as_deref().copied() else { continue };
            state.bind(piece, Some(policy.with_home(home)?))?;
            result = Ok(());
        }
        result
    }

    /// The policy of the page at `address`; `None` for the default.
    ///
    /// # Errors
    /// `EFAULT`: nothing is mapped there.
    pub fn policy_at(&self, address: VirtualAddress) -> Result<Option<MemoryPolicy>> {
        self.lock().areas.find(address).map(|area| area.policy_at(address)).ok_or(Errno::EFAULT)
    }

    /// The node of the page at `address`, which is brought in.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn node_of(&self, address: VirtualAddress) -> Result<NodeId> {
        let mut state = self.lock();
        let page = address.align_down();
        state.bring_in(page, AccessKind::Read).map_err(|_| Errno::EFAULT)?;
        match state.tables.entry(page) {
            Entry::Leaf(leaf) => Ok(super::migrate::node_of_frame(leaf.frame)),
            _ => Err(Errno::EFAULT),
        }
    }
}

impl State {
    /// `EFAULT` where a part of `range` is not mapped, or all of it where holes are welcome.
    fn check_covered(&self, range: VirtualRange, holes_are_fine: bool) -> Result<()> {
        let mut position = range.start;
        let mut any = false;
        for area in self.areas.overlapping(range) {
            if area.range.start > position && !holes_are_fine {
                return Err(Errno::EFAULT);
            }
            position = area.range.end;
            any = true;
        }
        if any && (position >= range.end || holes_are_fine) { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// The pages of `range` that are in memory on none of `nodes`.
    fn misplaced_pages(&self, range: VirtualRange, nodes: NodeMask) -> Vec<VirtualAddress> {
        let mut pages = Vec::new();
        self.visit_movable(range, |page, node| {
            // What there is no room to remember stays where it is.
            if !nodes.contains(node) && pages.try_reserve(1).is_ok() {
                pages.push(page);
            }
        });
        pages
    }

    /// Shows each page of `range` that could be moved, with its node: not the zero page, nor the kernel's own.
    pub(super) fn visit_movable(&self, range: VirtualRange, mut each: impl FnMut(VirtualAddress, NodeId)) {
        for area in self.areas.overlapping(range).filter(|area| !area.flags.contains(AreaFlags::SPECIAL)) {
            let piece = VirtualRange { start: area.range.start.max(range.start), end: area.range.end.min(range.end) };
            self.tables.inspect_range(piece, |page, entry| {
                if let Entry::Leaf(leaf) = entry
                    && !leaf.flags.contains(PageFlags::UNCOUNTED)
                {
                    each(page, super::migrate::node_of_frame(leaf.frame));
                }
                ControlFlow::Continue(())
            });
        }
    }

    /// Sets the policy of all areas in `range`.
    fn bind(&mut self, range: VirtualRange, policy: Option<MemoryPolicy>) -> Result<()> {
        debug_assert!(range.end <= Current::USER_END || self.areas.overlapping(range).next().is_some());
        let policy = match policy {
            Some(policy) => Some(try_arc(policy)?),
            None => None,
        };
        if self.areas.len() + 2 > super::AREA_LIMIT {
            return Err(Errno::ENOMEM);
        }
        self.areas.reserve(range)?;
        self.areas.split_at(range.start);
        self.areas.split_at(range.end);
        let mut position = range.start;
        while let Some(start) =
            self.areas.at_or_after(position).map(|area| area.range.start).filter(|start| *start < range.end)
        {
            let Some(area) = self.areas.find_mut(start) else { break };
            share_policy(area, policy.as_deref().copied())?;
            area.policy = policy.clone();
            position = area.range.end;
            self.areas.merge_at(start);
        }
        self.areas.merge_at(range.end);
        Ok(())
    }
}

/// Tells the object behind `area`, if it keeps policies itself.
fn share_policy(area: &Area, policy: Option<MemoryPolicy>) -> Result<()> {
    if let Backing::Object { object, first, .. } = &area.backing
        && let Some(policies) = object.policies()
    {
        policies.set(*first, first.saturating_add(area.range.length() >> PAGE_SHIFT), policy)?;
    }
    Ok(())
}
