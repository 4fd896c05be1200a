//! The program that a process runs, and what keeps writers out of its files.

use crate::base::Result;
use crate::fs::OpenFile;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The program that a process runs.
#[derive(Debug)]
pub struct Program {
    /// Its file.
    pub file: Arc<OpenFile>,
    /// The auxiliary vector as it lies on the stack, for `/proc/PID/auxv`.
    pub auxiliary_vector: Vec<[u64; 2]>,
    /// Keeps writers out of the program's files.
    pub(super) _denied: Vec<DeniedWriters>,
}

/// Keeps writers out of a file (`ETXTBSY`) until dropped.
#[derive(Debug)]
pub struct DeniedWriters(Arc<OpenFile>);

impl DeniedWriters {
    /// Begins to.
    ///
    /// # Errors
    /// `ETXTBSY` while somebody may write it.
    pub(super) fn new(file: &Arc<OpenFile>) -> Result<Self> {
        if let Some(inode) = file.inode() {
            inode.header().deny_writing()?;
        }
        Ok(Self(file.clone()))
    }
}

impl Drop for DeniedWriters {
    fn drop(&mut self) {
        if let Some(inode) = self.0.inode() {
            inode.header().allow_writing();
        }
    }
}
