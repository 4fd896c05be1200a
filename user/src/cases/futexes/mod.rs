//! Futexes in full: errors, locks that lend priority, waits that end with a lock, robust lists.

mod conditions;
mod errors;
mod inheritance;
mod plain;
mod robust;

use crate::raw;
use crate::runner::Case;
use crate::system::{self, Must, Outcome};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

pub(super) const CASES: &[Case] = &[
    ("futexes/errors", errors::errors),
    ("futexes/errors-beyond-the-end-of-a-file", errors::beyond_the_end),
    ("futexes/errors-of-times-and-counts", errors::times_and_counts),
    ("futexes/plain-order", plain::order),
    ("futexes/plain-requeue", plain::requeue),
    ("futexes/plain-known-by-its-page", plain::known_by_its_page),
    ("futexes/wait-for-several", plain::several),
    ("futexes/locks", inheritance::locks),
    ("futexes/locks-manipulated", inheritance::manipulated),
    ("futexes/inheritance", inheritance::inheritance),
    ("futexes/inheritance-along-a-chain", inheritance::chain),
    ("futexes/inheritance-of-niceness", inheritance::niceness),
    ("futexes/inheritance-and-new-parameters", inheritance::new_parameters),
    ("futexes/inheritance-ends", inheritance::ends),
    ("futexes/locks-in-order", inheritance::order),
    ("futexes/deadlock", inheritance::deadlock),
    ("futexes/owner-ends", inheritance::owner_ends),
    ("futexes/conditions", conditions::conditions),
    ("futexes/conditions-end-early", conditions::early),
    ("futexes/conditions-mixed", conditions::mixed),
    ("futexes/robust-list", robust::list),
    ("futexes/robust-list-hostile", robust::hostile),
    ("futexes/robust-list-of-others", robust::of_others),
    ("futexes/robust-mutex-with-priority", robust::mutex_with_priority),
];

const PRIVATE: i32 = libc::FUTEX_PRIVATE_FLAG;
const LOCK: i32 = libc::FUTEX_LOCK_PI | PRIVATE;
const TRY_LOCK: i32 = libc::FUTEX_TRYLOCK_PI | PRIVATE;
const UNLOCK: i32 = libc::FUTEX_UNLOCK_PI | PRIVATE;
const WAIT: i32 = libc::FUTEX_WAIT | PRIVATE;
const WAKE: i32 = libc::FUTEX_WAKE | PRIVATE;
const WAIT_REQUEUE: i32 = libc::FUTEX_WAIT_REQUEUE_PI | PRIVATE;
const CMP_REQUEUE: i32 = libc::FUTEX_CMP_REQUEUE_PI | PRIVATE;

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const OWNER: u32 = 0x3fff_ffff;

/// A word of a lock, with names for the numbers in it.
fn show(word: &AtomicU32, names: &[(i32, &str)]) -> String {
    let value = word.load(SeqCst);
    let owner = (value & OWNER).cast_signed();
    let name = match owner {
        0 => "nobody",
        owner => names.iter().find(|(tid, _)| *tid == owner).map_or("somebody", |(_, name)| *name),
    };
    let waiters = if value & WAITERS == 0 { "" } else { "|waiters" };
    format!("{name}{waiters}{}", if value & OWNER_DIED == 0 { "" } else { "|died" })
}

/// A thread that is told what to do, one thing at a time, and says what came of it.
struct Actor<'scope> {
    tid: i32,
    name: &'static str,
    orders: mpsc::Sender<Box<dyn FnOnce() -> String + Send + 'scope>>,
    answers: mpsc::Receiver<String>,
    handle: ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Actor<'scope> {
    fn new<'env>(scope: &'scope Scope<'scope, 'env>, name: &'static str) -> Self {
        let (orders, inbox) = mpsc::channel::<Box<dyn FnOnce() -> String + Send + 'scope>>();
        let (outbox, answers) = mpsc::channel();
        let (number, numbers) = mpsc::channel();
        let handle = scope.spawn(move || {
            number.send(system::gettid()).must();
            for order in inbox {
                outbox.send(order()).must();
            }
        });
        Self { tid: numbers.recv().unwrap_or(0), name, orders, answers, handle }
    }

    /// Has it begin something.
    fn start(&self, order: impl FnOnce() -> String + Send + 'scope) {
        self.orders.send(Box::new(order)).must();
    }

    /// What came of it.
    fn answer(&self) -> String {
        self.answers.recv().unwrap_or_else(|_| "gone".into())
    }

    /// Has it do something.
    fn run(&self, order: impl FnOnce() -> String + Send + 'scope) -> String {
        self.start(order);
        self.answer()
    }

    /// Has it call `futex` with `operation` on `word`.
    fn futex(&self, word: &'scope AtomicU32, operation: i32) -> String {
        self.run(move || text(raw!(libc::SYS_futex, word, operation, 0, 0)))
    }

    /// Has it begin that, and waits until it sleeps.
    fn block(&self, word: &'scope AtomicU32, operation: i32) {
        self.start(move || text(raw!(libc::SYS_futex, word, operation, 0, 0)));
        self.wait_until_asleep();
    }

    /// Gives it a policy and a priority.
    fn set_policy(&self, policy: i32, priority: i32) {
        if let Err(error) = raw!(libc::SYS_sched_setscheduler, self.tid, policy, &[priority][..]) {
            println!("no policy: {error:?}");
        }
    }

    fn wait_until_asleep(&self) {
        for _ in 0..5000 {
            if stat_field(self.tid, 3) == "S" {
                // It may be about to go on; what it does next it does soon.
                let _ = system::usleep(20_000);
                if stat_field(self.tid, 3) == "S" {
                    return;
                }
            }
            let _ = system::usleep(1000);
        }
        println!("{} does not sleep", self.name);
    }

    /// The priority that it goes by, once it is `expected` or some time has passed.
    fn priority(&self, expected: i32) -> String {
        let wanted = expected.to_string();
        for _ in 0..2000 {
            if stat_field(self.tid, 18) == wanted {
                break;
            }
            let _ = system::usleep(1000);
        }
        format!("{} {}", self.name, stat_field(self.tid, 18))
    }

    fn end(self) {
        drop(self.orders);
        self.handle.join().must();
    }
}

fn text(outcome: Outcome) -> String {
    format!("{outcome:?}")
}

/// A field of a thread's `stat`, counted from 1.
pub(super) fn stat_field(tid: i32, field: usize) -> String {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    rest.split(' ').nth(field - 3).unwrap_or("?").to_owned()
}

/// A point on the real-time clock that far from now, in milliseconds.
fn soon(milliseconds: i64) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = raw!(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &mut now);
    let nanoseconds = now.tv_nsec + milliseconds * 1_000_000;
    libc::timespec { tv_sec: now.tv_sec + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 }
}
