//! POSIX timers: `timer_create` and its kin.

use super::cpu_time::{CpuClock, CpuHandle, CpuTimeCallback};
use super::{Setting, forward};
use crate::base::{Errno, Nanoseconds, Result};
use crate::process::Process;
use crate::process::clock::Clock;
use crate::process::resource_limits::{Resource, UserAccount, UserCharge};
use crate::process::signal::queue::Charge;
use crate::process::signal::{Sent, Signal, SignalInformation, Target, ThreadSignals};
use crate::sync::spinlock::SpinLockGuard;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use crate::time::{self, TimerCallback, TimerHandle};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// The most that `timer_getoverrun` shows: `DELAYTIMER_MAX`.
const OVERRUN_MAX: u64 = i32::MAX as u64;

/// Whom an expiry is told to.
#[derive(Clone, Debug)]
pub enum Notification {
    /// Nobody: the program looks itself.
    None,
    /// The process, by this signal with this value.
    Process(Signal, u64),
    /// A thread.
    Thread(Signal, u64, Weak<ThreadSignals>),
}

/// What a timer counts on, and how its deadlines are kept.
enum Base {
    /// The timer queue; deadlines are on the monotonic clock.
    Queue(Clock),
    /// CPU time; deadlines are on that clock itself.
    CpuTime(CpuClock),
}

/// A deadline that is armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handle {
    Queue(TimerHandle),
    CpuTime(CpuHandle),
}

impl Base {
    fn of(clock: Clock) -> Result<Self> {
        match CpuClock::bind(clock)? {
            Some(clock) => Ok(Self::CpuTime(clock)),
            None if clock.to_monotonic(Nanoseconds::ZERO).is_some() => Ok(Self::Queue(clock)),
            None => Err(Errno::EOPNOTSUPP),
        }
    }

    /// The present, as deadlines are kept; `None` when whose CPU time it is has gone.
    fn now(&self) -> Option<Nanoseconds> {
        match self {
            Self::Queue(_) => Some(time::monotonic()),
            Self::CpuTime(clock) => clock.read(),
        }
    }

    /// The deadline that a point on the timer's clock is.
    fn deadline(&self, point: Nanoseconds) -> Result<Nanoseconds> {
        match self {
            Self::Queue(clock) => clock.to_monotonic(point).ok_or(Errno::EOPNOTSUPP),
            Self::CpuTime(_) => Ok(point),
        }
    }

