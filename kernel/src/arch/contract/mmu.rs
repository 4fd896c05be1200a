//! What the kernel asks of the translation hardware: [`Mmu`]. Page-table contents are `memory::paging`'s affair.

#![allow(unsafe_code, reason = "the contract has functions that are unsafe to call")]

use crate::base::{PAGE_SIZE, PhysicalAddress, VirtualAddress};

/// The page-table formats that machines have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TableFormat {
    /// x86_64, four levels.
    X86_64 = 0,
    /// VMSAv8-64, 4 KiB granule, 48 bits.
    ArmLpae = 1,
}

/// The translation hardware. Page-table *contents* are `memory::paging`'s affair.
pub trait Mmu {
    /// The format that the hardware walks.
    const TABLE_FORMAT: TableFormat = TableFormat::X86_64;
    /// Whether instruction fetch sees what was stored to memory by itself; else [`Self::synchronise_instructions`] is called.
    const COHERENT_INSTRUCTIONS: bool = true;
    /// Whether one CPU's invalidations reach all: `shoot_down_page`, `shoot_down_pages`, `invalidate_all`, `invalidate_everything` and
    /// [`Self::invalidate_tag`] then act on every CPU. Where they do not, `memory::paging::shootdown` asks the others.
    const BROADCASTS_INVALIDATIONS: bool = false;
    /// One past the highest address that user space may use (page-aligned).
    const USER_END: VirtualAddress;
    /// Where all physical memory is mapped: physical address 0 appears here.
    fn physmap_base() -> VirtualAddress;
    /// The table that the CPU translates user addresses with now.
    fn active_root() -> PhysicalAddress;
    /// The table that kernel addresses are translated with: a part of the active one, or one of their own.
    fn kernel_root() -> PhysicalAddress {
        Self::active_root()
    }
    /// Makes entries that were just written where none stood visible to the table walker, for kernel addresses, which nobody retries.
    fn publish_tables() {}
    /// How many address-space tags (PCIDs, ASIDs) the CPUs tell apart, tag 0 included, at most 65536; 1 where they have none.
    /// `memory::paging::tags` hands them out; tag 0 is for tables without user translations.
    #[inline]
    fn tag_count() -> u32 {
        1
    }
    /// Makes `root` the active table, under hardware tag `tag`. Where there are tags nothing is forgotten; where there are none, what was
    /// cached of the last table is, global translations excepted.
    ///
    /// # Safety
    /// `root` maps the kernel as the present one does and stays allocated while it is active on any CPU. Translations that are cached
    /// under a tag other than 0 are those of `root`.
    unsafe fn activate(root: PhysicalAddress, tag: u16);
    /// Forgets the translation of one page of the active table on this CPU.
    fn invalidate_page(address: VirtualAddress);
    /// Forgets all translations under the active table's tag that are not global, on this CPU at least.
    fn invalidate_all();
    /// Forgets all translations under `tag` that are not global, on every CPU; only where invalidations are broadcast.
    fn invalidate_tag(_tag: u16) {
        Self::invalidate_everything();
    }
    /// Forgets all translations of every tag, global ones included, on this CPU at least.
    fn invalidate_everything() {
        Self::invalidate_all();
    }
    /// Forgets the translations of one page on every CPU that may hold it, if invalidations are broadcast, else on this one; returns when they are gone.
    fn shoot_down_page(address: VirtualAddress) {
        Self::invalidate_page(address);
    }
    /// As [`Self::shoot_down_page`], for several pages of the active table: a machine overrides it where waiting once is cheaper.
    #[inline]
    fn shoot_down_pages(addresses: &[VirtualAddress]) {
        for address in addresses {
            Self::shoot_down_page(*address);
        }
    }
    /// Writes zeros over the page at `page` (a kernel address). A machine overrides it where it has something faster.
    ///
    /// # Safety
    /// `page` is page-aligned, mapped writable, and the caller's.
    #[inline]
    unsafe fn zero_page(page: VirtualAddress) {
        let target = core::ptr::with_exposed_provenance_mut::<u8>(page.value() as usize);
        // SAFETY: the caller's promise.
        unsafe { core::ptr::write_bytes(target, 0, PAGE_SIZE) };
    }
    /// Copies the page at `source` to `target` (kernel addresses). A machine overrides it where it has something faster.
    ///
    /// # Safety
    /// Both are page-aligned and mapped, `target` is writable and the caller's, `source` may be read, and they differ.
    #[inline]
    unsafe fn copy_page(target: VirtualAddress, source: VirtualAddress) {
        let to = core::ptr::with_exposed_provenance_mut::<u8>(target.value() as usize);
        let from = core::ptr::with_exposed_provenance::<u8>(source.value() as usize);
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from, to, PAGE_SIZE) };
    }
    /// Makes freshly written code at `range` of physmap addresses visible to instruction fetch.
    fn synchronise_instructions(_start: VirtualAddress, _length: usize) {}
}
