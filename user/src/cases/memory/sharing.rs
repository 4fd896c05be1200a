//! What a child has of its parent's memory.

use crate::runner::in_child;
use crate::system::{Mapping, PAGE};

pub(super) fn private_is_copied() {
    let memory = Mapping::private(8);
    (0..8).for_each(|page| memory.write(page * PAGE, page as u8));
    println!(
        "{}",
        in_child(|| {
            (0..8).for_each(|page| memory.write(page * PAGE, memory.read(page * PAGE) + 10));
            i32::from(memory.read(7 * PAGE))
        })
    );
    println!("parent {:?}", (0..8).map(|page| memory.read(page * PAGE)).collect::<Vec<_>>());
}

pub(super) fn shared_survives() {
    let memory = Mapping::shared(2);
    println!(
        "{}",
        in_child(|| {
            memory.write(0, 42);
            memory.write(PAGE, 43);
            0
        })
    );
    println!("parent sees {} {}", memory.read(0), memory.read(PAGE));
}

pub(super) fn grandchild_copies() {
    let memory = Mapping::private(4);
    memory.write(0, 1);
    let shared = Mapping::shared(1);
    println!(
        "{}",
        in_child(|| {
            memory.write(0, memory.read(0) + 1);
            println!(
                "{}",
                in_child(|| {
                    memory.write(0, memory.read(0) + 1);
                    shared.write(0, memory.read(0));
                    0
                })
            );
            i32::from(memory.read(0)) * 10 + i32::from(shared.read(0))
        })
    );
    println!("{} {}", memory.read(0), shared.read(0));
}
