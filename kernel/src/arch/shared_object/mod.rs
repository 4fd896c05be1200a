//! What the vDSOs of all machines share: the ELF image around their code, and the data page that the code reads.
//!
//! ```text
//! base            data page   read-only: what turns the CPU's counter into time (`DATA_*`)
//! base + 4 KiB    image       ELF headers, symbols, then the code at CODE_OFFSET, which reaches the data relative to itself
//! ```
//!
//! The data is guarded by a sequence number: odd while it changes; a reader that saw it change reads again.
//! Time is `((counter - base) * scale) >> 32` nanoseconds since boot, and for the clocks that count from 1970 the
//! realtime offset more.

#![allow(unsafe_code, reason = "the data page is written through its address")]

pub mod image;

use crate::base::VirtualAddress;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};

/// Bytes of the data page and of the image.
pub const PAGE: usize = 4096;
/// Where the code begins in the image.
pub const CODE_OFFSET: usize = 0x800;
/// How far the code begins above the data.
pub const DATA_DISTANCE: usize = CODE_OFFSET + PAGE;
/// Where the counter's value at boot is in the data page; [`DATA_SCALE`] follows it.
pub const DATA_BASE: usize = 8;
/// Where the counter's factor is, 32 of its bits behind the point.
pub const DATA_SCALE: usize = 16;
/// Where the realtime clock's lead over the monotonic one is.
pub const DATA_REALTIME: usize = 24;

/// Clocks served without entering the kernel: 0 1 4 5 6 7 11.
pub const KNOWN_CLOCKS: u32 = 0x8f3;
/// Those of them that count from 1970: 0 5 11.
pub const REALTIME_CLOCKS: u32 = 0x821;
/// Those whose resolution is a nanosecond: 0 1 4 7 11.
pub const FINE_CLOCKS: u32 = 0x893;

/// The data page as the kernel sees it. One per machine, a `static`.
#[derive(Debug)]
pub struct SharedData {
    /// Its address; 0 before there is one.
    page: AtomicU64,
    realtime_offset: AtomicU64,
}

impl Default for SharedData {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedData {
    /// No page yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { page: AtomicU64::new(0), realtime_offset: AtomicU64::new(0) }
    }

    /// Says where the page is and fills it; `clock` is the counter's base and scale.
    ///
    /// # Safety
    /// `page` is a whole page that the kernel may write for good, and that nobody writes but this object.
    pub unsafe fn set_page(&self, page: VirtualAddress, clock: (u64, u64)) {
        self.page.store(page.value(), Relaxed);
        self.publish(clock);
    }

    /// Remembers and publishes what the realtime clock is ahead of the monotonic one. Calls do not overlap.
    pub fn publish_realtime_offset(&self, offset: u64, clock: (u64, u64)) {
        self.realtime_offset.store(offset, Relaxed);
        self.publish(clock);
    }

    fn publish(&self, (base, scale): (u64, u64)) {
        let page = self.page.load(Relaxed);
        if page == 0 {
            return;
        }
        let page = core::ptr::with_exposed_provenance_mut::<u64>(page as usize);
        let word = |offset: usize| {
            // SAFETY: `set_page`'s caller gave the page; user mode only reads it, atomically as far as we are concerned.
            unsafe { AtomicU64::from_ptr(page.byte_add(offset)) }
        };
        // SAFETY: as above.
        let sequence = unsafe { AtomicU32::from_ptr(page.cast()) };
        let before = sequence.load(Relaxed);
        sequence.store(before.wrapping_add(1), Relaxed);
        fence(SeqCst);
        word(DATA_BASE).store(base, Relaxed);
        word(DATA_SCALE).store(scale, Relaxed);
        word(DATA_REALTIME).store(self.realtime_offset.load(Relaxed), Relaxed);
        fence(SeqCst);
        sequence.store(before.wrapping_add(2), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Page([u64; PAGE / 8]);

    #[test]
    fn the_page_holds_what_was_published_behind_an_even_sequence() {
        let data = SharedData::new();
        data.publish_realtime_offset(5, (1, 2));
        let page = Box::leak(Box::new(Page([0; PAGE / 8])));
        let address = page.0.as_mut_ptr().expose_provenance();
        // SAFETY: the page is this test's.
        unsafe { data.set_page(VirtualAddress::new(address as u64), (100, 200)) };
        assert_eq!(page.0[..5], [2, 100, 200, 5, 0]);
        data.publish_realtime_offset(6, (100, 200));
        assert_eq!(page.0[..5], [4, 100, 200, 6, 0]);
    }

    #[test]
    fn the_sets_of_clocks_are_those_of_the_comments() {
        let set = |clocks: &[u32]| clocks.iter().fold(0, |set, clock| set | 1 << clock);
        assert_eq!(KNOWN_CLOCKS, set(&[0, 1, 4, 5, 6, 7, 11]));
        assert_eq!(REALTIME_CLOCKS, set(&[0, 5, 11]));
        assert_eq!(FINE_CLOCKS, set(&[0, 1, 4, 7, 11]));
    }
}
