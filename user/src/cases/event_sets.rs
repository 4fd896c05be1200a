//! `epoll` where sets share a file (`EPOLLEXCLUSIVE`) and watch each other.

use super::futexes::stat_field;
use crate::runner::Case;
use crate::system::{self, Errno};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    ("event_sets/exclusive-errors", exclusive_errors),
    ("event_sets/exclusive-wakes", exclusive_wakes),
    ("event_sets/nested", nested),
    ("event_sets/nested-edges", nested_edges),
    ("event_sets/nested-depth", nested_depth),
    ("event_sets/nested-circles", nested_circles),
];

const IN: u32 = libc::EPOLLIN as u32;
const EDGE: u32 = 1 << 31;
const ONE_SHOT: u32 = 1 << 30;
const WAKE_UP: u32 = 1 << 29;
const EXCLUSIVE: u32 = 1 << 28;

fn set() -> i32 {
    system::epoll_create1(0).unwrap_or(-1)
}

fn control(descriptor: i32, operation: i32, target: i32, events: u32) -> Result<i32, Errno> {
    let mut event = libc::epoll_event { events, u64: target.unsigned_abs().into() };
    system::epoll_ctl(descriptor, operation, target, &mut event)
}

fn add(descriptor: i32, target: i32, events: u32) -> Result<i32, Errno> {
    control(descriptor, libc::EPOLL_CTL_ADD, target, events)
}

/// The events that there are now.
fn events(descriptor: i32) -> Vec<u32> {
    let mut events = system::no_events::<8>();
    let count = system::epoll_wait(descriptor, &mut events, 0).map_or(0, i32::unsigned_abs) as usize;
    events.iter().take(count).map(|event| event.events).collect()
}

fn polled(descriptor: i32) -> i16 {
    let mut entry = [system::pollfd(descriptor, libc::POLLIN | libc::POLLOUT)];
    let _ = system::poll(&mut entry, 0);
    entry[0].revents
}

fn exclusive_errors() {
    let [reader, writer] = system::pipe();
    for further in [0, EDGE, WAKE_UP, ONE_SHOT, 0x2, 0x4, 0x8, 0x10, 0x40, 0x2000, 1 << 20] {
        let set = set();
        println!(
            "{further:#x}: {:?} {:?}",
            add(set, reader, IN | EXCLUSIVE | further),
            add(set, writer, EXCLUSIVE | further)
        );
        let _ = system::close(set);
    }
    let (outer, inner) = (set(), set());
    println!("{:?}", add(outer, inner, IN | EXCLUSIVE));
    println!("{:?} {:?}", add(outer, reader, IN | EXCLUSIVE), add(outer, reader, IN));
    for events in [IN, IN | EXCLUSIVE, EXCLUSIVE] {
        println!("{:?}", control(outer, libc::EPOLL_CTL_MOD, reader, events));
    }
    println!("{:?}", control(outer, libc::EPOLL_CTL_DEL, reader, EXCLUSIVE));
    println!("{:?} {:?}", add(outer, reader, IN), control(outer, libc::EPOLL_CTL_MOD, reader, IN | EXCLUSIVE));
}

/// Waits until a thread sleeps: in `epoll_wait`, where it does nothing else.
fn wait_until_asleep(number: i32) {
    while stat_field(number, 3) != "S" {
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many of four threads wake, each with a set of its own, when one byte is written; and how many of two sets that nobody waits on have it.
fn exclusive_wakes() {
    static WOKEN: AtomicU32 = AtomicU32::new(0);
    for (name, mode) in [("all", 0), ("one", EXCLUSIVE), ("one, by its edge", EXCLUSIVE | EDGE)] {
        let [reader, writer] = system::pipe();
        WOKEN.store(0, SeqCst);
        let idle = [set(), set()];
        idle.iter().for_each(|set| _ = add(*set, reader, IN | mode));
        let (sender, numbers) = mpsc::channel();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let set = set();
                let _ = add(set, reader, IN | mode);
                let sender = sender.clone();
                thread::spawn(move || {
                    let _ = sender.send(system::gettid());
                    let mut events = system::no_events::<1>();
                    while system::epoll_wait(set, &mut events, 4000) == Err(Errno(libc::EINTR)) {}
                    WOKEN.fetch_add(1, SeqCst);
                })
            })
            .collect();
        numbers.iter().take(threads.len()).for_each(wait_until_asleep);
        thread::sleep(Duration::from_millis(20));
        let _ = system::write(writer, b"x");
        // Until it is long ago that the last one woke.
        let (mut woken, mut since) = (0, 0);
        while since < 6 {
            thread::sleep(Duration::from_millis(20));
            let now = WOKEN.load(SeqCst);
            since = if now == 0 || now != woken { 0 } else { since + 1 };
            woken = now;
        }
        println!("{name}: {} woken", WOKEN.load(SeqCst));
        println!("{:?}", idle.map(events));
        // The others go on when they are woken in turn.
        while WOKEN.load(SeqCst) < 4 {
            let _ = system::write(writer, b"x");
            thread::sleep(Duration::from_millis(5));
        }
        println!("{}", threads.into_iter().all(|thread| thread.join().is_ok()));
        let _ = system::close(reader);
        let _ = system::close(writer);
    }
}

