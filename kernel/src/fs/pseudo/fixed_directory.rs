//! A directory of generated files whose entries are made once: [`FixedDirectory`].

use super::{Listed, PseudoDirectory};
use crate::base::{Errno, Result};
use crate::fs::inode::Inode;
use crate::fs::listing;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A name and what it stands for.
type FixedEntry = (Box<[u8]>, Arc<dyn Inode>);

/// A directory whose entries are made once.
#[derive(Default)]
pub struct FixedDirectory {
    entries: Vec<FixedEntry>,
}

impl FixedDirectory {
    /// No entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// The same with one more entry.
    #[must_use]
    pub fn with(mut self, name: &str, inode: Arc<dyn Inode>) -> Self {
        self.entries.push((name.as_bytes().into(), inode));
        self
    }
    /// The number of entries: the first position that another part of a composed directory may use is two more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl PseudoDirectory for FixedDirectory {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = self.entries.iter().find(|(own, _)| **own == *name);
        found.map(|(_, inode)| inode.clone()).ok_or(Errno::ENOENT)
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        for (index, (name, inode)) in self.entries.iter().enumerate() {
            let position = index as u64 + listing::FIRST;
            if position < from {
                continue;
            }
            let header = inode.header();
            if !add(Listed { position, name, number: header.number(), file_type: header.file_type() }) {
                break;
            }
        }
        Ok(())
    }
    fn links(&self) -> u32 {
        let directories = self.entries.iter().filter(|(_, inode)| inode.header().is_directory()).count();
        u32::try_from(directories + 2).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::pseudo::{Attributes, Text, file, number};
    use crate::fs::types::DeviceNumber;

    #[test]
    fn a_fixed_directory_lists_from_any_position() {
        let device = DeviceNumber::new(0, 1);
        let plain = || file(Attributes::new(device, 9, 0o444), Text(|_: &mut Vec<u8>| Ok(())));
        let made = FixedDirectory::new().with("a", plain()).with("b", plain()).with("c", plain());
        let mut names = Vec::new();
        made.list(3, &mut |listed| {
            names.push((listed.position, listed.name.to_vec()));
            true
        })
        .unwrap();
        assert_eq!(names, [(3, b"b".to_vec()), (4, b"c".to_vec())]);
        assert_eq!(made.lookup(b"d").err(), Some(Errno::ENOENT));
        assert_ne!(number(1, b"x"), number(2, b"x"));
    }
}
