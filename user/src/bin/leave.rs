//! Ends at once: what `bench` executes. It starts from the C library alone, so that the count is the kernel's and the C library's.

#![cfg_attr(not(test), no_main)]
#![allow(unsafe_code, reason = "the C library calls `main` by its name")]

use std::ffi::{c_char, c_int};

/// The program: called by the C library's start code.
// SAFETY: it is the only function of this name, with the signature that the C library calls.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    0
}
