//! Address spaces: mapping, protection, faults, copy-on-write.

use crate::runner::{Case, in_child};
use crate::{Outcome, call, check, raw, worked};
use libc::{
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED,
    PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
};

const PAGE: usize = 4096;
const RW: i32 = PROT_READ | PROT_WRITE;

pub(super) const CASES: &[Case] = &[
    ("memory/anonymous-is-zero", anonymous_is_zero),
    ("memory/mmap-errors", mmap_errors),
    ("memory/munmap-errors", munmap_errors),
    ("memory/private-is-copied-by-fork", private_is_copied),
    ("memory/shared-survives-fork", shared_survives),
    ("memory/read-only-write-faults", read_only),
    ("memory/protect-none-faults", protect_none),
    ("memory/null-faults", null_faults),
    ("memory/execute-data-faults", execute_data),
    ("memory/protect-splits-areas", protect_splits),
    ("memory/areas-merge", areas_merge),
    ("memory/dontneed-zeroes", dontneed),
    ("memory/file-private", file_private),
    ("memory/file-shared", file_shared),
    ("memory/beyond-end-of-file", beyond_end),
    ("memory/brk", brk),
    ("memory/remap-grows-and-moves", remap),
    ("memory/remap-errors", remap_errors),
    ("memory/mincore", mincore),
    ("memory/stack-grows", stack_grows),
    ("memory/stack-limit", stack_limit),
    ("memory/fixed-noreplace", fixed_noreplace),
    ("memory/address-space-limit", address_space_limit),
    ("memory/madvise-errors", madvise_errors),
    ("memory/kernel-addresses", kernel_addresses),
    ("memory/memfd-seals", memfd_seals),
    ("memory/many-areas", many_areas),
    ("memory/grandchild-copies", grandchild_copies),
    ("memory/populated-pages-are-apart", populated_pages),
];

fn map(length: usize, protection: i32, flags: i32) -> *mut u8 {
    let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    assert_ne!(address, MAP_FAILED);
    address.cast()
}

fn private(pages: usize) -> *mut u8 {
    map(pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS)
}

fn mmap_result(address: usize, length: usize, protection: i32, flags: i32, descriptor: i32, offset: i64) -> Outcome {
    check(unsafe { libc::mmap(address as _, length, protection, flags, descriptor, offset) } as i64)
}

