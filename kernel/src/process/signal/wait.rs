//! Waiting for signals, and masks that hold for one call only.

use super::information::SignalInformation;
use super::number::SignalSet;
use super::state::SignalState;
use super::taken;
use super::thread::{SignalWork, ThreadSignals};
use crate::arch::{Cpu, Current};
use crate::base::{Errno, Nanoseconds, Result};
use crate::process::current_thread;
use crate::sync::{Interruptible, WakeReason, parking};

/// Runs `body` with `mask` as the running thread's mask (`pselect`, `ppoll`, `epoll_pwait`); `None` leaves it.
///
/// When `body` was interrupted, the old mask comes back only after the signal's handler has been started: the handler runs although
/// the old mask blocks its signal, and its frame saves the old one.
///
/// # Errors
/// Those of `body`.
pub fn with_temporary_mask<T>(mask: Option<SignalSet>, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(mask) = mask else { return body() };
    let thread = current_thread();
    let (signals, state) = (&thread.signals, &thread.process().signals);
    let old = signals.blocked();
    signals.store_saved_mask(old);
    state.set_mask(signals, mask);
    let result = body();
    match result {
        Err(
            Errno::EINTR | Errno::ERESTARTSYS | Errno::ERESTARTNOINTR | Errno::ERESTARTNOHAND | Errno::ERESTARTBLOCK,
        ) => signals.notify_self(SignalWork::RESTORE_MASK),
        _ => state.set_mask(signals, old),
    }
    result
}

/// `rt_sigsuspend`: waits with `mask` until a signal comes; never succeeds.
///
/// # Errors
/// `ERESTARTNOHAND`.
pub fn suspend(mask: SignalSet) -> Result<()> {
    with_temporary_mask(Some(mask), pause)
}

/// `pause`: waits until a signal comes; never succeeds.
///
/// # Errors
/// `ERESTARTNOHAND`.
pub fn pause() -> Result<()> {
    let thread = current_thread();
    while !thread.signals.interrupts(Interruptible::BySignal) {
        parking::park(None, Interruptible::BySignal);
    }
    Current::local().request_work();
    Err(Errno::ERESTARTNOHAND)
}

/// `rt_sigtimedwait`: takes a signal of `wanted`, waiting for one until `deadline` (monotonic), or for ever.
///
/// # Errors
/// `EAGAIN` past the deadline, `EINTR` on another signal.
pub fn wait_for(wanted: SignalSet, deadline: Option<Nanoseconds>) -> Result<SignalInformation> {
    let wanted = wanted.blockable();
    let thread = current_thread();
    let (signals, state) = (&thread.signals, &thread.process().signals);
    if let Some(information) = take(signals, state, wanted) {
        return Ok(information);
    }
    if deadline == Some(Nanoseconds::ZERO) {
        return Err(Errno::EAGAIN);
    }
    let old = signals.blocked();
    signals.store_real_blocked(old);
    state.set_mask(signals, old.difference(wanted));
    let mut reason = WakeReason::Woken;
    while reason == WakeReason::Woken && !signals.interrupts(Interruptible::BySignal) {
        reason = parking::park(deadline, Interruptible::BySignal);
    }
    let taken = take(signals, state, wanted);
    state.set_mask(signals, old);
    signals.store_real_blocked(SignalSet::EMPTY);
    match taken {
        Some(information) => Ok(information),
        None if reason == WakeReason::TimedOut => Err(Errno::EAGAIN),
        None => Err(Errno::EINTR),
    }
}

/// Takes a signal of `wanted` that waits for the running thread, whose state these are.
pub fn take(signals: &ThreadSignals, state: &SignalState, wanted: SignalSet) -> Option<SignalInformation> {
    let mut information = state.take_waited(signals, wanted)?;
    taken::run_hook(&mut information);
    Some(information)
}
