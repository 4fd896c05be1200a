//! Instruction caches that do not see stores: a frame's content is made visible to instruction fetch before the first leaf lets user
//! mode execute it, and again after the kernel has changed it.
//!
//! Linux's rule (its flag is `PG_dcache_clean`): the frame's descriptor remembers that it was done until the frame is freed or written by
//! the kernel ([`FrameDescriptor::note_written`](super::super::frame_descriptor::FrameDescriptor::note_written)). What a program stores itself it synchronises itself, as the architecture demands of it. A machine whose instruction
//! fetch is coherent pays nothing: [`Mmu::COHERENT_INSTRUCTIONS`] is a constant.

use super::super::frame_allocator::descriptor;
use super::super::physmap;
use super::PageFlags;
use super::format::level_span;
use crate::arch::{Current, Mmu};
use crate::base::FrameNumber;

/// To be called before a leaf of `level` with `flags` maps `frame`.
#[inline]
pub(super) fn before_mapping(frame: FrameNumber, flags: PageFlags, level: u8) {
    if !Current::COHERENT_INSTRUCTIONS && flags.contains(PageFlags::EXECUTABLE | PageFlags::USER) {
        synchronise(frame, level);
    }
}

fn synchronise(frame: FrameNumber, level: u8) {
    let Some(descriptor) = descriptor(frame) else { return };
    if !descriptor.is_synchronised() {
        Current::synchronise_instructions(physmap::address_of(frame.address()), level_span(level) as usize);
        descriptor.set_synchronised();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tlb::TlbBatch;
    use super::super::{PageFlags, PageTables};
    use crate::arch::hosted::synchronised_bytes;
    use crate::base::VirtualAddress;
    use crate::memory::frame::Frame;

    #[test]
    fn code_is_synchronised_once_until_the_kernel_changes_it() {
        let mut space = PageTables::new().unwrap();
        let frame = Frame::allocate_zeroed().unwrap();
        let code = PageFlags::USER | PageFlags::EXECUTABLE;
        let map = |space: &mut PageTables, page: u64, flags| {
            space.map(VirtualAddress::new(page), frame.clone(), flags).unwrap();
        };
        let before = synchronised_bytes();
        map(&mut space, 0x1000, PageFlags::USER);
        assert_eq!(synchronised_bytes() - before, 0, "data is not");
        map(&mut space, 0x2000, code);
        map(&mut space, 0x3000, code);
        assert_eq!(synchronised_bytes() - before, 4096);
        frame.write(16, b"new code");
        let mut batch = TlbBatch::new(&space);
        space.protect(VirtualAddress::new(0x1000), code, &mut batch).unwrap();
        assert_eq!(synchronised_bytes() - before, 8192);
        space.protect(VirtualAddress::new(0x3000), code, &mut batch).unwrap();
        assert_eq!(synchronised_bytes() - before, 8192);
    }

    #[test]
    fn a_freed_frame_is_synchronised_anew() {
        let mut space = PageTables::new().unwrap();
        let code = PageFlags::USER | PageFlags::EXECUTABLE;
        let before = synchronised_bytes();
        for _ in 0..3 {
            // The frame that was freed last is the next one.
            let page = VirtualAddress::new(0x1000);
            space.map(page, Frame::allocate().unwrap(), code).unwrap();
            let mut batch = TlbBatch::new(&space);
            space.unmap(page, &mut batch).unwrap();
        }
        assert_eq!(synchronised_bytes() - before, 3 * 4096);
    }
}
