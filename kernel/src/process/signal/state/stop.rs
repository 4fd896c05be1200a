//! Stopping and continuing a whole process: the state machine of job control.
//!
//! A stop begins with one thread and is complete when the last has arrived; SIGCONT undoes it at once. The parent is told of both, and
//! `wait` finds the report once. Everything is under the lock of [`SignalState`]; what reaches beyond the process stands in
//! [`super::super::job_control`].

use super::super::number::Signal;
use super::super::thread::{SignalWork, ThreadSignals};
use super::{Inner, SignalState};
use core::sync::atomic::Ordering;

/// Whether the process is stopped by job control.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Stop {
    /// It runs.
    #[default]
    Running,
    /// Its threads are on their way to stop, `.0` of them have not arrived.
    Stopping(Signal, usize),
    /// All have.
    Stopped(Signal),
}

/// What a parent has to be told once all threads have stopped, or the process was continued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobChange {
    /// Stopped by this signal.
    Stopped(Signal),
    /// Continued.
    Continued,
}

/// Whether a report that `wait` finds is used up (`WNOWAIT` leaves it).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consume {
    /// The next look finds nothing.
    Yes,
    /// It stays.
    No,
}

impl SignalState {
    /// Begins to stop the whole process. The caller, one of its threads, then calls [`Self::arrive_at_stop`] as all others will.
    pub fn begin_stop(&self, signal: Signal) {
        let mut inner = self.inner.lock();
        if inner.stop != Stop::Running || self.ending.load(Ordering::Relaxed) {
            return;
        }
        inner.stop = Stop::Stopping(signal, inner.members.len());
        inner.continue_report = false;
        for member in &inner.members {
            member.notify(SignalWork::STOP);
        }
    }

    /// `thread` has reached its stop; it sleeps until [`SignalWork::STOP`] is gone, and comes here again whenever it has woken
    /// and it is not. Gives what the parent has to be told, to the last one only.
    pub fn arrive_at_stop(&self, thread: &ThreadSignals) -> Option<JobChange> {
        let mut inner = self.inner.lock();
        if thread.work() & (SignalWork::STOP | SignalWork::ARRIVED) != SignalWork::STOP {
            return None;
        }
        thread.add_work(SignalWork::ARRIVED);
        inner.arrive()
    }

    /// Whether all threads have stopped, and by what.
    #[must_use]
    pub fn stopped_by(&self) -> Option<Signal> {
        match self.inner.lock().stop {
            Stop::Stopped(signal) => Some(signal),
            Stop::Running | Stop::Stopping(..) => None,
        }
    }

    /// For `wait` with `WUNTRACED`: the signal that stopped the process, once.
    pub fn take_stop_report(&self, consume: Consume) -> Option<Signal> {
        let mut inner = self.inner.lock();
        let report = inner.stop_report;
        if consume == Consume::Yes {
            inner.stop_report = None;
        }
        report
    }

    /// For `wait` with `WCONTINUED`: whether the process was continued, once.
    pub fn take_continue_report(&self, consume: Consume) -> bool {
        let mut inner = self.inner.lock();
        let report = inner.continue_report;
        if consume == Consume::Yes {
            inner.continue_report = false;
        }
        report
    }
}

impl Inner {
    /// SIGCONT: nobody stops any more.
    pub(super) fn resume(&mut self) -> bool {
        let was = core::mem::take(&mut self.stop);
        self.stop_report = None;
        if was == Stop::Running {
            return false;
        }
        for member in &self.members {
            member.remove_work(SignalWork::STOP | SignalWork::ARRIVED);
            member.notify(SignalWork::empty());
        }
        self.continue_report = true;
        true
    }

    pub(super) fn arrive(&mut self) -> Option<JobChange> {
        let Stop::Stopping(signal, remaining) = self.stop else { return None };
        if remaining > 1 {
            self.stop = Stop::Stopping(signal, remaining - 1);
            return None;
        }
        self.stop = Stop::Stopped(signal);
        self.stop_report = Some(signal);
        Some(JobChange::Stopped(signal))
    }
}
