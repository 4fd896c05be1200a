//! Children: making them, waiting for them, losing them.

use super::flush;
use crate::runner::{describe, in_child};
use crate::{call, raw};
use libc::{WEXITED, WNOHANG, WNOWAIT};

pub(super) fn exit_status() {
    for status in [0, 1, 127, 255, 256, -1] {
        println!("{}", in_child(|| status));
    }
}

pub(super) fn wait_errors() {
    let mut status = 0;
    println!("{:?}", call!(waitpid(-1, &mut status, 0)));
    println!("{:?}", call!(waitpid(1, &mut status, WNOHANG)));
    println!("{:?}", call!(waitpid(-1, &mut status, 0x1234_0000)));
    println!("{:?}", raw!(libc::SYS_wait4, i32::MIN, 0, 0, 0));
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    println!("{:?}", call!(waitpid(child, &mut status, WNOHANG)));
    let _ = call!(kill(child, libc::SIGTERM));
    println!("bad pointer {:?}", raw!(libc::SYS_wait4, child, 8, 0, 0));
    println!("{:?}", call!(waitpid(child, &mut status, 0)));
}

pub(super) fn waitid() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe { libc::_exit(5) };
    }
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(waitid(libc::P_PID, child as u32, &mut information, WEXITED | WNOWAIT)));
    println!(
        "code {} status {} pid {}",
        information.si_code,
        unsafe { information.si_status() },
        unsafe { information.si_pid() } == child
    );
    println!("{:?}", call!(waitid(libc::P_ALL, 0, &mut information, WEXITED)));
    println!("{:?}", call!(waitid(libc::P_PID, child as u32, &mut information, WEXITED)));
    println!("no options {:?}", call!(waitid(libc::P_ALL, 0, &mut information, 0)));
    println!("bad kind {:?}", call!(waitid(9, 0, &mut information, WEXITED)));
}

pub(super) fn wait_by_group() {
    let first = unsafe { libc::fork() };
    if first == 0 {
        unsafe {
            libc::setpgid(0, 0);
            libc::_exit(1)
        };
    }
    let second = unsafe { libc::fork() };
    if second == 0 {
        unsafe { libc::_exit(2) };
    }
    let mut status = 0;
    println!("{} {}", unsafe { libc::waitpid(0, &mut status, 0) } == second || status != 0, status != 0);
    while unsafe { libc::waitpid(-1, &mut status, 0) } > 0 {}
    println!("{:?}", call!(waitpid(0, &mut status, 0)));
}

pub(super) fn subreaper() {
    println!("{:?}", call!(prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)));
    let reaper = unsafe { libc::getpid() };
    println!(
        "{}",
        in_child(|| {
            if unsafe { libc::fork() } == 0 {
                while unsafe { libc::getppid() } != reaper {
                    unsafe { libc::usleep(1000) };
                }
                unsafe { libc::_exit(33) };
            }
            0
        })
    );
    let mut status = 0;
    println!("{} {}", unsafe { libc::waitpid(-1, &mut status, 0) } > 0, describe(status));
}

pub(super) fn vfork() {
    // posix_spawn uses CLONE_VM|CLONE_VFORK.
    let mut pid = 0;
    let arguments = [
        c"/proc/self/exe".as_ptr().cast_mut(),
        c"--process-state".as_ptr().cast_mut(),
        c"spawned".as_ptr().cast_mut(),
        std::ptr::null_mut(),
    ];
    let environment = [std::ptr::null_mut()];
    flush();
    let result = unsafe {
        libc::posix_spawn(
            &mut pid,
            c"/proc/self/exe".as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    let mut status = 0;
    println!("{result} {} {}", unsafe { libc::waitpid(pid, &mut status, 0) } == pid, describe(status));
    let missing = unsafe {
        libc::posix_spawn(
            &mut pid,
            c"/nowhere".as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    println!("{}", crate::errno_name(missing));
}

pub(super) fn many_children() {
    let mut total = 0;
    for round in 0..10 {
        let children: Vec<i32> = (0..20)
            .map(|index| {
                let child = unsafe { libc::fork() };
                if child == 0 {
                    unsafe { libc::_exit(index + round) };
                }
                child
            })
            .collect();
        for child in children {
            let mut status = 0;
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            total += libc::WEXITSTATUS(status);
        }
    }
    println!("{total}");
}

pub(super) fn pidfd() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    let descriptor = raw!(libc::SYS_pidfd_open, child, 0).unwrap_or(-1) as i32;
    let mut polled = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    println!("{:?}", call!(poll(&mut polled, 1, 0)));
    println!("{:?}", raw!(libc::SYS_pidfd_send_signal, descriptor, libc::SIGTERM, 0, 0));
    println!("{:?} {}", call!(poll(&mut polled, 1, 5000)), polled.revents);
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    println!("{:?} {}", call!(waitid(libc::P_PIDFD, descriptor as u32, &mut information, WEXITED)), unsafe {
        information.si_status()
    });
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
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            loop {
                let _ = call!(getrusage(libc::RUSAGE_SELF, &mut usage));
                if usage.ru_utime.tv_sec > 0 || usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 50_000 {
                    return 0;
                }
            }
        })
    );
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(getrusage(libc::RUSAGE_CHILDREN, &mut usage)));
    let time = |value: libc::timeval| value.tv_sec * 1_000_000 + value.tv_usec;
    println!("children's time counted {}", time(usage.ru_utime) + time(usage.ru_stime) >= 40_000);
    println!("{} {}", usage.ru_maxrss > 0, usage.ru_minflt > 0);
    println!("{:?}", call!(getrusage(7, &mut usage)));
}

pub(super) fn inherited() {
    let _ = call!(umask(0o27));
    let _ = call!(chdir(c"/tmp".as_ptr()));
    println!(
        "{}",
        in_child(|| {
            let old = unsafe { libc::umask(0) };
            println!("{old:o} {:?}", std::env::current_dir());
            let _ = call!(chdir(c"/".as_ptr()));
            0
        })
    );
    println!("{:o} {:?}", unsafe { libc::umask(0o22) }, std::env::current_dir());
}

pub(super) fn death_signal() {
    println!("{:?}", call!(prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)));
    println!(
        "{}",
        in_child(|| {
            let mut ends = [0; 2];
            let _ = call!(pipe(ends.as_mut_ptr()));
            if unsafe { libc::fork() } == 0 {
                let _ = call!(prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0));
                let _ = call!(write(ends[1], c"x".as_ptr().cast(), 1));
                loop {
                    unsafe { libc::pause() };
                }
            }
            let mut byte = 0u8;
            let _ = call!(read(ends[0], (&raw mut byte).cast(), 1));
            0
        })
    );
    let mut status = 0;
    println!("{} {}", unsafe { libc::waitpid(-1, &mut status, 0) } > 0, describe(status));
}
