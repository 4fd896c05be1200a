//! The "newc" archive as a stream: headers, names, contents, whichever way the bytes are cut into pieces.
//!
//! Offsets are 64 bits wide and sizes come from 32-bit fields, so no sum of theirs overflows. Contents go into whole frames as they
//! come. Entries that cannot be made (no such directory, a name that is taken by a directory) are passed over, as on Linux.

use crate::base::PAGE_SIZE;
use crate::fs::dentry::Dentry;
use crate::fs::directory::create_locked;
use crate::fs::inode::Inode;
use crate::fs::mount::Location;
use crate::fs::tmpfs::{TmpfsInode, set_times};
use crate::fs::types::{DeviceNumber, FileType, mode};
use crate::fs::walk::{LookupFlags, Walker, lookup};
use crate::memory::frame::Frame;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

const HEADER: usize = 110;
const PATH_MAX: u64 = 4096;
const TRAILER: &[u8] = b"TRAILER!!!";

/// The fields of a header.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    number: u32,
    mode: u32,
    links: u32,
    uid: u32,
    gid: u32,
    time: u32,
    size: u32,
    device: (u32, u32),
    device_id: DeviceNumber,
    name_length: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        match bytes.get(..6) {
            Some(b"070701" | b"070702") => {}
            Some(b"070707") => return Err("incorrect cpio method used: use -H newc option"),
            _ => return Err("no cpio magic"),
        }
        let mut fields = [0u32; 13];
        let (digits, _) = bytes.get(6..).unwrap_or_default().as_chunks::<8>();
        for (field, digits) in fields.iter_mut().zip(digits) {
            *field = hexadecimal(digits);
        }
        let [number, mode, uid, gid, links, time, size, major, minor, device_major, device_minor, name_length, _] =
            fields;
        let device_id = DeviceNumber::new(device_major & 0xfff, device_minor & 0xf_ffff);
        Ok(Self { number, mode, links, uid, gid, time, size, device: (major, minor), device_id, name_length })
    }
}

/// The number that eight digits stand for, up to the first that is none.
fn hexadecimal(digits: &[u8; 8]) -> u32 {
    let mut number = 0u32;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => break,
        };
        number = number << 4 | u32::from(value);
    }
    number
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The next header is to come at the next multiple of four.
    Header,
    /// Bytes up to this offset are passed over; then comes a header.
    Skip { until: u64 },
    /// The name is to come.
    Name,
    /// The contents of the open file are to come: so many bytes.
    Contents { left: u64 },
    /// The text of a symbolic link is to come.
    LinkText,
    /// Behind the trailer: zeros, then perhaps another archive.
    Between,
}

/// A file that is being filled.
struct Filling {
    inode: Arc<TmpfsInode>,
    index: u64,
    frame: Option<(Frame, usize)>,
    length: u64,
    time: i64,
}

