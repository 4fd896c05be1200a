//! From the firmware's memory map to regions: what is free, which ranges share a region, where a region's tables lie.
//!
//! Ranges closer together than [`MERGE_GAP`] share a region, so that a usual machine has one region below 4 GiB and one above;
//! the holes between them are frames that are never free. Each region's tables are carved from the end of its own largest
//! free range. Only the words per group and per tree are written here: boot costs per 2 MiB, not per frame.

#![allow(unsafe_code, reason = "turns raw memory into the allocator's tables")]

use super::region::{Companion, GROUP_FRAMES, GROUP_ROWS, Region, TREE_GROUPS};
use super::{FrameAllocatorError, MemoryMap};
use crate::base::{FrameNumber, PAGE_SIZE};
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Most regions that are managed; further ones are left unused.
pub const MAXIMUM_REGIONS: usize = 16;
const MAXIMUM_RANGES: usize = 128;
/// Frames: 4 MiB.
const MERGE_GAP: u64 = 1024;
/// Regions with fewer frames are not worth a slot.
const SMALLEST_REGION: u64 = 16;
/// Descriptors hold 32-bit frame numbers: 16 TiB.
const HIGHEST_FRAME: u64 = u32::MAX as u64;

/// What there is for each frame, as a table in the memory of a region.
#[allow(unsafe_code, reason = "the memory must be the table's own")]
pub trait OverMemory: Companion {
    /// Bytes for each frame: a power of two, or none.
    const SIZE: usize;
    /// The table of `count` frames at `memory`, whatever that holds.
    ///
    /// # Safety
    /// `count` times [`OverMemory::SIZE`] bytes at `memory`, which is aligned to a page, are the table's alone for good.
    unsafe fn over(memory: *mut u8, count: usize) -> Self;
}

type Ranges = ArrayVec<Piece, MAXIMUM_RANGES>;

/// A free range on one node: `[start, end)` in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    start: u64,
    end: u64,
    node: u8,
}

/// A region to be.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Span {
    first: u64,
    end: u64,
    node: u8,
}

const fn group_down(frame: u64) -> u64 {
    frame & !(GROUP_FRAMES as u64 - 1)
}

const fn group_up(frame: u64) -> u64 {
    group_down(frame + GROUP_FRAMES as u64 - 1)
}

/// Cuts `[start, end)` out of every piece.
fn subtract(pieces: &mut Ranges, start: u64, end: u64) -> Result<(), FrameAllocatorError> {
    let mut index = 0;
    while let Some(piece) = pieces.get(index).copied() {
        if piece.end <= start || end <= piece.start {
            index += 1;
            continue;
        }
        pieces.remove(index);
        for part in [Piece { end: start, ..piece }, Piece { start: end, ..piece }] {
            if part.start < part.end {
                pieces.try_insert(index, part).map_err(|_| FrameAllocatorError::TooManyRanges)?;
                index += 1;
            }
        }
    }
    Ok(())
}

/// The free pieces, sorted, disjoint, not adjacent to others of their node.
fn collect_pieces(map: &MemoryMap<'_>) -> Result<Ranges, FrameAllocatorError> {
    let limit = map.limit.map_or(HIGHEST_FRAME, |limit| limit.value().min(HIGHEST_FRAME));
    let mut pieces = Ranges::new();
    for range in map.usable {
        let start = range.start.value().max(1);
        let end = range.start.value().saturating_add(range.count).min(limit);
        if start >= end {
            continue;
        }
        // Overlapping usable ranges count once.
        subtract(&mut pieces, start, end)?;
        pieces.try_push(Piece { start, end, node: 0 }).map_err(|_| FrameAllocatorError::TooManyRanges)?;
    }
    for range in map.reserved {
        subtract(&mut pieces, range.start.value(), range.start.value().saturating_add(range.count))?;
    }
    for (range, node) in map.nodes {
        // A group belongs to one node: the one of its first frame.
        let start = group_up(range.start.value());
        let end = group_up(range.start.value().saturating_add(range.count).min(limit));
        let mut own = Ranges::new();
        for piece in &pieces {
            let part = Piece { start: piece.start.max(start), end: piece.end.min(end), node: *node };
            if part.start < part.end {
                own.try_push(part).map_err(|_| FrameAllocatorError::TooManyRanges)?;
            }
        }
        subtract(&mut pieces, start, end)?;
        for part in own {
            pieces.try_push(part).map_err(|_| FrameAllocatorError::TooManyRanges)?;
        }
    }
    pieces.sort_unstable_by_key(|piece| piece.start);
    Ok(pieces)
}

