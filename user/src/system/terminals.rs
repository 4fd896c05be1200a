//! Terminals and pairs of them.
#![allow(unsafe_code, reason = "calls of the C library with places")]

use super::prototypes::prototypes;
use super::{Errno, Returned, c, open};

prototypes! {
    /// `tcgetattr(3)`.
    fn tcgetattr(terminal: i32, settings: &mut libc::termios) -> i32;
    /// `tcsetattr(3)`.
    fn tcsetattr(terminal: i32, when: i32, settings: &libc::termios) -> i32;
    /// `tcflush(3)`.
    fn tcflush(terminal: i32, queue: i32) -> i32;
    /// `tcdrain(3)`.
    fn tcdrain(terminal: i32) -> i32;
    /// `tcgetpgrp(3)`.
    fn tcgetpgrp(terminal: i32) -> i32;
    /// `tcsetpgrp(3)`.
    fn tcsetpgrp(terminal: i32, group: i32) -> i32;
}

/// `isatty(3)`: 1, or the error that says what it is instead.
///
/// # Errors
/// As the kernel gives them.
pub fn isatty(descriptor: i32) -> Result<i32, Errno> {
    // SAFETY: a number.
    unsafe { libc::isatty(descriptor) }.check()
}

/// `cfmakeraw(3)`.
pub fn cfmakeraw(settings: &mut libc::termios) {
    // SAFETY: settings of that type.
    unsafe { libc::cfmakeraw(settings) }
}

/// A new pair of pseudo-terminals, master and slave, neither of which becomes the controlling one.
///
/// # Errors
/// As the kernel gives them.
pub fn pseudo_terminals() -> Result<(i32, i32), Errno> {
    let master = open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0)?;
    let mut name = [0_u8; 64];
    // SAFETY: numbers; the name's place is borrowed for the call, with its length.
    unsafe {
        libc::grantpt(master).check()?;
        libc::unlockpt(master).check()?;
        libc::ptsname_r(master, name.as_mut_ptr().cast(), name.len());
    }
    let name: String = name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    Ok((master, open(&c(&name), libc::O_RDWR | libc::O_NOCTTY, 0)?))
}
