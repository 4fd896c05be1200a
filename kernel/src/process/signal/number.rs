//! Signal numbers, sets of them, and what each does when a process has not asked for anything else.
//!
//! Numbers and default actions are Linux's, the same on both machines (`signal(7)`). [`SignalSet`] has Linux's kernel
//! layout: bit `n - 1` stands for signal `n`, so that a `sigset_t` of 8 bytes *is* one.

use crate::base::BitSet;
use crate::base::bit_set::{Member, set_operations};
use core::fmt;

/// A signal number, 1..=64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Signal(u8);

/// How many signals there are; also the highest number.
pub const SIGNAL_COUNT: usize = 64;

/// What happens to a process that has set no handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends, and its status says that memory would be dumped.
    DumpCore,
    /// Nothing.
    Ignore,
    /// Every thread of the process stops.
    Stop,
    /// Nothing further: sending it has already continued the process.
    Continue,
}

macro_rules! signals {
    ($($name:ident = $value:literal, $action:ident, $text:literal;)*) => {
        impl Signal {
            $(#[doc = $text] pub const $name: Self = Self($value);)*
        }

        const NAMES: &[(u8, &str)] = &[$(($value, stringify!($name)),)*];

        const fn default_action(number: u8) -> DefaultAction {
            match number {
                $($value => DefaultAction::$action,)*
                _ => DefaultAction::Terminate,
            }
        }
    };
}

signals! {
    SIGHUP = 1, Terminate, "The terminal went away.";
    SIGINT = 2, Terminate, "Interrupt from the keyboard.";
    SIGQUIT = 3, DumpCore, "Quit from the keyboard.";
    SIGILL = 4, DumpCore, "Illegal instruction.";
    SIGTRAP = 5, DumpCore, "Breakpoint or trace trap.";
    SIGABRT = 6, DumpCore, "`abort(3)`.";
    SIGBUS = 7, DumpCore, "A memory access that the mapping cannot satisfy.";
    SIGFPE = 8, DumpCore, "Arithmetic exception.";
    SIGKILL = 9, Terminate, "The end; cannot be caught.";
    SIGUSR1 = 10, Terminate, "For programs' own use.";
    SIGSEGV = 11, DumpCore, "A memory access outside any mapping or against its permissions.";
    SIGUSR2 = 12, Terminate, "For programs' own use.";
    SIGPIPE = 13, Terminate, "A write to a pipe that nobody reads.";
    SIGALRM = 14, Terminate, "`alarm(2)` or the real interval timer.";
    SIGTERM = 15, Terminate, "A polite request to end.";
    SIGSTKFLT = 16, Terminate, "Unused on these machines.";
    SIGCHLD = 17, Ignore, "A child ended, stopped or continued.";
    SIGCONT = 18, Continue, "Continue if stopped.";
    SIGSTOP = 19, Stop, "Stop; cannot be caught.";
    SIGTSTP = 20, Stop, "Stop from the keyboard.";
    SIGTTIN = 21, Stop, "A background process read from its terminal.";
    SIGTTOU = 22, Stop, "A background process wrote to its terminal.";
    SIGURG = 23, Ignore, "Urgent data on a socket.";
    SIGXCPU = 24, DumpCore, "The limit of CPU time was passed.";
    SIGXFSZ = 25, DumpCore, "The limit of file size was passed.";
    SIGVTALRM = 26, Terminate, "The virtual interval timer.";
    SIGPROF = 27, Terminate, "The profiling interval timer.";
    SIGWINCH = 28, Ignore, "The terminal changed its size.";
    SIGIO = 29, Terminate, "Input or output became possible.";
    SIGPWR = 30, Terminate, "Power is failing.";
    SIGSYS = 31, DumpCore, "A system call that a filter refused.";
}

impl Signal {
    /// The first real-time signal.
    pub const SIGRTMIN: Self = Self(32);
    /// The last one.
    pub const SIGRTMAX: Self = Self(64);

    /// Signal `number`, if there is one.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            1..=64 => Some(Self(number as u8)),
            _ => None,
        }
    }

    /// Signal `number` as a system call receives it, if there is one.
    #[must_use]
    pub const fn from_argument(number: i32) -> Option<Self> {
        match number {
            1..=64 => Some(Self(number as u8)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// The position in a table of all signals, 0..=63.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 - 1) as usize
    }

    /// Its bit in a [`SignalSet`].
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }

    /// Whether it queues: 32..=64.
    #[must_use]
    pub const fn is_real_time(self) -> bool {
        self.0 >= 32
    }

    /// What it does by default.
    #[must_use]
    pub const fn default_action(self) -> DefaultAction {
        default_action(self.0)
    }

    /// Its name without number, such as `SIGINT`; real-time signals are all `SIGRT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(number, _)| *number == self.0).map_or("SIGRT", |(_, name)| name)
    }
}

