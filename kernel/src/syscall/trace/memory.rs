//! What the decoders read of a program's memory: an allegation, of which at most a bounded part is read.

use crate::base::VirtualAddress;
use crate::memory::user;
use alloc::vec::Vec;

/// Memory as the traced call's arguments point into it.
pub(super) trait Memory {
    /// Fills `target` from `address`; whether all of it was there.
    fn read(&self, address: u64, target: &mut [u8]) -> bool;
}

/// That of the running thread.
pub(super) struct UserMemory;

impl Memory for UserMemory {
    fn read(&self, address: u64, target: &mut [u8]) -> bool {
        user::copy_from_user(target, VirtualAddress::new(address)).is_ok()
    }
}

/// Pieces in which text is looked for its end; one never crosses a page, so that text before a hole is found.
const PIECE: usize = 64;

/// The text at `address` without its NUL, cut at `limit` bytes, and whether it ended there. `None` if its memory is missing.
pub(super) fn text(memory: &dyn Memory, address: u64, limit: usize) -> Option<(Vec<u8>, bool)> {
    let mut found = Vec::new();
    while found.len() < limit {
        let here = address.checked_add(found.len() as u64)?;
        let to_boundary = PIECE.saturating_sub(usize::try_from(here % PIECE as u64).ok()?);
        let mut piece = [0; PIECE];
        let piece = piece.get_mut(..to_boundary.min(limit.saturating_sub(found.len())))?;
        if !memory.read(here, piece) {
            return None;
        }
        match piece.iter().position(|&byte| byte == 0) {
            Some(end) => {
                found.extend_from_slice(piece.get(..end)?);
                return Some((found, true));
            }
            None => found.extend_from_slice(piece),
        }
    }
    Some((found, false))
}

/// The little-endian number of `width` bytes (at most 8) at `offset`; 0 where there is none.
pub(super) fn number(bytes: &[u8], offset: usize, width: usize) -> u64 {
    let field = bytes.get(offset..offset.saturating_add(width)).unwrap_or_default();
    field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
pub(super) mod fake {
    //! Memory of a test: bytes at an address, nothing around them.

    pub struct Fake(pub u64, pub Vec<u8>);

    impl super::Memory for Fake {
        fn read(&self, address: u64, target: &mut [u8]) -> bool {
            let source = address
                .checked_sub(self.0)
                .and_then(|offset| self.1.get(usize::try_from(offset).ok()?..)?.get(..target.len()));
            source.map(|source| target.copy_from_slice(source)).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    #[test]
    fn text_ends_at_its_nul_at_the_limit_or_not_at_all() {
        let mut bytes = vec![b'a'; 100];
        bytes.extend([0; 28]);
        let memory = Fake(64, bytes);
        assert_eq!(text(&memory, 64, 4096), Some((vec![b'a'; 100], true)));
        assert_eq!(text(&memory, 64, 10), Some((vec![b'a'; 10], false)));
        assert_eq!(text(&memory, 0, 10), None);
        assert_eq!(text(&memory, u64::MAX - 3, 10), None);
        assert_eq!(text(&Fake(64, vec![b'a'; 64]), 64, 4096), None);
    }

    #[test]
    fn numbers_are_little_endian_and_nothing_is_read_beyond() {
        assert_eq!(number(&[1, 2, 3, 4], 1, 2), 0x302);
        assert_eq!(number(&[1, 2], 1, 4), 0);
        assert_eq!(number(&[1, 2], usize::MAX, 4), 0);
    }
}
