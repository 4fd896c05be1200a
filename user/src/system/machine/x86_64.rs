//! The context of x86_64.
#![allow(unsafe_code, reason = "who changes a context decides what runs next")]

use super::Context;

impl Context {
    /// Where the program goes on.
    #[must_use]
    pub fn instruction(&self) -> usize {
        self.general(libc::REG_RIP) as usize
    }

    /// Its stack pointer.
    #[must_use]
    pub fn stack(&self) -> usize {
        self.general(libc::REG_RSP) as usize
    }

    /// A register by the C library's `REG_` number; 0 for what is none.
    #[must_use]
    pub fn general(&self, register: i32) -> i64 {
        usize::try_from(register).ok().and_then(|index| self.0.uc_mcontext.gregs.get(index)).copied().unwrap_or(0)
    }

    /// Sets a register by the C library's `REG_` number.
    ///
    /// # Safety
    /// The code that was interrupted, or what the new value leads to, allows for it.
    pub unsafe fn set_general(&mut self, register: i32, value: i64) {
        let registers = &mut self.0.uc_mcontext.gregs;
        if let Some(place) = usize::try_from(register).ok().and_then(|index| registers.get_mut(index)) {
            *place = value;
        }
    }

    /// Goes on behind the instruction of `length` bytes.
    ///
    /// # Safety
    /// The interrupted instruction is that long, and what follows does without it.
    pub unsafe fn pass_over(&mut self, length: i64) {
        let next = self.general(libc::REG_RIP).wrapping_add(length);
        // SAFETY: the caller's promise.
        unsafe { self.set_general(libc::REG_RIP, next) }
    }
}
