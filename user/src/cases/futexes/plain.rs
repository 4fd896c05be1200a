//! Futexes without owners: whose turn it is, requeueing, words that several know by different addresses.

use super::{Actor, WAIT, WAKE, text};
use crate::raw;
use crate::runner::in_child;
use crate::system::{self, Mapping, Must};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::thread;

pub(super) fn order() {
    let word = AtomicU32::new(0);
    let woken = Mutex::new(Vec::new());
    let policies = [
        ("ordinary", libc::SCHED_OTHER, 0),
        ("fifo 5", libc::SCHED_FIFO, 5),
        ("second ordinary", libc::SCHED_OTHER, 0),
        ("rr 70", libc::SCHED_RR, 70),
        ("second fifo 5", libc::SCHED_FIFO, 5),
    ];
    thread::scope(|scope| {
        let (word, woken) = (&word, &woken);
        let actors = policies.map(|(name, policy, priority)| {
            let actor = Actor::new(scope, name);
            actor.set_policy(policy, priority);
            actor.start(move || {
                let outcome = raw!(libc::SYS_futex, word, WAIT, 0, 0);
                woken.lock().must().push(name);
                text(outcome)
            });
            actor.wait_until_asleep();
            actor
        });
        for count in 1..=actors.len() {
            println!("{:?}", raw!(libc::SYS_futex, word, WAKE, 1));
            while woken.lock().must().len() < count {
                let _ = system::usleep(1000);
            }
        }
        actors.into_iter().for_each(|actor| {
            println!("{}", actor.answer());
            actor.end();
        });
    });
    println!("{:?}", woken.into_inner().must());
}

pub(super) fn requeue() {
    const REQUEUE: i32 = libc::FUTEX_REQUEUE | libc::FUTEX_PRIVATE_FLAG;
    const CMP_REQUEUE: i32 = libc::FUTEX_CMP_REQUEUE | libc::FUTEX_PRIVATE_FLAG;
    let words = [AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)];
    thread::scope(|scope| {
        let words = &words;
        let actors = ["a", "b", "c", "d", "e"].map(|name| Actor::new(scope, name));
        actors.iter().for_each(|actor| actor.block(&words[0], WAIT));
        println!("none {:?}", raw!(libc::SYS_futex, &words[0], REQUEUE, 0, 0, &words[1], 0));
        println!("one moved {:?}", raw!(libc::SYS_futex, &words[0], REQUEUE, 0, 1, &words[1], 0));
        println!("one woken, one moved {:?}", raw!(libc::SYS_futex, &words[0], REQUEUE, 1, 1, &words[1], 0));
        println!("other value {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 1, 1, &words[1], 1));
        println!("onto itself {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 0, 9, &words[0], 0));
        println!("the rest {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 0, i32::MAX, &words[2], 0));
        println!("nowhere {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 0, 1, 0x1000, 0));
        println!("{:?}", words.each_ref().map(|word| raw!(libc::SYS_futex, word, WAKE, 9)));
        actors.into_iter().for_each(|actor| {
            println!("{}", actor.answer());
            actor.end();
        });
    });
}

/// A page of a file, at several addresses and in several processes.
pub(super) fn known_by_its_page() {
    let path = c"/tmp/futex-page";
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open("/tmp/futex-page");
    let file = file.must();
    file.set_len(8192).must();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    let map = |protection, kind| Mapping::new(4096, protection, kind, descriptor).must();
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let (first, second) = (map(writable, libc::MAP_SHARED), map(writable, libc::MAP_SHARED));
    let (look, own) = (map(libc::PROT_READ, libc::MAP_PRIVATE), map(writable, libc::MAP_PRIVATE));
    let read_only = map(libc::PROT_READ, libc::MAP_SHARED);
    for (name, flags) in [("shared", 0), ("private", libc::FUTEX_PRIVATE_FLAG)] {
        let status = in_child(|| {
            let time = libc::timespec { tv_sec: 20, tv_nsec: 0 };
            let waiter = thread::scope(|scope| {
                let actor = Actor::new(scope, "waiter");
                let place = first.start();
                let time = &time;
                actor.start(move || text(raw!(libc::SYS_futex, place, libc::FUTEX_WAIT | flags, 0, time)));
                actor.wait_until_asleep();
                let places = [
                    ("a copy", own.start()),
                    ("second mapping", second.start()),
                    ("to read alone", read_only.start()),
                    ("a copy to read alone", look.start()),
                    ("its own", first.start()),
                ];
                for (kind, place) in places {
                    // None is woken where it is another word.
                    let found = raw!(libc::SYS_futex, place, libc::FUTEX_REQUEUE | flags, 0, 1, place, 0);
                    println!("{name} {kind} {found:?}");
                }
                println!("{:?}", raw!(libc::SYS_futex, place, libc::FUTEX_WAKE | flags, 1));
                let answer = actor.answer();
                actor.end();
                answer
            });
            println!("{waiter}");
            0
        });
        println!("{status}");
    }
    let _ = system::unlink(path);
}

/// `futex_waitv`.
pub(super) fn several() {
    const NUMBER: i64 = 449;
    let words = [AtomicU32::new(1), AtomicU32::new(2)];
    let entry =
        |word: &AtomicU32, value: u64, flags: u32| [value, word.as_ptr().expose_provenance() as u64, u64::from(flags)];
    let call = |entries: &[[u64; 3]], flags: u32, time: usize, clock: i32| {
        let list: Vec<u64> = entries.concat();
        format!("{:?}", raw!(NUMBER, &list[..], entries.len(), flags, time, clock))
    };
    let past = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let past = std::ptr::from_ref(&past).expose_provenance();
    let good = [entry(&words[0], 1, 2 | 128), entry(&words[1], 2, 2 | 128)];
    println!("late {} {}", call(&good, 0, past, 0), call(&good, 0, past, 1));
    println!("flags {} clock {} {}", call(&good, 1, past, 0), call(&good, 0, past, 2), call(&good, 0, 0x1000, 7));
    println!("time {}", call(&good, 0, 0x1000, 1));
    println!("none {} list {:?}", call(&[], 0, past, 1), raw!(NUMBER, 0, 1, 0, past, 1));
    println!("list {:?} {:?}", raw!(NUMBER, 0x1000, 1, 0, past, 1), raw!(NUMBER, 0x1000, 129, 0, past, 1));
    println!("value {}", call(&[good[0], entry(&words[1], 3, 2 | 128)], 0, past, 1));
    for flags in [0, 1, 3, 128, 2 | 256, 2 | 4] {
        println!("kind {flags}: {}", call(&[entry(&words[0], 1, flags)], 0, past, 1));
    }
    println!("reserved {}", call(&[[1, good[0][1], 2 | 128 | 1 << 32]], 0, past, 1));
    println!("nowhere {} {}", call(&[[1, 0x1000, 2]], 0, past, 1), call(&[[1, 0x1000, 2 | 128]], 0, past, 1));
    println!("unaligned {}", call(&[[1, good[0][1] + 1, 2]], 0, past, 1));
    thread::scope(|scope| {
        let actor = Actor::new(scope, "waiter");
        let list: Vec<u64> = good.concat();
        actor.start(move || text(raw!(NUMBER, &list[..], 2, 0, 0, 0)));
        actor.wait_until_asleep();
        println!("{:?}", raw!(libc::SYS_futex, &words[1], WAKE, 1));
        println!("{}", actor.answer());
        actor.end();
    });
}
