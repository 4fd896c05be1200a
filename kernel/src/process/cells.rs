//! Cells whose guard is not a lock of their own.
//!
//! - [`TableCell<T>`]: a process's relations, guarded by the one process-table lock; reached by showing a [`TableWitness`], which the table's
//!   guard is.
//! - [`OwnedCell<T>`]: a counted pointer that only its *owner* replaces (the running thread its file table, say). The owner reads it with
//!   no lock at all, which is what a system call does; everybody else reads it under the cell's lock, which the owner takes to replace it.

#![allow(unsafe_code, reason = "these cells hand out what their protocol guards")]

use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use alloc::sync::Arc;
use core::cell::UnsafeCell;

/// Shows that the process table's lock is held.
///
/// # Safety
/// Of all types that implement it there is at most one value at a time, and whoever has it holds the lock.
pub unsafe trait TableWitness {}

/// A value guarded by the process table's lock.
pub struct TableCell<T>(UnsafeCell<T>);

// SAFETY: the value is reached only with the one witness that exists at a time, so sharing the cell needs only `Send`.
unsafe impl<T: Send> Sync for TableCell<T> {}

impl<T> TableCell<T> {
    /// A cell around `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
    /// The value, to read, for as long as the witness is borrowed.
    #[inline]
    pub fn get<'a>(&'a self, _witness: &'a impl TableWitness) -> &'a T {
        // SAFETY: there is one witness at a time, and while it is borrowed shared nobody has it exclusively.
        unsafe { &*self.0.get() }
    }
    /// The value, to change. The witness is borrowed exclusively, so that only one cell at a time is open for change.
    #[inline]
    pub fn get_mut<'a>(&'a self, _witness: &'a mut impl TableWitness) -> &'a mut T {
        // SAFETY: there is one witness at a time, and it is borrowed exclusively for the result's life.
        unsafe { &mut *self.0.get() }
    }
}

/// A counted pointer, or none, that its owner alone replaces.
pub struct OwnedCell<T> {
    lock: SpinLock<(), InterruptsDisabled>,
    value: UnsafeCell<Option<Arc<T>>>,
}

// SAFETY: readers clone the pointer under the lock or as the owner, who alone writes, under the lock.
unsafe impl<T: Send + Sync> Sync for OwnedCell<T> {}

impl<T> OwnedCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: Option<Arc<T>>) -> Self {
        Self { lock: SpinLock::new(LockRank::Thread, ()), value: UnsafeCell::new(value) }
    }
    /// The pointer, for anybody.
    #[inline]
    pub fn get(&self) -> Option<Arc<T>> {
        let _guard = self.lock.lock();
        // SAFETY: the writer takes the lock.
        unsafe { (*self.value.get()).clone() }
    }
    /// The pointer, for the owner: no lock.
    ///
    /// # Safety
    /// The caller runs as the owner, so that nobody else can be in [`Self::replace`].
    #[inline]
    pub unsafe fn get_as_owner(&self) -> Option<Arc<T>> {
        // SAFETY: the only writer is the caller itself, which is here and not there.
        unsafe { (*self.value.get()).clone() }
    }
    /// What `look` finds in it, for the owner: neither lock nor count.
    ///
    /// # Safety
    /// As [`Self::get_as_owner`]; `look` does not replace it.
    #[inline]
    pub unsafe fn look_as_owner<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: as above, and the pointer stays for as long as the only writer is in `look`.
        unsafe { (*self.value.get()).as_deref().map(look) }
    }
    /// Puts `value` in and gives the old one back, to be dropped where that may sleep.
    ///
    /// # Safety
    /// The caller runs as the owner, or the owner has not started yet.
    pub unsafe fn replace(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let _guard = self.lock.lock();
        // SAFETY: other readers are kept out by the lock, the owner by being the caller.
        unsafe { core::mem::replace(&mut *self.value.get(), value) }
    }
}
