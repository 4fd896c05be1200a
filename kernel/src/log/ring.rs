//! The ring of messages: plain data, no lock.
//!
//! Messages lie one after the other in a byte ring, each with a fixed header; a new one pushes out the oldest.

use super::{MAXIMUM_MESSAGE, Priority, Source};
use crate::base::Nanoseconds;

/// Bytes kept.
pub const CAPACITY: usize = 32 * 1024;
const HEADER: usize = 12;

/// A message as [`Ring::read`] gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its number, counted from 0 at boot.
    pub sequence: u64,
    /// When it was written.
    pub time: Nanoseconds,
    /// How urgent it is.
    pub priority: Priority,
    /// Who wrote it.
    pub source: Source,
    /// The text.
    pub message: &'a [u8],
}

/// The ring.
///
/// Invariant: `[head, tail)`, wrapping at the place where a message did not fit (`wrap`), holds whole messages with the
/// sequence numbers `first..next`.
#[derive(Debug)]
pub struct Ring {
    bytes: [u8; CAPACITY],
    head: usize,
    tail: usize,
    /// Where the data that lies before the wrap ends; `CAPACITY` while nothing wrapped.
    wrap: usize,
    first: u64,
    next: u64,
}

struct Header {
    time: u64,
    length: usize,
    priority: Priority,
    source: Source,
}

impl Ring {
    /// An empty ring.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; CAPACITY], head: 0, tail: 0, wrap: CAPACITY, first: 0, next: 0 }
    }

    /// The oldest message's number and the next one's.
    #[must_use]
    pub const fn bounds(&self) -> (u64, u64) {
        (self.first, self.next)
    }

    /// Adds a message; what is longer than [`MAXIMUM_MESSAGE`] is cut.
    pub fn append(&mut self, time: Nanoseconds, priority: Priority, source: Source, message: &[u8]) {
        let length = message.len().min(MAXIMUM_MESSAGE);
        let size = HEADER + length;
        if self.tail + size > CAPACITY {
            // What lies between here and the end is pushed out, and the message goes to the start.
            while self.first < self.next && self.head >= self.tail {
                self.drop_oldest();
            }
            self.wrap = self.tail;
            self.tail = 0;
            if self.first == self.next {
                self.head = 0;
            }
        }
        while self.first < self.next && self.head >= self.tail && self.head < self.tail + size {
            self.drop_oldest();
        }
        if self.first == self.next {
            self.head = self.tail;
        }
        let marks = [priority.0, u8::from(source == Source::User)];
        let fields = [&time.0.to_le_bytes()[..], &(length as u16).to_le_bytes()[..], &marks[..]];
        let mut at = self.tail;
        for part in fields.into_iter().chain([message.get(..length).unwrap_or_default()]) {
            if let Some(place) = self.bytes.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
            at += part.len();
        }
        self.tail = at;
        self.next += 1;
    }

    fn header(&self, at: usize) -> Option<Header> {
        let header: &[u8; HEADER] = self.bytes.get(at..at + HEADER)?.try_into().ok()?;
        let [t0, t1, t2, t3, t4, t5, t6, t7, l0, l1, priority, source] = *header;
        Some(Header {
            time: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            length: u16::from_le_bytes([l0, l1]).into(),
            priority: Priority(priority),
            source: if source == 0 { Source::Kernel } else { Source::User },
        })
    }

    fn drop_oldest(&mut self) {
        let length = self.header(self.head).map_or(0, |header| header.length);
        self.head = self.after(self.head, length);
        self.first += 1;
    }

    /// Where the message after the one at `at` lies.
    fn after(&self, at: usize, length: usize) -> usize {
        let end = at + HEADER + length;
        if end >= self.wrap && at >= self.tail { 0 } else { end }
    }

    /// The first message with a number of at least `sequence`.
    #[must_use]
    pub fn read(&self, sequence: u64) -> Option<Record<'_>> {
        let wanted = sequence.max(self.first);
        if wanted >= self.next {
            return None;
        }
        let (mut at, mut current) = (self.head, self.first);
        while current < wanted {
            at = self.after(at, self.header(at)?.length);
            current += 1;
        }
        let header = self.header(at)?;
        Some(Record {
            sequence: wanted,
            time: Nanoseconds(header.time),
            priority: header.priority,
            source: header.source,
            message: self.bytes.get(at + HEADER..at + HEADER + header.length)?,
        })
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn text(ring: &Ring, sequence: u64) -> Option<Vec<u8>> {
        ring.read(sequence).map(|record| record.message.to_vec())
    }

    #[test]
    fn messages_come_back_in_order() {
        let mut ring = Ring::new();
        assert_eq!(ring.read(0), None);
        ring.append(Nanoseconds(5), Priority::INFORMATION, Source::Kernel, b"one");
        ring.append(Nanoseconds(6), Priority::ERROR, Source::User, b"");
        assert_eq!(text(&ring, 0), Some(b"one".to_vec()));
        let second = ring.read(1).unwrap();
        assert_eq!((second.time, second.priority, second.source), (Nanoseconds(6), Priority::ERROR, Source::User));
        assert_eq!(ring.read(2), None);
    }

    proptest! {
        #[test]
        fn the_ring_is_a_queue_that_forgets_from_the_front(lengths in proptest::collection::vec(0usize..1200, 1..400)) {
            let mut ring = Ring::new();
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            for (index, length) in lengths.iter().enumerate() {
                let message = vec![index as u8; *length];
                ring.append(Nanoseconds(index as u64), Priority::DEBUG, Source::Kernel, &message);
                model.push_back(message[..(*length).min(MAXIMUM_MESSAGE)].to_vec());
                let (first, next) = ring.bounds();
                prop_assert_eq!(next, index as u64 + 1);
                while model.len() as u64 > next - first {
                    model.pop_front();
                }
            }
            let (first, _) = ring.bounds();
            for (offset, message) in model.iter().enumerate() {
                let read = text(&ring, first + offset as u64);
                prop_assert_eq!(read.as_ref(), Some(message));
            }
            let kept: usize = model.iter().map(|message| message.len() + HEADER).sum();
            let total: usize = lengths.iter().map(|length| (*length).min(MAXIMUM_MESSAGE) + HEADER).sum();
            prop_assert!(kept == total || kept > CAPACITY - 2 * (MAXIMUM_MESSAGE + HEADER) - 1);
        }
    }
}
