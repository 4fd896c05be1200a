//! Descriptors: their flags, closing ranges of them.

use super::{enter, must_open};
use crate::{call, raw};
use libc::{O_CREAT, O_RDWR, O_WRONLY};

pub(super) fn descriptor_flags() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT | libc::O_CLOEXEC);
    println!("{:?} {:?}", call!(fcntl(file, libc::F_GETFD)), call!(fcntl(file, libc::F_GETFL)).map(|flags| flags & 3));
    println!("{:?} {:?}", call!(fcntl(file, libc::F_SETFD, 0)), call!(fcntl(file, libc::F_GETFD)));
    println!(
        "{:?} {:?}",
        call!(fcntl(file, libc::F_SETFL, libc::O_NONBLOCK | O_WRONLY)),
        call!(fcntl(file, libc::F_GETFL)).map(|flags| flags & (3 | i64::from(libc::O_NONBLOCK)))
    );
    println!("{:?} {:?}", call!(fcntl(file, 9999)), call!(fcntl(99, libc::F_GETFD)));
    println!("{:?} {:?}", call!(dup2(file, file)), call!(dup3(file, file, 0)));
    println!("{:?} {:?} {:?}", call!(dup2(file, 50)), call!(dup2(99, 51)), call!(dup2(file, -1)));
    println!("{:?} {:?}", call!(fcntl(file, libc::F_DUPFD, 100)), call!(dup3(file, 101, 7)));
    println!("{:?}", call!(fcntl(file, libc::F_DUPFD, -1)));
}

pub(super) fn close_range() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    for target in [30, 31, 33, 35] {
        let _ = call!(dup2(file, target));
    }
    println!("{:?}", raw!(libc::SYS_close_range, 31, 33, 0));
    println!("{:?}", [30, 31, 33, 35].map(|descriptor| unsafe { libc::fcntl(descriptor, libc::F_GETFD) }));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_close_range, 30, 40, 4),
        [30, 35].map(|descriptor| unsafe { libc::fcntl(descriptor, libc::F_GETFD) })
    );
    println!("{:?} {:?}", raw!(libc::SYS_close_range, 40, 30, 0), raw!(libc::SYS_close_range, 40, 50, 99));
}
