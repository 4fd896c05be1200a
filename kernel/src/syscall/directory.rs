//! System calls that change and list directories.

use super::Call;
use super::argument::{Descriptor, Flags, ModeBits, PathPointer};
use super::metadata::node_type;
use super::path::{Caller, PathBuffer, WORKING_DIRECTORY, base};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::directory::{RenameFlags, link as make_link, make, remove, rename as move_name};
use crate::fs::inode::{DirectoryEntry, DirectorySink};
use crate::fs::permission::Victim;
use crate::fs::types::mode;
use crate::fs::walk::LookupFlags;
use crate::fs::{DeviceNumber, FileDescriptor, FileType};
use crate::memory::user::UserSlice;
use crate::security::Capability;
use linux_raw_sys::general as linux;
use smallvec::SmallVec;

fn make_at(
    call: &Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    file_mode: u32,
    device_id: DeviceNumber,
    target: &[u8],
) -> Result<()> {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let base = base(call, descriptor, path)?;
    make(&Caller::of(call).walker(), base.as_ref(), path, file_mode, device_id, target)
}

/// `mkdir(2)`.
pub fn mkdir(call: &mut Call<'_>, path: PathPointer, permissions: ModeBits) -> Result<()> {
    mkdirat(call, WORKING_DIRECTORY, path, permissions)
}

/// `mkdirat(2)`.
pub fn mkdirat(call: &mut Call<'_>, descriptor: Descriptor, path: PathPointer, permissions: ModeBits) -> Result<()> {
    let file_mode = FileType::Directory.mode_bits() | permissions.0 & (mode::PERMISSIONS | mode::STICKY);
    make_at(call, descriptor, path, file_mode, DeviceNumber::default(), &[])
}

/// `mknod(2)`.
pub fn mknod(call: &mut Call<'_>, path: PathPointer, file_mode: ModeBits, device: u32) -> Result<()> {
    mknodat(call, WORKING_DIRECTORY, path, file_mode, device)
}

/// `mknodat(2)`.
pub fn mknodat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    file_mode: ModeBits,
    device: u32,
) -> Result<()> {
    let file_type = node_type(file_mode.0)?;
    let device_id = if file_type.is_device() { DeviceNumber::decode(device) } else { DeviceNumber::default() };
    make_at(call, descriptor, path, file_type.mode_bits() | file_mode.0 & mode::ALL, device_id, &[])
}

/// `symlink(2)`.
pub fn symlink(call: &mut Call<'_>, target: PathPointer, path: PathPointer) -> Result<()> {
    symlinkat(call, target, WORKING_DIRECTORY, path)
}

/// `symlinkat(2)`.
pub fn symlinkat(call: &mut Call<'_>, target: PathPointer, descriptor: Descriptor, path: PathPointer) -> Result<()> {
    let mut buffer = PathBuffer::new();
    let target = buffer.read(target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let file_mode = FileType::SymbolicLink.mode_bits() | mode::PERMISSIONS;
    make_at(call, descriptor, path, file_mode, DeviceNumber::default(), target)
}

/// `link(2)`.
pub fn link(call: &mut Call<'_>, path: PathPointer, new_path: PathPointer) -> Result<()> {
    linkat(call, WORKING_DIRECTORY, path, WORKING_DIRECTORY, new_path, Flags(0))
}

/// `linkat(2)`.
pub fn linkat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    new_descriptor: Descriptor,
    new_path: PathPointer,
    flags: Flags,
) -> Result<()> {
    if flags.0 & !(linux::AT_SYMLINK_FOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::of(call);
    if flags.0 & linux::AT_EMPTY_PATH != 0 && !caller.credentials.may(Capability::DacReadSearch) {
        return Err(Errno::ENOENT);
    }
    let mut how = LookupFlags::empty();
    how.set(LookupFlags::FOLLOW, flags.0 & linux::AT_SYMLINK_FOLLOW != 0);
    how.set(LookupFlags::EMPTY_PATH, flags.0 & linux::AT_EMPTY_PATH != 0);
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let mut new_buffer = PathBuffer::new();
    let new_path = new_buffer.read(new_path)?;
    let start = base(call, descriptor, path)?;
    let existing = caller.walker().resolve(start.as_ref(), path, how)?;
    let new_start = base(call, new_descriptor, new_path)?;
    make_link(&caller.walker(), &existing, new_start.as_ref(), new_path)
}

fn remove_at(call: &Call<'_>, descriptor: Descriptor, path: PathPointer, kind: Victim) -> Result<()> {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let base = base(call, descriptor, path)?;
    remove(&Caller::of(call).walker(), base.as_ref(), path, kind)
}

/// `unlink(2)`.
pub fn unlink(call: &mut Call<'_>, path: PathPointer) -> Result<()> {
    remove_at(call, WORKING_DIRECTORY, path, Victim::Other)
}

/// `unlinkat(2)`.
pub fn unlinkat(call: &mut Call<'_>, descriptor: Descriptor, path: PathPointer, flags: Flags) -> Result<()> {
    let kind = match flags.0 {
        0 => Victim::Other,
        linux::AT_REMOVEDIR => Victim::Directory,
        _ => return Err(Errno::EINVAL),
    };
    remove_at(call, descriptor, path, kind)
}

/// `rmdir(2)`.
pub fn rmdir(call: &mut Call<'_>, path: PathPointer) -> Result<()> {
    remove_at(call, WORKING_DIRECTORY, path, Victim::Directory)
}

/// `rename(2)`.
pub fn rename(call: &mut Call<'_>, path: PathPointer, new_path: PathPointer) -> Result<()> {
    renameat2(call, WORKING_DIRECTORY, path, WORKING_DIRECTORY, new_path, Flags(0))
}

/// `renameat(2)`.
pub fn renameat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    new_descriptor: Descriptor,
    new_path: PathPointer,
) -> Result<()> {
    renameat2(call, descriptor, path, new_descriptor, new_path, Flags(0))
}

