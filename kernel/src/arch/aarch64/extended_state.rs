//! The vector registers of a thread: `q0` to `q31`, FPSR and FPCR.
//!
//! Saving is eager: the scheduler saves at every switch away from a user thread and restores at every switch to one. The
//! kernel itself is compiled without vector registers (`softfloat`), so between the two the registers belong to the thread.
//!
//! SVE and SME are hidden from programs: `HWCAP` says nothing of them and `CPACR_EL1` makes their instructions undefined.

#![allow(unsafe_code, reason = "loads and stores vector registers")]

use crate::arch::ExtendedStateOperations;
use alloc::boxed::Box;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".pushsection .text.ashlar_vector, \"ax\"",
    ".arch_extension fp",
    ".arch_extension simd",
    // x0 a `VectorRegisters`
    ".p2align 4",
    ".globl ashlar_vector_save",
    "ashlar_vector_save:",
    "mrs x1, fpsr",
    "mrs x2, fpcr",
    "stp w1, w2, [x0]",
    "add x0, x0, #8",
    "stp q0, q1, [x0]",
    "stp q2, q3, [x0, #32]",
    "stp q4, q5, [x0, #64]",
    "stp q6, q7, [x0, #96]",
    "stp q8, q9, [x0, #128]",
    "stp q10, q11, [x0, #160]",
    "stp q12, q13, [x0, #192]",
    "stp q14, q15, [x0, #224]",
    "stp q16, q17, [x0, #256]",
    "stp q18, q19, [x0, #288]",
    "stp q20, q21, [x0, #320]",
    "stp q22, q23, [x0, #352]",
    "stp q24, q25, [x0, #384]",
    "stp q26, q27, [x0, #416]",
    "stp q28, q29, [x0, #448]",
    "stp q30, q31, [x0, #480]",
    "ret",
    // x0 a `VectorRegisters`
    ".p2align 4",
    ".globl ashlar_vector_restore",
    "ashlar_vector_restore:",
    "ldp w1, w2, [x0]",
    "msr fpsr, x1",
    // Writing FPCR may drain the pipeline: only when it changes.
    "mrs x3, fpcr",
    "cmp x2, x3",
    "b.eq 1f",
    "msr fpcr, x2",
    "1: add x0, x0, #8",
    "ldp q0, q1, [x0]",
    "ldp q2, q3, [x0, #32]",
    "ldp q4, q5, [x0, #64]",
    "ldp q6, q7, [x0, #96]",
    "ldp q8, q9, [x0, #128]",
    "ldp q10, q11, [x0, #160]",
    "ldp q12, q13, [x0, #192]",
    "ldp q14, q15, [x0, #224]",
    "ldp q16, q17, [x0, #256]",
    "ldp q18, q19, [x0, #288]",
    "ldp q20, q21, [x0, #320]",
    "ldp q22, q23, [x0, #352]",
    "ldp q24, q25, [x0, #384]",
    "ldp q26, q27, [x0, #416]",
    "ldp q28, q29, [x0, #448]",
    "ldp q30, q31, [x0, #480]",
    "ret",
    ".arch_extension nosimd",
    ".arch_extension nofp",
    ".popsection",
);

#[cfg(target_os = "none")]
unsafe extern "C" {
    fn ashlar_vector_save(area: *mut VectorRegisters);
    fn ashlar_vector_restore(area: *const VectorRegisters);
}

/// The registers in the order in which a signal frame has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VectorRegisters {
    /// FPSR.
    pub status: u32,
    /// FPCR.
    pub control: u32,
    /// `q0` to `q31`, two words each, the lower one first.
    pub values: [u64; 64],
}

#[cfg(target_os = "none")]
impl VectorRegisters {
    /// Saves the CPU's registers here.
    #[inline]
    pub fn save(&mut self) {
        // SAFETY: the function writes the 520 bytes of `self` and changes registers that C does not keep.
        unsafe { ashlar_vector_save(self) };
    }

    /// Loads the CPU's registers from here. Every value is one that user mode may have.
    #[inline]
    pub fn restore(&self) {
        // SAFETY: the function reads the 520 bytes of `self`; the vector registers are the running thread's, not the kernel's.
        unsafe { ashlar_vector_restore(self) };
    }
}

/// On the host, where the layout is tested, there are no such registers.
#[cfg(not(target_os = "none"))]
impl VectorRegisters {
    fn save(&mut self) {}
    fn restore(&self) {}
}

/// A thread's saved registers.
#[derive(Debug)]
pub struct ExtendedState(Box<VectorRegisters>);

impl ExtendedStateOperations for ExtendedState {
    fn initial() -> Option<Self> {
        VectorRegisters::new_box_zeroed().ok().map(Self)
    }
    fn try_clone(&self) -> Option<Self> {
        let mut copy = Self::initial()?;
        *copy.0 = *self.0;
        Some(copy)
    }
    #[inline]
    fn save(&mut self) {
        self.0.save();
    }
    #[inline]
    fn restore(&self) {
        self.0.restore();
    }
    fn reset(&mut self) {
        *self.0 = VectorRegisters::new_zeroed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_initial_state_is_zero_and_a_copy_is_equal() {
        let mut state = ExtendedState::initial().unwrap();
        assert_eq!(*state.0, VectorRegisters::new_zeroed());
        state.0.values[63] = 7;
        assert_eq!(state.try_clone().unwrap().0, state.0);
        state.reset();
        assert_eq!(state.0.values[63], 0);
    }

    #[test]
    fn the_layout_is_what_the_assembly_stores() {
        let offsets = [offset_of!(VectorRegisters, control), offset_of!(VectorRegisters, values)];
        assert_eq!((offsets, size_of::<VectorRegisters>()), ([4, 8], 520));
    }
}
