//! The registers that a signal interrupted, as each machine's context holds them.
#![allow(unsafe_code, reason = "who changes a context decides what runs next")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::fmt;

/// What a handler's context holds: the kernel takes all registers from here when the handler returns.
#[repr(transparent)]
pub struct Context(libc::ucontext_t);

impl Context {
    /// The C structure.
    #[must_use]
    pub fn raw(&self) -> &libc::ucontext_t {
        &self.0
    }

    /// The C structure, to be changed.
    ///
    /// # Safety
    /// The code that was interrupted expects the change: it is assembly of the case that says so.
    pub unsafe fn raw_mut(&mut self) -> &mut libc::ucontext_t {
        &mut self.0
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").finish_non_exhaustive()
    }
}
