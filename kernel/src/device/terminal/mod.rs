//! Terminals: settings, the line discipline, job control, reading and writing.
//!
//! A [`Terminal`] is a serial line or the slave side of a pseudo terminal; files open on it are [`file::TerminalFile`]s. What
//! arrives from the line (or the master) goes through [`Terminal::receive`], what programs write through the discipline into
//! the output queue, from which a serial line takes it at once and a master reads it.
//!
//! Everything runs in thread context: a serial line's interrupt only stores bytes, a kernel thread feeds them here. The state is
//! under one spinlock of rank `FileObject`; signals are sent, waiters woken and user memory touched after it is released.

pub mod control;
pub mod file;
pub mod input_buffer;
pub mod job_control;
pub mod line_discipline;
pub mod process_control;
pub mod termios;
mod transfer;
mod turn;

use crate::fs::DeviceNumber;
use crate::fs::file::asynchronous::Listeners;
use crate::fs::poll::PollQueue;
use crate::fs::signal_hook::Readiness;
use crate::sync::{LockRank, SpinLock, WaitQueue};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use job_control::signal;
use line_discipline::{KeySignal, LineDiscipline, Room};
use termios::{Termios, UserTermios, WindowSize};
use turn::Turn;
use zerocopy::FromZeros;

/// A counted reference to a terminal.
pub type TerminalReference = Arc<Terminal>;

/// Bytes that a serial line's output queue holds while output is stopped.
const SERIAL_OUTPUT: usize = 4096;
/// Bytes between a slave's writers and the master's reader, and the other way beyond the line discipline's buffer.
const PTY_QUEUE: usize = 65536;

/// A line that sends bytes away.
pub trait SerialLine: Send + Sync {
    /// Sends `bytes`, waiting for the hardware; called with the terminal's lock held.
    fn transmit(&self, bytes: &[u8]);
}

/// What is at the other end of a terminal.
pub enum Backend {
    /// A serial line.
    Serial(&'static dyn SerialLine),
    /// A pseudo terminal's master.
    Pty,
}

/// What packet mode has to tell the master.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketMode {
    /// Whether it is on.
    pub enabled: bool,
    /// `TIOCPKT_*` bits not yet read.
    pub status: u8,
}

/// `TIOCPKT_*`.
pub mod packet {
    /// The read queue was flushed.
    pub const FLUSH_READ: u8 = 1;
    /// The write queue was flushed.
    pub const FLUSH_WRITE: u8 = 2;
    /// Output was stopped.
    pub const STOP: u8 = 4;
    /// Output was started.
    pub const START: u8 = 8;
    /// STOP and START are not `^S` and `^Q`, or `IXON` is off.
    pub const NO_STOP: u8 = 16;
    /// `^S` and `^Q` control output.
    pub const DO_STOP: u8 = 32;
}

/// What is under a terminal's lock.
pub struct State {
    /// Settings and input.
    pub discipline: LineDiscipline,
    /// Bytes on their way out.
    pub output: VecDeque<u8>,
    /// Echo that waits until output is started.
    held_echo: VecDeque<u8>,
    /// Bytes from the master for which the discipline has no room yet.
    pending: VecDeque<u8>,
    /// The session whose controlling terminal it is, and its foreground group; 0 for none.
    session: i32,
    foreground: i32,
    /// The window's size.
    pub window: WindowSize,
    /// The master is closed.
    pub master_closed: bool,
    /// Slaves that are open, and whether there ever was one (a master reads `EIO` without).
    pub slaves: u32,
    /// See there.
    pub slave_was_open: bool,
    /// Packet mode.
    pub packet: PacketMode,
    /// `TIOCSLCKTRMIOS`: a set bit or a character that is not 0 keeps that setting from being changed.
    pub locks: UserTermios,
    /// `TIOCEXCL`.
    pub exclusive: bool,
    /// `TIOCSPTLCK`.
    pub locked: bool,
    /// A slave's writer found no room, and the master's: who listens by signal is told when there is some.
    wants_room: bool,
    master_wants_room: bool,
}

/// Which end of a terminal a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Where programs read and write.
    Slave,
    /// A pseudo terminal's other end.
    Master,
}

/// A terminal.
pub struct Terminal {
    number: DeviceNumber,
    name: String,
    backend: Backend,
    initial: Termios,
    state: SpinLock<State>,
    /// Raised by each hang-up: files opened before are dead.
    generation: AtomicU32,
    reading: Turn,
    writing: Turn,
    readers: WaitQueue,
    writers: WaitQueue,
    read_poll: PollQueue,
    write_poll: PollQueue,
    /// The master's readers and writers.
    master_readers: WaitQueue,
    master_writers: WaitQueue,
    master_read_poll: PollQueue,
    master_write_poll: PollQueue,
    /// Who hears by signal on either side, of input and of room.
    listeners: Listeners,
    master_listeners: Listeners,
}

