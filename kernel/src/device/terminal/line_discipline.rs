//! The line discipline as a state machine without locks or waiting: Linux's `n_tty`.
//!
//! [`LineDiscipline::receive`] takes a byte from the line: it edits the input buffer, puts the echo into the output queue and says
//! what else must happen ([`Received`]). [`LineDiscipline::process_output`] (in `output`) is the way of a program's bytes to the line. Reading
//! is in [`super::input_buffer`]. The terminal around it owns the lock, the queues and the waiting.
//!
//! Columns are followed on both ways out, because tabs and erasing depend on them: `column` is where the cursor is,
//! `canonical_column` where it was when the line being edited began.

mod output;

use super::input_buffer::{InputBuffer, SIZE};
use super::termios::{DISABLED, InputFlags, LocalFlags, Special, Termios};
use alloc::collections::VecDeque;

/// A signal that a key sends to the foreground process group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySignal {
    /// `SIGINT`.
    Interrupt,
    /// `SIGQUIT`.
    Quit,
    /// `SIGTSTP`.
    Stop,
}

/// What a received byte led to, beside echo.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Readers have something new.
    pub readable: bool,
    /// A signal is due.
    pub signal: Option<KeySignal>,
    /// The queues were to be flushed with the signal: the terminal drops its output too.
    pub flush: bool,
    /// Output was stopped or started.
    pub flow_changed: bool,
}

/// What became of an offered byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room.
    Free,
    /// The buffer is full of one unfinished line: further bytes replace the last one.
    Overwrite,
    /// There is no room until somebody reads.
    Full,
}

/// The state machine.
#[derive(Debug)]
pub struct LineDiscipline {
    termios: Termios,
    /// What was received.
    pub input: InputBuffer,
    column: usize,
    canonical_column: usize,
    literal_next: bool,
    erasing: bool,
    stopped: bool,
}

const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

