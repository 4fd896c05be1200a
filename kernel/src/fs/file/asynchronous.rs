//! Telling by signal that a file is ready: `O_ASYNC` (fcntl(2)).
//!
//! A kind of file that can tell has [`Listeners`] for each direction. An open file joins them when its `O_ASYNC` is set ([`set`]); each change
//! of that direction then sends the signal of its owner ([`FileOwner`](super::FileOwner)), whatever anybody has read in between. As on Linux, kinds that cannot tell leave
//! the flag as it is, and the descriptor named is the one by which the flag was set.
//!
//! Lock: the list's, of rank `FileObject`, held while it is looked at and never while a signal is sent. Whoever tells holds no lock.

use super::OpenFile;
use crate::base::{Errno, Result};
use crate::fs::signal_hook::{self, Readiness};
use crate::sync::{LockRank, SpinLock};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An open file that wants to hear.
struct Listener {
    file: Weak<OpenFile>,
    descriptor: i32,
}

/// Whether an open file is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// Yes.
    On,
    /// No.
    Off,
}

/// Who hears of one direction of one file.
pub struct Listeners {
    /// Whether there ever was one: nothing else is looked at before.
    used: AtomicBool,
    list: SpinLock<Vec<Listener>>,
}

impl Listeners {
    /// Nobody. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: AtomicBool::new(false), list: SpinLock::new(LockRank::FileObject, Vec::new()) }
    }

    /// Tells those who listen. Thread context, no lock held.
    #[inline]
    pub fn tell(&self, readiness: Readiness) {
        if self.used.load(Relaxed) {
            self.tell_all(readiness);
        }
    }

    #[cold]
    fn tell_all(&self, readiness: Readiness) {
        let listening: Vec<_> = {
            let mut list = self.list.lock();
            list.retain(|listener| listener.file.strong_count() != 0);
            list.iter().filter_map(|listener| Some((listener.file.upgrade()?, listener.descriptor))).collect()
        };
        for (file, descriptor) in listening {
            signal_hook::send_to_owner(&file.owner(), readiness, descriptor);
        }
    }

    fn change(&self, file: &Arc<OpenFile>, descriptor: i32, telling: Telling) -> Result<()> {
        let mut list = self.list.lock();
        let is_it = |listener: &Listener| core::ptr::eq(listener.file.as_ptr(), Arc::as_ptr(file));
        match (telling, list.iter_mut().find(|listener| is_it(listener))) {
            (Telling::On, Some(listener)) => listener.descriptor = descriptor,
            (Telling::On, None) => {
                list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                list.push(Listener { file: Arc::downgrade(file), descriptor });
                self.used.store(true, Relaxed);
            }
            (Telling::Off, _) => list.retain(|listener| !is_it(listener)),
        }
        Ok(())
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Listeners {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Listeners").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Whether `file` can tell at all.
#[must_use]
pub fn can_tell(file: &OpenFile) -> bool {
    file.operations().listeners().iter().any(Option::is_some)
}

/// `file` is to be told, or not any more, by `descriptor`.
///
/// # Errors
/// `ENOMEM`.
pub fn set(file: &Arc<OpenFile>, descriptor: i32, telling: Telling) -> Result<()> {
    file.operations()
        .listeners()
        .into_iter()
        .flatten()
        .try_for_each(|listeners| listeners.change(file, descriptor, telling))
}
