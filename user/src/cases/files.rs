//! Files, directories, paths, locks.

use crate::runner::{Case, in_child};
use crate::{c, call, raw, worked};
use libc::{AT_FDCWD, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};

pub(super) const CASES: &[Case] = &[
    ("files/open-errors", open_errors),
    ("files/read-and-write", read_and_write),
    ("files/append-and-truncate", append_and_truncate),
    ("files/holes-and-seeking", holes),
    ("files/vectors", vectors),
    ("files/links", links),
    ("files/rename", rename),
    ("files/directories", directories),
    ("files/getdents", getdents),
    ("files/permissions", permissions),
    ("files/sticky-directory", sticky),
    ("files/symbolic-links", symbolic_links),
    ("files/path-descriptors", path_descriptors),
    ("files/at-calls", at_calls),
    ("files/times", times),
    ("files/statx", statx),
    ("files/record-locks", record_locks),
    ("files/open-file-locks", open_file_locks),
    ("files/flock", flock),
    ("files/descriptor-flags", descriptor_flags),
    ("files/close-range", close_range),
    ("files/extended-attributes", extended_attributes),
    ("files/special-files", special_files),
    ("files/unlinked-lives-on", unlinked),
    ("files/fallocate", fallocate),
    ("files/mounts", mounts),
    ("files/chroot", chroot),
    ("files/copy-range", copy_range),
    ("files/openat2", openat2),
    ("files/temporary-file", temporary_file),
    ("files/name-limits", name_limits),
];

const DIRECTORY: &str = "/tmp/conformance";

fn enter() {
    let _ = std::fs::remove_dir_all(DIRECTORY);
    std::fs::create_dir_all(DIRECTORY).unwrap();
    std::env::set_current_dir(DIRECTORY).unwrap();
    unsafe { libc::umask(0o22) };
}

fn open(path: &str, flags: i32, mode: u32) -> crate::Outcome {
    call!(open(c(path).as_ptr(), flags, mode))
}

fn must_open(path: &str, flags: i32) -> i32 {
    open(path, flags, 0o644).unwrap_or(-1) as i32
}

fn write(descriptor: i32, text: &str) -> crate::Outcome {
    call!(write(descriptor, text.as_ptr().cast(), text.len()))
}

fn read(descriptor: i32, length: usize) -> Result<String, &'static str> {
    let mut buffer = vec![0u8; length];
    call!(read(descriptor, buffer.as_mut_ptr().cast(), length))
        .map(|count| String::from_utf8_lossy(&buffer[..count as usize]).replace('\0', "."))
}

fn stat(path: &str) -> Result<libc::stat, &'static str> {
    let mut result: libc::stat = unsafe { std::mem::zeroed() };
    call!(lstat(c(path).as_ptr(), &mut result)).map(|_| result)
}

fn shape(path: &str) -> String {
    stat(path).map_or_else(String::from, |result| {
        format!(
            "{:o} links {} size {} owner {}:{}",
            result.st_mode,
            result.st_nlink,
            if result.st_mode & libc::S_IFMT == libc::S_IFDIR { 0 } else { result.st_size },
            result.st_uid,
            result.st_gid
        )
    })
}

fn open_errors() {
    enter();
    println!("{:?} {:?} {:?}", open("none", O_RDONLY, 0), open("", O_RDONLY, 0), open("none/x", O_CREAT, 0o600));
    println!("{:?}", worked(open("file", O_CREAT | O_EXCL | O_WRONLY, 0o644)));
    println!(
        "{:?} {:?} {:?}",
        open("file", O_CREAT | O_EXCL, 0o644),
        open("file/x", O_RDONLY, 0),
        open("file/", O_RDONLY, 0)
    );
    println!(
        "{:?} {:?} {:?}",
        open("file", O_DIRECTORY, 0),
        open(".", O_WRONLY, 0),
        open("new/", O_CREAT | O_WRONLY, 0o644)
    );
    println!("{:?} {:?}", open(&"x".repeat(256), O_CREAT, 0o644), open(&"x/".repeat(2100), O_RDONLY, 0));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_openat, AT_FDCWD, 8, O_RDONLY),
        raw!(libc::SYS_openat, 99, c"x".as_ptr(), O_RDONLY)
    );
    println!("{:?}", raw!(libc::SYS_openat, 99, c"/".as_ptr(), O_RDONLY).is_ok());
    println!("{:?} {:?}", call!(close(99)), call!(close(-1)));
    println!("{:?}", worked(open(".", O_CREAT, 0o644)));
}

