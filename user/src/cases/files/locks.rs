//! Record locks, locks of open files, `flock`.

use super::{enter, must_open};
use crate::runner::in_child;
use crate::system::{self, Errno};
use libc::{O_CREAT, O_RDONLY, O_RDWR};

fn lock(descriptor: i32, command: i32, kind: i32, start: i64, length: i64) -> Result<String, Errno> {
    let mut lock: libc::flock = system::zeroed();
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = length;
    system::fcntl(descriptor, command, &mut lock)
        .map(|_| format!("type {} start {} length {}", lock.l_type, lock.l_start, lock.l_len))
}

pub(super) fn record_locks() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    println!("{:?}", lock(file, libc::F_SETLK, libc::F_WRLCK, 10, 20));
    println!("{:?}", lock(file, libc::F_SETLK, libc::F_UNLCK, 15, 5));
    println!("own locks do not show {:?}", lock(file, libc::F_GETLK, libc::F_WRLCK, 0, 0));
    println!(
        "{}",
        in_child(|| {
            for (start, length) in [(0, 10), (0, 11), (15, 5), (12, 1), (25, 0)] {
                println!(
                    "{start}+{length}: {:?} {:?}",
                    lock(file, libc::F_GETLK, libc::F_RDLCK, start, length),
                    lock(file, libc::F_SETLK, libc::F_RDLCK, start, length)
                );
            }
            0
        })
    );
    println!(
        "{:?} {:?}",
        lock(file, libc::F_SETLK, 9, 0, 0),
        lock(must_open("file", O_RDONLY), libc::F_SETLK, libc::F_WRLCK, 0, 0)
    );
    // Closing any descriptor of the file drops the locks.
    println!("{}", in_child(|| i32::from(lock(file, libc::F_SETLK, libc::F_WRLCK, 0, 0).is_err())));
}

pub(super) fn open_file_locks() {
    enter();
    let first = must_open("file", O_RDWR | O_CREAT);
    let second = must_open("file", O_RDWR);
    println!(
        "{:?} {:?}",
        lock(first, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 10),
        lock(second, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 10)
    );
    println!("{:?}", lock(second, libc::F_OFD_GETLK, libc::F_RDLCK, 5, 10));
    let _ = system::close(first);
    println!("{:?}", lock(second, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 10));
}

pub(super) fn flock() {
    enter();
    let first = must_open("file", O_RDWR | O_CREAT);
    let second = must_open("file", O_RDONLY);
    let try_lock = |descriptor: i32, kind: i32| system::flock(descriptor, kind | libc::LOCK_NB);
    println!(
        "{:?} {:?} {:?}",
        try_lock(first, libc::LOCK_SH),
        try_lock(second, libc::LOCK_SH),
        try_lock(second, libc::LOCK_EX)
    );
    println!(
        "{:?} {:?} {:?}",
        try_lock(first, libc::LOCK_UN),
        try_lock(second, libc::LOCK_EX),
        try_lock(first, libc::LOCK_SH)
    );
    println!("{:?} {:?}", system::flock(first, 0), system::flock(99, libc::LOCK_SH));
}
