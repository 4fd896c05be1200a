//! Where the instructions go: run one of these under `valgrind --tool=callgrind` (they are ignored otherwise).

use super::tests::{PAGE, at, fault, read_write, space_with};
use super::*;
use crate::arch::AccessKind;

const COUNT: u64 = 1000;

#[inline(never)]
fn anonymous_faults(space: &AddressSpace) {
    for page in 0..COUNT {
        fault(space, at(page), AccessKind::Write).unwrap();
    }
}

#[inline(never)]
fn copy_on_write_faults(space: &AddressSpace) {
    for page in 0..COUNT {
        fault(space, at(page), AccessKind::Write).unwrap();
    }
}

#[inline(never)]
fn map_and_unmap(space: &AddressSpace) {
    for _ in 0..COUNT {
        let address = space.map(&MapRequest::anonymous(PAGE, read_write())).unwrap();
        space.unmap(address, PAGE).unwrap();
    }
}

#[inline(never)]
fn map_touch_and_unmap(space: &AddressSpace) {
    for _ in 0..COUNT {
        let address = space.map(&MapRequest::anonymous(PAGE, read_write())).unwrap();
        fault(space, address, AccessKind::Write).unwrap();
        space.unmap(address, PAGE).unwrap();
    }
}

#[inline(never)]
fn forks(space: &AddressSpace, touched: u64) {
    for _ in 0..COUNT {
        let child = space.fork().unwrap();
        fault(&child, at(touched), AccessKind::Write).unwrap();
        fault(space, at(touched), AccessKind::Write).unwrap();
        drop(child);
    }
}

#[test]
#[ignore = "for callgrind"]
fn operations() {
    let space = space_with(COUNT + 512);
    anonymous_faults(&space);
    let child = space.fork().unwrap();
    copy_on_write_faults(&child);
    drop(child);
    map_and_unmap(&space);
    map_touch_and_unmap(&space);
    forks(&space, 3);
}
