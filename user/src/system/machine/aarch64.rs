//! The context of 64-bit Arm.
#![allow(unsafe_code, reason = "who changes a context decides what runs next")]

use super::Context;

impl Context {
    /// Where the program goes on.
    #[must_use]
    pub fn instruction(&self) -> usize {
        self.0.uc_mcontext.pc as usize
    }

    /// Its stack pointer.
    #[must_use]
    pub fn stack(&self) -> usize {
        self.0.uc_mcontext.sp as usize
    }

    /// A general register; 0 for what is none.
    #[must_use]
    pub fn general(&self, register: usize) -> u64 {
        self.0.uc_mcontext.regs.get(register).copied().unwrap_or(0)
    }

    /// Sets a general register.
    ///
    /// # Safety
    /// The code that was interrupted allows for it.
    pub unsafe fn set_general(&mut self, register: usize, value: u64) {
        if let Some(place) = self.0.uc_mcontext.regs.get_mut(register) {
            *place = value;
        }
    }

    /// Goes on behind the instruction.
    ///
    /// # Safety
    /// What follows does without it.
    pub unsafe fn pass_over(&mut self) {
        self.0.uc_mcontext.pc = self.0.uc_mcontext.pc.wrapping_add(4);
    }
}
