//! Signals that files send to whoever uses them: `process` registers how.
//!
//! This room knows no processes. A write to a pipe without readers must raise `SIGPIPE` in the running thread, one beyond
//! the file-size limit `SIGXFSZ`; what becomes ready tells its owner ([`super::file::asynchronous`]). Before anybody has registered nothing is sent.

/// What has become possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// There is something to read.
    Input,
    /// There is room to write.
    Output,
}

/// Who is told of readiness by signal (`F_SETOWN`, `F_SETSIG`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileOwner {
    /// A process (positive), a process group (negative), a thread where `is_thread`, or nobody (zero).
    pub id: i32,
    /// Whether `id` is a thread's.
    pub is_thread: bool,
    /// The signal; zero for `SIGIO`.
    pub signal: i32,
    /// The real user of who named the owner: signals are sent with its permission.
    pub uid: u32,
    /// Its effective user.
    pub euid: u32,
}

/// How files reach signals.
pub trait SignalHook: Sync {
    /// Sends `signal` (a Linux number) to the running thread, as if the kernel had raised it.
    fn send_to_current_thread(&self, signal: u32);
    /// Sends its signal to the owner of a file, of which `descriptor` was told. Thread context, no lock held.
    fn send_to_owner(&self, owner: &FileOwner, readiness: Readiness, descriptor: i32);
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

/// Tells the owner of a file what has become possible.
pub fn send_to_owner(owner: &FileOwner, readiness: Readiness, descriptor: i32) {
    if owner.id != 0
        && let Some(hook) = HOOK.get()
    {
        hook.send_to_owner(owner, readiness, descriptor);
    }
}