impl Terminal {
    /// A terminal called `name` below `/dev`.
    #[must_use]
    pub fn new(name: String, number: DeviceNumber, termios: Termios, backend: Backend) -> Arc<Self> {
        Arc::new(Self {
            number,
            name,
            backend,
            initial: termios,
            state: SpinLock::new(
                LockRank::FileObject,
                State {
                    discipline: LineDiscipline::new(termios),
                    output: VecDeque::new(),
                    held_echo: VecDeque::new(),
                    pending: VecDeque::new(),
                    session: 0,
                    foreground: 0,
                    window: WindowSize::default(),
                    master_closed: false,
                    slaves: 0,
                    slave_was_open: false,
                    packet: PacketMode::default(),
                    locks: UserTermios::new_zeroed(),
                    exclusive: false,
                    locked: false,
                    wants_room: false,
                    master_wants_room: false,
                },
            ),
            generation: AtomicU32::new(0),
            reading: Turn::new(),
            writing: Turn::new(),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            read_poll: PollQueue::new(),
            write_poll: PollQueue::new(),
            master_readers: WaitQueue::new(),
            master_writers: WaitQueue::new(),
            master_read_poll: PollQueue::new(),
            master_write_poll: PollQueue::new(),
            listeners: Listeners::new(),
            master_listeners: Listeners::new(),
        })
    }

