//! Small Linux programs that test a kernel.
//!
//! `conformance` prints a transcript of what each case sees: run on Linux it is the oracle, and a kernel passes when its transcript is the
//! same to the byte. So cases print nothing that may differ between two correct runs: no addresses, no process numbers, no times.
//! `hostile` throws bad arguments at every system call.
//!
//! These programs talk to the kernel through libc's thinnest wrappers, so nearly every line is an `unsafe` call; the helpers below
//! keep the cases readable.

#![allow(clippy::macro_metavars_in_unsafe, reason = "a case's arguments may need unsafe code of their own")]
#![allow(clippy::let_and_return, reason = "a call must end before its output is shown beside its result")]

pub mod cases;
pub mod checks;
pub mod counter;
pub mod runner;

pub use checks::*;

use std::ffi::CString;

/// Calls a libc function in an unsafe block and gives `Ok(value)`, or `Err(errno name)` where it returned -1.
#[macro_export]
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        {
            #[allow(unused_unsafe, reason = "an argument may hold an unsafe block of its own")]
            let value = unsafe { libc::$function($($argument),*) };
            $crate::check(value as i64)
        }
    };
}

/// Makes a system call by number and gives `Ok(value)`, or `Err(errno name)`.
#[macro_export]
macro_rules! raw {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        {
            #[allow(unused_unsafe, reason = "an argument may hold an unsafe block of its own")]
            let value = unsafe { libc::syscall($number as libc::c_long $(, $argument)*) };
            $crate::check(value)
        }
    };
}

/// A result as the transcript shows it.
pub type Outcome = Result<i64, &'static str>;

/// Turns -1 into the name of the error number.
pub fn check(value: i64) -> Outcome {
    if value == -1 { Err(errno_name(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))) } else { Ok(value) }
}

/// Whether it worked: for results whose value differs from run to run (descriptors, addresses, process numbers).
pub fn worked(outcome: Outcome) -> Result<(), &'static str> {
    outcome.map(|_| ())
}

/// A C string.
pub fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The symbolic name of an error number.
pub fn errno_name(number: i32) -> &'static str {
    macro_rules! names { ($($name:ident)*) => { match number { $(libc::$name => stringify!($name),)* _ => "E?" } } }
    names!(EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV
        ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK
        ENOSYS ENOTEMPTY ELOOP ENODATA ETIME EOVERFLOW EILSEQ ENOTSOCK EOPNOTSUPP ETIMEDOUT EINPROGRESS ECANCELED EOWNERDEAD)
}
