//! Address spaces: mapping, protection, faults, copy-on-write.

mod areas;
mod faults;
mod files;
mod heap;
mod populated;
mod sharing;

use crate::runner::{Case, in_child};
use crate::system::{Mapping, Outcome, PAGE, READ_WRITE};
use crate::{raw, system, worked};
use libc::{MADV_DONTNEED, MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ};

pub(super) const CASES: &[Case] = &[
    ("memory/anonymous-is-zero", anonymous_is_zero),
    ("memory/mmap-errors", mmap_errors),
    ("memory/munmap-errors", munmap_errors),
    ("memory/private-is-copied-by-fork", sharing::private_is_copied),
    ("memory/shared-survives-fork", sharing::shared_survives),
    ("memory/read-only-write-faults", faults::read_only),
    ("memory/protect-none-faults", faults::protect_none),
    ("memory/null-faults", faults::null_faults),
    ("memory/execute-data-faults", faults::execute_data),
    ("memory/protect-splits-areas", areas::protect_splits),
    ("memory/areas-merge", areas::areas_merge),
    ("memory/dontneed-zeroes", dontneed),
    ("memory/file-private", files::file_private),
    ("memory/file-shared", files::file_shared),
    ("memory/beyond-end-of-file", files::beyond_end),
    ("memory/brk", heap::brk),
    ("memory/remap-grows-and-moves", remap),
    ("memory/remap-errors", remap_errors),
    ("memory/mincore", mincore),
    ("memory/stack-grows", heap::stack_grows),
    ("memory/stack-limit", heap::stack_limit),
    ("memory/fixed-noreplace", areas::fixed_noreplace),
    ("memory/address-space-limit", heap::address_space_limit),
    ("memory/madvise-errors", madvise_errors),
    ("memory/kernel-addresses", kernel_addresses),
    ("memory/memfd-seals", files::memfd_seals),
    ("memory/many-areas", areas::many_areas),
    ("memory/grandchild-copies", sharing::grandchild_copies),
    ("memory/populated-pages-are-apart", populated::pages_are_apart),
];

/// `mmap` as the kernel sees it; the memory stays.
fn mmap(address: usize, length: usize, protection: i32, flags: i32, descriptor: i32, offset: i64) -> Outcome {
    raw!(libc::SYS_mmap, address, length, protection, flags, descriptor, offset)
}

fn anonymous_is_zero() {
    let memory = Mapping::private(16);
    let sum = || (0..memory.length()).map(|offset| u64::from(memory.read(offset))).sum::<u64>();
    println!("sum {}", sum());
    (0..memory.length()).for_each(|offset| memory.write(offset, offset as u8));
    println!("sum {}", sum());
}

