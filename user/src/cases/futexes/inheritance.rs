//! Locks that lend priority: who has them, whose turn it is, what is lent and taken back.

use super::{Actor, LOCK, OWNER, TRY_LOCK, UNLOCK, WAIT, WAITERS, WAKE, show, soon, text};
use crate::raw;
use crate::system::{self, Mapping};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

const FIFO: i32 = libc::SCHED_FIFO;

fn names(actors: &[&Actor<'_>]) -> Vec<(i32, &'static str)> {
    actors.iter().map(|actor| (actor.tid, actor.name)).collect()
}

pub(super) fn locks() {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let word = &word;
        let (a, b) = (Actor::new(scope, "a"), Actor::new(scope, "b"));
        let names = names(&[&a, &b]);
        println!("lock {} {}", a.futex(word, LOCK), show(word, &names));
        println!("again {} {}", a.futex(word, LOCK), show(word, &names));
        println!("try again {}", a.futex(word, TRY_LOCK));
        println!("unlock by another {} {}", b.futex(word, UNLOCK), show(word, &names));
        println!("try {} {}", b.futex(word, TRY_LOCK), show(word, &names));
        println!("unlock {} {}", a.futex(word, UNLOCK), show(word, &names));
        println!("unlock again {}", a.futex(word, UNLOCK));
        println!("try {} {}", b.futex(word, TRY_LOCK), show(word, &names));
        println!("late {}", a.run(move || text(raw!(libc::SYS_futex, word, LOCK, 0, &soon(20)))));
        println!("{}", show(word, &names));
        println!("unlock {} {}", b.futex(word, UNLOCK), show(word, &names));
        println!("lock {} {}", b.futex(word, LOCK), show(word, &names));
        a.block(word, LOCK);
        println!("waited for: {}", show(word, &names));
        println!("wake {:?}", raw!(libc::SYS_futex, word, WAKE, 1));
        println!(
            "requeue {:?}",
            raw!(libc::SYS_futex, word, 4 | 128, 0, 1, word.as_ptr() as usize + 4, word.load(SeqCst))
        );
        println!("unlock {} {}", b.futex(word, UNLOCK), show(word, &names));
        println!("locked {} {}", a.answer(), show(word, &names));
        println!("unlock {} {}", a.futex(word, UNLOCK), show(word, &names));
        let second = libc::FUTEX_LOCK_PI2 | libc::FUTEX_PRIVATE_FLAG;
        println!("lock by the other clock {} {}", a.futex(word, second), show(word, &names));
        let past = libc::timespec { tv_sec: 0, tv_nsec: 1 };
        println!("late {}", b.run(move || text(raw!(libc::SYS_futex, word, second, 0, &past))));
        println!("late {}", b.run(move || text(raw!(libc::SYS_futex, word, second | 256, 0, &past))));
        a.end();
        b.end();
    });
}

/// Words that programs should not write.
pub(super) fn manipulated() {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let word = &word;
        let (a, b) = (Actor::new(scope, "a"), Actor::new(scope, "b"));
        let names = names(&[&a, &b]);
        for (kind, value) in [
            ("no such thread", 0x3fff_fffe),
            ("no such thread, waited for", 0x3fff_fffe | WAITERS),
            ("nobody, waited for", WAITERS),
            ("nobody, died", super::OWNER_DIED),
            ("nobody, both", super::OWNER_DIED | WAITERS),
        ] {
            word.store(value, SeqCst);
            println!("{kind}: try {} {}", a.futex(word, TRY_LOCK), show(word, &names));
            word.store(value, SeqCst);
            println!("{kind}: lock {} {}", a.futex(word, LOCK), show(word, &names));
            println!("  unlock {} {}", a.futex(word, UNLOCK), show(word, &names));
        }
        word.store(a.tid.cast_unsigned(), SeqCst);
        b.block(word, LOCK);
        let value = word.load(SeqCst);
        for (kind, other) in [
            ("nobody", 0),
            ("nobody, waited for", WAITERS),
            ("nobody, died", super::OWNER_DIED),
            ("somebody else", b.tid.cast_unsigned() | WAITERS),
        ] {
            word.store(other, SeqCst);
            let me = system::gettid();
            print!("{kind}: try {:?}", raw!(libc::SYS_futex, word, TRY_LOCK, 0));
            println!(" {}", if word.load(SeqCst) & OWNER == me.cast_unsigned() { "mine" } else { "not mine" });
            word.store(other, SeqCst);
            println!("  unlock {}", a.futex(word, UNLOCK));
            word.store(me.cast_unsigned() | WAITERS, SeqCst);
            println!("  unlock as mine {:?}", raw!(libc::SYS_futex, word, UNLOCK, 0));
        }
        word.store(value, SeqCst);
        println!("unlock {} {}", a.futex(word, UNLOCK), show(word, &names));
        println!("{}", b.answer());
        b.futex(word, UNLOCK);
        // A plain wait on a lock's word.
        word.store(a.tid.cast_unsigned(), SeqCst);
        let expected = word.load(SeqCst);
        b.start(move || text(raw!(libc::SYS_futex, word, WAIT, expected, 0)));
        b.wait_until_asleep();
        println!("lock {:?}", raw!(libc::SYS_futex, word, TRY_LOCK, 0));
        println!("unlock {}", a.futex(word, UNLOCK));
        println!("wake {:?} {}", raw!(libc::SYS_futex, word, WAKE, 1), b.answer());
        a.end();
        b.end();
    });
}