    /// Its device number.
    #[must_use]
    pub const fn number(&self) -> DeviceNumber {
        self.number
    }
    /// Its name below `/dev`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Who hears by signal of what programs can read and write.
    pub(super) const fn listeners(&self) -> &Listeners {
        &self.listeners
    }
    /// Who hears so at the master's end.
    pub(super) const fn master_listeners(&self) -> &Listeners {
        &self.master_listeners
    }
    /// Whether a pseudo terminal's master is at the other end.
    #[must_use]
    pub const fn is_pty(&self) -> bool {
        matches!(self.backend, Backend::Pty)
    }
    /// The session and the foreground process group; 0 for none.
    #[must_use]
    pub fn job(&self) -> (i32, i32) {
        let state = self.state.lock();
        (state.session, state.foreground)
    }
    fn set_job(&self, session: i32, foreground: i32) {
        let mut state = self.state.lock();
        (state.session, state.foreground) = (session, foreground);
    }
    /// Looks at or changes the state; the closure neither sleeps nor touches user memory.
    pub fn with_state<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock())
    }

    const fn output_limit(&self) -> usize {
        if self.is_pty() { PTY_QUEUE } else { SERIAL_OUTPUT }
    }

    /// Sends what is queued if the line takes it; the caller wakes the master afterwards.
    fn transmit(&self, state: &mut State) {
        if let Backend::Serial(line) = self.backend {
            if state.discipline.is_stopped() {
                return;
            }
            let (first, second) = state.output.as_slices();
            line.transmit(first);
            line.transmit(second);
            state.output.clear();
        }
    }

    /// Takes what arrived from the line: edits, echoes, sends signals, wakes readers. Bytes for which there is no room are kept for a
    /// while on a pseudo terminal, and left to the caller on a serial line. Gives how many were taken.
    pub fn receive(&self, bytes: &[u8]) -> usize {
        let mut taken = bytes.len();
        let mut wakes = Wakes::default();
        let mut state = self.state.lock();
        for (index, &byte) in bytes.iter().enumerate() {
            if !state.pending.is_empty() || state.discipline.room() == Room::Full {
                if self.is_pty() {
                    let room = PTY_QUEUE - state.pending.len().min(PTY_QUEUE);
                    let rest = bytes.get(index..).unwrap_or(&[]);
                    state.pending.extend(rest.iter().take(room));
                    taken = index + rest.len().min(room);
                } else {
                    taken = index;
                }
                break;
            }
            self.receive_byte(&mut state, byte, &mut wakes);
        }
        self.transmit(&mut state);
        let foreground = state.foreground;
        drop(state);
        self.settle(&wakes, foreground);
        taken
    }

    fn receive_byte(&self, state: &mut State, byte: u8, wakes: &mut Wakes) {
        let was_stopped = state.discipline.is_stopped();
        let waiting = state.output.len();
        let State { discipline, output, held_echo, .. } = state;
        let received = discipline.receive(byte, if was_stopped { held_echo } else { output });
        if received.flush {
            if was_stopped {
                output.clear();
            }
            state.packet.status |= packet::FLUSH_READ | packet::FLUSH_WRITE;
        }
        if received.flow_changed {
            self.flow_changed(state);
        }
        wakes.readable |= received.readable;
        // Each line is told of, and without lines what comes together once.
        wakes.lines += u32::from(received.readable && state.discipline.is_canonical());
        wakes.echo |= state.output.len() > waiting;
        wakes.output = true;
        if let Some(signal) = received.signal {
            wakes.signals |= 1 << signal as u32;
        }
    }

    /// Output was stopped or started: echo that waited goes out, the master is told.
    pub(in crate::device) fn flow_changed(&self, state: &mut State) {
        let stopped = state.discipline.is_stopped();
        if !stopped {
            let State { output, held_echo, .. } = state;
            output.append(held_echo);
        }
        state.packet.status &= !(packet::STOP | packet::START);
        state.packet.status |= if stopped { packet::STOP } else { packet::START };
        self.transmit(state);
    }

    /// Moves bytes that waited for room into the discipline; called after a read has made some.
    fn drain_pending(&self, state: &mut State, wakes: &mut Wakes) {
        while !state.pending.is_empty() && state.discipline.room() != Room::Full {
            if let Some(byte) = state.pending.pop_front() {
                self.receive_byte(state, byte, wakes);
                wakes.master_room = true;
            }
        }
    }

    /// Does what had to wait for the lock's release.
    fn settle(&self, wakes: &Wakes, foreground: i32) {
        if wakes.signals != 0
            && foreground != 0
            && let Some(job_control) = job_control::job_control()
        {
            for (key, number) in [
                (KeySignal::Interrupt, signal::INTERRUPT),
                (KeySignal::Quit, signal::QUIT),
                (KeySignal::Stop, signal::STOP),
            ] {
                if wakes.signals >> key as u32 & 1 == 1 {
                    job_control.signal_group(foreground, number);
                }
            }
        }
        if wakes.readable {
            self.wake_readers();
            (0..wakes.lines.max(1)).for_each(|_| self.listeners.tell(Readiness::Input));
        }
        if wakes.echo {
            self.master_listeners.tell(Readiness::Input);
        }
        if wakes.output {
            self.wake_output();
        }
        if wakes.master_room {
            self.master_writers.wake_all();
            self.master_write_poll.wake();
            if self.master_listeners.are_used()
                && self.with_state(|state| core::mem::take(&mut state.master_wants_room))
            {
                self.master_listeners.tell(Readiness::Output);
            }
        }
    }

    fn wake_readers(&self) {
        self.readers.wake_all();
        self.read_poll.wake();
    }

    /// There may be output for the master, or room for writers.
    pub(in crate::device) fn wake_output(&self) {
        self.master_readers.wake_all();
        self.master_read_poll.wake();
        self.wake_writers();
    }

    /// There is, or may be, room for what programs write.
    fn wake_writers(&self) {
        self.writers.wake_all();
        self.write_poll.wake();
        let limit = self.output_limit();
        let has_room = |state: &State| state.output.len() < limit && !state.discipline.is_stopped();
        if self.listeners.are_used()
            && self.with_state(|state| has_room(state) && core::mem::take(&mut state.wants_room))
        {
            self.listeners.tell(Readiness::Output);
        }
    }

    /// Everybody who waits looks again: settings changed, or a side is gone.
    pub(in crate::device) fn wake_everybody(&self) {
        self.wake_readers();
        self.wake_output();
        self.master_writers.wake_all();
        self.master_write_poll.wake();
        self.reading.wake();
        self.writing.wake();
    }

    /// Hangs up: every file open on it (but the console's) is dead, its session loses it; a pseudo terminal's settings are the initial ones again.
    pub fn hang_up(self: &Arc<Self>) {
        let (session, foreground) = {
            let mut state = self.state.lock();
            // A serial line keeps its settings, as on Linux: what speed it runs at is not the session's affair.
            let settings = if self.is_pty() { self.initial } else { *state.discipline.termios() };
            state.discipline = LineDiscipline::new(settings);
            state.held_echo.clear();
            if !self.is_pty() {
                state.output.clear();
            }
            self.generation.fetch_add(1, Relaxed);
            (core::mem::take(&mut state.session), core::mem::take(&mut state.foreground))
        };
        if session != 0 {
            job_control::hung_up(session, foreground);
        }
        self.wake_everybody();
        self.listeners.dismiss_dead();
    }
}

/// What is to be done once the lock is released.
#[derive(Clone, Copy, Debug, Default)]
struct Wakes {
    readable: bool,
    /// Of what is readable, how many lines.
    lines: u32,
    /// There is more for the master to read.
    echo: bool,
    output: bool,
    master_room: bool,
    /// A bit for each [`KeySignal`].
    signals: u32,
}

impl core::fmt::Debug for Terminal {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Terminal({})", self.name)
    }
}

#[cfg(test)]
mod tests;
