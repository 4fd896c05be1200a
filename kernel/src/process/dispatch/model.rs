//! The protocols between CPUs, tried in every order that the memory model allows (`loom`).
//!
//! Each model has the accesses of the real code, in its order and with its orderings, and nothing else: [`super::machine`]'s idle mask and
//! summaries; [`super::park`] and [`super::wake`] with the lock kept across the switch; [`super::migrate`]'s moves. Where one of them
//! changes, its model must. The names are those of what is modelled. (`loom` takes sequentially consistent accesses for acquire and release
//! only. So does QEMU's emulation of 64-bit Arm with a store and the load after it: there the real code has the fences that stand here. Only after a
//! read-modify-write, which is whole everywhere, has it none.)

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst, fence};
use loom::sync::{Arc, Mutex};
use loom::thread;

const RUNNING: u32 = 0;
const ASLEEP: u32 = 1;
const READY: u32 = 2;

/// A run queue as far as the idle protocol goes: how many wait, guarded, and as published.
struct Queue {
    waiting: Mutex<u32>,
    summary: AtomicU32,
}

/// CPU 1 goes idle while CPU 0 puts a thread on its own, busy queue: one of the two sees the other.
#[test]
fn nobody_waits_beside_a_cpu_that_goes_idle() {
    loom::model(|| {
        let queue = Arc::new(Queue { waiting: Mutex::new(0), summary: AtomicU32::new(0) });
        let idle = Arc::new(AtomicU32::new(0));
        let (theirs, mask) = (queue.clone(), idle.clone());
        let enqueuer = thread::spawn(move || {
            let mut waiting = theirs.waiting.lock().unwrap();
            *waiting += 1;
            theirs.summary.store(*waiting, Relaxed);
            // `offer`: `idle_cpus`, then `claim` and `ask`.
            fence(SeqCst);
            let asked = mask.load(Relaxed) & 1 != 0 && mask.fetch_and(!1, SeqCst) & 1 != 0;
            drop(waiting);
            asked
        });
        // `help`: `mark_idle`, then a look at every summary.
        idle.fetch_or(1, SeqCst);
        fence(SeqCst);
        let helped = queue.summary.load(Relaxed) != 0 && {
            let mut waiting = queue.waiting.lock().unwrap();
            let found = *waiting != 0;
            *waiting -= u32::from(found);
            found
        };
        let asked = enqueuer.join().unwrap();
        assert!(helped || asked, "a thread waits and the CPU sleeps");
    });
}

/// A thread that parks, as its waker and its CPU's lock see it.
struct Sleeper {
    token: AtomicBool,
    state: AtomicU32,
    /// The run queue's lock: whether the thread has been left completely.
    queue: Mutex<bool>,
}

/// Parking and waking at the same time: the wake-up is not lost, and whoever makes the thread ready finds that it has been left.
#[test]
fn a_wake_up_is_not_lost_and_finds_the_thread_left() {
    loom::model(|| {
        let sleeper = Arc::new(Sleeper {
            token: AtomicBool::new(false),
            state: AtomicU32::new(RUNNING),
            queue: Mutex::new(false),
        });
        let theirs = sleeper.clone();
        let waker = thread::spawn(move || {
            let mut made_ready = false;
            let was_set = theirs.token.swap(true, SeqCst);
            fence(SeqCst);
            if !was_set && theirs.state.load(SeqCst) == ASLEEP {
                let left = theirs.queue.lock().unwrap();
                if theirs.state.load(Relaxed) == ASLEEP {
                    theirs.state.store(READY, Relaxed);
                    assert!(*left, "it can be taken before its registers are saved");
                    made_ready = true;
                }
            }
            made_ready
        });
        let mut left = sleeper.queue.lock().unwrap();
        // `Thread::announce_sleep`.
        sleeper.state.store(ASLEEP, Relaxed);
        fence(SeqCst);
        let sleeps = !sleeper.token.load(SeqCst);
        if sleeps {
            // The switch saves the registers; the next thread lets the lock go.
            *left = true;
        } else {
            sleeper.state.store(RUNNING, Relaxed);
        }
        drop(left);
        let made_ready = waker.join().unwrap();
        assert_eq!(sleeps, made_ready, "asleep for good, or ready and running at once");
    });
}

/// A deadline passes on the CPU where a thread armed it while the thread, on another one by now, goes to sleep: it sees that, or is made ready.
#[test]
fn a_deadline_that_passes_while_its_thread_parks_is_seen() {
    loom::model(|| {
        let passed = Arc::new(AtomicBool::new(false));
        let state = Arc::new(AtomicU32::new(RUNNING));
        let (theirs, seen_state) = (passed.clone(), state.clone());
        let timer = thread::spawn(move || {
            // `deadline_passed`.
            theirs.store(true, Relaxed);
            fence(SeqCst);
            seen_state.load(SeqCst) == ASLEEP
        });
        state.store(ASLEEP, Relaxed);
        fence(SeqCst);
        let sleeps = !passed.load(Relaxed);
        let roused = timer.join().unwrap();
        assert!(!sleeps || roused, "asleep for good");
    });
}

