//! Clocks, sleeping, timers.

use crate::runner::{Case, in_child};
use crate::system::Errno;
use crate::{raw, system};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("time/clocks-advance", clocks),
    ("time/clock-errors", clock_errors),
    ("time/sleep-lasts", sleep_lasts),
    ("time/absolute-sleep", absolute_sleep),
    ("time/interval-timer", interval_timer),
    ("time/alarm", alarm),
    ("time/posix-timer", posix_timer),
    ("time/timers-that-expire-at-once", at_once),
    ("time/deadlines-that-pass-too-late", too_late),
    ("time/cpu-clocks", cpu_clocks),
    ("time/cpu-timers", cpu_timers),
    ("time/sleep-on-cpu-time", sleep_on_cpu_time),
    ("time/timerfd", timerfd),
    ("time/virtual-timer", virtual_timer),
    ("time/timers-finer-than-the-tick", finer_than_the_tick),
];

fn now(clock: i32) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = system::clock_gettime(clock, &mut time);
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
    let _ = raw!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut by_call);
    let after = now(libc::CLOCK_MONOTONIC);
    let middle = by_call.tv_sec * 1_000_000_000 + by_call.tv_nsec;
    println!("vDSO and call agree {}", before <= middle && middle <= after);
    println!("{}", now(libc::CLOCK_REALTIME) > 1_600_000_000_000_000_000);
}

fn clock_errors() {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    println!("{:?} {:?}", raw!(libc::SYS_clock_gettime, 99, &mut time), raw!(libc::SYS_clock_gettime, 0, 8));
    println!("{:?} {}", system::clock_getres(libc::CLOCK_MONOTONIC, &mut time), time.tv_nsec);
    println!("{:?}", system::clock_settime(libc::CLOCK_MONOTONIC, &time));
    let bad = libc::timespec { tv_sec: -1, tv_nsec: 0 };
    println!("{:?} {:?}", system::nanosleep(&bad, None), raw!(libc::SYS_nanosleep, 8, 0));
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, libc::CLOCK_THREAD_CPUTIME_ID, 0, &time, 0));
}

fn sleep_lasts() {
    let before = now(libc::CLOCK_MONOTONIC);
    let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    println!("{:?}", system::nanosleep(&time, None));
    println!("{}", now(libc::CLOCK_MONOTONIC) - before >= 50_000_000);
}

fn absolute_sleep() {
    let target = now(libc::CLOCK_MONOTONIC) + 40_000_000;
    let time = libc::timespec { tv_sec: target / 1_000_000_000, tv_nsec: target % 1_000_000_000 };
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, 0));
    println!("{}", now(libc::CLOCK_MONOTONIC) >= target);
    println!("past {:?}", raw!(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, 0));
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
fn count(_signal: i32) {
    COUNT.fetch_add(1, SeqCst);
}

fn interval_timer() {
    system::catch(libc::SIGALRM, count);
    let _ = system::setitimer(libc::ITIMER_REAL, &system::every(20_000), None);
    while COUNT.load(SeqCst) < 3 {
        let _ = system::pause();
    }
    let mut current: libc::itimerval = system::zeroed();
    println!("{:?} {}", system::getitimer(libc::ITIMER_REAL, &mut current), current.it_interval.tv_usec);
    let stop: libc::itimerval = system::zeroed();
    println!("{}", system::setitimer(libc::ITIMER_REAL, &stop, None).unwrap_or(-1));
    println!("{:?}", raw!(libc::SYS_setitimer, 9, &stop, 0));
}

fn alarm() {
    println!(
        "{}",
        in_child(|| {
            system::alarm(1);
            let _ = system::pause();
            0
        })
    );
    println!("{:?}", (system::alarm(100), system::alarm(0), system::alarm(0)));
}

fn posix_timer() {
    system::catch(libc::SIGUSR1, count);
    let mut event: libc::sigevent = system::zeroed();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    let mut timer = 0i32;
    println!("{:?}", raw!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &mut event, &mut timer));
    let tick = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let setting = libc::itimerspec { it_interval: tick, it_value: tick };
    println!("{:?}", raw!(libc::SYS_timer_settime, timer, 0, &setting, 0));
    while COUNT.load(SeqCst) < 3 {
        let _ = system::pause();
    }
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
    event.sigev_notify = 77;
    println!("{:?}", raw!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &mut event, &mut timer));
    println!("{:?}", raw!(libc::SYS_timer_create, 99, 0, &mut timer));
}

