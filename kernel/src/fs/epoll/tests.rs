//! Interest sets over pipes and event counters.

use super::*;
use crate::fs::io::{IoDestination, IoSource};
use crate::fs::{eventfd, pipe};

const IN: u32 = 1;
const OUT: u32 = 4;

fn set() -> (Arc<OpenFile>, impl Fn(&OpenFile) -> &Epoll) {
    (create(), |file: &OpenFile| file.operations_as::<Epoll>().unwrap())
}

fn interest(bits: u32, data: u64) -> Interest {
    Interest { bits, data }
}

fn now(epoll: &Epoll) -> Vec<(u32, u64)> {
    epoll.wait(10, Some(Nanoseconds::ZERO)).unwrap().iter().map(|event| (event.events, event.data)).collect()
}

fn write(file: &OpenFile, bytes: &[u8]) {
    file.write(&mut IoSource::kernel(bytes)).unwrap();
}

fn read(file: &OpenFile, length: usize) {
    file.read(&mut IoDestination::kernel(&mut vec![0; length])).unwrap();
}

#[test]
fn level_triggered_entries_are_reported_while_ready() {
    let (file, of) = set();
    let epoll = of(&file);
    let (reader, writer) = pipe::create(0, 0, OpenFlags::NON_BLOCKING);
    epoll.add(3, &reader, interest(IN, 33)).unwrap();
    assert_eq!(now(epoll), []);
    write(&writer, b"ab");
    assert_eq!((now(epoll), now(epoll)), (vec![(IN, 33)], vec![(IN, 33)]));
    read(&reader, 2);
    assert_eq!(now(epoll), []);
    write(&writer, b"c");
    assert_eq!(now(epoll), [(IN, 33)]);
}

#[test]
fn edge_triggered_entries_are_reported_once_for_each_change() {
    let (file, of) = set();
    let epoll = of(&file);
    let (reader, writer) = pipe::create(0, 0, OpenFlags::NON_BLOCKING);
    epoll.add(3, &reader, interest(IN | 1 << 31, 1)).unwrap();
    write(&writer, b"ab");
    assert_eq!((now(epoll), now(epoll)), (vec![(IN, 1)], vec![]));
    write(&writer, b"c");
    assert_eq!((now(epoll), now(epoll)), (vec![(IN, 1)], vec![]));
}

#[test]
fn one_shot_entries_wait_for_a_modification() {
    let (file, of) = set();
    let epoll = of(&file);
    let (reader, writer) = pipe::create(0, 0, OpenFlags::NON_BLOCKING);
    epoll.add(3, &reader, interest(IN | 1 << 30, 1)).unwrap();
    write(&writer, b"ab");
    assert_eq!((now(epoll), now(epoll)), (vec![(IN, 1)], vec![]));
    write(&writer, b"c");
    drop(writer);
    assert_eq!(now(epoll), []);
    epoll.modify(3, &reader, interest(IN, 2)).unwrap();
    assert_eq!(now(epoll), [(IN | 0x10, 2)]);
}

#[test]
fn entries_come_and_go() {
    let (file, of) = set();
    let epoll = of(&file);
    let counter = eventfd::create(1, eventfd::Kind::Counter, OpenFlags::NON_BLOCKING);
    epoll.add(5, &counter, interest(IN | OUT, 9)).unwrap();
    assert_eq!(epoll.add(5, &counter, interest(IN, 9)), Err(Errno::EEXIST));
    epoll.add(6, &counter, interest(IN, 10)).unwrap();
    assert_eq!(now(epoll), [(IN | OUT, 9), (IN, 10)]);
    epoll.remove(5, &counter).unwrap();
    assert_eq!(epoll.remove(5, &counter), Err(Errno::ENOENT));
    assert_eq!(epoll.modify(5, &counter, interest(IN, 1)), Err(Errno::ENOENT));
    assert_eq!(now(epoll), [(IN, 10)]);
    drop(counter);
    assert_eq!(now(epoll), []);
    assert!(epoll.set.lock().entries.is_empty());
}

#[test]
fn sets_watch_sets_but_never_in_a_circle() {
    let (outer_file, of) = set();
    let (inner_file, _) = set();
    let (outer, inner) = (of(&outer_file), of(&inner_file));
    outer.add(3, &inner_file, interest(IN, 1)).unwrap();
    assert_eq!(inner.add(4, &outer_file, interest(IN, 1)), Err(Errno::ELOOP));
    assert_eq!(outer.add(5, &outer_file, interest(IN, 1)), Err(Errno::EINVAL));
    let counter = eventfd::create(0, eventfd::Kind::Counter, OpenFlags::NON_BLOCKING);
    inner.add(6, &counter, interest(IN, 7)).unwrap();
    assert_eq!(now(outer), []);
    write(&counter, &1u64.to_ne_bytes());
    assert_eq!(now(outer), [(IN, 1)]);
    assert_eq!(now(inner), [(IN, 7)]);
    read(&counter, 8);
    assert_eq!((now(inner), now(outer)), (vec![], vec![]));
}

#[test]
fn a_waiter_is_woken_from_another_thread() {
    let (file, of) = set();
    let epoll = of(&file);
    let counter = eventfd::create(0, eventfd::Kind::Counter, OpenFlags::NON_BLOCKING);
    epoll.add(6, &counter, interest(IN, 7)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| write(&counter, &1u64.to_ne_bytes()));
        assert_eq!(epoll.wait(1, None).unwrap(), [Event { events: IN, data: 7 }]);
    });
}

#[test]
fn exclusive_interest_has_its_own_rules() {
    let (file, of) = set();
    let epoll = of(&file);
    let counter = eventfd::create(0, eventfd::Kind::Counter, OpenFlags::NON_BLOCKING);
    assert_eq!(epoll.add(3, &counter, interest(IN | 1 << 28 | 1 << 30, 1)), Err(Errno::EINVAL));
    epoll.add(3, &counter, interest(IN | 1 << 28, 1)).unwrap();
    assert_eq!(epoll.modify(3, &counter, interest(IN, 1)), Err(Errno::EINVAL));
}
