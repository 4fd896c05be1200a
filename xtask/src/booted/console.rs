//! Being the person at a machine's serial line: typing, and waiting for what it prints.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::qemu::{Configuration, Emulator, Outcome, SerialLine};

/// What the machine printed so far, and whether more can come.
#[derive(Default)]
struct Transcript {
    bytes: Vec<u8>,
    closed: bool,
}

/// A machine and its serial line.
pub struct Console {
    emulator: Emulator,
    input: Box<dyn Write + Send>,
    transcript: Arc<(Mutex<Transcript>, Condvar)>,
    /// How much of the transcript was matched already.
    position: usize,
}

impl Console {
    /// Starts the machine; its configuration has the serial line on pipes.
    pub fn start(configuration: &Configuration) -> Result<Self> {
        let mut emulator = configuration.start()?;
        let SerialLine { input, mut output } = emulator.serial_line()?;
        let transcript = Arc::new((Mutex::new(Transcript::default()), Condvar::new()));
        let shared = transcript.clone();
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 4096];
            loop {
                let count = output.read(&mut buffer).unwrap_or(0);
                if let Ok(mut transcript) = shared.0.lock() {
                    transcript.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    transcript.closed = count == 0;
                }
                shared.1.notify_all();
                if count == 0 {
                    break;
                }
            }
        });
        Ok(Self { emulator, input, transcript, position: 0 })
    }

    /// Types.
    pub fn send(&mut self, keys: &str) -> Result<()> {
        self.input.write_all(keys.as_bytes()).and_then(|()| self.input.flush()).context("the machine is gone")
    }

    /// Waits until `text` is printed; gives what was printed before it. Carriage returns before newlines are dropped.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> Result<String> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let end = Instant::now() + timeout;
        let (lock, condition) = &*self.transcript;
        let Ok(mut transcript) = lock.lock() else { bail!("the reader died") };
        loop {
            let fresh = transcript.bytes.get(self.position..).unwrap_or_default();
            if let Some(place) = find(fresh, text.as_bytes()) {
                let before = clean(fresh.get(..place).unwrap_or_default());
                self.position += place + text.len();
                return Ok(before);
            }
            let left = end.saturating_duration_since(Instant::now());
            if transcript.closed || left.is_zero() {
                let why = if transcript.closed { "the machine ended" } else { "time is up" };
                bail!("{why} waiting for {text:?}; since the last match it printed:\n{}", tail(&clean(fresh)));
            }
            match condition.wait_timeout(transcript, left) {
                Ok((guard, _)) => transcript = guard,
                Err(_) => bail!("the reader died"),
            }
        }
    }

    /// Waits for the machine's end.
    pub fn finish(self, timeout: Duration) -> Result<Outcome> {
        self.emulator.wait(Some(timeout))
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// As text, with the terminal's line ends made plain.
fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

/// The last lines of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_and_cleaning() {
        assert_eq!(find(b"hello world", b"wor"), Some(6));
        assert_eq!(find(b"hi", b"longer"), None);
        assert_eq!(clean(b"a\r\nb\r"), "a\nb\r");
        assert_eq!(tail("x\ny"), "x\ny");
    }
}
