//! Links, renaming, directories and walking paths.

use super::{enter, must_open, open, read, shape, stat, write};
use crate::{c, call, raw, worked};
use libc::{AT_FDCWD, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY};

pub(super) fn links() {
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

pub(super) fn rename() {
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

pub(super) fn directories() {
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

pub(super) fn getdents() {
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

pub(super) fn symbolic_links() {
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

pub(super) fn path_descriptors() {
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

pub(super) fn at_calls() {
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

pub(super) fn openat2() {
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

pub(super) fn name_limits() {
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
