//! From EL2, where firmware or a hypervisor may enter the kernel, down to EL1: one routine for the first CPU and all others.
//!
//! `ashlar_enter_el1` is called with `bl`, the MMU and the caches off, at EL2 or EL1, at whatever address the image lies. It returns at EL1 with everything
//! masked, on EL1's own (unset) stack pointer, the MMU and the caches off. It uses `x0` to `x2`, `x9` and `x30`.

#![allow(unsafe_code, reason = "entry code in assembly")]

use super::tables;
use core::arch::global_asm;

global_asm!(
    ".pushsection .boot.exception_level, \"ax\"",
    ".p2align 6",
    ".globl ashlar_enter_el1",
    "ashlar_enter_el1:",
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
    "msr elr_el2, x30",
    "eret",
    "3: ldr x0, ={control_off}",
    "msr sctlr_el1, x0",
    "isb",
    "msr daifset, #0xf",
    "msr spsel, #1",
    "ret",
    ".ltorg",
    ".popsection",
    control_off = const tables::CONTROL_WITHOUT_MMU,
);
