//! Pipes and FIFOs.
//!
//! A [`Pipe`] is the shared middle: the bytes, and how many ends are open on each side. A [`PipeEnd`] is what an open file holds;
//! its drop closes the end. A FIFO's pipe hangs on its inode ([`super::inode::InodeExtras::attachment`]) while anybody has it open.
//!
//! The bytes are under a sleeping lock, because they are copied from and to user memory while it is held. Wake-ups are sent after
//! it is released, and only where somebody may wait for just that change: readers when the pipe was empty, writers when it was full.
//! A thread that leaves work for others of its side (a reader that left bytes) wakes the next one. The other side is woken *sync*, as on Linux: who has written
//! often sleeps until the answer comes.
//! Lock order: a pipe's lock is taken before nothing else; two pipes' (splice) are never held together.

mod fifo;
pub mod ring;

pub use fifo::{FIFO_OPENER, fifo_of};

use super::file::asynchronous::Listeners;
use super::file::{FileOperations, FileTraits, OpenFile};
use super::io::{IoDestination, IoSource};
use super::numbers;
use super::poll::{PollEvents, PollQueue, PollTable};
use super::signal_hook::{self, Readiness};
use super::types::{DeviceNumber, FileType, Metadata, OpenFlags, Timestamp};
use crate::base::{Errno, PAGE_SIZE, Result};
use crate::sync::{Mutex, WaitQueue};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ring::{PipeRing, WriteKind};

/// `FIONREAD`.
const FIONREAD: u32 = 0x541b;
/// The largest capacity that anybody may set (`/proc/sys/fs/pipe-max-size`).
pub const MAXIMUM_SIZE: usize = 1 << 20;

bitflags::bitflags! {
    /// Which sides of a pipe an open file holds.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Sides: u8 {
        /// It reads.
        const READ = 1;
        /// It writes.
        const WRITE = 2;
    }
}

struct State {
    ring: PipeRing,
    readers: u32,
    writers: u32,
    /// Counts openings, so that an opener of a FIFO sees that its partner came even if it has left again.
    reader_openings: u64,
    writer_openings: u64,
}

/// A pipe.
pub struct Pipe {
    state: Mutex<State>,
    readers: WaitQueue,
    writers: WaitQueue,
    read_poll: PollQueue,
    write_poll: PollQueue,
    /// The readers that hear by signal.
    read_listeners: Listeners,
    write_listeners: Listeners,
    openers: WaitQueue,
    metadata: Metadata,
}

impl Pipe {
    fn new(uid: u32, gid: u32) -> Self {
        static DEVICE: spin::Once<DeviceNumber> = spin::Once::new();
        let now = Timestamp::now();
        Self {
            state: Mutex::new(State {
                ring: PipeRing::new(),
                readers: 0,
                writers: 0,
                reader_openings: 0,
                writer_openings: 0,
            }),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            read_poll: PollQueue::new(),
            write_poll: PollQueue::new(),
            read_listeners: Listeners::new(),
            write_listeners: Listeners::new(),
            openers: WaitQueue::new(),
            metadata: Metadata {
                device: *DEVICE.call_once(numbers::next_anonymous_device),
                inode: numbers::next_inode_number(),
                mode: FileType::Fifo.mode_bits() | 0o600,
                links: 1,
                uid,
                gid,
                device_id: DeviceNumber::default(),
                size: 0,
                block_size: 4096,
                blocks: 0,
                accessed: now,
                modified: now,
                changed: now,
                created: now,
            },
        }
    }

    /// Reads what is there; waits for the first byte unless told not to.
    ///
    /// # Errors
    /// `EAGAIN`, `ERESTARTSYS`, `EFAULT`.
    #[inline]
    pub fn read(&self, destination: &mut IoDestination<'_>, waiting: Waiting) -> Result<usize> {
        if destination.is_finished() {
            return Ok(0);
        }
        if let Some(result) = self.try_read(destination, waiting) {
            return result;
        }
        self.readers.wait_further(|| self.try_read(destination, waiting))?
    }

