//! Reading, writing, holes, and what becomes of content.

use super::{enter, must_open, open, read, shape, stat, write};
use crate::raw;
use crate::system::{self, Must, c, worked};
use libc::{AT_FDCWD, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use std::io::{IoSlice, IoSliceMut};

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
    println!("{:?} {:?}", raw!(libc::SYS_openat, AT_FDCWD, 8, O_RDONLY), raw!(libc::SYS_openat, 99, c"x", O_RDONLY));
    println!("{:?}", raw!(libc::SYS_openat, 99, c"/", O_RDONLY).is_ok());
    println!("{:?} {:?}", system::close(99), system::close(-1));
    println!("{:?}", worked(open(".", O_CREAT, 0o644)));
}

pub(super) fn read_and_write() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    println!("{:?} {:?}", write(file, "hello world"), system::lseek(file, 6, libc::SEEK_SET));
    println!("{:?} {:?} {:?}", read(file, 100), read(file, 100), system::lseek(file, -5, libc::SEEK_END));
    println!("{:?} {:?}", read(file, 3), system::lseek(file, -100, libc::SEEK_CUR));
    let reader = must_open("file", O_RDONLY);
    let writer = must_open("file", O_WRONLY);
    println!("{:?} {:?}", write(reader, "x"), read(writer, 1));
    println!("{:?} {:?}", raw!(libc::SYS_read, file, 8, 10), raw!(libc::SYS_write, file, 8, 10));
    println!(
        "{:?} {:?} {:?}",
        raw!(libc::SYS_read, 99, 0, 1),
        raw!(libc::SYS_read, file, 0, 0),
        read(must_open(".", O_RDONLY), 10)
    );
    let mut byte = [0u8];
    println!("{:?} {:?}", system::pread(file, &mut byte, -1), system::pwrite(file, &[0], -1));
    println!("{:?} {:?}", system::lseek(file, 0, 9), system::lseek(0x7fff, 0, 0));
    let copy = system::dup(file).unwrap_or(-1);
    let _ = system::lseek(copy, 2, libc::SEEK_SET);
    println!("shared offset {:?}", system::lseek(file, 0, libc::SEEK_CUR));
}

pub(super) fn append_and_truncate() {
    enter();
    let file = must_open("file", O_WRONLY | O_CREAT | O_APPEND);
    let _ = write(file, "one");
    let _ = system::lseek(file, 0, libc::SEEK_SET);
    let _ = write(file, "two");
    println!("{:?}", std::fs::read_to_string("file"));
    println!("{:?} {:?}", system::ftruncate(file, 4), std::fs::read_to_string("file"));
    println!("{:?} {:?}", system::truncate(c"file", 8), std::fs::read("file"));
    println!(
        "{:?} {:?} {:?}",
        system::truncate(c"file", -1),
        system::truncate(c".", 0),
        system::ftruncate(must_open("file", O_RDONLY), 0)
    );
    let _ = must_open("file", O_WRONLY | O_TRUNC);
    println!("{}", shape("file"));
    println!("{:?}", system::fcntl(file, libc::F_SETFL, 0));
    let _ = system::lseek(file, 0, libc::SEEK_SET);
    let _ = write(file, "ab");
    println!("{:?}", std::fs::read_to_string("file"));
}

pub(super) fn holes() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    let _ = system::pwrite(file, b"end", 1 << 20);
    let information = stat("file").must();
    println!("{} {}", information.st_size, information.st_blocks <= 16);
    println!("{:?} {:?}", system::lseek(file, 0, libc::SEEK_DATA), system::lseek(file, 0, libc::SEEK_HOLE));
    println!("{:?} {:?}", system::lseek(file, 2 << 20, libc::SEEK_DATA), system::lseek(file, 1 << 20, libc::SEEK_HOLE));
    let _ = system::lseek(file, 4000, libc::SEEK_SET);
    println!("{:?}", read(file, 5));
}

