//! The allocator of physical frames beside its rivals.

use crate::measure::Effort;
use crate::report::Report;
use anyhow::Result;

/// Measures all of it.
pub fn run(_effort: Effort) -> Result<Report> {
    Ok(Report::new("frames", "The allocator of physical frames"))
}