const fn is_word(byte: u8) -> bool {
    // Linux's table is Latin-1's.
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

impl LineDiscipline {
    /// A discipline with empty buffers.
    #[must_use]
    pub fn new(termios: Termios) -> Self {
        Self {
            termios,
            input: InputBuffer::new(),
            column: 0,
            canonical_column: 0,
            literal_next: false,
            erasing: false,
            stopped: false,
        }
    }

    /// The settings.
    #[must_use]
    pub const fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Whether output is stopped (STOP, `TCOOFF`).
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops or starts output; says whether that changed anything.
    pub const fn set_stopped(&mut self, stopped: bool) -> bool {
        let changed = self.stopped != stopped;
        self.stopped = stopped;
        changed
    }

    /// Whether reads give lines.
    #[inline]
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.termios.local.contains(LocalFlags::ICANON) && !self.termios.local.contains(LocalFlags::EXTPROC)
    }

    /// Replaces the settings. Says whether output was started by it.
    pub fn set_termios(&mut self, new: Termios) -> bool {
        let old = core::mem::replace(&mut self.termios, new);
        if (old.local ^ new.local).intersects(LocalFlags::ICANON | LocalFlags::EXTPROC) {
            if self.is_canonical() {
                self.input.become_canonical();
            } else {
                self.input.become_raw();
            }
            self.erasing = false;
            self.literal_next = false;
        }
        let flow_ended = old.input.contains(InputFlags::IXON) && !new.input.contains(InputFlags::IXON);
        flow_ended && self.set_stopped(false)
    }

    /// Forgets what was received (`TCIFLUSH`).
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.erasing = false;
        self.literal_next = false;
    }

    /// Whether a read would give something now. `minimum` is 1 for readers; `poll` gives `VMIN` as [`Self::poll_minimum`] has it.
    #[inline]
    #[must_use]
    pub fn is_readable(&self, minimum: usize) -> bool {
        if self.is_canonical() { self.input.line_bytes() != 0 } else { self.input.count() >= minimum }
    }

    /// How many bytes `poll` waits for without lines.
    #[must_use]
    pub fn poll_minimum(&self) -> usize {
        let minimum = usize::from(self.termios.character(Special::Minimum));
        if self.termios.character(Special::Time) == 0 && minimum != 0 { minimum } else { 1 }
    }

    /// What `FIONREAD` answers.
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        if !self.is_canonical() {
            return self.input.count();
        }
        // End-of-file marks are no bytes.
        let lines = self.input.line_bytes();
        let marks = (0..lines)
            .map(|offset| self.input.tail.wrapping_add(offset))
            .filter(|&position| self.input.line_ends_at(position) && self.input.at(position) == DISABLED)
            .count();
        lines - marks
    }

    /// Whether the input buffer takes another byte.
    #[must_use]
    pub fn room(&self) -> Room {
        // One place is kept for the line's end; marking parity errors needs three.
        let needed = if self.termios.input.contains(InputFlags::PARMRK) { 4 } else { 2 };
        if self.input.count() + needed <= SIZE {
            Room::Free
        } else if self.is_canonical() && self.input.line_bytes() == 0 {
            Room::Overwrite
        } else {
            Room::Full
        }
    }

    /// Takes a byte from the line, for which [`Self::room`] is not [`Room::Full`].
    pub fn receive(&mut self, byte: u8, echo: &mut VecDeque<u8>) -> Received {
        let mut byte = byte;
        let flags = self.termios.input;
        let mut result = Received::default();
        if flags.contains(InputFlags::ISTRIP) {
            byte &= 0x7f;
        }
        if flags.contains(InputFlags::IUCLC) && self.has(LocalFlags::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.has(LocalFlags::EXTPROC) {
            self.input.push(byte);
            result.readable = true;
            return result;
        }
        if self.room() == Room::Overwrite && self.input.edited() != 0 {
            self.input.unpush();
        }
        if self.literal_next {
            self.literal_next = false;
            self.store(byte, echo, &mut result);
        } else {
            self.receive_special(byte, echo, &mut result);
        }
        result.readable |= !self.is_canonical() && self.input.count() != 0;
        result
    }

    #[inline]
    fn has(&self, flags: LocalFlags) -> bool {
        self.termios.local.contains(flags)
    }

    #[inline]
    fn is(&self, byte: u8, special: Special) -> bool {
        self.termios.is(byte, special)
    }

    fn receive_special(&mut self, byte: u8, echo: &mut VecDeque<u8>, result: &mut Received) {
        let flags = self.termios.input;
        if flags.contains(InputFlags::IXON) {
            if self.is(byte, Special::Start) {
                result.flow_changed = self.set_stopped(false);
                return;
            }
            if self.is(byte, Special::Stop) {
                result.flow_changed = self.set_stopped(true);
                return;
            }
        }
        if self.has(LocalFlags::ISIG)
            && let Some(signal) = self.signal_of(byte)
        {
            result.signal = Some(signal);
            if !self.has(LocalFlags::NOFLSH) {
                result.flush = true;
                self.flush_input();
                echo.clear();
            }
            if flags.contains(InputFlags::IXON) {
                result.flow_changed = self.set_stopped(false);
            }
            if self.has(LocalFlags::ECHO) {
                self.echo_character(byte, echo);
            }
            return;
        }
        if flags.contains(InputFlags::IXON | InputFlags::IXANY) {
            result.flow_changed = self.set_stopped(false);
        }
        let byte = match byte {
            b'\r' if flags.contains(InputFlags::IGNCR) => return,
            b'\r' if flags.contains(InputFlags::ICRNL) => b'\n',
            b'\n' if flags.contains(InputFlags::INLCR) => b'\r',
            other => other,
        };
        if self.is_canonical() && self.edit(byte, echo, result) {
            return;
        }
        self.store(byte, echo, result);
    }

    fn signal_of(&self, byte: u8) -> Option<KeySignal> {
        if self.is(byte, Special::Interrupt) {
            Some(KeySignal::Interrupt)
        } else if self.is(byte, Special::Quit) {
            Some(KeySignal::Quit)
        } else if self.is(byte, Special::Suspend) {
            Some(KeySignal::Stop)
        } else {
            None
        }
    }

    /// Stores an ordinary byte and echoes it.
    fn store(&mut self, byte: u8, echo: &mut VecDeque<u8>, _result: &mut Received) {
        if self.has(LocalFlags::ECHO) {
            self.finish_erasing(echo);
            if byte == b'\n' {
                self.echo_raw(b'\n', echo);
            } else {
                self.note_line_start();
                self.echo_character(byte, echo);
            }
        }
        if byte == 0xff && self.termios.input.contains(InputFlags::PARMRK) {
            self.input.push(byte);
        }
        self.input.push(byte);
    }

    /// The editing characters of canonical mode. Gives whether the byte was one of them.
    fn edit(&mut self, byte: u8, echo: &mut VecDeque<u8>, result: &mut Received) -> bool {
        let extended = self.has(LocalFlags::IEXTEN);
        if self.is(byte, Special::Erase)
            || self.is(byte, Special::Kill)
            || (extended && self.is(byte, Special::WordErase))
        {
            self.erase(byte, echo);
            return true;
        }
        if extended && self.is(byte, Special::LiteralNext) {
            self.literal_next = true;
            if self.has(LocalFlags::ECHO) {
                self.finish_erasing(echo);
                if self.has(LocalFlags::ECHOCTL) {
                    self.echo_raw(b'^', echo);
                    self.echo_raw(8, echo);
                }
            }
            return true;
        }
        if extended && self.is(byte, Special::Reprint) && self.has(LocalFlags::ECHO) {
            self.finish_erasing(echo);
            self.echo_character(byte, echo);
            self.echo_raw(b'\n', echo);
            let mut position = self.input.canonical_head;
            while position != self.input.head {
                self.echo_character(self.input.at(position), echo);
                position = position.wrapping_add(1);
            }
            return true;
        }
        let end = if byte == b'\n' {
            if self.has(LocalFlags::ECHO) || self.has(LocalFlags::ECHONL) {
                self.echo_raw(b'\n', echo);
            }
            byte
        } else if self.is(byte, Special::EndOfFile) {
            DISABLED
        } else if self.is(byte, Special::EndOfLine) || (extended && self.is(byte, Special::EndOfLine2)) {
            if self.has(LocalFlags::ECHO) {
                self.note_line_start();
                self.echo_character(byte, echo);
            }
            byte
        } else {
            return false;
        };
        self.input.push_line_end(end);
        result.readable = true;
        true
    }

    fn note_line_start(&mut self) {
        if self.input.edited() == 0 {
            self.canonical_column = self.column;
        }
    }

    fn finish_erasing(&mut self, echo: &mut VecDeque<u8>) {
        if self.erasing {
            self.erasing = false;
            self.echo_raw(b'/', echo);
        }
    }

    fn is_continuation(&self, byte: u8) -> bool {
        self.termios.input.contains(InputFlags::IUTF8) && byte & 0xc0 == 0x80
    }

    /// ERASE, WERASE and KILL.
    fn erase(&mut self, byte: u8, echo: &mut VecDeque<u8>) {
        #[derive(PartialEq)]
        enum Kind {
            Character,
            Word,
            Line,
        }
        if self.input.edited() == 0 {
            return;
        }
        let echoing = self.has(LocalFlags::ECHO);
        let kind = if self.is(byte, Special::Erase) {
            Kind::Character
        } else if self.is(byte, Special::WordErase) {
            Kind::Word
        } else {
            if !echoing || !self.has(LocalFlags::ECHOK | LocalFlags::ECHOKE | LocalFlags::ECHOE) {
                self.input.head = self.input.canonical_head;
                if echoing {
                    self.finish_erasing(echo);
                    self.echo_character(byte, echo);
                    if self.has(LocalFlags::ECHOK) {
                        self.echo_raw(b'\n', echo);
                    }
                }
                return;
            }
            Kind::Line
        };
        let mut seen_word = false;
        while self.input.edited() != 0 {
            let mut head = self.input.head;
            let mut erased;
            loop {
                head = head.wrapping_sub(1);
                erased = self.input.at(head);
                if !self.is_continuation(erased) || head == self.input.canonical_head {
                    break;
                }
            }
            if self.is_continuation(erased) {
                break;
            }
            if kind == Kind::Word {
                if is_word(erased) {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            let old_head = core::mem::replace(&mut self.input.head, head);
            if echoing {
                self.echo_erased(erased, head, old_head, kind == Kind::Character, echo);
            }
            if kind == Kind::Character {
                break;
            }
        }
        if self.input.edited() == 0 && echoing {
            self.finish_erasing(echo);
        }
    }

    /// Shows that the character `erased`, which stood at `head..old_head`, is gone.
    fn echo_erased(&mut self, erased: u8, head: usize, old_head: usize, single: bool, echo: &mut VecDeque<u8>) {
        if self.has(LocalFlags::ECHOPRT) {
            if !self.erasing {
                self.erasing = true;
                self.echo_raw(b'\\', echo);
            }
            self.echo_character(erased, echo);
            let mut position = head.wrapping_add(1);
            while position != old_head {
                self.echo_raw(self.input.at(position), echo);
                position = position.wrapping_add(1);
            }
        } else if single && !self.has(LocalFlags::ECHOE) {
            self.echo_character(self.termios.character(Special::Erase), echo);
        } else if erased == b'\t' {
            self.echo_erased_tab(echo);
        } else {
            let wide = is_control(erased) && self.has(LocalFlags::ECHOCTL);
            if !is_control(erased) || wide {
                for _ in 0..=usize::from(wide) {
                    for byte in [8, b' ', 8] {
                        self.echo_raw(byte, echo);
                    }
                }
            }
        }
    }

    fn echo_erased_tab(&mut self, echo: &mut VecDeque<u8>) {
        // The width follows from what stands before it on the line, back to the line's start or the previous tab.
        let mut width = 0;
        let mut after_tab = false;
        let mut position = self.input.head;
        while position != self.input.canonical_head {
            position = position.wrapping_sub(1);
            let byte = self.input.at(position);
            if byte == b'\t' {
                after_tab = true;
                break;
            } else if is_control(byte) {
                if self.has(LocalFlags::ECHOCTL) {
                    width += 2;
                }
            } else if !self.is_continuation(byte) {
                width += 1;
            }
        }
        if !after_tab {
            width += self.canonical_column;
        }
        for _ in 0..8 - (width & 7) {
            echo.push_back(8);
            self.column = self.column.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
