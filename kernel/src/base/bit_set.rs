//! Sets of small numbers, a bit for each: the algebra that sets of CPUs, nodes, capabilities and signals share.
//!
//! [`BitSet`] knows numbers only. A set of something is a type of its own around a `BitSet<1>`: it says by a function `single` which bit stands for a
//! member, and [`set_operations`] gives it the rest, so that sets of different things are never mixed. One word compiles to what a `u64` would.

use core::fmt;
use core::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits in a word.
const WORD: u32 = u64::BITS;

/// A set of the numbers from 0 to `64 * WORDS - 1`. Others are in no set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct BitSet<const WORDS: usize>([u64; WORDS]);

/// `$left` with each word changed by the word of `$right`.
macro_rules! by_words {
    ($left:expr, $right:expr, |$one:ident, $other:ident| $result:expr) => {{
        let mut words = $left.0;
        let mut index = 0;
        while index < WORDS {
            let ($one, $other) = (words[index], $right.0[index]);
            words[index] = $result;
            index += 1;
        }
        Self(words)
    }};
}

impl<const WORDS: usize> BitSet<WORDS> {
    /// No number.
    pub const EMPTY: Self = Self([0; WORDS]);
    /// All of them.
    pub const FULL: Self = Self([u64::MAX; WORDS]);
    /// How many there are.
    const BITS: u32 = WORDS as u32 * WORD;

    /// The numbers whose bits are set; number 0's is the lowest of the first word.
    #[must_use]
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }
    /// A bit for each number.
    #[must_use]
    pub const fn words(self) -> [u64; WORDS] {
        self.0
    }
    /// `number` alone.
    #[must_use]
    pub const fn single(number: u32) -> Self {
        let mut words = [0; WORDS];
        if number < Self::BITS {
            words[(number / WORD) as usize] = 1 << (number % WORD);
        }
        Self(words)
    }
    /// The numbers below `count`.
    #[must_use]
    pub const fn below(count: u32) -> Self {
        let mut words = [0; WORDS];
        let mut index = 0;
        while index < WORDS {
            let rest = count.saturating_sub(index as u32 * WORD);
            words[index] = if rest < WORD { (1 << rest) - 1 } else { u64::MAX };
            index += 1;
        }
        Self(words)
    }
    /// Whether `number` is in it.
    #[must_use]
    pub const fn contains(self, number: u32) -> bool {
        number < Self::BITS && self.0[(number / WORD) as usize] >> (number % WORD) & 1 != 0
    }
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        let mut index = 0;
        while index < WORDS {
            if self.0[index] != 0 {
                return false;
            }
            index += 1;
        }
        true
    }
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        let (mut index, mut count) = (0, 0);
        while index < WORDS {
            count += self.0[index].count_ones();
            index += 1;
        }
        count
    }
    /// Those of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        by_words!(self, other, |one, other| one | other)
    }
    /// Those of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        by_words!(self, other, |one, other| one & other)
    }
    /// Those that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        by_words!(self, other, |one, other| one & !other)
    }
    /// All that are not in it.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self::FULL.difference(self)
    }
    /// Whether there is one that is in `other` too.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        !self.intersection(other).is_empty()
    }
    /// Whether all of them are in `other`.
    #[must_use]
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.difference(other).is_empty()
    }
    /// The lowest.
    #[must_use]
    pub const fn first(self) -> Option<u32> {
        let mut index = 0;
        while index < WORDS {
            if self.0[index] != 0 {
                return Some(index as u32 * WORD + self.0[index].trailing_zeros());
            }
            index += 1;
        }
        None
    }
    /// Takes the lowest out.
    #[inline]
    pub const fn take_first(&mut self) -> Option<u32> {
        let mut index = 0;
        while index < WORDS {
            let word = self.0[index];
            if word != 0 {
                self.0[index] = word & (word - 1);
                return Some(index as u32 * WORD + word.trailing_zeros());
            }
            index += 1;
        }
        None
    }
    /// The highest.
    #[must_use]
    pub const fn last(self) -> Option<u32> {
        let mut index = WORDS;
        while index > 0 {
            index -= 1;
            if self.0[index] != 0 {
                return Some(index as u32 * WORD + WORD - 1 - self.0[index].leading_zeros());
            }
        }
        None
    }
    /// How many of them are below `number`.
    #[must_use]
    pub const fn rank(self, number: u32) -> u32 {
        self.intersection(Self::below(number)).count()
    }
    /// They as what they number, from the lowest up.
    #[must_use]
    pub const fn members<M>(self) -> Members<M, WORDS> {
        Members { rest: self, members: PhantomData }
    }
    /// From the lowest up.
    #[must_use]
    pub const fn iter(self) -> Members<u32, WORDS> {
        self.members()
    }
}

impl BitSet<1> {
    /// The only word.
    #[must_use]
    pub const fn word(self) -> u64 {
        let [word] = self.0;
        word
    }
}

impl<const WORDS: usize> Default for BitSet<WORDS> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const WORDS: usize> fmt::Debug for BitSet<WORDS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

/// As Linux writes a list: `0-2,5`; nothing for the empty set.
impl<const WORDS: usize> fmt::Display for BitSet<WORDS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut separator = "";
        while let Some(start) = rest.first() {
            let end = rest.union(Self::below(start)).complement().first().unwrap_or(Self::BITS);
            match end - start {
                1 => write!(formatter, "{separator}{start}")?,
                _ => write!(formatter, "{separator}{start}-{}", end - 1)?,
            }
            separator = ",";
            rest = rest.difference(Self::below(end));
        }
        Ok(())
    }
}

