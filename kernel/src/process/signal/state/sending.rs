//! Sending: what a signal does already by being sent, who takes it, and the end of a process that is sure to come of it.

use super::super::information::{SignalInformation, code};
use super::super::number::{DefaultAction, Signal, SignalSet};
use super::super::queue::{Charge, Queued};
use super::super::thread::{SignalWork, ThreadSignals};
use super::stop::Stop;
use super::{Ending, Inner, Sent, SignalState, Target};
use crate::base::{Errno, Result};
use core::sync::atomic::Ordering;

impl SignalState {
    /// Sends a signal.
    ///
    /// # Errors
    /// `EAGAIN` when a real-time signal's information cannot be kept.
    pub fn send(
        &self,
        target: Target<'_>,
        signal: Signal,
        information: SignalInformation,
        charge: Option<Charge>,
    ) -> Result<Sent> {
        let mut inner = self.inner.lock();
        let continued = self.prepare(&mut inner, signal);
        let dropped = if continued { Sent::Continued } else { Sent::Dropped };
        if self.ending.load(Ordering::Relaxed) && signal != Signal::SIGKILL {
            return Ok(dropped);
        }
        if self.drops(&inner, target, signal, &information) {
            return Ok(dropped);
        }
        let queued = match target {
            Target::Process => inner.shared.push(signal, information, charge),
            Target::Thread(thread) => thread.push_locked(signal, information, charge),
        };
        match queued {
            Queued::Added => {}
            Queued::AlreadyPending => return Ok(dropped),
            Queued::NoMemory => return Err(Errno::EAGAIN),
        }
        self.publish(&inner);
        self.complete(&inner, target, signal);
        drop(inner);
        self.watchers.wake();
        Ok(if continued { Sent::Continued } else { Sent::Queued })
    }

    /// What a stopping or continuing signal does already by being sent. Says whether it continued the process.
    fn prepare(&self, inner: &mut Inner, signal: Signal) -> bool {
        if SignalSet::STOPPING.contains(signal) {
            inner.discard(SignalSet::EMPTY.with(Signal::SIGCONT));
            self.publish(inner);
        } else if signal == Signal::SIGCONT {
            inner.discard(SignalSet::STOPPING);
            self.publish(inner);
            return inner.resume();
        } else if signal == Signal::SIGKILL {
            inner.stop = Stop::Running;
            for member in &inner.members {
                member.remove_work(SignalWork::STOP | SignalWork::ARRIVED);
            }
        }
        false
    }

    /// Whether the signal has no effect now and could have none later, so that it is not even queued.
    fn drops(&self, inner: &Inner, target: Target<'_>, signal: Signal, information: &SignalInformation) -> bool {
        let thread = match target {
            Target::Thread(thread) => thread,
            Target::Process => match inner.members.first() {
                Some(leader) => leader,
                None => return true,
            },
        };
        if thread.blocked().union(thread.real_blocked()).contains(signal) {
            return false;
        }
        let actions = inner.actions.lock_nested();
        // The kernel's own SIGKILL (out of memory) reaches PID 1 too; nothing else that is left to its default action does.
        let forced = signal == Signal::SIGKILL && information.code == code::SI_KERNEL;
        self.unkillable.load(Ordering::Relaxed) && actions.get(signal).is_default() && !forced
            || actions.ignores(signal)
    }

    /// Chooses the thread that takes the signal and tells it; a signal that surely ends the process tells all.
    fn complete(&self, inner: &Inner, target: Target<'_>, signal: Signal) {
        let chosen = match target {
            Target::Thread(thread) => {
                (!thread.blocked().contains(signal) || signal == Signal::SIGKILL).then_some(thread)
            }
            Target::Process => inner.choose(signal),
        };
        let Some(thread) = chosen else {
            return;
        };
        let fatal = signal == Signal::SIGKILL
            || signal.default_action() == DefaultAction::Terminate
                && !thread.real_blocked().contains(signal)
                && inner.actions.lock_nested().get(signal).is_default();
        if fatal {
            self.end(inner, signal);
        } else {
            thread.notify(SignalWork::PENDING);
        }
    }

    /// Begins the end of the process by `signal`, if it has not begun.
    fn end(&self, inner: &Inner, signal: Signal) {
        if self.ending.swap(true, Ordering::Relaxed) {
            return;
        }
        self.fatal.store(signal.number(), Ordering::Relaxed);
        for member in &inner.members {
            member.notify(SignalWork::KILL);
        }
    }

    /// The signal whose default action began the end of the process by being sent.
    #[must_use]
    pub fn fatal_signal(&self) -> Option<Signal> {
        Signal::new(self.fatal.load(Ordering::Relaxed))
    }

    /// Ends every thread but `survivor`: for `exit_group` and a fatal signal (`Ending::Process`: no signal is taken any more)
    /// and for `execve` (`Ending::Threads`).
    pub fn kill_threads(&self, survivor: Option<&ThreadSignals>, ending: Ending) {
        let inner = self.inner.lock();
        if ending == Ending::Process {
            self.ending.store(true, Ordering::Relaxed);
        }
        for member in &inner.members {
            if !survivor.is_some_and(|survivor| core::ptr::eq(&raw const **member, survivor)) {
                member.notify(SignalWork::KILL);
            }
        }
    }
}