fn read_and_write() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    println!("{:?} {:?}", write(file, "hello world"), call!(lseek(file, 6, libc::SEEK_SET)));
    println!("{:?} {:?} {:?}", read(file, 100), read(file, 100), call!(lseek(file, -5, libc::SEEK_END)));
    println!("{:?} {:?}", read(file, 3), call!(lseek(file, -100, libc::SEEK_CUR)));
    let reader = must_open("file", O_RDONLY);
    let writer = must_open("file", O_WRONLY);
    println!("{:?} {:?}", write(reader, "x"), read(writer, 1));
    println!("{:?} {:?}", raw!(libc::SYS_read, file, 8, 10), raw!(libc::SYS_write, file, 8, 10));
    println!(
        "{:?} {:?} {:?}",
        call!(read(99, std::ptr::null_mut(), 1)),
        call!(read(file, std::ptr::null_mut(), 0)),
        read(must_open(".", O_RDONLY), 10)
    );
    let mut byte = 0u8;
    println!(
        "{:?} {:?}",
        call!(pread(file, (&raw mut byte).cast(), 1, -1)),
        call!(pwrite(file, (&raw const byte).cast(), 1, -1))
    );
    println!("{:?} {:?}", call!(lseek(file, 0, 9)), call!(lseek(0x7fff, 0, 0)));
    let copy = unsafe { libc::dup(file) };
    let _ = call!(lseek(copy, 2, libc::SEEK_SET));
    println!("shared offset {:?}", call!(lseek(file, 0, libc::SEEK_CUR)));
}

fn append_and_truncate() {
    enter();
    let file = must_open("file", O_WRONLY | O_CREAT | O_APPEND);
    let _ = write(file, "one");
    let _ = call!(lseek(file, 0, libc::SEEK_SET));
    let _ = write(file, "two");
    println!("{:?}", std::fs::read_to_string("file"));
    println!("{:?} {:?}", call!(ftruncate(file, 4)), std::fs::read_to_string("file"));
    println!("{:?} {:?}", call!(truncate(c"file".as_ptr(), 8)), std::fs::read("file"));
    println!(
        "{:?} {:?} {:?}",
        call!(truncate(c"file".as_ptr(), -1)),
        call!(truncate(c".".as_ptr(), 0)),
        call!(ftruncate(must_open("file", O_RDONLY), 0))
    );
    let _ = must_open("file", O_WRONLY | O_TRUNC);
    println!("{}", shape("file"));
    println!("{:?}", call!(fcntl(file, libc::F_SETFL, 0)));
    let _ = call!(lseek(file, 0, libc::SEEK_SET));
    let _ = write(file, "ab");
    println!("{:?}", std::fs::read_to_string("file"));
}

fn holes() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    let _ = call!(pwrite(file, c"end".as_ptr().cast(), 3, 1 << 20));
    let information = stat("file").unwrap();
    println!("{} {}", information.st_size, information.st_blocks <= 16);
    println!("{:?} {:?}", call!(lseek(file, 0, libc::SEEK_DATA)), call!(lseek(file, 0, libc::SEEK_HOLE)));
    println!("{:?} {:?}", call!(lseek(file, 2 << 20, libc::SEEK_DATA)), call!(lseek(file, 1 << 20, libc::SEEK_HOLE)));
    let _ = call!(lseek(file, 4000, libc::SEEK_SET));
    println!("{:?}", read(file, 5));
}

