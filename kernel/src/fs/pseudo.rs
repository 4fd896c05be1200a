//! Generated file systems: procfs, sysfs, devpts and their kin are built from the pieces here.
//!
//! A [`PseudoDirectory`] answers look-ups with inodes, made on the spot or kept; [`directory`], [`file`], [`link`] and
//! [`device_node`] make them. A [`PseudoFile`] is a text that is generated when it is read from the beginning, so a program that
//! seeks back to 0 sees it anew; a write is handed over as one piece. A [`PseudoLink`] gives a path or jumps to a location (a magic
//! link; [`location_of`] gives one for any open file, pipes too). Names and numbers in listings are the directory's affair: each entry
//! has a position of its own that never changes while the entry exists.

mod anonymous;
mod fixed_directory;

use super::file::{FileOperations, OpenFile};
use super::file_system::{FileSystem, FileSystemStatistics, Superblock};
use super::inode::{AttributeChange, DirectoryEntry, DirectorySink, Inode, InodeHeader, LinkTarget};
use super::io::{IoDestination, IoSource};
use super::numbers::next_anonymous_device;
use super::types::{DeviceNumber, FileType, Metadata, OpenFlags};
use crate::base::{Errno, Result};
use crate::sync::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub use anonymous::{describe, location_of};
use core::any::Any;
pub use fixed_directory::FixedDirectory;

/// The most bytes that one write to a generated file hands over.
pub const WRITE_MAX: usize = 64 * 1024;

/// What identifies a generated file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The file system.
    pub device: DeviceNumber,
    /// The inode number.
    pub number: u64,
    /// The permission bits.
    pub permissions: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// What may be changed of it.
    pub changes: Changes,
}

/// Which attributes of a generated file may be changed; all else is `EPERM`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changes {
    /// Permissions, owner and times.
    All,
    /// Owner and times: what is in a process's directory.
    OwnerAndTimes,
    /// Times: `/proc/sys`.
    Times,
    /// Nothing: a process's directory.
    Nothing,
}

impl Changes {
    fn check(self, change: &AttributeChange) -> Result<()> {
        let has_owner = change.uid.is_some() || change.gid.is_some();
        let is_permitted = match self {
            Self::All => true,
            Self::OwnerAndTimes => change.permissions.is_none(),
            Self::Times => change.permissions.is_none() && !has_owner,
            Self::Nothing => false,
        };
        if is_permitted { Ok(()) } else { Err(Errno::EPERM) }
    }
}

impl Attributes {
    /// Root's, with these permissions.
    #[must_use]
    pub const fn new(device: DeviceNumber, number: u64, permissions: u32) -> Self {
        Self { device, number, permissions, uid: 0, gid: 0, changes: Changes::All }
    }
    /// The same with another owner.
    #[must_use]
    pub const fn owned_by(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }
    /// The same, of which less may be changed.
    #[must_use]
    pub const fn allowing(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }
}

/// An inode number for the entry `name` of the directory numbered `parent`: the same each time.
#[must_use]
pub fn number(parent: u64, name: &[u8]) -> u64 {
    let mixed = super::name::hash(name) ^ parent.wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
    (mixed & 0xffff_ffff) | 1 << 32
}

/// An entry of a generated directory as a listing shows it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Where it stands: 2 or more, rising, and the same as long as the entry exists.
    pub position: u64,
    /// Its name.
    pub name: &'a [u8],
    /// Its inode number.
    pub number: u64,
    /// Its type.
    pub file_type: FileType,
}

/// A generated directory.
pub trait PseudoDirectory: Any + Send + Sync {
    /// The entry called `name`.
    ///
    /// # Errors
    /// `ENOENT`.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>>;
    /// Gives every entry at position `from` or later to `add`, in rising order, until that says false.
    ///
    /// # Errors
    /// `ENOENT` when what the directory shows is gone.
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()>;
    /// Links: two and the number of subdirectories.
    fn links(&self) -> u32 {
        2
    }
}

/// A generated file.
pub trait PseudoFile: Send + Sync + 'static {
    /// Appends the contents to `text`.
    ///
    /// # Errors
    /// What reading is to fail with.
    fn read(&self, text: &mut Vec<u8>) -> Result<()>;
    /// Takes what one `write` wrote at `offset` (at most [`WRITE_MAX`] bytes).
    ///
    /// # Errors
    /// `EIO` for a file that cannot be written, as Linux's procfs has it; `EINVAL` for what it does not understand.
    fn write(&self, _offset: u64, _bytes: &[u8]) -> Result<()> {
        Err(Errno::EIO)
    }
    /// Operations of its own in place of the generated text (`/proc/kmsg`, `/proc/PID/mem`), or a refusal.
    ///
    /// # Errors
    /// What opening is to fail with.
    fn open(&self, _flags: OpenFlags) -> Result<Option<Arc<dyn FileOperations>>> {
        Ok(None)
    }
    /// Its length as `stat` shows it; sysfs says 4096.
    fn size(&self) -> u64 {
        0
    }
}

