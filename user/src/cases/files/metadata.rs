//! Permissions, owners, times, attributes, special files.

use super::{enter, must_open, open, read, shape, stat, write};
use crate::raw;
use crate::runner::in_child;
use crate::system::{self, Must, c, worked};
use libc::{AT_FDCWD, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY};

fn as_user(action: impl FnOnce()) {
    println!(
        "{}",
        in_child(|| {
            let _ = system::setgroups(&[]);
            let _ = system::setgid(1000);
            let _ = system::setuid(1000);
            action();
            0
        })
    );
}

pub(super) fn permissions() {
    enter();
    std::fs::write("private", "x").must();
    let _ = system::chmod(c"private", 0o600);
    std::fs::write("group", "x").must();
    let _ = system::chmod(c"group", 0o640);
    let _ = system::chown(c"group", 5, 1000);
    std::fs::create_dir("closed").must();
    std::fs::write("closed/x", "").must();
    let _ = system::chmod(c"closed", 0o700);
    std::fs::write("public", "x").must();
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
            system::unlink(c"public")
        );
        println!(
            "{:?} {:?} {:?}",
            system::chmod(c"public", 0o777),
            system::access(c"public", libc::R_OK),
            system::access(c"public", libc::W_OK)
        );
        println!("{:?} {:?}", system::access(c"public", 99), system::access(c"none", 0));
        println!(
            "{:?} {:?}",
            system::mknod(c"/tmp/conformance-node", libc::S_IFCHR | 0o600, libc::makedev(1, 3)),
            system::chroot(c"/")
        );
        println!("{:?}", system::mount(Some(c"x"), c"/tmp", Some(c"tmpfs"), 0, None));
    });
    println!("{:?} {}", system::chmod(c"public", 0o4755), shape("public"));
    println!("{:?} {}", system::chown(c"public", 7, 8), shape("public"));
    println!("{:?} {}", system::chown(c"public", u32::MAX, u32::MAX), shape("public"));
    let _ = system::chmod(c"closed", 0o2777);
    let _ = system::chown(c"closed", 0, 55);
    std::fs::write("closed/inherits", "").must();
    std::fs::create_dir("closed/subdirectory").must();
    println!("{} {}", shape("closed/inherits"), shape("closed/subdirectory"));
}

pub(super) fn sticky() {
    enter();
    std::fs::create_dir("t").must();
    let _ = system::chmod(c"t", 0o1777);
    std::fs::write("t/root", "").must();
    as_user(|| {
        println!("{:?} {:?}", system::unlink(c"t/root"), system::rename(c"t/root", c"t/other"));
        std::fs::write("t/own", "").must();
        println!("{:?}", system::unlink(c"t/own"));
    });
}

pub(super) fn times() {
    enter();
    std::fs::write("file", "x").must();
    let set = |access: (i64, i64), modify: (i64, i64)| {
        let times =
            [access, modify].map(|(seconds, nanoseconds)| libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds });
        let outcome = system::utimensat(AT_FDCWD, c"file", &times, 0);
        let information = stat("file").must();
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
    let before = stat("file").must();
    let _ = system::usleep(20_000);
    std::fs::write("file", "y").must();
    let after = stat("file").must();
    println!("{}", (after.st_mtime, after.st_mtime_nsec) > (before.st_mtime, before.st_mtime_nsec));
    let directory = stat(".").must();
    let _ = system::usleep(20_000);
    std::fs::write("another", "").must();
    let changed = stat(".").must();
    println!("{}", (changed.st_mtime, changed.st_mtime_nsec) > (directory.st_mtime, directory.st_mtime_nsec));
}

pub(super) fn statx() {
    enter();
    std::fs::write("file", "12345").must();
    let mut result: libc::statx = system::zeroed();
    println!(
        "{:?} {} {:o} {}",
        system::statx(AT_FDCWD, c"file", 0, libc::STATX_BASIC_STATS, &mut result),
        result.stx_size,
        result.stx_mode,
        result.stx_mask & libc::STATX_BASIC_STATS == libc::STATX_BASIC_STATS
    );
    println!(
        "{:?} {:?}",
        system::statx(AT_FDCWD, c"file", 0x7000_0000, 0, &mut result),
        system::statx(AT_FDCWD, c"none", 0, 0, &mut result)
    );
    println!("{:?}", system::statx(AT_FDCWD, c"file", 0, 0x8000_0000, &mut result));
    println!("{:?}", system::statx(AT_FDCWD, c"", libc::AT_EMPTY_PATH, 0, &mut result));
}

pub(super) fn extended_attributes() {
    enter();
    std::fs::write("file", "").must();
    let mut buffer = [0u8; 64];
    let set = |name: &str, value: &str, flags: i32| system::setxattr(&c("file"), &c(name), value.as_bytes(), flags);
    println!(
        "{:?} {:?} {:?}",
        set("trusted.a", "1", 0),
        set("trusted.a", "2", libc::XATTR_CREATE),
        set("trusted.b", "2", libc::XATTR_REPLACE)
    );
    println!("{:?} {}", system::getxattr(c"file", c"trusted.a", &mut buffer), buffer[0]);
    println!("{:?} {:?}", system::getxattr(c"file", c"trusted.none", &mut buffer), set("nonsense", "x", 0));
    println!("{:?}", system::listxattr(c"file", &mut buffer));
    println!("{:?} {:?}", system::removexattr(c"file", c"trusted.a"), system::removexattr(c"file", c"trusted.a"));
}

pub(super) fn special_files() {
    for (path, length) in [("/dev/null", 10), ("/dev/zero", 10), ("/dev/full", 10)] {
        let file = must_open(path, O_RDWR);
        println!("{path} {:?} {:?}", read(file, length), write(file, "hello"));
        let information = stat(path).must();
        println!("{:o} {} {}", information.st_mode, libc::major(information.st_rdev), libc::minor(information.st_rdev));
    }
    let random = must_open("/dev/urandom", O_RDONLY);
    let mut buffer = [0u8; 64];
    println!("{:?} {}", system::read(random, &mut buffer), buffer.iter().any(|byte| *byte != 0));
    println!("{:?} {:?}", system::getrandom(&mut buffer, 0), system::getrandom(&mut buffer, 99));
    println!("{:?}", raw!(libc::SYS_getrandom, 8, 16, 0));
    enter();
    println!(
        "{:?} {:?}",
        system::mknod(c"null", libc::S_IFCHR | 0o666, libc::makedev(1, 3)),
        write(must_open("null", O_WRONLY), "gone")
    );
    println!(
        "{:?} {:?}",
        system::mknod(c"strange", libc::S_IFCHR | 0o666, libc::makedev(250, 77)),
        open("strange", O_RDONLY, 0)
    );
    println!("{:?} {:?}", system::mkfifo(c"fifo", 0o600), open("fifo", O_WRONLY | libc::O_NONBLOCK, 0));
    println!("{:?}", system::mknod(c"directory", libc::S_IFDIR | 0o600, 0));
}
