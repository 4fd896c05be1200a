//! Clocks, sleeping and timers.
#![allow(unsafe_code, reason = "calls of the C library with places")]

use super::prototypes::prototypes;

prototypes! {
    /// `clock_gettime(2)`, where the C library takes it from: the vDSO.
    fn clock_gettime(clock: i32, time: &mut libc::timespec) -> i32;
    /// `clock_getres(2)`.
    fn clock_getres(clock: i32, resolution: &mut libc::timespec) -> i32;
    /// `clock_settime(2)`.
    fn clock_settime(clock: i32, time: &libc::timespec) -> i32;
    /// `nanosleep(2)`.
    fn nanosleep(time: &libc::timespec, left: Option<&mut libc::timespec>) -> i32;
    /// `usleep(3)`, in microseconds.
    fn usleep(microseconds: u32) -> i32;
    /// `getitimer(2)`.
    fn getitimer(which: i32, setting: &mut libc::itimerval) -> i32;
    /// `setitimer(2)`.
    fn setitimer(which: i32, setting: &libc::itimerval, old: Option<&mut libc::itimerval>) -> i32;
    /// `timerfd_create(2)`.
    fn timerfd_create(clock: i32, flags: i32) -> i32;
    /// `timerfd_settime(2)`.
    fn timerfd_settime(descriptor: i32, flags: i32, setting: &libc::itimerspec, old: Option<&mut libc::itimerspec>) -> i32;
    /// `adjtimex(2)`.
    fn adjtimex(adjustment: &mut libc::timex) -> i32;
}

/// `alarm(2)`: the seconds that were left of the one before.
pub fn alarm(seconds: u32) -> u32 {
    // SAFETY: a number.
    unsafe { libc::alarm(seconds) }
}

/// A timer that expires every `microseconds`.
#[must_use]
pub fn every(microseconds: i64) -> libc::itimerval {
    let interval = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    libc::itimerval { it_interval: interval, it_value: interval }
}
