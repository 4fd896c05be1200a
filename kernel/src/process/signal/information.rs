//! What comes with a signal: Linux's `siginfo_t`.
//!
//! The first 48 bytes are all that the kernel ever fills, on both machines; [`SignalInformation`] is those, and what goes to
//! user space is padded with zeros to 128. Layout of the union after the three leading integers, from offset 16:
//!
//! ```text
//! kill, queue   pid:i32 uid:u32 value:u64
//! timer         timer:i32 overrun:i32 value:u64 (private)
//! child         pid:i32 uid:u32 status:i32 _ utime:i64 stime:i64
//! fault         address:u64 (lsb or trapno):u64
//! poll          band:i64 fd:i32
//! system call   address:u64 number:i32 machine:u32
//! ```

use super::number::Signal;
use crate::base::VirtualAddress;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of `siginfo_t` in user memory.
pub const SIGINFO_SIZE: usize = 128;

/// `si_code` values.
pub mod code {
    /// From `kill`.
    pub const SI_USER: i32 = 0;
    /// From the kernel itself.
    pub const SI_KERNEL: i32 = 0x80;
    /// From `sigqueue`.
    pub const SI_QUEUE: i32 = -1;
    /// From a POSIX timer.
    pub const SI_TIMER: i32 = -2;
    /// From a message queue.
    pub const SI_MESGQ: i32 = -3;
    /// From asynchronous input or output.
    pub const SI_ASYNCIO: i32 = -4;
    /// From `tkill` or `tgkill`.
    pub const SI_TKILL: i32 = -6;
    /// A child exited.
    pub const CLD_EXITED: i32 = 1;
    /// A child was killed.
    pub const CLD_KILLED: i32 = 2;
    /// A child was killed and would have dumped core.
    pub const CLD_DUMPED: i32 = 3;
    /// A traced child trapped.
    pub const CLD_TRAPPED: i32 = 4;
    /// A child stopped.
    pub const CLD_STOPPED: i32 = 5;
    /// A child continued.
    pub const CLD_CONTINUED: i32 = 6;
    /// SIGSEGV: nothing is mapped there.
    pub const SEGV_MAPERR: i32 = 1;
    /// SIGSEGV: not with that permission.
    pub const SEGV_ACCERR: i32 = 2;
    /// SIGBUS: unaligned.
    pub const BUS_ADRALN: i32 = 1;
    /// SIGBUS: beyond the end of the object.
    pub const BUS_ADRERR: i32 = 2;
    /// SIGTRAP: a breakpoint.
    pub const TRAP_BRKPT: i32 = 1;
    /// SIGIO: there is something to read.
    pub const POLL_IN: i32 = 1;
    /// SIGIO: there is room to write.
    pub const POLL_OUT: i32 = 2;
    /// SIGIO: the other side has gone; the last of these codes.
    pub const POLL_HUP: i32 = 6;
    /// SIGSYS: a filter refused the call.
    pub const SYS_SECCOMP: i32 = 1;
}

/// A `siginfo_t`, the part that is ever filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SignalInformation {
    /// `si_signo`.
    pub number: i32,
    /// `si_errno`.
    pub error: i32,
    /// `si_code`.
    pub code: i32,
    padding: u32,
    /// The union, as 8-byte words.
    pub fields: [u64; 4],
}

const _: () = assert!(size_of::<SignalInformation>() == 48);

/// Two 32-bit members that share a word, the one at the lower address first (both machines are little-endian).
const fn pair(low: i32, high: u32) -> u64 {
    low.cast_unsigned() as u64 | (high as u64) << 32
}

impl SignalInformation {
    /// `code` and the union's words.
    #[must_use]
    pub const fn new(signal: Signal, code: i32, fields: [u64; 4]) -> Self {
        Self { number: signal.number() as i32, error: 0, code, padding: 0, fields }
    }

    /// What the kernel sends when it has no more to say: `SI_KERNEL`.
    #[must_use]
    pub const fn from_kernel(signal: Signal) -> Self {
        Self::new(signal, code::SI_KERNEL, [0; 4])
    }

