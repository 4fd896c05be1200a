//! A mutex that outlives its holder.
#![allow(unsafe_code, reason = "the C library's mutex lies in memory that processes share")]

use super::{Errno, Mapping};

/// A robust mutex of the C library, shared between processes: who takes it after its holder has died is told so.
#[derive(Debug)]
pub struct RobustMutex {
    memory: Mapping,
}

impl RobustMutex {
    /// A new one, in memory that children share.
    #[must_use]
    pub fn new() -> Self {
        Self::with_protocol(libc::PTHREAD_PRIO_NONE)
    }

    /// A new one with a protocol: `PTHREAD_PRIO_INHERIT`, say.
    #[must_use]
    pub fn with_protocol(protocol: i32) -> Self {
        let mutex = Self { memory: Mapping::shared(1) };
        // SAFETY: zeros are a place for attributes, which are initialised before they are used; the page holds nothing but the mutex.
        unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut attributes);
            libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutexattr_setprotocol(&mut attributes, protocol);
            libc::pthread_mutex_init(mutex.place(), &attributes);
        }
        mutex
    }

    /// The C library's mutex: at the start of the page, which lives as long as `self`.
    fn place(&self) -> *mut libc::pthread_mutex_t {
        std::ptr::with_exposed_provenance_mut(self.memory.start())
    }

    /// `pthread_mutex_lock(3)`: what it returns.
    #[must_use]
    pub fn lock(&self) -> Errno {
        // SAFETY: an initialised mutex.
        Errno(unsafe { libc::pthread_mutex_lock(self.place()) })
    }

    /// `pthread_mutex_consistent(3)`: what it returns.
    #[must_use]
    pub fn make_consistent(&self) -> i32 {
        // SAFETY: an initialised mutex.
        unsafe { libc::pthread_mutex_consistent(self.place()) }
    }

    /// `pthread_mutex_unlock(3)`: what it returns.
    #[must_use]
    pub fn unlock(&self) -> i32 {
        // SAFETY: an initialised mutex; the C library refuses who does not hold it.
        unsafe { libc::pthread_mutex_unlock(self.place()) }
    }
}

impl Default for RobustMutex {
    fn default() -> Self {
        Self::new()
    }
}