/// A closure as a generated file.
pub struct Text<F>(pub F);

impl<F: Fn(&mut Vec<u8>) -> Result<()> + Send + Sync + 'static> PseudoFile for Text<F> {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        (self.0)(text)
    }
}

/// A generated symbolic link.
pub trait PseudoLink: Send + Sync + 'static {
    /// Where following it leads.
    ///
    /// # Errors
    /// `EACCES`, `ENOENT` when what it shows is gone.
    fn target(&self) -> Result<LinkTarget>;
    /// What `readlink` shows; by default the target's path.
    ///
    /// # Errors
    /// As [`PseudoLink::target`].
    fn text(&self) -> Result<Vec<u8>> {
        match self.target()? {
            LinkTarget::Path(text) => Ok(text.to_vec()),
            LinkTarget::Jump(location) => Ok(location.path_from_global_root()),
        }
    }
}

impl<F: Fn() -> Result<Vec<u8>> + Send + Sync + 'static> PseudoLink for F {
    fn target(&self) -> Result<LinkTarget> {
        Ok(LinkTarget::Path(self()?.into()))
    }
}

enum Kind {
    Directory(Arc<dyn PseudoDirectory>),
    File(Arc<dyn PseudoFile>),
    Link(Arc<dyn PseudoLink>),
    Device,
}

struct PseudoInode {
    header: InodeHeader,
    changes: Changes,
    kind: Kind,
}

fn inode(attributes: Attributes, file_type: FileType, device_id: DeviceNumber, kind: Kind) -> Arc<dyn Inode> {
    let mode = file_type.mode_bits() | attributes.permissions;
    let header =
        InodeHeader::new(attributes.number, attributes.device, mode, attributes.uid, attributes.gid, device_id);
    if let Kind::Directory(directory) = &kind {
        header.set_links(directory.links());
    }
    Arc::new(PseudoInode { header, changes: attributes.changes, kind })
}

/// The inode of a generated directory.
#[must_use]
pub fn directory(attributes: Attributes, directory: Arc<dyn PseudoDirectory>) -> Arc<dyn Inode> {
    inode(attributes, FileType::Directory, DeviceNumber::default(), Kind::Directory(directory))
}

/// What stands behind the inode of a generated directory, where it is of the kind `T`.
#[must_use]
pub fn directory_as<T: PseudoDirectory>(inode: &dyn Inode) -> Option<&T> {
    let inode: &dyn Any = inode;
    match &inode.downcast_ref::<PseudoInode>()?.kind {
        Kind::Directory(directory) => (&**directory as &dyn Any).downcast_ref(),
        _ => None,
    }
}

/// The inode of a generated file.
#[must_use]
pub fn file(attributes: Attributes, file: impl PseudoFile) -> Arc<dyn Inode> {
    inode(attributes, FileType::Regular, DeviceNumber::default(), Kind::File(Arc::new(file)))
}

/// The inode of a generated symbolic link.
#[must_use]
pub fn link(attributes: Attributes, link: impl PseudoLink) -> Arc<dyn Inode> {
    inode(attributes, FileType::SymbolicLink, DeviceNumber::default(), Kind::Link(Arc::new(link)))
}

/// The inode of a character device. Whoever wants changes of mode and owner to last keeps it.
#[must_use]
pub fn device_node(attributes: Attributes, number: DeviceNumber) -> Arc<dyn Inode> {
    inode(attributes, FileType::CharacterDevice, number, Kind::Device)
}

