//! Permissions, owners, times, attributes, special files.

use super::{enter, must_open, open, read, shape, stat, write};
use crate::runner::in_child;
use crate::{c, call, raw, worked};
use libc::{AT_FDCWD, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY};

fn as_user(action: impl FnOnce()) {
    println!(
        "{}",
        in_child(|| {
            unsafe {
                libc::setgroups(0, std::ptr::null());
                libc::setgid(1000);
                libc::setuid(1000);
            }
            action();
            0
        })
    );
}

pub(super) fn permissions() {
    enter();
    std::fs::write("private", "x").unwrap();
    let _ = call!(chmod(c"private".as_ptr(), 0o600));
    std::fs::write("group", "x").unwrap();
    let _ = call!(chmod(c"group".as_ptr(), 0o640));
    let _ = call!(chown(c"group".as_ptr(), 5, 1000));
    std::fs::create_dir("closed").unwrap();
    std::fs::write("closed/x", "").unwrap();
    let _ = call!(chmod(c"closed".as_ptr(), 0o700));
    std::fs::write("public", "x").unwrap();
    as_user(|| {
        println!(
            "{:?} {:?} {:?}",
            open("private", O_RDONLY, 0),
            worked(open("group", O_RDONLY, 0)),
            open("group", O_WRONLY, 0)
        );
        println!(
            "{:?} {:?} {:?}",
            open("closed/x", O_RDONLY, 0),
            open("new", O_CREAT, 0o600),
            call!(unlink(c"public".as_ptr()))
        );
        println!(
            "{:?} {:?} {:?}",
            call!(chmod(c"public".as_ptr(), 0o777)),
            call!(access(c"public".as_ptr(), libc::R_OK)),
            call!(access(c"public".as_ptr(), libc::W_OK))
        );
        println!("{:?} {:?}", call!(access(c"public".as_ptr(), 99)), call!(access(c"none".as_ptr(), 0)));
        println!(
            "{:?} {:?}",
            call!(mknod(c"/tmp/conformance-node".as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3))),
            call!(chroot(c"/".as_ptr()))
        );
        println!("{:?}", call!(mount(c"x".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null())));
    });
    println!("{:?} {}", call!(chmod(c"public".as_ptr(), 0o4755)), shape("public"));
    println!("{:?} {}", call!(chown(c"public".as_ptr(), 7, 8)), shape("public"));
    println!("{:?} {}", call!(chown(c"public".as_ptr(), u32::MAX, u32::MAX)), shape("public"));
    let _ = call!(chmod(c"closed".as_ptr(), 0o2777));
    let _ = call!(chown(c"closed".as_ptr(), 0, 55));
    std::fs::write("closed/inherits", "").unwrap();
    std::fs::create_dir("closed/subdirectory").unwrap();
    println!("{} {}", shape("closed/inherits"), shape("closed/subdirectory"));
}

pub(super) fn sticky() {
    enter();
    std::fs::create_dir("t").unwrap();
    let _ = call!(chmod(c"t".as_ptr(), 0o1777));
    std::fs::write("t/root", "").unwrap();
    as_user(|| {
        println!(
            "{:?} {:?}",
            call!(unlink(c"t/root".as_ptr())),
            call!(rename(c"t/root".as_ptr(), c"t/other".as_ptr()))
        );
        std::fs::write("t/own", "").unwrap();
        println!("{:?}", call!(unlink(c"t/own".as_ptr())));
    });
}

pub(super) fn times() {
    enter();
    std::fs::write("file", "x").unwrap();
    let set = |access: (i64, i64), modify: (i64, i64)| {
        let times =
            [access, modify].map(|(seconds, nanoseconds)| libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds });
        let outcome = call!(utimensat(AT_FDCWD, c"file".as_ptr(), times.as_ptr(), 0));
        let information = stat("file").unwrap();
        println!(
            "{outcome:?} {} {}",
            if information.st_atime > 1_000_000_000 { -1 } else { information.st_atime },
            if information.st_mtime > 1_000_000_000 { -1 } else { information.st_mtime }
        );
    };
    set((100, 5), (200, 6));
    set((0, libc::UTIME_OMIT), (300, 0));
    set((0, libc::UTIME_NOW), (0, libc::UTIME_OMIT));
    set((1, 1_000_000_000), (0, 0));
    set((0, libc::UTIME_OMIT), (0, libc::UTIME_OMIT));
    let before = stat("file").unwrap();
    unsafe { libc::usleep(20_000) };
    std::fs::write("file", "y").unwrap();
    let after = stat("file").unwrap();
    println!("{}", (after.st_mtime, after.st_mtime_nsec) > (before.st_mtime, before.st_mtime_nsec));
    let directory = stat(".").unwrap();
    unsafe { libc::usleep(20_000) };
    std::fs::write("another", "").unwrap();
    let changed = stat(".").unwrap();
    println!("{}", (changed.st_mtime, changed.st_mtime_nsec) > (directory.st_mtime, directory.st_mtime_nsec));
}

