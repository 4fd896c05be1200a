//! Page faults: demand paging, copy-on-write, stack growth.

use super::{AddressSpace, State, UNLIMITED, leaf_flags, zero_page};
use crate::arch::{AccessKind, Current, Mmu, PageFault};
use crate::base::{PAGE_SHIFT, PAGE_SIZE, VirtualAddress, VirtualRange};
use crate::memory::area::{AreaFlags, Backing, STACK_GUARD_GAP};
use crate::memory::frame::Frame;
use crate::memory::node_frames::{self, Content, Scope};
use crate::memory::object::{MemoryObject, PageAccounting, PageError, PageIntent};
use crate::memory::paging::run::LONGEST;
use crate::memory::paging::{Claim, Entry, MapError, PageFlags, PageTables};
use arrayvec::ArrayVec;
use spin::Once;

/// How a fault was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// Without waiting for storage.
    Minor,
    /// With it.
    Major,
}

/// Why a fault was not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// The thread gets this signal.
    Signal {
        /// `SIGSEGV` or `SIGBUS`.
        signal: u32,
        /// `si_code`.
        code: i32,
        /// `si_addr`.
        address: VirtualAddress,
    },
    /// There is no memory, and nobody else could be made to give some: the process is to be killed.
    OutOfMemory,
}

/// `SIGBUS`, the same on both machines.
const SIGBUS: u32 = 7;
/// `SIGSEGV`.
const SIGSEGV: u32 = 11;
/// `SEGV_MAPERR`: nothing is mapped.
const SEGV_MAPERR: i32 = 1;
/// `SEGV_ACCERR`: it is not allowed.
const SEGV_ACCERR: i32 = 2;
/// `BUS_ADRERR`: beyond the object's end, or its storage failed.
const BUS_ADRERR: i32 = 2;

/// Whom the out-of-memory killer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victim {
    /// Another process: its memory comes free, the fault is tried again.
    Other,
    /// The caller, or nobody could be found.
    Caller,
}

/// Chooses a victim when memory is out, kills and logs it. `process` registers one.
pub trait OutOfMemoryKiller: Sync {
    /// There is no frame of `scope`. Called without locks, in thread context; may sleep until the victim's memory is free.
    fn choose_and_kill(&self, scope: Scope) -> Victim;
}

static KILLER: Once<&'static dyn OutOfMemoryKiller> = Once::new();

/// Registers the killer, once, at boot.
pub fn set_out_of_memory_killer(killer: &'static dyn OutOfMemoryKiller) {
    KILLER.call_once(|| killer);
}

/// Why a page could not be brought in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    NotMapped,
    NotAllowed,
    Bus,
    OutOfMemory,
}

impl From<MapError> for Trouble {
    fn from(_error: MapError) -> Self {
        Self::OutOfMemory
    }
}

impl From<PageError> for Trouble {
    fn from(error: PageError) -> Self {
        match error {
            PageError::OutOfMemory => Self::OutOfMemory,
            PageError::BeyondEnd | PageError::InputOutput | PageError::NoSpace => Self::Bus,
        }
    }
}

impl AddressSpace {
    /// Serves a page fault, from user mode or from the kernel's access to user memory. May sleep.
    ///
    /// # Errors
    /// [`FaultError`].
    pub fn handle_fault(&self, fault: PageFault) -> Result<FaultKind, FaultError> {
        let address = fault.address;
        loop {
            let trouble = match self.lock().serve(address, fault.access) {
                Ok(kind) => return Ok(kind),
                Err(trouble) => trouble,
            };
            let (signal, code) = match trouble {
                Trouble::NotMapped => (SIGSEGV, SEGV_MAPERR),
                Trouble::NotAllowed => (SIGSEGV, SEGV_ACCERR),
                Trouble::Bus => (SIGBUS, BUS_ADRERR),
                Trouble::OutOfMemory => match KILLER.get().map(|killer| killer.choose_and_kill(self.scope_at(address)))
                {
                    Some(Victim::Other) => continue,
                    _ => return Err(FaultError::OutOfMemory),
                },
            };
            return Err(FaultError::Signal { signal, code, address });
        }
    }