pub(super) fn inheritance() {
    let words = [AtomicU32::new(0), AtomicU32::new(0)];
    thread::scope(|scope| {
        let words = &words;
        let [owner, low, high] = ["owner", "low", "high"].map(|name| Actor::new(scope, name));
        low.set_policy(FIFO, 10);
        high.set_policy(libc::SCHED_RR, 30);
        println!("{} {}", owner.futex(&words[0], LOCK), owner.futex(&words[1], LOCK));
        println!("{} {} {}", owner.priority(20), low.priority(-11), high.priority(-31));
        low.block(&words[0], LOCK);
        println!("{}", owner.priority(-11));
        high.block(&words[1], LOCK);
        println!("{}", owner.priority(-31));
        // What it set itself is as it was.
        println!("{:?}", raw!(libc::SYS_sched_getscheduler, owner.tid));
        println!("{} {}", owner.futex(&words[1], UNLOCK), owner.priority(-11));
        println!("{} {}", high.answer(), high.priority(-31));
        println!("{} {}", owner.futex(&words[0], UNLOCK), owner.priority(20));
        println!("{}", low.answer());
        [owner, low, high].into_iter().for_each(Actor::end);
    });
}

pub(super) fn chain() {
    let words: [AtomicU32; 4] = std::array::from_fn(|_| AtomicU32::new(0));
    thread::scope(|scope| {
        let words = &words;
        let actors = ["first", "second", "third", "fourth"].map(|name| Actor::new(scope, name));
        for (actor, word) in actors.iter().zip(words) {
            println!("{}", actor.futex(word, LOCK));
        }
        for (actor, word) in actors[1..].iter().zip(words) {
            actor.block(word, LOCK);
        }
        let last = Actor::new(scope, "last");
        last.set_policy(FIFO, 40);
        last.block(&words[3], LOCK);
        let all = |expected| actors.iter().map(|actor| actor.priority(expected)).collect::<Vec<_>>().join(", ");
        println!("{}", all(-41));
        last.set_policy(FIFO, 7);
        println!("{}", all(-8));
        last.set_policy(libc::SCHED_OTHER, 0);
        println!("{}", all(20));
        last.set_policy(libc::SCHED_RR, 99);
        println!("{}", all(-100));
        for (index, actor) in actors.iter().enumerate() {
            println!("{} {}", actor.futex(&words[index], UNLOCK), actor.priority(20));
            let next = actors.get(index + 1).unwrap_or(&last);
            println!("{} {}", next.answer(), next.priority(-100));
        }
        actors.into_iter().for_each(Actor::end);
        last.end();
    });
}

pub(super) fn niceness() {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let word = &word;
        let [owner, waiter] = ["owner", "waiter"].map(|name| Actor::new(scope, name));
        println!("{:?}", raw!(libc::SYS_setpriority, libc::PRIO_PROCESS, owner.tid, 15));
        println!("{:?}", raw!(libc::SYS_setpriority, libc::PRIO_PROCESS, waiter.tid, -12));
        println!("{}", owner.futex(word, LOCK));
        println!("{} {}", owner.priority(35), waiter.priority(8));
        waiter.block(word, LOCK);
        println!("{}", owner.priority(8));
        println!("{} {}", owner.futex(word, UNLOCK), owner.priority(35));
        println!("{} {}", waiter.answer(), waiter.priority(8));
        [owner, waiter].into_iter().for_each(Actor::end);
    });
}

/// The owner's own policy changes while it is lent another's priority.
pub(super) fn new_parameters() {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let word = &word;
        let [owner, waiter] = ["owner", "waiter"].map(|name| Actor::new(scope, name));
        waiter.set_policy(FIFO, 20);
        println!("{}", owner.futex(word, LOCK));
        waiter.block(word, LOCK);
        println!("{}", owner.priority(-21));
        owner.set_policy(FIFO, 5);
        println!("{} {:?}", owner.priority(-21), raw!(libc::SYS_sched_getscheduler, owner.tid));
        owner.set_policy(FIFO, 50);
        println!("{}", owner.priority(-51));
        owner.set_policy(FIFO, 6);
        println!("{}", owner.priority(-21));
        println!("{} {}", owner.futex(word, UNLOCK), owner.priority(-7));
        println!("{}", waiter.answer());
        [owner, waiter].into_iter().for_each(Actor::end);
    });
}