/// Timers that expire while they are being set go on all the same.
fn at_once() {
    system::catch(libc::SIGALRM, count);
    system::catch(libc::SIGUSR1, count);
    let mut event: libc::sigevent = system::zeroed();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    let set = |timer: i32, first: i64| {
        let at = |tv_nsec| libc::timespec { tv_sec: 0, tv_nsec };
        let setting = libc::itimerspec { it_interval: at(200_000), it_value: at(first) };
        let _ = raw!(libc::SYS_timer_settime, timer, 0, &setting, 0);
    };
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
        let mut timer = 0i32;
        println!("{:?}", raw!(libc::SYS_timer_create, clock, &mut event, &mut timer));
        let expired = (0..100).all(|round| {
            COUNT.store(0, SeqCst);
            set(timer, 1 + round * 200);
            comes_within_two_seconds(|| COUNT.load(SeqCst) >= 3)
        });
        println!("{expired} {:?}", raw!(libc::SYS_timer_delete, timer));
    }
    let expired = (0..100).all(|_| {
        COUNT.store(0, SeqCst);
        let _ = system::setitimer(libc::ITIMER_REAL, &system::every(100), None);
        comes_within_two_seconds(|| COUNT.load(SeqCst) >= 3)
    });
    println!("{expired}");
    let stop: libc::itimerval = system::zeroed();
    let _ = system::setitimer(libc::ITIMER_REAL, &stop, None);
}

fn comes_within_two_seconds(done: impl Fn() -> bool) -> bool {
    let end = now(libc::CLOCK_MONOTONIC) + 2_000_000_000;
    while !done() {
        if now(libc::CLOCK_MONOTONIC) > end {
            return false;
        }
        let _ = system::usleep(50);
    }
    true
}

/// A sleep that somebody ends just when its deadline passes; that deadline does not end the next one, which has none.
fn too_late() {
    static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    static WAITS: AtomicU32 = AtomicU32::new(0);
    const ROUNDS: u32 = 500;
    let futex = |operation: i32, word: usize, value: u32, limit: Option<&libc::timespec>| {
        let limit = limit.map_or(0, |limit| std::ptr::from_ref(limit).addr());
        raw!(libc::SYS_futex, &WORDS[word], operation | libc::FUTEX_PRIVATE_FLAG, value, limit)
    };
    let waker = std::thread::spawn(move || {
        for round in 0..ROUNDS {
            for word in [0, 1] {
                while WAITS.load(SeqCst) < 2 * round + word as u32 + 1 {
                    std::thread::yield_now();
                }
                let begin = now(libc::CLOCK_MONOTONIC);
                while now(libc::CLOCK_MONOTONIC) - begin < 60_000 {
                    std::hint::spin_loop();
                }
                WORDS[word].store(round + 1, SeqCst);
                let _ = futex(libc::FUTEX_WAKE, word, 1, None);
            }
        }
    });
    let mut too_late = 0;
    for round in 0..ROUNDS {
        let limit = libc::timespec { tv_sec: 0, tv_nsec: 50_000 + i64::from(round % 40) * 500 };
        WAITS.fetch_add(1, SeqCst);
        while WORDS[0].load(SeqCst) == round {
            let _ = futex(libc::FUTEX_WAIT, 0, round, Some(&limit));
        }
        WAITS.fetch_add(1, SeqCst);
        while WORDS[1].load(SeqCst) == round {
            too_late += u32::from(futex(libc::FUTEX_WAIT, 1, round, None) == Err(Errno(libc::ETIMEDOUT)));
        }
    }
    println!("{too_late} {}", waker.join().is_ok());
}

fn cpu_clocks() {
    let before = now(libc::CLOCK_PROCESS_CPUTIME_ID);
    let _ = system::usleep(100_000);
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
    system::catch(libc::SIGUSR2, count);
    let mut event: libc::sigevent = system::zeroed();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR2;
    let tick = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
    let setting = libc::itimerspec { it_interval: tick, it_value: tick };
    for clock in [libc::CLOCK_PROCESS_CPUTIME_ID, libc::CLOCK_THREAD_CPUTIME_ID] {
        COUNT.store(0, SeqCst);
        let mut timer = 0i32;
        println!("{:?}", raw!(libc::SYS_timer_create, clock, &mut event, &mut timer));
        let start = now(clock);
        println!("{:?}", raw!(libc::SYS_timer_settime, timer, 0, &setting, 0));
        work_until(|| COUNT.load(SeqCst) >= 3);
        println!("not too early {}", now(clock) - start >= 90_000_000);
        let mut left = setting;
        println!("{:?}", raw!(libc::SYS_timer_gettime, timer, &mut left));
        println!("{} {}", left.it_interval.tv_nsec, left.it_value.tv_nsec <= 30_000_000);
        println!("{:?}", raw!(libc::SYS_timer_delete, timer));
        println!("{:?}", raw!(libc::SYS_timer_gettime, timer, &mut left));
    }
    // A point that has passed.
    COUNT.store(0, SeqCst);
    let mut timer = 0i32;
    let past = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec { tv_sec: 0, tv_nsec: 1 },
    };
    let clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    println!("{:?}", raw!(libc::SYS_timer_create, clock, &mut event, &mut timer));
    println!("{:?}", raw!(libc::SYS_timer_settime, timer, libc::TIMER_ABSTIME, &past, 0));
    work_until(|| COUNT.load(SeqCst) >= 1);
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
    // Nobody's time.
    let nobody = !0x3fff_fff0_i32 << 3 | 2;
    println!("{:?}", raw!(libc::SYS_timer_create, nobody, &mut event, &mut timer));
}

