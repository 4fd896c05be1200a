//! Plain data: what the kernel may fill in and what may begin as zeros.
#![allow(unsafe_code, reason = "the marker of plain data is a promise about each type")]

/// A type whose every bit pattern, zeros before all, is a value.
///
/// # Safety
/// That is what an implementor must be; and it owns nothing, so that it may be overwritten.
pub unsafe trait Plain: Sized {}

macro_rules! plain {
    ($($kind:ty)*) => {
        // SAFETY: integers, and C structures of integers, arrays and raw pointers of the kernel's interface: any bits are a value.
        $(unsafe impl Plain for $kind {})*
    };
}
plain!(u8 i8 u16 i16 u32 i32 u64 i64 usize isize);
plain!(libc::epoll_event libc::flock libc::itimerspec libc::itimerval libc::pollfd libc::rlimit libc::rusage libc::sched_param libc::sigaction
    libc::sigevent libc::siginfo_t libc::signalfd_siginfo libc::sigset_t libc::stack_t libc::stat libc::statx libc::sysinfo libc::termios
    libc::timespec libc::timeval libc::timex libc::utsname libc::winsize);

// SAFETY: an array of plain values is one.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// A value of zeros.
#[must_use]
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: zeros are a value of a plain type.
    unsafe { std::mem::zeroed() }
}
