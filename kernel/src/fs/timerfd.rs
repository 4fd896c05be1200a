//! Timers as files: `timerfd_create(2)`.
//!
//! The number of expirations is not counted by the timer's interrupt: it follows from the clock when somebody asks. The interrupt
//! only wakes waiters. A timer on realtime remembers how often that clock had been set when it was armed; with
//! `TFD_TIMER_CANCEL_ON_SET` a read after a further setting answers `ECANCELED`.

use super::file::{FileOperations, FileTraits, OpenFile};
use super::io::IoDestination;
use super::pipe::Waiting;
use super::poll::{PollEvents, PollQueue, PollTable};
use super::types::OpenFlags;
use crate::base::{Errno, Nanoseconds, Result};
use crate::sync::{Interruptible, LockRank, SpinLock, WaitError, WaitQueue};
use crate::time::{self, TimerCallback, TimerHandle};
use alloc::string::String;
use alloc::sync::{Arc, Weak};

/// Which clock a timer follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerClock {
    /// `CLOCK_REALTIME` (and its alarm form).
    Realtime,
    /// `CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`.
    Monotonic,
}

impl TimerClock {
    fn now(self) -> Nanoseconds {
        match self {
            Self::Realtime => time::realtime(),
            Self::Monotonic => time::monotonic(),
        }
    }
    /// A point of this clock on the monotonic one.
    fn to_monotonic(self, point: Nanoseconds) -> Nanoseconds {
        match self {
            Self::Monotonic => point,
            Self::Realtime => time::monotonic().saturating_add(point.saturating_sub(time::realtime())),
        }
    }
}

/// When a timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// The first or next time, on the timer's clock; zero for never.
    pub next: Nanoseconds,
    /// The time between further ones; zero for none.
    pub interval: Nanoseconds,
}

/// Whether setting realtime cancels a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnClockSet {
    /// It goes on.
    GoOn,
    /// Reads answer `ECANCELED`.
    Cancel,
}

#[derive(Debug)]
struct State {
    setting: Setting,
    handle: Option<TimerHandle>,
    cancel: OnClockSet,
    clock_changes: u64,
}

/// A timer.
pub struct Timer {
    clock: TimerClock,
    state: SpinLock<State>,
    readers: WaitQueue,
    poll: PollQueue,
    myself: Weak<Self>,
}

impl TimerCallback for Timer {
    fn expired(&self, _handle: TimerHandle) {
        self.readers.wake_all();
        self.poll.wake();
    }
}

impl Timer {
    /// Expirations up to `now`, taken out of the setting.
    fn take_expirations(&self, state: &mut State, now: Nanoseconds) -> u64 {
        let Setting { next, interval } = state.setting;
        if next == Nanoseconds::ZERO || now < next {
            return 0;
        }
        if interval == Nanoseconds::ZERO {
            state.setting.next = Nanoseconds::ZERO;
            return 1;
        }
        let count = (now.0 - next.0) / interval.0 + 1;
        state.setting.next = next.saturating_add(Nanoseconds(interval.0.saturating_mul(count)));
        count
    }

    /// Arms the machine's timer for the next expiration. The lock order is `FileObject` before `Timer`.
    fn arm(&self, state: &mut State) {
        if let Some(handle) = state.handle.take() {
            time::cancel(handle);
        }
        if state.setting.next != Nanoseconds::ZERO
            && let Some(myself) = self.myself.upgrade()
        {
            state.handle = Some(time::arm(self.clock.to_monotonic(state.setting.next), myself));
        }
    }

    fn is_cancelled(&self, state: &State) -> bool {
        state.cancel == OnClockSet::Cancel && state.clock_changes != time::clock_changes()
    }

    fn try_read(&self) -> Option<Result<u64>> {
        let mut state = self.state.lock();
        if self.is_cancelled(&state) {
            state.clock_changes = time::clock_changes();
            return Some(Err(Errno::ECANCELED));
        }
        let count = self.take_expirations(&mut state, self.clock.now());
        if count == 0 {
            return None;
        }
        self.arm(&mut state);
        Some(Ok(count))
    }

    /// The time to the next expiration and the interval, as `timerfd_gettime` tells them.
    pub fn remaining(&self) -> Setting {
        let state = self.state.lock();
        let Setting { next, interval } = state.setting;
        if next == Nanoseconds::ZERO {
            return Setting { next, interval };
        }
        let now = self.clock.now();
        let next = if now < next {
            next.saturating_sub(now)
        } else if interval == Nanoseconds::ZERO {
            Nanoseconds::ZERO
        } else {
            // Expirations that nobody has read are not taken here.
            Nanoseconds(interval.0 - (now.0 - next.0) % interval.0)
        };
        Setting { next, interval }
    }