impl Inode for PseudoInode {
    fn header(&self) -> &InodeHeader {
        &self.header
    }
    fn size(&self) -> u64 {
        if let Kind::File(file) = &self.kind { file.size() } else { 0 }
    }
    fn metadata(&self) -> Metadata {
        let header = &self.header;
        let time = header.modified();
        Metadata {
            device: header.device(),
            inode: header.number(),
            mode: header.mode(),
            links: header.links(),
            uid: header.uid(),
            gid: header.gid(),
            device_id: header.device_id(),
            size: self.size(),
            block_size: if matches!(self.kind, Kind::Device) { 4096 } else { 1024 },
            blocks: 0,
            accessed: header.accessed(),
            modified: time,
            changed: header.changed(),
            created: time,
        }
    }
    fn is_generated(&self) -> bool {
        true
    }
    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        let Kind::File(file) = &self.kind else { return Err(Errno::ENXIO) };
        if let Some(own) = file.open(flags)? {
            return Ok(own);
        }
        Ok(Arc::new(TextOperations { file: file.clone(), text: Mutex::new(Vec::new()) }))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        match &self.kind {
            Kind::Directory(directory) => directory.lookup(name),
            _ => Err(Errno::ENOTDIR),
        }
    }
    fn list(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<()> {
        let Kind::Directory(directory) = &self.kind else { return Err(Errno::ENOTDIR) };
        directory.list(position, &mut |listed| {
            sink.add(DirectoryEntry {
                name: listed.name,
                inode: listed.number,
                file_type: listed.file_type,
                next: listed.position + 1,
            })
        })
    }
    fn read_link(&self) -> Result<LinkTarget> {
        match &self.kind {
            Kind::Link(link) => link.target(),
            _ => Err(Errno::EINVAL),
        }
    }
    fn link_text(&self) -> Result<Arc<[u8]>> {
        match &self.kind {
            Kind::Link(link) => Ok(link.text()?.into()),
            _ => Err(Errno::EINVAL),
        }
    }
    fn set_attributes(&self, change: &AttributeChange) -> Result<()> {
        self.changes.check(change)?;
        self.header.apply(change);
        Ok(())
    }
}

/// An open generated file.
struct TextOperations {
    file: Arc<dyn PseudoFile>,
    text: Mutex<Vec<u8>>,
}

impl FileOperations for TextOperations {
    fn read_at(&self, _file: &OpenFile, offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        let mut text = self.text.lock();
        if offset == 0 {
            text.clear();
            self.file.read(&mut text)?;
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        destination.write(text.get(start..).unwrap_or_default())
    }
    fn write_at(&self, _file: &OpenFile, offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let mut bytes = alloc::vec![0; source.remaining().min(WRITE_MAX)];
        let count = source.read(&mut bytes)?;
        let result = self.file.write(offset, bytes.get(..count).unwrap_or_default());
        // A piece that is refused was not written in part.
        result.inspect_err(|_| source.discount(count))?;
        Ok(count)
    }
}

/// A file system of generated files.
#[derive(Debug)]
struct PseudoFileSystem {
    type_name: &'static str,
    magic: u64,
    device: DeviceNumber,
}

impl FileSystem for PseudoFileSystem {
    fn type_name(&self) -> &'static str {
        self.type_name
    }
    fn device(&self) -> DeviceNumber {
        self.device
    }
    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics { magic: self.magic, block_size: 4096, ..FileSystemStatistics::default() }
    }
}

/// A new file system of generated files; `root` makes its root directory and is given its device number.
#[must_use]
pub fn superblock(
    type_name: &'static str,
    magic: u64,
    root: impl FnOnce(DeviceNumber) -> Arc<dyn Inode>,
) -> Arc<Superblock> {
    let device = next_anonymous_device();
    Superblock::new(Arc::new(PseudoFileSystem { type_name, magic, device }), root(device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[test]
    fn a_text_is_generated_anew_at_its_beginning_only() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let made = file(
            Attributes::new(DeviceNumber::new(0, 1), 5, 0o444),
            Text(|text: &mut Vec<u8>| {
                text.extend_from_slice(format!("count {}\n", COUNT.fetch_add(1, Relaxed)).as_bytes());
                Ok(())
            }),
        );
        let open = OpenFile::anonymous(made.open(OpenFlags::empty()).unwrap(), OpenFlags::empty());
        let mut buffer = [0; 6];
        let mut read = || {
            let mut destination = IoDestination::kernel(&mut buffer);
            let count = open.read(&mut destination).unwrap();
            buffer[..count].to_vec()
        };
        assert_eq!(read(), b"count ");
        assert_eq!(read(), b"0\n");
        assert_eq!(read(), b"");
        open.set_position(0);
        assert_eq!(read(), b"count ");
        assert_eq!(read(), b"1\n");
        assert_eq!(open.write(&mut IoSource::kernel(b"x")), Err(Errno::EBADF));
    }

    /// What is refused is not a part that was written, though its bytes were taken.
    #[test]
    fn a_write_that_is_refused_fails() {
        struct Refusing;
        impl PseudoFile for Refusing {
            fn read(&self, _text: &mut Vec<u8>) -> Result<()> {
                Ok(())
            }
            fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
                if bytes == b"1" { Ok(()) } else { Err(Errno::EINVAL) }
            }
        }
        let made = file(Attributes::new(DeviceNumber::new(0, 1), 5, 0o644), Refusing);
        let open = OpenFile::anonymous(made.open(OpenFlags::WRITE_ONLY).unwrap(), OpenFlags::WRITE_ONLY);
        assert_eq!(open.write(&mut IoSource::kernel(b"2")), Err(Errno::EINVAL));
        assert_eq!(open.write(&mut IoSource::kernel(b"1")), Ok(1));
    }
}
