//! The kernel half: shared by all address spaces, changed after boot only below second-level tables that exist from boot on.
//!
//! [`initialize`] is called once with the table that boot code made; it gives each growing area its second-level table and
//! remembers the top entries, which every new root gets a copy of. Roots of spaces that ended are kept for the next ones, their
//! user half empty. Last-level tables that map nothing any more go back when their area says so ([`release_tables`]). Lock: one spinlock of rank `Frames` around changes and the root cache's index.

use super::super::frame::Frame;
use super::access::{Physmap, TableAccess};
use super::entries::new_table;
use super::format::{ENTRIES, Format, Half, TOP_LEVEL, level_index, level_shift};
use super::mapper::{Absent, Mapper};
use super::tlb::{KernelTlb, Tlb};
use super::{Leaf, MapError, Native, PageFlags, PageSize};
use crate::arch::{Current, Mmu};
use crate::base::{FrameNumber, PAGE_SIZE, PhysicalAddress, VirtualAddress};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use arrayvec::ArrayVec;

/// Where kernel stacks are mapped: P4 slot 400.
pub const STACK_AREA: VirtualAddress = VirtualAddress::new(0xffff_c800_0000_0000);
/// Where device registers and scattered frames are mapped: P4 slot 401.
pub const MAPPING_AREA: VirtualAddress = VirtualAddress::new(0xffff_c880_0000_0000);
/// The length of each of these areas.
pub const AREA_LENGTH: u64 = 1 << 39;

/// Roots that are kept for reuse.
const CACHED_ROOTS: usize = 8;
/// Slots of the top table that the kernel half may use at most.
const KERNEL_SLOTS: usize = 32;

#[derive(Debug)]
struct State {
    root: Option<FrameNumber>,
    /// The top entries of the kernel half, the recursive one excepted.
    entries: ArrayVec<(VirtualAddress, u64), KERNEL_SLOTS>,
    spare_roots: ArrayVec<Frame, CACHED_ROOTS>,
    /// The next free address of [`MAPPING_AREA`].
    next_mapping: u64,
}

static KERNEL: SpinLock<State, InterruptsDisabled> = SpinLock::new(
    LockRank::Frames,
    State {
        root: None,
        entries: ArrayVec::new_const(),
        spare_roots: ArrayVec::new_const(),
        next_mapping: MAPPING_AREA.value(),
    },
);

type KernelMapper = Mapper<Native, Physmap, KernelTlb>;

impl State {
    /// The walker, after taking over the active table if boot code has not said which one is the kernel's.
    fn mapper(&mut self) -> Result<KernelMapper, MapError> {
        if let Some(root) = self.root {
            return Ok(Mapper::new(root, Half::Kernel, Physmap, KernelTlb));
        }
        let active = Current::kernel_root();
        if active.value() != 0 {
            self.adopt(active)?;
        } else {
            // The emulated machine starts without tables.
            let root = new_table()?.into_raw();
            self.adopt(root.address())?;
        }
        let root = self.root.ok_or(MapError::OutOfMemory)?;
        Ok(Mapper::new(root, Half::Kernel, Physmap, KernelTlb))
    }

    fn adopt(&mut self, root: PhysicalAddress) -> Result<(), MapError> {
        let mapper: KernelMapper = Mapper::new(root.frame(), Half::Kernel, Physmap, KernelTlb);
        for area in [STACK_AREA, MAPPING_AREA] {
            mapper.reach(area, TOP_LEVEL - 1, Absent::Create)?;
        }
        self.entries.clear();
        if Native::HAS_KERNEL_HALF {
            for index in ENTRIES / 2..ENTRIES {
                if Native::RECURSIVE_SLOT == Some(index) {
                    continue;
                }
                let at = VirtualAddress::new((index as u64) << level_shift(TOP_LEVEL));
                let entry = Physmap.entry(root.frame(), TOP_LEVEL, at).load();
                if entry != 0 {
                    self.entries.try_push((at, entry)).map_err(|_| MapError::OutOfMemory)?;
                }
            }
        }
        self.root = Some(root.frame());
        Ok(())
    }
}

