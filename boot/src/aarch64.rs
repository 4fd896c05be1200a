//! The entry of a Linux `Image` on AArch64: MMU off, device tree in `x0`, EL2 or EL1; to EL1 on the tables of
//! `arch::aarch64::boot::tables`, at L0 slot 510.
//!
//! Until the MMU is on, code runs at the load address, which is any 2 MiB boundary, and reaches everything relative to itself. It
//! writes the tables past the caches, so lines that these may hold of them are thrown away afterwards; that the image itself is in memory is the boot
//! loader's duty. `.bss` is part of the image (the symbol table lies behind it), zero as loaded.
//!
//! | register | holds, from here to the end |
//! |---|---|
//! | `x19` | the device tree's physical address |
//! | `x20` | the load address |
//! | `x21` | bytes of the image, symbols included, in whole pages |
//! | `x27` | the tables' address |

#![allow(unsafe_code, reason = "entry code in assembly")]

use ashlar_kernel::arch::aarch64::boot;
use ashlar_kernel::arch::aarch64::boot::tables::{self, BootTables};
use ashlar_kernel::arch::aarch64::mmu::KERNEL_BASE;
use ashlar_kernel::base::{PhysicalAddress, VirtualAddress};
use ashlar_kernel::log::symbols;
use core::mem::offset_of;

