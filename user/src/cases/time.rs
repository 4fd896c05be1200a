//! Clocks, sleeping, timers.

use crate::runner::{Case, in_child};
use crate::{call, raw};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("time/clocks-advance", clocks),
    ("time/clock-errors", clock_errors),
    ("time/sleep-lasts", sleep_lasts),
    ("time/absolute-sleep", absolute_sleep),
    ("time/interval-timer", interval_timer),
    ("time/alarm", alarm),
    ("time/posix-timer", posix_timer),
    ("time/cpu-clocks", cpu_clocks),
    ("time/cpu-timers", cpu_timers),
    ("time/sleep-on-cpu-time", sleep_on_cpu_time),
    ("time/timerfd", timerfd),
    ("time/virtual-timer", virtual_timer),
];

fn now(clock: i32) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn clocks() {
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
    ] {
        let first = now(clock);
        let mut last = first;
        let monotonic = (0..2000).all(|_| {
            let next = now(clock);
            let rises = next >= last;
            last = next;
            rises
        });
        println!("{clock}: {} {}", monotonic, last > first);
    }
    let mut by_call = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let before = now(libc::CLOCK_MONOTONIC);
    let _ = raw!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut by_call);
    let after = now(libc::CLOCK_MONOTONIC);
    let middle = by_call.tv_sec * 1_000_000_000 + by_call.tv_nsec;
    println!("vDSO and call agree {}", before <= middle && middle <= after);
    println!("{}", now(libc::CLOCK_REALTIME) > 1_600_000_000_000_000_000);
}

fn clock_errors() {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    println!("{:?} {:?}", raw!(libc::SYS_clock_gettime, 99, &raw mut time), raw!(libc::SYS_clock_gettime, 0, 8));
    println!("{:?} {}", call!(clock_getres(libc::CLOCK_MONOTONIC, &mut time)), time.tv_nsec);
    println!("{:?}", call!(clock_settime(libc::CLOCK_MONOTONIC, &time)));
    let bad = libc::timespec { tv_sec: -1, tv_nsec: 0 };
    println!("{:?} {:?}", call!(nanosleep(&bad, std::ptr::null_mut())), raw!(libc::SYS_nanosleep, 8, 0));
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, libc::CLOCK_THREAD_CPUTIME_ID, 0, &raw const time, 0));
}

fn sleep_lasts() {
    let before = now(libc::CLOCK_MONOTONIC);
    let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    println!("{:?}", call!(nanosleep(&time, std::ptr::null_mut())));
    println!("{}", now(libc::CLOCK_MONOTONIC) - before >= 50_000_000);
}

fn absolute_sleep() {
    let target = now(libc::CLOCK_MONOTONIC) + 40_000_000;
    let time = libc::timespec { tv_sec: target / 1_000_000_000, tv_nsec: target % 1_000_000_000 };
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, 0));
    println!("{}", now(libc::CLOCK_MONOTONIC) >= target);
    println!(
        "past {:?}",
        raw!(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, 0)
    );
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
extern "C" fn count(_signal: i32) {
    COUNT.fetch_add(1, SeqCst);
}

fn interval_timer() {
    unsafe { libc::signal(libc::SIGALRM, count as *const () as usize) };
    let tick = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let _ = unsafe {
        libc::setitimer(libc::ITIMER_REAL, &libc::itimerval { it_interval: tick, it_value: tick }, std::ptr::null_mut())
    };
    while COUNT.load(SeqCst) < 3 {
        unsafe { libc::pause() };
    }
    let mut current: libc::itimerval = unsafe { std::mem::zeroed() };
    println!("{:?} {}", call!(getitimer(libc::ITIMER_REAL, &mut current)), current.it_interval.tv_usec);
    let stop: libc::itimerval = unsafe { std::mem::zeroed() };
    println!("{}", unsafe { libc::setitimer(libc::ITIMER_REAL, &stop, std::ptr::null_mut()) });
    println!("{:?}", raw!(libc::SYS_setitimer, 9, &raw const stop, 0));
}

fn alarm() {
    println!(
        "{}",
        in_child(|| {
            unsafe {
                libc::alarm(1);
                libc::pause()
            };
            0
        })
    );
    println!("{:?}", unsafe { (libc::alarm(100), libc::alarm(0), libc::alarm(0)) });
}

fn posix_timer() {
    unsafe { libc::signal(libc::SIGUSR1, count as *const () as usize) };
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    let mut timer = 0i32;
    println!("{:?}", raw!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer));
    let tick = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let setting = libc::itimerspec { it_interval: tick, it_value: tick };
    println!("{:?}", raw!(libc::SYS_timer_settime, timer, 0, &raw const setting, 0));
    while COUNT.load(SeqCst) < 3 {
        unsafe { libc::pause() };
    }
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
    event.sigev_notify = 77;
    println!("{:?}", raw!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer));
    println!("{:?}", raw!(libc::SYS_timer_create, 99, 0, &raw mut timer));
}

