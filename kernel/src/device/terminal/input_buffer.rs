//! The bytes that a terminal has received and nobody has read: Linux's 4 KiB ring with three positions.
//!
//! ```text
//!   tail            canonical_head          head
//!    |  whole lines      |  the line being    |
//!    |  (readable)       |  edited            |
//! ```
//! A flag beside a byte says that a line ends there. The end-of-file character is stored as a flagged NUL, which ends a
//! line and is not read. Positions only grow; they are taken modulo the size. Invariant: `tail <= canonical_head <= head <=
//! tail + SIZE` (in wrapping arithmetic) while the terminal is canonical.

use alloc::boxed::Box;

/// The ring's size, which is also the longest line (`MAX_CANON` is 255 by name, 4095 in truth).
pub const SIZE: usize = 4096;

/// The ring.
#[derive(Debug)]
pub struct InputBuffer {
    bytes: Box<[u8; SIZE]>,
    line_ends: [u64; SIZE / 64],
    /// One past the last byte received.
    pub head: usize,
    /// One past the last whole line.
    pub canonical_head: usize,
    /// The next byte to read.
    pub tail: usize,
}

impl InputBuffer {
    /// An empty ring.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Box::new([0; SIZE]), line_ends: [0; SIZE / 64], head: 0, canonical_head: 0, tail: 0 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.line_ends = [0; SIZE / 64];
        (self.head, self.canonical_head, self.tail) = (0, 0, 0);
    }

    /// The bytes between the tail and the head.
    #[inline]
    #[must_use]
    pub const fn count(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// The bytes of whole lines.
    #[inline]
    #[must_use]
    pub const fn line_bytes(&self) -> usize {
        self.canonical_head.wrapping_sub(self.tail)
    }

    /// The bytes of the line being edited.
    #[inline]
    #[must_use]
    pub const fn edited(&self) -> usize {
        self.head.wrapping_sub(self.canonical_head)
    }

    /// The byte at a position.
    #[inline]
    #[must_use]
    pub fn at(&self, position: usize) -> u8 {
        self.bytes.get(position % SIZE).copied().unwrap_or(0)
    }

    /// Whether a line ends at a position.
    #[inline]
    #[must_use]
    pub fn line_ends_at(&self, position: usize) -> bool {
        let index = position % SIZE;
        self.line_ends.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Adds a byte. The caller has made sure that there is room.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.head % SIZE) {
            *slot = byte;
        }
        self.head = self.head.wrapping_add(1);
    }

    /// Adds a byte that ends a line, and makes the line readable.
    pub fn push_line_end(&mut self, byte: u8) {
        self.mark(self.head, true);
        self.push(byte);
        self.canonical_head = self.head;
    }

    /// Takes the newest byte back.
    pub fn unpush(&mut self) {
        self.head = self.head.wrapping_sub(1);
    }

    fn mark(&mut self, position: usize, end: bool) {
        let index = position % SIZE;
        if let Some(word) = self.line_ends.get_mut(index / 64) {
            *word = *word & !(1 << (index % 64)) | u64::from(end) << (index % 64);
        }
    }

    /// Canonical mode begins: what is there becomes one line, readable at once.
    pub fn become_canonical(&mut self) {
        self.line_ends = [0; SIZE / 64];
        self.canonical_head = self.tail;
        if self.count() != 0 {
            self.mark(self.head.wrapping_sub(1), true);
            self.canonical_head = self.head;
        }
    }

    /// Canonical mode ends: line ends mean nothing any more.
    pub fn become_raw(&mut self) {
        self.line_ends = [0; SIZE / 64];
        self.canonical_head = self.tail;
    }

    /// Reads up to the end of the first line. Gives the number of bytes read and whether the line's end was reached.
    pub fn read_line(&mut self, target: &mut [u8]) -> (usize, LineEnd) {
        let mut copied = 0;
        while self.line_bytes() != 0 {
            let end = self.line_ends_at(self.tail);
            let byte = self.at(self.tail);
            if !(end && byte == 0) {
                let Some(slot) = target.get_mut(copied) else { return (copied, LineEnd::NotReached) };
                *slot = byte;
                copied += 1;
            } else if copied == target.len() {
                // As on Linux, an end-of-file right behind a read that was filled stays for the next read.
                return (copied, LineEnd::NotReached);
            }
            if end {
                self.mark(self.tail, false);
            }
            self.tail = self.tail.wrapping_add(1);
            if end {
                return (copied, LineEnd::Reached);
            }
        }
        (copied, LineEnd::NotReached)
    }

    /// Takes an end-of-file away when it is the next thing: after a long read was filled exactly.
    pub fn skip_end_of_file(&mut self) {
        if self.line_bytes() != 0 && self.line_ends_at(self.tail) && self.at(self.tail) == 0 {
            self.mark(self.tail, false);
            self.tail = self.tail.wrapping_add(1);
        }
    }

    /// Reads what is there, whatever it is.
    pub fn read_raw(&mut self, target: &mut [u8]) -> usize {
        let count = self.count().min(target.len());
        for slot in target.iter_mut().take(count) {
            *slot = self.at(self.tail);
            self.tail = self.tail.wrapping_add(1);
        }
        // Without lines the canonical head goes along, so that a later canonical mode starts from here.
        self.canonical_head = self.tail;
        count
    }
}

impl Default for InputBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a read came to the end of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineEnd {
    /// It did: the read is complete.
    Reached,
    /// It did not.
    NotReached,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(line: &[u8]) -> InputBuffer {
        let mut buffer = InputBuffer::new();
        line.iter().for_each(|&byte| buffer.push(byte));
        buffer
    }

    #[test]
    fn a_line_is_read_up_to_its_end() {
        let mut buffer = filled(b"one");
        buffer.push_line_end(b'\n');
        buffer.push(b't');
        let mut target = [0; 16];
        assert_eq!(buffer.read_line(&mut target), (4, LineEnd::Reached));
        assert_eq!(&target[..4], b"one\n");
        assert_eq!(buffer.read_line(&mut target), (0, LineEnd::NotReached));
        assert_eq!(buffer.edited(), 1);
    }

    #[test]
    fn an_end_of_file_is_not_read() {
        let mut buffer = filled(b"ab");
        buffer.push_line_end(0);
        buffer.push_line_end(0);
        let mut target = [0; 16];
        assert_eq!(buffer.read_line(&mut target), (2, LineEnd::Reached));
        assert_eq!(buffer.read_line(&mut target), (0, LineEnd::Reached));
        assert_eq!(buffer.count(), 0);
    }

    #[test]
    fn the_ring_wraps() {
        let mut buffer = InputBuffer::new();
        let mut target = [0; 3000];
        for round in 0..10u8 {
            (0..2999).for_each(|_| buffer.push(round));
            buffer.push_line_end(b'\n');
            assert_eq!(buffer.read_line(&mut target), (3000, LineEnd::Reached));
            assert!(target[..2999].iter().all(|&byte| byte == round));
        }
    }

    #[test]
    fn raw_bytes_become_one_line_when_canonical_mode_begins() {
        let mut buffer = filled(b"raw");
        buffer.become_canonical();
        let mut target = [0; 16];
        assert_eq!(buffer.read_line(&mut target), (3, LineEnd::Reached));
    }
}
