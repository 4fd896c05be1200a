//! Frames of one node and no other: what memory policies and migration ask for.

use super::{FRAMES, FrameAllocator, check_poison_of};
use crate::memory::frame_descriptor::FrameDescriptor;
use crate::memory::numa::NodeId;
use core::sync::atomic::Ordering;

impl FrameAllocator {
    /// A free frame on `node`, with one reference; `None` where the bitmaps of that node have none. What CPUs keep at hand is not looked at.
    pub fn allocate_exactly_on(&self, node: NodeId) -> Option<&'static FrameDescriptor> {
        for region in self.regions().iter().filter(|region| region.node == node.0) {
            for group in region.candidates(0) {
                let mut found = None;
                if region.take_frames(group, 1, &mut |frame| found = Some(frame)) > 0 {
                    self.free.fetch_sub(1, Ordering::Relaxed);
                    return found.inspect(|frame| frame.set_allocated());
                }
            }
        }
        None
    }
}

/// A frame's descriptor on `node` alone, with one reference, content undefined.
pub(in crate::memory) fn allocate_descriptor_on(node: NodeId) -> Option<&'static FrameDescriptor> {
    let frame = FRAMES.allocate_exactly_on(node)?;
    check_poison_of(frame.number(), 1);
    Some(frame)
}
