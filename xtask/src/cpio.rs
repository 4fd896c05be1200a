//! Writing initramfs archives: the "newc" form of cpio, as Linux reads it.
//!
//! An [`Archive`] grows in memory; parents are added before what is in them. Times are zero and inode numbers count up, so
//! the same tree gives the same bytes.

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
}

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

    /// Whether `path` was added.
    pub fn contains(&self, path: &str) -> bool {
        self.paths.contains(path.trim_matches('/'))
    }

    /// Adds a folder, and the folders above it, where they are not there yet.
    pub fn directory(&mut self, path: &str) {
        self.directory_with_mode(path, 0o755);
    }

    /// As [`Self::directory`], with permission bits for the last folder.
    pub fn directory_with_mode(&mut self, path: &str, mode: u32) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.contains(path) {
            return;
        }
        self.parents(path);
        self.entry(&Header { path, mode: DIRECTORY | mode, size: 0, links: 2, device: (0, 0) }, &[]);
    }

    /// Adds a file. A file of the same path that was added before is replaced when the archive is unpacked.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.entry(&Header { path, mode: REGULAR | mode, size: content.len(), links: 1, device: (0, 0) }, content);
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        let path = path.trim_matches('/');
        self.parents(path);
        let header = Header { path, mode: SYMLINK | 0o777, size: target.len(), links: 1, device: (0, 0) };
        self.entry(&header, target.as_bytes());
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        let path = path.trim_matches('/');
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
}