    /// Where a page at `address` may be taken from.
    #[cold]
    fn scope_at(&self, address: VirtualAddress) -> Scope {
        self.lock().areas.find(address).map_or(Scope::Everywhere, |area| Scope::of(area.placement(address)))
    }
}

/// Pages that a read fault looks at around itself.
const FAULT_AROUND_PAGES: u64 = 16;

impl State {
    /// Serves a fault and counts it.
    fn serve(&mut self, address: VirtualAddress, access: AccessKind) -> Result<FaultKind, Trouble> {
        self.bring_in(address, access)?;
        self.counters.minor_faults += 1;
        Ok(FaultKind::Minor)
    }

    /// Makes the page at `address` present for `access`.
    pub(super) fn bring_in(&mut self, address: VirtualAddress, access: AccessKind) -> Result<(), Trouble> {
        let area = match self.areas.at_or_after(address) {
            Some(area) if area.range.start <= address => area,
            Some(area) if area.flags.contains(AreaFlags::GROWS_DOWN) => {
                let top = area.range.end;
                self.grow_stack(address, top)?;
                self.areas.find(address).ok_or(Trouble::NotMapped)?
            }
            _ => return Err(Trouble::NotMapped),
        };
        let flags = area.flags;
        let allowed = match access {
            AccessKind::Read => flags.is_accessible(),
            AccessKind::Write => flags.contains(AreaFlags::WRITE),
            AccessKind::Execute => flags.contains(AreaFlags::EXECUTE),
        };
        if !allowed {
            return Err(Trouble::NotAllowed);
        }
        let page = address.align_down();
        let writes = access == AccessKind::Write;
        match self.tables.entry(page) {
            Entry::Leaf(leaf) if writes && !leaf.flags.contains(PageFlags::WRITABLE) => self.make_writable(page),
            Entry::Leaf(leaf) => self.note_use(page, leaf.flags, access),
            Entry::Empty | Entry::Software(_) => self.fill(page, flags, access),
        }
    }

    /// As [`Self::bring_in`], for pages up to `end` that will all be wanted: brings in as many as one step can. Gives the first page that is left.
    pub(super) fn bring_in_ahead(
        &mut self,
        page: VirtualAddress,
        end: VirtualAddress,
        access: AccessKind,
    ) -> Result<VirtualAddress, Trouble> {
        if access == AccessKind::Write
            && let Some(next) = self.fill_run(page, end)
        {
            return Ok(next);
        }
        self.bring_in(page, access)?;
        Ok(page.offset(PAGE_SIZE as u64))
    }

    /// Fills a whole run of anonymous memory from `page` on, where the tables know runs, it lies before `end`, nothing of it is there, and memory
    /// has an aligned block: it costs less than as many pages, and the machine may cache it as one translation. Gives the page behind it.
    fn fill_run(&mut self, page: VirtualAddress, end: VirtualAddress) -> Option<VirtualAddress> {
        const LENGTH: u64 = PageTables::RUN_PAGES << PAGE_SHIFT;
        if PageTables::RUN_PAGES == 1 || !page.value().is_multiple_of(LENGTH) {
            return None;
        }
        let behind = page.value().checked_add(LENGTH).map(VirtualAddress::new).filter(|behind| *behind <= end)?;
        if self.tables.entry(page) != Entry::Empty {
            return None;
        }
        let area = self.areas.find_mut(page)?;
        let flags = area.flags;
        if behind > area.range.end || !flags.is_private_writable() || !matches!(area.backing, Backing::Anonymous) {
            return None;
        }
        let placement = area.placement(page);
        if placement.is_interleaved() {
            return None;
        }
        area.has_private_pages = true;
        let block = Frame::allocate_zeroed_block_for_user(PageTables::RUN_PAGES.ilog2() as u8)?;
        if !placement.is_content_with(block.node()) {
            return None;
        }
        self.tables
            .map_run(page, block.into_pages()?, leaf_flags(flags) | PageFlags::WRITABLE | PageFlags::DIRTY)
            .ok()?;
        self.add_resident(PageAccounting::Uncounted, true, PageTables::RUN_PAGES);
        Some(behind)
    }