/// A thread is woken on one CPU just as its deadline passes on another: that deadline does not end the thread's next sleep, which has none.
#[test]
fn a_deadline_of_one_sleep_does_not_end_the_next() {
    loom::model(|| {
        let is_armed = Arc::new(Mutex::new(true));
        let passed = Arc::new(AtomicBool::new(false));
        let (queue, theirs) = (is_armed.clone(), passed.clone());
        let timer = thread::spawn(move || {
            // `handle_interrupt`, then `deadline_passed`.
            let was_armed = core::mem::take(&mut *queue.lock().unwrap());
            if was_armed {
                theirs.store(true, Relaxed);
            }
        });
        // `deadline::cancel`.
        let cancelled = core::mem::take(&mut *is_armed.lock().unwrap());
        if !cancelled {
            while !passed.load(Relaxed) {
                thread::yield_now();
            }
        }
        // The next `park`.
        passed.store(false, Relaxed);
        timer.join().unwrap();
        assert!(!passed.load(Relaxed), "ended by a deadline that it has not");
    });
}

/// Two CPUs' queues and a thread that is on one of them.
struct Pair {
    /// Whether the thread is on the queue of CPU 0, 1.
    queues: [Mutex<bool>; 2],
    cpu: AtomicU32,
    allowed: AtomicU32,
}

impl Pair {
    fn new() -> Self {
        Self { queues: [Mutex::new(true), Mutex::new(false)], cpu: AtomicU32::new(0), allowed: AtomicU32::new(0b11) }
    }
    /// `take_from`: both locks, the lower number's first; then the thread moves if it is there.
    fn steal(&self, from: usize, to: usize) -> bool {
        let mut low = self.queues[0].lock().unwrap();
        let mut high = self.queues[1].lock().unwrap();
        let (source, target) = if from == 0 { (&mut low, &mut high) } else { (&mut high, &mut low) };
        if !**source || self.allowed.load(Relaxed) & 1 << to == 0 {
            return false;
        }
        **source = false;
        self.cpu.store(to as u32, Relaxed);
        **target = true;
        true
    }
    /// `lock_queue_of`: what is done under the lock finds the thread there.
    fn with_queue<T>(&self, work: impl FnOnce(usize, &mut bool) -> T) -> T {
        loop {
            let cpu = self.cpu.load(Relaxed) as usize;
            let mut queue = self.queues[cpu].lock().unwrap();
            if self.cpu.load(Relaxed) as usize == cpu {
                return work(cpu, &mut queue);
            }
            drop(queue);
            thread::yield_now();
        }
    }
}

/// Two CPUs steal from each other while a third one looks for the thread: it is on one queue, the one that it says.
#[test]
fn a_thread_that_moves_is_on_the_queue_that_it_names() {
    loom::model(|| {
        let pair = Arc::new(Pair::new());
        let (one, two) = (pair.clone(), pair.clone());
        let to_one = thread::spawn(move || one.steal(0, 1));
        let to_zero = thread::spawn(move || two.steal(1, 0));
        pair.with_queue(|cpu, queue| assert!(*queue, "not on the queue of CPU {cpu}"));
        to_one.join().unwrap();
        to_zero.join().unwrap();
        let on = pair.queues.iter().filter(|queue| *queue.lock().unwrap()).count();
        assert_eq!(on, 1);
    });
}

/// A thread that was expelled is sent on while its affinity changes again: it ends where it may be.
#[test]
fn a_thread_on_its_way_arrives_where_it_may_be() {
    loom::model(|| {
        let pair = Arc::new(Pair::new());
        // Expelled from CPU 0 and left: on no queue, `cpu` still 0.
        *pair.queues[0].lock().unwrap() = false;
        pair.allowed.store(0b10, Relaxed);
        let theirs = pair.clone();
        // `set_affinity` back to CPU 0 alone, and `relocate`.
        let setter = thread::spawn(move || {
            theirs.with_queue(|_, _| theirs.allowed.store(0b01, Relaxed));
            let must_move = theirs.with_queue(|cpu, queue| *queue && theirs.allowed.load(Relaxed) & 1 << cpu == 0);
            if must_move {
                theirs.steal(1, 0);
            }
        });
        // `send_on`.
        loop {
            let allowed = pair.allowed.load(Relaxed);
            let target = if allowed & 1 != 0 { 0 } else { 1 };
            let mut low = pair.queues[0].lock().unwrap();
            let mut high = pair.queues[1].lock().unwrap();
            if pair.allowed.load(Relaxed) != allowed {
                drop((low, high));
                thread::yield_now();
                continue;
            }
            pair.cpu.store(target, Relaxed);
            **(if target == 0 { &mut low } else { &mut high }) = true;
            break;
        }
        setter.join().unwrap();
        let at = pair.cpu.load(Acquire);
        assert!(pair.allowed.load(Relaxed) & 1 << at != 0, "on CPU {at}");
        assert!(*pair.queues[at as usize].lock().unwrap());
    });
}
