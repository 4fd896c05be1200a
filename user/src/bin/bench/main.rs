//! Counts what operations of the kernel cost. Under QEMU's `-icount` the machine's counter is the number of instructions
//! executed, so each row is exact and the same in each run. Prints lines `row NAME INSTRUCTIONS | WHAT IS DONE`; `cargo xtask bench` runs
//! it on Ashlar and on Linux.
//!
//! The rows shall show the kernel: where a library's part would be large the system call is made by its number, and this program starts
//! from the C library alone, without Rust's runtime, which would give each thread a signal stack.
//!
//! Without an argument it measures what needs one CPU; with any, what is done across two.

#![cfg_attr(not(test), no_main)]
#![allow(unsafe_code, reason = "system calls through libc")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::hint::black_box;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

mod scheduling;

use ashlar_user::counter::now;

const PAGE: usize = 4096;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// What `work` costs on average over `count` rounds after a tenth as many unmeasured ones, less the loop's own cost.
fn measure(count: u64, mut work: impl FnMut()) -> u64 {
    for _ in 0..count.div_ceil(10) {
        work();
    }
    let start = now();
    for round in 0..count {
        black_box(round);
        work();
    }
    let spent = now() - start;
    let start = now();
    for round in 0..count {
        black_box(round);
    }
    spent.saturating_sub(now() - start) / count
}

fn row(name: &str, what: &str, instructions: u64) {
    println!("row {name} {instructions} | {what}");
}

/// The program: called by the C library's start code.
// SAFETY: it is the only function of this name, with the signature that the C library calls.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn main(count: c_int, _arguments: *const *const c_char) -> c_int {
    if count > 1 {
        scheduling::across_cpus();
    } else {
        calls();
        files();
        processes();
        memory();
        messages();
        scheduling::on_one_cpu();
        large_fork();
    }
    println!("bench: done");
    0
}

fn calls() {
    // SAFETY: calls without pointers, and one with a valid place.
    unsafe {
        row("null call (getpid)", "getpid by number", measure(2000, || _ = black_box(libc::syscall(libc::SYS_getpid))));
        let mut time = zeroed::<libc::timespec>();
        let read = || _ = libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        row("clock_gettime", "the C library's, through the vDSO", measure(2000, read));
    }
}

fn files() {
    let buffer = &mut [0_u8; PAGE];
    let place = buffer.as_mut_ptr().cast::<libc::c_void>();
    // SAFETY: the buffer is a page long, and the names end in NUL.
    unsafe {
        let zero = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY);
        row("read of one byte", "read of /dev/zero", measure(2000, || _ = libc::read(zero, place, 1)));
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
        row("write of one byte", "write to /dev/null", measure(2000, || _ = libc::write(null, place, 1)));
        let name = c"/tmp/bench-file".as_ptr();
        let file = libc::open(name, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600);
        libc::write(file, place, PAGE);
        row("read of 4 KiB", "pread of a file in a tmpfs", measure(1000, || _ = libc::pread(file, place, PAGE, 0)));
        row("write of 4 KiB", "pwrite over what is there", measure(1000, || _ = libc::pwrite(file, place, PAGE, 0)));
        row(
            "open+close",
            "of that file, /tmp/bench-file",
            measure(1000, || _ = libc::close(libc::open(name, libc::O_RDONLY))),
        );
        let mut status = zeroed::<libc::stat>();
        row("stat", "of that file by its path", measure(1000, || _ = libc::stat(name, &raw mut status)));
        libc::unlink(name);
    }
}

/// Forks by the system call's number; the child does `work`, and its status says whether that was done.
fn fork_and(work: impl FnOnce() -> bool) -> i32 {
    // SAFETY: no thread of this program holds a lock that the child could want, and the child makes system calls only.
    unsafe {
        let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
        if child == 0 {
            libc::syscall(libc::SYS_exit_group, c_int::from(!work()));
        }
        child as i32
    }
}

