//! What shows only when threads run at the same time on several CPUs, and is the same where they take turns.

use crate::call;
use crate::runner::{Case, in_child};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    ("processors/a-spinning-process-is-killed", killed_while_spinning),
    ("processors/a-spinning-thread-takes-its-signal", signalled_while_spinning),
    ("processors/protection-holds-for-every-thread", protected_elsewhere),
    ("processors/a-page-taken-away-is-gone-for-every-thread", unmapped_elsewhere),
    ("processors/children-of-a-busy-process-see-its-memory-as-it-was", forked_while_storing),
];

const PAGE: usize = 4096;

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn killed_while_spinning() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        spin();
    }
    thread::sleep(Duration::from_millis(20));
    let mut status = 0;
    println!("{:?}", call!(kill(child, libc::SIGKILL)));
    println!("{} {}", unsafe { libc::waitpid(child, &mut status, 0) } == child, libc::WTERMSIG(status));
}

static NOTICED: AtomicBool = AtomicBool::new(false);

fn signalled_while_spinning() {
    extern "C" fn notice(_signal: i32) {
        NOTICED.store(true, SeqCst);
    }
    unsafe { libc::signal(libc::SIGUSR1, notice as *const () as usize) };
    let (sender, receiver) = std::sync::mpsc::channel();
    let spinner = thread::spawn(move || {
        sender.send(unsafe { libc::pthread_self() }).unwrap();
        while !NOTICED.load(SeqCst) {
            std::hint::spin_loop();
        }
    });
    let target = receiver.recv().unwrap();
    thread::sleep(Duration::from_millis(20));
    println!("{}", unsafe { libc::pthread_kill(target, libc::SIGUSR1) });
    println!("{}", spinner.join().is_ok());
}

static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
static FAULTED: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);

extern "C" fn wait_after_fault(_signal: i32) {
    FAULTED.store(true, SeqCst);
    while !GO_ON.load(SeqCst) {
        unsafe { libc::sched_yield() };
    }
}

/// A page with a thread that counts in its first word for ever, faults excepted.
fn counted_page() -> (*mut libc::c_void, thread::JoinHandle<()>) {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
    WORD.store(page.cast(), SeqCst);
    [&FAULTED, &GO_ON, &END].into_iter().for_each(|flag| flag.store(false, SeqCst));
    unsafe { libc::signal(libc::SIGSEGV, wait_after_fault as *const () as usize) };
    let counter = thread::spawn(|| {
        while !END.load(SeqCst) {
            unsafe { &*WORD.load(SeqCst) }.fetch_add(1, SeqCst);
        }
    });
    while count() < 1000 {
        thread::yield_now();
    }
    (page, counter)
}

fn count() -> u64 {
    unsafe { &*WORD.load(SeqCst) }.load(SeqCst)
}

fn protected_elsewhere() {
    let (page, counter) = counted_page();
    println!("{:?}", call!(mprotect(page, PAGE, libc::PROT_READ)));
    let first = count();
    while !FAULTED.load(SeqCst) {
        thread::yield_now();
    }
    println!("{}", count() == first);
    println!("{:?}", call!(mprotect(page, PAGE, libc::PROT_READ | libc::PROT_WRITE)));
    GO_ON.store(true, SeqCst);
    while count() == first {
        thread::yield_now();
    }
    END.store(true, SeqCst);
    println!("{}", counter.join().is_ok());
}

fn unmapped_elsewhere() {
    let (page, counter) = counted_page();
    println!("{:?}", call!(munmap(page, PAGE)));
    while !FAULTED.load(SeqCst) {
        thread::yield_now();
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let again = unsafe { libc::mmap(page, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    println!("{} {}", again == page, count());
    END.store(true, SeqCst);
    GO_ON.store(true, SeqCst);
    println!("{} {}", counter.join().is_ok(), count());
}

fn forked_while_storing() {
    let (_, counter) = counted_page();
    let outcomes: Vec<_> = (0..20)
        .map(|_| {
            in_child(|| {
                // Nobody counts here: the thread that does is not in the child.
                let first = count();
                thread::yield_now();
                i32::from(count() != first)
            })
        })
        .collect();
    END.store(true, SeqCst);
    println!("{} {}", counter.join().is_ok(), outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    println!("{}", outcomes[0]);
}
