//! Processes and threads: placeholder types until the room is written.

pub mod resource_limits;
pub mod signal;

/// A process.
#[derive(Debug)]
pub struct Process;

/// A thread.
#[derive(Debug)]
pub struct Thread;

/// What a process may do.
#[derive(Debug)]
pub struct Credentials;

impl Process {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        1
    }
    /// What it may do.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &Credentials
    }
}

impl Credentials {
    /// Whether it holds a capability.
    #[must_use]
    pub fn may(&self, _capability: crate::security::Capability) -> bool {
        false
    }
}
