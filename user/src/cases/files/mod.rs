//! Files, directories, paths, locks.

mod content;
mod descriptors;
mod locks;
mod metadata;
mod mounts;
mod names;

use crate::runner::Case;
use crate::{c, call};

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
