//! The store to a page that is present without permission, in one walk: the hottest change that tables know.

use super::super::node_frames::{self, Content};
use super::super::numa::Placement;
use super::access::TableAccess;
use super::entries::{discard, leaf_reference};
use super::format::{Decoded, Format};
use super::mapper::Absent;
use super::tables::Tables;
use super::tlb::{Batch, Tlb};
use super::{MapError, PageFlags, code};
use crate::base::{FrameNumber, VirtualAddress};

/// How a page came to be the space's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It was; only the permission changed.
    Reused,
    /// The frame was common: there is a copy now.
    Copied(FrameNumber),
    /// It showed the zero page (any leaf that is not counted): there is a frame of zeros now.
    Zeroed,
    /// There is no leaf, or no small one.
    Absent,
}

impl<F: Format, A: TableAccess, T: Tlb> Tables<F, A, T> {
    /// Makes the private page at `page` this space's own and gives it `flags`, which say that it is writable. The tables on the way
    /// become this space's own first, so that a frame's count speaks of spaces. A new frame comes
    /// from where `placement` says.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`]: for a table or the copy.
    pub fn claim(
        &mut self,
        page: VirtualAddress,
        flags: PageFlags,
        placement: Placement,
        batch: &mut Batch<T>,
    ) -> Result<Claim, MapError> {
        let walker = self.walker();
        let Some(table) = walker.reach(page, 0, Absent::Stop)? else { return Ok(Claim::Absent) };
        let pointer = walker.entry_pointer(table, 0, page);
        let entry = walker.alone(table, 0, page);
        let Decoded::Leaf(number, old) = F::decode(entry, 0) else { return Ok(Claim::Absent) };
        let flags = flags - PageFlags::UNCOUNTED;
        let (frame, claim) = if old.contains(PageFlags::UNCOUNTED) {
            (node_frames::allocate(placement, Content::Zeros).ok_or(MapError::OutOfMemory)?, Claim::Zeroed)
        } else {
            if super::super::frame_allocator::descriptor(number).is_some_and(|frame| frame.references() == 1) {
                code::before_mapping(number, flags, 0);
                pointer.store(F::leaf(number, flags, 0));
                batch.invalidate(page);
                return Ok(Claim::Reused);
            }
            let source = leaf_reference::<F>(entry, 0).ok_or(MapError::OutOfMemory)?;
            let copy = node_frames::allocate(placement, Content::Undefined).ok_or(MapError::OutOfMemory)?;
            copy.copy_from(&source);
            (copy, Claim::Copied(number))
        };
        code::before_mapping(frame.number(), flags, 0);
        let new = F::leaf(frame.into_raw(), flags, 0);
        if F::BREAK_BEFORE_MAKE {
            let last = pointer.swap(0);
            discard::<F, T>(last, 0, page, batch);
            batch.flush();
            pointer.store(new);
        } else {
            let last = pointer.swap(new);
            discard::<F, T>(last, 0, page, batch);
        }
        Ok(claim)
    }
}
