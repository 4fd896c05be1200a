//! Robust lists: what the kernel does with them when their thread ends, whatever they are.

use super::{OWNER_DIED, WAITERS};
use crate::raw;
use crate::runner::in_child;
use crate::system::{self, Mapping, Must, RobustMutex};
use std::sync::atomic::Ordering::SeqCst;

/// Bytes between an entry and its word.
const OFFSET: u64 = 8;
/// Where entry `index` is in the page; its word is behind it.
const fn place(index: usize) -> usize {
    256 + 16 * index
}

/// A list in shared memory, made and left by a child.
struct List {
    memory: Mapping,
}

impl List {
    fn new() -> Self {
        Self { memory: Mapping::shared(2) }
    }

    fn address(&self, index: usize) -> u64 {
        self.memory.at(place(index)) as u64
    }

    /// The words of the first entries after a child has ended whose list begins with `first`, has `pending` pending, whose words have
    /// its number, with what `words` adds to it, and whose entries lead to `next`.
    fn after(&self, first: u64, pending: u64, words: &[u32], next: &[u64]) -> String {
        let status = in_child(|| {
            let own = system::gettid().cast_unsigned();
            for (index, extra) in words.iter().enumerate() {
                self.memory.word(place(index) + 8).store(own ^ extra, SeqCst);
            }
            for (index, next) in next.iter().enumerate() {
                self.memory.write_word(place(index), *next);
            }
            self.memory.write_word(0, first);
            self.memory.write_word(8, OFFSET);
            self.memory.write_word(16, pending);
            if let Err(error) = raw!(libc::SYS_set_robust_list, self.memory.start(), 24) {
                println!("{error:?}");
            }
            0
        });
        let found = (0..words.len()).map(|index| {
            let word = self.memory.word(place(index) + 8).load(SeqCst);
            let owner = if word & super::OWNER == 0 { "free" } else { "held" };
            let waiters = if word & WAITERS == 0 { "" } else { "|waiters" };
            format!("{owner}{waiters}{}", if word & OWNER_DIED == 0 { "" } else { "|died" })
        });
        format!("{status}: {}", found.collect::<Vec<_>>().join(" "))
    }
}

pub(super) fn list() {
    let list = List::new();
    let head = list.memory.start() as u64;
    let at = |index| list.address(index);
    println!("empty {}", list.after(head, 0, &[0], &[head]));
    println!("three {}", list.after(at(0), 0, &[0, WAITERS, 0], &[at(1), at(2), head]));
    println!("another's in between {}", list.after(at(0), 0, &[0, 1 << 20, 0], &[at(1), at(2), head]));
    println!("pending {}", list.after(head, at(0), &[WAITERS, 0], &[head]));
    println!("pending and listed {}", list.after(at(0), at(1), &[0, 0, 0], &[at(1), at(2), head]));
    println!("with priority {}", list.after(at(0) | 1, at(2) | 1, &[0, WAITERS, WAITERS], &[at(1) | 1, head, head]));
    println!("died before {}", list.after(at(0), 0, &[OWNER_DIED | WAITERS], &[head]));
    for length in [0usize, 8, 23, 25, usize::MAX] {
        println!("length {length}: {:?}", raw!(libc::SYS_set_robust_list, head, length));
    }
    println!("anywhere {:?}", raw!(libc::SYS_set_robust_list, 0xffff_8000_0000_0000u64, 24));
}