fn cpu_clocks() {
    let before = now(libc::CLOCK_PROCESS_CPUTIME_ID);
    unsafe { libc::usleep(100_000) };
    let slept = now(libc::CLOCK_PROCESS_CPUTIME_ID) - before;
    println!("sleeping costs little {}", slept < 50_000_000);
    let mut value = 1u64;
    let start = now(libc::CLOCK_PROCESS_CPUTIME_ID);
    while now(libc::CLOCK_PROCESS_CPUTIME_ID) - start < 30_000_000 {
        (0..1000).for_each(|round| value = std::hint::black_box(value.wrapping_mul(3) + round));
    }
    println!("working is counted");
}

/// Uses CPU time until `done`.
fn work_until(mut done: impl FnMut() -> bool) {
    let mut value = 1u64;
    while !done() {
        (0..1000).for_each(|round| value = std::hint::black_box(value.wrapping_mul(3) + round));
    }
}

/// Timers on the CPU time of the process, of a thread, and of another process.
fn cpu_timers() {
    // SAFETY: `count` only adds to an atomic.
    unsafe { libc::signal(libc::SIGUSR2, count as *const () as usize) };
    // SAFETY: zero is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR2;
    let tick = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
    let setting = libc::itimerspec { it_interval: tick, it_value: tick };
    for clock in [libc::CLOCK_PROCESS_CPUTIME_ID, libc::CLOCK_THREAD_CPUTIME_ID] {
        COUNT.store(0, SeqCst);
        let mut timer = 0i32;
        println!("{:?}", raw!(libc::SYS_timer_create, clock, &raw mut event, &raw mut timer));
        let start = now(clock);
        println!("{:?}", raw!(libc::SYS_timer_settime, timer, 0, &raw const setting, 0));
        work_until(|| COUNT.load(SeqCst) >= 3);
        println!("not too early {}", now(clock) - start >= 90_000_000);
        let mut left = setting;
        println!("{:?}", raw!(libc::SYS_timer_gettime, timer, &raw mut left));
        println!("{} {}", left.it_interval.tv_nsec, left.it_value.tv_nsec <= 30_000_000);
        println!("{:?}", raw!(libc::SYS_timer_delete, timer));
        println!("{:?}", raw!(libc::SYS_timer_gettime, timer, &raw mut left));
    }
    // A point that has passed.
    COUNT.store(0, SeqCst);
    let mut timer = 0i32;
    let past = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec { tv_sec: 0, tv_nsec: 1 },
    };
    let clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    println!("{:?}", raw!(libc::SYS_timer_create, clock, &raw mut event, &raw mut timer));
    println!("{:?}", raw!(libc::SYS_timer_settime, timer, libc::TIMER_ABSTIME, &raw const past, 0));
    work_until(|| COUNT.load(SeqCst) >= 1);
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
    // Nobody's time.
    let nobody = !0x3fff_fff0_i32 << 3 | 2;
    println!("{:?}", raw!(libc::SYS_timer_create, nobody, &raw mut event, &raw mut timer));
}

/// A thread works, another sleeps on the time that they use.
fn sleep_on_cpu_time() {
    static STOP: AtomicUsize = AtomicUsize::new(0);
    let clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    let worker = std::thread::spawn(|| work_until(|| STOP.load(SeqCst) != 0));
    let time = libc::timespec { tv_sec: 0, tv_nsec: 60_000_000 };
    let before = now(clock);
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, clock, 0, &raw const time, 0));
    println!("{}", now(clock) - before >= 60_000_000);
    let target = now(clock) + 40_000_000;
    let point = libc::timespec { tv_sec: target / 1_000_000_000, tv_nsec: target % 1_000_000_000 };
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &raw const point, 0));
    println!("{}", now(clock) >= target);
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &raw const point, 0));
    STOP.store(1, SeqCst);
    println!("{}", worker.join().is_ok());
    let me = !0_i32 << 3 | 6;
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, me, 0, &raw const time, 0));
}

fn timerfd() {
    let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) };
    let mut value = 0u64;
    println!("{:?}", call!(read(descriptor, (&raw mut value).cast(), 8)));
    let tick = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    println!(
        "{:?}",
        call!(timerfd_settime(
            descriptor,
            0,
            &libc::itimerspec { it_interval: tick, it_value: tick },
            std::ptr::null_mut()
        ))
    );
    unsafe { libc::usleep(60_000) };
    println!("{:?} {}", call!(read(descriptor, (&raw mut value).cast(), 8)), value >= 5);
    let mut polled = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    println!("{:?} {}", call!(poll(&mut polled, 1, 1000)), polled.revents);
    println!("{:?} {:?}", call!(read(descriptor, (&raw mut value).cast(), 4)), call!(timerfd_create(77, 0)));
}

fn virtual_timer() {
    println!(
        "{}",
        in_child(|| {
            let tick = libc::timeval { tv_sec: 0, tv_usec: 30_000 };
            let _ = unsafe {
                libc::setitimer(
                    libc::ITIMER_VIRTUAL,
                    &libc::itimerval { it_interval: tick, it_value: tick },
                    std::ptr::null_mut(),
                )
            };
            loop {
                std::hint::spin_loop();
            }
        })
    );
}
