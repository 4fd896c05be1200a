//! For callgrind: the paths that are counted in instructions, a thousand times each.
//!
//! `valgrind --tool=callgrind --toggle-collect='*measured_*' TEST-BINARY --ignored --exact fs::tests::measure::paths`

use crate::fs::testing::World;
use crate::fs::walk::LookupFlags;
use crate::fs::{CloseOnExec, FileTable, OpenFlags, file_table::close_file};
use std::hint::black_box;

#[inline(never)]
fn measured_stat(world: &World) {
    for _ in 0..1000 {
        let location = world.walker().resolve(None, black_box(b"/tmp/bench-file"), LookupFlags::FOLLOW).unwrap();
        black_box(location.inode().metadata());
    }
}

#[inline(never)]
fn measured_open(world: &World, files: &FileTable) {
    for _ in 0..1000 {
        let descriptor = files.reserve(1024, CloseOnExec::No).unwrap();
        files.fill(descriptor, world.open("/tmp/bench-file", OpenFlags::empty(), 0).unwrap());
        close_file(files.remove(descriptor).unwrap(), 1);
    }
}

#[test]
#[ignore = "for callgrind"]
fn paths() {
    let world = World::new();
    world.mkdir("/tmp", 0o1777).unwrap();
    world.write("/tmp/bench-file", &[1; 4096]).unwrap();
    measured_stat(&world);
    measured_open(&world, &FileTable::new());
}