pub(super) fn statx() {
    enter();
    std::fs::write("file", "12345").unwrap();
    let mut result: libc::statx = unsafe { std::mem::zeroed() };
    println!(
        "{:?} {} {:o} {}",
        call!(statx(AT_FDCWD, c"file".as_ptr(), 0, libc::STATX_BASIC_STATS, &mut result)),
        result.stx_size,
        result.stx_mode,
        result.stx_mask & libc::STATX_BASIC_STATS == libc::STATX_BASIC_STATS
    );
    println!(
        "{:?} {:?}",
        call!(statx(AT_FDCWD, c"file".as_ptr(), 0x7000_0000, 0, &mut result)),
        call!(statx(AT_FDCWD, c"none".as_ptr(), 0, 0, &mut result))
    );
    println!("{:?}", call!(statx(AT_FDCWD, c"file".as_ptr(), 0, 0x8000_0000, &mut result)));
    println!("{:?}", call!(statx(AT_FDCWD, c"".as_ptr(), libc::AT_EMPTY_PATH, 0, &mut result)));
}

pub(super) fn extended_attributes() {
    enter();
    std::fs::write("file", "").unwrap();
    let mut buffer = [0u8; 64];
    let set = |name: &str, value: &str, flags: i32| {
        call!(setxattr(c("file").as_ptr(), c(name).as_ptr(), value.as_ptr().cast(), value.len(), flags))
    };
    println!(
        "{:?} {:?} {:?}",
        set("trusted.a", "1", 0),
        set("trusted.a", "2", libc::XATTR_CREATE),
        set("trusted.b", "2", libc::XATTR_REPLACE)
    );
    println!(
        "{:?} {}",
        call!(getxattr(c"file".as_ptr(), c"trusted.a".as_ptr(), buffer.as_mut_ptr().cast(), 64)),
        buffer[0]
    );
    println!(
        "{:?} {:?}",
        call!(getxattr(c"file".as_ptr(), c"trusted.none".as_ptr(), buffer.as_mut_ptr().cast(), 64)),
        set("nonsense", "x", 0)
    );
    println!("{:?}", call!(listxattr(c"file".as_ptr(), buffer.as_mut_ptr().cast(), 64)));
    println!(
        "{:?} {:?}",
        call!(removexattr(c"file".as_ptr(), c"trusted.a".as_ptr())),
        call!(removexattr(c"file".as_ptr(), c"trusted.a".as_ptr()))
    );
}

pub(super) fn special_files() {
    for (path, length) in [("/dev/null", 10), ("/dev/zero", 10), ("/dev/full", 10)] {
        let file = must_open(path, O_RDWR);
        println!("{path} {:?} {:?}", read(file, length), write(file, "hello"));
        let information = stat(path).unwrap();
        println!("{:o} {} {}", information.st_mode, libc::major(information.st_rdev), libc::minor(information.st_rdev));
    }
    let random = must_open("/dev/urandom", O_RDONLY);
    let mut buffer = [0u8; 64];
    println!("{:?} {}", call!(read(random, buffer.as_mut_ptr().cast(), 64)), buffer.iter().any(|byte| *byte != 0));
    println!(
        "{:?} {:?}",
        call!(getrandom(buffer.as_mut_ptr().cast(), 64, 0)),
        call!(getrandom(buffer.as_mut_ptr().cast(), 64, 99))
    );
    println!("{:?}", raw!(libc::SYS_getrandom, 8, 16, 0));
    enter();
    println!(
        "{:?} {:?}",
        call!(mknod(c"null".as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 3))),
        write(must_open("null", O_WRONLY), "gone")
    );
    println!(
        "{:?} {:?}",
        call!(mknod(c"strange".as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(250, 77))),
        open("strange", O_RDONLY, 0)
    );
    println!("{:?} {:?}", call!(mkfifo(c"fifo".as_ptr(), 0o600)), open("fifo", O_WRONLY | libc::O_NONBLOCK, 0));
    println!("{:?}", call!(mknod(c"directory".as_ptr(), libc::S_IFDIR | 0o600, 0)));
}