    /// One attempt to read; `None` to wait.
    fn try_read(&self, destination: &mut IoDestination<'_>, waiting: Waiting) -> Option<Result<usize>> {
        let mut state = self.state.lock();
        if state.ring.is_empty() {
            return match (state.writers, waiting) {
                (0, _) => Some(Ok(0)),
                (_, Waiting::Never) => Some(Err(Errno::EAGAIN)),
                _ => None,
            };
        }
        let was_full = state.ring.is_full();
        let result = state.ring.read(destination);
        let freed = was_full && !state.ring.is_full();
        let left = !state.ring.is_empty();
        drop(state);
        if freed {
            self.writers.wake_one_sync();
            self.write_poll.wake_sync();
        }
        if left {
            self.readers.wake_one();
        }
        // As on Linux each read tells, also one that made no room.
        self.write_listeners.tell(Readiness::Output);
        Some(match result {
            Err(error) if destination.transferred() == 0 => Err(error),
            _ => Ok(destination.transferred()),
        })
    }

    /// Writes all of `source`, waiting for room unless told not to.
    ///
    /// # Errors
    /// `EPIPE` (with `SIGPIPE`) without readers, `EAGAIN`, `ERESTARTSYS`, `EFAULT`, `ENOMEM`; part may have been written.
    pub fn write(&self, source: &mut IoSource<'_>, waiting: Waiting, kind: WriteKind) -> Result<usize> {
        if source.is_finished() {
            return Ok(0);
        }
        if let Some(result) = self.try_write(source, waiting, kind) {
            return result;
        }
        self.writers.wait_further(|| self.try_write(source, waiting, kind))?
    }

    /// One attempt to write; `None` to wait for room for the rest.
    fn try_write(&self, source: &mut IoSource<'_>, waiting: Waiting, kind: WriteKind) -> Option<Result<usize>> {
        let mut state = self.state.lock();
        if state.readers == 0 {
            drop(state);
            signal_hook::send_to_current_thread(signal_hook::SIGPIPE);
            return Some(if source.transferred() == 0 { Err(Errno::EPIPE) } else { Ok(source.transferred()) });
        }
        let was_empty = state.ring.is_empty();
        let before = source.transferred();
        let result = state.ring.write(source, kind);
        let has_room = !state.ring.is_full();
        drop(state);
        if source.transferred() != before {
            if was_empty {
                self.readers.wake_one_sync();
            }
            self.read_poll.wake_sync();
            self.read_listeners.tell(Readiness::Input);
        }
        if source.is_finished() || result.is_err() {
            if has_room {
                self.writers.wake_one();
            }
            return Some(match result {
                Err(error) if source.transferred() == 0 => Err(error),
                _ => Ok(source.transferred()),
            });
        }
        match waiting {
            Waiting::Never if source.transferred() == 0 => Some(Err(Errno::EAGAIN)),
            Waiting::Never => Some(Ok(source.transferred())),
            Waiting::Allowed => None,
        }
    }

    /// Puts bytes back in front, for a splice that could not pass them on.
    pub(super) fn put_back(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // Out of memory the bytes are lost, as they are on Linux when a page cannot be had in the middle of a splice.
        let _ = self.state.lock().ring.put_back(bytes);
        self.readers.wake_one();
        self.read_poll.wake();
        self.read_listeners.tell(Readiness::Input);
    }

    /// Copies up to `limit` bytes from the front without taking them; `None` where the pipe is empty and has writers.
    pub(super) fn peek(&self, limit: usize) -> Option<Result<Vec<u8>>> {
        let state = self.state.lock();
        if state.ring.is_empty() && state.writers != 0 {
            return None;
        }
        let mut copy = Vec::new();
        Some(state.ring.peek(limit, &mut copy).map(|()| copy))
    }

    /// Waits until `ready` gives something, asked again whenever bytes arrive.
    pub(super) fn wait_readable<T>(&self, ready: impl FnMut() -> Option<T>) -> Result<T> {
        Ok(self.readers.wait(ready)?)
    }

