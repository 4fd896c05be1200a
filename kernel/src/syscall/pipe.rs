//! System calls that make pipes.

use super::Call;
use super::argument::Flags;
use crate::base::{Errno, Result};
use crate::fs::{CloseOnExec, OpenFlags, pipe as pipes};
use crate::memory::user::UserPointer;
use crate::process::resource_limits::Resource;

/// `pipe`.
///
/// # Errors
/// `EMFILE`, `EFAULT`.
pub fn pipe(call: &mut Call<'_>, descriptors: UserPointer<[i32; 2]>) -> Result<()> {
    pipe2(call, descriptors, Flags(0))
}

/// `pipe2`.
///
/// # Errors
/// `EINVAL` for an unknown flag, `EMFILE`, `EFAULT`.
pub fn pipe2(call: &mut Call<'_>, descriptors: UserPointer<[i32; 2]>, flags: Flags) -> Result<()> {
    let flags = OpenFlags::from_bits(flags.0).ok_or(Errno::EINVAL)?;
    if !(OpenFlags::CLOSE_ON_EXEC | OpenFlags::NON_BLOCKING | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL);
    }
    let close = if flags.contains(OpenFlags::CLOSE_ON_EXEC) { CloseOnExec::Yes } else { CloseOnExec::No };
    let credentials = call.thread.credentials();
    let (reader, writer) = pipes::create(credentials.fsuid, credentials.fsgid, flags);
    let table = call.thread.files();
    let limit = call.process.limit(Resource::OpenFiles);
    let first = table.reserve(limit, close)?;
    let second = table.reserve(limit, close).inspect_err(|_| table.abandon(first))?;
    if let Err(error) = descriptors.write(&[first.0, second.0]) {
        table.abandon(first);
        table.abandon(second);
        return Err(error);
    }
    table.fill(first, reader);
    table.fill(second, writer);
    Ok(())
}
