//! Where the bytes of a read go and where those of a write come from: user memory, one range or several, or a kernel buffer.
//!
//! A kind of file fills an [`IoDestination`] piece by piece straight from its pages or queues, and drains an [`IoSource`]; it
//! needs no buffer between. Both count what was moved, also before a fault, so that a call can answer with the part that was.
//! Moving may touch user memory: **never under a spinlock**.

use crate::arch::{Current, UserAccess};
use crate::base::{Errno, Result};
use crate::memory::user::{self, UserSlice};

enum Memory<K> {
    User,
    Kernel(K),
}

/// Where the bytes of a read go.
pub struct IoDestination<'a> {
    memory: Memory<&'a mut [u8]>,
    current: UserSlice,
    more: &'a [UserSlice],
    remaining: usize,
    transferred: usize,
}

/// Where the bytes of a write come from.
pub struct IoSource<'a> {
    memory: Memory<&'a [u8]>,
    current: UserSlice,
    more: &'a [UserSlice],
    remaining: usize,
    transferred: usize,
}

/// A place in the memory of a source or destination.
struct Mark<'a> {
    current: UserSlice,
    more: &'a [UserSlice],
    remaining: usize,
    transferred: usize,
}

const NOWHERE: UserSlice = UserSlice::new(crate::base::VirtualAddress::new(0), 0);

macro_rules! common {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// One range of user memory.
            #[must_use]
            #[inline]
            pub fn user(slice: UserSlice) -> Self {
                Self { memory: Memory::User, current: slice, more: &[], remaining: slice.len(), transferred: 0 }
            }
            /// Several ranges of user memory, in order. Their total fits a `usize` (see `read_io_vectors`).
            #[must_use]
            pub fn user_vectors(slices: &'a [UserSlice]) -> Self {
                let remaining = slices.iter().fold(0usize, |sum, slice| sum.saturating_add(slice.len()));
                Self { memory: Memory::User, current: NOWHERE, more: slices, remaining, transferred: 0 }
            }
            /// How many bytes there is still room for, or still are.
            #[must_use]
            #[inline]
            pub fn remaining(&self) -> usize {
                self.remaining
            }
            /// Whether none remain.
            #[must_use]
            #[inline]
            pub fn is_finished(&self) -> bool {
                self.remaining == 0
            }
            /// How many bytes were moved so far.
            #[must_use]
            #[inline]
            pub fn transferred(&self) -> usize {
                self.transferred
            }
            /// Forgets what lies more than `length` bytes ahead.
            pub fn limit(&mut self, length: usize) {
                self.remaining = self.remaining.min(length);
            }
            /// Where it stands: what `rewind` goes back to.
            #[inline]
            fn mark(&self) -> Mark<'a> {
                Mark {
                    current: self.current,
                    more: self.more,
                    remaining: self.remaining,
                    transferred: self.transferred,
                }
            }
            fn rewind(&mut self, mark: Mark<'a>) {
                self.current = mark.current;
                self.more = mark.more;
                self.remaining = mark.remaining;
                self.transferred = mark.transferred;
            }
            #[inline]
            fn advance(&mut self, count: usize) {
                self.remaining = self.remaining.saturating_sub(count);
                self.transferred += count;
            }
            /// The next piece of user memory that is not empty, at most `length` bytes.
            #[inline]
            fn next_piece(&mut self, length: usize) -> Option<UserSlice> {
                while self.current.is_empty() {
                    let (first, rest) = self.more.split_first()?;
                    self.current = *first;
                    self.more = rest;
                }
                Some(self.current.take(length))
            }
            /// Moves through `length` bytes of user memory with `each`, which is given a piece and the offset of its first
            /// byte; a piece that fails is tried again page by page, so that all bytes before the fault count.
            #[inline]
            fn for_each_piece(
                &mut self,
                length: usize,
                mut each: impl FnMut(UserSlice, usize) -> Result<()>,
            ) -> Result<usize> {
                let length = length.min(self.remaining);
                let mut done = 0;
                while done < length {
                    let Some(piece) = self.next_piece(length - done) else { break };
                    if each(piece, done).is_err() {
                        for page in piece.pages() {
                            each(page, done)?;
                            done += page.len();
                            self.current = self.current.skip(page.len());
                            self.advance(page.len());
                        }
                    } else {
                        done += piece.len();
                        self.current = self.current.skip(piece.len());
                        self.advance(piece.len());
                    }
                }
                Ok(done)
            }
        }

        impl core::fmt::Debug for $name<'_> {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter
                    .debug_struct(stringify!($name))
                    .field("remaining", &self.remaining)
                    .field("transferred", &self.transferred)
                    .finish_non_exhaustive()
            }
        }
    };
}

