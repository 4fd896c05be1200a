//! What is left of a process at its end: its status and what it has used. Plain values.

use crate::base::Nanoseconds;

/// For `ru_maxrss`.
pub(super) const KIBIBYTES_PER_PAGE: u64 = crate::base::PAGE_SIZE as u64 / 1024;

/// CPU time and counts, as `getrusage` sums them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in user mode.
    pub user_time: Nanoseconds,
    /// Time in the kernel.
    pub system_time: Nanoseconds,
    /// Page faults that needed no I/O.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// Times it gave the CPU up itself.
    pub voluntary_switches: u64,
    /// Times it was preempted.
    pub involuntary_switches: u64,
    /// Time that it was ready and waited for a CPU, the present wait not counted.
    pub waited: Nanoseconds,
    /// Times that it was given a CPU.
    pub turns: u64,
    /// The most memory resident, in KiB: a maximum, not a sum.
    pub maximum_resident: u64,
}

impl Usage {
    /// Adds another's times and counts and takes the larger maximum.
    pub fn add(&mut self, other: &Self) {
        self.user_time = self.user_time.saturating_add(other.user_time);
        self.system_time = self.system_time.saturating_add(other.system_time);
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.waited = self.waited.saturating_add(other.waited);
        self.turns += other.turns;
        self.maximum_resident = self.maximum_resident.max(other.maximum_resident);
    }
}

/// How a process ended, or what happened to it, as `wait` encodes it: `code << 8`, or a signal's number, with 0x80 for a core dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ExitStatus(pub u32);

impl ExitStatus {
    /// `exit(code)`: the low eight bits count.
    #[must_use]
    pub const fn exited(code: i32) -> Self {
        Self((code.cast_unsigned() & 0xff) << 8)
    }
    /// Ended by signal `number`.
    #[must_use]
    pub const fn killed(number: u32) -> Self {
        Self(number & 0x7f)
    }
    /// Ended by signal `number` with a core dump.
    #[must_use]
    pub const fn dumped(number: u32) -> Self {
        Self(number & 0x7f | 0x80)
    }
    /// The signal that ended it, if one did.
    #[must_use]
    pub const fn signal(self) -> Option<u32> {
        match self.0 & 0x7f {
            0 => None,
            number => Some(number),
        }
    }
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> i32 {
        (self.0 >> 8 & 0xff).cast_signed()
    }
}

/// Whether a process runs, waits to be waited for, or is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lifecycle {
    /// It has threads.
    #[default]
    Alive,
    /// All its threads have ended; it waits for its parent.
    Zombie(ExitStatus),
    /// Waited for: only references to it remain.
    Reaped,
}
