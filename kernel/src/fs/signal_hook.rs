//! Signals that files send to whoever uses them: `process` registers how.
//!
//! This room knows no processes. A write to a pipe without readers must raise `SIGPIPE` in the running thread, one beyond
//! the file-size limit `SIGXFSZ`; before anybody has registered nothing is sent.

/// How files reach signals.
pub trait SignalHook: Sync {
    /// Sends `signal` (a Linux number) to the running thread, as if the kernel had raised it.
    fn send_to_current_thread(&self, signal: u32);
}

/// `SIGPIPE`.
pub const SIGPIPE: u32 = 13;
/// `SIGXFSZ`.
pub const SIGXFSZ: u32 = 25;

static HOOK: spin::Once<&'static dyn SignalHook> = spin::Once::new();

/// Registers the signal code, once, at boot.
pub fn set_signal_hook(hook: &'static dyn SignalHook) {
    HOOK.call_once(|| hook);
}

/// Sends `signal` to the running thread.
pub fn send_to_current_thread(signal: u32) {
    if let Some(hook) = HOOK.get() {
        hook.send_to_current_thread(signal);
    }
}