/// As strace writes it: `SIGINT`, `SIGRTMIN`, `SIGRT_8`.
impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SIGRTMIN => formatter.write_str("SIGRTMIN"),
            signal if signal.is_real_time() => write!(formatter, "SIGRT_{}", signal.0 - Self::SIGRTMIN.0),
            signal => formatter.write_str(signal.name()),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({})", self.name(), self.0)
    }
}

/// A set of signals: a bit for each.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(transparent)]
pub struct SignalSet(BitSet<1>);

set_operations!(SignalSet of Signal);

impl Member for Signal {
    fn numbered(number: u32) -> Self {
        Self(number as u8 + 1)
    }
}

impl SignalSet {
    /// Every signal.
    pub const ALL: Self = Self(BitSet::FULL);
    /// Those that nobody can block, catch or ignore.
    pub const UNBLOCKABLE: Self = Self::of(&[Signal::SIGKILL, Signal::SIGSTOP]);
    /// Those whose default action is to stop.
    pub const STOPPING: Self = Self::of(&[Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]);
    /// Those that an instruction of the thread itself causes; they are delivered before others.
    pub const SYNCHRONOUS: Self =
        Self::of(&[Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGFPE, Signal::SIGSYS]);

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(BitSet::from_words([bits]))
    }

    /// `signal` alone.
    #[must_use]
    pub const fn single(signal: Signal) -> Self {
        Self::from_bits(signal.bit())
    }

    /// The set of `signals`.
    #[must_use]
    pub const fn of(signals: &[Signal]) -> Self {
        let mut set = Self::EMPTY;
        let mut rest = signals;
        while let [first, others @ ..] = rest {
            set = set.with(*first);
            rest = others;
        }
        set
    }

    /// What is not in it.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(self.0.complement())
    }

    /// A mask as programs may set it: without SIGKILL and SIGSTOP.
    #[must_use]
    pub const fn blockable(self) -> Self {
        self.difference(Self::UNBLOCKABLE)
    }

    /// The signal to deliver first: one that an instruction caused, else the lowest number.
    #[must_use]
    pub const fn first(self) -> Option<Signal> {
        let synchronous = self.intersection(Self::SYNCHRONOUS);
        let urgent = if synchronous.is_empty() { self } else { synchronous };
        match urgent.0.first() {
            None => None,
            Some(number) => Some(Signal(number as u8 + 1)),
        }
    }

    /// The signals in rising order.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        self.0.members()
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_before_lower_numbers() {
        let set = SignalSet::of(&[Signal::SIGHUP, Signal::SIGSEGV, Signal::SIGRTMAX]);
        assert_eq!(set.first(), Some(Signal::SIGSEGV));
        assert_eq!(set.without(Signal::SIGSEGV).first(), Some(Signal::SIGHUP));
        assert_eq!(SignalSet::of(&[Signal::SIGRTMAX]).first(), Some(Signal::SIGRTMAX));
        assert_eq!(SignalSet::EMPTY.first(), None);
    }

    #[test]
    fn only_64_numbers_are_signals() {
        assert_eq!(Signal::from_argument(0), None);
        assert_eq!(Signal::from_argument(-1), None);
        assert_eq!(Signal::from_argument(65), None);
        assert_eq!(Signal::from_argument(64).map(Signal::bit), Some(1 << 63));
    }

    #[test]
    fn default_actions_are_linux_s() {
        assert_eq!(Signal::SIGURG.default_action(), DefaultAction::Ignore);
        assert_eq!(Signal::SIGTTOU.default_action(), DefaultAction::Stop);
        assert_eq!(Signal::SIGXFSZ.default_action(), DefaultAction::DumpCore);
        assert_eq!(Signal::SIGRTMIN.default_action(), DefaultAction::Terminate);
        assert_eq!(Signal::SIGPWR.default_action(), DefaultAction::Terminate);
        assert_eq!(SignalSet::ALL.iter().filter(|s| s.default_action() == DefaultAction::DumpCore).count(), 10);
    }

    #[test]
    fn a_mask_never_holds_kill_or_stop() {
        assert_eq!(SignalSet::ALL.blockable().complement(), SignalSet::UNBLOCKABLE);
    }
}
