//! Memory policies and moving pages. The transcripts depend on how many nodes the machine has; with one, everything that can be asked still has an answer.

use crate::raw;
use crate::runner::{Case, in_child};
use crate::system::{self, Mapping, Must, Outcome, PAGE};
use std::thread;

pub(super) const CASES: &[Case] = &[
    ("numa/modes", modes),
    ("numa/masks", masks),
    ("numa/questions", questions),
    ("numa/areas", areas),
    ("numa/area-errors", area_errors),
    ("numa/misplaced-pages", misplaced),
    ("numa/shared-memory", shared_memory),
    ("numa/homes", homes),
    ("numa/inheritance", inheritance),
    ("numa/listing", listing),
    ("numa/where-pages-are", where_pages_are),
    ("numa/moving", moving),
    ("numa/moving-what-others-have", moving_common),
    ("numa/migration", migration),
    ("numa/permission", permission),
    ("numa/interleaving", interleaving),
];

const DEFAULT: i32 = 0;
const PREFERRED: i32 = 1;
const BIND: i32 = 2;
const INTERLEAVE: i32 = 3;
const LOCAL: i32 = 4;
const PREFERRED_MANY: i32 = 5;
const STATIC: i32 = 1 << 15;
const RELATIVE: i32 = 1 << 14;
const BALANCING: i32 = 1 << 13;
/// Bits of the masks, and one more, as the calls count.
const BITS: usize = 65;

const OF_NODE: i32 = 1;
const OF_ADDRESS: i32 = 2;
const ALLOWED: i32 = 4;

const STRICT: u32 = 1;
const MOVE: u32 = 2;
const MOVE_ALL: u32 = 4;

fn set(mode: i32, nodes: u64) -> Outcome {
    raw!(libc::SYS_set_mempolicy, mode, &nodes, BITS)
}

/// Mode and nodes of the thread, or of an address.
fn get(address: usize) -> Result<(i32, u64), system::Errno> {
    let (mut mode, mut nodes) = (-1, u64::MAX);
    let flags = if address == 0 { 0 } else { OF_ADDRESS };
    raw!(libc::SYS_get_mempolicy, &mut mode, &mut nodes, BITS, address, flags)?;
    Ok((mode, nodes))
}

fn node_of(address: usize) -> Result<i32, system::Errno> {
    let mut node = -1;
    raw!(libc::SYS_get_mempolicy, &mut node, 0, 0, address, OF_NODE | OF_ADDRESS)?;
    Ok(node)
}

fn allowed() -> u64 {
    let mut nodes = 0u64;
    raw!(libc::SYS_get_mempolicy, 0, &mut nodes, BITS, 0, ALLOWED).must();
    nodes
}

/// The last node that has memory.
fn last() -> i32 {
    63 - allowed().leading_zeros() as i32
}

fn bind(start: usize, length: usize, mode: i32, nodes: u64, flags: u32) -> Outcome {
    raw!(libc::SYS_mbind, start, length, mode, &nodes, BITS, flags)
}

fn modes() {
    for (mode, nodes) in [
        (DEFAULT, 0),
        (DEFAULT, 1),
        (DEFAULT | STATIC, 0),
        (PREFERRED, 1),
        (PREFERRED, 0),
        (PREFERRED | STATIC, 0),
        (PREFERRED | STATIC, 1),
        (PREFERRED | RELATIVE, 0b10_0000),
        (BIND, 1),
        (BIND, 0),
        (BIND, 1 << 63),
        (BIND, 1 | 1 << 63),
        (BIND | STATIC, 1 | 1 << 62),
        (BIND | RELATIVE, 0b100),
        (BIND | STATIC | RELATIVE, 1),
        (BIND | BALANCING, 1),
        (BIND | BALANCING | STATIC, 1),
        (INTERLEAVE, u64::MAX),
        (INTERLEAVE, 0),
        (INTERLEAVE | BALANCING, 1),
        (INTERLEAVE | RELATIVE, u64::MAX),
        (LOCAL, 0),
        (LOCAL, 1),
        (LOCAL | STATIC, 0),
        (PREFERRED_MANY, 1),
        (PREFERRED_MANY, 0),
        (PREFERRED_MANY | RELATIVE, 1),
        (7, 1),
        (100, 1),
        (-1, 1),
        (BIND | 0x100, 1),
        (DEFAULT, 0),
    ] {
        println!("{mode:#x} {nodes:#x} {:?} {:x?}", set(mode, nodes), get(0));
    }
}

