//! Reading and writing a terminal, from either end.
//!
//! The rules of `read` are Linux's `n_tty_read`: a canonical read gives one line or a part of it; a raw one follows `VMIN` and
//! `VTIME` (termios(3)). Bytes go through a small buffer on the stack, because user memory is never touched under the lock.

use super::input_buffer::LineEnd;
use super::job_control::{check_change, signal};
use super::line_discipline::Room;
use super::termios::{LocalFlags, Special};
use super::{Terminal, Wakes, packet};
use crate::arch::{Current, TimerHardware};
use crate::base::{Errno, Nanoseconds, Result};
use crate::fs::pipe::Waiting;
use crate::fs::signal_hook::Readiness;
use crate::fs::{IoDestination, IoSource, PollEvents, PollTable};
use crate::sync::{Interruptible, WaitError};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// Bytes moved at a time.
const CHUNK: usize = 256;
/// Bytes that a write takes from its caller in one piece: all of them or, where one cannot be reached, none. As on Linux.
const TAKEN: usize = 2048;

/// What an attempt to read found.
enum Found {
    Bytes(usize, LineEnd),
    End,
    Failed(Errno),
}

/// Which files a hang-up has killed: those opened in an earlier generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation(Option<u32>);

impl Generation {
    /// Of a file that no hang-up reaches.
    pub const PERMANENT: Self = Self(None);
}

impl Terminal {
    /// The present generation, for a file being opened.
    pub fn generation(&self) -> Generation {
        Generation(Some(self.generation.load(Relaxed)))
    }

    /// Whether a file of that generation was hung up.
    #[inline]
    pub fn is_hung_up(&self, generation: Generation) -> bool {
        generation.0.is_some_and(|opened| opened != self.generation.load(Relaxed))
    }

    /// As [`Self::receive`] for a serial line, and waits until all is taken: until somebody reads what is there, or it is flushed.
    pub(in crate::device) fn receive_all(&self, bytes: &[u8]) {
        let mut left = bytes;
        loop {
            let taken = self.receive(left);
            left = left.get(taken..).unwrap_or(&[]);
            if left.is_empty() {
                return;
            }
            // A kernel thread's wait has no other end.
            let _ = self.master_writers.wait_until(None, Interruptible::No, || {
                (self.state.lock().discipline.room() != Room::Full).then_some(())
            });
        }
    }

    /// One attempt of a slave's read into `chunk`.
    fn try_read(&self, generation: Generation, chunk: &mut [u8], waiting: Waiting) -> Option<Found> {
        if self.is_hung_up(generation) {
            return Some(Found::End);
        }
        let mut wakes = Wakes::default();
        let mut state = self.state.lock();
        let found = if state.discipline.is_readable(1) {
            let (count, end) = if state.discipline.is_canonical() {
                state.discipline.input.read_line(chunk)
            } else {
                (state.discipline.input.read_raw(chunk), LineEnd::NotReached)
            };
            self.drain_pending(&mut state, &mut wakes);
            self.transmit(&mut state);
            // Whoever feeds a serial line waits as a master's writers do.
            wakes.master_room |= !self.is_pty();
            Some(Found::Bytes(count, end))
        } else if state.master_closed {
            Some(Found::Failed(Errno::EIO))
        } else if waiting == Waiting::Never {
            Some(Found::Failed(Errno::EAGAIN))
        } else {
            None
        };
        let foreground = state.foreground;
        drop(state);
        self.settle(&wakes, foreground);
        found
    }

    /// Reads as a program does.
    ///
    /// # Errors
    /// `EIO` for a background process that may not or a closed master, `EAGAIN`, `ERESTARTSYS`, `EFAULT`.
    pub fn read(
        self: &Arc<Self>,
        generation: Generation,
        destination: &mut IoDestination<'_>,
        waiting: Waiting,
    ) -> Result<usize> {
        if self.is_hung_up(generation) {
            return Ok(0);
        }
        check_change(self, signal::READ)?;
        let _turn = self.reading.take(waiting)?;
        let (canonical, minimum, tenths) = self.with_state(|state| {
            let termios = state.discipline.termios();
            let character = |special| u64::from(termios.character(special));
            (state.discipline.is_canonical(), character(Special::Minimum), character(Special::Time))
        });
        let timeout = Nanoseconds::from_milliseconds(tenths * 100);
        let deadline_from_now = || Current::now().saturating_add(timeout);
        // Without VMIN the time runs from the start of the read; with it from each byte, beginning with the first.
        let mut deadline = (!canonical && minimum == 0).then(deadline_from_now);
        // With both zero a read takes what is there.
        let at_once = deadline.is_some() && tenths == 0;
        let waiting = if at_once { Waiting::Never } else { waiting };
        let minimum = if canonical { 0 } else { minimum.max(1) };
        let mut chunk = [0; CHUNK];
        while !destination.is_finished() {
            let wanted = destination.remaining().min(CHUNK);
            let target = chunk.get_mut(..wanted).ok_or(Errno::EFAULT)?;
            let attempt = || self.try_read(generation, target, waiting);
            let found = match self.readers.wait_until(deadline, Interruptible::BySignal, attempt) {
                Ok(found) => found,
                Err(WaitError::TimedOut) => break,
                Err(WaitError::Interrupted) if destination.transferred() > 0 => break,
                Err(WaitError::Interrupted) => return Err(Errno::ERESTARTSYS),
            };
            match found {
                Found::Bytes(count, end) => {
                    destination.write(chunk.get(..count).unwrap_or(&[]))?;
                    if end == LineEnd::Reached {
                        break;
                    }
                    if canonical && destination.is_finished() {
                        self.with_state(|state| state.discipline.input.skip_end_of_file());
                    }
                    let more = self.with_state(|state| state.discipline.is_readable(1));
                    if !more && destination.transferred() as u64 >= minimum {
                        break;
                    }
                    if tenths != 0 && !canonical {
                        deadline = Some(deadline_from_now());
                    }
                }
                Found::End => break,
                Found::Failed(_) if destination.transferred() > 0 => break,
                Found::Failed(Errno::EAGAIN) if at_once => break,
                Found::Failed(error) => return Err(error),
            }
        }
        Ok(destination.transferred())
    }

