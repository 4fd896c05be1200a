//! A component of a path and its hash.

use smallvec::SmallVec;

/// `NAME_MAX`: the longest component.
pub const NAME_MAX: usize = 255;

/// A component's bytes; up to 23 without allocation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Name(SmallVec<[u8; 23]>);

impl Name {
    /// The name `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The hash of a component: eight bytes at a time, good in its high bits too (hash tables take those as tags).
#[must_use]
#[inline]
pub fn hash(name: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = name.len() as u64;
    let (words, rest) = name.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(23);
    }
    let mut last = 0u64;
    for byte in rest {
        last = last << 8 | u64::from(*byte);
    }
    let mixed = (hash ^ last).wrapping_mul(MULTIPLIER);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_hash_apart() {
        let names: Vec<String> = (0..2000).map(|number| format!("file{number}")).collect();
        let mut hashes: Vec<u64> = names.iter().map(|name| hash(name.as_bytes()) & 0xfff).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert!(hashes.len() > 1400, "{} of 4096 buckets", hashes.len());
        assert_ne!(hash(b"a"), hash(b"a\0"));
    }
}