    /// An access to a page that is present and allowed. CPUs that do not note accesses and stores themselves leave it to this; else another thread
    /// was faster, or the CPU remembers an older entry.
    fn note_use(&mut self, page: VirtualAddress, flags: PageFlags, access: AccessKind) -> Result<(), Trouble> {
        let noted = match access {
            AccessKind::Write => PageFlags::ACCESSED | PageFlags::DIRTY,
            AccessKind::Read | AccessKind::Execute => PageFlags::ACCESSED,
        };
        if flags.contains(noted) {
            Current::invalidate_page(page);
        } else {
            let mut batch = self.batch();
            self.tables.note(page, noted, &mut batch)?;
        }
        Ok(())
    }

    /// Puts a page where there is none.
    fn fill(&mut self, page: VirtualAddress, flags: AreaFlags, access: AccessKind) -> Result<(), Trouble> {
        let leaf = leaf_flags(flags);
        let writes = access == AccessKind::Write;
        let Some(area) = self.areas.find_mut(page) else { return Err(Trouble::NotMapped) };
        let Backing::Object { object, .. } = &area.backing else {
            if !writes {
                let zero = zero_page().ok_or(Trouble::OutOfMemory)?;
                return Ok(self.tables.map_uncounted(page, zero, leaf | PageFlags::COPY_ON_WRITE)?);
            }
            area.has_private_pages = true;
            let frame = node_frames::allocate(area.placement(page), Content::Zeros).ok_or(Trouble::OutOfMemory)?;
            self.tables.map(page, frame, leaf | PageFlags::WRITABLE | PageFlags::DIRTY)?;
            self.add_resident(PageAccounting::Uncounted, true, 1);
            return Ok(());
        };
        let index = area.page_index(page);
        let accounting = object.accounting();
        if flags.contains(AreaFlags::SHARED) {
            let intent = if writes { PageIntent::Write } else { PageIntent::Read };
            let frame = object.page(index, intent)?;
            self.tables.map(page, frame, leaf)?;
            self.add_resident(accounting, false, 1);
        } else if writes {
            let source = object.page(index, PageIntent::Read)?;
            let frame = node_frames::allocate(area.placement(page), Content::Undefined).ok_or(Trouble::OutOfMemory)?;
            frame.copy_from(&source);
            object.page_copied();
            area.has_private_pages = true;
            self.tables.map(page, frame, leaf | PageFlags::WRITABLE | PageFlags::DIRTY)?;
            self.add_resident(accounting, true, 1);
        } else {
            let frame = object.page(index, PageIntent::Read)?;
            let object = object.clone();
            let range = area.range;
            if let Some(pages) = self.map_object_run(page, index, range, &*object, &frame, leaf) {
                self.add_resident(accounting, false, pages);
                return Ok(());
            }
            self.tables.map(page, frame, leaf | PageFlags::COPY_ON_WRITE)?;
            let around = self.fill_around(page, index, range, &*object, leaf | PageFlags::COPY_ON_WRITE);
            self.add_resident(accounting, false, 1 + around);
        }
        Ok(())
    }

    /// Maps the whole run around `page`, whose frame is `frame`, if the object happens to have it in frames that follow each other. Gives how many pages.
    fn map_object_run(
        &mut self,
        page: VirtualAddress,
        index: u64,
        range: VirtualRange,
        object: &dyn MemoryObject,
        frame: &Frame,
        leaf: PageFlags,
    ) -> Option<u64> {
        const PAGES: u64 = PageTables::RUN_PAGES;
        let place = (page.value() >> PAGE_SHIFT) & (PAGES - 1);
        // Seldom true, so that this costs the others nothing.
        if PAGES == 1 || frame.number().value() & (PAGES - 1) != place {
            return None;
        }
        let start = VirtualAddress::new(page.value() - (place << PAGE_SHIFT));
        let (first, end) = (index.checked_sub(place)?, start.value().checked_add(PAGES << PAGE_SHIFT)?);
        if start < range.start || end > range.end.value() {
            return None;
        }
        let mut frames = ArrayVec::<Frame, LONGEST>::new();
        object.resident_pages(first, PAGES, &mut |_, frame| drop(frames.try_push(frame)));
        self.tables.map_run(start, frames, leaf | PageFlags::COPY_ON_WRITE).ok()?;
        Some(PAGES)
    }

