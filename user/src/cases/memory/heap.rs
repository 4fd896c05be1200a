//! The heap's break, the stack, and the limits on both.

use super::mmap;
use crate::runner::in_child;
use crate::system::{self, Heap, Mapping, Must, READ_WRITE, worked};
use libc::{MAP_ANONYMOUS, MAP_PRIVATE};

pub(super) fn brk() {
    let heap = Heap::end().must();
    let start = heap.start();
    let grown = heap.grow(5000);
    println!("page aligned growth {}", grown.as_ref().map_or(0, Mapping::length));
    if let Ok(area) = grown {
        area.write(4999, 1);
    }
    println!("shrink {}", heap.set(start) - start);
    println!("below start is refused {}", heap.set(start - (64 << 20)) - start);
    println!("absurd is refused {}", heap.set(1 << 62) - start);
    let again = heap.grow(5000);
    println!(
        "grows back as zero {} {}",
        again.as_ref().map_or(0, Mapping::length),
        again.as_ref().map_or(0, |area| area.read(4999))
    );
}

#[inline(never)]
fn recurse(depth: usize) -> usize {
    let buffer = std::hint::black_box([depth as u8; 1024]);
    if depth == 0 {
        usize::from(buffer[5])
    } else {
        recurse(depth - 1) + usize::from(std::hint::black_box(&buffer)[7] == depth as u8)
    }
}

pub(super) fn stack_grows() {
    println!("{}", recurse(4000));
}

pub(super) fn stack_limit() {
    println!(
        "{}",
        in_child(|| {
            let _ = system::limit(libc::RLIMIT_STACK, 1 << 20);
            recurse(100_000) as i32
        })
    );
}

pub(super) fn address_space_limit() {
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", system::limit(libc::RLIMIT_AS, 256 << 20));
            println!("{:?}", worked(mmap(0, 300 << 20, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
            println!("{:?}", worked(mmap(0, 100 << 20, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
            0
        })
    );
}
