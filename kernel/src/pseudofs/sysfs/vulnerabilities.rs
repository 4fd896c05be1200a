//! `/sys/devices/system/cpu/vulnerabilities`: a file for each weakness of processors that Linux has a file for.

use super::Path;
use crate::arch::vulnerabilities::{self, Vulnerability};
use crate::fs::inode::Inode;
use crate::fs::pseudo::FixedDirectory;
use crate::pseudofs::append;
use alloc::sync::Arc;

/// The directory.
pub(super) fn directory(path: Path) -> Arc<dyn Inode> {
    let entries = Vulnerability::ALL.iter().fold(FixedDirectory::new(), |entries, &(name, which)| {
        entries.with(
            name,
            path.below(name).text(move |text| append!(text, "{}\n", vulnerabilities::weakest(which).text())),
        )
    });
    path.directory(entries)
}
