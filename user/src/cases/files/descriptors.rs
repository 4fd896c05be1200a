//! Descriptors: their flags, closing ranges of them.

use super::{enter, must_open};
use crate::{raw, system};
use libc::{O_CREAT, O_RDWR, O_WRONLY};

pub(super) fn descriptor_flags() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT | libc::O_CLOEXEC);
    println!(
        "{:?} {:?}",
        system::fcntl(file, libc::F_GETFD, 0),
        system::fcntl(file, libc::F_GETFL, 0).map(|flags| flags & 3)
    );
    println!("{:?} {:?}", system::fcntl(file, libc::F_SETFD, 0), system::fcntl(file, libc::F_GETFD, 0));
    println!(
        "{:?} {:?}",
        system::fcntl(file, libc::F_SETFL, libc::O_NONBLOCK | O_WRONLY),
        system::fcntl(file, libc::F_GETFL, 0).map(|flags| flags & (3 | libc::O_NONBLOCK))
    );
    println!("{:?} {:?}", system::fcntl(file, 9999, 0), system::fcntl(99, libc::F_GETFD, 0));
    println!("{:?} {:?}", system::dup2(file, file), system::dup3(file, file, 0));
    println!("{:?} {:?} {:?}", system::dup2(file, 50), system::dup2(99, 51), system::dup2(file, -1));
    println!("{:?} {:?}", system::fcntl(file, libc::F_DUPFD, 100), system::dup3(file, 101, 7));
    println!("{:?}", system::fcntl(file, libc::F_DUPFD, -1));
}

pub(super) fn close_range() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    for target in [30, 31, 33, 35] {
        let _ = system::dup2(file, target);
    }
    println!("{:?}", raw!(libc::SYS_close_range, 31, 33, 0));
    println!("{:?}", [30, 31, 33, 35].map(|descriptor| system::fcntl(descriptor, libc::F_GETFD, 0).unwrap_or(-1)));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_close_range, 30, 40, 4),
        [30, 35].map(|descriptor| system::fcntl(descriptor, libc::F_GETFD, 0).unwrap_or(-1))
    );
    println!("{:?} {:?}", raw!(libc::SYS_close_range, 40, 30, 0), raw!(libc::SYS_close_range, 40, 50, 99));
}
