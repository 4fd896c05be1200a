//! Files, directories, paths, locks.

mod content;
mod descriptors;
mod locks;
mod metadata;
mod mounts;
mod names;

use crate::runner::Case;
use crate::system::{self, Errno, Must, c};

pub(super) const CASES: &[Case] = &[
    ("files/open-errors", content::open_errors),
    ("files/read-and-write", content::read_and_write),
    ("files/append-and-truncate", content::append_and_truncate),
    ("files/holes-and-seeking", content::holes),
    ("files/vectors", content::vectors),
    ("files/links", names::links),
    ("files/rename", names::rename),
    ("files/directories", names::directories),
    ("files/getdents", names::getdents),
    ("files/permissions", metadata::permissions),
    ("files/sticky-directory", metadata::sticky),
    ("files/symbolic-links", names::symbolic_links),
    ("files/path-descriptors", names::path_descriptors),
    ("files/at-calls", names::at_calls),
    ("files/times", metadata::times),
    ("files/statx", metadata::statx),
    ("files/record-locks", locks::record_locks),
    ("files/open-file-locks", locks::open_file_locks),
    ("files/flock", locks::flock),
    ("files/descriptor-flags", descriptors::descriptor_flags),
    ("files/close-range", descriptors::close_range),
    ("files/extended-attributes", metadata::extended_attributes),
    ("files/special-files", metadata::special_files),
    ("files/unlinked-lives-on", content::unlinked),
    ("files/fallocate", content::fallocate),
    ("files/mounts", mounts::mounts),
    ("files/chroot", mounts::chroot),
    ("files/copy-range", content::copy_range),
    ("files/openat2", names::openat2),
    ("files/temporary-file", content::temporary_file),
    ("files/name-limits", names::name_limits),
];

const DIRECTORY: &str = "/tmp/conformance";

fn enter() {
    let _ = std::fs::remove_dir_all(DIRECTORY);
    std::fs::create_dir_all(DIRECTORY).must();
    std::env::set_current_dir(DIRECTORY).must();
    system::umask(0o22);
}

fn open(path: &str, flags: i32, mode: u32) -> Result<i32, Errno> {
    system::open(&c(path), flags, mode)
}

fn must_open(path: &str, flags: i32) -> i32 {
    open(path, flags, 0o644).unwrap_or(-1)
}

fn write(descriptor: i32, text: &str) -> Result<isize, Errno> {
    system::write(descriptor, text.as_bytes())
}

fn read(descriptor: i32, length: usize) -> Result<String, Errno> {
    let mut buffer = vec![0u8; length];
    system::read(descriptor, &mut buffer)
        .map(|count| String::from_utf8_lossy(&buffer[..count.unsigned_abs()]).replace('\0', "."))
}

fn stat(path: &str) -> Result<libc::stat, Errno> {
    let mut result: libc::stat = system::zeroed();
    system::lstat(&c(path), &mut result).map(|_| result)
}

fn shape(path: &str) -> String {
    stat(path).map_or_else(
        |error| error.to_string(),
        |result| {
            format!(
                "{:o} links {} size {} owner {}:{}",
                result.st_mode,
                result.st_nlink,
                if result.st_mode & libc::S_IFMT == libc::S_IFDIR { 0 } else { result.st_size },
                result.st_uid,
                result.st_gid
            )
        },
    )
}