fn masks() {
    let mut nodes = [1u64, 0, 0, 0];
    for maximum in [0u64, 1, 2, 3, 17, 18, 64, 65, 66, 129, 1025] {
        println!("{maximum} {:?} {:x?}", raw!(libc::SYS_set_mempolicy, BIND, &nodes[..], maximum), get(0));
        let _ = set(DEFAULT, 0);
    }
    nodes[1] = 1;
    for maximum in [64u64, 65, 66, 129] {
        println!("high {maximum} {:?} {:x?}", raw!(libc::SYS_set_mempolicy, BIND, &nodes[..], maximum), get(0));
        let _ = set(DEFAULT, 0);
    }
    let large = Mapping::private(3);
    large.write_word(0, 1);
    for maximum in [1026usize, 8 * PAGE, 8 * PAGE + 1, 8 * PAGE + 2] {
        println!("{maximum} {:?}", raw!(libc::SYS_set_mempolicy, BIND, large.start(), maximum));
    }
    large.write_word(PAGE - 8, 1 << 62);
    for maximum in [8 * PAGE - 1, 8 * PAGE, 8 * PAGE + 1] {
        println!("far {maximum} {:?}", raw!(libc::SYS_set_mempolicy, BIND, large.start(), maximum));
    }
    println!("{:?}", raw!(libc::SYS_set_mempolicy, BIND, 0, BITS));
    println!("{:?}", raw!(libc::SYS_set_mempolicy, DEFAULT, 0, BITS));
    println!("{:?}", raw!(libc::SYS_set_mempolicy, PREFERRED, 0, 0));
    println!("{:?}", raw!(libc::SYS_set_mempolicy, BIND, 8, BITS));
    println!("{:?}", raw!(libc::SYS_set_mempolicy, BIND, usize::MAX - 6, BITS));
    // Checked in this order.
    println!("{:?}", raw!(libc::SYS_set_mempolicy, 77, 8, BITS));
    println!("{:?}", raw!(libc::SYS_set_mempolicy, LOCAL, 8, BITS));
}

fn questions() {
    let memory = Mapping::private(2);
    println!("{:?} {:?}", get(0), get(memory.start()));
    let mut mode = 77;
    for flags in [OF_NODE, OF_NODE | ALLOWED, OF_ADDRESS | ALLOWED, 8, -1] {
        let outcome = raw!(libc::SYS_get_mempolicy, &mut mode, 0, 0, memory.start(), flags);
        println!("{flags:#x} {outcome:?} {mode}");
    }
    println!("{:?}", raw!(libc::SYS_get_mempolicy, 0, 0, 0, memory.start(), 0));
    println!("{:?}", raw!(libc::SYS_get_mempolicy, 0, 0, 0, 0, 0));
    println!("{:?}", raw!(libc::SYS_get_mempolicy, 0, 0, 0, 0, OF_NODE));
    println!("{:?}", raw!(libc::SYS_get_mempolicy, 8, 0, 0, 0, 0));
    println!("{:?}", raw!(libc::SYS_get_mempolicy, 0, 8, BITS, 0, 0));
    println!("{:?}", get(8));
    for maximum in [0usize, 1, 2, 64, 65, 66, 129, 193] {
        let mut wide = [u64::MAX; 4];
        let outcome = raw!(libc::SYS_get_mempolicy, 0, &mut wide[..], maximum, 0, ALLOWED);
        println!("{maximum} {outcome:?} {:?}", wide.map(|word| word == u64::MAX));
    }
    for maximum in [8 * PAGE, 8 * PAGE + 1, 8 * PAGE + 2] {
        let large = Mapping::private(2);
        println!("{maximum} {:?}", raw!(libc::SYS_get_mempolicy, 0, large.start(), maximum, 0, ALLOWED));
    }
    println!("{:?} {:?}", set(INTERLEAVE, u64::MAX), raw!(libc::SYS_get_mempolicy, &mut mode, 0, 0, 0, OF_NODE));
    println!("{}", 0 <= mode && mode <= last());
    println!("{:?} {:?}", set(BIND, 1), raw!(libc::SYS_get_mempolicy, &mut mode, 0, 0, 0, OF_NODE));
    // The page of zeros is where the kernel has put it.
    println!("{} {:?}", node_of(memory.start()).is_ok(), node_of(8));
    println!("{:?}", bind(memory.start(), memory.length(), BIND, 1, 0));
    memory.write(PAGE, 1);
    println!("{:?}", node_of(memory.at(PAGE)));
}

