//! Making processes, waiting for them, ending and replacing them.
#![allow(unsafe_code, reason = "calls of the C library; a fork copies the process")]

use super::prototypes::prototypes;
use super::{Errno, Must, Returned, Strings};
use std::ffi::CStr;

prototypes! {
    /// `waitpid(2)`.
    fn waitpid(child: i32, status: &mut i32, options: i32) -> i32;
    /// `waitid(2)`.
    fn waitid(kind: u32, which: u32, information: &mut libc::siginfo_t, options: i32) -> i32;
    /// `kill(2)`.
    fn kill(process: i32, signal: i32) -> i32;
    /// `pause(2)`, which only fails.
    fn pause() -> i32;
}

/// Forks. The child does `work` and ends with its result as the status, without running what the process has registered for its end.
///
/// The child has a copy of the calling thread alone: where there are others, `work` makes system calls and nothing else (another thread
/// may hold a lock that nobody will give back).
///
/// # Errors
/// As the kernel gives them.
pub fn try_fork(work: impl FnOnce() -> i32) -> Result<i32, Errno> {
    // SAFETY: the child has its own copy of all memory, and leaves this function only by its end, so that nothing is dropped twice where
    // it matters; locks of other threads are the caller's rule.
    let child = unsafe { libc::fork() }.check()?;
    if child == 0 {
        exit_now(work());
    }
    Ok(child)
}

/// [`try_fork`] for a case that cannot go on without: the child's number.
pub fn fork(work: impl FnOnce() -> i32) -> i32 {
    try_fork(work).must()
}

/// Forks a child that does nothing but wait for its end.
pub fn fork_idle() -> i32 {
    fork(|| idle())
}

/// Waits for signals until one ends the process.
pub fn idle() -> ! {
    loop {
        let _ = pause();
    }
}

/// `_exit(2)`: ends the process at once, and nothing is flushed.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: a number; nothing of the process goes on.
    unsafe { libc::_exit(status) }
}

/// `wait(2)`: the number of the child that has ended and its status.
///
/// # Errors
/// As the kernel gives them.
pub fn wait() -> Result<(i32, i32), Errno> {
    let mut status = 0;
    waitpid(-1, &mut status, 0).map(|child| (child, status))
}

/// Waits until all children have ended.
pub fn wait_for_all() {
    while wait().is_ok() {}
}

/// `getpid(2)`.
#[must_use]
pub fn getpid() -> i32 {
    // SAFETY: no argument.
    unsafe { libc::getpid() }
}

/// `getppid(2)`.
#[must_use]
pub fn getppid() -> i32 {
    // SAFETY: no argument.
    unsafe { libc::getppid() }
}

/// `gettid(2)`.
#[must_use]
pub fn gettid() -> i32 {
    // SAFETY: no argument.
    unsafe { libc::gettid() }
}

/// `execve(2)`: only its failure comes back.
pub fn execve<'a>(
    path: &CStr,
    arguments: impl IntoIterator<Item = &'a CStr>,
    environment: impl IntoIterator<Item = &'a CStr>,
) -> Result<i32, Errno> {
    let (arguments, environment) = (Strings::new(arguments), Strings::new(environment));
    // SAFETY: strings that end in NUL, and lists of them that end in a null pointer.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) }.check()
}

/// `execv(3)`: with the caller's environment.
pub fn execv<'a>(path: &CStr, arguments: impl IntoIterator<Item = &'a CStr>) -> Result<i32, Errno> {
    // SAFETY: strings that end in NUL, and a list of them that ends in a null pointer.
    unsafe { libc::execv(path.as_ptr(), Strings::new(arguments).as_ptr()) }.check()
}

/// `posix_spawn(3)` with an empty environment: the child's number.
///
/// # Errors
/// As `execve(2)` gave them in the child, or the kernel without one.
pub fn spawn<'a>(path: &CStr, arguments: impl IntoIterator<Item = &'a CStr>) -> Result<i32, Errno> {
    let (arguments, environment) = (Strings::new(arguments), Strings::new([]));
    let mut child = 0;
    // SAFETY: a place for the number, strings that end in NUL and lists of them that end in null pointers; no actions and no attributes.
    let error = unsafe {
        libc::posix_spawn(
            &mut child,
            path.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr().cast(),
            environment.as_ptr().cast(),
        )
    };
    if error == 0 { Ok(child) } else { Err(Errno(error)) }
}

/// `getauxval(3)`: 0 where there is no such entry.
#[must_use]
pub fn auxiliary(kind: u64) -> u64 {
    // SAFETY: a number.
    unsafe { libc::getauxval(kind) }
}

/// The machine's name in the auxiliary vector.
#[must_use]
pub fn platform() -> String {
    let address = auxiliary(libc::AT_PLATFORM) as usize;
    if address == 0 {
        return String::new();
    }
    // SAFETY: the kernel put the address of a string that ends in NUL there, and it stays for the program's life.
    unsafe { CStr::from_ptr(std::ptr::with_exposed_provenance(address)) }.to_string_lossy().into_owned()
}