    /// Waits until a slot is free; gives the bytes that the free slots hold.
    pub(super) fn wait_for_room(&self, waiting: Waiting) -> Result<usize> {
        let attempt = || {
            let state = self.state.lock();
            if state.readers == 0 {
                drop(state);
                signal_hook::send_to_current_thread(signal_hook::SIGPIPE);
                return Some(Err(Errno::EPIPE));
            }
            match (state.ring.free_slots(), waiting) {
                (0, Waiting::Never) => Some(Err(Errno::EAGAIN)),
                (0, Waiting::Allowed) => None,
                (slots, _) => Some(Ok(slots * PAGE_SIZE)),
            }
        };
        self.writers.wait(attempt)?
    }

    /// Whether anybody reads.
    pub(super) fn has_readers(&self) -> bool {
        self.state.lock().readers != 0
    }

    /// Bytes in the pipe.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }

    fn set_size(&self, size: usize) -> Result<usize> {
        let pages = size.max(1).div_ceil(PAGE_SIZE).checked_next_power_of_two().ok_or(Errno::EINVAL)?;
        if pages > i32::MAX as usize / PAGE_SIZE {
            return Err(Errno::EINVAL);
        }
        if pages * PAGE_SIZE > MAXIMUM_SIZE {
            return Err(Errno::EPERM);
        }
        let mut state = self.state.lock();
        state.ring.set_capacity(pages)?;
        drop(state);
        self.writers.wake_one();
        self.write_poll.wake();
        Ok(pages * PAGE_SIZE)
    }
}

impl core::fmt::Debug for Pipe {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "pipe:[{}]", self.metadata.inode)
    }
}

/// Whether a call may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// It may.
    Allowed,
    /// It answers `EAGAIN` instead.
    Never,
}

impl Waiting {
    /// What a file's status flags say.
    #[inline]
    #[must_use]
    pub fn of(file: &OpenFile) -> Self {
        if file.is_non_blocking() { Self::Never } else { Self::Allowed }
    }
}

/// An open file's hold on a pipe.
#[derive(Debug)]
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    sides: Sides,
    /// The writers' openings when this end was opened: before another writer came there is no hang-up to report.
    writers_before: u64,
}

/// Who had the other side open when an end was opened.
#[derive(Clone, Copy, Debug)]
struct Partners {
    /// How many had.
    present: u32,
    /// How often it had been opened until then.
    openings: u64,
}

impl PipeEnd {
    fn new(pipe: &Arc<Pipe>, sides: Sides) -> Self {
        Self::open(pipe, sides).0
    }

    /// A new end, and who was at the other side at that very moment.
    fn open(pipe: &Arc<Pipe>, sides: Sides) -> (Self, Partners) {
        let mut state = pipe.state.lock();
        let writers_before = 0;
        let partners = if sides == Sides::READ {
            Partners { present: state.writers, openings: state.writer_openings }
        } else {
            Partners { present: state.readers, openings: state.reader_openings }
        };
        if sides.contains(Sides::READ) {
            state.readers += 1;
            state.reader_openings += 1;
        }
        if sides.contains(Sides::WRITE) {
            state.writers += 1;
            state.writer_openings += 1;
        }
        drop(state);
        (Self { pipe: pipe.clone(), sides, writers_before }, partners)
    }

    /// The pipe.
    #[must_use]
    pub const fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// The sides that it holds.
    #[must_use]
    pub const fn sides(&self) -> Sides {
        self.sides
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        let mut readers_gone = false;
        let mut writers_gone = false;
        if self.sides.contains(Sides::READ) {
            state.readers -= 1;
            readers_gone = state.readers == 0;
        }
        if self.sides.contains(Sides::WRITE) {
            state.writers -= 1;
            writers_gone = state.writers == 0;
        }
        let is_half = (state.readers == 0) != (state.writers == 0);
        if state.readers == 0 && state.writers == 0 {
            // Nobody can reach the bytes any more (a FIFO's pipe may live on through an opener that waits).
            let old = core::mem::take(&mut state.ring);
            // An empty ring takes any capacity.
            let _ = state.ring.set_capacity(old.capacity());
            drop(state);
            drop(old);
        } else {
            drop(state);
        }
        if readers_gone {
            self.pipe.writers.wake_all();
            self.pipe.write_poll.wake();
        }
        if writers_gone {
            self.pipe.readers.wake_all();
            self.pipe.read_poll.wake();
        }
        if is_half {
            self.pipe.read_listeners.tell(Readiness::Input);
            self.pipe.write_listeners.tell(Readiness::Output);
        }
    }
}