/// Takes `root`, the active table that boot code made, as the kernel's own. Called once, after the frame allocator runs and
/// before the first address space is made.
///
/// # Errors
/// [`MapError::OutOfMemory`].
pub fn initialize(root: PhysicalAddress) -> Result<(), MapError> {
    KERNEL.lock().adopt(root)
}

/// The kernel's own table, for a CPU that runs no program.
#[must_use]
pub fn root() -> Option<PhysicalAddress> {
    KERNEL.lock().root.map(FrameNumber::address)
}

/// Maps kernel page `page` to `frame`, which is not counted. `GLOBAL` and `ACCESSED` are set by this, `DIRTY` where it is writable.
///
/// # Errors
/// [`MapError`].
pub fn map(page: VirtualAddress, frame: FrameNumber, flags: PageFlags) -> Result<(), MapError> {
    let dirty = if flags.contains(PageFlags::WRITABLE) { PageFlags::DIRTY } else { PageFlags::empty() };
    let flags = flags | PageFlags::GLOBAL | PageFlags::ACCESSED | dirty;
    KERNEL.lock().mapper()?.map(page, frame, PageSize::Small, flags)?;
    Current::publish_tables();
    Ok(())
}

/// Removes a kernel page. Its translation is gone on every CPU when this returns.
pub fn unmap(page: VirtualAddress) -> Option<Leaf> {
    KERNEL.lock().mapper().ok()?.unmap(page)
}

/// Removes kernel pages, of which some may be unmapped, and gives the frames that were behind them. Their translations are gone on every CPU when this
/// returns: the other CPUs are asked once, however many pages there are. What does not fit into `frames` stays mapped.
pub fn unmap_all<const N: usize>(pages: impl IntoIterator<Item = VirtualAddress>) -> ArrayVec<FrameNumber, N> {
    let mut frames = ArrayVec::new();
    let mut state = KERNEL.lock();
    let Ok(mut mapper) = state.mapper() else { return frames };
    let mut batch = mapper.batch();
    for page in pages.into_iter().take(N) {
        frames.extend(mapper.unmap_into(page, &mut batch).map(|leaf| leaf.frame));
    }
    // The others are asked without the lock: meanwhile nobody maps anything there, for the pages are still the caller's.
    drop(state);
    drop(batch);
    frames
}

/// Takes the last-level tables out that map the 2 MiB at each of `starts` (at most `N`), in which nothing is mapped, and gives them back. The caller sees
/// to it that nobody maps or uses anything there until this returns: only then is the way to them forgotten everywhere.
pub fn release_tables<const N: usize>(starts: impl IntoIterator<Item = VirtualAddress>) {
    let mut tables: ArrayVec<Frame, N> = ArrayVec::new();
    {
        let mut state = KERNEL.lock();
        let Ok(mapper) = state.mapper() else { return };
        tables.extend(starts.into_iter().take(N).filter_map(|start| mapper.take_empty_table(start)));
    }
    if tables.is_empty() {
        return;
    }
    // Not page by page: cached table pointers belong to every tag that was in use when they were read.
    KernelTlb.invalidate_all(PhysicalAddress::new(0));
    tables.into_iter().for_each(Frame::drop_zeroed);
}

/// Gives back the top tables that are kept for the next spaces.
pub fn shrink() {
    loop {
        let spare = KERNEL.lock().spare_roots.pop();
        let Some(root) = spare else { return };
        #[cfg(test)]
        super::super::frame_ledger::took(root.descriptor());
        drop(root);
    }
}

/// Whether there is a last-level table for `address`.
#[cfg(test)]
pub(in crate::memory) fn has_table(address: VirtualAddress) -> bool {
    let table = KERNEL.lock().mapper().map(|mapper| mapper.reach(address, 0, Absent::Stop));
    table.is_ok_and(|table| table.is_ok_and(|table| table.is_some()))
}

/// What stands behind a kernel address.
#[must_use]
pub fn translate(address: VirtualAddress) -> Option<PhysicalAddress> {
    KERNEL.lock().mapper().ok()?.translate(address)
}

