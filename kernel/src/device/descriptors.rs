//! The caller, as far as drivers need one: whose files a request opens and who owns what it makes.

use crate::base::{Errno, Result};
use crate::fs::{CloseOnExec, OpenFile, OpenFlags};
use crate::process;
use alloc::sync::Arc;

/// The running thread's file-system user and group; root before there is one.
#[must_use]
pub fn caller() -> (u32, u32) {
    process::thread::try_current_thread().map_or((0, 0), |thread| {
        let credentials = thread.credentials();
        (credentials.fsuid, credentials.fsgid)
    })
}

/// Gives the running process a descriptor for `file`, for requests that open something.
///
/// # Errors
/// `EMFILE`.
pub fn install(file: Arc<OpenFile>, flags: OpenFlags) -> Result<u64> {
    let thread = process::thread::try_current_thread().ok_or(Errno::EMFILE)?;
    let close = if flags.contains(OpenFlags::CLOSE_ON_EXEC) { CloseOnExec::Yes } else { CloseOnExec::No };
    let limit = thread.process().limit(process::resource_limits::Resource::OpenFiles);
    let descriptor = thread.files().install(file, limit, close)?;
    u64::try_from(descriptor.0).map_err(|_| Errno::EMFILE)
}
