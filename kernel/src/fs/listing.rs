//! Listing directories.

use super::dentry::Dentry;
use super::file::{FileOperations, OpenFile, SeekFrom, seek_in};
use super::inode::{DirectoryEntry, DirectorySink};
use super::io::IoDestination;
use super::name::Name;
use super::types::FileType;
use crate::base::{Errno, Result};
use alloc::sync::Arc;
use smallvec::SmallVec;

/// What an open directory does; one for all.
#[derive(Debug)]
struct DirectoryOperations;

/// The operations of every open directory.
#[must_use]
pub fn directory_operations() -> Arc<dyn FileOperations> {
    static OPERATIONS: spin::Once<Arc<DirectoryOperations>> = spin::Once::new();
    OPERATIONS.call_once(|| Arc::new(DirectoryOperations)).clone()
}

/// The position of the first entry after `.` and `..`.
pub const FIRST: u64 = 2;

/// Positions in a kept directory count down from here with the entries' sequence numbers.
const TOP: u64 = i64::MAX as u64;

impl FileOperations for DirectoryOperations {
    fn read_at(&self, _file: &OpenFile, _offset: u64, _destination: &mut IoDestination<'_>) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, from: SeekFrom) -> Result<u64> {
        match from {
            SeekFrom::Start | SeekFrom::Current => seek_in(position, offset, from, 0),
            _ => Err(Errno::EINVAL),
        }
    }

    fn synchronise(&self, _file: &OpenFile) -> Result<()> {
        Ok(())
    }

    fn read_directory(&self, file: &OpenFile, position: &mut u64, sink: &mut dyn DirectorySink) -> Result<()> {
        let location = file.location().ok_or(Errno::ENOTDIR)?;
        let dentry = &location.dentry;
        if dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        if !file.mode().contains(super::file::FileMode::NO_ACCESS_TIME) {
            dentry.inode().header().note_read();
        }
        while *position < FIRST {
            let (name, inode): (&[u8], u64) = if *position == 0 {
                (b".", dentry.inode().header().number())
            } else {
                let parent = dentry.parent();
                (b"..", parent.as_ref().unwrap_or(dentry).inode().header().number())
            };
            let entry = DirectoryEntry { name, inode, file_type: FileType::Directory, next: *position + 1 };
            if !sink.add(entry) {
                return Ok(());
            }
            *position += 1;
        }
        if dentry.inode().keeps_names() {
            list_kept(dentry, position, sink)
        } else {
            let mut advancing = Advancing { position, sink };
            dentry.inode().list(*advancing.position, &mut advancing)
        }
    }
}

/// Notes how far a listing got.
struct Advancing<'a> {
    position: &'a mut u64,
    sink: &'a mut dyn DirectorySink,
}

impl DirectorySink for Advancing<'_> {
    fn add(&mut self, entry: DirectoryEntry<'_>) -> bool {
        let next = entry.next;
        let took = self.sink.add(entry);
        if took {
            *self.position = next;
        }
        took
    }
}

struct Listed {
    sequence: u64,
    name: Name,
    inode: u64,
    file_type: FileType,
}

/// Lists the table of a kept directory, newest first, a batch at a time: the sink may touch user memory, so the table's lock is
/// not held while it is called.
fn list_kept(directory: &Arc<Dentry>, position: &mut u64, sink: &mut dyn DirectorySink) -> Result<()> {
    const BATCH: usize = 16;
    loop {
        let before = if *position == FIRST { u64::MAX } else { TOP.saturating_sub(*position) };
        let batch: SmallVec<[Listed; BATCH]> = directory
            .with_children(|table| {
                let entries = table.older_than(before).take(BATCH);
                entries
                    .map(|(sequence, name, dentry)| Listed {
                        sequence,
                        name: name.clone(),
                        inode: dentry.inode().header().number(),
                        file_type: dentry.inode().header().file_type(),
                    })
                    .collect()
            })
            .ok_or(Errno::ENOTDIR)?;
        for listed in &batch {
            let next = TOP.saturating_sub(listed.sequence);
            let name = listed.name.as_bytes();
            if !sink.add(DirectoryEntry { name, inode: listed.inode, file_type: listed.file_type, next }) {
                return Ok(());
            }
            *position = next;
        }
        if batch.len() < BATCH {
            return Ok(());
        }
    }
}
