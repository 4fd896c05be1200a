//! Reading, writing, holes, and what becomes of content.

use super::{enter, must_open, open, read, shape, stat, write};
use crate::{c, call, raw, worked};
use libc::{AT_FDCWD, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};

pub(super) fn open_errors() {
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

pub(super) fn read_and_write() {
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

pub(super) fn append_and_truncate() {
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

pub(super) fn holes() {
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

pub(super) fn vectors() {
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

pub(super) fn unlinked() {
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

pub(super) fn fallocate() {
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

pub(super) fn copy_range() {
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

pub(super) fn temporary_file() {
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
