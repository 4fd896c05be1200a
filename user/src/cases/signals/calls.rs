//! What signals do to system calls, and calls that wait for signals.

use super::{block, install, note, seen, set_of};
use crate::call;
use crate::runner::{describe, in_child};

fn delayed_signal(signal: i32) -> i32 {
    let parent = unsafe { libc::getpid() };
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::usleep(100_000);
            libc::kill(parent, signal);
            libc::usleep(200_000);
            libc::_exit(0)
        }
    }
    child
}

pub(super) fn restart() {
    install(libc::SIGUSR1, note, libc::SA_RESTART);
    let mut ends = [0; 2];
    let _ = call!(pipe(ends.as_mut_ptr()));
    let parent = unsafe { libc::getpid() };
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::usleep(100_000);
            libc::kill(parent, libc::SIGUSR1);
            libc::usleep(100_000);
            libc::write(ends[1], c"hi".as_ptr().cast(), 2);
            libc::_exit(0)
        }
    }
    let mut buffer = [0u8; 4];
    println!("read {:?} {:?}", call!(read(ends[0], buffer.as_mut_ptr().cast(), 4)), seen());
    let mut status = 0;
    println!("wait {} {}", unsafe { libc::waitpid(child, &mut status, 0) } == child, describe(status));
    // These never restart, whatever the flag.
    let child = delayed_signal(libc::SIGUSR1);
    let mut descriptor = libc::pollfd { fd: ends[0], events: libc::POLLIN, revents: 0 };
    println!("poll {:?}", call!(poll(&mut descriptor, 1, 5000)));
    let _ = call!(waitpid(child, &mut status, 0));
    let child = delayed_signal(libc::SIGUSR1);
    let time = libc::timespec { tv_sec: 5, tv_nsec: 0 };
    println!("nanosleep {:?}", call!(nanosleep(&time, std::ptr::null_mut())));
    let _ = call!(waitpid(child, &mut status, 0));
}

pub(super) fn interrupt() {
    install(libc::SIGUSR1, note, 0);
    let mut ends = [0; 2];
    let _ = call!(pipe(ends.as_mut_ptr()));
    let child = delayed_signal(libc::SIGUSR1);
    let mut buffer = [0u8; 4];
    println!("read {:?}", call!(read(ends[0], buffer.as_mut_ptr().cast(), 4)));
    let mut status = 0;
    let _ = call!(waitpid(child, &mut status, 0));
    let child = delayed_signal(libc::SIGUSR1);
    println!("wait {:?}", call!(waitpid(child, &mut status, 0)));
    let _ = call!(waitpid(child, &mut status, 0));
    let child = delayed_signal(libc::SIGUSR1);
    println!("pause {:?}", call!(pause()));
    let _ = call!(waitpid(child, &mut status, 0));
    println!("{:?}", seen());
}

pub(super) fn sigsuspend() {
    install(libc::SIGUSR1, note, 0);
    block(&[libc::SIGUSR1]);
    let child = delayed_signal(libc::SIGUSR1);
    println!("{:?} {:?}", call!(sigsuspend(&set_of(&[]))), seen());
    let mut now = set_of(&[]);
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut now) };
    println!("mask restored {}", unsafe { libc::sigismember(&now, libc::SIGUSR1) });
    let mut status = 0;
    let _ = call!(waitpid(child, &mut status, 0));
}

pub(super) fn sigtimedwait() {
    block(&[libc::SIGUSR1, 40]);
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let short = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    println!("{:?}", call!(sigtimedwait(&set_of(&[libc::SIGUSR1]), &mut information, &short)));
    let _ = call!(sigqueue(libc::getpid(), 40, libc::sigval { sival_ptr: 7 as *mut _ }));
    println!(
        "{:?} code {} value {}",
        call!(sigwaitinfo(&set_of(&[40]), &mut information)),
        information.si_code,
        unsafe { information.si_value().sival_ptr } as usize
    );
    let child = delayed_signal(libc::SIGUSR1);
    println!(
        "{:?} code {} from child {}",
        call!(sigwaitinfo(&set_of(&[libc::SIGUSR1]), &mut information)),
        information.si_code,
        unsafe { information.si_pid() } == child
    );
    let bad = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    println!("{:?}", call!(sigtimedwait(&set_of(&[libc::SIGUSR1]), &mut information, &bad)));
}

pub(super) fn errors() {
    println!(
        "{:?} {:?} {:?}",
        call!(kill(libc::getpid(), 65)),
        call!(kill(libc::getpid(), -1)),
        call!(kill(libc::getpid(), 0))
    );
    println!("{:?} {:?}", call!(kill(0x3fff_ffff, 0)), call!(kill(-0x3fff_ffff, 0)));
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    println!(
        "{:?} {:?} {:?}",
        call!(sigaction(libc::SIGKILL, &action, std::ptr::null_mut())),
        call!(sigaction(65, &action, std::ptr::null_mut())),
        call!(sigaction(libc::SIGKILL, std::ptr::null(), std::ptr::null_mut()))
    );
    println!(
        "{:?}",
        crate::raw!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, std::ptr::null::<u8>(), std::ptr::null::<u8>(), 7)
    );
    let set = set_of(&[]);
    println!("{:?}", crate::raw!(libc::SYS_rt_sigprocmask, 9, &set, std::ptr::null::<u8>(), 8));
    println!("{:?}", crate::raw!(libc::SYS_rt_sigaction, libc::SIGUSR1, 8, std::ptr::null::<u8>(), 8));
    println!("{:?} {:?}", crate::raw!(libc::SYS_tgkill, -1, 1, 1), crate::raw!(libc::SYS_tkill, 0, 1));
}

pub(super) fn signalfd() {
    block(&[libc::SIGUSR1]);
    let descriptor = unsafe { libc::signalfd(-1, &set_of(&[libc::SIGUSR1]), libc::SFD_NONBLOCK) };
    let mut information: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(read(descriptor, (&raw mut information).cast(), 128)));
    let _ = call!(raise(libc::SIGUSR1));
    println!(
        "{:?} {} {}",
        call!(read(descriptor, (&raw mut information).cast(), 128)),
        information.ssi_signo,
        information.ssi_code
    );
    println!("{:?}", call!(read(descriptor, (&raw mut information).cast(), 64)));
}

pub(super) fn sigpipe() {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    println!(
        "{}",
        in_child(|| {
            let mut ends = [0; 2];
            let _ = call!(pipe(ends.as_mut_ptr()));
            let _ = call!(close(ends[0]));
            let _ = call!(write(ends[1], c"x".as_ptr().cast(), 1));
            0
        })
    );
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut ends = [0; 2];
    let _ = call!(pipe(ends.as_mut_ptr()));
    let _ = call!(close(ends[0]));
    println!("{:?}", call!(write(ends[1], c"x".as_ptr().cast(), 1)));
}
