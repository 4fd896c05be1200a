//! What a process wants done with each signal: the table behind `rt_sigaction`.
//!
//! The entry has the layout that Linux's system call takes, the same on both machines. The table is shared by the threads of a
//! process (and by `CLONE_SIGHAND`) and lives under the process's signal lock.

use super::number::{DefaultAction, SIGNAL_COUNT, Signal, SignalSet};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// `sa_flags`. Bits that Linux does not know are cleared when an action is set, so that programs can probe for them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ActionFlags: u64 {
        /// No SIGCHLD when a child stops or continues.
        const NO_CHILD_STOP = 0x1;
        /// Children leave no zombie.
        const NO_CHILD_WAIT = 0x2;
        /// The handler wants the second and third argument.
        const SIGINFO = 0x4;
        /// Tag bits of addresses stay in `si_addr` (accepted and without effect on machines without tags).
        const EXPOSE_TAG_BITS = 0x800;
        /// `sa_restorer` is valid.
        const RESTORER = 0x0400_0000;
        /// Deliver on the alternate stack.
        const ON_STACK = 0x0800_0000;
        /// Interrupted calls start again.
        const RESTART = 0x1000_0000;
        /// The signal is not blocked while its handler runs.
        const NO_DEFER = 0x4000_0000;
        /// Back to the default action once delivered.
        const RESET_HANDLER = 0x8000_0000;
    }
}

/// `SIG_DFL`.
pub const HANDLER_DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const HANDLER_IGNORE: u64 = 1;

/// Linux's kernel `struct sigaction`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SignalAction {
    /// `SIG_DFL`, `SIG_IGN` or the handler's address.
    pub handler: u64,
    /// `sa_flags`, see [`ActionFlags`].
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// What else is blocked while the handler runs.
    pub mask: SignalSet,
}

const _: () = assert!(size_of::<SignalAction>() == 32);

impl SignalAction {
    /// The flags that have a meaning.
    #[must_use]
    pub const fn action_flags(&self) -> ActionFlags {
        ActionFlags::from_bits_truncate(self.flags)
    }

    /// Whether it is `SIG_DFL`.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.handler == HANDLER_DEFAULT
    }

    /// Whether it is `SIG_IGN`.
    #[must_use]
    pub const fn is_ignore(&self) -> bool {
        self.handler == HANDLER_IGNORE
    }

    /// Whether a handler of the program's own is set.
    #[must_use]
    pub const fn is_handler(&self) -> bool {
        self.handler > HANDLER_IGNORE
    }

    /// As it is stored: unknown flags cleared, the mask without what cannot be blocked.
    #[must_use]
    pub const fn sanitised(self) -> Self {
        Self { flags: self.flags & ActionFlags::all().bits(), mask: self.mask.blockable(), ..self }
    }
}

/// The actions of all 64 signals.
#[derive(Clone, Debug)]
pub struct ActionTable {
    actions: [SignalAction; SIGNAL_COUNT],
}

impl Default for ActionTable {
    fn default() -> Self {
        Self { actions: [SignalAction::default(); SIGNAL_COUNT] }
    }
}

impl ActionTable {
    /// The action of `signal`.
    #[inline]
    #[must_use]
    pub fn get(&self, signal: Signal) -> SignalAction {
        self.actions.get(signal.index()).copied().unwrap_or_default()
    }

    /// Sets the action of `signal` and gives the one before. The caller has refused SIGKILL and SIGSTOP.
    pub fn set(&mut self, signal: Signal, action: SignalAction) -> SignalAction {
        match self.actions.get_mut(signal.index()) {
            Some(entry) => core::mem::replace(entry, action),
            None => SignalAction::default(),
        }
    }

    /// Whether `signal` has no effect at all: ignored, or its default is to be ignored.
    #[inline]
    #[must_use]
    pub fn ignores(&self, signal: Signal) -> bool {
        let action = self.get(signal);
        action.is_ignore() || action.is_default() && matches!(signal.default_action(), DefaultAction::Ignore)
    }

    /// What becomes of it in `execve`: handlers go back to the default, ignored signals stay ignored.
    pub fn reset_for_exec(&mut self) {
        for entry in &mut self.actions {
            let handler = if entry.is_ignore() { HANDLER_IGNORE } else { HANDLER_DEFAULT };
            *entry = SignalAction { handler, ..SignalAction::default() };
        }
    }

    /// `CLONE_CLEAR_SIGHAND`: every handler goes back to the default, what is ignored stays so.
    pub fn clear_handlers(&mut self) {
        self.reset_for_exec();
    }

    /// The ignored signals and the caught ones: `SigIgn` and `SigCgt` of `/proc/PID/status`.
    #[must_use]
    pub fn collect_sets(&self) -> (SignalSet, SignalSet) {
        SignalSet::ALL.iter().fold((SignalSet::EMPTY, SignalSet::EMPTY), |(ignored, caught), signal| {
            match self.get(signal) {
                action if action.is_ignore() => (ignored.with(signal), caught),
                action if action.is_handler() => (ignored, caught.with(signal)),
                _ => (ignored, caught),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_keeps_only_what_is_ignored() {
        let mut table = ActionTable::default();
        let handler = SignalAction { handler: 0x1000, flags: 4, restorer: 5, mask: SignalSet::ALL };
        table.set(Signal::SIGUSR1, handler);
        table.set(Signal::SIGINT, SignalAction { handler: HANDLER_IGNORE, ..handler });
        assert_eq!(table.collect_sets(), (SignalSet::of(&[Signal::SIGINT]), SignalSet::of(&[Signal::SIGUSR1])));
        table.reset_for_exec();
        assert!(table.get(Signal::SIGUSR1).is_default());
        assert!(table.get(Signal::SIGINT).is_ignore());
        assert_eq!(table.get(Signal::SIGINT).flags, 0);
    }

    #[test]
    fn unknown_flags_do_not_survive() {
        let action = SignalAction { flags: u64::MAX, mask: SignalSet::ALL, ..SignalAction::default() }.sanitised();
        assert_eq!(action.flags, 0xdc00_0807);
        assert!(!action.mask.contains(Signal::SIGKILL));
        assert_eq!(action.flags & 0x400, 0, "SA_UNSUPPORTED reads back as zero");
    }

    #[test]
    fn ignoring_by_default_counts_as_ignoring() {
        let table = ActionTable::default();
        assert!(table.ignores(Signal::SIGCHLD) && table.ignores(Signal::SIGWINCH));
        assert!(!table.ignores(Signal::SIGCONT) && !table.ignores(Signal::SIGTERM));
    }
}
