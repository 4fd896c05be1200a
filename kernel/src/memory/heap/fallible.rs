//! Boxes and counted references that report failure.

#![allow(unsafe_code, reason = "builds a box from memory of its own")]

use crate::base::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::alloc::Layout;
use core::ptr::NonNull;

/// A box, or `ENOMEM`.
///
/// # Errors
/// `ENOMEM`.
pub fn try_box<T>(value: T) -> Result<Box<T>, Errno> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value));
    }
    // SAFETY: the size is not zero; the memory is fresh and of the value's layout, as a box's must be.
    unsafe {
        let place = NonNull::new(alloc::alloc::alloc(layout).cast::<T>()).ok_or(Errno::ENOMEM)?;
        place.write(value);
        Ok(Box::from_raw(place.as_ptr()))
    }
}

/// A counted reference, or `ENOMEM`. Stable Rust has no fallible one: that the memory is there is tried first, and what was tried goes
/// into this CPU's magazine, from where the reference takes it.
///
/// # Errors
/// `ENOMEM`.
pub fn try_arc<T>(value: T) -> Result<Arc<T>, Errno> {
    let (layout, _) = Layout::new::<[usize; 2]>().extend(Layout::new::<T>()).map_err(|_| Errno::ENOMEM)?;
    let layout = layout.pad_to_align();
    // SAFETY: the size is not zero; freed at once with the same layout.
    unsafe {
        let place = NonNull::new(alloc::alloc::alloc(layout)).ok_or(Errno::ENOMEM)?;
        alloc::alloc::dealloc(place.as_ptr(), layout);
    }
    Ok(Arc::new(value))
}
