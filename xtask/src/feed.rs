//! Being the machine's serial line when the user's own input is no terminal: a pipe, a file, nothing.
//!
//! The serial line knows no end of file, loses what is typed before somebody listens, and its terminal gives control characters a
//! meaning. So `/init` says when it listens with one byte, [`READY`], which is kept from the user's output, and the input is typed
//! in a form that survives the terminal's canonical mode:
//! - as **data** ([`Manner::Data`]): control characters follow the quoting character (`VLNEXT`, Ctrl-V); a part without a newline is pushed through
//!   with the end-of-file character (`VEOF`, Ctrl-D), which on an empty line is the end of the data;
//! - as **keys** ([`Manner::Keys`]): as they come; after the last, Ctrl-D until the machine ends.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::qemu::Emulator;

/// What `/init` writes when it listens: ENQ, which no program of the boot writes.
pub const READY: u8 = 0x05;

/// The terminal's end-of-file character.
const END_OF_FILE: u8 = 0x04;
/// The terminal's quoting character.
const LITERAL_NEXT: u8 = 0x16;
/// The longest part of a line that is typed without pushing it through: a canonical line has room for 4,095 bytes.
const LONGEST_PART: usize = 1024;
/// How often Ctrl-D is typed when there are no keys any more.
const HANG_UP_PERIOD: Duration = Duration::from_millis(300);

/// How the input is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Every byte reaches the program, and then it sees the end of the file.
    Data,
    /// Every byte is a key.
    Keys,
}

/// Joins the user's input and output with a machine that was started with pipes.
pub struct Feed {
    output: JoinHandle<std::io::Result<()>>,
    /// Dropped with this: the machine has ended.
    _running: Sender<()>,
}

impl Feed {
    /// Starts to pass bytes both ways.
    pub fn start(emulator: &mut Emulator, manner: Manner) -> Result<Self> {
        let keyboard = emulator.child.stdin.take().context("no way in")?;
        let screen = emulator.child.stdout.take().context("no way out")?;
        let (ready, listens) = channel();
        let (running, ended) = channel();
        let output = thread::spawn(move || show(screen, std::io::stdout(), &ready));
        // Not waited for: it may be in the middle of a read that nobody ends.
        thread::spawn(move || {
            if listens.recv().is_ok() {
                // The machine may end before it has taken everything.
                let _ = type_all(std::io::stdin(), keyboard, manner, &ended);
            }
        });
        Ok(Self { output, _running: running })
    }

    /// Passes on what the machine has left to say; it has ended.
    pub fn finish(self) -> Result<()> {
        self.output.join().ok().context("the output's thread is gone")?.context("cannot write what the machine says")
    }
}

/// Copies the machine's output, without the first [`READY`], which is told.
fn show(mut screen: ChildStdout, mut output: impl Write, ready: &Sender<()>) -> std::io::Result<()> {
    let mut is_ready = false;
    let mut buffer = [0; 4096];
    loop {
        let count = screen.read(&mut buffer)?;
        let Some(said) = buffer.get(..count).filter(|said| !said.is_empty()) else { return Ok(()) };
        match said.iter().position(|byte| *byte == READY).filter(|_| !is_ready) {
            Some(place) => {
                is_ready = true;
                // Nobody to tell: the input has ended in an error.
                let _ = ready.send(());
                output.write_all(said.get(..place).unwrap_or_default())?;
                output.write_all(said.get(place + 1..).unwrap_or_default())?;
            }
            None => output.write_all(said)?,
        }
        output.flush()?;
    }
}

/// Types the whole input, and its end.
fn type_all(
    mut input: impl Read,
    mut keyboard: ChildStdin,
    manner: Manner,
    ended: &Receiver<()>,
) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = input.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        match manner {
            Manner::Data => keyboard.write_all(&quoted(part))?,
            Manner::Keys => keyboard.write_all(part)?,
        }
        keyboard.flush()?;
    }
    loop {
        keyboard.write_all(&[END_OF_FILE])?;
        keyboard.flush()?;
        if manner == Manner::Data || ended.recv_timeout(HANG_UP_PERIOD) != Err(RecvTimeoutError::Timeout) {
            // Kept open: the end of the pipe means nothing to the machine.
            std::mem::forget(keyboard);
            return Ok(());
        }
    }
}

/// `part` as it is typed, pushed through to its last byte.
fn quoted(part: &[u8]) -> Vec<u8> {
    let mut typed = Vec::with_capacity(part.len() + part.len() / 8 + 1);
    let mut waiting = 0;
    for &byte in part {
        if byte == b'\n' {
            typed.push(byte);
            waiting = 0;
            continue;
        }
        if byte.is_ascii_control() {
            typed.push(LITERAL_NEXT);
        }
        typed.push(byte);
        waiting += 1;
        if waiting == LONGEST_PART {
            typed.push(END_OF_FILE);
            waiting = 0;
        }
    }
    if waiting > 0 {
        typed.push(END_OF_FILE);
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader in canonical mode gets of what was typed; an empty part is the end of the file.
    fn read_by(typed: &[u8]) -> Vec<Vec<u8>> {
        let (mut parts, mut line, mut is_quoted) = (Vec::new(), Vec::new(), false);
        for &byte in typed {
            if std::mem::take(&mut is_quoted) {
                line.push(byte);
            } else if byte == LITERAL_NEXT {
                is_quoted = true;
            } else if byte == END_OF_FILE {
                parts.push(std::mem::take(&mut line));
            } else {
                line.push(byte);
                if byte == b'\n' {
                    parts.push(std::mem::take(&mut line));
                }
            }
            assert!(line.len() < 4095);
        }
        assert!(line.is_empty() && !is_quoted);
        parts
    }

    #[test]
    fn every_byte_survives_and_nothing_ends_early() {
        let all: Vec<u8> = (0..=255).collect();
        let long = vec![b'x'; 10_000];
        for part in [&b""[..], b"\n", b"a", b"a\n", b"a\n\nb", b"\x04\x04", b"\x16", &all, &long] {
            let parts = read_by(&quoted(part));
            assert!(parts.iter().all(|read| !read.is_empty()), "an end of file inside {part:?}");
            assert_eq!(parts.concat(), part);
        }
    }
}