    /// Writes as a program does.
    ///
    /// # Errors
    /// `EIO` after a hang-up or without a master, or for an orphaned background group under `TOSTOP`; `EAGAIN`, `ERESTARTSYS`, `EFAULT`.
    pub fn write(
        self: &Arc<Self>,
        generation: Generation,
        source: &mut IoSource<'_>,
        waiting: Waiting,
    ) -> Result<usize> {
        if self.is_hung_up(generation) {
            return Err(Errno::EIO);
        }
        if self.with_state(|state| state.discipline.termios().local.contains(LocalFlags::TOSTOP)) {
            check_change(self, signal::WRITE)?;
        }
        let _turn = self.writing.take(waiting)?;
        let limit = self.output_limit();
        let mut taken = [0; TAKEN];
        while !source.is_finished() {
            let count = source.read_whole(&mut taken)?;
            let mut rest = taken.get(..count).unwrap_or(&[]);
            while !rest.is_empty() {
                match self.write_piece(generation, rest, limit, waiting) {
                    Ok(passed) => rest = rest.get(passed..).unwrap_or(&[]),
                    Err(error) => {
                        source.discount(rest.len());
                        self.with_state(|state| state.wants_room = self.listeners.are_used());
                        return Err(error);
                    }
                }
            }
        }
        Ok(source.transferred())
    }

    /// Waits for room and passes on what of `bytes` there is room for; gives their number.
    fn write_piece(
        self: &Arc<Self>,
        generation: Generation,
        bytes: &[u8],
        limit: usize,
        waiting: Waiting,
    ) -> Result<usize> {
        let attempt = || {
            if self.is_hung_up(generation) {
                return Some(Err(Errno::EIO));
            }
            let state = self.state.lock();
            if state.master_closed {
                Some(Err(Errno::EIO))
            } else if state.output.len() < limit && !state.discipline.is_stopped() {
                Some(Ok(limit - state.output.len()))
            } else if waiting == Waiting::Never {
                Some(Err(Errno::EAGAIN))
            } else {
                None
            }
        };
        let room = self.writers.wait(attempt)??;
        let bytes = bytes.get(..bytes.len().min(room).min(CHUNK)).unwrap_or(bytes);
        {
            let mut state = self.state.lock();
            let state = &mut *state;
            state.discipline.process_output(bytes, &mut state.output, usize::MAX);
            self.transmit(state);
        }
        if self.is_pty() {
            self.master_readers.wake_all();
            self.master_read_poll.wake();
            if !bytes.is_empty() {
                self.master_listeners.tell(Readiness::Input);
            }
        }
        Ok(bytes.len())
    }