    /// From `kill` ([`code::SI_USER`]) or `tgkill` ([`code::SI_TKILL`]).
    #[must_use]
    pub const fn from_user(signal: Signal, code: i32, sender: i32, user: u32) -> Self {
        Self::new(signal, code, [pair(sender, user), 0, 0, 0])
    }

    /// An instruction's fault at `address`.
    #[must_use]
    pub const fn fault(signal: Signal, code: i32, address: VirtualAddress) -> Self {
        Self::new(signal, code, [address.value(), 0, 0, 0])
    }

    /// News of a file: its events, and the descriptor by which it was to be told.
    #[must_use]
    pub const fn file(signal: Signal, code: i32, band: u32, descriptor: i32) -> Self {
        Self::new(signal, code, [band as u64, pair(descriptor, 0), 0, 0])
    }

    /// News of a child: its status is the exit code or the signal number, its times are in ticks of `USER_HZ`.
    #[must_use]
    pub const fn child(code: i32, child: i32, user: u32, status: i32, user_time: u64, system_time: u64) -> Self {
        Self::new(Signal::SIGCHLD, code, [pair(child, user), pair(status, 0), user_time, system_time])
    }

    /// From POSIX timer `timer` with the `sigev_value` given at its creation.
    #[must_use]
    pub const fn timer(signal: Signal, timer: i32, overrun: i32, value: u64) -> Self {
        Self::new(signal, code::SI_TIMER, [pair(timer, overrun.cast_unsigned()), value, 0, 0])
    }

    /// The signal's number, where it is one.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        Signal::from_argument(self.number)
    }

    /// `si_pid`.
    #[must_use]
    pub const fn sender(&self) -> i32 {
        (self.word(0) as u32).cast_signed()
    }

    /// `si_uid`.
    #[must_use]
    pub const fn user(&self) -> u32 {
        (self.word(0) >> 32) as u32
    }

    /// `si_status` of a child's news, `si_int` of a queued value.
    #[must_use]
    pub const fn status(&self) -> i32 {
        (self.word(1) as u32).cast_signed()
    }

    const fn word(&self, index: usize) -> u64 {
        let [a, b, c, d] = self.fields;
        match index {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }

    /// Whether a user process made it (`SI_FROMUSER`): its permission to send was checked.
    #[must_use]
    pub const fn is_from_user(&self) -> bool {
        self.code <= 0
    }

    /// The form for user memory, padded with zeros.
    #[must_use]
    pub fn to_user(&self) -> [u8; SIGINFO_SIZE] {
        let mut bytes = [0; SIGINFO_SIZE];
        if let Some(start) = bytes.get_mut(..size_of::<Self>()) {
            start.copy_from_slice(self.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets printed by a C program on Linux x86_64 (`offsetof(siginfo_t, ...)`), the same on arm64.
    #[test]
    fn members_are_where_linux_has_them() {
        let child = SignalInformation::child(code::CLD_EXITED, 0x0102_0304, 1000, 7, 11, 13).to_user();
        let word = |offset: usize| i32::from_ne_bytes(child[offset..offset + 4].try_into().unwrap());
        assert_eq!((word(0), word(4), word(8)), (17, 0, 1));
        assert_eq!((word(16), word(20), word(24)), (0x0102_0304, 1000, 7));
        assert_eq!((word(32), word(40)), (11, 13));
        let timer = SignalInformation::timer(Signal::SIGALRM, 5, 3, 0xdead_beef_0000_0001).to_user();
        assert_eq!(timer[16..32], [5, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde]);
        assert_eq!(timer[48..], [0; 80]);
    }

    #[test]
    fn accessors_read_back() {
        let information = SignalInformation::from_user(Signal::SIGTERM, code::SI_USER, -1, u32::MAX);
        assert_eq!((information.sender(), information.user()), (-1, u32::MAX));
        assert!(information.is_from_user());
        assert!(!SignalInformation::from_kernel(Signal::SIGTERM).is_from_user());
    }
}
