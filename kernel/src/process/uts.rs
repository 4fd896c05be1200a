//! What `uname` tells: one set of names, until there are UTS namespaces.

use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock};
use arrayvec::ArrayVec;

/// The longest host or domain name (`__NEW_UTS_LEN`).
pub const NAME_MAX: usize = 64;
/// The release: that of the Linux interface which Ashlar follows, and its own name. Programs compare its beginning.
pub const RELEASE: &str = concat!("6.12.0-ashlar-", env!("CARGO_PKG_VERSION"));
/// The version of the build.
pub const VERSION: &str = concat!("#1 SMP PREEMPT Ashlar ", env!("CARGO_PKG_VERSION"));

/// A name of at most [`NAME_MAX`] bytes.
pub type HostName = ArrayVec<u8, NAME_MAX>;

/// What both names are before anybody sets them.
const UNSET: &[u8] = b"(none)";

static HOST: SpinLock<Option<HostName>> = SpinLock::new(LockRank::ProcessTable, None);
static DOMAIN: SpinLock<Option<HostName>> = SpinLock::new(LockRank::ProcessTable, None);

/// The host's name.
#[must_use]
pub fn host_name() -> HostName {
    get(&HOST)
}

/// The NIS domain's name.
#[must_use]
pub fn domain_name() -> HostName {
    get(&DOMAIN)
}

/// Sets the host's name.
///
/// # Errors
/// `EINVAL`: longer than [`NAME_MAX`].
pub fn set_host_name(name: &[u8]) -> Result<()> {
    set(&HOST, name)
}

/// Sets the NIS domain's name.
///
/// # Errors
/// `EINVAL`: longer than [`NAME_MAX`].
pub fn set_domain_name(name: &[u8]) -> Result<()> {
    set(&DOMAIN, name)
}

fn get(lock: &SpinLock<Option<HostName>>) -> HostName {
    lock.lock().clone().unwrap_or_else(|| UNSET.iter().copied().collect())
}

fn set(lock: &SpinLock<Option<HostName>>, name: &[u8]) -> Result<()> {
    let name = HostName::try_from(name).map_err(|_| Errno::EINVAL)?;
    *lock.lock() = Some(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_whole_or_refused() {
        assert_eq!(set_domain_name(&[b'x'; 65]), Err(Errno::EINVAL));
        set_domain_name(&[b'x'; 64]).unwrap();
        assert_eq!(domain_name().as_slice(), [b'x'; 64]);
    }
}
