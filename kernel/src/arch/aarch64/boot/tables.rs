//! The first page tables, filled by the entry code with the MMU off; here they are given the machine's memory.
//!
//! ```text
//! TTBR1  L0 slot 256   physmap      memory as Normal, everything else below 512 GiB as Device; 1 GiB, 2 MiB where they meet, 4 KiB around
//!                                   what the device tree says must not be mapped
//!        L0 slot 510   L1 slot 0    the image, by pages, W^X
//!                      L1 slot 1    the device tree's 4 MiB, read-only, until `forget_tree`
//! TTBR0  boot          the GiB of the code that turns the MMU on, identity; then EMPTY
//! ```
//!
//! Aligned neighbours that are alike are marked as runs (the contiguous hint): 64 KiB of the image, 32 MiB and 16 GiB of physmap.
//! The tables of TTBR1 are the kernel's for good, and these entries never change.

#![allow(unsafe_code, reason = "writes page tables")]

use crate::arch::aarch64::mmu::KERNEL_BASE;
pub use crate::arch::aarch64::physmap_layout::CONTIGUOUS;
use crate::arch::aarch64::physmap_layout::{Content, GIB, Layout, MIB2, PAGE, TABLE_OR_PAGE, VALID, mark_runs};
use crate::arch::boot_information::{BootInformation, PhysicalRange};
use crate::base::PhysicalAddress;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A page table that the CPU and this file share.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Table(UnsafeCell<[u64; 512]>);

// SAFETY: written by the booting CPU alone, before any other starts; afterwards only through `memory`'s page-table code.
unsafe impl Sync for Table {}

impl Table {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; 512]))
    }

    /// Writes one entry, where nothing valid stands.
    ///
    /// # Safety
    /// What it maps is as the entry says.
    unsafe fn set(&self, index: usize, entry: u64) {
        if index < 512 {
            // SAFETY: inside the table; a single volatile store, no reference to the table is made.
            unsafe { self.0.get().cast::<u64>().add(index).write_volatile(entry) };
        }
    }

    fn physical(&'static self) -> PhysicalAddress {
        image_physical(self.0.get().addr() as u64)
    }
}

/// The tables that the entry code fills, in one piece.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct BootTables {
    /// The kernel half's top.
    pub kernel_l0: Table,
    /// Physmap's 512 GiB.
    pub physmap_l1: Table,
    /// The image's L1.
    pub image_l1: Table,
    /// The image's L2.
    pub image_l2: Table,
    /// The image's L3s, one behind the other: as many as the largest image needs.
    pub image_l3: [Table; IMAGE_TABLES],
    /// The device tree's L2.
    pub tree_l2: Table,
    /// The boot code's identity mapping.
    pub identity_l0: Table,
    /// Its L1.
    pub identity_l1: Table,
}

/// How many L3s the image has: room for 32 MiB.
pub const IMAGE_TABLES: usize = 16;

/// The tables.
pub static TABLES: BootTables = BootTables {
    kernel_l0: Table::new(),
    physmap_l1: Table::new(),
    image_l1: Table::new(),
    image_l2: Table::new(),
    image_l3: [const { Table::new() }; IMAGE_TABLES],
    tree_l2: Table::new(),
    identity_l0: Table::new(),
    identity_l1: Table::new(),
};

/// Physmap's GiBs that are not of one kind.
static PHYSMAP_L2: [Table; PHYSMAP_TABLES] = [const { Table::new() }; PHYSMAP_TABLES];
const PHYSMAP_TABLES: usize = 24;
/// Physmap's 2 MiB stretches of which a part must not be mapped.
static PHYSMAP_L3: [Table; PHYSMAP_LAST_TABLES] = [const { Table::new() }; PHYSMAP_LAST_TABLES];
const PHYSMAP_LAST_TABLES: usize = 16;
/// The user half when no program's is active.
static EMPTY: Table = Table::new();

const DEVICE: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const USER_EXECUTE_NEVER: u64 = 1 << 54;
const NEVER_EXECUTE: u64 = PRIVILEGED_EXECUTE_NEVER | USER_EXECUTE_NEVER;
const MEMORY: u64 = VALID | INNER_SHAREABLE | ACCESSED;