core::arch::global_asm!(
    // Maps the image from \from to \to with the attributes in \attributes. Uses x2 to x4 and x10.
    ".macro ashlar_map_pages from, to, attributes",
    "sub x3, \\from, x20",
    "add x3, x23, x3, lsr #9",
    "mov x2, \\from",
    "701: cmp x2, \\to",
    "b.hs 702f",
    // In a run if its 64 KiB lie within.
    "and x4, x2, #~0xffff",
    "add x10, x4, #0x10, lsl #12",
    "cmp x4, \\from",
    "ccmp x10, \\to, #2, hs",
    "cset x4, ls",
    "add x10, x2, \\attributes",
    "orr x4, x10, x4, lsl #52",
    "str x4, [x3], #8",
    "add x2, x2, #4096",
    "b 701b",
    "702:",
    ".endm",
    // The address of \symbol, relative to here.
    ".macro ashlar_address register, symbol",
    "adrp \\register, \\symbol",
    "add \\register, \\register, :lo12:\\symbol",
    ".endm",
    ".pushsection .boot, \"ax\"",
    ".globl ashlar_image_start",
    "ashlar_image_start:",
    "b ashlar_start",
    "nop",
    ".quad 0",       // offset from the 2 MiB boundary
    ".quad 0",       // size in memory: `cargo xtask build` fills it in
    ".quad 0b1010",  // little-endian, 4 KiB pages, anywhere in memory
    ".quad 0, 0, 0", // reserved
    ".ascii \"ARM\\x64\"",
    ".long 0",
    "ashlar_start:",
    "mov x19, x0",
    "ashlar_address x20, ashlar_image_start",
    // The image ends where its symbol table does.
    "ashlar_address x1, ashlar_symbols_start",
    "sub x21, x1, x20",
    "ldr x2, [x1, #8]",
    "cmp x2, #24",
    "mov x3, #24",
    "csel x2, x2, x3, hi",
    "add x21, x21, x2",
    "add x21, x21, #4095",
    "and x21, x21, #~4095",
    "bl ashlar_enter_el1", // `arch::aarch64::boot::exception_level`
    // The image's pages
    "ashlar_address x27, {tables}",
    "add x22, x27, #({image_l2} >> 12), lsl #12",
    "add x23, x27, #({image_l3} >> 12), lsl #12",
    "ashlar_address x5, ashlar_text_end",
    "ldr x6, ={code}",
    "ashlar_map_pages x20, x5, x6",
    "ashlar_address x7, ashlar_rodata_end",
    "ldr x6, ={constants}",
    "ashlar_map_pages x5, x7, x6",
    "ashlar_address x5, ashlar_data_end",
    "ldr x6, ={data}",
    "ashlar_map_pages x7, x5, x6",
    "add x7, x20, x21",
    "ldr x6, ={constants}",
    "ashlar_map_pages x5, x7, x6",
    // The guard page below the boot stack
    "ashlar_address x0, {stack}",
    "sub x0, x0, x20",
    "add x0, x23, x0, lsr #9",
    "str xzr, [x0]",
    "and x0, x0, #~0x7f", // its neighbours are in no run
    "mov x1, #16",
    "8: ldr x2, [x0]",
    "and x2, x2, #~{contiguous}",
    "str x2, [x0], #8",
    "subs x1, x1, #1",
    "b.ne 8b",
    // The image's L2: an entry for each of its L3s
    "mov x0, #{image_tables}",
    "add x1, x23, #3",
    "mov x2, x22",
    "5: str x1, [x2], #8",
    "add x1, x1, #4096",
    "subs x0, x0, #1",
    "b.ne 5b",
    // The device tree, which is at most 2 MiB long, by two 2 MiB blocks
    "add x24, x27, #({tree_l2} >> 12), lsl #12",
    "and x0, x19, #~0x1fffff",
    "ldr x1, ={block}",
    "orr x1, x0, x1",
    "str x1, [x24]",
    "add x1, x1, #0x200000",
    "str x1, [x24, #8]",
    // L1 and L0 of the kernel half
    "add x0, x27, #({image_l1} >> 12), lsl #12",
    "add x1, x22, #3",
    "str x1, [x0]",
    "add x1, x24, #3",
    "str x1, [x0, #8]",
    "add x25, x27, #({l0} >> 12), lsl #12",
    "add x0, x0, #3",
    "str x0, [x25, #(510 * 8)]",
    "add x0, x27, #({physmap_l1} >> 12), lsl #12",
    "add x0, x0, #3",
    "str x0, [x25, #(256 * 8)]",
    // The page that turns the MMU on, identity-mapped, in a user half of its own
    "add x26, x27, #({identity_l0} >> 12), lsl #12",
    "add x1, x27, #({identity_l1} >> 12), lsl #12",
    "add x2, x1, #3",
    "adr x3, ashlar_enable_mmu",
    "ubfx x4, x3, #39, #9",
    "str x2, [x26, x4, lsl #3]",
    "ubfx x4, x3, #30, #9",
    "ldr x5, ={identity_block}",
    "and x6, x3, #~0x3fffffff",
    "orr x5, x5, x6",
    "str x5, [x1, x4, lsl #3]",
    // The tables were written past the caches: lines that a cache may hold of them go.
    "mrs x0, ctr_el0",
    "ubfx x0, x0, #16, #4",
    "mov x1, #4",
    "lsl x1, x1, x0",
    "mov x2, x27",
    "add x3, x27, #({tables_length} >> 12), lsl #12",
    "6: dc ivac, x2",
    "add x2, x2, x1",
    "cmp x2, x3",
    "b.lo 6b",
    "dsb sy",
    // Translation
    "ldr x0, ={attributes}",
    "msr mair_el1, x0",
    "ldr x0, ={translation}",
    "mrs x1, id_aa64mmfr0_el1",
    "and x2, x1, #0xf", // physical address size, at most 48 bits
    "mov x3, #5",
    "cmp x2, x3",
    "csel x2, x2, x3, lo",
    "bfi x0, x2, #32, #3",
    "ubfx x2, x1, #4, #4", // 16-bit ASIDs
    "cmp x2, #2",
    "cset x2, eq",
    "bfi x0, x2, #36, #1",
    "mrs x1, id_aa64mmfr1_el1",
    "and x2, x1, #0xf", // accessed and dirty state by hardware
    "cmp x2, #1",
    "cset x3, hs",
    "bfi x0, x3, #39, #1",
    "cmp x2, #2",
    "cset x3, hs",
    "bfi x0, x3, #40, #1",
    "mrs x1, s3_0_c0_c7_2", // ID_AA64MMFR2_EL1
    "ubfx x2, x1, #60, #4", // E0PD: user mode cannot probe kernel addresses
    "cmp x2, #0",
    "cset x3, ne",
    "bfi x0, x3, #56, #1",
    "msr tcr_el1, x0",
    "msr ttbr0_el1, x26",
    "msr ttbr1_el1, x25",
    "dsb sy",
    "isb",
    "ldr x0, ={control_on}",
    "ldr x1, =ashlar_high",
    "b ashlar_enable_mmu",
    ".p2align 5",
    "ashlar_enable_mmu:",
    "tlbi vmalle1",
    "ic iallu",
    "dsb nsh",
    "isb",
    "msr sctlr_el1, x0",
    "isb",
    "br x1",
    ".ltorg",
    // From here on at the linked address.
    "ashlar_high:",
    "ashlar_address x0, {stack}",
    "add x0, x0, #{stack_top} & 0xfff000",
    "mov sp, x0",
    "mov x0, x19",
    "mov x1, x20",
    "mov x2, x21",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {enter}",
    "brk #1",
    ".popsection",
    tables = sym tables::TABLES,
    tables_length = const size_of::<BootTables>(),
    l0 = const offset_of!(BootTables, kernel_l0),
    physmap_l1 = const offset_of!(BootTables, physmap_l1),
    image_l1 = const offset_of!(BootTables, image_l1),
    image_l2 = const offset_of!(BootTables, image_l2),
    image_l3 = const offset_of!(BootTables, image_l3),
    image_tables = const tables::IMAGE_TABLES,
    tree_l2 = const offset_of!(BootTables, tree_l2),
    identity_l0 = const offset_of!(BootTables, identity_l0),
    identity_l1 = const offset_of!(BootTables, identity_l1),
    stack = sym tables::BOOT_STACK,
    stack_top = const tables::BOOT_STACK_TOP,
    contiguous = const tables::CONTIGUOUS,
    code = const tables::CODE_PAGE,
    constants = const tables::CONSTANT_PAGE,
    data = const tables::DATA_PAGE,
    block = const tables::TREE_BLOCK,
    identity_block = const tables::IDENTITY_BLOCK,
    attributes = const tables::MEMORY_ATTRIBUTES,
    translation = const tables::TRANSLATION_CONTROL,
    control_on = const tables::CONTROL_WITH_MMU,
    enter = sym enter,
);

/// The first Rust code, on the boot stack.
extern "C" fn enter(tree: u64, load_address: u64, image_length: u64) -> ! {
    let (tree, load_address) = (PhysicalAddress::new(tree), PhysicalAddress::new(load_address));
    // SAFETY: the entry code calls this once, on the boot stack and tables, with interrupts masked.
    unsafe { boot::initialize_early(tree, load_address, image_length) };
    symbols::set_table(tables::symbol_table(), VirtualAddress::new(KERNEL_BASE));
    crate::start::start()
}
