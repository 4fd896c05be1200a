//! What `/proc` says of the physical memory of each node, in Linux's formats: `buddyinfo`, `zoneinfo`, `pagetypeinfo`.
//!
//! Each node is one zone, `Normal`, as on a Linux without zones for devices: an allocation for one says how far it reaches
//! (`frame_allocator::allocate_frames_below`). Nor are frames grouped by mobility: all count as `Unmovable`, as on a Linux that has that switched
//! off. Counters that are not kept are not shown.

use crate::arch::inter_processor;
use crate::memory::frame_allocator::{self, NodeStatistics};
use crate::memory::numa;
use crate::pseudofs::append;
use alloc::vec::Vec;

/// The nodes that have memory, with what they have.
fn nodes() -> impl Iterator<Item = (u8, NodeStatistics)> {
    let nodes = numa::topology().nodes().map(|node| (node.0, frame_allocator::collect_node_statistics(node.0)));
    nodes.filter(|(_, statistics)| statistics.present > 0)
}

/// `/proc/buddyinfo`: free blocks of each order.
pub fn buddyinfo(text: &mut Vec<u8>) {
    nodes().for_each(|(node, statistics)| write_blocks(text, node, &statistics));
}

fn write_blocks(text: &mut Vec<u8>, node: u8, statistics: &NodeStatistics) {
    append!(text, "Node {node}, zone {:>8} ", "Normal");
    statistics.blocks.iter().for_each(|count| append!(text, "{count:>6} "));
    text.push(b'\n');
}

/// `/proc/zoneinfo`.
pub fn zoneinfo(text: &mut Vec<u8>) {
    let (reserve, total) = (frame_allocator::user_reserve(), frame_allocator::total_frames().max(1));
    for (node, statistics) in nodes() {
        let reserve = reserve * statistics.managed / total;
        write_zone(text, node, &statistics, reserve);
        text.extend_from_slice(b"  pagesets\n");
        for cpu in inter_processor::online() {
            let (count, high, batch) = frame_allocator::cache_usage(cpu);
            append!(text, "    cpu: {}\n              count: {count}\n              high:  {high}\n", cpu.0);
            append!(text, "              batch: {batch}\n");
        }
        append!(text, "  node_unreclaimable:  0\n  start_pfn:           {}\n", statistics.first);
    }
}

/// Nothing is reclaimed in the background, so the three marks of Linux are one: below it user space gets nothing.
fn write_zone(text: &mut Vec<u8>, node: u8, statistics: &NodeStatistics, reserve: u64) {
    let NodeStatistics { free, spanned, present, managed, .. } = statistics;
    append!(text, "Node {node}, zone {:>8}\n  per-node stats\n  pages free     {free}\n        boost    0\n", "Normal");
    for mark in ["min", "low", "high"] {
        append!(text, "        {mark:<8} {reserve}\n");
    }
    append!(
        text,
        "        spanned  {spanned}\n        present  {present}\n        managed  {managed}\n        cma      0\n"
    );
    append!(text, "        protection: (0)\n      nr_free_pages {free}\n");
}

/// `/proc/pagetypeinfo`.
pub fn pagetypeinfo(text: &mut Vec<u8>) {
    const TYPES: [&str; 5] = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"];
    let nodes: Vec<_> = nodes().collect();
    append!(
        text,
        "Page block order: 9\nPages per block:  512\n\n{:<43} ",
        "Free pages count per migrate type at order"
    );
    (0..=10).for_each(|order| append!(text, "{order:>6} "));
    text.push(b'\n');
    for (node, statistics) in &nodes {
        for (index, name) in TYPES.into_iter().enumerate() {
            append!(text, "Node {node:>4}, zone {:>8}, type {name:>12} ", "Normal");
            statistics.blocks.iter().for_each(|count| append!(text, "{:>6} ", if index == 0 { *count } else { 0 }));
            text.push(b'\n');
        }
    }
    append!(text, "\n{:<23}", "Number of blocks type ");
    TYPES.iter().for_each(|name| append!(text, "{name:>12} "));
    text.push(b'\n');
    for (node, statistics) in &nodes {
        append!(text, "Node {node}, zone {:>8} {:>12} ", "Normal", statistics.present / 512);
        TYPES.iter().skip(1).for_each(|_| append!(text, "{:>12} ", 0));
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeStatistics = NodeStatistics {
        first: 512,
        spanned: 4096,
        present: 4096,
        managed: 4000,
        free: 2069,
        blocks: [1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 2],
    };

    #[test]
    fn blocks_stand_in_linux_s_columns() {
        let mut text = Vec::new();
        write_blocks(&mut text, 0, &NODE);
        let expected =
            "Node 0, zone   Normal      1      0      1      0      1      0      0      0      0      0      2 \n";
        assert_eq!(core::str::from_utf8(&text).unwrap(), expected);
    }

    #[test]
    fn a_zone_says_what_linux_s_says() {
        let mut text = Vec::new();
        write_zone(&mut text, 1, &NODE, 60);
        let text = core::str::from_utf8(&text).unwrap();
        assert!(text.starts_with(
            "Node 1, zone   Normal\n  per-node stats\n  pages free     2069\n        boost    0\n        min      60\n"
        ));
        assert!(
            text.contains("        spanned  4096\n        present  4096\n        managed  4000\n        cma      0\n")
        );
        assert!(text.ends_with("      nr_free_pages 2069\n"));
    }

    #[test]
    fn the_files_speak_of_the_machine() {
        drop(crate::memory::frame::Frame::allocate());
        let text_of = |report: fn(&mut Vec<u8>)| {
            let mut text = Vec::new();
            report(&mut text);
            alloc::string::String::from_utf8(text).unwrap()
        };
        assert_eq!(text_of(buddyinfo).lines().count(), 1);
        assert!(text_of(zoneinfo).contains("start_pfn"));
        let types = text_of(pagetypeinfo);
        assert!(types.contains("Free pages count per migrate type at order       0      1      2 "), "{types}");
        assert!(types.contains("Number of blocks type     Unmovable      Movable "), "{types}");
        assert!(types.contains("Node    0, zone   Normal, type    Unmovable "), "{types}");
    }
}