/// Waits for a child that must have ended well: what fails is not measured.
fn wait_for(child: i32) {
    let mut status: c_int = -1;
    // SAFETY: a place for the status, and no usage is asked for.
    unsafe { libc::syscall(libc::SYS_wait4, child, &raw mut status, 0, 0) };
    assert!(child > 0 && status == 0, "child {child} ended with {status:#x}");
}

fn processes() {
    row(
        "fork+exit+wait",
        "clone, exit_group, wait4 by number, in a static program of 1 MB",
        measure(100, || wait_for(fork_and(|| true))),
    );
    let run = |named: &CStr| {
        let arguments = [named.as_ptr(), null()];
        let environment = [null::<c_char>()];
        // SAFETY: the lists end in null pointers and the strings in NUL.
        wait_for(fork_and(|| unsafe { libc::execve(named.as_ptr(), arguments.as_ptr(), environment.as_ptr()) == 0 }));
    };
    let smallest = measure(50, || run(c"/usr/local/bin/smallest"));
    row("fork+exec+wait", "the same with execve of a program of three instructions", smallest);
    let started = measure(50, || run(c"/usr/local/bin/leave"));
    row(
        "fork+exec+wait, C program",
        "the same with a static C program of 1 MB that returns at once, its start included",
        started,
    );
    row(
        "thread create+join",
        "pthread_create and pthread_join, stacks from the C library's cache",
        measure(100, || join(spawn(leave))),
    );
}

extern "C" fn leave(_: *mut c_void) -> *mut c_void {
    null_mut()
}

fn spawn(entry: extern "C" fn(*mut c_void) -> *mut c_void) -> libc::pthread_t {
    // SAFETY: the entry functions of this program take no argument and end.
    unsafe {
        let mut thread = zeroed::<libc::pthread_t>();
        libc::pthread_create(&raw mut thread, null(), entry, null_mut());
        thread
    }
}

fn join(thread: libc::pthread_t) {
    // SAFETY: each thread is joined once.
    unsafe { libc::pthread_join(thread, null_mut()) };
}

/// Anonymous memory in pages of 4 KiB.
fn map(pages: usize) -> *mut u8 {
    // SAFETY: a new mapping; the advice is about it.
    unsafe {
        let area = libc::mmap(null_mut(), pages * PAGE, BOTH, PRIVATE, -1, 0);
        libc::madvise(area, pages * PAGE, libc::MADV_NOHUGEPAGE);
        area.cast()
    }
}

fn unmap(area: *mut u8, pages: usize) {
    // SAFETY: the callers mapped it and use it no more.
    unsafe { libc::munmap(area.cast(), pages * PAGE) };
}

/// Writes to each page; gives what one page cost.
fn touch(area: *mut u8, pages: usize) -> u64 {
    let start = now();
    for page in 0..pages {
        // SAFETY: the callers' areas are that large.
        unsafe { area.add(page * PAGE).write_volatile(1) };
    }
    (now() - start) / pages as u64
}

fn memory() {
    const PAGES: usize = 2048;
    let area = map(PAGES);
    row("anonymous fault", "first write to each of 2,048 pages, per page", touch(area, PAGES));
    // The child writes to what it shares with its parent, and leaves the count in shared memory.
    // SAFETY: a fresh shared page, used as one counter.
    let cell = unsafe {
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        &*libc::mmap(null_mut(), PAGE, BOTH, shared, -1, 0).cast::<AtomicU64>()
    };
    cell.store(0, Ordering::Relaxed);
    wait_for(fork_and(|| {
        cell.store(touch(area, PAGES), Ordering::Relaxed);
        true
    }));
    row(
        "copy-on-write fault",
        "first write of a child to each of its parent's 2,048 pages, per page",
        cell.load(Ordering::Relaxed),
    );
    unmap(area, PAGES);
    row("mmap+munmap", "one page, never touched", measure(500, || unmap(map_plain(), 1)));
    let touched = || {
        let area = map_plain();
        // SAFETY: the page was just mapped.
        unsafe { area.write_volatile(1) };
        unmap(area, 1);
    };
    row("mmap+touch+munmap", "one page, written once", measure(500, touched));
}