/// A page of the image's code.
pub const CODE_PAGE: u64 = MEMORY | TABLE_OR_PAGE | READ_ONLY | USER_EXECUTE_NEVER;
/// A page of its constants.
pub const CONSTANT_PAGE: u64 = MEMORY | TABLE_OR_PAGE | READ_ONLY | NEVER_EXECUTE;
/// A page of its data.
pub const DATA_PAGE: u64 = MEMORY | TABLE_OR_PAGE | NEVER_EXECUTE | DIRTY_BIT_MODIFIER;
/// A block around the device tree.
pub const TREE_BLOCK: u64 = MEMORY | READ_ONLY | NEVER_EXECUTE;
/// The block of the code that turns the MMU on.
pub const IDENTITY_BLOCK: u64 = MEMORY | READ_ONLY | USER_EXECUTE_NEVER;
/// Physmap's blocks.
const MEMORY_BLOCK: u64 = MEMORY | NEVER_EXECUTE | DIRTY_BIT_MODIFIER;
const DEVICE_BLOCK: u64 = VALID | ACCESSED | NEVER_EXECUTE | DIRTY_BIT_MODIFIER | DEVICE;

/// MAIR: 0 normal write-back, 1 device nGnRE, 2 normal non-cacheable; what `memory/paging/arm_lpae.rs` counts on.
pub const MEMORY_ATTRIBUTES: u64 = 0xff | 0x04 << 8 | 0x44 << 16;
/// TCR: 48 bits in both halves, 4 KiB granules, walks cached and shared as memory is, the top byte of user addresses ignored.
pub const TRANSLATION_CONTROL: u64 = {
    let user = 16 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12;
    let kernel = 16 << 16 | 0b01 << 24 | 0b01 << 26 | 0b11 << 28 | 0b10 << 30;
    user | kernel | 1 << 37
};
/// The bits of SCTLR that are one on every CPU, or stand for behaviour that Linux has too (`EIS`, `EOS`, `nTLSMD`,
/// `LSMAOE`, `TSCXT`; and SPAN, which is taken back where the CPU has PAN).
const CONTROL: u64 = 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;
/// SCTLR with the MMU and the caches off.
pub const CONTROL_WITHOUT_MMU: u64 = CONTROL;
/// SCTLR with everything on: MMU, caches, stack alignment checks in both modes; user mode may `dc zva`, read CTR, `wfi` and
/// `wfe`, and maintain caches by address; system errors are taken at the latest where exceptions enter and leave (IESB, with RAS).
pub const CONTROL_WITH_MMU: u64 =
    CONTROL | 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 21 | 1 << 26;

/// Room for the boot stack, with a page below it that is not mapped.
const BOOT_STACK_SIZE: usize = 64 * 1024;

/// The stack that the kernel starts on.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct BootStack {
    guard: [u8; 4096],
    bytes: UnsafeCell<[u8; BOOT_STACK_SIZE]>,
}

// SAFETY: used by the booting CPU as its stack and by nobody else.
unsafe impl Sync for BootStack {}

/// The stack that the kernel starts on.
pub static BOOT_STACK: BootStack = BootStack { guard: [0; 4096], bytes: UnsafeCell::new([0; BOOT_STACK_SIZE]) };
/// The distance from [`BOOT_STACK`] to its top.
pub const BOOT_STACK_TOP: usize = 4096 + BOOT_STACK_SIZE;

unsafe extern "C" {
    static ashlar_symbols_start: u8;
}

static LOAD_ADDRESS: AtomicU64 = AtomicU64::new(0);
static IMAGE_LENGTH: AtomicU64 = AtomicU64::new(0);

/// Notes where the image was loaded; the first thing of all.
pub(super) fn set_image(load_address: PhysicalAddress, length: u64) {
    LOAD_ADDRESS.store(load_address.value(), Relaxed);
    IMAGE_LENGTH.store(length, Relaxed);
}

/// The table of the user half when no program's is active.
pub(in crate::arch::aarch64) fn empty_table() -> PhysicalAddress {
    EMPTY.physical()
}

/// The table in which the code that turns the MMU on is mapped where it lies.
pub(in crate::arch::aarch64) fn identity_table() -> PhysicalAddress {
    TABLES.identity_l0.physical()
}

/// Where the byte of the image that is linked at `address` lies in memory.
pub(in crate::arch::aarch64) fn image_physical(address: u64) -> PhysicalAddress {
    PhysicalAddress::new(address.wrapping_sub(KERNEL_BASE).wrapping_add(LOAD_ADDRESS.load(Relaxed)))
}

/// Where the image lies in memory, symbols included, in whole pages.
#[must_use]
pub fn image_range() -> PhysicalRange {
    let start = PhysicalAddress::new(LOAD_ADDRESS.load(Relaxed));
    PhysicalRange { start, end: start.offset(IMAGE_LENGTH.load(Relaxed)) }
}