/// What a number of a set stands for.
pub trait Member {
    /// That of `number`, which is below the size of the set.
    fn numbered(number: u32) -> Self;
}

impl Member for u32 {
    fn numbered(number: u32) -> Self {
        number
    }
}

/// The members of a set, from the lowest number up.
#[derive(Clone, Debug)]
pub struct Members<M, const WORDS: usize> {
    rest: BitSet<WORDS>,
    members: PhantomData<fn() -> M>,
}

impl<M: Member, const WORDS: usize> Iterator for Members<M, WORDS> {
    type Item = M;
    #[inline]
    fn next(&mut self) -> Option<M> {
        self.rest.take_first().map(M::numbered)
    }
}

/// Gives a type around a [`BitSet<1>`](BitSet) the operations that all sets have. The type has a `const fn single`, the set of one member.
macro_rules! set_operations {
    ($set:ident of $member:ty) => {
        impl $set {
            /// The empty set.
            pub const EMPTY: Self = Self($crate::base::BitSet::EMPTY);

            /// A bit for each member, as Linux numbers them.
            #[must_use]
            #[inline]
            pub const fn bits(self) -> u64 {
                self.0.word()
            }
            /// Whether `member` is in it.
            #[must_use]
            #[inline]
            pub const fn contains(self, member: $member) -> bool {
                self.0.intersects(Self::single(member).0)
            }
            /// Whether there is nothing in it.
            #[must_use]
            #[inline]
            pub const fn is_empty(self) -> bool {
                self.0.is_empty()
            }
            /// With `member`.
            #[must_use]
            #[inline]
            pub const fn with(self, member: $member) -> Self {
                self.union(Self::single(member))
            }
            /// Without `member`.
            #[must_use]
            #[inline]
            pub const fn without(self, member: $member) -> Self {
                self.difference(Self::single(member))
            }
            /// What is in either.
            #[must_use]
            #[inline]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0.union(other.0))
            }
            /// What is in both.
            #[must_use]
            #[inline]
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0.intersection(other.0))
            }
            /// What is in this and not in `other`.
            #[must_use]
            #[inline]
            pub const fn difference(self, other: Self) -> Self {
                Self(self.0.difference(other.0))
            }
            /// Whether everything here is in `other` too.
            #[must_use]
            #[inline]
            pub const fn is_subset_of(self, other: Self) -> bool {
                self.0.is_subset_of(other.0)
            }
        }
    };
}
pub(crate) use set_operations;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::string::ToString;
    use std::vec::Vec;

    type Model = BTreeSet<u32>;

    fn set_of<const WORDS: usize>(model: &Model) -> BitSet<WORDS> {
        model.iter().fold(BitSet::EMPTY, |set, number| set.union(BitSet::single(*number)))
    }

    fn agrees<const WORDS: usize>(left: &Model, right: &Model, number: u32) {
        let size = WORDS as u32 * WORD;
        let inside = |model: &Model| model.iter().copied().filter(|number| *number < size).collect::<Model>();
        let (left, right) = (inside(left), inside(right));
        let (one, other): (BitSet<WORDS>, BitSet<WORDS>) = (set_of(&left), set_of(&right));
        assert_eq!(one.iter().collect::<Vec<_>>(), left.iter().copied().collect::<Vec<_>>());
        assert_eq!(one.union(other), set_of(&(&left | &right)));
        assert_eq!(one.intersection(other), set_of(&(&left & &right)));
        assert_eq!(one.difference(other), set_of(&(&left - &right)));
        assert_eq!(one.complement(), set_of(&(0..size).filter(|number| !left.contains(number)).collect()));
        assert_eq!(one.intersects(other), !left.is_disjoint(&right));
        assert_eq!(one.is_subset_of(other), left.is_subset(&right));
        assert_eq!((one.is_empty(), one.count() as usize), (left.is_empty(), left.len()));
        assert_eq!((one.first(), one.last()), (left.first().copied(), left.last().copied()));
        assert_eq!(one.contains(number), left.contains(&number));
        assert_eq!(one.rank(number) as usize, left.range(..number).count());
        assert_eq!(BitSet::<WORDS>::below(number), set_of(&(0..number.min(size)).collect()));
        assert_eq!(BitSet::from_words(one.words()), one);
    }

    proptest! {
        #[test]
        fn sets_agree_with_a_model(
            left in proptest::collection::btree_set(0u32..200, 0..40),
            right in proptest::collection::btree_set(0u32..200, 0..40),
            number in 0u32..200,
        ) {
            agrees::<1>(&left, &right, number);
            agrees::<3>(&left, &right, number);
        }
    }

    #[test]
    fn lists_are_written_as_linux_writes_them() {
        for (bits, text) in
            [(0, ""), (1, "0"), (0b10_1111, "0-3,5"), (0b11 << 62 | 1, "0,62-63"), (0b110, "1-2"), (u64::MAX, "0-63")]
        {
            assert_eq!(BitSet::from_words([bits]).to_string(), text);
        }
        assert_eq!(BitSet::from_words([1 << 63, 1, 0]).to_string(), "63-64");
        assert_eq!(BitSet::<2>::FULL.to_string(), "0-127");
    }
}