impl FileOperations for PipeEnd {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    #[inline]
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        self.pipe.read(destination, Waiting::of(file))
    }
    #[inline]
    fn write_at(&self, file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let flags = file.flags();
        let kind = if flags.contains(OpenFlags::DIRECT) { WriteKind::Packet } else { WriteKind::Stream };
        let waiting = if flags.contains(OpenFlags::NON_BLOCKING) { Waiting::Never } else { Waiting::Allowed };
        self.pipe.write(source, waiting, kind)
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        if self.sides.contains(Sides::READ) {
            table.wait_on(&self.pipe.read_poll, PollEvents::READABLE | PollEvents::HUP);
        }
        if self.sides.contains(Sides::WRITE) {
            table.wait_on(&self.pipe.write_poll, PollEvents::WRITABLE | PollEvents::ERR);
        }
        let state = self.pipe.state.lock();
        let mut events = PollEvents::empty();
        if self.sides.contains(Sides::READ) {
            if !state.ring.is_empty() {
                events |= PollEvents::READABLE;
            }
            if state.writers == 0 && state.writer_openings != self.writers_before {
                events |= PollEvents::HUP;
            }
        }
        if self.sides.contains(Sides::WRITE) {
            if !state.ring.is_full() {
                events |= PollEvents::WRITABLE;
            }
            if state.readers == 0 {
                events |= PollEvents::ERR;
            }
        }
        events
    }
    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<u64> {
        match request {
            FIONREAD => {
                let bytes = i32::try_from(self.pipe.bytes()).unwrap_or(i32::MAX);
                crate::memory::user::UserPointer::<i32>::new(crate::base::VirtualAddress::new(argument))
                    .write(&bytes)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
    fn metadata(&self, _file: &OpenFile) -> Metadata {
        self.pipe.metadata
    }
    fn describe(&self) -> String {
        format!("pipe:[{}]", self.pipe.metadata.inode)
    }
    fn reopen(&self, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(PipeEnd::new(&self.pipe, fifo::sides_of(flags))))
    }
    fn listeners(&self) -> Result<[Option<&Listeners>; 2]> {
        let of = |side, listeners| self.sides.contains(side).then_some(listeners);
        Ok([of(Sides::READ, &self.pipe.read_listeners), of(Sides::WRITE, &self.pipe.write_listeners)])
    }
    fn pipe_size(&self) -> Result<usize> {
        Ok(self.pipe.state.lock().ring.capacity() * PAGE_SIZE)
    }
    fn set_pipe_size(&self, size: usize) -> Result<usize> {
        self.pipe.set_size(size)
    }
}

/// Makes a pipe for a user; gives its reading and its writing end. `flags` may have `NON_BLOCKING` and `DIRECT`.
#[must_use]
pub fn create(uid: u32, gid: u32, flags: OpenFlags) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let pipe = Arc::new(Pipe::new(uid, gid));
    let reader = Arc::new(PipeEnd::new(&pipe, Sides::READ));
    let writer = Arc::new(PipeEnd::new(&pipe, Sides::WRITE));
    let reading = flags & OpenFlags::NON_BLOCKING;
    let writing = flags & (OpenFlags::NON_BLOCKING | OpenFlags::DIRECT) | OpenFlags::WRITE_ONLY;
    (OpenFile::anonymous(reader, reading), OpenFile::anonymous(writer, writing))
}

/// The pipe behind an open file, if it is one.
#[must_use]
pub fn pipe_of(file: &OpenFile) -> Option<&Arc<Pipe>> {
    file.operations_as::<PipeEnd>().map(PipeEnd::pipe)
}

#[cfg(test)]
mod tests;