    /// Maps the neighbours of `page` that the object has in memory; gives how many.
    fn fill_around(
        &mut self,
        page: VirtualAddress,
        index: u64,
        range: VirtualRange,
        object: &dyn MemoryObject,
        leaf: PageFlags,
    ) -> u64 {
        let window = page.value() & !((FAULT_AROUND_PAGES << PAGE_SHIFT) - 1);
        let start = window.max(range.start.value());
        let end = window.saturating_add(FAULT_AROUND_PAGES << PAGE_SHIFT).min(range.end.value());
        let Some(first) = index.checked_sub((page.value() - start) >> PAGE_SHIFT) else { return 0 };
        let mut mapped = 0;
        object.resident_pages(first, (end - start) >> PAGE_SHIFT, &mut |neighbour, frame| {
            let target = VirtualAddress::new(start + ((neighbour - first) << PAGE_SHIFT));
            if target != page && self.tables.map(target, frame, leaf).is_ok() {
                mapped += 1;
            }
        });
        mapped
    }

    /// A store to a page that is present without permission.
    fn make_writable(&mut self, page: VirtualAddress) -> Result<(), Trouble> {
        let mut batch = self.batch();
        let Some(area) = self.areas.find_mut(page) else { return Err(Trouble::NotMapped) };
        let flags = leaf_flags(area.flags);
        let writable = flags | PageFlags::WRITABLE | PageFlags::DIRTY;
        if flags.contains(PageFlags::SHARED) {
            if let Backing::Object { object, .. } = &area.backing {
                // The object may want to know before the first store.
                object.page(area.page_index(page), PageIntent::Write)?;
            }
            self.tables.protect(page, writable, &mut batch)?;
            return Ok(());
        }
        area.has_private_pages = true;
        if let Backing::Object { object, .. } = &area.backing {
            object.page_copied();
        }
        match self.tables.claim(page, writable, area.placement(page), &mut batch)? {
            // It is gone again: the access is repeated and faults anew.
            Claim::Reused | Claim::Absent => {}
            Claim::Zeroed => self.add_resident(PageAccounting::Uncounted, true, 1),
            Claim::Copied(old) => {
                if let Backing::Object { object, .. } = &area.backing
                    && object.resident_page(area.page_index(page)).is_some_and(|frame| frame.number() == old)
                {
                    let accounting = object.accounting();
                    self.remove_resident(accounting, false, 1);
                    self.add_resident(accounting, true, 1);
                }
            }
        }
        Ok(())
    }

    /// Makes the stack that ends at `top` reach down to `address`.
    fn grow_stack(&mut self, address: VirtualAddress, top: VirtualAddress) -> Result<(), Trouble> {
        let start = address.align_down();
        let last = VirtualAddress::new(top.value() - PAGE_SIZE as u64);
        let Some(area) = self.areas.find(last) else { return Err(Trouble::NotMapped) };
        let (flags, old) = (area.flags, area.range.start);
        if let Some(below) = self.areas.before(last)
            && below.flags.is_accessible()
            && !below.flags.contains(AreaFlags::GROWS_DOWN)
            && start.value() < below.range.end.value().saturating_add(STACK_GUARD_GAP)
        {
            return Err(Trouble::NotMapped);
        }
        let pages = (old.value() - start.value()) >> PAGE_SHIFT;
        let size = top.value() - start.value();
        let limit = self.limits.stack;
        if (limit != UNLIMITED && size > limit)
            || start.value() < super::LOWEST_ADDRESS
            || !self.may_expand(flags, pages)
        {
            return Err(Trouble::NotMapped);
        }
        self.areas.resize(last, |area| area.set_start(start));
        self.count_area(flags, pages);
        Ok(())
    }
}
