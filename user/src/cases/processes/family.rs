//! Children: making them, waiting for them, losing them.

use super::flush;
use crate::raw;
use crate::runner::{describe, in_child};
use crate::system::{self, Information};
use libc::{WEXITED, WNOHANG, WNOWAIT};

pub(super) fn exit_status() {
    for status in [0, 1, 127, 255, 256, -1] {
        println!("{}", in_child(|| status));
    }
}

pub(super) fn wait_errors() {
    let mut status = 0;
    println!("{:?}", system::waitpid(-1, &mut status, 0));
    println!("{:?}", system::waitpid(1, &mut status, WNOHANG));
    println!("{:?}", system::waitpid(-1, &mut status, 0x1234_0000));
    println!("{:?}", raw!(libc::SYS_wait4, i32::MIN, 0, 0, 0));
    let child = system::fork_idle();
    println!("{:?}", system::waitpid(child, &mut status, WNOHANG));
    let _ = system::kill(child, libc::SIGTERM);
    println!("bad pointer {:?}", raw!(libc::SYS_wait4, child, 8, 0, 0));
    println!("{:?}", system::waitpid(child, &mut status, 0));
}

pub(super) fn waitid() {
    let child = system::fork(|| 5);
    let mut information: libc::siginfo_t = system::zeroed();
    println!("{:?}", system::waitid(libc::P_PID, child as u32, &mut information, WEXITED | WNOWAIT));
    println!("code {} status {} pid {}", information.si_code, information.status(), information.process() == child);
    println!("{:?}", system::waitid(libc::P_ALL, 0, &mut information, WEXITED));
    println!("{:?}", system::waitid(libc::P_PID, child as u32, &mut information, WEXITED));
    println!("no options {:?}", system::waitid(libc::P_ALL, 0, &mut information, 0));
    println!("bad kind {:?}", system::waitid(9, 0, &mut information, WEXITED));
}

pub(super) fn wait_by_group() {
    system::fork(|| {
        let _ = system::setpgid(0, 0);
        1
    });
    let second = system::fork(|| 2);
    let mut status = 0;
    println!("{} {}", system::waitpid(0, &mut status, 0) == Ok(second) || status != 0, status != 0);
    while system::waitpid(-1, &mut status, 0).is_ok() {}
    println!("{:?}", system::waitpid(0, &mut status, 0));
}

pub(super) fn subreaper() {
    println!("{:?}", system::prctl(libc::PR_SET_CHILD_SUBREAPER, 1));
    let reaper = system::getpid();
    println!(
        "{}",
        in_child(|| {
            system::fork(|| {
                while system::getppid() != reaper {
                    let _ = system::usleep(1000);
                }
                33
            });
            0
        })
    );
    let mut status = 0;
    println!("{} {}", system::waitpid(-1, &mut status, 0).is_ok(), describe(status));
}

pub(super) fn vfork() {
    // posix_spawn uses CLONE_VM|CLONE_VFORK.
    let arguments = [c"/proc/self/exe", c"--process-state", c"spawned"];
    flush();
    let child = system::spawn(c"/proc/self/exe", arguments);
    let mut status = 0;
    let found = child.and_then(|child| system::waitpid(child, &mut status, 0));
    println!("{} {} {}", child.map_or_else(|error| error.0, |_| 0), found == child, describe(status));
    if let Err(missing) = system::spawn(c"/nowhere", arguments) {
        println!("{missing}");
    }
}

pub(super) fn many_children() {
    let mut total = 0;
    for round in 0..10 {
        let children: Vec<i32> = (0..20).map(|index| system::fork(|| index + round)).collect();
        for child in children {
            let mut status = 0;
            assert_eq!(system::waitpid(child, &mut status, 0), Ok(child));
            total += libc::WEXITSTATUS(status);
        }
    }
    println!("{total}");
}

pub(super) fn pidfd() {
    let child = system::fork_idle();
    let descriptor = raw!(libc::SYS_pidfd_open, child, 0).unwrap_or(-1) as i32;
    let mut polled = [system::pollfd(descriptor, libc::POLLIN)];
    println!("{:?}", system::poll(&mut polled, 0));
    println!("{:?}", raw!(libc::SYS_pidfd_send_signal, descriptor, libc::SIGTERM, 0, 0));
    println!("{:?} {}", system::poll(&mut polled, 5000), polled[0].revents);
    let mut information: libc::siginfo_t = system::zeroed();
    println!(
        "{:?} {}",
        system::waitid(libc::P_PIDFD, descriptor as u32, &mut information, WEXITED),
        information.status()
    );
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_pidfd_send_signal, descriptor, 0, 0, 0),
        raw!(libc::SYS_pidfd_open, 0x3fff_ffff, 0)
    );
    println!("{:?} {:?}", raw!(libc::SYS_pidfd_open, 1, 5), raw!(libc::SYS_pidfd_open, -1, 0));
}

pub(super) fn clone_errors() {
    println!("thread without signal handlers {:?}", raw!(libc::SYS_clone, libc::CLONE_THREAD, 0, 0, 0, 0));
    println!("signal handlers without memory {:?}", raw!(libc::SYS_clone, libc::CLONE_SIGHAND, 0, 0, 0, 0));
    println!("fs and new namespace {:?}", raw!(libc::SYS_clone, libc::CLONE_FS | libc::CLONE_NEWNS, 0, 0, 0, 0));
    println!("clone3 sizes {:?} {:?}", raw!(libc::SYS_clone3, 0, 8), raw!(libc::SYS_clone3, 8, 88));
    println!("clone3 too large {:?}", raw!(libc::SYS_clone3, 8, 100_000));
}

pub(super) fn usage() {
    println!(
        "{}",
        in_child(|| {
            let mut usage: libc::rusage = system::zeroed();
            loop {
                let _ = system::getrusage(libc::RUSAGE_SELF, &mut usage);
                if usage.ru_utime.tv_sec > 0 || usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 50_000 {
                    return 0;
                }
            }
        })
    );
    let mut usage: libc::rusage = system::zeroed();
    println!("{:?}", system::getrusage(libc::RUSAGE_CHILDREN, &mut usage));
    let time = |value: libc::timeval| value.tv_sec * 1_000_000 + value.tv_usec;
    println!("children's time counted {}", time(usage.ru_utime) + time(usage.ru_stime) >= 40_000);
    println!("{} {}", usage.ru_maxrss > 0, usage.ru_minflt > 0);
    println!("{:?}", system::getrusage(7, &mut usage));
}

pub(super) fn inherited() {
    let _ = system::umask(0o27);
    let _ = system::chdir(c"/tmp");
    println!(
        "{}",
        in_child(|| {
            let old = system::umask(0);
            println!("{old:o} {:?}", std::env::current_dir());
            let _ = system::chdir(c"/");
            0
        })
    );
    println!("{:o} {:?}", system::umask(0o22), std::env::current_dir());
}

pub(super) fn death_signal() {
    println!("{:?}", system::prctl(libc::PR_SET_CHILD_SUBREAPER, 1));
    println!(
        "{}",
        in_child(|| {
            let ends = system::pipe();
            system::fork(|| {
                let _ = system::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                let _ = system::write(ends[1], b"x");
                system::idle()
            });
            let mut byte = [0u8];
            let _ = system::read(ends[0], &mut byte);
            0
        })
    );
    let mut status = 0;
    println!("{} {}", system::waitpid(-1, &mut status, 0).is_ok(), describe(status));
}