    fn cancel(&self, handle: Handle) {
        match (self, handle) {
            (Self::CpuTime(clock), Handle::CpuTime(handle)) => clock.cancel(handle),
            (_, Handle::Queue(handle)) => drop(time::cancel(handle)),
            (Self::Queue(_), Handle::CpuTime(_)) => {}
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// The next (or, while its signal waits, the last) expiry, as [`Base`] keeps it; zero when disarmed.
    deadline: Nanoseconds,
    interval: Nanoseconds,
    /// What is armed for the deadline, from then until that expires: an expiry that comes with another handle is of an earlier setting.
    handle: Option<Handle>,
    /// Its signal has been sent and not been taken.
    is_pending: bool,
    /// Expiries that the last signal taken stood for beyond its own.
    overrun: u64,
}

type StateGuard<'a> = SpinLockGuard<'a, State, InterruptsDisabled>;

struct Timer {
    identifier: i32,
    base: Base,
    notification: Notification,
    process: Weak<Process>,
    myself: Weak<Self>,
    state: SpinLock<State, InterruptsDisabled>,
    _charge: Charge,
}

impl TimerCallback for Timer {
    fn expired(&self, handle: TimerHandle) {
        self.expire(Handle::Queue(handle));
    }
}

impl CpuTimeCallback for Timer {
    fn reached(&self, handle: CpuHandle) {
        self.expire(Handle::CpuTime(handle));
    }
}

impl Timer {
    fn expire(&self, handle: Handle) {
        let mut state = self.state.lock();
        // Set anew, or disarmed, after it had come off its queue.
        if state.handle != Some(handle) {
            return;
        }
        state.handle = None;
        state.is_pending = !matches!(self.notification, Notification::None);
        drop(state);
        if self.send() {
            return;
        }
        // Nobody will take a signal: run on at once, but not more than once a tick, whatever the interval.
        let Some(now) = self.base.now() else { return };
        let mut state = self.state.lock();
        state.is_pending = false;
        // Set anew in between, it is armed.
        if state.handle.is_none() && state.interval != Nanoseconds::ZERO && state.deadline != Nanoseconds::ZERO {
            let earliest = now.saturating_add(Nanoseconds::TICK);
            (state.deadline, _) = forward(state.deadline, state.interval, earliest);
            self.arm(state);
        }
    }

    /// Sends the signal. False when it was not kept.
    fn send(&self) -> bool {
        let Some(process) = self.process.upgrade() else { return false };
        let (signal, value, thread) = match &self.notification {
            Notification::None => return false,
            Notification::Process(signal, value) => (*signal, *value, None),
            Notification::Thread(signal, value, thread) => match thread.upgrade() {
                Some(thread) => (*signal, *value, Some(thread)),
                None => return false,
            },
        };
        let target = thread.as_deref().map_or(Target::Process, Target::Thread);
        let information = SignalInformation::timer(signal, self.identifier, 0, value);
        process.signals.send(target, signal, information, None) == Ok(Sent::Queued)
    }

    /// Arms for the deadline that `state` has; nothing is armed. What is armed holds the timer. The handle is in the state before it can expire.
    fn arm(&self, mut state: StateGuard<'_>) {
        let Some(this) = self.myself.upgrade() else { return };
        match &self.base {
            Base::Queue(_) => state.handle = Some(Handle::Queue(time::arm(state.deadline, this))),
            Base::CpuTime(clock) => {
                let (handle, deadline) = (CpuHandle::unused(), state.deadline);
                state.handle = Some(Handle::CpuTime(handle));
                drop(state);
                // What counts CPU time may be gone: then it comes to no deadline any more.
                let is_armed = clock.arm(handle, deadline, this).is_ok();
                let mut state = self.state.lock();
                let is_wanted = state.handle == Some(Handle::CpuTime(handle));
                if is_wanted && !is_armed {
                    state.handle = None;
                }
                drop(state);
                // Set anew before it was there to be cancelled.
                if !is_wanted {
                    clock.cancel(handle);
                }
            }
        }
    }

    fn setting(&self) -> Setting {
        let now = self.base.now().unwrap_or(Nanoseconds::MAX);
        let state = self.state.lock();
        let value = match state.deadline {
            Nanoseconds::ZERO => Nanoseconds::ZERO,
            deadline if deadline > now => deadline.saturating_sub(now),
            deadline if state.interval != Nanoseconds::ZERO => {
                forward(deadline, state.interval, now).0.saturating_sub(now)
            }
            // Expired, or about to: the latter does not read as disarmed.
            _ if state.handle.is_some() => Nanoseconds(1),
            _ => Nanoseconds::ZERO,
        };
        Setting { value, interval: state.interval }
    }
}

/// Whether a setting's value is a point on the timer's clock or a length of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// From now.
    Relative,
    /// `TIMER_ABSTIME`.
    Absolute,
}

/// The POSIX timers of a process.
pub struct PosixTimers {
    timers: SpinLock<Vec<Arc<Timer>>, InterruptsDisabled>,
}

impl Default for PosixTimers {
    fn default() -> Self {
        Self { timers: SpinLock::new(LockRank::ProcessTimers, Vec::new()) }
    }
}

impl core::fmt::Debug for PosixTimers {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("PosixTimers")
    }
}

impl PosixTimers {
    fn find(&self, identifier: i32) -> Option<Arc<Timer>> {
        let timers = self.timers.lock();
        let index = timers.binary_search_by_key(&identifier, |timer| timer.identifier).ok()?;
        timers.get(index).cloned()
    }

    /// Makes a timer of `process`, whose timers these are, and gives its number. With `notification` left out it sends SIGALRM with its
    /// own number as the value.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: a clock that timers cannot run on. `EINVAL`: the CPU time of nobody. `EAGAIN`: the user has too many queued signals
    /// and timers.
    pub fn create(&self, process: &Arc<Process>, clock: Clock, notification: Option<Notification>) -> Result<i32> {
        let base = Base::of(clock)?;
        let account = UserAccount::of(process.real_user());
        let charge = UserCharge::take(account, process.limit(Resource::PendingSignals)).ok_or(Errno::EAGAIN)?;
        let mut timers = self.timers.lock();
        // The lowest number that is free: the list is ordered.
        let position = timers.iter().zip(0..).take_while(|(timer, number)| timer.identifier == *number).count();
        let identifier = i32::try_from(position).map_err(|_| Errno::EAGAIN)?;
        timers.try_reserve(1).map_err(|_| Errno::EAGAIN)?;
        let notification =
            notification.unwrap_or(Notification::Process(Signal::SIGALRM, identifier.cast_unsigned().into()));
        timers.insert(
            position,
            Arc::new_cyclic(|myself| Timer {
                identifier,
                base,
                notification,
                process: Arc::downgrade(process),
                myself: myself.clone(),
                state: SpinLock::new(LockRank::PosixTimer, State::default()),
                _charge: charge,
            }),
        );
        Ok(identifier)
    }