common!(IoDestination);
common!(IoSource);

/// A stretch of the memory that a destination has next.
#[derive(Debug)]
pub enum DestinationPiece<'p> {
    /// User memory.
    User(UserSlice),
    /// Kernel memory.
    Kernel(&'p mut [u8]),
}

/// A stretch of the memory that a source has next.
#[derive(Debug)]
pub enum SourcePiece<'p> {
    /// User memory.
    User(UserSlice),
    /// Kernel memory.
    Kernel(&'p [u8]),
}

impl<'a> IoDestination<'a> {
    /// A buffer of the kernel's.
    #[must_use]
    pub fn kernel(buffer: &'a mut [u8]) -> Self {
        let remaining = buffer.len();
        Self { memory: Memory::Kernel(buffer), current: NOWHERE, more: &[], remaining, transferred: 0 }
    }

    /// Appends `bytes`, or as many of them as there is room for; gives their number.
    ///
    /// # Errors
    /// `EFAULT`; what was moved before the fault is in [`Self::transferred`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match &mut self.memory {
            Memory::User => self.for_each_piece(bytes.len(), |piece, at| {
                let source = bytes.get(at..at + piece.len()).ok_or(Errno::EFAULT)?;
                user::copy_to_user(piece.start(), source)
            }),
            Memory::Kernel(buffer) => {
                let count = bytes.len().min(self.remaining);
                let target = buffer.get_mut(self.transferred..self.transferred + count).ok_or(Errno::EFAULT)?;
                target.copy_from_slice(bytes.get(..count).ok_or(Errno::EFAULT)?);
                self.advance(count);
                Ok(count)
            }
        }
    }

    /// Appends `bytes`, or as many of them as there is room for, in one piece: where a byte cannot be written none counts as moved.
    ///
    /// # Errors
    /// `EFAULT`.
    #[inline]
    pub fn write_whole(&mut self, bytes: &[u8]) -> Result<usize> {
        let mark = self.mark();
        let result = self.write(bytes);
        if result.is_err() {
            self.rewind(mark);
        }
        result
    }

    /// Gives `each` stretch of what remains to `fill`, which says how many bytes it put there; stops at a short one. Gives the sum.
    ///
    /// # Errors
    /// What `fill` says, unless bytes were moved before.
    #[inline]
    pub fn fill(&mut self, mut fill: impl FnMut(DestinationPiece<'_>) -> Result<usize>) -> Result<usize> {
        let before = self.transferred;
        while self.remaining > 0 {
            let (length, done) = match &mut self.memory {
                Memory::User => {
                    let Some(piece) = self.next_piece(self.remaining) else { break };
                    (piece.len(), fill(DestinationPiece::User(piece)))
                }
                Memory::Kernel(buffer) => {
                    let target = buffer.get_mut(self.transferred..).and_then(|rest| rest.get_mut(..self.remaining));
                    (self.remaining, fill(DestinationPiece::Kernel(target.ok_or(Errno::EFAULT)?)))
                }
            };
            let done = match done {
                Err(_) if self.transferred > before => break,
                other => other?.min(length),
            };
            self.current = self.current.skip(done);
            self.advance(done);
            if done < length {
                break;
            }
        }
        Ok(self.transferred - before)
    }

    /// Appends `count` zero bytes, or as many as there is room for; gives their number.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write_zeroes(&mut self, count: usize) -> Result<usize> {
        match &mut self.memory {
            Memory::User => self.for_each_piece(count, |piece, _| Ok(Current::zero_user(piece.start(), piece.len())?)),
            Memory::Kernel(buffer) => {
                let count = count.min(self.remaining);
                buffer.get_mut(self.transferred..self.transferred + count).ok_or(Errno::EFAULT)?.fill(0);
                self.advance(count);
                Ok(count)
            }
        }
    }
}

