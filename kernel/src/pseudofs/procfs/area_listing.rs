//! `/proc/PID/maps`, `smaps`, `numa_maps`: reports that are made area by area while they are read.
//!
//! [`AreaListing`] is what such a file is while it is open. It holds the text of a few areas and the address at which to go on, so that
//! neither the length of the report nor the time for which the address space is locked grows with the number of areas. What changes
//! between two reads is seen or not, as on Linux: no area is told twice, and addresses rise.
//!
//! The address space is held weakly: a file left open keeps no memory of a process that has ended, and then reads as empty.
//! Lock order: the listing's own lock (sleeping), then the address space.

use super::owner::{Owner, may_inspect};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::file::{FileOperations, OpenFile};
use crate::fs::io::IoDestination;
use crate::memory::address_space::{AddressSpace, AreaReport, Detail};
use crate::memory::numa::MemoryPolicy;
use crate::sync::Mutex;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Areas that are looked at in one go.
pub(super) const STEP: usize = 32;

/// What is told of each area.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// How much has to be found out.
    pub(super) detail: Detail,
    /// Appends one area's lines.
    pub(super) write: fn(&mut Vec<u8>, &AreaReport),
    /// The memory policy that counts for areas without one.
    pub(super) thread_policy: Option<MemoryPolicy>,
}

impl Form {
    /// A form that asks for nothing further.
    pub(super) const fn new(detail: Detail, write: fn(&mut Vec<u8>, &AreaReport)) -> Self {
        Self { detail, write, thread_policy: None }
    }
}

/// How far a report has been made.
#[derive(Default)]
struct Progress {
    /// The position of the first byte of `text`.
    start: u64,
    /// What was made last.
    text: Vec<u8>,
    /// Where the next area may begin.
    next: VirtualAddress,
}

/// An open report.
pub(super) struct AreaListing {
    owner: Owner,
    space: Weak<AddressSpace>,
    form: Form,
    progress: Mutex<Progress>,
}

impl AreaListing {
    /// Opens one.
    ///
    /// # Errors
    /// `EACCES`.
    pub(super) fn open(owner: &Owner, form: Form) -> Result<Arc<dyn FileOperations>> {
        may_inspect(owner.process())?;
        let space = owner.process().address_space().as_ref().map(Arc::downgrade).unwrap_or_default();
        Ok(Arc::new(Self { owner: owner.clone(), space, form, progress: Mutex::new(Progress::default()) }))
    }
}

impl Progress {
    /// Takes the next areas in place of the text; `false` after the last one.
    fn advance(&mut self, space: &AddressSpace, form: Form) -> bool {
        self.start += self.text.len() as u64;
        self.text.clear();
        let mut areas = space.areas_from(self.next, STEP, form.detail);
        for nodes in areas.iter_mut().filter_map(|area| area.nodes.as_mut()) {
            nodes.policy = nodes.policy.or(form.thread_policy);
        }
        for area in &areas {
            (form.write)(&mut self.text, area);
        }
        areas.last().inspect(|last| self.next = last.range.end).is_some()
    }

    /// Copies from `offset` on, making what is missing.
    fn read(
        &mut self,
        space: &AddressSpace,
        form: Form,
        offset: u64,
        destination: &mut IoDestination<'_>,
    ) -> Result<usize> {
        if offset < self.start || offset == 0 {
            *self = Self::default();
        }
        let mut offset = offset;
        let mut done = 0;
        while !destination.is_finished() {
            let skipped = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
            let rest = self.text.get(skipped..).unwrap_or_default();
            if !rest.is_empty() {
                let count = destination.write(rest)?;
                offset += count as u64;
                done += count;
            } else if !self.advance(space, form) {
                break;
            }
        }
        Ok(done)
    }
}

impl FileOperations for AreaListing {
    fn read_at(&self, _file: &OpenFile, offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        if self.owner.process().has_been_reaped() {
            return Err(Errno::ESRCH);
        }
        let Some(space) = self.space.upgrade() else { return Ok(0) };
        self.progress.lock().read(&space, self.form, offset, destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PAGE_SIZE;
    use crate::memory::address_space::{MapRequest, Protection};
    use crate::pseudofs::procfs::area_report::write_area;

    const FORM: Form = Form::new(Detail::Plain, write_area);

    #[test]
    fn a_report_made_in_steps_tells_every_area_once() {
        let space = AddressSpace::new().unwrap();
        let page = PAGE_SIZE as u64;
        for index in 0..5 * STEP as u64 {
            let request =
                MapRequest::anonymous(page, Protection::READ).at(VirtualAddress::new(0x40_0000 + 2 * index * page));
            space.map(&request).unwrap();
        }
        let read = |progress: &mut Progress, offset: u64, length: usize| {
            let mut buffer = alloc::vec![0; length];
            let mut destination = IoDestination::kernel(&mut buffer);
            let count = progress.read(&space, FORM, offset, &mut destination).unwrap();
            buffer.truncate(count);
            buffer
        };
        let mut whole = Vec::new();
        space.areas(Detail::Plain).iter().for_each(|area| write_area(&mut whole, area));
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 5 * STEP);
        let mut progress = Progress::default();
        assert_eq!(read(&mut progress, 0, 1 << 20), whole);
        assert_eq!(read(&mut progress, whole.len() as u64, 100), b"");
        assert_eq!(read(&mut progress, 5000, 50), whole[5000..5050]);
        for length in [1usize, 7, 100, 4096] {
            let mut pieces = Vec::new();
            loop {
                let piece = read(&mut progress, pieces.len() as u64, length);
                if piece.is_empty() {
                    break;
                }
                pieces.extend_from_slice(&piece);
            }
            assert_eq!(pieces, whole);
        }
    }
}