/// Which of the pages have another policy than the one before.
fn show_policies(memory: &Mapping) {
    let pages = memory.length() / PAGE;
    let told: Vec<String> = (0..pages).map(|page| format!("{:x?}", get(memory.at(page * PAGE)))).collect();
    let mut text = String::new();
    for (page, one) in told.iter().enumerate() {
        if page == 0 || told.get(page - 1) != Some(one) {
            text += &format!(" {page}: {one}");
        }
    }
    println!("{}", text.trim_start());
}

fn areas() {
    let memory = Mapping::private(8);
    println!("{:?}", bind(memory.at(2 * PAGE), 3 * PAGE, BIND, 1, 0));
    show_policies(&memory);
    println!("{:?}", bind(memory.at(3 * PAGE), PAGE, INTERLEAVE | STATIC, 1 | 1 << 60, 0));
    show_policies(&memory);
    println!("{:?}", bind(memory.at(PAGE), 3 * PAGE, PREFERRED, 0, 0));
    show_policies(&memory);
    // The last byte's page counts.
    println!("{:?}", bind(memory.at(6 * PAGE), 1, LOCAL, 0, 0));
    show_policies(&memory);
    println!("{:?}", memory.protect(5 * PAGE, 2 * PAGE, libc::PROT_READ));
    show_policies(&memory);
    println!("{:?}", memory.protect(5 * PAGE, 2 * PAGE, system::READ_WRITE));
    println!("{:?}", bind(memory.start(), memory.length(), DEFAULT, 0, 0));
    show_policies(&memory);
    println!("{:?}", bind(memory.start(), memory.length(), PREFERRED_MANY, 1, 0));
    println!("{:?}", set(BIND, 1));
    let memory = memory.remap(16 * PAGE, libc::MREMAP_MAYMOVE);
    show_policies(&memory);
    println!(
        "{}",
        in_child(|| {
            show_policies(&memory);
            println!("{:?}", bind(memory.start(), memory.length(), DEFAULT, 0, 0));
            0
        })
    );
    show_policies(&memory);
    let other = Mapping::private(1);
    println!("{:?} {:?}", get(other.start()), get(0));
}