fn vectors() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    let parts = ["one", "", "two"].map(|text| libc::iovec { iov_base: text.as_ptr() as *mut _, iov_len: text.len() });
    println!("{:?} {:?}", call!(writev(file, parts.as_ptr(), 3)), call!(pwritev(file, parts.as_ptr(), 3, 10)));
    println!("{:?}", std::fs::read("file").map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', ".")));
    println!(
        "{:?} {:?} {:?}",
        call!(writev(file, parts.as_ptr(), 0)),
        call!(writev(file, parts.as_ptr(), 1025)),
        call!(writev(file, parts.as_ptr(), -1))
    );
    let bad = [libc::iovec { iov_base: 8 as *mut _, iov_len: 4 }];
    println!("{:?}", call!(writev(file, bad.as_ptr(), 1)));
    let huge = [libc::iovec { iov_base: parts[0].iov_base, iov_len: usize::MAX }];
    println!("{:?} {:?}", call!(writev(file, huge.as_ptr(), 1)), raw!(libc::SYS_writev, file, 8, 1));
    let mut first = [0u8; 2];
    let mut second = [0u8; 8];
    let into = [
        libc::iovec { iov_base: first.as_mut_ptr().cast(), iov_len: 2 },
        libc::iovec { iov_base: second.as_mut_ptr().cast(), iov_len: 8 },
    ];
    println!("{:?} {:?} {:?}", call!(preadv(file, into.as_ptr(), 2, 0)), first, second);
}

fn links() {
    enter();
    std::fs::write("a", "x").unwrap();
    println!("{:?} {}", call!(link(c"a".as_ptr(), c"b".as_ptr())), shape("b"));
    println!(
        "{:?} {:?} {:?}",
        call!(link(c"a".as_ptr(), c"b".as_ptr())),
        call!(link(c".".as_ptr(), c"c".as_ptr())),
        call!(link(c"none".as_ptr(), c"c".as_ptr()))
    );
    println!("{:?} {}", call!(unlink(c"a".as_ptr())), shape("b"));
    println!(
        "{:?} {:?} {:?}",
        call!(unlink(c"a".as_ptr())),
        call!(unlink(c".".as_ptr())),
        call!(unlink(c"b/".as_ptr()))
    );
    println!("same inode {}", {
        let _ = call!(link(c"b".as_ptr(), c"d".as_ptr()));
        stat("b").unwrap().st_ino == stat("d").unwrap().st_ino
    });
}

fn rename() {
    enter();
    let rename = |from: &str, to: &str| call!(rename(c(from).as_ptr(), c(to).as_ptr()));
    std::fs::write("a", "a").unwrap();
    std::fs::write("b", "b").unwrap();
    std::fs::create_dir_all("d/e").unwrap();
    std::fs::create_dir("empty").unwrap();
    println!("{:?} {:?}", rename("a", "b"), std::fs::read_to_string("b"));
    println!("{:?} {:?} {:?}", rename("none", "x"), rename("b", "d"), rename("d", "b"));
    println!("{:?} {:?} {:?}", rename("d", "d/e/x"), rename("empty", "d"), rename("d", "empty"));
    println!("{} {}", shape("empty/e"), shape("d"));
    println!("{:?} {:?} {:?}", rename("b", "b/"), rename("empty/.", "x"), rename("b", "b"));
    std::fs::write("c", "c").unwrap();
    let rename2 = |from: &str, to: &str, flags: u32| {
        raw!(libc::SYS_renameat2, AT_FDCWD, c(from).as_ptr(), AT_FDCWD, c(to).as_ptr(), flags)
    };
    println!(
        "{:?} {:?} {:?}",
        rename2("b", "c", libc::RENAME_NOREPLACE),
        rename2("b", "c", libc::RENAME_EXCHANGE),
        std::fs::read_to_string("b")
    );
    println!("{:?} {:?}", rename2("b", "none", libc::RENAME_EXCHANGE), rename2("b", "c", 99));
}

