//! The first page tables: filled by the 32-bit entry code, given their permissions here.
//!
//! ```text
//! P4 slot 0     identity: the first 2 MiB, the 2 MiB in which the 32-bit code lies      gone after `protect`
//! P4 slot 256   physmap                        1 GiB leaves over the whole slot, or 2 MiB leaves over the first 4 GiB
//! P4 slot 510   the image at +2 MiB            2 MiB leaves; 4 KiB leaves with W^X after `protect`
//! P4 slot 511   the P4 itself
//! ```
//!
//! The image lies in memory where it was linked to be loaded (2 MiB), or at another multiple of 2 MiB below 1 GiB: a boot loader finds a place where
//! firmware has nothing, and [`physical_address`] knows by how much it is displaced.
//!
//! The tables are the kernel's for good: every address space's P4 gets slots 256 to 510 from here.

#![allow(unsafe_code, reason = "writes page tables")]

use crate::arch::boot_information::{BootInformation, PhysicalRange};
use crate::arch::x86_64::features::{self, Features};
use crate::arch::x86_64::mmu::{KERNEL_BASE, invalidate_everything, physmap};
use crate::base::PhysicalAddress;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

    /// Writes one entry.
    ///
    /// # Safety
    /// As for any write to an active page table.
    unsafe fn set(&self, index: usize, entry: u64) {
        if index < 512 {
            // SAFETY: inside the table; a single volatile store, no reference to the table is made.
            unsafe { self.0.get().cast::<u64>().add(index).write_volatile(entry) };
        }
    }

    fn physical(&'static self) -> u64 {
        physical_address(self.0.get().addr() as u64)
    }
}

/// How far the image is from where it was linked to be loaded.
static DISPLACEMENT: AtomicU64 = AtomicU64::new(0);

/// Says so: first of all, once.
pub fn set_displacement(displacement: u64) {
    DISPLACEMENT.store(displacement, Relaxed);
}

/// The physical address of a virtual one within the image.
#[must_use]
pub fn physical_address(address: u64) -> u64 {
    address - KERNEL_BASE + DISPLACEMENT.load(Relaxed)
}

/// The P4.
pub static P4: Table = Table::new();
/// The identity mapping's P3 and P2.
pub static IDENTITY_P3: Table = Table::new();
/// See [`IDENTITY_P3`].
pub static IDENTITY_P2: Table = Table::new();
/// Physmap's P3.
pub static PHYSMAP_P3: Table = Table::new();
/// Physmap's P2s, for CPUs without 1 GiB pages.
pub static PHYSMAP_P2: [Table; 4] = [const { Table::new() }; 4];
/// The image's P3 and P2.
pub static IMAGE_P3: Table = Table::new();
/// See [`IMAGE_P3`].
pub static IMAGE_P2: Table = Table::new();
/// The image's P1s: as many as the largest image needs, and one, because it starts at 2 MiB.
static IMAGE_P1: [Table; IMAGE_TABLES] = [const { Table::new() }; IMAGE_TABLES];
const IMAGE_TABLES: usize = 8;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

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
    static ashlar_text_start: u8;
    static ashlar_text_end: u8;
    static ashlar_rodata_end: u8;
    static ashlar_data_end: u8;
    static ashlar_symbols_start: u8;
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

/// Where the image lies in physical memory, symbols included, in whole pages.
#[must_use]
pub fn image_range() -> PhysicalRange {
    let start = physical_address((&raw const ashlar_text_start).addr() as u64);
    let symbols = symbol_table();
    let end = physical_address(symbols.as_ptr().addr() as u64 + symbols.len() as u64);
    PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end.next_multiple_of(4096)) }
}

/// Physical memory that physmap covers on CPUs without 1 GiB pages.
static MAPPED: AtomicU64 = AtomicU64::new(4 << 30);
const GIGABYTE: u64 = 1 << 30;
/// Physical memory that one P4 slot can map.
const SLOT: u64 = 512 * GIGABYTE;

/// One past the last byte of physical memory that physmap covers.
#[must_use]
pub fn mapped_memory() -> u64 {
    if features::has(Features::GIGABYTE_PAGES) { SLOT } else { MAPPED.load(Relaxed) }
}

