//! What a node's frames are used for, counted over the descriptors.

use super::FRAMES;
use super::region::{Companion, GROUP_FRAMES};
use crate::memory::frame_descriptor::FrameKind;

/// What the taken frames of a node are used for, in frames. Those that nobody says anything of, programs' memory too, are not among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeUsage {
    /// Page tables.
    pub page_tables: u64,
    /// The kernel's heap.
    pub heap: u64,
}

/// Counts what `node`'s frames are used for: linear in frames that were ever used, at a moment that never was if others allocate meanwhile.
#[must_use]
pub fn collect_usage(node: u8) -> NodeUsage {
    let mut usage = NodeUsage::default();
    for region in FRAMES.regions().iter().filter(|region| region.node == node) {
        let groups = (0..region.groups.len()).map(|group| group * GROUP_FRAMES);
        let used = groups.filter(|first| region.is_initialized(*first)).flat_map(|first| first..first + GROUP_FRAMES);
        for frame in used.filter_map(|index| region.companion.handle(region.first, index)) {
            if frame.references() == 0 {
                continue;
            }
            let count = match frame.kind() {
                FrameKind::PageTable => &mut usage.page_tables,
                FrameKind::Heap => &mut usage.heap,
                FrameKind::Free | FrameKind::Kernel | FrameKind::Anonymous | FrameKind::File => continue,
            };
            *count += 1 << frame.order();
        }
    }
    usage
}
