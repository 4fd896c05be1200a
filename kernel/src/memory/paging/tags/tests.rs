//! The allocator against a model of TLBs: whatever happens, no CPU ever has a translation of one space under the tag that it
//! activates for another.

use super::{Before, TAG_MASK, TagAllocator};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A machine: for each CPU the space that last used each tag (a TLB may hold its translations), and each space's word.
struct Model<const CPUS: usize> {
    tags: TagAllocator<CPUS>,
    tag_count: u64,
    cached: [BTreeMap<u64, u64>; CPUS],
    running: [Option<u64>; CPUS],
    words: BTreeMap<u64, u64>,
    forgotten: u64,
}

impl<const CPUS: usize> Model<CPUS> {
    fn new(tag_count: u64) -> Self {
        let cached = std::array::from_fn(|_| BTreeMap::new());
        Self {
            tags: TagAllocator::new(),
            tag_count,
            cached,
            running: [None; CPUS],
            words: BTreeMap::new(),
            forgotten: 0,
        }
    }

    fn activate(&mut self, cpu: usize, space: u64) -> u64 {
        let held = self.words.get(&space).copied().unwrap_or(0);
        let (word, before) = self.tags.assign(cpu, held, self.tag_count);
        if before == Before::Forget {
            self.forgotten += 1;
            self.cached[cpu].clear();
            // The hardware may fill the TLB again until the new table is active.
            if let Some(running) = self.running[cpu]
                && let Some(tag) = self.words.get(&running)
            {
                self.cached[cpu].insert(tag & TAG_MASK, running);
            }
        }
        self.words.insert(space, word);
        let tag = word & TAG_MASK;
        assert!(tag < self.tag_count);
        if tag != 0 {
            let owner = self.cached[cpu].insert(tag, space);
            assert!(owner.is_none_or(|owner| owner == space), "CPU {cpu} has {owner:?} under {space}'s tag {tag}");
            // Nor does another CPU run another space under it.
            let others = self.running.iter().enumerate().filter(|(other, _)| *other != cpu);
            for running in others.filter_map(|(_, running)| *running).filter(|running| *running != space) {
                assert!(!self.runs_under(running, tag), "{running} runs under {space}'s tag {tag}");
            }
        }
        self.running[cpu] = Some(space);
        word
    }

    fn runs_under(&self, space: u64, tag: u64) -> bool {
        self.words.get(&space).is_some_and(|word| word & TAG_MASK == tag)
    }
}

#[test]
fn a_space_keeps_its_word_while_tags_last() {
    let mut machine = Model::<2>::new(256);
    let first = machine.activate(0, 1);
    let second = machine.activate(0, 2);
    assert_ne!(first, second);
    assert_eq!(machine.activate(0, 1), first);
    assert_eq!(machine.activate(1, 1), first);
    for space in 3..=255 {
        machine.activate(0, space);
    }
    assert_eq!(machine.forgotten, 0, "255 spaces find room under 8-bit tags");
    machine.activate(0, 256);
    assert_eq!(machine.forgotten, 1);
}

#[test]
fn what_runs_when_a_generation_begins_keeps_its_tag() {
    let mut machine = Model::<2>::new(8);
    let kept = machine.activate(1, 100);
    for space in 1..=7 {
        machine.activate(0, space);
    }
    // CPU 1 knows of nothing; its space's tag is spoken for, and comes back to it in the new generation.
    let renewed = machine.activate(0, 100);
    assert_eq!(renewed & TAG_MASK, kept & TAG_MASK);
    assert_ne!(renewed, kept);
    assert_eq!(machine.activate(1, 100), renewed);
}

#[test]
fn a_cpu_that_slept_through_generations_keeps_its_reservation() {
    let mut machine = Model::<2>::new(4);
    let kept = machine.activate(1, 100) & TAG_MASK;
    for space in 1..20 {
        assert_ne!(machine.activate(0, space) & TAG_MASK, kept);
    }
}

#[test]
fn sixteen_bits_are_all_handed_out_before_anything_is_forgotten() {
    let mut machine = Model::<1>::new(1 << 16);
    for space in 0..65_535 {
        machine.activate(0, space);
    }
    assert_eq!(machine.forgotten, 0);
    machine.activate(0, 65_535);
    assert_eq!(machine.forgotten, 1);
}

#[test]
fn without_a_free_tag_spaces_share_tag_zero() {
    let mut machine = Model::<4>::new(4);
    for cpu in 0..4 {
        machine.activate(cpu, cpu as u64);
    }
    for round in 0..40 {
        machine.activate(round % 4, 100 + round as u64);
    }
}

proptest! {
    #[test]
    fn no_cpu_finds_another_space_under_a_tag(
        tag_count in prop::sample::select(vec![8u64, 16, 256]),
        steps in prop::collection::vec((0usize..3, 0u64..40, 0u8..10), 1..600),
    ) {
        let mut machine = Model::<3>::new(tag_count);
        let mut renamed = BTreeMap::new();
        let mut next = 1000;
        for (cpu, space, action) in steps {
            let name = *renamed.entry(space).or_insert(space);
            match action {
                // The space ends and another takes its number: the tag is not given back.
                0 if !machine.running.contains(&Some(name)) => {
                    machine.words.remove(&name);
                    next += 1;
                    renamed.insert(space, next);
                }
                // Its tables change while it is active nowhere: it gives up its word.
                1 if !machine.running.contains(&Some(name)) => {
                    machine.words.insert(name, 0);
                }
                _ => {
                    machine.activate(cpu, name);
                }
            }
        }
    }
}