pub(super) fn vectors() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    let parts = ["one", "", "two"].map(|text| IoSlice::new(text.as_bytes()));
    println!("{:?} {:?}", system::writev(file, &parts), system::pwritev(file, &parts, 10));
    println!("{:?}", std::fs::read("file").map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', ".")));
    // Addresses and lengths as the kernel reads them: the first would do.
    let one = parts[0].as_ptr().expose_provenance();
    let list = [one, parts[0].len()];
    println!(
        "{:?} {:?} {:?}",
        system::writev(file, &parts[..0]),
        raw!(libc::SYS_writev, file, &list, 1025),
        raw!(libc::SYS_writev, file, &list, -1)
    );
    println!("{:?}", raw!(libc::SYS_writev, file, &[8usize, 4], 1));
    println!("{:?} {:?}", raw!(libc::SYS_writev, file, &[one, usize::MAX], 1), raw!(libc::SYS_writev, file, 8, 1));
    let mut first = [0u8; 2];
    let mut second = [0u8; 8];
    let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let outcome = system::preadv(file, &mut into, 0);
    println!("{outcome:?} {first:?} {second:?}");
}

pub(super) fn unlinked() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    let _ = write(file, "still here");
    let _ = system::unlink(c"file");
    let mut information: libc::stat = system::zeroed();
    println!("{:?} links {} size {}", system::fstat(file, &mut information), information.st_nlink, information.st_size);
    let _ = system::lseek(file, 0, 0);
    println!("{:?}", read(file, 20));
    let link = std::fs::read_link(format!("/proc/self/fd/{file}"));
    println!("{link:?}");
}

pub(super) fn fallocate() {
    enter();
    let file = must_open("file", O_RDWR | O_CREAT);
    println!("{:?} {}", system::fallocate(file, 0, 0, 8192), shape("file"));
    let _ = system::pwrite(file, &[7u8; 8192], 0);
    println!("{:?}", system::fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 4096, 4096));
    println!("{:?}", std::fs::read("file").map(|bytes| (bytes[4095], bytes[4096], bytes.len())));
    println!("{:?} {}", system::fallocate(file, libc::FALLOC_FL_KEEP_SIZE, 8192, 4096), shape("file"));
    println!("{:?} {:?}", system::fallocate(file, 0, -1, 10), system::fallocate(file, 0, 0, 0));
    println!(
        "{:?} {:?}",
        system::fallocate(file, libc::FALLOC_FL_PUNCH_HOLE, 0, 10),
        system::fallocate(must_open("file", O_RDONLY), 0, 0, 10)
    );
}

pub(super) fn copy_range() {
    enter();
    std::fs::write("from", "0123456789").must();
    let (from, to) = (must_open("from", O_RDONLY), must_open("to", O_RDWR | O_CREAT));
    println!("{:?} {:?}", raw!(libc::SYS_copy_file_range, from, 0, to, 0, 4, 0), std::fs::read_to_string("to"));
    let mut offset = 2i64;
    println!(
        "{:?} {offset} {:?}",
        raw!(libc::SYS_copy_file_range, from, &mut offset, to, 0, 3, 0),
        std::fs::read_to_string("to")
    );
    println!("{:?}", raw!(libc::SYS_copy_file_range, to, 0, from, 0, 3, 0));
    println!("{:?} {:?}", system::sendfile(to, from, None, 100), std::fs::read_to_string("to"));
    println!("{:?}", raw!(libc::SYS_copy_file_range, from, 0, to, 0, 3, 1));
}

pub(super) fn temporary_file() {
    enter();
    let file = open(".", libc::O_TMPFILE | O_RDWR, 0o600).unwrap_or(-1);
    println!("{:?}", write(file, "hidden"));
    println!(
        "{:?} {}",
        system::linkat(AT_FDCWD, &c(&format!("/proc/self/fd/{file}")), AT_FDCWD, c"visible", libc::AT_SYMLINK_FOLLOW),
        shape("visible")
    );
    println!("{:?}", open(".", libc::O_TMPFILE | O_RDONLY, 0o600));
}
