//! Limits, priorities, names and what else a process has.

use crate::runner::in_child;
use crate::{raw, system};

pub(super) fn limits() {
    println!(
        "{}",
        in_child(|| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            println!(
                "{:?} {:?}",
                system::getrlimit(libc::RLIMIT_CORE, &mut limit),
                raw!(libc::SYS_getrlimit, 99, &mut limit)
            );
            let small = libc::rlimit { rlim_cur: 10, rlim_max: 12 };
            println!("{:?}", system::setrlimit(libc::RLIMIT_NOFILE, &small));
            let mut opened = 0;
            while system::dup(0).is_ok() {
                opened += 1;
            }
            println!("{} {:?}", opened > 0 && opened < 10, system::dup(0));
            println!("{:?} {:?}", system::dup2(0, 11), system::fcntl(0, libc::F_DUPFD, 10));
            let inverted = libc::rlimit { rlim_cur: 5, rlim_max: 4 };
            println!("{:?}", system::setrlimit(libc::RLIMIT_NOFILE, &inverted));
            println!("{:?}", system::setuid(1000));
            let raised = libc::rlimit { rlim_cur: 10, rlim_max: 100 };
            println!("{:?}", system::setrlimit(libc::RLIMIT_NOFILE, &raised));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
            println!("{:?}", system::setrlimit(libc::RLIMIT_FSIZE, &limit));
            system::ignore(libc::SIGXFSZ);
            let file = system::open(c"/tmp/conformance-size", libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600)
                .unwrap_or(-1);
            let _ = system::unlink(c"/tmp/conformance-size");
            let block = [1u8; 3000];
            println!(
                "{:?} {:?} {:?}",
                system::write(file, &block),
                system::write(file, &block),
                system::write(file, &block)
            );
            println!("{:?}", system::ftruncate(file, 5000));
            // Nothing is never too much, wherever it is written.
            println!("{:?}", raw!(libc::SYS_pwrite64, file, block.as_ptr().addr(), 0, 100_000));
            system::set_default(libc::SIGXFSZ);
            let _ = system::write(file, &block);
            0
        })
    );
}

pub(super) fn priorities() {
    println!(
        "{}",
        in_child(|| {
            println!("{:?} {:?}", system::nice(5), system::getpriority(libc::PRIO_PROCESS, 0));
            println!(
                "{:?} {:?}",
                system::setpriority(libc::PRIO_PROCESS, 0, 100),
                raw!(libc::SYS_getpriority, libc::PRIO_PROCESS, 0)
            );
            println!(
                "{:?} {:?}",
                raw!(libc::SYS_getpriority, 9, 0),
                raw!(libc::SYS_getpriority, libc::PRIO_PROCESS, 0x3fff_ffff)
            );
            println!("{:?}", system::setuid(1000));
            println!("{:?}", system::setpriority(libc::PRIO_PROCESS, 0, 0));
            println!("{:?} {:?}", system::sched_getscheduler(0), system::sched_get_priority_max(libc::SCHED_FIFO));
            let parameter = libc::sched_param { sched_priority: 10 };
            println!("{:?}", system::sched_setscheduler(0, libc::SCHED_FIFO, &parameter));
            println!("{:?} {:?}", system::sched_get_priority_min(99), system::sched_getscheduler(-1));
            println!("{:?}", system::sched_yield());
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            let parameter = libc::sched_param { sched_priority: 10 };
            println!(
                "{:?} {:?}",
                system::sched_setscheduler(0, libc::SCHED_RR, &parameter),
                system::sched_getscheduler(0)
            );
            let bad = libc::sched_param { sched_priority: 100 };
            println!("{:?}", system::sched_setscheduler(0, libc::SCHED_FIFO, &bad));
            println!("{:?}", system::sched_setscheduler(0, libc::SCHED_OTHER, &parameter));
            0
        })
    );
}

pub(super) fn names() {
    let mut name = [0u8; 17];
    println!("{:?}", system::prctl(libc::PR_SET_NAME, c"a-rather-long-thread-name"));
    println!(
        "{:?} {}",
        system::prctl(libc::PR_GET_NAME, &mut name),
        String::from_utf8_lossy(&name).trim_end_matches('\0')
    );
    println!("{:?}", std::fs::read_to_string("/proc/self/comm"));
}

pub(super) fn prctl_errors() {
    println!("{:?} {:?}", system::prctl(9999, 0), system::prctl(libc::PR_SET_NAME, 8));
    println!("{:?} {:?}", system::prctl(libc::PR_SET_PDEATHSIG, 65), system::prctl(libc::PR_SET_DUMPABLE, 2));
    println!("{:?} {:?}", system::prctl(libc::PR_GET_DUMPABLE, 0), system::prctl(libc::PR_SET_KEEPCAPS, 5));
}

pub(super) fn uname() {
    let mut name: libc::utsname = system::zeroed();
    println!("{:?} {:?}", system::uname(&mut name), system::text_of(&name.machine));
    println!("{:?}", system::text_of(&name.sysname));
    println!("{:?}", raw!(libc::SYS_uname, 8));
}

pub(super) fn affinity() {
    let mut mask = [0u64; 16];
    println!(
        "{}",
        raw!(libc::SYS_sched_getaffinity, 0, 128, &mut mask).is_ok_and(|length| length > 0 && length % 8 == 0)
    );
    println!("{:?}", raw!(libc::SYS_sched_getaffinity, 0, 3, &mut mask));
    println!("{:?}", raw!(libc::SYS_sched_getaffinity, 0x3fff_ffff, 128, &mut mask));
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, 0, 8, &0u64));
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, 0, 8, &1u64));
}

/// The upper half of the register with a call's number is not looked at.
pub(super) fn call_number() {
    let pid = i64::from(std::process::id());
    for upper in [0, 1, 0x4000_0000, -1] {
        println!("{:?}", raw!(upper << 32 | libc::SYS_getpid).map(|found| found == pid));
    }
    println!("{:?} {:?}", raw!(1_i64 << 31), raw!(-2_i64));
}

pub(super) fn idle_time() {
    let read = || {
        let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        (numbers.next().unwrap_or(-1.0), numbers.next().unwrap_or(-1.0))
    };
    let (first, mut idle) = read();
    let (mut now, mut grows) = (first, true);
    while now < first + 0.3 {
        // Threads come and go, and the CPU idles in between.
        let _ = system::usleep(2000);
        let next = read();
        grows &= next.0 >= now && next.1 >= idle;
        (now, idle) = next;
    }
    println!("{grows}");
}
