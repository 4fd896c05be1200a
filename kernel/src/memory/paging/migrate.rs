//! Taking a page out of the tables while its content moves to another frame, and putting it back.
//!
//! Between [`Tables::suspend_page`] and [`Tables::resume_page`] nobody can reach the page by way of these tables: the entry is empty and every CPU has
//! forgotten it. Who faults meanwhile waits for the address space's lock, which the caller holds all the time. The table stays, so putting the page back
//! needs no memory.

use super::super::frame::Frame;
use super::access::TableAccess;
use super::entries::leaf_frame;
use super::format::{Decoded, Format};
use super::mapper::Absent;
use super::tables::Tables;
use super::tlb::{Batch, Tlb};
use super::{MapError, PageFlags, code};
use crate::base::{FrameNumber, VirtualAddress};

/// A page that [`Tables::suspend_page`] has taken out: its reference to the frame, and its flags.
#[derive(Debug)]
pub struct Suspended {
    /// The frame.
    pub frame: Frame,
    flags: PageFlags,
}

impl<F: Format, A: TableAccess, T: Tlb> Tables<F, A, T> {
    /// The frame of the small, counted leaf at `page`, whose tables are made this space's own first, so that its count speaks of spaces. `None` where there
    /// is no such leaf.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`]: for a table.
    pub fn own_page(&mut self, page: VirtualAddress) -> Result<Option<FrameNumber>, MapError> {
        let walker = self.walker();
        let Some(table) = walker.reach(page, 0, Absent::Stop)? else { return Ok(None) };
        match F::decode(walker.entry_pointer(table, 0, page).load(), 0) {
            Decoded::Leaf(number, flags) if !flags.contains(PageFlags::UNCOUNTED) => Ok(Some(number)),
            _ => Ok(None),
        }
    }

    /// Takes the page out, if it still is as [`Tables::own_page`] said, and has every CPU forget it.
    pub fn suspend_page(
        &mut self,
        page: VirtualAddress,
        number: FrameNumber,
        batch: &mut Batch<T>,
    ) -> Option<Suspended> {
        let walker = self.walker();
        let table = walker.reach(page, 0, Absent::Stop).ok().flatten()?;
        let is_it = |entry: u64| match F::decode(entry, 0) {
            Decoded::Leaf(frame, flags) => frame == number && !flags.contains(PageFlags::UNCOUNTED),
            _ => false,
        };
        if !is_it(walker.alone(table, 0, page)) {
            return None;
        }
        let last = walker.entry_pointer(table, 0, page).swap(0);
        batch.invalidate(page);
        batch.flush();
        let Decoded::Leaf(_, flags) = F::decode(last, 0) else { return None };
        Some(Suspended { frame: leaf_frame::<F>(last, 0)?, flags })
    }

    /// Puts a page back where it was taken out, as it was but for its frame.
    pub fn resume_page(&mut self, page: VirtualAddress, suspended: Suspended) {
        let walker = self.walker();
        // It was there before, and the caller has kept the lock.
        let Ok(Some(table)) = walker.reach(page, 0, Absent::Stop) else { return };
        let Suspended { frame, flags } = suspended;
        code::before_mapping(frame.number(), flags, 0);
        walker.entry_pointer(table, 0, page).store(F::leaf(frame.into_raw(), flags, 0));
    }
}
