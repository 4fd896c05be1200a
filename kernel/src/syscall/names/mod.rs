//! What Linux calls the values of arguments: plain data, from which rows say what kind an argument is and the tracer writes.
//!
//! A [`ValueNames`] is for an argument that is one value of several, a [`BitNames`] for one that is bits (and may hold such values
//! in fields). The order is the one in which strace writes.

pub mod event;
pub mod file;
pub mod memory;
pub mod process;

/// Names of single values.
#[derive(Debug, PartialEq, Eq)]
pub struct ValueNames {
    /// What stands in the comment behind a value without a name.
    pub unknown: &'static str,
    /// The values.
    pub values: &'static [(u64, &'static str)],
}

impl ValueNames {
    /// The name of `value`.
    #[must_use]
    pub fn name(&self, value: u64) -> Option<&'static str> {
        self.values.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
    }
}

/// Bits that together hold one value of several.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldNames {
    /// Which bits.
    pub mask: u64,
    /// The values, in place.
    pub values: &'static [(u64, &'static str)],
}

/// Names of bits.
#[derive(Debug, PartialEq, Eq)]
pub struct BitNames {
    /// What stands in the comment behind bits of which none has a name.
    pub unknown: &'static str,
    /// How no bit at all is written.
    pub zero: &'static str,
    /// A field among them; written first.
    pub field: Option<FieldNames>,
    /// The bits; a name for several stands before those for each.
    pub bits: &'static [(u64, &'static str)],
}