/// What is lent is taken back when the waiter goes: its time is over, a signal comes, its process is killed.
pub(super) fn ends() {
    let memory = Mapping::shared(1);
    let word = memory.word(0);
    let shared_lock = libc::FUTEX_LOCK_PI;
    system::catch(libc::SIGUSR1, system::nothing);
    thread::scope(|scope| {
        let [owner, waiter] = ["owner", "waiter"].map(|name| Actor::new(scope, name));
        waiter.set_policy(FIFO, 20);
        println!("{} {}", owner.futex(word, shared_lock), owner.priority(20));
        waiter.start(move || text(raw!(libc::SYS_futex, word, shared_lock, 0, &soon(3000))));
        println!("{}", owner.priority(-21));
        println!("{} {}", waiter.answer(), owner.priority(20));
        waiter.block(word, shared_lock);
        println!("{}", owner.priority(-21));
        println!("{:?}", raw!(libc::SYS_tgkill, system::getpid(), waiter.tid, libc::SIGUSR1));
        waiter.wait_until_asleep();
        println!("goes on waiting: {}", owner.priority(-21));
        let child = system::fork(|| {
            let _ = raw!(libc::SYS_sched_setscheduler, 0, FIFO, &[60][..]);
            let _ = raw!(libc::SYS_futex, word, shared_lock, 0, 0);
            0
        });
        println!("{}", owner.priority(-61));
        println!("{:?} {}", raw!(libc::SYS_kill, child, libc::SIGKILL), owner.priority(-21));
        println!("{} {}", owner.futex(word, libc::FUTEX_UNLOCK_PI), owner.priority(20));
        println!("{}", waiter.answer());
        [owner, waiter].into_iter().for_each(Actor::end);
    });
}

pub(super) fn order() {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let word = &word;
        let owner = Actor::new(scope, "owner");
        let policies = [
            ("ordinary", libc::SCHED_OTHER, 0),
            ("fifo 5", FIFO, 5),
            ("second ordinary", libc::SCHED_OTHER, 0),
            ("rr 70", libc::SCHED_RR, 70),
            ("second fifo 5", FIFO, 5),
        ];
        println!("{}", owner.futex(word, LOCK));
        let actors = policies.map(|(name, policy, priority)| {
            let actor = Actor::new(scope, name);
            actor.set_policy(policy, priority);
            actor.block(word, LOCK);
            actor
        });
        println!("{}", owner.futex(word, UNLOCK));
        for _ in &actors {
            let number = (word.load(SeqCst) & OWNER).cast_signed();
            let Some(next) = actors.iter().find(|actor| actor.tid == number) else { break };
            println!("{} {}", next.name, next.answer());
            println!("{}", next.futex(word, UNLOCK));
        }
        println!("{}", show(word, &[]));
        owner.end();
        actors.into_iter().for_each(Actor::end);
    });
}

pub(super) fn deadlock() {
    let words: [AtomicU32; 3] = std::array::from_fn(|_| AtomicU32::new(0));
    thread::scope(|scope| {
        let words = &words;
        let actors = ["first", "second", "third"].map(|name| Actor::new(scope, name));
        for (actor, word) in actors.iter().zip(words) {
            println!("{}", actor.futex(word, LOCK));
        }
        actors[1].block(&words[0], LOCK);
        println!("two: {}", actors[0].futex(&words[1], LOCK));
        actors[2].block(&words[1], LOCK);
        println!("three: {}", actors[0].futex(&words[2], LOCK));
        println!("try: {}", actors[0].futex(&words[2], TRY_LOCK));
        for (index, actor) in actors.iter().enumerate() {
            println!("{}", actor.futex(&words[index], UNLOCK));
            if let Some(next) = actors.get(index + 1) {
                println!("{}", next.answer());
            }
        }
        actors.into_iter().for_each(Actor::end);
    });
}

/// The owner ends without unlocking, and is not on a robust list.
pub(super) fn owner_ends() {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        let word = &word;
        let [owner, high, low] = ["owner", "high", "low"].map(|name| Actor::new(scope, name));
        high.set_policy(FIFO, 20);
        let names = names(&[&owner, &high, &low]);
        println!("{}", owner.futex(word, LOCK));
        low.block(word, LOCK);
        high.block(word, LOCK);
        owner.end();
        println!("{} {}", high.answer(), show(word, &names));
        println!("{} {}", high.futex(word, UNLOCK), low.answer());
        println!("{}", show(word, &names));
        low.end();
        println!("abandoned: {}", show(word, &names));
        println!("{} {}", high.futex(word, LOCK), show(word, &names));
        high.end();
    });
}