fn map_plain() -> *mut u8 {
    // SAFETY: a new mapping.
    unsafe { libc::mmap(null_mut(), PAGE, BOTH, PRIVATE, -1, 0).cast() }
}

extern "C" fn on_signal(_signal: i32) {}

fn messages() {
    // SAFETY: a handler that does nothing, and our own process.
    unsafe {
        let handler: extern "C" fn(i32) = on_signal;
        libc::signal(libc::SIGUSR1, handler as *const () as usize);
        let own = libc::getpid();
        row(
            "signal to self",
            "kill, the handler, and the return from it",
            measure(500, || _ = libc::kill(own, libc::SIGUSR1)),
        );
    }
    pipe_round_trip("pipe round trip", || ());
    futex_round_trip("futex round trip", || ());
}

/// The partner calls `place_partner` first.
fn pipe_round_trip(name: &str, place_partner: fn()) {
    let (mut there, mut back) = ([0_i32; 2], [0_i32; 2]);
    let mut byte = 0_u8;
    let place = (&raw mut byte).cast::<libc::c_void>();
    // SAFETY: both arrays take two descriptors, and the byte is one byte.
    unsafe {
        libc::pipe(there.as_mut_ptr());
        libc::pipe(back.as_mut_ptr());
        let child = fork_and(|| {
            place_partner();
            libc::close(there[1]);
            while libc::read(there[0], place, 1) == 1 {
                libc::write(back[1], place, 1);
            }
            true
        });
        libc::close(there[0]);
        let trip = || {
            libc::write(there[1], place, 1);
            libc::read(back[0], place, 1);
        };
        row(name, "one byte to another process and one back", measure(500, trip));
        libc::close(there[1]);
        wait_for(child);
    }
}

/// Whose turn it is: 0 the first thread's, 1 the second's, 2 nobody's.
static TURN: AtomicU32 = AtomicU32::new(0);

fn give_turn(to: u32) {
    TURN.store(to, Ordering::SeqCst);
    // SAFETY: the word lives for ever.
    unsafe { libc::syscall(libc::SYS_futex, TURN.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

/// Sleeps while it is the turn of `other`.
fn await_turn(other: u32) {
    while TURN.load(Ordering::SeqCst) == other {
        let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word lives for ever, and there is no time limit.
        unsafe { libc::syscall(libc::SYS_futex, TURN.as_ptr(), wait, other, 0) };
    }
}

/// The partner calls `place_partner` first.
fn futex_round_trip(name: &str, place_partner: fn()) {
    static PLACE_PARTNER: OnceLock<fn()> = OnceLock::new();
    extern "C" fn partner(_: *mut c_void) -> *mut c_void {
        if let Some(place_partner) = PLACE_PARTNER.get() {
            place_partner();
        }
        loop {
            await_turn(0);
            if TURN.load(Ordering::SeqCst) == 2 {
                return null_mut();
            }
            give_turn(0);
        }
    }
    let _ = PLACE_PARTNER.set(place_partner);
    let partner = spawn(partner);
    let trip = || {
        give_turn(1);
        await_turn(1);
    };
    row(name, "waking another thread and sleeping until it answers", measure(500, trip));
    give_turn(2);
    join(partner);
}

fn large_fork() {
    const PAGES: usize = 256 * 256;
    let area = map(PAGES);
    touch(area, PAGES);
    row(
        "fork with 256 MiB",
        "fork+exit+wait with 65,536 more pages of private memory",
        measure(3, || wait_for(fork_and(|| true))),
    );
    unmap(area, PAGES);
}
