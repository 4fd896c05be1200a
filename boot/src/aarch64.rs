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
    // Down to EL1
    "mrs x0, CurrentEL",
    "cmp x0, #8",
    "b.ne 3f",
    // Linux's booting.rst says what EL1 must find. Where VHE cannot be left (E2H reads as one), x9 is not zero, and some registers have other
    // layouts or other names.
    "mov x0, #0x0830", // SCTLR_EL2: MMU and caches off
    "movk x0, #0x30c5, lsl #16",
    "msr sctlr_el2, x0",
    "isb",
    "mov x0, #(1 << 31)", // HCR_EL2: EL1 is AArch64, nothing is trapped, VHE off
    "msr hcr_el2, x0",
    "isb",
    "mrs x9, hcr_el2",
    "and x9, x9, #(1 << 34)",
    "mov x0, #3", // EL1 may use the physical counter and timer
    "lsl x1, x0, #10",
    "cmp x9, #0",
    "csel x0, x0, x1, eq",
    "msr cnthctl_el2, x0",
    "msr cntvoff_el2, xzr",
    "mov x0, #0x33ff", // CPTR_EL2: floating point is not trapped,
    "mrs x1, id_aa64pfr0_el1",
    "ubfx x2, x1, #32, #4",
    "cbz x2, 2f",
    "and x0, x0, #~(1 << 8)", // nor is SVE
    "2: mrs x1, id_aa64pfr1_el1",
    "ubfx x2, x1, #24, #4",
    "cbz x2, 2f",
    "and x0, x0, #~(1 << 12)", // nor SME
    "2: cbz x9, 2f",
    "mov x0, #(0b11 << 20)", // with E2H: FPEN,
    "orr x0, x0, #(0b11 << 16)", // ZEN,
    "orr x0, x0, #(0b11 << 24)", // SMEN
    "2: msr cptr_el2, x0",
    "isb",
    "mrs x1, id_aa64pfr0_el1",
    "ubfx x0, x1, #32, #4",
    "cbz x0, 2f",
    "mov x0, #0x1ff",
    "msr s3_4_c1_c2_0, x0", // ZCR_EL2: the longest vectors
    "2: mrs x1, id_aa64pfr1_el1",
    "ubfx x0, x1, #24, #4",
    "cbz x0, 2f",
    "mrs x0, s3_0_c0_c4_5", // ID_AA64SMFR0_EL1: FA64
    "and x0, x0, #(1 << 63)",
    "lsr x0, x0, #32",
    "orr x0, x0, #0xf",
    "msr s3_4_c1_c2_6, x0", // SMCR_EL2
    "2: msr hstr_el2, xzr",
    "mrs x1, id_aa64dfr0_el1",
    "mov x2, xzr",
    "sbfx x0, x1, #8, #4", // performance counters: all are EL1's
    "cmp x0, #1",
    "b.lt 2f",
    "mrs x2, pmcr_el0",
    "ubfx x2, x2, #11, #5",
    "2: msr mdcr_el2, x2",
    "msr vttbr_el2, xzr",
    "mrs x0, midr_el1",
    "msr vpidr_el2, x0",
    "mrs x0, mpidr_el1",
    "msr vmpidr_el2, x0",
    "mrs x0, id_aa64mmfr1_el1",
    "ubfx x1, x0, #16, #4",
    "cbz x1, 2f",
    "msr s3_0_c10_c4_3, xzr", // LORC_EL1
    "2: ubfx x1, x0, #40, #4",
    "cbz x1, 2f",
    "mov x1, #(1 << 11 | 1 << 14)",
    "msr s3_4_c1_c2_2, x1", // HCRX_EL2: memory copies and TCR2_EL1 are not trapped
    "2: mrs x0, id_aa64mmfr0_el1",
    "ubfx x1, x0, #56, #4",
    "cbz x1, 2f",
    // Fine-grained traps: all off, which takes a one where the bit says so
    "mrs x0, id_aa64dfr0_el1",
    "ubfx x0, x0, #32, #4",
    "cmp x0, #3",
    "cset x1, hs",
    "lsl x1, x1, #62",       // nPMSNEVFR_EL1
    "msr s3_4_c3_c1_4, x1", // HDFGRTR_EL2
    "msr s3_4_c3_c1_5, x1", // HDFGWTR_EL2
    "mrs x0, id_aa64pfr1_el1",
    "ubfx x0, x0, #24, #4",
    "cmp x0, #0",
    "mov x1, #(0b11 << 54)", // nSMPRI_EL1, nTPIDR2_EL0
    "csel x1, xzr, x1, eq",
    "msr s3_4_c1_c1_4, x1",  // HFGRTR_EL2
    "msr s3_4_c1_c1_5, x1",  // HFGWTR_EL2
    "msr s3_4_c1_c1_6, xzr", // HFGITR_EL2
    "mrs x0, id_aa64pfr0_el1",
    "ubfx x0, x0, #44, #4",
    "cbz x0, 2f",
    "msr s3_4_c3_c1_6, xzr", // HAFGRTR_EL2
    "2: mrs x0, id_aa64pfr0_el1",
    "ubfx x0, x0, #24, #4",
    "cbz x0, 2f",
    "mrs x0, s3_4_c12_c9_5", // ICC_SRE_EL2: EL1 uses the GIC's system registers
    "orr x0, x0, #1",
    "orr x0, x0, #8",
    "msr s3_4_c12_c9_5, x0",
    "isb",
    "mrs x0, s3_4_c12_c9_5", // unless EL3 keeps them
    "tbz x0, #0, 2f",
    "msr s3_4_c12_c11_0, xzr", // ICH_HCR_EL2
    "2: ldr x0, ={control_off}",
    "cbz x9, 2f",
    "msr s3_5_c1_c0_0, x0", // SCTLR_EL12
    "b 9f",
    "2: msr sctlr_el1, x0",
    "9:",
    "mov x0, #0x3c5", // EL1 with its own stack pointer, everything masked
    "msr spsr_el2, x0",
    "adr x0, 4f",
    "msr elr_el2, x0",
    "eret",
    "3: ldr x0, ={control_off}",
    "msr sctlr_el1, x0",
    "4: isb",
    "msr daifset, #0xf",
    "msr spsel, #1",
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
    control_off = const tables::CONTROL_WITHOUT_MMU,
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