/// The symbol table that `cargo xtask build` put behind the image (see `xtask/src/symbols.rs`); only a header of zeros when
/// the file was not processed.
#[must_use]
pub fn symbol_table() -> &'static [u8] {
    let start = &raw const ashlar_symbols_start;
    // SAFETY: the linker script reserves the header; a table that says it is longer was loaded with that length.
    unsafe {
        let header = core::slice::from_raw_parts(start, 24);
        let length = match header.split_at(8) {
            (b"ASHLSYM1", rest) => rest.first_chunk().map_or(24, |bytes| u64::from_le_bytes(*bytes)),
            _ => 24,
        };
        core::slice::from_raw_parts(start, length as usize)
    }
}

/// The most bytes of device tree that the boot protocol allows.
const TREE_LIMIT: usize = 2 << 20;

/// The device tree at `address`, as far as its own header says it goes; `None` where there is none.
///
/// # Safety
/// The entry code mapped it, and [`leave_boot_mappings`] has not been called.
pub(super) unsafe fn tree(address: PhysicalAddress) -> Option<&'static [u8]> {
    const MAGIC: u32 = 0xd00d_feed;
    if address.value() == 0 || !address.value().is_multiple_of(8) {
        return None;
    }
    let start = KERNEL_BASE + (1 << 30) + (address.value() & 0x1f_ffff);
    let start: *const u8 = core::ptr::with_exposed_provenance(start as usize);
    // SAFETY: 2 MiB from there are mapped.
    let header = unsafe { core::slice::from_raw_parts(start, 8) };
    let word = |at: usize| header.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let length = word(4)? as usize;
    if word(0)? != MAGIC || length > TREE_LIMIT {
        return None;
    }
    // SAFETY: as above.
    Some(unsafe { core::slice::from_raw_parts(start, length) })
}

/// Fills physmap: what `information` calls memory is Normal, the rest Device; what it says must not be mapped is not. Memory past 512 GiB is not used.
pub(super) fn fill_physmap(information: &BootInformation) {
    static NEXT_L2: AtomicUsize = AtomicUsize::new(0);
    static NEXT_L3: AtomicUsize = AtomicUsize::new(0);
    let layout = Layout::of(information);
    fill(&TABLES.physmap_l1, 0, GIB, &|start| match layout.content(start, GIB) {
        Content::Mixed => {
            // More banks than tables: all of it as memory, which Device registers in it would not like.
            let Some(l2) = PHYSMAP_L2.get(NEXT_L2.fetch_add(1, Relaxed)) else { return start | MEMORY_BLOCK };
            fill(l2, start, MIB2, &|start| match layout.content(start, MIB2) {
                Content::Mixed if layout.has_forbidden(start, MIB2) => {
                    // Where tables are out, nothing of it is mapped.
                    let Some(l3) = PHYSMAP_L3.get(NEXT_L3.fetch_add(1, Relaxed)) else { return 0 };
                    fill(l3, start, PAGE, &|start| match layout.content(start, PAGE) {
                        Content::Forbidden => 0,
                        content => start | block(content) | TABLE_OR_PAGE,
                    });
                    l3.physical().value() | TABLE_OR_PAGE | VALID
                }
                Content::Forbidden => 0,
                content => start | block(content),
            });
            l2.physical().value() | TABLE_OR_PAGE | VALID
        }
        Content::Forbidden => 0,
        content => start | block(content),
    });
    // SAFETY: makes the new entries visible to the table walker.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Fills a table that is not in use yet, whose entries span `span` bytes each from `base` on, with what `entry` says of their first addresses.
fn fill(table: &'static Table, base: u64, span: u64, entry: &dyn Fn(u64) -> u64) {
    let mut entries = [0; 512];
    for (place, index) in entries.iter_mut().zip(0..) {
        *place = entry(base + index * span);
    }
    mark_runs(&mut entries, span);
    for (index, entry) in entries.into_iter().enumerate() {
        // SAFETY: the table is not in use yet: nothing stood there.
        unsafe { table.set(index, entry) };
    }
}

/// The attributes of what is mapped.
fn block(content: Content) -> u64 {
    if content == Content::Devices { DEVICE_BLOCK } else { MEMORY_BLOCK }
}

/// Leaves the identity mapping and the device tree's, which were for boot alone.
pub(super) fn leave_boot_mappings() {
    // SAFETY: nothing runs at or reads through those addresses any more.
    unsafe {
        asm!(
            "msr ttbr0_el1, {empty}",
            "isb",
            "tlbi vmalle1",
            "dsb nsh",
            "isb",
            empty = in(reg) EMPTY.physical().value(),
            options(nostack, preserves_flags),
        );
        TABLES.image_l1.set(1, 0);
        asm!("dsb ishst", "tlbi vmalle1", "dsb nsh", "isb", options(nostack, preserves_flags));
    }
}
