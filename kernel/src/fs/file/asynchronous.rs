//! Telling by signal that a file is ready: `O_ASYNC` (fcntl(2)).
//!
//! A kind of file that can tell has [`Listeners`] for each direction. An open file joins them when its `O_ASYNC` is set ([`set`]); each change
//! of that direction then sends the signal of its owner ([`FileOwner`](super::FileOwner)), whatever anybody has read in between. A kind may have one list for both
//! directions. As on Linux, kinds that cannot tell leave the flag as it is, the descriptor named is the one by which the flag was set, and a terminal has an owner as soon as
//! it is set ([`NaturalOwner`]).
//!
//! Lock: the list's, of rank `FileObject`, held while it is looked at and never while a signal is sent. Whoever tells holds no lock.

use super::OpenFile;
use crate::base::{Errno, Result};
use crate::fs::signal_hook::{self, Readiness};
use crate::fs::types::OpenFlags;
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

/// Who is told where nobody was named before the flag is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NaturalOwner {
    /// Nobody.
    Nobody,
    /// Who sets the flag.
    Caller,
    /// A process group.
    Group(i32),
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
        if self.are_used() {
            self.tell_all(readiness);
        }
    }

    /// Whether there is, or was, anybody who listens.
    #[inline]
    #[must_use]
    pub fn are_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// Those that cannot tell any more, because their end of the file is dead, hear no more and lose the flag. Thread context, no lock held.
    pub fn dismiss_dead(&self) {
        if !self.are_used() {
            return;
        }
        let files: Vec<_> = self.list.lock().iter().filter_map(|listener| listener.file.upgrade()).collect();
        for file in files.iter().filter(|file| file.operations().listeners().is_err()) {
            // Neither leaving a list nor giving up a flag can fail.
            let _ = self.change(file, 0, Telling::Off);
            let _ = file.set_flags(file.flags().difference(OpenFlags::ASYNCHRONOUS));
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
///
/// # Errors
/// `ENOTTY` for a terminal's that was hung up.
pub fn can_tell(file: &OpenFile) -> Result<bool> {
    Ok(file.operations().listeners()?.iter().any(Option::is_some))
}

/// `file` is to be told, or not any more, by `descriptor`.
///
/// # Errors
/// `ENOMEM`; as [`can_tell`].
pub fn set(file: &Arc<OpenFile>, descriptor: i32, telling: Telling) -> Result<()> {
    file.operations()
        .listeners()?
        .into_iter()
        .flatten()
        .try_for_each(|listeners| listeners.change(file, descriptor, telling))
}
