//! What shows only when threads run at the same time on several CPUs, and is the same where they take turns.

use crate::raw;
use crate::runner::{Case, in_child};
use crate::system::{self, Mapping, Must, PAGE};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    ("processors/a-spinning-process-is-killed", killed_while_spinning),
    ("processors/a-spinning-thread-takes-its-signal", signalled_while_spinning),
    ("processors/protection-holds-for-every-thread", protected_elsewhere),
    ("processors/a-page-taken-away-is-gone-for-every-thread", unmapped_elsewhere),
    ("processors/children-of-a-busy-process-see-its-memory-as-it-was", forked_while_storing),
    ("processors/proc-names-the-cpu-that-a-thread-runs-on", named_in_stat),
];

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn killed_while_spinning() {
    let child = system::fork(|| spin());
    thread::sleep(Duration::from_millis(20));
    println!("{:?}", system::kill(child, libc::SIGKILL));
    let (ended, status) = system::wait().must();
    println!("{} {}", ended == child, libc::WTERMSIG(status));
}

static NOTICED: AtomicBool = AtomicBool::new(false);

fn signalled_while_spinning() {
    system::catch(libc::SIGUSR1, |_| NOTICED.store(true, SeqCst));
    let (sender, receiver) = std::sync::mpsc::channel();
    let spinner = thread::spawn(move || {
        sender.send(system::gettid()).must();
        while !NOTICED.load(SeqCst) {
            std::hint::spin_loop();
        }
    });
    let target = receiver.recv().must();
    thread::sleep(Duration::from_millis(20));
    println!("{}", raw!(libc::SYS_tgkill, system::getpid(), target, libc::SIGUSR1).must());
    println!("{}", spinner.join().is_ok());
}

static FAULTED: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);

fn wait_after_fault(_signal: i32) {
    FAULTED.store(true, SeqCst);
    while !GO_ON.load(SeqCst) {
        let _ = system::sched_yield();
    }
}

/// A page with a thread that counts in its first word for ever, faults excepted.
fn counted_page() -> (&'static Mapping, thread::JoinHandle<()>) {
    let page = Mapping::private(1).leak();
    [&FAULTED, &GO_ON, &END].into_iter().for_each(|flag| flag.store(false, SeqCst));
    system::catch(libc::SIGSEGV, wait_after_fault);
    let counter = thread::spawn(move || {
        while !END.load(SeqCst) {
            page.add_word(0, 1);
        }
    });
    while count(page) < 1000 {
        thread::yield_now();
    }
    (page, counter)
}

/// What the one counter has come to.
fn count(page: &Mapping) -> u64 {
    page.read_word(0)
}

fn protected_elsewhere() {
    let (page, counter) = counted_page();
    println!("{:?}", page.protect(0, PAGE, libc::PROT_READ));
    let first = count(page);
    while !FAULTED.load(SeqCst) {
        thread::yield_now();
    }
    println!("{}", count(page) == first);
    println!("{:?}", page.protect(0, PAGE, system::READ_WRITE));
    GO_ON.store(true, SeqCst);
    while count(page) == first {
        thread::yield_now();
    }
    END.store(true, SeqCst);
    println!("{}", counter.join().is_ok());
}

fn unmapped_elsewhere() {
    let (page, counter) = counted_page();
    println!("{:?}", page.unmap(0, PAGE));
    while !FAULTED.load(SeqCst) {
        thread::yield_now();
    }
    let again = page.map_again(0, PAGE, libc::MAP_FIXED);
    println!("{} {}", again == Ok(page.start() as i64), count(page));
    END.store(true, SeqCst);
    GO_ON.store(true, SeqCst);
    println!("{} {}", counter.join().is_ok(), count(page));
}

fn forked_while_storing() {
    let (page, counter) = counted_page();
    let outcomes: Vec<_> = (0..20)
        .map(|_| {
            in_child(|| {
                // Nobody counts here: the thread that does is not in the child.
                let first = count(page);
                thread::yield_now();
                i32::from(count(page) != first)
            })
        })
        .collect();
    END.store(true, SeqCst);
    println!("{} {}", counter.join().is_ok(), outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    println!("{}", outcomes[0]);
}

/// The 39th field of `stat`: the processor that the thread was last on.
fn processor_in_stat() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/thread-self/stat").must();
    // The name is in parentheses and may hold spaces; the state behind it is the third field.
    text.rsplit_once(") ")?.1.split(' ').nth(36)?.parse().ok()
}

fn named_in_stat() {
    let mut before = [0_u64; 16];
    println!("{}", raw!(libc::SYS_sched_getaffinity, 0, 128, &mut before[..]).is_ok());
    let mut wrong = Vec::new();
    for cpu in (0..64).filter(|cpu| before[0] >> cpu & 1 != 0) {
        let mut only = [0_u64; 16];
        only[0] = 1 << cpu;
        raw!(libc::SYS_sched_setaffinity, 0, 128, &only[..]).must();
        if processor_in_stat() != Some(cpu) {
            wrong.push(cpu);
        }
    }
    println!("{wrong:?}");
}
