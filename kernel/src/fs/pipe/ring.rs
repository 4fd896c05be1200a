//! The bytes in a pipe: a queue of pages, as on Linux.
//!
//! A pipe holds a number of *slots*, each a page with some bytes in it. It is full when every slot is taken, however few bytes
//! they hold. A write that fits behind the bytes of the last slot is merged into it; the beginning of a longer one too, so that the rest
//! fills whole pages. A write of at most a page therefore goes into one slot or not at all: that is `PIPE_BUF`'s promise.
//! Slots of packets are never merged, and a read takes one of them whole.
//!
//! A slot is also the unit of a fault: of a slot whose bytes cannot all be copied from or to user memory nothing counts as moved.

use crate::base::{Errno, PAGE_SIZE, Result};
use crate::fs::io::{IoDestination, IoSource};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The slots of a new pipe: 64 KiB.
pub const DEFAULT_SLOTS: usize = 16;

/// Whether bytes are a stream, or each write a packet (`O_DIRECT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteKind {
    /// Writes run together.
    Stream,
    /// A read ends where the write ended.
    Packet,
}

#[derive(Debug)]
struct Slot {
    page: Box<[u8]>,
    start: usize,
    end: usize,
    kind: WriteKind,
}

/// A pipe's contents.
#[derive(Debug)]
pub struct PipeRing {
    slots: VecDeque<Slot>,
    capacity: usize,
    /// A page kept from the last slot that was emptied: a pipe in steady use allocates nothing.
    spare: Option<Box<[u8]>>,
}

