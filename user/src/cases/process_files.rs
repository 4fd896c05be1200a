//! A process's directory in `/proc`: what may be changed of it, and that it can stand for the process.

use crate::runner::Case;
use crate::system::{self, Must, c};
use crate::{raw, worked};

pub(super) const CASES: &[Case] = &[
    ("process_files/changing-attributes", changing_attributes),
    ("process_files/signal-by-directory", signal_by_directory),
    ("process_files/pidfd-flags", pidfd_flags),
];

/// Links into the tree (`exe`, `fd/N`) are not among them: what they lead to would be changed.
fn changing_attributes() {
    for name in ["", "/stat", "/fd", "/fdinfo/0", "/task", "/comm"] {
        let path = c(&format!("/proc/self{name}"));
        print!("{name} {:?}", system::chmod(&path, 0o444));
        print!(" {:?}", system::chown(&path, 0, 0));
        print!(" {:?}", system::chown(&path, u32::MAX, 5));
        let times = [libc::timespec { tv_sec: 1, tv_nsec: 0 }; 2];
        println!(
            " {:?} {:?}",
            system::utimensat(libc::AT_FDCWD, &path, &times, 0),
            raw!(libc::SYS_utimensat, libc::AT_FDCWD, &path, 0)
        );
    }
    for path in ["/proc/sys/kernel/ostype", "/proc/sys/kernel"] {
        let name = c(path);
        println!("{path} {:?} {:?}", system::chmod(&name, 0o444), system::chown(&name, 0, 0));
    }
}

fn signal_by_directory() {
    let send =
        |descriptor: i32, signal: i32, flags: u32| raw!(libc::SYS_pidfd_send_signal, descriptor, signal, 0, flags);
    let open = |path: &str, flags: i32| system::open(&c(path), flags, 0).unwrap_or(-1);
    for path in ["/proc/self", "/proc/self/stat", "/proc/self/task", "/proc/thread-self", "/proc", "/tmp"] {
        println!("{path} {:?}", send(open(path, libc::O_RDONLY), 0, 0));
    }
    println!("{:?}", send(open("/proc/self", libc::O_PATH), 0, 0));
    println!(
        "{:?} {:?}",
        send(open("/proc/self", libc::O_RDONLY), 0, 8),
        send(open("/proc/self", libc::O_RDONLY), 99, 0)
    );
    let child = system::fork_idle();
    let directory = open(&format!("/proc/{child}"), libc::O_RDONLY | libc::O_DIRECTORY);
    println!("{:?}", send(directory, libc::SIGTERM, 0));
    let (ended, status) = system::wait().must();
    println!("{:?} {}", if ended == child { Ok(()) } else { Err(ended) }, crate::runner::describe(status));
    println!("{:?}", send(directory, 0, 0));
}

fn pidfd_flags() {
    let own = system::getpid();
    for flags in [0, libc::O_NONBLOCK, 1, libc::O_CLOEXEC, 1 << 31] {
        println!("{flags:#x} {:?}", worked(raw!(libc::SYS_pidfd_open, own, flags)));
    }
    for pid in [0, -1, i32::MAX] {
        println!(
            "{pid} {:?} {:?}",
            worked(raw!(libc::SYS_pidfd_open, pid, 0)),
            worked(raw!(libc::SYS_pidfd_open, pid, 1))
        );
    }
}
