//! What happens when a thread takes a signal that a timer sent: the timer runs on.
//!
//! Timers stand above signals, so this room owns the hook and they register. Signals of other origins do not reach it.

use super::information::{SignalInformation, code};
use super::number::Signal;
use spin::Once;

/// Told of each signal that a timer may have sent when the running thread takes it; may fill in an overrun count.
pub type TimerSignalHook = fn(&mut SignalInformation);

static HOOK: Once<TimerSignalHook> = Once::new();

/// Registers the timers' hook. Once, at boot.
pub fn set_timer_signal_hook(hook: TimerSignalHook) {
    HOOK.call_once(|| hook);
}

/// The running thread has taken a signal.
#[inline]
pub(super) fn run_hook(information: &mut SignalInformation) {
    let is_alarm = information.number == Signal::SIGALRM.number().cast_signed();
    if (is_alarm || information.code == code::SI_TIMER)
        && let Some(hook) = HOOK.get()
    {
        hook(information);
    }
}