fn directories() {
    enter();
    let mkdir = |path: &str| call!(mkdir(c(path).as_ptr(), 0o777));
    let rmdir = |path: &str| call!(rmdir(c(path).as_ptr()));
    println!("{:?} {:?} {:?} {:?}", mkdir("a"), mkdir("a"), mkdir("none/a"), mkdir("b/"));
    println!("{} {}", shape("a"), shape("."));
    std::fs::write("a/file", "").unwrap();
    println!("{:?} {:?} {:?} {:?}", rmdir("a"), rmdir("none"), rmdir("a/file"), rmdir("a/."));
    println!("{:?} {:?} {:?}", call!(unlink(c"a".as_ptr())), rmdir("b/"), rmdir(".."));
    let _ = mkdir("here");
    println!("{:?} {:?}", call!(chdir(c"here".as_ptr())), std::env::current_dir());
    println!(
        "{:?} {:?} {:?}",
        call!(rmdir(c"../here".as_ptr())),
        open("x", O_CREAT, 0o600),
        std::env::current_dir().is_err()
    );
    println!("{:?} {:?}", call!(chdir(c"..".as_ptr())), call!(chdir(c"a/file".as_ptr())));
    let mut buffer = [0u8; 4];
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_getcwd, buffer.as_mut_ptr(), 4),
        raw!(libc::SYS_getcwd, buffer.as_mut_ptr(), 0)
    );
}

fn getdents() {
    enter();
    for index in 0..300 {
        std::fs::write(format!("file-{index:03}"), "").unwrap();
    }
    std::fs::create_dir("directory").unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    println!("{} {:?} {:?}", names.len(), names.first(), names.last());
    let directory = must_open(".", O_RDONLY | O_DIRECTORY);
    let mut buffer = [0u8; 64];
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), 4),
        raw!(libc::SYS_getdents64, must_open("file-000", O_RDONLY), buffer.as_mut_ptr(), 64)
    );
    // Removing while reading neither repeats nor loses a name.
    let mut seen = 0;
    for entry in std::fs::read_dir(".").unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::remove_file(entry.path()).unwrap();
            seen += 1;
        }
    }
    println!("{seen} {}", std::fs::read_dir(".").unwrap().count());
}

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