/// Groups pieces into regions, the largest first.
fn collect_spans(pieces: &Ranges) -> ArrayVec<Span, MAXIMUM_REGIONS> {
    let mut spans: ArrayVec<Span, MAXIMUM_REGIONS> = ArrayVec::new();
    for piece in pieces {
        let (first, end) = (group_down(piece.start), group_up(piece.end));
        match spans.last_mut() {
            Some(last) if last.node == piece.node && first <= last.end.saturating_add(MERGE_GAP) => {
                last.end = last.end.max(end);
            }
            // Another node's piece begins inside the last span's last group: only what follows it is its own.
            Some(last) if first < last.end => {
                let first = last.end;
                if first < end {
                    let _ = spans.try_push(Span { first, end, node: piece.node });
                }
            }
            _ => {
                let _ = spans.try_push(Span { first, end, node: piece.node });
            }
        }
    }
    spans.sort_unstable_by_key(|span| core::cmp::Reverse(span.end - span.first));
    spans
}

/// Byte offsets of a region's tables in its metadata, and the size of the whole.
struct TableLayout {
    rows: usize,
    groups: usize,
    trees: usize,
    size: usize,
}

impl TableLayout {
    /// Each table begins on a cache line of its own, so that a tree's groups and a group's rows fill one.
    const fn new(groups: usize, companion: usize) -> Self {
        let rows = groups * GROUP_FRAMES * companion;
        let words = rows + groups * GROUP_ROWS * 8;
        let trees = words + (groups * 2).next_multiple_of(64);
        Self { rows, groups: words, trees, size: trees + groups.div_ceil(TREE_GROUPS) * 4 }
    }
    const fn frames(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE) as u64
    }
}

/// A slice of `count` atomics at `base + offset`.
///
/// # Safety
/// The memory is the caller's for good, aligned for `T`, and any bytes are a `T`.
unsafe fn table<T>(base: *mut u8, offset: usize, count: usize) -> &'static [T] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(base.add(offset).cast::<T>(), count) }
}

/// Builds the regions of `map`. `memory` gives where a frame is accessible. Gives the regions and the count of free frames.
///
/// # Safety
/// The usable ranges less the reserved ones are memory that nothing else uses, and `memory` maps every one of them.
pub unsafe fn build<C: OverMemory>(
    map: &MemoryMap<'_>,
    memory: impl Fn(FrameNumber) -> *mut u8,
) -> Result<(ArrayVec<Region<C>, MAXIMUM_REGIONS>, u64), FrameAllocatorError> {
    let mut pieces = collect_pieces(map)?;
    let mut regions = ArrayVec::new();
    let mut free = 0;
    for span in collect_spans(&pieces) {
        #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
        let groups = (span.end - span.first) as usize / GROUP_FRAMES;
        let layout = TableLayout::new(groups, C::SIZE);
        let inside = |piece: &Piece| span.first <= piece.start && piece.end <= span.end;
        let size: u64 = pieces.iter().filter(|piece| inside(piece)).map(|piece| piece.end - piece.start).sum();
        let Some(largest) = pieces.iter_mut().filter(|piece| inside(piece)).max_by_key(|piece| piece.end - piece.start)
        else {
            continue;
        };
        if largest.end - largest.start < layout.frames() || size < layout.frames() + SMALLEST_REGION {
            continue;
        }
        largest.end -= layout.frames();
        let base = memory(FrameNumber::new(largest.end));
        // SAFETY: the frames from `largest.end` on were just taken out of the free pieces, so they are the region's alone for good;
        // every table lies inside `layout.size`, frames are aligned to more than any table needs, and all tables
        // are of atomic integers, for which any bytes are a value. Only words are relied on before they are written.
        let region = unsafe {
            core::ptr::write_bytes(base.add(layout.groups), 0, layout.size - layout.groups);
            Region {
                first: span.first,
                node: span.node,
                rows: table(base, layout.rows, groups * GROUP_ROWS),
                groups: table(base, layout.groups, groups),
                trees: table(base, layout.trees, groups.div_ceil(TREE_GROUPS)),
                companion: C::over(base, groups * GROUP_FRAMES),
                managed: AtomicU64::new(0),
                free: AtomicU64::new(0),
            }
        };
        let managed = populate(&region, &pieces, span.end);
        region.managed.store(managed, Ordering::Relaxed);
        region.free.store(managed, Ordering::Relaxed);
        free += managed;
        if regions.try_push(region).is_err() {
            break;
        }
    }
    if regions.is_empty() { Err(FrameAllocatorError::NoMemory) } else { Ok((regions, free)) }
}