    /// What a program may do without waiting.
    pub fn poll(&self, generation: Generation, table: &mut PollTable) -> PollEvents {
        table.wait_on(&self.read_poll, PollEvents::READABLE | PollEvents::HUP);
        table.wait_on(&self.write_poll, PollEvents::WRITABLE | PollEvents::HUP);
        if self.is_hung_up(generation) {
            return PollEvents::ALWAYS_READY | PollEvents::ERR | PollEvents::HUP;
        }
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        if state.discipline.is_readable(state.discipline.poll_minimum()) {
            events |= PollEvents::READABLE;
        }
        if state.master_closed {
            events |= PollEvents::HUP;
        }
        if state.output.len() < self.output_limit() && !state.discipline.is_stopped() {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    /// Reads as the master does: what the slave wrote.
    ///
    /// # Errors
    /// `EIO` once every slave is closed and nothing is left, `EAGAIN`, `ERESTARTSYS`, `EFAULT`.
    pub fn read_as_master(&self, destination: &mut IoDestination<'_>, waiting: Waiting) -> Result<usize> {
        if destination.is_finished() {
            return Ok(0);
        }
        let mut chunk = [0; CHUNK];
        let attempt = |chunk: &mut [u8]| {
            let mut state = self.state.lock();
            if state.packet.enabled && state.packet.status != 0 {
                let status = core::mem::take(&mut state.packet.status);
                return Some(Ok((usize::from(chunk.first_mut().map(|slot| *slot = status).is_some()), true)));
            }
            if !state.output.is_empty() {
                let header = usize::from(state.packet.enabled);
                if let (1, Some(slot)) = (header, chunk.first_mut()) {
                    *slot = 0;
                }
                let room = chunk.get_mut(header..).unwrap_or(&mut []);
                let count = state.output.len().min(room.len());
                for (slot, byte) in room.iter_mut().zip(state.output.drain(..count)) {
                    *slot = byte;
                }
                return Some(Ok((header + count, false)));
            }
            if state.slave_was_open && state.slaves == 0 {
                return Some(Err(Errno::EIO));
            }
            (waiting == Waiting::Never).then_some(Err(Errno::EAGAIN))
        };
        // The first bytes may be waited for; further ones are taken while they are there.
        let wanted = destination.remaining().min(CHUNK);
        let first = chunk.get_mut(..wanted).ok_or(Errno::EFAULT)?;
        let (mut count, status) = self.master_readers.wait(|| attempt(first))??;
        loop {
            destination.write(chunk.get(..count).unwrap_or(&[]))?;
            let wanted = destination.remaining().min(CHUNK);
            let packets = status || self.with_state(|state| state.packet.enabled);
            if packets || wanted == 0 || self.with_state(|state| state.output.is_empty()) {
                break;
            }
            match attempt(chunk.get_mut(..wanted).ok_or(Errno::EFAULT)?) {
                Some(Ok((more, _))) => count = more,
                _ => break,
            }
        }
        self.wake_writers();
        Ok(destination.transferred())
    }

    /// Writes as the master does: what is typed.
    ///
    /// # Errors
    /// `EIO` once every slave is closed, `EAGAIN`, `ERESTARTSYS`, `EFAULT`.
    pub fn write_as_master(&self, source: &mut IoSource<'_>, waiting: Waiting) -> Result<usize> {
        let mut taken = [0; TAKEN];
        while !source.is_finished() {
            let count = source.read_whole(&mut taken)?;
            let mut rest = taken.get(..count).unwrap_or(&[]);
            while !rest.is_empty() {
                match self.write_piece_as_master(rest, waiting) {
                    Ok(passed) => rest = rest.get(passed..).unwrap_or(&[]),
                    Err(error) => {
                        source.discount(rest.len());
                        self.with_state(|state| state.master_wants_room = self.master_listeners.are_used());
                        return Err(error);
                    }
                }
            }
        }
        Ok(source.transferred())
    }

    /// Waits for room and hands on what of `bytes` there is room for; gives their number.
    fn write_piece_as_master(&self, bytes: &[u8], waiting: Waiting) -> Result<usize> {
        let attempt = || {
            let state = self.state.lock();
            if state.slave_was_open && state.slaves == 0 {
                Some(Err(Errno::EIO))
            } else if state.pending.len() < super::PTY_QUEUE {
                Some(Ok(super::PTY_QUEUE - state.pending.len()))
            } else if waiting == Waiting::Never {
                Some(Err(Errno::EAGAIN))
            } else {
                None
            }
        };
        let room = self.master_writers.wait(attempt)??;
        let bytes = bytes.get(..bytes.len().min(room).min(CHUNK)).unwrap_or(bytes);
        self.receive(bytes);
        Ok(bytes.len())
    }

    /// What a master may do without waiting.
    pub fn poll_as_master(&self, table: &mut PollTable) -> PollEvents {
        table.wait_on(&self.master_read_poll, PollEvents::READABLE | PollEvents::HUP | PollEvents::PRI);
        table.wait_on(&self.master_write_poll, PollEvents::WRITABLE);
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        if !state.output.is_empty() {
            events |= PollEvents::READABLE;
        }
        if state.packet.enabled && state.packet.status != 0 {
            events |= PollEvents::READABLE | PollEvents::PRI;
        }
        if state.slave_was_open && state.slaves == 0 {
            events |= PollEvents::HUP;
        }
        if state.pending.len() < super::PTY_QUEUE {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    /// Empties queues as `TCFLSH` does.
    pub(super) fn flush(&self, input: bool, output: bool) {
        let mut state = self.state.lock();
        if input {
            state.discipline.flush_input();
            state.pending.clear();
            state.packet.status |= packet::FLUSH_READ;
        }
        if output {
            state.output.clear();
            state.held_echo.clear();
            state.packet.status |= packet::FLUSH_WRITE;
        }
        drop(state);
        self.wake_everybody();
    }

    /// Waits until what was written has gone out (`tcdrain`). A pseudo terminal's output has gone out once it is in the master's queue.
    pub(super) fn drain(&self) -> Result<()> {
        if self.is_pty() {
            return Ok(());
        }
        Ok(self.writers.wait(|| self.state.lock().output.is_empty().then_some(()))?)
    }
}
