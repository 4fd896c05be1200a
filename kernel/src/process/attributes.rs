//! What `prctl` sets on a process or thread and nothing else needs a place of its own for.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Whose memory may be dumped and traced: `PR_SET_DUMPABLE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Dumpable {
    /// Only root's.
    No = 0,
    /// The owner's.
    Yes = 1,
    /// By root alone: after `execve` of a set-user-ID program.
    RootOnly = 2,
}

/// A process's.
#[derive(Debug)]
pub struct ProcessAttributes {
    dumpable: AtomicU8,
}

impl Default for ProcessAttributes {
    fn default() -> Self {
        Self { dumpable: AtomicU8::new(Dumpable::Yes as u8) }
    }
}

impl ProcessAttributes {
    /// See [`Dumpable`].
    #[must_use]
    pub fn dumpable(&self) -> Dumpable {
        match self.dumpable.load(Relaxed) {
            0 => Dumpable::No,
            1 => Dumpable::Yes,
            _ => Dumpable::RootOnly,
        }
    }

    /// See [`Dumpable`].
    pub fn set_dumpable(&self, dumpable: Dumpable) {
        self.dumpable.store(dumpable as u8, Relaxed);
    }
}

/// Linux's default timer slack, in nanoseconds.
const DEFAULT_SLACK: u64 = 50_000;

/// A thread's.
#[derive(Debug)]
pub struct ThreadAttributes {
    timer_slack: AtomicU64,
    default_slack: AtomicU64,
}

impl Default for ThreadAttributes {
    fn default() -> Self {
        Self { timer_slack: AtomicU64::new(DEFAULT_SLACK), default_slack: AtomicU64::new(DEFAULT_SLACK) }
    }
}

impl ThreadAttributes {
    /// Takes over `creator`'s, as a new thread or forked child does: what was set there is the default here.
    pub fn inherit(&self, creator: &Self) {
        let slack = creator.timer_slack();
        self.timer_slack.store(slack, Relaxed);
        self.default_slack.store(slack, Relaxed);
    }

    /// By how many nanoseconds sleeps may be late. Timers are exact here; the value is kept for programs that read it.
    #[must_use]
    pub fn timer_slack(&self) -> u64 {
        self.timer_slack.load(Relaxed)
    }

    /// Sets the slack; 0 goes back to what the thread started with.
    pub fn set_timer_slack(&self, slack: u64) {
        let slack = if slack == 0 { self.default_slack.load(Relaxed) } else { slack };
        self.timer_slack.store(slack, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_slack_means_the_inherited_one() {
        let parent = ThreadAttributes::default();
        parent.set_timer_slack(7);
        let child = ThreadAttributes::default();
        child.inherit(&parent);
        child.set_timer_slack(99);
        child.set_timer_slack(0);
        assert_eq!(child.timer_slack(), 7);
        let process = ProcessAttributes::default();
        process.set_dumpable(Dumpable::No);
        assert_eq!(process.dumpable(), Dumpable::No);
    }
}
