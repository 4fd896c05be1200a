//! Which clock a `clockid_t` names, and what it shows.
//!
//! The low numbers are fixed clocks; a negative number names the CPU time of a process or thread: `!pid << 3`, bit 2 for a thread,
//! and in the lowest two bits which part of the time.

use super::{Pid, current_process, current_thread, table};
use crate::base::{Errno, Nanoseconds, Result};
use crate::time;

/// Which CPU time counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuTime {
    /// User and system time as the ticks divide it.
    Profiled,
    /// User time.
    Virtual,
    /// All of it, to the nanosecond.
    Scheduled,
}

/// A clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Seconds since 1970; can be set.
    Realtime,
    /// Since boot.
    Monotonic,
    /// Since boot, never slewed (nothing here ever is).
    MonotonicRaw,
    /// [`Self::Realtime`] to the tick.
    RealtimeCoarse,
    /// [`Self::Monotonic`] to the tick.
    MonotonicCoarse,
    /// Since boot, sleep of the machine included.
    Boottime,
    /// International atomic time: no leap seconds are known, so it is realtime.
    InternationalAtomic,
    /// CPU time of a process; 0 for the caller's.
    Process(Pid, CpuTime),
    /// CPU time of a thread; 0 for the caller.
    Thread(Pid, CpuTime),
}

/// `TIMER_ABSTIME`.
pub const ABSOLUTE: i32 = 1;

impl Clock {
    /// The clock that Linux's number names.
    ///
    /// # Errors
    /// `EINVAL`: none. Whether a process or thread exists is not asked here.
    pub fn from_number(number: i32) -> Result<Self> {
        match number {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::Process(0, CpuTime::Scheduled)),
            3 => Ok(Self::Thread(0, CpuTime::Scheduled)),
            4 => Ok(Self::MonotonicRaw),
            5 => Ok(Self::RealtimeCoarse),
            6 => Ok(Self::MonotonicCoarse),
            7 => Ok(Self::Boottime),
            11 => Ok(Self::InternationalAtomic),
            number if number < 0 => {
                let part = match number & 3 {
                    0 => CpuTime::Profiled,
                    1 => CpuTime::Virtual,
                    2 => CpuTime::Scheduled,
                    _ => return Err(Errno::EINVAL),
                };
                let id = !(number >> 3);
                Ok(if number & 4 == 0 { Self::Process(id, part) } else { Self::Thread(id, part) })
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// What it shows now.
    ///
    /// # Errors
    /// `EINVAL`: the process or thread does not exist (a thread of another process counts as not existing).
    pub fn read(self) -> Result<Nanoseconds> {
        Ok(match self {
            Self::Realtime | Self::RealtimeCoarse | Self::InternationalAtomic => time::realtime(),
            Self::Monotonic | Self::MonotonicRaw | Self::MonotonicCoarse => time::monotonic(),
            Self::Boottime => time::boottime(),
            Self::Process(0, part) => part_of(&current_process().usage(), part),
            Self::Process(pid, part) => part_of(&table::find_process(pid).ok_or(Errno::EINVAL)?.usage(), part),
            Self::Thread(0, part) => part_of(&current_thread().usage(), part),
            Self::Thread(tid, part) => {
                let thread = table::find_thread(tid).ok_or(Errno::EINVAL)?;
                if thread.process().pid() != current_process().pid() {
                    return Err(Errno::EINVAL);
                }
                part_of(&thread.usage(), part)
            }
        })
    }

    /// Its smallest step.
    #[must_use]
    pub const fn resolution(self) -> Nanoseconds {
        match self {
            Self::RealtimeCoarse
            | Self::MonotonicCoarse
            | Self::Process(_, CpuTime::Profiled | CpuTime::Virtual)
            | Self::Thread(_, CpuTime::Profiled | CpuTime::Virtual) => Nanoseconds::TICK,
            _ => Nanoseconds(1),
        }
    }

    /// Turns a point in time on this clock into one on the monotonic clock, for a timer; `None` for clocks that cannot be waited on.
    #[must_use]
    pub fn to_monotonic(self, point: Nanoseconds) -> Option<Nanoseconds> {
        match self {
            Self::Realtime | Self::InternationalAtomic => {
                // What lies before boot has passed.
                Some(Nanoseconds(point.0.saturating_sub(time::realtime_offset())))
            }
            Self::Monotonic | Self::Boottime => Some(point),
            _ => None,
        }
    }
}

/// The part of what was used that a clock of CPU time shows.
pub(super) fn part_of(usage: &super::Usage, part: CpuTime) -> Nanoseconds {
    match part {
        CpuTime::Profiled | CpuTime::Scheduled => usage.user_time.saturating_add(usage.system_time),
        CpuTime::Virtual => usage.user_time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_the_clocks_that_linux_names() {
        assert_eq!(Clock::from_number(7), Ok(Clock::Boottime));
        assert_eq!(Clock::from_number(10), Err(Errno::EINVAL));
        assert_eq!(Clock::from_number(12), Err(Errno::EINVAL));
        // What glibc's clock_getcpuclockid(1234) and pthread_getcpuclockid of thread 77 give.
        assert_eq!(Clock::from_number(!1234 << 3 | 2), Ok(Clock::Process(1234, CpuTime::Scheduled)));
        assert_eq!(Clock::from_number(!77 << 3 | 6), Ok(Clock::Thread(77, CpuTime::Scheduled)));
        assert_eq!(Clock::from_number(-1), Err(Errno::EINVAL), "a clock behind a descriptor");
    }

    #[test]
    fn only_clocks_that_run_on_by_themselves_can_be_waited_on() {
        assert_eq!(Clock::Monotonic.to_monotonic(Nanoseconds(5)), Some(Nanoseconds(5)));
        assert_eq!(Clock::MonotonicRaw.to_monotonic(Nanoseconds(5)), None);
        assert_eq!(Clock::Process(0, CpuTime::Scheduled).to_monotonic(Nanoseconds(5)), None);
    }
}
