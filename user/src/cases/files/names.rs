//! Links, renaming, directories and walking paths.

use super::{enter, must_open, open, read, shape, stat, write};
use crate::raw;
use crate::system::{self, Must, c, worked};
use libc::{AT_FDCWD, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY};

pub(super) fn links() {
    enter();
    std::fs::write("a", "x").must();
    println!("{:?} {}", system::link(c"a", c"b"), shape("b"));
    println!("{:?} {:?} {:?}", system::link(c"a", c"b"), system::link(c".", c"c"), system::link(c"none", c"c"));
    println!("{:?} {}", system::unlink(c"a"), shape("b"));
    println!("{:?} {:?} {:?}", system::unlink(c"a"), system::unlink(c"."), system::unlink(c"b/"));
    println!("same inode {}", {
        let _ = system::link(c"b", c"d");
        stat("b").must().st_ino == stat("d").must().st_ino
    });
}

pub(super) fn rename() {
    enter();
    let rename = |from: &str, to: &str| system::rename(&c(from), &c(to));
    std::fs::write("a", "a").must();
    std::fs::write("b", "b").must();
    std::fs::create_dir_all("d/e").must();
    std::fs::create_dir("empty").must();
    println!("{:?} {:?}", rename("a", "b"), std::fs::read_to_string("b"));
    println!("{:?} {:?} {:?}", rename("none", "x"), rename("b", "d"), rename("d", "b"));
    println!("{:?} {:?} {:?}", rename("d", "d/e/x"), rename("empty", "d"), rename("d", "empty"));
    println!("{} {}", shape("empty/e"), shape("d"));
    println!("{:?} {:?} {:?}", rename("b", "b/"), rename("empty/.", "x"), rename("b", "b"));
    std::fs::write("c", "c").must();
    let rename2 =
        |from: &str, to: &str, flags: u32| raw!(libc::SYS_renameat2, AT_FDCWD, &c(from), AT_FDCWD, &c(to), flags);
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
    let mkdir = |path: &str| system::mkdir(&c(path), 0o777);
    let rmdir = |path: &str| system::rmdir(&c(path));
    println!("{:?} {:?} {:?} {:?}", mkdir("a"), mkdir("a"), mkdir("none/a"), mkdir("b/"));
    println!("{} {}", shape("a"), shape("."));
    std::fs::write("a/file", "").must();
    println!("{:?} {:?} {:?} {:?}", rmdir("a"), rmdir("none"), rmdir("a/file"), rmdir("a/."));
    println!("{:?} {:?} {:?}", system::unlink(c"a"), rmdir("b/"), rmdir(".."));
    let _ = mkdir("here");
    println!("{:?} {:?}", system::chdir(c"here"), std::env::current_dir());
    println!("{:?} {:?} {:?}", system::rmdir(c"../here"), open("x", O_CREAT, 0o600), std::env::current_dir().is_err());
    println!("{:?} {:?}", system::chdir(c".."), system::chdir(c"a/file"));
    let mut buffer = [0u8; 4];
    println!("{:?} {:?}", raw!(libc::SYS_getcwd, &mut buffer, 4), raw!(libc::SYS_getcwd, &mut buffer, 0));
}

pub(super) fn getdents() {
    enter();
    for index in 0..300 {
        std::fs::write(format!("file-{index:03}"), "").must();
    }
    std::fs::create_dir("directory").must();
    let mut names: Vec<_> =
        std::fs::read_dir(".").must().map(|entry| entry.must().file_name().into_string().must()).collect();
    names.sort();
    println!("{} {:?} {:?}", names.len(), names.first(), names.last());
    let directory = must_open(".", O_RDONLY | O_DIRECTORY);
    let mut buffer = [0u8; 64];
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_getdents64, directory, &mut buffer, 4),
        raw!(libc::SYS_getdents64, must_open("file-000", O_RDONLY), &mut buffer, 64)
    );
    // Removing while reading neither repeats nor loses a name.
    let mut seen = 0;
    for entry in std::fs::read_dir(".").must() {
        let entry = entry.must();
        if entry.file_type().must().is_file() {
            std::fs::remove_file(entry.path()).must();
            seen += 1;
        }
    }
    println!("{seen} {}", std::fs::read_dir(".").must().count());
}

