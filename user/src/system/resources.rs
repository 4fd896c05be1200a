//! Limits, priorities, scheduling, and what was used.
#![allow(unsafe_code, reason = "calls of the C library with places")]

use super::Errno;
use super::prototypes::prototypes;

prototypes! {
    /// `getrlimit(2)`.
    fn getrlimit(resource: u32, limit: &mut libc::rlimit) -> i32;
    /// `setrlimit(2)`.
    fn setrlimit(resource: u32, limit: &libc::rlimit) -> i32;
    /// `getrusage(2)`.
    fn getrusage(who: i32, usage: &mut libc::rusage) -> i32;
    /// `nice(2)`; a new value of -1 shows as an error.
    fn nice(increment: i32) -> i32;
    /// `getpriority(2)`; a priority of -1 shows as an error.
    fn getpriority(which: u32, who: u32) -> i32;
    /// `setpriority(2)`.
    fn setpriority(which: u32, who: u32, priority: i32) -> i32;
    /// `sched_yield(2)`.
    fn sched_yield() -> i32;
    /// `sched_getscheduler(2)`.
    fn sched_getscheduler(process: i32) -> i32;
    /// `sched_setscheduler(2)`.
    fn sched_setscheduler(process: i32, policy: i32, parameter: &libc::sched_param) -> i32;
    /// `sched_get_priority_max(2)`.
    fn sched_get_priority_max(policy: i32) -> i32;
    /// `sched_get_priority_min(2)`.
    fn sched_get_priority_min(policy: i32) -> i32;
}

/// Sets the soft and the hard limit to `value`.
///
/// # Errors
/// As the kernel gives them.
pub fn limit(resource: u32, value: u64) -> Result<i32, Errno> {
    setrlimit(resource, &libc::rlimit { rlim_cur: value, rlim_max: value })
}
