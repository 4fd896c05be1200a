//! Rows about choosing who runs: giving way, many processes that talk, how soon a sleeper runs, and the same across two CPUs.

use super::{
    fork_and, futex_round_trip, join, leave, measure, now, null_mut, pipe_round_trip, row, spawn, wait_for, zeroed,
};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// What one CPU shows.
pub fn on_one_cpu() {
    yielding();
    hackbench("hackbench");
    wake_up_latency("idle", 0);
    wake_up_latency("under load", 4);
}

/// What two CPUs show: this thread stays on the first.
pub fn across_cpus() {
    stay_on(0);
    let elsewhere = || stay_on(1);
    pipe_round_trip("pipe round trip, two CPUs", elsewhere);
    futex_round_trip("futex round trip, two CPUs", elsewhere);
    anywhere();
    let create = measure(100, || join(spawn(leave)));
    row("thread create+join, two CPUs", "pthread_create and pthread_join, nobody bound to a CPU", create);
    hackbench("hackbench, two CPUs");
}

/// Binds the calling thread to one CPU.
fn stay_on(cpu: usize) {
    bind(1 << cpu);
}

fn anywhere() {
    bind(3);
}

fn bind(mask: u64) {
    // SAFETY: the mask is as long as is said.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of::<u64>(), &raw const mask) };
    assert!(result == 0, "no such CPU");
}

/// Giving way to nobody, and between two threads of one real-time priority: those take turns on every kernel, while Linux often lets an
/// ordinary thread go on.
fn yielding() {
    static END: AtomicBool = AtomicBool::new(false);
    extern "C" fn partner(_: *mut c_void) -> *mut c_void {
        while !END.load(Ordering::Relaxed) {
            give_way();
        }
        null_mut()
    }
    row("sched_yield, alone", "when nobody else is ready", measure(1000, give_way));
    set_policy(libc::SCHED_FIFO, 50);
    // It has its creator's policy.
    let partner = spawn(partner);
    let cost = measure(1000, give_way) / 2;
    row("sched_yield, two threads", "each gives way to the other, both SCHED_FIFO; per call", cost);
    END.store(true, Ordering::Relaxed);
    join(partner);
    set_policy(libc::SCHED_OTHER, 0);
}

fn give_way() {
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_sched_yield) };
}

/// What `hackbench --pipe --process` does: each of some processes sends messages to each of as many others, through pipes of theirs.
fn hackbench(name: &str) {
    const SIDE: usize = 10;
    const ROUNDS: usize = 20;
    const LENGTH: usize = 100;
    let mut message = [7_u8; LENGTH];
    let place = message.as_mut_ptr().cast::<c_void>();
    let mut pipes = [[0_i32; 2]; SIDE];
    for pipe in &mut pipes {
        // SAFETY: a place for two descriptors.
        unsafe { libc::pipe(pipe.as_mut_ptr()) };
    }
    let start = now();
    let mut children = [0; 2 * SIDE];
    for (child, pipe) in children.iter_mut().zip(&pipes) {
        *child = fork_and(|| {
            let mut left = SIDE * ROUNDS * LENGTH;
            while left > 0 {
                // SAFETY: the buffer has room for a message.
                left -= usize::try_from(unsafe { libc::read(pipe[0], place, LENGTH) }).unwrap_or(0).min(left);
            }
            true
        });
    }
    for child in children.iter_mut().skip(SIDE) {
        *child = fork_and(|| {
            // SAFETY: the buffer is a message long.
            let mut send = |pipe: &[c_int; 2]| unsafe { libc::write(pipe[1], place, LENGTH) } == LENGTH as isize;
            (0..ROUNDS).all(|_| pipes.iter().all(&mut send))
        });
    }
    children.into_iter().for_each(wait_for);
    let cost = (now() - start) / (SIDE * SIDE * ROUNDS) as u64;
    row(
        name,
        "10 processes send 20 messages of 100 bytes to each of 10 others by pipes; per message, forks included",
        cost,
    );
    for end in pipes.as_flattened() {
        // SAFETY: our own descriptors.
        unsafe { libc::close(*end) };
    }
}

fn monotonic() -> i64 {
    // SAFETY: a place for the time.
    let time = unsafe {
        let mut time = zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds of the machine's clock for each instruction.
fn nanoseconds_per_instruction() -> i64 {
    let (time, count) = (monotonic(), now());
    while now() - count < 100_000 {
        std::hint::spin_loop();
    }
    let (time, count) = (monotonic() - time, i64::try_from(now() - count).unwrap_or(1));
    ((time + count / 2) / count).max(1)
}

/// How long after the time that it asked for a thread of the highest real-time priority runs, as `cyclictest` measures it.
fn wake_up_latency(circumstances: &str, busy: usize) {
    const WAKE_UPS: usize = 500;
    const INTERVAL: i64 = 1_000_000;
    let unit = nanoseconds_per_instruction();
    let mut children = [0; 4];
    for child in children.iter_mut().take(busy) {
        *child = fork_and(busy_for_ever);
    }
    set_policy(libc::SCHED_FIFO, 80);
    let mut late = [0_i64; WAKE_UPS];
    let mut next = monotonic();
    for late in &mut late {
        next += INTERVAL;
        let time = libc::timespec { tv_sec: next / 1_000_000_000, tv_nsec: next % 1_000_000_000 };
        // SAFETY: a time, and no place for what is left.
        unsafe {
            libc::syscall(
                libc::SYS_clock_nanosleep,
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const time,
                null_mut::<c_void>(),
            )
        };
        *late = (monotonic() - next) / unit;
    }
    set_policy(libc::SCHED_OTHER, 0);
    for child in children.into_iter().take(busy) {
        // SAFETY: our own children.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::syscall(libc::SYS_wait4, child, null_mut::<c_int>(), 0, 0);
        }
    }
    late.sort_unstable();
    let what = if busy == 0 {
        "a SCHED_FIFO thread sleeps until each millisecond"
    } else {
        "the same while 4 processes fork, map and write"
    };
    for (part, index) in [("p50", WAKE_UPS / 2), ("p99", WAKE_UPS - 5), ("max", WAKE_UPS - 1)] {
        row(&format!("wake-up {circumstances}, {part}"), what, u64::try_from(late[index]).unwrap_or(0));
    }
}

fn set_policy(policy: c_int, priority: c_int) {
    // SAFETY: a structure of one number.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
}

/// A load that keeps the kernel busy.
fn busy_for_ever() -> bool {
    loop {
        wait_for(fork_and(|| true));
        let area = super::map(16);
        super::touch(area, 16);
        super::unmap(area, 16);
    }
}