fn allocate_page() -> Result<Box<[u8]>> {
    let mut page = Vec::new();
    page.try_reserve_exact(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
    page.resize(PAGE_SIZE, 0);
    Ok(page.into_boxed_slice())
}

impl PipeRing {
    /// An empty ring of [`DEFAULT_SLOTS`]. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: VecDeque::new(), capacity: DEFAULT_SLOTS, spare: None }
    }

    /// Whether it holds no slot.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether every slot is taken.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.capacity
    }

    /// The number of slots that are free.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.capacity.saturating_sub(self.slots.len())
    }

    /// The number of slots that it may hold.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the number of slots.
    ///
    /// # Errors
    /// `EBUSY` when more are in use.
    pub fn set_capacity(&mut self, slots: usize) -> Result<()> {
        if slots < self.slots.len() {
            return Err(Errno::EBUSY);
        }
        self.capacity = slots;
        Ok(())
    }

    /// The number of bytes in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.end - slot.start).sum()
    }

    /// Takes bytes out of `source` until it is finished or the ring is full.
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM`; what was taken before is in the ring and counted in `source`.
    pub fn write(&mut self, source: &mut IoSource<'_>, kind: WriteKind) -> Result<()> {
        let odd = source.remaining() % PAGE_SIZE;
        if odd != 0
            && kind == WriteKind::Stream
            && let Some(last) = self.slots.back_mut()
            && last.kind == WriteKind::Stream
            && last.end + odd <= PAGE_SIZE
        {
            let target = last.page.get_mut(last.end..last.end + odd).ok_or(Errno::EFAULT)?;
            last.end += source.read_whole(target)?;
        }
        while !source.is_finished() && !self.is_full() {
            let mut page = match self.spare.take() {
                Some(page) => page,
                None => allocate_page()?,
            };
            match source.read_whole(&mut page) {
                Ok(end) => self.slots.push_back(Slot { page, start: 0, end, kind }),
                Err(error) => {
                    self.spare = Some(page);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Moves bytes to `destination` until it is full, the ring empty or a packet read.
    ///
    /// # Errors
    /// `EFAULT`; what was moved before is gone from the ring and counted in `destination`.
    pub fn read(&mut self, destination: &mut IoDestination<'_>) -> Result<()> {
        while let Some(first) = self.slots.front_mut() {
            first.start += destination.write_whole(first.page.get(first.start..first.end).ok_or(Errno::EFAULT)?)?;
            let kind = first.kind;
            if first.start == first.end || kind == WriteKind::Packet {
                self.drop_first();
            }
            if destination.is_finished() || kind == WriteKind::Packet {
                break;
            }
        }
        Ok(())
    }

    fn drop_first(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.spare = Some(slot.page);
        }
    }

    /// Puts bytes back in front of the others: a splice could not pass them on. They may exceed the capacity for a while.
    ///
    /// # Errors
    /// `ENOMEM`: the bytes are lost.
    pub fn put_back(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.rchunks(PAGE_SIZE) {
            let mut page = match self.spare.take() {
                Some(page) => page,
                None => allocate_page()?,
            };
            page.get_mut(..piece.len()).ok_or(Errno::EFAULT)?.copy_from_slice(piece);
            self.slots.push_front(Slot { page, start: 0, end: piece.len(), kind: WriteKind::Stream });
        }
        Ok(())
    }

    /// Copies up to `limit` bytes from the front into `copy` without taking them (`tee`).
    pub fn peek(&self, limit: usize, copy: &mut Vec<u8>) -> Result<()> {
        for slot in &self.slots {
            let room = limit - copy.len().min(limit);
            if room == 0 {
                break;
            }
            let bytes = slot.page.get(slot.start..slot.end).ok_or(Errno::EFAULT)?;
            let bytes = bytes.get(..bytes.len().min(room)).ok_or(Errno::EFAULT)?;
            copy.try_reserve(bytes.len()).map_err(|_| Errno::ENOMEM)?;
            copy.extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl Default for PipeRing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::VirtualAddress;
    use crate::memory::address_space::test_support::{enter, leave};
    use crate::memory::address_space::{AddressSpace, MapRequest, Protection};
    use crate::memory::user::UserSlice;
    use proptest::prelude::*;

    fn write(ring: &mut PipeRing, bytes: &[u8], kind: WriteKind) -> usize {
        let mut source = IoSource::kernel(bytes);
        ring.write(&mut source, kind).unwrap();
        source.transferred()
    }

    fn read(ring: &mut PipeRing, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut destination = IoDestination::kernel(&mut bytes);
        ring.read(&mut destination).unwrap();
        let count = destination.transferred();
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn small_writes_merge_and_a_page_fills_a_slot() {
        let mut ring = PipeRing::new();
        assert_eq!(write(&mut ring, b"ab", WriteKind::Stream), 2);
        assert_eq!(write(&mut ring, b"cd", WriteKind::Stream), 2);
        assert_eq!(ring.slots.len(), 1);
        assert_eq!(write(&mut ring, &[7; PAGE_SIZE], WriteKind::Stream), PAGE_SIZE);
        assert_eq!(ring.slots.len(), 2);
        assert_eq!(read(&mut ring, 3), b"abc");
        assert_eq!(read(&mut ring, 10_000).len(), 1 + PAGE_SIZE);
        assert!(ring.is_empty());
    }

    #[test]
    fn of_a_slot_that_faults_nothing_counts() {
        let base = 0x40_0000;
        let space = AddressSpace::new().unwrap();
        let page = PAGE_SIZE as u64;
        let memory = MapRequest::anonymous(2 * page, Protection::READ | Protection::WRITE);
        space.map(&memory.at(VirtualAddress::new(base))).unwrap();
        enter(&space);
        // Ends of that memory with something behind that is not there.
        let cliff = |reachable: usize, length: usize| {
            UserSlice::new(VirtualAddress::new(base + 2 * page - reachable as u64), length)
        };
        for (before, reachable, length, taken) in
            [(0, 3, 8, 0), (3, 3, 8, 0), (0, PAGE_SIZE, PAGE_SIZE + 8, PAGE_SIZE), (3, PAGE_SIZE, PAGE_SIZE + 8, 8)]
        {
            let mut ring = PipeRing::new();
            write(&mut ring, &b"xyz"[..before], WriteKind::Stream);
            let mut source = IoSource::user(cliff(reachable, length));
            assert_eq!(ring.write(&mut source, WriteKind::Stream), Err(Errno::EFAULT));
            assert_eq!((source.transferred(), ring.bytes()), (taken, before + taken));
        }
        let mut ring = PipeRing::new();
        write(&mut ring, b"bytes", WriteKind::Stream);
        let mut destination = IoDestination::user(cliff(3, 8));
        assert_eq!(ring.read(&mut destination), Err(Errno::EFAULT));
        assert_eq!((destination.transferred(), ring.bytes()), (0, 5));
        leave();
    }

    #[test]
    fn packets_keep_their_ends_and_lose_what_is_not_read() {
        let mut ring = PipeRing::new();
        write(&mut ring, b"first", WriteKind::Packet);
        write(&mut ring, b"second", WriteKind::Packet);
        assert_eq!(read(&mut ring, 3), b"fir");
        assert_eq!(read(&mut ring, 100), b"second");
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut ring = PipeRing::new();
        write(&mut ring, b"world", WriteKind::Stream);
        ring.put_back(b"hello ").unwrap();
        let mut copy = Vec::new();
        ring.peek(8, &mut copy).unwrap();
        assert_eq!(copy, b"hello wo");
        assert_eq!(read(&mut ring, 100), b"hello world");
    }

    proptest! {
        #[test]
        fn a_ring_is_a_queue_of_bytes(steps in proptest::collection::vec((any::<bool>(), 1usize..9000), 1..60)) {
            let mut ring = PipeRing::new();
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (is_write, length) in steps {
                if is_write {
                    let bytes: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                    let written = write(&mut ring, &bytes, WriteKind::Stream);
                    // At most PIPE_BUF bytes go in whole or not at all.
                    prop_assert!(length > PAGE_SIZE || written == 0 || written == length);
                    prop_assert!(written == length || ring.is_full());
                    model.extend(bytes[..written].iter().copied());
                    next = next.wrapping_sub((length - written) as u8);
                } else {
                    let expected: Vec<u8> = model.drain(..length.min(model.len())).collect();
                    prop_assert_eq!(read(&mut ring, length), expected);
                }
                prop_assert_eq!(ring.bytes(), model.len());
            }
        }
    }
}
