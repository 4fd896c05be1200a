//! Threads, futexes, thread-local storage.

pub mod base_registers;

use crate::raw;
use crate::runner::{Case, in_child};
use crate::system::{self, Mapping, Must, RobustMutex};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;

pub(super) const CASES: &[Case] = &[
    ("threads/create-and-join", create_and_join),
    ("threads/local-storage", local_storage),
    ("threads/mutex-and-condition", mutex_and_condition),
    ("threads/channels", channels),
    ("threads/futex-errors", futex_errors),
    ("threads/futex-wait-value-and-timeout", futex_wait),
    ("threads/futex-requeue", futex_requeue),
    ("threads/futex-between-processes", futex_between_processes),
    ("threads/exit-group-ends-all", exit_group),
    ("threads/exec-ends-others", exec_ends_others),
    ("threads/signal-to-one-thread", signal_to_one),
    ("threads/robust-list", robust),
    ("threads/many", many),
    ("threads/base-registers", base_registers::base_registers),
];

fn create_and_join() {
    let handles: Vec<_> = (0..8u64).map(|index| thread::spawn(move || (0..=index * 1000).sum::<u64>())).collect();
    println!("{:?}", handles.into_iter().map(|handle| handle.join().unwrap_or(0)).collect::<Vec<_>>());
}

fn local_storage() {
    thread_local! { static VALUE: Cell<u64> = const { Cell::new(7) }; }
    VALUE.set(1);
    let others: Vec<u64> = (0..4)
        .map(|index| {
            thread::spawn(move || {
                let before = VALUE.get();
                VALUE.set(index);
                thread::yield_now();
                before * 100 + VALUE.get()
            })
            .join()
            .unwrap_or(0)
        })
        .collect();
    println!("{others:?} {}", VALUE.get());
}

fn mutex_and_condition() {
    let shared = Arc::new((Mutex::new(0u64), Condvar::new()));
    let handles: Vec<_> = (0..4)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..1000 {
                    *shared.0.lock().must() += 1;
                    shared.1.notify_one();
                }
            })
        })
        .collect();
    let mut count = shared.0.lock().must();
    while *count < 4000 {
        count = shared.1.wait(count).must();
    }
    drop(count);
    handles.into_iter().for_each(|handle| handle.join().must());
    let lock = Arc::new(RwLock::new(0));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let lock = lock.clone();
            thread::spawn(move || (0..500).for_each(|_| *lock.write().must() += 1))
        })
        .collect();
    writers.into_iter().for_each(|handle| handle.join().must());
    println!("{} {}", *shared.0.lock().must(), *lock.read().must());
}

fn channels() {
    let (sender, receiver) = mpsc::sync_channel(4);
    let producers: Vec<_> = (0..4u64)
        .map(|index| {
            let sender = sender.clone();
            thread::spawn(move || (0..500).for_each(|value| sender.send(index * 1000 + value).must()))
        })
        .collect();
    drop(sender);
    println!("{}", receiver.iter().sum::<u64>());
    producers.into_iter().for_each(|handle| handle.join().must());
}

const WAIT: i32 = libc::FUTEX_WAIT;
const WAKE: i32 = libc::FUTEX_WAKE;

fn futex_errors() {
    let word = AtomicU32::new(1);
    let word = &word;
    println!("value {:?}", raw!(libc::SYS_futex, word, WAIT, 2, 0));
    println!("unaligned {:?}", raw!(libc::SYS_futex, word.as_ptr() as usize + 1, WAIT, 1, 0));
    println!(
        "unmapped {:?} {:?}",
        raw!(libc::SYS_futex, 0x1000, WAIT, 1, 0),
        raw!(libc::SYS_futex, 0x1000, WAKE, 1, 0)
    );
    println!("private unmapped wake {:?}", raw!(libc::SYS_futex, 0x1000, WAKE | libc::FUTEX_PRIVATE_FLAG, 1, 0));
    println!("kernel {:?}", raw!(libc::SYS_futex, 0xffff_8000_0000_0000usize, WAKE, 1, 0));
    println!("unknown {:?}", raw!(libc::SYS_futex, word, 99, 1, 0));
    println!("bitset 0 {:?}", raw!(libc::SYS_futex, word, libc::FUTEX_WAIT_BITSET, 1, 0, 0, 0));
    println!("nobody {:?}", raw!(libc::SYS_futex, word, WAKE, 1, 0));
    let bad = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    println!("bad time {:?}", raw!(libc::SYS_futex, word, WAIT, 1, &bad));
    println!("unlock not owned {:?}", raw!(libc::SYS_futex, word, libc::FUTEX_UNLOCK_PI, 0, 0));
}

