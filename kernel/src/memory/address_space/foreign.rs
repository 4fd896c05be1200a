//! Memory of an address space that need not be the active one: `execve` fills a new program's stack this way, and
//! `process_vm_readv`, `ptrace` and `/proc/PID/mem` reach other processes.

use super::fault::Trouble;
use super::{AddressSpace, State};
use crate::arch::{AccessKind, Current, Mmu};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::memory::area::AreaFlags;
use crate::memory::frame::Frame;
use crate::memory::user::{UserSlice, copy_frame_from_user, copy_frame_to_user};

/// Which permissions count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignAccess {
    /// The area's, as for the program itself.
    Checked,
    /// A debugger's: what may become readable or writable counts as such; private pages that it writes become copies.
    Forced,
}

/// A page found for foreign access.
enum Found {
    Frame(Frame),
    Zeros,
}

impl AddressSpace {
    /// Copies from `address` on into `target`; gives the number of bytes copied before the first page that cannot be read.
    ///
    /// # Errors
    /// `EFAULT` when that is none, `ENOMEM`.
    pub fn read_foreign(&self, address: VirtualAddress, target: &mut [u8], access: ForeignAccess) -> Result<usize> {
        let length = target.len();
        self.for_each_page(address, length, AccessKind::Read, access, |found, within, done, count| {
            let Some(piece) = target.get_mut(done..done + count) else { return Err(Errno::EFAULT) };
            match found {
                Found::Frame(frame) => {
                    frame.read(within, piece);
                }
                Found::Zeros => piece.fill(0),
            }
            Ok(())
        })
    }

    /// Copies `source` to `address`; gives the number of bytes copied before the first page that cannot be written.
    ///
    /// # Errors
    /// `EFAULT` when that is none, `ENOMEM`.
    pub fn write_foreign(&self, address: VirtualAddress, source: &[u8], access: ForeignAccess) -> Result<usize> {
        self.for_each_page(address, source.len(), AccessKind::Write, access, |found, within, done, count| {
            let (Found::Frame(frame), Some(piece)) = (found, source.get(done..done + count)) else {
                return Err(Errno::EFAULT);
            };
            frame.write(within, piece);
            Ok(())
        })
    }

    /// Writes `length` zero bytes to `address`; gives the number written before the first page that cannot be.
    ///
    /// # Errors
    /// `EFAULT` when that is none, `ENOMEM`.
    pub fn zero_foreign(&self, address: VirtualAddress, length: usize) -> Result<usize> {
        self.for_each_page(address, length, AccessKind::Write, ForeignAccess::Checked, |found, within, _, count| {
            let Found::Frame(frame) = found else { return Err(Errno::EFAULT) };
            frame.zero(within, count);
            Ok(())
        })
    }

    /// Copies from `address` in this space to `target` in the active one (`process_vm_readv`); gives the count copied.
    ///
    /// # Errors
    /// `EFAULT` when that is none, `ENOMEM`.
    pub fn copy_to_active(&self, address: VirtualAddress, target: UserSlice) -> Result<usize> {
        self.for_each_page(
            address,
            target.len(),
            AccessKind::Read,
            ForeignAccess::Checked,
            |found, within, done, count| {
                let piece = target.skip(done).take(count);
                match found {
                    Found::Frame(frame) => copy_frame_to_user(&frame, within, piece),
                    Found::Zeros => piece.zero(),
                }
            },
        )
    }

    /// Copies `source` in the active space to `address` in this one (`process_vm_writev`); gives the count copied.
    ///
    /// # Errors
    /// `EFAULT` when that is none, `ENOMEM`.
    pub fn copy_from_active(&self, address: VirtualAddress, source: UserSlice) -> Result<usize> {
        self.for_each_page(
            address,
            source.len(),
            AccessKind::Write,
            ForeignAccess::Checked,
            |found, within, done, count| match found {
                Found::Frame(frame) => copy_frame_from_user(&frame, within, source.skip(done).take(count)),
                Found::Zeros => Err(Errno::EFAULT),
            },
        )
    }

    /// Gives `copy` each page of the range with the offset in the page, the offset from the start and the count. The lock is not held
    /// while `copy` runs.
    fn for_each_page(
        &self,
        address: VirtualAddress,
        length: usize,
        kind: AccessKind,
        access: ForeignAccess,
        mut copy: impl FnMut(Found, usize, usize, usize) -> Result<()>,
    ) -> Result<usize> {
        let mut done = 0;
        while done < length {
            let result = address.checked_add(done as u64).ok_or(Errno::EFAULT).and_then(|position| {
                let within = position.page_offset();
                let count = (PAGE_SIZE - within).min(length - done);
                let found = self.lock().page_for_foreign(position, kind, access)?;
                copy(found, within, done, count)?;
                Ok(count)
            });
            match result {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl State {
    fn page_for_foreign(&mut self, address: VirtualAddress, kind: AccessKind, access: ForeignAccess) -> Result<Found> {
        if address >= Current::USER_END {
            return Err(Errno::EFAULT);
        }
        let writes = kind == AccessKind::Write;
        let forced = access == ForeignAccess::Forced
            && self.areas.find(address).is_some_and(|area| {
                // Linux's FOLL_FORCE: reading wants MAY_READ; writing wants a private area that may become writable.
                if writes {
                    area.flags.contains(AreaFlags::MAY_WRITE) && !area.flags.contains(AreaFlags::SHARED)
                } else {
                    area.flags.contains(AreaFlags::MAY_READ)
                }
            });
        let brought = if forced { self.force_in(address, kind) } else { self.bring_in(address, kind) };
        brought.map_err(|trouble| match trouble {
            Trouble::OutOfMemory => Errno::ENOMEM,
            Trouble::NotMapped | Trouble::NotAllowed | Trouble::Bus => Errno::EFAULT,
        })?;
        match self.tables.frame(address.align_down()) {
            Some(frame) => Ok(Found::Frame(frame)),
            None if writes => Err(Errno::EFAULT),
            None => Ok(Found::Zeros),
        }
    }

    /// Brings a page in as if the area allowed the access; the leaf then allows again what the area does.
    fn force_in(&mut self, address: VirtualAddress, kind: AccessKind) -> Result<(), Trouble> {
        let Some(flags) = self.areas.find(address).map(|area| area.flags) else { return Err(Trouble::NotMapped) };
        let needed = if kind == AccessKind::Write { AreaFlags::READ | AreaFlags::WRITE } else { AreaFlags::READ };
        if flags.contains(needed) {
            return self.bring_in(address, kind);
        }
        if let Some(area) = self.areas.find_mut(address) {
            area.flags |= needed;
        }
        let result = self.bring_in(address, kind);
        if let Some(area) = self.areas.find_mut(address) {
            area.flags = flags;
        }
        self.protect_page(address.align_down(), flags);
        result
    }
}