fn nested() {
    let [reader, writer] = system::pipe();
    let (outer, inner) = (set(), set());
    println!("{:?} {:?}", add(inner, reader, IN), add(outer, inner, IN));
    println!("{:?} {:?} {} {}", events(outer), events(inner), polled(outer), polled(inner));
    let _ = system::write(writer, b"x");
    println!("{:?} {:?} {} {}", events(outer), events(inner), polled(outer), polled(inner));
    println!("{:?}", events(outer));
    let mut byte = [0];
    let _ = system::read(reader, &mut byte);
    println!("{:?} {:?} {} {}", events(outer), events(inner), polled(outer), polled(inner));
    // A sleeper in the outer one hears of the innermost.
    let sleeper = thread::spawn(move || {
        let mut events = system::no_events::<1>();
        system::epoll_wait(outer, &mut events, 4000)
    });
    thread::sleep(Duration::from_millis(30));
    let _ = system::write(writer, b"x");
    println!("{:?}", sleeper.join().unwrap_or(Ok(-1)));
    // What is not watched any more is not seen through the inner one either.
    println!("{:?} {:?}", control(inner, libc::EPOLL_CTL_DEL, reader, 0), events(outer));
    println!("{:?} {:?}", add(inner, reader, IN), events(outer));
    let _ = system::close(inner);
    println!("{:?}", events(outer));
}

fn nested_edges() {
    let [reader, writer] = system::pipe();
    let (outer, inner) = (set(), set());
    let _ = add(inner, reader, IN);
    let _ = add(outer, inner, IN | EDGE);
    let _ = system::write(writer, b"x");
    println!("{:?} {:?} {:?}", events(outer), events(outer), events(inner));
    let _ = system::write(writer, b"x");
    println!("{:?} {:?}", events(outer), events(outer));
    let (outer, inner) = (set(), set());
    let _ = add(inner, reader, IN | EDGE);
    let _ = add(outer, inner, IN);
    println!("{:?} {:?} {:?} {:?}", events(outer), events(outer), events(inner), events(outer));
    let _ = system::write(writer, b"x");
    println!("{:?} {:?} {:?}", events(outer), events(inner), events(outer));
    let (outer, inner) = (set(), set());
    let _ = add(inner, reader, IN);
    let _ = add(outer, inner, IN | ONE_SHOT);
    println!("{:?} {:?}", events(outer), events(outer));
    println!("{:?} {:?}", control(outer, libc::EPOLL_CTL_MOD, inner, IN | ONE_SHOT), events(outer));
}

fn nested_depth() {
    let [reader, _writer] = system::pipe();
    // From the outside to the inside, and the other way; the file comes first or last.
    for (name, first) in [("file first", true), ("file last", false)] {
        let sets: Vec<i32> = (0..8).map(|_| set()).collect();
        let file = |sets: &[i32]| sets.last().map(|last| add(*last, reader, IN));
        if first {
            println!("{:?}", file(&sets));
        }
        let inwards: Vec<_> = sets.windows(2).map(|pair| add(pair[0], pair[1], IN)).collect();
        println!("{name}, inwards {inwards:?}");
        if !first {
            println!("{:?}", file(&sets));
        }
        let sets: Vec<i32> = (0..8).map(|_| set()).collect();
        if first {
            println!("{:?}", file(&sets));
        }
        let outwards: Vec<_> = sets.windows(2).rev().map(|pair| add(pair[0], pair[1], IN)).collect();
        println!("{name}, outwards {outwards:?}");
        if !first {
            println!("{:?}", file(&sets));
        }
    }
    // Two chains that are short enough alone.
    let (one, other): (Vec<i32>, Vec<i32>) = ((0..3).map(|_| set()).collect(), (0..3).map(|_| set()).collect());
    for chain in [&one, &other] {
        println!("{:?}", chain.windows(2).map(|pair| add(pair[0], pair[1], IN)).collect::<Vec<_>>());
    }
    println!("{:?} {:?}", add(one[2], other[0], IN), add(other[2], reader, IN));
}

fn nested_circles() {
    let sets: Vec<i32> = (0..3).map(|_| set()).collect();
    println!("{:?} {:?}", add(sets[0], sets[1], IN), add(sets[1], sets[2], IN));
    println!("{:?} {:?} {:?}", add(sets[2], sets[0], IN), add(sets[1], sets[0], IN), add(sets[0], sets[0], IN));
    // A diamond is none.
    println!("{:?} {:?}", add(sets[0], sets[2], IN), add(sets[0], sets[2], IN));
    println!("{:?} {:?}", control(sets[1], libc::EPOLL_CTL_DEL, sets[2], 0), add(sets[2], sets[1], IN));
}
