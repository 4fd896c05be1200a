//! What malformed arguments come to, for every operation.

use crate::raw;
use crate::system::{self, Mapping};
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ};

/// Operations by name; those that could sleep have a time in the past, or end at once.
const OPERATIONS: &[(&str, i32)] = &[
    ("wait", 0),
    ("wake", 1),
    ("fd", 2),
    ("requeue", 3),
    ("cmp-requeue", 4),
    ("wake-op", 5),
    ("lock-pi", 6),
    ("unlock-pi", 7),
    ("trylock-pi", 8),
    ("wait-bitset", 9),
    ("wake-bitset", 10),
    ("wait-requeue-pi", 11),
    ("cmp-requeue-pi", 12),
    ("lock-pi2", 13),
    ("unknown", 14),
];

/// Whether the fourth argument is a time.
const fn has_time(operation: i32) -> bool {
    matches!(operation & 0x7f, 0 | 6 | 9 | 11 | 13)
}

pub(super) fn errors() {
    let own = Mapping::private(1);
    let other = Mapping::private(1);
    // The number of no thread.
    own.word(0).store(0x3fff_fffe, std::sync::atomic::Ordering::SeqCst);
    let read_only = Mapping::anonymous(1, PROT_READ, MAP_PRIVATE);
    let shared = Mapping::anonymous(1, PROT_READ, MAP_SHARED);
    let hidden = Mapping::anonymous(1, PROT_NONE, MAP_PRIVATE);
    let addresses: &[(&str, usize)] = &[
        ("own", own.start()),
        ("unaligned", own.start() + 2),
        ("null", 0),
        ("nothing", 0x1000),
        ("read-only", read_only.start()),
        ("shared read-only", shared.start()),
        ("hidden", hidden.start()),
        ("kernel", 0xffff_8000_0000_0000),
        ("last", 0xffff_ffff_ffff_fffc),
    ];
    let past = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let time = std::ptr::from_ref(&past).expose_provenance();
    for (kind, flag) in [("private", 128), ("shared", 0)] {
        for (name, address) in addresses {
            println!("{kind} {name}");
            for (operation, code) in OPERATIONS {
                let fourth = if has_time(*code) { time } else { 0 };
                let first = raw!(libc::SYS_futex, *address, code | flag, 1, fourth, other.start(), 0);
                let second = raw!(libc::SYS_futex, other.start(), code | flag, 1, fourth, *address, 0);
                println!("  {operation}: {first:?}, second: {second:?}");
            }
        }
    }
}

/// Words in a shared mapping of a file, in its last page, behind its end, and where it ended before it was cut.
pub(super) fn beyond_the_end() {
    let file = system::memfd_create(c"short", 0).unwrap_or(-1);
    let past = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let time = std::ptr::from_ref(&past).expose_provenance();
    let page = system::PAGE;
    let _ = system::ftruncate(file, i64::try_from(page).unwrap_or(0) / 2);
    for (name, protection, kind) in [
        ("shared", system::READ_WRITE, MAP_SHARED),
        ("shared read-only", PROT_READ, MAP_SHARED),
        ("private", system::READ_WRITE, MAP_PRIVATE),
    ] {
        let Ok(memory) = Mapping::new(3 * page, protection, kind, file) else { continue };
        for (place, offset) in
            [("inside", 0), ("in the last page", page - 4), ("behind", page), ("far behind", 3 * page - 4)]
        {
            for flag in [0, 128] {
                print!("{name} {place} {flag}:");
                for (operation, code) in OPERATIONS {
                    let fourth = if has_time(*code) { time } else { 0 };
                    let outcome = raw!(libc::SYS_futex, memory.at(offset), code | flag, 1, fourth, memory.start(), 0);
                    print!(" {operation} {outcome:?}");
                }
                println!();
            }
        }
        // The word's page goes while the mapping stays.
        let _ = system::ftruncate(file, 0);
        println!(
            "cut: {:?} {:?}",
            raw!(libc::SYS_futex, memory.start(), 0, 0, time),
            raw!(libc::SYS_futex, memory.start(), 1, 1)
        );
        let _ = system::ftruncate(file, i64::try_from(page).unwrap_or(0) / 2);
        println!(
            "grown: {:?} {:?}",
            raw!(libc::SYS_futex, memory.start(), 0, 0, time),
            raw!(libc::SYS_futex, memory.start(), 1, 1)
        );
    }
}

pub(super) fn times_and_counts() {
    let memory = Mapping::private(1);
    let word = memory.word(0);
    let second = memory.word(4);
    let times = [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, i64::MIN)]
        .map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    for (operation, code) in OPERATIONS.iter().filter(|(_, code)| has_time(*code)) {
        let with = |time: usize, flags: i32| {
            // Nothing sleeps: the word has another value, and as a lock's an owner that is not there.
            word.store(0x3fff_fffe, std::sync::atomic::Ordering::SeqCst);
            format!("{:?}", raw!(libc::SYS_futex, word, code | flags, 1, time, second, 1))
        };
        let results: Vec<String> =
            times.iter().map(|time| with(std::ptr::from_ref(time).expose_provenance(), 128)).collect();
        println!("{operation}: {} nowhere {}", results.join(" "), with(0x1000, 128));
        println!("  real time: {} nowhere {}", with(0, 128 | 256), with(0x1000, 128 | 256));
    }
    word.store(0, std::sync::atomic::Ordering::SeqCst);
    for (operation, code) in OPERATIONS.iter().filter(|(_, code)| !has_time(*code)) {
        let with =
            |wake: i32, other: i32| format!("{:?}", raw!(libc::SYS_futex, word, code | 128, wake, other, second, 0));
        println!("{operation}: {} {} {} {}", with(-1, 0), with(0, -1), with(0, 0), with(2, i32::MAX));
        println!("  real time: {:?}", raw!(libc::SYS_futex, word, code | 128 | 256, 1, 0, second, 0));
    }
    for code in [5u32 << 28, 6 << 24, 15 << 28, 0xffff_ffff, 8 << 28 | 33 << 12] {
        println!("{code:x}: {:?}", raw!(libc::SYS_futex, word, 5 | 128, 1, 1, second, code));
    }
    println!("bits beyond {:?}", raw!(libc::SYS_futex, word, 1 | 128 | 1 << 20, 1, 0, 0, 0));
}