fn permissions() {
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

fn sticky() {
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

fn symbolic_links() {
    enter();
    let symlink = |target: &str, path: &str| call!(symlink(c(target).as_ptr(), c(path).as_ptr()));
    std::fs::create_dir("d").unwrap();
    std::fs::write("d/file", "text").unwrap();
    println!(
        "{:?} {:?} {:?} {:?}",
        symlink("d/file", "l"),
        symlink("d", "dl"),
        symlink("l2", "l1"),
        symlink("l1", "l2")
    );
    println!("{:?} {:?} {}", std::fs::read_to_string("l"), std::fs::read_to_string("dl/file"), shape("l"));
    println!("{:?} {:?} {:?}", open("l1", O_RDONLY, 0), open("l", O_NOFOLLOW, 0), symlink("", "x"));
    println!("{:?} {:?}", open("dl", O_NOFOLLOW | O_DIRECTORY, 0), worked(open("dl/", O_NOFOLLOW | O_DIRECTORY, 0)));
    println!("{:?} {:?}", symlink("none", "dangling"), worked(open("dangling", O_CREAT | O_WRONLY, 0o644)));
    println!("{} {:?}", shape("none"), open("dangling", O_CREAT | O_EXCL, 0o644));
    let mut buffer = [0u8; 3];
    println!(
        "{:?} {:?} {:?}",
        call!(readlink(c"l".as_ptr(), buffer.as_mut_ptr().cast(), 3)),
        buffer.to_vec(),
        call!(readlink(c"d".as_ptr(), buffer.as_mut_ptr().cast(), 3))
    );
    println!("{:?}", call!(readlink(c"l".as_ptr(), buffer.as_mut_ptr().cast(), 0)));
    for index in 0..45 {
        let _ = symlink(
            &if index == 0 { "d/file".into() } else { format!("chain{}", index - 1) },
            &format!("chain{index}"),
        );
    }
    println!("{:?} {:?}", worked(open("chain39", O_RDONLY, 0)), worked(open("chain40", O_RDONLY, 0)));
    println!("{:?} {:?}", call!(rmdir(c"dl".as_ptr())), call!(unlink(c"dl".as_ptr())));
}

fn path_descriptors() {
    enter();
    std::fs::write("file", "abc").unwrap();
    let path = must_open("file", O_PATH);
    println!("{:?} {:?} {:?}", read(path, 1), write(path, "x"), call!(fchmod(path, 0o600)));
    let mut information: libc::stat = unsafe { std::mem::zeroed() };
    println!("{:?} {}", call!(fstat(path, &mut information)), information.st_size);
    println!("{:?}", std::fs::read_to_string(format!("/proc/self/fd/{path}")));
    println!(
        "{:?} {:?}",
        call!(fcntl(path, libc::F_GETFL)).map(|flags| flags & i64::from(O_PATH) != 0),
        call!(lseek(path, 0, 0))
    );
    println!("{:?}", worked(raw!(libc::SYS_openat, path, c"".as_ptr(), O_RDONLY)));
}

fn at_calls() {
    enter();
    std::fs::create_dir("d").unwrap();
    let directory = must_open("d", O_RDONLY | O_DIRECTORY);
    println!("{:?}", worked(call!(openat(directory, c"x".as_ptr(), O_CREAT | O_WRONLY, 0o600))));
    println!(
        "{:?} {:?}",
        call!(mkdirat(directory, c"e".as_ptr(), 0o755)),
        call!(symlinkat(c"x".as_ptr(), directory, c"s".as_ptr()))
    );
    println!(
        "{:?} {:?}",
        call!(linkat(directory, c"x".as_ptr(), AT_FDCWD, c"y".as_ptr(), 0)),
        call!(renameat(directory, c"x".as_ptr(), directory, c"z".as_ptr()))
    );
    println!(
        "{:?} {:?}",
        call!(unlinkat(directory, c"e".as_ptr(), 0)),
        call!(unlinkat(directory, c"e".as_ptr(), libc::AT_REMOVEDIR))
    );
    println!(
        "{:?} {:?}",
        call!(unlinkat(directory, c"z".as_ptr(), libc::AT_REMOVEDIR)),
        call!(unlinkat(directory, c"z".as_ptr(), 77))
    );
    let mut information: libc::stat = unsafe { std::mem::zeroed() };
    println!(
        "{:?} {:?}",
        call!(fstatat(directory, c"".as_ptr(), &mut information, 0)),
        call!(fstatat(directory, c"".as_ptr(), &mut information, libc::AT_EMPTY_PATH))
    );
    println!(
        "{:?} {:o}",
        call!(fstatat(directory, c"s".as_ptr(), &mut information, libc::AT_SYMLINK_NOFOLLOW)),
        information.st_mode & libc::S_IFMT
    );
    println!(
        "{:?} {:?}",
        call!(fstatat(directory, c"s".as_ptr(), &mut information, 0)),
        call!(faccessat(directory, c"z".as_ptr(), libc::X_OK, 0))
    );
    println!("{:?} {:?}", call!(fchmodat(directory, c"z".as_ptr(), 0o711, 0)), shape("d/z"));
    println!("{:?}", call!(fchownat(directory, c"s".as_ptr(), 3, 4, libc::AT_SYMLINK_NOFOLLOW)));
    println!("{} {}", shape("d/s"), shape("d/z"));
}

fn times() {
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

fn statx() {
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

fn lock(descriptor: i32, command: i32, kind: i32, start: i64, length: i64) -> Result<String, &'static str> {
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = length;
    call!(fcntl(descriptor, command, &raw mut lock))
        .map(|_| format!("type {} start {} length {}", lock.l_type, lock.l_start, lock.l_len))
}

fn record_locks() {
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

fn open_file_locks() {
    enter();
    let first = must_open("file", O_RDWR | O_CREAT);
    let second = must_open("file", O_RDWR);
    println!(
        "{:?} {:?}",
        lock(first, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 10),
        lock(second, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 10)
    );
    println!("{:?}", lock(second, libc::F_OFD_GETLK, libc::F_RDLCK, 5, 10));
    let _ = call!(close(first));
    println!("{:?}", lock(second, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 10));
}

fn flock() {
    enter();
    let first = must_open("file", O_RDWR | O_CREAT);
    let second = must_open("file", O_RDONLY);
    let try_lock = |descriptor: i32, kind: i32| call!(flock(descriptor, kind | libc::LOCK_NB));
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
    println!("{:?} {:?}", call!(flock(first, 0)), call!(flock(99, libc::LOCK_SH)));
}

fn descriptor_flags() {
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

fn close_range() {
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

fn extended_attributes() {
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

fn special_files() {
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

fn unlinked() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    let _ = write(file, "still here");
    let _ = call!(unlink(c"file".as_ptr()));
    let mut information: libc::stat = unsafe { std::mem::zeroed() };
    println!("{:?} links {} size {}", call!(fstat(file, &mut information)), information.st_nlink, information.st_size);
    let _ = call!(lseek(file, 0, 0));
    println!("{:?}", read(file, 20));
    let link = std::fs::read_link(format!("/proc/self/fd/{file}"));
    println!("{link:?}");
}

fn fallocate() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    println!("{:?} {}", call!(fallocate(file, 0, 0, 8192)), shape("file"));
    let _ = call!(pwrite(file, [7u8; 8192].as_ptr().cast(), 8192, 0));
    println!("{:?}", call!(fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 4096, 4096)));
    println!("{:?}", std::fs::read("file").map(|bytes| (bytes[4095], bytes[4096], bytes.len())));
    println!("{:?} {}", call!(fallocate(file, libc::FALLOC_FL_KEEP_SIZE, 8192, 4096)), shape("file"));
    println!("{:?} {:?}", call!(fallocate(file, 0, -1, 10)), call!(fallocate(file, 0, 0, 0)));
    println!(
        "{:?} {:?}",
        call!(fallocate(file, libc::FALLOC_FL_PUNCH_HOLE, 0, 10)),
        call!(fallocate(must_open("file", O_RDONLY), 0, 0, 10))
    );
}

fn mounts() {
    enter();
    println!(
        "{}",
        in_child(|| {
            let _ = call!(unshare(libc::CLONE_NEWNS));
            let _ = call!(mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null()
            ));
            std::fs::create_dir("m").unwrap();
            std::fs::write("m/below", "").unwrap();
            println!(
                "{:?}",
                call!(mount(c"none".as_ptr(), c"m".as_ptr(), c"tmpfs".as_ptr(), 0, c"size=64k".as_ptr().cast()))
            );
            println!(
                "{} {}",
                shape("m/below"),
                std::fs::read_to_string("/proc/self/mounts")
                    .unwrap_or_default()
                    .lines()
                    .filter(|line| line.contains("/m tmpfs"))
                    .count()
            );
            println!("{:?}", std::fs::write("m/big", vec![1u8; 100_000]).map_err(|error| error.raw_os_error()));
            println!("{:?} {:?}", call!(rmdir(c"m".as_ptr())), call!(rename(c"m".as_ptr(), c"n".as_ptr())));
            let busy = must_open("m/big", O_RDONLY);
            println!("{:?}", call!(umount2(c"m".as_ptr(), 0)));
            let _ = call!(close(busy));
            println!(
                "{:?} {:?}",
                call!(link(c"m/big".as_ptr(), c"x".as_ptr())),
                call!(rename(c"m/big".as_ptr(), c"x".as_ptr()))
            );
            println!(
                "{:?} {:?}",
                call!(mount(
                    c"none".as_ptr(),
                    c"m".as_ptr(),
                    c"tmpfs".as_ptr(),
                    libc::MS_REMOUNT | libc::MS_RDONLY,
                    std::ptr::null()
                )),
                open("m/new", O_CREAT, 0o600)
            );
            println!("{:?} {:?}", call!(umount2(c"m".as_ptr(), 0)), shape("m/below"));
            println!(
                "{:?} {:?}",
                call!(umount2(c"m".as_ptr(), 0)),
                call!(mount(c"none".as_ptr(), c"m".as_ptr(), c"nonsense".as_ptr(), 0, std::ptr::null()))
            );
            println!(
                "{:?} {:?}",
                call!(mount(c"m".as_ptr(), c"m".as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null())),
                shape("m/below")
            );
            println!("{:?}", call!(umount2(c"m".as_ptr(), libc::MNT_DETACH)));
            0
        })
    );
}

fn chroot() {
    enter();
    std::fs::create_dir_all("jail/inside").unwrap();
    println!(
        "{}",
        in_child(|| {
            println!("{:?} {:?}", call!(chroot(c"jail".as_ptr())), call!(chdir(c"/".as_ptr())));
            println!("{:?} {}", std::env::current_dir(), shape("/../../inside"));
            println!("{:?}", open("/etc", O_RDONLY, 0));
            0
        })
    );
}

fn copy_range() {
    enter();
    std::fs::write("from", "0123456789").unwrap();
    let (from, to) = (must_open("from", O_RDONLY), must_open("to", O_RDWR | O_CREAT));
    println!("{:?} {:?}", raw!(libc::SYS_copy_file_range, from, 0, to, 0, 4, 0), std::fs::read_to_string("to"));
    let mut offset = 2i64;
    println!(
        "{:?} {offset} {:?}",
        raw!(libc::SYS_copy_file_range, from, &raw mut offset, to, 0, 3, 0),
        std::fs::read_to_string("to")
    );
    println!("{:?}", raw!(libc::SYS_copy_file_range, to, 0, from, 0, 3, 0));
    println!("{:?} {:?}", call!(sendfile(to, from, std::ptr::null_mut(), 100)), std::fs::read_to_string("to"));
    println!("{:?}", raw!(libc::SYS_copy_file_range, from, 0, to, 0, 3, 1));
}

fn openat2() {
    enter();
    std::fs::create_dir("d").unwrap();
    std::fs::write("d/file", "").unwrap();
    let _ = call!(symlink(c"../x".as_ptr(), c"d/up".as_ptr()));
    std::fs::write("x", "").unwrap();
    let directory = must_open("d", O_RDONLY | O_DIRECTORY);
    let open = |path: &str, resolve: u64, flags: u64| {
        let how = [flags, 0u64, resolve];
        worked(raw!(libc::SYS_openat2, directory, c(path).as_ptr(), how.as_ptr(), 24))
    };
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    const NO_SYMLINKS: u64 = 4;
    println!("{:?} {:?} {:?}", open("file", BENEATH, 0), open("up", BENEATH, 0), open("../x", BENEATH, 0));
    println!("{:?} {:?} {:?}", open("up", NO_SYMLINKS, 0), open("/file", IN_ROOT, 0), open("../../file", IN_ROOT, 0));
    println!("{:?} {:?}", open("file", 1 << 40, 0), open("file", 0, 1 << 40));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_openat2, directory, c"file".as_ptr(), &[0u64; 3], 8),
        raw!(libc::SYS_openat2, directory, c"file".as_ptr(), &[0u64, 0, 0, 1], 32)
    );
}

fn temporary_file() {
    enter();
    let file = open(".", libc::O_TMPFILE | O_RDWR, 0o600).unwrap_or(-1) as i32;
    println!("{:?}", write(file, "hidden"));
    println!(
        "{:?} {}",
        call!(linkat(
            AT_FDCWD,
            c(&format!("/proc/self/fd/{file}")).as_ptr(),
            AT_FDCWD,
            c"visible".as_ptr(),
            libc::AT_SYMLINK_FOLLOW
        )),
        shape("visible")
    );
    println!("{:?}", open(".", libc::O_TMPFILE | O_RDONLY, 0o600));
}

fn name_limits() {
    enter();
    let name = "n".repeat(255);
    println!("{:?} {:?}", worked(open(&name, O_CREAT, 0o600)), worked(open(&format!("{name}x"), O_CREAT, 0o600)));
    let path = format!("./{}{}", "./".repeat(2040), "x");
    println!("{} {:?}", path.len(), worked(open(&path, O_CREAT, 0o600)));
    let path = format!("./{}{}", "./".repeat(2050), "x");
    println!("{} {:?}", path.len(), worked(open(&path, O_CREAT, 0o600)));
    let exotic = "\u{1}tab\there\u{7f}ü";
    println!(
        "{:?} {:?}",
        worked(open(exotic, O_CREAT, 0o600)),
        std::fs::read_dir(".").unwrap().filter(|entry| entry.as_ref().unwrap().file_name() == exotic).count()
    );
}
