//! Writing initramfs archives: the "newc" form of cpio, as Linux reads it.
//!
//! An [`Archive`] grows in memory; parents are added before what is in them. Times are zero and inode numbers count up, so
//! the same tree gives the same bytes.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// `S_IFDIR`.
const DIRECTORY: u32 = 0o040_000;
/// `S_IFREG`.
const REGULAR: u32 = 0o100_000;
/// `S_IFLNK`.
const SYMLINK: u32 = 0o120_000;
/// `S_IFCHR`.
const CHARACTER: u32 = 0o020_000;

/// An archive in the making.
#[derive(Default, Clone)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    paths: BTreeSet<String>,
    layout: Layout,
}

/// Where the system's folders are.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Each where it is named.
    #[default]
    Plain,
    /// Those of [`MERGED`] in `/usr`.
    Merged,
}

/// The folders that Debian's systems have in `/usr`, with links in the top folder.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// One header's fields that are not always the same.
struct Header<'a> {
    path: &'a str,
    mode: u32,
    size: usize,
    links: u32,
    device: (u32, u32),
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// An archive of a tree whose `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`: whatever is added below them is there.
    pub fn merged() -> Self {
        let mut archive = Self::new();
        for folder in MERGED {
            archive.symlink(folder, &format!("usr/{folder}"));
        }
        archive.layout = Layout::Merged;
        for folder in MERGED {
            archive.directory(&format!("usr/{folder}"));
        }
        archive
    }

    /// Whether `path` was added.
    pub fn contains(&self, path: &str) -> bool {
        self.paths.contains(self.place(path).as_ref())
    }

    /// The path without the slash at its start, through the links of a merged tree.
    fn place<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let path = path.trim_matches('/');
        let is_moved = |folder: &&str| path.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
        match self.layout {
            Layout::Merged if MERGED.iter().any(is_moved) => Cow::Owned(format!("usr/{path}")),
            Layout::Merged | Layout::Plain => Cow::Borrowed(path),
        }
    }

    /// Adds a folder, and the folders above it, where they are not there yet.
    pub fn directory(&mut self, path: &str) {
        self.directory_with_mode(path, 0o755);
    }

    /// As [`Self::directory`], with permission bits for the last folder.
    pub fn directory_with_mode(&mut self, path: &str, mode: u32) {
        let path = self.place(path);
        let path = path.as_ref();
        if path.is_empty() || self.contains(path) {
            return;
        }
        self.parents(path);
        self.entry(&Header { path, mode: DIRECTORY | mode, size: 0, links: 2, device: (0, 0) }, &[]);
    }

    /// Adds a file. A file of the same path that was added before is replaced when the archive is unpacked.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = self.place(path);
        let path = path.as_ref();
        self.parents(path);
        self.entry(&Header { path, mode: REGULAR | mode, size: content.len(), links: 1, device: (0, 0) }, content);
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        let path = self.place(path);
        let path = path.as_ref();
        self.parents(path);
        let header = Header { path, mode: SYMLINK | 0o777, size: target.len(), links: 1, device: (0, 0) };
        self.entry(&header, target.as_bytes());
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        let path = self.place(path);
        let path = path.as_ref();
        self.parents(path);
        self.entry(&Header { path, mode: CHARACTER | mode, size: 0, links: 1, device: (major, minor) }, &[]);
    }

    /// The whole archive with its end mark.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(&Header { path: "TRAILER!!!", mode: 0, size: 0, links: 1, device: (0, 0) }, &[]);
        while !self.bytes.len().is_multiple_of(512) {
            self.bytes.push(0);
        }
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, header: &Header<'_>, content: &[u8]) {
        self.paths.insert(header.path.to_owned());
        self.entries += 1;
        // The order of the fields is the format's: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor
        // rdevminor namesize check.
        let size = u32::try_from(header.size).unwrap_or(u32::MAX);
        let name_size = u32::try_from(header.path.len() + 1).unwrap_or(u32::MAX);
        let (major, minor) = header.device;
        let fields = [self.entries, header.mode, 0, 0, header.links, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(header.path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_once() {
        let mut archive = Archive::new();
        archive.file("/a/b/c", 0o644, b"hello");
        archive.symlink("/a/b/d", "c");
        let text = String::from_utf8(archive.finish()).unwrap();
        let places: Vec<usize> =
            ["a\0", "a/b\0", "a/b/c\0", "a/b/d\0"].iter().map(|name| text.find(name).unwrap()).collect();
        assert!(places.is_sorted());
        assert_eq!(text.matches("070701").count(), 5);
        assert_eq!(text.len() % 512, 0);
    }

    #[test]
    fn a_merged_tree_has_its_programs_in_usr() {
        let mut archive = Archive::merged();
        archive.file("/bin/sh", 0o755, b"x");
        archive.directory("lib");
        archive.file("/binary", 0o644, b"y");
        assert!(archive.contains("/usr/bin/sh") && archive.contains("bin/sh") && archive.contains("/binary"));
        let text = String::from_utf8(archive.finish()).unwrap();
        assert!(text.contains("usr/bin/sh\0") && !text.contains("\0bin/sh\0") && !text.contains("usr/binary"));
        assert_eq!(text.matches("070701").count(), 4 + 1 + 4 + 2 + 1);
    }
}
