//! Event counters: `eventfd(2)`.

use super::file::{FileOperations, FileTraits, OpenFile};
use super::io::{IoDestination, IoSource};
use super::pipe::Waiting;
use super::poll::{PollEvents, PollQueue, PollTable};
use super::types::OpenFlags;
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock, WaitQueue};
use alloc::string::String;
use alloc::sync::Arc;

/// The largest count.
const MAXIMUM: u64 = u64::MAX - 1;

/// What a read takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The whole count.
    Counter,
    /// One (`EFD_SEMAPHORE`).
    Semaphore,
}

/// An event counter.
#[derive(Debug)]
pub struct EventCounter {
    kind: Kind,
    count: SpinLock<u64>,
    readers: WaitQueue,
    writers: WaitQueue,
    read_poll: PollQueue,
    write_poll: PollQueue,
}

impl EventCounter {
    fn try_read(&self) -> Option<u64> {
        let mut count = self.count.lock();
        let taken = match (*count, self.kind) {
            (0, _) => return None,
            (_, Kind::Semaphore) => 1,
            (all, Kind::Counter) => all,
        };
        *count -= taken;
        let more = *count != 0;
        drop(count);
        if more {
            self.readers.wake_one();
        }
        self.writers.wake_all();
        self.write_poll.wake();
        Some(taken)
    }

    fn try_write(&self, value: u64) -> Option<()> {
        let mut count = self.count.lock();
        *count = count.checked_add(value).filter(|&sum| sum <= MAXIMUM)?;
        drop(count);
        self.readers.wake_one();
        self.read_poll.wake();
        Some(())
    }
}

fn wait<T>(queue: &WaitQueue, waiting: Waiting, mut attempt: impl FnMut() -> Option<T>) -> Result<T> {
    match waiting {
        Waiting::Never => attempt().ok_or(Errno::EAGAIN),
        Waiting::Allowed => Ok(queue.wait(attempt)?),
    }
}

impl FileOperations for EventCounter {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        if destination.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = wait(&self.readers, Waiting::of(file), || self.try_read())?;
        // The count is taken even where it cannot be handed over, as on Linux.
        destination.write_whole(&value.to_ne_bytes())
    }
    fn write_at(&self, file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        if source.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        source.read_whole(&mut bytes)?;
        let value = u64::from_ne_bytes(bytes);
        let result = if value == u64::MAX {
            Err(Errno::EINVAL)
        } else {
            wait(&self.writers, Waiting::of(file), || self.try_write(value))
        };
        // The value was taken, but nothing was written: the caller must not take it for a partial write.
        result.inspect_err(|_| source.discount(8))?;
        Ok(8)
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        table.wait_on(&self.read_poll, PollEvents::READABLE | PollEvents::ERR);
        table.wait_on(&self.write_poll, PollEvents::WRITABLE);
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::IN, count != 0);
        events.set(PollEvents::OUT, count < MAXIMUM);
        events
    }
    fn describe(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }
}

/// Makes an event counter that starts at `count`. `flags` may have `NON_BLOCKING`.
#[must_use]
pub fn create(count: u32, kind: Kind, flags: OpenFlags) -> Arc<OpenFile> {
    let counter = EventCounter {
        kind,
        count: SpinLock::new(LockRank::FileObject, count.into()),
        readers: WaitQueue::new(),
        writers: WaitQueue::new(),
        read_poll: PollQueue::new(),
        write_poll: PollQueue::new(),
    };
    OpenFile::anonymous(Arc::new(counter), flags | OpenFlags::READ_WRITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &OpenFile) -> Result<u64> {
        let mut bytes = [0; 8];
        file.read(&mut IoDestination::kernel(&mut bytes))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn write(file: &OpenFile, value: u64) -> Result<usize> {
        file.write(&mut IoSource::kernel(&value.to_ne_bytes()))
    }

    fn poll(file: &OpenFile) -> PollEvents {
        file.operations().poll(file, &mut PollTable::asking())
    }

    #[test]
    fn a_counter_gives_its_sum_and_a_semaphore_ones() {
        let counter = create(3, Kind::Counter, OpenFlags::NON_BLOCKING);
        assert_eq!(write(&counter, 4), Ok(8));
        assert_eq!((read(&counter), read(&counter)), (Ok(7), Err(Errno::EAGAIN)));
        let semaphore = create(2, Kind::Semaphore, OpenFlags::NON_BLOCKING);
        assert_eq!((read(&semaphore), read(&semaphore), read(&semaphore)), (Ok(1), Ok(1), Err(Errno::EAGAIN)));
    }

    #[test]
    fn the_count_has_a_limit() {
        let counter = create(0, Kind::Counter, OpenFlags::NON_BLOCKING);
        assert_eq!(write(&counter, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(write(&counter, u64::MAX - 1), Ok(8));
        assert_eq!(write(&counter, 1), Err(Errno::EAGAIN));
        assert_eq!(poll(&counter), PollEvents::IN);
        assert_eq!(read(&counter), Ok(u64::MAX - 1));
        assert_eq!(poll(&counter), PollEvents::OUT);
        assert_eq!(counter.write(&mut IoSource::kernel(b"short")), Err(Errno::EINVAL));
    }

    #[test]
    fn a_reader_waits_for_a_writer() {
        let counter = create(0, Kind::Counter, OpenFlags::empty());
        std::thread::scope(|scope| {
            scope.spawn(|| write(&counter, 5).unwrap());
            assert_eq!(read(&counter), Ok(5));
        });
    }
}