fn mmap_errors() {
    let anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    println!("length 0: {:?}", worked(mmap(0, 0, READ_WRITE, anonymous, -1, 0)));
    println!("no type: {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_ANONYMOUS, -1, 0)));
    println!("unaligned fixed: {:?}", worked(mmap(0x10001, PAGE, READ_WRITE, anonymous | MAP_FIXED, -1, 0)));
    println!("unaligned offset: {:?}", worked(mmap(0, PAGE, READ_WRITE, anonymous, -1, 1)));
    println!("huge: {:?}", worked(mmap(0, 1 << 60, READ_WRITE, anonymous, -1, 0)));
    println!("wrapping: {:?}", worked(mmap(0, usize::MAX, READ_WRITE, anonymous, -1, 0)));
    println!("kernel: {:?}", worked(mmap(0xffff_8000_0000_0000, PAGE, READ_WRITE, anonymous | MAP_FIXED, -1, 0)));
    println!("bad descriptor: {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_PRIVATE, 99, 0)));
    let read_only = system::open(c"/dev/zero", libc::O_RDONLY, 0).unwrap_or(-1);
    println!("zero device private: {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_PRIVATE, read_only, 0)));
    let file = system::open(c"/proc/self/exe", libc::O_RDONLY, 0).unwrap_or(-1);
    println!("shared write of read-only: {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_SHARED, file, 0)));
    println!("private write of read-only: {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_PRIVATE, file, 0)));
    println!("directory: {:?}", {
        let directory = system::open(c"/", libc::O_RDONLY, 0).unwrap_or(-1);
        worked(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, directory, 0))
    });
    println!("offset past 2^63: {:?}", worked(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, file, i64::MAX & !0xfff)));
}

fn munmap_errors() {
    let memory = Mapping::private(4);
    println!("unaligned {:?}", memory.unmap(1, PAGE));
    println!("zero {:?}", memory.unmap(0, 0));
    println!("middle {:?}", memory.unmap(PAGE, 2 * PAGE));
    println!("again {:?}", memory.unmap(PAGE, 2 * PAGE));
    println!("kernel {:?}", raw!(libc::SYS_munmap, 0xffff_8000_0000_0000usize, PAGE));
    println!("wrapping {:?}", memory.unmap(0, usize::MAX & !0xfff));
    println!("touch: {}", in_child(|| i32::from(memory.read(PAGE))));
    println!("neighbours: {}", in_child(|| i32::from(memory.read(0)) + i32::from(memory.read(3 * PAGE))));
}

fn dontneed() {
    let memory = Mapping::private(2);
    memory.write(0, 5);
    memory.write(PAGE, 6);
    println!("{:?}", memory.advise(0, PAGE, MADV_DONTNEED));
    println!("{} {}", memory.read(0), memory.read(PAGE));
}

fn remap() {
    let memory = Mapping::private(2);
    memory.write(0, 1);
    memory.write(PAGE, 2);
    let bigger = memory.remap(64 * PAGE, libc::MREMAP_MAYMOVE);
    println!("{} {} {}", bigger.read(0), bigger.read(PAGE), bigger.read(63 * PAGE));
    let place = bigger.start();
    let smaller = bigger.remap(PAGE, 0);
    println!("in place {} {}", smaller.start() == place, smaller.read(0));
    println!("gone: {}", in_child(|| i32::from(smaller.read_behind(PAGE))));
    let target = Mapping::private(4);
    let moved = smaller.move_onto(&target);
    println!("fixed {} {}", moved == Ok(target.start() as i64), target.read(0));
    println!("source gone: {}", in_child(|| i32::from(smaller.read(0))));
}

fn remap_errors() {
    let memory = Mapping::private(4);
    let remap =
        |address: usize, old: usize, new: usize, flags: i32| worked(raw!(libc::SYS_mremap, address, old, new, flags));
    println!("unaligned {:?}", remap(memory.at(1), PAGE, PAGE, 0));
    println!("new length 0 {:?}", remap(memory.start(), PAGE, 0, 0));
    println!("unknown flag {:?}", remap(memory.start(), PAGE, PAGE, 64));
    println!("fixed without maymove {:?}", remap(memory.start(), PAGE, PAGE, libc::MREMAP_FIXED));
    println!("hole {:?}", remap(0x1000, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE));
    println!("old length 0 of private {:?}", remap(memory.start(), 0, PAGE, libc::MREMAP_MAYMOVE));
    println!("huge {:?}", remap(memory.start(), PAGE, 1 << 46, libc::MREMAP_MAYMOVE));
}

fn mincore() {
    let memory = Mapping::private(4);
    memory.write(PAGE, 1);
    let mut resident = [9u8; 4];
    println!("{:?} {:?}", memory.resident(0, &mut resident), resident.map(|byte| byte & 1));
    println!("{:?}", raw!(libc::SYS_mincore, memory.at(1), PAGE, &mut resident));
    println!("{:?}", raw!(libc::SYS_mincore, 0x1000, PAGE, &mut resident));
    println!("{:?}", raw!(libc::SYS_mincore, memory.start(), PAGE, 0));
}

fn madvise_errors() {
    let memory = Mapping::private(4);
    let _ = memory.unmap(PAGE, PAGE);
    println!("unaligned {:?}", memory.advise(1, PAGE, MADV_DONTNEED));
    println!("unknown {:?}", memory.advise(0, PAGE, 77));
    println!("hole {:?}", memory.advise(0, 4 * PAGE, MADV_DONTNEED));
    println!("zero {:?}", memory.advise(0, 0, MADV_DONTNEED));
    println!("normal {:?}", memory.advise(0, PAGE, libc::MADV_NORMAL));
    println!("free {:?}", memory.advise(0, PAGE, libc::MADV_FREE));
}

fn kernel_addresses() {
    for address in [0usize, 1, 0xfff, 0x7fff_ffff_f000, 0x8000_0000_0000, 0xffff_8000_0000_0000, usize::MAX - 7] {
        println!(
            "{address:#x}: write {:?} read {:?} stat {:?} pipe {:?}",
            raw!(libc::SYS_write, 1, address, 8),
            raw!(libc::SYS_getcwd, address, 100),
            raw!(libc::SYS_newfstatat, libc::AT_FDCWD, address, address, 0),
            raw!(libc::SYS_pipe2, address, 0)
        );
    }
}
