//! What a guarded heap (debug builds) does to find misuse.
//!
//! ```text
//! in use:  | the object's bytes | redzone, filled | state | allocated by | freed by |
//! free:    | poison ...                           | state | allocated by | freed by |
//!                                                 ^ 16 bytes at the end of the storage, whatever the object's own size
//! ```
//!
//! Writing behind an object is seen when it is freed, byte by byte; writing to a freed one when its storage is used again; freeing twice at once.
//! Each comes with the way that the object was allocated and freed, as far as the trailer is whole.

#![allow(unsafe_code, reason = "writes behind objects")]

use super::misuse::{Misuse, MisuseKind, TraceId};

/// What freed memory is filled with.
pub const POISON: u8 = 0x6b;
/// What lies between an object and its trailer.
pub const REDZONE: u8 = 0xbb;
/// The bytes of a trailer.
pub(super) const TRAILER: usize = 16;

const IN_USE: u64 = 0xa51a_c0de_0b1e_c75e;
const FREE: u64 = 0xdead_0b1e_c75e_dead;

/// An object's storage: `length` bytes, trailer included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    pub address: *mut u8,
    pub length: usize,
}

impl Storage {
    fn end(self) -> usize {
        self.length - TRAILER
    }
    fn state(self) -> *mut u64 {
        self.address.wrapping_add(self.end()).cast()
    }
    fn traces(self) -> *mut [TraceId; 2] {
        self.address.wrapping_add(self.end() + 8).cast()
    }
    fn misuse(self, kind: MisuseKind, size: usize) -> Misuse {
        // SAFETY: the storage is the caller's, or free and locked.
        let [allocated, freed] = unsafe { self.traces().read_unaligned() };
        Misuse { kind, address: self.address, size, allocated, freed }
    }

    /// The storage becomes an object of `size` bytes.
    pub fn mark(self, size: usize, trace: TraceId) -> Result<(), Misuse> {
        // SAFETY: the storage was just allocated.
        unsafe {
            let is_poisoned = self.state().read_unaligned() == FREE;
            let result = match is_poisoned && !is_filled(self.address, self.end(), POISON) {
                true => Err(self.misuse(MisuseKind::WrittenAfterFree, self.end())),
                false => Ok(()),
            };
            self.address.add(size).write_bytes(REDZONE, self.end() - size);
            self.state().write_unaligned(IN_USE);
            self.traces().write_unaligned([trace, 0]);
            result
        }
    }

    /// An object in use changes its size.
    pub fn resize(self, size: usize) {
        // SAFETY: the storage is the caller's.
        unsafe { self.address.add(size).write_bytes(REDZONE, self.end() - size) };
    }

    /// The object of `size` bytes is freed. `FreedTwice` must not go on.
    pub fn unmark(self, size: usize, trace: TraceId) -> Result<(), Misuse> {
        // SAFETY: the storage is the caller's; if it is not, it still is memory of the heap's.
        unsafe {
            let state = self.state().read_unaligned();
            if state == FREE {
                return Err(self.misuse(MisuseKind::FreedTwice, size));
            }
            let is_whole = state == IN_USE && is_filled(self.address.add(size), self.end() - size, REDZONE);
            let result = if is_whole { Ok(()) } else { Err(self.misuse(MisuseKind::Overrun, size)) };
            self.address.write_bytes(POISON, self.end());
            self.state().write_unaligned(FREE);
            self.traces().cast::<TraceId>().add(1).write_unaligned(trace);
            result
        }
    }
}

/// Storage that is new has no past.
pub(super) fn forget(address: *mut u8, length: usize) {
    if length >= TRAILER {
        // SAFETY: the storage is free and the caller's.
        unsafe { Storage { address, length }.state().write_unaligned(0) };
    }
}

/// The link that a free object of at least 8 bytes has held goes.
pub(super) fn restore_poison(address: *mut u8) {
    // SAFETY: the object is free and the caller's.
    unsafe { address.write_bytes(POISON, 8) };
}

/// Whether `length` bytes are all `value`.
///
/// # Safety
/// They can be read.
unsafe fn is_filled(address: *const u8, length: usize, value: u8) -> bool {
    // SAFETY: the caller's promise; alignment is seen to.
    unsafe {
        let (head, words, tail) = core::slice::from_raw_parts(address, length).align_to::<u64>();
        let pattern = u64::from_ne_bytes([value; 8]);
        words.iter().all(|word| *word == pattern) && head.iter().chain(tail).all(|byte| *byte == value)
    }
}