pub(super) fn symbolic_links() {
    enter();
    let symlink = |target: &str, path: &str| system::symlink(&c(target), &c(path));
    std::fs::create_dir("d").must();
    std::fs::write("d/file", "text").must();
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
        system::readlink(c"l", &mut buffer),
        buffer.to_vec(),
        system::readlink(c"d", &mut buffer)
    );
    println!("{:?}", system::readlink(c"l", &mut buffer[..0]));
    for index in 0..45 {
        let _ = symlink(
            &if index == 0 { "d/file".into() } else { format!("chain{}", index - 1) },
            &format!("chain{index}"),
        );
    }
    println!("{:?} {:?}", worked(open("chain39", O_RDONLY, 0)), worked(open("chain40", O_RDONLY, 0)));
    println!("{:?} {:?}", system::rmdir(c"dl"), system::unlink(c"dl"));
}

pub(super) fn path_descriptors() {
    enter();
    std::fs::write("file", "abc").must();
    let path = must_open("file", O_PATH);
    println!("{:?} {:?} {:?}", read(path, 1), write(path, "x"), system::fchmod(path, 0o600));
    let mut information: libc::stat = system::zeroed();
    println!("{:?} {}", system::fstat(path, &mut information), information.st_size);
    println!("{:?}", std::fs::read_to_string(format!("/proc/self/fd/{path}")));
    println!(
        "{:?} {:?}",
        system::fcntl(path, libc::F_GETFL, 0).map(|flags| flags & O_PATH != 0),
        system::lseek(path, 0, 0)
    );
    println!("{:?}", worked(raw!(libc::SYS_openat, path, c"", O_RDONLY)));
}

pub(super) fn at_calls() {
    enter();
    std::fs::create_dir("d").must();
    let directory = must_open("d", O_RDONLY | O_DIRECTORY);
    println!("{:?}", worked(system::openat(directory, c"x", O_CREAT | O_WRONLY, 0o600)));
    println!("{:?} {:?}", system::mkdirat(directory, c"e", 0o755), system::symlinkat(c"x", directory, c"s"));
    println!(
        "{:?} {:?}",
        system::linkat(directory, c"x", AT_FDCWD, c"y", 0),
        system::renameat(directory, c"x", directory, c"z")
    );
    println!("{:?} {:?}", system::unlinkat(directory, c"e", 0), system::unlinkat(directory, c"e", libc::AT_REMOVEDIR));
    println!("{:?} {:?}", system::unlinkat(directory, c"z", libc::AT_REMOVEDIR), system::unlinkat(directory, c"z", 77));
    let mut information: libc::stat = system::zeroed();
    println!(
        "{:?} {:?}",
        system::fstatat(directory, c"", &mut information, 0),
        system::fstatat(directory, c"", &mut information, libc::AT_EMPTY_PATH)
    );
    println!(
        "{:?} {:o}",
        system::fstatat(directory, c"s", &mut information, libc::AT_SYMLINK_NOFOLLOW),
        information.st_mode & libc::S_IFMT
    );
    println!(
        "{:?} {:?}",
        system::fstatat(directory, c"s", &mut information, 0),
        system::faccessat(directory, c"z", libc::X_OK, 0)
    );
    println!("{:?} {:?}", system::fchmodat(directory, c"z", 0o711, 0), shape("d/z"));
    println!("{:?}", system::fchownat(directory, c"s", 3, 4, libc::AT_SYMLINK_NOFOLLOW));
    println!("{} {}", shape("d/s"), shape("d/z"));
}

pub(super) fn openat2() {
    enter();
    std::fs::create_dir("d").must();
    std::fs::write("d/file", "").must();
    let _ = system::symlink(c"../x", c"d/up");
    std::fs::write("x", "").must();
    let directory = must_open("d", O_RDONLY | O_DIRECTORY);
    let open = |path: &str, resolve: u64, flags: u64| {
        let how = [flags, 0u64, resolve];
        worked(raw!(libc::SYS_openat2, directory, &c(path), &how, 24))
    };
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    const NO_SYMLINKS: u64 = 4;
    println!("{:?} {:?} {:?}", open("file", BENEATH, 0), open("up", BENEATH, 0), open("../x", BENEATH, 0));
    println!("{:?} {:?} {:?}", open("up", NO_SYMLINKS, 0), open("/file", IN_ROOT, 0), open("../../file", IN_ROOT, 0));
    println!("{:?} {:?}", open("file", 1 << 40, 0), open("file", 0, 1 << 40));
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_openat2, directory, c"file", &[0u64; 3], 8),
        raw!(libc::SYS_openat2, directory, c"file", &[0u64, 0, 0, 1], 32)
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
        std::fs::read_dir(".").must().filter(|entry| entry.as_ref().must().file_name() == exotic).count()
    );
}
