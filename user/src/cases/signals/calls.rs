//! What signals do to system calls, and calls that wait for signals.

use super::{note, seen};
use crate::raw;
use crate::runner::{describe, in_child};
use crate::system::{self, DefaultAction, Information, SignalSet, block, install};

fn delayed_signal(signal: i32) -> i32 {
    let parent = system::getpid();
    system::fork(|| {
        let _ = system::usleep(100_000);
        let _ = system::kill(parent, signal);
        let _ = system::usleep(200_000);
        0
    })
}

pub(super) fn restart() {
    install(libc::SIGUSR1, note, libc::SA_RESTART);
    let ends = system::pipe();
    let parent = system::getpid();
    let child = system::fork(|| {
        let _ = system::usleep(100_000);
        let _ = system::kill(parent, libc::SIGUSR1);
        let _ = system::usleep(100_000);
        let _ = system::write(ends[1], b"hi");
        0
    });
    let mut buffer = [0u8; 4];
    println!("read {:?} {:?}", system::read(ends[0], &mut buffer), seen());
    let mut status = 0;
    println!("wait {} {}", system::waitpid(child, &mut status, 0) == Ok(child), describe(status));
    // These never restart, whatever the flag.
    let child = delayed_signal(libc::SIGUSR1);
    let descriptor = libc::pollfd { fd: ends[0], events: libc::POLLIN, revents: 0 };
    println!("poll {:?}", system::poll(&mut [descriptor], 5000));
    let _ = system::waitpid(child, &mut status, 0);
    let child = delayed_signal(libc::SIGUSR1);
    let time = libc::timespec { tv_sec: 5, tv_nsec: 0 };
    println!("nanosleep {:?}", system::nanosleep(&time, None));
    let _ = system::waitpid(child, &mut status, 0);
}

pub(super) fn interrupt() {
    install(libc::SIGUSR1, note, 0);
    let ends = system::pipe();
    let child = delayed_signal(libc::SIGUSR1);
    let mut buffer = [0u8; 4];
    println!("read {:?}", system::read(ends[0], &mut buffer));
    let mut status = 0;
    let _ = system::waitpid(child, &mut status, 0);
    let child = delayed_signal(libc::SIGUSR1);
    println!("wait {:?}", system::waitpid(child, &mut status, 0));
    let _ = system::waitpid(child, &mut status, 0);
    let child = delayed_signal(libc::SIGUSR1);
    println!("pause {:?}", system::pause());
    let _ = system::waitpid(child, &mut status, 0);
    println!("{:?}", seen());
}

pub(super) fn sigsuspend() {
    install(libc::SIGUSR1, note, 0);
    block(&[libc::SIGUSR1]);
    let child = delayed_signal(libc::SIGUSR1);
    println!("{:?} {:?}", system::sigsuspend(&SignalSet::of(&[])), seen());
    let now = system::blocked();
    println!("mask restored {}", now.contains(libc::SIGUSR1));
    let mut status = 0;
    let _ = system::waitpid(child, &mut status, 0);
}

pub(super) fn sigtimedwait() {
    block(&[libc::SIGUSR1, 40]);
    let mut information: libc::siginfo_t = system::zeroed();
    let short = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    println!("{:?}", system::sigtimedwait(&SignalSet::of(&[libc::SIGUSR1]), &mut information, &short));
    let _ = system::sigqueue(system::getpid(), 40, 7);
    println!(
        "{:?} code {} value {}",
        system::sigwaitinfo(&SignalSet::of(&[40]), &mut information),
        information.si_code,
        information.value()
    );
    let child = delayed_signal(libc::SIGUSR1);
    println!(
        "{:?} code {} from child {}",
        system::sigwaitinfo(&SignalSet::of(&[libc::SIGUSR1]), &mut information),
        information.si_code,
        information.process() == child
    );
    let bad = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    println!("{:?}", system::sigtimedwait(&SignalSet::of(&[libc::SIGUSR1]), &mut information, &bad));
}

pub(super) fn errors() {
    println!(
        "{:?} {:?} {:?}",
        system::kill(system::getpid(), 65),
        system::kill(system::getpid(), -1),
        system::kill(system::getpid(), 0)
    );
    println!("{:?} {:?}", system::kill(0x3fff_ffff, 0), system::kill(-0x3fff_ffff, 0));
    println!(
        "{:?} {:?} {:?}",
        system::sigaction(libc::SIGKILL, Some(DefaultAction)),
        system::sigaction(65, Some(DefaultAction)),
        system::sigaction(libc::SIGKILL, None)
    );
    println!("{:?}", raw!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0, 0, 7));
    let set = SignalSet::of(&[]);
    println!("{:?}", raw!(libc::SYS_rt_sigprocmask, 9, set.raw(), 0, 8));
    println!("{:?}", raw!(libc::SYS_rt_sigaction, libc::SIGUSR1, 8, 0, 8));
    println!("{:?} {:?}", raw!(libc::SYS_tgkill, -1, 1, 1), raw!(libc::SYS_tkill, 0, 1));
}

pub(super) fn signalfd() {
    block(&[libc::SIGUSR1]);
    let descriptor = system::signalfd(&SignalSet::of(&[libc::SIGUSR1]), libc::SFD_NONBLOCK).unwrap_or(-1);
    let mut information: libc::signalfd_siginfo = system::zeroed();
    println!("{:?}", raw!(libc::SYS_read, descriptor, &mut information, 128));
    let _ = system::raise(libc::SIGUSR1);
    println!(
        "{:?} {} {}",
        raw!(libc::SYS_read, descriptor, &mut information, 128),
        information.ssi_signo,
        information.ssi_code
    );
    println!("{:?}", raw!(libc::SYS_read, descriptor, &mut information, 64));
}

pub(super) fn sigpipe() {
    system::set_default(libc::SIGPIPE);
    println!(
        "{}",
        in_child(|| {
            let ends = system::pipe();
            let _ = system::close(ends[0]);
            let _ = system::write(ends[1], b"x");
            0
        })
    );
    system::ignore(libc::SIGPIPE);
    let ends = system::pipe();
    let _ = system::close(ends[0]);
    println!("{:?}", system::write(ends[1], b"x"));
}
