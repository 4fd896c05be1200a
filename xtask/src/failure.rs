//! How the tool fails: a mistake in what the user asked for ends it with status 2 and one line; everything else with 1.

use std::fmt;

/// The user asked for something that cannot be: a file that is not readable, a program for another machine.
#[derive(Debug)]
pub struct UsageError(String);

impl UsageError {
    /// A mistake, told in one line.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Leaves the calling function with a [`UsageError`].
#[macro_export]
macro_rules! usage {
    ($($argument:tt)*) => {
        return Err($crate::failure::UsageError::new(format!($($argument)*)).into())
    };
}
