//! How deep a function's own code moves the stack pointer: its instructions, reduced to what matters for that, followed along every way.
//!
//! Compilers move the stack pointer by constants, and at each instruction it is the same whichever way led there. The one exception is the loop
//! by which a large frame touches page after page: before it the place where the loop ends is put into a register ([`Change::Until`]), and after
//! the branch back the pointer is there.

use std::collections::{BTreeMap, BTreeSet};

/// What an instruction does to the depth, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Makes it greater by this; smaller where it is negative.
    By(i64),
    /// Notes where a loop will end: this much deeper than now.
    Until(i64),
}

/// Where an instruction leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// To the one behind it.
    Behind,
    /// To that address, or on.
    Either(u64),
    /// To that address.
    Only(u64),
    /// To addresses of a table.
    Anywhere,
    /// Out of the function.
    Nowhere,
}

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where it is.
    pub address: u64,
    /// What it does.
    pub change: Change,
    /// Where it leads.
    pub next: Next,
}

/// The greatest depth in a function of `steps`, which are in the order of their addresses.
pub fn deepest(steps: &[Step]) -> u64 {
    let places: BTreeMap<u64, usize> = steps.iter().zip(0..).map(|(step, index)| (step.address, index)).collect();
    let mut walk = Walk { steps, places, seen: BTreeSet::new(), deepest: 0, at_table: 0 };
    walk.follow(0, 0);
    // What only a table leads to has the depth of the jump by the table.
    for index in 0..steps.len() {
        walk.follow(index, walk.at_table);
    }
    u64::try_from(walk.deepest).unwrap_or(0)
}

struct Walk<'a> {
    steps: &'a [Step],
    places: BTreeMap<u64, usize>,
    seen: BTreeSet<usize>,
    deepest: i64,
    at_table: i64,
}

impl Walk<'_> {
    /// Follows every way from the instruction `index`, which is reached at `depth`, as far as it is new.
    fn follow(&mut self, index: usize, depth: i64) {
        let mut open = vec![(index, depth, None)];
        while let Some((index, mut depth, mut until)) = open.pop() {
            let Some(step) = self.steps.get(index) else { continue };
            if !self.seen.insert(index) {
                continue;
            }
            match step.change {
                Change::By(bytes) => depth += bytes,
                Change::Until(bytes) => until = Some(depth + bytes),
            }
            self.deepest = self.deepest.max(depth);
            match step.next {
                Next::Behind => open.push((index + 1, depth, until)),
                Next::Only(target) => open.extend(self.places.get(&target).map(|place| (*place, depth, until))),
                Next::Either(target) => {
                    let end = until.take_if(|_| target <= step.address);
                    open.push((index + 1, end.unwrap_or(depth), until));
                    open.extend(self.places.get(&target).map(|place| (*place, depth, until)));
                }
                Next::Anywhere => self.at_table = depth,
                Next::Nowhere => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(list: &[(Change, Next)]) -> Vec<Step> {
        (0..).zip(list).map(|(address, &(change, next))| Step { address, change, next }).collect()
    }

    #[test]
    fn a_frame_behind_an_early_way_out_counts() {
        let function = steps(&[
            (Change::By(0), Next::Either(4)),
            (Change::By(8), Next::Behind),
            (Change::By(100), Next::Behind),
            (Change::By(-108), Next::Nowhere),
            (Change::By(0), Next::Nowhere),
        ]);
        assert_eq!(deepest(&function), 108);
    }

    #[test]
    fn each_end_gives_back_what_its_own_way_took() {
        let function = steps(&[
            (Change::By(64), Next::Either(3)),
            (Change::By(-64), Next::Behind),
            (Change::By(0), Next::Nowhere),
            (Change::By(16), Next::Behind),
            (Change::By(-80), Next::Nowhere),
        ]);
        assert_eq!(deepest(&function), 80);
    }

    #[test]
    fn a_loop_that_touches_pages_ends_where_it_was_said() {
        let function = steps(&[
            (Change::Until(0x8000), Next::Behind),
            (Change::By(0x1000), Next::Behind),
            (Change::By(0), Next::Either(1)),
            (Change::By(0x20), Next::Behind),
            (Change::By(0), Next::Nowhere),
        ]);
        assert_eq!(deepest(&function), 0x8020);
    }

    #[test]
    fn cases_of_a_table_begin_where_it_is_used() {
        let function = steps(&[
            (Change::By(32), Next::Anywhere),
            (Change::By(8), Next::Behind),
            (Change::By(-8), Next::Nowhere),
            (Change::By(16), Next::Nowhere),
        ]);
        assert_eq!(deepest(&function), 48);
    }
}