fn anonymous_is_zero() {
    let memory = private(16);
    let bytes = unsafe { std::slice::from_raw_parts_mut(memory, 16 * PAGE) };
    println!("sum {}", bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
    println!("sum {}", bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
}

fn mmap_errors() {
    let anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    println!("length 0: {:?}", worked(mmap_result(0, 0, RW, anonymous, -1, 0)));
    println!("no type: {:?}", worked(mmap_result(0, PAGE, RW, MAP_ANONYMOUS, -1, 0)));
    println!("unaligned fixed: {:?}", worked(mmap_result(0x10001, PAGE, RW, anonymous | MAP_FIXED, -1, 0)));
    println!("unaligned offset: {:?}", worked(mmap_result(0, PAGE, RW, anonymous, -1, 1)));
    println!("huge: {:?}", worked(mmap_result(0, 1 << 60, RW, anonymous, -1, 0)));
    println!("wrapping: {:?}", worked(mmap_result(0, usize::MAX, RW, anonymous, -1, 0)));
    println!("kernel: {:?}", worked(mmap_result(0xffff_8000_0000_0000, PAGE, RW, anonymous | MAP_FIXED, -1, 0)));
    println!("bad descriptor: {:?}", worked(mmap_result(0, PAGE, RW, MAP_PRIVATE, 99, 0)));
    let read_only = call!(open(c"/dev/zero".as_ptr(), libc::O_RDONLY)).unwrap_or(-1) as i32;
    println!("zero device private: {:?}", worked(mmap_result(0, PAGE, RW, MAP_PRIVATE, read_only, 0)));
    let file = call!(open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY)).unwrap_or(-1) as i32;
    println!("shared write of read-only: {:?}", worked(mmap_result(0, PAGE, RW, MAP_SHARED, file, 0)));
    println!("private write of read-only: {:?}", worked(mmap_result(0, PAGE, RW, MAP_PRIVATE, file, 0)));
    println!("directory: {:?}", {
        let directory = call!(open(c"/".as_ptr(), libc::O_RDONLY)).unwrap_or(-1) as i32;
        worked(mmap_result(0, PAGE, PROT_READ, MAP_PRIVATE, directory, 0))
    });
    println!("offset past 2^63: {:?}", worked(mmap_result(0, PAGE, PROT_READ, MAP_PRIVATE, file, i64::MAX & !0xfff)));
}

fn munmap_errors() {
    let memory = private(4);
    println!("unaligned {:?}", call!(munmap(memory.add(1).cast(), PAGE)));
    println!("zero {:?}", call!(munmap(memory.cast(), 0)));
    println!("middle {:?}", call!(munmap(memory.add(PAGE).cast(), 2 * PAGE)));
    println!("again {:?}", call!(munmap(memory.add(PAGE).cast(), 2 * PAGE)));
    println!("kernel {:?}", call!(munmap(0xffff_8000_0000_0000usize as *mut _, PAGE)));
    println!("wrapping {:?}", call!(munmap(memory.cast(), usize::MAX & !0xfff)));
    println!("touch: {}", in_child(|| unsafe { i32::from(*memory.add(PAGE)) }));
    println!("neighbours: {}", in_child(|| unsafe { i32::from(*memory) + i32::from(*memory.add(3 * PAGE)) }));
}

fn private_is_copied() {
    let memory = private(8);
    (0..8).for_each(|page| unsafe { *memory.add(page * PAGE) = page as u8 });
    println!(
        "{}",
        in_child(|| {
            (0..8).for_each(|page| unsafe { *memory.add(page * PAGE) += 10 });
            unsafe { i32::from(*memory.add(7 * PAGE)) }
        })
    );
    println!("parent {:?}", (0..8).map(|page| unsafe { *memory.add(page * PAGE) }).collect::<Vec<_>>());
}

fn shared_survives() {
    let memory = map(2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    println!(
        "{}",
        in_child(|| {
            unsafe {
                *memory = 42;
                *memory.add(PAGE) = 43
            };
            0
        })
    );
    println!("parent sees {} {}", unsafe { *memory }, unsafe { *memory.add(PAGE) });
}

fn read_only() {
    let memory = map(PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
    println!("read {}", unsafe { *memory });
    println!(
        "write: {}",
        in_child(|| {
            unsafe { memory.write_volatile(1) };
            0
        })
    );
    println!("{:?}", call!(mprotect(memory.cast(), PAGE, RW)));
    println!(
        "write: {}",
        in_child(|| {
            unsafe { memory.write_volatile(1) };
            0
        })
    );
}

fn protect_none() {
    let memory = private(1);
    unsafe { *memory = 7 };
    println!("{:?}", call!(mprotect(memory.cast(), PAGE, PROT_NONE)));
    println!("read: {}", in_child(|| unsafe { i32::from(memory.read_volatile()) }));
    println!("{:?}", call!(mprotect(memory.cast(), PAGE, PROT_READ)));
    println!("kept {}", unsafe { *memory });
    println!("unaligned {:?}", call!(mprotect(memory.add(1).cast(), PAGE, PROT_READ)));
    println!("hole {:?}", call!(mprotect(std::ptr::null_mut(), PAGE, PROT_READ)));
    println!("bad bits {:?}", call!(mprotect(memory.cast(), PAGE, 0x1000)));
    println!("zero length {:?}", call!(mprotect(memory.cast(), 0, PROT_READ)));
}

fn null_faults() {
    println!("read: {}", in_child(|| unsafe { std::ptr::null::<i32>().wrapping_add(1).read_volatile() }));
    println!(
        "write: {}",
        in_child(|| {
            unsafe { (8 as *mut i32).write_volatile(1) };
            0
        })
    );
    println!(
        "jump: {}",
        in_child(|| {
            unsafe { std::mem::transmute::<usize, fn()>(16)() };
            0
        })
    );
    println!(
        "kernel read: {}",
        in_child(|| unsafe { i32::from((0xffff_8000_0000_1000usize as *const u8).read_volatile()) })
    );
    println!(
        "non-canonical: {}",
        in_child(|| unsafe { i32::from((0x0012_3456_7890_1000usize.wrapping_shl(3) as *const u8).read_volatile()) })
    );
}

fn execute_data() {
    let memory = private(1);
    // The instruction that returns. Making the page executable is all that it takes: the kernel sees to the instruction cache.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        *memory = 0xc3;
    }
    #[cfg(target_arch = "aarch64")]
    unsafe {
        *memory.cast::<u32>() = 0xd65f_03c0;
    }
    let call = || {
        in_child(|| {
            unsafe { std::mem::transmute::<*mut u8, fn()>(memory)() };
            0
        })
    };
    println!("without permission: {}", call());
    println!("{:?}", call!(mprotect(memory.cast(), PAGE, PROT_READ | PROT_EXEC)));
    println!("with: {}", call());
}

/// The permissions of the areas that cover `pages` pages from `start`, from `/proc/self/maps`, one letter group an area.
fn areas(start: *mut u8, pages: usize) -> Vec<String> {
    let (low, high) = (start as usize, start as usize + pages * PAGE);
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

fn reserve(pages: usize) -> *mut u8 {
    // A hole on each side, so that neighbours never merge with the memory under test.
    let memory = map((pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    let inside = unsafe { memory.add(PAGE) };
    assert!(
        unsafe { libc::mmap(inside.cast(), pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) }
            != MAP_FAILED
    );
    inside
}

fn protect_splits() {
    let memory = reserve(8);
    println!("{:?}", areas(memory, 8));
    let _ = call!(mprotect(memory.add(2 * PAGE).cast(), 2 * PAGE, PROT_READ));
    println!("{:?}", areas(memory, 8));
    let _ = call!(mprotect(memory.add(2 * PAGE).cast(), 2 * PAGE, RW));
    println!("{:?}", areas(memory, 8));
    let _ = call!(munmap(memory.add(4 * PAGE).cast(), PAGE));
    println!("{:?}", areas(memory, 8));
}

fn areas_merge() {
    let memory = reserve(6);
    let _ = call!(munmap(memory.cast(), 6 * PAGE));
    for page in [0, 2, 4, 1, 3, 5] {
        let outcome =
            mmap_result(memory as usize + page * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        println!("{:?} {:?}", worked(outcome), areas(memory, 6));
    }
}

fn dontneed() {
    let memory = private(2);
    unsafe {
        *memory = 5;
        *memory.add(PAGE) = 6
    };
    println!("{:?}", call!(madvise(memory.cast(), PAGE, MADV_DONTNEED)));
    println!("{} {}", unsafe { *memory }, unsafe { *memory.add(PAGE) });
}

fn temporary(name: &str, length: usize) -> i32 {
    let name = crate::c(&format!("/tmp/conformance-{name}"));
    let descriptor = unsafe { libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600) };
    unsafe { libc::unlink(name.as_ptr()) };
    let bytes: Vec<u8> = (0..length).map(|index| (index / 16) as u8).collect();
    assert_eq!(unsafe { libc::write(descriptor, bytes.as_ptr().cast(), length) }, length as isize);
    descriptor
}

fn map_file(descriptor: i32, length: usize, flags: i32) -> *mut u8 {
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, RW, flags, descriptor, 0) };
    assert_ne!(memory, MAP_FAILED);
    memory.cast()
}

fn file_private() {
    let file = temporary("private", 3 * PAGE);
    let memory = map_file(file, 3 * PAGE, MAP_PRIVATE);
    unsafe { *memory.add(20) = 99 };
    let mut byte = 0u8;
    println!("{:?} file has {byte_at}", call!(pread(file, (&raw mut byte).cast(), 1, 20)), byte_at = byte);
    let byte = 77u8;
    println!("{:?}", call!(pwrite(file, (&raw const byte).cast(), 1, PAGE as i64)));
    println!("untouched page follows the file: {}", unsafe { *memory.add(PAGE) });
}

fn file_shared() {
    let file = temporary("shared", PAGE);
    let memory = map_file(file, PAGE, MAP_SHARED);
    unsafe { *memory.add(5) = 55 };
    let mut byte = 0u8;
    let outcome = call!(pread(file, (&raw mut byte).cast(), 1, 5));
    println!("{outcome:?} {byte}");
    let byte = 66u8;
    let _ = call!(pwrite(file, (&raw const byte).cast(), 1, 6));
    println!("{} {:?}", unsafe { *memory.add(6) }, call!(msync(memory.cast(), PAGE, libc::MS_SYNC)));
    println!(
        "{:?} {:?}",
        call!(msync(memory.cast(), PAGE, libc::MS_SYNC | libc::MS_ASYNC)),
        call!(msync(memory.add(1).cast(), PAGE, libc::MS_SYNC))
    );
}

fn beyond_end() {
    let file = temporary("end", 100);
    let memory = map_file(file, 2 * PAGE, MAP_SHARED);
    println!("tail is zero: {}", unsafe { *memory.add(200) });
    println!("next page: {}", in_child(|| unsafe { i32::from(memory.add(PAGE).read_volatile()) }));
    println!("{:?}", call!(ftruncate(file, 2 * PAGE as i64)));
    println!("after growing: {}", in_child(|| unsafe { i32::from(memory.add(PAGE).read_volatile()) }));
    println!("{:?}", call!(ftruncate(file, 0)));
    println!("after shrinking: {}", in_child(|| unsafe { i32::from(memory.read_volatile()) }));
}

fn brk() {
    let start = raw_brk(0);
    println!("page aligned growth {}", raw_brk(start + 5000) - start);
    unsafe { *((start + 4999) as *mut u8) = 1 };
    println!("shrink {}", raw_brk(start) - start);
    println!("below start is refused {}", raw_brk(start - (64 << 20)) - start);
    println!("absurd is refused {}", raw_brk(1 << 62) - start);
    println!("grows back as zero {} {}", raw_brk(start + 5000) - start, unsafe { *((start + 4999) as *const u8) });
}

fn raw_brk(to: usize) -> usize {
    unsafe { libc::syscall(libc::SYS_brk, to) as usize }
}

fn remap() {
    let memory = private(2);
    unsafe {
        *memory = 1;
        *memory.add(PAGE) = 2
    };
    let bigger = unsafe { libc::mremap(memory.cast(), 2 * PAGE, 64 * PAGE, libc::MREMAP_MAYMOVE) }.cast::<u8>();
    println!("{} {} {}", unsafe { *bigger }, unsafe { *bigger.add(PAGE) }, unsafe { *bigger.add(63 * PAGE) });
    let smaller = unsafe { libc::mremap(bigger.cast(), 64 * PAGE, PAGE, 0) }.cast::<u8>();
    println!("in place {} {}", smaller == bigger, unsafe { *smaller });
    println!("gone: {}", in_child(|| unsafe { i32::from(smaller.add(PAGE).read_volatile()) }));
    let target = private(4);
    let moved = unsafe { libc::mremap(smaller.cast(), PAGE, PAGE, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, target) }
        .cast::<u8>();
    println!("fixed {} {}", moved == target, unsafe { *moved });
    println!("source gone: {}", in_child(|| unsafe { i32::from(smaller.read_volatile()) }));
}

fn remap_errors() {
    let memory = private(4);
    let remap = |address: *mut u8, old: usize, new: usize, flags: i32| {
        check(unsafe { libc::mremap(address.cast(), old, new, flags) } as i64)
    };
    println!("unaligned {:?}", worked(remap(memory.wrapping_add(1), PAGE, PAGE, 0)));
    println!("new length 0 {:?}", worked(remap(memory, PAGE, 0, 0)));
    println!("unknown flag {:?}", worked(remap(memory, PAGE, PAGE, 64)));
    println!("fixed without maymove {:?}", worked(remap(memory, PAGE, PAGE, libc::MREMAP_FIXED)));
    println!("hole {:?}", worked(remap(0x1000 as *mut u8, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE)));
    println!("old length 0 of private {:?}", worked(remap(memory, 0, PAGE, libc::MREMAP_MAYMOVE)));
    println!("huge {:?}", worked(remap(memory, PAGE, 1 << 46, libc::MREMAP_MAYMOVE)));
}

fn mincore() {
    let memory = private(4);
    unsafe { *memory.add(PAGE) = 1 };
    let mut resident = [9u8; 4];
    println!(
        "{:?} {:?}",
        call!(mincore(memory.cast(), 4 * PAGE, resident.as_mut_ptr())),
        resident.map(|byte| byte & 1)
    );
    println!("{:?}", call!(mincore(memory.add(1).cast(), PAGE, resident.as_mut_ptr())));
    println!("{:?}", call!(mincore(0x1000 as *mut _, PAGE, resident.as_mut_ptr())));
    println!("{:?}", call!(mincore(memory.cast(), PAGE, std::ptr::null_mut())));
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

fn stack_grows() {
    println!("{}", recurse(4000));
}

fn stack_limit() {
    println!(
        "{}",
        in_child(|| {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            unsafe { libc::setrlimit(libc::RLIMIT_STACK, &limit) };
            recurse(100_000) as i32
        })
    );
}

fn fixed_noreplace() {
    let memory = reserve(2);
    println!(
        "{:?}",
        worked(mmap_result(memory as usize, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0))
    );
    let _ = call!(munmap(memory.cast(), PAGE));
    println!(
        "{:?}",
        worked(mmap_result(memory as usize, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0))
    );
}

fn address_space_limit() {
    println!(
        "{}",
        in_child(|| {
            let limit = libc::rlimit { rlim_cur: 256 << 20, rlim_max: 256 << 20 };
            println!("{:?}", call!(setrlimit(libc::RLIMIT_AS, &limit)));
            println!("{:?}", worked(mmap_result(0, 300 << 20, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
            println!("{:?}", worked(mmap_result(0, 100 << 20, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
            0
        })
    );
}

fn madvise_errors() {
    let memory = private(4);
    let _ = call!(munmap(memory.add(PAGE).cast(), PAGE));
    println!("unaligned {:?}", call!(madvise(memory.add(1).cast(), PAGE, MADV_DONTNEED)));
    println!("unknown {:?}", call!(madvise(memory.cast(), PAGE, 77)));
    println!("hole {:?}", call!(madvise(memory.cast(), 4 * PAGE, MADV_DONTNEED)));
    println!("zero {:?}", call!(madvise(memory.cast(), 0, MADV_DONTNEED)));
    println!("normal {:?}", call!(madvise(memory.cast(), PAGE, libc::MADV_NORMAL)));
    println!("free {:?}", call!(madvise(memory.cast(), PAGE, libc::MADV_FREE)));
}

fn kernel_addresses() {
    for address in [0usize, 1, 0xfff, 0x7fff_ffff_f000, 0x8000_0000_0000, 0xffff_8000_0000_0000, usize::MAX - 7] {
        println!(
            "{address:#x}: write {:?} read {:?} stat {:?} pipe {:?}",
            call!(write(1, address as *const _, 8)),
            raw!(libc::SYS_getcwd, address, 100),
            raw!(libc::SYS_newfstatat, libc::AT_FDCWD, address, address, 0),
            raw!(libc::SYS_pipe2, address, 0)
        );
    }
}

fn memfd_seals() {
    let descriptor = call!(memfd_create(c"x".as_ptr(), libc::MFD_ALLOW_SEALING)).unwrap_or(-1) as i32;
    println!("{:?}", call!(ftruncate(descriptor, 8192)));
    println!("{:?}", call!(fcntl(descriptor, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)));
    println!("{:?} {:?}", call!(ftruncate(descriptor, 4096)), call!(ftruncate(descriptor, 16384)));
    println!("{:?}", call!(fcntl(descriptor, libc::F_GET_SEALS)));
    println!("{:?}", call!(fcntl(descriptor, libc::F_ADD_SEALS, libc::F_SEAL_WRITE)));
    println!(
        "{:?} {:?}",
        call!(write(descriptor, c"a".as_ptr().cast(), 1)),
        worked(mmap_result(0, PAGE, RW, MAP_SHARED, descriptor, 0))
    );
    // Sealed against writing, a file is still shared for reading, and stays so.
    for seal in [libc::F_SEAL_WRITE, libc::F_SEAL_FUTURE_WRITE] {
        let sealed = call!(memfd_create(c"y".as_ptr(), libc::MFD_ALLOW_SEALING)).unwrap_or(-1) as i32;
        println!("{:?} {:?}", call!(ftruncate(sealed, 8192)), call!(fcntl(sealed, libc::F_ADD_SEALS, seal)));
        println!("private {:?}", worked(mmap_result(0, PAGE, RW, libc::MAP_PRIVATE, sealed, 0)));
        println!("shared {:?}", worked(mmap_result(0, PAGE, RW, MAP_SHARED, sealed, 0)));
        let shared = mmap_result(0, PAGE, PROT_READ, MAP_SHARED, sealed, 0);
        println!("to read {:?}", worked(shared));
        let address = shared.unwrap_or(0) as usize as *mut libc::c_void;
        println!("then to write {:?}", call!(mprotect(address, PAGE, RW)));
        println!("unmapped {:?}", call!(munmap(address, PAGE)));
    }
}

fn many_areas() {
    let memory = reserve(2000);
    for page in (0..2000).step_by(2) {
        assert_eq!(call!(mprotect(memory.add(page * PAGE).cast(), PAGE, PROT_READ)), Ok(0));
    }
    println!("{}", areas(memory, 2000).len());
    println!("{:?}", call!(mprotect(memory.cast(), 2000 * PAGE, RW)));
    println!("{:?}", areas(memory, 2000));
}

fn grandchild_copies() {
    let memory = private(4);
    unsafe { *memory = 1 };
    let shared = map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    println!(
        "{}",
        in_child(|| {
            unsafe { *memory += 1 };
            println!(
                "{}",
                in_child(|| {
                    unsafe {
                        *memory += 1;
                        *shared = *memory
                    };
                    0
                })
            );
            unsafe { i32::from(*memory) * 10 + i32::from(*shared) }
        })
    );
    println!("{} {}", unsafe { *memory }, unsafe { *shared });
}

/// Memory that is populated at once may be mapped in larger pieces than pages: whatever changes one page leaves its neighbours alone.
fn populated_pages() {
    const PAGES: usize = 256;
    let memory = map(PAGES * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
    let at = |page: usize| memory.wrapping_add(page * PAGE);
    let mark = |page: usize| page as u8 ^ 0x5a;
    let wrong = |expected: &dyn Fn(usize) -> Option<u8>| {
        let pages = (0..PAGES).filter_map(|page| expected(page).map(|byte| (page, byte)));
        pages.filter(|&(page, byte)| unsafe { at(page).read_volatile() } != byte).count()
    };
    println!("{} not zero", wrong(&|_| Some(0)));
    (0..PAGES).for_each(|page| unsafe { at(page).write_volatile(mark(page)) });
    println!(
        "{}",
        in_child(|| {
            let inherited = wrong(&|page| Some(mark(page)));
            (0..PAGES).step_by(3).for_each(|page| unsafe { at(page).write_volatile(1) });
            let own = wrong(&|page| Some(if page % 3 == 0 { 1 } else { mark(page) }));
            i32::from(inherited + own != 0)
        })
    );
    println!("{} changed by the child", wrong(&|page| Some(mark(page))));
    // A hole, a page that was given back, one that cannot be written, one that moved.
    println!("{:?}", check(unsafe { libc::munmap(at(37).cast(), PAGE) }.into()));
    println!("{:?}", check(unsafe { libc::madvise(at(70).cast(), PAGE, MADV_DONTNEED) }.into()));
    println!("{:?}", check(unsafe { libc::mprotect(at(100).cast(), PAGE, PROT_READ) }.into()));
    let moved = unsafe { libc::mremap(at(133).cast(), PAGE, PAGE, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, at(37)) };
    println!("{}", moved.cast() == at(37));
    let expected = |page: usize| match page {
        37 => Some(mark(133)),
        70 => Some(0),
        133 => None,
        _ => Some(mark(page)),
    };
    println!("{} wrong", wrong(&expected));
    for page in [100, 133] {
        println!(
            "{}",
            in_child(|| {
                unsafe { at(page).write_volatile(1) };
                0
            })
        );
    }
    println!(
        "{}",
        in_child(|| {
            unsafe { at(101).write_volatile(2) };
            i32::from(wrong(&|page| if page == 101 { Some(2) } else { expected(page) }) != 0)
        })
    );
    println!("{} wrong", wrong(&expected));
    println!("{:?}", check(unsafe { libc::munmap(memory.cast(), PAGES * PAGE) }.into()));
}
