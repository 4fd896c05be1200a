//! How an interrupted call goes on when no handler ran: what `restart_syscall` needs.
//!
//! A call that sleeps towards a point in time returns `ERESTARTBLOCK` after leaving a [`Restart`] with its thread, so that it does
//! not start its whole time again.

use crate::base::{Nanoseconds, VirtualAddress};

/// The rest of an interrupted call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// Nothing to go on with: `restart_syscall` answers `EINTR`.
    #[default]
    None,
    /// `nanosleep` or `clock_nanosleep`.
    Sleep {
        /// The clock's number.
        clock: i32,
        /// The end, on that clock.
        deadline: Nanoseconds,
        /// Where the time left goes on a further interruption; null for nowhere.
        remaining: VirtualAddress,
    },
    /// `poll`.
    Poll {
        /// The array of descriptors.
        descriptors: VirtualAddress,
        /// Its length.
        count: u32,
        /// The end, on the monotonic clock.
        deadline: Option<Nanoseconds>,
    },
    /// `futex` with `FUTEX_WAIT`.
    Futex {
        /// The word.
        address: VirtualAddress,
        /// The value that it has to have.
        expected: u32,
        /// The set of wakers to listen to.
        bitset: u32,
        /// The operation with its flags.
        operation: u32,
        /// The end, on the monotonic clock.
        deadline: Nanoseconds,
    },
}