/// Unpacks a stream of archives.
pub(super) struct Unpacker<'a> {
    walker: Walker<'a>,
    state: State,
    /// Bytes consumed since the stream began.
    offset: u64,
    /// The offset behind the entry.
    next_header: u64,
    gathered: Vec<u8>,
    header: Header,
    name: Vec<u8>,
    filling: Option<Filling>,
    links: BTreeMap<(u32, (u32, u32)), Location>,
    directories: Vec<(Arc<dyn Inode>, i64)>,
    /// The directory of the last entry, by its path: the next entry is mostly in the same.
    parent: Option<(Vec<u8>, Location)>,
    entries: u64,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(walker: Walker<'a>) -> Self {
        Self {
            walker,
            state: State::Between,
            offset: 0,
            next_header: 0,
            gathered: Vec::new(),
            header: Header::default(),
            name: Vec::new(),
            filling: None,
            links: BTreeMap::new(),
            directories: Vec::new(),
            parent: None,
            entries: 0,
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_archives(&self) -> bool {
        self.state == State::Between
    }

    /// A new stream begins.
    pub(super) fn begin_stream(&mut self) {
        self.state = State::Between;
        self.offset = 0;
        self.gathered.clear();
    }

    /// Unpacks one archive that `bytes` begins with, up to its trailer; gives its length.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        self.begin_stream();
        self.state = State::Header;
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Between {
            let used = self.step(rest)?;
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }

    /// Unpacks the next piece of a stream of archives.
    pub(super) fn feed_stream(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = if self.state == State::Between {
                let zeros = super::zeros(rest);
                self.offset += zeros as u64;
                if rest.get(zeros).is_some() {
                    if !self.offset.is_multiple_of(4) {
                        return Err("broken padding");
                    }
                    self.state = State::Header;
                }
                zeros
            } else {
                self.step(rest)?
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sets what can only be set at the end: a file that was cut short keeps its length, directories get their times.
    pub(super) fn finish(&mut self) {
        self.end_file();
        for (inode, time) in self.directories.drain(..) {
            set_times(&*inode, time);
        }
    }

    /// Gives `use_it` the next `length` bytes once they are there, in one piece. Gives the number of bytes consumed.
    fn gather(
        &mut self,
        bytes: &[u8],
        length: usize,
        use_it: impl FnOnce(&mut Self, &[u8]) -> Result<(), &'static str>,
    ) -> Result<usize, &'static str> {
        let wanted = length - self.gathered.len();
        let used = wanted.min(bytes.len());
        let piece = bytes.get(..used).unwrap_or_default();
        self.offset += used as u64;
        if self.gathered.is_empty() && used == length {
            use_it(self, piece)?;
        } else {
            self.gathered.extend_from_slice(piece);
            if used == wanted {
                let whole = core::mem::take(&mut self.gathered);
                use_it(self, &whole)?;
            }
        }
        Ok(used)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self.state {
            State::Header => self.gather(bytes, HEADER, Self::take_header),
            State::Skip { until } => {
                let used = usize::try_from(until - self.offset).unwrap_or(usize::MAX).min(bytes.len());
                self.offset += used as u64;
                if self.offset == until {
                    self.state = State::Header;
                }
                Ok(used)
            }
            State::Name => self.gather(bytes, padded_name(self.header.name_length), Self::take_name),
            State::LinkText => self.gather(bytes, self.header.size as usize, Self::take_link_text),
            State::Contents { left } => {
                let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.offset += used as u64;
                self.fill(bytes.get(..used).unwrap_or_default())?;
                let left = left - used as u64;
                if left == 0 {
                    self.end_file();
                    self.skip_to_next();
                } else {
                    self.state = State::Contents { left };
                }
                Ok(used)
            }
            State::Between => Ok(0),
        }
    }

    fn skip_to_next(&mut self) {
        self.state =
            if self.offset == self.next_header { State::Header } else { State::Skip { until: self.next_header } };
    }

    fn take_header(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.header = Header::parse(bytes)?;
        let Header { mode, size, name_length, .. } = self.header;
        let end = self.offset + padded_name(name_length) as u64 + u64::from(size);
        self.next_header = end.next_multiple_of(4);
        let name_is_sound = name_length > 0 && u64::from(name_length) <= PATH_MAX;
        let file_type = FileType::from_mode(mode);
        let takes = match file_type {
            Some(FileType::SymbolicLink) => u64::from(size) <= PATH_MAX,
            Some(FileType::Regular) => true,
            _ => size == 0,
        };
        if name_is_sound && takes {
            self.state = State::Name;
        } else {
            self.skip_to_next();
        }
        Ok(())
    }

    fn take_name(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let length = (self.header.name_length as usize).min(bytes.len());
        let name = bytes.get(..length).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name == TRAILER {
            self.links.clear();
            self.state = State::Between;
            // What the trailer's header says may lie behind it is passed over.
            return Ok(());
        }
        self.name.clear();
        self.name.extend_from_slice(name);
        if FileType::from_mode(self.header.mode) == Some(FileType::SymbolicLink) {
            if self.header.size == 0 {
                self.skip_to_next();
            } else {
                self.state = State::LinkText;
            }
            return Ok(());
        }
        let made = self.make(&[]);
        let left = u64::from(self.header.size);
        match made {
            Some(dentry) if left > 0 => {
                self.begin_file(&dentry);
                self.state = if self.filling.is_some() { State::Contents { left } } else { self.skipping() };
            }
            _ => self.skip_to_next(),
        }
        Ok(())
    }

    fn skipping(&self) -> State {
        State::Skip { until: self.next_header }
    }

    fn take_link_text(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if !text.is_empty() {
            self.make(text);
        }
        self.skip_to_next();
        Ok(())
    }

    /// Makes what the header and the name say, replacing another kind of file that has the name. A directory that is there
    /// takes the entry's mode and owner.
    fn make(&mut self, target: &[u8]) -> Option<Arc<Dentry>> {
        let header = self.header;
        let path = core::mem::take(&mut self.name);
        let made = self.make_at(&path, &header, target);
        self.name = path;
        if let Some(dentry) = &made {
            self.entries += 1;
            let inode = dentry.inode();
            inode.header().set_owner(header.uid, header.gid);
            let time = i64::from(header.time);
            match FileType::from_mode(header.mode) {
                Some(FileType::Directory) => {
                    inode.header().set_permissions(header.mode);
                    self.directories.push((inode.clone(), time));
                }
                _ => {
                    inode.header().set_permissions(header.mode);
                    set_times(&**inode, time);
                }
            }
        }
        made
    }

    fn make_at(&mut self, path: &[u8], header: &Header, target: &[u8]) -> Option<Arc<Dentry>> {
        let trimmed = path.trim_ascii_end();
        let trimmed = trimmed.strip_suffix(b"/").unwrap_or(trimmed);
        let split = trimmed.iter().rposition(|byte| *byte == b'/');
        let (directory, name) = match split {
            Some(at) => (trimmed.get(..=at)?, trimmed.get(at + 1..)?),
            None => (&b""[..], trimmed),
        };
        let file_type = FileType::from_mode(header.mode)?;
        if matches!(name, b"" | b"." | b"..") {
            // The root itself: only its attributes are taken.
            let root = self.walker.context.root();
            return (file_type == FileType::Directory && name != b"..").then_some(root.dentry);
        }
        let parent = self.find_parent(directory)?;
        if let Ok(present) = lookup(&parent, name) {
            let inode = present.inode();
            if file_type == FileType::Directory && inode.header().is_directory() {
                return Some(present);
            }
            let same_link = self.linked(header).is_some_and(|location| Arc::ptr_eq(location.inode(), inode));
            if file_type == FileType::Regular && same_link {
                return Some(present);
            }
            if inode.header().is_directory() {
                return None;
            }
            parent.inode().unlink(name, inode).ok()?;
            drop(parent.dentry.remove_child(name));
        }
        if file_type != FileType::Directory
            && let Some(existing) = self.linked(header).cloned()
        {
            parent.inode().link(name, existing.inode()).ok()?;
            return Some(parent.dentry.add_child(name, existing.inode().clone()));
        }
        let file_mode = file_type.mode_bits() | header.mode & mode::ALL;
        let dentry = create_locked(&self.walker, &parent, name, file_mode, header.device_id, target).ok()?;
        if header.links >= 2 && file_type != FileType::Directory {
            let location = Location { mount: parent.mount, dentry: dentry.clone() };
            self.links.insert((header.number, header.device), location);
        }
        Some(dentry)
    }

    /// The file that the header's number stands for, if an earlier entry made it.
    fn linked(&self, header: &Header) -> Option<&Location> {
        if header.links < 2 {
            return None;
        }
        self.links.get(&(header.number, header.device))
    }

    fn find_parent(&mut self, directory: &[u8]) -> Option<Location> {
        if let Some((path, location)) = &self.parent
            && path == directory
        {
            return Some(location.clone());
        }
        let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
        let root = self.walker.context.root();
        let location =
            if directory.is_empty() { root } else { self.walker.resolve(Some(&root), directory, flags).ok()? };
        self.parent = Some((directory.to_vec(), location.clone()));
        Some(location)
    }

    /// Begins to fill the regular file behind `dentry`.
    fn begin_file(&mut self, dentry: &Dentry) {
        let any: Arc<dyn core::any::Any + Send + Sync> = dentry.inode().clone();
        let Ok(inode) = any.downcast::<TmpfsInode>() else { return };
        let length = u64::from(self.header.size);
        let Some(pages) = inode.pages() else { return };
        pages.truncate(0);
        self.filling = Some(Filling { inode, index: 0, frame: None, length, time: i64::from(self.header.time) });
    }

    /// Puts the next bytes of the open file into its frames.
    fn fill(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let Some(filling) = &mut self.filling else { return Ok(()) };
        let mut rest = bytes;
        while !rest.is_empty() {
            let (frame, filled) = match filling.frame.take() {
                Some(frame) => frame,
                None => (Frame::allocate().ok_or("write error")?, 0),
            };
            let count = (PAGE_SIZE - filled).min(rest.len());
            let (piece, tail) = rest.split_at(count);
            frame.write(filled, piece);
            rest = tail;
            if filled + count == PAGE_SIZE {
                if let Some(pages) = filling.inode.pages() {
                    pages.put_page(filling.index, frame);
                }
                filling.index += 1;
            } else {
                filling.frame = Some((frame, filled + count));
            }
        }
        Ok(())
    }

    /// Ends the open file: its last frame is filled up with zeros, its length set.
    fn end_file(&mut self) {
        let Some(filling) = self.filling.take() else { return };
        let Some(pages) = filling.inode.pages() else { return };
        if let Some((frame, filled)) = filling.frame {
            frame.zero(filled, PAGE_SIZE - filled);
            pages.put_page(filling.index, frame);
        }
        pages.truncate(filling.length);
        filling.inode.settle();
        set_times(&*filling.inode, filling.time);
    }
}

/// The bytes that a name of `length` takes behind the header: padded so that what follows is at a multiple of four.
fn padded_name(length: u32) -> usize {
    (((length as usize) + 1) & !3) + 2
}
