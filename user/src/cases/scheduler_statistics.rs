//! What `/proc` says of a thread's turns on a CPU: `schedstat`.

use crate::raw;
use crate::runner::Case;
use crate::system::{self, Must, c};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("scheduler_statistics/running-and-sleeping", running_and_sleeping),
    ("scheduler_statistics/waiting-for-a-cpu", waiting),
    ("scheduler_statistics/of-others", others),
    ("scheduler_statistics/of-the-cpus", of_cpus),
];

const MILLISECOND: u64 = 1_000_000;

/// The numbers of a line: time run, time waited, turns.
fn read(path: &str) -> [u64; 3] {
    let text = std::fs::read_to_string(path).must();
    let numbers: Vec<u64> = text.trim_end().split(' ').map(|word| word.parse().must()).collect();
    numbers.try_into().unwrap_or_default()
}

fn own() -> [u64; 3] {
    read("/proc/thread-self/schedstat")
}

/// How long this thread has run, by its clock.
fn ran() -> u64 {
    let mut time = system::zeroed::<libc::timespec>();
    let _ = system::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
    (time.tv_sec * 1_000_000_000 + time.tv_nsec).unsigned_abs()
}

/// Runs for so many milliseconds of this thread's own time.
fn run(milliseconds: u64) {
    let end = ran() + milliseconds * MILLISECOND;
    while ran() < end {
        std::hint::spin_loop();
    }
}

/// Keeps the thread on the first CPU that it may use, and so who is forked by it.
fn keep_to_one_cpu() {
    let mut set = [0_u64; 16];
    let _ = raw!(libc::SYS_sched_getaffinity, 0, 128, &mut set[..]);
    let first = [set[0] & set[0].wrapping_neg()];
    let _ = raw!(libc::SYS_sched_setaffinity, 0, 8, &first[..]);
}

/// Whether it holds in one of ten tries: a host that stops the machine in between spoils some.
fn holds(attempt: impl Fn() -> bool) -> bool {
    (0..10).any(|_| attempt())
}

fn running_and_sleeping() {
    let before = own();
    run(40);
    println!("ran {}", own()[0] - before[0] >= 40 * MILLISECOND);
    let says_so = holds(|| {
        let (before, clock) = (own()[0], ran());
        run(40);
        let (after, later) = (own()[0], ran());
        (after - before).abs_diff(later - clock) < 15 * MILLISECOND
    });
    println!("as the clock says {says_so}");
    let sleeps = holds(|| {
        let before = own();
        (0..20).for_each(|_| thread::sleep(Duration::from_millis(5)));
        let after = own();
        // What slept did not wait for a CPU: only what others had of it in between.
        let [ran, waited, turns] = [0, 1, 2].map(|index| after[index] - before[index]);
        turns >= 15 && ran < 60 * MILLISECOND && waited < 60 * MILLISECOND
    });
    println!("slept {sleeps}");
}

fn waiting() {
    keep_to_one_cpu();
    let start = Instant::now();
    let child = system::fork(|| {
        run(200);
        0
    });
    let before = own();
    run(200);
    let _ = system::wait();
    let after = own();
    // Two that run for 200 ms each on one CPU: each waits for the other.
    println!("{} {}", after[1] - before[1] >= 100 * MILLISECOND, after[2] > before[2]);
    let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    println!("{} {}", child > 0, (after[0] - before[0]) + (after[1] - before[1]) <= elapsed);
}

fn others() {
    let (sender, receiver) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let sleeper = thread::spawn(move || {
        run(30);
        sender.send(system::gettid()).must();
        let _ = stopped.recv();
    });
    let path = format!("/proc/self/task/{}/schedstat", receiver.recv().must());
    thread::sleep(Duration::from_millis(20));
    let [ran, waited, turns] = read(&path);
    println!("{} {}", ran >= 30 * MILLISECOND, turns > 0);
    println!("stays {}", read(&path) == [ran, waited, turns]);
    // Of a process it is the main thread's.
    let main = system::getpid();
    let is_main_s = holds(|| {
        let whole = read("/proc/self/schedstat")[0];
        let single = read(&format!("/proc/self/task/{main}/schedstat"))[0];
        whole <= single && single - whole < 20 * MILLISECOND
    });
    println!("{is_main_s}");
    let _ = stop.send(());
    println!("{}", sleeper.join().is_ok());

    let child = system::fork(|| {
        run(30);
        0
    });
    let mut information = system::zeroed();
    let _ = system::waitid(libc::P_PID, child.unsigned_abs(), &mut information, libc::WEXITED | libc::WNOWAIT);
    let [ran, _, turns] = read(&format!("/proc/{child}/schedstat"));
    println!("zombie {} {}", ran >= 30 * MILLISECOND, turns > 0);
    for path in ["/proc/self/schedstat", "/proc/schedstat"] {
        let opened = system::open(&c(path), libc::O_RDWR, 0);
        println!("{path} {:?}", opened.map(|descriptor| system::write(descriptor, b"0")));
    }
}

/// The lines of the CPUs: time run, time waited and turns of all, summed.
fn cpus() -> (usize, [u64; 3]) {
    let text = std::fs::read_to_string("/proc/schedstat").must();
    let mut sum = [0; 3];
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with("cpu")) {
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|word| word.parse().must()).collect();
        count += usize::from(numbers.len() == 9);
        sum.iter_mut().zip(numbers.iter().skip(6)).for_each(|(sum, number)| *sum += number);
    }
    (count, sum)
}

fn of_cpus() {
    let text = std::fs::read_to_string("/proc/schedstat").must();
    let mut lines = text.lines();
    println!("{:?} {:?}", lines.next(), lines.next().map(|line| line.starts_with("timestamp ")));
    let online = std::fs::read_to_string("/proc/stat").must();
    let (count, before) = cpus();
    println!("{}", online.lines().filter(|line| line.starts_with("cpu")).count() == count + 1);
    // Linux adds a turn to its CPU when it ends.
    keep_to_one_cpu();
    let (start, own_before) = (Instant::now(), own());
    let child = system::fork(|| {
        run(100);
        0
    });
    run(100);
    let _ = system::wait();
    thread::sleep(Duration::from_millis(10));
    let (after, own_after) = (cpus().1, own());
    println!("{} {}", child > 0, after[0] - before[0] >= 200 * MILLISECOND);
    println!("{}", after[1] - before[1] >= (own_after[1] - own_before[1]).saturating_sub(MILLISECOND));
    println!("{}", after[2] - before[2] >= own_after[2] - own_before[2]);
    let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX) + 100 * MILLISECOND;
    println!("{}", after[0] - before[0] <= elapsed * count as u64);
}