fn area_errors() {
    let memory = Mapping::private(4);
    let (start, length) = (memory.start(), memory.length());
    for flags in [8, 16, 0x8000_0000] {
        println!("{flags:#x} {:?}", bind(start, length, BIND, 1, flags));
    }
    println!("{:?} {:?}", bind(start + 1, PAGE, BIND, 1, 0), bind(start + 1, 0, 77, 1, 0));
    println!("{:?} {:?}", bind(start, 0, BIND, 0, 0), bind(start, 0, BIND, 1 << 63, 16));
    println!("{:?} {:?}", bind(start, length, BIND, 0, 0), bind(start, length, BIND, 1 << 63, 0));
    println!("{:?} {:?}", bind(start, usize::MAX - PAGE, BIND, 1, 0), bind(start, usize::MAX, BIND, 1, 0));
    println!("{:?}", raw!(libc::SYS_mbind, start, length, BIND, 8, BITS, 0));
    println!("{:?}", raw!(libc::SYS_mbind, start + 1, length, BIND, 8, BITS, 16));
    println!("{:?}", raw!(libc::SYS_mbind, start, length, DEFAULT, 0, 0, 0));
    println!("{:?}", memory.unmap(PAGE, PAGE));
    println!("{:?} {:?}", bind(start, length, BIND, 1, 0), get(start));
    println!("{:?} {:?}", bind(start + PAGE, length - PAGE, BIND, 1, 0), bind(start + PAGE, PAGE, BIND, 1, 0));
    println!("{:?}", bind(start + 2 * PAGE, 64 * PAGE, BIND, 1, 0).is_err());
    println!("{:?} {:?}", bind(start, length, DEFAULT, 0, 0), bind(start + PAGE, PAGE, DEFAULT, 0, 0));
    println!("{:?} {:?}", bind(start, PAGE, BIND, 1, 0), get(start));
}

fn misplaced() {
    let far = 1u64 << last();
    let memory = Mapping::private(4);
    println!("{:?}", bind(memory.start(), memory.length(), BIND, 1, STRICT));
    memory.fill(7);
    println!("{:?}", bind(memory.start(), memory.length(), BIND, 1, STRICT));
    println!("{:?} {:x?}", bind(memory.start(), memory.length(), BIND, far, STRICT), get(memory.start()));
    println!("{:?}", bind(memory.start(), memory.length(), BIND, far, 0));
    println!("{:?}", node_of(memory.start()));
    println!("{:?}", bind(memory.start(), memory.length(), BIND, far, MOVE | STRICT));
    println!("{:?} {}", node_of(memory.start()), (0..memory.length()).all(|offset| memory.read(offset) == 7));
    println!("{:?}", bind(memory.start(), memory.length(), DEFAULT, 0, STRICT));
    println!("{:?}", bind(memory.start(), memory.length(), BIND, 1, MOVE_ALL));
    println!("{:?} {}", node_of(memory.start()), (0..memory.length()).all(|offset| memory.read(offset) == 7));
}

fn shared_memory() {
    let memory = Mapping::shared(6);
    println!("{:?}", bind(memory.at(PAGE), 2 * PAGE, BIND, 1 << last(), 0));
    show_policies(&memory);
    println!(
        "{}",
        in_child(|| {
            show_policies(&memory);
            memory.fill(3);
            println!("{:?}", bind(memory.at(2 * PAGE), 2 * PAGE, LOCAL, 0, 0));
            0
        })
    );
    show_policies(&memory);
    println!("{:?} {}", node_of(memory.at(PAGE)), memory.read(2 * PAGE));
    println!("{:?}", bind(memory.start(), memory.length(), DEFAULT, 0, MOVE));
    show_policies(&memory);
}

fn home(start: usize, length: usize, node: u64, flags: u64) -> Outcome {
    raw!(450i64, start, length, node, flags)
}

fn homes() {
    let memory = Mapping::private(6);
    let start = memory.start();
    println!("{:?}", home(start, PAGE, 0, 0));
    println!("{:?}", bind(start, 2 * PAGE, BIND, 1, 0));
    println!("{:?}", home(start, PAGE, 0, 0));
    show_policies(&memory);
    println!("{:?} {:?} {:?}", home(start + 1, PAGE, 0, 0), home(start, PAGE, 0, 1), home(start, PAGE, 1000, 0));
    println!("{:?} {:?}", home(start, PAGE, 63, 0), home(start, PAGE, u64::MAX, 0));
    println!(
        "{:?} {:?} {:?}",
        home(start, 0, 0, 0),
        home(start, usize::MAX, 0, 0),
        home(start, usize::MAX - PAGE, 0, 0)
    );
    println!("{:?}", bind(start + 3 * PAGE, PAGE, INTERLEAVE, 1, 0));
    println!("{:?}", home(start, 6 * PAGE, 0, 0));
    println!("{:?} {:?}", home(start + 4 * PAGE, PAGE, 0, 0), home(start + 3 * PAGE, PAGE, 0, 0));
    println!("{:?}", bind(start + 3 * PAGE, PAGE, PREFERRED_MANY | STATIC, 1, 0));
    println!("{:?}", home(start, 6 * PAGE, 0, 0));
    show_policies(&memory);
}

