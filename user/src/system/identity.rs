//! Users, groups, sessions, and the names of the machine.
#![allow(unsafe_code, reason = "calls of the C library with places and slices")]

use super::prototypes::prototypes;
use super::{Errno, Returned};
use std::ffi::CStr;

prototypes! {
    /// `setuid(2)`.
    fn setuid(user: u32) -> i32;
    /// `seteuid(2)`.
    fn seteuid(user: u32) -> i32;
    /// `setreuid(2)`.
    fn setreuid(real: u32, effective: u32) -> i32;
    /// `setresuid(2)`.
    fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
    /// `setgid(2)`.
    fn setgid(group: u32) -> i32;
    /// `setresgid(2)`.
    fn setresgid(real: u32, effective: u32, saved: u32) -> i32;
    /// `getresuid(2)`.
    fn getresuid(real: &mut u32, effective: &mut u32, saved: &mut u32) -> i32;
    /// `getresgid(2)`.
    fn getresgid(real: &mut u32, effective: &mut u32, saved: &mut u32) -> i32;
    /// `setpgid(2)`.
    fn setpgid(process: i32, group: i32) -> i32;
    /// `getpgid(2)`.
    fn getpgid(process: i32) -> i32;
    /// `setsid(2)`.
    fn setsid() -> i32;
    /// `getsid(2)`.
    fn getsid(process: i32) -> i32;
    /// `uname(2)`.
    fn uname(names: &mut libc::utsname) -> i32;
    /// `sysinfo(2)`.
    fn sysinfo(information: &mut libc::sysinfo) -> i32;
}

/// `getpgrp(2)`, which always works.
#[must_use]
pub fn getpgrp() -> i32 {
    // SAFETY: no argument.
    unsafe { libc::getpgrp() }
}

/// `setgroups(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn setgroups(groups: &[u32]) -> Result<i32, Errno> {
    // SAFETY: the groups with their number.
    unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }.check()
}

/// `getgroups(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn getgroups(groups: &mut [u32]) -> Result<i32, Errno> {
    // SAFETY: a place for that many groups.
    unsafe { libc::getgroups(groups.len() as i32, groups.as_mut_ptr()) }.check()
}

/// `sethostname(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn sethostname(name: &CStr) -> Result<i32, Errno> {
    // SAFETY: the name with its length.
    unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }.check()
}

/// A field of `uname(2)`, up to its NUL.
#[must_use]
pub fn text_of(field: &[std::ffi::c_char]) -> std::ffi::CString {
    let bytes: Vec<u8> = field.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    std::ffi::CString::new(bytes).unwrap_or_default()
}

/// Switches the machine off: for the program that is its first process.
///
/// # Errors
/// As the kernel gives them.
pub fn power_off() -> Result<i32, Errno> {
    // SAFETY: a number.
    unsafe { libc::reboot(libc::RB_POWER_OFF) }.check()
}