pub(super) fn hostile() {
    let list = List::new();
    let head = list.memory.start() as u64;
    let at = |index| list.address(index);
    let (kernel, last) = (0xffff_8000_0000_0000, u64::MAX - 15);
    println!("a circle {}", list.after(at(0), 0, &[0, 0], &[at(1), at(0)]));
    println!("itself {}", list.after(at(0), at(1), &[0, 0], &[at(0)]));
    println!("the head as pending {}", list.after(at(0), head, &[0], &[head]));
    for (name, bad) in [("null", 0), ("nothing", 0x1000), ("kernel", kernel), ("last", last), ("odd", at(1) + 2)] {
        println!("{name} first {}", list.after(bad, at(0), &[0, 0], &[head, head]));
        println!("{name} next {}", list.after(at(0), at(2), &[0, 0, 0], &[bad, head]));
        println!("{name} pending {}", list.after(at(0), bad, &[0, 0], &[head, head]));
    }
    for (name, address) in [("null", 0), ("nothing", 0x1000), ("kernel", kernel), ("last", last), ("odd", head + 3)] {
        let status = in_child(|| {
            println!("{name} {:?}", raw!(libc::SYS_set_robust_list, address, 24));
            0
        });
        println!("{status}");
    }
    // The list ends at the end of what is mapped, and words that cannot be written.
    let half = Mapping::shared(2);
    let status = in_child(|| {
        half.protect(4096, 4096, libc::PROT_NONE).must();
        let _ = raw!(libc::SYS_set_robust_list, half.at(4096 - 16), 24);
        0
    });
    println!("{status}");
    let read_only = Mapping::shared(1);
    let status = in_child(|| {
        read_only.word(8).store(system::gettid().cast_unsigned(), SeqCst);
        read_only.protect(0, 4096, libc::PROT_READ).must();
        let memory = Mapping::private(1);
        memory.write_word(0, read_only.start() as u64);
        memory.write_word(8, OFFSET);
        let _ = raw!(libc::SYS_set_robust_list, memory.start(), 24);
        std::mem::forget(memory);
        0
    });
    println!("{status} {}", read_only.word(8).load(SeqCst) & OWNER_DIED);
}

/// `get_robust_list`.
pub(super) fn of_others() {
    let mut found = [0u64; 2];
    let ask = |pid: i32, found: &mut [u64; 2]| {
        let (head, length) = found.split_at_mut(1);
        raw!(libc::SYS_get_robust_list, pid, &mut head[0], &mut length[0])
    };
    println!("set {:?}", raw!(libc::SYS_set_robust_list, 0x1234_5670, 24));
    println!("own {:?} {found:x?}", ask(0, &mut found));
    println!("by number {:?} {found:x?}", ask(system::gettid(), &mut found));
    println!("nobody {:?} {:?}", ask(0x3fff_ffff, &mut found), ask(-1, &mut found));
    println!("nowhere {:?} {:?}", raw!(libc::SYS_get_robust_list, 0, 0, 0), {
        raw!(libc::SYS_get_robust_list, 0, 0x1000, &mut found[1])
    });
    let child = system::fork_idle();
    println!("a child's {:?} {}", ask(child, &mut found), found[1]);
    println!(
        "{}",
        in_child(|| {
            let mut found = [0; 2];
            let _ = raw!(libc::SYS_setresgid, 1000, 1000, 1000);
            let _ = raw!(libc::SYS_setresuid, 1000, 1000, 1000);
            println!("root's {:?}", ask(child, &mut found));
            println!("own {:?}", ask(system::gettid(), &mut found));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            let mut found = [0; 2];
            // The effective user alone does not count.
            let _ = raw!(libc::SYS_setresuid, 1000, 0, 0);
            let _ = raw!(libc::SYS_capset, &[0x2008_0522u32, 0][..], &[0u32; 6][..]);
            println!("root's by the effective user {:?}", ask(child, &mut found));
            0
        })
    );
    let _ = raw!(libc::SYS_kill, child, libc::SIGKILL);
    system::wait_for_all();
}

/// The C library's mutex, with both.
pub(super) fn mutex_with_priority() {
    let mutex = RobustMutex::with_protocol(libc::PTHREAD_PRIO_INHERIT);
    let ready = Mapping::shared(1);
    let first = system::fork(|| {
        let _ = mutex.lock();
        ready.word(0).store(1, SeqCst);
        let _ = system::usleep(300_000);
        0
    });
    while ready.word(0).load(SeqCst) == 0 {
        let _ = system::usleep(1000);
    }
    println!("{} while it is waited for", mutex.lock());
    println!("{} {}", mutex.make_consistent(), mutex.unlock());
    println!(
        "{}",
        in_child(|| {
            let _ = mutex.lock();
            0
        })
    );
    println!("{} with nobody waiting", mutex.lock());
    println!("{}", mutex.unlock());
    println!("{} not made consistent", mutex.lock());
    let mut status = 0;
    let _ = system::waitpid(first, &mut status, 0);
}