/// `renameat2(2)`.
pub fn renameat2(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    new_descriptor: Descriptor,
    new_path: PathPointer,
    flags: Flags,
) -> Result<()> {
    let flags = RenameFlags::from_bits(flags.0).ok_or(Errno::EINVAL)?;
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let mut new_buffer = PathBuffer::new();
    let new_path = new_buffer.read(new_path)?;
    let start = base(call, descriptor, path)?;
    let new_start = base(call, new_descriptor, new_path)?;
    move_name(&Caller::of(call).walker(), start.as_ref(), path, new_start.as_ref(), new_path, flags)
}

/// Which structure a listing is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent`: the type in the last byte.
    Old,
    /// `struct linux_dirent64`.
    New,
}

/// Writes entries to user memory, one after the other.
struct UserEntries {
    target: UserSlice,
    written: usize,
    layout: Layout,
    result: Result<()>,
}

impl DirectorySink for UserEntries {
    fn add(&mut self, entry: DirectoryEntry<'_>) -> bool {
        let fixed = if self.layout == Layout::New { 19 } else { 18 };
        // The name's NUL, and in the old layout the type behind it.
        let tail = if self.layout == Layout::New { 1 } else { 2 };
        let length = (fixed + entry.name.len() + tail).next_multiple_of(8);
        let rest = self.target.skip(self.written);
        if rest.len() < length {
            if self.written == 0 {
                self.result = Err(Errno::EINVAL);
            }
            return false;
        }
        let mut record: SmallVec<[u8; 64]> = SmallVec::new();
        record.extend_from_slice(&entry.inode.to_ne_bytes());
        record.extend_from_slice(&entry.next.to_ne_bytes());
        // A name has 255 bytes at most.
        record.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        if self.layout == Layout::New {
            record.push(entry.file_type as u8);
        }
        record.extend_from_slice(entry.name);
        record.resize(length, 0);
        if self.layout == Layout::Old
            && let Some(last) = record.last_mut()
        {
            *last = entry.file_type as u8;
        }
        if let Err(error) = rest.write(&record) {
            self.result = Err(error);
            return false;
        }
        self.written += length;
        true
    }
}

fn list(call: &Call<'_>, descriptor: Descriptor, address: VirtualAddress, count: u32, layout: Layout) -> Result<usize> {
    let file = call.thread.files().get(FileDescriptor(descriptor.0))?;
    let target = UserSlice::new(address, count as usize);
    let mut entries = UserEntries { target, written: 0, layout, result: Ok(()) };
    let listed = file.read_directory(&mut entries);
    if entries.written > 0 {
        return Ok(entries.written);
    }
    listed?;
    entries.result.map(|()| 0)
}

/// `getdents64(2)`.
pub fn getdents64(call: &mut Call<'_>, descriptor: Descriptor, address: VirtualAddress, count: u32) -> Result<usize> {
    list(call, descriptor, address, count, Layout::New)
}

/// `getdents(2)`.
pub fn getdents(call: &mut Call<'_>, descriptor: Descriptor, address: VirtualAddress, count: u32) -> Result<usize> {
    list(call, descriptor, address, count, Layout::Old)
}
