//! Waits that end with a lock: `FUTEX_WAIT_REQUEUE_PI` and `FUTEX_CMP_REQUEUE_PI`.

use super::{Actor, CMP_REQUEUE, LOCK, UNLOCK, WAIT, WAIT_REQUEUE, WAKE, show, soon, text};
use crate::raw;
use crate::system;
use std::sync::atomic::AtomicU32;
use std::thread;

const REAL_TIME: i32 = libc::FUTEX_CLOCK_REALTIME;

/// The word of the condition, and that of the lock.
type Words = [AtomicU32; 2];

fn words() -> Words {
    std::array::from_fn(|_| AtomicU32::new(0))
}

fn wait<'scope>(actor: &Actor<'scope>, words: &'scope Words) {
    actor.start(move || text(raw!(libc::SYS_futex, &words[0], WAIT_REQUEUE, 0, 0, &words[1])));
    actor.wait_until_asleep();
}

fn requeue(words: &Words, wake: i32, most: i32, expected: i32) -> String {
    text(raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, wake, most, &words[1], expected))
}

pub(super) fn conditions() {
    let words = words();
    thread::scope(|scope| {
        let words = &words;
        let [signaller, a, b, high] = ["signaller", "a", "b", "high"].map(|name| Actor::new(scope, name));
        let names: Vec<(i32, &str)> = [&signaller, &a, &b, &high].map(|actor| (actor.tid, actor.name)).into();
        high.set_policy(libc::SCHED_FIFO, 20);
        println!("nobody {}", requeue(words, 1, 0, 0));
        wait(&a, words);
        println!("other value {} two at once {}", requeue(words, 1, 1, 5), requeue(words, 2, 1, 0));
        println!("none {} negative {}", requeue(words, 0, 1, 0), requeue(words, 1, -1, 0));
        println!("free lock {} {}", requeue(words, 1, 0, 0), a.answer());
        println!("{}", show(&words[1], &names));
        println!("{} {}", a.futex(&words[1], UNLOCK), show(&words[1], &names));
        // All at once, while the lock is held.
        println!("{}", signaller.futex(&words[1], LOCK));
        [&a, &b, &high].into_iter().for_each(|actor| wait(actor, words));
        println!("{} {}", requeue(words, 1, i32::MAX, 0), show(&words[1], &names));
        println!("{}", signaller.priority(-21));
        println!("{} {}", signaller.futex(&words[1], UNLOCK), signaller.priority(20));
        for actor in [&high, &a, &b] {
            println!("{} {}", actor.answer(), show(&words[1], &names));
            println!("{}", actor.futex(&words[1], UNLOCK));
        }
        println!("{}", show(&words[1], &names));
        // Some, while it is free.
        [&a, &b, &high].into_iter().for_each(|actor| wait(actor, words));
        println!("{} {}", requeue(words, 1, 1, 0), high.answer());
        println!("{}", show(&words[1], &names));
        println!("{} {}", high.futex(&words[1], UNLOCK), a.answer());
        println!("{} {}", a.futex(&words[1], UNLOCK), show(&words[1], &names));
        println!("{} {}", requeue(words, 1, 0, 0), b.answer());
        println!("{} {}", b.futex(&words[1], UNLOCK), show(&words[1], &names));
        [signaller, a, b, high].into_iter().for_each(Actor::end);
    });
}

/// Waits that end by their time or a signal, before and after they were moved.
pub(super) fn early() {
    let words = words();
    system::catch(libc::SIGUSR1, system::nothing);
    thread::scope(|scope| {
        let words = &words;
        let [owner, waiter] = ["owner", "waiter"].map(|name| Actor::new(scope, name));
        let late = move |milliseconds| {
            text(raw!(libc::SYS_futex, &words[0], WAIT_REQUEUE | REAL_TIME, 0, &soon(milliseconds), &words[1]))
        };
        println!("other value {:?}", raw!(libc::SYS_futex, &words[0], WAIT_REQUEUE, 1, 0, &words[1]));
        println!("one word {:?}", raw!(libc::SYS_futex, &words[0], WAIT_REQUEUE, 0, 0, &words[0]));
        println!("one word {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 1, 0, &words[0], 0));
        println!("late {}", waiter.run(move || late(20)));
        waiter.set_policy(libc::SCHED_FIFO, 9);
        println!("{}", owner.futex(&words[1], LOCK));
        waiter.start(move || late(3000));
        waiter.wait_until_asleep();
        println!("{} {}", requeue(words, 1, 1, 0), owner.priority(-10));
        println!("late {} {}", waiter.answer(), owner.priority(20));
        // A signal starts it again as long as it has not been moved, and ends it then.
        wait(&waiter, words);
        let signal = || raw!(libc::SYS_tgkill, system::getpid(), waiter.tid, libc::SIGUSR1);
        println!("{:?}", signal());
        waiter.wait_until_asleep();
        println!("{} {}", requeue(words, 1, 1, 0), owner.priority(-10));
        println!("{:?} {} {}", signal(), waiter.answer(), owner.priority(20));
        println!("{}", owner.futex(&words[1], UNLOCK));
        [owner, waiter].into_iter().for_each(Actor::end);
    });
}

/// With operations that do not go together.
pub(super) fn mixed() {
    let words = words();
    let other = AtomicU32::new(0);
    thread::scope(|scope| {
        let (words, other) = (&words, &other);
        let [a, b] = ["a", "b"].map(|name| Actor::new(scope, name));
        wait(&a, words);
        println!("wake {:?}", raw!(libc::SYS_futex, &words[0], WAKE, 1));
        println!("requeue {:?}", raw!(libc::SYS_futex, &words[0], 3 | 128, 0, 1, other));
        println!("requeue {:?}", raw!(libc::SYS_futex, &words[0], 4 | 128, 1, 0, other));
        println!("wake op {:?}", raw!(libc::SYS_futex, &words[0], 5 | 128, 1, 0, other));
        println!("another lock {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 1, 1, other, 0));
        println!("lock nowhere {:?}", raw!(libc::SYS_futex, &words[0], CMP_REQUEUE, 1, 1, 0x1000, 0));
        println!("lock {:?}", raw!(libc::SYS_futex, &words[0], 8 | 128, 0));
        // A plain waiter behind it.
        b.block(&words[0], WAIT);
        println!("{} {}", requeue(words, 1, 0, 0), a.answer());
        println!("plain first {}", requeue(words, 1, 1, 0));
        println!("{:?} {}", raw!(libc::SYS_futex, &words[0], WAKE, 1), b.answer());
        println!("{}", a.futex(&words[1], UNLOCK));
        // The waiter has the lock that it waits for.
        println!("{}", a.futex(&words[1], LOCK));
        wait(&a, words);
        println!("own lock {}", requeue(words, 1, 1, 0));
        system::catch(libc::SIGUSR1, system::nothing);
        words[0].store(1, std::sync::atomic::Ordering::SeqCst);
        println!("{:?} {}", raw!(libc::SYS_tgkill, system::getpid(), a.tid, libc::SIGUSR1), a.answer());
        println!("{}", a.futex(&words[1], UNLOCK));
        [a, b].into_iter().for_each(Actor::end);
    });
}
