//! `getrandom`.

use super::Call;
use super::argument::Flags;
use crate::base::{Errno, Result, VirtualAddress};
use crate::device::memory::read_random;
use crate::fs::IoDestination;
use crate::memory::user::{READ_WRITE_MAX, UserSlice};

const NON_BLOCKING: u32 = 1;
const RANDOM: u32 = 2;
const INSECURE: u32 = 4;

/// `getrandom`. The generator is seeded at boot, so that no call waits.
///
/// # Errors
/// `EINVAL` for an unknown flag or both `GRND_RANDOM` and `GRND_INSECURE`, `EFAULT`.
pub fn getrandom(_call: &mut Call<'_>, buffer: VirtualAddress, length: usize, flags: Flags) -> Result<usize> {
    if flags.0 & !(NON_BLOCKING | RANDOM | INSECURE) != 0 || flags.0 & (RANDOM | INSECURE) == RANDOM | INSECURE {
        return Err(Errno::EINVAL);
    }
    let slice = UserSlice::new(buffer, length.min(READ_WRITE_MAX));
    slice.check()?;
    read_random(&mut IoDestination::user(slice))
}