    /// Arms or disarms the timer; `next` is a point on its clock. Gives what [`Self::remaining`] gave before.
    pub fn set(&self, setting: Setting, cancel: OnClockSet) -> Setting {
        let old = self.remaining();
        let mut state = self.state.lock();
        state.setting = setting;
        state.cancel = if self.clock == TimerClock::Realtime { cancel } else { OnClockSet::GoOn };
        state.clock_changes = time::clock_changes();
        self.arm(&mut state);
        drop(state);
        self.poll.wake();
        self.readers.wake_all();
        old
    }

    /// The present on its clock.
    #[must_use]
    pub fn now(&self) -> Nanoseconds {
        self.clock.now()
    }
}

impl FileOperations for Timer {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        if destination.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let count = match (self.try_read(), Waiting::of(file)) {
            (Some(result), _) => result?,
            (None, Waiting::Never) => return Err(Errno::EAGAIN),
            (None, Waiting::Allowed) => {
                match self.readers.wait_until(None, Interruptible::BySignal, || self.try_read()) {
                    Ok(result) => result?,
                    Err(WaitError::TimedOut | WaitError::Interrupted) => return Err(Errno::ERESTARTSYS),
                }
            }
        };
        destination.write(&count.to_ne_bytes())
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        table.wait_on(&self.poll, PollEvents::READABLE);
        let state = self.state.lock();
        let Setting { next, .. } = state.setting;
        let ready = next != Nanoseconds::ZERO && self.clock.now() >= next;
        if ready || self.is_cancelled(&state) { PollEvents::IN } else { PollEvents::empty() }
    }
    fn describe(&self) -> String {
        String::from("anon_inode:[timerfd]")
    }
    fn release(&self, _file: &OpenFile) {
        // The machine's timer holds a reference: without this it would live until its end.
        let handle = self.state.lock().handle.take();
        if let Some(handle) = handle {
            time::cancel(handle);
        }
    }
}

/// Makes a timer that is not armed. `flags` may have `NON_BLOCKING`.
#[must_use]
pub fn create(clock: TimerClock, flags: OpenFlags) -> Arc<OpenFile> {
    let timer = Arc::new_cyclic(|myself| Timer {
        clock,
        state: SpinLock::new(
            LockRank::FileObject,
            State { setting: Setting::default(), handle: None, cancel: OnClockSet::GoOn, clock_changes: 0 },
        ),
        readers: WaitQueue::new(),
        poll: PollQueue::new(),
        myself: myself.clone(),
    });
    OpenFile::anonymous(timer, flags | OpenFlags::READ_WRITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_follow_from_the_clock() {
        let file = create(TimerClock::Monotonic, OpenFlags::NON_BLOCKING);
        let timer = file.operations_as::<Timer>().unwrap();
        let mut state = State { setting: Setting::default(), handle: None, cancel: OnClockSet::GoOn, clock_changes: 0 };
        state.setting = Setting { next: Nanoseconds(100), interval: Nanoseconds(10) };
        assert_eq!(timer.take_expirations(&mut state, Nanoseconds(99)), 0);
        assert_eq!(timer.take_expirations(&mut state, Nanoseconds(100)), 1);
        assert_eq!(timer.take_expirations(&mut state, Nanoseconds(100)), 0);
        assert_eq!(timer.take_expirations(&mut state, Nanoseconds(139)), 3);
        assert_eq!(state.setting.next, Nanoseconds(140));
        state.setting = Setting { next: Nanoseconds(100), interval: Nanoseconds::ZERO };
        assert_eq!(timer.take_expirations(&mut state, Nanoseconds(1000)), 1);
        assert_eq!(timer.take_expirations(&mut state, Nanoseconds(2000)), 0);
    }

    #[test]
    fn a_short_read_is_refused_and_a_timer_not_armed_gives_nothing() {
        let file = create(TimerClock::Realtime, OpenFlags::NON_BLOCKING);
        let mut bytes = [0; 8];
        assert_eq!(file.read(&mut IoDestination::kernel(&mut bytes[..4])), Err(Errno::EINVAL));
        assert_eq!(file.read(&mut IoDestination::kernel(&mut bytes)), Err(Errno::EAGAIN));
    }
}
