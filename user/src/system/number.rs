//! Calls by their number, for arguments that no typed function would take: bad addresses, odd lengths, unknown flags.
#![allow(unsafe_code, reason = "a call by its number is checked by nobody but the kernel")]

use super::{Errno, Outcome, Plain, Returned};
use std::ffi::{CStr, CString, c_char, c_long};
use std::sync::atomic::AtomicU32;

/// What can be handed to the kernel in a register: a number as it is (widened by its sign), or the address of plain data that is
/// borrowed for the call.
pub trait Argument {
    /// The register's value.
    fn word(self) -> c_long;
}

macro_rules! numbers {
    ($($kind:ty)*) => { $(
        impl Argument for $kind {
            fn word(self) -> c_long {
                self as c_long
            }
        }
    )* };
}
numbers!(i32 u32 i64 u64 usize isize);

impl<T: Plain> Argument for &T {
    fn word(self) -> c_long {
        std::ptr::from_ref(self).expose_provenance().word()
    }
}

impl<T: Plain> Argument for &mut T {
    fn word(self) -> c_long {
        std::ptr::from_mut(self).expose_provenance().word()
    }
}

impl<T: Plain> Argument for &[T] {
    fn word(self) -> c_long {
        self.as_ptr().expose_provenance().word()
    }
}

impl<T: Plain> Argument for &mut [T] {
    fn word(self) -> c_long {
        self.as_mut_ptr().expose_provenance().word()
    }
}

impl Argument for &CStr {
    fn word(self) -> c_long {
        self.as_ptr().expose_provenance().word()
    }
}

impl Argument for &CString {
    fn word(self) -> c_long {
        self.as_c_str().word()
    }
}

/// A futex.
impl Argument for &AtomicU32 {
    fn word(self) -> c_long {
        self.as_ptr().expose_provenance().word()
    }
}

/// None is the null pointer.
impl<T: Argument> Argument for Option<T> {
    fn word(self) -> c_long {
        self.map_or(0, T::word)
    }
}

/// Strings as `execve(2)` takes them: their addresses and a null pointer.
#[derive(Debug)]
pub struct Strings<'a> {
    addresses: Vec<*const c_char>,
    borrowed: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Strings<'a> {
    /// The list of `strings`.
    pub fn new(strings: impl IntoIterator<Item = &'a CStr>) -> Self {
        let addresses = strings.into_iter().map(CStr::as_ptr).chain([std::ptr::null()]).collect();
        Self { addresses, borrowed: std::marker::PhantomData }
    }

    /// The address of the list.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.addresses.as_ptr()
    }
}

impl Argument for &Strings<'_> {
    fn word(self) -> c_long {
        self.as_ptr().expose_provenance().word()
    }
}

/// Makes the system call `number`; the arguments that are not named are 0.
///
/// # The caller's rule
/// The compiler sees to borrowed places. It cannot see that a length beside a place is no more than the place's, that a plain number in
/// an address's place names no memory of the program's other than a [`Mapping`](super::Mapping) of the case, nor that the call
/// (`munmap`, `clone`) leaves the program what it needs. A case keeps to that: its numbers are addresses where nothing is, or of its own
/// mappings.
///
/// # Errors
/// The error number that the kernel gives.
pub fn by_number<const N: usize>(number: c_long, arguments: [c_long; N]) -> Outcome {
    let word = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: the kernel reads and writes where the borrowed places are and where the caller's rule says that no Rust object is; what it
    // refuses it answers by an error number.
    unsafe { libc::syscall(number, word(0), word(1), word(2), word(3), word(4), word(5)) }.check()
}

/// Makes a system call by its number with arguments of any [`Argument`] kind: `raw!(libc::SYS_futex, &word, FUTEX_WAKE, 1)`.
#[macro_export]
macro_rules! raw {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::system::by_number($number, [$($crate::system::Argument::word($argument)),*])
    };
}

/// `fcntl(2)`; 0 where the command takes no argument.
///
/// # Errors
/// As the kernel gives them.
pub fn fcntl(descriptor: i32, command: i32, argument: impl Argument) -> Result<i32, Errno> {
    by_number(libc::SYS_fcntl, [descriptor.word(), command.word(), argument.word()]).map(low_half)
}

/// `ioctl(2)`; 0 where the request takes no argument.
///
/// # Errors
/// As the kernel gives them.
pub fn ioctl(descriptor: i32, request: u64, argument: impl Argument) -> Result<i32, Errno> {
    by_number(libc::SYS_ioctl, [descriptor.word(), request.word(), argument.word()]).map(low_half)
}

/// `prctl(2)`, whose last three arguments are 0.
///
/// # Errors
/// As the kernel gives them.
pub fn prctl(option: i32, argument: impl Argument) -> Result<i32, Errno> {
    by_number(libc::SYS_prctl, [option.word(), argument.word()]).map(low_half)
}

/// The C library gives these calls' results as an `int`.
fn low_half(value: i64) -> i32 {
    value as i32
}