fn inheritance() {
    println!("{:?}", set(INTERLEAVE | STATIC, 1 | 1 << 50));
    println!(
        "{}",
        in_child(|| {
            println!("{:x?}", get(0));
            println!("{:?} {:x?}", set(LOCAL, 0), get(0));
            0
        })
    );
    println!("{:x?}", get(0));
    let own = thread::spawn(|| {
        println!("{:x?}", get(0));
        println!("{:?}", set(BIND, 1));
        thread::spawn(|| println!("{:x?}", get(0))).join().is_ok()
    });
    println!("{:?} {:x?}", own.join().ok(), get(0));
}

/// What the list says of the area at `address`, from its policy to `mapmax`.
fn listed(address: usize) -> String {
    let text = std::fs::read_to_string("/proc/self/numa_maps").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{address:08x} "))).unwrap_or("none");
    // What is active and how many map it depends on what else runs.
    line.split(' ')
        .filter(|word| !word.starts_with("active") && !word.starts_with("mapmax"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn listing() {
    let memory = Mapping::apart(8);
    println!("{}", listed(memory.start()));
    for (mode, nodes) in [
        (PREFERRED, 1),
        (PREFERRED, 0),
        (PREFERRED | STATIC, 1),
        (BIND, 1),
        (BIND | RELATIVE, 0b10),
        (BIND | BALANCING, 1),
        (INTERLEAVE, 1),
        (INTERLEAVE | STATIC, 1 | 1 << 40),
        (LOCAL, 0),
        (PREFERRED_MANY, 1),
    ] {
        println!("{:?} {}", bind(memory.start(), memory.length(), mode, nodes, 0), listed(memory.start()));
    }
    println!("{:?}", bind(memory.start(), memory.length(), BIND, 1 << last(), 0));
    memory.write(0, 1);
    memory.write(PAGE, 1);
    println!("{} {}", memory.read(2 * PAGE), listed(memory.start()));
    println!("{:?} {:?}", bind(memory.start(), memory.length(), DEFAULT, 0, 0), set(PREFERRED, 1));
    println!("{}", listed(memory.start()));
    let shared = Mapping::shared(3);
    println!("{:?}", bind(shared.start(), shared.length(), BIND, 1, 0));
    shared.write(PAGE, 1);
    println!("{:?} {}", bind(shared.start(), 2 * PAGE, LOCAL, 0, 0), listed(shared.start()));
    println!("{}", listed(shared.at(2 * PAGE)));
}

/// `move_pages` with so many pages; the outcome and the statuses.
fn move_pages(process: i32, pages: &[usize], nodes: Option<&[i32]>, flags: u32) -> String {
    let mut statuses = vec![1000; pages.len()];
    let outcome = raw!(libc::SYS_move_pages, process, pages.len(), pages, nodes, &mut statuses[..], flags);
    format!("{outcome:?} {statuses:?}")
}

fn where_pages_are() {
    let memory = Mapping::private(4);
    println!("{:?}", bind(memory.start(), memory.length(), BIND, 1, 0));
    memory.write(0, 1);
    println!("{}", memory.read(PAGE));
    let pages = [memory.start() + 5, memory.at(PAGE), memory.at(2 * PAGE), 8, 0];
    println!("{}", move_pages(0, &pages, None, MOVE));
    println!("{}", move_pages(system::getpid(), &pages, None, 0));
    let shared = Mapping::shared(4);
    println!("{:?}", bind(shared.start(), shared.length(), BIND, 1, 0));
    shared.write(0, 1);
    println!(
        "{}",
        in_child(|| {
            shared.write(PAGE, 1);
            0
        })
    );
    let pages: Vec<usize> = (0..4).map(|page| shared.at(page * PAGE)).collect();
    println!("{}", move_pages(0, &pages, None, 0));
    println!("{:?}", raw!(libc::SYS_move_pages, 0, 0, 0, 0, 0, 0));
    println!("{:?}", raw!(libc::SYS_move_pages, 0, 1, 0, 0, 0, 0));
    println!("{:?}", raw!(libc::SYS_move_pages, 0, 1, 8, 0, 0, 0));
    println!("{:?}", raw!(libc::SYS_move_pages, 0, 1, &pages[..], 0, 8, 0));
    for flags in [1, 8, 16, -1] {
        println!("{:?}", raw!(libc::SYS_move_pages, 0, 0, 0, 0, 0, flags));
    }
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_move_pages, -1, 0, 0, 0, 0, 0),
        raw!(libc::SYS_move_pages, 1 << 22, 0, 0, 0, 0, 0)
    );
}

fn moving() {
    let (far, memory) = (last(), Mapping::private(5));
    (0..3).for_each(|page| memory.write_word(page * PAGE + 16, page as u64 + 100));
    println!("{}", memory.read(3 * PAGE));
    let pages: Vec<usize> = (0..5).map(|page| memory.at(page * PAGE)).collect();
    println!("{}", move_pages(0, &pages, Some(&[0; 5]), MOVE));
    println!("{}", move_pages(0, &pages, Some(&[far; 5]), MOVE));
    println!("{}", move_pages(0, &pages, None, 0));
    println!("{}", move_pages(0, &pages[..3], Some(&[0, far, 0]), MOVE_ALL));
    println!("{:?}", (0..3).map(|page| memory.read_word(page * PAGE + 16)).collect::<Vec<_>>());
    println!("{}", move_pages(0, &pages[..2], Some(&[far, 63]), MOVE));
    println!("{}", move_pages(0, &pages[..2], Some(&[0, -1]), MOVE));
    println!("{}", move_pages(0, &pages[..1], Some(&[far]), 0));
    println!("{}", move_pages(0, &[8, pages[0], pages[0], pages[1]], Some(&[far; 4]), MOVE));
    println!("{:?}", raw!(libc::SYS_move_pages, 0, 1, &pages[..], 8, 8, MOVE));
    println!("{:?}", raw!(libc::SYS_move_pages, 0, 1, &pages[..], &[0i32][..], 8, MOVE));
    println!("{:?}", (0..3).map(|page| memory.read_word(page * PAGE + 16)).collect::<Vec<_>>());
}

fn moving_common() {
    // A copy is made on the node of the processor that writes: the first.
    let _ = raw!(libc::SYS_sched_setaffinity, 0, 8, &[1u64][..]);
    let far = last();
    let (private, shared) = (Mapping::private(2), Mapping::shared(2));
    for memory in [&private, &shared] {
        (0..2).for_each(|page| memory.write_word(page * PAGE, page as u64 + 5));
        let pages = [memory.at(0), memory.at(PAGE)];
        println!("{}", move_pages(0, &pages, Some(&[0; 2]), MOVE));
        // One pipe each way: who writes and reads the same one may read what it has written.
        let [reader, writer] = system::pipe();
        let [child_reader, child_writer] = system::pipe();
        let child = system::fork(|| {
            let words = [memory.read_word(0), memory.read_word(PAGE)];
            let _ = system::write(writer, b".");
            let _ = system::read(child_reader, &mut [0]);
            // Wait until the parent has moved them.
            while memory.read_word(PAGE) != 99 && std::ptr::eq(memory, &shared) {
                thread::yield_now();
            }
            i32::from(words != [5, 6] || memory.read_word(0) != 5)
        });
        let _ = system::read(reader, &mut [0]);
        println!("{}", move_pages(0, &pages, Some(&[far; 2]), MOVE));
        println!("{}", move_pages(0, &pages, Some(&[far; 2]), MOVE_ALL));
        println!("{:?}", [memory.read_word(0), memory.read_word(PAGE)]);
        memory.write_word(PAGE, 99);
        let _ = system::write(child_writer, b".");
        let mut status = 0;
        println!("{} {status}", system::waitpid(child, &mut status, 0) == Ok(child));
        println!("{} {}", memory.read_word(0), memory.read_word(PAGE));
        println!("{}", move_pages(0, &pages, None, 0));
        for descriptor in [reader, writer, child_reader, child_writer] {
            let _ = system::close(descriptor);
        }
    }
}

fn migrate(process: i32, from: u64, to: u64) -> Outcome {
    raw!(libc::SYS_migrate_pages, process, BITS, &from, &to)
}

fn migration() {
    let (far, memory) = (1u64 << last(), Mapping::private(64));
    println!("{:?}", bind(memory.start(), memory.length(), PREFERRED, 1, 0));
    memory.fill(9);
    println!("{:?} {:?}", migrate(0, 1, far), node_of(memory.start()));
    println!("{}", (0..memory.length()).all(|offset| memory.read(offset) == 9));
    println!("{:?} {:?}", migrate(0, far, 1), node_of(memory.start()));
    println!("{:?} {:?} {:?}", migrate(0, 1, 0), migrate(0, 0, 1), migrate(0, 1, 1 << 63));
    println!("{:?} {:?}", migrate(0, u64::MAX, 1), migrate(0, 1 << 63, 1));
    println!("{:?} {:?}", migrate(-1, 1, 1), migrate(1 << 22, 1, 1));
    println!("{:?}", raw!(libc::SYS_migrate_pages, 0, BITS, 8, &1u64));
    println!("{:?}", raw!(libc::SYS_migrate_pages, 0, BITS, &1u64, 8));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_migrate_pages, 0, BITS, 0, &1u64),
        raw!(libc::SYS_migrate_pages, 0, BITS, &1u64, 0)
    );
    println!("{:?}", raw!(libc::SYS_migrate_pages, 0, 0, &1u64, &1u64));
    println!("{:?}", raw!(libc::SYS_migrate_pages, -1, BITS, 8, 8));
    let child = system::fork_idle();
    println!("{:?} {:?}", migrate(child, 1, far), migrate(child, far, 1));
    println!("{:?}", system::kill(child, libc::SIGKILL));
    println!("{}", (0..memory.length()).all(|offset| memory.read(offset) == 9));
}

