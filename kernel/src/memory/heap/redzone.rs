//! What debug builds do to find misuse: a canary behind each object, poison in freed ones.

#![allow(unsafe_code, reason = "writes behind objects")]

use core::alloc::Layout;

/// What debug builds fill freed memory with.
pub const POISON: u8 = 0x6b;

/// Debug builds: the canary behind an object.
const CANARY: u64 = 0xa51a_c0de_0b1e_c75e;
const FREED: u64 = 0xdead_0b1e_c75e_dead;
/// The bytes that a canary takes.
pub(super) const REDZONE: usize = if cfg!(debug_assertions) { 8 } else { 0 };

/// The layout with room for the canary.
pub(super) fn with_redzone(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size() + REDZONE, layout.align()).unwrap_or(layout)
}

/// Debug builds: marks the end of a new object.
pub(super) fn mark(address: *mut u8, layout: Layout) {
    if REDZONE > 0 && !address.is_null() {
        // SAFETY: the route left room for the canary behind the object.
        unsafe { address.add(layout.size()).cast::<u64>().write_unaligned(CANARY) };
    }
}

/// Debug builds: checks the mark of an object that is given back and poisons it. `false`: it must not be freed.
pub(super) fn check(address: *mut u8, layout: Layout) -> bool {
    if REDZONE == 0 {
        return true;
    }
    // SAFETY: as in `mark`; the object is still its owner's.
    unsafe {
        let canary = address.add(layout.size()).cast::<u64>();
        match canary.read_unaligned() {
            CANARY => {}
            FREED => {
                log::error!("heap: {address:p} ({} bytes) was freed twice", layout.size());
                return false;
            }
            found => log::error!("heap: {address:p} ({} bytes) was overrun: {found:#x}", layout.size()),
        }
        // The first word becomes a link at once; what is behind it shows who writes after freeing.
        address.write_bytes(POISON, layout.size());
        canary.write_unaligned(FREED);
    }
    true
}