    /// Sets a timer and gives its setting before.
    ///
    /// # Errors
    /// `EINVAL`: no such timer. `ESRCH`: whose CPU time it counts is gone.
    pub fn set(&self, identifier: i32, start: Start, new: Setting) -> Result<Setting> {
        let timer = self.find(identifier).ok_or(Errno::EINVAL)?;
        let old = timer.setting();
        let deadline = match (new.value, start) {
            (Nanoseconds::ZERO, _) => Nanoseconds::ZERO,
            (value, Start::Relative) => timer.base.now().ok_or(Errno::ESRCH)?.saturating_add(value),
            // A point before boot has passed; zero would mean "disarmed".
            (value, Start::Absolute) => Nanoseconds(timer.base.deadline(value)?.0.max(1)),
        };
        let mut state = timer.state.lock();
        let cancelled = state.handle.take();
        *state = State { deadline, interval: new.interval, is_pending: false, overrun: 0, handle: None };
        if deadline != Nanoseconds::ZERO {
            timer.arm(state);
        } else {
            drop(state);
        }
        if let Some(handle) = cancelled {
            timer.base.cancel(handle);
        }
        Ok(old)
    }

    /// A timer's setting.
    ///
    /// # Errors
    /// `EINVAL`: no such timer.
    pub fn get(&self, identifier: i32) -> Result<Setting> {
        Ok(self.find(identifier).ok_or(Errno::EINVAL)?.setting())
    }

    /// The overrun count of the last signal taken.
    ///
    /// # Errors
    /// `EINVAL`: no such timer.
    pub fn overrun(&self, identifier: i32) -> Result<i32> {
        let timer = self.find(identifier).ok_or(Errno::EINVAL)?;
        let overrun = timer.state.lock().overrun;
        Ok(i32::try_from(overrun.min(OVERRUN_MAX)).unwrap_or(i32::MAX))
    }

    /// Takes a timer away.
    ///
    /// # Errors
    /// `EINVAL`: no such timer.
    pub fn delete(&self, identifier: i32) -> Result<()> {
        let mut timers = self.timers.lock();
        let index = timers.binary_search_by_key(&identifier, |timer| timer.identifier).map_err(|_| Errno::EINVAL)?;
        let timer = timers.remove(index);
        drop(timers);
        disarm(&timer);
        Ok(())
    }

    /// Takes all away: `execve` and the end.
    pub fn clear(&self) {
        let timers = core::mem::take(&mut *self.timers.lock());
        timers.iter().for_each(|timer| disarm(timer));
    }

    /// A timer's signal was taken: it runs on, and the information says how many expiries it stood for.
    pub(super) fn taken(&self, information: &mut SignalInformation) {
        let identifier = information.sender();
        let Some(timer) = self.find(identifier) else { return };
        let now = timer.base.now().unwrap_or(Nanoseconds::ZERO);
        let mut state = timer.state.lock();
        if !state.is_pending {
            return;
        }
        state.is_pending = false;
        state.overrun = 0;
        if state.interval == Nanoseconds::ZERO {
            return;
        }
        let (next, skipped) = forward(state.deadline, state.interval, now);
        (state.deadline, state.overrun) = (next, skipped);
        timer.arm(state);
        let shown = i32::try_from(skipped.min(OVERRUN_MAX)).unwrap_or(i32::MAX);
        if let Some(signal) = information.signal() {
            let [_, value, ..] = information.fields;
            *information = SignalInformation::timer(signal, identifier, shown, value);
        }
    }
}

fn disarm(timer: &Timer) {
    let mut state = timer.state.lock();
    state.deadline = Nanoseconds::ZERO;
    let handle = state.handle.take();
    drop(state);
    if let Some(handle) = handle {
        timer.base.cancel(handle);
    }
}
