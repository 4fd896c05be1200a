//! Error numbers: what a failed call gives.

use std::fmt;

/// An error number. It shows itself by its symbolic name, which is the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a call by its number gives, and what many cases pass around.
pub type Outcome = Result<i64, Errno>;

impl Errno {
    /// That of the call that failed last in this thread.
    #[must_use]
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Its symbolic name.
    #[must_use]
    pub fn name(self) -> &'static str {
        macro_rules! names { ($($name:ident)*) => { match self.0 { $(libc::$name => stringify!($name),)* _ => "E?" } } }
        names!(EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV
            ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK
            ENOSYS ENOTEMPTY ELOOP ENODATA ETIME EOVERFLOW EILSEQ ENOTSOCK EOPNOTSUPP ETIMEDOUT EINPROGRESS ECANCELED EOWNERDEAD)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// In quotation marks: the recordings hold names as texts.
impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name(), formatter)
    }
}

/// What a C function returns where -1 says that `errno` tells more.
pub(super) trait Returned: Sized {
    /// The value, or the error that the thread's `errno` names. To be called before anything else can change that.
    fn check(self) -> Result<Self, Errno>;
}

macro_rules! returned {
    ($($kind:ty)*) => { $(
        impl Returned for $kind {
            fn check(self) -> Result<Self, Errno> {
                if self == -1 { Err(Errno::last()) } else { Ok(self) }
            }
        }
    )* };
}
returned!(i32 i64 isize);

/// Whether it worked: for results whose value differs from run to run (descriptors, addresses, process numbers).
pub fn worked<T>(outcome: Result<T, Errno>) -> Result<(), Errno> {
    outcome.map(|_| ())
}

/// What a case cannot go on without.
pub trait Must<T> {
    /// The value. Where there is none the process says why on standard error and ends with status 101, which its transcript shows.
    fn must(self) -> T;
}

impl<T, E: fmt::Debug> Must<T> for Result<T, E> {
    fn must(self) -> T {
        self.unwrap_or_else(|error| {
            eprintln!("the case cannot go on: {error:?}");
            std::process::exit(101)
        })
    }
}
