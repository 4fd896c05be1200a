//! How areas split and merge, as `/proc/self/maps` shows them.

use crate::system::{Mapping, Must, PAGE, READ_WRITE};
use crate::worked;
use libc::{MAP_FIXED, MAP_FIXED_NOREPLACE, PROT_READ};

/// The permissions of the areas that cover `memory`, one letter group an area.
fn areas(memory: &Mapping) -> Vec<String> {
    let (low, high) = (memory.start(), memory.at(memory.length()));
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (from, to) = fields.next()?.split_once('-')?;
            let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
            let permissions = fields.next()?;
            (from < high && to > low).then(|| format!("{}{}", permissions, (to.min(high) - from.max(low)) / PAGE))
        })
        .collect()
}

pub(super) fn protect_splits() {
    let memory = Mapping::apart(8);
    println!("{:?}", areas(&memory));
    let _ = memory.protect(2 * PAGE, 2 * PAGE, PROT_READ);
    println!("{:?}", areas(&memory));
    let _ = memory.protect(2 * PAGE, 2 * PAGE, READ_WRITE);
    println!("{:?}", areas(&memory));
    let _ = memory.unmap(4 * PAGE, PAGE);
    println!("{:?}", areas(&memory));
}

pub(super) fn areas_merge() {
    let memory = Mapping::apart(6);
    let _ = memory.unmap(0, 6 * PAGE);
    for page in [0, 2, 4, 1, 3, 5] {
        let outcome = memory.map_again(page * PAGE, PAGE, MAP_FIXED);
        println!("{:?} {:?}", worked(outcome), areas(&memory));
    }
}

pub(super) fn fixed_noreplace() {
    let memory = Mapping::apart(2);
    println!("{:?}", worked(memory.map_again(0, PAGE, MAP_FIXED_NOREPLACE)));
    let _ = memory.unmap(0, PAGE);
    println!("{:?}", worked(memory.map_again(0, PAGE, MAP_FIXED_NOREPLACE)));
}

pub(super) fn many_areas() {
    let memory = Mapping::apart(2000);
    for page in (0..2000).step_by(2) {
        memory.protect(page * PAGE, PAGE, PROT_READ).must();
    }
    println!("{}", areas(&memory).len());
    println!("{:?}", memory.protect(0, 2000 * PAGE, READ_WRITE));
    println!("{:?}", areas(&memory));
}