/// Enters the free pieces into the region's tables: groups that are free as a whole stay untouched.
fn populate<C: Companion>(region: &Region<C>, pieces: &Ranges, end: u64) -> u64 {
    let mut free = 0;
    let mut at = region.first;
    let mut group = 0;
    // Pieces are in order, so those of a group follow those of the one before.
    let mut candidates = pieces.iter().skip_while(|piece| piece.end <= region.first).peekable();
    while at < end {
        while candidates.next_if(|piece| piece.end <= at).is_some() {}
        let group_end = at + GROUP_FRAMES as u64;
        let is_whole = candidates.peek().is_some_and(|piece| piece.start <= at && group_end <= piece.end);
        if is_whole {
            // Zeros say so.
            free += GROUP_FRAMES as u64;
        } else {
            let mut rows = [0u64; GROUP_ROWS];
            for piece in candidates.clone().take_while(|piece| piece.start < group_end) {
                for frame in piece.start.max(at)..piece.end.min(group_end) {
                    let bit = frame - at;
                    #[expect(clippy::cast_possible_truncation, reason = "below 512")]
                    if let Some(row) = rows.get_mut(bit as usize / 64) {
                        *row |= 1 << (bit % 64);
                        free += 1;
                    }
                }
            }
            region.write_group(group, rows);
        }
        at = group_end;
        group += 1;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::super::FrameRange;
    use super::*;

    fn range(start: u64, count: u64) -> FrameRange {
        FrameRange { start: FrameNumber::new(start), count }
    }

    #[test]
    fn reserved_ranges_are_cut_out_and_overlaps_count_once() {
        let map = MemoryMap {
            usable: &[range(0x100, 0x900), range(0x800, 0x400)],
            reserved: &[range(0x200, 0x10), range(0xbf0, 0x100)],
            limit: None,
            nodes: &[],
        };
        let pieces = collect_pieces(&map).unwrap();
        let flat: Vec<_> = pieces.iter().map(|piece| (piece.start, piece.end)).collect();
        assert_eq!(flat, [(0x100, 0x200), (0x210, 0x800), (0x800, 0xbf0)]);
    }

    #[test]
    fn the_limit_cuts_and_far_ranges_get_their_own_region() {
        let map = MemoryMap {
            usable: &[range(0, 0x9f), range(0x100, 0x7f00), range(0x10_0000, 0x4000)],
            reserved: &[],
            limit: Some(FrameNumber::new(0x10_2000)),
            nodes: &[],
        };
        let spans = collect_spans(&collect_pieces(&map).unwrap());
        let flat: Vec<_> = spans.iter().map(|span| (span.first, span.end)).collect();
        assert_eq!(flat, [(0, 0x8000), (0x10_0000, 0x10_2000)]);
    }

    #[test]
    fn nodes_split_regions_at_group_borders() {
        let map = MemoryMap {
            usable: &[range(0x1000, 0x4000)],
            reserved: &[],
            limit: None,
            nodes: &[(range(0, 0x3010), 0), (range(0x3010, 0x2000), 1)],
        };
        let spans = collect_spans(&collect_pieces(&map).unwrap());
        let mut flat: Vec<_> = spans.iter().map(|span| (span.first, span.end, span.node)).collect();
        flat.sort_unstable();
        assert_eq!(flat, [(0x1000, 0x3200, 0), (0x3200, 0x5000, 1)]);
    }
}