fn futex_wait() {
    let word = Arc::new(AtomicU32::new(0));
    let time = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
    println!("{:?}", raw!(libc::SYS_futex, &*word, WAIT, 0, &time));
    let other = word.clone();
    let waiter = thread::spawn(move || {
        while other.load(SeqCst) == 0 {
            let _ = raw!(libc::SYS_futex, &*other, WAIT | libc::FUTEX_PRIVATE_FLAG, 0, 0);
        }
    });
    let _ = system::usleep(50_000);
    word.store(1, SeqCst);
    println!("{:?}", raw!(libc::SYS_futex, &*word, WAKE | libc::FUTEX_PRIVATE_FLAG, 10, 0));
    waiter.join().must();
}

fn futex_requeue() {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let woken = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let (words, woken) = (words.clone(), woken.clone());
            thread::spawn(move || {
                let _ = raw!(libc::SYS_futex, &words[0], WAIT, 0, 0);
                woken.fetch_add(1, SeqCst);
            })
        })
        .collect();
    let _ = system::usleep(200_000);
    println!("wrong value {:?}", raw!(libc::SYS_futex, &words[0], libc::FUTEX_CMP_REQUEUE, 1, 10, &words[1], 5));
    println!("{:?}", raw!(libc::SYS_futex, &words[0], libc::FUTEX_CMP_REQUEUE, 1, 10, &words[1], 0));
    println!("{:?} {:?}", raw!(libc::SYS_futex, &words[0], WAKE, 10, 0), raw!(libc::SYS_futex, &words[1], WAKE, 10, 0));
    handles.into_iter().for_each(|handle| handle.join().must());
    println!("{}", woken.load(SeqCst));
}

fn futex_between_processes() {
    let memory = Mapping::shared(1);
    let word = memory.word(0);
    println!(
        "{}",
        in_child(|| {
            system::fork(|| {
                let _ = system::usleep(50_000);
                word.store(1, SeqCst);
                let _ = raw!(libc::SYS_futex, word, WAKE, 1, 0);
                0
            });
            while word.load(SeqCst) == 0 {
                let _ = raw!(libc::SYS_futex, word, WAIT, 0, 0);
            }
            4
        })
    );
}

fn exit_group() {
    println!(
        "{}",
        in_child(|| {
            (0..4).for_each(|_| drop(thread::spawn(|| system::idle())));
            thread::spawn(|| raw!(libc::SYS_exit_group, 21)).join().ok();
            1
        })
    );
}

fn exec_ends_others() {
    println!(
        "{}",
        in_child(|| {
            (0..3).for_each(|_| {
                drop(thread::spawn(|| {
                    loop {
                        std::hint::spin_loop()
                    }
                }))
            });
            thread::spawn(|| system::execve(c"/proc/self/exe", [c"x", c"--process-state", c"from-a-thread"], []))
                .join()
                .ok();
            1
        })
    );
}

fn signal_to_one() {
    static RECEIVER: AtomicU32 = AtomicU32::new(0);
    fn note(_signal: i32) {
        RECEIVER.store(system::gettid().unsigned_abs(), SeqCst);
    }
    system::catch(libc::SIGUSR1, note);
    let barrier = Arc::new(Barrier::new(2));
    let inner = barrier.clone();
    let (sender, receiver) = mpsc::channel();
    let handle = thread::spawn(move || {
        sender.send(system::gettid()).must();
        while RECEIVER.load(SeqCst) == 0 {
            let _ = system::usleep(1000);
        }
        inner.wait();
    });
    let thread = receiver.recv().unwrap_or(0);
    println!("{:?}", raw!(libc::SYS_tgkill, system::getpid(), thread, libc::SIGUSR1));
    barrier.wait();
    handle.join().must();
    println!("{}", RECEIVER.load(SeqCst) == thread as u32);
    println!("{:?}", raw!(libc::SYS_tgkill, system::getpid() + 1, thread, 0));
}

fn robust() {
    let mutex = RobustMutex::new();
    println!(
        "{}",
        in_child(|| {
            let _ = mutex.lock();
            0
        })
    );
    println!("{}", mutex.lock());
    println!("{} {}", mutex.make_consistent(), mutex.unlock());
}

fn many() {
    let total: usize = (0..10)
        .map(|_| {
            let handles: Vec<_> =
                (0..20).map(|_| thread::Builder::new().stack_size(64 * 1024).spawn(|| 1usize).must()).collect();
            handles.into_iter().map(|handle| handle.join().must()).sum::<usize>()
        })
        .sum();
    println!("{total}");
}
