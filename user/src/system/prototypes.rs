//! How a line like `fn close(descriptor: i32) -> i32;` becomes a safe function.
#![allow(unsafe_code, reason = "one block for each prototype, in the module that lists it")]

use std::ffi::{CStr, CString, c_char};

/// A safe argument and what the C library's prototype has in its place.
pub(super) trait Pass {
    /// The C type.
    type Raw;
    /// The C value; an address is valid for as long as the argument is borrowed, which is for the call.
    fn pass(self) -> Self::Raw;
}

macro_rules! numbers {
    ($($kind:ty)*) => { $(
        impl Pass for $kind {
            type Raw = Self;
            fn pass(self) -> Self {
                self
            }
        }
    )* };
}
numbers!(i32 u32 i64 u64 usize);

impl<T> Pass for &T {
    type Raw = *const T;
    fn pass(self) -> *const T {
        self
    }
}

impl<T> Pass for &mut T {
    type Raw = *mut T;
    fn pass(self) -> *mut T {
        self
    }
}

impl Pass for &CStr {
    type Raw = *const c_char;
    fn pass(self) -> *const c_char {
        self.as_ptr()
    }
}

impl<T> Pass for Option<&T> {
    type Raw = *const T;
    fn pass(self) -> *const T {
        self.map_or(std::ptr::null(), std::ptr::from_ref)
    }
}

impl<T> Pass for Option<&mut T> {
    type Raw = *mut T;
    fn pass(self) -> *mut T {
        self.map_or(std::ptr::null_mut(), std::ptr::from_mut)
    }
}

impl Pass for Option<&CStr> {
    type Raw = *const c_char;
    fn pass(self) -> *const c_char {
        self.map_or(std::ptr::null(), CStr::as_ptr)
    }
}

/// A C string of `text`; an empty one where it has a NUL inside.
#[must_use]
pub fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Makes of each prototype a function of the same name that gives the value or the error number.
macro_rules! prototypes {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $kind:ty),* $(,)?) -> $result:ty;)*) => { $(
        $(#[$meta])*
        ///
        /// # Errors
        /// As the kernel gives them.
        pub fn $name($($argument: $kind),*) -> Result<$result, $crate::system::Errno> {
            // SAFETY: numbers, strings that end in NUL, and borrowed places of the very type that the C library's prototype names.
            let value = unsafe { libc::$name($($crate::system::prototypes::Pass::pass($argument)),*) };
            $crate::system::errno::Returned::check(value)
        }
    )* };
}
pub(super) use prototypes;