/// A thread works, another sleeps on the time that they use.
fn sleep_on_cpu_time() {
    static STOP: AtomicUsize = AtomicUsize::new(0);
    let clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    let worker = std::thread::spawn(|| work_until(|| STOP.load(SeqCst) != 0));
    let time = libc::timespec { tv_sec: 0, tv_nsec: 60_000_000 };
    let before = now(clock);
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, clock, 0, &time, 0));
    println!("{}", now(clock) - before >= 60_000_000);
    let target = now(clock) + 40_000_000;
    let point = libc::timespec { tv_sec: target / 1_000_000_000, tv_nsec: target % 1_000_000_000 };
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &point, 0));
    println!("{}", now(clock) >= target);
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &point, 0));
    STOP.store(1, SeqCst);
    println!("{}", worker.join().is_ok());
    let me = !0_i32 << 3 | 6;
    println!("{:?}", raw!(libc::SYS_clock_nanosleep, me, 0, &time, 0));
}

fn timerfd() {
    let descriptor = system::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK).unwrap_or(-1);
    let mut value = 0u64;
    println!("{:?}", raw!(libc::SYS_read, descriptor, &mut value, 8));
    let tick = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    println!(
        "{:?}",
        system::timerfd_settime(descriptor, 0, &libc::itimerspec { it_interval: tick, it_value: tick }, None)
    );
    let _ = system::usleep(60_000);
    println!("{:?} {}", raw!(libc::SYS_read, descriptor, &mut value, 8), value >= 5);
    let mut polled = [system::pollfd(descriptor, libc::POLLIN)];
    println!("{:?} {}", system::poll(&mut polled, 1000), polled[0].revents);
    println!("{:?} {:?}", raw!(libc::SYS_read, descriptor, &mut value, 4), system::timerfd_create(77, 0));
}

/// What a periodic timer of 100 us gives in 300 ms: nine in ten of its expiries are told of, and the wake-ups are not those of a tick.
fn finer_than_the_tick() {
    const PERIOD: i64 = 100_000;
    const LENGTH: i64 = 300_000_000;
    let period = libc::timespec { tv_sec: 0, tv_nsec: PERIOD };
    let setting = libc::itimerspec { it_interval: period, it_value: period };
    let judge = |start: i64, told: i64, mut gaps: Vec<i64>| {
        let expected = (now(libc::CLOCK_MONOTONIC) - start) / PERIOD;
        gaps.sort_unstable();
        // A tick of 100 Hz comes each 10 ms, one of 250 Hz each 4 ms.
        let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(i64::MAX);
        told >= expected * 9 / 10 && told <= expected + 1 && usual < 2_000_000
    };

    // A host that stops the machine for long spoils some tries.
    let holds = |attempt: &dyn Fn() -> bool| (0..5).any(|_| attempt());

    let descriptor = system::timerfd_create(libc::CLOCK_MONOTONIC, 0).unwrap_or(-1);
    let by_descriptor = holds(&|| {
        let start = now(libc::CLOCK_MONOTONIC);
        let _ = system::timerfd_settime(descriptor, 0, &setting, None);
        let (mut told, mut last, mut gaps) = (0, start, Vec::new());
        while last < start + LENGTH {
            let mut count = 0u64;
            let _ = raw!(libc::SYS_read, descriptor, &mut count, 8);
            let time = now(libc::CLOCK_MONOTONIC);
            told += count.cast_signed();
            gaps.push(time - last);
            last = time;
        }
        judge(start, told, gaps)
    });
    println!("timerfd: {by_descriptor}");

    let signal = libc::SIGRTMIN();
    system::block(&[signal]);
    let mut event = [0_u64; 8];
    // sigev_signo, sigev_notify: SIGEV_SIGNAL is 0.
    event[1] = u64::from(signal.unsigned_abs());
    let mut timer = 0_i32;
    println!("{:?}", raw!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &event[..], &mut timer));
    let fields = [0, PERIOD, 0, PERIOD];
    let set = system::SignalSet::of(&[signal]);
    let by_signal = holds(&|| {
        let mut information = system::zeroed();
        // What the last try has left.
        let _ = raw!(libc::SYS_timer_settime, timer, 0, &[0_i64; 4][..], 0);
        let _ = system::sigtimedwait(&set, &mut information, &libc::timespec { tv_sec: 0, tv_nsec: 0 });
        let start = now(libc::CLOCK_MONOTONIC);
        let _ = raw!(libc::SYS_timer_settime, timer, 0, &fields[..], 0);
        let (mut told, mut last, mut gaps) = (0, start, Vec::new());
        while last < start + LENGTH {
            let _ = system::sigwaitinfo(&set, &mut information);
            told += 1 + raw!(libc::SYS_timer_getoverrun, timer).unwrap_or(0);
            let time = now(libc::CLOCK_MONOTONIC);
            gaps.push(time - last);
            last = time;
        }
        judge(start, told, gaps)
    });
    println!("signal: {by_signal}");
    println!("{:?}", raw!(libc::SYS_timer_delete, timer));
}

fn virtual_timer() {
    println!(
        "{}",
        in_child(|| {
            let _ = system::setitimer(libc::ITIMER_VIRTUAL, &system::every(30_000), None);
            loop {
                std::hint::spin_loop();
            }
        })
    );
}
