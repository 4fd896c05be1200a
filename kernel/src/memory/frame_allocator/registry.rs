//! The regions of an allocator: a list that grows and never shrinks, read without a lock.

#![allow(unsafe_code, reason = "hands out what was written before the length said so")]

use super::map::MAXIMUM_REGIONS;
use arrayvec::ArrayVec;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use spin::Mutex;

/// The list. Invariant: the first `length` slots are written and never change; the others belong to who holds `turn`.
#[derive(Debug)]
pub struct Registry<T> {
    length: AtomicUsize,
    slots: UnsafeCell<[MaybeUninit<T>; MAXIMUM_REGIONS]>,
    /// Held by who adds. Nothing that adds can be interrupted by another that does: boot and hot-plug are thread context.
    turn: Mutex<()>,
}

// SAFETY: slots are written under `turn`, before `length` covers them, and only read after that.
unsafe impl<T: Send + Sync> Sync for Registry<T> {}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Registry<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Self {
            length: AtomicUsize::new(0),
            slots: UnsafeCell::new([const { MaybeUninit::uninit() }; MAXIMUM_REGIONS]),
            turn: Mutex::new(()),
        }
    }
    /// What is in it.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        let length = self.length.load(Ordering::Acquire);
        // SAFETY: the invariant; the slots below `length` are borrowed shared by everybody for good.
        unsafe { core::slice::from_raw_parts(self.slots.get().cast::<T>(), length) }
    }
    /// Fills it with what `make` gives, once; `again` where it is filled. After a failure it is empty still.
    pub fn fill_once<E>(
        &self,
        again: E,
        make: impl FnOnce() -> Result<ArrayVec<T, MAXIMUM_REGIONS>, E>,
    ) -> Result<(), E> {
        let _turn = self.turn.lock();
        if self.length.load(Ordering::Relaxed) > 0 {
            return Err(again);
        }
        make()?.into_iter().for_each(|item| self.write(item));
        Ok(())
    }
    /// Adds what `make` makes in view of what is there; `full` where there is no slot left.
    pub fn append<E>(&self, full: E, make: impl FnOnce(&[T]) -> Result<T, E>) -> Result<(), E> {
        let _turn = self.turn.lock();
        if self.length.load(Ordering::Relaxed) == MAXIMUM_REGIONS {
            return Err(full);
        }
        self.write(make(self.as_slice())?);
        Ok(())
    }
    /// Writes the next slot; for the holder of `turn`. What finds no slot is dropped.
    fn write(&self, item: T) {
        let length = self.length.load(Ordering::Relaxed);
        if length < MAXIMUM_REGIONS {
            // SAFETY: the slot is inside the array and is not covered by `length`, so it is the holder's of `turn` alone.
            unsafe { self.slots.get().cast::<T>().add(length).write(item) };
            self.length.store(length + 1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_filled_once_and_grows_to_its_end() {
        let list: Registry<usize> = Registry::new();
        assert_eq!(list.fill_once("again", || Err("failed")), Err("failed"));
        assert_eq!(list.fill_once("again", || Ok([1, 2].into_iter().collect())), Ok(()));
        assert_eq!(list.fill_once("again", || Ok(ArrayVec::new())), Err("again"));
        for item in 3..=MAXIMUM_REGIONS {
            assert_eq!(list.append("full", |present| Ok(present.len() + 1)), Ok(()));
            assert_eq!(list.as_slice().last(), Some(&item));
        }
        assert_eq!(list.append("full", |_| Ok(0)), Err("full"));
    }
}
