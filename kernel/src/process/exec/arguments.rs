//! Argument and environment strings on their way from the old program to the new one.

use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::memory::user::{UserPointer, read_c_string_into};
use alloc::vec::Vec;

/// The longest single string with its NUL (`MAX_ARG_STRLEN`).
pub const STRING_MAXIMUM: usize = 32 * PAGE_SIZE;
/// What arguments and environment together may always take (`ARG_MAX`).
const ALWAYS_ALLOWED: u64 = 131_072;
/// What they may take at most: three quarters of Linux's default stack.
const NEVER_EXCEEDED: u64 = 6 << 20;

/// What strings and their pointers may take with a stack limited to `stack` bytes.
#[must_use]
pub fn size_limit(stack: u64) -> u64 {
    (stack / 4).clamp(ALWAYS_ALLOWED, NEVER_EXCEEDED)
}

/// Strings, each with its NUL, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// No string.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0 }
    }
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }
    /// All of them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Adds a string, up to its first NUL.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn push(&mut self, string: &[u8]) -> Result<()> {
        let string = string.split(|byte| *byte == 0).next().unwrap_or(&[]);
        self.bytes.try_reserve(string.len() + 1).map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }
    /// The strings but for the first, which a script's interpreter does not get to see.
    fn after_first(&self) -> &[u8] {
        let first = self.bytes.iter().position(|byte| *byte == 0).map_or(self.bytes.len(), |end| end + 1);
        self.bytes.get(first..).unwrap_or(&[])
    }
    /// Replaces the first string by `prefix`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn replace_first(&mut self, prefix: &[&[u8]]) -> Result<()> {
        let mut new = Self::new();
        for string in prefix {
            new.push(string)?;
        }
        let rest = self.after_first();
        new.bytes.try_reserve(rest.len()).map_err(|_| Errno::ENOMEM)?;
        new.bytes.extend_from_slice(rest);
        new.count += self.count.saturating_sub(1);
        *self = new;
        Ok(())
    }
    /// Copies the strings that a null-terminated vector of user pointers names; a null vector has none. `room` is what may still be
    /// used, the pointers included, and shrinks.
    ///
    /// # Errors
    /// `EFAULT`. `E2BIG`: a string is too long, or all together are. `ENOMEM`.
    pub fn read_user(vector: VirtualAddress, room: &mut u64) -> Result<Self> {
        let mut strings = Self::new();
        if vector.value() == 0 {
            return Ok(strings);
        }
        let pointers = UserPointer::<u64>::new(vector);
        loop {
            let string = pointers.element(strings.count).read()?;
            if string == 0 {
                return Ok(strings);
            }
            take(room, size_of::<u64>())?;
            strings.read_string(VirtualAddress::new(string), room)?;
        }
    }

    fn read_string(&mut self, address: VirtualAddress, room: &mut u64) -> Result<()> {
        let start = self.bytes.len();
        let mut piece = 128;
        let mut at = address;
        loop {
            let from = self.bytes.len();
            // Never more than what is allowed, so that the limit is reached before memory ends.
            let left = usize::try_from(*room).unwrap_or(usize::MAX).saturating_sub(from - start);
            let length = piece.min(left).min(STRING_MAXIMUM - (from - start));
            if length == 0 {
                return Err(Errno::E2BIG);
            }
            if self.bytes.try_reserve(length).is_err() {
                self.bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
            }
            self.bytes.resize(from + length, 0);
            let target = self.bytes.get_mut(from..).unwrap_or(&mut []);
            if let Some(found) = read_c_string_into(at, target)? {
                self.bytes.truncate(from + found + 1);
                take(room, self.bytes.len() - start)?;
                self.count += 1;
                return Ok(());
            }
            at = at.offset(length as u64);
            piece = PAGE_SIZE;
        }
    }
}

/// Uses up `size` bytes of `room`.
///
/// # Errors
/// `E2BIG`.
pub fn take(room: &mut u64, size: usize) -> Result<()> {
    *room = room.checked_sub(size as u64).ok_or(Errno::E2BIG)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_s_name_takes_the_place_of_the_first_argument() {
        let mut strings = Strings::new();
        strings.push(b"script").unwrap();
        strings.push(b"one").unwrap();
        strings.replace_first(&[b"/bin/sh", b"-e", b"./script"]).unwrap();
        assert_eq!((strings.bytes(), strings.count()), (&b"/bin/sh\0-e\0./script\0one\0"[..], 4));
        let mut none = Strings::new();
        none.replace_first(&[b"a"]).unwrap();
        assert_eq!((none.bytes(), none.count()), (&b"a\0"[..], 1));
    }

    #[test]
    fn the_limit_is_a_quarter_of_the_stack_within_bounds() {
        assert_eq!(size_limit(8 << 20), 2 << 20);
        assert_eq!(size_limit(4096), 131_072);
        assert_eq!(size_limit(u64::MAX), 6 << 20);
        let mut room = 10;
        assert!(take(&mut room, 10).is_ok());
        assert_eq!(take(&mut room, 1), Err(Errno::E2BIG));
    }
}