/// Makes physmap cover all usable memory where the CPU has no 1 GiB pages: the tables are taken from `information`'s usable
/// memory and added to what is reserved. Memory that stays uncovered is dropped from the map.
pub fn extend_physmap(information: &mut BootInformation) {
    let wanted = information.usable_end().min(SLOT);
    if wanted > mapped_memory() {
        let first = mapped_memory() / GIGABYTE;
        let tables = wanted.div_ceil(GIGABYTE) - first;
        if let Some(room) = information.find_room(tables * 4096, mapped_memory())
            && information.reserved.try_push(room).is_ok()
        {
            let no_execute = if features::has(Features::NX) { NO_EXECUTE } else { 0 };
            for (index, gigabyte) in (first..first + tables).enumerate() {
                let table = room.start.offset(index as u64 * 4096);
                let words = physmap(table).value() as *mut u64;
                for entry in 0..512u64 {
                    let address = gigabyte * GIGABYTE + (entry << 21);
                    // SAFETY: the table's frame is usable memory that is now reserved, and physmap covers it.
                    unsafe {
                        words
                            .add(entry as usize)
                            .write_volatile(address | PRESENT | WRITABLE | LARGE | GLOBAL | no_execute);
                    }
                }
                // SAFETY: the new part of physmap maps memory that nothing else uses by that address.
                unsafe { PHYSMAP_P3.set(gigabyte as usize, table.value() | PRESENT | WRITABLE | no_execute) };
            }
            MAPPED.store((first + tables) * GIGABYTE, Relaxed);
        }
    }
    let covered = mapped_memory();
    for region in &mut information.memory_regions {
        region.length = region.length.min(covered.saturating_sub(region.start.value()));
    }
}

/// Gives the image its permissions, makes physmap no-execute, and takes the identity mapping away.
///
/// # Safety
/// Called once, at boot, with the boot tables active; nothing runs in the identity mapping.
pub unsafe fn protect() {
    let no_execute = if features::has(Features::NX) { NO_EXECUTE } else { 0 };
    let offset = |symbol: *const u8| physical_address(symbol.addr() as u64);
    let text_end = offset(&raw const ashlar_text_end);
    let rodata_end = offset(&raw const ashlar_rodata_end);
    let data_end = offset(&raw const ashlar_data_end);
    let guard = physical_address((&raw const BOOT_STACK).addr() as u64);
    let image = image_range();
    let displacement = DISPLACEMENT.load(Relaxed);
    // SAFETY: the new entries map the same frames as the old ones, with the rights that the sections need; the tables are ours.
    unsafe {
        let mut page = image.start.value();
        while page < image.end.value() {
            let rights = match page {
                _ if page == guard => 0,
                _ if page < text_end => PRESENT | GLOBAL,
                _ if page < rodata_end || page >= data_end => PRESENT | GLOBAL | no_execute,
                _ => PRESENT | GLOBAL | WRITABLE | no_execute,
            };
            // Where it is mapped, not where it lies.
            let place = page - displacement;
            let (large, small) = ((place >> 21) as usize, (place >> 12 & 511) as usize);
            if let Some(table) = IMAGE_P1.get(large.wrapping_sub(1)) {
                table.set(small, if rights == 0 { 0 } else { page | rights });
            }
            page += 4096;
        }
        for (index, table) in (1..).zip(IMAGE_P1.iter()) {
            let used = (index as u64) << 21 < image.end.value() - displacement;
            IMAGE_P2.set(index, if used { table.physical() | PRESENT | WRITABLE } else { 0 });
        }
        for index in (0..1).chain(IMAGE_TABLES + 1..512) {
            IMAGE_P2.set(index, 0);
        }
        if features::has(Features::GIGABYTE_PAGES) {
            for index in 0..512 {
                let entry = (index as u64) << 30 | PRESENT | WRITABLE | LARGE | GLOBAL | no_execute;
                PHYSMAP_P3.set(index, entry);
            }
        } else {
            for (index, table) in PHYSMAP_P2.iter().enumerate() {
                PHYSMAP_P3.set(index, table.physical() | PRESENT | WRITABLE | no_execute);
            }
        }
        P4.set(511, P4.physical() | PRESENT | WRITABLE | no_execute);
        P4.set(0, 0);
    }
    invalidate_everything();
}

impl BootStack {
    /// The page below the stack that is not mapped.
    #[must_use]
    pub fn guard_page(&self) -> &[u8; 4096] {
        &self.guard
    }
}
