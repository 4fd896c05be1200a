//! Waiting for descriptors: `poll`, `select`, `epoll`, event descriptors.
#![allow(unsafe_code, reason = "calls of the C library with places and slices")]

use super::prototypes::prototypes;
use super::{Errno, Returned, SignalSet, zeroed};

prototypes! {
    /// `epoll_create(2)`.
    fn epoll_create(size: i32) -> i32;
    /// `epoll_create1(2)`.
    fn epoll_create1(flags: i32) -> i32;
    /// `epoll_ctl(2)`.
    fn epoll_ctl(descriptor: i32, operation: i32, target: i32, event: &mut libc::epoll_event) -> i32;
    /// `eventfd(2)`.
    fn eventfd(value: u32, flags: i32) -> i32;
}

/// `poll(2)`; a timeout of -1 milliseconds is none.
///
/// # Errors
/// As the kernel gives them.
pub fn poll(entries: &mut [libc::pollfd], milliseconds: i32) -> Result<i32, Errno> {
    // SAFETY: the entries with their number.
    unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as u64, milliseconds) }.check()
}

/// `ppoll(2)`.
///
/// # Errors
/// As the kernel gives them.
pub fn ppoll(entries: &mut [libc::pollfd], time: &libc::timespec, mask: &SignalSet) -> Result<i32, Errno> {
    // SAFETY: the entries with their number; a time and a set.
    unsafe { libc::ppoll(entries.as_mut_ptr(), entries.len() as u64, time, mask.raw()) }.check()
}

/// `epoll_wait(2)` for as many events as there is room for.
///
/// # Errors
/// As the kernel gives them.
pub fn epoll_wait(descriptor: i32, events: &mut [libc::epoll_event], milliseconds: i32) -> Result<i32, Errno> {
    // SAFETY: a place for that many events.
    unsafe { libc::epoll_wait(descriptor, events.as_mut_ptr(), events.len() as i32, milliseconds) }.check()
}

/// A set of descriptors below 1,024.
#[derive(Clone, Copy)]
pub struct DescriptorSet(libc::fd_set);

impl std::fmt::Debug for DescriptorSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries((0..1024).filter(|descriptor| self.contains(*descriptor))).finish()
    }
}

impl DescriptorSet {
    /// The set of `descriptors`.
    #[must_use]
    pub fn of(descriptors: &[i32]) -> Self {
        // SAFETY: zeros are the empty set.
        let mut set = Self(unsafe { std::mem::zeroed() });
        descriptors.iter().for_each(|descriptor| set.insert(*descriptor));
        set
    }

    /// Adds one; what the set has no room for is left out.
    pub fn insert(&mut self, descriptor: i32) {
        if (0..1024).contains(&descriptor) {
            // SAFETY: the set has a bit for each descriptor below 1,024.
            unsafe { libc::FD_SET(descriptor, &mut self.0) }
        }
    }

    /// Whether it is in.
    #[must_use]
    pub fn contains(&self, descriptor: i32) -> bool {
        // SAFETY: the set has a bit for each descriptor below 1,024.
        (0..1024).contains(&descriptor) && unsafe { libc::FD_ISSET(descriptor, &self.0) }
    }
}

/// `select(2)` without exceptional conditions; it looks at the descriptors below `limit`, and writes how much time is left.
///
/// # Errors
/// As the kernel gives them.
pub fn select(
    limit: i32,
    readers: Option<&mut DescriptorSet>,
    writers: Option<&mut DescriptorSet>,
    time: Option<&mut libc::timeval>,
) -> Result<i32, Errno> {
    let pointer =
        |set: Option<&mut DescriptorSet>| set.map_or(std::ptr::null_mut(), |set| std::ptr::from_mut(&mut set.0));
    let time = time.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: the kernel looks at no more descriptors than the sets have bits.
    unsafe { libc::select(limit.min(1024), pointer(readers), pointer(writers), std::ptr::null_mut(), time) }.check()
}

/// An entry of `poll(2)`.
#[must_use]
pub fn pollfd(descriptor: i32, events: i16) -> libc::pollfd {
    libc::pollfd { fd: descriptor, events, revents: 0 }
}

/// Room for `N` events.
#[must_use]
pub fn no_events<const N: usize>() -> [libc::epoll_event; N] {
    zeroed()
}