impl<'a> IoSource<'a> {
    /// A buffer of the kernel's.
    #[must_use]
    pub fn kernel(buffer: &'a [u8]) -> Self {
        Self { memory: Memory::Kernel(buffer), current: NOWHERE, more: &[], remaining: buffer.len(), transferred: 0 }
    }

    /// Takes `count` bytes out of the count of those moved: they were taken, and then could not be used, so that the call fails.
    pub fn discount(&mut self, count: usize) {
        self.transferred = self.transferred.saturating_sub(count);
    }

    /// Takes the next bytes into `target`, as many as it holds or remain; gives their number.
    ///
    /// # Errors
    /// `EFAULT`; what was moved before the fault is in [`Self::transferred`].
    #[inline]
    pub fn read(&mut self, target: &mut [u8]) -> Result<usize> {
        match self.memory {
            Memory::User => self.for_each_piece(target.len(), |piece, at| {
                let target = target.get_mut(at..at + piece.len()).ok_or(Errno::EFAULT)?;
                user::copy_from_user(target, piece.start())
            }),
            Memory::Kernel(buffer) => {
                let count = target.len().min(self.remaining);
                let source = buffer.get(self.transferred..self.transferred + count).ok_or(Errno::EFAULT)?;
                target.get_mut(..count).ok_or(Errno::EFAULT)?.copy_from_slice(source);
                self.advance(count);
                Ok(count)
            }
        }
    }

    /// Takes the next bytes into `target`, as many as it holds or remain, in one piece: where a byte cannot be read none counts as moved.
    ///
    /// # Errors
    /// `EFAULT`.
    #[inline]
    pub fn read_whole(&mut self, target: &mut [u8]) -> Result<usize> {
        let mark = self.mark();
        let result = self.read(target);
        if result.is_err() {
            self.rewind(mark);
        }
        result
    }

    /// Gives `each` stretch of what remains to `drain`, which says how many bytes it took; stops at a short one. Gives the sum.
    ///
    /// # Errors
    /// What `drain` says, unless bytes were moved before.
    #[inline]
    pub fn drain(&mut self, mut drain: impl FnMut(SourcePiece<'_>) -> Result<usize>) -> Result<usize> {
        let before = self.transferred;
        while self.remaining > 0 {
            let (length, done) = match self.memory {
                Memory::User => {
                    let Some(piece) = self.next_piece(self.remaining) else { break };
                    (piece.len(), drain(SourcePiece::User(piece)))
                }
                Memory::Kernel(buffer) => {
                    let source = buffer.get(self.transferred..).and_then(|rest| rest.get(..self.remaining));
                    (self.remaining, drain(SourcePiece::Kernel(source.ok_or(Errno::EFAULT)?)))
                }
            };
            let done = match done {
                Err(_) if self.transferred > before => break,
                other => other?.min(length),
            };
            self.current = self.current.skip(done);
            self.advance(done);
            if done < length {
                break;
            }
        }
        Ok(self.transferred - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::VirtualAddress;

    #[test]
    fn kernel_buffers_move_and_count() {
        let mut buffer = [9u8; 6];
        let mut destination = IoDestination::kernel(&mut buffer);
        assert_eq!(destination.write(b"abc"), Ok(3));
        assert_eq!(destination.write_zeroes(2), Ok(2));
        assert_eq!(destination.write(b"xyz"), Ok(1));
        assert_eq!((destination.remaining(), destination.transferred()), (0, 6));
        assert_eq!(&buffer, b"abc\0\0x");
        let mut source = IoSource::kernel(b"hello");
        let mut target = [0; 3];
        assert_eq!(source.read(&mut target), Ok(3));
        assert_eq!(&target, b"hel");
        assert_eq!(source.read(&mut target), Ok(2));
        assert_eq!(source.read(&mut target), Ok(0));
    }

    #[test]
    fn a_wild_user_range_faults_with_nothing_moved() {
        let mut destination = IoDestination::user(UserSlice::new(VirtualAddress::new(0x1000), 8));
        assert_eq!(destination.write(b"abc"), Err(Errno::EFAULT));
        assert_eq!(destination.transferred(), 0);
    }
}
