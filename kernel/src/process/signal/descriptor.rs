//! Signals read from a descriptor: `signalfd`.
//!
//! The file holds a set and nothing else: who reads gets the signals that wait for itself, its own thread's first. Readers of one
//! file in two processes get different signals, as on Linux.

use super::information::{SignalInformation, code};
use super::number::{Signal, SignalSet};
use super::wait;
use crate::base::{Errno, Result};
use crate::fs::file::FileOperations;
use crate::fs::{FileTraits, IoDestination, OpenFile, PollEvents, PollTable};
use crate::process::current_thread;
use crate::sync::{Interruptible, WakeReason, parking};
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{Immutable, IntoBytes};

/// A `signalfd`.
#[derive(Debug)]
pub struct SignalFile {
    set: AtomicU64,
}

/// `struct signalfd_siginfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct Record {
    signal: u32,
    error: i32,
    code: i32,
    sender: u32,
    user: u32,
    descriptor: i32,
    timer: u32,
    band: u32,
    overrun: u32,
    trap: u32,
    status: i32,
    integer: i32,
    pointer: u64,
    user_time: u64,
    system_time: u64,
    address: u64,
    address_bits: u16,
    padding: u16,
    system_call: i32,
    call_address: u64,
    architecture: u32,
    rest: [u32; 7],
}

const _: () = assert!(size_of::<Record>() == 128);

#[expect(clippy::cast_possible_truncation, reason = "members share 8-byte words")]
impl From<&SignalInformation> for Record {
    fn from(information: &SignalInformation) -> Self {
        let [first, second, third, fourth] = information.fields;
        let base = Self {
            signal: information.number.cast_unsigned(),
            error: information.error,
            code: information.code,
            ..Self::default()
        };
        let from_process = Self { sender: first as u32, user: (first >> 32) as u32, ..base };
        match (information.signal(), information.code) {
            (_, code::SI_USER | code::SI_TKILL | code::SI_KERNEL) => from_process,
            (_, code::SI_TIMER) => Self {
                timer: first as u32,
                overrun: (first >> 32) as u32,
                integer: (second as u32).cast_signed(),
                pointer: second,
                ..base
            },
            (Some(Signal::SIGCHLD), code) if code > 0 => {
                Self { status: (second as u32).cast_signed(), user_time: third, system_time: fourth, ..from_process }
            }
            (Some(signal), code) if code > 0 && SignalSet::SYNCHRONOUS.contains(signal) => {
                Self { address: first, ..base }
            }
            // Whichever signal tells of a file (`F_SETSIG`).
            (_, code::POLL_IN..=code::POLL_HUP) => {
                Self { band: first as u32, descriptor: (second as u32).cast_signed(), ..base }
            }
            _ => Self { integer: (second as u32).cast_signed(), pointer: second, ..from_process },
        }
    }
}

impl SignalFile {
    /// A file for the signals of `set`.
    #[must_use]
    pub fn new(set: SignalSet) -> Self {
        Self { set: AtomicU64::new(set.blockable().bits()) }
    }

    /// Which signals it reads.
    #[must_use]
    pub fn set(&self) -> SignalSet {
        SignalSet::from_bits(self.set.load(Ordering::Relaxed))
    }

    /// Changes that, and has those who poll look again.
    pub fn replace_set(&self, set: SignalSet) {
        self.set.store(set.blockable().bits(), Ordering::Relaxed);
        current_thread().process().signals.watchers().wake();
    }

    /// Takes the next signal, waiting for it unless the file does not block.
    fn take(&self, file: &OpenFile) -> Result<SignalInformation> {
        let thread = current_thread();
        let (signals, state) = (&thread.signals, &thread.process().signals);
        loop {
            if let Some(information) = wait::take(signals, state, self.set()) {
                return Ok(information);
            }
            if file.is_non_blocking() {
                return Err(Errno::EAGAIN);
            }
            let mut table = PollTable::for_current_thread();
            table.wait_on(state.watchers(), PollEvents::IN);
            if state.pending().union(signals.pending()).intersection(self.set()).is_empty()
                && parking::park(None, Interruptible::BySignal) == WakeReason::Interrupted
            {
                return Err(Errno::ERESTARTSYS);
            }
        }
    }
}

impl FileOperations for SignalFile {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        if destination.remaining() < size_of::<Record>() {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        let mut next = Some(self.take(file)?);
        while let Some(information) = next {
            done += destination.write(Record::from(&information).as_bytes())?;
            next = None;
            if destination.remaining() >= size_of::<Record>() {
                let thread = current_thread();
                next = wait::take(&thread.signals, &thread.process().signals, self.set());
            }
        }
        Ok(done)
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        let thread = current_thread();
        let state = &thread.process().signals;
        table.wait_on(state.watchers(), PollEvents::IN);
        if state.pending().union(thread.signals.pending()).intersection(self.set()).is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::IN
        }
    }
    fn describe(&self) -> String {
        String::from("anon_inode:[signalfd]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn records_have_linux_s_layout() {
        assert_eq!((offset_of!(Record, pointer), offset_of!(Record, address)), (48, 72));
        assert_eq!((offset_of!(Record, status), offset_of!(Record, architecture)), (40, 96));
        let child = Record::from(&SignalInformation::child(code::CLD_KILLED, 7, 1000, 9, 3, 4));
        assert_eq!((child.signal, child.code, child.sender, child.user), (17, 2, 7, 1000));
        assert_eq!((child.status, child.user_time, child.system_time), (9, 3, 4));
        let timer = Record::from(&SignalInformation::timer(Signal::SIGRTMIN, 5, 2, 0x1_0000_0007));
        assert_eq!((timer.timer, timer.overrun, timer.integer, timer.pointer), (5, 2, 7, 0x1_0000_0007));
        let queued = Record::from(&SignalInformation::new(Signal::SIGUSR1, code::SI_QUEUE, [8 | 9 << 32, 11, 0, 0]));
        assert_eq!((queued.sender, queued.user, queued.integer), (8, 9, 11));
    }
}