/// Maps `length` bytes of device registers at `physical` for good. Gives where the first byte is.
///
/// # Errors
/// [`MapError`].
pub fn map_device(physical: PhysicalAddress, length: usize) -> Result<VirtualAddress, MapError> {
    let offset = physical.page_offset();
    let pages = (offset + length).div_ceil(PAGE_SIZE) as u64;
    let mut state = KERNEL.lock();
    let start = VirtualAddress::new(state.next_mapping);
    // One page between mappings stays empty.
    state.next_mapping += (pages + 1) * PAGE_SIZE as u64;
    let mut mapper = state.mapper()?;
    let flags = PageFlags::WRITABLE | PageFlags::DEVICE | PageFlags::GLOBAL | PageFlags::ACCESSED | PageFlags::DIRTY;
    for index in 0..pages {
        let page = start.offset(index * PAGE_SIZE as u64);
        mapper.map(page, physical.frame().offset(index), PageSize::Small, flags)?;
    }
    Current::publish_tables();
    Ok(start.offset(offset as u64))
}

/// A top table with an empty user half.
pub(super) fn new_root<F: Format>() -> Option<Frame> {
    if !F::HAS_KERNEL_HALF {
        return new_table().ok();
    }
    let mut state = KERNEL.lock();
    if let Some(root) = state.spare_roots.pop() {
        #[cfg(test)]
        super::super::frame_ledger::took(root.descriptor());
        return Some(root);
    }
    state.mapper().ok()?;
    let root = new_table().ok()?;
    for (at, entry) in &state.entries {
        Physmap.entry(root.number(), TOP_LEVEL, *at).store(*entry);
    }
    if let Some(slot) = F::RECURSIVE_SLOT {
        let at = VirtualAddress::new((slot as u64) << level_shift(TOP_LEVEL));
        debug_assert_eq!(level_index(at, TOP_LEVEL), slot);
        Physmap.entry(root.number(), TOP_LEVEL, at).store(F::recursive(root.number()));
    }
    Some(root)
}

/// Takes back a top table whose user half is empty.
pub(super) fn free_root<F: Format>(root: Frame) {
    if !F::HAS_KERNEL_HALF {
        root.drop_zeroed();
        return;
    }
    #[cfg(test)]
    let descriptor = root.descriptor();
    let refused = KERNEL.lock().spare_roots.try_push(root).err();
    #[cfg(test)]
    if refused.is_none() {
        super::super::frame_ledger::gave(descriptor);
    }
    drop(refused);
}

/// Whether the recursive window of the active table gives the same answers as the physmap for `address`: what boot code checks once.
#[must_use]
pub fn window_agrees(address: VirtualAddress) -> bool {
    let root = Current::active_root().frame();
    let through_window: Mapper<Native, super::access::Recursive, KernelTlb> =
        Mapper::new(root, Half::Kernel, super::access::Recursive, KernelTlb);
    let through_physmap: KernelMapper = Mapper::new(root, Half::Kernel, Physmap, KernelTlb);
    through_window.translate(address) == through_physmap.translate(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_pages_are_seen_by_every_space() {
        let page = VirtualAddress::new(MAPPING_AREA.value() + (1 << 38));
        map(page, FrameNumber::new(77), PageFlags::WRITABLE).unwrap();
        assert_eq!(translate(page.offset(5)), Some(PhysicalAddress::new(77 * 4096 + 5)));
        let space = super::super::PageTables::new().unwrap();
        let mapper: KernelMapper = Mapper::new(space.root().frame(), Half::Kernel, Physmap, KernelTlb);
        assert_eq!(mapper.translate(page), Some(PhysicalAddress::new(77 * 4096)));
        assert_eq!(map(page, FrameNumber::new(78), PageFlags::empty()), Err(MapError::AlreadyMapped));
        assert_eq!(unmap(page).unwrap().frame, FrameNumber::new(77));
        assert_eq!(mapper.translate(page), None);
    }

    #[test]
    fn device_registers_keep_their_offset_and_are_not_cached() {
        let address = map_device(PhysicalAddress::new(0xfee0_0030), 0x1000).unwrap();
        assert_eq!(address.page_offset(), 0x30);
        assert_eq!(translate(address), Some(PhysicalAddress::new(0xfee0_0030)));
        assert_eq!(translate(address.offset(0xfff)), Some(PhysicalAddress::new(0xfee0_102f)));
    }
}