fn permission() {
    let memory = Mapping::private(1);
    memory.write(0, 1);
    let page = [memory.start()];
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", system::setuid(1000));
            println!("{:?} {:?}", bind(page[0], PAGE, BIND, 1, MOVE_ALL), bind(page[0] + 1, PAGE, BIND, 1, MOVE_ALL));
            println!("{:?}", bind(page[0], PAGE, BIND, 1, MOVE_ALL | 16));
            println!("{}", move_pages(0, &page, Some(&[0]), MOVE_ALL));
            println!("{}", move_pages(-1, &page, None, MOVE_ALL));
            println!("{}", move_pages(1, &page, None, MOVE));
            println!("{:?} {:?} {:?}", migrate(1, 1, 1), migrate(0, 1, 1), migrate(0, 1, 1 | 1 << 63));
            println!("{:?} {:?}", set(BIND, 1), get(0));
            0
        })
    );
}

fn interleaving() {
    let memory = Mapping::apart(8);
    println!("{:?}", bind(memory.start(), memory.length(), INTERLEAVE, u64::MAX, 0));
    memory.fill(1);
    let nodes: Vec<i32> = (0..8).filter_map(|page| node_of(memory.at(page * PAGE)).ok()).collect();
    let count = last() + 1;
    // Neighbours are on neighbouring nodes, and the last is followed by the first.
    println!("{}", nodes.windows(2).all(|pair| (pair[0] + 1) % count == pair[1]));
    let one = Mapping::private(2);
    println!("{:?}", bind(one.start(), one.length(), PREFERRED, 1 << last(), 0));
    one.fill(1);
    println!("{:?}", node_of(one.start()));
}
