//! The map of areas against a sorted map.

use super::*;
use crate::base::PAGE_SHIFT;
use crate::memory::area::{AreaFlags, Backing};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn area(start: u64, pages: u64, flags: AreaFlags) -> Area {
    let start = VirtualAddress::new(start << PAGE_SHIFT);
    let range = VirtualRange::new(start, pages << PAGE_SHIFT).unwrap();
    Area { range, flags, has_private_pages: false, backing: Backing::Anonymous, policy: None }
}

#[test]
fn splitting_and_merging_are_inverse() {
    let mut map = AreaMap::new();
    map.insert(area(10, 10, AreaFlags::READ));
    map.split_at(VirtualAddress::new(15 << PAGE_SHIFT));
    assert_eq!(map.len(), 2);
    map.split_at(VirtualAddress::new(15 << PAGE_SHIFT));
    assert_eq!(map.len(), 2);
    map.merge_at(VirtualAddress::new(15 << PAGE_SHIFT));
    assert_eq!(map.len(), 1);
    assert!(map.validate());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_agrees_with_a_sorted_map(operations in prop::collection::vec((0u64..2000, 1u64..6, 0u8..4), 1..600)) {
        let mut map = AreaMap::new();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        for (start, pages, action) in operations {
            let address = VirtualAddress::new(start << PAGE_SHIFT);
            let holder = model.range(..=start).next_back().filter(|(first, count)| *first + *count > start);
            let holder = holder.map(|(first, count)| (*first, *count));
            if action == 0 {
                let removed = map.remove(address);
                prop_assert_eq!(removed.map(|area| area.range.start.page_number()), holder.map(|(first, _)| first));
                if let Some((first, _)) = holder {
                    model.remove(&first);
                }
            } else {
                let free = holder.is_none() && model.range(start..start + pages).next().is_none();
                if free {
                    map.insert(area(start, pages, AreaFlags::READ));
                    model.insert(start, pages);
                }
            }
            prop_assert!(map.validate());
            let found = map.find(address).map(|area| area.range.start.page_number());
            let expected = model.range(..=start).next_back().filter(|(first, count)| *first + *count > start);
            prop_assert_eq!(found, expected.map(|(first, _)| *first));
            let needed = pages * 3;
            let (low, high) = (5u64, 1990u64);
            let is_free = |at: u64| model.iter().all(|(first, count)| at + needed <= *first || *first + *count <= at);
            let best = (low..=high - needed).rev().find(|&at| is_free(at));
            let gap = map.find_gap_from_above(needed << PAGE_SHIFT, low << PAGE_SHIFT, high << PAGE_SHIFT, 0);
            prop_assert_eq!(gap.map(VirtualAddress::page_number), best);
            let best = (low..=high - needed).find(|&at| is_free(at));
            let gap = map.find_gap_from_below(needed << PAGE_SHIFT, low << PAGE_SHIFT, high << PAGE_SHIFT);
            prop_assert_eq!(gap.map(VirtualAddress::page_number), best);
        }
    }
}

#[test]
fn reserved_insertions_find_room_wherever_they_fall() {
    let mut map = AreaMap::new();
    for start in 0..500 {
        let new = area(start * 10, 6, AreaFlags::READ);
        map.reserve(new.range).unwrap();
        map.insert(new);
        let inside = VirtualAddress::new((start * 10 + 3) << PAGE_SHIFT);
        map.reserve(VirtualRange { start: inside, end: inside }).unwrap();
        map.split_at(inside);
        assert!(map.validate());
    }
    assert_eq!(map.len(), 1000);
    let mut copy = AreaMap::new();
    copy.reserve_copies(map.len()).unwrap();
    map.iter().for_each(|area| copy.append(area.clone()));
    assert!(copy.validate() && copy.len() == 1000);
}
